"""Who may send next: the slots of one model, given to the oldest row first, as many as `factory.adaptive` allows."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from factory.adaptive import GONE, Breaker, Limit, Outcome, Tag, enough_failures
from factory.errors import FactoryError

Told = Callable[[bool, int, float], None]
"""Told when the breaker opens or closes: whether it is open, failures so far, seconds that the outage took."""


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """A slot that is held. `since`: when it was given, on the event loop's clock."""

    row: int | None
    since: float
    tag: Tag


@dataclass(slots=True, order=True)
class _Waiter:
    age: tuple[int, int]
    row: int | None = field(compare=False)
    granted: asyncio.Future[Permit | None] = field(compare=False)


async def nap(seconds: float, sleepers: set[asyncio.Future[None]]) -> None:
    """Sleep; whoever is in `sleepers` can be woken with `wake`."""
    loop = asyncio.get_running_loop()
    rest: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _end, rest)
    sleepers.add(rest)
    try:
        await rest
    finally:
        timer.cancel()
        sleepers.discard(rest)


def wake(sleepers: set[asyncio.Future[None]]) -> None:
    """End the naps of all sleepers."""
    for rest in sleepers:
        _end(rest)


def _end(rest: asyncio.Future[None]) -> None:
    if not rest.done():
        rest.set_result(None)


class CallWindow:
    """The slots of a model. Single event loop at a time; no thread but its own may call in.

    `limit` and `paused` may be shown to people. `fixed`: neither limit nor breaker, `cap` slots whatever happens.
    """

    def __init__(
        self, cap: int, *, fixed: bool = False, watch: bool = True, busy: Callable[[], float] | None = None
    ) -> None:
        self.cap = cap
        self.in_flight = 0
        self.told: Told = lambda opened, failures, seconds: None
        self._fixed = fixed
        self._limit = Limit(cap, watch=watch and not fixed, busy=busy)
        self._breaker = Breaker(enough_failures(cap))
        self._held: set[Permit] = set()
        self._queue: list[_Waiter] = []
        self._order = 0
        self._blocked_until: float | None = None
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None
        self._probe: Permit | None = None
        self._out_since = 0.0
        self._closed = False
        self._resting: set[asyncio.Future[None]] = set()

    @property
    def limit(self) -> int:
        """Attempts that may be in flight now, from 1 to `cap`."""
        return 1 if self._breaker.open else self._limit.allowed

    @property
    def paused(self) -> bool:
        """Whether the server seems gone: one attempt at a time asks after it."""
        return self._breaker.open

    @property
    def soon(self) -> float | None:
        """Seconds after which a call that was turned away may try again; None: nothing says that it is soon."""
        return self._limit.soon

    @property
    def waiting(self) -> int:
        """Attempts that wait for a slot."""
        return sum(not waiter.granted.done() for waiter in self._queue)

    async def acquire(self, row: int | None) -> Permit | None:
        """Wait for a slot, oldest row first. None when the window was closed meanwhile."""
        if self._closed:
            return None
        if not self._queue and self._may_start():
            return self._grant(row)
        self._order += 1
        age = (-1 if row is None else row, self._order)
        waiter = _Waiter(age, row, asyncio.get_running_loop().create_future())
        heapq.heappush(self._queue, waiter)
        self._serve()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and (permit := granted.result()) is not None:
                self.release(permit)  # granted in the turn of the loop that cancelled it
            raise

    def release(self, permit: Permit, outcome: Outcome = Outcome.UNCLEAR, *, retry_after: float | None = None) -> None:
        """Give a slot back, and tell what its attempt came to. Raises FactoryError for one that is not held."""
        if permit not in self._held:
            raise FactoryError("this slot was given back already")
        self._held.discard(permit)
        if not self._fixed:
            self._learn(permit, outcome, retry_after)
        self.in_flight -= 1
        if self._queue:
            self._serve()

    async def rest(self, seconds: float) -> None:
        """Sleep before another attempt; less when the server is found to be gone, or back."""
        await nap(seconds, self._resting)

    def close(self) -> None:
        """No slot is given any more: whoever waits for one, or rests, leaves."""
        self._closed = True
        wake(self._resting)
        self._serve()

    def reopen(self) -> None:
        """Slots are given again."""
        self._closed = False

    def _may_start(self) -> bool:
        if self._blocked_until is not None and not self._unblock():
            return False
        if self._breaker.open:
            return self._probe is None
        return self.in_flight < self._limit.allowed

    def _unblock(self) -> bool:
        """Whether a pause is over; where it is not, a timer of this event loop will look again."""
        loop = asyncio.get_running_loop()
        assert self._blocked_until is not None
        left = self._blocked_until - loop.time()
        if left <= 0:
            self._blocked_until = None
            return True
        if self._timer is None or self._timer[0] is not loop:
            self._timer = (loop, loop.call_later(left, self._look_again))
        return False

    def _look_again(self) -> None:
        self._timer = None
        self._serve()

    def _block(self, seconds: float) -> None:
        """Give no slot for so long."""
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        self._blocked_until = asyncio.get_running_loop().time() + seconds

    def _serve(self) -> None:
        while self._queue and (self._closed or self._queue[0].granted.done() or self._may_start()):
            waiter = heapq.heappop(self._queue)
            if not waiter.granted.done():
                waiter.granted.set_result(None if self._closed else self._grant(waiter.row))

    def _grant(self, row: int | None) -> Permit:
        self.in_flight += 1
        since = asyncio.get_running_loop().time()
        permit = Permit(row, since, (0, None) if self._fixed else self._limit.start(self.in_flight))
        self._held.add(permit)
        if self._breaker.open:
            self._probe = permit
        return permit

    def _learn(self, permit: Permit, outcome: Outcome, retry_after: float | None) -> None:
        now = asyncio.get_running_loop().time()
        breaker, limit = self._breaker, self._limit
        if breaker.note(outcome, permit.row):
            self._turn(now)
        elif not breaker.open:
            limit.finish(permit.tag, outcome, now - permit.since, self.in_flight, retry_after)
            if limit.hold is not None:
                self._block(limit.hold)
                limit.hold = None
        if permit is self._probe:
            self._probe = None
            if breaker.open and outcome in GONE:
                breaker.lengthen(outcome)
                self._block(breaker.pause)

    def _turn(self, now: float) -> None:
        """The breaker opened or closed. Nobody sleeps over it: whoever rests asks again, and gets its turn."""
        if self._breaker.open:
            self._out_since = now
            self._block(self._breaker.pause)
        else:
            self._probe = self._blocked_until = None
            self._limit.restart(self.in_flight - 1)
        self.told(self._breaker.open, self._breaker.failures, now - self._out_since)
        wake(self._resting)
