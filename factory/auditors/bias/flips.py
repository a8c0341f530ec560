"""Does a judge that compares pairs go by the order in which it sees them? Told by the scorer `pairwise`.

Each pair is asked in both orders; the scorer calls a tie where they disagree, and tells how often that was. A judge
whose verdict turns with the order more often than not decides by place more than by content.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.auditors.statistics import POWER, z_quantile, z_tail
from factory.errors import UsageError
from factory.types import Check, Evidence, Test

NAME = "bias.selection"
PARTS = ("comparisons", "inconsistent", "first")
MARGIN = 0.1


def check_flips(dataset: Data, rejects: Data, rows: Sequence[Any], limit: float) -> list[Check]:
    """One check for each scorer that tells of comparisons in both orders. `rows`: of the dataset, then of the rejects.

    `limit`: the share of comparisons that may turn with the order. Raises UsageError unless it lies between 0 and 1.
    """
    if not 0 < limit < 1 - MARGIN:
        raise UsageError(f"`flips` {limit}", f"a share of comparisons, over 0 and under {1 - MARGIN:g}")
    told = [*_scores(dataset), *rejects.values("scores")]
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for at, text in enumerate(told):
        if not isinstance(text, str) or ".comparisons" not in text:
            continue
        for key, value in _numbers(text).items():
            name, _, part = key.rpartition(".")
            if part in PARTS and name:
                found.setdefault(name, {one: np.zeros(len(told)) for one in PARTS})[part][at] = value
    _, clusters = np.unique(np.array([str(row) for row in rows]), return_inverse=True)
    return [
        _check(name, parts, clusters, limit, dataset)
        for name, parts in sorted(found.items())
        if parts["comparisons"].any()
    ]


def _check(
    name: str, parts: dict[str, NDArray[np.float64]], clusters: NDArray[Any], limit: float, dataset: Data
) -> Check:
    """Both players of a pair tell of it, so that each comparison is counted twice."""
    from factory.measures import wilson

    asked, turned, first = (np.bincount(clusters, weights=parts[part]) for part in PARTS)
    whole = float(asked.sum())
    rate = float(turned.sum()) / whole
    independent = whole / 2
    spread = float(((turned - rate * asked) ** 2).sum()) / max(1e-12, 4 * independent * rate * (1 - rate))
    n = max(1, math.floor(independent / max(1.0, spread if 0 < rate < 1 else 1.0)))
    low, high = wilson(round(rate * n), n)
    se = math.sqrt(limit * (1 - limit) / n)
    shown_first = float(first.sum()) / max(1.0, float(turned.sum()))
    sentence = (
        f"Of {independent:,.0f} comparisons that `{name}` made in both orders, the verdict turned with the order in "
        f"{100 * rate:.1f} % ({100 * low:.1f} to {100 * high:.1f}); in {100 * shown_first:.0f} % of those for what "
        "came first."
    )
    kept = np.flatnonzero(parts["inconsistent"][: len(dataset)])[:5].tolist()
    return Check(
        NAME,
        rate,
        (min(low, rate), max(high, rate)),
        n=round(independent),
        subject=f"order of `{name}`",
        gate=f"the verdict turns with the order in at most {100 * limit:g} % of comparisons",
        sentence=sentence,
        advice="take another judge, or a panel of several (`models: […]`), or give the rubric more to decide by",
        method=f"parts of the scorer `{name}`; Wilson interval; those of a row together are worth {n:,} comparisons",
        evidence=tuple(
            Evidence(at, dataset.clipped[at][:300], id=dataset.ids[at], details={"turned": parts["inconsistent"][at]})
            for at in kept
        ),
        details={"shown_first": shown_first, "comparisons": independent},
        tests=1,
        test=Test(
            z_tail((rate - limit) / se),
            limit + MARGIN,
            lambda alpha: limit + (z_quantile(1 - alpha) + z_quantile(POWER)) * se,
        ),
    )


def _scores(dataset: Data) -> list[Any]:
    import pyarrow as pa

    schema = dataset.table.schema
    kind = schema.field("meta").type if "meta" in schema.names else None
    has = kind is not None and pa.types.is_struct(kind) and kind.get_field_index("scores") >= 0
    return dataset.values("meta.scores") if has else [None] * len(dataset)


def _numbers(text: str) -> dict[str, float]:
    """The numbers of a JSON object; none where it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
