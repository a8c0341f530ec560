"""What the utility audit stands on, against other libraries, brute force and simulation."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditors import AuditContext
from factory.auditors.utility import learners, pairing, rows
from factory.auditors.utility.arms import Arms, first_of_each
from factory.auditors.utility.labels import chance_of_none
from factory.auditors.utility.language import learn_pairs, read_words
from factory.auditors.utility.learners import VectorLearner, WordLearner, predict
from factory.auditors.utility.mixing import choose_mix, fold_of
from factory.auditors.utility.pairing import estimate
from factory.auditors.utility.rows import Bench, groups_of_copies, label_name, split_by_label, without_copies

WORDS = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl", "mn"]), min_size=1, max_size=6).map(" ".join)


def test_the_learner_is_scikit_learns_tfidf_and_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{k}" for k in rng.integers(0, 20, 6)) for _ in range(80)]
    labels = np.array([int("w1" in text.split()) + int("w2" in text.split()) for text in texts])

    def both(text: str) -> list[str]:
        words = text.split()
        return [*words, *(" ".join(pair) for pair in pairwise(words))]

    train, asked = np.arange(60), np.arange(60, 80)
    vectors = TfidfVectorizer(analyzer=both, norm=None)
    known = vectors.fit_transform([texts[k] for k in train])
    weights = np.array([learners.PAIR_WEIGHT if " " in name else 1.0 for name in vectors.get_feature_names_out()])
    spaces = [normalize(matrix.multiply(weights).tocsr()) for matrix in (known, vectors.transform(texts[60:]))]
    expected = LogisticRegression(C=10, max_iter=5000, tol=1e-6).fit(spaces[0], labels[train]).predict_proba(spaces[1])
    assert (predict(WordLearner(texts), train, labels, asked, 3) == expected.argmax(axis=1)).all()
    monkeypatch.setattr(learners, "EPOCHS", 5000)
    monkeypatch.setattr(learners, "TOLERANCE", 1e-6)
    found = WordLearner(texts).probabilities(train, labels, asked, 3)
    assert np.abs(found - expected).max() < 1e-3


def test_a_class_that_was_not_trained_on_gets_no_probability_and_one_class_is_certain() -> None:
    texts = ["red apple", "green apple", "fast car", "slow car", "", "red car"]
    labels = np.array([0, 0, 2, 2, 1, 1])
    learner = WordLearner(texts)
    found = learner.probabilities(np.arange(4), labels, np.arange(6), 4)
    assert (found[:, [1, 3]] == 0).all() and np.allclose(found.sum(axis=1), 1)
    assert learner.probabilities(np.array([0, 1]), labels, np.array([4]), 4).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    nothing = WordLearner(["", " ", "?"]).probabilities(np.array([0, 1]), np.array([0, 1, 1]), np.array([2]), 2)
    assert nothing.tolist() == [[0.5, 0.5]]


def test_vectors_serve_as_features_too() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 0, 1]]
    labels = np.array([0, 0, 1, 1, 0, 1])
    learner = VectorLearner(vectors, "four corners")
    assert predict(learner, np.arange(4), labels, np.array([4, 5]), 2).tolist() == [0, 1]
    assert learner.affordable(2) > 1000 and "four corners" in learner.name


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 5))
def test_the_first_of_each_label(labels: list[int], count: int) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for place, label in enumerate(labels):
        seen[label] += 1
        if seen[label] <= count:
            expected.append(place)
    assert sorted(first_of_each(np.array(labels, dtype=np.int64), count).tolist()) == expected


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_the_chance_that_a_class_is_missing(real: int, more: int, synthetic: int) -> None:
    from scipy.stats import hypergeom

    total = real + more
    expected = hypergeom.pmf(0, total + synthetic, real, synthetic)
    assert chance_of_none(real, total, synthetic) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(1, 8))
def test_the_probabilities_of_words_sum_to_one_after_every_word(texts: list[str], trained: int) -> None:
    read = read_words(texts)
    known = np.flatnonzero(read.owners < trained)
    model = learn_pairs(read.words[known], read.before[known], read.size)
    for before in range(read.size + 1):
        bits = model.bits(np.arange(read.size), np.full(read.size, before))
        assert np.exp2(-bits).sum() == pytest.approx(1.0)


def test_bits_of_a_word_by_hand() -> None:
    read = read_words(["a b", "a c", "a b"])
    model = learn_pairs(read.words, read.before, read.size)
    a, b = read.words[0], read.words[1]
    alone = (2 + 3 / 3) / (6 + 3)
    assert model.bits(np.array([b]), np.array([a]))[0] == pytest.approx(-math.log2((2 + 2 * alone) / (3 + 2)))
    assert read.before[[0, 2, 4]].tolist() == [read.size] * 3


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=60), st.integers(0, 5))
def test_a_split_by_label_leaves_every_label_in_training(labels: list[str], seed: int) -> None:
    train, test = split_by_label(labels, np.random.default_rng(seed))
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(labels)))
    assert {labels[k] for k in train} == set(labels)
    counts = Counter(labels)
    for label, apart in Counter(labels[k] for k in test).items():
        assert apart <= counts[label] * rows.TEST_SHARE + 1


def test_copies_are_found_exact_and_near() -> None:
    held = ["the quick brown fox jumps over the lazy dog near the river bank today", "yes"]
    near = held[0].replace("today", "today now")
    assert without_copies([near, "another text altogether, of other words", "YES", held[0]], held).tolist() == [1]
    assert groups_of_copies(["b b b", held[0], "B b b", near, "c"]).tolist() == [0, 1, 0, 1, 4]
    assert without_copies([], held).tolist() == [] and groups_of_copies([]).tolist() == []


def test_labels_that_are_whole_numbers_are_named_alike() -> None:
    assert [label_name(one) for one in (1, 1.0, "1.0", -2.0, "a.0", 1.5)] == ["1", "1", "1", "-2", "a.0", "1.5"]


def test_folds_keep_copies_together() -> None:
    twins = np.array([0, 1, 0, 3, 1, 5, 6, 0])
    folds = fold_of(twins, np.random.default_rng(0), 3)
    assert folds[0] == folds[2] == folds[7] and folds[1] == folds[4] and set(folds.tolist()) <= {0, 1, 2}


def bench(real: list[str], synthetic: list[str], test: list[str], labels: list[int]) -> Bench:
    texts = [*real, *synthetic, *test]
    cuts = np.cumsum([0, len(real), len(synthetic), len(test)])
    parts = [np.arange(cuts[k], cuts[k + 1]) for k in range(3)]
    twins = np.concatenate([groups_of_copies([*real, *synthetic]), parts[2]])
    return Bench(
        texts, np.array(labels), ("a", "b"), *parts, np.array([], dtype=np.int64), np.arange(len(texts)), twins
    )


def arms_of(one: Bench) -> Arms:
    return Arms(one, WordLearner(one.texts), AuditContext(seed=0).rng, lambda told: None)


def test_the_mix_is_chosen_without_the_test_rows_and_without_copies_of_the_held_fold() -> None:
    rng = np.random.default_rng(2)
    real = [f"{'xyz'[k % 2]} filler{int(rng.integers(9))} row{k}" for k in range(60)]
    labels = [k % 2 for k in range(60)]
    wrong = [1 - k for k in labels]
    copies = bench(real, real, ["x"] * 20, [*labels, *wrong, *([0] * 20)])
    best, scores = choose_mix(arms_of(copies), (0.25, 1.0))
    assert best == 0.25 and scores["0.25"] > 0.9, "rows whose copies are wrong are judged without these copies"
    other = bench(real, real, ["x"] * 20, [*labels, *wrong, *([1] * 20)])
    assert choose_mix(arms_of(other), (0.25, 1.0)) == (best, scores)


def test_every_different_training_is_done_once_and_nested_draws_share_rows() -> None:
    texts = [f"{'xy'[k % 2]} word{k}" for k in range(80)]
    one = bench(texts[:40], texts[40:60], texts[60:], [k % 2 for k in range(80)])
    heard: list[str] = []
    arms = Arms(one, WordLearner(one.texts), AuditContext(seed=0).rng, heard.append)
    first = arms.correct(np.array([3, 1, 2, 0]), "one")
    assert (arms.correct(np.array([0, 1, 2, 3]), "two") == first).all() and heard == ["one"]
    assert set(arms.real(2, 0).tolist()) <= set(arms.real(5, 0).tolist())
    assert arms.synthetic(5, 1).tolist() == arms.synthetic(20, 1)[:5].tolist()
    real = arms.real(5, 0)
    assert not set(arms.more_real(real, 10, 0).tolist()) & set(real.tolist())
    assert Counter(arms.repeated(real, 25, 0).tolist()).most_common()[-1][1] == 2
    assert arms.mixes(10) == [0.25, 0.5, 1.0, 2.0] and arms.mixes(200) == [0.1]


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "RESAMPLES", 400)


def crossed(rng: np.random.Generator, draws: int, n: int, spread: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    row, draw, rest = spread
    return (
        0.3
        + rng.normal(0, row, n)[None]
        + rng.normal(0, draw, draws)[:, None]
        + rng.normal(0, rest, (draws, n))
    )  # fmt: skip


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("spread", [(1.0, 0.0, 0.5), (0.5, 0.05, 0.5), (0.2, 0.1, 0.0)])
def test_intervals_cover_over_rows_and_draws(spread: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(1)
    trials = 100
    covered = 0
    for trial in range(trials):
        found = estimate(crossed(rng, 6, 250, spread), np.random.default_rng(trial))
        covered += found.interval[0] <= 0.3 <= found.interval[1]
    assert 0.88 <= covered / trials <= 1.0


@pytest.mark.usefixtures("few_resamples")
def test_a_ratio_is_estimated_with_its_error() -> None:
    rng = np.random.default_rng(3)

    def ratio(means: Any) -> Any:
        return means[..., 0] / means[..., 1]

    values = []
    errors = []
    for trial in range(150):
        parts = np.stack([rng.integers(0, 5, 400), rng.integers(3, 6, 400)], axis=1)[None]
        found = estimate(parts, np.random.default_rng(trial), ratio)
        values.append(found.value)
        errors.append(found.se)
    assert np.mean(values) == pytest.approx(0.5, abs=0.005)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


@pytest.mark.usefixtures("few_resamples")
def test_leaving_rows_out_says_how_much_a_sample_varies() -> None:
    """The mean of a sample of 50 as a "model": its error is that of the sample, not of the test rows."""
    rng = np.random.default_rng(4)
    covered = 0
    for trial in range(200):
        sample = rng.normal(1.0, 1.0, 50)
        whole = np.full((1, 100), sample.mean())
        thinned = np.stack([np.full(100, rng.permutation(sample)[:40].mean()) for _ in range(8)])
        found = estimate(whole, np.random.default_rng(trial), thinned=thinned)
        covered += found.interval[0] <= 1.0 <= found.interval[1]
    assert 0.90 <= covered / 200 <= 0.99


def test_the_test_of_an_estimate_is_students() -> None:
    found = estimate(crossed(np.random.default_rng(5), 5, 200, (0.3, 0.05, 0.1)), np.random.default_rng(0))
    test = found.beyond(0.1, 0.2)
    low = test.mde_at(0.05)
    assert test.mde_at(0.001) > low > 0.1
    assert test.p < found.beyond(0.25, 0.3).p
    assert found.flipped().value == -found.value and found.flipped().interval == (
        -found.interval[1],
        -found.interval[0],
    )
    still = estimate(np.zeros((3, 40)), np.random.default_rng(0))
    assert still.value == 0.0 and still.se == pytest.approx(1 / 40), "arms that agree on 40 rows may differ by one"
    assert still.interval[0] < -0.03 and still.beyond(0.0, 0.1).mde_at(0.05) > 0.05
