"""The call layer with scripted backends: what is asked, what is recorded, what it costs, and when it stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import health
from factory.budget import Budget
from factory.calling import Calls, Draining, OpenModel, ReplayMiss, worst_case
from factory.errors import (
    BadBody,
    BadRequest,
    BudgetSpent,
    CallFault,
    ConnectionFailed,
    ConnectionLost,
    ContextTooLong,
    FactoryError,
    Filtered,
    KeyRefused,
    ModelMissing,
    NoChoices,
    Overloaded,
    QuotaSpent,
    ServerFault,
    ServerUnreachable,
    StorageFull,
    Unauthorized,
)
from factory.health import Health, Patience, backoff
from factory.journal import Journal, Lease, Stored
from factory.prices import price_for
from factory.recipe.models import ModelConfig
from factory.types import Choice, LedgerEntry, Message, Request, Response, Sampling, Usage

PRICE = {"input": 1.0, "output": 10.0}  # 1,000 and 10,000 nano-USD a token
ANSWER = Response((Choice("hello", "stop"),), Usage(10, 5), "served")
ANSWER_NANO = 10 * 1_000 + 5 * 10_000
Step = Response | BaseException | Callable[[], Awaitable[Response]]


def ask(number: int = 0, row: int | None = None) -> Request:
    return Request(
        "m", "m", (Message("user", f"Say {number}."),), Sampling(max_tokens=20), 1, number,
        number if row is None else row, "main", "generate", 0,
    )  # fmt: skip


class Script:
    """A backend that follows a script: by row, what each attempt gives; the last entry for ever."""

    honours_n = True
    local = False

    def __init__(self, scripts: dict[int, Sequence[Step]] | None = None, otherwise: Step = ANSWER):
        self.scripts = scripts or {}
        self.otherwise = otherwise
        self.calls: list[int] = []

    async def generate(self, request: Request) -> Response:
        assert request.row is not None
        made = self.calls.count(request.row)
        self.calls.append(request.row)
        script = self.scripts.get(request.row, [self.otherwise])
        step = script[min(made, len(script) - 1)]
        if isinstance(step, BaseException):
            raise step
        return step if isinstance(step, Response) else await step()

    async def close(self) -> None:
        return None


class Setup:
    """Calls over a journal in a directory."""

    def __init__(self, path: Path, backend: Any, cap: int | None = None, *, slots: int = 8, **model: Any):
        self.notices: list[str] = []
        patience = model.pop("patience", None)
        retry_failed = model.pop("retry_failed", False)
        config = ModelConfig(**{"backend": "openai", "model": "m", "price": PRICE, "max_tokens": 20, **model})
        self.journal = Journal.open(path, writable=True, notice=self.notices.append, retry_failed=retry_failed)
        self.budget = Budget(cap, self.journal.spent_nano())
        price = price_for(config, local=False)
        self.model = OpenModel("writer", config, backend, price, slots)
        self.calls = Calls(
            self.journal, self.budget, {"writer": self.model}, notice=self.notices.append, patience=patience
        )
        self.calls.live = True

    async def __call__(self, request: Request) -> Stored:
        return await self.calls.call("writer", request)

    def ledger(self) -> list[LedgerEntry]:
        return list(self.journal.entries())


@contextlib.contextmanager
def opened(path: Path, backend: Any, cap: int | None = None, **options: Any) -> Iterator[Setup]:
    setup = Setup(path, backend, cap, **options)
    try:
        yield setup
    finally:
        setup.journal.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff without the wait; `backoff` itself is tested below, the pauses of the breaker in `test_admission`."""
    monkeypatch.setattr("factory.calling.backoff", lambda *_: 0.0)
    monkeypatch.setattr("factory.adaptive.REFUSED_PAUSES", (0.0, 1.0, 0.0))
    monkeypatch.setattr("factory.adaptive.FAILED_PAUSES", (0.0, 1.0, 0.0))


def test_a_journaled_call_is_replayed_without_a_call(tmp_path: Path) -> None:
    with opened(tmp_path, Script()) as setup:
        first = asyncio.run(setup(ask()))
    silent = Script()
    with opened(tmp_path, silent) as setup:
        setup.calls.live = False
        again = asyncio.run(setup(ask()))
        assert again.response == first.response == ANSWER and again.nano_usd == ANSWER_NANO
        assert silent.calls == [] and setup.calls.counters.replayed == 1 and setup.calls.served["writer"] == {"served"}
        with pytest.raises(ReplayMiss, match="row 1"):
            asyncio.run(setup(ask(1)))
        assert len(setup.ledger()) == 1


BOUND = worst_case(price_for(ModelConfig(backend="openai", model="m", price=PRICE), local=False), ask())
FAULTS: list[tuple[CallFault, str, int | None, int | None, int | None]] = [
    (Overloaded("slow down"), "overloaded", 0, None, 0),
    (ServerFault("HTTP 500", status=500), "server_error", 0, None, 0),
    (ConnectionFailed("refused"), "unreachable", 0, None, 0),
    (ConnectionLost("reset"), "lost", None, BOUND, None),
    (BadBody("garbage"), "bad_body", None, BOUND, None),
    (NoChoices("none", usage=Usage(10, 0)), "no_choices", 10_000, None, 10),
]


@pytest.mark.parametrize(("fault", "outcome", "nano", "bound", "tokens"), FAULTS, ids=lambda v: str(v)[:12])
@pytest.mark.parametrize("cap", [None, 10**9])
def test_a_transient_fault_is_tried_again_and_both_attempts_are_in_the_ledger(
    tmp_path: Path,
    fault: CallFault,
    outcome: str,
    nano: int | None,
    bound: int | None,
    tokens: int | None,
    cap: int | None,
) -> None:
    with opened(tmp_path, Script({0: [fault, ANSWER]}), cap) as setup:
        stored = asyncio.run(setup(ask()))
        failed, good = setup.ledger()
        assert stored.response == ANSWER and stored.nano_usd == ANSWER_NANO
        assert (failed.attempt, failed.outcome, failed.nano_usd, failed.upper_bound_nano_usd) == (
            1,
            outcome,
            nano,
            bound,
        )
        assert failed.prompt_tokens == tokens and failed.price_source == "recipe"
        assert (good.attempt, good.outcome, good.nano_usd, good.upper_bound_nano_usd) == (2, "ok", ANSWER_NANO, None)
        spent = ANSWER_NANO + (nano if nano is not None else bound or 0)
        assert setup.journal.spent_nano() == spent
        assert setup.budget.open == 0 and setup.budget.spent == (spent if cap else 0)
        assert list(setup.journal.leases()) == []


@pytest.mark.parametrize(
    "fault", [BadRequest("no", status=400), ContextTooLong("200 tokens are too many"), Filtered("filtered")]
)
def test_a_permanent_fault_is_recorded_and_replayed(tmp_path: Path, fault: CallFault) -> None:
    backend = Script({0: [fault]})
    with opened(tmp_path, backend) as setup:
        stored = asyncio.run(setup(ask()))
        assert (stored.outcome, stored.response, stored.message) == (fault.outcome, None, fault.message)
    with opened(tmp_path, backend) as setup:
        assert asyncio.run(setup(ask())).outcome == fault.outcome
        (entry,) = setup.ledger()
        assert entry.outcome == fault.outcome and entry.nano_usd == 0
    assert len(backend.calls) == 1
    with opened(tmp_path, Script(), retry_failed=True) as setup:
        assert asyncio.run(setup(ask())).response == ANSWER
        assert [entry.attempt for entry in setup.ledger()] == [1, 2]


@pytest.mark.parametrize("fault", [Unauthorized("bad key", status=401), QuotaSpent("empty"), ModelMissing("which?")])
def test_a_refusal_of_the_model_stops_the_run_and_is_no_end_of_the_call(tmp_path: Path, fault: CallFault) -> None:
    backend = Script({0: [fault, ANSWER]})
    with opened(tmp_path, backend, 10**9) as setup:
        with pytest.raises(KeyRefused) as caught:
            asyncio.run(setup(ask()))
        assert (
            caught.value.exit_code == 4
            and fault.message in caught.value.message
            and "same command" in caught.value.hint
        )
        assert setup.ledger()[0].outcome == fault.outcome and setup.budget.spent == 0
        assert asyncio.run(setup(ask())).response == ANSWER


def test_given_up_after_eight_failures_while_others_succeed(tmp_path: Path) -> None:
    others = iter(range(100, 10_000))

    async def fail() -> Response:
        await setup(ask(next(others)))  # another call succeeds before each failure
        raise ServerFault("HTTP 500", status=500)

    backend = Script({0: [fail]})
    with opened(tmp_path, backend) as setup:
        stored = asyncio.run(setup(ask()))
        assert stored.outcome == "gave_up" and stored.response is None
        assert "8 attempts" in stored.message and "HTTP 500" in stored.message
        mine = [entry for entry in setup.ledger() if entry.row == 0]
        assert [entry.outcome for entry in mine] == ["server_error"] * 7 + ["gave_up"]
        assert [entry.attempt for entry in mine] == list(range(1, 9))
    with opened(tmp_path, Script()) as setup:
        assert asyncio.run(setup(ask())).outcome == "gave_up"
    with opened(tmp_path, Script(), retry_failed=True) as setup:
        assert asyncio.run(setup(ask())).response == ANSWER
        assert setup.ledger()[-1].attempt == 9


def test_an_outage_gives_up_no_call(tmp_path: Path) -> None:
    """Two calls succeed, then the server is out for 30 attempts of every call, then it is back."""
    backend = Script({row: [ServerFault("HTTP 502", status=502)] * 30 + [ANSWER] for row in range(6)})
    with opened(tmp_path, backend) as setup:

        async def run() -> list[Stored]:
            await asyncio.gather(setup(ask(100)), setup(ask(101)))
            return await asyncio.gather(*(setup(ask(row)) for row in range(6)))

        assert [stored.outcome for stored in asyncio.run(run())] == ["ok"] * 6
        assert backend.calls.count(0) == 31


def test_a_last_call_alone_is_given_up_too(tmp_path: Path) -> None:
    with opened(tmp_path, Script({0: [ServerFault("HTTP 500", status=500)]})) as setup:
        assert asyncio.run(setup(ask())).outcome == "gave_up"
        assert len(setup.ledger()) == health.GIVE_UP_ALONE


def test_a_busy_server_is_not_the_calls_fault(tmp_path: Path) -> None:
    others = iter(range(100, 10_000))

    async def refuse() -> Response:
        await setup(ask(next(others)))
        raise Overloaded("slow down")

    with opened(tmp_path, Script({0: [refuse] * 30 + [ANSWER]})) as setup:
        assert asyncio.run(setup(ask())).outcome == "ok"


def test_an_address_that_refuses_ends_the_run_soon(tmp_path: Path) -> None:
    patience = Patience(silent=60, refused=0.0, answered=60)
    with opened(tmp_path, Script(otherwise=ConnectionFailed("refused")), patience=patience) as setup:
        with pytest.raises(ServerUnreachable, match="not answered at all: refused") as caught:
            asyncio.run(setup(ask()))
        assert caught.value.exit_code == 4
        assert {(entry.outcome, entry.nano_usd) for entry in setup.ledger()} == {("unreachable", 0)}


def test_a_silent_server_ends_the_run(tmp_path: Path) -> None:
    patience = Patience(silent=0.0, refused=60, answered=60)
    with opened(tmp_path, Script(otherwise=ConnectionLost("no whole answer")), patience=patience) as setup:
        with pytest.raises(ServerUnreachable, match="not answered at all"):
            asyncio.run(setup(ask()))
        assert setup.ledger()[0].upper_bound_nano_usd == BOUND


@pytest.mark.parametrize("alive", [True, False])
def test_silence_is_looked_into_before_the_timeout(tmp_path: Path, alive: bool) -> None:
    """Nothing came for a while: a server that is gone ends the run, one that is only slow is waited for."""
    asked: list[float] = []
    looked = asyncio.Event()

    async def slowly() -> Response:
        await looked.wait()
        if not alive:
            await asyncio.Event().wait()
        return ANSWER

    class Watched(Script):
        async def responds(self, seconds: float) -> bool:
            asked.append(seconds)
            looked.set()
            return alive

    with opened(tmp_path, Watched({0: [slowly]}), 10**9, patience=Patience(silent=0.03)) as setup:
        if alive:
            assert asyncio.run(setup(ask(0))).response == ANSWER
        else:
            with pytest.raises(ServerUnreachable, match="not answered at all"):
                asyncio.run(setup(ask(0)))
            assert setup.ledger()[0].outcome == "lost" and setup.budget.spent == BOUND
        assert len(asked) == 1 and setup.budget.open == 0


def test_a_server_that_has_answered_is_waited_for(tmp_path: Path) -> None:
    patience = Patience(silent=0.0, refused=0.0, answered=60)
    down = [ConnectionFailed("refused")] * 50
    with opened(tmp_path, Script({1: [*down, ANSWER]}), patience=patience) as setup:
        asyncio.run(setup(ask(0)))
        assert asyncio.run(setup(ask(1))).response == ANSWER
    impatient = Patience(silent=60, refused=60, answered=0.0)
    with opened(tmp_path / "b", Script({1: down}), patience=impatient) as setup:
        asyncio.run(setup(ask(0)))
        with pytest.raises(ServerUnreachable, match="no usable answer for 0 s"):
            asyncio.run(setup(ask(1)))


def test_twenty_refused_rows_stop_the_run(tmp_path: Path) -> None:
    refusal = BadRequest("HTTP 400: never", status=400)
    with opened(tmp_path, Script(otherwise=refusal)) as setup:

        async def run() -> int:
            for row in range(100):
                await setup(ask(row, row=row // 2))  # two calls a row: rows count, not calls
            return row

        with pytest.raises(ServerUnreachable, match=r"refused 20 rows.*never") as caught:
            asyncio.run(run())
        assert "--retry-failed" in caught.value.hint
        assert len(setup.ledger()) == 39


def test_a_success_between_refusals_keeps_the_run_going(tmp_path: Path) -> None:
    refusal = BadRequest("HTTP 400: never", status=400)
    with opened(tmp_path, Script({row: [refusal] for row in range(100) if row % 19}, ANSWER)) as setup:

        async def run() -> None:
            for row in range(100):
                await setup(ask(row))

        asyncio.run(run())


def test_draining_wakes_sleepers_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.calling.backoff", lambda *_: 3600.0)
    failed = asyncio.Event()

    async def fail() -> Response:
        failed.set()
        raise ServerFault("HTTP 500", status=500)

    backend = Script({0: [fail]})
    with opened(tmp_path, backend, 10**9) as setup:

        async def run() -> list[Any]:
            sleeper = asyncio.create_task(setup(ask(0)))
            await failed.wait()
            await asyncio.sleep(0)
            setup.calls.drain()
            late = asyncio.create_task(setup(ask(1)))
            return await asyncio.gather(sleeper, late, return_exceptions=True)

        assert [type(result) for result in asyncio.run(run())] == [Draining, Draining]
        assert backend.calls == [0] and len(setup.ledger()) == 1
        assert setup.budget.open == 0 and setup.budget.spent == 0


@pytest.mark.parametrize("cap", [None, 10**9])
@pytest.mark.parametrize("how", ["cancel", "abandon"])
def test_what_is_given_up_in_flight_is_recorded_as_lost(tmp_path: Path, cap: int | None, how: str) -> None:
    sent = asyncio.Event()

    async def hang() -> Response:
        sent.set()
        await asyncio.Event().wait()
        raise AssertionError

    with opened(tmp_path, Script({0: [hang]}), cap) as setup:

        async def run() -> None:
            task = asyncio.create_task(setup(ask(0)))
            await sent.wait()
            task.cancel() if how == "cancel" else setup.calls.abandon()
            await task

        with pytest.raises(asyncio.CancelledError if how == "cancel" else Draining):
            asyncio.run(run())
        (entry,) = setup.ledger()
        assert (entry.outcome, entry.nano_usd, entry.upper_bound_nano_usd) == ("lost", None, BOUND)
        assert list(setup.journal.leases()) == [] and setup.journal.get(ask(0).call_id) is None
        assert setup.budget.open == 0 and setup.budget.spent == (BOUND if cap else 0)
    with opened(tmp_path, Script()) as setup:
        assert asyncio.run(setup(ask(0))).response == ANSWER
        assert [entry.attempt for entry in setup.ledger()] == [1, 2]


def test_a_bug_of_a_backend_is_raised_and_recorded_as_lost(tmp_path: Path) -> None:
    with opened(tmp_path, Script({0: [ZeroDivisionError("oops")]}), 10**9) as setup:
        with pytest.raises(FactoryError, match="openai/m failed: ZeroDivisionError: oops") as caught:
            asyncio.run(setup(ask(0)))
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        (entry,) = setup.ledger()
        assert entry.outcome == "lost" and entry.upper_bound_nano_usd == BOUND
        assert setup.budget.open == 0 and setup.budget.spent == BOUND


class GatedJournal:
    """A journal whose commits wait for a gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.settling: list[int | None] = []
        self.leases_pending: asyncio.Event | None = None
        self.failing: Exception | None = None

    def get(self, call_id: str, *, decided: bool = False) -> Stored | None:
        return None

    def next_attempt(self, call_id: str) -> int:
        return 1

    async def lease(self, lease: Lease, durable: bool) -> None:
        if self.leases_pending is not None:
            await self.leases_pending.wait()

    async def settle(self, entry: LedgerEntry, lease: Lease, stored: Stored | None) -> None:
        self.settling.append(entry.row)
        await self.gate.wait()
        if self.failing is not None:
            raise self.failing


def over_gate(backend: Script, journal: GatedJournal, cap: int | None, slots: int = 1) -> tuple[Calls, Budget]:
    config = ModelConfig(backend="openai", model="m", price=PRICE)
    model = OpenModel("writer", config, backend, price_for(config, local=False), slots)
    budget = Budget(cap)
    calls = Calls(journal, budget, {"writer": model})  # type: ignore[arg-type]
    calls.live = True
    return calls, budget


async def settle_down() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_slot_is_free_only_after_the_commit() -> None:
    async def run() -> None:
        backend, journal = Script(), GatedJournal()
        calls, _ = over_gate(backend, journal, None)
        tasks = [asyncio.create_task(calls.call("writer", ask(row))) for row in range(2)]
        await settle_down()
        assert backend.calls == [0] and journal.settling == [0] and not tasks[0].done()
        journal.gate.set()
        await asyncio.gather(*tasks)
        assert backend.calls == [0, 1]

    asyncio.run(run())


def test_nothing_is_sent_before_its_lease_is_durable() -> None:
    async def run() -> None:
        backend, journal = Script(), GatedJournal()
        journal.leases_pending = asyncio.Event()
        calls, budget = over_gate(backend, journal, 10**9)
        task = asyncio.create_task(calls.call("writer", ask(0)))
        await settle_down()
        assert backend.calls == [] and budget.open == BOUND
        journal.leases_pending.set()
        journal.gate.set()
        await task
        assert backend.calls == [0] and (budget.open, budget.spent) == (0, ANSWER_NANO)

    asyncio.run(run())


def test_cancelled_before_it_was_sent_costs_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        backend, journal = Script(), GatedJournal()
        journal.leases_pending = asyncio.Event()
        journal.gate.set()
        calls, budget = over_gate(backend, journal, 10**9)
        tasks = [asyncio.create_task(calls.call("writer", ask(row))) for row in range(3)]
        await settle_down()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert backend.calls == [] and (budget.open, budget.spent) == (0, 0)

    asyncio.run(run())


@pytest.mark.parametrize("when", ["lease", "settle"])
def test_a_full_disk_leaves_nobody_waiting_for_money(when: str) -> None:
    """Many calls, a budget for few at a time, and a journal that stops: every caller hears of it."""

    async def run() -> list[Any]:
        backend, journal = Script(), GatedJournal()
        full = StorageFull("the disk is full")
        calls, budget = over_gate(backend, journal, 30 * (BOUND or 0), slots=4)
        if when == "lease":

            async def refuse(lease: Lease, durable: bool) -> None:
                raise full

            journal.lease = refuse  # type: ignore[method-assign]
        journal.failing = full
        journal.gate.set()
        tasks = [calls.call("writer", ask(row)) for row in range(20)]
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        assert budget.open == 0
        return results

    assert {type(result) for result in asyncio.run(run())} == {StorageFull}


def test_a_budget_that_is_reached_refuses_before_sending(tmp_path: Path) -> None:
    assert BOUND is not None
    backend = Script()
    with opened(tmp_path, backend, BOUND + ANSWER_NANO) as setup:
        asyncio.run(setup(ask(0)))
        asyncio.run(setup(ask(1)))
        with pytest.raises(BudgetSpent) as caught:
            asyncio.run(setup(ask(2)))
        assert caught.value.exit_code == 4 and "--budget" in caught.value.hint
        assert backend.calls == [0, 1] and setup.journal.spent_nano() == 2 * ANSWER_NANO
    with opened(tmp_path, backend, BOUND + ANSWER_NANO) as setup:  # the cap counts all runs of the directory
        with pytest.raises(BudgetSpent):
            asyncio.run(setup(ask(2)))
        assert backend.calls == [0, 1]


OUTCOMES = [ANSWER, *(fault for fault, *_ in FAULTS), BadRequest("no", status=400)]


@settings(max_examples=40, deadline=None)
@given(
    scripts=st.lists(st.lists(st.sampled_from(range(len(OUTCOMES))), max_size=5), min_size=1, max_size=12),
    share=st.integers(1, 20),
)
def test_budget_ledger_and_journal_agree_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, scripts: list[list[int]], share: int
) -> None:
    """Random faults at a random cap: never more spent than the cap, all reservations back, the three sums equal."""
    backend = Script({row: [*(OUTCOMES[i] for i in script), ANSWER] for row, script in enumerate(scripts)})
    cap = (BOUND or 0) * share
    with opened(tmp_path_factory.mktemp("journal"), backend, cap) as setup:

        async def run() -> list[Any]:
            calls = [setup(ask(row)) for row in range(len(scripts))]
            return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)

        results = asyncio.run(run())
        assert all(isinstance(result, Stored | BudgetSpent) for result in results)
        ledger = setup.ledger()
        spent = sum(
            entry.nano_usd if entry.nano_usd is not None else entry.upper_bound_nano_usd or 0 for entry in ledger
        )
        assert spent == setup.budget.spent == setup.journal.spent_nano() <= cap
        assert setup.budget.open == 0 and list(setup.journal.leases()) == []
        assert len(ledger) == len(backend.calls) == setup.calls.counters.attempts
        assert sum(isinstance(result, Stored) for result in results) == len(list(setup.journal.calls()))


def test_an_unknown_price_is_no_zero(tmp_path: Path) -> None:
    backend = Script({0: [ConnectionLost("reset"), ANSWER]})
    with opened(tmp_path, backend, model="who-knows", price=None, base_url="https://models.invalid/v1") as setup:
        stored = asyncio.run(setup(ask()))
        assert stored.nano_usd is None and stored.price_source == "unknown"
        lost, good = setup.ledger()
        assert (good.nano_usd, good.upper_bound_nano_usd, good.price_source) == (None, None, "unknown")
        assert (lost.nano_usd, lost.upper_bound_nano_usd) == (None, None)


def test_a_server_that_bills_more_than_it_may_is_told_of_once(tmp_path: Path) -> None:
    greedy = Response((Choice("x", "stop"),), Usage(10, 500), "served")
    with opened(tmp_path, Script(otherwise=greedy), 10**12) as setup:
        asyncio.run(setup(ask(0)))
        asyncio.run(setup(ask(1)))
        (notice,) = setup.notices
        assert "ignore max_tokens" in notice and setup.budget.overrun > 0


def test_backoff_grows_is_seeded_and_heeds_retry_after() -> None:
    fault = ServerFault("HTTP 500", status=500)
    waits = [backoff("a" * 32, failures, fault) for failures in range(1, 40)]
    assert waits == [backoff("a" * 32, failures, fault) for failures in range(1, 40)]
    for failures, wait in enumerate(waits, start=1):
        middle = min(0.25 * 2 ** (failures - 1), 30)
        assert 0.5 * middle <= wait <= 1.5 * middle
    assert backoff("a" * 32, 1, fault) != backoff("b" * 32, 1, fault)
    assert 7.0 <= backoff("a" * 32, 1, Overloaded("wait", retry_after=7.0)) <= 7.2
    assert backoff("a" * 32, 1, Overloaded("wait", retry_after=1e9)) <= 301
    assert backoff("a" * 32, 1, Overloaded("wait")) <= 0.375


def test_a_429s_wait_is_slept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.calling.backoff", backoff)
    slept: list[float] = []

    async def pause(seconds: float) -> None:
        slept.append(seconds)

    with opened(tmp_path, Script({0: [Overloaded("wait", retry_after=12.5), ANSWER]})) as setup:
        monkeypatch.setattr(setup.calls, "_pause", pause)
        asyncio.run(setup(ask(0)))
    assert len(slept) == 1 and 12.5 <= slept[0] <= 12.7


def test_health_counts_rows_in_trouble_by_row() -> None:
    state = Health()
    mine, sibling, other = (state.begin(row) for row in (1, 1, 2))
    fault = ServerFault("HTTP 500", status=500)
    for trouble in (mine, sibling, other):
        state.fail(trouble, fault)
    assert not any(state.fail(mine, fault) for _ in range(40))  # row 2 is in trouble too
    state.end(other)
    assert state.fail(mine, fault)  # its sibling's failures say nothing of the server
    state.end(mine)
    state.end(sibling)
    assert not state.fail(state.begin(3), fault)


def test_requests_per_minute_spread_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def pause(seconds: float) -> None:
        slept.append(seconds)

    with opened(tmp_path, Script(), requests_per_minute=6) as setup:
        monkeypatch.setattr(setup.calls, "_pause", pause)

        async def run() -> None:
            await asyncio.gather(*(setup(ask(row)) for row in range(4)))

        asyncio.run(run())
    assert [round(seconds) for seconds in slept] == [10, 20, 30]
