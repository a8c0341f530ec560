"""The call layer against servers that misbehave, on a simulated clock: nothing lost, little late, few requests."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from simulated_clock import simulate
from support import server_model, write_recipe

from factory.admission import CallWindow
from factory.api import run
from factory.budget import OPEN_SHARE, Budget
from factory.calling import Calls, Draining, OpenModel, worst_case
from factory.errors import (
    CallFault,
    ConnectionFailed,
    ConnectionLost,
    ContextTooLong,
    Overloaded,
    ServerFault,
)
from factory.journal import Journal, Lease, Stored
from factory.prices import price_for
from factory.recipe.models import ModelConfig
from factory.types import Choice, LedgerEntry, Message, Request, Response, Sampling, Usage

PRICE = {"input": 1.0, "output": 10.0}
ANSWER = Response((Choice("hello", "stop"),), Usage(10, 5), "served")
LATENCY = 0.05
Fate = Callable[[int, float], CallFault | float | None]
"""By request number and time: a fault at once, seconds for which it hangs before it is lost, or None."""


def ask(row: int, text: str = "Say something.") -> Request:
    return Request("m", "m", (Message("user", text),), Sampling(max_tokens=20), 1, row, row, "main", "generate", 0)


class Server:
    """A backend on the simulated clock."""

    honours_n = True
    local = False

    def __init__(self, fate: Fate = lambda number, now: None):
        self.fate = fate
        self.sent: list[float] = []
        self.in_flight = self.most = 0

    async def generate(self, request: Request) -> Response:
        now = asyncio.get_running_loop().time()
        self.sent.append(now)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            fate = self.fate(len(self.sent), now)
            if isinstance(fate, CallFault):
                await asyncio.sleep(0.001)
                raise fate
            await asyncio.sleep(LATENCY if fate is None else fate)
            if fate is not None:
                raise ConnectionLost(f"no whole answer within {fate:g} s")
            return ANSWER
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        return None


class Unbounded(Server):
    unbounded = True


class Recorded(Unbounded):
    keeps_intents = True


class Memory:
    """A journal that commits at once."""

    def __init__(self) -> None:
        self.stored: dict[str, Stored] = {}
        self.entries: list[LedgerEntry] = []
        self.leases: list[Lease] = []
        self.settled: list[Lease | None] = []

    def get(self, call_id: str, *, decided: bool = False) -> Stored | None:
        return self.stored.get(call_id)

    def next_attempt(self, call_id: str) -> int:
        return 1

    async def lease(self, lease: Lease, durable: bool) -> None:
        self.leases.append(lease)

    async def settle(self, entry: LedgerEntry, lease: Lease | None, stored: Stored | None) -> None:
        self.entries.append(entry)
        self.settled.append(lease)
        if stored is not None:
            self.stored[stored.call_id] = stored


class Scene:
    """Calls to one model over a journal in memory.

    `busy`: the share of its time that the client computes itself. On a simulated clock the real one says nothing.
    """

    def __init__(self, server: Server, concurrency: int = 50, cap: int | None = None, busy: float = 0.0, **model: Any):
        settings = {"backend": "openai", "model": "m", "base_url": "http://10.0.0.1:8000/v1", "price": PRICE}
        config = ModelConfig(**(settings | model))
        self.server = server
        self.journal = Memory()
        self.notices: list[str] = []
        self.model = OpenModel("writer", config, server, price_for(config, local=False), concurrency)
        self.model.window = CallWindow(concurrency, watch=self.model.pace.unlimited, busy=lambda: busy)
        self.budget = Budget(cap)
        self.calls = Calls(self.journal, self.budget, {"writer": self.model}, notice=self.notices.append)  # type: ignore[arg-type]
        self.calls.live = True

    def run(self, rows: Iterable[int], in_flight: int = 200) -> tuple[list[Stored], float]:
        """All rows, so many at a time; and how long that took on the simulated clock."""

        async def main() -> tuple[list[Stored], float]:
            numbers, found = iter(rows), list[Stored]()

            async def work() -> None:
                for row in numbers:
                    found.append(await self.calls.call("writer", ask(row)))

            await asyncio.gather(*(work() for _ in range(in_flight)))
            return found, asyncio.get_running_loop().time()

        return simulate(main())


def check(scene: Scene, rows: int, *, outage: float = 0.0) -> None:
    """Every row answered; wall and requests within the bounds that are promised."""
    free = rows / 50 * LATENCY
    found, seconds = scene.run(range(rows))
    assert Counter(stored.outcome for stored in found) == {"ok": rows}
    assert seconds <= 1.5 * free + outage
    assert len(scene.server.sent) <= 1.25 * rows and scene.server.most <= 50
    assert scene.model.window.in_flight == 0 and not scene.model.window.paused


def tenth(fault: Callable[[], CallFault]) -> Fate:
    draw = random.Random(3)
    return lambda number, now: fault() if draw.random() < 0.1 else None


@pytest.mark.parametrize("retry_after", [None, 0.3])
def test_a_tenth_of_429s(retry_after: float | None) -> None:
    check(Scene(Server(tenth(lambda: Overloaded("slow down", retry_after=retry_after)))), 3000)


@pytest.mark.parametrize("busy", [0.0, 1.0], ids=["limits are tried", "the client is the bottleneck"])
def test_a_twentieth_hangs_until_the_timeout(busy: float) -> None:
    """A hang holds its slot: by that alone 0.95 × 0.05 + 0.05 × 0.2 s a call, 1.15 × the fault-free time."""
    draw = random.Random(4)
    check(Scene(Server(lambda number, now: 0.2 if draw.random() < 0.05 else None), busy=busy), 3000)


@pytest.mark.parametrize(
    "fault",
    [ConnectionFailed("refused"), ServerFault("HTTP 502", status=502), Overloaded("", status=503, retry_after=0.5)],
    ids=["refused", "502", "503 with Retry-After"],
)
def test_an_outage_of_ten_seconds(fault: CallFault) -> None:
    scene = Scene(Server(lambda number, now: fault if 1 <= now < 11 else None))
    check(scene, 3000, outage=10)
    asked = [moment for moment in scene.server.sent if 2 <= moment < 11]
    assert len(asked) <= 30, "one attempt at a time, and seldom"
    gone, back = scene.notices
    assert gone.startswith("openai/m at 10.0.0.1:8000: nothing succeeded in the last ")
    assert gone.endswith("attempts; waiting, one attempt at a time")
    assert back.startswith("openai/m at 10.0.0.1:8000: back after ")


def test_an_outage_at_concurrency_one_is_over_when_it_is_over() -> None:
    """Two rows, their backoffs already long: the server's return is seen within a second."""
    server = Server(lambda number, now: ConnectionFailed("refused") if 0.04 < now < 60 else None)
    found, seconds = Scene(server, concurrency=1).run(range(20), in_flight=4)
    assert len(found) == 20 and seconds <= 60 + 1.1 + 20 * LATENCY
    assert max(b - a for a, b in zip(server.sent, server.sent[1:], strict=False)) <= 2.1


def test_what_an_outage_cost_a_call_does_not_slow_its_next_attempt() -> None:
    """The oldest row asked twenty times in vain; a 429 just after makes it wait no longer than a first one."""
    once = iter([Overloaded("slow down")])

    def fate(number: int, now: float) -> CallFault | None:
        if now < 30:
            return ServerFault("HTTP 500", status=500)
        return next(once, None)

    found, seconds = Scene(Server(fate), concurrency=4).run(range(4), in_flight=4)
    assert len(found) == 4 and seconds <= 30 + 2 + 1


def test_a_server_that_comes_and_goes_is_told_of_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(number: int, now: float) -> CallFault | None:
        return ConnectionFailed("refused") if now % 2 > 1 else None

    scene = Scene(Server(fate))
    scene.run(range(4000))
    assert len(scene.notices) == 2, "the outages were minutes apart by no clock"
    monkeypatch.setattr("factory.calling.OUTAGE_TOLD_S", 0.0)
    scene = Scene(Server(fate))
    scene.run(range(4000))
    assert len(scene.notices) > 4


@pytest.mark.parametrize(("rpm", "tpm"), [(600, None), (None, 12_000), (600, 12_000)])
def test_no_minute_holds_more_than_the_provider_allows(rpm: float | None, tpm: float | None) -> None:
    scene = Scene(Server(), requests_per_minute=rpm, tokens_per_minute=tpm, max_tokens=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factory.calling.time.monotonic", lambda: asyncio.get_running_loop().time())
        _, seconds = scene.run(range(1500))
    for place, start in enumerate(scene.server.sent):
        inside = sum(start <= other < start + 60 - 1e-6 for other in scene.server.sent[place : place + 1000])
        assert inside <= (600 if rpm else 12_000 // 15)
    assert seconds >= 1 * 60


@pytest.mark.parametrize("kind", [Unbounded, Recorded])
def test_a_backend_that_queues_by_itself_is_not_bounded(kind: type[Server]) -> None:
    scene = Scene(kind(), concurrency=3)
    found, seconds = scene.run(range(500), in_flight=500)
    assert len(found) == 500 and scene.server.most == 500 and seconds == LATENCY
    assert scene.model.window.in_flight == 0


def test_an_unbounded_backend_keeps_a_pace_that_is_asked_for() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factory.calling.time.monotonic", lambda: asyncio.get_running_loop().time())
        _, seconds = Scene(Unbounded(), requests_per_minute=60).run(range(30), in_flight=30)
    assert seconds >= 28


def test_an_unbounded_backends_faults_are_tried_again() -> None:
    scene = Scene(Unbounded(tenth(lambda: ServerFault("HTTP 500", status=500))))
    found, _ = scene.run(range(300), in_flight=300)
    assert Counter(stored.outcome for stored in found) == {"ok": 300} and len(scene.server.sent) > 300


def test_a_backend_with_a_record_of_its_own_needs_no_lease(tmp_path: Path) -> None:
    plain, recorded = Scene(Server()), Scene(Recorded())
    plain.run(range(5))
    recorded.run(range(5))
    assert len(plain.journal.leases) == 5 and None not in plain.journal.settled
    assert recorded.journal.leases == [] and recorded.journal.settled == [None] * 5

    async def real() -> None:
        with Journal.open(tmp_path, writable=True, notice=lambda text: None) as journal:
            calls = Calls(journal, Budget(None), {"writer": Scene(Recorded()).model})
            calls.live = True
            assert (await calls.call("writer", ask(1))).response == ANSWER
            assert [entry.outcome for entry in journal.entries()] == ["ok"] and list(journal.leases()) == []

    asyncio.run(real())


def test_what_a_recording_backend_has_under_way_is_no_loss_when_the_run_stops() -> None:
    """The job goes on at the provider, and is booked when its answer is fetched."""
    scene = Scene(Recorded(lambda number, now: 3600.0), cap=10**9, max_tokens=20)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(scene.calls.call("writer", ask(row))) for row in range(3)]
        await asyncio.sleep(1)
        scene.calls.abandon()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(result) for result in simulate(main())} == {Draining}
    assert scene.journal.entries == [] and scene.budget.open == 0


def test_the_share_of_open_reservations_does_not_hold_for_recorded_ones() -> None:
    """A cap of forty calls: two at a time in flight, or all forty; the cap itself holds for both."""
    one = worst_case(price_for(ModelConfig(backend="openai", model="m", price=PRICE), local=False), ask(1))
    assert one is not None

    def most(kind: type[Server]) -> int:
        scene = Scene(kind(), concurrency=100, cap=2 * OPEN_SHARE * one, max_tokens=20)
        scene.run(range(30), in_flight=30)
        assert scene.budget.spent <= 2 * OPEN_SHARE * one and scene.budget.overrun == 0
        return scene.server.most

    assert most(Server) == most(Unbounded) == 2 and most(Recorded) == 30


def test_live_calls_find_room_beside_recorded_ones() -> None:
    """Thousands wait in a batch; the judge's live calls still pass, two at a time, and the other way round."""

    async def main() -> None:
        budget = Budget(1000)
        held = [await budget.reserve(row, 20, recorded=True) for row in range(40)]
        live = [await budget.reserve(100 + n, 25) for n in range(2)]
        third = asyncio.create_task(budget.reserve(102, 25))
        late = asyncio.create_task(budget.reserve(103, 20, recorded=True))
        assert (await late).recorded and not third.done()
        budget.settle(live[0], 5)
        await third
        for reservation in [*held, live[1], third.result(), late.result()]:
            budget.settle(reservation, 1)
        assert (budget.open, budget.spent) == (0, 48)

    simulate(main())


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("maximum context length is 50 tokens. Yours has 131 tokens.", "maximum context length is 50 tokens."),
        ("the request exceeds the available context size", "(the prompt has about 25 tokens, max_tokens asks for 20)"),
    ],
)
def test_a_prompt_that_is_too_long_is_refused_with_token_counts(told: str, shown: str) -> None:
    scene = Scene(Server(lambda number, now: ContextTooLong(f"HTTP 400: {told}")))
    stored = simulate(scene.calls.call("writer", ask(0, "x" * 100)))
    assert stored.outcome == "context_too_long" and shown in stored.message
    assert ("about" in stored.message) == ("available" in told)


def test_draining_frees_those_who_wait_for_a_server_that_is_gone() -> None:
    scene = Scene(Server(lambda number, now: ServerFault("HTTP 503", status=503)))

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(scene.calls.call("writer", ask(row))) for row in range(100)]
        await asyncio.sleep(20)
        assert scene.model.window.paused and scene.model.window.limit == 1 and scene.server.most <= 50
        scene.calls.drain()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(result) for result in simulate(main())} == {Draining}
    assert scene.model.window.in_flight == 0


def test_a_run_outlives_its_server(tmp_path: Path) -> None:
    """Through sockets and a journal: connections are reset and refused for a second, then all goes on."""
    told: list[str] = []
    with FaultServer(Settings(latency=0.02, die_after=60, outage=1.0)) as server:
        recipe = write_recipe(tmp_path, rows=150, models={"writer": server_model(server.url, concurrency=20)})
        result = run(recipe, runs_dir=tmp_path / "runs", notice=told.append)
        assert result.summary["rows"] == 150 and server.stats()["requests"] <= 1.25 * 150
    assert [("nothing succeeded" in one, "back after" in one) for one in told] == [(True, False), (False, True)]
