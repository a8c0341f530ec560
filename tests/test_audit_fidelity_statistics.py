"""What the checks of fidelity are made of, against other libraries, brute force and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditors.fidelity import associations, classifier, coverage, mauve, testing
from factory.auditors.fidelity.displacement import measure_displacement
from factory.auditors.fidelity.labels import _many_new
from factory.auditors.fidelity.lengths import compare_numbers
from factory.auditors.fidelity.marks import FEATURES, style_features
from factory.auditors.fidelity.scenes import assign, cluster
from factory.auditors.fidelity.style import compare_means
from factory.types import Test

Test.__test__ = False  # type: ignore[attr-defined]
counts = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=2, max_size=8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(counts)
@settings(max_examples=50, deadline=None)
def test_divergence_and_chi_square_are_scipys(pairs: list[tuple[int, int]]) -> None:
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import chi2_contingency

    one, two = np.array(pairs, dtype=float).T
    if not one.sum() or not two.sum():
        return
    assert testing.jensen_shannon(one, two) == pytest.approx(jensenshannon(one, two, base=2) ** 2, abs=1e-9)
    first, second = testing.merge_rare(one, two)
    assert (first.sum(), second.sum()) == (one.sum(), two.sum())
    if len(first) > 1:
        expected = chi2_contingency(np.array([first, second]), correction=False)
        assert testing.chi_square(first, second) == (pytest.approx(expected.statistic), expected.dof)


def test_the_tail_and_the_smallest_effect_are_those_of_the_noncentral_chi_square() -> None:
    from scipy.stats import ncx2

    found = testing.compare_counts([300, 200, 500], [260, 260, 480], limit=0.001, effect=0.01)
    noncentral = found.unit * 0.001
    assert found.test.p == pytest.approx(ncx2.sf(found.statistic, 2, noncentral), rel=1e-6)
    smallest = found.test.mde_at(0.001)
    critical = ncx2.isf(0.001, 2, noncentral)
    assert ncx2.sf(critical, 2, smallest * found.unit) == pytest.approx(0.8, abs=1e-4)
    low, high = found.interval
    assert 0 <= low < found.value < high


def test_far_out_the_normal_approximation_takes_over_smoothly() -> None:
    inside, outside = (testing._below(2 * nc, 30, nc * 0.99) for nc in (4_999.0, 5_100.0))
    assert inside == pytest.approx(1.0) and outside == pytest.approx(1.0)
    assert testing._beyond(5_300, 20, 5_100) == pytest.approx(0.106, abs=0.02)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_intervals_of_a_divergence_cover(shift: float) -> None:
    p = np.full(8, 0.125)
    q = p + shift * np.array([1, -1 / 7, -1 / 7, -1 / 7, -1 / 7, -1 / 7, -1 / 7, -1 / 7])
    truth = float(testing.jensen_shannon(p, q))
    draws = zip(rng(1).multinomial(2000, p, 600), rng(2).multinomial(2000, q, 600), strict=True)
    intervals = [testing.compare_counts(two, one, limit=0.001, effect=0.01).interval for one, two in draws]
    covered = np.mean([low - 1e-9 <= truth <= high for low, high in intervals])
    assert 0.925 <= covered <= 0.99


def test_a_gate_at_the_limit_fails_as_rarely_as_it_says() -> None:
    """The truth is the limit itself, the worst case of the null hypothesis."""
    p = np.full(10, 0.1)
    q = p + np.array([0.05, -0.05, 0.03, -0.03, 0, 0, 0, 0, 0, 0])
    limit = float(testing.jensen_shannon(p, q))
    draws = zip(rng(3).multinomial(1500, p, 1500), rng(4).multinomial(1500, q, 1500), strict=True)
    tests = [testing.compare_counts(one, two, limit=limit, effect=0.1).test.p for one, two in draws]
    assert 0.02 <= np.mean(np.array(tests) <= 0.05) <= 0.075


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.lists(st.integers(0, 20), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_lengths_compare_as_scipy_does(one: list[int], two: list[int]) -> None:
    from scipy.stats import ks_2samp, wasserstein_distance

    found = compare_numbers(np.array(one, float), np.array(two, float), limit=0.1, effect=0.2)
    assert found.ks == pytest.approx(ks_2samp(one, two).statistic)
    assert found.wasserstein == pytest.approx(wasserstein_distance(one, two))


def test_intervals_of_a_ks_distance_cover() -> None:
    truth = 2 * 0.5 * math.erf(0.25 / math.sqrt(2))  # of two normals half a deviation apart
    covered = 0
    for seed in range(400):
        one, two = rng(seed).normal(0, 1, 800), rng(seed + 9_000).normal(0.5, 1, 800)
        low, high = compare_numbers(one, two, limit=0.1, effect=0.2).interval
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_style_differences_have_the_errors_they_tell() -> None:
    values = [
        compare_means(rng(s).gamma(2, 1, 300), rng(s + 999).gamma(2, 1, 300), limit=0, effect=1) for s in range(400)
    ]
    differences = np.array([value for value, _, _ in values])
    assert np.mean([se for _, se, _ in values]) == pytest.approx(differences.std(), rel=0.1)
    assert 0.02 <= np.mean([test.p <= 0.05 for _, _, test in values]) <= 0.08
    far = compare_means(np.zeros(50), np.ones(50), limit=0.1, effect=0.3)
    assert far[0] < -5 and far[2].p == 0.0


def test_style_features_of_a_known_text() -> None:
    texts = ["Ab cd. Ef? 12!\n* x", "", "  ", "(ok)"]
    found = dict(zip(FEATURES, style_features(texts).T, strict=True))
    assert found["characters a word"].tolist() == [9 / 5, 0, 0, 2]
    assert found["words a sentence"].tolist() == [5 / 3, 0, 0, 1]
    assert found["capitals"][0] == pytest.approx(2 / 13) and found["questions"][0] == pytest.approx(1 / 13)
    assert found["brackets"].tolist() == [0, 0, 0, 0.5] and found["markdown signs"][0] == pytest.approx(1 / 13)
    assert found["starts with a capital"].tolist() == [1, 0, 0, 0]
    assert found["ends with a sign"].tolist() == [0, 0, 0, 1] and found["has line breaks"].tolist() == [1, 0, 0, 0]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_style_features_of_a_text_hang_on_it_alone(texts: list[str]) -> None:
    together = style_features(texts)
    assert np.array_equal(together, np.concatenate([style_features([text]) for text in texts]))
    assert np.isfinite(together).all()


def test_displacement_is_hotellings_and_keeps_its_level() -> None:
    p = []
    for seed in range(300):
        points = rng(seed).standard_t(6, (160, 8)).astype(np.float32)
        p.append(measure_displacement(points[:60], points[60:], limit=0.0, effect=0.1).found.test.p)
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09
    moved = rng(1).normal(0, 1, (4000, 8)).astype(np.float32)
    moved[:2000, 0] += 0.4
    found = measure_displacement(moved[:2000], moved[2000:], limit=0.001, effect=0.1).found
    assert found.value == pytest.approx(0.4**2 / 8 / math.log(2), rel=0.3)


def test_clusters_are_means_and_points_go_to_the_nearest() -> None:
    points = np.concatenate([rng(1).normal(m, 0.1, (50, 3)) for m in (0, 3, 6)]).astype(np.float32)
    centres = cluster(points, 3, rng(2))
    nearest, squared = assign(points, centres)
    brute = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    assert np.array_equal(nearest, brute.argmin(axis=1)) and np.allclose(squared, brute.min(axis=1), atol=1e-3)
    assert sorted(np.bincount(nearest)) == [50, 50, 50]
    assert len(cluster(np.ones((10, 3), dtype=np.float32), 4, rng(0))) == 1


def test_coverage_by_brute_force() -> None:
    here, base, held = (rng(seed).normal(0, 1, (40, 2)).astype(np.float32) for seed in (1, 2, 3))
    here[:10] += 50
    found, outside = coverage.measure(here, base, held)
    away = np.sqrt(((base[:, None] - base[None]) ** 2).sum(axis=2))
    radius = np.sort(away, axis=1)[:, coverage.NEIGHBOURS]
    balls = np.sqrt(((here[:, None] - base[None]) ** 2).sum(axis=2)) <= radius[None] + 1e-5
    assert found["precision"].found == balls.any(axis=1).mean()
    assert found["coverage"].found == balls.any(axis=0).mean()
    assert found["density"].found == pytest.approx(balls.sum() / (40 * coverage.NEIGHBOURS), abs=0.01)
    assert set(range(10)) <= set(outside.tolist())


def test_mauve_at_its_ends() -> None:
    same, apart = np.array([10, 20, 30]), np.array([[10, 20, 30, 0], [0, 0, 0, 60]])
    assert mauve.mauve(same, same) == pytest.approx(1.0)
    assert float(mauve.mauve(apart[0], apart[1])) < 0.05
    closer = [float(mauve.mauve(np.array([50, 50]), np.array([50 + d, 50 - d]))) for d in (0, 10, 20, 40)]
    assert closer == sorted(closer, reverse=True)


def test_area_under_the_curve_is_sklearns() -> None:
    from sklearn.metrics import roc_auc_score

    one, two = rng(1).integers(0, 9, 80).astype(float), rng(2).integers(0, 7, 60).astype(float)
    expected = roc_auc_score([1] * 80 + [0] * 60, np.concatenate([one, two]))
    assert classifier.area_under_curve(one, two)[0] == pytest.approx(expected)


def test_associations_are_scipys() -> None:
    from scipy.stats import f_oneway, spearmanr

    from factory.auditors.fidelity.pairing import Column
    from factory.auditors.fidelity.relations import _encode

    kind = rng(1).integers(0, 3, 900)
    x = rng(2).normal(kind * 0.5, 1)
    y = x + rng(3).normal(0, 1, 900)
    other = np.where(rng(4).random(900) < 0.5, kind, rng(5).integers(0, 3, 900))
    columns = [Column("x", "number", x, x), Column("y", "number", y, y)]
    columns += [Column(n, "category", c, c, ("a", "b", "c")) for n, c in (("kind", kind), ("other", other))]
    blocks = [_encode(column)[0] for column in columns]
    sums = associations.moments(blocks, rng(6).permutation(np.arange(900) % 30), 30)
    rho = associations.associate(sums, blocks, 0, 1)
    assert rho.value == pytest.approx(spearmanr(x, y).statistic) and 0.01 < rho.se < 0.05
    ranks = np.argsort(np.argsort(x))
    f = f_oneway(*(ranks[kind == k] for k in range(3))).statistic
    eta = math.sqrt(1 - 899 / (897 + 2 * f))
    assert associations.associate(sums, blocks, 2, 0).value == pytest.approx(eta)
    assert associations.associate(sums, blocks, 2, 3).value == pytest.approx(0.5, abs=0.06)


def test_many_new_labels_by_simulation() -> None:
    """Against rows dealt at random: 30 labels of one row, 10 of three, 5 of six."""
    sizes = np.array([1] * 30 + [3] * 10 + [6] * 5)
    alone = rng(1).random((20_000, len(sizes))) < 0.5**sizes
    dealt = (alone * sizes).sum(axis=1)
    for rows in (12, 20, 30):
        one = np.zeros(len(sizes) + 1)
        two = np.append(sizes, 0).astype(float)
        moved = 0
        for at in range(len(sizes)):  # so many rows of labels that only the dataset has
            if moved < rows:
                one[at], two[at] = sizes[at], 0
                moved += sizes[at]
        one[-1] = two[:-1].sum() + 1000 - one[:-1].sum()
        two[-1] = one.sum() - two.sum()
        found = _many_new(one, two, 0.0)
        assert found == pytest.approx((dealt >= one[:-1].sum()).mean(), abs=0.02)


def test_resampled_tails_are_skewed_where_the_null_is() -> None:
    from scipy.stats import chi2

    null = rng(1).chisquare(4, 20_000)
    p = testing.resampled_test(20.0 - null.mean(), 0.0, null, limit=0.0, effect=1.0).p
    assert p == pytest.approx(chi2.sf(20.0, 4), rel=0.5)
