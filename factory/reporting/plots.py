"""The kinds of plots that checks ask for, each drawn from its specification (`details["plots"]`)."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from factory.reporting import canvas
from factory.reporting.canvas import BAD, GOOD, GRID, INK, MUTED, OPEN, PAPER, SERIES, WIDTH, Sheet
from factory.reporting.showing import finite, one_line, show

MOST_ROWS, MOST_BARS, MOST_POINTS, MOST_SERIES = 30, 30, 400, 4
DASHES: Any = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MARKS = ("o", "s", "^", "D")
_VERDICTS = {"PASS": (GOOD, "o", True), "FAIL": (BAD, "s", True), "INCONCLUSIVE": (OPEN, "o", False)}
FARTHEST = 100.0
"""Ratios beyond this, or under its inverse, are drawn at the edge."""


class PlotError(ValueError):
    """A specification that cannot be drawn; says why."""


def draw_plot(spec: Any, prefix: str, colours: Mapping[str, str] = canvas.PAGE) -> str:
    """The plot as SVG. Raises PlotError saying what is wrong with the specification."""
    if not isinstance(spec, Mapping):
        raise PlotError("it is no mapping")
    kind = str(spec.get("kind"))
    if kind not in _KINDS:
        raise PlotError(f"plots of kind {one_line(kind, 40)!r} are not known ({', '.join(_KINDS)} are)")
    try:
        paint, height, told = _KINDS[kind](spec)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, PlotError):
            raise
        raise PlotError(f"its values do not fit together ({type(error).__name__}: {one_line(error, 100)})") from error
    title = one_line(spec.get("title") or kind, 160)
    return canvas.draw(paint, height, prefix=prefix, title=title, told=told, colours=colours)


def is_cut(spec: Mapping[str, Any]) -> bool:
    """Whether a plot that can be drawn shows less than its specification holds."""
    found = [(spec.get("rows"), MOST_ROWS), (spec.get("labels"), MOST_BARS), (spec.get("series"), MOST_SERIES)]
    if spec["kind"] == "points":
        found = [(spec.get("x"), MOST_POINTS)]
    return any(isinstance(given, list | Mapping) and len(given) > most for given, most in found)


Painter = tuple[Callable[[Sheet], None], float, str]


def width_of(text: str) -> float:
    """About how many pixels a text takes at the size of the plots."""
    return sum(12.0 if unicodedata.east_asian_width(one) in "WF" else 6.9 for one in text)


def fit(text: Any, most: float) -> str:
    """The text on one line, shortened to `most` pixels."""
    told = one_line(text, 80)
    while told and width_of(told) > most:
        told = told[:-2].rstrip() + "…" if len(told) > 2 else ""
    return told or "…"


def _limits(limit: Any) -> list[float]:
    given = limit if isinstance(limit, list) else [limit]
    return [limit for limit in map(finite, given) if math.isfinite(limit)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The range of the finite values with some air. Raises PlotError without one."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        raise PlotError("it holds no number")
    low, high = min(known), max(known)
    air = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - air, high + air


def _ticks(axis: Any, most: int = 6) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most - 1, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(round(value, 12))))


def _legend(axes: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    """One or two lines above the axes, from the left edge of the sheet."""
    axes.figure.legend(
        handles, names, loc="upper left", bbox_to_anchor=(0, 1), ncols=_across(names), frameon=False, borderpad=0.2,
        handlelength=1.6, columnspacing=1.4, handletextpad=0.6, borderaxespad=0,
    )  # fmt: skip


def _across(names: Sequence[str]) -> int:
    """How many names of a legend stand beside each other."""
    return len(names) if sum(map(width_of, names)) + 42 * len(names) <= WIDTH else 2


def _legend_height(names: Sequence[str]) -> float:
    return 21.0 * -(-len(names) // _across(names)) if names else 0.0


def _forest(spec: Mapping[str, Any]) -> Painter:
    rows = list(spec["rows"])[:MOST_ROWS]
    if not rows:
        raise PlotError("it has no rows")
    value = [[finite(row.get(key)) for key in ("value", "low", "high", "mde")] for row in rows]
    limits = _limits(spec.get("limit"))
    label_width = min(172.0, max(width_of(one_line(row.get("label", ""), 60)) for row in rows) + 4)
    labels = [fit(row.get("label", ""), label_width) for row in rows]
    ratios = spec.get("scale") == "log"
    if ratios:
        value = [[min(max(one, 1 / FARTHEST), FARTHEST) for one in row] for row in value]
    span = _ratio_span(value, limits) if ratios else _span([one for row in value for one in row] + limits)
    any_mde = any(math.isfinite(row[3]) for row in value)

    def paint(sheet: Sheet) -> None:
        axes = sheet.axes(label_width + 12, 28 if any_mde or limits else 6, 14, 42)
        axes.grid(axis="x", linewidth=0.8)
        axes.set_axisbelow(True)
        for limit in limits:
            axes.axvline(limit, color=BAD, linewidth=1.2, linestyle=DASHES[1])
        for at, (row, (middle, low, high, mde)) in enumerate(zip(rows, value, strict=True)):
            colour, mark, full = _VERDICTS.get(str(row.get("verdict")), (SERIES[0], "o", True))
            if math.isfinite(low) and math.isfinite(high):
                axes.plot([low, high], [at, at], color=colour, linewidth=1.8, solid_capstyle="butt")
            axes.plot([middle], [at], mark, color=colour, markersize=6, markerfacecolor=colour if full else PAPER)
            if math.isfinite(mde):
                axes.plot([mde], [at], "|", color=MUTED, markersize=11, markeredgewidth=1.4)
        axes.set_yticks(range(len(rows)), labels, color=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if ratios:
            _ratio_axis(axes)
        axes.set_xlim(*span)
        axes.set_xlabel(fit(spec.get("x_label") or "", 300))
        if not ratios:
            _ticks(axes.xaxis, 5)
        _forest_legend(axes, any_mde, bool(limits))

    drawn = f"{len(rows)} values with 95 % intervals" + (", the gate's limit as a dashed line" if limits else "")
    return paint, 50 + (28 if any_mde or limits else 6) + 23 * len(rows), drawn


def _ratio_span(rows: Sequence[Sequence[float]], limits: Sequence[float]) -> tuple[float, float]:
    """The range of ratios with some air, 1 within it."""
    known = [one for one in [*(one for row in rows for one in row), *limits, 1.0] if math.isfinite(one) and one > 0]
    return min(known) / 1.2, max(known) * 1.2


def _ratio_axis(axes: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show(round(value, 12))))


def _forest_legend(axes: Any, any_mde: bool, any_limit: bool) -> None:
    from matplotlib.lines import Line2D

    handles, names = [], []
    if any_limit:
        handles.append(Line2D([], [], color=BAD, linewidth=1.2, linestyle=DASHES[1]))
        names.append("gate")
    if any_mde:
        handles.append(Line2D([], [], color=MUTED, marker="|", linestyle="", markersize=11, markeredgewidth=1.4))
        names.append("smallest effect that would be seen")
    if handles:
        _legend(axes, handles, names)


def _series(spec: Mapping[str, Any]) -> dict[str, list[float]]:
    found = {one_line(name, 40): [finite(value) for value in values] for name, values in spec["series"].items()}
    if not found:
        raise PlotError("it has no series")
    return dict(list(found.items())[:MOST_SERIES])


def _fill(axes: Any, number: int, one: Any) -> None:
    """A first series is full, a second an outline, further ones hatched: not told apart by colour alone."""
    one.set(facecolor=SERIES[number] if number != 1 else "none", edgecolor=SERIES[number], linewidth=1.2)
    if number > 1:
        one.set(alpha=0.55)


def _bars(spec: Mapping[str, Any]) -> Painter:
    series = _series(spec)
    labels = list(spec["labels"])[:MOST_BARS]
    if any(len(values) < len(labels) for values in series.values()):
        raise PlotError("a series has fewer values than there are labels")
    if not labels:
        raise PlotError("it has no bars")
    label_width = min(172.0, max(width_of(one_line(label, 60)) for label in labels) + 4)
    told = [fit(label, label_width) for label in labels]
    span = _span([value for values in series.values() for value in values[: len(labels)]] + [0.0])
    bar = 10 if len(series) > 1 else 14
    names = list(series) if len(series) > 1 else []

    def paint(sheet: Sheet) -> None:
        from matplotlib.patches import Patch

        axes = sheet.axes(label_width + 12, 6 + _legend_height(names), 14, 42)
        axes.grid(axis="x", linewidth=0.8)
        axes.set_axisbelow(True)
        thick = 0.8 / len(series)
        for number, values in enumerate(series.values()):
            at = [place - 0.4 + thick * (number + 0.5) for place in range(len(labels))]
            widths = [value if math.isfinite(value) else 0.0 for value in values[: len(labels)]]
            for one in axes.barh(at, widths, thick * 0.86):
                _fill(axes, number, one)
        axes.set_yticks(range(len(labels)), told, color=INK)
        axes.set_ylim(len(labels) - 0.45, -0.55)
        axes.set_xlim(min(0.0, span[0]) if span[0] < -1e-12 and min(map(min, series.values())) < 0 else 0.0, span[1])
        axes.set_xlabel(fit(spec.get("y_label") or "", 300))
        _ticks(axes.xaxis, 5)
        if names:
            handles = [Patch() for _ in names]
            for number, one in enumerate(handles):
                _fill(axes, number, one)
            _legend(axes, handles, names)

    height = 48 + _legend_height(names) + len(labels) * (bar * len(series) + 9)
    return paint, height, f"{len(labels)} bars of {', '.join(series)}"


def _histogram(spec: Mapping[str, Any]) -> Painter:
    series = _series(spec)
    edges = [finite(edge) for edge in spec["edges"]]
    if len(edges) < 2 or any(len(values) != len(edges) - 1 for values in series.values()):
        raise PlotError("a series of k values needs k + 1 edges")
    if not all(math.isfinite(edge) for edge in edges) or any(a > b for a, b in pairwise(edges)):
        raise PlotError("its edges do not rise")
    _span([value for values in series.values() for value in values])
    names = list(series) if len(series) > 1 else []

    def paint(sheet: Sheet) -> None:
        from matplotlib.patches import Patch

        axes = sheet.axes(48, 6 + _legend_height(names), 14, 42)
        axes.grid(axis="y", linewidth=0.8)
        axes.set_axisbelow(True)
        for number, values in enumerate(series.values()):
            heights = [value if math.isfinite(value) else 0.0 for value in values]
            first = number == 0
            axes.stairs(
                heights, edges, fill=first, color=SERIES[number], alpha=0.8 if first else 1,
                linewidth=0 if first else 1.8, linestyle="-" if first else DASHES[(number - 1) % 4],
            )  # fmt: skip
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        axes.set_xlabel(fit(spec.get("x_label") or "", 340))
        _ticks(axes.xaxis)
        _ticks(axes.yaxis, 5)
        if names:
            _legend(axes, [Patch(color=SERIES[0], alpha=0.8), *map(_line, range(1, len(names)))], names)

    return paint, 210 + _legend_height(names), f"histogram of {', '.join(series)} in {len(edges) - 1} bins"


def _line(number: int, shift: int = -1) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=SERIES[number], linewidth=1.8, linestyle=DASHES[(number + shift) % 4])


def _curve(spec: Mapping[str, Any]) -> Painter:
    x = [finite(value) for value in spec["x"]]
    series = {one_line(name, 40): one for name, one in list(spec["series"].items())[:MOST_SERIES]}
    found = {
        name: {key: [finite(value) for value in values] for key, values in one.items()} for name, one in series.items()
    }
    if not found or any(len(values) != len(x) for one in found.values() for values in one.values()):
        raise PlotError("its series and x have different lengths")
    _span(x)
    _span([value for one in found.values() for value in one["y"]])
    names = list(found) if len(found) > 1 else []

    def paint(sheet: Sheet) -> None:
        axes = sheet.axes(52, 6 + _legend_height(names), 14, 42)
        axes.grid(linewidth=0.8)
        axes.set_axisbelow(True)
        for number, one in enumerate(found.values()):
            colour = SERIES[number]
            if "low" in one and "high" in one:
                axes.fill_between(x, one["low"], one["high"], color=colour, alpha=0.16, linewidth=0)
            mark = MARKS[number] if len(x) <= 25 else ""
            axes.plot(
                x, one["y"], color=colour, linewidth=1.8, marker=mark, markersize=5, linestyle=DASHES[number],
            )  # fmt: skip
        axes.set_xlabel(fit(spec.get("x_label") or "", 340))
        axes.set_ylabel(fit(spec.get("y_label") or "", 160))
        _ticks(axes.xaxis)
        _ticks(axes.yaxis, 5)
        if all(float(value).is_integer() for value in x) and len(x) <= 12:
            axes.set_xticks(x, [show(value) for value in x])
        if names:
            _legend(axes, [_line(number, 0) for number in range(len(names))], names)

    return paint, 230 + _legend_height(names), f"curves of {', '.join(found)} at {len(x)} points"


def thin(count: int, most: int = MOST_POINTS) -> list[int]:
    """Places of at most `most` of `count` points, spread evenly."""
    if count <= most:
        return list(range(count))
    return [at * count // most for at in range(most)]


def _points(spec: Mapping[str, Any]) -> Painter:
    x, y = [finite(value) for value in spec["x"]], [finite(value) for value in spec["y"]]
    if len(x) != len(y):
        raise PlotError("x and y have different lengths")
    places = thin(len(x))
    _span(x)
    _span(y)
    labels = spec.get("labels") or []
    groups = list(dict.fromkeys(one_line(label, 30) for label in labels)) if len(labels) == len(x) else []
    groups = groups if 1 < len(groups) <= MOST_SERIES else []

    def paint(sheet: Sheet) -> None:
        axes = sheet.axes(52, 6 + _legend_height(groups), 14, 42)
        axes.grid(linewidth=0.8)
        axes.set_axisbelow(True)
        handles = []
        for number, group in enumerate(groups or [""]):
            here = [at for at in places if not groups or one_line(labels[at], 30) == group]
            handles += axes.plot(
                [x[at] for at in here], [y[at] for at in here], MARKS[number], color=SERIES[number], markersize=4,
                alpha=0.65, markeredgewidth=0,
            )  # fmt: skip
        axes.set_xlabel(fit(spec.get("x_label") or "", 340))
        axes.set_ylabel(fit(spec.get("y_label") or "", 160))
        _ticks(axes.xaxis)
        _ticks(axes.yaxis, 5)
        if groups:
            _legend(axes, handles, groups)

    return paint, 250 + _legend_height(groups), f"{len(places)} of {len(x)} points"


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Painter]] = {
    "forest": _forest,
    "bars": _bars,
    "histogram": _histogram,
    "curve": _curve,
    "points": _points,
}
__all__ = ["GRID", "WIDTH", "PlotError", "draw_plot", "fit", "thin", "width_of"]
