"""The call layer: replay, or lease → one attempt → commit; again after a transient fault.

Everything dear passes through `Calls.call`. A call whose answer is in the journal is never made again; an answer is
seen by nobody before it is committed; a concurrency slot is released only after that commit, so a kill can repeat at
most the calls that were in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from factory.adaptive import Outcome
from factory.admission import nap, wake
from factory.attempts import (
    OpenModel,
    Sent,
    backend_notes,
    check_answer,
    cut_short,
    expected_tokens,
    keeps_intent,
    ledger_entry,
    name_bug,
    now_text,
    price_of,
    prompt_bytes,
    refusal_of,
    refused_text,
    said,
    server_of,
    where,
    worst_case,
)
from factory.budget import Budget, Reservation
from factory.errors import (
    CallBarred,
    CallFault,
    ConnectionLost,
    Incomplete,
    Overloaded,
    Permanent,
    Refused,
    ServerUnreachable,
)
from factory.health import REFUSED_ROWS, Patience, Trouble, backoff
from factory.journal import Journal, Lease, Stored
from factory.pacing import Turn
from factory.prices import cost
from factory.types import LedgerEntry, Request, Response

__all__ = ["Calls", "Counters", "Draining", "OpenModel", "ReplayMiss", "backend_notes", "prompt_bytes", "worst_case"]


OUTAGE_TOLD_S = 30.0
"""Seconds between two notices that the same server is gone."""


class ReplayMiss(CallBarred):
    """A call is not in the journal, and no call may be made now."""

    def __init__(self, request: Request):
        super().__init__(f"row {request.row}, step {request.step}, {request.purpose} {request.index}")
        self.request = request


class Draining(CallBarred):
    """The run is stopping: calls in flight finish, this one did not start."""


@dataclass(slots=True)
class Counters:
    """What the progress display and the summary count. Tokens are those of this process's own calls."""

    calls: int = 0
    replayed: int = 0
    attempts: int = 0
    in_flight: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    gpu_seconds: float = 0.0


class Calls:
    """The calls of one run. Single event loop.

    `live` False makes every miss a `ReplayMiss`; `draining` True keeps new attempts from starting.
    """

    def __init__(
        self,
        journal: Journal,
        budget: Budget,
        models: dict[str, OpenModel],
        *,
        notice: Callable[[str], None] = lambda text: None,
        patience: Patience | None = None,
    ):
        self.journal = journal
        self.budget = budget
        self.models = models
        self.notice = notice
        self.patience = patience or Patience()
        self.counters = Counters()
        self.live = False
        self.draining = False
        self._sleepers: set[asyncio.Future[None]] = set()
        self._sending: set[asyncio.Task[object]] = set()
        self._abandoned = False
        self.served: dict[str, set[str]] = {}
        self._overrun_told = False
        self._outages: set[str] = set()
        self._outages_told: dict[str, float] = {}
        for model in models.values():
            model.window.told = partial(self._tell_outage, model)

    def drain(self) -> None:
        """No further attempt starts; whoever sleeps between attempts wakes and leaves."""
        self.draining = True
        wake(self._sleepers)
        for model in self.models.values():
            model.window.close()

    def reopen(self) -> None:
        """Attempts may start again, after a drain that only meant that no further row was wanted."""
        self.draining = False
        for model in self.models.values():
            model.window.reopen()

    def abandon(self) -> None:
        """Drain, and wait for no answer any more: what is in flight is recorded as lost, its callers get Draining."""
        self.drain()
        self._abandoned = True
        for task in self._sending:
            task.cancel()

    def tell_notes(self) -> None:
        """Pass on what backends have to say of their servers at the end, such as parameters that were refused."""
        for model in self.models.values():
            for told in backend_notes(model.backend):
                self.notice(told)

    async def call(self, role: str, request: Request, *, decided: bool = False) -> Stored:
        """The stored answer (outcome `ok`), or the stored refusal, of a request.

        `decided`: a refusal stands even where failures are to be asked again; it has shaped the calls that followed.
        Raises ReplayMiss when not live, Draining, or an Incomplete that stops the run.
        """
        call_id = request.call_id
        stored = self.journal.get(call_id, decided=decided)
        if stored is not None:
            self.counters.replayed += 1
        elif self.live:
            stored = await self._make(self.models[role], request, call_id)
        else:
            raise ReplayMiss(request)
        if stored.response is not None:
            self.served.setdefault(role, set()).add(stored.response.model)
        return stored

    async def _make(self, model: OpenModel, request: Request, call_id: str) -> Stored:
        attempt = self.journal.next_attempt(call_id)
        trouble = model.health.begin(request.row)
        waits = 0
        try:
            while True:
                result = await self._attempt(model, request, call_id, attempt, trouble)
                if isinstance(result, Stored):
                    self.counters.calls += 1
                    return result
                attempt += 1
                if told := model.health.out_of_patience(self.patience, result):
                    raise self._unreachable(model, result, told)
                self.counters.retries += 1
                waits = await self._wait_to_retry(model, call_id, waits, result)
        finally:
            model.health.end(trouble)

    async def _wait_to_retry(self, model: OpenModel, call_id: str, waits: int, fault: CallFault) -> int:
        """Wait before another attempt, after `waits` waits of the call; how many it has had then.

        Where the server is gone nobody sleeps: the window lets one attempt through at a time, and all when it is back.
        """
        asked = isinstance(fault, Overloaded) and fault.retry_after is not None
        if model.window.paused and not asked:
            return 0
        seconds = backoff(call_id, waits + 1, fault, model.window.soon)
        if asked:
            await self._pause(seconds)
        elif not self.draining:
            await model.window.rest(seconds)
        if self.draining:
            raise Draining
        return waits + 1

    async def _attempt(
        self, model: OpenModel, request: Request, call_id: str, attempt: int, trouble: Trouble
    ) -> Stored | CallFault:
        """One attempt, committed. A Stored ends the call; a fault means another attempt.

        The worst case is set aside before a slot is taken: who waits for money must not hold what others need.
        """
        bound = worst_case(price_of(model, request.purpose), request)
        reservation = await self._reserve(model, request, bound)
        spent: int | None = 0  # until something is sent
        permit = sent = None
        try:
            if not model.unbounded:
                permit = await model.window.acquire(request.row)
            turn = await self._wait_for_turn(model, request)
            lease = Lease(
                call_id, attempt, request.row, request.step, request.purpose, model.config.name, bound, now_text()
            )
            sent = await self._send(model, request, lease)
            spent = None  # not known before it is committed
            if sent.stopped is not None and keeps_intent(model, request):
                raise sent.stopped  # it goes on at the server, and its answer is booked when it is fetched
            stored = self._decide(model, request, call_id, sent, trouble)
            if turn is not None and sent.response is not None:
                usage = sent.response.usage
                model.pace.correct(turn, usage.prompt_tokens + usage.completion_tokens)
            entry = ledger_entry(model, lease, sent, stored)
            await self.journal.settle(entry, None if keeps_intent(model, request) else lease, stored)
            spent = entry.nano_usd if entry.nano_usd is not None else entry.upper_bound_nano_usd
        finally:
            if permit is not None:
                outcome = Outcome.UNCLEAR if sent is None else sent.outcome
                model.window.release(permit, outcome, retry_after=None if sent is None else sent.retry_after)
            if reservation is not None:
                self.budget.settle(reservation, spent)
        self._check_overrun(entry, spent, bound)
        if sent.stopped is not None:
            raise sent.stopped
        return self._after(model, request, sent.fault, stored)

    async def _reserve(self, model: OpenModel, request: Request, bound: int | None) -> Reservation | None:
        if self.budget.cap is None:
            return None
        claim = getattr(model.backend, "claim", None)  # what a batch of an earlier process holds is set aside already
        claimed: Reservation | None = claim(request.call_id) if claim is not None else None
        return claimed or await self.budget.reserve(request.row, bound, recorded=keeps_intent(model, request))

    async def _wait_for_turn(self, model: OpenModel, request: Request) -> Turn | None:
        """Leave when the run is stopping; keep to the model's requests and tokens a minute."""
        if self.draining:
            raise Draining
        if model.pace.unlimited:
            return None
        now = time.monotonic()
        turn = model.pace.take(expected_tokens(request), now)
        if turn.start > now:
            await self._pause(turn.start - now)
        return turn

    async def _send(self, model: OpenModel, request: Request, lease: Lease) -> Sent:
        """Lease, then one attempt of the backend. Raises StorageFull when the lease cannot be written."""
        task = asyncio.current_task()
        assert task is not None
        response: Response | None = None
        fault: CallFault | None = None
        stopped: BaseException | None = None
        leased = False
        started = time.monotonic()
        self.counters.in_flight += 1
        self._sending.add(task)
        try:
            if not keeps_intent(model, request):
                await self.journal.lease(lease, durable=self.budget.cap is not None)
            leased = True
            self.counters.attempts += 1
            response = check_answer(await self._generate(model, request))
        except CallFault as error:
            fault = error
        except BaseException as error:  # cancelled, or a bug of the backend: nobody knows what it cost
            if not leased and not isinstance(error, asyncio.CancelledError):
                raise
            fault, stopped = cut_short(error, leased), error if isinstance(error, Draining) else name_bug(model, error)
        finally:
            self._sending.discard(task)
            self.counters.in_flight -= 1
        if isinstance(stopped, asyncio.CancelledError) and self._abandoned:
            task.uncancel()
            stopped = Draining()
        return Sent(response, fault, stopped, time.monotonic() - started)

    async def _generate(self, model: OpenModel, request: Request) -> Response:
        """One attempt of the backend. A server that never answered anything is not waited for by the whole timeout.

        A slow first answer is no silence: a backend that can tell (`responds(seconds)`) is asked before.
        """
        responds = getattr(model.backend, "responds", None)
        if responds is None or model.health.answered:
            return await model.backend.generate(request)
        patience = self.patience.silent
        attempt = asyncio.ensure_future(model.backend.generate(request))
        try:
            done, _ = await asyncio.wait({attempt}, timeout=patience * 2 / 3)
            if not done and not model.health.answered and not await responds(patience / 3) and not attempt.done():
                fault = ConnectionLost(f"nothing came within {patience:g} s")
                raise self._unreachable(model, fault, "has not answered at all")
            return await attempt
        finally:
            attempt.cancel()

    def _decide(self, model: OpenModel, request: Request, call_id: str, sent: Sent, trouble: Trouble) -> Stored | None:
        """What the journal keeps as the end of this call: the answer, a refusal, a giving up, or nothing yet."""
        price, fault = price_of(model, request.purpose), sent.fault
        if sent.stopped is not None:
            return None
        if sent.response is not None:
            nano = cost(price, sent.response.usage)
            return Stored(call_id, "ok", sent.response, "", nano, price.source, request.content())
        if fault is None or isinstance(fault, Refused):
            return None
        if isinstance(fault, Permanent):
            return Stored(
                call_id, fault.outcome, None, refused_text(fault, request), 0, price.source, request.content()
            )
        if model.health.fail(trouble, fault):
            message = f"gave up after {trouble.failures} attempts: {fault.message}"
            return Stored(call_id, "gave_up", None, message, 0, price.source, request.content())
        return None

    def _check_overrun(self, entry: LedgerEntry, spent: int | None, bound: int | None) -> None:
        if spent is not None and bound is not None and spent > bound and not self._overrun_told:
            self._overrun_told = True
            self.notice(
                f"{entry.model} billed more than the worst case of a call: it seems to ignore max_tokens, "
                "so the budget cannot be guaranteed"
            )

    def _after(
        self, model: OpenModel, request: Request, fault: CallFault | None, stored: Stored | None
    ) -> Stored | CallFault:
        """Keep the model's health, and stop the run when nothing more can succeed."""
        health = model.health
        if isinstance(fault, Refused):
            raise refusal_of(model, fault)
        if fault is None:
            health.succeed()
            assert stored is not None and stored.response is not None
            self.counters.prompt_tokens += stored.response.usage.prompt_tokens
            self.counters.completion_tokens += stored.response.usage.completion_tokens
            self.counters.gpu_seconds += stored.response.usage.gpu_seconds or 0.0
            return stored
        if stored is None:
            return fault
        health.answered = True
        health.refused_rows.add(request.row)
        if len(health.refused_rows) >= REFUSED_ROWS:
            raise ServerUnreachable(
                f"{model.config.name} refused {REFUSED_ROWS} rows and answered none between: {fault.message[:400]}",
                "mend the cause, then run the same command with --retry-failed",
            )
        return stored

    @staticmethod
    def _unreachable(model: OpenModel, fault: CallFault, told: str) -> Incomplete:
        return ServerUnreachable(
            f"{where(model)} {told}: {said(model, fault)[:400]}",
            "check base_url and that the server runs (`factory doctor RECIPE`); the same command goes on",
        )

    async def _pause(self, seconds: float) -> None:
        """Sleep; raises Draining as soon as the run stops."""
        if not self.draining:
            await nap(seconds, self._sleepers)
        if self.draining:
            raise Draining

    def _tell_outage(self, model: OpenModel, opened: bool, failures: int, seconds: float) -> None:
        """Say that a server is gone, and that it is back; not again and again of one that comes and goes."""
        now, told = time.monotonic(), self._outages_told
        if opened and not self.draining and now - told.get(model.role, -OUTAGE_TOLD_S) >= OUTAGE_TOLD_S:
            told[model.role] = now
            self._outages.add(model.role)
            self.notice(
                f"{server_of(model)}: nothing succeeded in the last {failures} attempts; waiting, one attempt at a time"
            )
        elif not opened and model.role in self._outages:
            self._outages.discard(model.role)
            self.notice(f"{server_of(model)}: back after {seconds:.0f} s")
