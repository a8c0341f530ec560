"""Terms that a recipe declares neutral ought to go with no group: the ratio of odds with a term to odds without it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.families import Families
from factory.auditors.bias.pairs import FEWEST, Shares, within
from factory.auditors.bias.telling import excerpts, share
from factory.auditors.bias.terms import choose_neutral
from factory.auditors.bias.ties import Ties, tell_ties
from factory.auditors.bias.views import View
from factory.auditors.statistics import POWER, z_quantile
from factory.types import Check, Test

Floats = NDArray[np.float64]
SHOWN = 20


def check_neutral(
    name: str, view: View, neutral: Sequence[str], ratio: float, effect: float, ties: Ties
) -> list[Check]:
    """One check, or none where nothing is declared. Raises UsageError for a category that does not exist."""
    categories = choose_neutral(view.language, neutral)
    if not neutral:
        return []
    shares = view.shares()
    group, term = np.nonzero(_looked_at(shares, np.isin(view.fields, sorted(categories)) & view.apart))
    told = f"{view.grouping.axis}, declared neutral: {', '.join(neutral)}"
    gate = f"no group has more than {ratio:g} times the odds with a neutral term that it has without it"
    method = f"ratio of odds of a group in rows with and without a term, by row; {view.lexicon}; {view.grouping.source}"
    base = Check(name, None, n=view.rows, subject=told, gate=gate, method=method)
    if not len(group):
        sentence = f"No term of {', '.join(neutral)} stands in {FEWEST} rows that speak of one group."
        return [replace(base, sentence=sentence, advice="give more rows")]
    return [_judge(base, view, _odds(shares, group, term), Allowed(ratio, effect), ties)]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Ratios of odds: what the gate allows, and what must not go unseen."""

    ratio: float
    effect: float


@dataclass(frozen=True)
class Odds:
    """Pairs of a group and a term: log ratio of the odds with the term to those without it. All arrays are [pairs]."""

    group: NDArray[np.intp]
    term: NDArray[np.intp]
    log_ratio: Floats
    se: Floats
    share: Floats
    without: Floats
    rows: Floats

    def detectable(self, levels: Floats, limit: float) -> Floats:
        """The ratio of each that is found with a power of .8 where its p is compared with a level of its own."""
        from scipy.special import ndtri

        found: Floats = np.exp(np.log(limit) + (ndtri(1 - levels / 2) + z_quantile(POWER)) * self.se)
        return found


def _looked_at(shares: Shares, neutral: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pairs of neutral terms with enough rows, with and without; of two groups the first alone."""
    groups = len(shares.sizes)
    found = np.zeros(shares.hits.shape, dtype=np.bool_)
    enough = (shares.rows >= FEWEST) & (shares.sizes.sum() - shares.rows >= FEWEST)
    found[: 1 if groups == 2 else groups] = enough & neutral
    found[shares.sizes == 0] = False
    return found


def _odds(shares: Shares, group: NDArray[np.intp], term: NDArray[np.intp]) -> Odds:
    """With a half added to each count (Haldane 1955), so that none is 0. Of two groups, of the one that has more."""
    hits, rows = shares.hits[group, term], shares.rows[term]
    others, left = shares.sizes[group] - hits, shares.sizes.sum() - rows
    cells = [one + 0.5 for one in (hits, rows - hits, others, left - others)]
    log_ratio = np.log(cells[0] / cells[1]) - np.log(cells[2] / cells[3])
    se = np.sqrt(shares.spread[group, term] * sum(1.0 / cell for cell in cells))
    share_with, without = hits / rows, others / left
    if len(shares.sizes) == 2:
        turned = log_ratio < 0
        group = np.where(turned, 1 - group, group)
        log_ratio = np.abs(log_ratio)
        share_with, without = (np.where(turned, 1.0 - one, one) for one in (share_with, without))
    return Odds(group, term, log_ratio, se, share_with, without, np.minimum(rows, left))


def _judge(base: Check, view: View, odds: Odds, allowed: Allowed, ties: Ties) -> Check:
    families = Families(view.kinds[odds.term])
    size = np.abs(odds.log_ratio)
    adjusted = families.adjust(within(size, odds.se, math.log(allowed.ratio)))
    surely = size / odds.se
    worst = int(np.argmin(adjusted)) if adjusted.min() < 0.5 else int(np.argmax(surely))
    half = z_quantile(1 - 0.025 / len(size)) * odds.se
    test = Test(
        float(adjusted.min()),
        allowed.effect,
        lambda alpha: families.typical(lambda levels: odds.detectable(levels, allowed.ratio), alpha, odds.rows),
    )
    term, group = view.names[odds.term[worst]], view.grouping.names[odds.group[worst]]
    low, high = (float(np.exp(size[worst] + sign * half[worst])) for sign in (-1, 1))
    value = float(np.exp(size[worst]))
    more = "" if odds.log_ratio[worst] >= 0 else " less"
    beyond = int(np.count_nonzero(size - half > np.log(allowed.ratio)))
    sentence = (
        f"Of the rows with '{term}' that speak of one group of {view.grouping.axis}, {share(odds.share[worst])} speak "
        f"of {group}; of those without it {share(odds.without[worst])}: {value:.2f} times{more} the odds ({low:.2f} to "
        f"{high:.2f}). "
        f"Of {len(size):,} pairs of a group and a neutral term {beyond:,} are surely beyond {allowed.ratio:g}."
    )
    order = np.argsort(-surely, kind="stable")[:SHOWN].tolist()
    return replace(
        base,
        value=value,
        interval=(low, high),
        sentence=sentence,
        advice="vary the group as an axis of its own in the recipe, so that it is drawn independently of these terms",
        evidence=excerpts(view, [(view.names[odds.term[at]], int(odds.group[at])) for at in [worst, *order[:3]]]),
        details=_details(view, odds, half, order, allowed.ratio, ties),
        tests=len(size) + ties.tests,
        test=test,
    )


def _details(view: View, odds: Odds, half: Floats, order: Sequence[int], limit: float, ties: Ties) -> dict[str, Any]:
    rows, forest = [], []
    for at in order:
        term, group = view.names[odds.term[at]], view.grouping.names[odds.group[at]]
        value, low, high = (float(np.exp(odds.log_ratio[at] + sign * half[at])) for sign in (0, -1, 1))
        forest.append({"label": f"{term}: {group}", "value": value, "low": low, "high": high})
        shares = [round(float(one[at]), 4) for one in (odds.share, odds.without)]
        rows.append([term, group, *shares, round(value, 3), round(low, 3), round(high, 3), int(odds.rows[at])])
    header = ["term", "group", "share with it", "share without", "ratio of odds", "low", "high", "rows"]
    title = f"Neutral terms and {view.grouping.axis}"
    told = tell_ties(view, ties)
    plot = {
        "kind": "forest",
        "title": title,
        "rows": forest,
        "limit": [1 / limit, limit],
        "x_label": "ratio of odds",
        "scale": "log",
    }
    return {
        "tables": [{"title": title, "header": header, "rows": rows}, *told["tables"]],
        "plots": [plot, *told["plots"]],
    }
