"""Agglomerative clustering of a small similarity matrix: the two nearest clusters become one, until none are near."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

Linkage = Literal["complete", "average"]
DIGITS = 12
"""Decimals that decide which two are nearest, so that rounding does not."""


def link(similar: Any, threshold: float, linkage: Linkage = "complete") -> list[int]:
    """For each item the lowest item of its cluster. `similar`: symmetric array-like [n, n], larger is nearer.

    `complete`: two clusters are as alike as their least alike members, so that any two of one cluster are at least
    `threshold` alike; `average`: as the mean over their pairs (UPGMA, Sokal and Michener 1958). Of equally near pairs
    the one with the lowest items goes first. O(n³), in numpy.
    """
    import numpy as np

    near = np.array(similar, dtype=np.float64)
    n = len(near)
    if n < 2:
        return list(range(n))
    np.fill_diagonal(near, -np.inf)
    sizes, labels = [1] * n, list(range(n))
    while True:
        rounded = np.round(near, DIGITS)
        one, other = sorted(divmod(int(np.argmax(rounded)), n))
        if not rounded[one, other] >= round(threshold, DIGITS):
            return labels
        if linkage == "complete":
            merged = np.minimum(near[one], near[other])
        else:
            merged = (sizes[one] * near[one] + sizes[other] * near[other]) / (sizes[one] + sizes[other])
        near[one], near[:, one] = merged, merged
        near[other], near[:, other] = -np.inf, -np.inf
        near[one, one] = -np.inf
        sizes[one] += sizes[other]
        labels = [one if label == other else label for label in labels]


def entropy(sizes: Sequence[int]) -> float:
    """Shannon entropy of shares, in nats; 0 where all are together, ln n where all are apart."""
    total = sum(sizes)
    return max(0.0, -math.fsum(size / total * math.log(size / total) for size in sizes if size))
