"""A text as the patterns see it: foreign digits, letters of full width, blanks and hyphens as ASCII has them, and no
signs without width; with the way back to places of the text as it stands."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLANKS = frozenset("\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")
HYPHENS = frozenset("\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d")


class _Folding(dict[int, str]):
    """What each code point becomes, worked out when it is first met. At most one sign: places can be traced back."""

    def __missing__(self, point: int) -> str:
        folded = self[point] = _fold(chr(point))
        return folded


def _fold(char: str) -> str:
    if char.isascii():
        return char
    if char in BLANKS:
        return " "
    if char in HYPHENS:
        return "-"
    if unicodedata.category(char) == "Cf" or 0xFE00 <= ord(char) < 0xFE10:
        return ""
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    if 0xFF01 <= ord(char) <= 0xFF5E:
        return chr(ord(char) - 0xFEE0)
    return char


_FOLDING = _Folding()
_UPPER, _LOWER, _DIGITS = range(ord("A"), ord("Z") + 1), range(ord("a"), ord("z") + 1), range(ord("0"), ord("9") + 1)
_SHAPE = bytes(
    ord("A") if sign in _UPPER else ord("a") if sign in _LOWER else ord("d") if sign in _DIGITS else sign
    for sign in range(256)
)
_TOKEN_SIGNS = frozenset(b"Aad_+/=-")
_TOKENS = bytes(ord("t") if sign in _TOKEN_SIGNS else ord(" ") for sign in range(256))


@dataclass(frozen=True)
class Plain:
    """`text` as it stands, `folded` as patterns see it."""

    text: str
    folded: str

    @cached_property
    def lower(self) -> str:
        """`folded` in lower case, sign for sign (a capital whose small letter takes two signs stays)."""
        lower = self.folded.lower()
        if len(lower) == len(self.folded):
            return lower
        return "".join(low if len(low := char.lower()) == 1 else char for char in self.folded)

    @cached_property
    def shape(self) -> bytes:
        """Capitals as A, small letters as a, digits as d, signs that ASCII has not as ?: sign for sign."""
        return self.folded.encode("ascii", "replace").translate(_SHAPE)

    @cached_property
    def digits(self) -> int:
        """How many digits stand in a row at most, up to 12, when blanks, points, hyphens and the like are left out."""
        bare = self.shape.translate(None, b" .-/()\n:")
        for count in (12, 7, 5, 4, 1):
            if b"d" * count in bare:
                return count
        return 0

    @cached_property
    def long_token(self) -> bool:
        """Whether 16 letters, digits or signs of a key stand in a row."""
        return b"t" * 16 in self.shape.translate(_TOKENS)

    @cached_property
    def _places(self) -> NDArray[Any] | None:
        if len(self.folded) == len(self.text):
            return None
        kept = np.fromiter((bool(_FOLDING[ord(char)]) for char in self.text), dtype=bool, count=len(self.text))
        return np.flatnonzero(kept)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where folded[start:end] (not empty) stands in the text."""
        if self._places is None:
            return start, end
        return int(self._places[start]), int(self._places[end - 1]) + 1


def fold(text: str) -> Plain:
    """The text with its folded form."""
    return Plain(text, text if text.isascii() else text.translate(_FOLDING))
