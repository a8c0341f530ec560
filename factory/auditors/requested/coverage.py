"""Whether the values of an axis have the shares that were planned: rejecting rows may have shifted them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.requested.values import show
from factory.auditors.statistics import Z95, z_test
from factory.measures import wilson
from factory.types import Check

NAME = "requested.coverage"
SHOWN = 40
LEAST = 5
OTHERS = "(others)"
EFFECT = 2.0
"""A shift of so many times the limit must not go unseen."""
RESAMPLES = 2000


def coverage(dataset: Data, axes: Sequence[str], context: AuditContext, *, limit: float) -> list[Check]:
    """One check an axis whose planned shares are known."""
    checks = []
    for axis in axes:
        planned = context.axes.get(axis)
        if planned is not None and len(planned) > 1:
            checks.append(_check(axis, dataset.axes[axis], planned, context, limit))
    return checks


def _check(
    axis: str, values: Sequence[Any], planned: Mapping[Any, float], context: AuditContext, limit: float
) -> Check:
    """Total variation distance of the shares in the rows from the planned ones, less what chance alone makes.

    Values that are planned for fewer than `LEAST` of the rows count together: of each alone chance would say more than
    the plan.
    """
    shares = {show(value): share for value, share in planned.items()}
    counts = Counter(show(value) for value in values)
    n = len(values)
    seldom = [name for name, share in shares.items() if share * n < LEAST]
    names = [name for name in shares if name not in set(seldom)]
    if len(names) + bool(seldom) < 2:
        why = f"{n:,} rows are too few for the {len(shares):,} planned values of `{axis}`."
        return Check(NAME, None, n=n, sentence=why, subject=axis, advice=f"{LEAST} rows for each value, at least")
    known = sum(counts[name] for name in names)
    names.append(OTHERS)
    wanted = np.array([shares.get(name, 0.0) for name in names])
    found = np.array([counts[name] for name in names], dtype=np.float64)
    wanted[-1], found[-1] = sum(shares[name] for name in seldom), n - known
    raw = float(_distance(found / n, wanted))
    rng = context.rng(NAME, axis)
    by_chance = float(_distance(rng.multinomial(n, wanted / wanted.sum(), RESAMPLES) / n, wanted).mean())
    value = max(0.0, raw - by_chance)
    se = float(_distance(rng.multinomial(n, found / n, RESAMPLES) / n, wanted).std())
    half = Z95 * se
    never = [name for name, share in shares.items() if counts[name] == 0 and share * n >= LEAST]
    told = f"The values of `{axis}` are {_percent(value)} away from their planned shares (total variation distance)"
    told += f"; never there: {', '.join(never[:5])}." if never else "."
    rows = [
        {"label": name[:60], "value": count / n, "low": low, "high": high}
        for name, count, (low, high) in (
            (name, int(count), wilson(int(count), n)) for name, count in zip(names, found, strict=True)
        )
    ]
    return Check(
        NAME,
        value,
        interval=(max(0.0, value - half), min(1.0, value + half)),
        n=n,
        gate=f"at most {_percent(limit)} away",
        sentence=told,
        subject=axis,
        advice="look at which values fall at which stage (rejects.parquet), or set `balance: true`",
        method="total variation distance, less its mean by chance; standard error by multinomial resampling",
        test=z_test(value, se, limit=limit, effect=EFFECT * limit),
        details={
            "planned": {name: float(share) for name, share in zip(names, wanted, strict=True)},
            "plots": [
                {"kind": "forest", "title": f"Shares of {axis}", "x_label": "share of the rows", "rows": rows[:SHOWN]},
                {
                    "kind": "bars",
                    "title": f"{axis}: planned and found",
                    "labels": [name[:40] for name in names[:SHOWN]],
                    "series": {"planned": wanted[:SHOWN].tolist(), "found": (found[:SHOWN] / n).tolist()},
                    "y_label": "share",
                },
            ],
        },
    )


def _distance(shares: Any, wanted: Any) -> Any:
    """Total variation distance along the last axis."""
    return 0.5 * np.abs(shares - wanted).sum(axis=-1)


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if math.isclose(share * 100, round(share * 100)) else 1}f} %"
