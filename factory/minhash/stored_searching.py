"""Finding the first duplicate of each of many texts in one memory-mapped segment: pages are read, nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.minhash.batches import keys_of
from factory.minhash.fingerprints import Fingerprints
from factory.minhash.scheme import U64, Ints
from factory.minhash.stored_building import HUB
from factory.minhash.stored_ragged import first_not_below, ones, parities, pieces, places_in, prefixes, starts_of
from factory.minhash.stored_segments import Segment

NONE = np.iinfo(np.int64).max
"""In the place of a place: no duplicate."""

_PAIRS = 1 << 17
_ELEMENTS = 1 << 20
_TOGETHER = 256
_WIDTH = 8
_WIDEST = 1 << 15
_LOW = np.uint64(20)
_OWNERS = 1 << 20

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Asked:
    """A block of texts to look up, fewer than 2**20 of them, with what every segment's search needs."""

    def __init__(self, texts: Fingerprints):
        self.shingles, self.keys, self.digests = texts.shingles, texts.keys, texts.digests
        self.starts = starts_of(texts.ends)
        self.sizes = texts.ends - self.starts
        flat = texts.keys.ravel()
        order = np.argsort(flat)
        self.sorted_keys = flat[order]
        self.owners = order // texts.keys.shape[1]
        self._parities: U64 | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def parities(self) -> U64:
        if self._parities is None:
            self._parities = parities(self.shingles, self.starts, self.sizes)
        return self._parities


@dataclass(slots=True)
class Found:
    """For each text the first duplicate's place (NONE: none so far) and the similarity."""

    places: Ints
    similarity: Floats

    def improve(self, texts: Ints, places: Ints, similarity: Floats) -> None:
        """Take those pairs that come before what is known."""
        order = np.lexsort((places, texts))
        texts, places, similarity = texts[order], places[order], similarity[order]
        first = np.ones(len(texts), dtype=bool)
        first[1:] = texts[1:] != texts[:-1]
        better = first & (places < self.places[texts])
        self.places[texts[better]] = places[better]
        self.similarity[texts[better]] = similarity[better]


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Entries `places[starts[i]:ends[i]]` of a segment's postings, as candidates of the text `owners[i]`, by owner."""

    owners: Ints
    starts: Ints
    ends: Ints

    def only(self, which: Mask) -> _Ranges:
        return _Ranges(self.owners[which], self.starts[which], self.ends[which])


def search(segment: Segment, asked: Asked, wanted: Mask, threshold: float) -> Found:
    """The first duplicate in `segment` of each text in `wanted`: it shares a band key, and Jaccard ≥ threshold."""
    found = Found(np.full(len(asked), NONE), np.zeros(len(asked)))
    if segment.facts.empty is not None:
        blank = wanted & (asked.sizes == 0)
        found.places[blank], found.similarity[blank] = segment.facts.empty, 1.0
    buckets = _look_up(segment.keys, asked.sorted_keys, asked.owners)
    buckets = buckets.only((wanted & (asked.sizes > 0))[buckets.owners])
    large = buckets.ends - buckets.starts > HUB
    searcher = _Searcher(segment, asked, threshold, found)
    searcher.settle(buckets.only(~large), segment.places, shares_key=True)
    searcher.search_hubs(np.unique(buckets.owners[large]))
    return found


def _look_up(keys: U64, asked: U64, owners: Ints) -> _Ranges:
    """Where the ascending keys `asked` lie in the sorted `keys`, ordered by owner."""
    starts = np.searchsorted(keys, asked)
    held = np.flatnonzero(starts < len(keys))
    held = held[keys[starts[held]] == asked[held]]
    ends = np.searchsorted(keys, asked[held], side="right")
    order = np.argsort(owners[held], kind="stable")
    held = held[order]
    return _Ranges(owners[held], starts[held], ends[order])


def _distinct_pairs(texts: Ints, places: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """The pairs without repeats, ordered by text and place."""
    pairs = texts << 31 | places
    pairs.sort()
    fresh = np.ones(len(pairs), dtype=bool)
    np.not_equal(pairs[1:], pairs[:-1], out=fresh[1:])
    pairs = pairs[fresh]
    return pairs >> 31, pairs & ((1 << 31) - 1)


@dataclass(frozen=True, slots=True)
class _Searcher:
    segment: Segment
    asked: Asked
    threshold: float
    found: Found

    def settle(self, ranges: _Ranges, postings: NDArray[np.int32], *, shares_key: bool) -> None:
        """Compare each text with all its candidates. `shares_key`: they are known to share a band key."""
        owners, firsts = np.unique(ranges.owners, return_index=True)
        if not len(owners):
            return
        counts = ranges.ends - ranges.starts
        for piece in pieces(np.add.reduceat(counts, firsts), _PAIRS):
            part = slice(firsts[piece.start], firsts[piece.stop] if piece.stop < len(firsts) else len(counts))
            texts, places = _distinct_pairs(
                np.repeat(ranges.owners[part], counts[part]), postings[places_in(ranges.starts[part], counts[part])]
            )
            able = self._may_match(texts, places)
            self._verify(texts[able], places[able], shares_key)

    def search_hubs(self, texts: Ints) -> None:
        """The first duplicates among texts in hub buckets: candidates by their rarest shingles, early places first."""
        for first in range(0, len(texts), _TOGETHER):
            for group in self._groups(texts[first : first + _TOGETHER]):
                self._search_hubs(group)

    def _groups(self, texts: Ints) -> Iterator[Ints]:
        for piece in pieces(self.asked.sizes[texts], _ELEMENTS):
            yield texts[piece]

    def _search_hubs(self, texts: Ints) -> None:
        segment, sizes = self.segment, self.asked.sizes[texts]
        sets = self.asked.shingles[places_in(self.asked.starts[texts], sizes)]
        chosen, counts = prefixes(sets, sizes, segment.rarity, self.threshold)
        order = np.argsort(chosen)
        ranges = _look_up(segment.prefix_keys, chosen[order], np.repeat(texts, counts)[order])
        low, width = 0, _WIDTH
        while len(ranges.owners):
            until = first_not_below(segment.prefix_places, ranges.starts, ranges.ends, low + width)
            some = until > ranges.starts
            window = _Ranges(ranges.owners, ranges.starts, until).only(some)
            self.settle(window, segment.prefix_places, shares_key=False)
            low, width = low + width, min(8 * width, _WIDEST)
            rest = _Ranges(ranges.owners, until, ranges.ends)
            ranges = rest.only((until < ranges.ends) & (self.found.places[ranges.owners] >= low))

    def _may_match(self, texts: Ints, places: Ints) -> Mask:
        """False where the sizes or the parity bitmaps rule a duplicate out; float division keeps that order exactly."""
        mine = self.asked.sizes[texts]
        _, theirs = self.segment.spans(places)
        able: Mask = np.minimum(mine, theirs) / np.maximum(mine, theirs) >= self.threshold
        left = np.flatnonzero(able)
        differing = ones(self.asked.parities[texts[left]] ^ self.segment.parities[places[left]])
        sizes = mine[left] + theirs[left]
        most = (sizes - differing) // 2
        able[left] = most / (sizes - most) >= self.threshold
        return able

    def _verify(self, texts: Ints, places: Ints, shares_key: bool) -> None:
        """Take the pairs, ordered by text, whose exact similarity is enough."""
        starts, sizes = self.segment.spans(places)
        for piece in pieces(sizes + self.asked.sizes[texts], _ELEMENTS):
            mine = texts[piece]
            shared = self._overlaps(mine, starts[piece], sizes[piece])
            similarity: Floats = shared / (self.asked.sizes[mine] + sizes[piece] - shared)
            hits = np.flatnonzero(similarity >= self.threshold)
            if not shares_key:
                keys = self.asked.keys
                theirs = keys_of(self.segment.signatures[places[piece][hits]], keys.shape[1], 128 // keys.shape[1])
                hits = hits[(theirs == keys[mine[hits]]).any(axis=1)]
            self.found.improve(mine[hits], places[piece][hits], similarity[hits])

    def _overlaps(self, texts: Ints, starts: Ints, sizes: Ints) -> Ints:
        """How many shingles each text shares with the set at `starts`. `texts` is ascending.

        The texts' sets are laid out in one ascending array, by text and then by the shingle's high 44 bits; the low
        bits are compared where those are found.
        """
        owners, local = np.unique(texts, return_inverse=True)
        assert len(owners) < _OWNERS
        counts = self.asked.sizes[owners]
        table = self.asked.shingles[places_in(self.asked.starts[owners], counts)]
        sorted_ = (np.repeat(np.arange(len(owners), dtype=np.uint64), counts) << np.uint64(44)) | (table >> _LOW)
        theirs = self.segment.shingles[places_in(starts, sizes)]
        sought = (np.repeat(local.astype(np.uint64), sizes) << np.uint64(44)) | (theirs >> _LOW)
        at = np.searchsorted(sorted_, sought)
        last = len(table) - 1
        hit = table[np.minimum(at, last)] == theirs
        hit &= sorted_[np.minimum(at, last)] == sought
        if (sorted_[1:] == sorted_[:-1]).any():
            hit = _later_hits(hit, at, table, sorted_, theirs, sought)
        return np.add.reduceat(hit, np.cumsum(sizes) - sizes, dtype=np.int64)


def _later_hits(hit: Mask, at: Ints, table: U64, keys: U64, theirs: U64, sought: U64) -> Mask:
    """Some entries of `keys` are equal: look behind the first of them, too."""
    hit, step = hit.copy(), 1
    left = np.flatnonzero(~hit)
    while True:
        left = left[at[left] + step < len(keys)]
        left = left[keys[at[left] + step] == sought[left]]
        if not len(left):
            return hit
        hit[left] = table[at[left] + step] == theirs[left]
        left = left[~hit[left]]
        step += 1
