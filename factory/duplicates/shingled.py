"""`by: shingles`: the index of `factory.minhash`, for scopes and for rows that need not be new."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from factory import kernel
from factory.duplicates.engines import no_matches
from factory.minhash import (
    U64,
    Fingerprint,
    Fingerprints,
    Index,
    Ints,
    Matches,
    band_keys,
    fingerprint,
    jaccard,
    normalise,
    shingles_of_normalised,
    signature,
)

FEW = 16
"""Texts of a scope that are compared one with another before they get an index: one takes tens of kilobytes."""


def take(batch: Fingerprints, rows: Ints) -> Fingerprints:
    """The fingerprints of these texts alone."""
    starts = np.concatenate(([0], batch.ends[:-1]))[rows] if len(batch) else batch.ends
    lengths = batch.ends[rows] - starts
    ends = np.cumsum(lengths)
    places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    signatures = None if batch.signatures is None else batch.signatures[rows]
    return Fingerprints(batch.shingles[places], ends, batch.keys[rows], batch.digests[rows], signatures)


class Shingles:
    """Known texts by their shingles; see `factory.minhash.Index`.

    With `few` the first `FEW` are held without an index, for data of very many scopes: same results.
    """

    def __init__(self, threshold: float, *, few: bool = False):
        self._threshold = threshold
        self._few: list[Fingerprint] | None = [] if few else None
        self._index: Index | None = None if few else Index(threshold)
        self._added: list[U64] = []
        self._sorted: tuple[U64, Ints] | None = None

    def __len__(self) -> int:
        return len(self._few) if self._index is None and self._few is not None else len(self._indexed())

    @property
    def nbytes(self) -> int:
        held = 2 * sum(part.nbytes for part in self._added)
        if self._index is not None:
            return held + self._index.nbytes
        return held + sum(200 + one.shingles.nbytes + one.keys.nbytes for one in self._few or ())

    def match_many(self, batch: Fingerprints) -> Matches:
        found = self._match_few(batch, keep=False) if self._index is None else self._index.match_many(batch)
        return self._equal_first(batch, found)

    def offer_many(self, batch: Fingerprints) -> Matches:
        if self._index is None and len(self) + len(batch) > FEW:
            self._indexed()
        found = self._match_few(batch, keep=True) if self._index is None else self._index.offer_many(batch)
        return self._equal_first(batch, found)

    def add_many(self, batch: Fingerprints, *, compared: bool = True) -> None:
        if not compared:
            self._remember(batch)
        if self._index is None and len(self) + len(batch) > FEW:
            self._indexed()
        for k in range(len(batch)):
            if self._index is not None:
                self._index.add(batch.at(k))
            elif self._few is not None:
                self._few.append(_copied(batch.at(k)))

    def _indexed(self) -> Index:
        """The index, built of the few where there was none."""
        if self._index is None:
            self._index = Index(self._threshold)
            for one in self._few or ():
                self._index.add(one)
            self._few = None
        return self._index

    def _remember(self, batch: Fingerprints) -> None:
        """The digests of texts that are known whatever they repeat: a later one may be equal to a new text."""
        self._added.append(batch.digests)
        self._sorted = None

    def _equal_first(self, batch: Fingerprints, found: Matches) -> Matches:
        """The matches, with the equal text in place of an earlier one that is merely alike."""
        alike = np.flatnonzero((found.places >= 0) & ~found.exact)
        if not self._added or not len(alike):
            return found
        if self._sorted is None:
            self._added = [np.concatenate(self._added)]
            order = np.argsort(self._added[0][:, 0], kind="stable")
            self._sorted = self._added[0][order, 0], order
        known, order = self._sorted
        at = np.minimum(np.searchsorted(known, batch.digests[alike, 0]), len(order) - 1)
        equal = (self._added[0][order[at]] == batch.digests[alike]).all(axis=1)
        rows = alike[equal]
        found.places[rows], found.similarity[rows], found.exact[rows] = order[at[equal]], 1.0, True
        return found

    def _match_few(self, batch: Fingerprints, *, keep: bool) -> Matches:
        found = no_matches(len(batch))
        assert self._few is not None
        for k in range(len(batch)):
            asked = batch.at(k)
            for place, known in enumerate(self._few):
                similarity = self._similarity(asked, known)
                if similarity >= self._threshold:
                    equal = known.digest is not None and bool((batch.digests[k] == known.digest).all())
                    found.places[k], found.similarity[k], found.exact[k] = place, similarity, equal
                    break
            else:
                if keep:
                    self._few.append(_copied(asked))
        return found

    def _similarity(self, one: Fingerprint, other: Fingerprint) -> float:
        """What the index would find: the Jaccard similarity of texts that share a band, or that are both empty."""
        if not len(one.shingles) or not len(other.shingles):
            return float(len(one.shingles) == len(other.shingles))
        return jaccard(one.shingles, other.shingles) if (one.keys == other.keys).any() else 0.0


def _copied(one: Fingerprint) -> Fingerprint:
    """The fingerprint in memory of its own, so that its batch may go."""
    return Fingerprint(one.shingles.copy(), one.keys.copy(), None if one.digest is None else one.digest.copy())


def fingerprints_of(texts: Sequence[str] | Any, bands: int, size: int) -> Fingerprints:
    """The batch of texts, or of what is one already."""
    if isinstance(texts, Fingerprints):
        return texts
    if len(texts) == 1 and isinstance(texts[0], str) and not kernel.available():
        return _fingerprint_one(texts[0], bands, size)
    return fingerprint(texts, bands=bands, size=size)


def _fingerprint_one(text: str, bands: int, size: int) -> Fingerprints:
    """What `fingerprint` makes of a single text; in NumPy one by one takes a fifth of a batch of one."""
    normal = normalise(text)
    own = shingles_of_normalised(normal)
    digest = hashlib.blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return Fingerprints(
        own,
        np.array([len(own)], dtype=np.int64),
        band_keys(signature(own), bands, size).reshape(1, -1),
        np.frombuffer(digest, dtype="<u8").astype(np.uint64).reshape(1, 2),
    )
