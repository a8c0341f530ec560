"""Grounded: numbers and names of an answer occur in the source; an extracted answer is a span of it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Literal

from factory.errors import UsageError
from factory.scorers import Context, as_text, column, shorten, text_of, traits, veto
from factory.scorers.citation import MARKER, source_text
from factory.scorers.matching import Source, look_in, visible
from factory.scorers.numerals import Mention, find_numbers, plain_digits
from factory.types import Candidate, Score

Check = Literal["veto", "count", "ignore"]
SMALL = 10
"""Numbers in words up to this one count things that a text itself lists; they are not looked up."""
MAX_NUMBERS = 2000
"""Numbers of one answer, and of a source where results are computed from them."""
ENUMERATION = re.compile(r"^[ \t>]{0,8}\(?\d{1,3}[.):][ \t]", re.MULTILINE)
LOOSE_PERCENT = re.compile(r"(?<![\d\s])\s?[(\[]?(?:%|percent)", re.IGNORECASE)
NAME_WORD = re.compile(r"(?<!\w)[^\W\d_](?:['’.-]?[^\W_])*")
_JOINING = "of the de da del der den van von di du la le al bin ibn y und et"
_PARTICLES = frozenset(_JOINING.split())
_SENTENCE = re.compile(r"(?:\A|[.!?:;…\n。！？\"“”«»„‘(\[*#>|•-])\s*\Z")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a source. `percents`: it has a percent sign apart from a number, as tables have."""

    values: frozenset[Fraction]
    ordered: tuple[Fraction, ...]
    percents: bool


@traits(low=0, high=1, expense="check")
def grounded(
    candidate: Candidate,
    context: Context,
    *,
    source: str | None = None,
    numbers: Check = "veto",
    names: Check = "count",
    span: str | None = None,
    allow_computed: bool = False,
    on: str | None = None,
) -> Score:
    """The share of numbers and names that occur in the source, 0…1, higher is better; a missing one may veto.

    `source`: a template; all text of the row's source by default. `numbers` are compared by value, in digits of any
    script or in words, grouped as the recipe's language does it; `allow_computed`: sums, differences, products,
    quotients and percentages of two of the source's numbers, and the sum of all, will do. `names`: runs of
    capitalised words that do not just begin a sentence. Each is `veto` (a missing one vetoes), `count` (it lowers
    the value alone) or `ignore`. `span`: a column whose text must stand in the source, up to case, white space and
    marks; the reason tells its offset in characters.
    """
    if numbers == names == "ignore" and span is None:
        raise UsageError("`grounded` has nothing to check", "leave `numbers` or `names` on, or name a `span` column")
    body = source_text(context, source, "grounded")
    told = ""
    if span is not None:
        wanted = as_text(column(candidate, span, "span")).strip()
        offset = look_in(body).offset(wanted) if wanted else None
        if offset is None:
            fault = f"{span} '{shorten(wanted)}' is not in the source" if wanted else f"{span} is empty"
            return veto("grounded", fault)
        told = f"{span} at {offset}"
    text = text_of(candidate, on)
    checked = 1 if span is not None else 0
    missing: list[tuple[Check, str]] = []
    if numbers != "ignore":
        if next(islice(re.finditer(r"\d+", text), MAX_NUMBERS, None), None) is not None:
            return veto("grounded", f"more than {MAX_NUMBERS:,} numbers, which are not checked")
        mentions = numbers_of(text, context.language)
        known = _numbers_in(body, context.language)
        lacking = [one for one in mentions if not _occurs(one, known, allow_computed)]
        missing += [(numbers, f"the number {shorten(one.text)}") for one in lacking]
        checked += len(mentions)
    if names != "ignore":
        found = find_names(text)
        missing += [(names, f"the name '{shorten(name)}'") for name in found if not _named(name, look_in(body))]
        checked += len(found)
    return _score(missing, checked, told)


def _score(missing: Sequence[tuple[Check, str]], checked: int, told: str) -> Score:
    """The share found; a veto where one that must be there is missing."""
    value = 1 - len(missing) / checked if checked else 1.0
    fatal = [what for check, what in missing if check == "veto"]
    shown = (fatal or [what for _, what in missing])[:1]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    fault = f"{shown[0]} is not in the source{more}" if shown else ""
    if fatal:
        return veto("grounded", fault, value)
    reason = "; ".join(part for part in (told, fault) if part)
    return Score("grounded", value, reason or (f"{checked} of {checked} found" if checked else "nothing to check"))


# Numbers


def numbers_of(text: str, language: str) -> list[Mention]:
    """The numbers of an answer that a source must hold: without list numbers, citation marks and small words."""
    text = _without_list_numbers(MARKER.sub(lambda match: " " * len(match[0]), plain_digits(text)))
    found = find_numbers(text, language)
    return [one for one in found if not (one.word and (one.value <= SMALL or one.value.denominator != 1))]


def _without_list_numbers(text: str) -> str:
    """Numbers of enumerations (`1.`, `2)` at lines' starts, counting up from 1 or 0) as spaces."""
    expected = {0, 1}

    def blank(match: re.Match[str]) -> str:
        nonlocal expected
        number = int(re.sub(r"\D", "", match[0]))
        if number not in expected:
            return match[0]
        expected = {0, 1, number + 1}
        return " " * len(match[0])

    return ENUMERATION.sub(blank, text)


@lru_cache(maxsize=16)
def _numbers_in(text: str, language: str) -> Numbers:
    values: set[Fraction] = set()
    for one in find_numbers(text, language):
        values.update((one.value, *one.parts))
        if one.percent:
            values.add(one.value * 100)
    return Numbers(frozenset(values), tuple(sorted(values)), LOOSE_PERCENT.search(text) is not None)


def _occurs(one: Mention, known: Numbers, allow_computed: bool) -> bool:
    if one.value in known.values or (one.parts and all(part in known.values for part in one.parts)):
        return True
    if one.percent and known.percents and one.value * 100 in known.values:
        return True
    if not allow_computed or len(known.ordered) > MAX_NUMBERS:
        return False
    digits = one.places + (2 if one.percent else 0)
    return computable(one.value, known.ordered, Fraction(1, 2 * 10**digits) if digits else Fraction(0), one.percent)


def computable(
    wanted: Fraction, known: Sequence[Fraction], room: Fraction = Fraction(0), percent: bool = False
) -> bool:
    """Whether a number is a sum, difference, product or quotient of two of the known ones (sorted), or the sum of all.

    A quotient may be rounded: off by `room` at most. `percent`: its distance from 1, a change in per cent, will do.
    """
    values = set(known)
    if wanted == sum(known):
        return True
    for one in known:
        if wanted - one in values or one - wanted in values or (one and wanted / one in values):
            return True
        if not one:
            continue
        for ratio in (wanted, 1 + wanted, 1 - wanted) if percent else (wanted,):
            low, high = sorted(((ratio - room) * one, (ratio + room) * one))
            place = bisect.bisect_left(known, low)
            if place < len(known) and known[place] <= high and known[place]:
                return True
    return False


# Names


def find_names(text: str) -> list[str]:
    """Runs of capitalised words, each once, in order. A single one that begins a sentence is not one.

    Crude: it knows no language. Words in capitals count too, `I` does not. Scripts without case have none.
    """
    found: dict[str, None] = {}
    text = visible(text)
    for start, run in _runs(text):
        if len(run) == 1 and (len(run[0]) == 1 or _begins_sentence(text, start)):
            continue
        found[" ".join(run)] = None
    return list(found)


def _runs(text: str) -> Iterator[tuple[int, list[str]]]:
    """(start, words) of runs of capitalised words, with particles between them (`Ludwig van Beethoven`)."""
    run: list[str] = []
    held: list[str] = []
    start = end = 0
    for match in NAME_WORD.finditer(text):
        word = match[0].removesuffix("'s").removesuffix("’s")
        joined = bool(run) and text[end : match.start()] in (" ", ". ") and not (text[end] == "." and len(run[-1]) > 2)
        if not joined and run:
            yield start, run
            run, held = [], []
        if word[0].isupper() and word not in ("I", "I'm", "I’m"):
            start = start if run else match.start()
            run += [*held, word]
            held = []
        elif run and len(held) < 2 and word in _PARTICLES:
            held.append(word)
        elif run:
            yield start, run
            run, held = [], []
        end = match.end()
    if run:
        yield start, run


def _begins_sentence(text: str, start: int) -> bool:
    return _SENTENCE.search(text, max(0, start - 12), start) is not None or not text[max(0, start - 12) : start].strip()


def _named(name: str, source: Source) -> bool:
    """Whether a name stands in the source, or each of its words does."""
    if source.holds(name):
        return True
    parts = [part for part in name.split() if part not in _PARTICLES]
    return all(source.holds(part) for part in parts)
