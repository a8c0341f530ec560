"""Ctrl-C while a dataset is scored: calls in flight get a few seconds and are journaled, then the command leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from factory import batch_jobs
from factory.calling import Calls

GRACE_S = 5.0
CANCEL_AFTER_S = 1.0
"""What hangs elsewhere than in a call, such as a validator, is cancelled so much later."""


@dataclass(slots=True)
class Stop:
    """Whether someone asked to stop, and the tasks that would go on."""

    asked: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


@contextmanager
def stopping(calls: Calls) -> Iterator[Stop]:
    """The first Ctrl-C (or SIGTERM) drains the calls, the second leaves at once. In the main thread only."""
    loop, stop = asyncio.get_running_loop(), Stop()

    def give_up() -> None:
        calls.abandon()
        loop.call_later(CANCEL_AFTER_S, stop.cancel)

    def interrupt() -> None:
        if stop.asked:
            os._exit(130)
        stop.asked = True
        calls.notice("stopping: calls in flight get a few seconds (Ctrl-C again leaves at once)")
        calls.drain()
        batch_jobs.stand_down(calls)
        loop.call_later(GRACE_S, give_up)

    installed = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, interrupt)
                installed.append(number)
    try:
        yield stop
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
