"""How near rows come to real rows: the cosine of words and pairs of words, each weighed by how rare it is.

The weights (sublinear counts times inverse document frequency) are fitted on members and holdout together, so that
neither is favoured, and neighbours are looked for in the two together: which rows are near to which does not depend on
who was a member. Products of sparse matrices, block by block; nothing is estimated, save that words which very many
real rows have do not propose neighbours where there are too many rows to compare (they count in the cosine).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factory.auditors.spaces.tokens import tokenize
from factory.minhash import Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]
FEATURES = 1 << 20
"""Hashed words and pairs of words."""
WORK = 1_500
"""Products of two weights for a row, on average, at most: what the commonest words are left out for."""
BLOCK = 2_000
METHOD = "cosine of words and word pairs (TF-IDF of members and holdout together)"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """For each of n rows its nearest in a pool: `places` int64 [n] (−1: it has no word in common with any), the cosine
    `first` [n], and `second` [n], the next nearest pool row's.
    """

    places: Ints
    first: Floats
    second: Floats


@dataclass(frozen=True, slots=True)
class Compared:
    """The dataset's rows against the pool (`rows`), the pool's against the dataset (`back`, `second` is not known and
    0), and against the rest of the pool (`own`).
    """

    rows: Neighbours
    back: Neighbours
    own: Neighbours


@dataclass(frozen=True)
class Vocabulary:
    """The features of a pool, the rarest first. `places` int32 [FEATURES]: the number of a hashed feature (−1: no pool
    row has it); `weights`: inverse document frequencies; `proposing`: the first so many propose neighbours.
    """

    places: NDArray[np.int32]
    weights: Floats
    proposing: int

    def weigh(self, counted: Counted) -> csr_matrix:
        """Unit rows, float32 [n, features]. What no pool row has still makes a row longer: it weighs as the rarest."""
        from scipy.sparse import csr_matrix

        places = self.places[counted.features]
        known = places >= 0
        top = float(self.weights[0]) if len(self.weights) else 1.0
        weights = np.full(len(places), top)
        weights[known] = self.weights[places[known]]
        weights *= 1 + np.log(counted.counts)
        squares = np.bincount(counted.owners, weights=weights**2, minlength=counted.n)
        weights /= np.sqrt(np.where(squares > 0, squares, 1))[counted.owners]
        shape = (counted.n, max(1, len(self.weights)))
        found: csr_matrix = csr_matrix(
            (weights[known].astype(np.float32), (counted.owners[known], places[known])), shape=shape
        )
        return found

    def propose(self, rows: csr_matrix) -> csr_matrix:
        """The features alone that propose neighbours."""
        from scipy.sparse import csr_matrix

        chosen = rows.indices < self.proposing
        ends = np.concatenate([[0], np.cumsum(chosen)])[rows.indptr]
        shape = (rows.shape[0], max(1, self.proposing))
        found: csr_matrix = csr_matrix((rows.data[chosen], rows.indices[chosen], ends), shape=shape)
        return found


@dataclass(frozen=True, slots=True)
class Counted:
    """How often which hashed feature stands in which of n texts, by text."""

    owners: Ints
    features: Ints
    counts: Ints
    n: int


def compare(dataset: Sequence[str], pool: Sequence[str]) -> Compared:
    """The nearest rows of `dataset` and `pool` to each other, and within the pool."""
    counted = count_features(pool)
    vocabulary = _vocabulary(counted)
    weighed = vocabulary.weigh(counted)
    columns = vocabulary.propose(weighed).T.tocsr()
    best = np.zeros(len(pool))
    best_at = np.full(len(pool), -1, dtype=np.int64)
    found = []
    for start in range(0, len(dataset), BLOCK):
        rows = vocabulary.weigh(count_features(dataset[start : start + BLOCK]))
        products = (vocabulary.propose(rows) @ columns).tocsr()
        found.append(_two_nearest(products, rows, weighed))
        _take_columns(products, rows, weighed, start, (best, best_at))
    back = Neighbours(best_at, best, np.zeros(len(pool)))
    return Compared(_joined(found), back, _within(weighed, vocabulary, columns))


def count_features(texts: Sequence[str]) -> Counted:
    """Words and pairs of words of each text, hashed."""
    tokens = tokenize(list(texts))
    parts = [tokens.grams(1), tokens.grams(2)]
    features = (np.concatenate([hashes for hashes, _ in parts]) % np.uint64(FEATURES)).astype(np.int64)
    owners = np.concatenate([owner for _, owner in parts]).astype(np.int64)
    keys, counts = np.unique(owners * FEATURES + features, return_counts=True)
    return Counted(keys // FEATURES, keys % FEATURES, counts, len(texts))


def _vocabulary(counted: Counted) -> Vocabulary:
    """The features of the pool, with inverse document frequencies; as many propose, from the rarest on, as the work
    allows: a feature that f of n rows have makes f products for the share f / n of all rows."""
    frequencies = np.bincount(counted.features, minlength=FEATURES)
    used = np.flatnonzero(frequencies)
    used = used[np.argsort(frequencies[used], kind="stable")]
    places = np.full(FEATURES, -1, dtype=np.int32)
    places[used] = np.arange(len(used), dtype=np.int32)
    rows = frequencies[used].astype(np.float64)
    work = np.cumsum(rows**2) / max(1, counted.n)
    weights = np.log((1 + counted.n) / (1 + rows)) + 1
    return Vocabulary(places, weights, max(1, int(np.searchsorted(work, WORK, side="right"))))


def plain(text: str) -> str:
    """The words of a text alone, without regard to case, signs between them and white space."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


_WORD = re.compile(r"\w+")


def _row_maxima(products: csr_matrix) -> tuple[NDArray[np.float32], Ints]:
    """Of each row the largest product and the place of it among the stored ones (−1: nothing is stored)."""
    sizes = np.diff(products.indptr)
    filled = np.flatnonzero(sizes)
    top = np.zeros(products.shape[0], dtype=np.float32)
    at = np.full(products.shape[0], -1, dtype=np.int64)
    if len(filled):
        top[filled] = np.maximum.reduceat(products.data, products.indptr[filled])
        hits = np.flatnonzero(products.data == np.repeat(top, sizes))
        owners = np.repeat(np.arange(products.shape[0]), sizes)[hits]
        # Of several the one with the smallest column, whatever the order in which they are stored.
        columns = np.full(products.shape[0], np.iinfo(np.int64).max)
        np.minimum.at(columns, owners, products.indices[hits])
        chosen = products.indices[hits] == columns[owners]
        at[owners[chosen]] = hits[chosen]
    return top, at


def _two_nearest(products: csr_matrix, rows: csr_matrix, pool: csr_matrix) -> Neighbours:
    """The two pool rows with the largest products, in the order of their cosines. Spoils the products."""
    places, cosines = [], []
    kept = products.data.copy()
    for _ in range(2):
        _, at = _row_maxima(products)
        there = at >= 0
        place = np.full(len(at), -1, dtype=np.int64)
        place[there] = products.indices[at[there]]
        spent = there.copy()
        spent[there] = products.data[at[there]] > 0
        place[~spent] = -1
        products.data[at[spent]] = 0
        places.append(place)
        cosines.append(_cosines(rows, pool, place))
    products.data = kept
    swapped = cosines[1] > cosines[0]
    return Neighbours(
        np.where(swapped, places[1], places[0]), np.maximum(*cosines), np.where(swapped, cosines[0], cosines[1])
    )


def _cosines(rows: csr_matrix, pool: csr_matrix, places: Ints) -> Floats:
    """The cosine of each row with one of the pool; 0 without one."""
    found = np.zeros(len(places))
    there = np.flatnonzero(places >= 0)
    if len(there):
        product = rows[there].multiply(pool[places[there]])
        found[there] = np.clip(np.asarray(product.sum(axis=1), dtype=np.float64).ravel(), 0, 1)
    return np.round(found, 6)


def _take_columns(
    products: csr_matrix, rows: csr_matrix, pool: csr_matrix, start: int, best: tuple[Floats, Ints]
) -> None:
    """Note for every pool row the nearest row of this block, where it is nearer than those before."""
    turned = products.tocsc()
    _, at = _row_maxima(turned.T)
    there = np.flatnonzero(at >= 0)
    own = turned.indices[at[there]].astype(np.int64)
    product = rows[own].multiply(pool[there])
    cosines = np.round(np.clip(np.asarray(product.sum(axis=1), dtype=np.float64).ravel(), 0, 1), 6)
    nearer = cosines > best[0][there]
    best[0][there[nearer]] = cosines[nearer]
    best[1][there[nearer]] = own[nearer] + start


def _within(weighed: csr_matrix, vocabulary: Vocabulary, columns: csr_matrix) -> Neighbours:
    """The nearest other row of the pool to each."""
    found = []
    chosen = vocabulary.propose(weighed)
    for start in range(0, weighed.shape[0], BLOCK):
        rows = weighed[start : start + BLOCK]
        products = (chosen[start : start + BLOCK] @ columns).tocsr()
        owners = np.repeat(np.arange(rows.shape[0]), np.diff(products.indptr))
        products.data[products.indices == owners + start] = 0
        found.append(_two_nearest(products, rows, weighed))
    return _joined(found)


def _joined(found: Sequence[Neighbours]) -> Neighbours:
    if not found:
        nothing = np.zeros(0)
        return Neighbours(np.zeros(0, dtype=np.int64), nothing, nothing)
    return Neighbours(
        np.concatenate([one.places for one in found]),
        np.concatenate([one.first for one in found]),
        np.concatenate([one.second for one in found]),
    )
