"""Stretches of words as sparse sets of 16-bit buckets: what coverage and similarity are computed from.

Five spaces. `trigrams`: runs of three words, every number and every name masked. `stems`: words without numbers, by
their first five letters. `chars`: four-letter pieces of words (with the space before and after), without numbers, with
how often they occur. `numbers`: the multiset of numbers ("three" is 3). `names`: capitalised words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from factory.decontamination.grams import expand
from factory.decontamination.texts import U64, Ints, Tokens
from factory.minhash import mix, stream

Floats = NDArray[np.float32]
Buckets = NDArray[np.uint16]

WIDTH = 1 << 16
SPACES = ("trigrams", "stems", "chars", "numbers", "names")
_MASKS = stream(121, 2)
_TRIGRAM = stream(122, 3) | np.uint64(1)
_CHARS = np.uint32(int(stream(123, 1)[0]) & 0xFFFFFFFF | 1)
_NTH = stream(124, 1)[0] | np.uint64(1)


class Spans(NamedTuple):
    """Stretches [first, last) of a batch's words: int64[n] each."""

    firsts: Ints
    lasts: Ints


@dataclass(frozen=True, slots=True)
class Sparse:
    """n sets of buckets, one after another, each sorted and distinct; `ends` int64[n]; `counts` of occurrences."""

    buckets: Buckets
    ends: Ints
    counts: Floats | None = None

    def starts(self) -> Ints:
        """int64[n]: where each set starts."""
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1]])

    def sizes(self) -> Ints:
        """int64[n]: how many buckets each set has."""
        return np.diff(self.ends, prepend=0)

    def owners(self) -> Ints:
        """For each bucket the number of its set."""
        return np.repeat(np.arange(len(self.ends)), self.sizes())


def _gather(keys: NDArray[np.int64], count: int, *, counted: bool = False) -> Sparse:
    """Sets from keys `owner·WIDTH + bucket`."""
    keys.sort()
    fresh = np.empty(len(keys), dtype=bool)
    fresh[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
    at = np.flatnonzero(fresh)
    distinct = keys[at]
    ends = np.searchsorted(distinct, (np.arange(count) + 1) * WIDTH)
    counts = np.diff(at, append=len(keys)).astype(np.float32) if counted else None
    return Sparse((distinct & (WIDTH - 1)).astype(np.uint16), ends, counts)


def _bucket(hashes: U64) -> Ints:
    return (hashes >> np.uint64(48)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Described:
    """The five spaces of n stretches, and their words: int64[n]."""

    trigrams: Sparse
    stems: Sparse
    chars: Sparse
    numbers: Sparse
    names: Sparse
    words: Ints


class Reader:
    """A batch's words, hashed for every space once; `describe` gathers stretches of them."""

    def __init__(self, tokens: Tokens):
        self._tokens = tokens
        self._number = tokens.numbers()
        self._name = tokens.names() & ~self._number
        words = tokens.hashes.copy()
        words[self._number] = _MASKS[0]
        words[self._name] = _MASKS[1]
        grams = words[:-2] * _TRIGRAM[0]
        grams += words[1:-1] * _TRIGRAM[1]
        grams += words[2:] * _TRIGRAM[2]
        self._trigrams = _bucket(mix(grams))
        self._stems = _bucket(tokens.stems())
        self._values = tokens.values()
        self._words = _bucket(mix(tokens.hashes))
        self._pieces = _pieces(tokens)

    def describe_stems(self, spans: Spans) -> Sparse:
        """Only the stems of each stretch: enough to look for candidates."""
        owner, at = expand(spans.firsts, spans.lasts - spans.firsts)
        plain = ~self._number[at]
        return _gather(owner[plain] * WIDTH + self._stems[at[plain]], len(spans.firsts))

    def describe(self, spans: Spans) -> Described:
        """All spaces of each stretch."""
        firsts, sizes, count = spans.firsts, spans.lasts - spans.firsts, len(spans.firsts)
        owner, at = expand(firsts, sizes)
        number, name = self._number[at], self._name[at]
        base = owner * WIDTH
        plain = ~number
        stems = _gather(base[plain] + self._stems[at[plain]], count)
        names = _gather(base[name] + self._words[at[name]], count)
        values = self._values[at[number]]
        numbers = _gather(base[number] + _bucket(mix(_tell_apart(owner[number], values))), count)
        runs, first = expand(firsts, np.maximum(sizes - 2, 0))
        trigrams = _gather(runs * WIDTH + self._trigrams[first], count)
        words = at[plain & (self._tokens.sizes[at] > 1)]
        piece_owner = owner[plain & (self._tokens.sizes[at] > 1)]
        which, places = expand(self._tokens.starts[words], self._tokens.sizes[words] - 1)
        chars = _gather(piece_owner[which] * WIDTH + self._pieces[places], count, counted=True)
        return Described(trigrams, stems, chars, numbers, names, sizes)


def _tell_apart(owner: Ints, values: U64) -> U64:
    """The k-th occurrence of a value in its set gets a hash of its own, so that a set serves as a multiset."""
    order = np.lexsort((values, owner))
    owned, sorted_values = owner[order], values[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (owned[1:] != owned[:-1]) | (sorted_values[1:] != sorted_values[:-1])
    starts = np.flatnonzero(fresh)
    nth = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return sorted_values + nth.astype(np.uint64) * _NTH if len(order) else values


def _pieces(tokens: Tokens) -> NDArray[np.uint16]:
    """For each byte of the batch the bucket of the four bytes from the one before it."""
    letters = np.concatenate([[32], tokens.letters, [32, 32]]).astype(np.uint32)
    four = letters[:-3].copy()
    for k in (1, 2, 3):
        four |= letters[k : len(letters) - 3 + k] << np.uint32(8 * k)
    four *= _CHARS
    four ^= four >> np.uint32(15)
    four *= np.uint32(0x2C1B3C6D)
    return (four >> np.uint32(16)).astype(np.uint16)
