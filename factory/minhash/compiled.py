"""Kept texts in the compiled kernel, in place of `arrays`: the same results, faster."""

from __future__ import annotations

import ctypes

import numpy as np

from factory.kernel import calls, library
from factory.minhash.arrays import Floats, Match
from factory.minhash.fingerprints import Fingerprint, Fingerprints
from factory.minhash.scheme import U64, Ints


def keys_of_set(shingles: U64, bands: int, size: int) -> U64:
    """`band_keys` of a set's signature, by the kernel."""
    return calls.keys_of_set(library(), shingles, bands, size)


class Compiled:
    """Kept texts in the kernel's memory: what `Arrays` does."""

    def __init__(self, threshold: float, bands: int, size: int, hub: int):
        self._library: ctypes.CDLL = library()
        self._bands, self._size = bands, size
        self._table = calls.Table(self._library, threshold, bands, size, hub)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        return self._table.nbytes

    @property
    def hub_queries(self) -> int:
        """How many texts met a bucket of more than `hub`."""
        return self._table.hub_queries

    def match(self, asked: Fingerprint) -> Match | None:
        """The earliest kept text that shares a band and has Jaccard ≥ threshold."""
        places, similarity = self._walk(asked.shingles, asked.keys)
        return None if places[0] < 0 else Match(int(places[0]), float(similarity[0]))

    def add(self, kept: Fingerprint) -> int:
        """Keep a text; returns its place."""
        return self._table.add(kept.shingles, kept.keys)

    def shingles_at(self, place: int) -> U64:
        """The shingles of a kept text."""
        return self._table.set_at(place)

    def walk(self, offered: Fingerprints, *, keep: bool) -> tuple[Ints, Floats]:
        """Each text's earliest duplicate among those kept before it, or -1, and its similarity, or 0."""
        return self._table.walk(offered.shingles, offered.ends, offered.keys, keep=keep)

    def _walk(self, shingles: U64, keys: U64) -> tuple[Ints, Floats]:
        return self._table.walk(shingles, np.array([len(shingles)]), keys.reshape(1, -1), keep=False)
