"""Words of many texts as arrays of numbers: what statistics of wording and text spaces count.

A word is a run of letters, marks and digits, an apostrophe between letters included, without regard to case; in scripts
written without spaces every sign is a word, and so is a pictograph. No list of words and no language is assumed.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.minhash import BASE, U64, Ints, mix, stream

BLOCK = 2_000_000
"""Characters looked at together."""
_POINTS = 0x110000
_APART, _LETTER, _DIGIT, _SIGN, _MARK = 0, 1, 2, 3, 4
_UNSPACED = (
    (0x0E00, 0x10A0), (0x1780, 0x1800), (0x2E80, 0x3000), (0x3005, 0x3008), (0x3040, 0x3130), (0x31A0, 0x3200),
    (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x1B000, 0x1B170), (0x20000, 0x40000),
)  # fmt: skip
"""Code points of scripts written without spaces, [from, to)."""
_APOSTROPHES = (0x27, 0x2019)
_GRAM = stream(11, 2) | np.uint64(1)
_SALT = stream(12, 1)[0]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of n texts, one after another: `hashes` uint64 [words], equal for equal words; `ends` int64 [n].

    `numeric`: the word begins with a digit. `capital`: it begins with a capital letter.
    """

    hashes: U64
    ends: Ints
    numeric: NDArray[np.bool_]
    capital: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def sizes(self) -> Ints:
        """int64 [n]: words of each text."""
        return np.diff(self.ends, prepend=0)

    @property
    def starts(self) -> Ints:
        """int64 [n]: where each text's words begin."""
        return self.ends - self.sizes

    @property
    def owners(self) -> Ints:
        """int64 [words]: the text of each word."""
        return np.repeat(np.arange(len(self.ends)), self.sizes)

    def take(self, rows: Ints) -> Tokens:
        """Those of some texts, in their order."""
        sizes = self.sizes[rows]
        ends = np.cumsum(sizes)
        places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(self.ends[rows] - ends, sizes)
        return Tokens(self.hashes[places], ends, self.numeric[places], self.capital[places])

    def grams(self, n: int) -> tuple[U64, Ints]:
        """Runs of `n` words within a text: their hashes, and the text of each."""
        owners = self.owners
        if n == 1:
            return self.hashes, owners
        count = len(self.hashes) - n + 1
        if count <= 0:
            return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        inside = owners[:count] == owners[n - 1 :]
        return gram_hashes(self.hashes, n)[inside], owners[:count][inside]


def gram_hashes(hashes: U64, n: int) -> U64:
    """The hash of every run of `n` words, uint64 [words − n + 1], whoever the words belong to."""
    count = len(hashes) - n + 1
    found = hashes[:count]
    for step in range(1, n):
        found = mix(found * _GRAM[0] + hashes[step : step + count] * _GRAM[1])
    return found


def tokenize(texts: Sequence[str], *, marks: bool = False) -> Tokens:
    """The words of every text. `marks`: punctuation marks and signs are words of their own too."""
    parts = [_tokenize(part, marks) for part in _blocks(texts)]
    if len(parts) == 1:
        return parts[0]
    shifts = np.cumsum([0, *(len(part.hashes) for part in parts[:-1])])
    return Tokens(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.ends + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.numeric for part in parts]),
        np.concatenate([part.capital for part in parts]),
    )


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Parts of about `BLOCK` characters; at least one."""
    part: list[str] = []
    held = 0
    for text in texts:
        if held + len(text) > BLOCK and part:
            yield part
            part, held = [], 0
        if not text.isascii() and not unicodedata.is_normalized("NFKC", text):
            text = unicodedata.normalize("NFKC", text)
        part.append(text)
        held += len(text)
    yield part


def _tokenize(texts: list[str], marks: bool) -> Tokens:
    kinds, folds, capitals = _tables()
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    borders = np.cumsum(lengths)
    kind = kinds[points]
    first = np.zeros(len(points) + 1, dtype=bool)  # where a text begins
    first[0] = True
    first[borders] = True
    _join_apostrophes(points, kind, first)
    kind[kind == _MARK] = _SIGN if marks else _APART
    inner = (kind == _LETTER) | (kind == _DIGIT)
    alone = ~inner
    begins = inner.copy()
    begins[1:] &= alone[:-1] | first[1:-1]
    begins |= kind == _SIGN
    inside = np.flatnonzero(kind)
    starts = np.flatnonzero(begins)
    # In the array of all characters that belong to words, where each word begins.
    places = np.searchsorted(inside, starts)
    spans = np.diff(places, append=len(inside))
    within = np.arange(len(inside)) - np.repeat(places, spans)
    terms = mix(folds[points[inside]].astype(np.uint64) + _SALT) * _powers(int(spans.max(initial=0)))[within]
    hashes = mix(np.add.reduceat(terms, places)) if len(places) else np.empty(0, dtype=np.uint64)
    ends = np.searchsorted(starts, borders)
    return Tokens(hashes, ends.astype(np.int64), kind[starts] == _DIGIT, capitals[points[starts]])


def _join_apostrophes(points: NDArray[np.uint32], kind: NDArray[np.uint8], first: NDArray[np.bool_]) -> None:
    """An apostrophe between two letters of a text is part of their word."""
    places = np.flatnonzero((points == _APOSTROPHES[0]) | (points == _APOSTROPHES[1]))
    places = places[(places > 0) & (places < len(points) - 1)]
    whole = (kind[places - 1] == _LETTER) & (kind[places + 1] == _LETTER) & ~first[places] & ~first[places + 1]
    kind[places[whole]] = _LETTER


@functools.cache
def _powers(count: int) -> U64:
    size = 1 << max(6, (count - 1).bit_length())
    if size != count:
        return _powers(size)
    powers = np.full(size, BASE, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


@functools.cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.bool_]]:
    """By code point: its kind, its lower case, and whether it is a capital."""
    category = unicodedata.category
    names = np.array([category(chr(code)) for code in range(_POINTS)])
    kinds = np.zeros(_POINTS, dtype=np.uint8)
    kinds[np.char.startswith(names, "L") | np.char.startswith(names, "M")] = _LETTER
    kinds[np.char.startswith(names, "N")] = _DIGIT
    kinds[np.char.startswith(names, "P") | np.char.startswith(names, "S")] = _MARK
    kinds[0xFE00:0xFE10] = _APART  # variation selectors, which NFKC keeps after pictographs
    kinds[names == "So"] = _SIGN
    for start, end in _UNSPACED:
        kinds[start:end][kinds[start:end] == _LETTER] = _SIGN
    capitals = (names == "Lu") | (names == "Lt")
    folds = np.arange(_POINTS, dtype=np.uint32)
    for code in np.flatnonzero(capitals).tolist():
        lower = chr(code).lower()
        folds[code] = ord(lower) if len(lower) == 1 else code
    folds[_APOSTROPHES[1]] = _APOSTROPHES[0]
    return kinds, folds, capitals
