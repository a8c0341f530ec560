"""The final answers of a worked solution: boxed, after `####`, after "the answer is"; and a bare one."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_ANSWER = 400
MAX_FOUND = 50
BOXED = re.compile(r"\\(?:boxed|fbox)\s?(?=\{|\d)")
HASHES = re.compile(r"^[^\S\n]*#{4}[^\S\n]*([^\n#][^\n]*)$", re.MULTILINE)
SAID = re.compile(
    r"(?:\b(?:answer|result|solution)(?: to [^\n.:=]{0,80})?(?: is| =|:)|\bответ(?:ом)?:?|\bAntwort(?: ist|:)"
    r"|\bréponse (?:est|:)|\b(?:respuesta|resposta|risposta)(?: es| é| è|:)|答案(?:是|为|為|：|:)"
    r"|答え(?:は|：|:)|正解(?:は|：|:)|정답(?:은|:)|الإجابة(?: هي|:)|उत्तर(?: है|:))"
    r"\**[:：]?\**[^\S\n]*(?=([^\n]{1,400}))",
    re.IGNORECASE,
)
_JOINED = re.compile(r"[\s$]*(?:,|;|and|or|&|\\text\{ ?(?:and|or) ?\}|\\quad|[a-z] ?= ?|[\s$])*", re.IGNORECASE)
_STOP = re.compile(r"[.!?。！？](?=\s|\*|\Z)|(?<=[^\d\s])[,;](?=\s)|,(?=\s+(?:so|which|because|since|and|as|the|or)\b)")
_DOLLARS = re.compile(r"\$\$?([^$\n]{1,400})\$\$?")
_ROUND = re.compile(r"\\\(([^\n]{1,400}?)\\\)|\\\[([^\n]{1,400}?)\\\]")
_STARTS = re.compile(r"[-+−–±(\[{\\$€£¥|.√∞π]|[^\W_]{1,2}\s?[=<>≤≥(^]|\d|[a-zA-Z](?:\s*[-+*/^]|\Z)")


@dataclass(frozen=True, slots=True)
class Final:
    """A final answer and how it is given: `boxed`, `####`, `said` or `bare`."""

    text: str
    kind: str


def find_finals(text: str) -> list[Final]:
    """The final answers of a text: every boxed one (those joined by `and` or a comma as one), every `####`, and the
    last that is said in words where it looks like mathematics. Without one, a text of one short line is its answer.
    """
    found = [*_boxed(text)[:MAX_FOUND], *_hashes(text)[:MAX_FOUND]]
    said = [final for match in SAID.finditer(text) if (final := _said(match[1]))]
    if said:
        found.append(Final(said[-1], "said"))
    if not found and "\n" not in text.strip() and len(text) <= MAX_ANSWER and _STARTS.match(bare := unwrap(text)):
        found.append(Final(bare, "bare"))
    return found


def unwrap(text: str) -> str:
    """An answer without what wraps it: `$…$`, `\\boxed{…}`, bold marks, a full stop."""
    stripped = text.strip().strip("*_ ").strip()
    for pattern in (_DOLLARS, _ROUND):
        match = pattern.fullmatch(stripped)
        if match:
            stripped = next(group for group in match.groups() if group is not None).strip()
    boxed = BOXED.match(stripped)
    if boxed:
        inside, end = _braced(stripped, boxed.end())
        if end == len(stripped):
            stripped = inside
    return stripped.rstrip(".。 ") if not stripped.endswith("...") else stripped


def _boxed(text: str) -> list[Final]:
    """Boxed answers; several with nothing but `and`, `or`, commas and names of unknowns between them are one."""
    groups: list[list[str]] = []
    last = -1
    for match in BOXED.finditer(text):
        if match.start() < last:
            continue  # a box in a box
        inside, end = _braced(text, match.end())
        joined = last >= 0 and match.start() - last <= 40 and _JOINED.fullmatch(text, last, match.start())
        between = text[last : match.start()] if last >= 0 else ""
        if joined and "\n\n" not in between and re.search(r",|;|and|or|&", between, re.IGNORECASE):
            groups[-1].append(inside)
        else:
            groups.append([inside])
        last = end
        if len(groups) > MAX_FOUND:
            break
    return [Final(", ".join(group)[: MAX_ANSWER + 1], "boxed") for group in groups]


def _braced(text: str, start: int) -> tuple[str, int]:
    """What stands in the braces that open at `start`, and where they end; one character where there are none."""
    if text[start : start + 1] != "{":
        return text[start : start + 1], start + 1
    depth, place = 0, start
    limit = min(len(text), start + 4 * MAX_ANSWER)
    while place < limit:
        char = text[place]
        if char == "\\":
            place += 1
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if not depth:
                return text[start + 1 : place].strip(), place + 1
        place += 1
    return text[start + 1 : limit].strip(), limit


def _hashes(text: str) -> list[Final]:
    return [Final(unwrap(match[1])[: MAX_ANSWER + 1], "####") for match in HASHES.finditer(text)]


def _said(tail: str) -> str:
    """The mathematics that a sentence goes on with, or ''."""
    tail = tail.strip().lstrip("*_:： ")
    wrapped = _DOLLARS.match(tail) or _ROUND.match(tail)
    if wrapped:
        return unwrap(next(group for group in wrapped.groups() if group is not None))
    if BOXED.match(tail) or not _STARTS.match(tail):
        return ""  # found as boxed, or words
    stop = _STOP.search(tail)
    return unwrap(tail[: stop.start()] if stop else tail)
