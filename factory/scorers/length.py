"""Length: bounds veto, a target gives the closeness to it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from factory.errors import UsageError
from factory.scorers import Context, text_of, traits, veto
from factory.scorers.words import single_spaced
from factory.types import Candidate, Score

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese kana, Han."""


def count_words(text: str) -> int:
    """Words between white space; in scripts written without spaces every character counts as one."""
    if text.isascii():
        return single_spaced(text).count(" ") + 1 if text and not text.isspace() else 0
    rest, characters = UNSPACED.subn(" ", text)
    return len(rest.split()) + characters


@traits(low=0, high=1)
def length(
    candidate: Candidate,
    context: Context,
    *,
    min_words: Annotated[int, Field(ge=0)] | None = None,
    max_words: Annotated[int, Field(ge=0)] | None = None,
    min_chars: Annotated[int, Field(ge=0)] | None = None,
    max_chars: Annotated[int, Field(ge=0)] | None = None,
    target_words: Annotated[int, Field(ge=1)] | None = None,
    on: str | None = None,
) -> Score:
    """Word and character bounds veto; 0…1, higher is nearer to `target_words` (1 without a target).

    The value is the smaller of words and target over the larger.
    """
    if (
        (min_words or 0) > (max_words if max_words is not None else float("inf"))
        or (min_chars or 0) > (max_chars if max_chars is not None else float("inf"))
        or (target_words is not None and target_words < 1)
    ):
        raise UsageError("no text fits these bounds of `length`", "min ≤ max, and target_words ≥ 1")
    text = text_of(candidate, on)
    words, chars = count_words(text), len(text)
    for amount, least, most, unit in (
        (words, min_words, max_words, "words"),
        (chars, min_chars, max_chars, "characters"),
    ):
        if least is not None and amount < least:
            return veto("length", f"{amount} {unit}, at least {least} wanted")
        if most is not None and amount > most:
            return veto("length", f"{amount} {unit}, at most {most} wanted")
    return _pass(words, target_words)


@lru_cache(maxsize=1024)
def _pass(words: int, target: int | None) -> Score:
    if target is None:
        return Score("length", 1.0, f"{words} words")
    return Score("length", min(words, target) / max(words, target), f"{words} words of {target}")
