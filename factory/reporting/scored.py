"""Scores and axes of a run: how the totals lie, what choosing the best of N brought, what was drawn of each axis."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors import Data
from factory.auditors.statistics import mean_interval
from factory.reporting.rejects import Rejects
from factory.reporting.showing import finite, is_number

BINS = 20
MOST_VALUES = 12
UNSCORED = frozenset({"call", "parse"})
LOOKED_AT = 100_000
"""Lines of scores by name that are read; totals are all read."""


def last_step(recipe: Mapping[str, Any]) -> str | None:
    """The name of the step whose candidates become rows; None for the only one of a recipe without `steps`."""
    steps = recipe.get("steps")
    if isinstance(steps, list) and steps and isinstance(steps[-1], Mapping):
        name = steps[-1].get("name")
        return None if name is None else str(name)
    return None


def _scored(rejects: Rejects, recipe: Mapping[str, Any]) -> list[int]:
    """Lines of rejected candidates of the last step that have a total."""
    step = last_step(recipe)
    lines = zip(rejects.column("stage"), rejects.column("step"), rejects.column("total"), strict=True)
    return [
        place
        for place, (stage, of_step, total) in enumerate(lines)
        if stage not in UNSCORED and math.isfinite(finite(total)) and (step is None or of_step == step)
    ]


def meta(dataset: Data, name: str) -> list[Any]:
    """A field of `meta` for every row; empty where the rows have no such struct."""
    return dataset.values(f"meta.{name}") if "meta" in dataset.table.schema.names else []


def tell_scores(dataset: Data, rejects: Rejects, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """The totals of accepted and rejected candidates, and each scorer's mean among both; None without any."""
    accepted = [score for score in meta(dataset, "score") if math.isfinite(finite(score))]
    lines = _scored(rejects, recipe)
    fallen = [rejects.column("total")[line] for line in lines]
    if not accepted:
        return None
    told: dict[str, Any] = {"accepted": len(accepted), "rejected": len(fallen), "plot": None}
    values = np.asarray([*accepted, *fallen], dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    if low < high:
        edges = np.linspace(low, high, BINS + 1)
        counts = {"accepted": np.histogram(accepted, edges)[0], "rejected": np.histogram(fallen, edges)[0]}
        told["plot"] = {
            "kind": "histogram",
            "title": "Total score of candidates",
            "edges": edges.tolist(),
            "series": {name: found.tolist() for name, found in counts.items() if found.sum()},
            "x_label": "total score",
        }
    told["scorers"] = _tell_scorers(dataset, rejects, lines)
    return told


def _tell_scorers(dataset: Data, rejects: Rejects, lines: Sequence[int]) -> list[dict[str, Any]]:
    kept = _by_name(meta(dataset, "scores")[:LOOKED_AT])
    fallen = _by_name(list(rejects.at("scores", lines[:LOOKED_AT]).values()))
    found = []
    for name in sorted({*kept, *fallen}):
        here, there = kept.get(name, []), fallen.get(name, [])
        found.append(
            {
                "name": name,
                "accepted_mean": math.fsum(here) / len(here) if here else None,
                "rejected_mean": math.fsum(there) / len(there) if there else None,
                "accepted": len(here),
                "rejected": len(there),
            }
        )
    return found


def _by_name(texts: Sequence[Any]) -> dict[str, list[float]]:
    """Values by scorer, of lines of scores as JSON text."""
    found: dict[str, list[float]] = {}
    for text in texts:
        for name, value in _read(text).items():
            if math.isfinite(finite(value)):
                found.setdefault(name, []).append(float(value))
    return found


def _read(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def tell_gain(dataset: Data, rejects: Rejects, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the best of N candidates has over one at random, by row: the mean gain with its 95 % interval, and the
    expected best of 1 … N over the rows with N scored candidates. None where no row has two.
    """
    lines = _scored(rejects, recipe)
    pairs = [(row, score) for row, score in zip(meta(dataset, "row"), meta(dataset, "score"), strict=True)]
    pairs += [(rejects.column("row")[line], rejects.column("total")[line]) for line in lines]
    by_row: dict[Any, list[float]] = {}
    for row, total in pairs:
        if row is not None and math.isfinite(finite(total)):
            by_row.setdefault(row, []).append(float(total))
    groups = [totals for totals in by_row.values() if len(totals) > 1]
    if len(groups) < 2:
        return None
    best = np.asarray([max(totals) for totals in groups])
    mean = np.asarray([math.fsum(totals) / len(totals) for totals in groups])
    gain, _, interval = mean_interval(best - mean)
    sizes = Counter(map(len, groups))
    most = max(size for size, count in sizes.items() if count == max(sizes.values()))
    whole = np.asarray([totals for totals in groups if len(totals) == most])
    return {
        "rows": len(groups),
        "mean": float(mean.mean()),
        "best": float(best.mean()),
        "gain": gain,
        "interval": list(interval),
        "candidates": most,
        "plot": _gain_curve(whole) if best.max() > mean.min() else None,
    }


def _gain_curve(totals: NDArray[np.float64]) -> dict[str, Any]:
    """The expected best of k of a row's N candidates, k = 1 … N, drawn without replacement, averaged over rows."""
    rows, most = totals.shape
    ranked = np.sort(totals, axis=1)
    y, low, high = [], [], []
    for k in range(1, most + 1):
        weights = np.asarray([math.comb(place, k - 1) / math.comb(most, k) for place in range(most)])
        expected = ranked @ weights
        half = 1.96 * float(expected.std(ddof=1)) / math.sqrt(rows) if rows > 1 else 0.0
        y.append(float(expected.mean()))
        low.append(y[-1] - half)
        high.append(y[-1] + half)
    return {
        "kind": "curve",
        "title": f"Expected total of the best of k candidates ({rows:,} rows with {most})",
        "x": list(range(1, most + 1)),
        "series": {"best of k": {"y": y, "low": low, "high": high}},
        "x_label": "k, candidates of a row",
        "y_label": "total score",
    }


def tell_axes(dataset: Data, rejects: Rejects, recipe: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """For each axis: the shares of its values in the recipe (where it says), as drawn, and among accepted rows."""
    accepted = dataset.axes
    drawn = _drawn(dataset, rejects)
    names = sorted({*accepted, *(name for one in drawn for name in one)})
    if not names:
        return None
    told = []
    for name in names:
        here = [value for value in accepted.get(name, []) if value is not None]
        there = [one[name] for one in drawn if one.get(name) is not None]
        told.append(
            {
                "axis": name,
                "drawn": len(there),
                "accepted": len(here),
                "drawn_values": len(set(map(_word, there))),
                "accepted_values": len(set(map(_word, here))),
                "plot": _axis_plot(name, _weights(recipe, name), there, here),
            }
        )
    return told


def _drawn(dataset: Data, rejects: Rejects) -> list[dict[str, Any]]:
    """The variation of every row that was walked, accepted or not."""
    first: dict[Any, int] = {}
    for place, row in enumerate(rejects.column("row")):
        first.setdefault(row, place)
    found: dict[Any, str] = dict(zip(meta(dataset, "row"), meta(dataset, "variation"), strict=True))
    missing = {row: place for row, place in first.items() if row not in found}
    texts = rejects.at("variation", list(missing.values()))
    found |= {row: texts.get(place, "") for row, place in missing.items()}
    return [_read(text) for text in found.values()]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _weights(recipe: Mapping[str, Any], name: str) -> dict[str, float]:
    """The shares that a recipe gives to the values of an axis of kind `choice`; empty for other kinds."""
    vary = recipe.get("vary")
    axis = vary.get(name) if isinstance(vary, Mapping) else None
    choice = axis.get("choice") if isinstance(axis, Mapping) else None
    if isinstance(choice, list):
        choice = dict(Counter(map(_word, choice)))
    if not isinstance(choice, Mapping) or not all(is_number(weight) for weight in choice.values()):
        return {}
    total = math.fsum(choice.values())
    return {_word(value): weight / total for value, weight in choice.items()} if total > 0 else {}


def _axis_plot(
    name: str, planned: Mapping[str, float], drawn: Sequence[Any], accepted: Sequence[Any]
) -> dict[str, Any] | None:
    words = Counter(map(_word, drawn)), Counter(map(_word, accepted))
    labels = [*planned, *(word for word, _ in (words[0] + words[1]).most_common() if word not in planned)]
    if not labels:
        return None
    if len(labels) > MOST_VALUES and all(math.isfinite(finite(value)) for value in [*drawn, *accepted]):
        return _range_plot(name, drawn, accepted)
    shown, series = labels[:MOST_VALUES], {}
    for title, counts in (("recipe", planned), ("drawn", words[0]), ("accepted", words[1])):
        total = math.fsum(counts.values())
        if total:
            series[title] = [counts.get(label, 0) / total for label in shown]
    some = f" (the {len(shown)} most frequent of {len(labels):,} values)" if len(shown) < len(labels) else ""
    return {
        "kind": "bars",
        "title": f"Axis {name}{some}",
        "labels": shown,
        "series": series,
        "y_label": "share of rows",
    }


def _range_plot(name: str, drawn: Sequence[Any], accepted: Sequence[Any]) -> dict[str, Any]:
    edges = np.histogram_bin_edges(np.asarray([*drawn, *accepted], dtype=np.float64), BINS)
    series = {}
    for title, values in (("drawn", drawn), ("accepted", accepted)):
        counts = np.histogram(np.asarray(values, dtype=np.float64), edges)[0]
        series[title] = (counts / max(1, counts.sum())).tolist()
    return {
        "kind": "histogram",
        "title": f"Axis {name}",
        "edges": edges.tolist(),
        "series": series,
        "x_label": f"{name} (share of rows)",
    }
