"""fidelity.columns: are structured columns distributed as real ones, and do text columns hold what theirs hold?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.classifier import learn
from factory.auditors.fidelity.lengths import compare_numbers
from factory.auditors.fidelity.pairing import Column, Pair
from factory.auditors.fidelity.telling import count, percent, point_at, several, unmeasured
from factory.auditors.fidelity.testing import effective, merge_rare
from factory.auditors.fidelity.words import Words
from factory.auditors.statistics import POWER, Z95, share_difference, worst_of, z_quantile, z_tail, z_test
from factory.types import Check, Test

Floats = NDArray[np.float64]
FEWEST_ROWS = 40
EXPECTED = math.sqrt(2 / math.pi)
"""E|Z| of a standard normal."""


@dataclass(frozen=True, eq=False)
class Compared:
    """One column. `value`: KS distance of numbers, total variation of categories (beyond chance), or difference of the
    shares of nulls where that is larger; with its interval and test."""

    column: Column
    value: float
    interval: tuple[float, float]
    what: str
    test: Test


def check_columns(pair: Pair, *, limit: float, effect: float) -> list[Check]:
    """The largest distance of any structured column, and which columns cannot be compared."""
    checks = []
    found = [compare_column(column, limit=limit, effect=effect) for column in pair.structured]
    if found:
        checks.append(_distances(pair, found, limit))
    elif not pair.absent and not pair.unlike:
        why = "Dataset and reference have no column of numbers, times, categories or booleans in common."
        checks.append(unmeasured("columns", why, "columns of the same name in both", n=len(pair.dataset)))
    if pair.absent or pair.unlike:
        told = [f"The dataset has no column {several(pair.absent)}."] if pair.absent else []
        told += [f"`{name}` holds {why}." for name, why in pair.unlike.items()]
        advice = "give the dataset the reference's columns, by the same names and of the same types"
        not_there = len(pair.absent) + len(pair.unlike)
        checks.append(
            unmeasured(
                "columns",
                f"{count(not_there, 'column')} of the reference cannot be compared. {' '.join(told)}",
                advice,
                n=len(pair.dataset),
                subject="not comparable",
            )
        )
    return checks


def compare_column(column: Column, *, limit: float, effect: float) -> Compared:
    """Distance of a column's values, and of its nulls."""
    nulls = column.nulls()
    gone = [np.array([(~one).sum(), one.sum()], dtype=np.float64) for one in nulls]
    shares = compare_categories(gone[0], gone[1], limit=limit, effect=effect)
    here, there = column.here[~nulls[0]], column.there[~nulls[1]]
    if not len(here) or not len(there):
        return Compared(column, shares[0], shares[1], "share of nulls", shares[2])
    if column.kind == "number":
        found = compare_numbers(here, there, limit=limit, effect=effect)
        value, interval, test, what = found.ks, found.interval, found.test, "KS distance"
    else:
        size = len(column.names)
        counts = [np.bincount(side, minlength=size).astype(np.float64) for side in (here, there)]
        value, interval, test = compare_categories(counts[0], counts[1], limit=limit, effect=effect)
        what = "total variation"
    both = worst_of([test, shares[2]])
    if shares[0] > value:
        return Compared(column, shares[0], shares[1], "share of nulls", both)
    return Compared(column, value, interval, what, both)


def compare_categories(
    one: Floats, two: Floats, limit: float, effect: float
) -> tuple[float, tuple[float, float], Test]:
    """Total variation distance less the most that chance can add to it, its interval, and its test.

    Differences of the shares are nearly normal with the standard errors s, so that chance adds Σ s·√(2/π)/2 at most:
    the test is conservative. The distance's own standard error is at most √(1/n + 1/m)/2 (bounded differences).
    """
    first, second = merge_rare(one, two)
    n, m = float(first.sum()), float(second.sum())
    p, q = first / n, second / m
    pooled = (first + second) / (n + m)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    chance = float(spread.sum()) * EXPECTED / 2
    plain = float(np.abs(p - q).sum() / 2)
    value = max(0.0, plain - chance)
    se = 0.5 * math.sqrt(1 / effective(int(n), int(m)))
    sign = np.sign(p - q)
    own = 0.5 * math.sqrt(max(0.0, 1 - float(sign @ p) ** 2) / n + max(0.0, 1 - float(sign @ q) ** 2) / m)
    low = max(0.0, value - Z95 * own) if value > 1.645 * se else 0.0
    test = Test(z_tail((value - limit) / se), effect, _smallest(spread, se, limit))
    return value, (low, min(1.0, plain + Z95 * own)), test


def _smallest(spread: Floats, se: float, limit: float) -> Callable[[float], float]:
    """The distance that is found, spread over all categories in proportion to their errors: what is lost to `chance`
    is then the most that it can be at that size."""

    def seen(distance: float) -> float:
        c = 2 * distance / max(1e-12, float(spread.sum()))
        mean = c * (1 - 2 * z_tail(c)) + EXPECTED * math.exp(-(c**2) / 2)
        return float(spread.sum()) / 2 * (mean - EXPECTED)

    def mde_at(alpha: float) -> float:
        wanted = limit + (z_quantile(1 - alpha) + z_quantile(POWER)) * se
        low, high = wanted, wanted + float(spread.sum()) + 1e-9
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if seen(middle) >= wanted else (middle, high)
        return high

    return mde_at


def _distances(pair: Pair, found: list[Compared], limit: float) -> Check:
    ordered = sorted(found, key=lambda one: -one.value)
    worst = ordered[0]
    rows = [
        {
            "label": f"{one.column.name} ({one.what})",
            "value": one.value,
            "low": one.interval[0],
            "high": one.interval[1],
        }
        for one in ordered
    ]
    plot = {"kind": "forest", "title": "Distance of each column", "rows": rows, "limit": limit, "x_label": "0 … 1"}
    return Check(
        "fidelity.columns",
        worst.value,
        interval=worst.interval,
        n=len(pair.dataset),
        gate=f"distance of every column's values at most {limit:g}",
        tests=2 * len(found),
        test=worst_of([one.test for one in found]),
        sentence=(
            f"Of {count(len(found), 'column')} `{worst.column.name}` differs most: {_tell_column(worst)} "
            f"({worst.what} {worst.value:.3f}; 0: alike, 1: nothing in common)."
        ),
        advice=f"draw `{worst.column.name}` as an axis with the reference's distribution",
        method=(
            "numbers and times: Kolmogorov-Smirnov distance; categories, booleans and nulls: total variation distance "
            "beyond chance; Bonferroni"
        ),
        details={"columns": {one.column.name: {one.what: one.value} for one in found}, "plots": [plot]},
    )


def _tell_column(one: Compared) -> str:
    column = one.column
    nulls = [float(side.mean()) for side in column.nulls()]
    if one.what == "share of nulls":
        return f"{percent(nulls[0])} are null, in the reference {percent(nulls[1])}"
    if column.kind == "number":
        here, there = (float(np.nanmedian(side)) for side in (column.here, column.there))
        return f"the median is {here:g}, in the reference {there:g}"
    shares = [np.bincount(side[side >= 0], minlength=len(column.names)) for side in (column.here, column.there)]
    one_, two = (side / max(1, side.sum()) for side in shares)
    at = int(np.argmax(np.abs(one_ - two)))
    return f"“{column.names[at][:40]}” has {percent(one_[at])}, in the reference {percent(two[at])}"


def check_roles(pair: Pair, words: Words, context: AuditContext, *, limit: float, effect: float) -> list[Check]:
    """Whether text columns are exchanged: for each two columns a classifier of words, trained on half of the reference,
    says which of a row's two texts is which; it must be right as often as on the reference's other half."""
    pairs = list(combinations(pair.columns, 2))[:10]
    if not pairs or min(len(pair.dataset), len(pair.reference)) < FEWEST_ROWS:
        return []
    order = context.rng("fidelity.columns", "roles").permutation(len(pair.reference))
    half = len(order) // 2
    results = []
    for one, two in pairs:
        weights = learn(words.of(one)[1][order[:half]], words.of(two)[1][order[:half]])
        here = _ranked(words.of(one)[0], words.of(two)[0], weights)
        there = _ranked(words.of(one)[1][order[half:]], words.of(two)[1][order[half:]], weights)
        results.append((one, two, here, there))
    return [_roles(pair, results, limit, effect)]


def _ranked(one: Any, two: Any, weights: Floats) -> Floats:
    """1 where a row's first text looks more like one than its second does, by the mean weight of a word; ½: a tie."""
    scores = []
    for side in (one, two):
        totals = np.maximum(1, np.asarray(side.sum(axis=1)).ravel())
        scores.append(np.asarray(side @ weights).ravel() / totals)
    found: Floats = (np.sign(scores[0] - scores[1]) + 1) / 2
    return found


def _roles(pair: Pair, results: list[tuple[str, str, Floats, Floats]], limit: float, effect: float) -> Check:
    tests, losses = [], []
    for _, _, here, there in results:
        hits, others = int(here.sum()), int(there.sum())
        loss, se, interval = share_difference(others, len(there), hits, len(here))
        tests.append(z_test(loss, se, limit=limit, effect=effect))
        losses.append((loss, interval))
    worst = max(range(len(results)), key=lambda at: losses[at][0])
    one, two, here, there = results[worst]
    rows = np.flatnonzero(here == 0)[:5].tolist() if losses[worst][0] > limit else []
    return Check(
        "fidelity.columns",
        losses[worst][0],
        subject="text columns",
        interval=losses[worst][1],
        n=len(pair.dataset),
        gate=f"at most {percent(limit, 0)} more rows than in the reference have texts that look exchanged",
        tests=len(results),
        test=worst_of(tests),
        sentence=(
            f"In {percent(1 - float(here.mean()))} of the rows `{one}` and `{two}` look exchanged; in the reference in "
            f"{percent(1 - float(there.mean()))}."
        ),
        advice=f"look at the rows shown: `{one}` holds what belongs into `{two}`",
        method="naive Bayes over words, trained on half of the reference, compared with its other half",
        evidence=point_at(pair.dataset, rows, pair.here[one]),
        details={
            "exchanged": {
                f"{a}, {b}": {"dataset": 1 - float(mine.mean()), "reference": 1 - float(real.mean())}
                for a, b, mine, real in results
            }
        },
    )
