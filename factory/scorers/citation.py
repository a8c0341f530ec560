"""Citation: what an answer quotes stands in the source, and what it cites exists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from factory.errors import UsageError, nearest
from factory.scorers import Context, as_text, render_template, shorten, text_of, traits, veto
from factory.scorers.matching import Source, look_in, plain
from factory.scorers.numerals import plain_digits
from factory.scorers.words import words
from factory.types import Candidate, Score

MAX_CHECKED = 500
"""Quotations and markers of one answer that are looked up; an answer with more is not cited but copied."""
_INSIDE = "{1,3000}?"
QUOTE = re.compile(
    rf"“([^“”]{_INSIDE})”|„([^„“”]{_INSIDE})[“”]|«([^«»]{_INSIDE})»|»([^«»]{_INSIDE})«|‹([^‹›]{_INSIDE})›"
    rf"|「([^「」]{_INSIDE})」|『([^『』]{_INSIDE})』|``([^`'\n]{_INSIDE})''|＂([^＂\n]{_INSIDE})＂"
    rf'|(?<![^\W_])"([^"\n]{_INSIDE})"(?![^\W_])'
    rf"|(?<![^\W_])‘((?:[^‘’\n]|’(?=[^\W_])){_INSIDE})’(?![^\W_])"
)
_NUMBERS = r"\d{1,4}(?:\s?[,;，、–-]\s?\d{1,4}){0,20}"
MARKER = re.compile(rf"\[\^?({_NUMBERS})\](?!\()|【({_NUMBERS})(?:†[^【】]{{0,80}})?】")
"""`[1]`, `[1, 3]`, `[2–4]`, `[^1]`, `【1】`; not a link's `[1](…)`."""
ELLIPSIS = re.compile(r"\s*(?:[\[(]\s?\.{3,}\s?[\])]|\.{3,}|\[[^\[\]]{0,40}\])\s*")
"""Three dots, alone or in brackets, and what stands in brackets: an editor's words."""
NUMBERED = re.compile(r"^[ \t]{0,4}(?:\[(\d{1,4})\]|【(\d{1,4})】|(\d{1,3})[.):])[ \t]*", re.MULTILINE)
_GAP = re.compile(r"[\s,.;:]{0,2}")
_EDGES = " ,.;:!?'-，。；：！？、"


@dataclass(frozen=True, slots=True)
class Quotation:
    """A quotation, where it ends, and the passages that the markers right behind it name."""

    text: str
    end: int
    cited: tuple[int, ...] = ()


@traits(low=0, high=1, expense="rule")
def citation(
    candidate: Candidate,
    context: Context,
    *,
    source: str | None = None,
    passages: str | None = None,
    markers: bool = True,
    min_words: int = 3,
    min_quotes: int = 0,
    min_markers: int = 0,
    on: str | None = None,
) -> Score:
    """The share of quotations and markers found in the source, 0…1, higher is better; one that is not found vetoes.

    Quotations of `min_words` words and more (every sign of an unspaced script is one) must stand in `source` (a
    template; all text of the row's source by default) word for word, up to case, white space and the kinds of marks;
    `…`, `[…]` and words in brackets stand for anything, in order. Markers such as `[2]` must name a passage, and a
    quotation with markers right behind it must stand in one of them. `passages`: a source column with a list, or a
    template of numbered text; the numbered lines of the source by default; `markers: false` leaves markers alone.
    `min_quotes`, `min_markers`: so many are wanted.
    """
    text = text_of(candidate, on)
    body = source_text(context, source, "citation")
    known = _passages(context, passages, body)
    quotes = [quote for quote in find_quotations(text) if len(words(quote.text)) >= max(1, min_words)]
    cited = sorted({number for match in MARKER.finditer(text) for number in _numbers(match)}) if markers else []
    if len(quotes) < min_quotes:
        return veto("citation", f"{len(quotes)} quotations of {min_words} words or more, at least {min_quotes} wanted")
    if len(cited) < min_markers:
        return veto("citation", f"{len(cited)} cited passages, at least {min_markers} wanted")
    if len(quotes) + len(cited) > MAX_CHECKED:
        return veto("citation", f"{len(quotes) + len(cited)} quotations and markers, more than {MAX_CHECKED}")
    faults = [fault for quote in quotes if (fault := _quote_fault(quote, look_in(body), known))]
    faults += [f"[{number}] names no passage ({_told(known)})" for number in cited if number not in known]
    checked = len(quotes) + len(cited)
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        return veto("citation", faults[0] + more, 1 - len(faults) / checked)
    return Score(
        "citation", 1.0, f"{len(quotes)} quotations and {len(cited)} markers found" if checked else "nothing cited"
    )


def source_text(context: Context, template: str | None, scorer: str) -> str:
    """The source a scorer compares with: a rendered template, or all text of the row's source.

    Raises UsageError where there is neither.
    """
    if template is not None:
        return render_template(context, template)
    row = context.variation.source if context.variation.source is not None else context.scope.get("source")
    if row is None:
        raise UsageError(
            f"`{scorer}` has no source to compare with",
            'give the recipe a `from:`, or write `source:` with a template, such as "{{ passage }}"',
        )
    return as_text(list(row.values()) if isinstance(row, Mapping) else row)


def find_quotations(text: str) -> list[Quotation]:
    """What stands between quotation marks of any script, in order, with the markers that follow at once."""
    found = []
    for match in QUOTE.finditer(text):
        inside = next(group for group in match.groups() if group is not None)
        cited: list[int] = []
        place = match.end()
        while (gap := _GAP.match(text, place)) and (marker := MARKER.match(text, gap.end())):
            cited += _numbers(marker)
            place = marker.end()
        found.append(Quotation(inside, match.end(), tuple(cited)))
    return found


def _numbers(match: re.Match[str]) -> list[int]:
    """The passages a marker names; a range as all of them."""
    found: list[int] = []
    for part in re.split(r"[,;，、]", plain_digits(match[1] or match[2])):
        first, _, last = re.sub(r"[\s–]", lambda sign: "-" if sign[0] == "–" else "", part).partition("-")
        found += range(int(first), min(int(last or first), int(first) + 50) + 1)
    return found


def _quote_fault(quote: Quotation, source: Source, passages: Mapping[int, str]) -> str:
    pieces = [piece.strip(_EDGES) for piece in ELLIPSIS.split(plain(quote.text))]
    pieces = [piece for piece in pieces if piece]
    if not pieces or not _stands_in(pieces, source):
        return f"'{shorten(quote.text)}' is not in the source"
    named = [passages[number] for number in quote.cited if number in passages]
    if named and not any(_stands_in(pieces, look_in(passage)) for passage in named):
        which = ", ".join(f"[{number}]" for number in quote.cited)
        return f"'{shorten(quote.text)}' is not in {which}"
    return ""


def _stands_in(pieces: Sequence[str], source: Source) -> bool:
    """Whether all pieces stand in the source, one after the other."""
    place = 0
    for piece in pieces:
        found = source.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def _passages(context: Context, passages: str | None, body: str) -> Mapping[int, str]:
    """The numbered passages: those of a list from 1 on."""
    if passages is None:
        return _numbered(body)
    if "{{" in passages or "{%" in passages:
        return _numbered(render_template(context, passages))
    row = context.variation.source if context.variation.source is not None else context.scope.get("source")
    row = row if isinstance(row, Mapping) else {}
    if passages not in row:
        raise UsageError(f"`passages: {passages}` of `citation` names no source column", nearest(passages, row))
    value = row[passages]
    if isinstance(value, list | tuple):
        return {number: as_text(item) for number, item in enumerate(value, 1)}
    return _numbered(as_text(value))


@lru_cache(maxsize=16)
def _numbered(text: str) -> Mapping[int, str]:
    """`[1] …`, `1. …` at the starts of lines, each up to the next."""
    marks = list(NUMBERED.finditer(text))
    stops = [match.start() for match in marks[1:]] + [len(text)]
    found: dict[int, str] = {}
    for match, stop in zip(marks, stops, strict=False):  # without marks there is still the end
        found.setdefault(int(match[1] or match[2] or match[3]), text[match.end() : stop])
    return found


def _told(passages: Mapping[int, str]) -> str:
    if not passages:
        return "the source has no numbered passages"
    return f"there are {min(passages)} to {max(passages)}" if len(passages) > 1 else f"there is {min(passages)} alone"
