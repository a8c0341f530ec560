"""How well scores tell good from bad: ranks, agreement, calibration, each with its 95 % interval. Pure, on arrays.

`groups` are whatever is not independent (the candidates of one prompt): where they are given, intervals come from
resampling whole groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Z = 1.959963984540054
RESAMPLES = 1000
FEWEST_RESAMPLES = 200
ROWS_RESAMPLED = 10_000_000
BINS = 10
Array = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % interval (None where there is none to be had) and the rows it rests on."""

    value: float | None
    interval: tuple[float, float] | None
    n: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows whose scores lie together: their mean score, the share of good ones, and its Wilson interval."""

    score: float
    share: float
    interval: tuple[float, float]
    n: int


def ranks(values: Sequence[float] | Array) -> Array:
    """Ranks from 1, ties at their mean."""
    array = np.asarray(values, dtype=np.float64)
    order = np.argsort(array, kind="stable")
    _, inverse, counts = np.unique(array[order], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found = np.empty(len(array))
    found[order] = ((ends - counts + 1 + ends) / 2)[inverse]
    return found


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    centre = share + Z * Z / (2 * total)
    half = Z * math.sqrt(share * (1 - share) / total + Z * Z / (4 * total * total))
    low, high = (centre - half) / (1 + Z * Z / total), (centre + half) / (1 + Z * Z / total)
    return max(0.0, low) if hits else 0.0, min(1.0, high) if hits < total else 1.0


def auc(values: Sequence[float], good: Sequence[bool], groups: Sequence[Any] | None = None) -> Measured:
    """The chance that a good row has a higher value than a bad one, a tie counting half. None with one class only.

    Interval: Newcombe (2006), method 5, which stays honest at 0 and 1; by resampling where groups are given.
    """
    array, labels = np.asarray(values, dtype=np.float64), np.asarray(good, dtype=bool)
    found = _auc(array, labels)
    if found is None:
        return Measured(None, None, len(array))
    positives = int(labels.sum())
    if groups is not None:
        codes = _codes(array)
        return Measured(found, _resample(lambda counts: _counted_auc(codes, labels, counts), groups), len(array))
    return Measured(found, _newcombe(found, positives, len(labels) - positives), len(array))


def _auc(values: Array, good: Array) -> float | None:
    positives = int(good.sum())
    negatives = len(good) - positives
    if not positives or not negatives:
        return None
    return float((ranks(values)[good].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _newcombe(found: float, positives: int, negatives: int) -> tuple[float, float]:
    """Where |θ − found| = z·sd(θ), on either side."""
    pairs, middle = positives * negatives, (positives + negatives) / 2 - 1

    def spread(theta: float) -> float:
        inner = 1 + middle * (1 - theta) / (2 - theta) + middle * theta / (1 + theta)
        return Z * math.sqrt(max(0.0, theta * (1 - theta) / pairs * inner))

    low = _root(lambda theta: (found - theta) - spread(theta), 0.0, found)
    high = _root(lambda theta: spread(theta) - (theta - found), found, 1.0)
    return low, high


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from above 0 crosses it, by halving."""
    for _ in range(60):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def spearman(one: Sequence[float], other: Sequence[float], groups: Sequence[Any] | None = None) -> Measured:
    """Spearman's rank correlation. None where one of the two never changes.

    Interval: Fisher's z with the standard error of Bonett and Wright (2000); by resampling where groups are given.
    """
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    found, n = _pearson(ranks(first), ranks(second)), len(first)
    if found is None:
        return Measured(None, None, n)
    if groups is not None:
        codes = _codes(first), _codes(second)
        return Measured(found, _resample(lambda counts: _counted_spearman(*codes, counts), groups), n)
    return Measured(found, _fisher(found, n, 0), n)


def partial_spearman(one: Sequence[float], other: Sequence[float], given: Sequence[float]) -> Measured:
    """The rank correlation of two that is left where a third is held fixed: a bias that the labels do not explain."""
    arrays = [ranks(np.asarray(each, dtype=np.float64)) for each in (one, other, given)]
    n = len(arrays[0])
    pairs = [_pearson(arrays[a], arrays[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    if pairs[0] is None:
        return Measured(None, None, n)
    plain, *held = (0.0 if pair is None else pair for pair in pairs)
    rest = (1 - held[0] ** 2) * (1 - held[1] ** 2)
    if rest < 1e-12:
        return Measured(None, None, n)
    found = max(-1.0, min(1.0, (plain - held[0] * held[1]) / math.sqrt(rest)))
    return Measured(found, _fisher(found, n, 1), n)


def _pearson(one: Array, other: Array) -> float | None:
    first, second = one - one.mean() if len(one) else one, other - other.mean() if len(other) else other
    norm = math.sqrt(float(first @ first) * float(second @ second))
    return max(-1.0, min(1.0, float(first @ second) / norm)) if norm > 1e-12 else None


def _fisher(found: float, n: int, held: int) -> tuple[float, float] | None:
    if n - held <= 3:
        return None
    if abs(found) >= 1:
        return found, found
    middle = math.atanh(found)
    half = Z * math.sqrt((1 + found * found / 2) / (n - held - 3))
    return math.tanh(middle - half), math.tanh(middle + half)


def calibration(values: Sequence[float], good: Sequence[bool], bins: int = BINS) -> tuple[Bin, ...]:
    """Rows in bins of about equal size by their value, equal values always together; ascending."""
    order = np.argsort(np.asarray(values, dtype=np.float64), kind="stable")
    array, labels = np.asarray(values, dtype=np.float64)[order], np.asarray(good, dtype=bool)[order]
    found, start = [], 0
    for number in range(bins):
        end = max(start, round((number + 1) * len(array) / bins))
        if number == bins - 1:
            end = len(array)
        while 0 < end < len(array) and array[end] == array[end - 1]:
            end += 1
        if end > start:
            hits, total = int(labels[start:end].sum()), end - start
            found.append(Bin(float(array[start:end].mean()), hits / total, wilson(hits, total), total))
            start = end
    return tuple(found)


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error (Naeini et al. 2015): the mean distance of score and share, by the bins' sizes."""
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.score - one.share) for one in bins) / total if total else None


def kappa(one: Sequence[bool], other: Sequence[bool]) -> Measured:
    """Cohen's kappa of two yes-or-no opinions, with the large-sample interval (Fleiss, Cohen and Everitt 1969)."""
    first, second = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    n = len(first)
    if n == 0:
        return Measured(None, None, 0)
    table = np.array([[np.mean((first == a) & (second == b)) for b in (False, True)] for a in (False, True)])
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    agreed, expected = float(np.trace(table)), float(rows @ columns)
    if expected >= 1:
        return Measured(None, None, n)
    found = (agreed - expected) / (1 - expected)
    same = sum(table[k, k] * ((1 - (rows[k] + columns[k]) * (1 - found)) ** 2) for k in (0, 1))
    apart = (1 - found) ** 2 * sum(table[a, 1 - a] * (columns[a] + rows[1 - a]) ** 2 for a in (0, 1))
    variance = (same + apart - (found - expected * (1 - found)) ** 2) / (n * (1 - expected) ** 2)
    half = Z * math.sqrt(max(0.0, float(variance)))
    return Measured(found, (max(-1.0, found - half), min(1.0, found + half)), n)


def share(hits: int, total: int) -> Measured:
    """A share with its Wilson interval."""
    return Measured(hits / total if total else None, wilson(hits, total) if total else None, total)


def _codes(values: Array) -> Codes:
    """The place of each value among the different ones, so that a resample needs no sorting."""
    return np.unique(values, return_inverse=True)[1]


def _counted_ranks(codes: Codes, counts: Array) -> Array:
    """The ranks that each row has in a sample where it stands `counts` times."""
    weights = np.bincount(codes, weights=counts)
    ends = np.cumsum(weights)
    found: Array = ((2 * ends - weights + 1) / 2)[codes]
    return found


def _counted_auc(codes: Codes, good: Array, counts: Array) -> float | None:
    hits = counts * good
    positives, total = float(hits.sum()), float(counts.sum())
    pairs = positives * (total - positives)
    if not pairs:
        return None
    return (float(hits @ _counted_ranks(codes, counts)) - positives * (positives + 1) / 2) / pairs


def _counted_spearman(one: Codes, other: Codes, counts: Array) -> float | None:
    middle = (float(counts.sum()) + 1) / 2
    first, second = _counted_ranks(one, counts) - middle, _counted_ranks(other, counts) - middle
    weighted = counts * first
    norm = math.sqrt(float(weighted @ first) * float(counts @ (second * second)))
    return max(-1.0, min(1.0, float(weighted @ second) / norm)) if norm > 1e-12 else None


def _resample(statistic: Callable[[Array], float | None], groups: Sequence[Any]) -> tuple[float, float] | None:
    """The percentile interval over resampled groups, from a fixed seed; None with fewer than three groups.

    `statistic` takes how often each row stands in a resample. Many rows are resampled less often: their interval is
    narrow anyway.
    """
    numbers: dict[Any, int] = {}
    places = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    if len(numbers) < 3:
        return None
    resamples = max(FEWEST_RESAMPLES, min(RESAMPLES, ROWS_RESAMPLED // len(places)))
    rng = np.random.Generator(np.random.PCG64(20260101))
    found = []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, len(numbers), len(numbers)), minlength=len(numbers))
        value = statistic(drawn[places].astype(np.float64))
        if value is not None:
            found.append(value)
    if len(found) < resamples // 2:
        return None
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
