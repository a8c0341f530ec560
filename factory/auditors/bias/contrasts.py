"""Groups compared with one another: differences of means and of shares, within strata, with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.auditors.statistics import POWER, Z95, Floats, share_difference, worst_of, z_quantile
from factory.types import Test

Places = NDArray[np.intp]
MOST_GROUPS = 12
CHOSEN_BY_CHANCE = 0.01


@dataclass(frozen=True, slots=True)
class Contrast:
    """One group less the others: the difference, its standard error, degrees of freedom, and rows on both sides."""

    label: str
    value: float
    se: float
    df: float
    n: int
    others: int
    mean: float
    others_mean: float

    def less(self, other: Contrast) -> Contrast:
        """This contrast less the same one in other data."""
        se = math.hypot(self.se, other.se)
        return Contrast(
            self.label,
            self.value - other.value,
            se,
            min(self.df, other.df),
            self.n,
            self.others,
            self.mean,
            self.others_mean,
        )

    def interval(self, comparisons: int = 1) -> tuple[float, float]:
        """95 % by Student's t; with several comparisons all of them at once (Šidák)."""
        half = t_quantile(1 - (1 - 0.95 ** (1 / comparisons)) / 2, self.df) * self.se
        return self.value - half, self.value + half


def eligible(
    only: Places, names: Sequence[str], least: int, there: Places | None = None
) -> tuple[list[int], list[str]]:
    """Groups that are alone in at least `least` rows (of the reference too), the largest 12; and those with fewer."""
    sizes = np.bincount(only[only >= 0], minlength=len(names))
    if there is not None:
        sizes = np.minimum(sizes, np.bincount(there[there >= 0], minlength=len(names)))
    order = sorted(range(len(names)), key=lambda place: (-sizes[place], place))
    enough = sorted([place for place in order if sizes[place] >= least][:MOST_GROUPS])
    return enough, [names[place] for place in order if 0 < sizes[place] < least]


def mean_contrasts(
    values: Floats, only: Places, groups: Sequence[int], names: Sequence[str], strata: Places, clusters: Places | None
) -> list[Contrast]:
    """Standardised differences of each group and the others (two groups: one difference), weighted over strata.

    Strata weigh n₁n₂/(n₁+n₂), as in Mantel and Haenszel. The unit is the standard deviation within groups and strata;
    the standard error takes in that it is estimated, and rows made together (`clusters`) count as one draw.
    """
    kept = np.isin(only, np.asarray(groups)) & np.isfinite(values)
    if not kept.any():
        return []
    values, only, strata = values[kept], only[kept], _codes(strata[kept])
    clusters = None if clusters is None else clusters[kept]
    found = []
    for group in groups[:1] if len(groups) == 2 else groups:
        one = _mean_contrast(values, only == group, strata, clusters, names[group])
        if one is not None:
            found.append(one)
    return found


def _mean_contrast(
    values: Floats, inside: NDArray[np.bool_], strata: Places, clusters: Places | None, label: str
) -> Contrast | None:
    cells = 2 * strata + inside
    count = int(strata.max()) + 1
    sizes = np.bincount(cells, minlength=2 * count).astype(np.float64)
    means = np.bincount(cells, weights=values, minlength=2 * count) / np.maximum(sizes, 1)
    n2, n1 = sizes[0::2], sizes[1::2]
    usable = (n1 >= 2) & (n2 >= 2)
    if not usable.any():
        return None
    weights = np.where(usable, n1 * n2 / np.maximum(n1 + n2, 1), 0.0)
    weights /= weights.sum()
    rows = usable[strata]
    residuals = np.where(rows, values - means[cells], 0.0)
    used = int(rows.sum())
    sd = math.sqrt(float((residuals**2).sum()) / max(1, used - 2 * int(usable.sum())))
    difference = float(weights @ (means[1::2] - means[0::2]))
    n, others = int(n1[usable].sum()), int(n2[usable].sum())
    mean, rest = float(weights @ means[1::2]), float(weights @ means[0::2])
    if sd <= 0:
        apart = 0.0 if difference == 0 else math.copysign(math.inf, difference)
        return Contrast(label, apart, 0.0, max(1, min(n, others) - 1), n, others, mean, rest)
    correction = np.sqrt(sizes / np.maximum(sizes - 1, 1))
    influence = np.where(inside, 1.0, -1.0) * weights[strata] * residuals * (correction / np.maximum(sizes, 1))[cells]
    variance = _variance(influence, clusters) / sd**2
    value = difference / sd
    se = math.sqrt(variance + value**2 / (2 * max(1, used - 2)))
    parts = [_variance(influence[side], None) for side in (inside, ~inside)]
    df = sum(parts) ** 2 / sum(part**2 / max(1, size - 1) for part, size in zip(parts, (n, others), strict=True))
    return Contrast(label, value, se, df, n, others, mean, rest)


def share_contrasts(
    hits: NDArray[np.bool_],
    only: Places,
    groups: Sequence[int],
    names: Sequence[str],
    strata: Places,
    clusters: Places | None,
) -> list[Contrast]:
    """Differences of shares of each group and the others (two groups: one difference): Mantel–Haenszel's over strata.

    With one stratum the standard error is that of Newcombe's score interval; else that of each cell's share drawn a
    little toward its stratum's (two rows' worth), so that empty cells are not taken for certain ones.
    """
    kept = np.isin(only, np.asarray(groups))
    if not kept.any():
        return []
    hits, only, strata = hits[kept], only[kept], _codes(strata[kept])
    clusters = None if clusters is None else clusters[kept]
    found = []
    for group in groups[:1] if len(groups) == 2 else groups:
        one = _share_contrast(hits, only == group, strata, clusters, names[group])
        if one is not None:
            found.append(one)
    return found


def _share_contrast(
    hits: NDArray[np.bool_], inside: NDArray[np.bool_], strata: Places, clusters: Places | None, label: str
) -> Contrast | None:
    cells = 2 * strata + inside
    count = int(strata.max()) + 1
    sizes = np.bincount(cells, minlength=2 * count).astype(np.float64)
    found = np.bincount(cells, weights=hits, minlength=2 * count)
    n2, n1 = sizes[0::2], sizes[1::2]
    usable = (n1 > 0) & (n2 > 0)
    if not usable.any():
        return None
    weights = np.where(usable, n1 * n2 / np.maximum(n1 + n2, 1), 0.0)
    weights /= weights.sum()
    shares = found / np.maximum(sizes, 1)
    value = float(weights @ (shares[1::2] - shares[0::2]))
    n, others = int(n1[usable].sum()), int(n2[usable].sum())
    if count == 1:
        _, se, _ = share_difference(int(found[1]), n, int(found[0]), others)
    else:
        pooled = np.repeat((found[0::2] + found[1::2] + 0.5) / (n1 + n2 + 1), 2)
        drawn = (found + 2 * pooled) / (sizes + 2)
        variances = drawn * (1 - drawn) / np.maximum(sizes, 1)
        se = math.sqrt(float(weights**2 @ (variances[0::2] + variances[1::2])))
    if clusters is not None:
        residuals = (hits - shares[cells]) * weights[strata] / np.maximum(sizes, 1)[cells] * np.where(inside, 1, -1)
        plain = _variance(residuals, None)
        se *= math.sqrt(max(1.0, _variance(residuals, clusters) / plain)) if plain > 0 else 1.0
    return Contrast(label, value, se, math.inf, n, others, float(weights @ shares[1::2]), float(weights @ shares[0::2]))


def contrast_test(one: Contrast, *, limit: float, effect: float) -> Test:
    """The test that a contrast lies outside ±`limit`, by Student's t: twice the tail of the nearer side."""
    if one.se <= 0:
        return Test(0.0 if abs(one.value) > limit else 1.0, effect, lambda alpha: limit)
    p = min(1.0, 2 * _t_tail((abs(one.value) - limit) / one.se, one.df))
    return Test(p, effect, lambda alpha: limit + (t_quantile(1 - alpha / 2, one.df) + z_quantile(POWER)) * one.se)


def worst(contrasts: Sequence[Contrast], *, limit: float, effect: float) -> tuple[Contrast, Test]:
    """The contrast that is most surely beyond the limit, and one test for all. Raises ValueError without any."""
    tests = [contrast_test(one, limit=limit, effect=effect) for one in contrasts]
    order = sorted(range(len(tests)), key=lambda place: (tests[place].p, -abs(contrasts[place].value), place))
    return contrasts[order[0]], worst_of(tests)


def told_at_once(test: Test, comparisons: int) -> int:
    """For how many comparisons at once the interval of the worst is to hold.

    Where chance may have chosen it, for all; where it is surely beyond the limit, no other could have been chosen.
    """
    return 1 if test.p <= CHOSEN_BY_CHANCE else comparisons


def t_quantile(share: float, df: float) -> float:
    """Student's quantile; the normal one for very many degrees of freedom."""
    from scipy.special import stdtrit

    if df > 1e6:
        return Z95 if share == 0.975 else z_quantile(share)
    return float(stdtrit(max(1.0, df), share))


def _t_tail(t: float, df: float) -> float:
    from scipy.special import ndtr, stdtr

    return float(ndtr(-t)) if df > 1e6 else float(stdtr(max(1.0, df), -t))


def _variance(influence: Floats, clusters: Places | None) -> float:
    if clusters is not None:
        influence = np.bincount(_codes(clusters), weights=influence).astype(np.float64)
    return float((influence**2).sum())


def _codes(values: Places) -> Places:
    return np.unique(values, return_inverse=True)[1].astype(np.intp)
