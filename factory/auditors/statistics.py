"""What every audit decides with: tests against a gate, corrections for many tests, resampling in whole arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factory.types import Test

Floats = NDArray[np.float64]
POWER = 0.8
Z95 = 1.959963984540054
RESAMPLES = 1000
BLOCK = 4_000_000
"""Resampled weights held at once."""


def z_quantile(share: float) -> float:
    """The standard normal quantile."""
    from scipy.special import ndtri

    return float(ndtri(share))


def z_tail(z: float) -> float:
    """P(Z > z) of a standard normal, without loss far out."""
    from scipy.special import ndtr

    return float(ndtr(-z))


def z_test(value: float, se: float, *, limit: float, effect: float) -> Test:
    """The one-sided test that a size `value` (0 or more, standard error `se`) is beyond `limit`.

    The minimum detectable effect at a level is limit + (z_level + z_power)·se. An `se` of 0 (nothing varies) decides
    by the value alone.
    """
    if se <= 0:
        return Test(0.0 if value > limit else 1.0, effect, lambda alpha: limit)
    return Test(
        z_tail((value - limit) / se), effect, lambda alpha: limit + (z_quantile(1 - alpha) + z_quantile(POWER)) * se
    )


def two_sided(value: float, se: float, *, limit: float, effect: float) -> Test:
    """The test that a signed `value` lies outside ±`limit`: twice the tail of the nearer side, at most 1."""
    one = z_test(abs(value), se, limit=limit, effect=effect)
    if se <= 0:
        return one
    return Test(min(1.0, 2 * one.p), effect, lambda alpha: one.mde_at(alpha / 2))


def worst_of(tests: Sequence[Test]) -> Test:
    """Many tests as one: Bonferroni's p, the effect of the first, the largest of their minimum detectable effects.

    Raises ValueError without a test.
    """
    if not tests:
        raise ValueError("no test to choose from")
    count = len(tests)
    smallest = min(test.p for test in tests)
    return Test(min(1.0, count * smallest), tests[0].effect, lambda alpha: max(t.mde_at(alpha / count) for t in tests))


def holm(p: ArrayLike) -> Floats:
    """Adjusted p-values that bound the chance of any false rejection (Holm 1979)."""
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    found = np.empty(len(given))
    found[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return found


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """q-values that bound the share of false ones among the rejections (Benjamini and Hochberg 1995)."""
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * len(given) / np.arange(1, len(given) + 1)
    found = np.empty(len(given))
    found[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return found


def resampled_sums(
    features: Any, rng: np.random.Generator, *, resamples: int = RESAMPLES, groups: ArrayLike | None = None
) -> Floats:
    """Column sums of `features` ([n, d], dense or scipy.sparse) over bootstrap resamples of its rows: [resamples, d].

    `groups`: rows with the same number are drawn together (a cluster bootstrap; numbers 0 … g−1). A statistic that is a
    function of sums (means, shares, ratios, log-odds) is bootstrapped by these alone.
    """
    if groups is not None:
        features = _by_group(features, np.asarray(groups))
    n = features.shape[0]
    at_once = max(1, BLOCK // max(1, n))
    found = []
    for first in range(0, resamples, at_once):
        count = min(at_once, resamples - first)
        drawn = rng.integers(0, n, size=(count, n))
        drawn += (np.arange(count) * n)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)
        found.append(np.asarray((features.T @ weights.T).T))
    return np.concatenate(found)


def _by_group(features: Any, groups: NDArray[Any]) -> Any:
    from scipy.sparse import csr_matrix

    sums = csr_matrix((np.ones(len(groups)), (groups, np.arange(len(groups)))))
    return sums @ features


def percentile_interval(values: ArrayLike) -> tuple[float, float]:
    """The 95 % percentile interval of bootstrap values. Raises ValueError without a finite one."""
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        raise ValueError("no bootstrap value is finite")
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def mean_interval(values: ArrayLike) -> tuple[float, float, tuple[float, float]]:
    """Mean, its standard error, and the 95 % interval by Student's t. Raises ValueError under two values."""
    from scipy.special import stdtrit

    given = np.asarray(values, dtype=np.float64)
    n = len(given)
    if n < 2:
        raise ValueError("a mean's interval takes two values")
    mean, se = float(given.mean()), float(given.std(ddof=1) / math.sqrt(n))
    half = float(stdtrit(n - 1, 0.975)) * se
    return mean, se, (mean - half, mean + half)


def share_difference(hits: int, n: int, others: int, m: int) -> tuple[float, float, tuple[float, float]]:
    """Difference of two shares hits/n − others/m, its standard error, and Newcombe's hybrid score interval (1998)."""
    from factory.measures import wilson

    one, two = hits / n, others / m
    (low, high), (below, above) = wilson(hits, n), wilson(others, m)
    difference = one - two
    interval = (
        difference - math.sqrt((one - low) ** 2 + (above - two) ** 2),
        difference + math.sqrt((high - one) ** 2 + (two - below) ** 2),
    )
    return difference, (interval[1] - interval[0]) / (2 * Z95), interval


def equal_sizes(n: int, m: int, most: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places of two samples of the same size: min(n, m, most), without replacement, ascending."""
    size = min(n, m, most)
    return np.sort(rng.choice(n, size, replace=False)), np.sort(rng.choice(m, size, replace=False))
