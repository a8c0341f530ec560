"""Conversations as one text: OpenAI messages, ShareGPT, lists of turns, and whatever else a column holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_LISTS = ("messages", "conversations", "conversation", "turns")
"""Names under which a mapping holds its messages."""
_SAID = ("content", "value", "text")
"""What a message says: OpenAI, ShareGPT, and others."""
_SAYS_WHO = ("role", "from", "speaker", "author")
_PARTS = ("text", "input_text", "output_text", "thinking", "reasoning", "refusal")
"""Kinds of content parts that are text."""


def conversation_text(value: Any) -> str:
    """A column's value as the one text that is compared: texts as they are, nothing for null, conversations by turns.

    Turns stand on lines of their own, in order. Who speaks does not count, under whatever name (`role`, `from`, …), so
    that the same conversation in OpenAI's and in ShareGPT's form is the same text; nor do ids, names and weights of
    messages. System prompts count as what they say, calls of tools by function and arguments, a part that is no text
    (an image) by a digest of it. Lists and mappings that are no conversation count by their values in order.
    """
    return "\n".join(_turns(value))


def _turns(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _turns_of_mapping(value)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for one in value:
            yield from _turns(one)
    elif value is not None:
        yield json.dumps(value, ensure_ascii=False, default=str)


def _turns_of_mapping(value: Mapping[str, Any]) -> Iterator[str]:
    if _is_message(value):
        yield from _said(value)
        return
    if _is_part(value):
        yield _part(value)
        return
    for name in _LISTS:
        if isinstance(value.get(name), list | tuple):
            yield from _turns(value[name])
            return
    for one in value.values():
        yield from _turns(one)


def _is_message(value: Mapping[str, Any]) -> bool:
    return any(who in value for who in _SAYS_WHO) and any(said in value for said in (*_SAID, "tool_calls"))


def _is_part(value: Mapping[str, Any]) -> bool:
    """A part of a message's content: `{"type": "text", "text": …}`, `{"type": "image_url", "image_url": …}`."""
    kind = value.get("type")
    return isinstance(kind, str) and kind in value and len(value) <= 3


def _said(message: Mapping[str, Any]) -> Iterator[str]:
    """What a message says; none of it where all is null."""
    content = next((message[name] for name in _SAID if message.get(name) is not None), None)
    if isinstance(content, list | tuple):
        for part in content:
            yield _part(part) if isinstance(part, Mapping) else conversation_text(part)
    elif isinstance(content, Mapping):
        yield _part(content)
    elif content is not None:
        yield from _turns(content)
    for call in message.get("tool_calls") or ():
        yield _call(call)


def _part(part: Mapping[str, Any]) -> str:
    kind = part.get("type", "text")
    for name in _PARTS:
        if name in part and (kind == name or kind in _PARTS):
            return conversation_text(part[name])
    if kind in _PARTS and part.get("text") is not None:
        return conversation_text(part["text"])
    named = {name: one for name, one in part.items() if one is not None}  # Arrow fills what a part lacks with nulls
    text = json.dumps(named, ensure_ascii=False, sort_keys=True, default=str)
    return f"{kind}:{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _call(call: Any) -> str:
    """A call of a tool: its function and its arguments, not its id."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    if not isinstance(function, Mapping):
        return conversation_text(function)
    arguments = function.get("arguments")
    told = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, sort_keys=True)
    return f"{function.get('name', '')} {told}"
