"""Tables: the values that a plot draws, the tables that a check brings, and its other figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.reporting.plots import thin
from factory.reporting.showing import is_number, one_line
from factory.reporting.told import Told

MOST_LINES = 200
SHORT = 24


@dataclass(frozen=True, slots=True)
class Table:
    """A table of told values and texts; `left_off`: lines that only audit.json has."""

    header: tuple[str, ...]
    lines: tuple[tuple[Any, ...], ...]
    title: str = ""
    left_off: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """How each column is set: numbers flush right (`r`), short texts on one line (`s`), long ones broken (`l`)."""
        return tuple(map(_kind, zip(*self.lines, strict=True))) or ("s",) * len(self.header)


def _is_figure(cell: Any) -> bool:
    return isinstance(cell, Told) and (is_number(cell.raw) or cell.raw is None)


def _kind(column: Sequence[Any]) -> str:
    if all(_is_figure(one) for one in column):
        return "r"
    return "s" if max(len(str(one)) for one in column) <= SHORT else "l"


def make_table(header: Sequence[Any], lines: Sequence[Sequence[Any]], title: str = "") -> Table:
    """The first lines as a table."""
    width = max([len(header), *map(len, lines[:MOST_LINES])])
    shown = tuple((*line, *[""] * (width - len(line))) for line in lines[:MOST_LINES])
    names = [one_line("" if name is None else name, 80) for name in header] + [""] * (width - len(header))
    return Table(tuple(names), shown, title, max(0, len(lines) - MOST_LINES))


def lines_of(found: Told, header: Sequence[str], keys: Sequence[str]) -> Table:
    """A list of mappings as a table of these keys."""
    return make_table(header, [[one[key] for key in keys] for one in found], header[0])


def plot_values(spec: Told) -> Table | None:
    """What a plot draws, as a table; None where the specification holds no such values."""
    kind = spec.kind.raw
    if kind == "forest":
        keys = [key for key in ("value", "low", "high", "mde", "verdict") if any(row[key].raw for row in spec.rows)]
        return make_table(["", *keys], [[row.label, *(row[key] for key in keys)] for row in spec.rows])
    series = [(name, values) for name, values in spec.series] if isinstance(spec.series.raw, Mapping) else []
    if kind == "bars":
        lines = [[label, *(values[at] for _, values in series)] for at, label in enumerate(spec.labels)]
        return make_table(["", *(name for name, _ in series)], lines)
    if kind == "histogram":
        edges = spec.edges
        lines = [[edges[at], edges[at + 1], *(one[at] for _, one in series)] for at in range(len(edges) - 1)]
        return make_table(["from", "to", *(name for name, _ in series)], lines)
    if kind == "curve":
        parts = [(name, one, key) for name, one in series for key in ("y", "low", "high") if one[key]]
        lines = [[x, *(one[key][at] for _, one, key in parts)] for at, x in enumerate(spec.x)]
        names = [name if key == "y" else f"{name}, {key}" for name, _, key in parts]
        return make_table([spec.x_label.raw or "x", *names], lines)
    if kind == "points":
        columns = [spec.x, spec.y, *([spec.labels] if spec.labels else [])]
        header = [spec.x_label.raw or "x", spec.y_label.raw or "y", *([""] if spec.labels else [])]
        return make_table(header, [[column[at] for column in columns] for at in thin(len(spec.x))])
    return None


def given_tables(tables: Told) -> list[Table]:
    """The tables of a check (`details["tables"]`)."""
    found: list[Table] = []
    for one in tables if isinstance(tables.raw, list) else ():
        header = [cell.raw for cell in one.header]
        found.append(make_table(header, [list(line) for line in one.rows], one_line(one.title.raw or "", 160)))
    return found


def as_table(value: Told) -> Table | None:
    """A list of mappings with plain values as a table, a mapping of such mappings likewise; None for anything else."""
    if not isinstance(value.raw, list | Mapping) or not value.raw:
        return None
    named = isinstance(value.raw, Mapping)
    lines = list(value) if named else [("", one) for one in value]
    if not all(isinstance(one.raw, Mapping) and all(map(is_plain, one.raw.values())) for _, one in lines):
        return None
    keys = list(dict.fromkeys(key for _, one in lines for key in one.raw))
    if len(keys) > 14:
        return None
    header = ["", *keys] if named else keys
    return make_table(
        header, [([one_line(name, 80)] if named else []) + [one[key] for key in keys] for name, one in lines]
    )


def is_plain(value: Any) -> bool:
    """Whether a JSON value is a text, a number, true, false or null."""
    return value is None or isinstance(value, str | int | float)
