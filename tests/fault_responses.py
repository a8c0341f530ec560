"""The test server's Responses API: requests turned into chat completions, and their answers turned back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN = ("n", "seed", "stop", "messages", "max_tokens", "max_completion_tokens", "logprobs", "response_format")
"""Fields of chat completions that this API does not know: it refuses them by name."""


def unknown_field(body: Mapping[str, Any]) -> str | None:
    """The first field that the API does not know."""
    return next((name for name in UNKNOWN if name in body), None)


def chat_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat request that asks the same. Raises LookupError, TypeError or ValueError on what is no request."""
    given = body["input"]
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else [dict(one) for one in given]
    if "instructions" in body:
        messages.insert(0, {"role": "system", "content": body["instructions"]})
    chat: dict[str, Any] = {"model": body["model"], "messages": messages}
    chat |= {name: body[name] for name in ("temperature", "top_p") if name in body}
    if "max_output_tokens" in body:
        chat["max_tokens"] = body["max_output_tokens"]
    if "effort" in body.get("reasoning", {}):
        chat["reasoning_effort"] = body["reasoning"]["effort"]
    form = body.get("text", {}).get("format", {})
    if form.get("type") == "json_schema":
        inner = {name: value for name, value in form.items() if name != "type"}
        chat["response_format"] = {"type": "json_schema", "json_schema": inner}
    elif form.get("type") == "json_object":
        chat["response_format"] = {"type": "json_object"}
    if "message.output_text.logprobs" in body.get("include", ()):
        chat |= {"logprobs": True, "top_logprobs": body.get("top_logprobs", 0)}
    return chat


def response_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion as a response object."""
    output: list[dict[str, Any]] = []
    status, details = "completed", None
    for choice in answer.get("choices", [])[:1]:
        message = choice["message"]
        if thought := message.get("reasoning_content"):
            output.append({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": thought}]})
        part: dict[str, Any] = {"type": "output_text", "text": message["content"] or "", "annotations": []}
        if "logprobs" in choice:
            part["logprobs"] = choice["logprobs"]["content"]
        output.append({"type": "message", "id": "msg_1", "role": "assistant", "content": [part]})
        if choice["finish_reason"] in ("length", "content_filter"):
            reason = {"length": "max_output_tokens"}.get(choice["finish_reason"], choice["finish_reason"])
            status, details = "incomplete", {"reason": reason}
    shown = {
        "id": str(answer["id"]).replace("chatcmpl-", "resp_"),
        "object": "response",
        "created_at": answer["created"],
        "model": answer["model"],
        "status": status,
        "error": None,
        "incomplete_details": details,
        "output": output,
    }
    if "choices" not in answer:
        del shown["output"]
    if "usage" in answer:
        usage = answer["usage"]
        shown["usage"] = {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"]},
            "total_tokens": usage["total_tokens"],
        }
    return shown
