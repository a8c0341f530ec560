"""The budget against a simulated server that bills what it likes up to the bound: never over the cap, never stuck."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from factory.budget import OPEN_SHARE, Budget, Reservation
from factory.errors import BudgetSpent, FactoryError, UsageError


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; a task that nobody wakes up is a failure, not a hang."""
    return asyncio.run(asyncio.wait_for(work, 20))


@dataclass
class Server:
    """Bills at most the bound. `lost`: the share of attempts whose answer does not arrive, billed or not."""

    draw: random.Random
    errors: float
    lost: float
    frugal: float
    billed: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    attempts: int = 0

    async def call(self, bound: int) -> tuple[str, int | None]:
        """The outcome, and the cost as far as it is known."""
        self.attempts += 1
        self.in_flight += bound
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            for _ in range(self.draw.randrange(4)):
                await asyncio.sleep(0)
            kind = self.draw.random()
            if kind < self.errors:
                return "error", 0
            cost = self.draw.randint(int(bound * self.frugal), bound)
            self.billed += cost
            return ("lost", None) if kind < self.errors + self.lost else ("ok", cost)
        finally:
            self.in_flight -= bound


@dataclass
class Run:
    """A runner in miniature: rows in a window, admitted oldest first; attempts are repeated until one is answered."""

    budget: Budget
    server: Server
    rows: dict[int, list[int]]
    done: set[tuple[int, int]] = field(default_factory=set)
    window: int = 8
    parallel: bool = False
    entering: bool = False
    cancels: float = 0.0

    def worst(self, row: int) -> int:
        return sum(2 * bound for call, bound in enumerate(self.rows[row]) if (row, call) not in self.done)

    async def make_call(self, row: int, call: int) -> None:
        bound = self.rows[row][call]
        while (row, call) not in self.done:
            reservation = await self.budget.reserve(row, bound)
            self.check()
            try:
                outcome, cost = await self.server.call(bound)
            except asyncio.CancelledError:  # in flight: whoever cancels does not know what it cost
                self.budget.settle(reservation, None)
                raise
            self.budget.settle(reservation, cost)
            self.check()
            if outcome == "ok":
                self.done.add((row, call))

    def check(self) -> None:
        cap = self.budget.cap
        assert cap is not None
        assert self.budget.spent + self.budget.open <= cap
        assert self.server.billed <= self.budget.spent + self.budget.open

    async def make_row(self, row: int) -> None:
        calls = [call for call in range(len(self.rows[row])) if (row, call) not in self.done]
        try:
            if self.entering:
                await self.budget.enter(row, self.worst(row))
            if self.parallel:
                async with asyncio.TaskGroup() as group:
                    for call in calls:
                        group.create_task(self.make_call(row, call))
            else:
                for call in calls:
                    await self.make_call(row, call)
        finally:
            self.budget.release(row)

    async def go(self, kill_after: int | None = None) -> bool:
        """True when all rows are done, False when the budget is spent or the run was killed."""
        todo = [row for row in sorted(self.rows) if self.worst(row)]
        running: dict[asyncio.Task[None], int] = {}
        spent_out = False
        while (todo and not spent_out) or running:
            while todo and not spent_out and len(running) < self.window:
                row = todo[0]
                if not self.entering:
                    if not self.budget.can_admit(self.worst(row)):
                        if not running:
                            with pytest.raises(BudgetSpent):
                                self.budget.admit(row, self.worst(row))
                            spent_out = True
                        break
                    self.budget.admit(row, self.worst(row))
                running[asyncio.create_task(self.make_row(todo.pop(0)))] = row
            if not running:
                break
            if kill_after is not None and self.server.attempts >= kill_after:
                for task in running:
                    task.cancel()
                return False
            if self.cancels and self.server.draw.random() < self.cancels:
                self.server.draw.choice(list(running)).cancel()
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            spent_out = self.collect(finished, running, todo) or spent_out
        return not any(self.worst(row) for row in self.rows)

    def collect(self, finished: set[Any], running: dict[asyncio.Task[None], int], todo: list[int]) -> bool:
        """Take out what has ended; a cancelled row is done again. True when one was told that the budget is spent."""
        told = False
        for task in finished:
            row = running.pop(task)
            if task.cancelled():
                todo.insert(0, row)
            elif (error := task.exception()) is not None:
                errors = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
                assert all(isinstance(one, BudgetSpent) for one in errors), errors
                told = True
        return told


rows = st.lists(st.lists(st.integers(1, 1000), min_size=1, max_size=5), min_size=30, max_size=120)


@settings(max_examples=120, deadline=None)
@given(
    rows=rows,
    seed=st.integers(0, 2**32),
    worth=st.floats(20, 60),
    errors=st.sampled_from([0.0, 0.1, 0.5]),
    lost=st.sampled_from([0.0, 0.05, 0.4]),
    frugal=st.sampled_from([0.0, 0.5, 1.0]),
    window=st.sampled_from([1, 3, 16, 64]),
    parallel=st.booleans(),
    entering=st.booleans(),
)
def test_never_over_the_cap_and_nine_tenths_used(
    rows: list[list[int]],
    seed: int,
    worth: float,
    errors: float,
    lost: float,
    frugal: float,
    window: int,
    parallel: bool,
    entering: bool,
) -> None:
    """A cap worth at least 20 worst-case rows is used to 90% before the run gives up, whatever the faults."""
    plan = dict(enumerate(rows))
    cap = int(worth * max(sum(2 * bound for bound in row) for row in rows))
    budget, server = Budget(cap), Server(random.Random(seed), errors, lost, frugal)
    trial = Run(budget, server, plan, window=window, parallel=parallel, entering=entering)
    done = run(trial.go())
    assert server.billed <= budget.spent <= cap
    assert budget.open == 0 and budget.free == cap - budget.spent
    assert server.most_in_flight <= max(cap // OPEN_SHARE, max(max(row) for row in rows))
    assert budget.overrun == 0
    if not done:
        assert budget.spent >= 0.9 * cap
    again = Run(Budget(cap * 1000, budget.spent), server, plan, trial.done, window, parallel, entering)
    assert run(again.go())  # a higher budget completes it


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kills=st.lists(st.integers(1, 60), max_size=4),
    lost=st.sampled_from([0.0, 0.1]),
    parallel=st.booleans(),
    entering=st.booleans(),
)
def test_kills_count_open_leases_in_full(
    seed: int, kills: list[int], lost: float, parallel: bool, entering: bool
) -> None:
    draw = random.Random(seed)
    plan = {row: [draw.randint(1, 1000) for _ in range(draw.randint(1, 4))] for row in range(200)}
    cap = 24 * max(sum(2 * bound for bound in row) for row in plan.values())
    server, spent, lost_to_kills = Server(draw, 0.05, lost, 0.3), 0, 0
    done: set[tuple[int, int]] = set()

    async def killed(trial: Run, after: int) -> tuple[bool, int]:
        finished = await trial.go(trial.server.attempts + after)
        return finished, trial.budget.open  # as the journal finds its leases: nothing settled after the kill

    finished = False
    for after in kills:
        trial = Run(Budget(cap, spent), server, plan, done, 12, parallel, entering)
        finished, leased = run(killed(trial, after))
        lost_to_kills += leased
        spent = trial.budget.spent + leased
        assert server.billed <= spent <= cap
        if finished:
            break
    trial = Run(Budget(cap, spent), server, plan, done, 12, parallel, entering)
    finished = run(trial.go())
    assert server.billed <= trial.budget.spent <= cap
    if not finished:
        assert trial.budget.spent >= 0.9 * cap
        assert lost_to_kills <= len(kills) * cap // OPEN_SHARE
        if len(kills) <= 1:
            assert trial.budget.spent - lost_to_kills >= 0.8 * cap


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), parallel=st.booleans(), entering=st.booleans())
def test_cancelled_rows_wake_the_others_and_leak_nothing(seed: int, parallel: bool, entering: bool) -> None:
    draw = random.Random(seed)
    plan = {row: [draw.randint(1, 100) for _ in range(draw.randint(1, 3))] for row in range(60)}
    server = Server(draw, 0.1, 0.1, 0.5)
    budget = Budget(40_000)
    trial = Run(budget, server, plan, window=10, parallel=parallel, entering=entering, cancels=0.4)
    run(trial.go())
    assert server.billed <= budget.spent <= 40_000
    assert budget.open == 0 and budget.free == 40_000 - budget.spent


class Steps(RuleBasedStateMachine):
    """Single steps in any order: reservations, settlements, admissions, cancellations."""

    @initialize(cap=st.integers(100, 5000), spent=st.integers(0, 50))
    def begin(self, cap: int, spent: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.budget = Budget(cap, spent)
        self.cap, self.row = cap, 0
        self.admitted: set[int] = set()
        self.waiting: dict[asyncio.Task[Reservation], int] = {}
        self.held: list[Reservation] = []

    def spin(self) -> None:
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [task for task in self.waiting if task.done()]:
            amount = self.waiting.pop(task)
            if not task.cancelled() and isinstance(task.exception(), BudgetSpent):
                assert self.budget.free < amount
            elif not task.cancelled():
                self.held.append(task.result())

    @rule(worst=st.integers(0, 800))
    def admit(self, worst: int) -> None:
        if self.budget.can_admit(worst):
            self.budget.admit(self.row, worst)
            self.admitted.add(self.row)
            self.row += 1

    @precondition(lambda self: self.row > 0)
    @rule(data=st.data(), amount=st.integers(0, 400))
    def reserve(self, data: st.DataObject, amount: int) -> None:
        row = data.draw(st.integers(-1, self.row - 1))
        work = self.budget.reserve(None if row < 0 else row, amount)
        self.waiting[self.loop.create_task(work)] = amount
        self.spin()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), share=st.none() | st.floats(0, 1))
    def settle(self, data: st.DataObject, share: float | None) -> None:
        reservation = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        assert reservation.amount is not None
        self.budget.settle(reservation, None if share is None else int(share * reservation.amount))
        with pytest.raises(FactoryError, match="settled already"):
            self.budget.settle(reservation, 0)
        self.spin()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), settle_first=st.booleans())
    def cancel(self, data: st.DataObject, settle_first: bool) -> None:
        task = data.draw(st.sampled_from(list(self.waiting)))
        if settle_first and self.held:
            reservation = self.held.pop()
            self.budget.settle(reservation, 0)  # which may grant the very task that is cancelled in this turn
        task.cancel()
        self.spin()

    @precondition(lambda self: self.admitted)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(sorted(self.admitted)))
        self.admitted.discard(row)
        self.budget.release(row)
        self.spin()

    @invariant()
    def never_over_the_cap(self) -> None:
        if hasattr(self, "budget"):
            budget = self.budget
            assert budget.open == sum(reservation.amount or 0 for reservation in self.held)
            assert budget.free >= 0 or budget.spent >= self.cap - budget.open - budget._promised
            assert budget.spent + budget.open <= max(self.cap, budget.spent if not self.held else 0)
            assert len(self.held) <= 1 or budget.open <= max(
                self.cap // OPEN_SHARE, max(reservation.amount or 0 for reservation in self.held)
            )

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """With nothing in flight a task waits only for a row that is admitted and can still move."""
        if hasattr(self, "budget") and not self.held and self.waiting:
            rows = {waiter.row for waiter in self.budget._attempts}
            assert not self.budget._shares.keys() <= rows

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for task in self.waiting:
                task.cancel()
            self.spin()
            for reservation in self.held:
                self.budget.settle(reservation, 0)
            for row in self.admitted:
                self.budget.release(row)
            assert self.budget.open == 0 and self.budget._promised == 0 and not self.budget._attempts
            self.loop.close()


Steps.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSteps = Steps.TestCase


def test_without_a_cap_everything_passes() -> None:
    async def work() -> None:
        budget = Budget(None, 5)
        assert budget.can_admit(None)
        budget.admit(0, None)
        await budget.enter(1, None)
        held = [await budget.reserve(row, amount) for row, amount in ((0, None), (7, 10**15), (None, 3))]
        assert budget.open == 10**15 + 3
        for reservation, cost in zip(held, (12, None, 1), strict=True):
            budget.settle(reservation, cost)
        budget.release(0)
        assert (budget.spent, budget.open, budget.overrun, budget.free) == (5 + 12 + 10**15 + 1, 0, 0, 0)

    run(work())


def test_waiting_attempts_are_served_oldest_row_first() -> None:
    async def work() -> None:
        budget = Budget(2000)  # 100 may be open
        for row in range(5):
            budget.admit(row, 200)
        first = await budget.reserve(4, 100)
        order: list[int] = []

        async def take(row: int, amount: int) -> None:
            reservation = await budget.reserve(row, amount)
            order.append(row)
            await asyncio.sleep(0)
            budget.settle(reservation, amount)

        tasks = [asyncio.create_task(take(row, amount)) for row, amount in ((3, 30), (1, 90), (2, 10), (0, 80))]
        await asyncio.sleep(0)
        assert order == []
        budget.settle(first, 0)
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3]  # the small ones of younger rows do not overtake

    run(work())


def test_one_call_passes_however_large() -> None:
    async def work() -> None:
        budget = Budget(1000)
        budget.admit(0, 900)
        large = await budget.reserve(0, 900)
        small = asyncio.create_task(budget.reserve(0, 1))
        await asyncio.sleep(0)
        assert not small.done()
        budget.settle(large, 10)
        budget.settle(await small, 1)

    run(work())


def test_money_that_an_older_row_waits_for_is_not_given_to_younger_ones() -> None:
    async def work() -> None:
        budget = Budget(10_000)
        budget.admit(0, 400)
        budget.admit(1, 9_500)
        budget.settle(await budget.reserve(0, 400), None)  # lost: its worst case is used up
        again = asyncio.create_task(budget.reserve(0, 400))
        await asyncio.sleep(0)
        assert not again.done() and not budget.can_admit(50) and budget.free == 100
        younger = asyncio.create_task(budget.reserve(2, 50))
        await asyncio.sleep(0)
        assert not younger.done()
        own = await budget.reserve(1, 300)  # paid from what was promised to its row
        budget.settle(own, 100)
        assert not again.done()
        budget.release(1)
        budget.settle(await again, 5)
        budget.settle(await younger, 5)

    run(work())


def test_rows_that_block_each_other_give_way_youngest_first() -> None:
    """All in need of more than their worst case: the older ones still finish."""

    async def work() -> None:
        budget = Budget(4_000)
        for row in range(4):
            budget.admit(row, 1_000)
        for row in range(4):
            budget.settle(await budget.reserve(row, 600), None)
        tasks = [asyncio.create_task(budget.reserve(row, 600)) for row in range(4)]
        reservation = await tasks[0]
        assert not any(task.done() for task in tasks[1:])
        budget.settle(reservation, 600)
        budget.release(0)
        budget.settle(await tasks[1], 600)
        budget.release(1)
        with pytest.raises(BudgetSpent):
            await tasks[2]
        with pytest.raises(BudgetSpent):
            await tasks[3]
        assert (budget.spent, budget.open) == (3_600, 0)

    run(work())


def test_a_row_waits_to_enter_and_is_told_when_it_never_can() -> None:
    async def work() -> None:
        budget = Budget(1_000, spent_nano=300)
        await budget.enter(0, 600)
        await budget.enter(0, 600)  # it is in
        later = [asyncio.create_task(budget.enter(row, worst)) for row, worst in ((2, 150), (1, 500))]
        await asyncio.sleep(0)
        assert not any(task.done() for task in later)
        assert not budget.can_admit(1)
        budget.settle(await budget.reserve(0, 50), 50)
        budget.release(0)
        await asyncio.gather(*later)
        budget.settle(await budget.reserve(1, 500), None)
        budget.release(1)
        waiting = asyncio.create_task(budget.enter(3, 100))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.release(2)
        await waiting
        budget.release(3)
        with pytest.raises(BudgetSpent) as caught:
            await budget.enter(4, 10_000)
        assert caught.value.exit_code == 4 and "--budget" in caught.value.hint

    run(work())


def test_messages_tell_dollars() -> None:
    budget = Budget(2_000_000_000, 1_990_000_000)
    with pytest.raises(BudgetSpent, match=r"2\.000000 USD is reached: 1\.990000 USD are spent.* 0\.020000 USD"):
        budget.admit(0, 20_000_000)


def test_admitting_what_does_not_fit_now_is_a_fault() -> None:
    budget = Budget(1_000)
    budget.admit(0, 900)
    budget.admit(0, 900)
    with pytest.raises(FactoryError, match="can_admit"):
        budget.admit(1, 200)


def test_a_cap_needs_a_worst_case() -> None:
    async def work() -> None:
        budget = Budget(1_000)
        with pytest.raises(UsageError, match="worst case") as caught:
            await budget.reserve(0, None)
        assert "max_tokens" in caught.value.hint
        with pytest.raises(UsageError):
            budget.can_admit(None)
        with pytest.raises(UsageError):
            await budget.enter(0, None)

    run(work())


def test_a_server_that_bills_more_than_the_bound_is_noticed() -> None:
    async def work() -> None:
        budget = Budget(1_000)
        budget.admit(0, 500)
        budget.settle(await budget.reserve(0, 100), 170)
        assert (budget.spent, budget.overrun, budget.free) == (170, 70, 1_000 - 170 - 330)

    run(work())
