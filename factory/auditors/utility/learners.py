"""What learns: logistic regression on TF-IDF of words and word pairs, or on the vectors of a text space."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from factory.auditors.spaces import Vectors, one_thread, tokenize

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
PAIR_WEIGHT = 0.8
"""What a pair of words counts for beside a word."""
INVERSE_PENALTY = 10.0
EPOCHS = 30
TOLERANCE = 1e-3
MOST_FEATURES = 60_000
WORK = 40_000_000
"""Non-zero features times classes that one training may see: some seconds on one core."""


class Learner(Protocol):
    """A classifier over the rows of a pool. `affordable(classes)`: how many rows one training should have at most."""

    @property
    def name(self) -> str: ...

    def affordable(self, classes: int) -> int: ...

    def probabilities(self, rows: Ints, labels: Ints, asked: Ints, classes: int) -> Floats:
        """float64 [asked, classes] of a model trained on `rows` (repeats count) with the pool's `labels`."""
        ...


def predict(learner: Learner, rows: Ints, labels: Ints, asked: Ints, classes: int) -> Ints:
    """The likeliest class of each asked row."""
    found: Ints = np.argmax(learner.probabilities(rows, labels, asked, classes), axis=1)
    return found


class WordLearner:
    """TF-IDF of words and pairs of words, fitted on the training rows alone, and multinomial logistic regression.

    Of a pool's words and pairs the most frequent `MOST_FEATURES` count. C = 10, solved by SAGA (Defazio et al. 2014).
    """

    def __init__(self, texts: Sequence[str]):
        self._counts, self._weights = _count(texts)
        self.name = "TF-IDF of words and word pairs + logistic regression (C = 10)"

    def affordable(self, classes: int) -> int:
        mean = self._counts.nnz / max(1, self._counts.shape[0])
        return max(200, int(WORK / (max(1.0, mean) * max(2, classes))))

    def probabilities(self, rows: Ints, labels: Ints, asked: Ints, classes: int) -> Floats:
        from scipy.sparse import csr_matrix, diags_array

        train = self._counts[rows]
        frequency = np.bincount(train.indices, minlength=train.shape[1])
        known = np.flatnonzero(frequency)
        if not len(known):
            return _constant(labels[rows], len(asked), classes)
        rarity = np.log((1 + len(rows)) / (1 + frequency[known])) + 1
        scale = diags_array((rarity * self._weights[known]).astype(np.float32))
        train, test = (_unit_rows(csr_matrix(matrix[:, known] @ scale)) for matrix in (train, self._counts[asked]))
        return _logistic(train, labels[rows], test, classes)


@dataclass(frozen=True, slots=True)
class VectorLearner:
    """Logistic regression on unit vectors [pool, d] of a text space."""

    vectors: Vectors
    space: str

    @property
    def name(self) -> str:
        return f"{self.space} + logistic regression (C = 10)"

    def affordable(self, classes: int) -> int:
        return max(200, int(WORK / (self.vectors.shape[1] * max(2, classes))))

    def probabilities(self, rows: Ints, labels: Ints, asked: Ints, classes: int) -> Floats:
        return _logistic(self.vectors[rows], labels[rows], self.vectors[asked], classes)


def _count(texts: Sequence[str]) -> tuple[Any, Floats]:
    """Counts of words and pairs as float32 [texts, features], and the weight of each feature."""
    from scipy.sparse import csr_matrix

    tokens = tokenize(texts)
    (words, owners), (pairs, pair_owners) = tokens.grams(1), tokens.grams(2)
    names, places = np.unique(np.concatenate([words, pairs]), return_inverse=True)
    weights = np.full(len(names), PAIR_WEIGHT)
    weights[places[: len(words)]] = 1.0
    ones = np.ones(len(places), dtype=np.float32)
    counts = csr_matrix((ones, (np.concatenate([owners, pair_owners]), places)), shape=(len(texts), len(names)))
    counts.sum_duplicates()
    if len(names) > MOST_FEATURES:
        frequency = np.bincount(counts.indices, minlength=len(names))
        kept = np.sort(np.argsort(-frequency, kind="stable")[:MOST_FEATURES])
        counts, weights = csr_matrix(counts[:, kept]), weights[kept]
    return counts, weights


def _unit_rows(matrix: Any) -> Any:
    """The matrix with rows of length 1, in place; a row of zeros stays."""
    sizes = np.diff(matrix.indptr)
    owners = np.repeat(np.arange(matrix.shape[0]), sizes)
    lengths = np.sqrt(np.bincount(owners, weights=matrix.data.astype(np.float64) ** 2, minlength=matrix.shape[0]))
    lengths[lengths == 0] = 1.0
    matrix.data /= lengths[owners].astype(matrix.data.dtype)
    return matrix


def _logistic(train: Any, labels: Ints, asked: Any, classes: int) -> Floats:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    if len(present) < 2:
        return _constant(labels, asked.shape[0], classes)
    model = LogisticRegression(C=INVERSE_PENALTY, solver="saga", max_iter=EPOCHS, tol=TOLERANCE, random_state=0)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
        given = model.predict_proba(asked)
    found = np.zeros((asked.shape[0], classes))
    found[:, model.classes_] = given
    return found


def _constant(labels: Ints, asked: int, classes: int) -> Floats:
    """What a model can say that has nothing to tell rows apart by: the shares of the classes in its rows."""
    shares = np.bincount(labels, minlength=classes) / max(1, len(labels))
    found: Floats = np.tile(shares, (asked, 1))
    return found
