"""Embeddings as journals keep them: little-endian float32 in base64; and how alike they are."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FLOAT = np.dtype("<f4")


def encode(vector: ArrayLike) -> str:
    """A vector as text: base64 of little-endian float32. Raises ValueError unless it is 1-D, not empty and finite."""
    numbers = np.asarray(vector, dtype=_FLOAT)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"no embedding: shape {numbers.shape}, and every number must be finite in float32")
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def decode(text: str) -> NDArray[np.float32]:
    """The vector of `encode`, 1-D float32. Raises ValueError on damaged text, no numbers, or one that is not finite."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"no embedding: the text is not base64 ({error})") from error
    if not raw or len(raw) % _FLOAT.itemsize:
        raise ValueError(f"no embedding: {len(raw)} bytes are no whole float32 numbers")
    numbers = np.frombuffer(raw, dtype=_FLOAT).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError("no embedding: a number of it is not finite")
    return numbers


def cosine_matrix(vectors: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Cosines of the angles between vectors, float64 [n, n], in −1…1, symmetric; 0 with a vector of zeros.

    Each pair is computed by itself, so that a cosine does not hang on which others are in the list. Raises ValueError
    where they differ in length.
    """
    rows = [_unit(np.asarray(vector, dtype=np.float64)) for vector in vectors]
    if len({row.shape for row in rows}) > 1:
        raise ValueError(f"vectors of different lengths: {sorted({len(row) for row in rows})}")
    found = np.zeros((len(rows), len(rows)))
    for at, row in enumerate(rows):
        for other in range(at, len(rows)):
            found[at, other] = found[other, at] = min(1.0, max(-1.0, float(np.add.reduce(row * rows[other]))))
    return found


def cosine(one: ArrayLike, other: ArrayLike) -> float:
    """The cosine of the angle between two vectors, −1…1; 0 with a vector of zeros. Raises ValueError as above."""
    return float(cosine_matrix([one, other])[0, 1])


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector at length 1; scaled by its largest number first, so that no square overflows or vanishes."""
    if vector.ndim != 1:
        raise ValueError(f"no vector: shape {vector.shape}")
    largest = float(np.max(np.abs(vector), initial=0.0))
    if largest == 0.0:
        return vector
    scaled = vector / largest
    return np.asarray(scaled / np.sqrt(np.add.reduce(scaled * scaled)))
