"""Style features of many texts at once: every character is looked up in a table of classes, and the classes counted."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CLASSES = (
    "other", "lower", "upper", "letter", "digit", "space", "line break", "stop", "question", "exclamation", "comma",
    "colon", "dash", "quote", "bracket", "markdown", "sign", "symbol",
)  # fmt: skip
(
    OTHER, LOWER, UPPER, LETTER, DIGIT, SPACE, BREAK, STOP, QUESTION, EXCLAMATION, COMMA, COLON, DASH, QUOTE, BRACKET,
    MARKDOWN, SIGN, SYMBOL,
) = range(len(CLASSES))  # fmt: skip
CHUNK = 4_000_000
"""Characters looked at together."""
_LISTED = {
    STOP: ".。…।",
    QUESTION: "?？؟",
    EXCLAMATION: "!！",
    COMMA: ",，、،",
    COLON: ":;：；؛",
    DASH: "-–—―",
    QUOTE: "\"'“”‘’«»„",
    BRACKET: "()[]{}（）【】",
    MARKDOWN: "*#`|_~>",
    BREAK: "\n\r\u2028\u2029",
}
_BY_CATEGORY = {"Lu": UPPER, "Lt": UPPER, "Ll": LOWER, "Nd": DIGIT}
_BY_GROUP = {"L": LETTER, "M": LETTER, "N": DIGIT, "Z": SPACE, "C": SPACE, "P": SIGN, "S": SYMBOL}
FEATURES = (
    "characters a word", "words a sentence", "capitals", "digits", "stops", "commas", "colons and semicolons",
    "questions", "exclamations", "dashes", "quotes", "brackets", "markdown signs", "symbols and emoji",
    "starts with a capital", "ends with a sign", "has line breaks",
)  # fmt: skip


@cache
def _table() -> NDArray[np.uint8]:
    """The class of each code point of the basic plane; what lies beyond is a symbol, save ideographs."""
    found = np.empty(1 << 16, dtype=np.uint8)
    for code in range(1 << 16):
        category = unicodedata.category(chr(code))
        found[code] = _BY_CATEGORY.get(category, _BY_GROUP[category[0]])
    for kind, signs in _LISTED.items():
        for sign in signs:
            found[ord(sign)] = kind
    return found


def _classes(text: str) -> NDArray[np.uint8]:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    found: NDArray[np.uint8] = _table()[np.minimum(codes, (1 << 16) - 1)]
    beyond = codes >= 1 << 16
    if beyond.any():
        found = np.where(beyond, np.where((codes >= 0x20000) & (codes < 0x40000), LETTER, SYMBOL), found).astype(
            np.uint8
        )
    return found


def style_features(texts: Sequence[str]) -> Floats:
    """float64 [n, len(FEATURES)]: signs and digits as a share of the characters that are no space, the last three
    0 or 1, words and sentences by their mean lengths. A text without visible characters is all zeros."""
    parts = []
    first, size = 0, 0
    for place, text in enumerate(texts):
        size += len(text) + 1
        if size >= CHUNK or place == len(texts) - 1:
            parts.append(_features(texts[first : place + 1]))
            first, size = place + 1, 0
    return np.concatenate(parts) if parts else np.zeros((0, len(FEATURES)))


def _features(texts: Sequence[str]) -> Floats:
    """Of one chunk; texts stand one after another with a line break between them, which counts for none."""
    kinds = _classes("\n".join([*texts, ""]))
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    ends = np.cumsum(lengths + 1) - 1
    starts = ends - lengths
    rows = np.repeat(np.arange(len(texts)), lengths + 1)
    cells = np.bincount(rows * len(CLASSES) + kinds, minlength=len(texts) * len(CLASSES))
    counts: Floats = cells.reshape(len(texts), len(CLASSES)).astype(np.float64)
    counts[:, BREAK] -= 1
    inner = (kinds >= LOWER) & (kinds <= DIGIT)
    before = np.zeros_like(inner)
    before[1:] = inner[:-1]
    words = np.bincount(rows[inner & ~before], minlength=len(texts)).astype(np.int64)
    closing = (kinds == STOP) | (kinds == QUESTION) | (kinds == EXCLAMATION)
    after = np.zeros_like(closing)
    after[:-1] = (kinds[1:] == SPACE) | (kinds[1:] == BREAK) | (kinds[1:] == QUOTE) | (kinds[1:] == BRACKET)
    sentences = np.bincount(rows[closing & after], minlength=len(texts)).astype(np.int64)
    return _table_of_features(counts, words, np.maximum(1, sentences), _edges(kinds, rows, starts, ends))


def _edges(
    kinds: NDArray[np.uint8], rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a text's first visible character is a capital, and whether its last is a sign."""
    seen = np.flatnonzero((kinds != SPACE) & (kinds != BREAK))
    if not len(seen):
        nothing = np.zeros(len(starts), dtype=bool)
        return nothing, nothing
    first = np.minimum(np.searchsorted(seen, starts), len(seen) - 1)
    last = np.maximum(np.searchsorted(seen, ends) - 1, 0)
    row = np.arange(len(starts))
    opens = (rows[seen[first]] == row) & (kinds[seen[first]] == UPPER)
    closes = (rows[seen[last]] == row) & (kinds[seen[last]] >= STOP)
    return opens, closes


def _table_of_features(
    counts: Floats, words: NDArray[np.int64], sentences: NDArray[np.int64], edges: tuple[NDArray[np.bool_], ...]
) -> Floats:
    visible = counts.sum(axis=1) - counts[:, SPACE] - counts[:, BREAK]
    shown = np.maximum(1.0, visible)
    letters = counts[:, LOWER : DIGIT + 1].sum(axis=1)
    shares = (UPPER, DIGIT, STOP, COMMA, COLON, QUESTION, EXCLAMATION, DASH, QUOTE, BRACKET, MARKDOWN, SYMBOL)
    found = np.column_stack(
        [
            letters / np.maximum(1, words),
            words / sentences,
            *(counts[:, kind] / shown for kind in shares),
            *edges,
            counts[:, BREAK] > 0,
        ]
    ).astype(np.float64)
    found[visible == 0] = 0.0
    return found
