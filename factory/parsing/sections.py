"""Labelled sections: `Question: …`, `## Question`, `**Question:** …`, `<question>…</question>`, in any order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

FENCE = re.compile(r"^[ \t]{0,3}```", re.MULTILINE)
HEAD = r"^[ \t>]{0,8}(?:(?:[-*+•]|\d{1,2}[.)])[ \t]{1,4})?"
NUMBERED = r"(?:[ \t]?\#?\d{1,3})?"


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of an output's columns, compiled once."""

    names: tuple[str, ...]
    by_label: dict[str, str]
    lines: re.Pattern[str]
    tags: re.Pattern[str]


def compile_labels(names: Iterable[str]) -> Labels:
    """Patterns that find the columns' labels: case-insensitive, `_` and `-` may be spaces. Linear in the text."""
    columns = tuple(names)
    by_label = {_plain(name): name for name in reversed(columns)}
    ordered = sorted(columns, key=len, reverse=True)
    label = "|".join(r"[ _\-]?".join(re.escape(word) for word in _words(name)) for name in ordered)
    marks = r"\*{1,3}|_{1,3}"
    numbered = "" if any(re.search(r"\d$", name) for name in columns) else NUMBERED
    lines = (
        rf"{HEAD}(?P<hash>\#{{1,6}}[ \t]{{0,4}})?(?P<open>{marks})?[ \t]?(?P<label>{label}){numbered}[ \t]{{0,4}}"
        rf"(?:[:：][ \t]{{0,4}}(?(open)(?P=open))|(?(open)(?P=open)[ \t]{{0,4}}(?:[:：]|$)|(?(hash)$|(?!))))"
    )
    # A tag spans a few characters at most, so every `<` costs a bounded look ahead.
    tags = rf"<(?P<close>/?)[ \t]?(?P<label>{label})[ \t]?>"
    flags = re.IGNORECASE | re.MULTILINE
    return Labels(columns, by_label, re.compile(lines, flags), re.compile(tags, flags))


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[ _\-]+", spaced) if word] or [name]


def _plain(label: str) -> str:
    return re.sub(r"[ _\-]+", "", label).casefold()


def read_sections(text: str, labels: Labels) -> tuple[dict[str, str], str, int]:
    """The raw text of each labelled column, a fault ('' when none), and where the first label starts (-1: nowhere).

    Text before the first label is dropped. A label that comes twice is a fault: nobody can tell which one is meant.
    """
    return _read_tags(text, labels) or _read_lines(text, labels)


def _read_tags(text: str, labels: Labels) -> tuple[dict[str, str], str, int] | None:
    if "<" not in text:
        return None
    found: dict[str, str] = {}
    inside, begin, start = "", 0, -1
    for match in labels.tags.finditer(text):
        name = labels.by_label[_plain(match["label"])]
        if match["close"]:
            if name == inside:
                found[name], inside = text[begin : match.start()].strip(), ""
            continue
        if inside:
            found[inside] = text[begin : match.start()].strip()
        if name in found:
            return found, f"the section `{name}` appears twice", start
        inside, begin = name, match.end()
        start = match.start() if start < 0 else start
        found[name] = ""
    if inside:
        found[inside] = text[begin:].strip()
    return (found, "", start) if found else None


def _read_lines(text: str, labels: Labels) -> tuple[dict[str, str], str, int]:
    matches = list(labels.lines.finditer(text))
    if not matches:
        return {}, "", -1
    end = _fenced_end(text, matches[0].start())
    found: dict[str, str] = {}
    for place, match in enumerate(matches):
        if match.start() >= end:
            break
        name = labels.by_label[_plain(match["label"])]
        if name in found:
            return found, f"the section `{name}` appears twice", matches[0].start()
        stop = matches[place + 1].start() if place + 1 < len(matches) else end
        found[name] = text[match.end() : min(stop, end)].strip()
    return found, "", matches[0].start()


def _fenced_end(text: str, start: int) -> int:
    """Where the sections end: at the closing fence when the first label stands in an open one."""
    if "```" not in text:
        return len(text)
    fences = [match.start() for match in FENCE.finditer(text)]
    before = sum(fence < start for fence in fences)
    return fences[before] if before % 2 and before < len(fences) else len(text)
