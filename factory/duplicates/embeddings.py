"""`by: embeddings`: the earliest text whose embedding's cosine reaches the threshold; exact search in blocks.

Products of matrices choose candidates: their last digits hang on the machine and on what is computed together. What
decides is the cosine of the two vectors alone, in float64, rounded to `DIGITS`: so no verdict hangs on the size of a
batch. Two vectors whose cosine lies within 1e-16 of the middle between two such numbers may still differ by machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factory.duplicates.engines import no_matches
from factory.duplicates.grams import digest
from factory.errors import UsageError
from factory.minhash import Ints, Matches, normalise

F32 = NDArray[np.float32]

DIGITS = 6
"""Decimal digits of a cosine that decide: float32 embeddings of one text agree to about as many."""
_ROUNDING = 1e-6
_ROWS = 512
_TILE = 8192
"""Texts of a batch, and known ones, that are compared at once: 16 MB of cosines."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of n texts: embeddings at length 1, float32 [n, dimensions], and digests of the normalised texts.

    A text without visible characters has a vector of zeros, whatever was given for it.
    """

    units: F32
    digests: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.units)

    def take(self, rows: Ints) -> Vectors:
        """These texts alone."""
        return Vectors(self.units[rows], tuple(self.digests[k] for k in rows.tolist()))


def vectors_of(texts: Sequence[str], vectors: ArrayLike | Sequence[ArrayLike | None] | None) -> Vectors:
    """The batch of texts with their embeddings, [n, dimensions]; None will do for a text without visible characters.

    Raises UsageError where one is missing or unusable.
    """
    folded = [normalise(text) for text in texts]
    blank = np.array([not text for text in folded], dtype=bool)
    given = _matrix(vectors, blank)
    if given.ndim != 2 or len(given) != len(texts):
        raise UsageError(f"embeddings of shape {given.shape} for {len(texts)} texts", "give one vector for each text")
    given[blank] = 0
    bad = np.flatnonzero(~np.isfinite(given).all(axis=1))
    if len(bad):
        raise UsageError(f"the embedding of text {bad[0]} holds a number that is not finite", "embed it again")
    return Vectors(_units(given), tuple(map(digest, folded)))


def _matrix(vectors: Any, blank: NDArray[np.bool_]) -> NDArray[np.float64]:
    if isinstance(vectors, np.ndarray) and vectors.dtype != object:
        return vectors.astype(np.float64)
    given = [None] * len(blank) if vectors is None else list(vectors)
    size = next((len(one) for one in given if one is not None), 0)
    missing = [k for k, (one, empty) in enumerate(zip(given, blank, strict=False)) if one is None and not empty]
    if missing:
        raise UsageError(f"text {missing[0]} has no embedding to be compared by", "give one vector for each text")
    try:
        filled = [np.zeros(size) if one is None else np.asarray(one, dtype=np.float64) for one in given]
        return np.array(filled).reshape(len(filled), -1 if size else 0)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the embeddings make no matrix ({error})", "use one model for all texts") from error


def _units(given: NDArray[np.float64]) -> F32:
    """The rows at length 1, by their largest number first, so that no square overflows; zeros stay zeros."""
    largest = np.max(np.abs(given), axis=1, initial=0.0, keepdims=True)
    scaled = given / np.where(largest > 0, largest, 1)
    lengths = np.sqrt(np.array([[float(np.add.reduce(row * row))] for row in scaled]).reshape(-1, 1))
    return (scaled / np.where(lengths > 0, lengths, 1)).astype(np.float32)


class Embeddings:
    """Known texts by their embeddings: 4 bytes a dimension and text, with spare room half as much again."""

    def __init__(self, threshold: float):
        self._threshold = threshold
        self._units: F32 = np.empty((0, 0), dtype=np.float32)
        self._exact: dict[bytes, int] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        return self._units.nbytes + 100 * len(self._exact)

    def match_many(self, batch: Vectors) -> Matches:
        return self._walk(batch, keep=False)

    def offer_many(self, batch: Vectors) -> Matches:
        return self._walk(batch, keep=True)

    def add_many(self, batch: Vectors, *, compared: bool = True) -> None:
        units = self._fit(batch.units)
        needed = self._size + len(batch)
        if needed > len(self._units):
            grown = np.empty((max(needed, self._size + self._size // 2), units.shape[1]), dtype=np.float32)
            grown[: self._size] = self._units[: self._size]
            self._units = grown
        self._units[self._size : needed] = units
        for k, key in enumerate(batch.digests):
            self._exact.setdefault(key, self._size + k)
        self._size = needed

    def _fit(self, units: F32) -> F32:
        """The vectors in as many dimensions as the known ones have; of texts that are all empty there are none yet."""
        if not units.shape[1]:
            return np.zeros((len(units), self._units.shape[1]), dtype=np.float32)
        if not self._units.shape[1]:
            self._units = np.zeros((self._size, units.shape[1]), dtype=np.float32)
        elif units.shape[1] != self._units.shape[1]:
            told = f"an embedding of {units.shape[1]} numbers, where earlier ones have {self._units.shape[1]}"
            raise UsageError(told, "embed all texts with one model")
        return units

    def _walk(self, batch: Vectors, *, keep: bool) -> Matches:
        found = no_matches(len(batch))
        for first in range(0, len(batch), _ROWS):
            rows = np.arange(first, min(first + _ROWS, len(batch)))
            block = Vectors(self._fit(batch.units[rows]), batch.digests[first : first + len(rows)])
            self._walk_block(block, first, found, keep=keep)
        return found

    def _walk_block(self, block: Vectors, first: int, found: Matches, *, keep: bool) -> None:
        """A block's matches among the known texts, and with `keep` among those of the block that are kept."""
        known = self._among_known(block)
        inside = self._inside(block) if keep else {}
        kept: list[int] = []
        place_of: dict[int, int] = {}
        fresh: dict[bytes, int] = {}
        for k, key in enumerate(block.digests):
            place = self._exact.get(key, fresh.get(key, -1))
            similarity, exact = (1.0, True) if place >= 0 else (0.0, False)
            if place < 0 and k in known:
                place, similarity = known[k]
            elif place < 0:
                for other in inside.get(k, ()):
                    if other in place_of and (cosine := self._cosine(block.units[k], block.units[other])) is not None:
                        place, similarity = place_of[other], cosine
                        break
            if place >= 0:
                at = first + k
                found.places[at], found.similarity[at], found.exact[at] = place, similarity, exact
            elif keep:
                place_of[k] = fresh[key] = self._size + len(kept)
                kept.append(k)
        if kept:
            self.add_many(block.take(np.array(kept)))

    def _among_known(self, block: Vectors) -> dict[int, tuple[int, float]]:
        """By row of the block: the earliest known text that reaches the threshold, and the cosine."""
        found: dict[int, tuple[int, float]] = {}
        waiting = np.arange(len(block))
        loose = self._loose(block.units)
        for first in range(0, self._size, _TILE):
            tile = self._units[first : min(first + _TILE, self._size)]
            rows, places = np.nonzero(block.units[waiting] @ tile.T >= loose)
            for row, place in zip(waiting[rows].tolist(), places.tolist(), strict=True):
                if row not in found and (cosine := self._cosine(block.units[row], tile[place])) is not None:
                    found[row] = first + place, cosine
            if len(rows):
                waiting = np.array([row for row in waiting.tolist() if row not in found], dtype=np.int64)
            if not len(waiting):
                break
        return found

    def _inside(self, block: Vectors) -> dict[int, list[int]]:
        """By row of the block: the earlier rows of the block that may be near enough, ascending."""
        rows, others = np.nonzero(np.tril(block.units @ block.units.T >= self._loose(block.units), -1))
        near: dict[int, list[int]] = {}
        for row, other in zip(rows.tolist(), others.tolist(), strict=True):
            near.setdefault(row, []).append(other)
        return near

    def _loose(self, units: F32) -> float:
        """Below the threshold by more than float32 sums can be wrong: all that may reach it."""
        return self._threshold - _ROUNDING - 2.0**-22 * float(max(8, units.shape[1]))

    def _cosine(self, one: F32, other: F32) -> float | None:
        """The cosine where it reaches the threshold."""
        cosine = round(float(np.add.reduce(one.astype(np.float64) * other.astype(np.float64))), DIGITS)
        return min(1.0, cosine) if cosine >= self._threshold else None
