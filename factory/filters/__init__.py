"""Filters: what may drop a scored candidate, in row order. `compile_filters` makes them from a recipe's `filter:`.

A filter is a function `f(fields, scope, *, options…) -> str | None` (a reason drops the row), or a class whose
keyword-only parameters are its options, with `check` and `add`; see `Filter`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from factory import registry
from factory.errors import FactoryError, Place, RecipeError, UsageError, nearest

STAGES = ("filter", "decontaminate", "dedup")
"""Where a filter may drop a candidate."""


@dataclass(frozen=True, slots=True)
class Item:
    """A candidate as filters see it: `fields` are its dataset columns, `scope` what its prompt could name."""

    row: int
    index: int
    fields: Mapping[str, Any]
    scope: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a candidate falls. `matched` names the row that a duplicate or a contaminated text matched."""

    stage: str
    reason: str
    matched: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """What filters may name: all dataset columns, those of the recipe's `output` among them, and the prompt's scope.

    `scope` is None where it is not known beforehand.
    """

    every: tuple[str, ...]
    output: tuple[str, ...]
    scope: frozenset[str] | None = None


@runtime_checkable
class Filter(Protocol):
    """`check` judges a candidate and keeps nothing; `add` is called for each accepted one, in row order.

    A filter may also have `bind(self, columns: Columns) -> None`, called once before the first row: it raises
    UsageError where an option does not fit the columns.
    """

    def check(self, item: Item) -> Drop | None: ...

    def add(self, item: Item) -> None: ...


PlaceMaker = Callable[..., Place]
"""`place(*keys, message=…, hint=…)`: a fault with its place in the recipe's file."""


@dataclass(frozen=True, slots=True)
class FunctionFilter:
    """A plain function as a filter: it sees one row only, and its reason drops the row at stage `filter`."""

    function: Callable[..., Any]
    options: Mapping[str, Any]

    def check(self, item: Item) -> Drop | None:
        reason = self.function(item.fields, item.scope, **self.options)
        if reason is None or isinstance(reason, Drop):
            return reason
        if not isinstance(reason, str) or not reason:
            raise UsageError(f"it returned {reason!r}", "return None to keep the row, or the reason why it falls")
        return Drop("filter", reason)

    def add(self, item: Item) -> None:
        """A function remembers nothing."""


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter under its recipe name: its failures say which filter failed, and on which row."""

    name: str
    inner: Filter

    def check(self, item: Item) -> Drop | None:
        drop = self._call(self.inner.check, item)
        if drop is None:
            return None
        if not isinstance(drop, Drop):
            raise self._failure(item, f"`check` returned {drop!r}", "return None or a factory.filters.Drop")
        if drop.stage not in STAGES:
            raise self._failure(item, f"it drops at the stage `{drop.stage}`", nearest(drop.stage, STAGES))
        return drop

    def add(self, item: Item) -> None:
        self._call(self.inner.add, item)

    def _call(self, method: Callable[[Item], Any], item: Item) -> Any:
        try:
            return method(item)
        except FactoryError as error:
            raise self._failure(item, error.message, error.hint) from error
        except Exception as error:
            hint = "a filter must cope with every row, or return a reason"
            raise self._failure(item, f"{type(error).__name__}: {error}", hint) from error

    def _failure(self, item: Item, message: str, hint: str) -> UsageError:
        return UsageError(f"the filter `{self.name}` failed on row {item.row}, candidate {item.index}: {message}", hint)


def compile_filters(
    specs: Sequence[Any],
    columns: Sequence[str],
    *,
    output: Sequence[str] | None = None,
    scope: Collection[str] | None = None,
    place: PlaceMaker | None = None,
) -> list[Filter]:
    """The filters of a recipe, ready to run. `specs` have `name` and `options` (a recipe's plugin entries).

    `columns` are the dataset's, without `meta`; `output` those that the recipe's `output` names (default: all), which
    is what `dedup` compares; `scope` the names that a prompt may use. Raises RecipeError with every fault.
    """
    known = Columns(
        tuple(columns),
        tuple(columns if output is None else output),
        None if scope is None else frozenset(scope),
    )
    make_place = place or _place_without_file
    compiled: list[Filter] = []
    faults: list[Place] = []
    for number, spec in enumerate(specs):
        try:
            compiled.append(NamedFilter(spec.name, _make_filter(spec.name, spec.options, known)))
        except UsageError as error:
            faults.append(make_place("filter", number, spec.name, message=error.message, hint=error.hint))
    if faults:
        raise RecipeError(faults)
    return compiled


def _place_without_file(*keys: str | int, message: str, hint: str = "") -> Place:
    parts = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys]
    return Place("<recipe>", None, "".join(parts).lstrip("."), message, hint)


def _make_filter(name: str, given: Mapping[str, Any], columns: Columns) -> Filter:
    from pydantic import ValidationError

    plugin = registry.lookup("filter", name)
    try:
        options = registry.options("filter", name, given)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(told, nearest("", registry.config_model("filter", name).model_fields)) from error
    if not inspect.isclass(plugin):
        if inspect.iscoroutinefunction(plugin):
            raise UsageError("is an async function", "a filter calls no model: make it a plain function")
        return FunctionFilter(plugin, options)
    try:
        made = plugin(**options)
    except FactoryError:
        raise
    except Exception as error:
        raise UsageError(f"cannot start: {type(error).__name__}: {error}", "check its options") from error
    if not isinstance(made, Filter):
        raise UsageError("has no `check` and `add`", "see factory.filters.Filter")
    bind = getattr(made, "bind", None)
    if bind is not None:
        bind(columns)
    return made


def as_columns(option: str, on: str | Iterable[str], known: Columns) -> tuple[str, ...]:
    """The columns that an option names. Raises UsageError for one that the dataset lacks, with the nearest."""
    chosen = (on,) if isinstance(on, str) else tuple(on)
    if not chosen:
        raise UsageError(f"`{option}` names no column", nearest("", known.every))
    for column in chosen:
        if column not in known.every:
            raise UsageError(f"`{option}` names `{column}`, which is no column", nearest(column, known.every))
    return chosen


def text_of(value: Any) -> str:
    """A column's value as text: strings as they are, lists and mappings by their values in order, null as nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "\n".join(text_of(one) for one in value.values())
    if isinstance(value, list | tuple):
        return "\n".join(text_of(one) for one in value)
    return json.dumps(value, ensure_ascii=False, default=str)
