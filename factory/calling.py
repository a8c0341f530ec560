"""The call layer: replay, or lease → one attempt → commit; again after a transient fault.

Everything dear passes through `Calls.call`. A call whose answer is in the journal is never made again; an answer is
seen by nobody before it is committed; a concurrency slot is released only after that commit, so a kill can repeat at
most the calls that were in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from factory.backends import Backend
from factory.backends.addresses import DEFAULT_KEY, server_name
from factory.budget import Budget, Reservation
from factory.errors import (
    CallFault,
    ConnectionFailed,
    ConnectionLost,
    FactoryError,
    Incomplete,
    KeyRefused,
    NoChoices,
    Permanent,
    QuotaSpent,
    Refused,
    ServerUnreachable,
    Unauthorized,
)
from factory.health import REFUSED_ROWS, Health, Pace, Patience, Trouble, backoff
from factory.journal import Journal, Lease, Stored
from factory.prices import PriceTable, cost, upper_bound
from factory.recipe import ModelConfig
from factory.types import LedgerEntry, Request, Response, Usage


class ReplayMiss(Exception):
    """A call is not in the journal, and no call may be made now."""

    def __init__(self, request: Request):
        super().__init__(f"row {request.row}, step {request.step}, {request.purpose} {request.index}")
        self.request = request


class Draining(Exception):
    """The run is stopping: calls in flight finish, this one did not start."""


@dataclass(slots=True)
class OpenModel:
    """A model of the recipe, ready to be called. `slots` bounds the attempts in flight."""

    role: str
    config: ModelConfig
    backend: Backend
    price: PriceTable
    slots: asyncio.Semaphore
    concurrency: int
    health: Health = field(default_factory=Health)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.pace = Pace(self.config.requests_per_minute, self.config.tokens_per_minute)


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


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of one attempt. `stopped`: the cancellation, or the bug of a backend, that ended it."""

    response: Response | None
    fault: CallFault | None
    stopped: BaseException | None
    latency: float


def backend_notes(backend: Backend) -> tuple[str, ...]:
    """What a backend that has `notes()` says of its server; empty for one that has none."""
    notes = getattr(backend, "notes", None)
    return tuple(str(told) for told in notes()) if notes is not None else ()


def prompt_bytes(request: Request) -> int:
    """UTF-8 bytes of all messages: an upper bound of their tokens for byte-level vocabularies."""
    return sum(len(message.content.encode()) for message in request.messages)


def worst_case(price: PriceTable, request: Request) -> int | None:
    """Nano-USD that one attempt can cost at most; None when the price or `max_tokens` is unknown."""
    size = prompt_bytes(request)
    return upper_bound(price, size, len(request.messages), request.sampling.max_tokens, request.n)


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
        self._stop = asyncio.Event()
        self._sending: set[asyncio.Task[object]] = set()
        self._abandoned = False
        self.served: dict[str, set[str]] = {}
        self._overrun_told = False

    def drain(self) -> None:
        """No further attempt starts; whoever sleeps between attempts wakes and leaves."""
        self.draining = True
        self._stop.set()

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

    async def call(self, role: str, request: Request) -> Stored:
        """The stored answer (outcome `ok`), or the stored refusal, of a request.

        Raises ReplayMiss when not live, Draining, or an Incomplete that stops the run.
        """
        call_id = request.call_id
        stored = self.journal.get(call_id)
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
                await self._pause(backoff(call_id, trouble.failures, result))
        finally:
            model.health.end(trouble)

    async def _attempt(
        self, model: OpenModel, request: Request, call_id: str, attempt: int, trouble: Trouble
    ) -> Stored | CallFault:
        """One attempt, committed. A Stored ends the call; a fault means another attempt.

        The worst case is set aside before a slot is taken: who waits for money must not hold what others need.
        """
        bound = worst_case(model.price, request)
        reservation = await self._reserve(request, bound)
        spent: int | None = 0  # until something is sent
        try:
            async with model.slots:
                await self._wait_for_turn(model, request)
                lease = Lease(
                    call_id, attempt, request.row, request.step, request.purpose, model.config.name, bound, _now()
                )
                sent = await self._send(model, request, lease)
                spent = None  # not known before it is committed
                stored = self._decide(model, request, call_id, sent, trouble)
                entry = _entry(model, lease, sent, stored)
                await self.journal.settle(entry, lease, stored)
                spent = entry.nano_usd if entry.nano_usd is not None else entry.upper_bound_nano_usd
        finally:
            if reservation is not None:
                self.budget.settle(reservation, spent)
        self._check_overrun(entry, spent, bound)
        if sent.stopped is not None:
            raise sent.stopped
        return self._after(model, request, sent.fault, stored)

    async def _reserve(self, request: Request, bound: int | None) -> Reservation | None:
        if self.budget.cap is None:
            return None
        return await self.budget.reserve(request.row, bound)

    async def _wait_for_turn(self, model: OpenModel, request: Request) -> None:
        """Leave when the run is stopping; keep to the model's requests and tokens a minute."""
        if self.draining:
            raise Draining
        if not model.pace.unlimited:
            wait = model.pace.take(_expected_tokens(request), time.monotonic())
            if wait > 0:
                await self._pause(wait)

    async def _send(self, model: OpenModel, request: Request, lease: Lease) -> _Sent:
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
            await self.journal.lease(lease, durable=self.budget.cap is not None)
            leased = True
            self.counters.attempts += 1
            response = _checked(await self._generate(model, request))
        except CallFault as error:
            fault = error
        except BaseException as error:  # cancelled, or a bug of the backend: nobody knows what it cost
            if not leased and not isinstance(error, asyncio.CancelledError):
                raise
            fault, stopped = _cut_short(error, leased), _named(model, error)
        finally:
            self._sending.discard(task)
            self.counters.in_flight -= 1
        if isinstance(stopped, asyncio.CancelledError) and self._abandoned:
            task.uncancel()
            stopped = Draining()
        return _Sent(response, fault, stopped, time.monotonic() - started)

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

    def _decide(self, model: OpenModel, request: Request, call_id: str, sent: _Sent, trouble: Trouble) -> Stored | None:
        """What the journal keeps as the end of this call: the answer, a refusal, a giving up, or nothing yet."""
        source, fault = model.price.source, sent.fault
        if not model.pace.unlimited and sent.response is not None:
            usage = sent.response.usage
            model.pace.correct(_expected_tokens(request), usage.prompt_tokens + usage.completion_tokens)
        if sent.stopped is not None:
            return None
        if sent.response is not None:
            price = cost(model.price, sent.response.usage)
            return Stored(call_id, "ok", sent.response, "", price, source, request.content())
        if fault is None or isinstance(fault, Refused):
            return None
        if isinstance(fault, Permanent):
            return Stored(call_id, fault.outcome, None, fault.message, 0, source, request.content())
        if model.health.fail(trouble, fault):
            message = f"gave up after {trouble.failures} attempts: {fault.message}"
            return Stored(call_id, "gave_up", None, message, 0, source, request.content())
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
            raise _refusal(model, fault)
        if fault is None:
            health.succeed()
            assert stored is not None and stored.response is not None
            self.counters.prompt_tokens += stored.response.usage.prompt_tokens
            self.counters.completion_tokens += stored.response.usage.completion_tokens
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
            f"{_where(model)} {told}: {_said(model, fault)[:400]}",
            "check base_url and that the server runs (`factory doctor RECIPE`); the same command goes on",
        )

    async def _pause(self, seconds: float) -> None:
        if not self.draining:
            try:
                await asyncio.wait_for(self._stop.wait(), timeout=seconds)
            except TimeoutError:
                return
        raise Draining


def _expected_tokens(request: Request) -> int:
    """What a request is taken to use before its answer tells."""
    return prompt_bytes(request) // 4 + request.n * (request.sampling.max_tokens or 0)


def _checked(answer: object) -> Response:
    """What a backend returned. Raises TypeError for what is no Response, NoChoices for one that has none."""
    if not isinstance(answer, Response):
        raise TypeError(f"it returned {type(answer).__name__}, not a factory.types.Response")
    if not answer.choices:
        raise NoChoices("the answer has no choices", usage=answer.usage)
    return answer


def _named(model: OpenModel, error: BaseException) -> BaseException:
    """What a backend raised that is no CallFault, as one clear error that says whose it is."""
    if isinstance(error, FactoryError) or not isinstance(error, Exception):
        return error
    named = FactoryError(
        f"the backend of {model.config.name} failed: {type(error).__name__}: {str(error)[:500]}",
        "a backend raises a factory.errors.CallFault when an attempt fails; FACTORY_TRACEBACK=1 shows where this began",
        code="backend",
    )
    named.__cause__ = error
    return named


def _cut_short(error: BaseException, leased: bool) -> CallFault:
    """The fault of an attempt that ended before an answer came; one that was never sent costs nothing."""
    if leased:
        return ConnectionLost(f"{type(error).__name__} before an answer came")
    fault = ConnectionFailed("cancelled before it was sent")
    fault.outcome = "cancelled"
    return fault


def _where(model: OpenModel) -> str:
    """The model, with the address of its server where the recipe gives one."""
    return model.config.name + (f" at {model.config.base_url}" if model.config.base_url else "")


def _said(model: OpenModel, fault: CallFault) -> str:
    """A fault's message without the host and port that `_where` has told already."""
    base_url = model.config.base_url
    return fault.message.removeprefix(f"{server_name(base_url)}: ") if base_url else fault.message


def _refusal(model: OpenModel, fault: Refused) -> Incomplete:
    config = model.config
    if config.api_key_env or not config.base_url:
        key = f"check the key in ${config.api_key_env or DEFAULT_KEY}"
    else:
        key = "name the variable that holds its key with `api_key_env:`"
    hints = {Unauthorized: key, QuotaSpent: "add credit at the provider, or choose another model with --model"}
    hint = hints.get(type(fault), "check the model's name and base_url (`factory doctor RECIPE` asks what it has)")
    return KeyRefused(f"{_where(model)}: {_said(model, fault)[:600]}", f"{hint}; the same command goes on")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _entry(model: OpenModel, lease: Lease, sent: _Sent, stored: Stored | None) -> LedgerEntry:
    """The attempt's line in the ledger: an answer at its usage, an HTTP error at 0, a lost one at its upper bound."""
    response, fault = sent.response, sent.fault
    usage: Usage | None = response.usage if response is not None else (fault.usage if fault is not None else None)
    lost = fault is not None and fault.cost_unknown
    nano: int | None = None if lost else (cost(model.price, usage) if usage is not None else 0)
    outcome = "ok" if fault is None else fault.outcome
    if stored is not None and stored.outcome == "gave_up":
        outcome = "gave_up"
    tokens = usage if usage is not None else (None if lost else Usage())
    return LedgerEntry(
        call_id=lease.call_id,
        attempt=lease.attempt,
        row=lease.row,
        step=lease.step,
        purpose=lease.purpose,
        model=lease.model,
        prompt_tokens=tokens.prompt_tokens if tokens else None,
        cached_tokens=tokens.cached_tokens if tokens else None,
        completion_tokens=tokens.completion_tokens if tokens else None,
        reasoning_tokens=tokens.reasoning_tokens if tokens else None,
        nano_usd=nano,
        upper_bound_nano_usd=lease.upper_bound_nano if lost else None,
        price_source=model.price.source,
        outcome=outcome,
        latency_s=round(sent.latency, 6),
        at=lease.at,
    )
