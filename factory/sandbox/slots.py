"""How many sandboxes run at once: one for each core, each with user ids of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

FIRST_USER = 1 << 30
USERS_PER_PROCESS = 256
PROCESSES = 1 << 22


class Slots:
    """A bounded number of places, numbered from 0."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.LifoQueue[int]()
        for number in reversed(range(count)):
            self._free.put_nowait(number)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[int]:
        """Wait for a place; its number is this caller's until the block ends."""
        number = await self._free.get()
        try:
            yield number
        finally:
            self._free.put_nowait(number)


_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, Slots] = WeakKeyDictionary()


def cores() -> int:
    """Cores that this process may use, at most 64."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(64, count))


def slots() -> Slots:
    """The places of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _slots:
        _slots[loop] = Slots(cores())
    return _slots[loop]


def unused_user(place: int, part: int = 0) -> int:
    """A user id above all that systems hand out, of this process and place alone: limits that the kernel counts by
    user then count one sandbox. `part` tells programs of one place apart (0 or 1)."""
    return FIRST_USER + (os.getpid() % PROCESSES) * USERS_PER_PROCESS + place * 2 + part
