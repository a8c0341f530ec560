"""Log-probabilities of a given answer: what a server expected at each token of a text that it only reads.

vLLM tells them (`prompt_logprobs`). The chat before the answer is laid out by the server's own template (`/tokenize`),
the answer's text is turned into tokens by itself, and both go as one prompt of token ids to `/completions`, which reads
it once and writes one token: the same tokens as the model in process is given, so the same numbers. Where there is no
`/tokenize`, an answer alone is asked for with `echo`; a chat cannot be laid out there, and so is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from factory.backends.endpoints.sending import (
    NoEndpoint,
    NoTemplate,
    Post,
    extra_fields,
    model_of,
    read_number,
    send,
    usage_of_prompt,
)
from factory.backends.measuring import NOTHING_BEFORE, split_answer, told_likelihood
from factory.backends.token_logprobs import FLOOR
from factory.errors import BadBody, BadRequest, NoChoices, Refused
from factory.types import Message, Request, Response, TokenLogprob

COMPLETIONS, TOKENIZE = "/completions", "/tokenize"
_TEMPLATE_WORDS = ("chat_template", "chat_template_kwargs", "tools")
_WHO = (
    "the log-probabilities of a given answer are told by vLLM (`vllm serve MODEL`, with /tokenize beside /v1), not by "
    "OpenAI's API or llama.cpp; or by a model in process: `transformers`, `vllm`, `embedded`"
)


class Likelihood:
    """Likelihoods of one server. `_places`: where /tokenize may be (at the root or not), the one that answered alone
    once it is known, none where there is no such endpoint."""

    def __init__(self) -> None:
        self._places: tuple[bool, ...] = (True, False)

    async def ask(self, request: Request, post: Post) -> Response:
        """Log-probabilities of the last message's tokens. Raises a CallFault; Refused where the server cannot."""
        before, answer = split_answer(request)
        tokens = await self._lay_out(request, before, answer, post)
        try:
            if tokens is not None:
                return await _ask_for_tokens(request, answer, *tokens, post)
            if before:
                raise _refusal("this server has no /tokenize, by which a chat is laid out")
            return await _ask_for_echo(request, answer, post)
        except NoEndpoint as fault:
            raise _refusal(f"no likelihoods from this server ({fault.message})") from None

    async def _lay_out(
        self, request: Request, before: Sequence[Message], answer: str, post: Post
    ) -> tuple[list[int], list[int]] | None:
        """Token ids of what stands before the answer, and of the answer; None where the server has no /tokenize."""
        alone = {"model": request.model, "prompt": answer}
        if before:
            words = {name: value for name, value in extra_fields(request).items() if name in _TEMPLATE_WORDS}
            chat = [{"role": message.role, "content": message.content} for message in before]
            first = {"model": request.model, "messages": chat, "add_generation_prompt": True, **words}
        else:
            first = alone | {"add_special_tokens": True}
        for root in self._places:
            try:
                found = await asyncio.gather(
                    *(_tokenize(post, body, root) for body in (first, alone | {"add_special_tokens": False})),
                    return_exceptions=True,
                )
                for one in found:
                    if isinstance(one, BaseException):
                        raise one
            except NoEndpoint:
                continue
            except NoTemplate as fault:
                raise Refused(
                    f"the model has no chat template, so no answer to a prompt can be measured ({fault.message}): "
                    "start the server with `--chat-template FILE`, or measure answers alone (`conditional: false`)"
                ) from None
            self._places = (root,)
            laid, written = (list(one) for one in found if not isinstance(one, BaseException))
            return (laid if before else laid[: _find(written, laid)]), written
        self._places = ()
        return None


def _refusal(what: str) -> Refused:
    """No call of this kind can succeed."""
    return Refused(f"{what}; {_WHO}")


async def _tokenize(post: Post, body: dict[str, Any], root: bool) -> list[int]:
    """Token ids. Raises NoEndpoint also where an endpoint of that name is another's (llama.cpp's takes `content`)."""
    found = await send(post, TOKENIZE, body, root=root)
    tokens = found.get("tokens") if isinstance(found, dict) else None
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens) or "count" not in found:
        raise NoEndpoint("its /tokenize is not vLLM's")
    if found["count"] != len(tokens):
        raise BadBody(f"/tokenize counts {str(found['count'])[:20]} tokens and sends {len(tokens)}")
    return tokens


def _find(part: Sequence[int], whole: Sequence[int]) -> int:
    """Where `part` begins in `whole`; 0 where it does not occur."""
    starts = range(len(whole) - len(part) + 1)
    return next((at for at in starts if whole[at : at + len(part)] == part), 0)


async def _ask_for_tokens(request: Request, answer: str, before: list[int], written: list[int], post: Post) -> Response:
    first, tokens = max(1, len(before)), before + written
    if len(tokens) <= first:
        raise BadRequest(NOTHING_BEFORE)
    body = {"model": request.model, "prompt": tokens, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    found, choice = _only_choice(await send(post, COMPLETIONS, body), request)
    told = choice.get("prompt_logprobs", found.get("prompt_logprobs"))
    if told is None:
        raise _refusal("the server leaves out `prompt_logprobs`")
    if not isinstance(told, list) or len(told) != len(tokens):
        size = len(told) if isinstance(told, list) else "no list of"
        raise BadBody(f"{len(tokens)} tokens were sent, and {size} log-probabilities came")
    logprobs = [_read_place(told[place], tokens[place]) for place in range(first, len(tokens))]
    return told_likelihood(answer, logprobs, usage_of_prompt(found, request), model_of(found, request))


def _read_place(told: Any, token: int) -> TokenLogprob:
    """The log-probability of the prompt's own token, out of those told at its place."""
    own = told.get(str(token)) if isinstance(told, Mapping) else None
    value = read_number(own.get("logprob")) if isinstance(own, Mapping) else None
    if own is None or value is None:
        raise BadBody(f"no log-probability of token {token} of the prompt was told")
    spelled = own.get("decoded_token")
    return TokenLogprob(spelled if isinstance(spelled, str) else "", max(FLOOR, min(0.0, value)))


async def _ask_for_echo(request: Request, answer: str, post: Post) -> Response:
    # No `max_tokens: 0`: some servers take it for no limit.
    body = {"model": request.model, "prompt": answer, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    found, choice = _only_choice(await send(post, COMPLETIONS, body), request)
    usage = usage_of_prompt(found, request)
    written = usage.completion_tokens or (1 if usage.estimated else 0)
    pairs = _read_columns(choice.get("logprobs"), written)
    if len(pairs) > 1 and pairs[0][1] is None and not answer.startswith(pairs[0][0]):
        pairs = pairs[1:]  # the token that begins a text
    spelled = "".join(token for token, _ in pairs)
    # Parts of a character cannot be shown; where all are whole, they are the answer or were taken for something else.
    if "\ufffd" not in spelled and "bytes:" not in spelled and spelled.strip() != answer.strip():
        raise BadRequest("the tokens that the server echoes do not spell the answer")
    logprobs = []
    for token, value in pairs[1:] if pairs[0][1] is None else pairs:
        number = read_number(value)
        if number is None:
            raise BadBody("a token of the echo has no log-probability")
        logprobs.append(TokenLogprob(token, max(FLOOR, min(0.0, number))))
    if not logprobs:
        raise BadRequest(NOTHING_BEFORE)
    return told_likelihood(answer, logprobs, usage, model_of(found, request))


def _read_columns(columns: Any, written: int) -> list[tuple[str, Any]]:
    """Tokens and their values of an echo, without the last ones, which the server wrote. At least one."""
    named = columns if isinstance(columns, Mapping) else {}
    tokens, told = named.get("tokens"), named.get("token_logprobs")
    if tokens is None or told is None:
        raise _refusal("the server leaves out the log-probabilities of an echo")
    if not isinstance(tokens, list) or not isinstance(told, list) or len(tokens) != len(told):
        raise BadBody("`tokens` and `token_logprobs` of the echo differ in length")
    if not all(isinstance(token, str) for token in tokens):
        raise BadBody("a token of the echo is no text")
    if len(tokens) <= written:
        raise _refusal("the server does not echo what it is given")
    return list(zip(tokens, told, strict=True))[: len(tokens) - written]


def _only_choice(found: Any, request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """A completion and its one choice."""
    if not isinstance(found, dict) or not isinstance(found.get("choices"), list):
        raise BadBody("the body is no completion: it has no `choices`")
    if not found["choices"]:
        raise NoChoices("the answer holds no choices", usage=usage_of_prompt(found, request))
    choice = found["choices"][0]
    if not isinstance(choice, dict):
        raise BadBody("a choice is no object")
    return found, choice
