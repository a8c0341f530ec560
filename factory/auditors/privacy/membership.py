"""`privacy.membership`: whether the rows tell who was a member.

The attack knows the dataset and other real rows: a real row is the more suspect the nearer the dataset comes to it, in
relation to how near other real rows come (a reference, as in the attacks of Carlini et al. 2022, arXiv 2112.03570; the
bare distance says little, "The DCR Delusion", arXiv 2505.01524). It is told by the share of members that are recognised
where one row of the holdout in a hundred is suspected, and by the area under the ROC curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.privacy.distances import METHOD
from factory.auditors.privacy.exact import Floats, above_p, least_rejected
from factory.auditors.privacy.real import Real
from factory.auditors.statistics import POWER, Z95, z_test
from factory.types import Check, Evidence, Test

NAME = "privacy.membership"
FPR = 0.01
EFFECT = 0.03
"""Beyond its limit, what must not go unseen of the members recognised; of the area under the curve."""
AUC_EFFECT = 0.05
SOFT = 0.02
"""Added to distances, so that of two that are nearly 0 neither is many times the other."""
SHOWN = 20


@dataclass(frozen=True)
class Attack:
    """Suspicion of members and of the holdout, ascending each; `order`: the pool's members, the most suspect first."""

    members: Floats
    holdout: Floats
    order: NDArray[np.int64]

    @property
    def rank(self) -> int:
        """The holdout's so many most suspect rows are one in a hundred of it."""
        return max(1, math.floor(FPR * len(self.holdout)))

    def above(self, rank: int) -> int:
        """Members more suspect than the `rank`-th of the holdout."""
        return int(len(self.members) - np.searchsorted(self.members, self.holdout[-rank], side="right"))

    def curve(self, ranks: NDArray[np.int64]) -> Floats:
        """The share of members more suspect than the holdout's `ranks`-th rows."""
        after = np.searchsorted(self.members, self.holdout[len(self.holdout) - ranks], side="right")
        return 1 - after / len(self.members)


def attack(real: Real, rng: np.random.Generator) -> Attack:
    """Suspicion: how much nearer the dataset comes to a row than its nearest other real row. Chance decides ties."""
    found = real.compared
    suspicion = np.log((1 + SOFT - found.own.first) / (1 + SOFT - found.back.first))
    order = np.lexsort((rng.random(len(suspicion)), suspicion))
    ranks = np.empty(len(order))
    ranks[order] = np.arange(len(order))
    members = np.flatnonzero(real.sample.members)
    return Attack(
        np.sort(ranks[real.sample.members]),
        np.sort(ranks[~real.sample.members]),
        members[np.argsort(-ranks[members], kind="stable")],
    )


def membership(real: Real, rng: np.random.Generator, *, limit: float, auc_limit: float) -> list[Check]:
    """Two checks: the members recognised at 1 % false alarms, and the area under the ROC curve."""
    found = attack(real, rng)
    area, se = _auc(found)
    return [_recognised(real, found, limit, (area, se)), _area(real, found, (area, se), auc_limit)]


def _recognised(real: Real, found: Attack, limit: float, auc: tuple[float, float]) -> Check:
    n, m, rank = len(found.members), len(found.holdout), found.rank
    chance = rank / (m + 1)
    above = found.above(rank)
    allowed = max(0, math.floor((limit - chance) / (1 - chance) * n))
    value = above / n
    low, high = _interval(found)

    def mde_at(alpha: float) -> float:
        least = least_rejected(lambda count: above_p(count, n, m, rank, allowed), alpha, 0, n)
        likely = least_rejected(lambda count: above_p(count, n, m, rank), POWER, 0, n) - 1
        return min(1.0, (least - likely + chance * n) / n)

    return Check(
        NAME,
        value,
        interval=(low, high),
        n=n + m,
        gate=f"at most {limit:.0%} of the members are recognised where {chance:.1%} of strangers are suspected",
        sentence=(
            f"By their nearness to the dataset {above:,} of {n:,} members ({value:.1%}, {low:.1%} to {high:.1%}) are "
            f"recognised at a bar that {chance:.1%} of the holdout passes; who knows nothing recognises {chance:.1%}."
        ),
        subject="TPR at 1 % FPR",
        evidence=_evidence(real, found),
        details={
            "auc": round(auc[0], 4),
            "members": n,
            "holdout": m,
            "false_positive_rate": round(chance, 5),
            "advantage": round(value - chance, 5),
            "plots": [_plot(found)],
        },
        method=f"{METHOD}; distance to the nearest row of the dataset over that to the nearest other real row; exact",
        advice=ADVICE,
        tests=1,
        test=Test(above_p(above, n, m, rank, allowed), limit + EFFECT, mde_at),
    )


ADVICE = (
    "look at the members that are recognised: drop rows near to them, use more source rows with fewer rows made of "
    "each, and make sure that the holdout is drawn like the members (another time or place is recognised as well)"
)


def _interval(found: Attack) -> tuple[float, float]:
    """Of the share of members above the bar. Two parts, put together as by Newcombe: the share itself (Jeffreys), and
    the bar, set by a few rows of the holdout, times how steep the curve is there. Where fewer than five rows set it,
    the ratio of two counts (Jeffreys)."""
    from scipy.special import betaincinv

    ends = np.array([0.025, 0.975])
    n, m, rank = len(found.members), len(found.holdout), found.rank
    above, nominal = found.above(rank), rank / (m + 1)
    if rank < 5:
        odds = betaincinv(above + 0.5, float(rank), ends)
        low, high = (odds / (1 - odds) * (m / n) * nominal).tolist()
        return float(low), min(1.0, float(high))
    value = above / n
    low, high = betaincinv(above + 0.5, n - above + 0.5, ends).tolist()
    under, over = betaincinv(rank, m - rank + 1, ends).tolist()
    near, far = rank // 2, min(m, 2 * rank)
    steep = max(0.5, (found.above(far) - found.above(near)) / n * (m + 1) / (far - near))
    return (
        max(0.0, value - math.hypot(value - low, steep * (over - nominal))),
        min(1.0, value + math.hypot(high - value, steep * (nominal - under))),
    )


def _auc(found: Attack) -> tuple[float, float]:
    """The area under the ROC curve and its standard error (DeLong, DeLong and Clarke-Pearson 1988)."""
    n, m = len(found.members), len(found.holdout)
    beaten = np.searchsorted(found.holdout, found.members) / m
    beating = 1 - np.searchsorted(found.members, found.holdout) / n
    se = math.sqrt(float(beaten.var(ddof=1)) / n + float(beating.var(ddof=1)) / m)
    return float(beaten.mean()), se


def _area(real: Real, found: Attack, auc: tuple[float, float], limit: float) -> Check:
    area, se = auc
    low, high = max(0.0, area - Z95 * se), min(1.0, area + Z95 * se)
    return Check(
        NAME,
        area,
        interval=(low, high),
        n=len(found.members) + len(found.holdout),
        gate=f"an area under the ROC curve of at most {limit:.2f} (chance: 0.50)",
        sentence=(
            f"Of a member and a row of the holdout the dataset comes nearer to the member in {area:.1%} of the pairs "
            f"({low:.1%} to {high:.1%}); by chance it would in 50 %."
        ),
        subject="AUC",
        details={"standard_error": round(se, 5)},
        method="area under the ROC curve of the same attack, variance by DeLong; a small area proves nothing alone",
        advice=ADVICE,
        tests=1,
        test=z_test(area, se, limit=limit, effect=limit + AUC_EFFECT),
    )


def _evidence(real: Real, found: Attack) -> tuple[Evidence, ...]:
    """The most suspect members, each with the row of the dataset that gives it away."""
    shown = []
    for place in found.order[:SHOWN].tolist():
        row = int(real.compared.back.places[place])
        if row < 0:
            continue
        near, other = real.compared.back.first[place], real.compared.own.first[place]
        figures = {"similarity": round(float(near), 3), "to_other_real_rows": round(float(other), 3)}
        shown.append(real.evidence(row, real.sample, place, **figures))
    return tuple(shown)


def _plot(found: Attack) -> dict[str, Any]:
    m = len(found.holdout)
    ranks = np.unique(np.round(np.geomspace(1, m, 60)).astype(np.int64))
    x = [round(float(rank) / (m + 1), 5) for rank in ranks]
    recognised = [round(float(one), 5) for one in found.curve(ranks)]
    return {
        "kind": "curve",
        "title": "Members recognised, by how many of the holdout are suspected",
        "x": x,
        "series": {"attack": {"y": recognised}, "chance": {"y": x}},
        "x_label": "share of the holdout (false alarms)",
        "y_label": "share of the members",
    }
