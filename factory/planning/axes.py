"""Axes of variation as values: `draw(axis, seed, row, name, earlier)` is a pure function.

An axis is one of the frozen dataclasses below; `axis_reading` makes one from a recipe's `vary:` entry. How axes
are drawn evenly (`balance: true`) is in `balancing`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate
from statistics import NormalDist
from typing import Any

from factory import seeds
from factory.errors import UsageError, nearest
from factory.planning.faked import Faked
from factory.prompts import render_text
from factory.sources.tables import json_value
from factory.types import canonical_json

ENUMERABLE = 10_000
"""An axis with at most this many values can be checked value by value before the run."""

_STANDARD = NormalDist()
_SMALLEST = 5e-324


@dataclass(frozen=True, slots=True)
class Days(Sequence[str]):
    """`length` days from ordinal `first` on, as text."""

    first: int
    length: int
    format: str

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self.length))]
        if not 0 <= index < self.length:
            raise IndexError(index)
        day = date.fromordinal(self.first + index)
        # strftime does not pad years below 1000 on every system
        return day.isoformat() if self.format == "%Y-%m-%d" else day.strftime(self.format)


@dataclass(frozen=True, slots=True)
class Finite:
    """One of `values` (choice, file, table, integer, date). `weights`: all above 0, None for equal ones.

    `ordered`: neighbours are alike (integers, days), so that even coverage may mean strata of many values.
    """

    values: Sequence[Any]
    weights: tuple[float, ...] | None = None
    ordered: bool = False
    cumulative: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        total = math.fsum(self.weights or ())
        steps = tuple(accumulate(weight / total for weight in self.weights or ()))
        object.__setattr__(self, "cumulative", steps)

    def index_at(self, u: float) -> int:
        """The index of the value at quantile `u` of [0, 1)."""
        index = bisect_right(self.cumulative, u) if self.weights else int(u * len(self.values))
        return min(index, len(self.values) - 1)

    def at(self, u: float) -> Any:
        return self.values[self.index_at(u)]


@dataclass(frozen=True, slots=True)
class Grid:
    """Rounding to `decimals` places (0: whole numbers) without leaving [low, high]; None: no rounding."""

    decimals: int | None
    low: float
    high: float

    def snap(self, value: float) -> float | int:
        """The value on the grid; never a negative zero."""
        inside = min(max(value, self.low), self.high)
        if self.decimals is None:
            return inside + 0.0
        rounded = min(max(round(inside, self.decimals), self.low), self.high)
        return int(rounded) if self.decimals == 0 else rounded + 0.0


@dataclass(frozen=True, slots=True)
class Uniform:
    """A number between `low` and `high`, every one as likely."""

    low: float
    high: float
    grid: Grid

    def at(self, u: float) -> float | int:
        """The quantile at `u`."""
        return self.grid.snap(self.low * (1 - u) + self.high * u)


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal number truncated to [low, high] (either may be infinite).

    Drawn through the inverse distribution function on the share of the curve between the bounds (Wichura's AS 241,
    as in `statistics.NormalDist.inv_cdf`): the shape inside is the normal curve's, and no mass piles up at the
    bounds, as it would if values outside were set to the nearest one.
    """

    mean: float
    sd: float
    low: float
    high: float
    grid: Grid

    def at(self, u: float) -> float | int:
        """The quantile at `u`."""
        if self.sd == 0:
            return self.grid.snap(self.mean)
        low, high = (self.low - self.mean) / self.sd, (self.high - self.mean) / self.sd
        # Work in the lower tail, where small probabilities are exact: an upper tail is mirrored.
        sign = -1.0 if low > 0 else 1.0
        below, above = (lower_tail(-high), lower_tail(-low)) if sign < 0 else (lower_tail(low), lower_tail(high))
        share = min(max(below + u * (above - below), _SMALLEST), 1 - 2**-53)
        return self.grid.snap(self.mean + self.sd * sign * _STANDARD.inv_cdf(share))


@dataclass(frozen=True, slots=True)
class Text:
    """A text rendered from other axes (and `source`, `row`).

    `names`: what it mentions; `needed`: the names that must be there (not those it gives a default or asks about).
    """

    template: str
    names: frozenset[str]
    needed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Branches:
    """Choices that hang on another axis: `on` is its name, followed by a column where its values are table rows.

    `branches` by `value_key` of the other axis' value; `default` for the values that are not listed.
    """

    on: tuple[str, ...]
    branches: Mapping[str, Finite]
    default: Finite | None

    def branch(self, key: str, name: str) -> Finite:
        """The choices for a parent value's key. Raises UsageError where there are none."""
        chosen = self.branches.get(key, self.default)
        if chosen is None:
            raise UsageError(
                f"axis `{name}`: nothing for `{'.'.join(self.on)}` = `{key}` ({nearest(key, self.branches)})",
                "add it to `choices`, or give a `default`",
            )
        return chosen


Axis = Finite | Uniform | Normal | Text | Branches | Faked


def lower_tail(z: float) -> float:
    """The standard normal's share below z, exact to rounding even far out."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def draw(axis: Axis, seed: int, row: int, name: str, earlier: Mapping[str, Any]) -> Any:
    """The value of axis `name` in row `row`: a JSON value that hangs on nothing but the arguments.

    `earlier` holds the values of the axes it is built from (and `source`, `row` for texts). Raises UsageError when a
    `depends` axis meets a value it has no choices for, RecipeError when a text cannot be rendered.
    """
    if isinstance(axis, Text):
        return render_text(axis.template, earlier)
    if isinstance(axis, Faked):
        return json_value(axis.draw(seeds.digest(seed, row, name)))
    point = seeds.uniform(seed, row, name)
    if isinstance(axis, Branches):
        return axis.branch(value_key(value_on(axis.on, earlier)), name).at(point)
    return axis.at(point)


def parents(axis: Axis, names: Collection[str]) -> tuple[str, ...]:
    """The axes of `names` that must be drawn before this one."""
    if isinstance(axis, Text):
        return tuple(sorted(axis.names & set(names)))
    return axis.on[:1] if isinstance(axis, Branches) and axis.on[0] in names else ()


def value_key(value: Any) -> str:
    """A value as text, equal for `1` and `"1"`, `true` and `True`: how `depends` compares."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return canonical_json(value)


def value_on(path: Sequence[str], values: Mapping[str, Any]) -> Any:
    """The value that `on: axis` or `on: axis.column` names. Raises UsageError for a column that is not there."""
    value: Any = values
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            columns = value if isinstance(value, Mapping) else ()
            raise UsageError(f"`on: {'.'.join(path)}`: no `{key}`", nearest(key, columns))
        value = value[key]
    return value


def support(name: str, axes: Mapping[str, Axis]) -> Sequence[Any] | None:
    """Every value an axis can take, None where that is no short list (see `ENUMERABLE`)."""
    axis = axes.get(name)
    if isinstance(axis, Finite):
        return axis.values if len(axis.values) <= ENUMERABLE else None
    if not isinstance(axis, Branches):
        return None
    above = support(axis.on[0], axes)
    if above is None:
        chosen = [*axis.branches.values(), *([axis.default] if axis.default else [])]
    else:
        keys = dict.fromkeys(value_key(value_on(axis.on, {axis.on[0]: value})) for value in above)
        chosen = [found for key in keys if (found := axis.branches.get(key, axis.default)) is not None]
    return [value for finite in chosen for value in finite.values]


def check_branches(name: str, axes: Mapping[str, Axis]) -> None:
    """Raise UsageError when the axis that `name` hangs on can take a value for which there are no choices."""
    axis = axes[name]
    if not isinstance(axis, Branches):
        return
    values = support(axis.on[0], axes)
    if values is None:
        return
    keys = dict.fromkeys(value_key(value_on(axis.on, {axis.on[0]: value})) for value in values)
    absent = [key for key in keys if key not in axis.branches] if axis.default is None else []
    if absent:
        shown = ", ".join(f"`{key}`" for key in absent[:5]) + (", …" if len(absent) > 5 else "")
        unused = [key for key in axis.branches if key not in keys]
        meant = f"; `{unused[0]}` never occurs" if unused else ""
        raise UsageError(
            f"`{'.'.join(axis.on)}` can be {shown}, for which there are no choices{meant}",
            "add them to `choices`, or give a `default`",
        )


def sort_axes(axes: Mapping[str, Axis]) -> tuple[list[str], list[list[str]]]:
    """The names so that each comes after its parents, and the cycles (each as a path that ends where it began).

    Axes of a cycle, and those that hang on one, are left out of the order.
    """
    above = {name: parents(axis, axes) for name, axis in axes.items()}
    order: list[str] = []
    waiting = list(axes)
    while ready := [name for name in waiting if all(parent in order for parent in above[name])]:
        order.extend(ready)
        waiting = [name for name in waiting if name not in ready]
    return order, list(_cycles(above, waiting))


def _cycles(above: Mapping[str, tuple[str, ...]], waiting: list[str]) -> Iterator[list[str]]:
    """The cycles met when each waiting axis is followed to its first waiting parent; each cycle once."""
    seen: set[str] = set()
    for start in waiting:
        path: list[str] = []
        name = start
        while name not in path and name not in seen:
            path.append(name)
            name = next(parent for parent in above[name] if parent in waiting)
        if name in path:
            yield [*path[path.index(name) :], name]
        seen.update(path)
