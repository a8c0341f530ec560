"""The order of a run: rows finish as they like and are committed in order, within bounds, whatever goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import window as module
from factory.budget import Budget
from factory.calling import Draining, ReplayMiss
from factory.curation import Committed, Curation
from factory.errors import BudgetSpent, ServerUnreachable, StorageFull
from factory.filters.unique import Unique
from factory.types import Candidate, Cost, Message, Request, RowOutcome, Sampling, Scored, Variation
from factory.window import Window


def outcome(row: int, text: str | None = None, size: int = 0) -> RowOutcome:
    words = (text if text is not None else f"text {row}") + "x" * size
    candidate = Candidate(row, "main", 0, words, "stop", 1, "m", {"text": words})
    return RowOutcome(Variation(row, {}), (Scored(candidate),), (), Cost(), "sha")


def request(row: int) -> Request:
    return Request("m", "m", (Message("user", "x"),), Sampling(), 1, 1, row, "main", "generate", 0)


class Rows:
    """Stands in for `make_row`: rows finish in a random order; `made` counts how often each was computed."""

    def __init__(self, seed: int = 0, journaled: int = 0, make: Callable[[int], RowOutcome] = outcome):
        self.draw = random.Random(seed)
        self.journaled = set(range(journaled))
        self.make = make
        self.made: list[int] = []
        self.running = self.most_running = 0
        self.faults: dict[int, BaseException] = {}
        self.gates: dict[int, asyncio.Event] = {}

    async def __call__(self, generation: Any, row: int) -> RowOutcome:
        self.made.append(row)
        if row in self.journaled:
            return self.make(row)
        if not generation.calls.live:
            raise ReplayMiss(request(row))
        if generation.calls.draining:
            raise Draining
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if row in self.gates:
                await self.gates[row].wait()
            for _ in range(self.draw.randrange(8)):
                await asyncio.sleep(0)
            if row in self.faults:
                raise self.faults[row]
        finally:
            self.running -= 1
        self.journaled.add(row)
        return self.make(row)


class Stage:
    """A window over stand-ins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: Rows, **options: Any):
        self.rows = rows
        self.calls = SimpleNamespace(live=False, draining=False)
        self.calls.drain = lambda: setattr(self.calls, "draining", True)
        self.calls.abandon = self.calls.drain
        self.written: list[int] = []
        target, limit = options.get("target"), options.get("limit", 50)
        self.curation = Curation(options.get("filters", []), target, False, 1)
        self.budget = options.get("budget", Budget(None))
        generation: Any = SimpleNamespace(calls=self.calls)
        self.window = Window(
            generation, self.curation, self.budget, self.sink, target, limit, options.get("in_flight", 8)
        )
        monkeypatch.setattr(module, "make_row", rows)

    def sink(self, row: RowOutcome, committed: Committed) -> None:
        assert row.row == committed.row
        self.written.append(row.row)

    async def run(self) -> None:
        await self.window.replay()
        self.calls.live = True
        await asyncio.wait_for(self.window.advance(), 60)
        assert self.rows.running == 0 and self.window.running == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    journaled=st.integers(0, 60),
    in_flight=st.integers(1, 40),
    target=st.none() | st.integers(1, 70),
    modulus=st.integers(2, 60),
)
def test_rows_are_committed_in_order_whatever_order_they_finish_in(
    seed: int, journaled: int, in_flight: int, target: int | None, modulus: int
) -> None:
    """With a first-wins filter, the accepted rows are those of a plain loop over the plan."""
    limit = 60

    def make(row: int) -> RowOutcome:
        return outcome(row, f"text {row * 7 % modulus}")

    with pytest.MonkeyPatch.context() as monkeypatch:
        rows = Rows(seed, journaled, make)
        stage = Stage(monkeypatch, rows, target=target, limit=limit, in_flight=in_flight, filters=[unique()])
        asyncio.run(stage.run())
    seen: list[str] = []
    for row in range(limit):
        if len(seen) == target:
            break
        text = f"text {row * 7 % modulus}"
        if text not in seen:
            seen.append(text)
    assert stage.window.accepted == len(seen)
    assert stage.written == list(range(len(stage.written)))
    assert rows.most_running <= in_flight
    if target is None or len(seen) < target:
        assert stage.written == list(range(limit))


def unique() -> Any:
    return Unique(on=["text"])


def test_the_journal_is_replayed_up_to_the_first_gap_and_not_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(journaled=10)
    rows.journaled -= {6}
    stage = Stage(monkeypatch, rows, limit=12)
    asyncio.run(stage.window.replay())
    assert stage.written == [0, 1, 2, 3, 4, 5] and stage.window.miss is not None and stage.window.miss.request.row == 6
    assert rows.made == list(range(7))


def test_a_finished_run_replays_only_as_far_as_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(journaled=40)
    stage = Stage(monkeypatch, rows, target=5, limit=40)
    asyncio.run(stage.window.replay())
    assert stage.window.reached and rows.made == [0, 1, 2, 3, 4] and stage.window.miss is None


def test_one_slow_row_stalls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows()
    rows.gates[0] = asyncio.Event()
    stage = Stage(monkeypatch, rows, limit=50, in_flight=4)

    async def run() -> None:
        task = asyncio.create_task(stage.run())
        while len(rows.journaled) < 49:
            await asyncio.sleep(0)
        assert stage.written == []
        rows.gates[0].set()
        await task

    asyncio.run(run())
    assert stage.written == list(range(50))


def test_what_waits_beyond_the_byte_cap_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 20_000)
    rows = Rows(make=lambda row: outcome(row, size=1000))
    rows.gates[0] = asyncio.Event()
    stage = Stage(monkeypatch, rows, limit=50, in_flight=4)

    async def run() -> None:
        task = asyncio.create_task(stage.run())
        while len(rows.journaled) < 49:
            await asyncio.sleep(0)
        assert stage.window._waiting_bytes <= 20_000
        rows.gates[0].set()
        await task

    asyncio.run(run())
    assert stage.written == list(range(50))
    again = [row for row in range(50) if rows.made.count(row) > 1]
    assert 40 <= len(again) < 50 and max(map(rows.made.count, again)) == 2
    assert stage.window._waiting_bytes == 0


@pytest.mark.parametrize("rate", [1, 3])
def test_what_is_started_past_the_target_is_bounded(monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    """Every `rate`-th row is accepted. Rows made and not needed are few, though 64 may run."""
    rows = Rows(make=lambda row: outcome(row, f"text {row // rate}"))
    stage = Stage(monkeypatch, rows, target=60, limit=10_000, in_flight=64, filters=[unique()])
    asyncio.run(stage.run())
    needed = 60 * rate - (rate - 1)
    assert stage.window.accepted == 60
    assert needed <= len(rows.made) <= needed * 1.25 + 10


@pytest.mark.parametrize("error", [ServerUnreachable("gone"), ZeroDivisionError("a bug")])
def test_a_failure_lets_what_is_in_flight_finish_and_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    rows = Rows(seed=3)
    rows.faults[9] = error
    stage = Stage(monkeypatch, rows, limit=1000, in_flight=8)
    asyncio.run(stage.run())
    assert stage.window.failure is error
    assert stage.written == list(range(9)), "everything before the row that failed"
    assert max(rows.made) < 60


def test_a_bug_is_told_before_a_mere_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows()
    bug = ZeroDivisionError("a bug")
    rows.faults = {0: BudgetSpent("spent"), 5: bug}
    rows.gates[5] = asyncio.Event()
    stage = Stage(monkeypatch, rows, limit=20, in_flight=8)

    async def run() -> None:
        task = asyncio.create_task(stage.run())
        while stage.window.failure is None:
            await asyncio.sleep(0)
        rows.gates[5].set()
        await task

    asyncio.run(run())
    assert stage.window.failure is bug


def test_a_sink_that_fails_ends_the_run_after_the_calls_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(seed=1)
    stage = Stage(monkeypatch, rows, limit=500, in_flight=8)
    full = StorageFull("the disk is full")

    def sink(row: RowOutcome, committed: Committed) -> None:
        if row.row == 20:
            raise full
        stage.sink(row, committed)

    stage.window.sink = sink
    asyncio.run(stage.run())
    assert stage.window.failure is full and stage.written == list(range(20))
    assert rows.running == 0 and len(rows.made) < 80


def test_cancelled_rows_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANCEL_AFTER_S", 0.0)
    rows = Rows()
    rows.gates = {row: asyncio.Event() for row in range(5, 500)}
    stage = Stage(monkeypatch, rows, limit=500, in_flight=8)

    async def run() -> None:
        task = asyncio.create_task(stage.run())
        while len(stage.written) < 5:
            await asyncio.sleep(0)
        stage.window.cancel()
        await task

    asyncio.run(run())
    assert stage.written == [0, 1, 2, 3, 4] and stage.window.failure is None


def test_a_budget_admits_whole_rows_and_says_when_none_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(1000)
    monkeypatch.setattr(module, "row_worst_case", lambda generation, row: 300)
    rows = Rows()
    stage = Stage(monkeypatch, rows, limit=50, in_flight=8, budget=budget)
    make = rows.make

    def pay(row: int) -> RowOutcome:
        budget.spent += 90  # what the row's calls really cost, less than their worst case
        return make(row)

    rows.make = pay
    asyncio.run(stage.run())
    assert rows.most_running <= 3
    assert isinstance(stage.window.failure, BudgetSpent)
    assert budget.spent <= 1000 and budget.spent + 300 > 1000
    assert stage.written == list(range(len(stage.written)))
