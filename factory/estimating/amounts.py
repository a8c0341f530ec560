"""What an estimate is made of: numbers with bounds, and sums of requests, tokens and money."""

from __future__ import annotations

import math
from dataclasses import dataclass

from factory.types import NANO

Key = tuple[str, str, str]
"""(step, purpose, role): what amounts are kept apart by."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A number that is not known yet: the expected value and the bounds it should lie between."""

    low: float
    expected: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Interval:
        return cls(value, value, value)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, other: Interval | float) -> Interval:
        """The product with a number ≥ 0, or bound by bound with another interval of such."""
        by = other if isinstance(other, Interval) else Interval.exactly(other)
        return Interval(self.low * by.low, self.expected * by.expected, self.high * by.high)

    def counts(self) -> dict[str, int]:
        """As whole numbers, rounded outwards."""
        return {
            "low": math.floor(self.low + 1e-6),
            "expected": round(self.expected),
            "high": math.ceil(self.high - 1e-6),
        }

    def numbers(self, digits: int) -> dict[str, float]:
        return {name: round(getattr(self, name), digits) for name in ("low", "expected", "high")}


NOTHING = Interval.exactly(0.0)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Requests (attempts sent), tokens, and nano-USD (None: a price is unknown, which is no 0)."""

    requests: Interval = NOTHING
    prompt_tokens: Interval = NOTHING
    completion_tokens: Interval = NOTHING
    nano: Interval | None = NOTHING

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            None if self.nano is None or other.nano is None else self.nano + other.nano,
        )

    def times(self, factor: Interval) -> Amounts:
        return Amounts(
            self.requests.times(factor),
            self.prompt_tokens.times(factor),
            self.completion_tokens.times(factor),
            None if self.nano is None else self.nano.times(factor),
        )

    def as_json(self) -> dict[str, object]:
        return {
            "requests": self.requests.counts(),
            "prompt_tokens": self.prompt_tokens.counts(),
            "completion_tokens": self.completion_tokens.counts(),
            "usd": usd(self.nano),
        }


def usd(nano: Interval | None) -> dict[str, float] | None:
    """Nano-USD as USD."""
    return None if nano is None else nano.times(1 / NANO).numbers(9)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate of a whole run, and of what is still to be paid of it.

    `planned`: rows planned until the target is met. `acceptance`: dataset rows per planned row. `seconds`: of
    generating, None where nothing is known of it. `seconds_left`: the same of what is still to be made.
    `short`: the chance that max_planned rows are not enough; None where nothing is known of it. `rests_on`: a sentence
    on each of planned, tokens, usd and seconds.
    """

    basis: str
    rows: int
    pilot_rows: int
    planned: Interval
    acceptance: Interval
    parts: dict[Key, Amounts]
    total: Amounts
    to_pay: Amounts
    seconds: Interval | None
    seconds_left: Interval | None
    short: float | None
    rests_on: dict[str, str]
    notes: tuple[str, ...]
