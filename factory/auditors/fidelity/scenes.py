"""The rows of both sides as points of one text space, and clusters of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.spaces import open_space

Vectors = NDArray[np.float32]
Places = NDArray[np.intp]
MOST_ROWS = 20_000
"""Rows of each side that are placed at most."""
DIMENSIONS = 64
ROUNDS = 25
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Scene:
    """`here`, `there`: unit rows float32 [n, d] of the dataset and the reference; `rows`, `others`: whose they are.

    `space`: what placed them. Texts that the space knows no word of lie at zero.
    """

    here: Vectors
    there: Vectors
    rows: Places
    others: Places
    space: str


async def place_texts(pair: Pair, context: AuditContext, model: str | None = None) -> Scene:
    """The joined texts of both sides, samples of `MOST_ROWS` of longer ones, in a space fitted on both together.

    A text counts once there: one that both sides have would draw the space's axes to itself, and with them the middle
    of the side that holds more such texts.
    """
    rng = context.rng("fidelity", "scene")
    mine, theirs = pair.joined
    rows = np.sort(rng.choice(len(mine), min(len(mine), MOST_ROWS), replace=False))
    others = np.sort(rng.choice(len(theirs), min(len(theirs), MOST_ROWS), replace=False))
    here, there = [mine[row] for row in rows.tolist()], [theirs[row] for row in others.tolist()]
    space = await open_space(context, list(dict.fromkeys([*here, *there])), role=model, dimensions=DIMENSIONS)
    return Scene(await space.vectors(here), await space.vectors(there), rows, others, space.name)


def cluster(points: Vectors, count: int, rng: np.random.Generator, rounds: int = ROUNDS) -> Vectors:
    """Centres [k, d] of k-means (Lloyd 1982, started by k-means++ after Arthur and Vassilvitskii 2007), k ≤ `count`."""
    centres = _start(points, count, rng)
    assigned = np.full(len(points), -1, dtype=np.intp)
    for _ in range(rounds):
        nearest = assign(points, centres)[0]
        if np.array_equal(nearest, assigned):
            break
        assigned = nearest
        sizes = np.bincount(assigned, minlength=len(centres))
        order = np.argsort(assigned, kind="stable")
        filled = np.flatnonzero(sizes)
        starts = np.concatenate([[0], np.cumsum(sizes[filled])[:-1]])
        sums = np.add.reduceat(points[order].astype(np.float64), starts, axis=0)
        centres[filled] = (sums / sizes[filled, None]).astype(np.float32)
    return centres


def _start(points: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    chosen = [int(rng.integers(len(points)))]
    squares = np.einsum("ij,ij->i", points, points)
    far = np.full(len(points), np.inf, dtype=np.float32)
    while True:
        last = points[chosen[-1]]
        far = np.minimum(far, np.maximum(0, squares - 2 * (points @ last) + squares[chosen[-1]]))
        running = np.cumsum(far, dtype=np.float64)
        if len(chosen) == count or running[-1] <= 1e-6 * len(points):
            return points[chosen].copy()
        chosen.append(min(int(np.searchsorted(running, rng.random() * running[-1], side="right")), len(points) - 1))


def assign(points: Vectors, centres: Vectors) -> tuple[Places, NDArray[np.float32]]:
    """The nearest centre of each point, and its squared distance."""
    nearest = np.empty(len(points), dtype=np.intp)
    squared = np.empty(len(points), dtype=np.float32)
    lengths = np.einsum("ij,ij->i", centres, centres)
    for first in range(0, len(points), BLOCK):
        part = points[first : first + BLOCK]
        away = lengths[None, :] - 2 * (part @ centres.T)
        at = np.argmin(away, axis=1)
        nearest[first : first + len(part)] = at
        own = np.einsum("ij,ij->i", part, part)
        squared[first : first + len(part)] = np.maximum(0, away[np.arange(len(part)), at] + own)
    return nearest, squared
