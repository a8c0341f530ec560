"""What rule scorers share of a text, worked out once: scorers of one candidate look at the same text in turn.

Every function is cached for some texts, so that the scorers of a row's candidates find what one of them worked out;
the last few long texts are kept apart, so that memory stays bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import TypeVar

Found = TypeVar("Found")

WORD = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\\W_]+(?:'[^\\W_]+)*"
)
"""A run of letters and digits, apostrophes inside included; in scripts written without spaces, one sign."""
LONG = 20_000
"""Characters; longer texts have a small cache of their own."""
TEXTS = 256
LONG_TEXTS = 8

_LETTER = re.compile(r"[^\W_]|'")
_SPACED = bytes(code if _LETTER.match(chr(code)) else 32 for code in range(256))
"""Latin-1 with a space for every sign that is in no word."""
_SPACED_LOWER = _SPACED[:128].lower() + _SPACED[128:]
_SPACES = bytes(32 if chr(code).isspace() and code < 128 else code for code in range(256))
_PUNCTUATION = "“”„…–—•«»"
"""The signs outside Latin-1, and quotation marks, that are common in texts which are Latin-1 apart from them."""


def _kept(work: Callable[[str], Found]) -> Callable[[str], Found]:
    """`work` with its results kept."""
    short, long = lru_cache(maxsize=TEXTS)(work), lru_cache(maxsize=LONG_TEXTS)(work)

    def look(text: str) -> Found:
        return short(text) if len(text) < LONG else long(text)

    return update_wrapper(look, work)


@_kept
def folded(text: str) -> str:
    """The text in one case."""
    return text.casefold()


@_kept
def single_spaced(text: str) -> str:
    """The text with one space for every run of white space, and none at its ends."""
    if not text.isascii():
        return " ".join(text.split())
    plain = text.encode().translate(_SPACES).decode()
    while "  " in plain:
        plain = plain.replace("  ", " ")
    return plain.strip(" ")


@_kept
def tokens(text: str) -> tuple[str, ...]:
    """What stands between white space, case-folded."""
    return tuple(folded(text).split())


@_kept
def words(text: str) -> tuple[str, ...]:
    """The words of a text in order, case-folded: runs of letters and digits; every sign of unspaced scripts.

    An apostrophe between letters belongs to the word, and is always written `'`.
    """
    return tuple(spaced_words(text).decode("utf-8", "surrogatepass").split())


def spaced_words(text: str) -> bytes:
    """The words of a text in UTF-8, with one space or more between them."""
    if text.isascii():
        return _trim(text.encode().translate(_SPACED_LOWER))
    plain = folded(text).replace("’", "'")
    for sign in _PUNCTUATION:
        plain = plain.replace(sign, " ")
    try:
        return _trim(plain.encode("latin-1").translate(_SPACED)).decode("latin-1").encode()
    except UnicodeEncodeError:
        return " ".join(WORD.findall(plain)).encode("utf-8", "surrogatepass")


def _trim(spaced: bytes) -> bytes:
    """Without the apostrophes at the edges of words, in a text that else has nothing but letters and digits."""
    if b"'" in spaced:
        return spaced.replace(b"''", b"  ").replace(b" '", b"  ").replace(b"' ", b"  ").strip(b"'")
    return spaced


@_kept
def vocabulary(text: str) -> frozenset[str]:
    """The different words of a text."""
    return frozenset(words(text))


@lru_cache(maxsize=TEXTS)
def _short_grams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    found = words(text)
    return frozenset(zip(*(found[offset:] for offset in range(n)), strict=False))


_long_grams = lru_cache(maxsize=LONG_TEXTS)(_short_grams.__wrapped__)


def grams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    """The different runs of n words of a text."""
    return _short_grams(text, n) if len(text) < LONG else _long_grams(text, n)
