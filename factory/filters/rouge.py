"""ROUGE-L between texts (Lin 2004): how long a subsequence of words they share; and an index that finds the alike.

F1 of precision LCS/m and recall LCS/n, which is 2·LCS / (m + n). Tokens: NFKC, case-folded, runs of letters, digits
and their marks; every sign of a script written without spaces is a token. On ASCII these are the tokens of Google's
`rouge_score` without stemming, and so are the values. A text without any token is compared by its characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.minhash import mix, normalise
from factory.postings import Growing, Postings

Ints = NDArray[np.int64]
U64 = NDArray[np.uint64]

BLOCK, CELLS = 512, 1 << 22
"""Texts compared at once; and the most bits of all their masks, one mask for each token of the asked text."""
_ONE = np.uint64(1)
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FFF), (0x3005, 0x3007),
    (0x3040, 0x312F), (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)  # fmt: skip


class _Separating(dict[int, str]):
    """For `str.translate`: signs of unspaced scripts between spaces, other letters and digits as they are, else " "."""

    def __missing__(self, point: int) -> str:
        sign = chr(point)
        category = unicodedata.category(sign)
        if category[0] not in "LNM":
            kept = " "
        elif any(low <= point <= high for low, high in _UNSPACED):
            kept = f" {sign} "
        else:
            kept = sign
        self[point] = kept
        return kept


_SEPARATING = _Separating()


def tokens(text: str) -> list[str]:
    """The tokens of a text in order; its characters where there are none; empty only for a text of white space."""
    folded = normalise(text)
    found = folded.translate(_SEPARATING).split()
    return found or [sign for sign in folded if sign != " "]


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """The F1 of two token sequences, 0…1; 1 for two empty ones, 0 for one."""
    if not one or not other:
        return float(len(one) == len(other))
    return 2 * lcs(one, other) / (len(one) + len(other))


def lcs(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence of two token sequences."""
    if not one or not other:
        return 0
    known = {token: number for number, token in enumerate(dict.fromkeys(one))}
    asked = np.array([known[token] for token in one], dtype=np.int64)
    text = np.array([known.get(token, len(known)) for token in other], dtype=np.int64)
    return int(lcs_of_many(asked, text, np.array([len(text)]))[0])


def lcs_of_many(asked: Ints, texts: Ints, lengths: Ints) -> Ints:
    """The longest common subsequence of one token sequence with each of many: int64[n].

    `asked`: token numbers, from 0 and close together. `texts`: the numbers of all n texts one after the other,
    `lengths` how many each has, none of them 0. Bit-parallel (Crochemore et al. 2001; here in the form of Hyyrö 2004):
    V' = (V + (V & M)) | (V & ~M) for each asked token, M the places that hold it; the zeros in V count. All texts lie
    in one long integer, each with a spare bit above it that takes the carry.
    """
    ends = np.cumsum(lengths + 1)
    starts, size = ends - lengths - 1, int(ends[-1])
    places = np.arange(len(texts)) + np.repeat(np.arange(len(lengths)), lengths)
    known, where = np.unique(asked, return_inverse=True)
    table = np.full(max(int(known[-1]), int(texts.max())) + 1, -1, dtype=np.int32)
    table[known] = np.arange(len(known))
    found = table[texts]
    held = np.flatnonzero(found >= 0)
    bits = np.zeros((len(known) + 1, size), dtype=bool)
    bits[found[held], places[held]] = True
    bits[-1, places] = True
    masks = [int.from_bytes(line.tobytes(), "little") for line in np.packbits(bits, axis=1, bitorder="little")]
    every = ones = masks.pop()
    for token in where.reshape(-1).tolist():
        hit = ones & masks[token]
        ones = ((ones + hit) | (ones ^ hit)) & every
    left = np.frombuffer(ones.to_bytes(-(-size // 8), "little"), dtype=np.uint8)
    counted = np.add.reduceat(np.unpackbits(left, bitorder="little", count=size), starts, dtype=np.int64)
    return np.asarray(lengths - counted, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Asked:
    """A text made ready: its token numbers in order, and keys: one for each token and how often it came before."""

    numbers: Ints
    keys: U64


@dataclass(frozen=True, slots=True)
class Found:
    """The earliest text that is too much like the asked one: its place in the order of `add`, and the F1."""

    place: int
    similarity: float


class RougeIndex:
    """Texts in the order of `add`; `match` finds the earliest whose ROUGE-L F1 with a text is above a bound.

    Exact. Postings by token tell how many tokens every kept text shares with the asked one, and an LCS is never longer
    than that: only texts that could be above the bound by this count and by their length are compared. 24 bytes a
    token are kept.
    """

    def __init__(self, bound: float):
        self.bound = bound
        self.compared = 0
        """Pairs whose longest common subsequence was worked out."""
        self._numbers: dict[str, int] = {}
        self._tokens = Growing(np.int64)
        self._ends = Growing(np.int64)
        self._lengths = Growing(np.int64)
        self._postings = Postings()
        self._empty: int | None = None

    def __len__(self) -> int:
        return self._ends.size

    def prepare(self, text: str) -> Asked:
        """A text made ready for `match` and `add`. Learns its words, keeps nothing else."""
        known = self._numbers
        numbers = np.array([known.setdefault(token, len(known)) for token in tokens(text)], dtype=np.int64)
        return Asked(numbers, _keys(numbers))

    def match(self, asked: Asked) -> Found | None:
        """The earliest kept text whose F1 is above the bound."""
        size = len(asked.numbers)
        if not size:
            return None if self._empty is None else Found(self._empty, 1.0)
        held = self._postings.find(asked.keys)
        if held is None or not len(held):
            return None
        shared = np.bincount(held, minlength=len(self))
        able = np.flatnonzero(2 * shared / (size + self._lengths.view()) > self.bound)
        longest = int(self._lengths.view()[able].max(initial=1))
        for block in _blocks(able, min(BLOCK, max(1, CELLS // (size * longest)))):
            lengths = self._lengths.view()[block]
            similarity = 2 * self._lcs(asked.numbers, block, lengths) / (size + lengths)
            above = np.flatnonzero(similarity > self.bound)
            if len(above):
                return Found(int(block[above[0]]), float(similarity[above[0]]))
        return None

    def add(self, kept: Asked) -> int:
        """Keep a text; returns its place."""
        place = len(self)
        if len(kept.numbers):
            self._postings.add(kept.keys, place)
            self._tokens.extend(kept.numbers)
        elif self._empty is None:
            self._empty = place
        self._lengths.append(len(kept.numbers))
        self._ends.append(self._tokens.size)
        return place

    def _lcs(self, asked: Ints, places: Ints, lengths: Ints) -> Ints:
        self.compared += len(places)
        ends, every = self._ends.view(), self._tokens.view()
        texts = [
            every[int(ends[place]) - int(length) : int(ends[place])]
            for place, length in zip(places, lengths, strict=True)
        ]
        return lcs_of_many(asked, np.concatenate(texts), lengths)


def _blocks(places: Ints, most: int) -> Iterator[Ints]:
    """A few first, since a duplicate is often among them; then many at once."""
    start, size = 0, min(4, most)
    while start < len(places):
        yield places[start : start + size]
        start, size = start + size, most


def _keys(numbers: Ints) -> U64:
    """Distinct hashes of (token, how often it came before): two texts share as many of these as tokens."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    fresh = np.ones(len(numbers), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    before = np.arange(len(numbers)) - np.repeat(starts, np.diff(np.append(starts, len(numbers))))
    return mix((ordered.astype(np.uint64) << np.uint64(32)) + before.astype(np.uint64) + _ONE)
