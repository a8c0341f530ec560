"""fidelity.vocabulary: does the dataset have the words of real texts, and as often?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.telling import percent, unmeasured
from factory.auditors.fidelity.testing import jensen_shannon, normal_interval, one_sided_test, resampled_test
from factory.auditors.fidelity.words import Words
from factory.auditors.statistics import worst_of
from factory.types import Check, Test

Floats = NDArray[np.float64]
GROUPS = 100
"""Groups of rows of each side that are exchanged and left out together."""
FEWEST_GROUPS = 10
FEWEST_ROWS = 100
EXCHANGES = 500
TOP = 1000
"""Words that shares are compared of; the rest counts as one."""
TWICE = 2
"""Rows that a word of the reference must stand in to belong to its vocabulary."""
NAME = "vocabulary"


@dataclass(frozen=True, eq=False)
class Shares:
    """Jensen-Shannon divergence of two samples' words, in bits: as it stands, what chance adds, its test."""

    plain: float
    chance: float
    se: float
    test: Test

    @property
    def value(self) -> float:
        return max(0.0, self.plain - self.chance)


@dataclass(frozen=True, eq=False)
class Known:
    """How much of a vocabulary of real rows the dataset has (`found`), and other real rows with as many words have
    (`ceiling`). `tokens`: words looked at on each side."""

    found: float
    ceiling: float
    se: float
    tokens: int
    vocabulary: int
    test: Test
    missing: tuple[str, ...]


def check_words(
    pair: Pair, words: Words, context: AuditContext, *, coverage: tuple[float, float], shares: tuple[float, float]
) -> list[Check]:
    """Coverage of the real vocabulary at equal tokens, and divergence of the words' shares (limit, effect)."""
    measured = {}
    for name in pair.columns:
        here, there = words.of(name)
        rng = context.rng("fidelity.vocabulary", name)
        if min(here.sum(), there.sum()) == 0 or min(here.shape[0], there.shape[0]) < FEWEST_ROWS:
            continue
        known = measure_coverage(here, there, words.names, rng, gate=coverage)
        if known is not None:
            measured[name] = (known, measure_shares(here, there, rng, gate=shares))
    if not measured:
        why = "No words to compare: the texts of one side have none, or too few rows."
        return [unmeasured(NAME, why, "more rows with text", n=len(pair.dataset), subject=s) for s in SUBJECTS]
    return [_coverage(pair, measured, coverage[0]), _divergence(pair, words, measured, shares[0])]


SUBJECTS = ("coverage", "shares")


def _groups(rows: int, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """A group for each row, at random, of sizes that differ by one at most."""
    return rng.permutation(np.arange(rows) % count)


def _sums(matrix: Any, groups: NDArray[np.int64], count: int) -> Any:
    from scipy.sparse import csr_matrix

    rows = matrix.shape[0]
    return csr_matrix((np.ones(rows), (groups, np.arange(rows))), shape=(count, rows)) @ matrix


def measure_shares(here: Any, there: Any, rng: np.random.Generator, *, gate: tuple[float, float]) -> Shares:
    """Divergence of the shares of the commonest words. Rows are exchanged in groups, so that words of one text stay
    together: the mean over exchanges is what chance adds, and the jackknife over groups gives the standard error."""
    totals = np.asarray(here.sum(axis=0)).ravel() + np.asarray(there.sum(axis=0)).ravel()
    top = np.sort(np.argsort(-totals, kind="stable")[:TOP])
    size = max(1, math.ceil((here.shape[0] + there.shape[0]) / (2 * GROUPS)))
    parts = []
    for matrix in (here, there):
        count = max(2, matrix.shape[0] // size)
        sums = _sums(matrix, _groups(matrix.shape[0], rng, count), count)
        common = np.asarray(sums[:, top].todense())
        rest = np.asarray(sums.sum(axis=1)).ravel() - common.sum(axis=1)
        parts.append(np.column_stack([common, rest]))
    first = len(parts[0])
    pooled = np.concatenate(parts)
    null = _exchange(pooled, first, rng)
    mine, theirs = (part.sum(axis=0) for part in parts)
    plain = float(jensen_shannon(mine, theirs))
    left = [
        jensen_shannon(mine - parts[0], np.broadcast_to(theirs, parts[0].shape)),
        jensen_shannon(np.broadcast_to(mine, parts[1].shape), theirs - parts[1]),
    ]
    se = math.sqrt(sum(map(_jackknife, left)))
    chance = float(null.mean())
    test = resampled_test(plain - chance, se, null, limit=gate[0], effect=gate[1])
    return Shares(plain, chance, se, test)


def _exchange(pooled: Floats, first: int, rng: np.random.Generator) -> Floats:
    """The divergence for groups dealt to the two sides at random."""
    order = np.argsort(rng.random((EXCHANGES, len(pooled))), axis=1)
    dealt = np.zeros((EXCHANGES, len(pooled)))
    np.put_along_axis(dealt, order[:, :first], 1.0, axis=1)
    sums = dealt @ pooled
    return jensen_shannon(np.maximum(sums, 1e-12), np.maximum(pooled.sum(axis=0) - sums, 1e-12))


def _jackknife(left: Floats) -> float:
    """The variance by values without one group each."""
    return float((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum())


def measure_coverage(
    here: Any, there: Any, names: list[str], rng: np.random.Generator, *, gate: tuple[float, float]
) -> Known | None:
    """The share of the words of half of the reference (in two rows at least) that the dataset has, and that the other
    half has, at equal numbers of words. None where that half repeats no word."""
    order = rng.permutation(there.shape[0])
    half = len(order) // 2
    base, other = there[np.sort(order[:half])], there[order[half:]]
    mine = here[rng.permutation(here.shape[0])]
    tokens = int(min(mine.sum(), other.sum()))
    sides = [_first_tokens(matrix, tokens) for matrix in (mine, other)]
    if min(side.shape[0] for side in sides) < FEWEST_GROUPS:
        return None
    count = min(GROUPS // 2, *(side.shape[0] for side in sides))
    stood = (base > 0).astype(np.float64)
    rows = np.asarray(stood.sum(axis=0)).ravel()
    if not (rows >= TWICE).any():
        return None
    columns = np.flatnonzero(rows >= TWICE)
    seen = [
        np.asarray((_sums(side[:, columns], _groups(side.shape[0], rng, count), count) > 0).todense()) for side in sides
    ]
    covers = [part.any(axis=0) for part in seen]
    found, ceiling = (float(one.mean()) for one in covers)
    variance = sum(_jackknife(1 - ((part & (part.sum(axis=0) == 1)).sum(axis=1)) / len(columns)) for part in seen)
    groups = _groups(base.shape[0], rng, count)
    less = rows[columns][None, :] - np.asarray(_sums(stood[:, columns], groups, count).todense())
    gap = covers[1].astype(np.float64) - covers[0]
    stays = less >= TWICE
    variance += _jackknife((stays @ gap) / np.maximum(1, stays.sum(axis=1)))
    se = max(math.sqrt(variance), 1.5 / len(order))
    gone = [int(column) for column in columns[np.flatnonzero(~covers[0] & covers[1])]]
    gone.sort(key=lambda column: (-rows[column], names[column]))
    test = one_sided_test(ceiling - found, se, count - 1, limit=gate[0], effect=gate[1])
    return Known(found, ceiling, se, tokens, len(columns), test, tuple(names[column] for column in gone[:20]))


def _first_tokens(matrix: Any, tokens: int) -> Any:
    """The first rows that have so many words together."""
    running = np.cumsum(np.asarray(matrix.sum(axis=1)).ravel())
    return matrix[: int(np.searchsorted(running, tokens, side="left")) + 1]


def _coverage(pair: Pair, measured: dict[str, tuple[Known, Shares]], limit: float) -> Check:
    worst = max(measured, key=lambda name: measured[name][0].ceiling - measured[name][0].found)
    known = measured[worst][0]
    gap = known.ceiling - known.found
    told = ", ".join(f"“{word}”" for word in known.missing[:8])
    bars = {
        "dataset": [one.found for one, _ in measured.values()],
        "reference": [one.ceiling for one, _ in measured.values()],
    }
    return Check(
        "fidelity.vocabulary",
        gap,
        subject="coverage",
        interval=normal_interval(gap, known.se, -1.0, 1.0),
        n=len(pair.dataset),
        gate=f"at most {percent(limit, 0)} fewer of the real vocabulary's words than other real rows have",
        tests=len(measured),
        test=worst_of([one.test for one, _ in measured.values()]),
        sentence=(
            f"Of {known.vocabulary:,} words that real rows repeat in `{worst}`, {percent(known.found)} stand in the "
            f"dataset; in as many words of other real rows {percent(known.ceiling)} do."
        ),
        advice="vary topics and wording: more axes, real rows as examples, a higher temperature"
        + (f"; missing are {told}" if told else ""),
        method=(
            f"vocabulary of half of the reference; {known.tokens:,} words on each side; jackknife over groups of rows"
        ),
        details={
            "missing": {name: list(one.missing) for name, (one, _) in measured.items()},
            "plots": [
                {
                    "kind": "bars", "title": "Share of the real vocabulary that is used, at equal numbers of words",
                    "labels": list(measured), "series": bars, "y_label": "share of words",
                }
            ],
        },
    )  # fmt: skip


def _divergence(pair: Pair, words: Words, measured: dict[str, tuple[Known, Shares]], limit: float) -> Check:
    worst = max(measured, key=lambda name: measured[name][1].value)
    shares = measured[worst][1]
    over, under = _most_different(words, worst)
    return Check(
        "fidelity.vocabulary",
        shares.value,
        subject="shares",
        interval=normal_interval(shares.plain - shares.chance, shares.se, 0.0, 1.0),
        n=len(pair.dataset),
        gate=f"words' shares diverge by at most {limit:g} bits beyond chance",
        tests=len(measured),
        test=worst_of([one.test for _, one in measured.values()]),
        sentence=(
            f"The shares of words in `{worst}` lie {shares.plain:.3f} bits apart (0: alike, 1: no word in common); "
            f"rows of both sides dealt at random lie {shares.chance:.3f} apart."
        ),
        advice=f"used too often: {', '.join(over[:6])}; too rarely: {', '.join(under[:6])}",
        method=(
            f"Jensen-Shannon divergence of the {TOP:,} commonest words and the rest, against {EXCHANGES} exchanges of "
            "groups of rows"
        ),
        details={
            "bits": {name: {"plain": one.plain, "chance": one.chance} for name, (_, one) in measured.items()},
            "used more": over,
            "used less": under,
        },
    )


def _most_different(words: Words, name: str) -> tuple[list[str], list[str]]:
    """Words that the dataset uses more, and less, by what they add to the divergence."""
    here, there = (np.asarray(side.sum(axis=0)).ravel().astype(np.float64) for side in words.of(name))
    p, q = here / here.sum(), there / there.sum()
    middle = (p + q) / 2
    ratio = np.log2(np.where(p > 0, p, 1) / np.where(middle > 0, middle, 1)) * p
    other = np.log2(np.where(q > 0, q, 1) / np.where(middle > 0, middle, 1)) * q
    size = (ratio + other) * np.sign(p - q)
    order = np.argsort(-size, kind="stable")
    over = [words.names[at] for at in order[:15] if size[at] > 0]
    under = [words.names[at] for at in order[::-1][:15] if size[at] < 0]
    return over, under
