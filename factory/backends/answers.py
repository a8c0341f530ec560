"""Reads the body of a chat completion: choices, usage, what the server called itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.errors import BadBody, NoChoices, ServerFault
from factory.types import Choice, Request, Response, Usage

_ENDS = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
}
_COMPLETION_KEYS = frozenset({"id", "object", "created", "usage", "model"})


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What `usage` says; None where it says nothing."""

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
    tokens = _read_tokens(body.get("usage"))
    found = body.get("choices")
    if found is None and not _COMPLETION_KEYS & body.keys():
        raise BadBody(f"the body is no completion: its keys are {', '.join(sorted(map(str, body))[:8]) or 'none'}")
    if not found and (found is None or isinstance(found, list)):
        raise _no_choices(tokens)
    if not isinstance(found, list) or not all(isinstance(choice, dict) for choice in found):
        raise BadBody("`choices` is no list of objects")
    kept = [choice for choice in _in_order(found) if choice.get("finish_reason") != "error" and not choice.get("error")]
    if not kept:
        raise ServerFault("the server's answer says that generation failed", status=200)
    choices = tuple(_read_choice(choice) for choice in kept[: request.n])
    named = body.get("model")
    return Response(
        choices, _usage(tokens, request, choices), named if isinstance(named, str) and named else request.model
    )


def _no_choices(tokens: _Tokens) -> NoChoices:
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


def _read_choice(choice: dict[str, Any]) -> Choice:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadBody("a choice holds no `message`")
    text, thought = _read_content(message.get("content"))
    hidden = message.get("reasoning_content") or message.get("reasoning")
    reasoning = hidden if isinstance(hidden, str) and hidden else thought or None
    reason = choice.get("finish_reason")
    end = _ENDS.get(reason.lower(), reason) if isinstance(reason, str) and reason else "unknown"
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str) and refusal:
        return Choice(refusal, "content_filter", reasoning)
    return Choice(text, end, reasoning)


def _read_content(content: Any) -> tuple[str, str]:
    """The text of a message and, where the parts are told apart, its reasoning."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise BadBody("the `content` of a choice is no text")
    texts = [part["text"] for part in content if isinstance(part.get("text"), str)]
    thoughts = [_read_content(part["thinking"])[0] for part in content if part.get("thinking")]
    return "".join(texts), "".join(thoughts)


def _count(value: Any) -> int | None:
    """A token count; None for anything else than a whole number from 0 on."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _read_tokens(usage: Any) -> _Tokens:
    """Token counts. Some servers leave reasoning out of the completion, but not out of the total: so it counts."""
    if not isinstance(usage, Mapping):
        return _Tokens(None, None, 0, 0)
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    total = _count(usage.get("total_tokens"))
    if prompt is not None and total is not None and total > prompt + (completion or 0):
        completion = total - prompt
    inside, outside = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = _count(inside.get("cached_tokens")) if isinstance(inside, Mapping) else None
    if cached is None:
        cached = _count(usage.get("prompt_cache_hit_tokens")) or _count(usage.get("cached_tokens"))
    reasoning = _count(outside.get("reasoning_tokens")) if isinstance(outside, Mapping) else None
    return _Tokens(prompt, completion, min(cached or 0, prompt or 0), min(reasoning or 0, completion or 0))


def _usage(tokens: _Tokens, request: Request, choices: tuple[Choice, ...]) -> Usage:
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
