"""Curation: verdicts in row order, for every candidate, whatever the target, the fallback and the filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.curation import REASONS, WARN_AFTER, Committed, Curation
from factory.errors import FactoryError
from factory.filters import Drop, Filter, Item, compile_filters
from factory.recipe import PluginConfig
from factory.types import STAGES, Candidate, Cost, RowOutcome, Scored, Variation, Verdict


def scored(row: int, index: int, text: str) -> Scored:
    return Scored(Candidate(row, "main", index, text, "stop", 0, "echo", {"text": text}), (), -float(index))


def outcome(row: int, texts: Sequence[str], fallen: Sequence[tuple[str, str]] = (), **more: Any) -> RowOutcome:
    """A row with ranked candidates and with verdicts (stage, reason) given before curation."""
    ranked = tuple(scored(row, index, text) for index, text in enumerate(texts))
    rejected = tuple(
        Verdict(row, scored(row, 100 + number, "bad"), False, stage, reason)
        for number, (stage, reason) in enumerate(fallen)
    )
    variation = Variation(row, {"topic": "t"}, more.pop("source", None))
    return RowOutcome(variation, ranked, rejected, Cost(), "sha", **more)


class Distinct:
    """Accepts each text once; remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.items: list[Item] = []

    def check(self, item: Item) -> Drop | None:
        self.items.append(item)
        row = self.seen.get(item.fields["text"])
        return None if row is None else Drop("dedup", f"same as row {row}", str(row))

    def add(self, item: Item) -> None:
        assert item.fields["text"] not in self.seen
        self.seen[item.fields["text"]] = item.row


def stages(committed: Committed) -> list[str]:
    return [verdict.stage or "accepted" for verdict in committed.verdicts]


def accepted(committed: Committed) -> list[tuple[int, str]]:
    return [(rank, one.candidate.text) for rank, one in committed.accepted]


def test_the_best_alone_is_offered_without_fallback() -> None:
    curation = Curation([Distinct()], None, False, 1)
    assert accepted(curation.commit(outcome(0, ["a", "b"]))) == [(0, "a")]
    second = curation.commit(outcome(1, ["a", "b", "c"]))
    assert accepted(second) == []
    assert stages(second) == ["dedup", "select", "select"]
    assert second.verdicts[0].matched == "0"
    assert second.verdicts[1].reason == "not among the best 1"


def test_a_later_candidate_replaces_one_that_fell_with_fallback() -> None:
    curation = Curation([Distinct()], None, True, 2)
    curation.commit(outcome(0, ["a", "c"]))
    second = curation.commit(outcome(1, ["a", "b", "c", "d", "e"]))
    assert accepted(second) == [(0, "b"), (1, "d")]
    assert stages(second) == ["dedup", "accepted", "dedup", "accepted", "select"]


def test_it_stops_at_the_target_exactly() -> None:
    curation = Curation([], 3, False, 2)
    curation.commit(outcome(0, ["a", "b"]))
    assert not curation.reached
    cut = curation.commit(outcome(1, ["c", "d", "e"], [("parse", "invalid")]))
    assert accepted(cut) == [(0, "c")]
    assert stages(cut) == ["parse", "accepted", "unused", "select"]
    assert curation.reached
    before = (curation.accepted, curation.committed, curation.p_hat)
    past = curation.commit(outcome(2, ["f"], [("parse", "invalid"), ("call", "refused")]))
    assert stages(past) == ["unused"] * 3
    assert not past.accepted
    assert {verdict.scored.candidate.index for verdict in past.verdicts} == {100, 101, 0}
    assert (curation.accepted, curation.committed, curation.p_hat) == before
    assert curation.rejected_by_stage() == {"parse": 1, "select": 1, "unused": 4}


def test_a_candidate_cut_by_the_target_reaches_no_filter() -> None:
    distinct = Distinct()
    curation = Curation([distinct], 1, True, 3)
    curation.commit(outcome(0, ["a", "b", "c"]))
    assert [item.fields["text"] for item in distinct.items] == ["a"]
    assert distinct.seen == {"a": 0}


def test_a_filter_learns_only_of_what_all_filters_accepted() -> None:
    class NoB:
        def check(self, item: Item) -> Drop | None:
            return Drop("filter", "holds b") if "b" in item.fields["text"] else None

        def add(self, item: Item) -> None: ...

    distinct = Distinct()
    curation = Curation([distinct, NoB()], None, False, 1)
    for row, text in enumerate(["b", "b", "a", "a"]):
        curation.commit(outcome(row, [text]))
    assert distinct.seen == {"a": 2}
    assert curation.rejected_by_stage() == {"filter": 2, "dedup": 1}


def test_filters_see_columns_and_scope() -> None:
    distinct = Distinct()
    curation = Curation([distinct], None, False, 1)
    curation.commit(
        outcome(0, ["a"], columns={"id": 7, "text": "hidden"}, context={"draft": {"x": 1}}, source={"id": 7})
    )
    assert distinct.items[0].fields == {"id": 7, "text": "a"}
    assert distinct.items[0].scope == {"topic": "t", "row": 0, "draft": {"x": 1}, "source": {"id": 7}}
    curation.commit(outcome(1, ["b"]))
    assert "source" not in distinct.items[1].scope


def test_rows_out_of_order_are_a_bug() -> None:
    curation = Curation([], None, False, 1)
    curation.commit(outcome(0, ["a"]))
    for wrong in (0, 2):
        with pytest.raises(FactoryError, match="where row 1 was due") as raised:
            curation.commit(outcome(wrong, ["a"]))
        assert raised.value.code == "internal"
    curation.commit(outcome(1, ["a"]))


def test_p_hat_and_acceptance() -> None:
    curation = Curation([Distinct()], None, False, 2)
    assert (curation.p_hat, curation.acceptance) == (1.0, 0.0)
    curation.commit(outcome(0, ["a", "b"]))
    assert (curation.p_hat, curation.acceptance) == (1.5, 2.0)
    curation.commit(outcome(1, []))
    curation.commit(outcome(2, ["a"]))
    assert (curation.p_hat, curation.acceptance) == (0.75, pytest.approx(2 / 3))


def test_reasons_are_counted_with_their_numbers_folded() -> None:
    curation = Curation([Distinct()], None, False, 1)
    for row, text in enumerate(["a", "b", "a", "b", "b"]):
        curation.commit(outcome(row, [text], [("score", f"length {row * 10 + 0.5} of 1,000")] if row < 2 else []))
    assert curation.top_reasons(5) == [("dedup", "same as row #", 3), ("score", "length # of #", 2)]
    assert curation.top_reasons(1) == [("dedup", "same as row #", 3)]
    assert [verdict.row for verdict in curation.examples("dedup")] == [2, 3, 4]
    assert curation.examples("call") == ()


def test_the_table_of_reasons_stays_small() -> None:
    curation = Curation([], None, False, 1)
    letters = ["".join(chr(97 + int(digit)) for digit in str(row)) for row in range(3 * REASONS)]
    for row, word in enumerate(letters):
        curation.commit(outcome(row, [], [("parse", f"invalid: {word}")] * 2))
    table = curation.top_reasons(10**6)
    assert len(table) == REASONS + 1
    assert table[0] == ("parse", "other reasons", 4 * REASONS)
    assert sum(count for *_, count in table) == 6 * REASONS
    assert len(curation.examples("parse")) == 3


def test_unused_candidates_are_no_reason_to_worry() -> None:
    curation = Curation([], 1, False, 1)
    for row in range(3):
        curation.commit(outcome(row, ["a"]))
    assert curation.top_reasons(5) == []


def warned(texts: Sequence[str], target: int | None, max_planned: int | None) -> str | None:
    curation = Curation([Distinct()], target, False, 1)
    for row, text in enumerate(texts):
        assert row >= WARN_AFTER or curation.early_warning(max_planned) is None
        curation.commit(outcome(row, [text], [("parse", "invalid: no JSON")] if row % 4 == 0 else []))
    return curation.early_warning(max_planned)


def test_early_warning() -> None:
    few = [str(row % 20) for row in range(300)]
    message = warned(few, 100, 400)
    assert message is not None
    assert "the first 200 planned rows gave 20 of the dataset" in message
    assert "400 planned rows (max_planned) give about 40 of the 100 wanted" in message
    assert "most fall at `dedup` (180 of 230 rejects), such as row 20: same as row 0" in message
    assert warned(few[:200], 100, 400) == message
    assert warned(few, 100, 1000) is None
    assert warned(few, 100, None) is None
    assert warned(few, None, 400) is None
    assert warned(few[:199], 100, 400) is None
    assert warned([str(row) for row in range(300)], 100, 400) is None


def test_early_warning_without_any_candidate() -> None:
    curation = Curation([], 5, False, 1)
    for row in range(WARN_AFTER):
        curation.commit(outcome(row, []))
    message = curation.early_warning(400)
    assert message is not None
    assert message.endswith("give about 0 of the 5 wanted")


def dedup() -> list[Filter]:
    return compile_filters([PluginConfig.model_validate({"dedup": {"on": "text"}})], ["text"])


def expected_rows(rows: Sequence[Sequence[str]], target: int | None, fallback: bool, top_k: int) -> list[list[str]]:
    """The accepted texts by row, written as plainly as the rule is said."""
    seen: set[str] = set()
    total, found = 0, []
    for texts in rows:
        kept: list[str] = []
        for text in texts if fallback else texts[:top_k]:
            if text not in seen and len(kept) < top_k and (target is None or total < target):
                seen.add(text)
                kept.append(text)
                total += 1
        found.append(kept)
    return found


WORDS = ["apple", "bridge", "candle", "dragon", "engine", "forest"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=4), max_size=12),
    st.none() | st.integers(1, 6),
    st.booleans(),
    st.integers(1, 3),
)
def test_every_candidate_gets_one_verdict(
    rows: list[list[str]], target: int | None, fallback: bool, top_k: int
) -> None:
    curation = Curation(dedup(), target, fallback, top_k)
    stage_counts: Counter[str] = Counter()
    for row, texts in enumerate(rows):
        given_row = outcome(row, texts, [("parse", "empty")])
        committed = curation.commit(given_row)
        assert accepted(committed) == list(enumerate(expected_rows(rows, target, fallback, top_k)[row]))
        assert [one for _, one in committed.accepted] == [v.scored for v in committed.verdicts if v.accepted]
        offered = [verdict.scored for verdict in given_row.rejected] + list(given_row.ranked)
        assert [verdict.scored for verdict in committed.verdicts] == offered
        for verdict in committed.verdicts:
            assert verdict.row == row
            assert verdict.accepted or (verdict.stage in STAGES and verdict.reason)
            stage_counts[verdict.stage] += not verdict.accepted
    assert curation.accepted == sum(map(len, expected_rows(rows, target, fallback, top_k)))
    assert curation.rejected_by_stage() == {stage: n for stage in STAGES if (n := stage_counts[stage])}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=3), max_size=10), st.integers(1, 4), st.integers(0, 5))
def test_a_higher_target_extends(rows: list[list[str]], target: int, more: int) -> None:
    def kept(wanted: int) -> list[tuple[int, str]]:
        curation = Curation(dedup(), wanted, True, 2)
        done = [curation.commit(outcome(row, texts)) for row, texts in enumerate(rows)]
        return [(one.row, text) for one in done for _, text in accepted(one)]

    few, many = kept(target), kept(target + more)
    assert many[: len(few)] == few
    assert len(few) <= target
