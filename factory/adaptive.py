"""How many attempts a model's server takes at a time: a limit that is found by trying, and a breaker for an outage.

Nothing here waits or reads a clock; `factory.admission` does. The limit lies between 1 and the recipe's `concurrency`:

- *Refusals.* When more than a quarter of a window of attempts came back as 429, 5xx or not at all, the limit shrinks by
  that share, once for all attempts that were in flight together. Fewer are scattered: they delay their own call only.
- *Throughput.* A server may answer everything and only grow slow. Latency alone proves nothing (it also grows where
  batching makes throughput grow, with long prompts, in the tail, at the start), so the limit is tried: for one round of
  attempts it is halved, or raised again, and stays where the rate (attempts in flight / their time, Little's law) says
  so. Times are compared by the middle half of their logarithms, which a heavy tail does not move; a round starts when
  the attempts of the one before have left. Trials become rare when they change nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from factory.errors import BadBody, CallFault, ConnectionFailed, ConnectionLost, NoChoices, Overloaded, ServerFault

PUSHED_SHARE = 0.25
"""Share of a window's attempts that a server may turn away before the limit shrinks."""
WINDOW = 64
"""Attempts of that window at least; at high limits, one round."""
ROUND = (16, 64)
"""Attempts that measure one limit: as many as the limit, within these bounds."""
MEASURED = 0.75
"""Share of a round that has to have come back; the rest are the slow ones, whatever they take."""
KEEPS = 0.95
"""A smaller limit stays where it keeps this share of the rate."""
GAIN = 0.25
"""A greater limit stays where the rate grows by this share of what the limit grew by."""
WORTH_TRYING = 16
"""Limits below are not halved to see what that does: there is little to find."""
SMALLEST_TRIED = 4
"""Limits below are not halved either where halving has helped."""
AFTER_OUTAGE = 4
"""Attempts at once when a server is back, or a quarter of the limit."""
CALM_ROUNDS = 4
"""Rounds after a trial in which times that grow are no reason for another."""
MOST_ROUNDS = 64
"""Rounds between two trials at most."""
BUSY_CLIENT = 0.8
"""Share of its time this thread may compute itself: above, it is not the server that bounds the rate."""
LONGEST_HOLD_S = 60.0


class Outcome(Enum):
    """What an attempt says of its server."""

    GOOD = "a usable answer"
    ANSWERED = "an answer that says nothing of the load"
    BUSY = "429"
    FAILED = "5xx"
    LOST = "sent, and no whole answer in time"
    REFUSED = "no connection"
    UNCLEAR = "not sent, cut short by us, or garbage"


PUSHED = frozenset({Outcome.BUSY, Outcome.FAILED, Outcome.LOST, Outcome.REFUSED})
GONE = frozenset({Outcome.FAILED, Outcome.LOST, Outcome.REFUSED})


def outcome_of(fault: CallFault | None) -> Outcome:
    """What a fault (None: none) says of the server."""
    if fault is None:
        return Outcome.GOOD
    if isinstance(fault, Overloaded):
        return Outcome.BUSY if fault.status in (429, None) else Outcome.FAILED
    if isinstance(fault, BadBody):
        return Outcome.UNCLEAR
    kinds = {ServerFault: Outcome.FAILED, ConnectionLost: Outcome.LOST, ConnectionFailed: Outcome.REFUSED}
    kinds[NoChoices] = Outcome.ANSWERED
    return next((outcome for kind, outcome in kinds.items() if isinstance(fault, kind)), Outcome.ANSWERED)


class ThreadLoad:
    """The share of the time since it was last asked that the calling thread has computed."""

    def __init__(self) -> None:
        self._wall, self._computed = time.perf_counter(), time.thread_time()

    def __call__(self) -> float:
        wall, computed = time.perf_counter(), time.thread_time()
        share = (computed - self._computed) / max(wall - self._wall, 1e-9)
        self._wall, self._computed = wall, computed
        return share


@dataclass(slots=True)
class _Round:
    """Attempts that measure one limit. `skip`: so many starts only fill it up."""

    size: int
    skip: int
    entered: int = 0
    left_out: int = 0
    pushed: int = 0
    slow: int = 0
    crowd: int = 0
    times: list[float] = field(default_factory=list)

    def enter(self, in_flight: int) -> bool:
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.entered == self.size:
            return False
        self.entered += 1
        self.crowd += in_flight
        return True

    def leave(self, outcome: Outcome, seconds: float, in_flight: int) -> bool:
        """Note the end of one of its attempts; True when the round can be judged."""
        self.crowd += in_flight
        if outcome is Outcome.GOOD:
            self.times.append(seconds)
        elif outcome is Outcome.LOST:
            self.slow += 1
        else:
            self.left_out += 1
            self.pushed += outcome in PUSHED
        ended = len(self.times) + self.slow + self.left_out
        return self.entered == self.size and (
            len(self.times) + self.slow >= MEASURED * (self.size - self.left_out) or ended == self.size
        )

    @property
    def in_flight(self) -> float:
        """Attempts in flight, on average, as these began and ended."""
        return self.crowd / (self.entered + len(self.times) + self.slow + self.left_out)

    @property
    def seconds(self) -> float:
        """The time of a middling attempt; infinite where too few came back."""
        counted = self.size - self.left_out
        low, high = counted // 4, max(counted // 4 + 1, math.ceil(MEASURED * counted))
        if len(self.times) < high or counted == 0:
            return math.inf
        middle = sorted(self.times)[low:high]
        return math.exp(sum(math.log(max(one, 1e-6)) for one in middle) / len(middle))

    @property
    def rate(self) -> float:
        """Usable answers a second, by Little's law."""
        return self.in_flight / self.seconds * (1 - self.pushed / self.size)


Tag = tuple[int, _Round | None]
"""To which limit an attempt belongs, and which round it measures."""


class Limit:
    """The attempts that may be in flight: `limit`, between 1 and `cap`. `start` and `finish` tell it of each.

    `watch` False: only refusals move it. `busy` tells how much of its time the client itself computes.
    """

    def __init__(self, cap: int, *, watch: bool = True, busy: Callable[[], float] | None = None):
        self.cap = cap
        self.limit = cap
        self.epoch = 0
        self.hold: float | None = None
        self._watch = watch
        self._busy = ThreadLoad() if busy is None else busy
        self._home = cap
        self._ramp: int | None = None
        self._rate, self._calm = 0.0, math.inf
        self._alone, self._usual = math.inf, 0.0
        self._rounds = 0
        self._up_at, self._up_wait, self._step = 0, 1, 1.5
        self._down_at, self._down_wait, self._descended = 1, 4, False
        self._go_to(cap, 0)

    @property
    def allowed(self) -> int:
        """The limit now: below `limit` for a moment after an outage."""
        return self.limit if self._ramp is None else self._ramp

    @property
    def soon(self) -> float | None:
        """Seconds after which a call that was turned away may try again, while that happens to few: a usual answer's.

        None where many are turned away, or nothing is known yet.
        """
        scattered = self._pushed <= PUSHED_SHARE * max(self._ended, 16)
        return self._usual if self._usual and scattered else None

    def start(self, in_flight: int) -> Tag:
        """An attempt starts, one of `in_flight`. What to give to `finish`."""
        measured = self._watch and self._ramp is None and self._round.enter(in_flight)
        return self.epoch, self._round if measured else None

    def finish(
        self, tag: Tag, outcome: Outcome, seconds: float, in_flight: int, retry_after: float | None = None
    ) -> None:
        """An attempt ended, one of `in_flight`, after so many seconds. May change `limit`, and set `hold`."""
        epoch, measuring = tag
        if outcome is Outcome.GOOD:
            self._usual = seconds if not self._usual else self._usual + (seconds - self._usual) / 32
            if in_flight * 8 <= self.cap:
                self._alone = min(self._alone, seconds)
        if outcome is Outcome.GOOD and self._ramp is not None:
            self._ramp += 1
            if self._ramp >= self.limit:
                self._ramp = None
                self._go_to(self.limit, in_flight - 1)
            return
        if epoch != self.epoch:
            return
        if outcome is not Outcome.UNCLEAR:
            self._ended += 1
        if outcome in PUSHED:
            self._pushed += 1
            if retry_after is not None:
                self._hints.append(retry_after)
            if self._pushed > PUSHED_SHARE * max(self._ended, WINDOW, self.limit):
                self._shrink(in_flight - 1)
                return
        if self._ended >= max(WINDOW, self.limit):
            self._count_anew()
        if measuring is self._round and self._round.leave(outcome, seconds, in_flight):
            self._judge(in_flight - 1)

    def restart(self, in_flight: int) -> None:
        """After an outage: begin at a quarter of the limit and grow with every answer, back to where it was."""
        self._ramp = max(1, min(self.limit, max(AFTER_OUTAGE, self.limit // 4)))
        self._go_to(self._home, in_flight)

    def _go_to(self, limit: int, in_flight: int) -> None:
        """A new limit, and a new round to measure it. What is in flight belongs to neither."""
        self.epoch += 1
        self.limit = limit
        self._count_anew()
        self._begin_round(max(0, limit - in_flight))

    def _count_anew(self) -> None:
        self._ended = self._pushed = 0
        self._hints: list[float] = []

    def _begin_round(self, skip: int) -> None:
        least, most = ROUND
        self._round = _Round(max(least, min(most, self.limit)), skip)

    def _shrink(self, in_flight: int) -> None:
        """The server turns too much away. Where it says for how long, nothing is sent meanwhile."""
        share = self._pushed / max(self._ended, 1)
        if len(self._hints) * 2 > self._pushed:
            self.hold = min(min(self._hints), LONGEST_HOLD_S)
        if self.limit > self._home:  # it was only tried
            self._judge_greater(False, 0.0, in_flight)
            return
        self._home = max(1, min(self.limit - 1, int(self.limit * max(0.5, 1 - share))))
        self._ramp = None
        self._up_wait, self._step = 2, 1.25
        self._up_at = self._rounds + self._up_wait
        self._go_to(self._home, in_flight)

    def _judge(self, in_flight: int) -> None:
        """A round is over: keep the limit that was tried or go back, then try another, or measure again."""
        done, home, tried = self._round, self._home, self.limit
        bounds = done.in_flight >= 0.7 * tried and self._busy() < BUSY_CLIENT
        if tried == home:
            self._rounds += 1
            if bounds:
                self._rate = done.rate
                self._plan(done.seconds, in_flight)
            else:  # something else does: a limit would change nothing
                self._begin_round(0)
        elif tried < home:
            self._judge_smaller(bounds and done.rate >= KEEPS * self._rate, done.rate, in_flight)
        else:
            wanted = self._rate * (1 + GAIN * (tried / home - 1))
            self._judge_greater(bounds and done.rate >= wanted, done.rate, in_flight)

    def _plan(self, seconds: float, in_flight: int) -> None:
        home = self._home
        slower = seconds > 1.5 * self._calm and self._rounds >= self._down_at - self._down_wait + CALM_ROUNDS
        if home < self.cap and self._rounds >= self._up_at:
            self._go_to(min(self.cap, max(home + 1, math.ceil(home * self._step))), in_flight)
        elif home >= WORTH_TRYING and (self._rounds >= self._down_at or slower):
            self._calm, self._descended = seconds, False
            if seconds <= 1.5 * self._alone < math.inf:  # as fast as a call alone: there is nothing to find
                self._rare_descents()
                self._begin_round(0)
            else:
                self._go_to(home // 2, in_flight)
        else:
            self._begin_round(0)

    def _judge_smaller(self, keep: bool, rate: float, in_flight: int) -> None:
        if keep:
            self._home, self._rate, self._calm, self._descended = self.limit, rate, math.inf, True
            smaller = self.limit // 2 if self.limit >= SMALLEST_TRIED else self.limit
            self._go_to(smaller, in_flight)
            return
        self._rare_descents()
        if self._descended:
            self._up_at, self._up_wait, self._step = self._rounds + 1, 1, 1.5
        self._go_to(self._home, in_flight)

    def _rare_descents(self) -> None:
        self._down_wait = min(MOST_ROUNDS, 2 * self._down_wait)
        self._down_at = self._rounds + self._down_wait

    def _judge_greater(self, keep: bool, rate: float, in_flight: int) -> None:
        if keep:
            self._home, self._rate, self._calm = self.limit, rate, math.inf
            self._up_wait, self._step = 1, 1.5
            greater = min(self.cap, max(self.limit + 1, math.ceil(self.limit * self._step)))
            self._go_to(greater, in_flight)
            return
        self._up_wait, self._step = min(MOST_ROUNDS // 2, 2 * self._up_wait), 1.25
        self._up_at = self._rounds + self._up_wait
        self._go_to(self._home, in_flight)


@dataclass(slots=True)
class Breaker:
    """Whether the server is gone: every one of the last attempts failed, of more than one row (or without connection).

    Open, it lets one attempt through at a time, after pauses that grow; short ones where nobody even listens.
    """

    enough: int
    open: bool = False
    failures: int = 0
    pause: float = 0.0
    _rows: set[int | None] = field(default_factory=set)
    _refused: bool = True

    def note(self, outcome: Outcome, row: int | None) -> bool:
        """An attempt ended. True where that opened or closed the breaker."""
        if outcome is Outcome.UNCLEAR:
            return False
        if outcome not in GONE:
            was, self.open, self.failures, self.pause = self.open, False, 0, 0.0
            self._rows.clear()
            self._refused = True
            return was
        self.failures += 1
        if self.open:
            return False
        self._refused = self._refused and outcome is Outcome.REFUSED
        if len(self._rows) < 2:
            self._rows.add(row)
        self.open = self.failures >= self.enough and (len(self._rows) > 1 or self._refused)
        if self.open:
            self.lengthen(outcome)
        return self.open

    def lengthen(self, outcome: Outcome) -> None:
        """The attempt that was let through failed: the next pause is longer."""
        first, growth, longest = REFUSED_PAUSES if outcome is Outcome.REFUSED else FAILED_PAUSES
        self.pause = min(longest, max(first, self.pause * growth))


REFUSED_PAUSES = (0.1, 1.5, 1.0)
FAILED_PAUSES = (0.5, 1.5, 2.0)
"""Seconds before the first probing attempt, what they grow by, and the most, with no connection and with failures."""


def enough_failures(cap: int) -> int:
    """Failures without a success between that open the breaker: fewer where few attempts are in flight."""
    return max(4, min(10, 2 * cap))
