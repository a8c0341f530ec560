"""An event loop whose clock is moved, not waited for: hours of timers in milliseconds, the same every time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ClockLoop(asyncio.SelectorEventLoop):
    """Timers only: whoever waits for something that no timer of this loop brings about gets a RuntimeError."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> Any:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing will ever happen")
            self._now += timeout
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now


def simulate(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a simulated clock that starts at 0."""
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        return runner.run(main)
