"""A backend that sends its requests as batch jobs: they queue, leave together in shards, and are waited for.

`Courier` is what the call layer sees. What is in which shard is known from the durable record, so a request that a
process before this one has sent is awaited, never sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from factory.backends import Backend
from factory.backends.batch_api import BatchApi
from factory.batch_jobs.carrying import Carrier, ShardRefused, bring
from factory.batch_jobs.handing import Handout, raise_in
from factory.batch_jobs.lines import (
    Answer,
    NotServed,
    body_of,
    read_again,
    read_answers,
    refused_by,
    request_line,
    settle_line,
)
from factory.batch_jobs.queueing import Queue, Queued
from factory.batch_jobs.record import Asked, Record, Shard
from factory.batch_jobs.settling import is_settled, settle_shard
from factory.batch_jobs.shards import Limits, Timing, read_timing
from factory.budget import Budget, Reservation
from factory.calling import Calls, Draining, worst_case
from factory.errors import BadBody, CallFault, ConnectionLost, Refused, Transient
from factory.journal import Journal
from factory.prices import PriceTable
from factory.recipe import ModelConfig
from factory.types import Request, Response

PASS = 200
"""Answers handed out between two chances for everything else."""
Waiting = tuple[Request, "asyncio.Future[Response]"]


class Courier:
    """A model's batch jobs. `live`: the backend that takes the probes.

    Made when models are opened; `attach`ed to a run's record under the run's lock, and `join`ed to its calls. The
    first request starts its work: a run that asks nothing touches no server.
    """

    unbounded = True
    keeps_intents = True

    def __init__(
        self,
        role: str,
        config: ModelConfig,
        live: Backend,
        price: PriceTable,
        *,
        limits: Limits | None = None,
        timing: Timing | None = None,
    ):
        self.role, self.config, self.live, self.price = role, config, live, price
        self.api = BatchApi(config)
        self.local = live.local
        self.honours_n = live.honours_n
        self.pending = 0
        self._timing = timing or read_timing()
        self._queue = Queue(limits or Limits(), self._timing)
        self._waiting: dict[str, Waiting] = {}
        self._placed: dict[str, str] = {}
        self._unclaimed: dict[str, Answer | CallFault] = {}
        self._held: dict[str, int] = {}
        self._shards: dict[str, Shard] = {}
        self._drives: set[asyncio.Task[None] | None] = set()
        self._work: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None
        self._crowded = False
        self._budget: Budget | None = None

    @property
    def structured(self) -> str | None:
        """How JSON is asked for, by the live backend."""
        found: str | None = getattr(self.live, "structured", "prompt")
        return found

    def notes(self) -> tuple[str, ...]:
        """What the live backend has to say of its server."""
        notes = getattr(self.live, "notes", None)
        return tuple(notes()) if notes is not None else ()

    def attach(self, record: Record, journal: Journal, notice: Callable[[str], None], shards: Iterable[Shard]) -> None:
        """Take over a run's record, and those shards under way in it that are this model's. Raises JournalDamaged."""
        self._record, self._journal, self._notice = record, journal, notice
        self._carrier = Carrier(self.api, record, self._timing, notice)
        for shard in shards:
            self._shards[shard.tag] = shard
            for call in record.calls(shard):
                if not is_settled(journal, call):
                    self._placed[call.call_id] = shard.tag

    def join(self, calls: Calls, busy: Callable[[], int]) -> None:
        """Know the run's calls, and how many of them are in flight elsewhere. What was sent is set aside for."""
        self._calls, self._busy, self._budget = calls, busy, calls.budget
        for shard in self._shards.values():
            for call in self._record.calls(shard):
                if call.call_id in self._placed and calls.budget.cap is not None:
                    self._held[call.call_id] = call.bound or 0
                    calls.budget.set_aside(call.bound or 0)

    def claim(self, call_id: str) -> Reservation | None:
        """The reservation, for whoever asks now, of a request that a process before this one has sent."""
        amount = self._held.pop(call_id, None)
        return None if amount is None or self._budget is None else self._budget.take_over(amount)

    def knows(self, call_id: str) -> bool:
        """Whether a batch holds this request, or its answer is here."""
        return call_id in self._placed or call_id in self._unclaimed

    def has_sent(self, call_id: str) -> bool:
        """Whether `claim` would give a reservation."""
        return call_id in self._held

    async def generate(self, request: Request) -> Response:
        """The answer, whenever it comes. Probes are asked at once, of the live server.

        Raises the CallFault of this request; Draining where it was not sent, or is not waited for any more; another
        FactoryError where the batches cannot go on.
        """
        if request.purpose == "probe":
            return await self.live.generate(request)
        self.pending += 1
        try:
            return await self._ask(request, request.call_id)
        except Transient:
            self._queue.expect(request.call_id, asyncio.get_running_loop().time())
            raise
        finally:
            self.pending -= 1

    async def _ask(self, request: Request, call_id: str) -> Response:
        if self._failure is not None:
            raise self._failure
        self._start()
        if (found := self._unclaimed.pop(call_id, None)) is not None:
            if isinstance(found, CallFault):
                raise found
            return self._read(request, read_again(found))
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        if call_id in self._placed:
            self._waiting[call_id] = (request, future)
        else:
            line = request_line(call_id, body_of(self.live, request))
            attempt = self._journal.next_attempt(call_id)
            asked = Asked(call_id, attempt, worst_case(self.price, request), request.content())
            self._put(Queued(asked, line, request, future))
        try:
            return await future
        except asyncio.CancelledError:
            if self._waiting.get(call_id) == (request, future):
                del self._waiting[call_id]
            self._queue.remove(call_id, future)
            raise

    def stand_down(self) -> None:
        """Wait for nothing any more: whoever waits gets Draining. Batches go on at the server."""
        self._fail(Draining())

    async def stop(self) -> None:
        """End the work of this process. Nothing is lost: the record tells the next one where everything stands."""
        tasks = [task for task in (*self._drives, self._work) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._work = None

    async def settle_left(self) -> None:
        """Journal the answers that are here and that no row has asked for. For the end of a run."""
        await self.stop()
        for shard in self._record.shards():
            if shard.state == "collected" and shard.tag in self._shards:
                await settle_shard(self._journal, self._record, shard, self.price)
                del self._shards[shard.tag]

    async def close(self) -> None:
        """Let go of tasks and connections."""
        await self.stop()
        await self.api.close()
        await self.live.close()

    def _start(self) -> None:
        """Begin to work: what earlier processes have sent is waited for, and the queue is watched."""
        if self._work is None:
            self._work = asyncio.create_task(self._watch())
            for shard in self._shards.values():
                self._drive(shard)

    def _put(self, queued: Queued) -> None:
        self._queue.put(queued, asyncio.get_running_loop().time())
        self._wake.set()

    async def _watch(self) -> None:
        """Send the queue off whenever it is due."""
        try:
            while True:
                left = self._queue.due_in(asyncio.get_running_loop().time(), self._busy())
                if left == 0 and not (self._crowded and self._drives):
                    self._crowded = False
                    await self._send_off()
                    continue
                self._wake.clear()
                try:
                    async with asyncio.timeout(left or None):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        except Exception as error:  # told by every call that waits, and so by the run
            self._fail(error)

    async def _send_off(self) -> None:
        """Plan a shard for each part of the queue, and set it on its way. When the run stops, nothing is sent."""
        for part in self._queue.take():
            if self._calls.draining:
                for queued in part:
                    raise_in(queued.future, Draining())
                continue
            config = self.config
            shard = Shard(
                tag=await asyncio.to_thread(self._record.next_tag),
                role=self.role,
                model=config.name,
                identity=config.identity_key,
                url=self.api.url,
                requests=len(part),
                planned_at=time.time(),
            )
            for queued in part:
                self._placed[queued.asked.call_id] = shard.tag
                self._waiting[queued.asked.call_id] = (queued.request, queued.future)
            asked, lines = [queued.asked for queued in part], [queued.line for queued in part]
            await asyncio.to_thread(self._record.plan, shard, asked, lines)
            self._shards[shard.tag] = shard
            self._drive(shard)

    def _drive(self, shard: Shard) -> None:
        self._drives.add(asyncio.create_task(self._carry(shard)))

    async def _carry(self, shard: Shard) -> None:
        """One shard's way, and what its calls hear of it."""
        try:
            await self._deliver(await bring(self._carrier, shard))
        except ShardRefused as refusal:
            await self._take_back(refusal)
        except CallFault as fault:
            self._refuse(fault)
        except Exception as error:  # told by every call that waits, and so by the run
            self._fail(error)
        finally:
            self._drives.discard(asyncio.current_task())  # first: what was crowded may have room now
            self._wake.set()

    async def _deliver(self, shard: Shard) -> None:
        """Hand the outcomes out, and keep the place of those that nobody waits for yet."""
        self._shards[shard.tag] = shard
        missing = {call_id for call_id, tag in self._placed.items() if tag == shard.tag}
        handout = Handout(shard.counts[1])
        served = 0
        for path in reversed(self._record.answers(shard)):
            for number, answer in enumerate(read_answers(path)):
                if answer.call_id in missing:
                    missing.discard(answer.call_id)
                    served += path.name == "output.jsonl"
                    self._hand(answer, handout)
                if number % PASS == 0:
                    await asyncio.sleep(0)
        for call_id in missing:
            self._miss(call_id, missing_fault(shard, served), handout)
        lost = f", {len(missing):,} were not run" if missing else ""
        self._notice(f"{shard.model}: batch {shard.batch_id} is {shard.status}: {served:,} answers{lost}")
        await handout.end(self._journal)

    def _hand(self, answer: Answer, handout: Handout) -> None:
        del self._placed[answer.call_id]
        request, future = self._waiting.pop(answer.call_id, (None, None))
        if request is None or future is None or future.done():
            self._unclaimed[answer.call_id] = replace(answer, value=None)
            return
        try:
            handout.give(future, self._read(request, answer))
        except CallFault as fault:
            handout.give(future, fault)

    def _miss(self, call_id: str, fault: CallFault, handout: Handout) -> None:
        del self._placed[call_id]
        _, future = self._waiting.pop(call_id, (None, None))
        if future is None or future.done():
            self._unclaimed[call_id] = fault
        else:
            handout.give(future, fault)

    def _read(self, request: Request, answer: Answer) -> Response:
        return settle_line(answer.value, request, refused_by(self.live))

    async def _take_back(self, refusal: ShardRefused) -> None:
        """A shard of which nothing was paid. Where too much is enqueued its calls go back to the queue."""
        shard = refusal.shard
        for call in self._record.calls(shard):
            self._placed.pop(call.call_id, None)
            if (held := self._held.pop(call.call_id, None)) is not None and self._budget is not None:
                self._budget.settle(self._budget.take_over(held), 0)
            request, future = self._waiting.pop(call.call_id, (None, None))
            if request is not None and future is not None and not future.done():
                self._put(Queued(call, request_line(call.call_id, body_of(self.live, request)), request, future))
        del self._shards[shard.tag]
        self._record.drop(shard)
        others = len(self._drives) > 1
        if not refusal.too_much or (shard.requests == 1 and not others):
            self._refuse(refusal.fault)
        elif others:
            self._crowded = True
        else:
            limits = self._queue.limits
            self._queue.limits = replace(limits, requests=max(1, shard.requests // 2))
            self._notice(f"{refusal.fault.message}; it is sent in smaller parts")
            await asyncio.sleep(self._timing.first)

    def _refuse(self, fault: CallFault) -> None:
        """No further batch can go on: one call tells why, which stops the run; the others are left for another time."""
        if not isinstance(fault, Refused):
            fault = Refused(fault.message, status=fault.status)
        waiting = next((future for future in self._futures() if not future.done()), None)
        if waiting is not None:
            waiting.set_exception(fault)
        self._fail(fault if waiting is None else Draining())

    def _fail(self, error: BaseException) -> None:
        """Whoever waits hears this, and so does whoever asks from now on."""
        self._failure = self._failure or error
        for future in self._futures():
            raise_in(future, error)
        self._queue.take()

    def _futures(self) -> list[asyncio.Future[Response]]:
        return [*(future for _, future in self._waiting.values()), *self._queue.futures()]


def missing_fault(shard: Shard, served: int) -> CallFault:
    """Why a request of a batch that ended has no line in its files."""
    if shard.told:
        return ConnectionLost(f"batch {shard.batch_id}: {shard.told}")
    if shard.counts[1] > served:
        return BadBody(f"batch {shard.batch_id} counts {shard.counts[1]} answers, and its file holds {served}")
    return NotServed(f"batch {shard.batch_id} ended ({shard.status}) before this request was run")
