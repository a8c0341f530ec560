"""The values of axes: classes where they are few, quarters where they are numbers, texts where they are many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.errors import UsageError, nearest

MOST_CLASSES = 50
QUARTERS = 4
FEWEST = 10
"""Rows of a value from which on it counts as a class."""
Kind = Literal["classes", "texts", "constant", "rare"]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis as it was drawn. `codes` [n]: the class of each row, −1 where it has none; `names`: of the classes.

    `kind`: `texts` where there are too many values for classes, `constant` where there is one, `rare` where none stands
    in enough rows. `shown` [n]: the values as text.
    """

    name: str
    kind: Kind
    codes: NDArray[np.intp]
    names: tuple[str, ...]
    shown: tuple[str, ...]


def axes_to_check(dataset: Data, wanted: Sequence[str] | None) -> list[str]:
    """The axes to look at, in the order of their names. Raises UsageError for one that the rows do not have."""
    known = dataset.axes
    for name in wanted or ():
        if name not in known:
            hint = nearest(name, known) or f"axes: {', '.join(known) or 'none'}"
            raise UsageError(f"`axes` of `requested`: the rows have no axis `{name}`", hint)
    return list(wanted) if wanted is not None else list(known)


def show(value: Any) -> str:
    """A value of an axis as text: of a mapping its values, by lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(show(inner) for inner in value.values())
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def read_axis(name: str, values: Sequence[Any]) -> Axis:
    """An axis of the rows."""
    shown = tuple(show(value) for value in values)
    counts = Counter(shown)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if len(counts) == 1:
        return Axis(name, "constant", np.zeros(len(values), dtype=np.intp), (shown[0],), shown)
    if numbers and len(counts) > 2 * QUARTERS:
        return _quarters(name, np.array(values, dtype=np.float64), shown)
    common = sorted(value for value, count in counts.items() if count >= FEWEST)
    covered = sum(counts[value] for value in common)
    if len(common) >= 2 and len(common) <= MOST_CLASSES and covered >= 0.8 * len(values):
        places = {value: place for place, value in enumerate(common)}
        codes = np.array([places.get(value, -1) for value in shown], dtype=np.intp)
        return Axis(name, "classes", codes, tuple(common), shown)
    kind: Kind = "texts" if any(any(sign.isalpha() for sign in value) for value in counts) else "rare"
    return Axis(name, kind, np.full(len(values), -1, dtype=np.intp), (), shown)


def _quarters(name: str, numbers: NDArray[np.float64], shown: tuple[str, ...]) -> Axis:
    """Numbers by the quarter in which they lie."""
    edges = np.quantile(numbers, [0.25, 0.5, 0.75])
    codes = np.searchsorted(edges, numbers, side="left").astype(np.intp)
    low, middle, high = (f"{edge:g}" for edge in edges)
    names = (f"up to {low}", f"{low} to {middle}", f"{middle} to {high}", f"above {high}")
    return Axis(name, "classes", codes, names, shown)
