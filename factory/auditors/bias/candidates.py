"""All candidates that a run scored: those in the dataset and those that fell, as one table to audit the choice by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import CLIP, Data

JUDGED = ("score", "select", "filter", "decontaminate", "dedup")
"""Where a candidate falls by our choice. `call` and `parse` gave nothing to choose from, `unused` was not looked at."""
SAME = "duplicate_candidate"
"""Why a candidate falls that is its neighbour word for word: nobody judged it."""
LATER = ("filter", "decontaminate", "dedup", "unused")
"""Stages that only candidates of the last step reach."""
PROBED = 200


@dataclass(frozen=True)
class Candidates:
    """The accepted rows first, then the candidates that fell.

    `kept` [n]; `rows` [n]: number of the planned row; `stage` [n]: "" for a kept one; `place` [n]: in the dataset, or
    in the rejects; `total` [n]. `texts`: what each said itself, carried columns apart, as far as the rejects tell them.
    """

    kept: NDArray[np.bool_]
    rows: NDArray[np.intp]
    stage: NDArray[np.str_]
    place: NDArray[np.intp]
    total: NDArray[np.float64]
    dataset: Data
    rejects: Data

    def __len__(self) -> int:
        return len(self.kept)

    def column(self, name: str) -> list[Any] | None:
        """`meta.NAME` of the dataset beside NAME of the rejects; None where either does not hold it."""
        if name not in self.rejects.table.schema.names:
            return None
        accepted, fallen = _meta(self.dataset, name), self.rejects.values(name)
        return None if accepted is None else [*accepted, *(fallen[at] for at in self.place[~self.kept].tolist())]

    def texts(self) -> list[str]:
        """Each at most `CLIP` characters."""
        said = self.rejects.values("text")
        fallen = [said[at] or "" for at in self.place[~self.kept].tolist()]
        columns = _own_columns(self.dataset, fallen)
        if columns is None:
            return [text[:CLIP] for text in (*self.dataset.texts, *fallen)]
        parts = [self.dataset.text(column) for column in columns]
        accepted = ["\n".join(one) for one in zip(*parts, strict=True)]
        return [text[:CLIP] for text in (*accepted, *(_joined(text, columns) for text in fallen))]


def gather(dataset: Data, rejects: Data) -> Candidates | None:
    """None where the dataset has no `meta.row`, so that nothing tells which candidates stood beside each other."""
    accepted = _meta(dataset, "row")
    if accepted is None or any(row is None for row in accepted):
        return None
    stages, steps, rows = (rejects.values(name) for name in ("stage", "step", "row"))
    last = last_step(steps, rows, stages)
    fallen = [
        at
        for at, (stage, step, reason) in enumerate(zip(stages, steps, rejects.values("reason"), strict=True))
        if stage in JUDGED and step == last and not str(reason).startswith(SAME)
    ]
    _, numbers = np.unique(np.array([*accepted, *(rows[at] for at in fallen)]), return_inverse=True)
    totals = rejects.values("total") if "total" in rejects.table.schema.names else [None] * len(rejects)
    return Candidates(
        np.arange(len(numbers)) < len(accepted),
        numbers.astype(np.intp),
        np.array([*([""] * len(accepted)), *(stages[at] for at in fallen)], dtype=np.str_),
        np.array([*range(len(accepted)), *fallen], dtype=np.intp),
        np.array([*([np.nan] * len(accepted)), *(_number(totals[at]) for at in fallen)]),
        dataset,
        rejects,
    )


def last_step(steps: Sequence[Any], rows: Sequence[Any], stages: Sequence[Any]) -> Any:
    """The step whose candidates become rows: what fell after it says so, else what stands last in rows of several."""
    names = set(steps)
    if len(names) <= 1:
        return next(iter(names), None)
    later = Counter(step for step, stage in zip(steps, stages, strict=True) if stage in LATER)
    if later:
        return min(later, key=lambda name: (-later[name], str(name)))
    of_row: dict[Any, list[Any]] = {}
    for step, row in zip(steps, rows, strict=True):
        of_row.setdefault(row, []).append(step)
    ends = Counter(found[-1] for found in of_row.values() if len(set(found)) > 1) or Counter(steps)
    return min(ends, key=lambda name: (-ends[name], str(name)))


def variations(candidates: Candidates) -> dict[str, list[str | None]]:
    """What was drawn for each candidate's row, by axis, as text; axes that the dataset has."""
    axes = candidates.dataset.axes
    if not axes or "variation" not in candidates.rejects.table.schema.names:
        return {}
    told = candidates.rejects.values("variation")
    read: dict[Any, Mapping[str, Any]] = {}
    fallen = [read.setdefault(told[at], _object(told[at]) or {}) for at in candidates.place[~candidates.kept].tolist()]
    return {
        name: [None if value is None else str(value) for value in (*axes[name], *(one.get(name) for one in fallen))]
        for name in axes
    }


def _meta(data: Data, name: str) -> list[Any] | None:
    import pyarrow as pa

    schema = data.table.schema
    kind = schema.field("meta").type if "meta" in schema.names else None
    if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
        return None
    return data.values(f"meta.{name}")


def _own_columns(dataset: Data, fallen: Sequence[str]) -> tuple[str, ...] | None:
    """The dataset's columns that candidates wrote, by the keys of those that are JSON; None: nothing tells."""
    keys = Counter(key for text in fallen[:PROBED] for key in _object(text) or {})
    found = tuple(column for column in dataset.columns if keys[column])
    if found:
        return found
    return ("text",) if "text" in dataset.columns else None


def _joined(text: str, columns: Sequence[str]) -> str:
    """The texts that a candidate gave for these columns; all of it where it is no JSON object."""
    found = _object(text)
    if found is None:
        return text
    values = (found.get(column) for column in columns)
    return "\n".join(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)


def _object(text: Any) -> Mapping[str, Any] | None:
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
