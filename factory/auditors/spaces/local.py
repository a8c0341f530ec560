"""TF-IDF and a truncated SVD: a text space that takes no model, for texts of any language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.spaces.tokens import Tokens, tokenize

Vectors = NDArray[np.float32]
DIMENSIONS = 128
FIT_ROWS = 20_000
"""Texts that the space is fitted on at most; a sample where there are more."""
BUCKETS = 1 << 20
TERMS = 1 << 15
"""Terms that a space knows at most: the ones that stand in most texts."""
ITERATIONS = 3
_TEXTS = 4096
"""Texts placed at once."""
CHARS = 20_000


class LocalSpace:
    """Texts as unit vectors: words and pairs of words, weighted by 1 + log(tf) and smoothed idf, hashed into 2²⁰
    buckets of which the commonest `TERMS` count, and projected on the first right singular vectors.

    The SVD is randomised (Halko, Martinsson and Tropp 2011) with the seed of `rng`, on one thread, so that the result
    hangs neither on the number of threads nor on the order of rounding; each axis points where its largest weight is
    positive. In scripts without spaces a word is one sign, so that its terms are n-grams of characters.
    """

    def __init__(self, rng: np.random.Generator, fit_on: Sequence[str], dimensions: int = DIMENSIONS):
        if dimensions < 1:
            raise ValueError(f"a space of {dimensions} dimensions")
        rows = np.arange(len(fit_on))
        if len(rows) > FIT_ROWS:
            rows = np.sort(rng.choice(len(rows), FIT_ROWS, replace=False))
        counts = _Counts(_buckets(_cut([fit_on[row] for row in rows.tolist()])))
        self._terms, self._idf = counts.terms()
        weighed = self._weigh(counts)
        self._axes = _axes(weighed, dimensions, int(rng.integers(1 << 31)))
        self.name = f"TF-IDF of words and word pairs, SVD to {self._axes.shape[1]} dimensions, v1"

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, d], unit rows; zeros for a text without a known word."""
        found = np.zeros((len(texts), self._axes.shape[1]), dtype=np.float32)
        for first in range(0, len(texts), _TEXTS):
            part = _cut(texts[first : first + _TEXTS])
            found[first : first + len(part)] = unit(self._weigh(_Counts(_buckets(part))) @ self._axes)
        return found

    def _weigh(self, counts: _Counts) -> Any:
        """The rows as a csr matrix float32 [n, terms], of length 1 or 0."""
        from scipy.sparse import csr_matrix

        term = self._terms[counts.bucket]
        known = term >= 0
        rows, term = counts.row[known], term[known]
        values = (1 + np.log(counts.tf[known])) * self._idf[term]
        lengths = np.sqrt(np.bincount(rows, weights=values * values, minlength=counts.rows))
        values /= lengths[rows]
        ends = np.cumsum(np.bincount(rows, minlength=counts.rows))
        shape = (counts.rows, max(1, len(self._idf)))
        return csr_matrix((values.astype(np.float32), term, np.concatenate(([0], ends))), shape=shape)


class _Counts:
    """How often each term stands in each text, by text and then by bucket."""

    def __init__(self, buckets: tuple[NDArray[np.int64], NDArray[np.int64], int]):
        bucket, row, self.rows = buckets
        keys = row * BUCKETS + bucket
        keys.sort()
        fresh = np.ones(len(keys), dtype=bool)
        fresh[1:] = keys[1:] != keys[:-1]
        places = np.flatnonzero(fresh)
        self.tf = np.diff(places, append=len(keys)).astype(np.float64)
        self.row, self.bucket = np.divmod(keys[places], BUCKETS)

    def terms(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The number of each bucket's term, −1 for those left out, and each term's idf.

        A term that one text alone holds says nothing of how texts hang together: it counts only where no other does.
        """
        texts = np.bincount(self.bucket, minlength=BUCKETS)
        fewest = 2 if (texts >= 2).any() else 1
        order = np.lexsort((np.arange(BUCKETS), -texts))[:TERMS] if (texts > 0).sum() > TERMS else np.flatnonzero(texts)
        chosen = np.sort(order[texts[order] >= fewest])
        numbers = np.full(BUCKETS, -1, dtype=np.int32)
        numbers[chosen] = np.arange(len(chosen), dtype=np.int32)
        return numbers, np.log((1 + self.rows) / (1 + texts[chosen])) + 1


def _cut(texts: Sequence[str]) -> list[str]:
    return [text if len(text) <= CHARS else text[:CHARS] for text in texts]


def _buckets(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    tokens: Tokens = tokenize(texts)
    found = [tokens.grams(n) for n in (1, 2)]
    hashes = np.concatenate([one[0] for one in found])
    owners = np.concatenate([one[1] for one in found])
    return (hashes & np.uint64(BUCKETS - 1)).astype(np.int64), owners, len(texts)


def _axes(matrix: Any, dimensions: int, seed: int) -> Vectors:
    """float32 [terms, d], d ≤ `dimensions`: the right singular vectors, in the order of their singular values."""
    from sklearn.utils.extmath import randomized_svd

    most = min(dimensions, *matrix.shape)
    if not matrix.nnz:
        return np.zeros((matrix.shape[1], 1), dtype=np.float32)
    with one_thread():
        _, sizes, axes = randomized_svd(
            matrix, most, n_iter=ITERATIONS, power_iteration_normalizer="LU", random_state=seed, flip_sign=False
        )
    axes = axes[sizes > 1e-5 * sizes[0]]
    largest = np.argmax(np.abs(axes), axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    found: Vectors = np.ascontiguousarray(axes.T, dtype=np.float32)
    return found


def one_thread() -> Any:
    """A `with` block in which linear algebra runs on one thread: sums are then always rounded alike."""
    from threadpoolctl import threadpool_limits  # scikit-learn stands on it

    return threadpool_limits(1)


def unit(vectors: Any) -> Vectors:
    """float32 [n, d]: rows of length 1; a row of zeros stays."""
    found = np.asarray(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))
    lengths[lengths < 1e-12] = np.inf
    unit_rows: Vectors = (found / lengths[:, None]).astype(np.float32)
    return unit_rows
