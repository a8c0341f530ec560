"""Axes out of a recipe's `vary:` entries: what they name is read and checked, once."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import meta

from factory.errors import UsageError
from factory.planning.axes import Axis, Branches, Days, Finite, Grid, Normal, Text, Uniform, lower_tail, value_key
from factory.planning.faked import compile_faker
from factory.prompts import names_in
from factory.recipe.files import find_file
from factory.sources import read_lines, read_table
from factory.sources.tables import check_columns, entries_of, json_value
from factory.templating import plain_environment

if TYPE_CHECKING:
    from factory.recipe.axes import AxisConfig, DependsConfig, NormalConfig


def compile_axis(config: AxisConfig, base: Path) -> tuple[Axis, Any]:
    """The axis, and what its draws hang on as JSON data (the contents of files, not their names).

    Raises UsageError (MissingExtra for `faker` where it is absent).
    """
    kind = config.kind
    value = getattr(config, kind)
    if kind == "file":
        lines = _read_lines(value, base)
        return Finite(lines), lines
    if kind == "table":
        rows = read_table(_path(value.path, base))
        if value.columns is not None:
            check_columns(value.columns, list(rows[0]), value.path)
            rows = [{column: row[column] for column in value.columns} for row in rows]
        return Finite(rows), rows
    content = config.model_dump(mode="json", by_alias=True)[kind]
    if kind == "faker":
        faked, version = compile_faker(value)
        return faked, [content, version]
    return _compile_plain(kind, value), content


def _compile_plain(kind: str, value: Any) -> Axis:
    """An axis that needs no file and no extra."""
    if kind == "choice":
        return _choices(value)
    if kind == "integer":
        return Finite(range(value.min, value.max + 1, value.step), ordered=True)
    if kind == "uniform":
        return Uniform(value.min, value.max, _grid(value.min, value.max, value.decimals))
    if kind == "normal":
        return _normal(value)
    if kind == "date":
        first, last = date.fromisoformat(value.start).toordinal(), date.fromisoformat(value.end).toordinal()
        return Finite(Days(first, last - first + 1, value.format), ordered=True)
    if kind == "template":
        return _text(value)
    return _branches(value)


def _read_lines(value: str, base: Path) -> list[str]:
    """The entries of a file, or of the value itself where it has several lines."""
    if "\n" in value.strip():
        if not (found := entries_of(value)):
            raise UsageError("no entries", "blank lines and lines that begin with # do not count")
        return found
    return read_lines(_path(value, base))


def _path(value: str, base: Path) -> Path:
    """Relative to the recipe, then to the shipped prompts."""
    return find_file(value, base) or base / Path(value.strip()).expanduser()


def _text(template: str) -> Text:
    needed = names_in(template)
    # `names_in` leaves out guarded names; a text that asks whether an axis is there still comes after that axis.
    mentioned = meta.find_undeclared_variables(plain_environment().parse(template))
    return Text(template, frozenset(mentioned | needed), frozenset(needed))


def _choices(value: Any) -> Finite:
    """A list, or values with weights; what has the weight 0 is left out."""
    if not isinstance(value, dict):
        return Finite([json_value(item) for item in value])
    kept = [(json_value(key), float(weight)) for key, weight in value.items() if weight > 0]
    return Finite([key for key, _ in kept], tuple(weight for _, weight in kept))


def _branches(config: DependsConfig) -> Branches:
    branches: dict[str, Finite] = {}
    for written, choices in config.choices.items():
        key = value_key(json_value(written))
        if key in branches:
            raise UsageError(f"`choices` has `{key}` twice", "a number and its text count as the same value")
        branches[key] = _choices(choices)
    default = None if config.default is None else _choices(config.default)
    return Branches(tuple(config.on.split(".")), branches, default)


def _normal(config: NormalConfig) -> Normal:
    low = -math.inf if config.min is None else config.min
    high = math.inf if config.max is None else config.max
    axis = Normal(config.mean, config.sd, low, high, _grid(low, high, config.decimals))
    between = f"between {low:g} and {high:g}"
    if config.sd == 0:
        if not low <= config.mean <= high:
            raise UsageError(f"with `sd: 0` the mean {config.mean:g} must lie {between}")
        return axis
    below, above = (low - config.mean) / config.sd, (high - config.mean) / config.sd
    if low < high and min(lower_tail(-below), lower_tail(above)) == 0:
        distance = abs(below) if below > 0 else abs(above)
        raise UsageError(
            f"nothing {between} is ever drawn: it is {distance:.0f} standard deviations from the mean",
            "move the bounds",
        )
    return axis


def _grid(low: float, high: float, decimals: int | None) -> Grid:
    """The numbers with `decimals` places between the bounds. Raises UsageError when there are none."""
    if decimals is None:
        return Grid(None, low, high)
    unit = Decimal(1).scaleb(-decimals)
    first = low if math.isinf(low) else float(Decimal(repr(low)).quantize(unit, ROUND_CEILING))
    last = high if math.isinf(high) else float(Decimal(repr(high)).quantize(unit, ROUND_FLOOR))
    if first > last:
        raise UsageError(f"no number with {decimals} decimals between {low:g} and {high:g}", "allow more `decimals`")
    return Grid(decimals, first, last)


def check_name(name: str, taken: Collection[str]) -> str:
    """Why an axis cannot bear this name; empty when it can."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return f"`{name}` is no name for an axis: letters, digits and _ only, no digit first"
    if name in _WORDS:
        return f"`{name}` is a word of the template language: choose another name"
    if name in ("source", "row"):
        return f"`{name}` is taken: prompts know the {'source row' if name == 'source' else 'row number'} by it"
    return f"`{name}` is also the name of a step: choose another name" if name in taken else ""


_WORDS = frozenset(
    (
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
        "loop",
        "self",
        "range",
        "dict",
    )
)
