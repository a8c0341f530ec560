"""Reads the body of a chat completion: choices, usage, what the server called itself; and what all answers share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.backends.thoughts import split_thought
from factory.backends.token_logprobs import read_logprobs, skip
from factory.errors import BadBody, NoChoices, ServerFault
from factory.types import Choice, Request, Response, TokenLogprob, Usage

_ENDS = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
}
_MOST_TOKENS = 1 << 40
_COMPLETION_KEYS = frozenset({"id", "object", "created", "usage", "model"})


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer's `usage` says; None where it says nothing."""

    prompt: int | None
    completion: int | None
    cached: int
    reasoning: int


def decode(data: bytes) -> Any:
    """JSON out of a body. Raises BadBody. Lone surrogates and broken UTF-8, which some servers send, are replaced."""
    import orjson

    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass  # it is strict on encodings: the lenient way below decides
    try:
        value = json.loads(data.decode("utf-8", "replace"))
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        start = data[:80].decode("utf-8", "replace")
    raise BadBody(f"the body is no JSON ({len(data)} bytes, starting {start!r})")


def read_answer(body: Any, request: Request) -> Response:
    """The answer to a request. Raises BadBody (not a completion), NoChoices (with its usage) or ServerFault.

    More choices than asked for are cut off; fewer are the caller's to complete.
    """
    if not isinstance(body, dict):
        raise BadBody(f"the body is a JSON {type(body).__name__}, no completion")
    tokens = read_tokens(body.get("usage"))
    found = body.get("choices")
    if found is None and not _COMPLETION_KEYS & body.keys():
        raise BadBody(f"the body is no completion: its keys are {', '.join(sorted(map(str, body))[:8]) or 'none'}")
    if not found and (found is None or isinstance(found, list)):
        raise no_choices(tokens)
    if not isinstance(found, list) or not all(isinstance(choice, dict) for choice in found):
        raise BadBody("`choices` is no list of objects")
    kept = [choice for choice in _in_order(found) if choice.get("finish_reason") != "error" and not choice.get("error")]
    if not kept:
        raise ServerFault("the server's answer says that generation failed", status=200)
    choices = tuple(_read_choice(choice, request) for choice in kept[: request.n])
    named = body.get("model")
    return Response(
        choices, usage_of(tokens, request, choices), named if isinstance(named, str) and named else request.model
    )


def no_choices(tokens: Tokens) -> NoChoices:
    """The fault of an answer without choices: billed at its usage, at an unknown cost without one."""
    if tokens.prompt is None and tokens.completion is None:
        fault = NoChoices("the answer holds no choices, and no usage")
        fault.cost_unknown = True
        return fault
    return NoChoices(
        "the answer holds no choices",
        usage=Usage(tokens.prompt or 0, tokens.completion or 0, tokens.cached, tokens.reasoning),
    )


def _in_order(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By their `index`, where all have one."""
    if len(choices) > 1 and all(isinstance(choice.get("index"), int) for choice in choices):
        return sorted(choices, key=lambda choice: int(choice["index"]))
    return choices


def _read_choice(choice: dict[str, Any], request: Request) -> Choice:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadBody("a choice holds no `message`")
    text, thought = _read_content(message.get("content"))
    hidden = message.get("reasoning_content") or message.get("reasoning")
    reasoning = hidden if isinstance(hidden, str) and hidden else thought or None
    reason = choice.get("finish_reason")
    end = _ENDS.get(reason.lower(), reason) if isinstance(reason, str) and reason else "unknown"
    if not text:
        refusal, parsed = message.get("refusal"), message.get("parsed")
        if isinstance(refusal, str) and refusal:
            return Choice(refusal, "content_filter", reasoning)
        if isinstance(parsed, (dict, list)) and parsed:
            text = _dump(parsed)
    logprobs = read_logprobs(choice.get("logprobs")) if request.logprobs is not None else None
    return make_choice(text, end, reasoning, logprobs, request)


def make_choice(
    text: str, end: str, reasoning: str | None, logprobs: tuple[TokenLogprob, ...] | None, request: Request
) -> Choice:
    """A choice whose text is the answer alone: without inline reasoning and, where JSON was asked for, without a fence.

    `logprobs` are cut to the answer's tokens where reasoning came before it.
    """
    text, inline = split_thought(text)
    reasoning = reasoning or inline
    if request.response_format is not None:
        text = unfence(text)
    if logprobs is not None and reasoning is not None:
        logprobs = skip(logprobs, text)
    return Choice(text, end, reasoning, logprobs)


def unfence(text: str) -> str:
    """JSON out of the code fence that a server or a model put around the whole of it; anything else as it is."""
    body = text.strip()
    if not body.startswith("```"):
        return text
    first, _, rest = body.partition("\n")
    inner = rest.removesuffix("```").strip()
    whole = "```" not in inner and first[3:].strip().lower() in ("", "json")
    return inner if whole and inner[:1] in ("{", "[") else text


def _read_content(content: Any) -> tuple[str, str]:
    """The text of a message and, where the parts are told apart, its reasoning. A parsed object becomes JSON again."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict):
        text = content.get("text")
        return (text if content.get("type") == "text" and isinstance(text, str) else _dump(content)), ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise BadBody("the `content` of a choice is no text")
    texts = [part["text"] for part in content if isinstance(part.get("text"), str)]
    thoughts = [_read_thinking(part["thinking"]) for part in content if part.get("thinking")]
    return "".join(texts), "".join(thoughts)


def _read_thinking(thinking: Any) -> str:
    """The text of a part that holds reasoning: a text, or a list of parts."""
    if isinstance(thinking, str):
        return thinking
    parts = thinking if isinstance(thinking, list) else [thinking]
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _dump(value: Any) -> str:
    """JSON of a value that a server parsed already. Raises BadBody where it is nested beyond reading."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        raise BadBody("the `content` of a choice is nested too deep") from None


def _count(value: Any) -> int | None:
    """A token count; None for anything else than a whole number from 0 on, of a size that can be."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS else None


def read_tokens(usage: Any) -> Tokens:
    """Token counts, by the names of chat completions or of the Responses API.

    Some servers leave reasoning out of the completion, but not out of the total: so it counts.
    """
    if not isinstance(usage, Mapping):
        return Tokens(None, None, 0, 0)
    prompt = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    completion = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    total = _count(usage.get("total_tokens"))
    if prompt is not None and total is not None and total > prompt + (completion or 0):
        completion = total - prompt
    inside = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    outside = usage.get("completion_tokens_details", usage.get("output_tokens_details"))
    cached = _count(inside.get("cached_tokens")) if isinstance(inside, Mapping) else None
    if cached is None:
        cached = _count(usage.get("prompt_cache_hit_tokens")) or _count(usage.get("cached_tokens"))
    reasoning = _count(outside.get("reasoning_tokens")) if isinstance(outside, Mapping) else None
    return Tokens(prompt, completion, min(cached or 0, prompt or 0), min(reasoning or 0, completion or 0))


def usage_of(tokens: Tokens, request: Request, choices: tuple[Choice, ...]) -> Usage:
    """What the server counted; what it did not count is estimated, and labelled."""
    if tokens.prompt is not None and tokens.completion is not None:
        return Usage(tokens.prompt, tokens.completion, tokens.cached, tokens.reasoning)
    from factory.token_counts import estimate_tokens

    prompt, completion = tokens.prompt, tokens.completion
    if prompt is None:
        prompt = estimate_tokens(message.content for message in request.messages) + 4 * len(request.messages)
    if completion is None:
        completion = estimate_tokens(choice.text + (choice.reasoning or "") for choice in choices)
    return Usage(prompt, completion, min(tokens.cached, prompt), min(tokens.reasoning, completion), estimated=True)
