"""How many different things the texts are about: the Vendi score, beside real rows at equal n and equal lengths.

Vendi score (Friedman and Dieng 2023): e^H, H = −Σ λ ln λ over the eigenvalues λ of K/n, K the cosines of all pairs.
With unit vectors of d dimensions these are the eigenvalues of the d×d matrix Σ = XᵀX/n. H is smooth in Σ, and a row x
moves it by −xᵀ ln(Σ) x − H (its influence function), so the variance of H is that of −xᵀ ln(Σ) x over n.

The space is fitted on one half of the reference, and the dataset compared with the other half: so neither was seen by
it, and what counts is variety along the directions in which real rows vary. A space fitted on both gives the dataset
axes of its own, and hardly notices that it is about fewer things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.diversity.telling import (
    FEWEST,
    NO_REFERENCE,
    loss_interval,
    loss_test,
    percent,
    point,
    shown,
    unknown,
)
from factory.auditors.spaces import Vectors, one_thread, open_space
from factory.auditors.statistics import equal_sizes
from factory.minhash import Ints
from factory.types import Check

NAME = "diversity.semantic"
SPLITS = 20
"""Random halves of the reference that are compared, for the ceiling that real rows themselves reach."""
MOST = 20_000
"""Rows of each sample that are compared at most."""


@dataclass(frozen=True, slots=True)
class Vendi:
    """H of n texts in nats, its standard error, and what each text adds to it (float64 [n])."""

    entropy: float
    se: float
    parts: NDArray[np.float64]

    @property
    def score(self) -> float:
        return math.exp(self.entropy)


def vendi(vectors: Vectors) -> Vendi:
    """The Vendi score of unit rows [n, d], n ≥ 2; its logarithm's standard error by the influence function."""
    rows = vectors.astype(np.float64)
    with one_thread():
        sizes, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        sizes = np.clip(sizes, 1e-12, None)
        logs = np.log(sizes)
        parts = -((rows @ axes) ** 2) @ logs
    entropy = float(parts.mean())
    fitted = min(1 + math.exp(entropy) / 2, len(rows) / 2)  # the axes were fitted to these rows, which flatters them
    return Vendi(entropy, float(parts.std() / math.sqrt(len(rows) - fitted)), parts)


async def check_semantic(
    dataset: Data, reference: Data | None, context: AuditContext, *, max_loss: float, embedder: str | None
) -> Check:
    """`diversity.semantic`: the share of the reference's effective number of meanings that the dataset lacks."""
    if reference is None:
        return await _alone(dataset, context, embedder)
    rng = context.rng("diversity", "semantic", "rows")
    fitted, compared = np.array_split(rng.permutation(len(reference)), 2)
    rows, others = equal_sizes(len(dataset), len(compared), MOST, rng)
    texts = [reference.clipped[row] for row in compared[others].tolist()]
    mine, theirs = _cut([dataset.clipped[row] for row in rows.tolist()], texts)
    space = await open_space(context, [reference.clipped[row] for row in fitted[:MOST].tolist()], role=embedder)
    one, kept = _filled(await space.vectors(mine))
    other, _ = _filled(await space.vectors(theirs))
    if min(len(one), len(other)) < FEWEST:
        least = min(len(one), len(other))
        why = f"Only {least} rows of each side (half of the reference) can be placed: too few to compare meanings."
        return unknown(NAME, why, "more rows", n=min(len(one), len(other)))
    found, real = vendi(one), vendi(other)
    log_ratio = found.entropy - real.entropy
    se = math.hypot(found.se, real.se)
    loss = 1 - math.exp(log_ratio)
    ceiling = _ceiling(other, context.rng("diversity", "semantic", "splits"))
    return Check(
        NAME,
        loss,
        interval=loss_interval(log_ratio, se),
        n=min(len(one), len(other)),
        gate=f"an effective number at most {percent(max_loss)} below the reference's",
        sentence=(
            f"The dataset is as varied in meaning as {found.score:.1f} wholly different texts, as many rows of the "
            f"reference as {real.score:.1f}: {percent(abs(loss))} {'less' if loss > 0 else 'more'} "
            f"(two halves of the reference differ by up to {percent(ceiling)})."
        ),
        evidence=shown(
            point(dataset, dataset.clipped, int(rows[kept[at]]), {"lies": "where the rows are densest"})
            for at in np.argsort(found.parts, kind="stable")[:5].tolist()
        ),
        details={"dataset": found.score, "reference": real.score, "ceiling": ceiling, "splits": SPLITS},
        method=(
            f"Vendi score (Friedman and Dieng 2023) at equal n and equal lengths, {space.name}, fitted on the other "
            "half of the reference"
        ),
        advice="the rows are about fewer things: more topics in `vary`, more sources, or seeds from the missing ones",
        tests=1,
        test=loss_test(log_ratio, se, limit=max_loss, effect=min(0.99, max_loss + 0.15)),
    )


async def _alone(dataset: Data, context: AuditContext, embedder: str | None) -> Check:
    rows, _ = equal_sizes(len(dataset), len(dataset), MOST, context.rng("diversity", "semantic", "rows"))
    texts = [dataset.clipped[row] for row in rows]
    space = await open_space(context, texts, role=embedder)
    vectors, _ = _filled(await space.vectors(texts))
    if len(vectors) < 2:
        return unknown(NAME, "Fewer than two rows hold words.", "more rows", n=len(vectors))
    found = vendi(vectors)
    return Check(
        NAME,
        None,
        n=len(vectors),
        sentence=(
            f"The rows are as varied in meaning as {found.score:.1f} wholly different texts; how many there should be, "
            "only real rows of the same kind can tell."
        ),
        details={"dataset": found.score},
        method=f"Vendi score (Friedman and Dieng 2023), {space.name}",
        advice=NO_REFERENCE,
    )


def _cut(mine: Sequence[str], theirs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Texts paired by length, the longer of a pair cut to the length of the shorter; in the given order."""
    one = np.array([len(text) for text in mine], dtype=np.int64)
    other = np.array([len(text) for text in theirs], dtype=np.int64)
    shorter = np.minimum(np.sort(one), np.sort(other))
    limits, other_limits = np.empty_like(one), np.empty_like(other)
    limits[np.argsort(one, kind="stable")] = shorter
    other_limits[np.argsort(other, kind="stable")] = shorter
    return (
        [text[:size] for text, size in zip(mine, limits.tolist(), strict=True)],
        [text[:size] for text, size in zip(theirs, other_limits.tolist(), strict=True)],
    )


def _filled(vectors: Vectors) -> tuple[Vectors, Ints]:
    """The rows that lie anywhere, and their places."""
    places = np.flatnonzero(np.abs(vectors).max(axis=1, initial=0.0) > 0)
    return vectors[places], places


def _ceiling(vectors: Vectors, rng: np.random.Generator) -> float:
    """What 95 % of pairs of random halves of real rows stay under: their difference, as a share of the larger."""
    half = len(vectors) // 2
    found = []
    with one_thread():
        for _ in range(SPLITS):
            order = rng.permutation(len(vectors))
            apart = _entropy(vectors[order[:half]]) - _entropy(vectors[order[half : 2 * half]])
            found.append(1 - math.exp(-abs(apart)))
    return float(np.percentile(found, 95))


def _entropy(vectors: Vectors) -> float:
    sizes = np.clip(np.linalg.eigvalsh(vectors.T @ vectors / np.float32(len(vectors))).astype(np.float64), 1e-12, None)
    return float(-(sizes @ np.log(sizes)))
