"""Filters: what may drop a scored candidate, in row order. `compile_filters` makes them from a recipe's `filter:`.

A filter is a function `f(fields, scope, *, options…) -> str | None` (a reason drops the row), or a class whose
keyword-only parameters are its options, with `check` and `add`; see `Filter`.

A filter itself calls no model: curation looks at one row after the other, and nobody should wait there. What it wants
to know of models it asks in `prepare`, while the row is made.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from factory import registry
from factory.errors import FactoryError, Place, RecipeError, UsageError, nearest
from factory.scorers import Context
from factory.together import together
from factory.types import Flag, Task

STAGES = ("filter", "decontaminate", "dedup")
"""Where a filter may drop a candidate."""


@dataclass(frozen=True, slots=True)
class Item:
    """A candidate as filters see it: `fields` are its dataset columns, `scope` what its prompt could name.

    `prepared`: what the filter's own `prepare` gave for it.
    """

    row: int
    index: int
    fields: Mapping[str, Any]
    scope: Mapping[str, Any]
    prepared: Any = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a candidate falls. `matched` names the row that a duplicate or a contaminated text matched."""

    stage: str
    reason: str
    matched: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """What filters may name: all dataset columns, those of the recipe's `output` among them, and the prompt's scope.

    `scope` is None where it is not known beforehand. `base`: the directory that paths of the recipe start from.
    `models`: the recipe's models, BACKEND/MODEL by role.
    """

    every: tuple[str, ...]
    output: tuple[str, ...]
    scope: frozenset[str] | None = None
    base: Path = Path()
    models: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Filter(Protocol):
    """`check` judges a candidate and keeps nothing; `add` is called for each accepted one, in row order.

    A filter may also have
    - `bind(self, columns: Columns) -> None`, called once before the first row: it raises UsageError where an option
      does not fit the columns;
    - `tasks`, a mapping from the roles of the models that it asks to what they must be able to do, and with it
      `async prepare(self, item: Item, context: Context) -> Any`, awaited for every candidate that may be offered
      while its row is made: `context.ask` is journaled as that of scorers is. What it gives is `item.prepared` later.
      `schema` is the closed JSON Schema of the answers, where they have one; `calls`: at most so many a candidate;
    - `flags`, true where `check` may give a `Flag`: the row stays, and its `meta.flags` says why;
    - `facts`, a mapping of what card and manifest tell of it.
    """

    def check(self, item: Item) -> Drop | Flag | None: ...

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
    tasks: Mapping[str, Task] = field(default_factory=dict)

    @property
    def flags(self) -> bool:
        return bool(getattr(self.inner, "flags", False))

    @property
    def facts(self) -> Mapping[str, Any]:
        return getattr(self.inner, "facts", None) or {}

    @property
    def schema(self) -> Mapping[str, Any] | None:
        return getattr(self.inner, "schema", None)

    @property
    def calls(self) -> int:
        """Questions at most for one candidate."""
        return int(getattr(self.inner, "calls", len(self.tasks)))

    async def prepare(self, item: Item, context: Context) -> Any:
        try:
            return await self.inner.prepare(item, context)  # type: ignore[attr-defined]  # `tasks` promises it
        except UsageError as error:
            raise self._failure(item, error.message, error.hint) from error

    def check(self, item: Item) -> Drop | Flag | None:
        found = self._call(self.inner.check, item)
        if found is None:
            return None
        if not isinstance(found, Drop | Flag):
            raise self._failure(item, f"`check` returned {found!r}", "return None or a factory.filters.Drop")
        if found.stage not in STAGES:
            raise self._failure(item, f"it drops at the stage `{found.stage}`", nearest(found.stage, STAGES))
        if isinstance(found, Flag) and not self.flags:
            raise self._failure(item, "it flags a row and has no `flags = True`", "say so in the class")
        return found

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
    base: Path | None = None,
    models: Mapping[str, str] | None = None,
) -> list[NamedFilter]:
    """The filters of a recipe, ready to run. `specs` have `name` and `options` (a recipe's plugin entries).

    `columns` are the dataset's, without `meta`; `output` those that the recipe's `output` names (default: all), which
    is what `dedup` compares; `scope` the names that a prompt may use; `base` the directory that paths start from;
    `models` those of the recipe, BACKEND/MODEL by role. Raises RecipeError with every fault.
    """
    known = Columns(
        tuple(columns),
        tuple(columns if output is None else output),
        None if scope is None else frozenset(scope),
        base or Path(),
        models or {},
    )
    make_place = place or _place_without_file
    compiled: list[NamedFilter] = []
    faults: list[Place] = []
    for number, spec in enumerate(specs):
        try:
            made = _make_filter(spec.name, spec.options, known)
            compiled.append(NamedFilter(spec.name, made, _tasks(made, known.models)))
        except UsageError as error:
            faults.append(make_place("filter", number, spec.name, message=error.message, hint=error.hint))
    if faults:
        raise RecipeError(faults)
    return compiled


def _tasks(made: Filter, roles: Collection[str]) -> Mapping[str, Task]:
    """The models that a filter asks. Raises UsageError for one that the recipe does not have."""
    tasks: Mapping[str, Task] = getattr(made, "tasks", None) or {}
    for role in tasks:
        if role not in roles:
            hint = nearest(role, roles) or "give it under `models:`"
            raise UsageError(f"asks the model `{role}`, which `models` does not have", hint)
    if tasks and not inspect.iscoroutinefunction(getattr(made, "prepare", None)):
        raise UsageError("has `tasks` and no `async def prepare`", "see factory.filters.Filter")
    return tasks


async def prepare(
    filters: Sequence[NamedFilter], items: Sequence[Item], context: Context
) -> dict[tuple[int, int], Any]:
    """What filters find with models, by (number of the filter, index of the candidate)."""
    asking = [(number, one) for number, one in enumerate(filters) if one.tasks]
    places = [(number, item.index) for number, _ in asking for item in items]
    found = await together([one.prepare(item, context) for _, one in asking for item in items])
    return dict(zip(places, found, strict=True))


def prepared_for(item: Item, number: int, prepared: Mapping[tuple[int, int], Any]) -> Item:
    """The item as filter `number` sees it."""
    place = (number, item.index)
    return replace(item, prepared=prepared[place]) if place in prepared else item


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
