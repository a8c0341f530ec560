"""How far the middle of the dataset's points lies from the reference's: what clusters blur, means still show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from factory.auditors.fidelity.scenes import DIMENSIONS, Vectors
from factory.auditors.fidelity.testing import Divergence, Floats, divergence_of, effective
from factory.types import Test

ROWS_A_DIMENSION = 20
"""Rows of both sides together for each dimension that is looked at."""


@dataclass(frozen=True, eq=False)
class Displacement:
    """`found`: Hotelling's T² as a divergence in bits. `scores`: how far each row of the dataset lies in the direction
    that tells the two sides apart best."""

    found: Divergence
    scores: Floats


def measure_displacement(here: Vectors, there: Vectors, *, limit: float, effect: float) -> Displacement:
    """Hotelling's two-sample T² (1931) over the widest principal axes of both sides together.

    With Δ² the squared Mahalanobis distance of the means, H·Δ² is the non-centrality; two mixtures of the same kinds
    whose shares differ lie Δ²/8 nats of Jensen-Shannon divergence apart as far as a linear function can tell, so that
    both tests of topics speak the same unit.
    """
    total = len(here) + len(there)
    dimensions = min(DIMENSIONS, max(1, total // ROWS_A_DIMENSION))
    axes = _main_axes(np.concatenate([here, there]))[:, :dimensions]
    one, two = (side.astype(np.float64) @ axes for side in (here, there))
    centred = np.concatenate([one - one.mean(axis=0), two - two.mean(axis=0)])
    sizes, inner = np.linalg.eigh(centred.T @ centred / (total - 2))
    kept = sizes > 1e-8 * max(float(sizes[-1]), 1e-12)
    gap = one.mean(axis=0) - two.mean(axis=0)
    df = int(kept.sum())
    if df == 0:
        nothing = Divergence(0.0, 0, 0.0, 0.0, 0.0, Test(1.0, effect, lambda alpha: 0.0))
        return Displacement(nothing, np.zeros(len(here)))
    inner, sizes = inner[:, kept], sizes[kept]
    size = effective(len(here), len(there))
    squared = float(((gap @ inner) ** 2 / sizes).sum())
    statistic = _as_chi_square(size * squared * (total - df - 1) / ((total - 2) * df), df, total - df - 1)
    direction = inner @ ((gap @ inner) / sizes)
    found = divergence_of(statistic, df, 8 * size * math.log(2), limit=limit, effect=effect)
    scores: Floats = (one - two.mean(axis=0)) @ direction
    return Displacement(found, scores)


def _main_axes(points: Vectors) -> Floats:
    """The principal axes of the points of both sides, [d, d], the widest first."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    found: Floats = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    return found


def _as_chi_square(ratio: float, df: int, others: int) -> float:
    """The chi-square value that is as rare as this value of F with `df` and `others` degrees of freedom.

    Far out, where that can no longer be told, F's own multiple.
    """
    from scipy.special import fdtrc, gammainccinv

    tail = float(fdtrc(df, others, ratio))
    return 2 * float(gammainccinv(df / 2, tail)) if tail > 1e-250 else ratio * df
