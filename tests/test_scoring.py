"""Scorers are compiled, run on a row, add up to a total, and `select` ranks and rejects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import registry
from factory.errors import BadRequest, FactoryError, UsageError
from factory.scorers import Context
from factory.scoring import compile_scorers, score, select
from factory.types import Candidate, Prompt, Score, Scored, Variation


@dataclass(frozen=True)
class Spec:
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: float | None = None


@dataclass(frozen=True)
class Keep:
    min_score: float | None = None


def candidate(index: int = 0, text: str = "some words here", row: int = 7) -> Candidate:
    return Candidate(row, "main", index, text, "stop", 1, "m", {"text": text})


CONTEXT = Context(Variation(7, {}), Prompt((), "sha"), {}, str)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {})
    registry._config_model.cache_clear()
    yield
    registry._config_model.cache_clear()


def run(
    specs: list[Spec], candidates: list[Candidate], context: Context = CONTEXT, language: str = "en"
) -> list[Scored]:
    return asyncio.run(score(compile_scorers(specs, language=language), candidates, context))


def test_every_shape_of_scorer_gives_scores() -> None:
    @registry.scorer("as_float")
    def as_float(candidate: Candidate, context: Context) -> float:
        return 0.5

    @registry.scorer("as_bool")
    def as_bool(candidate: Candidate, context: Context, *, wanted: int = 0) -> bool:
        return candidate.index == wanted

    @registry.scorer("as_none")
    def as_none(candidate: Candidate, context: Context) -> None:
        return None

    @registry.scorer("later")
    async def later(candidate: Candidate, context: Context) -> Score:
        await asyncio.sleep(0)
        return Score("anything", 2.0, "why")

    @registry.scorer("whole")
    def whole(candidates: list[Candidate], context: Context) -> list[float]:
        return [float(len(candidates)) + one.index for one in candidates]

    names = ["as_float", "as_bool", "as_none", "later", "whole"]
    first, second = run([Spec(name) for name in names], [candidate(0), candidate(1)])
    assert [one.name for one in first.scores] == names
    assert [one.value for one in first.scores] == [0.5, 1.0, None, 2.0, 2.0]
    assert not any(one.vetoed for one in first.scores)
    # The second is vetoed by `as_bool`, so nobody pays for the asynchronous one.
    assert [one.name for one in second.scores] == ["as_float", "as_bool", "as_none", "whole"]
    assert second.scores[1].vetoed and second.scores[3].value == 3.0


def test_total_is_the_weighted_mean_and_the_rest_does_not_count() -> None:
    @registry.scorer("fixed")
    def fixed(candidate: Candidate, context: Context, *, value: float) -> float:
        return value

    specs = [Spec("fixed", {"value": 1.0}, 3), Spec("fixed", {"value": 5.0}, 1), Spec("fixed", {"value": 99.0})]
    [one] = run(specs, [candidate()])
    assert one.total == pytest.approx((3 * 1 + 1 * 5) / 4)
    assert [given.name for given in one.scores] == ["fixed", "fixed_2", "fixed_3"]
    [plain] = run([Spec("fixed", {"value": 9.0})], [candidate()])
    assert plain.total == 0.0


def test_a_missing_weighted_score_is_a_reject_and_never_a_zero() -> None:
    @registry.scorer("grader")
    def grader(candidate: Candidate, context: Context) -> float | None:
        return None if candidate.index == 0 else 0.0

    scored = run([Spec("grader", weight=1)], [candidate(0, "a"), candidate(1, "b")])
    ranked, verdicts = select(scored, Keep())
    assert [one.candidate.index for one in ranked] == [1]
    assert [(one.stage, one.reason) for one in verdicts] == [("score", "score grader is missing")]
    ranked, verdicts = select(run([Spec("grader")], [candidate(0, "a"), candidate(1, "b")]), Keep())
    assert len(ranked) == 2 and not verdicts


def test_a_judge_that_is_refused_gives_a_missing_score() -> None:
    async def ask(*_: Any) -> Any:
        raise BadRequest("too rude", status=400)

    @registry.scorer("asks")
    async def asks(candidate: Candidate, context: Context) -> float:
        return float(await context.ask("judge", ()))

    context = Context(CONTEXT.variation, CONTEXT.prompt, {}, str, ask)
    [one] = run([Spec("asks", weight=1)], [candidate()], context)
    assert one.scores[0].value is None and one.scores[0].vetoed
    assert "missing (bad_request: too rude)" in one.scores[0].reason


@pytest.mark.parametrize("whole", [False, True])
def test_a_scorer_that_fails_stops_the_run_and_says_where(whole: bool) -> None:
    if whole:

        @registry.scorer("broken")
        def broken(candidates: list[Candidate], context: Context) -> list[float]:
            raise KeyError("oops")
    else:

        @registry.scorer("broken")
        async def broken_one(candidate: Candidate, context: Context) -> float:
            raise KeyError("oops")

    with pytest.raises(FactoryError) as caught:
        run([Spec("broken")], [candidate(3)])
    assert "`broken`" in caught.value.message and "row 7" in caught.value.message
    assert "candidate 3" in caught.value.message and "oops" in caught.value.message
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("bad", ["text", float("nan"), float("inf"), [1.0]])
def test_a_senseless_result_is_an_error(bad: Any) -> None:
    @registry.scorer("senseless")
    def senseless(candidate: Candidate, context: Context) -> Any:
        return bad

    with pytest.raises(FactoryError, match="`senseless` failed on row 7, candidate 0"):
        run([Spec("senseless")], [candidate()])


def test_a_list_of_the_wrong_length_is_an_error() -> None:
    @registry.scorer("short")
    def short(candidates: list[Candidate], context: Context) -> list[float]:
        return [1.0]

    with pytest.raises(FactoryError, match="must return 2 scores, not 1"):
        run([Spec("short")], [candidate(0), candidate(1)])
    assert run([Spec("short")], []) == []


def test_wrong_scorers_options_and_weights_are_usage_errors() -> None:
    with pytest.raises(UsageError) as caught:
        compile_scorers([Spec("lenght")])
    assert "length" in caught.value.hint
    with pytest.raises(UsageError, match="min_word"):
        compile_scorers([Spec("length", {"min_word": 3})])
    with pytest.raises(UsageError, match="weight"):
        compile_scorers([Spec("length", {}, -1.0)])


def test_the_recipes_language_reaches_the_scorers() -> None:
    @registry.scorer("speaks")
    def speaks(candidate: Candidate, context: Context) -> bool:
        return context.language == "de"

    [one] = run([Spec("speaks")], [candidate()], language="de")
    assert not one.scores[0].vetoed


def test_a_row_with_plain_scorers_alone_awaits_nothing() -> None:
    @registry.scorer("as_float")
    def as_float(candidate: Candidate, context: Context) -> float:
        return float(candidate.index)

    specs = [Spec("length"), Spec("language"), Spec("as_float", weight=1)]
    work = score(compile_scorers(specs), [candidate(0), candidate(1)], CONTEXT)
    with pytest.raises(StopIteration) as done:  # at its end at the first step, without any loop
        work.send(None)
    assert [one.total for one in done.value.value] == [0.0, 1.0]


def test_what_a_plain_function_hands_on_is_awaited() -> None:
    async def later(candidate: Candidate) -> float:
        await asyncio.sleep(0)
        if candidate.index == 1:
            raise BadRequest("too rude", status=400)
        return 0.5

    @registry.scorer("handed_on")
    def handed_on(candidate: Candidate, context: Context) -> Any:
        return later(candidate) if candidate.index else 0.25

    @registry.scorer("refuses")
    def refuses(candidate: Candidate, context: Context) -> bool:
        if candidate.index == 1:
            raise BadRequest("too rude", status=400)
        return True

    scored = run([Spec("handed_on"), Spec("refuses")], [candidate(0), candidate(1), candidate(2)])
    assert [[given.value for given in one.scores] for one in scored] == [[0.25, 1.0], [None, None], [0.5, 1.0]]
    assert "too rude" in scored[1].scores[0].reason and "too rude" in scored[1].scores[1].reason


def test_options_stay_with_their_scorer() -> None:
    @registry.scorer("fixed")
    def fixed(candidate: Candidate, context: Context, *, value: float = 7.0, more: float = 0.0) -> float:
        return value + more

    specs = [Spec("fixed", {"value": 1.0}), Spec("fixed", {"more": 2.0}), Spec("fixed")]
    assert [given.value for given in run(specs, [candidate()])[0].scores] == [1.0, 9.0, 7.0]
    assert fixed(candidate(), CONTEXT) == 7.0


def test_a_whole_scorer_may_return_a_tuple_or_numbers() -> None:
    @registry.scorer("whole")
    def whole(candidates: list[Candidate], context: Context) -> tuple[float, ...]:
        return tuple(0.5 for _ in candidates)

    assert [one.scores[0].value for one in run([Spec("whole")], [candidate(0), candidate(1)])] == [0.5, 0.5]


def test_select_tells_vetoes_duplicates_and_low_scores_apart() -> None:
    veto = (Score("length", 0.0, "3 words, at least 20 wanted", True), Score("format", 0.0, "later", True))
    scored = [
        Scored(candidate(3, "b"), (), 0.9),
        Scored(candidate(0, "a"), veto, 1.0),
        Scored(candidate(1, "b"), (), 0.9),
        Scored(candidate(2, "c"), (), 0.2),
        Scored(candidate(4, "a"), (), 0.95),
        Scored(candidate(5, "d"), (), 0.9),
    ]
    ranked, verdicts = select(scored, Keep(0.5))
    assert [one.candidate.index for one in ranked] == [4, 1, 5]
    told = {one.scored.candidate.index: (one.stage, one.reason, one.matched) for one in verdicts}
    assert told == {
        0: ("score", "length: 3 words, at least 20 wanted", None),
        2: ("select", "score 0.2 is below min_score 0.5", None),
        3: ("select", "duplicate_candidate", "candidate 1"),
    }
    assert not any(one.accepted for one in verdicts)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), max_size=12))
def test_select_agrees_with_a_plain_oracle(rows: list[tuple[str, float, bool]]) -> None:
    scored = [
        Scored(candidate(index, text), (Score("s", total, "no", vetoed),), total)
        for index, (text, total, vetoed) in enumerate(rows)
    ]
    ranked, verdicts = select(scored[::-1], Keep(0.5))
    firsts = {text: k for k, (text, _, vetoed) in reversed(list(enumerate(rows))) if not vetoed}
    kept = [k for k, (text, total, vetoed) in enumerate(rows) if not vetoed and firsts[text] == k and total >= 0.5]
    assert [one.candidate.index for one in ranked] == sorted(kept, key=lambda k: (-rows[k][1], k))
    assert sorted([*kept, *(one.scored.candidate.index for one in verdicts)]) == list(range(len(rows)))


def test_when_one_call_fails_the_others_of_the_row_still_finish() -> None:
    """Their answers are paid for: they must reach the journal."""
    finished = []

    @registry.scorer("asks")
    async def asks(candidate: Candidate, context: Context) -> float:
        if candidate.index == 0:
            raise FactoryError("the server is gone")
        await asyncio.sleep(0.01)
        finished.append(candidate.index)
        return 1.0

    with pytest.raises(FactoryError, match="the server is gone"):
        run([Spec("asks")], [candidate(0), candidate(1), candidate(2)])
    assert finished == [1, 2]
