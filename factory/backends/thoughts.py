"""Reasoning that stands in an answer's text, told apart from the answer.

Servers without a reasoning parser send it inline: `<think>…</think>` and its kin, or only the closing tag where the
chat template had opened it, or gpt-oss's channels. It counts only at the very beginning: an answer that talks about
tags stays as it is.
"""

from __future__ import annotations

import re

_TAGS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
)
_FIRST = frozenset(opening[0] for opening, _ in _TAGS)
_CHANNELS = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_CLOSED_ALONE = re.compile(r"(?:\A|\n)[ \t]*</think>[ \t]*(?:\n|\Z)|</think>[ \t]*\n[ \t]*\n")
"""A closing tag on a line of its own, or with an empty line after it: as models write it, not as prose does."""


def split_thought(text: str) -> tuple[str, str | None]:
    """The answer and its reasoning, None where there is none. Reasoning that never closes leaves an empty answer."""
    body = text.lstrip()
    if body[:1] in _FIRST:
        for opening, closing in _TAGS:
            if body.startswith(opening):
                thought, _, answer = body[len(opening) :].partition(closing)
                return answer.lstrip(), thought.strip() or None
        if _CHANNELS.match(body):
            return _split_channels(body)
    elif body.startswith("analysis") and "assistantfinal" in body:  # channels, their special tokens left out
        thought, _, answer = body.removeprefix("analysis").partition("assistantfinal")
        return answer.lstrip(), thought.strip() or None
    return _split_unopened(text) if "</think>" in text else (text, None)


def _split_channels(body: str) -> tuple[str, str | None]:
    """The `final` channel, and what the others hold."""
    answer, thoughts = "", []
    for part in body.split("<|channel|>")[1:]:
        head, found, content = part.partition("<|message|>")
        content = _CHANNEL_END.split(content, maxsplit=1)[0] if found else ""
        if head.strip().startswith("final"):
            answer += content
        elif content.strip():
            thoughts.append(content.strip())
    return answer.lstrip(), "\n".join(thoughts) or None


def _split_unopened(text: str) -> tuple[str, str | None]:
    """Reasoning up to a closing tag whose opening stood in the prompt: one tag, not in quotes, not in a code block."""
    if text.count("</think>") != 1 or "<think>" in text or not _CLOSED_ALONE.search(text):
        return text, None
    thought, _, answer = text.partition("</think>")
    if thought.count("```") % 2:
        return text, None
    return answer.lstrip(), thought.strip() or None
