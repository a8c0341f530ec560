"""Given texts measured in forward passes: those that wait together, batched with others of like length. No tensors.

When memory runs out all of a pass wait again and half as many go at once; one that fails alone is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from factory.backends.gpu_time import ShareMeter
from factory.backends.transformers.engine import Runner, Work
from factory.backends.transformers.problems import is_out_of_memory, too_large
from factory.errors import CallFault
from factory.types import Response

_LOOKAHEAD = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Measurement(Generic[Item, Result]):
    """A text to measure. `size`: its tokens. `finish` makes the answer of what the pass found."""

    item: Item
    size: int
    finish: Callable[[Result, float | None], Response]
    future: Future[Response]

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return not self.future.done()

    def fail(self, fault: BaseException) -> None:
        """Tell whoever waits."""
        if self.wanted and self.future.set_running_or_notify_cancel():
            self.future.set_exception(fault)

    def deliver(self, result: Result, gpu_seconds: float | None) -> None:
        """Hand over what was found."""
        if self.wanted and self.future.set_running_or_notify_cancel():
            self.future.set_result(self.finish(result, gpu_seconds))


@dataclass(frozen=True, slots=True)
class PassLimits:
    """Texts in one pass, and their tokens with padding; a single text may have more."""

    rows: int
    tokens: int


class Passes(Generic[Item, Result]):
    """The texts that wait. One thread owns it.

    `compute` measures some at once; in a result's place it may give a fault. `device`: what is told when memory runs
    out.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result | CallFault]],
        limits: PassLimits,
        meter: ShareMeter | None,
        device: str,
    ):
        self._compute, self._meter, self._device = compute, meter, device
        self.limits = limits
        self._waiting: deque[Measurement[Item, Result]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def jobs(self) -> list[Measurement[Item, Result]]:
        """Those that wait."""
        return list(self._waiting)

    def add(self, job: Measurement[Item, Result]) -> None:
        """Queue a text."""
        self._waiting.append(job)
        if self._meter is not None:
            self._meter.start(id(job))

    def step(self) -> None:
        """One pass: the text that waits longest, and those nearest to it in length, as far as the limits go."""
        chosen = self._choose()
        if not chosen:
            return
        try:
            results = self._compute([job.item for job in chosen])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._take_out(chosen)
            for job, result in zip(chosen, results, strict=True):
                seconds = self._stop_meter(job)
                if isinstance(result, CallFault):
                    job.fail(result)
                else:
                    job.deliver(result, seconds)
            return
        self._make_way(chosen)  # outside the handler, so that the traceback holds no memory

    def drop_unwanted(self) -> None:
        """Let texts go that nobody waits for any more."""
        self._discard([job for job in self._waiting if not job.wanted])

    def fail_all(self, fault: BaseException) -> None:
        """Every text ends with this fault."""
        waiting = list(self._waiting)
        self._discard(waiting)
        for job in waiting:
            job.fail(fault)

    def _choose(self) -> list[Measurement[Item, Result]]:
        if not self._waiting:
            return []
        head = self._waiting[0]
        seen = list(islice(self._waiting, _LOOKAHEAD * self.limits.rows))
        seen.sort(key=lambda job: (job is not head, abs(job.size - head.size)))  # stable: first come, first served
        chosen: list[Measurement[Item, Result]] = []
        longest = 0
        for job in seen[: self.limits.rows]:
            longest = max(longest, job.size)
            if chosen and (len(chosen) + 1) * longest > self.limits.tokens:
                break
            chosen.append(job)
        return chosen

    def _make_way(self, chosen: Sequence[Measurement[Item, Result]]) -> None:
        if len(chosen) == 1:
            self._discard(chosen)
            chosen[0].fail(too_large(chosen[0].size, self._device))
            return
        self.limits = PassLimits(max(1, len(chosen) // 2), max(1, self.limits.tokens // 2))

    def _take_out(self, chosen: Sequence[Measurement[Item, Result]]) -> None:
        gone = set(map(id, chosen))
        self._waiting = deque(job for job in self._waiting if id(job) not in gone)

    def _discard(self, jobs: Sequence[Measurement[Item, Result]]) -> None:
        self._take_out(jobs)
        for job in jobs:
            self._stop_meter(job)

    def _stop_meter(self, job: Measurement[Item, Result]) -> float | None:
        return self._meter.stop(id(job)) if self._meter is not None else None


class Desk:
    """A model that writes and measures: a runner for each, and a step of both in turn."""

    def __init__(self, writer: Runner[Any], reader: Passes[Any, Any]):
        self.writer, self.reader = writer, reader

    def __len__(self) -> int:
        return len(self.writer) + len(self.reader)

    def jobs(self) -> list[Work]:
        """All that run or wait."""
        return [*self.writer.jobs(), *self.reader.jobs()]

    def add(self, job: Any) -> None:
        """Queue what is to be written, or measured."""
        (self.reader if isinstance(job, Measurement) else self.writer).add(job)

    def step(self) -> None:
        """A token for all that is written, then one pass of what is measured."""
        if len(self.writer):
            self.writer.step()
        if len(self.reader):
            self.reader.step()

    def drop_unwanted(self) -> None:
        """Let go what nobody waits for any more."""
        self.writer.drop_unwanted()
        self.reader.drop_unwanted()

    def fail_all(self, fault: BaseException) -> None:
        """Everything ends with this fault."""
        self.writer.fail_all(fault)
        self.reader.fail_all(fault)
