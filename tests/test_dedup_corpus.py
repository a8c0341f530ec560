"""The near-duplicate benchmark's corpus and truth: reproducible, planted as said; an exact join; common shingles."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.minhash import Index, normalise, shingles

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "peers"))
import dedup
import dedup_corpus
import dedup_task

ROWS = 2500


@pytest.fixture(scope="module")
def rows() -> list[dedup_corpus.Row]:
    return list(dedup_corpus.make_rows(1, ROWS))


@pytest.fixture(scope="module")
def pairs(rows: list[dedup_corpus.Row]) -> dedup_corpus.Pairs:
    return dedup_corpus.exact_pairs([dedup_corpus.hashed(row.text) for row in rows], 0.5)


def jaccard(one: str, other: str) -> float:
    left, right = set(dedup_task.grams(one)), set(dedup_task.grams(other))
    return len(left & right) / len(left | right)


def test_a_row_depends_on_seed_and_number_alone(rows: list[dedup_corpus.Row]) -> None:
    assert [dedup_corpus.make_row(1, number) for number in (2000, 7, 999)] == [rows[2000], rows[7], rows[999]]
    assert dedup_corpus.make_row(2, 7) != rows[7]
    assert 88 < sum(len(row.text.split()) for row in rows) / ROWS < 96
    assert {row.kind for row in rows} == set(dedup_corpus.SHARES)


def test_planted_pairs_have_the_similarity_they_were_made_with(rows: list[dedup_corpus.Row]) -> None:
    made = [(row.similarity, jaccard(row.text, rows[row.of].text)) for row in rows if row.similarity >= 0]
    assert len(made) > 400
    assert all(planned == found for planned, found in made)
    for bucket in dedup_corpus.BUCKETS:
        assert sum(bucket <= found < bucket + dedup_corpus.WIDTH for _, found in made) > 20


def test_hard_negatives_are_just_below(rows: list[dedup_corpus.Row]) -> None:
    family = [row.text for row in rows[:1250] if row.kind == "family"]
    near = [jaccard(one, other) for one, other in itertools.combinations(family, 2)]
    assert 0.68 < min(near) <= max(near) < 0.8
    frame = [row.text for row in rows if row.kind == "boilerplate"]
    assert all(0.4 < jaccard(one, other) < 0.5 for one, other in itertools.combinations(frame, 2))
    for row in rows:
        if row.kind == "shuffled":
            assert sorted(row.text.split()) == sorted(rows[row.of].text.split())
            assert jaccard(row.text, rows[row.of].text) < 0.1
        if row.kind == "same":
            assert normalise(row.text) == normalise(rows[row.of].text)


def test_the_shingles_are_those_of_the_scheme(rows: list[dedup_corpus.Row]) -> None:
    """Peers get strings and the index hashes: as many of them, and as many in common."""
    for number, row in enumerate(rows):
        if row.of >= 0 or number < 300:
            mine, hashes = set(dedup_task.grams(row.text)), shingles(row.text)
            assert len(mine) == len(hashes)
            other = rows[max(row.of, 0)].text
            assert len(mine & set(dedup_task.grams(other))) == len(np.intersect1d(hashes, shingles(other)))


@settings(max_examples=60)
@given(st.text(alphabet="abA 天地가สﬁ\u0301\n", max_size=60))
def test_the_shingles_of_any_text_are_as_many(text: str) -> None:
    assert len(set(dedup_task.grams(text))) == len(shingles(text))


@settings(max_examples=80)
@given(
    st.lists(st.sets(st.integers(0, 40), max_size=25), max_size=30),
    st.sampled_from([0.3, 0.5, 0.6, 0.8, 1.0]),
    st.integers(0, 9),
)
def test_the_join_finds_every_pair(sets: list[set[int]], threshold: float, seed: int) -> None:
    """Against all pairs; copies with a member more or less are added."""
    rng = random.Random(seed)
    sets = sets + [one ^ {rng.randrange(40)} for one in sets]
    arrays = [np.array(sorted(one), dtype=np.uint64) for one in sets]
    expected = {
        (i, j): len(one & other) / len(one | other)
        for (i, one), (j, other) in itertools.combinations(enumerate(sets), 2)
        if one and other and len(one & other) / len(one | other) >= threshold
    }
    found = dedup_corpus.exact_pairs(arrays, threshold)
    triples = zip(found.earlier.tolist(), found.later.tolist(), found.similarity.tolist(), strict=True)
    assert {(i, j): similarity for i, j, similarity in triples} == expected
    assert found.later.tolist() == sorted(found.later.tolist())


@pytest.mark.parametrize("kernel", [False, None])
def test_the_index_finds_the_truth(
    rows: list[dedup_corpus.Row], pairs: dedup_corpus.Pairs, kernel: bool | None
) -> None:
    """NumPy, and whichever is there: every verdict as by the first-wins loop over the exact pairs."""
    expected = pairs.at_least(0.8).first_wins(ROWS)
    found = Index(0.8, kernel=kernel).offer_many([row.text for row in rows])
    kept = np.flatnonzero(found.places < 0)
    assert np.where(found.places < 0, -1, kept[found.places]).tolist() == expected.tolist()
    assert (expected >= 0).sum() > 200


def test_verdicts_are_measured(pairs: dedup_corpus.Pairs) -> None:
    """By the definition: nothing wrong. One miss, one false removal and one wrong name: each where it belongs."""
    duplicates = pairs.at_least(0.8)
    expected = duplicates.first_wins(ROWS)
    truth = dedup.Truth(ROWS, pairs, duplicates, expected, misplanted=0)
    right = truth.quality(expected)
    assert right["recall"]["share"] == right["precision"]["share"] == 1
    assert right["first_wins_differs"] == 0
    assert [found["share"] for found in right["buckets"].values()] == [0.0] * 6 + [1.0] * 5

    wrong = expected.copy()
    removed, kept = np.flatnonzero(expected >= 0), np.flatnonzero(expected < 0)
    wrong[removed[-1]] = -1
    wrong[kept[-1]] = 0
    wrong[removed[0]] = next(row for row in kept if row != expected[removed[0]])
    measured = truth.quality(wrong)
    assert measured["recall"]["share"] < 1
    assert measured["precision"]["n"] == len(removed)
    assert measured["precision"]["share"] == 1 - 2 / len(removed)
    assert measured["first_wins_differs"] == 3


def test_wilson_intervals() -> None:
    """Of 10 in 20 and of 0 in 10, as tabulated."""
    half, none = dedup.share(10, 20), dedup.share(0, 10)
    assert (half["low"], half["high"]) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert (none["low"], none["high"]) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_first_wins_of_candidates_compares_with_kept_rows_alone() -> None:
    candidates = [[0, 1], [0, 1, 2], [1, 2], [2, 3]]
    assert dedup_task.first_wins(candidates, lambda one, other: True) == [-1, 0, -1, 2]
    assert dedup_task.first_wins(candidates, lambda one, other: one == 2) == [-1, -1, -1, 2]
