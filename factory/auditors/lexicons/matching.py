"""Finds the terms of many groups in many texts in one reading.

A text's words are looked up in one dictionary. What hangs on more than the word (phrases, names that are common words
too, terms that count before a noun for a person) is looked at by patterns, only in texts that hold a word of theirs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.lexicons.loading import NAMES, Lexicon, Support

WORD = re.compile(r"[^\W\d_]+")
JOINT = "[\\s\\-'’‐‑]+"
_BEFORE = re.compile(r"([^\W\d_]+)\.?[\s,\"'“”‘’(\-]*$")
_AFTER = re.compile(r"['’]s\b|\s+([^\W\d_]+)")
_ENDS = ".!?:\n"
Found = Callable[[str], bool]


@dataclass(frozen=True, eq=False)
class Matcher:
    """Terms of groups, numbered through. `direct`: group numbers by word; `patterns`: tests by a word they need;
    `exceptions`: phrases that count for nothing, by a word of theirs that else would count.
    """

    direct: Mapping[str, tuple[int, ...]]
    patterns: Mapping[str, tuple[tuple[int, Found], ...]]
    exceptions: Mapping[str, re.Pattern[str]]
    count: int
    unspaced: tuple[tuple[int, re.Pattern[str]], ...] = ()

    def members(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """[texts, groups]: whether a text holds a term of a group."""
        found = np.zeros((len(texts), self.count), dtype=np.bool_)
        keys = frozenset(self.direct) | frozenset(self.patterns)
        rows: list[int] = []
        numbers: list[int] = []
        for row, text in enumerate(texts):
            for number in self._numbers(text, keys):
                rows.append(row)
                numbers.append(number)
        found[rows, numbers] = True
        return found

    def _numbers(self, text: str, keys: frozenset[str]) -> Iterable[int]:
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        hits = keys.intersection(WORD.findall(text))
        cleaned = text
        for hit in sorted(hits & self.exceptions.keys()):
            cleaned = self.exceptions[hit].sub(" ", cleaned)
        if len(cleaned) != len(text):
            text, hits = cleaned, keys.intersection(WORD.findall(cleaned))
        numbers: set[int] = set()
        for hit in hits:
            numbers.update(self.direct.get(hit, ()))
            for number, holds in self.patterns.get(hit, ()):
                if number not in numbers and holds(text):
                    numbers.add(number)
        numbers.update(number for number, pattern in self.unspaced if pattern.search(text))
        return numbers


def build_matcher(lexicons: Sequence[Lexicon]) -> Matcher:
    """One matcher for the groups of all these lexicons, numbered in their order."""
    direct: dict[str, list[int]] = {}
    patterns: dict[str, list[tuple[int, Found]]] = {}
    unspaced: list[tuple[int, re.Pattern[str]]] = []
    exceptions: dict[str, None] = {}
    number = 0
    for lexicon in lexicons:
        exceptions.update(dict.fromkeys(lexicon.exceptions))
        for kinds in lexicon.groups.values():
            if not lexicon.support.spaced:
                every = sorted({term for terms in kinds.values() for term in terms}, key=len, reverse=True)
                unspaced.append((number, re.compile("|".join(map(re.escape, every)), re.IGNORECASE)))
            else:
                for kind, terms in kinds.items():
                    _add(kind, terms, number, lexicon.support, direct, patterns)
            number += 1
    return Matcher(
        {word: tuple(dict.fromkeys(found)) for word, found in direct.items()},
        {word: tuple(found) for word, found in patterns.items()},
        _by_word(exceptions, {*direct, *patterns}),
        number,
        tuple(unspaced),
    )


def _by_word(exceptions: Iterable[str], keys: set[str]) -> dict[str, re.Pattern[str]]:
    """The exceptions by the forms of their longest word that counts elsewhere; the others change nothing."""
    found: dict[str, list[str]] = {}
    for phrase in exceptions:
        words = [word for word in WORD.findall(phrase) if any(form in keys for form in _forms(word))]
        for form in _forms(max(words, key=len)) if words else ():
            if form in keys:
                found.setdefault(form, []).append(phrase)
    return {form: phrase_pattern(phrases) for form, phrases in sorted(found.items())}


def _add(
    kind: str,
    terms: Iterable[str],
    number: int,
    support: Support,
    direct: dict[str, list[int]],
    patterns: dict[str, list[tuple[int, Found]]],
) -> None:
    for given in terms:
        term = unicodedata.normalize("NFC", given)
        words = WORD.findall(term)
        whole = len(words) == 1 and words[0] == term
        any_case = kind in ("words", "phrases", "with_person")
        if not words:
            continue
        if whole and kind in ("words", "phrases", "proper", *NAMES):
            for form in _forms(term) if any_case else (term,):
                direct.setdefault(form, []).append(number)
            continue
        holds = _test(kind, term, support)
        rarest = max(words, key=len)  # as far as one can tell: the longest
        for form in _forms(rarest) if any_case else (rarest,):
            patterns.setdefault(form, []).append((number, holds))


def _forms(word: str) -> tuple[str, ...]:
    """A word in small letters, with a capital, and in capitals where it is no abbreviation then."""
    lower = word.casefold() if word.isascii() else word.lower()
    forms = (lower, lower[:1].upper() + lower[1:], *((lower.upper(),) if len(lower) > 2 else ()))
    return tuple(dict.fromkeys(forms))


def _flexible(term: str) -> str:
    """The term as a pattern in which spaces, hyphens and apostrophes are alike, with whole words at its ends."""
    return r"(?<![^\W\d_])" + JOINT.join(re.escape(part) for part in re.split(JOINT, term) if part) + r"(?![^\W\d_])"


def phrase_pattern(terms: Iterable[str]) -> re.Pattern[str]:
    """What finds any of these words or phrases, whatever their case."""
    return re.compile("|".join(_flexible(term) for term in sorted(terms, key=len, reverse=True)), re.IGNORECASE)


@lru_cache(maxsize=64)
def exception_pattern(lexicon: Lexicon) -> re.Pattern[str] | None:
    """What finds the phrases of a lexicon that count for nothing, None without any."""
    return phrase_pattern(lexicon.exceptions) if lexicon.exceptions else None


def _test(kind: str, term: str, support: Support) -> Found:
    """Whether a text holds the term as its kind asks."""
    if kind in ("careful", "capital"):
        pattern = re.compile(_flexible(term))
        stands = as_name if kind == "careful" else _inside
        return lambda text: any(stands(text, match, support) for match in pattern.finditer(text))
    if kind == "with_person":
        return _searching(re.compile(_flexible(term) + _following(support), re.IGNORECASE))
    return _searching(re.compile(_flexible(term), re.IGNORECASE if kind in ("words", "phrases") else 0))


@lru_cache(maxsize=16)
def person_follows(support: Support) -> re.Pattern[str]:
    """What finds, right behind a term, the noun for a person that it belongs to."""
    return re.compile(_following(support), re.IGNORECASE)


def _following(support: Support) -> str:
    between = "|".join(re.escape(word) for word in support.between) or "(?!)"
    persons = "|".join(re.escape(word) for word in support.persons) or r"[^\W\d_]+"
    return rf"(?:,?[\s\-]+(?:{between})){{0,2}},?[\s\-]+(?:{persons})(?![^\W\d_])"


def _searching(pattern: re.Pattern[str]) -> Found:
    return lambda text: pattern.search(text) is not None


def _previous(text: str, start: int) -> str:
    """The word before a place in the same sentence, or ''."""
    before = text[max(0, start - 40) : start]
    match = _BEFORE.search(before)
    if match is None:
        return ""
    return match[1]


def _opens(text: str, start: int, support: Support) -> bool:
    """Whether a sentence begins at a place; the dot of a title ends none."""
    before = text[max(0, start - 40) : start].rstrip(" \t\"'“”‘’(*-–—#>")
    if not before:
        return True
    return before[-1] in _ENDS and _previous(text, start) not in support.titles


def _inside(text: str, match: re.Match[str], support: Support) -> bool:
    """Whether a capital is one by itself: no sentence begins here, and the word before is no heading's."""
    if _opens(text, match.start(), support):
        return False
    return _previous(text, match.start())[:1].islower()


def as_name(text: str, match: re.Match[str], support: Support) -> bool:
    """Whether a capitalised word stands where a name does: after a title or a word in small letters, or before what
    people do ("Will said", "Will's")."""
    previous = _previous(text, match.start())
    opens = _opens(text, match.start(), support)
    if previous in support.titles:
        return True
    if not opens and previous[:1].islower() and previous not in support.articles:
        return True
    after = _AFTER.match(text, match.end())
    if after is None or not (opens or not previous):
        return False
    return after[1] is None or after[1] in support.speaks


def known_terms(kinds: Mapping[str, Any]) -> frozenset[str]:
    """All terms of a group in small letters."""
    return frozenset(term.casefold() for terms in kinds.values() for term in terms)
