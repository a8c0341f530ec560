"""A small text classifier trained on labelled rows, with an honest estimate of how well it ranks.

Word and character n-grams, TF-IDF, logistic regression (scikit-learn). Everything is deterministic: folds hang on the
texts' hashes, the solver runs in one thread with a fixed seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from factory.errors import UsageError
from factory.measures import auc

FOLDS = 5
MIN_OF_A_CLASS = 10
LONGEST = 20_000
"""Characters of a text that are looked at."""
FEATURES = 60_000
RARE = 500
"""From so many texts on, n-grams of a single text are left out."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How a classifier ranked texts that it had not seen: AUC with a 95% interval, over `n` texts, `positives` good."""

    auc: float
    interval: tuple[float, float]
    n: int
    positives: int


@dataclass(frozen=True, slots=True)
class Classifier:
    """`blocks`: pairs of counter and weigher. `predict(texts)` gives the probability of a good label for each."""

    blocks: tuple[tuple[Any, Any], ...]
    weights: Any
    intercept: float

    def predict(self, texts: Sequence[str]) -> list[float]:
        """Probabilities to six decimals, so that the last bits of another machine's arithmetic do not show."""
        from scipy.sparse import hstack

        parts = [weigher.transform(counter.transform(_cut(texts))) for counter, weigher in self.blocks]
        sums = hstack(parts, format="csr") @ self.weights + self.intercept
        return [round(_logistic(float(value)), 6) for value in sums]


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))


def _cut(texts: Sequence[str]) -> list[str]:
    return [text[:LONGEST] for text in texts]


@lru_cache(maxsize=4)
def train(texts: tuple[str, ...], good: tuple[bool, ...]) -> tuple[Classifier, Quality]:
    """A classifier trained on all texts, and what cross-validation says of it.

    Texts are distinct. Raises UsageError where the texts hold no words.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    least = 2 if len(texts) >= RARE else 1
    counters = [
        CountVectorizer(token_pattern=r"(?u)\w+", ngram_range=(1, 2), min_df=least, max_features=FEATURES),
        CountVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=least, max_features=FEATURES),
    ]
    try:
        counts = [counter.fit_transform(_cut(texts)) for counter in counters]
    except ValueError as error:
        raise UsageError("the labelled texts of `learned` hold no words", "look at its `text` column") from error
    quality = _cross_validate(counts, texts, good)
    model, weighers = _fit(counts, list(range(len(texts))), good)
    return Classifier(tuple(zip(counters, weighers, strict=True)), model.coef_[0], float(model.intercept_[0])), quality


def _fit(counts: list[Any], rows: list[int], good: Sequence[bool]) -> tuple[Any, list[Any]]:
    """The model and the weighers of its features, from some of the rows."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    weighers = [TfidfTransformer(sublinear_tf=True).fit(block[rows]) for block in counts]
    features = hstack([weigher.transform(block[rows]) for weigher, block in zip(weighers, counts, strict=True)], "csr")
    model = LogisticRegression(C=10.0, solver="liblinear", random_state=0, max_iter=1000)
    return model.fit(features, [good[row] for row in rows]), weighers


def _cross_validate(counts: list[Any], texts: Sequence[str], good: Sequence[bool]) -> Quality:
    """AUC over all texts, each ranked by a model that was trained without its fold."""
    from scipy.sparse import hstack

    folds = fold_of(texts, good)
    scores = [0.0] * len(texts)
    for fold in range(FOLDS):
        held = [row for row, its in enumerate(folds) if its == fold]
        model, weighers = _fit(counts, [row for row, its in enumerate(folds) if its != fold], good)
        parts = [weigher.transform(block[held]) for weigher, block in zip(weighers, counts, strict=True)]
        for row, value in zip(held, model.decision_function(hstack(parts, "csr")), strict=True):
            scores[row] = float(value)
    found = auc(scores, good)
    assert found.value is not None and found.interval is not None  # both classes are there
    return Quality(found.value, found.interval, len(good), sum(good))


def fold_of(texts: Sequence[str], good: Sequence[bool]) -> list[int]:
    """Every text's fold: within each class in turn, in the order of the texts' hashes."""
    folds = [0] * len(texts)
    for label in (False, True):
        rows = [row for row, its in enumerate(good) if its == label]
        rows.sort(key=lambda row: hashlib.sha256(texts[row].encode("utf-8", "replace")).digest())
        for rank, row in enumerate(rows):
            folds[row] = rank % FOLDS
    return folds
