"""The plan: `plan.row(i)` is a pure function of (recipe, seed, i), whatever the order in which rows are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from factory.errors import MissingExtra, Place, RecipeError, UsageError, nearest
from factory.planning.axes import Axis, Branches, Text, check_branches, parents, sort_axes, support
from factory.planning.axis_reading import check_name, compile_axis
from factory.planning.balancing import Draw, balanced_draws, independent_draws
from factory.prompts import Template, check_names, load_template
from factory.recipe.checks import output_columns
from factory.recipe.faults import fit, in_order
from factory.sources import Source, read_source
from factory.sources.tables import check_columns
from factory.types import Variation, canonical_json

if TYPE_CHECKING:
    from factory.recipe.shape import Recipe, ResolvedStep

_TRIAL_ROWS = 64


@dataclass(frozen=True)
class Plan:
    """A recipe with all it names read and checked.

    `parts`: each ingredient of the plan with its SHA-256 (hex), so that a mismatch names what differs; `sha`: the hash
    over them. `size`: the number of rows of one pass over the source (`rows: all`), None where rows are endless.
    """

    recipe: Recipe
    steps: tuple[ResolvedStep, ...]
    templates: Mapping[str, Template]
    source: Source | None
    axes: Mapping[str, Axis]
    parts: Mapping[str, str]
    sha: str
    _draws: tuple[tuple[str, Draw], ...] = field(repr=False, compare=False)

    @property
    def size(self) -> int | None:
        """How many rows `rows: all` plans; None for a number of dataset rows."""
        return len(self.source) if self.recipe.rows == "all" and self.source is not None else None

    @property
    def source_rows(self) -> int | None:
        """How many source rows there are; None without `from:`."""
        return None if self.source is None else len(self.source)

    def row(self, index: int, changes: Mapping[str, Any] | None = None) -> Variation:
        """Row `index` (from 0): its axis values in the recipe's order, and source row `index` mod their number.

        `changes`: values that axes have instead of what would be drawn; axes that hang on them follow. Raises
        RecipeError when an axis cannot be drawn for this row.
        """
        if index < 0:
            raise ValueError(f"rows count from 0, not {index}")
        source = None if self.source is None else self.source[index % len(self.source)]
        values: dict[str, Any] = {"row": index, "source": source}
        for name, draw_axis in self._draws:
            if changes is not None and name in changes:
                values[name] = changes[name]
                continue
            try:
                values[name] = draw_axis(index, values)
            except RecipeError as error:
                raise RecipeError([_moved(self.recipe, name, index, place) for place in error.places]) from error
            except UsageError as error:
                message = f"row {index}: {error.message}"
                place = self.recipe.place("vary", name, message=message, hint=error.hint)
                raise RecipeError([place]) from error
        return Variation(index, {name: values[name] for name in self.recipe.vary}, source)

    def scope(self, variation: Variation) -> dict[str, Any]:
        """What prompts know of a row: its axis values, `row`, and `source` where the recipe has `from:`."""
        scope = {**variation.values, "row": variation.row}
        if variation.source is not None:
            scope["source"] = variation.source
        return scope


def _moved(recipe: Recipe, name: str, index: int, place: Place) -> Place:
    return recipe.place("vary", name, message=f"row {index}: {place.message}", hint=place.hint)


def compile_plan(recipe: Recipe) -> Plan:
    """Read what the recipe names (source, axis files, prompts) and check that it fits together.

    Raises RecipeError with every fault at once; MissingExtra when an absent extra is the only one.
    """
    faults = _Faults(recipe)
    steps = recipe.step_list()
    source = _read_source(recipe, faults)
    axes, contents = _compile_axes(recipe, faults)
    order = _check_axes(recipe, axes, faults)
    templates = _load_templates(recipe, steps, known_names(recipe, axes, source), faults)
    faults.stop()
    ordered = {name: axes[name] for name in order}
    draws = (balanced_draws if recipe.balance else independent_draws)(ordered, recipe.seed)
    parts = {ingredient: _sha(value) for ingredient, value in _ingredients(recipe, steps, source, contents, templates)}
    plan = Plan(recipe, steps, templates, source, axes, parts, _sha(parts), tuple(draws.items()))
    if any(isinstance(axis, Text | Branches) for axis in axes.values()):
        for index in range(_TRIAL_ROWS):  # a text that fails should do so before anything is paid
            plan.row(index)
    return plan


class _Faults:
    """The faults found so far, each once."""

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._places: list[Place] = []
        self._missing: list[MissingExtra] = []

    def add(self, *keys: str | int, message: str, hint: str = "") -> None:
        self.extend([self._recipe.place(*keys, message=message, hint=hint)])

    def extend(self, places: list[Place] | tuple[Place, ...]) -> None:
        self._places += [place for place in places if place not in self._places]

    def take(self, error: UsageError, *keys: str | int) -> None:
        """An error met while a key was read."""
        if isinstance(error, RecipeError):
            self.extend(error.places)
            return
        if isinstance(error, MissingExtra):
            self._missing.append(error)
        self.add(*keys, message=error.message, hint=error.hint)

    def stop(self) -> None:
        """Raise what was found."""
        if self._missing and len(self._places) == len(self._missing):
            raise self._missing[0]
        if self._places:
            raise RecipeError(fit(in_order(self._places, self._recipe.file)))


def _read_source(recipe: Recipe, faults: _Faults) -> Source | None:
    if recipe.from_ is None:
        if recipe.rows == "all":
            faults.add("rows", message="`rows: all` is one pass over source rows", hint="add `from:`, or give a number")
        return None
    try:
        source = read_source(recipe.from_.model_copy(update={"carry": []}), recipe.base)
    except UsageError as error:
        faults.take(error, "from", "path")
        return None
    try:  # by itself, so that a wrong column to carry hides no fault of the prompts
        check_columns(recipe.from_.carry, source.columns, recipe.from_.path)
    except UsageError as error:
        faults.take(error, "from", "carry")
    return source


def _compile_axes(recipe: Recipe, faults: _Faults) -> tuple[dict[str, Axis], dict[str, Any]]:
    """The axes in the recipe's order, and what each hangs on as JSON data."""
    axes: dict[str, Axis] = {}
    contents: dict[str, Any] = {}
    taken = [step.name for step in recipe.steps or ()]
    for name, config in recipe.vary.items():
        if reason := check_name(name, taken):
            faults.add("vary", name, message=reason)
        try:
            axes[name], content = compile_axis(config, recipe.base)
        except UsageError as error:
            faults.take(error, "vary", name, config.kind)
            continue
        contents[name] = {config.kind: content}
    for position, name in enumerate(recipe.carry):
        if name not in recipe.vary:
            hint = nearest(name, recipe.vary) or "`vary:` has none"
            faults.add("carry", position, message=f"no axis `{name}`", hint=hint)
    return axes, contents


def _check_axes(recipe: Recipe, axes: Mapping[str, Axis], faults: _Faults) -> list[str]:
    """The order in which axes are drawn."""
    known = {*recipe.vary, "row", *(["source"] if recipe.from_ else [])}
    for name, axis in axes.items():
        if isinstance(axis, Text):
            for unknown in sorted(axis.needed - known):
                hint = "add `from:`" if unknown == "source" else nearest(unknown, known - {name})
                faults.add("vary", name, "template", message=f"`{unknown}` is undefined", hint=hint)
        elif isinstance(axis, Branches) and axis.on[0] not in recipe.vary:
            hint = nearest(axis.on[0], set(recipe.vary) - {name}) or "there is no other axis"
            faults.add("vary", name, "depends", "on", message=f"no axis `{axis.on[0]}`", hint=hint)
    order, cycles = sort_axes(axes)
    for cycle in cycles:
        message = f"axes hang on each other in a circle: {' → '.join(cycle)}"
        faults.add("vary", cycle[0], message=message, hint="break it at one of them")
    for name in order:
        # Not where the axis above has a fault of its own: it has been told.
        if all(parent in axes for parent in parents(axes[name], recipe.vary)):
            try:
                check_branches(name, axes)
            except UsageError as error:
                faults.take(error, "vary", name, "depends")
    return order


def _load_templates(
    recipe: Recipe,
    steps: tuple[ResolvedStep, ...],
    known: dict[str, Collection[str] | None],
    faults: _Faults,
) -> dict[str, Template]:
    """Each step's prompt, its names checked against what is `known` where it is rendered (see `known_names`)."""
    templates: dict[str, Template] = {}
    for position, step in enumerate(steps):
        keys = ("prompt",) if recipe.steps is None else ("steps", position, "prompt")
        try:
            template = load_template(step.prompt, recipe.base, place=partial(recipe.place, *keys))
        except UsageError as error:
            faults.take(error, *keys)
        else:
            templates[step.name] = template
            faults.extend(check_names(template, known))
        known[step.name] = [step.name] if step.output is None else output_columns(step.output)
    return templates


def known_names(recipe: Recipe, axes: Mapping[str, Axis], source: Source | None) -> dict[str, Collection[str] | None]:
    """What a recipe's first prompt knows, with the fields of what has some: `row`, `source`, the axes."""
    known: dict[str, Collection[str] | None] = {}
    for name in recipe.vary:
        values = support(name, axes)
        tables = values is not None and len(values) > 0 and all(isinstance(value, dict) for value in values)
        known[name] = dict.fromkeys(key for value in values or () for key in value) if tables else None
    known["row"] = None
    if recipe.from_ is not None:
        known["source"] = source.columns if source is not None else None
    return known


def _ingredients(
    recipe: Recipe,
    steps: tuple[ResolvedStep, ...],
    source: Source | None,
    contents: Mapping[str, Any],
    templates: Mapping[str, Template],
) -> Iterator[tuple[str, Any]]:
    """What the plan's hash is made of, by name. Everything else may change between runs of one directory."""
    yield "name", recipe.name
    yield "seed", recipe.seed
    yield "balance", recipe.balance
    for name in sorted(contents):
        yield f"vary.{name}", contents[name]
    if source is not None:
        yield "from", source.sha
    yield "steps", [step.name for step in steps]
    for step in steps:
        yield f"steps.{step.name}.prompt", templates[step.name].sha
        yield f"steps.{step.name}.output", step.output
        yield f"steps.{step.name}.candidates", step.candidates
        yield f"steps.{step.name}.models", _models(recipe, step)


def _models(recipe: Recipe, step: ResolvedStep) -> list[list[Any]]:
    """Who writes: weight, identity and sampling of each. Names of roles and a lone model's weight change nothing."""
    alone = len(step.models) == 1
    found = []
    for role, weight in step.models:
        config = recipe.models[role]
        asked = config.sampling().body() | ({} if config.logprobs is None else {"logprobs": config.logprobs})
        found.append([1 if alone else weight, config.identity_key, asked])
    return found


def _sha(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode(errors="backslashreplace")).hexdigest()
