"""The statistics that audits decide with, against brute force and other libraries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats

from factory.auditors.statistics import (
    benjamini_hochberg,
    equal_sizes,
    holm,
    mean_interval,
    percentile_interval,
    resampled_sums,
    share_difference,
    two_sided,
    worst_of,
    z_test,
)

ps = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(ps)
def test_holm_is_the_closure_of_bonferroni(given_p: list[float]) -> None:
    """Holm's adjusted p is the largest Bonferroni p over all sets of hypotheses that hold the one in question."""
    small = given_p[:7]
    found = holm(small)
    for place in range(len(small)):
        others = [one for one in range(len(small)) if one != place]
        worst = max(
            min(1.0, (len(more) + 1) * min([small[place], *(small[one] for one in more)]))
            for size in range(len(others) + 1)
            for more in itertools.combinations(others, size)
        )
        assert found[place] == pytest.approx(worst)


@given(ps)
def test_benjamini_hochberg_agrees_with_scipy(given_p: list[float]) -> None:
    assert benjamini_hochberg(given_p) == pytest.approx(stats.false_discovery_control(given_p, method="bh"))


def test_a_z_test_finds_its_mde_with_the_power_it_says() -> None:
    rng = np.random.default_rng(1)
    alpha, se = 0.01, 0.03
    mde = z_test(0.0, se, limit=0.1, effect=0.2).mde_at(alpha)
    drawn = rng.normal(mde, se, 4000)
    found = np.mean([z_test(value, se, limit=0.1, effect=0.2).p <= alpha for value in drawn])
    assert found == pytest.approx(0.8, abs=0.02)
    at_limit = np.mean([z_test(value, se, limit=0.1, effect=0.2).p <= alpha for value in rng.normal(0.1, se, 4000)])
    assert at_limit == pytest.approx(alpha, abs=0.006)


def test_nothing_that_varies_is_decided_by_the_value_alone() -> None:
    assert z_test(0.3, 0.0, limit=0.1, effect=0.2).p == 0.0
    assert z_test(0.1, 0.0, limit=0.1, effect=0.2).p == 1.0
    assert two_sided(-0.3, 0.0, limit=0.1, effect=0.2).p == 0.0


def test_two_sided_sees_either_sign() -> None:
    assert two_sided(-0.4, 0.05, limit=0.1, effect=0.3).p == two_sided(0.4, 0.05, limit=0.1, effect=0.3).p < 1e-6


def test_worst_of_bounds_the_chance_of_any() -> None:
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(1000):
        tests = [z_test(abs(value), 1.0, limit=0.0, effect=3.0) for value in rng.normal(0, 1, 8)]
        one_sided = [z_test(value, 1.0, limit=0.0, effect=3.0) for value in rng.normal(0, 1, 8)]
        false += worst_of(one_sided).p <= 0.05
        assert worst_of(tests).p <= min(1.0, 8 * min(test.p for test in tests)) + 1e-12
    assert false / 1000 <= 0.065
    with pytest.raises(ValueError, match="no test"):
        worst_of([])


@pytest.mark.parametrize("dense", [True, False])
def test_resampled_sums_have_the_mean_and_spread_of_a_bootstrap(dense: bool) -> None:
    values = np.arange(40, dtype=np.float64).reshape(20, 2)
    features = values if dense else sparse.csr_matrix(values)
    sums = resampled_sums(features, np.random.default_rng(3), resamples=6000)
    assert sums.shape == (6000, 2)
    assert sums.mean(axis=0) == pytest.approx(values.sum(axis=0), rel=0.01)
    assert sums.std(axis=0) == pytest.approx(values.std(axis=0) * np.sqrt(20), rel=0.05)


def test_groups_are_drawn_together() -> None:
    """Twenty copies of each of ten values are ten draws, not two hundred."""
    values = np.repeat(np.arange(10.0), 20)[:, None]
    groups = np.repeat(np.arange(10), 20)
    rng = np.random.default_rng(4)
    clustered = resampled_sums(values, rng, resamples=4000, groups=groups).std()
    alone = resampled_sums(values, rng, resamples=4000).std()
    assert clustered == pytest.approx(np.arange(10.0).std() * 20 * np.sqrt(10), rel=0.05)
    assert clustered > 4 * alone


def test_resampling_is_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    first, second = (resampled_sums(values, np.random.default_rng(5), resamples=30) for _ in range(2))
    assert (first == second).all()


def test_intervals_of_a_mean_and_of_a_difference_of_shares_cover() -> None:
    rng = np.random.default_rng(6)
    means = shares = 0
    for _ in range(1500):
        low, high = mean_interval(rng.normal(3.0, 2.0, 12))[2]
        means += low <= 3.0 <= high
        hits, others = int(rng.binomial(60, 0.3)), int(rng.binomial(90, 0.45))
        low, high = share_difference(hits, 60, others, 90)[2]
        shares += low <= -0.15 <= high
    assert 0.93 <= means / 1500 <= 0.97
    assert 0.93 <= shares / 1500 <= 0.97


def test_percentile_interval_wants_something_finite() -> None:
    assert percentile_interval([1.0, np.nan, 1.0]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="finite"):
        percentile_interval([np.nan])


def test_equal_sizes_are_equal_ascending_and_without_repeats() -> None:
    one, two = equal_sizes(100, 30, 50, np.random.default_rng(7))
    assert len(one) == len(two) == 30
    for places in (one, two):
        assert sorted(set(places.tolist())) == places.tolist()
