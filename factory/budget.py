"""The cap on spending, in integer nano-USD: never overrun, at any concurrency, whatever is lost on the way.

Three amounts never exceed the cap together: what is *spent*, what is *open* (reservations of attempts in flight, at
their worst case), and what is *promised* (the rest of the worst case of rows admitted). A row is admitted whole, oldest
first, so that a started row is not left half paid; what it does not use goes back when it is released. An attempt
beyond its row's worst case (a second lost connection, say) is paid from what is free, or waits for it.

One event loop; no thread but its own may call in. A row that is done must be released, and a task must reserve
*before* it takes a concurrency slot: who waits here holding what others need to finish would wait for ever.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from dataclasses import dataclass, field
from typing import Any

from factory.errors import BudgetSpent, FactoryError, UsageError
from factory.types import NANO

OPEN_SHARE = 20
"""Open reservations are at most a 20th of the cap (or one call), which bounds what a kill can leave unknown.

Those of a backend that durably records what it sends (`recorded`) stand outside: a kill leaves nothing unknown there.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """The worst case of one attempt in flight, in nano-USD (None: not known, and there is no cap)."""

    row: int | None
    amount: int | None
    recorded: bool = False


@dataclass(slots=True)
class _Share:
    """An admitted row: what is `left` of its worst case (unspent), and how much of that its own attempts hold open."""

    left: int
    open: int = 0

    @property
    def promised(self) -> int:
        return max(0, self.left - self.open)


@dataclass(slots=True, order=True)
class _Waiter:
    """A task that waits for an attempt's reservation, or for its row's admission (its future then gives nothing)."""

    age: tuple[int, int]
    row: int | None = field(compare=False)
    amount: int = field(compare=False)
    granted: asyncio.Future[Any] = field(compare=False)
    recorded: bool = field(default=False, compare=False)


class Budget:
    """`cap_nano` None: no cap, everything passes at once. `spent_nano`: by earlier runs in the same directory."""

    def __init__(self, cap_nano: int | None, spent_nano: int = 0):
        self.cap = cap_nano
        self.spent = spent_nano
        self.overrun = 0
        self.sent = 0
        self._open: dict[Reservation, int] = {}
        self._open_sum = 0
        self._unrecorded = 0
        self._any_recorded = False
        self._shares: dict[int, _Share] = {}
        self._promised = 0
        self._attempts: list[_Waiter] = []
        self._entrants: list[_Waiter] = []
        self._order = 0

    @property
    def open(self) -> int:
        """Nano-USD reserved for attempts in flight."""
        return self._open_sum

    @property
    def free(self) -> int:
        """Nano-USD that are neither spent, nor reserved, nor promised to an admitted row. 0 without a cap."""
        return 0 if self.cap is None else self.cap - self.spent - self.sent - self._open_sum - self._promised

    def can_admit(self, worst: int | None) -> bool:
        """True when a row with this worst case fits, and no row before it waits for money."""
        if self.cap is None:
            return True
        return not self._entrants and not self._anybody_short() and _known(worst) <= self.free

    def admit(self, row: int, worst: int | None) -> None:
        """Promise a row its worst case. Raises BudgetSpent where it cannot fit any more; see `can_admit`."""
        if self.cap is None or row in self._shares:
            return
        if self.can_admit(worst):
            self._promise(row, _known(worst))
        elif self._shares or self._open or self._entrants or self._attempts:
            raise FactoryError(f"row {row} does not fit into the budget now: ask `can_admit` first")
        else:
            raise self.shortage(worst)

    async def enter(self, row: int, worst: int | None) -> None:
        """Wait until the row fits, oldest row first, and admit it. At once for a row that is admitted.

        Raises BudgetSpent when nothing is in flight any more and it does not fit.
        """
        if self.cap is None or row in self._shares:
            return
        waiter = self._queue(self._entrants, row, _known(worst))
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if self._withdraw(self._entrants, waiter):
                self.release(row)
            raise

    def release(self, row: int) -> None:
        """The row makes no further call: what was promised to it is free. A row that is not admitted is no fault."""
        self._dismiss(row)
        self._serve()

    async def reserve(self, row: int | None, amount: int | None, *, recorded: bool = False) -> Reservation:
        """Reserve the worst case of one attempt, waiting for settlements where it does not fit, oldest row first.

        `recorded`: the backend has a durable record of what it sends, so the share of `OPEN_SHARE` does not hold.
        Raises BudgetSpent when nothing is in flight any more and it does not fit, UsageError where there is a cap and
        the amount is not known.
        """
        if self.cap is None:
            return self._hold(row, amount, recorded)
        waiter = self._queue(self._attempts, row, _known(amount), recorded)
        try:
            reservation: Reservation = await waiter.granted
        except asyncio.CancelledError:
            if self._withdraw(self._attempts, waiter):  # granted in the turn of the loop that cancelled it: not sent
                self.settle(waiter.granted.result(), 0)
            raise
        return reservation

    def settle(self, reservation: Reservation, actual: int | None) -> None:
        """End an attempt at what it cost; None (nobody knows) counts in full. Raises FactoryError the second time.

        A server that ignores `max_tokens` may bill more than was reserved: nothing can undo that; `overrun` sums it.
        """
        if reservation not in self._open:
            raise FactoryError("this reservation is settled already")
        amount = self._open.pop(reservation)
        cost = amount if actual is None else actual
        self._open_sum -= amount
        self._unrecorded -= 0 if reservation.recorded else amount
        self.spent += cost
        if reservation.amount is not None:
            self.overrun += max(0, cost - amount)
        self._change(reservation.row, left=-cost, open_=-amount)
        self._serve()

    def set_aside(self, amount: int) -> None:
        """Count the worst case of a request that an earlier process has sent, until somebody waits for its answer."""
        self.sent += amount

    def take_over(self, amount: int) -> Reservation:
        """What was set aside, as the reservation of the attempt that now waits. It belongs to no row's promise."""
        self.sent -= amount
        return self._hold(None, amount, recorded=True)

    def shortage(self, needed: int | None) -> BudgetSpent:
        """The error that says the cap is reached."""
        cap, spent, worst = ((nano or 0) / NANO for nano in (self.cap, self.spent, needed))
        return BudgetSpent(
            f"the budget of {cap:.6f} USD is reached: {spent:.6f} USD are spent, and what comes next may cost up to"
            f" {worst:.6f} USD",
            "run the same command with a higher --budget: it goes on where this stopped, and pays nothing twice",
        )

    def _queue(self, queue: list[_Waiter], row: int | None, amount: int, recorded: bool = False) -> _Waiter:
        self._order += 1
        self._any_recorded = self._any_recorded or recorded
        age = (-1 if row is None else row, self._order)
        waiter = _Waiter(age, row, amount, asyncio.get_running_loop().create_future(), recorded)
        insort(queue, waiter)
        self._serve()
        return waiter

    def _withdraw(self, queue: list[_Waiter], waiter: _Waiter) -> bool:
        """Take a cancelled task out. True where it had been granted already, so that it must be given back."""
        if waiter in queue:
            queue.remove(waiter)
            self._serve()
        granted = waiter.granted
        return granted.done() and not granted.cancelled() and granted.exception() is None

    def _serve(self) -> None:
        """Grant whatever can be granted now; tell those who never can be served."""
        changed = True
        while changed:
            self._grant_attempts()
            self._admit_entrants()
            changed = self._unblock()

    def _grant_attempts(self) -> None:
        """Oldest row first. Who lacks room lets nobody pass; who lacks money, those who need only their own."""
        takes_free = has_room = True
        for waiter in list(self._attempts):
            if waiter.granted.done():
                self._attempts.remove(waiter)
                continue
            beyond = self._beyond_promise(waiter)
            if beyond > self.free or (beyond and not takes_free):
                takes_free = False
                continue
            if not waiter.recorded:
                has_room = has_room and self._has_room(waiter.amount)
                if not has_room:
                    if not self._any_recorded:
                        break
                    continue
            self._attempts.remove(waiter)
            waiter.granted.set_result(self._hold(waiter.row, waiter.amount, waiter.recorded))

    def _has_room(self, amount: int) -> bool:
        """Whether what a kill would leave unknown stays within its share of the cap."""
        return not self._unrecorded or self.cap is None or self._unrecorded + amount <= self.cap // OPEN_SHARE

    def _admit_entrants(self) -> None:
        """Oldest row first, and none while a row that is already in waits for money."""
        while self._entrants and not self._anybody_short():
            waiter = self._entrants[0]
            if not waiter.granted.done():
                if waiter.amount > self.free:
                    break
                if waiter.row is not None:
                    self._promise(waiter.row, waiter.amount)
                waiter.granted.set_result(None)
            self._entrants.pop(0)

    def _unblock(self) -> bool:
        """Nothing is in flight, and whoever could bring money back waits for some. True where something changed.

        The youngest admitted row gives back what was promised to it, and goes on waiting like any other. When no row
        is left to do so, the oldest task can never be served: it is told, and the next one has its turn.
        """
        if self._open or not (self._attempts or self._entrants):
            return False
        if not self._shares.keys() <= {waiter.row for waiter in self._attempts}:
            return False
        if self._shares:
            self._dismiss(max(self._shares))
            return True
        waiter = (self._attempts or self._entrants).pop(0)
        if not waiter.granted.done():
            waiter.granted.set_exception(self.shortage(waiter.amount))
        return True

    def _beyond_promise(self, waiter: _Waiter) -> int:
        """What an attempt needs beyond the rest of its row's worst case."""
        share = self._shares.get(waiter.row) if waiter.row is not None else None
        return max(0, waiter.amount - (share.promised if share else 0))

    def _anybody_short(self) -> bool:
        return any(not waiter.granted.done() and self._beyond_promise(waiter) > self.free for waiter in self._attempts)

    def _hold(self, row: int | None, amount: int | None, recorded: bool) -> Reservation:
        reservation = Reservation(row, amount, recorded)
        self._open[reservation] = amount or 0
        self._open_sum += amount or 0
        self._unrecorded += 0 if recorded else amount or 0
        self._change(row, open_=amount or 0)
        return reservation

    def _promise(self, row: int, worst: int) -> None:
        self._shares[row] = _Share(worst)
        self._promised += worst

    def _change(self, row: int | None, *, left: int = 0, open_: int = 0) -> None:
        share = self._shares.get(row) if row is not None else None
        if share is not None:
            before = share.promised
            share.left += left
            share.open += open_
            self._promised += share.promised - before

    def _dismiss(self, row: int) -> None:
        share = self._shares.pop(row, None)
        if share is not None:
            self._promised -= share.promised


def _known(amount: int | None) -> int:
    if amount is None:
        raise UsageError(
            "with a budget every call needs a worst case, and this one has none",
            "give its model `max_tokens` and `price: {input: …, output: …}` (USD per million tokens)",
        )
    return amount
