"""fidelity.coverage: do rows lie where real rows lie, and is some row near every real one?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.scenes import Places, Scene, Vectors
from factory.auditors.fidelity.telling import percent, point_at, unmeasured
from factory.auditors.fidelity.testing import normal_interval
from factory.auditors.statistics import worst_of, z_test
from factory.types import Check, Evidence

MOST_ROWS = 3_000
"""Rows of each of the three samples, at most."""
FEWEST_ROWS = 50
NEIGHBOURS = 5
LEAST_ERROR = 1.5
"""Rows, over the size of a sample: the standard error where nothing varies, after the rule of three."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """One measure: the dataset's value, that of other real rows (`ceiling`), and the standard error of the loss."""

    found: float
    ceiling: float
    se: float

    @property
    def loss(self) -> float:
        return self.ceiling - self.found


def check_coverage(pair: Pair, scene: Scene, context: AuditContext, *, limit: float, effect: float) -> Check:
    """Improved precision and recall, density and coverage, each beside what other real rows reach."""
    size = min(len(scene.here), len(scene.there) // 2, MOST_ROWS)
    if size < FEWEST_ROWS:
        why = f"The reference has {len(scene.there):,} rows and the dataset {len(scene.here):,}: too few to halve."
        return unmeasured("coverage", why, f"at least {2 * FEWEST_ROWS} real rows", n=len(pair.dataset))
    rng = context.rng("fidelity.coverage")
    order = rng.permutation(len(scene.there))
    base, held = scene.there[order[:size]], scene.there[order[size : 2 * size]]
    chosen = np.sort(rng.choice(len(scene.here), size, replace=False))
    found, outside = measure(scene.here[chosen], base, held)
    tests = [z_test(found[name].loss, found[name].se, limit=limit, effect=effect) for name in GATED]
    worst = max(GATED, key=lambda name: found[name].loss)
    largest = found[worst]
    return Check(
        "fidelity.coverage",
        largest.loss,
        interval=normal_interval(largest.loss, largest.se, -1.0, 1.0),
        n=size,
        gate=f"precision and coverage at most {percent(limit, 0)} under those of other real rows",
        tests=len(tests),
        test=worst_of(tests),
        sentence=(
            f"{percent(found['precision'].found)} of the rows lie where real rows lie (of other real rows "
            f"{percent(found['precision'].ceiling)}), and {percent(found['coverage'].found)} of real rows have a row "
            f"near by (with other real rows {percent(found['coverage'].ceiling)})."
        ),
        advice=_advise(worst),
        method=(
            f"improved precision and recall (Kynkäänniemi 2019), density and coverage (Naeem 2020), {NEIGHBOURS} "
            f"neighbours, three samples of {size:,} rows (dataset, reference, other rows of it); {scene.space}"
        ),
        evidence=_evidence(pair, scene.rows[chosen[outside]]),
        details=_details(found),
    )


GATED = ("precision", "coverage")


def measure(here: Vectors, base: Vectors, held: Vectors) -> tuple[dict[str, Measured], Places]:
    """The four measures of `here` and of `held` against `base`, three samples of one size; and which of `here` lie
    outside of every ball of `base`.

    Precision and density are means over the judged rows, which are independent given `base`: their difference has a
    plain standard error. Coverage is a mean over `base` that hangs on which rows cover: the jackknife over these (a
    ball that one row alone covers is lost with it) is added to the spread over `base`. Recall is told without an error.
    """
    radius = _radius(base)
    mine, theirs = (_squared(points, base) <= radius[None, :] for points in (here, held))
    inside = np.asarray(mine.any(axis=1)), np.asarray(theirs.any(axis=1))
    depth = [np.asarray(side.sum(axis=1)) / NEIGHBOURS for side in (mine, theirs)]
    covered = mine.any(axis=0), theirs.any(axis=0)
    gap = covered[1].astype(np.float64) - covered[0]
    spread = float(gap.var(ddof=1)) / len(base) + _alone(mine) + _alone(theirs)
    recall = [float((_squared(held, points) <= _radius(points)[None, :]).any(axis=1).mean()) for points in (here, base)]
    found = {
        "precision": _means(inside[0], inside[1]),
        "coverage": Measured(
            float(covered[0].mean()), float(covered[1].mean()), max(math.sqrt(spread), LEAST_ERROR / len(base))
        ),
        "density": _means(depth[0], depth[1]),
        "recall": Measured(recall[0], recall[1], 0.0),
    }
    return found, np.flatnonzero(~inside[0])


def _means(one: NDArray[Any], other: NDArray[Any]) -> Measured:
    se = math.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    return Measured(float(one.mean()), float(other.mean()), max(se, LEAST_ERROR / len(one)))


def _alone(hits: NDArray[np.bool_]) -> float:
    """Jackknife variance of the share of columns that some row hits."""
    single = hits.sum(axis=0) == 1
    lost = hits[:, single].sum(axis=1) / hits.shape[1]
    count = len(lost)
    return float((count - 1) / count * ((lost - lost.mean()) ** 2).sum())


def _squared(points: Vectors, others: Vectors) -> NDArray[np.float32]:
    lengths = np.einsum("ij,ij->i", points, points)[:, None] + np.einsum("ij,ij->i", others, others)[None, :]
    found: NDArray[np.float32] = np.maximum(0, lengths - 2 * (points @ others.T))
    return found


def _radius(points: Vectors) -> NDArray[np.float32]:
    """The squared distance of each point's k-th nearest other point, with a little room for rounding."""
    squared = _squared(points, points)
    np.fill_diagonal(squared, np.inf)
    rank = min(NEIGHBOURS, len(points) - 1) - 1
    found: NDArray[np.float32] = np.partition(squared, rank, axis=1)[:, rank] + np.float32(1e-6)
    return found


def _advise(worst: str) -> str:
    if worst == "precision":
        return "rows are unlike any real one: look at the rows shown; show real rows as examples, or filter by likeness"
    return "kinds of real rows are missing: vary by what the real rows vary by (topics, intents), and draw more of it"


def _evidence(pair: Pair, rows: Places) -> tuple[Evidence, ...]:
    return point_at(pair.dataset, rows[:5].tolist(), pair.joined[0])


def _details(found: dict[str, Measured]) -> dict[str, object]:
    plot = {
        "kind": "bars", "title": "Nearness to real rows, beside what other real rows reach", "labels": list(found),
        "series": {
            "dataset": [one.found for one in found.values()], "reference": [one.ceiling for one in found.values()],
        },
        "y_label": "share (density: mean)",
    }  # fmt: skip
    told = {name: {"dataset": one.found, "real": one.ceiling} for name, one in found.items()}
    return {"measures": told, "plots": [plot]}
