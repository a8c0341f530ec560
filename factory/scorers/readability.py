"""Readability: how easy a text is by the length of its sentences and words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from factory.errors import UsageError
from factory.scorers import Context, text_of, traits
from factory.scorers.coded import Table, batches, code_words
from factory.scorers.sentences import LONG_WORDS, SYLLABLES, count_sentences
from factory.scorers.words import words
from factory.types import Candidate, Score

Formula = Literal["auto", "flesch", "grade", "lix"]
SPANS = {"flesch": 100.0, "grade": 20.0, "lix": 100.0}
"""How many points of a formula are the whole of the value's range."""
SHOWN = {"flesch": "Flesch reading ease", "grade": "Flesch-Kincaid grade", "lix": "LIX"}
LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
LETTER = re.compile(r"[^\W\d_]")
SYLLABLE_TABLE = Table(lambda found: [SYLLABLES[word] for word in found])
LONG_WORD_TABLE = Table(lambda found: [LONG_WORDS[word] for word in found])


def measure(text: str, formula: str) -> float:
    """A formula's points for a text with at least one word.

    flesch: 206.835 − 1.015 words/sentences − 84.6 syllables/words (Flesch 1948, A new readability yardstick).
    grade: 0.39 words/sentences + 11.8 syllables/words − 15.59 (Kincaid and others 1975), in US school years.
    lix: words/sentences + 100 × words of more than six letters/words (Björnsson 1968, Läsbarhet).
    """
    found = words(text)
    marked = sum(map((LONG_WORDS if formula == "lix" else SYLLABLES).__getitem__, found))
    return _points(formula, text, len(found), marked)


def _points(formula: str, text: str, amount: int, marked: int) -> float:
    """`marked`: the text's long words for lix, its syllables for the others."""
    sentences = count_sentences(text)
    if formula == "lix":
        return amount / sentences + 100 * marked / amount
    if formula == "grade":
        return 0.39 * amount / sentences + 11.8 * marked / amount - 15.59
    return 206.835 - 1.015 * amount / sentences - 84.6 * marked / amount


def _cannot_tell(text: str, formula: str) -> str:
    """Why the formula says nothing of this text, or ''."""
    if text.isascii() or 8 * (len(text.encode(errors="replace")) - len(text)) < len(text):  # ASCII for the most part
        return ""
    letters = len(LETTER.findall(text))
    if 2 * len(UNSPACED.findall(text)) > letters:
        return "written without spaces between words: no formula here measures it"
    if formula != "lix" and 2 * len(LATIN.findall(text)) < letters:
        return f"not in Latin letters: the {SHOWN[formula]} counts English syllables"
    return ""


@traits(low=0, high=1)
class Readability:
    """How easy a text is to read; 0…1, higher is easier, or nearer to `target`; missing where no formula applies.

    `formula`: `flesch` (reading ease, 100 is very easy), `grade` (Flesch-Kincaid, US school years), both for English;
    `lix` for any language that puts spaces between words (20 is very easy, 60 very hard); `auto`: `flesch` where the
    recipe's language is English, else `lix`. The value is flesch / 100, 1 − grade / 20 or 1 − lix / 100, cut to 0…1;
    with `target`, 1 − the distance to it over the same 100 or 20 points. `at_least` and `at_most` veto. All three
    bounds are in the formula's points.
    """

    def __init__(
        self,
        *,
        formula: Formula = "auto",
        at_least: float | None = None,
        at_most: float | None = None,
        target: float | None = None,
        on: str | None = None,
    ):
        if at_least is not None and at_most is not None and at_least > at_most:
            raise UsageError("no text fits these bounds of `readability`", "at_least ≤ at_most")
        self._formula, self._on = formula, on
        self._least, self._most, self._target = at_least, at_most, target

    def __call__(self, candidates: Sequence[Candidate], context: Context) -> list[Score]:
        formula: str = self._formula
        if formula == "auto":
            formula = "flesch" if context.language.lower()[:2] == "en" else "lix"
        table = LONG_WORD_TABLE if formula == "lix" else SYLLABLE_TABLE
        scores = []
        for part in batches([text_of(candidate, self._on) for candidate in candidates]):
            coded = code_words(part)
            for text, amount, marked in zip(part, coded.amounts(), coded.sums(table.find(coded)), strict=True):
                scores.append(self._score(formula, text, amount, marked))
        return scores

    def _score(self, formula: str, text: str, amount: int, marked: int) -> Score:
        if why := _cannot_tell(text, formula) if amount else "no words":
            return Score("readability", None, why)
        points = _points(formula, text, amount, marked)
        shown = f"{SHOWN[formula]} {points:.1f}"
        span = SPANS[formula]
        if self._target is not None:
            value = 1 - abs(points - self._target) / span
        else:
            value = points / span if formula == "flesch" else 1 - points / span
        value = min(1.0, max(0.0, value))
        if self._least is not None and points < self._least:
            return Score("readability", value, f"{shown}, at least {self._least:g} wanted", vetoed=True)
        if self._most is not None and points > self._most:
            return Score("readability", value, f"{shown}, at most {self._most:g} wanted", vetoed=True)
        return Score("readability", value, shown)
