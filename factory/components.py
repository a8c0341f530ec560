"""Clusters of near-duplicates: connected components of the graph in which texts at a threshold are neighbours.

Neighbours are what `factory.minhash` calls duplicates: they share a band, and their exact Jaccard similarity is at
least the threshold. A chain of neighbours is one cluster, also where its ends are less alike. Which texts are together
does not hang on their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from factory.minhash import U64, Index
from factory.postings import Growing, Postings

Ints = NDArray[np.int64]
BLOCK = 128
MANY = 4096
"""Places from which on marking them is quicker than sorting them."""


def cluster(texts: Iterable[U64], threshold: float) -> list[int]:
    """For each text, given as its shingles, the place of the first text of its cluster.

    Raises UsageError for a threshold outside 0.1 … 1. Memory: 8 bytes a shingle, about 30 a band and text. Texts that
    already are of one cluster are not compared, so that a large cluster costs little more than a small one.
    """
    found = _Clusters(threshold)
    for shingles in texts:
        found.add(shingles)
    return found.first()


class _Clusters:
    def __init__(self, threshold: float):
        self._index = Index(threshold)  # for its bands alone: nothing is added to it
        self._threshold = threshold
        self._buckets = Postings()
        self._sets = Growing(np.uint64)
        self._ends = Growing(np.int64)
        self._labels = Growing(np.int64)
        self._members: dict[int, list[int]] = {}
        self._same: dict[bytes, int] = {}

    def add(self, shingles: U64) -> None:
        """The next text: joined with each cluster that holds a neighbour of it."""
        place = self._ends.size
        self._labels.append(place)
        self._members[place] = [place]
        digest = hashlib.blake2b(shingles.tobytes(), digest_size=16).digest()
        twin = self._same.setdefault(digest, place)
        if twin != place:  # equal sets of shingles have equal neighbours: one of them in the index will do
            self._join(twin, place)
        elif len(shingles):
            keys = self._index.fingerprint(shingles).keys
            self._join_neighbours(place, shingles, self._found(keys, place))
            self._buckets.add(keys, place)
            self._sets.extend(shingles)
        self._ends.append(self._sets.size)

    def first(self) -> list[int]:
        """By place, the lowest place of its cluster."""
        labels = self._labels.view()
        lowest = {label: min(members) for label, members in self._members.items()}
        return [lowest[int(label)] for label in labels]

    def _found(self, keys: U64, texts: int) -> Ints:
        """The places that share a band, ascending."""
        held = self._buckets.find(keys)
        assert held is not None  # only a limit gives None
        if len(held) < MANY:
            return np.unique(held).astype(np.int64)
        seen = np.zeros(texts, dtype=bool)
        seen[held] = True
        return np.flatnonzero(seen)

    def _join_neighbours(self, place: int, mine: U64, others: Ints) -> None:
        count, ends, sets = len(mine), self._ends.view(), self._sets.view()
        starts = np.where(others > 0, ends[others - 1], 0)
        sizes = ends[others] - starts
        # Jaccard is at most the smaller size over the larger.
        able = others[np.minimum(sizes, count) / np.maximum(sizes, count) >= self._threshold]
        while len(able):
            able = able[self._labels.view()[able] != self._labels.view()[place]]
            block, able = able[:BLOCK], able[BLOCK:]
            for other in block.tolist():
                if self._labels.view()[other] == self._labels.view()[place]:
                    continue
                theirs = sets[int(ends[other - 1]) if other else 0 : int(ends[other])]
                shared = int(np.count_nonzero(mine[np.minimum(np.searchsorted(mine, theirs), count - 1)] == theirs))
                if shared / (count + len(theirs) - shared) >= self._threshold:
                    self._join(other, place)

    def _join(self, one: int, other: int) -> None:
        """Put two clusters together: the smaller one is named anew, so that no text is more than log2(n) times."""
        labels = self._labels.view()
        large, small = int(labels[one]), int(labels[other])
        if len(self._members[large]) < len(self._members[small]):
            large, small = small, large
        moved = self._members.pop(small)
        labels[moved] = large
        self._members[large] += moved
