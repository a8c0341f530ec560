"""The order of a run: rows start ahead, finish in any order, and are committed in row order.

First the journal is replayed in order up to the first missing call; only past it are calls made. What is paid past
the target is bounded: a row starts only while the rows accepted and expected do not yet reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from factory.batch_jobs import stand_down
from factory.budget import Budget
from factory.calling import Draining, ReplayMiss
from factory.curation import Committed, Curation
from factory.errors import BudgetSpent, FactoryError, Incomplete
from factory.generating import Generation, make_row
from factory.types import RowOutcome
from factory.worst_case import row_worst_case

WAITING_BYTES = 64 << 20
"""Finished rows that wait for their turn may take this much; beyond it they are computed again from the journal."""
YIELD_EVERY = 32
"""Replayed rows between two chances for the progress display and for the calls in flight."""
WAVE_Z = 0.84
"""Batch models: a later wave is as large as reaches the target with a probability of 0.8 (this many deviations above).

Each wave may take a day. Simulated runs to 1,000 rows, waves and rows paid past the target: at an acceptance of 0.5,
2.25 waves and 2.2% (aiming at the mean: 2.81 and 1.0%; at a probability of 0.95: 2.06 and 3.9%); at 0.9, 2.12 and 0.4%
(2.39 and 0.2%); at 0.1, 2.23 and 9.5% (2.94 and 3.8%).
"""
WAVE_KNOWN = 30
"""Committed rows from which on the acceptance is known well enough for that."""
WAVE_MARGIN = 0.25
"""The most that such a wave aims above what is missing, as a share of it."""
CANCEL_AFTER_S = 1.0
"""Seconds between giving up the calls in flight and giving up the rows that still do not end."""


@dataclass(slots=True)
class Window:
    """The state of the walk over the plan. `sink` gets every committed row, in order.

    `waves`: a batch model is in use. Rows then start only when none is running: the first answers of a wave say little
    of the acceptance, and what is started on their word is paid.
    """

    generation: Generation
    curation: Curation
    budget: Budget
    sink: Callable[[RowOutcome, Committed], None]
    target: int | None
    limit: int
    rows_in_flight: int
    waves: bool = False
    next_row: int = 0
    committed: int = 0
    failure: BaseException | None = None
    miss: ReplayMiss | None = None
    _sink_failed: bool = False
    _worst: tuple[int, int] = (-1, 0)
    _finished: dict[int, RowOutcome | None] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    _waiting_bytes: int = 0
    _running: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _done: asyncio.Queue[tuple[int, RowOutcome | BaseException]] = field(default_factory=asyncio.Queue)

    @property
    def accepted(self) -> int:
        return self.curation.accepted

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def reached(self) -> bool:
        return self.target is not None and self.accepted >= self.target

    async def replay(self) -> None:
        """Commit rows in order while the journal has all their calls."""
        while not self.reached and self.next_row < self.limit:
            try:
                outcome = await make_row(self.generation, self.next_row)
            except ReplayMiss as miss:
                self.miss = miss
                return
            self.next_row += 1
            self._commit(outcome)
            if self.next_row % YIELD_EVERY == 0:
                await asyncio.sleep(0)
                if self.generation.calls.draining:
                    return

    async def advance(self) -> None:
        """Make calls until the target, the plan's end, or a failure (kept in `failure`); nothing is left running."""
        self._start_rows()
        while self._running:
            await self._collect(*await self._done.get())
            while not self._done.empty():
                await self._collect(*self._done.get_nowait())
            await self._commit_ready()
            if self.reached:
                self.generation.calls.drain()
            self._start_rows()

    def cancel(self) -> None:
        """Give up what is in flight, as lost attempts. Rows that hang elsewhere are cancelled soon after."""
        self.generation.calls.abandon()
        asyncio.get_running_loop().call_later(CANCEL_AFTER_S, self._cancel_rows)

    def _cancel_rows(self) -> None:
        for task in self._running.values():
            task.cancel()

    def _start_rows(self) -> None:
        calls = self.generation.calls
        if self.waves and self.target is not None and self._running:
            return
        while not calls.draining and self.failure is None and self._wants_row():
            if not self._admit(self.next_row):
                return
            row = self.next_row
            self.next_row += 1
            self._running[row] = asyncio.create_task(self._run(row))

    def _wants_row(self) -> bool:
        if self.next_row >= self.limit or len(self._running) >= self.rows_in_flight:
            return False
        if self.target is None:
            return True
        rows = self.next_row - self.committed
        expected = self.curation.p_hat * rows
        if self.waves:
            expected -= wave_margin(self.curation, rows, self.target - self.accepted)
        return self.accepted + expected < self.target

    def _admit(self, row: int) -> bool:
        """Whether the budget takes the row at its worst case. Nothing running and no room: the budget is spent."""
        if self.budget.cap is None:
            return True
        if self._worst[0] != row:
            self._worst = (row, row_worst_case(self.generation, row))
        worst = self._worst[1]
        if self.budget.can_admit(worst):
            self.budget.admit(row, worst)
            return True
        if not self._running and self._done.empty():
            self.failure = self.budget.shortage(worst)
        return False

    async def _run(self, row: int) -> None:
        result: RowOutcome | BaseException
        try:
            result = await make_row(self.generation, row)
        except (Exception, asyncio.CancelledError) as error:
            result = error
        self._done.put_nowait((row, result))

    async def _collect(self, row: int, result: RowOutcome | BaseException) -> None:
        task = self._running.pop(row)
        await task
        self.budget.release(row)
        if isinstance(result, RowOutcome):
            self._keep(result)
        elif not isinstance(result, Draining | asyncio.CancelledError):
            self._fail(result)

    def _fail(self, error: BaseException) -> None:
        """Remember why no further row starts: the first reason, or the first that is no mere stop.

        A spent budget lets the rows that are in finish; all else stops them, after the calls in flight.
        """
        if self.failure is None or (isinstance(self.failure, Incomplete) and not isinstance(error, Incomplete)):
            self.failure = error
        if not isinstance(error, BudgetSpent):
            self.generation.calls.drain()
            if self.waves:  # batches go on at the server: no need to wait for them now
                stand_down(self.generation.calls)

    def _keep(self, outcome: RowOutcome) -> None:
        """Hold a finished row until its turn; beyond the byte cap only that it is finished."""
        size = _size(outcome)
        if self._waiting_bytes + size > WAITING_BYTES and outcome.row != self.committed:
            self._finished[outcome.row] = None
            return
        self._finished[outcome.row] = outcome
        self._sizes[outcome.row] = size
        self._waiting_bytes += size

    async def _commit_ready(self) -> None:
        """Commit whatever is due. A failure to do so ends the run, after the calls in flight."""
        while self.committed in self._finished and not self._sink_failed:
            row = self.committed
            outcome = self._finished.pop(row)
            self._waiting_bytes -= self._sizes.pop(row, 0)
            try:
                self._commit(outcome or await self._make_again(row))
            except Exception as error:  # told when nothing is in flight any more
                self._sink_failed = True
                self._fail(error)

    async def _make_again(self, row: int) -> RowOutcome:
        """A finished row that was not held in memory, from the journal."""
        if row % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        try:
            return await make_row(self.generation, row)
        except (Draining, ReplayMiss) as error:
            raise FactoryError(f"row {row} was journaled and is not: {error}") from error

    def _commit(self, outcome: RowOutcome) -> None:
        committed = self.curation.commit(outcome)
        self.committed += 1
        self.sink(outcome, committed)


def wave_margin(curation: Curation, rows: int, missing: int) -> float:
    """How far below its mean the yield of so many rows is reckoned, so that a wave seldom falls short by a few.

    WAVE_Z standard deviations of the yield, of which each row gives 0 to top_k, the acceptance itself being known from
    the committed rows alone (Bhatia and Davis' bound on the variance).
    """
    if curation.committed < WAVE_KNOWN:
        return 0.0
    mean = curation.p_hat
    variance = max(0.0, mean * (curation.top_k - mean)) * rows * (1 + rows / curation.committed)
    return float(min(WAVE_Z * variance**0.5, WAVE_MARGIN * missing))


def _size(outcome: RowOutcome) -> int:
    scored = [*outcome.ranked, *(verdict.scored for verdict in outcome.rejected)]
    return 2000 + sum(2 * len(one.candidate.text) + 500 for one in scored)
