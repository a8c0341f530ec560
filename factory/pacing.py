"""The pace that a provider allows: requests and tokens a minute, spread over the minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MINUTE = 60.0
BURST_S = 1.0
"""A provider's bucket fills all the time and gives at once what came in lately. How much it holds nobody tells; OpenAI
says that a limit a minute may be enforced a second, so a second's share (one attempt at least) goes out at once."""


@dataclass(slots=True, eq=False)
class Turn:
    """An attempt's place: when it may start, and the tokens it is taken to use."""

    start: float
    tokens: int
    counted: bool = True


@dataclass(slots=True)
class Pace:
    """When the next attempt may start. Limits a minute; None: none. Times are of one monotonic clock, in seconds.

    Attempts start in the order in which they ask, at the limit's rate after a burst of `BURST_S`, and no window of 60
    seconds, wherever it begins, holds more than the limit (an attempt greater than the limit has one to itself).
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    _last: float = 0.0
    _requests_from: float = 0.0
    _tokens_from: float = 0.0
    _tokens: int = 0
    _turns: deque[Turn] = field(default_factory=deque)

    @property
    def unlimited(self) -> bool:
        return self.requests_per_minute is None and self.tokens_per_minute is None

    def take(self, tokens: int, now: float) -> Turn:
        """The place of an attempt of about so many tokens. `Turn.start` may be later than `now`."""
        start = max(now, self._last)
        if self.requests_per_minute is not None:
            start = max(start, self._requests_from - self._slack(self.requests_per_minute, 1))
        if self.tokens_per_minute is not None:
            start = max(start, self._tokens_from - self._slack(self.tokens_per_minute, tokens))
        self._forget(start)
        while self._turns and not self._fits(tokens):
            start = max(start, self._turns[0].start + MINUTE)
            self._forget(start)
        if self.requests_per_minute is not None:
            self._requests_from = max(self._requests_from, start) + MINUTE / self.requests_per_minute
        if self.tokens_per_minute is not None:
            self._tokens_from = max(self._tokens_from, start) + MINUTE * tokens / self.tokens_per_minute
        turn = Turn(start, tokens)
        if not self.unlimited:
            self._turns.append(turn)
            self._tokens += tokens
        self._last = start
        return turn

    def correct(self, turn: Turn, tokens: int) -> None:
        """Put right what an attempt was taken to use."""
        more = tokens - turn.tokens
        turn.tokens = tokens
        if turn.counted:
            self._tokens += more
        if self.tokens_per_minute is not None:
            self._tokens_from += MINUTE * more / self.tokens_per_minute

    @staticmethod
    def _slack(limit: float, amount: int) -> float:
        """Seconds that an attempt may start ahead of an even spread: it finds room in the bucket."""
        return max(0.0, BURST_S - MINUTE * amount / limit)

    def _forget(self, start: float) -> None:
        """Turns of more than a minute before `start` count no longer."""
        while self._turns and self._turns[0].start + MINUTE <= start:
            turn = self._turns.popleft()
            turn.counted = False
            self._tokens -= turn.tokens

    def _fits(self, tokens: int) -> bool:
        requests, allowed = self.requests_per_minute, self.tokens_per_minute
        if requests is not None and len(self._turns) + 1 > max(1.0, requests):
            return False
        return allowed is None or self._tokens + tokens <= allowed
