"""Long computations beside the event loop, so that Ctrl-C and the progress display live while an audit counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

GRACE_S = 3.0
Result = TypeVar("Result")


class Left(BaseException):
    """The audit was asked to stop. No exception of its own work, so that nothing swallows it."""


@dataclass(slots=True)
class Aside:
    """A thread with an event loop of its own. `stop()` makes the work leave where it next tells of its progress."""

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    stopped: bool = False
    _give_up: Callable[[], None] | None = None

    def stop(self) -> None:
        """To be called in the loop. What takes longer than a few seconds to leave is not waited for."""
        self.stopped = True
        if self._give_up is not None:
            self.loop.call_later(GRACE_S, self._give_up)

    def check(self) -> None:
        """Raise Left when the work is to stop."""
        if self.stopped:
            raise Left

    def here(self, function: Callable[..., Coroutine[Any, Any, Result]]) -> Callable[..., Awaitable[Result]]:
        """A coroutine function of this loop, callable from the thread's."""

        async def call(*args: Any, **kwargs: Any) -> Result:
            self.check()
            asked = asyncio.run_coroutine_threadsafe(function(*args, **kwargs), self.loop)
            return await asyncio.wrap_future(asked)

        return call

    async def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result | None:
        """What the work gives; None when it was stopped. Raises what it raises."""
        done: asyncio.Future[Result | None] = self.loop.create_future()

        def finish(result: Result | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None or isinstance(error, Left):
                done.set_result(result)
            else:
                done.set_exception(error)

        self._give_up = partial(finish, None, None)

        def body() -> None:
            result, error = None, None
            try:
                result = asyncio.run(work())
            except BaseException as raised:
                error = raised
            if not self.loop.is_closed():
                self.loop.call_soon_threadsafe(finish, result, error)

        threading.Thread(target=body, name="factory-audit", daemon=True).start()
        return await done
