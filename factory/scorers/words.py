"""What rule scorers share of a text, worked out once: scorers of one candidate look at the same text in turn."""

from __future__ import annotations

import re
from functools import lru_cache

WORD = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    "|[^\\W_]+(?:['’][^\\W_]+)*"
)
"""A run of letters and digits, apostrophes inside included; in scripts written without spaces, one sign."""


@lru_cache(maxsize=64)
def folded(text: str) -> str:
    """The text in one case."""
    return text.casefold()


@lru_cache(maxsize=64)
def words(text: str) -> tuple[str, ...]:
    """The words of a text in order, case-folded: runs of letters and digits; every sign of unspaced scripts."""
    return tuple(WORD.findall(folded(text)))


@lru_cache(maxsize=64)
def vocabulary(text: str) -> frozenset[str]:
    """The different words of a text."""
    return frozenset(words(text))


@lru_cache(maxsize=256)
def grams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    """The different runs of n words of a text."""
    found = words(text)
    return frozenset(zip(*(found[offset:] for offset in range(n)), strict=False))
