"""The backend `vllm`: prompts laid out by the model's chat template, answers read from the engine's outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from factory.backends.measuring import NOTHING_BEFORE, split_answer, told_likelihood
from factory.backends.thoughts import split_thought
from factory.backends.token_logprobs import FLOOR, keep, skip
from factory.backends.vllm.engine import Engine, borrow, give_back
from factory.backends.vllm.options import (
    build_params,
    build_reading_params,
    find_model,
    finite,
    read_options,
    template_words,
)
from factory.errors import BadRequest, ConnectionLost, ContextTooLong, MissingExtra, ServerFault
from factory.types import Choice, Message, Request, Response, TokenLogprob, Usage, canonical_json

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig

_OPENED = "<think>"


def open_backend(model: ModelConfig) -> VllmBackend:
    """The backend of a recipe's model; nothing is loaded yet. Raises MissingExtra, UsageError for a bad `engine:`."""
    if find_spec("vllm") is None:
        raise MissingExtra(f"the model {model.name}", "vllm")
    return VllmBackend(model)


class VllmBackend:
    """A model in vLLM's engine, which starts at the first request, so that a replayed run never loads it.

    Requests queue inside the engine (`unbounded`): all that are in flight are batched together, the candidates of a
    request share the reading of their prompt, prompts that begin alike share that beginning.
    """

    honours_n: bool | None = True
    structured: str | None = "json_schema"
    local = True
    unbounded = True
    tasks = frozenset({"generate", "likelihood"})

    def __init__(self, model: ModelConfig):
        self._name = model.name
        self._model = find_model(model.model)
        self._options = read_options(model.engine)
        self._key = canonical_json([model.model, model.engine])
        self._engine: Engine | None = None

    async def generate(self, request: Request) -> Response:
        """All `n` candidates in one request. Raises a CallFault, UsageError before the first answer, Incomplete.

        A likelihood is that of the answer's own tokens after the chat before it, at temperature 1.
        """
        if self._engine is None:
            self._engine = borrow(self._key, self._model, self._options)
        engine = self._engine
        await engine.ready()
        assert engine.params_module is not None
        if request.task == "likelihood":
            return await self._measure(engine, request)
        params = build_params(request, engine.defaults, engine.params_module)
        prompt = self._encode(engine, request.messages, request)
        if len(prompt) >= engine.max_model_len:
            raise ContextTooLong(
                f"the prompt has {len(prompt)} tokens, and the model takes {engine.max_model_len} with its answer"
            )
        output, seconds = await engine.generate(prompt, params)
        return self._read(engine, request, output, seconds)

    async def close(self) -> None:
        """Shut the engine down, unless another role still uses it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await give_back(self._key, engine)

    async def _measure(self, engine: Engine, request: Request) -> Response:
        """The engine reads the answer as part of its prompt, and is made to tell what it expected there."""
        before, answer = split_answer(request)
        begin = getattr(engine.tokenizer, "bos_token_id", None)
        prompt = self._encode(engine, before, request) if before else [] if begin is None else [begin]
        # A long text takes its time, and the event loop goes on meanwhile.
        written = await asyncio.to_thread(engine.tokenizer.encode, answer, add_special_tokens=False)
        assert engine.params_module is not None
        first, tokens = max(1, len(prompt)), [*prompt, *written]
        if len(tokens) <= first:
            raise BadRequest(NOTHING_BEFORE)
        if len(tokens) >= engine.max_model_len:
            raise ContextTooLong(
                f"prompt and answer have {len(tokens)} tokens, and the model takes {engine.max_model_len} with one more"
            )
        output, seconds = await engine.generate(tokens, build_reading_params(engine.params_module))
        if not output.outputs or any(one.finish_reason in ("abort", "error") for one in output.outputs):
            raise ConnectionLost("the engine aborted the request")
        logprobs = read_prompt_logprobs(output, tokens, first)
        usage = Usage(len(tokens), 0, gpu_seconds=seconds)
        return told_likelihood(answer, logprobs, usage, self._name)

    def _encode(self, engine: Engine, given: Sequence[Message], request: Request) -> list[int]:
        """Token ids of the chat, up to where the answer begins. Raises BadRequest where the template refuses."""
        messages = [{"role": message.role, "content": message.content} for message in given]
        words = template_words(self._options, request.sampling)
        if self._options.chat_template is not None:
            words["chat_template"] = self._options.chat_template
        try:
            ids = engine.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, **words)
        except Exception as error:  # jinja2's errors, and whatever a tokenizer of a model's own raises
            told = " ".join(str(error).split())[:400]
            raise BadRequest(f"the chat template refuses these messages: {told}") from error
        return list(ids["input_ids"] if hasattr(ids, "keys") else ids)

    def _read(self, engine: Engine, request: Request, output: Any, seconds: float) -> Response:
        found = sorted(output.outputs, key=lambda one: int(one.index))
        if not found or any(one.finish_reason == "abort" for one in found):
            raise ConnectionLost("the engine aborted the request")
        if any(one.finish_reason == "error" for one in found):
            raise ServerFault("the engine failed in the middle of an answer")
        opened = self._opened(engine, output.prompt_token_ids)
        read = [self._read_one(engine, one, opened, request.logprobs) for one in found]
        choices = [choice for choice, _ in read]
        if len(choices) == 1 < request.n:  # greedy: computed once, it is every candidate's text
            choices *= request.n
        usage = Usage(
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=sum(len(one.token_ids) for one in found),
            cached_tokens=min(output.num_cached_tokens or 0, len(output.prompt_token_ids)),
            reasoning_tokens=sum(thought for _, thought in read),
            gpu_seconds=seconds,
        )
        return Response(tuple(choices), usage, self._name)

    @staticmethod
    def _opened(engine: Engine, prompt: Sequence[int]) -> bool:
        """Whether the chat template has begun the model's reasoning, so that the answer starts inside of it."""
        return str(engine.tokenizer.decode(list(prompt)[-8:])).rstrip().endswith(_OPENED)

    @staticmethod
    def _read_one(engine: Engine, one: Any, opened: bool, wanted: int | None) -> tuple[Choice, int]:
        """A choice, and how many of its tokens are reasoning."""
        whole = f"{_OPENED}{one.text}" if opened else one.text
        text, thought = split_thought(whole)
        logprobs = None if wanted is None or one.logprobs is None else read_logprobs(one, wanted)
        reasoning = 0
        if thought is not None:
            logprobs = skip(logprobs, text) if text else logprobs and ()
            spoken = len(engine.tokenizer.encode(text, add_special_tokens=False)) if text else 0
            reasoning = max(0, len(one.token_ids) - spoken)
        return Choice(text, one.finish_reason or "unknown", thought, logprobs), reasoning


def read_prompt_logprobs(output: Any, tokens: Sequence[int], first: int) -> tuple[TokenLogprob, ...]:
    """The log-probabilities of a prompt's tokens from position `first` on, out of vLLM's RequestOutput.

    Raises ServerFault where the engine told none.
    """
    told = output.prompt_logprobs
    if told is None or len(told) < len(tokens):
        raise ServerFault("the engine told no log-probabilities of its prompt")
    found = []
    for place in range(first, len(tokens)):
        own = told[place][tokens[place]]
        found.append(TokenLogprob(own.decoded_token or "", finite(own.logprob, FLOOR)))
    return tuple(found)


def read_logprobs(one: Any, wanted: int) -> tuple[TokenLogprob, ...]:
    """The log-probabilities of the text's tokens and of the `wanted` likeliest; not of the token that ended it.

    `one`: vLLM's CompletionOutput; its `logprobs` map, for each token drawn, token ids to values and ranks.
    """
    ended = one.finish_reason == "stop" and not isinstance(one.stop_reason, str)
    found = []
    for token, position in list(zip(one.token_ids, one.logprobs, strict=False))[: -1 if ended else None]:
        drawn = position[token]
        likeliest = sorted((other for other in position.values() if other.rank <= wanted), key=lambda other: other.rank)
        top = tuple((other.decoded_token or "", finite(other.logprob, FLOOR)) for other in likeliest)
        found.append(TokenLogprob(drawn.decoded_token or "", finite(drawn.logprob, FLOOR), top))
    whole = tuple(found)
    return whole if ended else keep(whole, len(one.text)) or ()
