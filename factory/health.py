"""Whether a failing call or its server is the trouble, and how long either is waited for.

A call is given up only when something says that the server is well: other calls succeed between its failures, or no
other row is in trouble at the same time. So an outage, however it shows, gives up no call; it ends the run, resumable,
when patience runs out.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from factory import seeds
from factory.errors import CallFault, ConnectionFailed, ConnectionLost, Overloaded

GIVE_UP_AFTER = 8
"""Failures of one call, others succeeding between them, after which it is recorded as given up."""
GIVE_UP_ALONE = 16
"""The same for a call that alone is left, of a server that answers but gave nobody a usable answer meanwhile."""
OVERLOAD_SHARE = 5
"""So many 429s count as one failure: they say that the server is busy, not that this call is the trouble."""
REFUSED_ROWS = 20
"""Distinct rows refused for good, with no success between, after which the run stops."""
FIRST_BACKOFF_S = 0.25
SHORTEST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds a server is waited for: one that never answered, one whose address refuses, one that did answer."""

    silent: float = 30.0
    refused: float = 10.0
    answered: float = 600.0


@dataclass(slots=True)
class Trouble:
    """The failures of one call. `at_start`, `seen`: the model's successes when it began, and when it last failed."""

    row: int | None
    at_start: int
    seen: int
    failures: int = 0
    weight: int = 0
    strikes: int = 0


@dataclass(slots=True)
class Health:
    """What a model's attempts say about its server."""

    first_attempt: float | None = None
    answered: bool = False
    failing_since: float | None = None
    successes: int = 0
    refused_rows: set[int | None] = field(default_factory=set)
    _in_trouble: Counter[int | None] = field(default_factory=Counter)

    def begin(self, row: int | None) -> Trouble:
        """A call starts."""
        if self.first_attempt is None:
            self.first_attempt = time.monotonic()
        return Trouble(row, self.successes, self.successes)

    def end(self, trouble: Trouble) -> None:
        """A call is over, however it ended."""
        if trouble.failures:
            self._in_trouble[trouble.row] -= 1
            if not self._in_trouble[trouble.row]:
                del self._in_trouble[trouble.row]

    def succeed(self) -> None:
        """A usable answer came."""
        self.answered = True
        self.successes += 1
        self.failing_since = None
        self.refused_rows.clear()

    def fail(self, trouble: Trouble, fault: CallFault) -> bool:
        """Note a transient fault of a call. True when the call, not the server, is the trouble."""
        if self.failing_since is None:
            self.failing_since = time.monotonic()
        if not isinstance(fault, ConnectionFailed) and not fault.cost_unknown:
            self.answered = True
        trouble.failures += 1
        if trouble.failures == 1:
            self._in_trouble[trouble.row] += 1
        if isinstance(fault, ConnectionFailed):
            return False
        weight = 1 if isinstance(fault, Overloaded) else OVERLOAD_SHARE
        trouble.weight += weight
        if self.successes > trouble.seen:
            trouble.strikes += weight
        trouble.seen = self.successes
        return self._blames(trouble, fault)

    def _blames(self, trouble: Trouble, fault: CallFault) -> bool:
        enough = GIVE_UP_AFTER * OVERLOAD_SHARE
        if trouble.strikes >= enough:
            return True
        if self._in_trouble.keys() - {trouble.row}:
            return False
        if trouble.weight >= enough and self.successes > trouble.at_start:
            return True
        return trouble.weight >= GIVE_UP_ALONE * OVERLOAD_SHARE and fault.status is not None

    def out_of_patience(self, patience: Patience, fault: CallFault) -> str | None:
        """What to say of a server that has been waited for long enough; None to wait on."""
        now = time.monotonic()
        if self.answered:
            if self.failing_since is None or now - self.failing_since <= patience.answered:
                return None
            return f"has given no usable answer for {patience.answered:.0f} s"
        limit = patience.refused if isinstance(fault, ConnectionFailed) else patience.silent
        return "has not answered at all" if now - (self.first_attempt or now) > limit else None


def backoff(call_id: str, failures: int, fault: CallFault, soon: float | None = None) -> float:
    """Seconds before the next attempt: what the server asked for, else 0.25·2^k up to 30, with seeded jitter.

    `soon`: what a usual answer takes, where a server turns few calls away; a 429 then costs the first wait no more, nor
    does a lost answer, which has waited out the timeout already.
    """
    jitter = 0.5 + seeds.uniform(call_id, failures)
    if isinstance(fault, Overloaded) and fault.retry_after is not None:
        return min(fault.retry_after, 10 * MAX_BACKOFF_S) + 0.1 * jitter
    first = FIRST_BACKOFF_S
    if soon is not None and isinstance(fault, (Overloaded, ConnectionLost)):
        first = min(first, max(soon, SHORTEST_BACKOFF_S))
    return min(first * 2.0 ** min(failures - 1, 12), MAX_BACKOFF_S) * jitter
