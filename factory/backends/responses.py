"""OpenAI's Responses API: a chat request in its words, and its answers read as a chat completion is.

https://platform.openai.com/docs/api-reference/responses. It has no `n` (one answer a request), no `seed` and no `stop`:
the seed stays behind, the text is cut here. Nothing is kept by the server (`store: false`), nothing runs in the
background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from factory.backends.answers import make_choice, no_choices, read_tokens, usage_of
from factory.backends.faults import error_of, fault_of_status
from factory.backends.token_logprobs import keep, read_logprobs
from factory.errors import BadBody, CallFault
from factory.types import Choice, Request, Response, Usage

PATH = "/responses"
LEFT_OUT = ("n", "seed", "stop")
"""What a chat request may hold and the Responses API does not know."""
_FAILED = {"rate_limit_exceeded": 429, "server_error": 500, "vector_store_timeout": 500}
_REFUSED = ("invalid_", "content_", "context_", "unsupported_", "empty_")
_KEYS = frozenset({"output", "status", "usage", "object", "error"})


def responses_body(chat: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion's body as the Responses API wants it. What it does not know (`LEFT_OUT`) is not in it."""
    body = {name: value for name, value in chat.items() if name not in LEFT_OUT}
    messages: Sequence[Mapping[str, Any]] = body.pop("messages")
    if len(messages) > 1 and messages[0]["role"] == "system":
        body["instructions"] = messages[0]["content"]
        messages = messages[1:]
    body["input"] = [dict(message) for message in messages]
    body["store"] = False
    limits = [body.pop(name) for name in ("max_tokens", "max_completion_tokens") if name in body]
    if limits:
        body["max_output_tokens"] = min(limits)
    if "reasoning_effort" in body:
        body["reasoning"] = {"effort": body.pop("reasoning_effort"), **_mapping(body.get("reasoning"))}
    text: dict[str, Any] = _mapping(body.get("text"))
    if "verbosity" in body:
        text["verbosity"] = body.pop("verbosity")
    if "response_format" in body:
        text["format"] = _format(body.pop("response_format"))
    if text:
        body["text"] = text
    if body.pop("logprobs", False):
        body["include"] = [*body.get("include", ()), "message.output_text.logprobs"]
    return body


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _format(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`{"type": "json_schema", "json_schema": {…}}` with its inner part laid open."""
    flat = {name: value for name, value in wanted.items() if name != "json_schema"}
    return {**flat, **_mapping(wanted.get("json_schema"))}


def read_response(body: Any, request: Request) -> Response:
    """The answer to a request: one choice. Raises BadBody, NoChoices (with its usage), or the fault of a failure."""
    if not isinstance(body, dict):
        raise BadBody(f"the body is a JSON {type(body).__name__}, no response")
    if not _KEYS & body.keys():
        raise BadBody(f"the body is no response: its keys are {', '.join(sorted(map(str, body))[:8]) or 'none'}")
    tokens = read_tokens(body.get("usage"))
    status, output = body.get("status"), body.get("output")
    if status in ("failed", "cancelled"):
        known = tokens.prompt is not None and tokens.completion is not None
        spent = Usage(tokens.prompt or 0, tokens.completion or 0, tokens.cached, tokens.reasoning) if known else None
        raise _failure(body, spent)
    if status in ("queued", "in_progress"):
        raise BadBody("the answer is not finished: the server took it for a request in the background")
    if output is not None and (not isinstance(output, list) or not all(isinstance(item, dict) for item in output)):
        raise BadBody("`output` is no list of objects")
    end = _end_of(body)
    choice = _read_output(output or [], end, request)
    if choice is None:
        raise no_choices(tokens)
    named = body.get("model")
    served = named if isinstance(named, str) and named else request.model
    return Response((choice,), usage_of(tokens, request, (choice,)), served)


def _failure(body: Mapping[str, Any], spent: Usage | None) -> CallFault:
    """The fault of an answer that says that it failed."""
    error = error_of({"error": body.get("error") or {"message": f"the response is {body.get('status')}"}})
    status = _FAILED.get(error.code) or (400 if error.code.startswith(_REFUSED) else 500)
    fault = fault_of_status(status, {}, error)
    fault.status, fault.usage = 200, spent
    return fault


def _end_of(body: Mapping[str, Any]) -> str:
    """Why the answer ended, in the words of chat completions."""
    status, details = body.get("status"), body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    if status == "incomplete" or reason:
        known = {"max_output_tokens": "length", "max_tokens": "length"}
        return known.get(reason, reason) if isinstance(reason, str) and reason else "unknown"
    return "stop" if status == "completed" else "unknown"


def _read_output(output: list[dict[str, Any]], end: str, request: Request) -> Choice | None:
    """The choice that the items make together; None where there is neither a message nor a reason why not."""
    messages = [item for item in output if item.get("type", "message") == "message"]
    final = [item for item in messages if item.get("phase") == "final_answer"]
    parts = [part for item in final or messages for part in _parts(item.get("content"))]
    thoughts = [text for item in output if item.get("type") == "reasoning" for text in _thoughts(item)]
    reasoning = "\n\n".join(thoughts) or None
    texts = [part for part in parts if isinstance(part.get("text"), str)]
    text = "".join(part["text"] for part in texts)
    if not text:
        refusals = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
        if any(refusals):
            return Choice("".join(refusals), "content_filter", reasoning)
        if not messages and end == "stop":
            return None
        return Choice("", end, reasoning) if messages or output or end != "unknown" else None
    logprobs = None
    if request.logprobs is not None:
        read = [read_logprobs(part.get("logprobs")) for part in texts if part["text"]]
        if all(one is not None for one in read):
            logprobs = tuple(token for one in read for token in one or ())
    return make_choice(text, end, reasoning, logprobs, request)


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _thoughts(item: Mapping[str, Any]) -> list[str]:
    """The texts of a reasoning item: its own where the server shows it, else its summary."""
    for name in ("content", "summary"):
        texts = [part["text"] for part in _parts(item.get(name)) if isinstance(part.get("text"), str) and part["text"]]
        if texts:
            return texts
    return []


def cut_at_stop(choice: Choice, stops: Sequence[str]) -> Choice:
    """The choice up to the first of the stop strings, as a server that knows `stop` would have ended it."""
    found = [at for stop in stops if stop and (at := choice.text.find(stop)) >= 0]
    if not found:
        return choice
    end = min(found)
    return replace(choice, text=choice.text[:end], finish_reason="stop", logprobs=keep(choice.logprobs, end))
