"""The queue of requests that wait to leave together, and when the wave is due."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from factory.batch_jobs.record import Asked
from factory.batch_jobs.shards import Limits, Timing, cut
from factory.types import Request, Response

RETURN_S = 60.0
"""A call that is to be asked again is waited for so long before the next wave leaves without it."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A request that waits to be sent, as a line and as a future."""

    asked: Asked
    line: bytes
    request: Request
    future: asyncio.Future[Response]


class Queue:
    """Requests in the order in which they joined. Times are those of the event loop's clock, in seconds."""

    def __init__(self, limits: Limits, timing: Timing):
        self.limits = limits
        self._timing = timing
        self._waiting: dict[str, Queued] = {}
        self._bytes = 0
        self._first = self._last = 0.0
        self._returning: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, queued: Queued, now: float) -> None:
        """A request joins."""
        if not self._waiting:
            self._first = now
        self._last = now
        self._waiting[queued.asked.call_id] = queued
        self._bytes += len(queued.line) + 1
        self._returning.pop(queued.asked.call_id, None)

    def remove(self, call_id: str, future: asyncio.Future[Response]) -> None:
        """Whoever waited for it is gone, so it is not sent."""
        queued = self._waiting.get(call_id)
        if queued is not None and queued.future is future:
            del self._waiting[call_id]
            self._bytes -= len(queued.line) + 1

    def futures(self) -> list[asyncio.Future[Response]]:
        """Those of all that wait."""
        return [queued.future for queued in self._waiting.values()]

    def expect(self, call_id: str, now: float) -> None:
        """A call failed and will soon be asked again: the wave waits for it."""
        self._returning[call_id] = now + RETURN_S

    def due_in(self, now: float, busy: int) -> float | None:
        """Seconds until the wave is due, or is to be looked at again; 0 for now, None with an empty queue.

        It leaves when it is full, or when nobody has joined for a while and nothing that could make somebody join is
        under way: no call of another model (`busy`), no call between two attempts. It is held for so long at most.
        """
        if not self._waiting:
            return None
        if len(self._waiting) >= self.limits.requests or self._bytes >= self.limits.bytes:
            return 0.0
        latest = self._first + self._timing.hold - now
        if latest <= 0:
            return 0.0
        quiet = self._last + self._timing.quiet - now
        if quiet > 0:
            return min(quiet, latest)
        self._returning = {call: until for call, until in self._returning.items() if until > now}
        if busy > 0 or self._returning:
            return min(self._timing.quiet, latest)
        return 0.0

    def take(self) -> list[list[Queued]]:
        """Everything that waits, cut into shards."""
        taken = list(self._waiting.values())
        self._waiting.clear()
        self._bytes = 0
        return [taken[part] for part in cut([len(queued.line) + 1 for queued in taken], self.limits)]
