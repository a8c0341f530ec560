"""Kept texts in NumPy arrays: what `Index` stands on where there is no compiled kernel. Both give the same matches."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.minhash.fingerprints import Fingerprint, Fingerprints
from factory.minhash.prefixes import Prefixes
from factory.minhash.scheme import U64, Ints, band_keys, signature
from factory.postings import Growing, Places, Postings

Floats = NDArray[np.float64]

_CELLS = 1 << 15
_TOGETHER = 2048
_CROWD = 64
"""Texts looked up together, and how many of them may share a key: more are looked up one by one."""


@dataclass(frozen=True, slots=True)
class Match:
    """The earliest text of an index that is a duplicate: its place in the order of `add`, and the exact similarity."""

    place: int
    similarity: float


class Arrays:
    """Sets one after another, and band keys → places in `Postings`.

    A bucket of more than `hub` texts is not searched; prefix keys of its texts take its place. They are made when such
    a bucket is met, and all again, in the order of their shingles' frequency, whenever they have doubled.
    """

    def __init__(self, threshold: float, bands: int, size: int, hub: int):
        self.threshold, self.bands, self.size, self.hub = threshold, bands, size, hub
        self.hub_queries = 0
        self._sets = Growing(np.uint64)
        self._ends = Growing(np.int64)
        self._buckets = Postings()
        self._empty: int | None = None
        self._prefixes: Prefixes | None = None
        self._members: set[int] = set()
        self._met: dict[int, int] = {}

    def __len__(self) -> int:
        return self._ends.size

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        prefixes = self._prefixes.nbytes if self._prefixes else 0
        return self._sets.nbytes + self._ends.nbytes + self._buckets.nbytes + prefixes

    def match(self, asked: Fingerprint) -> Match | None:
        """The earliest kept text that shares a band and has Jaccard ≥ threshold."""
        if not len(asked.shingles):
            return None if self._empty is None else Match(self._empty, 1.0)
        found = self._buckets.find(asked.keys, limit=self.hub)
        if found is not None:
            return self._earliest(np.unique(found), asked, shares_band=True) if len(found) else None
        return self._match_in_hubs(asked)

    def add(self, kept: Fingerprint) -> int:
        """Keep a text; returns its place."""
        place = len(self)
        if not len(kept.shingles):
            self._empty = place if self._empty is None else self._empty
        else:
            self._buckets.add(kept.keys, place)
            self._sets.extend(kept.shingles)
        self._ends.append(self._sets.size)
        return place

    def shingles_at(self, place: int) -> U64:
        """The shingles of a kept text."""
        ends = self._ends.view()
        return self._sets.view()[int(ends[place - 1]) if place else 0 : int(ends[place])]

    def walk(self, offered: Fingerprints, *, keep: bool) -> tuple[Ints, Floats]:
        """Each text's earliest duplicate among those kept before it, or -1, and its similarity, or 0.

        With `keep`, what has no duplicate is kept at once: the texts after it are compared with it too.
        """
        places = np.full(len(offered), -1, dtype=np.int64)
        similarity = np.zeros(len(offered))
        for first in range(0, len(offered), _TOGETHER):
            part = offered[first : first + _TOGETHER]
            chosen, like = _different(part)
            few = part if len(chosen) == len(part) else part.take(chosen)
            found = self._walk_together(few, keep)
            if found is None:
                found = self._walk_singly(few, keep)
            # A repeated text has the match of its first, or that first itself where it was kept.
            place, alike = found[0][like], found[1][like]
            if keep:
                again = np.ones(len(part), dtype=bool)
                again[chosen] = False
                kept = len(self) - np.cumsum((found[0] < 0)[::-1])[::-1]
                again &= place < 0
                place[again], alike[again] = kept[like[again]], 1.0
            places[first : first + len(part)], similarity[first : first + len(part)] = place, alike
        return places, similarity

    def _walk_singly(self, offered: Fingerprints, keep: bool) -> tuple[Ints, Floats]:
        places = np.full(len(offered), -1, dtype=np.int64)
        similarity = np.zeros(len(offered))
        for row in range(len(offered)):
            asked = offered.at(row)
            match = self.match(asked)
            if match is not None:
                places[row], similarity[row] = match.place, match.similarity
            elif keep:
                self.add(asked)
        return places, similarity

    def _walk_together(self, offered: Fingerprints, keep: bool) -> tuple[Ints, Floats] | None:
        """`_walk_singly` with array operations; None, and nothing done, where too many of them share a key."""
        filled = np.flatnonzero(np.diff(offered.ends, prepend=0))
        rows, found, hubs = self._buckets.find_rows(offered.keys[filled], limit=self.hub)
        tied, ids, longest = _tied_keys(offered.keys[filled]) if keep else (filled[:0], filled[:0], 0)
        if longest > max(self.hub, _CROWD):
            return None
        places, similarity = self._earliest_of_pairs(filled[rows], found, offered)
        for row in filled[hubs].tolist():
            match = self._match_in_hubs(offered.at(row))
            if match is not None:
                places[row], similarity[row] = match.place, match.similarity
        empty = np.ones(len(offered), dtype=bool)
        empty[filled] = False
        if self._empty is not None:
            places[empty], similarity[empty] = self._empty, 1.0
        if not keep:
            return places, similarity
        kept = places < 0
        twins = _Twins(offered, self.threshold)
        twins.walk(filled[tied], ids, kept)
        if self._empty is None and empty.any():
            first = int(np.argmax(empty))
            empty[first] = False
            kept[empty] = False
            twins.found.extend((row, first, 1.0) for row in np.flatnonzero(empty).tolist())
        numbers = len(self) + np.cumsum(kept) - 1
        for row, twin, alike in twins.found:
            places[row], similarity[row] = numbers[twin], alike
        self._extend(offered, kept, numbers)
        return places, similarity

    def _extend(self, offered: Fingerprints, kept: NDArray[np.bool_], numbers: Ints) -> None:
        """Keep some of the texts, whose places are `numbers`."""
        sizes = np.diff(offered.ends, prepend=0)
        filled = kept & (sizes > 0)
        for row in np.flatnonzero(kept & (sizes == 0)).tolist():
            self._empty = int(numbers[row]) if self._empty is None else self._empty
        self._buckets.add_rows(offered.keys[filled], numbers[filled].astype(np.int32))
        base = self._sets.size
        self._sets.extend(offered.shingles[np.repeat(kept, sizes)])
        self._ends.extend(base + np.cumsum(sizes[kept]))

    def _earliest_of_pairs(self, rows: Ints, found: Places, offered: Fingerprints) -> tuple[Ints, Floats]:
        """Of each row's kept texts, given as ascending pairs, the first that is a duplicate."""
        places = np.full(len(offered), -1, dtype=np.int64)
        similarity = np.zeros(len(offered))
        ends = self._ends.view()
        starts = np.where(found > 0, ends[found - 1], 0)
        mine = offered.ends[rows] - np.diff(offered.ends, prepend=0)[rows]
        left = Spans(offered.shingles, mine, offered.ends[rows] - mine)
        alike = similarities(left, Spans(self._sets.view(), starts, ends[found] - starts), self.threshold)
        hit = np.flatnonzero(alike >= self.threshold)[::-1]  # the first pair of a row is written last
        places[rows[hit]], similarity[rows[hit]] = found[hit], alike[hit]
        return places, similarity

    def _earliest(self, places: Places, asked: Fingerprint, *, shares_band: bool) -> Match | None:
        """The first of the ascending `places` that is a duplicate."""
        mine, count = asked.shingles, len(asked.shingles)
        ends = self._ends.view()
        starts = np.where(places > 0, ends[places - 1], 0)
        sizes = ends[places] - starts
        # Jaccard is at most the smaller size over the larger; float division keeps that order exactly.
        able = np.flatnonzero(np.minimum(sizes, count) / np.maximum(sizes, count) >= self.threshold)
        sets = self._sets.view()
        for first in range(0, len(able), 128):
            block = able[first : first + 128]
            theirs = np.concatenate([sets[starts[k] : starts[k] + sizes[k]] for k in block])
            shared = mine[np.minimum(np.searchsorted(mine, theirs), count - 1)] == theirs
            lengths = sizes[block]
            overlap = np.add.reduceat(shared, np.cumsum(lengths) - lengths, dtype=np.int64)
            similarity = overlap / (count + lengths - overlap)
            for k in np.flatnonzero(similarity >= self.threshold):
                place = int(places[block[k]])
                if shares_band or (self._keys_at(place) == asked.keys).any():
                    return Match(place, float(similarity[k]))
        return None

    def _keys_at(self, place: int) -> U64:
        return band_keys(signature(self.shingles_at(place)), self.bands, self.size)

    def _match_in_hubs(self, asked: Fingerprint) -> Match | None:
        """`match` of a text some of whose buckets are hubs."""
        self.hub_queries += 1
        few, hubs = self._buckets.part(asked.keys, self.hub)
        found = self._ready_prefixes(hubs).find(asked.shingles)
        return self._earliest(np.union1d(few, found), asked, shares_band=False)

    def _ready_prefixes(self, hubs: list[tuple[int, Places]]) -> Prefixes:
        """Prefix keys of every text in these buckets, and perhaps of others."""
        fresh: set[int] = set()
        for key, places in hubs:
            fresh.update(places[self._met.get(key, 0) :].tolist())  # a bucket's places stay, and new ones follow
            self._met[key] = len(places)
        fresh -= self._members
        self._members |= fresh
        if self._prefixes is None or len(self._members) >= 2 * self._prefixes.built_at:
            fresh = self._members
            sets = [self.shingles_at(place) for place in sorted(fresh)]
            self._prefixes = Prefixes(np.concatenate(sets), len(fresh), self.threshold)
        for place in sorted(fresh):
            self._prefixes.add(self.shingles_at(place), place)
        return self._prefixes


@dataclass(frozen=True, slots=True)
class Spans:
    """Sets that lie in one array: set i is values[starts[i] : starts[i] + sizes[i]]."""

    values: U64
    starts: Ints
    sizes: Ints

    def some(self, chosen: Ints) -> Spans:
        return Spans(self.values, self.starts[chosen], self.sizes[chosen])

    def cells(self, width: int) -> tuple[U64, NDArray[np.bool_]]:
        """The sets as rows of `width`, and which cells are theirs."""
        steps = np.arange(width)
        real = steps < self.sizes[:, None]
        return self.values[np.where(real, self.starts[:, None] + steps, self.starts[:, None])], real


def similarities(left: Spans, right: Spans, threshold: float) -> Floats:
    """The exact Jaccard similarity of each pair of filled sets; 0 where their sizes rule the threshold out."""
    found = np.zeros(len(left.sizes))
    small, large = np.minimum(left.sizes, right.sizes), np.maximum(left.sizes, right.sizes)
    # Jaccard is at most the smaller size over the larger; float division keeps that order exactly.
    able = np.flatnonzero(small / large >= threshold)
    able = able[np.argsort(large[able], kind="stable")[::-1]]  # so that a block holds sets of about one size
    first = 0
    while first < len(able):
        width = int(large[able[first]])
        block = able[first : first + max(1, _CELLS // width)]
        found[block] = _similarities_of_block(left.some(block), right.some(block), width)
        first += len(block)
    return found


def _similarities_of_block(left: Spans, right: Spans, width: int) -> Floats:
    both = np.empty((len(left.sizes), 2 * width), dtype=np.uint64)
    for half, sets in ((both[:, :width], left), (both[:, width:], right)):
        cells, real = sets.cells(width)
        half[:] = cells
        half[~real] = np.uint64(0xFFFFFFFFFFFFFFFF)
    both.sort(axis=1)  # padding comes last, equal to a shingle of its value or not
    total = left.sizes + right.sizes
    twice = both[:, 1:] == both[:, :-1]
    twice &= np.arange(1, 2 * width) < total[:, None]
    shared = twice.sum(axis=1)
    result: Floats = shared / (total - shared)
    return result


def _different(offered: Fingerprints) -> tuple[Ints, Ints]:
    """The first row of each text, ascending, and for each row which of these has its text. No digest, no known text."""
    count = len(offered)
    order = np.lexsort((offered.digests[:, 1], offered.digests[:, 0]))
    ordered = offered.digests[order]
    same = np.zeros(count, dtype=bool)
    same[1:] = (ordered[1:] == ordered[:-1]).all(axis=1) & ordered[1:].any(axis=1)
    firsts = np.empty(count, dtype=np.int64)
    firsts[order] = order[np.maximum.accumulate(np.where(same, 0, np.arange(count)))]  # the sort is stable
    chosen = np.flatnonzero(firsts == np.arange(count))
    return chosen, np.searchsorted(chosen, firsts)


def _tied_keys(keys: U64) -> tuple[Ints, Ints, int]:
    """Where rows of keys share a key: (rows, ids of the keys), ascending by row; and the most rows that share one."""
    _, ids, counts = np.unique(keys.reshape(-1), return_inverse=True, return_counts=True)
    ids = ids.reshape(-1)
    shared = np.flatnonzero(counts[ids] > 1)
    return shared // keys.shape[1], ids[shared], int(counts.max(initial=0))


class _Twins:
    """First wins among texts that are offered together: `found` holds (row, the row that it repeats, similarity)."""

    def __init__(self, offered: Fingerprints, threshold: float):
        self.found: list[tuple[int, int, float]] = []
        self._offered, self._threshold = offered, threshold
        self._starts = offered.ends - np.diff(offered.ends, prepend=0)

    def walk(self, rows: Ints, ids: Ints, kept: NDArray[np.bool_]) -> None:
        """Rows and the keys that each shares with another; `kept` becomes False for what repeats an earlier one."""
        if not len(rows):
            return
        holders: defaultdict[int, list[int]] = defaultdict(list)
        starts = np.flatnonzero(np.diff(rows, prepend=-1)).tolist()
        tied = ids.tolist()
        for start, end in zip(starts, [*starts[1:], len(tied)], strict=True):
            row = int(rows[start])
            if not kept[row]:
                continue
            mine = tied[start:end]
            before = {other for key in mine for other in holders[key]}
            if before and self._repeats(row, sorted(before)):
                kept[row] = False
                continue
            for key in mine:
                holders[key].append(row)

    def _repeats(self, row: int, others: list[int]) -> bool:
        places, sizes = np.array(others), np.diff(self._offered.ends, prepend=0)
        mine = np.full(len(others), row)
        left, right = (Spans(self._offered.shingles, self._starts[one], sizes[one]) for one in (mine, places))
        alike = similarities(left, right, self._threshold)
        hit = np.flatnonzero(alike >= self._threshold)
        if len(hit):
            self.found.append((row, others[int(hit[0])], float(alike[hit[0]])))
        return bool(len(hit))
