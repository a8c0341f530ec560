"""Tests of an effect against a limit, with p-values that reach as far as the correction of a whole audit needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factory.auditors.statistics import POWER, Z95, z_quantile
from factory.types import Test

Floats = NDArray[np.float64]
RARE = 5
"""Cells that both samples together fill less often than this are counted as one."""
WIDE = 5_000.0
"""Non-centrality beyond which the chi-square is taken as normal."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far two samples of counted things lie apart, in bits of Jensen-Shannon divergence, 0 … 1.

    `value`: without what chance adds, with its 95 % `interval`; `plain`: as it stands; `chance`: the expected `plain`
    of two samples of the same things. `moved`: total variation distance, the share of rows that would have to change,
    as it stands. `statistic`: Pearson's X² with `df` degrees of freedom, of which `unit` make a bit.
    """

    statistic: float
    df: int
    unit: float
    plain: float
    moved: float
    test: Test

    @property
    def chance(self) -> float:
        return self.df / self.unit if self.unit else 0.0

    @property
    def scale(self) -> float:
        """What brings X² to JSD's own scale: 1 near equality."""
        return self.plain * self.unit / self.statistic if self.statistic > 0 else 1.0

    @property
    def value(self) -> float:
        return min(1.0, self.scale * max(0.0, self.statistic - self.df) / self.unit) if self.unit else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        if not self.unit:
            return 0.0, 0.0
        low, high = (self.scale * one / self.unit for one in _noncentrality_interval(self.statistic, self.df))
        return min(low, self.value), min(1.0, max(high, self.value))


def effective(n: int, m: int) -> float:
    """The size by which a difference of two samples is known: n·m/(n + m)."""
    return n * m / (n + m)


def jensen_shannon(one: ArrayLike, other: ArrayLike) -> Floats:
    """Jensen-Shannon divergence in bits along the last axis; counts or shares, each summing to more than 0."""
    p, q = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    found: Floats = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return np.maximum(0.0, found)


def entropy(p: Floats) -> Floats:
    """Entropy in bits along the last axis."""
    found: Floats = -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=-1)
    return found


def total_variation(one: ArrayLike, other: ArrayLike) -> float:
    """Half the sum of absolute differences of shares."""
    p, q = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return float(np.abs(p / p.sum() - q / q.sum()).sum() / 2)


def merge_rare(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """The counts with all rare cells as one, and without empty ones."""
    pooled = one + other
    rare = pooled < RARE
    merged = [np.append(counts[~rare], counts[rare].sum()) for counts in (one, other)]
    kept = (merged[0] + merged[1]) > 0
    return merged[0][kept], merged[1][kept]


def chi_square(one: Floats, other: Floats) -> tuple[float, int]:
    """Pearson's statistic of two rows of counts, of which none is empty in both, and its degrees of freedom."""
    n, m = one.sum(), other.sum()
    if n == 0 or m == 0 or len(one) < 2:
        return 0.0, 0
    gap = math.sqrt(m / n) * one - math.sqrt(n / m) * other
    return float((gap**2 / (one + other)).sum()), len(one) - 1


def compare_strata(strata: list[tuple[Floats, Floats]], *, limit: float, effect: float) -> Divergence:
    """Divergence of what two samples hold within strata ([(counts, counts)]), averaged by the strata's weight.

    Near equality Pearson's X² is a non-central chi-square with the non-centrality 8·H·JSD (nats), H = Σ n·m/(n + m)
    over the strata: the p-value, the interval and the minimum detectable effect are its own. X²'s mean without a
    difference, the degrees of freedom, is what chance adds. One stratum: two plain samples.
    """
    total, df, size, plain, moved = 0.0, 0, 0.0, 0.0, 0.0
    for one, other in strata:
        if one.sum() == 0 or other.sum() == 0:
            continue
        first, second = merge_rare(one, other)
        found, more = chi_square(first, second)
        weight = effective(int(first.sum()), int(second.sum()))
        total, df, size = total + found, df + more, size + weight
        plain += weight * float(jensen_shannon(first, second))
        moved += weight * total_variation(first, second)
    if size == 0 or df == 0:
        return Divergence(0.0, 0, 0.0, 0.0, 0.0, Test(1.0, effect, lambda alpha: 0.0))
    unit = 8 * size * math.log(2)
    test = Test(_beyond(total, df, unit * limit), effect, _smallest(df, unit, limit))
    return Divergence(total, df, unit, plain / size, moved / size, test)


def divergence_of(statistic: float, df: int, unit: float, *, limit: float, effect: float) -> Divergence:
    """A divergence of which only a statistic is known that is a non-central chi-square, `unit` of it a bit."""
    test = Test(_beyond(statistic, df, unit * limit), effect, _smallest(df, unit, limit))
    return Divergence(statistic, df, unit, statistic / unit, 0.0, test)


def compare_counts(one: ArrayLike, other: ArrayLike, *, limit: float, effect: float) -> Divergence:
    """Divergence of two samples' counts of the same things."""
    pair = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return compare_strata([pair], limit=limit, effect=effect)


def _below(x: float, df: float, noncentral: float) -> float:
    """P(χ'² ≤ x); far out by the cube root's normal approximation (Abdel-Aty 1954)."""
    from scipy.special import chndtr, ndtr

    if noncentral < WIDE and x < 4 * WIDE:
        return float(chndtr(x, df, noncentral))
    mean, spread = df + noncentral, 2 * (df + 2 * noncentral) / (9 * (df + noncentral) ** 2)
    return float(ndtr(((x / mean) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)))


def _beyond(x: float, df: float, noncentral: float) -> float:
    """P(χ'² ≥ x); without a non-centrality by the plain chi-square, exact far out."""
    from scipy.special import gammaincc

    if noncentral <= 0:
        return float(gammaincc(df / 2, x / 2))
    return min(1.0, max(0.0, 1.0 - _below(x, df, noncentral)))


def _solve(wanted: Callable[[float], bool], high: float) -> float:
    """The smallest x ≥ 0 for which a condition that stays true once it is holds."""
    low = 0.0
    while not wanted(high):
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if wanted(middle) else (middle, high)
    return high


def _noncentrality_interval(x: float, df: int) -> tuple[float, float]:
    """The 95 % interval of the non-centrality, by inversion of the two one-sided tests."""
    low = _solve(lambda nc: _below(x, df, nc) <= 0.975, x + 1)
    high = _solve(lambda nc: _below(x, df, nc) <= 0.025, x + df + 1)
    return low, high


def _smallest(df: int, unit: float, limit: float) -> Callable[[float], float]:
    def mde_at(alpha: float) -> float:
        critical = _solve(lambda x: _beyond(x, df, unit * limit) <= alpha, df + unit * limit + 10)
        return _solve(lambda nc: _below(critical, df, nc) <= 1 - POWER, critical) / unit

    return mde_at


def kolmogorov_test(distance: float, n: int, m: int, *, limit: float, effect: float) -> Test:
    """The test that a two-sample KS distance is beyond a limit, by the Dvoretzky-Kiefer-Wolfowitz-Massart bound.

    P(distance − true distance ≥ t) ≤ 2·exp(−2·H·t²), H = n·m/(n + m) (Wei and Dudley 2012 for two samples): it holds
    for any distribution, with ties too.
    """
    size = effective(n, m)
    beyond = max(0.0, distance - limit)
    spread = 0.5 / math.sqrt(size)

    def mde_at(alpha: float) -> float:
        return limit + math.sqrt(math.log(2 / alpha) / (2 * size)) + z_quantile(POWER) * spread

    return Test(min(1.0, 2 * math.exp(-2 * size * beyond**2)), effect, mde_at)


def student_test(value: float, se: float, df: float, *, limit: float, effect: float) -> Test:
    """The two-sided test that a signed value lies outside ±limit, by Student's t. An `se` of 0: by the value alone."""
    from scipy.special import stdtr, stdtrit

    if se <= 0:
        return Test(0.0 if abs(value) > limit else 1.0, effect, lambda alpha: limit)
    p = 2 * float(stdtr(df, -(abs(value) - limit) / se))

    def mde_at(alpha: float) -> float:
        return limit + (float(stdtrit(df, 1 - alpha / 2)) + z_quantile(POWER)) * se

    return Test(min(1.0, p), effect, mde_at)


def one_sided_test(value: float, se: float, df: float, *, limit: float, effect: float) -> Test:
    """The test that a loss `value` is beyond `limit`, by Student's t. An `se` of 0: by the value alone."""
    from scipy.special import stdtr, stdtrit

    if se <= 0:
        return Test(0.0 if value > limit else 1.0, effect, lambda alpha: limit)

    def mde_at(alpha: float) -> float:
        return limit + (float(stdtrit(df, 1 - alpha)) + z_quantile(POWER)) * se

    return Test(float(stdtr(df, -(value - limit) / se)), effect, mde_at)


def resampled_test(value: float, se: float, null: Floats, *, limit: float, effect: float) -> Test:
    """The test that an excess `value` (over the mean of `null`) is beyond `limit`.

    `null`: the statistic for samples exchanged at random; its spread and skewness shape a Pearson type III tail, which
    has p-values far beyond the number of draws. `se`: the standard error at the data; the larger spread counts.
    """
    centred = null - null.mean()
    spread = max(se, float(null.std(ddof=1)))
    if spread <= 0:
        return Test(0.0 if value > limit else 1.0, effect, lambda alpha: limit)
    sd = float(centred.std())
    skew = max(0.0, float((centred**3).mean()) / sd**3) if sd > 0 else 0.0
    p = pearson_tail((value - limit) / spread, skew)

    def mde_at(alpha: float) -> float:
        critical = _solve(lambda z: pearson_tail(z, skew) <= alpha, 10.0)
        return limit + (critical + z_quantile(POWER)) * spread

    return Test(p, effect, mde_at)


def pearson_tail(z: float, skew: float) -> float:
    """P(Z ≥ z) of a standardised Pearson type III (gamma) variable with a skewness of 0 or more."""
    from scipy.special import gammaincc, ndtr

    if skew < 1e-3:
        return float(ndtr(-z))
    shape = 4 / skew**2
    at = shape + z * math.sqrt(shape)
    return 1.0 if at <= 0 else float(gammaincc(shape, at))


def normal_interval(value: float, se: float, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """value ± 1.96·se within the bounds."""
    return min(high, max(low, value - Z95 * se)), max(low, min(high, value + Z95 * se))
