"""Hits by meaning: texts whose embedding is that of a test set's question, nearly."""

from __future__ import annotations

from collections.abc import Sequence

from factory.decontamination.embedding import Floats, QuestionVectors
from factory.decontamination.types import Hit


def nearest_questions(vectors: QuestionVectors, asked: Floats, fpr: float) -> Sequence[Hit | None]:
    """For each vector of `asked`, float32 [m, d], the hit of the nearest question; None under the threshold for `fpr`.

    Column and span are the caller's to fill in. A vector of zeros (no text) hits nothing.
    """
    rows, cosines = vectors.nearest(asked)
    least = max(vectors.thresholds[fpr], 1e-6)
    return [
        Hit(vectors.name, int(row), "question", "", "embedding", float(cosine), "") if cosine >= least else None
        for row, cosine in zip(rows, cosines, strict=True)
    ]
