"""What synthetic rows alone teach about real ones, against as many real rows (train on synthetic, test on real)."""

from __future__ import annotations

from typing import Any

import numpy as np

from factory.auditors.statistics import Floats
from factory.auditors.utility.arms import Arms
from factory.auditors.utility.learners import Ints
from factory.auditors.utility.pairing import ERRORS, estimate, spread
from factory.auditors.utility.rows import Bench
from factory.types import Check

NAME = "utility.transfer"
SEEN = 0.25
"""A loss so far above the limit must not go unseen."""
CERTAIN = 4.0
"""Standard errors by which real rows must beat the commonest label."""


def transfer(arms: Arms, draws: int, limit: float) -> Check:
    """The share of what real rows teach (accuracy above the commonest label's) that synthetic rows do not."""
    bench = arms.bench
    size = min(len(bench.real), len(bench.synthetic), arms.most)
    rows = arms.some_real(size, 0), arms.synthetic(size, 0)
    parts = _measure(arms, *rows)[None]
    thinned = np.stack([_measure(arms, *(arms.thin(one, draw) for one in rows)) for draw in range(draws)])
    real, synthetic, commonest = (float(parts[..., k].mean()) for k in range(3))
    lift = estimate(parts[..., 0] - parts[..., 2], arms.rng(NAME, "lift"), thinned=thinned[..., 0] - thinned[..., 2])
    details = _details(arms, parts, size)
    method = f"{arms.learner.name}; {size:,} rows in each arm; {ERRORS.format(draws=draws)}"
    if lift.value < CERTAIN * max(lift.se, 1e-12):
        told = (
            f"A model trained on {size:,} real rows gives {real:.1%} of the test rows their label, the commonest label "
            f"alone {commonest:.1%}: too little to tell what synthetic rows teach."
        )
        advice = "give more real rows (the reference and the holdout), or labels that the text tells"
        return Check(NAME, None, n=len(bench.test), sentence=told, advice=advice, details=details, method=method)
    loss = estimate(parts, arms.rng(NAME), _lost, thinned=thinned)
    told = (
        f"Trained on {size:,} synthetic rows a model gives {synthetic:.1%} of {len(bench.test):,} real test rows their "
        f"label, trained on as many real rows {real:.1%}; the commonest label alone gives {commonest:.1%}. "
        f"So {loss.value:.0%} of what real rows teach is lost."
    )
    return Check(
        NAME,
        loss.value,
        interval=loss.interval,
        n=loss.n,
        gate=f"at most {limit:.0%} of what as many real rows teach is lost",
        sentence=f"{told} {bench.told}",
        advice="look at utility.label_noise and at the labels that are missing; make texts more like the real ones",
        method=method,
        details=details,
        test=loss.beyond(limit, min(1.0, limit + SEEN)),
    )


def _lost(means: Floats) -> Floats:
    lift = means[..., 0] - means[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = (means[..., 0] - means[..., 1]) / np.where(lift > 0, lift, np.nan)
    return found


def _measure(arms: Arms, real: Ints, synthetic: Ints) -> Floats:
    """Right or not [test rows, 3]: by real rows, by synthetic ones, by the commonest label of the real ones."""
    bench = arms.bench
    right = arms.correct(real, "train on real"), arms.correct(synthetic, "train on synthetic")
    return np.stack([*right, bench.labels[bench.test] == _commonest(bench, real)], axis=1).astype(np.float64)


def _commonest(bench: Bench, rows: Ints) -> int:
    return int(np.argmax(np.bincount(bench.labels[rows], minlength=bench.classes)))


def _details(arms: Arms, parts: Floats, size: int) -> dict[str, Any]:
    names = (f"{size:,} real rows", f"{size:,} synthetic rows", "the commonest label")
    rows = [dict(zip(("value", "low", "high"), spread(parts[..., k]), strict=True)) for k in range(3)]
    forest = {
        "kind": "forest",
        "title": "Real test rows that get their label",
        "rows": [{"label": name, **row} for name, row in zip(names, rows, strict=True)],
        "x_label": "accuracy on real rows",
    }
    keys = ("real", "synthetic", "commonest_label")
    return {key: row["value"] for key, row in zip(keys, rows, strict=True)} | arms.bench.counts | {"plots": [forest]}
