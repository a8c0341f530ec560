"""What must hang together in a recipe: steps, roles, plugins, columns, numbers. Works on the raw data, part by part,
so that a fault in one place hides none elsewhere. Axes, sources and prompts are checked by `factory.planning`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from factory import registry
from factory.errors import Place, UsageError, nearest
from factory.recipe.axes import SourceConfig
from factory.recipe.faults import collect
from factory.recipe.keeping import KeepConfig
from factory.recipe.models import ModelConfig
from factory.recipe.shape import MOST_CANDIDATES, SCORER_KEYS, GenerateConfig, ScorerConfig

Placer = Callable[..., Place]
Part = TypeVar("Part", bound=BaseModel)

RESERVED_NAMES = ("source", "row")
"""Names that every prompt has in scope beside the axes and the earlier steps."""
SINGLE_ONLY = ("prompt", "output", "parse", "repair", "score")
"""Keys that belong into the steps where there are steps."""


def read_part(model: type[Part], raw: Any) -> Part | None:
    """One part of a recipe, or None where it has faults of its own (they are reported elsewhere)."""
    try:
        return model.model_validate(raw)
    except ValidationError:
        return None


@dataclass(frozen=True)
class View:
    """The raw data of a recipe, read leniently: what is not readable is left out."""

    data: Mapping[Any, Any]
    place: Placer

    def section(self, key: str) -> dict[Any, Any]:
        value = self.data.get(key)
        return value if isinstance(value, dict) else {}

    @cached_property
    def steps(self) -> list[tuple[tuple[str | int, ...], Mapping[Any, Any]]]:
        """The path and the raw data of every step; the recipe itself where it has none."""
        steps = self.data.get("steps")
        if steps is None:
            return [((), self.data)]
        found = steps if isinstance(steps, list) else []
        return [(("steps", number), step) for number, step in enumerate(found) if isinstance(step, dict)]

    @cached_property
    def source(self) -> SourceConfig | None:
        return read_part(SourceConfig, self.data["from"]) if self.data.get("from") is not None else None

    @cached_property
    def columns(self) -> dict[str, tuple[str | int, ...]] | None:
        """The dataset's columns and where each is named; None where an output leaves them open."""
        found: dict[str, tuple[str | int, ...]] = {}
        for path, step in self.steps:
            output = step.get("output")
            if output is None:
                found.setdefault("text" if not path else str(step.get("name")), (*path, "output"))
                continue
            names = output_columns(output)
            if names is None:
                return None
            for name in names:
                found.setdefault(name, (*path, "output", name))
        return found


def output_columns(output: Any) -> list[str] | None:
    """The columns of a field map or of a JSON Schema; None where they cannot be told."""
    if not isinstance(output, dict):
        return None
    if output.get("type") == "object" or "$defs" in output:
        properties = output.get("properties")
        return [str(name) for name in properties] if isinstance(properties, dict) else None
    return [str(name) for name in output]


def check(data: Mapping[Any, Any], place: Placer) -> list[Place]:
    """Every fault that needs more than one key to see."""
    view = View(data, place)
    checks = (
        _check_shape,
        _check_roles,
        _check_backends,
        _check_plugins,
        _check_columns,
        _check_diversity,
        _check_numbers,
    )
    return [fault for one in checks for fault in one(view)]


def _check_shape(view: View) -> Iterator[Place]:
    data, place = view.data, view.place
    if data.get("steps") is None:
        if data.get("prompt") is None:
            hint = "write `prompt: prompts/x.j2`, or the text itself, or `steps:`"
            yield place(message="`prompt` is missing", hint=hint)
        return
    for key in SINGLE_ONLY:
        if data.get(key) is not None:
            yield place(key, message=f"`{key}` and `steps` exclude each other", hint=f"move `{key}` into a step")
    seen: dict[str, int] = {}
    for path, step in view.steps:
        name = step.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            yield place(*path, "name", message=f"two steps are called `{name}`", hint="rename one")
        elif name in RESERVED_NAMES:
            yield place(*path, "name", message=f"`{name}` is in scope of every prompt already", hint="rename it")
        seen[name] = 1


def _generates(view: View) -> Iterator[tuple[tuple[str | int, ...], GenerateConfig]]:
    """Every readable `generate:`, with its path."""
    paths = [((), view.data), *(part for part in view.steps if part[0])]
    for path, part in paths:
        raw = part.get("generate")
        if raw is None and path:
            continue
        generate = read_part(GenerateConfig, {} if raw is None else raw)
        if generate is not None:
            yield (*path, "generate"), generate


def _keeps(view: View) -> Iterator[tuple[tuple[str | int, ...], KeepConfig, bool]]:
    """Every readable `keep:`, with its path, and whether it is for the last step: the recipe's own is."""
    last = view.steps[-1][0] if view.steps else ()
    for path, part in [((), view.data), *(step for step in view.steps if step[0])]:
        keep = read_part(KeepConfig, part["keep"]) if part.get("keep") is not None else None
        if keep is not None:
            yield (*path, "keep"), keep, path in ((), last)


def _asked_roles(view: View) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every role that is asked for, with its path."""
    every_step = bool(view.data.get("steps")) and all(step.get("generate") for _, step in view.steps)
    for path, generate in _generates(view):
        if path == ("generate",) and every_step:
            continue
        for role, _ in generate.mixture():
            yield (*path, "model") if isinstance(generate.model, str) else (*path, "model", role), role
    for path, step in view.steps:
        score = step.get("score")
        for number, raw in enumerate(score if isinstance(score, list) else []):
            scorer = read_part(ScorerConfig, raw)
            if scorer is None:
                continue
            for judge in scorer.roles:
                key = "model" if scorer.options.get("model") == judge else "models"
                yield (*path, "score", number, scorer.name, key), judge
    for path, keep, _ in _keeps(view):
        if keep.diversity is not None and keep.diversity.model is not None:
            yield (*path, "diversity", "model"), keep.diversity.model


def _check_roles(view: View) -> Iterator[Place]:
    known = [str(role) for role in view.section("models")]
    told = set()
    for path, role in _asked_roles(view):
        if role in known or (role, path[0]) in told:
            continue
        told.add((role, path[0]))
        if not known:
            yield view.place("models", message="there is no model", hint=f"write `models: {{{role}: embedded/tiny}}`")
        elif path == ("generate", "model") and "model" not in view.section("generate"):
            message = f"no model has the role `{role}`, which `generate:` takes by default"
            yield view.place("models", message=message, hint=f"rename one, or write `generate: {{model: {known[0]}}}`")
        else:
            yield view.place(*path, message=f"no model has the role `{role}`", hint=nearest(role, known))


def _check_backends(view: View) -> Iterator[Place]:
    asked = {role for _, role in _asked_roles(view)}
    for role, raw in view.section("models").items():
        model = read_part(ModelConfig, raw)
        if model is None or str(role) not in asked:
            continue
        try:
            registry.lookup("backend", model.backend)
        except UsageError as error:
            if isinstance(raw, str) and "/" not in raw:
                hint = f"write BACKEND/MODEL, for example openai/{raw}"
                yield view.place("models", role, message=f"`{raw}` is no BACKEND/MODEL", hint=hint)
            else:
                below = () if isinstance(raw, str) else ("backend",)
                yield view.place("models", role, *below, message=error.message, hint=error.hint)


_PLUGINS = (("score", "scorer"), ("filter", "filter"), ("whole_set", "pass"), ("audit", "auditor"))


def _check_plugins(view: View) -> Iterator[Place]:
    parts = [((), view.data), *(part for part in view.steps if part[0])]
    for path, part in parts:
        for key, kind in _PLUGINS:
            raw = part.get(key)
            if path and key != "score":
                continue
            for number, item in enumerate(raw if isinstance(raw, list) else []):
                yield from _check_plugin(view, (*path, key, number), kind, item)


def _check_plugin(view: View, path: tuple[str | int, ...], kind: str, item: Any) -> Iterator[Place]:
    if not isinstance(item, str) and not _is_single(item):
        return
    name, options = (item, {}) if isinstance(item, str) else next(iter(item.items()))
    options = {} if options is None else options
    below = () if isinstance(item, str) else (name,)
    try:
        model = registry.config_model(kind, str(name))
    except UsageError as error:
        yield view.place(*path, *below, message=error.message, hint=error.hint)
        return
    if not isinstance(options, dict):
        return
    given = {key: value for key, value in options.items() if kind != "scorer" or key not in SCORER_KEYS}
    try:
        model.model_validate({str(key): value for key, value in given.items()})
    except ValidationError as error:

        def place(*keys: str | int, message: str, hint: str = "") -> Place:
            return view.place(*path, *below, *keys, message=message, hint=hint)

        yield from collect(error, model, given, place)


def _is_single(item: Any) -> bool:
    return isinstance(item, dict) and len(item) == 1


def _check_columns(view: View) -> Iterator[Place]:
    if view.columns is None:
        return
    carry = view.data.get("carry")
    carried: list[tuple[str, tuple[str, ...]]] = []
    carried += [(name, ("carry",)) for name in (carry if isinstance(carry, list) else []) if isinstance(name, str)]
    carried += [(name, ("from", "carry")) for name in (view.source.carry if view.source else [])]
    known: dict[str, tuple[str | int, ...]] = dict(view.columns)
    for name, path in known.items():
        if name == "meta":
            yield view.place(*path, message="`meta` is the factory's own column", hint="rename it")
    for name, path in carried:
        if name in known:
            yield view.place(*path, message=f"there is a column `{name}` already", hint="rename one of them")
        elif name == "meta":
            yield view.place(*path, message="`meta` is the factory's own column", hint="carry another")
        known.setdefault(name, path)
    for key, names in _ON_COLUMNS.items():
        listed = view.data.get(key)
        for number, item in enumerate(listed if isinstance(listed, list) else []):
            if not _is_single(item) or next(iter(item)) not in names:
                continue
            name, options = next(iter(item.items()))
            on = options.get("on") if isinstance(options, dict) else None
            for column in [on] if isinstance(on, str) else on if isinstance(on, list) else []:
                if isinstance(column, str) and column not in known:
                    path = (key, number, name, "on")
                    yield view.place(*path, message=f"no column `{column}`", hint=nearest(column, known))


_ON_COLUMNS = {"filter": ("dedup", "unique", "novelty"), "whole_set": ("best_of_duplicates",)}
"""Plugins whose option `on` names columns of the dataset."""


def _check_diversity(view: View) -> Iterator[Place]:
    for path, keep, last in _keeps(view):
        if keep.diversity is None:
            continue
        if not last:
            message = "a step before the last one keeps its best candidate alone, so no order follows"
            yield view.place(*path, "diversity", message=message, hint="move it to the last step, or remove it")
        elif keep.top_k == 1 and not keep.fallback:
            message = "`top_k: 1` keeps the best candidate alone, so no order follows"
            hint = "raise `top_k`, write `fallback: true`, or remove it"
            yield view.place(*path, "diversity", message=message, hint=hint)
        columns = _columns_of_last(view)
        if columns is not None and keep.diversity.on is not None and keep.diversity.on not in columns:
            message = f"no output column `{keep.diversity.on}`"
            yield view.place(*path, "diversity", "on", message=message, hint=nearest(keep.diversity.on, columns))


def _columns_of_last(view: View) -> list[str] | None:
    """The output columns of the last step; None where they cannot be told."""
    if not view.steps:
        return None
    path, step = view.steps[-1]
    output = step.get("output")
    return ["text" if not path else str(step.get("name"))] if output is None else output_columns(output)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_numbers(view: View) -> Iterator[Place]:
    data = view.data
    generates = {path[:-1]: generate for path, generate in _generates(view)}
    last = view.steps[-1][0] if view.steps else ()
    per_row = 1
    for path, keep, is_last in _keeps(view):
        asking = generates.get(path[:-1] or last) or generates.get(())
        candidates = asking.candidates if asking is not None else MOST_CANDIDATES
        if is_last:
            per_row = max(per_row, keep.at_most(candidates))
        if keep.at_most(candidates) > candidates:
            message = f"`top_k: {keep.top_k}` needs at least as many candidates, there are {candidates}"
            hint = "raise `generate: candidates:`, or write `top_k: all`"
            yield view.place(*path, "top_k", message=message, hint=hint)
    rows, planned = _whole(data.get("rows", 100)), _whole(data.get("max_planned"))
    if rows is not None and planned is not None and 0 < planned * per_row < rows:
        message = f"{planned} planned rows cannot give {rows} rows"
        yield view.place("max_planned", message=message, hint=f"at least {-(-rows // per_row)}, or leave it out")
