"""Preference pairs: which two candidates of a row, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.curation import Committed
from factory.preference import Pair, Pairing
from factory.recipe.preference import PreferenceConfig
from factory.types import Candidate, Score, Scored, Verdict


def candidate(index: int, text: str | None = None, step: str = "main") -> Candidate:
    words = f"text {index}" if text is None else text
    return Candidate(3, step, index, words, "stop", 1, "m", {"answer": words.upper()})


def scored(index: int, total: float, *vetoes: str, text: str | None = None, judged: bool = True) -> Scored:
    scores = [Score("judge", total)] if judged else []
    return Scored(candidate(index, text), (*scores, *(Score(name, 0.0, "no", True) for name in vetoes)), total)


def commit(accepted: Sequence[Scored], *rejected: tuple[Scored, str, str]) -> Committed:
    verdicts = [Verdict(3, one, True) for one in accepted]
    verdicts += [Verdict(3, one, False, stage, reason) for one, stage, reason in rejected]
    return Committed(3, tuple(enumerate(accepted)), tuple(verdicts))


def choose(committed: Committed, **options: object) -> Pair | None:
    return Pairing(PreferenceConfig(**options)).choose(committed)


ROW = commit(
    [scored(0, 5.0)],
    (scored(1, 3.0), "select", "not among the best 1"),
    (scored(2, 4.5), "select", "not among the best 1"),
    (scored(3, 1.0), "select", "score 1 is below min_score 2"),
)


def test_the_best_against_the_worst_or_against_the_hardest() -> None:
    worst, hardest = choose(ROW), choose(ROW, rejected="hardest")
    assert worst is not None and hardest is not None
    assert (worst.chosen.candidate.index, worst.rejected.candidate.index, worst.margin) == (0, 3, 4.0)
    assert (hardest.rejected.candidate.index, hardest.margin) == (2, 0.5)
    assert worst.reason == "score 1 is below min_score 2"


@pytest.mark.parametrize(("margin", "index"), [(0.0, 2), (0.5, 2), (0.6, 1), (2.5, 3), (4.0, 3), (4.1, None)])
def test_the_margin_is_kept(margin: float, index: int | None) -> None:
    pairing = Pairing(PreferenceConfig(rejected="hardest", min_margin=margin))
    pair = pairing.choose(ROW)
    assert (None if pair is None else pair.rejected.candidate.index) == index
    assert (pairing.pairs, sum(pairing.without.values())) == ((0, 1) if index is None else (1, 0))


def test_an_equal_total_is_no_worse() -> None:
    assert choose(commit([scored(0, 5.0)], (scored(1, 5.0), "select", "not among the best 1"))) is None


def test_a_vetoed_one_is_worse_whatever_its_total() -> None:
    row = commit(
        [scored(0, 0.0)],
        (scored(1, 0.0, "arithmetic"), "score", "arithmetic: 2 + 2 = 5"),
        (scored(2, -1.0), "select", ""),
    )
    worst, hardest = choose(row), choose(row, rejected="hardest")
    assert worst is not None and worst.rejected.candidate.index == 1 and worst.reason == "arithmetic: 2 + 2 = 5"
    assert hardest is not None and hardest.rejected.candidate.index == 2


def test_scores_that_were_not_made_give_no_margin() -> None:
    """A judge that never saw the vetoed one: its total is no number to compare with."""
    row = commit([scored(0, 5.0)], (scored(1, 0.0, "python", judged=False), "score", "python: assert f(2) == 4"))
    pair = choose(row, min_margin=2.0)
    assert pair is not None and pair.margin is None


def test_private_and_filthy_texts_are_never_published_unasked() -> None:
    row = commit([scored(0, 5.0)], (scored(1, 1.0, "pii"), "score", ""), (scored(2, 1.0, "pii", "length"), "score", ""))
    assert choose(row) is None
    assert choose(row, vetoed=False) is None
    asked = choose(row, vetoed=["pii"])
    assert asked is not None and asked.rejected.candidate.index == 1


def test_a_scorer_used_twice_goes_by_its_own_name() -> None:
    row = commit([scored(0, 5.0)], (scored(1, 1.0, "profanity_2"), "score", ""))
    assert choose(row) is None
    assert choose(row, vetoed=["profanity"]) is not None


def test_a_missing_score_proves_nothing() -> None:
    missing = Scored(candidate(1), (Score("judge", None, "score judge is missing", True),), 0.0)
    assert choose(commit([scored(0, 5.0)], (missing, "score", "score judge is missing"))) is None


@pytest.mark.parametrize("stage", ["call", "parse", "filter", "dedup", "decontaminate", "unused"])
def test_what_fell_elsewhere_is_no_example(stage: str) -> None:
    assert choose(commit([scored(0, 5.0)], (scored(1, 1.0), stage, "why"))) is None


def test_the_same_answer_is_no_pair() -> None:
    same = scored(1, 1.0, text="text 0")
    assert choose(commit([scored(0, 5.0)], (same, "select", "not among the best 1"))) is None
    assert choose(commit([scored(0, 5.0)], (scored(1, 1.0), "select", "duplicate_candidate"))) is None


def test_another_step_is_another_question() -> None:
    other = Scored(candidate(1, step="draft"), (Score("judge", 1.0),), 1.0)
    assert choose(commit([scored(0, 5.0)], (other, "select", "step draft keeps the best one"))) is None


def test_where_all_are_kept_the_worst_of_them_is_the_worse_one() -> None:
    pair = choose(commit([scored(0, 5.0), scored(1, 4.0), scored(2, 2.0)]))
    assert pair is not None and (pair.rejected.candidate.index, pair.margin) == (2, 3.0)


def test_a_row_without_an_accepted_one_counts_for_nothing() -> None:
    pairing = Pairing(PreferenceConfig())
    assert pairing.choose(commit([], (scored(1, 1.0), "select", ""))) is None
    assert (pairing.pairs, pairing.without) == (0, {})


@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.lists(st.integers(1, 400), min_size=1, max_size=5)), min_size=1, max_size=40
    )
)
def test_balanced_lengths_stay_nearer_than_the_worst_choice_would(rows: list[tuple[int, list[int]]]) -> None:
    """At every row the rejected one is taken that brings the sum of differences nearest to 0."""
    pairing, lead = Pairing(PreferenceConfig(length_balanced=True)), 0
    for best, others in rows:
        texts = [scored(k, 1.0 / (k + 1), text=f"{k}" + "x" * size) for k, size in enumerate(others, start=1)]
        row = commit([scored(0, 5.0, text="0" + "x" * best)], *((one, "select", "worse") for one in texts))
        pair = pairing.choose(row)
        assert pair is not None
        nearest = min(abs(lead + best - size) for size in others)
        lead += best + 1 - len(pair.rejected.candidate.text)
        assert abs(lead) == nearest
    assert pairing.longer == lead
