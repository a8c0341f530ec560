"""The pace that a provider allows: requests and tokens per minute, spread evenly instead of in bursts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """When the next attempt may start. Rates per minute; None: no limit. Times are of one monotonic clock, in seconds.

    Each attempt takes its share of the minute from the moment it may start (a leaky bucket of one attempt), so that
    no window of 60 seconds holds more than the limit, give or take the attempt that opens it.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    _next_request: float = 0.0
    _next_token: float = 0.0

    def reserve(self, now: float, tokens: int) -> float:
        """Seconds to wait before an attempt of about this many tokens; its place in the queue is taken."""
        start = now
        if self.requests_per_minute is not None:
            start = max(start, self._next_request)
        if self.tokens_per_minute is not None:
            start = max(start, self._next_token)
        if self.requests_per_minute is not None:
            self._next_request = start + 60.0 / self.requests_per_minute
        if self.tokens_per_minute is not None:
            self._next_token = start + 60.0 * tokens / self.tokens_per_minute
        return start - now

    def correct(self, tokens: int) -> None:
        """The attempt used so many tokens more (or, negative, fewer) than was reserved."""
        if self.tokens_per_minute is not None:
            self._next_token += 60.0 * tokens / self.tokens_per_minute
