"""A step's scorers, made ready: looked up, their options checked, bound to the recipe."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Literal, Protocol

from factory.errors import FactoryError, Place, RecipeError, UsageError
from factory.registry import lookup
from factory.registry import options as plugin_options
from factory.scorers import EXPENSES, Setup, Traits

Combine = Literal["values", "scaled", "ranks"]


class ScorerSpec(Protocol):
    """What a recipe says of a scorer."""

    @property
    def name(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def weight(self) -> float | None: ...


PlaceMaker = Callable[..., Place]
"""`place(*keys, message=…, hint=…)`: a fault with its place in the recipe's file."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A compiled scorer. `name` is unique within the step; `whole`: it takes the row's candidates at once.

    `call(argument, context)` has the options in it. `calls(n)`: model calls that n candidates take at most.
    """

    name: str
    call: Callable[..., Any]
    traits: Traits
    weight: float
    whole: bool
    awaits: bool
    roles: tuple[str, ...] = ()
    veto_below: float | None = None
    veto_above: float | None = None
    calls: Callable[[int], int] | None = None
    plugin: Any = None


@dataclass(frozen=True, slots=True)
class Scorers:
    """A step's scorers in the recipe's order, the recipe's language, and how weights combine their values.

    `order`: their places as they run, the cheapest first, those of one expense as the recipe has them.
    """

    scorers: tuple[Scorer, ...]
    language: str = "en"
    combine: Combine = "values"
    order: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        places = sorted(range(len(self.scorers)), key=lambda k: EXPENSES.index(self.scorers[k].traits.expense))
        object.__setattr__(self, "order", tuple(places))


def compile_scorers(
    specs: Sequence[ScorerSpec],
    *,
    language: str = "en",
    combine: Combine = "values",
    setup: Setup | None = None,
    place: PlaceMaker | None = None,
) -> Scorers:
    """Look up a step's scorers, check their options and bind them. A scorer used twice is called `name`, `name_2`, …

    Raises UsageError for an unknown scorer, a wrong option, a negative weight, or a weighted scorer without a range
    where values are to be scaled; with `place`, RecipeError with all of them.
    """
    known = setup or Setup(language=language)
    compiled: list[Scorer] = []
    faults: list[Place] = []
    taken: set[str] = set()
    for number, spec in enumerate(specs):
        name, count = spec.name, 1
        while name in taken:
            count += 1
            name = f"{spec.name}_{count}"
        taken.add(name)
        try:
            compiled.append(_compile(spec, name, combine, known))
        except UsageError as error:
            if place is None:
                raise
            faults.append(place("score", number, spec.name, message=error.message, hint=error.hint))
    if faults:
        raise RecipeError(faults)
    return Scorers(tuple(compiled), language, combine)


def _compile(spec: ScorerSpec, name: str, combine: Combine, setup: Setup) -> Scorer:
    plugin = lookup("scorer", spec.name)
    weight = 0.0 if spec.weight is None else float(spec.weight)
    if not math.isfinite(weight) or weight < 0:
        raise UsageError(f"the weight of the scorer `{spec.name}` is {weight}", "use a number ≥ 0")
    options = _options(spec)
    if inspect.isclass(plugin):
        plugin = _make(spec.name, plugin, options, setup)
        options = {}
    parameters = list(inspect.signature(plugin).parameters)
    awaits = inspect.iscoroutinefunction(plugin) or inspect.iscoroutinefunction(type(plugin).__call__)
    traits = getattr(plugin, "traits", None)
    if not isinstance(traits, Traits):
        traits = Traits(expense="judge" if awaits else "rule")
    if weight and combine == "scaled" and (traits.low is None or traits.high is None):
        raise UsageError(
            f"the scorer `{spec.name}` has no range that its values could be scaled by",
            "write `keep: {combine: ranks}`, or take away its weight",
        )
    return Scorer(
        name,
        _bound(plugin, options),
        traits,
        weight,
        whole=parameters[:1] == ["candidates"],
        awaits=awaits,
        roles=_roles(spec),
        veto_below=getattr(spec, "veto_below", None),
        veto_above=getattr(spec, "veto_above", None),
        calls=getattr(plugin, "calls", None),
        plugin=plugin,
    )


def _make(name: str, plugin: Any, options: Mapping[str, Any], setup: Setup) -> Any:
    try:
        made = plugin(**options)
        if (bind := getattr(made, "bind", None)) is not None:
            bind(setup)
    except FactoryError:
        raise
    except Exception as error:  # a plugin's code: whatever it raises is told as its own
        raise UsageError(
            f"the scorer `{name}` cannot be set up: {type(error).__name__}: {error}", "see `factory plugins`"
        ) from error
    return made


def _bound(plugin: Any, options: Mapping[str, Any]) -> Callable[..., Any]:
    """`plugin` with its options; a plain function gets them as its defaults, which costs a call nothing."""
    if not options:
        return plugin  # type: ignore[no-any-return]
    defaults = getattr(plugin, "__kwdefaults__", None) or {}
    if inspect.isfunction(plugin) and options.keys() <= defaults.keys():
        copy = FunctionType(
            plugin.__code__, plugin.__globals__, plugin.__name__, plugin.__defaults__, plugin.__closure__
        )
        copy.__kwdefaults__ = {**defaults, **options}
        return copy

    def call(argument: Any, context: Any) -> Any:
        return plugin(argument, context, **options)

    return call


def _roles(spec: ScorerSpec) -> tuple[str, ...]:
    return tuple(getattr(spec, "roles", ()))


def _options(spec: ScorerSpec) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        return plugin_options("scorer", spec.name, spec.options)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)[:3]]
        raise UsageError(f"options of the scorer `{spec.name}`: {'; '.join(told)}", "see `factory plugins`") from error
