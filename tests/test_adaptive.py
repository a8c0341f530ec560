"""The limit and the breaker: what moves them, what must not, and what a whole run loses by it on a simulated clock."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_clock import simulate

from factory import errors
from factory.adaptive import GONE, PUSHED, Breaker, Limit, Outcome, Tag, ThreadLoad, enough_failures, outcome_of
from factory.admission import CallWindow

Law = Callable[[int, float, random.Random], float]
"""Seconds of an answer, by the requests in flight and the time of day."""


@dataclass
class Server:
    """A server on the simulated clock. `turns_away`: the outcome of a request that gets no answer, None for one."""

    law: Law
    turns_away: Callable[[int, random.Random], Outcome | None] = lambda in_flight, draw: None
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    in_flight: int = 0
    most: int = 0
    requests: int = 0

    async def answer(self) -> Outcome:
        self.requests += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            away = self.turns_away(self.in_flight, self.draw)
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(0.002 if away else self.law(self.in_flight, now, self.draw))
            return away or Outcome.GOOD
        finally:
            self.in_flight -= 1


@dataclass
class Run:
    """What a run of so many rows came to. `limits`: the limit after each attempt."""

    seconds: float
    requests: int
    limits: list[int]


def run(server: Server, cap: int, rows: int, *, fixed: bool = False, busy: float = 0.0) -> Run:
    """Rows of one call each, as many at a time as the window gives, turned away ones again after 0.1 to 0.3 s."""
    limits: list[int] = []

    async def main() -> float:
        window = CallWindow(cap, fixed=fixed, busy=lambda: busy)
        numbers = iter(range(rows))

        async def work() -> None:
            for row in numbers:
                outcome = None
                while outcome is not Outcome.GOOD:
                    permit = await window.acquire(row)
                    assert permit is not None and 1 <= window.limit <= cap and window.in_flight <= cap
                    outcome = await server.answer()
                    window.release(permit, outcome)
                    limits.append(window.limit)
                    if outcome is not Outcome.GOOD:
                        await window.rest(server.draw.uniform(0.1, 0.3))

        await asyncio.gather(*(work() for _ in range(2 * cap)))
        assert window.in_flight == window.waiting == 0
        return asyncio.get_running_loop().time()

    return Run(simulate(main()), server.requests, limits)


def lognormal(sigma: float, draw: random.Random) -> float:
    return math.exp(draw.gauss(0, sigma))


def saturating(at: int, power: float, sigma: float = 0.1) -> Law:
    return lambda n, now, draw: 0.05 * max(1.0, n / at) ** power * lognormal(sigma, draw)


@pytest.mark.parametrize(("at", "power"), [(8, 1.5), (16, 1.3), (16, 2.0), (40, 1.5)])
def test_a_server_that_grows_slow_under_load_gets_less_of_it(at: int, power: float) -> None:
    """Throughput falls beyond `at` in flight: the run ends near what the server can do at its best."""
    best = run(Server(saturating(at, power)), at, 6000, fixed=True)
    whole = run(Server(saturating(at, power)), 100, 1000, fixed=True)
    found = run(Server(saturating(at, power)), 100, 6000)
    assert found.requests == 6000
    last = sorted(found.limits[-3000:])
    assert at / 2 <= last[len(last) // 2] <= 2 * at, "it hovers near the best"
    assert found.seconds <= 1.5 * best.seconds
    assert found.seconds < 6 * whole.seconds


def test_a_server_that_only_queues_gets_a_short_queue_and_loses_nothing() -> None:
    """Beyond 16 in flight the throughput stays as it is and every call just waits longer."""
    best = run(Server(saturating(16, 1.0)), 16, 4000, fixed=True)
    found = run(Server(saturating(16, 1.0)), 100, 4000)
    assert found.seconds <= 1.05 * best.seconds
    assert sorted(found.limits[-2000:])[1000] <= 50


HEALTHY: dict[str, Law] = {
    "constant": lambda n, now, draw: 0.5,
    "a batching engine, slower and better the fuller": lambda n, now, draw: 0.5 * (1 + 0.01 * n) * lognormal(0.3, draw),
    "heavy tail": lambda n, now, draw: 0.5 * lognormal(1.0, draw),
    "one in twenty hangs for long": lambda n, now, draw: 5.0 if draw.random() < 0.05 else 0.5,
    "slow start": lambda n, now, draw: 0.5 + max(0.0, 6.0 - now),
    "prompts grow long": lambda n, now, draw: 0.3 * (1 + now / 10) * lognormal(0.3, draw),
    "long prompts for a while": lambda n, now, draw: (2.5 if 5 < now < 15 else 0.4) * lognormal(0.2, draw),
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", range(2))
def test_latency_alone_does_not_shrink_the_limit(name: str, seed: int) -> None:
    """Against the same server with a fixed window: what the trials cost is small."""
    law = HEALTHY[name]
    fixed = run(Server(law, draw=random.Random(seed)), 100, 4000, fixed=True)
    found = run(Server(law, draw=random.Random(seed)), 100, 4000)
    assert found.seconds <= 1.2 * fixed.seconds
    assert sorted(found.limits)[2000] == 100, "most attempts are made at the full limit"


@pytest.mark.parametrize("cap", [1, 2, 5, 40, 100])
@pytest.mark.parametrize("seed", range(3))
def test_scattered_refusals_never_shrink_the_limit(cap: int, seed: int) -> None:
    limit, draw = Limit(cap, watch=False), random.Random(seed)
    for _ in range(10_000):
        outcome = draw.choice([Outcome.BUSY, Outcome.FAILED]) if draw.random() < 0.1 else Outcome.GOOD
        limit.finish(limit.start(cap), outcome, 0.05, cap, retry_after=1.0)
        assert limit.allowed == cap and limit.hold is None


def test_a_run_with_a_tenth_refused_takes_hardly_longer() -> None:
    def refuse(in_flight: int, draw: random.Random) -> Outcome | None:
        return Outcome.BUSY if draw.random() < 0.1 else None

    free = run(Server(HEALTHY["constant"]), 100, 4000, fixed=True)
    found = run(Server(HEALTHY["constant"], refuse), 100, 4000)
    assert found.seconds <= 1.2 * free.seconds and found.requests <= 1.15 * 4000


def test_a_server_that_refuses_beyond_twenty_gets_about_twenty() -> None:
    def refuse(in_flight: int, draw: random.Random) -> Outcome | None:
        return Outcome.BUSY if in_flight > 20 else None

    best = run(Server(HEALTHY["constant"]), 20, 4000, fixed=True)
    found = run(Server(HEALTHY["constant"], refuse), 100, 4000)
    assert 10 <= sorted(found.limits[-2000:])[1000] <= 25
    assert found.seconds <= 1.4 * best.seconds and found.requests <= 1.25 * 4000


def test_what_was_in_flight_together_shrinks_the_limit_once() -> None:
    limit = Limit(100, watch=False)
    tags = [limit.start(n + 1) for n in range(100)]
    for left, tag in zip(range(100, 0, -1), tags, strict=True):
        limit.finish(tag, Outcome.BUSY, 0.01, left)
    assert limit.limit == 50
    while limit.limit > 1:
        before = limit.limit
        tags = [limit.start(n + 1) for n in range(70)]
        for tag in tags:
            limit.finish(tag, Outcome.FAILED, 0.01, before)
        assert limit.limit == max(1, before // 2)


def test_when_most_are_turned_away_for_a_time_nothing_is_sent_meanwhile() -> None:
    limit = Limit(20, watch=False)
    for number in range(30):
        limit.finish(limit.start(20), Outcome.BUSY, 0.01, 20, retry_after=3.0 + number)
    assert limit.limit == 10 and limit.hold == 3.0


@pytest.mark.parametrize("when", ["refused", "slow"])
def test_the_limit_grows_back_when_all_is_well(when: str) -> None:
    """Trouble up to a certain hour, then none: the second half of the run goes at the full limit."""

    def law(n: int, now: float, draw: random.Random) -> float:
        busy = when == "slow" and now < 20
        return 0.05 * (max(1.0, n / 10) ** 1.5 if busy else 1.0) * lognormal(0.1, draw)

    server = Server(law)
    if when == "refused":
        calls = iter(range(10**9))
        server.turns_away = lambda n, draw: Outcome.BUSY if next(calls) < 3000 and n > 10 else None
    found = run(server, 100, 16_000)
    assert min(found.limits) <= 25
    assert sorted(found.limits[-4_000:])[1_000] == 100


def test_a_client_that_is_busy_itself_finds_no_fault_with_the_server() -> None:
    assert set(run(Server(saturating(16, 1.5)), 100, 1000, busy=0.95).limits) == {100}
    load = ThreadLoad()
    total = sum(range(200_000))
    assert total and 0 <= load() <= 1.5


def test_a_limit_that_does_not_bind_is_left_alone() -> None:
    async def main() -> set[int]:
        window, server = CallWindow(100, busy=lambda: 0.0), Server(saturating(4, 1.5))
        seen = set()
        for row in range(300):
            permit = await window.acquire(row)
            assert permit is not None
            window.release(permit, await server.answer())
            seen.add(window.limit)
        return seen

    assert simulate(main()) == {100}


OUTCOMES = st.sampled_from(list(Outcome))


@settings(max_examples=150, deadline=None)
@given(
    cap=st.integers(1, 130),
    watch=st.booleans(),
    events=st.lists(st.tuples(OUTCOMES, st.floats(0, 100), st.integers(0, 10**6), st.booleans()), max_size=600),
)
def test_the_limit_stays_between_one_and_the_cap(
    cap: int, watch: bool, events: list[tuple[Outcome, float, int, bool]]
) -> None:
    """Attempts end in any order with any outcome after any time, and outages come when they like."""
    limit = Limit(cap, watch=watch, busy=lambda: 0.0)
    flying: list[Tag] = []
    for outcome, seconds, pick, fill in events:
        while fill and len(flying) < limit.allowed:
            flying.append(limit.start(len(flying) + 1))
        if not flying:
            limit.restart(0)
            continue
        limit.finish(flying.pop(pick % len(flying)), outcome, seconds, len(flying) + 1, 0.5 if fill else None)
        assert 1 <= limit.allowed <= limit.limit <= cap
        assert limit.hold is None or 0 <= limit.hold <= 60


def test_after_an_outage_the_limit_doubles_with_every_round() -> None:
    limit = Limit(100, watch=False)
    limit.restart(0)
    seen = [limit.allowed]
    while limit.allowed < 100:
        for tag in [limit.start(n + 1) for n in range(limit.allowed)]:
            limit.finish(tag, Outcome.GOOD, 0.05, 1)
        seen.append(limit.allowed)
    assert seen == [25, 50, 100]


@given(st.lists(st.tuples(OUTCOMES, st.integers(0, 3)), max_size=80), st.integers(1, 40))
def test_the_breaker_opens_after_failures_alone(events: list[tuple[Outcome, int]], cap: int) -> None:
    """By a plain recount: the failures since the last sign of life, of two rows or without any connection."""
    breaker = Breaker(enough_failures(cap))
    since: list[tuple[Outcome, int]] = []
    for outcome, row in events:
        was = breaker.open
        turned = breaker.note(outcome, row)
        if outcome in GONE:
            since.append((outcome, row))
        elif outcome is not Outcome.UNCLEAR:
            since = []
        counts = [since[: n + 1] for n in range(len(since)) if n + 1 >= enough_failures(cap)]
        wanted = any(
            len({row for _, row in part}) > 1 or all(one is Outcome.REFUSED for one, _ in part) for part in counts
        )
        assert breaker.open == wanted and turned == (was != wanted)


def test_pauses_grow_and_stay_short_where_nobody_listens() -> None:
    def pauses(outcome: Outcome) -> list[float]:
        breaker = Breaker(4)
        for row in range(4):
            breaker.note(outcome, row)
        found = []
        for _ in range(12):
            found.append(breaker.pause)
            breaker.note(outcome, 0)
            breaker.lengthen(outcome)
        return found

    refused, failed = pauses(Outcome.REFUSED), pauses(Outcome.FAILED)
    assert refused == sorted(refused) and failed == sorted(failed)
    assert refused[0] == 0.1 and refused[-1] == 1.0
    assert failed[0] == 0.5 and failed[-1] == 2.0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (None, Outcome.GOOD),
        (errors.Overloaded("", retry_after=1), Outcome.BUSY),
        (errors.Overloaded("", status=503, retry_after=1), Outcome.FAILED),
        (errors.ServerFault("", status=500), Outcome.FAILED),
        (errors.ConnectionFailed(""), Outcome.REFUSED),
        (errors.ConnectionLost(""), Outcome.LOST),
        (errors.BadBody(""), Outcome.UNCLEAR),
        (errors.NoChoices(""), Outcome.ANSWERED),
        (errors.ContextTooLong(""), Outcome.ANSWERED),
        (errors.Unauthorized(""), Outcome.ANSWERED),
    ],
    ids=repr,
)
def test_every_fault_says_something_of_the_server(fault: errors.CallFault | None, outcome: Outcome) -> None:
    assert outcome_of(fault) is outcome
    assert GONE < PUSHED and Outcome.UNCLEAR not in PUSHED
