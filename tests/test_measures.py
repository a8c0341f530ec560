"""Figures on scores, against scikit-learn and SciPy, and their intervals against simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.measures import (
    _codes,
    _counted_auc,
    _counted_spearman,
    auc,
    calibration,
    calibration_error,
    kappa,
    partial_spearman,
    ranks,
    share,
    spearman,
    wilson,
)

stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle")
VALUES = st.integers(-5, 5).map(float)
ROWS = st.lists(st.tuples(VALUES, st.booleans()), min_size=2, max_size=40)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=4, max_size=40)


@given(st.lists(VALUES, max_size=40))
def test_ranks_are_scipys(values: list[float]) -> None:
    assert ranks(values).tolist() == stats.rankdata(values).tolist()


@given(ROWS)
def test_auc_counts_the_pairs(rows: list[tuple[float, bool]]) -> None:
    good, bad = ([value for value, label in rows if label is wanted] for wanted in (True, False))
    found = auc(*zip(*rows, strict=True))
    if not good or not bad:
        assert (found.value, found.interval) == (None, None)
        return
    wins = sum((a > b) + (a == b) / 2 for a in good for b in bad)
    assert found.value == pytest.approx(wins / len(good) / len(bad), abs=1e-12)
    assert found.interval is not None and found.value is not None
    low, high = found.interval
    assert 0 <= low <= found.value + 1e-9 and found.value - 1e-9 <= high <= 1 and low < high


def test_a_perfect_scorer_of_few_rows_is_not_sure() -> None:
    found = auc([1, 2, 3, 4], [False, False, True, True])
    assert found.value == 1 and found.interval is not None and found.interval[0] < 0.7


@given(PAIRS)
def test_spearman_is_scipys(pairs: list[tuple[float, float]]) -> None:
    one, other = zip(*pairs, strict=True)
    found = spearman(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert found.value is None
    else:
        assert found.value == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-9)


def test_partial_correlation_takes_the_third_out() -> None:
    rng = np.random.default_rng(1)
    quality = rng.normal(size=4000)
    length, judged = quality + rng.normal(size=4000), quality + rng.normal(size=4000)
    plain, held = spearman(judged, length), partial_spearman(judged, length, quality)
    assert plain.value is not None and plain.value > 0.4
    assert held.value is not None and abs(held.value) < 0.06
    assert held.interval is not None and held.interval[0] < 0.03 and held.interval[1] > -0.03


@pytest.mark.parametrize("kind", ["auc", "spearman", "kappa", "share"])
def test_intervals_cover_what_they_promise(kind: str) -> None:
    """2,000 samples of 60 rows: the truth lies in 93 to 97.5 % of the 95 % intervals."""
    rng = np.random.default_rng(7)
    covered = trials = 0
    for _ in range(2000):
        if kind == "auc":
            labels = rng.random(60) < 0.5
            if labels.all() or not labels.any():
                continue
            found, truth = auc(rng.normal(size=60) + labels, labels), stats.norm.cdf(1 / math.sqrt(2))
        elif kind == "spearman":
            first = rng.normal(size=60)
            second = 0.6 * first + 0.8 * rng.normal(size=60)
            found, truth = spearman(first, second), 6 / math.pi * math.asin(0.3)
        elif kind == "kappa":
            base = rng.random(60) < 0.5
            found = kappa(base, base ^ (rng.random(60) < 0.2))
            truth = 0.6
        else:
            found, truth = share(int((rng.random(60) < 0.3).sum()), 60), 0.3
        assert found.interval is not None
        covered += found.interval[0] <= truth <= found.interval[1]
        trials += 1
    assert 0.93 <= covered / trials <= 0.975


def test_kappa_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    rng = np.random.default_rng(3)
    one, other = rng.random(200) < 0.3, rng.random(200) < 0.4
    assert kappa(one, other).value == pytest.approx(metrics.cohen_kappa_score(one, other))
    assert kappa([True, True], [True, True]).value is None


def test_dependent_rows_make_wider_intervals() -> None:
    """Ten copies of each row say no more than one."""
    rng = np.random.default_rng(5)
    labels = rng.random(40) < 0.5
    values = rng.normal(size=40) + labels
    copies, groups = np.repeat(np.arange(40), 10), np.repeat(np.arange(40), 10).tolist()
    alone, blind = auc(values, labels), auc(values[copies], labels[copies])
    grouped = auc(values[copies], labels[copies], groups)
    assert alone.interval and blind.interval and grouped.interval
    width = [high - low for low, high in (alone.interval, blind.interval, grouped.interval)]
    assert width[1] < 0.5 * width[0] and 0.7 * width[0] < width[2] < 1.4 * width[0]
    assert grouped == auc(values[copies], labels[copies], groups), "the same on every machine"


@given(PAIRS, st.data())
def test_a_resample_by_counts_is_one_of_copied_rows(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    one, other = (np.array(each) for each in zip(*pairs, strict=True))
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(one), max_size=len(one))))
    first, second = np.repeat(one, counts), np.repeat(other, counts)
    told = _counted_auc(_codes(one), other > 0, counts.astype(float))
    assert told == (None if (plain := auc(first, second > 0).value) is None else pytest.approx(plain))
    told = _counted_spearman(_codes(one), _codes(other), counts.astype(float))
    assert told == (None if (plain := spearman(first, second).value) is None else pytest.approx(plain))


@given(ROWS, st.integers(1, 12))
def test_bins_hold_every_row_once_and_never_part_equals(rows: list[tuple[float, bool]], count: int) -> None:
    values, labels = zip(*rows, strict=True)
    bins = calibration(values, labels, count)
    assert sum(one.n for one in bins) == len(rows) and len(bins) <= count
    assert sum(one.share * one.n for one in bins) == pytest.approx(sum(labels))
    assert [one.score for one in bins] == sorted({one.score for one in bins})
    place = 0
    for one in bins:
        inside = sorted(values)[place : place + one.n]
        place += one.n
        assert place == len(rows) or inside[-1] < sorted(values)[place]


def test_calibration_error_of_a_calibrated_scorer_is_small() -> None:
    rng = np.random.default_rng(2)
    chance = rng.random(5000)
    honest = calibration_error(calibration(chance, rng.random(5000) < chance))
    boastful = calibration_error(calibration(np.sqrt(chance), rng.random(5000) < chance))
    assert honest is not None and boastful is not None and honest < 0.04 < 0.12 < boastful
    assert calibration_error(()) is None


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (0, 10), (10, 10), (3, 7)])
def test_wilson_is_scipys(hits: int, total: int) -> None:
    if total == 0:
        assert wilson(hits, total) == (0.0, 1.0)
        return
    oracle = stats.binomtest(hits, total).proportion_ci(method="wilson")
    assert wilson(hits, total) == pytest.approx((oracle.low, oracle.high))
