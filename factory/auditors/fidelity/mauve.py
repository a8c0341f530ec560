"""fidelity.mauve: the gap between the distributions of dataset and reference by MAUVE, beside its ceiling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.scenes import Scene, assign, cluster
from factory.auditors.fidelity.telling import unmeasured
from factory.auditors.fidelity.testing import normal_interval, resampled_test
from factory.types import Check

Floats = NDArray[np.float64]
SCALE = 5.0
MIXTURES = 25
MOST_ROWS = 5_000
ROWS_A_CELL = 40
MOST_CELLS = 100
FEWEST_CELLS = 5
EXCHANGES = 400
ROUNDS = 8


def check_mauve(pair: Pair, scene: Scene, context: AuditContext, *, limit: float, effect: float) -> Check:
    """MAUVE at equal n; its ceiling is what the same rows dealt to two sides at random reach."""
    rng = context.rng("fidelity.mauve")
    size = min(len(scene.here), len(scene.there), MOST_ROWS)
    cells = min(MOST_CELLS, 2 * size // ROWS_A_CELL)
    if cells < FEWEST_CELLS:
        why = f"{size:,} rows on each side are too few to tell distributions apart."
        return unmeasured("mauve", why, f"at least {FEWEST_CELLS * ROWS_A_CELL // 2} rows each", n=len(pair.dataset))
    here = scene.here[np.sort(rng.choice(len(scene.here), size, replace=False))]
    there = scene.there[np.sort(rng.choice(len(scene.there), size, replace=False))]
    pooled = np.concatenate([here, there])
    centres = cluster(pooled, cells, rng, ROUNDS)
    cell = assign(pooled, centres)[0]
    one, two = (np.bincount(part, minlength=len(centres)) for part in (cell[:size], cell[size:]))
    found = float(mauve(one, two))
    dealt = rng.multivariate_hypergeometric(one + two, size, size=EXCHANGES, method="marginals")
    null = mauve(dealt, (one + two) - dealt)
    again = mauve(rng.multinomial(size, one / size, size=EXCHANGES), rng.multinomial(size, two / size, size=EXCHANGES))
    ceiling, se = float(null.mean()), float(again.std(ddof=1))
    test = resampled_test(ceiling - found, se, -null, limit=limit, effect=effect)
    return Check(
        "fidelity.mauve",
        found,
        interval=normal_interval(found, se, 0.0, 1.0),
        n=size,
        gate=f"MAUVE at most {limit:g} under that of the same rows dealt at random",
        tests=1,
        test=test,
        sentence=(
            f"MAUVE is {found:.3f} (1: distributions alike); the same rows dealt to two sides at random reach "
            f"{ceiling:.3f}."
        ),
        advice="see fidelity.topics and fidelity.coverage for what is missing and what is too much",
        method=(
            f"MAUVE (Pillutla 2021), scale {SCALE:g}, {len(centres)} k-means cells, {size:,} rows each; ceiling "
            f"by {EXCHANGES} exchanges, standard error by as many resamples of the cells; {scene.space}"
        ),
        details={"ceiling": ceiling, "cells": len(centres), "plots": [_curve(one, two)]},
    )


def mauve(one: NDArray[np.int64], other: NDArray[np.int64]) -> Floats:
    """The area under the divergence frontier of two rows of counts along the last axis: 0 … 1.

    The frontier is (exp(−c·KL(q|r)), exp(−c·KL(p|r))) for mixtures r = λp + (1−λ)q, joined by its ends (1, 0), (0, 1).
    """
    x, y = frontier(one, other)
    found: Floats = np.abs(((x[..., 1:] - x[..., :-1]) * (y[..., 1:] + y[..., :-1]) / 2).sum(axis=-1))
    return found


def frontier(one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The frontier's points, [..., MIXTURES + 2] each."""
    p = one / one.sum(axis=-1, keepdims=True)
    q = other / other.sum(axis=-1, keepdims=True)
    shape = (*p.shape[:-1], MIXTURES + 2)
    x, y = np.zeros(shape), np.zeros(shape)
    x[..., 0], y[..., -1] = 1.0, 1.0
    p_log, q_log = (np.log(np.where(side > 0, side, 1.0)) for side in (p, q))
    for place, share in enumerate(np.linspace(0, 1, MIXTURES + 2)[1:-1], start=1):
        mixed = share * p + (1 - share) * q
        log = np.log(np.where(mixed > 0, mixed, 1.0))
        x[..., place] = np.exp(-SCALE * (q * (q_log - log)).sum(axis=-1))
        y[..., place] = np.exp(-SCALE * (p * (p_log - log)).sum(axis=-1))
    return x, y


def _curve(one: NDArray[np.int64], two: NDArray[np.int64]) -> dict[str, object]:
    x, y = frontier(one, two)
    order = np.argsort(x, kind="stable")
    return {
        "kind": "curve", "title": "Divergence frontier (the nearer to the upper right corner, the more alike)",
        "x": x[order].tolist(), "series": {"dataset": {"y": y[order].tolist()}},
        "x_label": "reference's rows explained", "y_label": "dataset's rows explained",
    }  # fmt: skip
