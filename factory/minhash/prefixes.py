"""Prefix keys: what finds every duplicate of a text whose band buckets are too full to be searched."""

from __future__ import annotations

import numpy as np

from factory.minhash.scheme import U64, mix
from factory.postings import Places, Postings


class Prefixes:
    """Postings of each text's rarest shingles, enough of them that any pair at the threshold shares `_SHARED`.

    In any fixed order two sets with an overlap of at least `o` have their `k` first common members among the
    `size - o + k` first of each. Rarity is a count by the low 20 bits of the hash when the postings were built: every
    order is exact, this one keeps boilerplate out.
    """

    _SLOTS = 1 << 20
    _SHARED = 8

    def __init__(self, sets: U64, texts: int, threshold: float):
        self.built_at = max(texts, 1)
        self.threshold = threshold
        self.counts = np.zeros(self._SLOTS, dtype=np.int64)
        for start in range(0, len(sets), self._SLOTS):
            slots = (sets[start : start + self._SLOTS] & np.uint64(self._SLOTS - 1)).astype(np.int64)
            self.counts += np.bincount(slots, minlength=self._SLOTS)
        self.postings = Postings()

    @property
    def nbytes(self) -> int:
        return self.counts.nbytes + self.postings.nbytes

    def add(self, shingle_set: U64, place: int) -> None:
        if len(shingle_set):
            self.postings.add(self._prefix(shingle_set), place)

    def find(self, shingle_set: U64) -> Places:
        """Every place that may be a duplicate, ascending."""
        found = self.postings.find(self._prefix(shingle_set))
        assert found is not None  # only a limit gives None
        places, shared = np.unique(found, return_counts=True)
        return places[shared >= min(self._SHARED, self._least(len(shingle_set)))]

    def _least(self, total: int) -> int:
        """The fewest shingles that a duplicate shares with a text of `total`."""
        least = int(np.ceil(self.threshold * total))
        while least > 1 and (least - 1) / total >= self.threshold:
            least -= 1
        return least

    def _prefix(self, shingle_set: U64) -> U64:
        total = len(shingle_set)
        rarity = self.counts[(shingle_set & np.uint64(self._SLOTS - 1)).astype(np.int64)]
        order = np.lexsort((shingle_set, rarity))
        return mix(shingle_set[order[: total - self._least(total) + self._SHARED]])
