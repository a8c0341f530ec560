"""The slots of a model: who gets one, when, what an outage does to the queue, and that none is ever lost."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_clock import simulate

from factory.adaptive import Outcome
from factory.admission import CallWindow, Permit
from factory.errors import FactoryError


def idle() -> float:
    return 0.0


async def take(window: CallWindow, row: int | None = 0) -> Permit:
    permit = await window.acquire(row)
    assert permit is not None
    return permit


async def let_go_on() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(
    cap=st.integers(1, 12),
    tasks=st.lists(st.tuples(st.floats(0, 3), st.floats(0.001, 3), st.floats(0, 6)), min_size=1, max_size=60),
    share=st.floats(0, 0.9),
    seed=st.integers(0, 100),
    fixed=st.booleans(),
)
def test_no_slot_is_lost_or_given_twice_whatever_is_cancelled(
    cap: int, tasks: list[tuple[float, float, float]], share: float, seed: int, fixed: bool
) -> None:
    """Tasks arrive, hold a slot for a while, fail or are cancelled while they wait or hold it."""

    async def main() -> None:
        window, draw, running = CallWindow(cap, fixed=fixed, busy=idle), random.Random(seed), 0
        most_allowed = []

        async def work(row: int, arrives: float, holds: float) -> bool:
            nonlocal running
            await asyncio.sleep(arrives)
            permit = await take(window, row)
            running += 1
            most_allowed.append((running, cap))
            outcome = Outcome.UNCLEAR
            try:
                await asyncio.sleep(holds)
                outcome = draw.choice([Outcome.BUSY, Outcome.FAILED]) if draw.random() < share else Outcome.GOOD
            finally:
                running -= 1
                window.release(permit, outcome)
            return True

        started = [asyncio.create_task(work(row, *times[:2])) for row, times in enumerate(tasks)]
        loop = asyncio.get_running_loop()
        for number, (_, _, ends) in enumerate(tasks):
            if number % 3 == 0:
                loop.call_later(ends, started[number].cancel)
        results = await asyncio.gather(*started, return_exceptions=True)
        for number, result in enumerate(results):
            assert result is True or (number % 3 == 0 and isinstance(result, asyncio.CancelledError))
        assert all(held <= most for held, most in most_allowed)
        assert window.in_flight == window.waiting == running == 0 and 1 <= window.limit <= cap
        slots = [await asyncio.wait_for(take(window), 60) for _ in range(window.limit)]
        assert window.in_flight == len(slots)

    simulate(main())


def test_the_oldest_row_goes_first_and_equals_in_order() -> None:
    async def main() -> list[tuple[int | None, str]]:
        window, order = CallWindow(1, busy=idle), list[tuple[int | None, str]]()
        held = await take(window)

        async def work(row: int | None, name: str) -> None:
            permit = await take(window, row)
            order.append((row, name))
            window.release(permit, Outcome.GOOD)

        waiting = [(5, "a"), (2, "a"), (9, "a"), (2, "b"), (None, "probe"), (5, "b")]
        tasks = [asyncio.create_task(work(row, name)) for row, name in waiting]
        await let_go_on()
        assert order == [] and window.waiting == 6
        window.release(held, Outcome.GOOD)
        await asyncio.gather(*tasks)
        return order

    assert simulate(main()) == [(None, "probe"), (2, "a"), (2, "b"), (5, "a"), (5, "b"), (9, "a")]


def test_a_slot_cannot_be_given_back_twice_or_unless_it_was_taken() -> None:
    async def main() -> None:
        window, other = CallWindow(2, busy=idle), CallWindow(2, busy=idle)
        permit = await take(window)
        window.release(permit, Outcome.GOOD)
        with pytest.raises(FactoryError, match="given back already"):
            window.release(permit)
        with pytest.raises(FactoryError):
            window.release(await take(other))
        assert window.in_flight == 0

    simulate(main())


def test_a_slot_granted_to_a_task_cancelled_that_moment_goes_to_the_next() -> None:
    async def main() -> None:
        window = CallWindow(1, busy=idle)
        held = await take(window)
        first, second = asyncio.create_task(take(window, 1)), asyncio.create_task(take(window, 2))
        await let_go_on()
        window.release(held, Outcome.GOOD)  # grants `first`, which has not run yet
        first.cancel()
        assert (await second).row == 2 and window.in_flight == 1

    simulate(main())


def test_one_attempt_at_a_time_while_the_server_is_gone_and_all_when_it_is_back() -> None:
    """An outage of 10 s under 40 calls: few attempts are made in it, and nobody is late after it."""

    async def main() -> tuple[list[float], list[tuple[bool, float]], float]:
        loop = asyncio.get_running_loop()
        window, told, attempts = CallWindow(20, busy=idle), list[tuple[bool, float]](), list[float]()
        window.told = lambda opened, failures, seconds: told.append((opened, round(seconds, 1)))
        most = 0

        async def work(row: int) -> None:
            nonlocal most
            while True:
                permit = await take(window, row)
                if window.paused:
                    most = max(most, window.in_flight)
                attempts.append(loop.time())
                await asyncio.sleep(0.01)
                out = 5 <= loop.time() < 15
                if not out:
                    await asyncio.sleep(0.2)
                window.release(permit, Outcome.REFUSED if out else Outcome.GOOD)
                if not out:
                    return
                if not window.paused:
                    await window.rest(30)  # woken long before

        async def arrive(row: int) -> None:
            await asyncio.sleep(row * 0.05)
            await work(row)

        await asyncio.gather(*(arrive(row) for row in range(140)))
        assert most <= 20 and window.in_flight == 0 and not window.paused
        return attempts, told, loop.time()

    attempts, told, end = simulate(main())
    during = [moment for moment in attempts if 5.5 <= moment < 15]
    assert len(during) <= 25, "after the first failures one attempt at a time, and seldom"
    assert max(b - a for a, b in pairwise(during)) <= 1.1
    assert [opened for opened, _ in told] == [True, False] and 9 <= told[1][1] <= 11
    assert end <= 18


def test_a_lone_row_that_fails_is_not_an_outage() -> None:
    async def main() -> bool:
        window = CallWindow(8, busy=idle)
        for _ in range(30):
            window.release(await take(window, 3), Outcome.FAILED)
        return window.paused

    assert not simulate(main())


def test_an_attempt_that_asked_in_vain_and_was_cancelled_lets_the_next_one_ask() -> None:
    async def main() -> None:
        window = CallWindow(8, busy=idle)
        for row in range(10):
            window.release(await take(window, row), Outcome.FAILED)
        assert window.paused and window.limit == 1
        asking = await take(window, 0)
        next_one = asyncio.create_task(take(window, 1))
        await let_go_on()
        assert not next_one.done(), "one at a time"
        window.release(asking)  # cut short: it says nothing
        permit = await next_one
        window.release(permit, Outcome.GOOD)
        assert not window.paused

    simulate(main())


def test_where_many_are_turned_away_for_a_time_all_wait() -> None:
    async def main() -> float:
        window = CallWindow(20, busy=idle)
        for row in range(20):
            window.release(await take(window, row), Outcome.BUSY, retry_after=7.0)
        assert window.limit == 10
        await take(window, 99)
        return asyncio.get_running_loop().time()

    assert simulate(main()) == 7.0


def test_closing_wakes_everybody_who_waits_or_rests() -> None:
    async def main() -> None:
        window = CallWindow(1, busy=idle)
        held = await take(window)
        waiting = [asyncio.create_task(window.acquire(row)) for row in range(5)]
        resting = asyncio.create_task(window.rest(3600))
        await let_go_on()
        window.close()
        assert await asyncio.gather(*waiting) == [None] * 5
        await resting
        assert await window.acquire(1) is None
        window.release(held, Outcome.GOOD)
        assert asyncio.get_running_loop().time() == 0

    simulate(main())


def test_a_pause_outlives_the_event_loop_that_began_it() -> None:
    window = CallWindow(4, busy=idle)

    async def fail() -> None:
        for row in range(10):
            window.release(await take(window, row), Outcome.FAILED)
        waiting = asyncio.create_task(take(window))
        await let_go_on()
        waiting.cancel()

    async def again() -> None:
        window.release(await take(window), Outcome.GOOD)

    simulate(fail())
    assert window.paused
    simulate(again())
    assert not window.paused


def test_a_fixed_window_counts_and_does_nothing_else() -> None:
    async def main() -> None:
        window = CallWindow(3, fixed=True)
        for row in range(50):
            window.release(await take(window, row), Outcome.FAILED, retry_after=9)
        assert window.limit == 3 and not window.paused and asyncio.get_running_loop().time() == 0

    simulate(main())
