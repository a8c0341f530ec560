"""Language: is the text in the language that was wanted?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, NamedTuple

from pydantic import Field

from factory.errors import UsageError, nearest
from factory.scorers import Context, render_template, text_of, traits, veto
from factory.scorers.coded import batches, code_words
from factory.scorers.language_glance import WORDS, glance
from factory.scorers.language_model import Array, encode, model, probabilities
from factory.types import Candidate, Score

MIN_LETTERS = 20
SAMPLE = 3000
SURE = 0.9
"""From this probability on a glance is believed where it finds the wanted language."""
MIN_SIZE = 80
"""Bytes; a glance at fewer says too little."""
NOT_LETTERS = re.compile(r"[\W\d_]+")
SPACED = bytes(code if chr(code).isalpha() else 32 for code in range(256))
UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
LETTERS_PER_SIGN = 3
"""A Han, kana, Hangul or Thai sign tells as much as some three letters."""

SHORT = Score("language", 1.0, "too short to tell")


class Found(NamedTuple):
    """The probability of the wanted languages, the likeliest language, all probabilities, and the likeliest's place."""

    share: float
    label: str
    chances: Array
    best: int


@lru_cache(maxsize=256)
def _columns(codes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The wanted languages (`en` of `en-GB`), and their columns. Raises UsageError for one that is not known."""
    known = model().columns
    wanted = tuple(re.split(r"[-_]", code.strip().lower())[0] for code in codes)
    for code in wanted:
        if code not in known:
            near = nearest(code, known) if len(code) <= 3 else "use an ISO 639-1 code, such as `en` or `de`"
            raise UsageError(f"`language` does not know the language '{code}'", near)
    if not wanted:
        raise UsageError("`expect` of `language` is an empty list", "name at least one language, such as `en`")
    return wanted, tuple(dict.fromkeys(column for code in wanted for column in known[code]))


def _letters(text: str) -> str:
    """The text's letters, with single spaces for the rest."""
    if text.isascii():
        return " ".join(text.encode().translate(SPACED).decode().split())
    return NOT_LETTERS.sub(" ", text).strip()


def _amount(letters: str) -> int:
    if letters.isascii():
        return len(letters)
    return len(letters) + (LETTERS_PER_SIGN - 1) * len(UNSPACED.findall(letters))


def _sample(text: str) -> str:
    """The letters of a text; of a long one its beginning and its end."""
    return _letters(f"{text[:SAMPLE]} {text[-SAMPLE:]}" if len(text) > 2 * SAMPLE else text)


@traits(low=0, high=1)
def language(
    candidates: Sequence[Candidate],
    context: Context,
    *,
    expect: str | list[str] | None = None,
    min_probability: Annotated[float, Field(ge=0, le=1)] = 0.03,
    on: str | None = None,
) -> list[Score]:
    """The probability of the wanted language, 0…1, higher is better; below `min_probability` it vetoes.

    `expect`: a code, a list of codes or a template; the recipe's `language` by default. Digits and signs are left
    out; below 20 letters nobody can tell, so the value is 1. Naive Bayes over byte n-grams (langid.py, Lui and
    Baldwin 2012), with probabilities scaled by length. Of a text of 32 words or more, 32 are looked at first, from
    its beginning to its end; where they give the wanted languages less than 0.9, the whole text is read (beginning and
    end of one longer than 6000 characters): nothing is vetoed at a glance.
    """
    given = (context.language,) if expect is None else (expect,) if isinstance(expect, str) else expect
    wanted, columns = _columns(tuple([render_template(context, code) for code in given]))
    texts = [text_of(candidate, on) for candidate in candidates]
    found = _glance(texts, columns)
    unsure = [k for k, one in enumerate(found) if one is None]
    if unsure:
        for k, one in zip(unsure, _read([_sample(texts[k]) for k in unsure], columns), strict=True):
            found[k] = one
    return [_score(one, wanted, min_probability) for one in found]


def _glance(texts: Sequence[str], columns: Sequence[int]) -> list[Found | None]:
    """What some words of each text say, where they are sure of the wanted languages."""
    found: list[Found | None] = []
    for part in batches(texts):
        coded = code_words(part)
        sure: list[Found | None] = [None] * len(part)
        places = [k for k, (start, end) in enumerate(pairwise(coded.bounds)) if end - start >= WORDS]
        if places:
            chances, sizes = glance(coded, places)
            for k, size, one in zip(places, sizes, _among(chances, columns), strict=True):
                if one.share >= SURE and size >= MIN_SIZE:
                    sure[k] = one
        found += sure
    return found


def _read(samples: Sequence[str], columns: Sequence[int]) -> list[Found | None]:
    """What the model makes of each sample; None where there is too little to tell."""
    found: list[Found | None] = [None] * len(samples)
    places = [k for k, sample in enumerate(samples) if _amount(sample) >= MIN_LETTERS]
    if places:
        chances = probabilities([encode(samples[k]) for k in places])
        for k, one in zip(places, _among(chances, columns), strict=True):
            found[k] = one
    return found


def _among(chances: Array, columns: Sequence[int]) -> Iterator[Found]:
    """The wanted columns' share of each line of probabilities, the likeliest language, and its probability."""
    labels = model().labels
    shares = chances[:, columns[0]] if len(columns) == 1 else chances[:, columns].sum(axis=1)
    for k, (share, best) in enumerate(zip(shares.tolist(), chances.argmax(axis=1).tolist(), strict=True)):
        yield Found(min(1.0, round(share, 6)), labels[best], chances[k], best)


def _score(found: Found | None, wanted: Sequence[str], least: float) -> Score:
    if found is None:
        return SHORT
    if found.share < least:
        chance = float(found.chances[found.best])
        told = f"{found.label} ({chance:.0%}), wanted {' or '.join(wanted)} ({found.share:.0%})"
        return veto("language", told, found.share)
    return Score("language", found.share, found.label)
