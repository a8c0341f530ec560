"""Grades on a scale of whole numbers: what they stand for, the form that a judge writes them in, and reading that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.errors import UsageError
from factory.scorers import shorten
from factory.scorers.judging.verdicts import OutOfForm

WIDEST = 100
"""The longest scale: 0 to 100."""
MEANINGS = (
    ("failed", "wrong, beside the task, or of no use"),
    ("poor", "a serious fault, or much of what was asked is missing"),
    ("fair", "the main thing is there, with faults that matter"),
    ("good", "what was asked is there, with small faults"),
    ("excellent", "nothing that matters could be better"),
)
_PLACES = {2: (0, 4), 3: (0, 2, 4), 4: (0, 1, 3, 4)}
_NAME = re.compile(r"[^\W\d][\w-]{0,39}")
RESERVED = frozenset({"stated", "expected", "sd", "votes", "reason", "score"})
"""Names of parts that are no aspect's."""


@dataclass(frozen=True, slots=True)
class Aspect:
    """One of several things that are graded in one call. `weight`: its share of the value."""

    name: str
    description: str = ""
    weight: float = 1.0


def read_aspects(given: Mapping[str, Any] | Sequence[str] | None) -> tuple[Aspect, ...]:
    """The option `aspects`: names, names with descriptions, or with `description` and `weight`. Raises UsageError."""
    if given is None:
        return ()
    named = given if isinstance(given, Mapping) else dict.fromkeys(given, "")
    if not named or len(named) < len(given):
        raise UsageError("`aspects` must name different things, at least one", "for example {helpfulness: …}")
    return tuple(_read_aspect(str(name), value) for name, value in named.items())


def _read_aspect(name: str, value: Any) -> Aspect:
    if not _NAME.fullmatch(name) or name in RESERVED:
        hint = "letters, digits, `_` and `-`, 40 at most" + (f"; not {', '.join(sorted(RESERVED))}")
        raise UsageError(f"`{shorten(name)}` is no name for an aspect", hint)
    if isinstance(value, str) or value is None:
        return Aspect(name, value or "")
    description, weight = (value.get("description", ""), value.get("weight", 1)) if isinstance(value, dict) else ("", 0)
    known = isinstance(value, dict) and value.keys() <= {"description", "weight"}
    if not known or not isinstance(description, str) or isinstance(weight, bool) or not isinstance(weight, int | float):
        raise UsageError(f"`aspects.{name}` must be a text", "or {description: …, weight: 2}")
    if not 0 < weight < float("inf"):
        raise UsageError(f"`aspects.{name}.weight` is {weight}", "use a number above 0")
    return Aspect(name, description, float(weight))


@dataclass(frozen=True, slots=True)
class Scale:
    """Whole numbers from `low` to `high`, for one grade or for one of each of the `aspects`. Raises UsageError."""

    low: int
    high: int
    aspects: tuple[Aspect, ...] = ()

    def __post_init__(self) -> None:
        if not self.low < self.high or self.high - self.low > WIDEST:
            raise UsageError(
                f"`scale: [{self.low}, {self.high}]` is no scale",
                f"the lowest and the highest grade, {WIDEST} apart at most",
            )

    @property
    def size(self) -> int:
        """How many grades there are."""
        return self.high - self.low + 1

    def meanings(self) -> list[dict[str, Any]]:
        """Some grades with what they stand for, where a rubric says nothing else: `value`, `word` and `meaning`."""
        span = self.high - self.low
        places = _PLACES.get(self.size, range(5))
        values = [self.low + (span * place + 2) // 4 for place in places]
        told = [MEANINGS[place] for place in places]
        return [
            {"value": value, "word": word, "meaning": meaning}
            for value, (word, meaning) in zip(values, told, strict=True)
        ]

    def schema(self) -> dict[str, Any]:
        """The closed JSON Schema of a verdict. The reason comes first: a grade is to follow from it."""
        score = {"type": "integer", "enum": list(range(self.low, self.high + 1))}
        one = _closed({"reason": {"type": "string"}, "score": score})
        return _closed({aspect.name: one for aspect in self.aspects}) if self.aspects else one

    def form(self) -> str:
        """A verdict as a judge is shown it."""
        one = f'{{"reason": "<why>", "score": <{self.low} to {self.high}>}}'
        if not self.aspects:
            return one
        return "{" + ", ".join(f'"{aspect.name}": {one}' for aspect in self.aspects) + "}"

    def read(self, data: Mapping[str, Any]) -> tuple[int, ...]:
        """The grades of a verdict, one an aspect. Raises OutOfForm."""
        if not self.aspects:
            return (self._grade(data, "score"),)
        return tuple(self._read_aspect(data, aspect.name) for aspect in self.aspects)

    def _read_aspect(self, data: Mapping[str, Any], name: str) -> int:
        inner = data.get(name)
        return self._grade(inner, "score", f"{name}.") if isinstance(inner, Mapping) else self._grade(data, name)

    def _grade(self, data: Mapping[str, Any], key: str, before: str = "") -> int:
        value = data.get(key)
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,6}\s*", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            if key not in data:
                raise OutOfForm(f"`{before}{key}` is missing")
            told = shorten(repr(value), 40)
            raise OutOfForm(f"`{before}{key}` is {told}, not a whole number from {self.low} to {self.high}")
        return value

    def mean(self, grades: Sequence[float]) -> float:
        """The aspects' grades as one: their weighted mean."""
        if not self.aspects:
            return float(grades[0])
        weights = [aspect.weight for aspect in self.aspects]
        return sum(weight * grade for weight, grade in zip(weights, grades, strict=True)) / sum(weights)


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
