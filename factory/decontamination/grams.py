"""Hashes of runs of words, and sets of them: arrays only."""

from __future__ import annotations

import numpy as np

from factory.decontamination.texts import U64, Bools, Ints
from factory.minhash import stream

GRAM = 8
_BASE = int(stream(111, 1)[0]) & ~7 | 5
_INVERSE = pow(_BASE, -1, 1 << 64)
_LENGTHS = stream(112, 64)


class _Powers:
    """BASE**i and BASE**-i, kept between calls."""

    up: U64 = np.ones(1, dtype=np.uint64)
    down: U64 = np.ones(1, dtype=np.uint64)


def _powers(count: int) -> tuple[U64, U64]:
    if len(_Powers.up) < count:
        size = max(count, 1 << 16)
        for name, base in (("up", _BASE), ("down", _INVERSE)):
            grown = np.full(size, base, dtype=np.uint64)
            grown[0] = 1
            setattr(_Powers, name, np.cumprod(grown, dtype=np.uint64))
    return _Powers.up[:count], _Powers.down[:count]


def prefix_sums(words: U64) -> U64:
    """uint64[n + 1]: running sums of word_i·BASE**i, from which the hash of any run of words follows."""
    up, _ = _powers(len(words) + 1)
    sums = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(words * up[:-1], out=sums[1:])
    return sums


def run_hashes(sums: U64, length: int) -> U64:
    """uint64[n - length + 1]: the hash of every run of `length` words."""
    count = max(len(sums) - length, 0)
    _, down = _powers(len(sums))
    grams = sums[length:] - sums[:count]
    grams *= down[:count]
    grams += _LENGTHS[length]
    return grams


def span_hashes(sums: U64, firsts: Ints, lasts: Ints) -> U64:
    """The hash of each span [first, last) of words, whatever its length."""
    _, down = _powers(len(sums))
    sizes = np.minimum(lasts - firsts, len(_LENGTHS) - 1)
    hashes: U64 = (sums[lasts] - sums[firsts]) * down[firsts] + _LENGTHS[sizes]
    return hashes


class Presence:
    """A set of hashes for a first look: no false negatives, about 3 in 100 false positives."""

    def __init__(self, hashes: U64):
        bits = max(10, int(np.ceil(np.log2(max(len(hashes), 1)))) + 5)
        self._shift = np.uint64(64 - bits)
        self._bits = np.zeros(1 << (bits - 3), dtype=np.uint8)
        at = self._places(hashes)
        np.bitwise_or.at(self._bits, (at >> np.uint64(3)).astype(np.int64), _BIT[at & np.uint64(7)])

    def _places(self, hashes: U64) -> U64:
        places: U64 = hashes * _SPREAD
        places >>= self._shift
        return places

    def may_hold(self, hashes: U64) -> Ints:
        """The places of those `hashes` that may be in the set."""
        at = self._places(hashes)
        held = self._bits.take((at >> np.uint64(3)).view(np.int64))
        held &= _BIT.take((at & np.uint64(7)).view(np.int64))
        return np.flatnonzero(held)


_BIT = (1 << np.arange(8)).astype(np.uint8)
_SPREAD = stream(113, 1)[0] | np.uint64(1)


def find(known: U64, values: U64) -> tuple[Bools, Ints]:
    """Which of `values` are in the sorted `known`, and where (for the others: anywhere)."""
    if not len(known):
        return np.zeros(len(values), dtype=bool), np.zeros(len(values), dtype=np.int64)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    hit: Bools = known[place] == values
    return hit, place


def expand(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """For spans of `counts` elements from `starts`: the number of its span, and the place of every element."""
    owner = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - before[owner] + starts[owner]
