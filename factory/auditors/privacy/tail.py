"""`privacy.tail`: whether the rows that come nearest to real rows come nearest to members.

For each row its nearest real row is looked for among members and holdout together. Where nothing was copied, it is a
member with the probability that any real row is one, whatever the rows are like; copies have their member. What is
asked is asked of the rows in the tail alone: those that repeat a real row, and the nearest 2, 4 and 16 %. After the
holdout-calibrated counts of "The DCR Delusion" (arXiv 2505.01524), made exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.privacy.distances import METHOD
from factory.auditors.privacy.exact import detectable, signs_p
from factory.auditors.privacy.real import MOST, Real, Side
from factory.minhash import Ints
from factory.types import Check, Evidence, Test

NAME = "privacy.tail"
SHARES = (0.02, 0.04, 0.16)
LEVELS = (0.2, 0.05, 0.6, 0.1, 0.05)
"""How the level is split between the tails, in order: the most to the one that shows paraphrases."""
SHOWN = 20
EFFECT = 0.01
EDGES = tuple(round(step / 20, 2) for step in range(21))


@dataclass(frozen=True)
class Tail:
    """Some of the rows, nearest first, and the real row that each comes nearest to."""

    name: str
    rows: Ints
    places: Ints
    side: Side

    @property
    def weights(self) -> Ints:
        """How many of the rows hang on each real row."""
        found: Ints = np.bincount(self.places, minlength=len(self.side.texts))
        return found

    @property
    def copies(self) -> int:
        """How many come nearest to a member."""
        return int(np.count_nonzero(self.side.members[self.places]))

    @property
    def excess(self) -> float:
        """How many more than chance explains: (members − share · rows) / (1 − share)."""
        share = self.side.share
        return (self.copies - share * len(self.rows)) / (1 - share)

    def p(self, allowed: int) -> float:
        """That so many come nearest to members, where at most `allowed` are copies."""
        return signs_p(self.weights, self.side.members, self.side.share, allowed)

    def background(self) -> int:
        """Rows that fall by chance, for the power to be expected: twice the holdout's where there are as many members.
        What hangs on one real row weighs by its square."""
        others = self.weights[~self.side.members]
        heavier = float((others**2).sum() / others.sum()) if others.sum() else 1.0
        return math.ceil(float(others.sum()) / (1 - self.side.share) * heavier)


def tail(real: Real, *, limit: float) -> Check:
    """How large a share of the rows are copies of members, light paraphrases included; at most `limit` may be."""
    n = len(real.dataset)
    order = nearest_first(real)
    tails = [_repeated(real.identical, real.pool, "word for word"), _repeated(real.same_words, real.pool, "same words")]
    tails += [_nearest(real, order, share) for share in SHARES]
    allowed = math.floor(limit * n)
    ps = [one.p(allowed) for one in tails]
    first = tails[2]
    effect = max(EFFECT, limit + EFFECT)

    def mde_at(alpha: float) -> float:
        found = [
            detectable(one.background(), one.side.share, allowed, alpha * level, n)
            for one, level in zip(tails, LEVELS, strict=True)
        ]
        return min(1.0, min(found) / n)

    value = first.excess / n
    p = min(1.0, *(one / level for one, level in zip(ps, LEVELS, strict=True)))
    test = Test(p, effect, mde_at)
    return Check(
        NAME,
        value,
        interval=_interval(first, n),
        n=n,
        gate=f"at most {100 * limit:.4g} % of the rows are copies of members",
        sentence=_sentence(real, tails, value, n),
        evidence=_evidence(real, tails),
        details=_details(real, tails, ps),
        method=_method(real),
        advice=ADVICE,
        tests=len(tails),
        test=test,
    )


ADVICE = (
    "look at the pairs; raise the temperature, show the model fewer or shorter source rows, ask for other names and "
    "figures, and drop what comes too near with `filter: [novelty: …]` or `dedup` against the source"
)


def nearest_first(real: Real) -> Ints:
    """Rows by how much a real row stands out as their source: its cosine, and how far it is ahead of the next one."""
    found = real.compared.rows
    there = np.flatnonzero(found.places >= 0)
    score = 2 * found.first[there] - found.second[there]
    ordered: Ints = there[np.argsort(-score, kind="stable")]
    return ordered


def _repeated(places: Ints, side: Side, name: str) -> Tail:
    rows = np.flatnonzero(places >= 0)
    return Tail(name, rows, places[rows], side)


def _nearest(real: Real, order: Ints, share: float) -> Tail:
    rows = order[: max(1, math.ceil(share * len(real.dataset)))]
    return Tail(f"nearest {share:.0%}", rows, real.compared.rows.places[rows], real.sample)


def _interval(tail: Tail, n: int) -> tuple[float, float]:
    """Jeffreys' interval of the members' share in the tail, of as many rows as hang on different real rows."""
    from scipy.special import betaincinv

    weights = tail.weights
    if not len(tail.rows):
        return -1 / n, 1 / n
    alone = weights.sum() ** 2 / (weights**2).sum()
    hits = tail.copies / len(tail.rows) * alone
    ends = betaincinv(hits + 0.5, alone - hits + 0.5, np.array([0.025, 0.975]))
    share = tail.side.share
    ends = np.where([tail.copies == 0, tail.copies == len(tail.rows)], [0.0, 1.0], ends)
    low, high = ((ends - share) / (1 - share) * len(tail.rows) / n).tolist()
    return float(low), float(high)


def _sentence(real: Real, tails: Sequence[Tail], value: float, n: int) -> str:
    first = tails[2]
    count, by_chance = len(first.rows), first.side.share * len(first.rows)
    low, high = _interval(first, n)
    told = (
        f"Of the {count:,} rows that come nearest to real ones, {first.copies:,} come nearest to a member; by chance "
        f"it would be {by_chance:,.0f}. So about {max(0.0, value):.2%} of all {n:,} rows ({max(0.0, low):.2%} to "
        f"{max(0.0, high):.2%}) are copies"
    )
    told += ", or more: nearly all of these are." if first.copies > 0.9 * count else "."
    same = tails[1]
    if len(same.rows):
        told += (
            f" {same.copies:,} rows repeat a member in the same words, {len(same.rows) - same.copies:,} a row of the "
            "holdout."
        )
    return told


def _evidence(real: Real, tails: Sequence[Tail]) -> tuple[Evidence, ...]:
    """The rows nearest to a member, what is the same word for word first."""
    shown: dict[int, Evidence] = {}
    for tail in (tails[0], tails[1], tails[-1]):
        for row, place in zip(tail.rows.tolist(), tail.places.tolist(), strict=True):
            if len(shown) >= SHOWN:
                break
            if row in shown or not tail.side.members[place]:
                continue
            cosine = 1.0 if tail in tails[:2] else float(real.compared.rows.first[row])
            how = tail.name if tail in tails[:2] else "near"
            shown[row] = real.evidence(row, tail.side, place, similarity=round(cosine, 3), how=how)
    return tuple(shown.values())


def _details(real: Real, tails: Sequence[Tail], ps: Sequence[float]) -> dict[str, Any]:
    rows = [
        [one.name, len(one.rows), one.copies, len(one.rows) - one.copies, round(one.excess, 1), float(f"{p:.3g}")]
        for one, p in zip(tails, ps, strict=True)
    ]
    members, others = real.sample.sizes
    header = ["rows", "how many", "nearest to a member", "to the holdout", "beyond chance", "p"]
    return {
        "tails": {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows},
        "tables": [{"title": "Rows that come nearest to real ones", "header": header, "rows": rows}],
        "plots": [_histogram(real)],
        "members": members,
        "holdout": others,
        "expected_share": round(real.sample.share, 4),
    }


def _histogram(real: Real) -> dict[str, Any]:
    """Distances of the rows to their nearest real row, by whose it is; equal heights where nothing is copied (as many
    members as rows of the holdout given)."""
    found = real.compared.rows
    member = np.zeros(len(found.places), dtype=bool)
    there = found.places >= 0
    member[there] = real.sample.members[found.places[there]]
    share = real.sample.share

    def counted(chosen: NDArray[np.bool_], of: float) -> list[float]:
        counts = np.histogram(1 - found.first[chosen], EDGES)[0] / (of * max(1, len(found.places)))
        return [round(float(one), 5) for one in counts]

    series = {"a member": counted(there & member, share), "a row of the holdout": counted(there & ~member, 1 - share)}
    title = "Distance of each row to its nearest real row, by whose that is"
    return {"kind": "histogram", "title": title, "edges": list(EDGES), "series": series, "x_label": "1 − cosine"}


def _method(real: Real) -> str:
    members, others = real.sample.sizes
    told = f"nearest of {members:,} members and {others:,} rows of the holdout by {METHOD}; exact test by exchange"
    if sum(real.pool.sizes) > len(real.sample.texts):
        told += f"; more than {MOST:,} of either are compared in wording alone"
    return told
