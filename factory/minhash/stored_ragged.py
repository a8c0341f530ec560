"""Sets of different lengths that lie one after another in one array: picking, cutting, and a filter that never errs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.minhash.scheme import U64, Ints

PARITY_WORDS = 8
"""64-bit words of a text's parity bitmap."""

_BITS = 64 * PARITY_WORDS
_AT_ONCE = 1 << 20


def places_in(starts: Ints, counts: Ints) -> Ints:
    """The places of every element of the ranges `starts[i]` … `starts[i] + counts[i]`, one range after another."""
    ends = np.cumsum(counts)
    places: Ints = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return places


def pieces(sizes: Ints, most: int) -> Iterator[slice]:
    """Slices one after another whose sizes add up to at most `most`; a larger one comes alone."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        done = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, done + most, side="right")), first + 1)
        yield slice(first, last)
        first = last


def starts_of(ends: Ints) -> Ints:
    """Where each set starts, from where each ends."""
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1]
    return starts


def parities(shingles: U64, starts: Ints, sizes: Ints) -> U64:
    """uint64[n, 8]: bit b is the parity of how many of a set's members are b modulo 512.

    The XOR of two sets' bitmaps is that of their symmetric difference, so its ones are never more than that
    difference has members: an upper bound of the overlap that is always right (Sandes, Teodoro and Melo 2020).
    """
    made = np.zeros((len(starts), PARITY_WORDS), dtype=np.uint64)
    for piece in pieces(np.maximum(sizes, _BITS), _AT_ONCE):
        count = piece.stop - piece.start
        owners = np.repeat(np.arange(count), sizes[piece])
        members = shingles[places_in(starts[piece], sizes[piece])]
        bits = (members & np.uint64(_BITS - 1)).astype(np.int64) + owners * _BITS
        odd = (np.bincount(bits, minlength=count * _BITS) & 1).astype(np.uint8)
        made[piece] = np.packbits(odd, bitorder="little").view("<u8").reshape(count, PARITY_WORDS)
    return made


def least_overlap(sizes: Ints, threshold: float) -> Ints:
    """The fewest members that a set of each size shares with one at the threshold; never too many, by rounding."""
    least: Ints = np.maximum(np.ceil(sizes * (threshold - 1e-9)).astype(np.int64), 1)
    return least


def prefixes(shingles: U64, sizes: Ints, rarity: NDArray[np.uint8], threshold: float) -> tuple[U64, Ints]:
    """Each set's rarest members, so many that any pair at the threshold shares one of them; and how many of each.

    `shingles` holds the sets one after another, each sorted. In any fixed order, two sets with an overlap of at least
    `o` have a common member among the first `size - o + 1` of each (Chaudhuri et al. 2006; Bayardo et al. 2007).
    """
    ranks = rarity[(shingles & np.uint64(len(rarity) - 1)).astype(np.int64)]
    owners = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(owners << 8 | ranks, kind="stable")  # stable: equally rare ones by hash
    counts = np.where(sizes > 0, sizes - least_overlap(sizes, threshold) + 1, 0)
    return shingles[order[places_in(np.cumsum(sizes) - sizes, counts)]], counts


def first_not_below(values: NDArray[Any], low: Ints, high: Ints, limit: int) -> Ints:
    """In each ascending range `values[low[i]:high[i]]` the first place that holds `limit` or more, else `high[i]`."""
    low, high = low.copy(), high.copy()
    while True:
        left = np.flatnonzero(low < high)
        if not len(left):
            return low
        middle = (low[left] + high[left]) // 2
        below = values[middle] < limit
        low[left[below]] = middle[below] + 1
        high[left[~below]] = middle[~below]


def ones(words: U64) -> Ints:
    """How many bits of each row of `words` are set: int64[n] from uint64[n, k]."""
    if hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(words)
    else:  # NumPy before 2.0
        counts = _ONES[np.ascontiguousarray(words).view(np.uint16)]
    total: Ints = counts.sum(axis=1, dtype=np.int64)
    return total


_ONES = np.unpackbits(np.arange(1 << 16, dtype="<u2").view(np.uint8).reshape(-1, 2), axis=1).sum(axis=1, dtype=np.uint8)
