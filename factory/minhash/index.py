"""The texts kept so far, in memory, and the earliest of them that a text repeats."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.errors import UsageError
from factory.kernel import chosen
from factory.minhash.arrays import Arrays, Floats, Match
from factory.minhash.compiled import Compiled, keys_of_set
from factory.minhash.fingerprints import Fingerprint, Fingerprints, fingerprint
from factory.minhash.scheme import U64, Ints, band_keys, banding, signature
from factory.postings import Growing

_ROWS = 8192
"""Texts fingerprinted at once when texts are offered: what bounds the memory that is needed beside the index."""
_KERNEL_ROWS = 1024
"""With the kernel, so that what they need stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Of n texts, in order: the place of the earliest duplicate (-1: none), the similarity (0.0: none), and whether the
    two are the same text after normalisation."""

    places: Ints
    similarity: Floats
    exact: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.places)


class Index:
    """The texts kept so far. `match` finds the earliest duplicate, `add` keeps a text, `offer` does one or the other.

    `offer_many` and `match_many` do so for many texts, with the result of one by one, whatever the batches. Memory
    follows the kept texts: 8 bytes a shingle and, in NumPy, about 30 a band, with spare room half as much again. A
    bucket of more than `hub` texts (boilerplate) is not searched; prefix keys take its place: texts of a pair at the
    threshold share some of their rarest shingles (Chaudhuri et al. 2006; Bayardo et al. 2007). So nothing is missed,
    and what is found does not depend on `hub`. `hub_queries` counts how often that happened.
    """

    def __init__(self, threshold: float = 0.8, *, hub: int = 32, kernel: bool | None = None):
        self.bands, self.size = banding(threshold)
        self.threshold = threshold
        self.hub = hub
        self.kernel = chosen(kernel)
        self._store: Arrays | Compiled = (Compiled if self.kernel else Arrays)(threshold, self.bands, self.size, hub)
        self._digests = Growing(np.uint64)
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._store)

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        return self._store.nbytes + self._digests.nbytes

    @property
    def hub_queries(self) -> int:
        """How many texts met a bucket of more than `hub`."""
        return self._store.hub_queries

    def fingerprint(self, shingle_set: U64) -> Fingerprint:
        """A set of shingles made ready for `match` and `add`."""
        if self.kernel:
            return Fingerprint(shingle_set, keys_of_set(shingle_set, self.bands, self.size))
        return Fingerprint(shingle_set, band_keys(signature(shingle_set), self.bands, self.size))

    def fingerprint_many(self, texts: Sequence[str] | Any) -> Fingerprints:
        """Texts made ready for `match_many` and `offer_many`."""
        return fingerprint(texts, bands=self.bands, size=self.size, kernel=self.kernel)

    def match(self, asked: Fingerprint) -> Match | None:
        """The earliest kept text that shares a band and has Jaccard ≥ threshold."""
        return self._store.match(asked)

    def add(self, kept: Fingerprint) -> int:
        """Keep a text; returns its place."""
        with self._lock:
            self._digests.extend(np.zeros(2, dtype=np.uint64) if kept.digest is None else kept.digest)
            return self._store.add(kept)

    def offer(self, shingle_set: U64) -> Match | None:
        """First wins: the match of a duplicate, or None after keeping the text."""
        offered = self.fingerprint(shingle_set)
        found = self.match(offered)
        if found is None:
            self.add(offered)
        return found

    def offer_many(self, texts: Sequence[str] | Fingerprints | Any) -> Matches:
        """First wins, text after text: the match of each duplicate; the others (place -1) are kept."""
        return self._walk(texts, keep=True)

    def match_many(self, texts: Sequence[str] | Fingerprints | Any) -> Matches:
        """The earliest duplicate of each text among those kept so far; nothing is kept."""
        return self._walk(texts, keep=False)

    def shingles_at(self, place: int) -> U64:
        """The shingles of a kept text."""
        return self._store.shingles_at(place)

    def _walk(self, texts: Sequence[str] | Fingerprints | Any, *, keep: bool) -> Matches:
        if isinstance(texts, Fingerprints):
            return self._walk_fingerprints(texts, keep=keep)
        step = _KERNEL_ROWS if self.kernel else _ROWS
        parts = [
            self._walk_fingerprints(self.fingerprint_many(texts[first : first + step]), keep=keep)
            for first in range(0, max(len(texts), 1), step)
        ]
        return Matches(
            np.concatenate([part.places for part in parts]),
            np.concatenate([part.similarity for part in parts]),
            np.concatenate([part.exact for part in parts]),
        )

    def _walk_fingerprints(self, offered: Fingerprints, *, keep: bool) -> Matches:
        if offered.keys.shape[1] != self.bands:
            told = f"these fingerprints have {offered.keys.shape[1]} bands, and the index has {self.bands}"
            raise UsageError(told, "fingerprint with bands and size of banding(threshold)")
        with self._lock:
            places, similarity = self._store.walk(offered, keep=keep)
            if keep:
                self._digests.extend(offered.digests[places < 0].reshape(-1))
            found = np.flatnonzero(places >= 0)
            kept = self._digests.view().reshape(-1, 2)[places[found]]
        exact = np.zeros(len(places), dtype=bool)
        exact[found] = (kept == offered.digests[found]).all(axis=1) & kept.any(axis=1)
        return Matches(places, similarity, exact)
