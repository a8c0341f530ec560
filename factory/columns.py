"""The columns of a dataset: what the steps' outputs name, then carried source columns and axes, then `meta`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from factory.errors import Place, RecipeError
from factory.exporting import infer_kind
from factory.generating import Step
from factory.planning import Plan
from factory.recipe import AxisConfig

_AXIS_KINDS = {"integer": "int", "uniform": "float", "normal": "float", "date": "str", "template": "str", "file": "str"}


def dataset_columns(plan: Plan, steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Name and kind of every column but `meta`, in order. Raises RecipeError when two have one name."""
    recipe = plan.recipe
    found: list[tuple[str, str, Place]] = []
    for step in steps:
        keys = ("output",) if len(steps) == 1 else ("steps", step.name, "output")
        found += [(column.name, column.kind, recipe.place(*keys, message="")) for column in step.output.columns]
    if recipe.from_:
        place = recipe.place("from", "carry", message="")
        found += [(name, infer_kind(source_column(plan, name)), place) for name in recipe.from_.carry]
    place = recipe.place("carry", message="")
    found += [(name, axis_column_kind(recipe.vary[name]), place) for name in recipe.carry]
    faults, seen = [], {"meta"}
    for name, _, place in found:
        if name in seen:
            told = "is the factory's own column" if name == "meta" else "is named twice"
            faults.append(Place(place.file, place.line, place.key, f"the column `{name}` {told}", "rename one"))
        seen.add(name)
    if faults:
        raise RecipeError(faults)
    return [(name, kind) for name, kind, _ in found]


def source_column(plan: Plan, name: str) -> list[Any]:
    """Every value of a source column, in file order."""
    source = plan.source
    return [] if source is None else [source[index].get(name) for index in range(len(source))]


def axis_column_kind(axis: AxisConfig) -> str:
    """The column kind that holds every value an axis can draw."""
    if axis.choice is not None:
        return infer_kind(list(axis.choice))
    if axis.depends is not None:
        values: list[Any] = [value for choices in axis.depends.choices.values() for value in choices]
        return infer_kind(values + list(axis.depends.default or []))
    return _AXIS_KINDS.get(axis.kind, "json")
