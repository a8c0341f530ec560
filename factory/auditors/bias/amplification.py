"""`bias.amplification`: ties that real data have, and that are stronger (or weaker) here.

    A = mean over pairs (g, t) over-associated in real data of  p(g | t) here − p(g | t) there,

and, as Wang and Russakovsky (2021) have it, BiasAmp→ = mean over all pairs of that difference, its sign turned where
the pair is not over-associated. Pairs chosen by the same rows that they are then measured on would show a weaker tie
here by regression to the mean alone. So the reference is cut in halves: pairs are chosen on one, measured on the other,
and both ways are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.pairs import Shares, count_shares
from factory.auditors.bias.telling import cannot_tell, excerpts, pick, points
from factory.auditors.bias.views import TERM, WORD, View, language_of, look
from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.auditors.statistics import Z95, two_sided
from factory.errors import UsageError
from factory.types import Check

NAME = "bias.amplification"
FEWEST = 20
"""Rows with a term and a group, here and in each half of the reference, below which the term is left out."""
FEWEST_TERMS = 3
SURELY = 1.0
"""Standard errors by which p(g | t) must be over p(g) on the half that chooses, else chance would choose many."""
SHOWN = 20
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Rows that are measured: their terms (0/1), groups, clusters, and counts."""

    terms: Any
    only: NDArray[np.intp]
    clusters: NDArray[np.intp] | None
    shares: Shares

    def variance(self, weights: Floats) -> float:
        """Of the sum of `weights` [groups, terms] times p(group | term), over clusters, to first order."""
        rows = np.maximum(self.shares.rows, 2.0)
        centred = weights - (weights * self.shares.share).sum(axis=0)
        moves = centred / np.sqrt(rows * (rows - 1.0))
        held = np.flatnonzero(self.only >= 0)
        each = np.asarray(self.terms[held] @ moves.T)[np.arange(len(held)), self.only[held]]
        if self.clusters is not None:
            each = np.bincount(self.clusters[held], weights=each)
        return float((each**2).sum())


@dataclass(frozen=True)
class Amplified:
    """`value` and `se` of A; `directed`: BiasAmp→ with its standard error; `chosen` [groups, terms]: on both halves."""

    value: float
    se: float
    directed: tuple[float, float]
    chosen: NDArray[np.bool_]
    terms: NDArray[np.intp]
    pairs: float


def amplification(
    dataset: Data,
    reference: Data | None,
    groupings: Sequence[Grouping],
    reference_groupings: Sequence[Grouping | None] | None,
    context: AuditContext,
    *,
    limit: float = 0.02,
    effect: float | None = None,
) -> list[Check]:
    """One check for each grouping. `limit`: of |A|; `effect`: what must not go unseen (.03 more). Raises UsageError."""
    effect = limit + 0.03 if effect is None else effect
    if not 0 <= limit < effect or limit > 1:
        raise UsageError(
            f"`limit` {limit} and `effect` {effect}", "differences of shares: 0 ≤ limit ≤ 1, limit < effect"
        )
    if reference is None:
        sentence = "Whether ties between groups and terms are stronger here than in real data takes real data."
        return [Check(NAME, None, n=len(dataset), sentence=sentence, advice="give real rows: `--reference FILE`")]
    chosen, left_out = pick(groupings, reference_groupings)
    checks: list[Check] = []
    for place, (grouping, there) in enumerate(chosen):
        context.progress(f"{NAME}: {grouping.axis}", place / len(chosen))
        view, real = look(dataset, grouping, language_of(grouping, groupings, context), reference, there)
        checks.append(_check(view, real, limit, effect, context))
    if left_out or not chosen:
        checks.append(cannot_tell(NAME, left_out, dataset))
    return checks


def _check(view: View, real: View | None, limit: float, effect: float, context: AuditContext) -> Check:
    axis = view.grouping.axis
    gate = f"ties of the reference are at most {points(limit)} stronger or weaker here"
    found = None if real is None else measure(view, real, context.rng(NAME, axis))
    if real is None or found is None:
        why = (
            f"the reference has no {axis}"
            if real is None
            else f"fewer than {FEWEST_TERMS} terms stand in {FEWEST} rows with one group here, and in each half of it"
        )
        sentence = f"Ties of {axis} cannot be compared: {why}."
        return Check(
            NAME,
            None,
            n=view.rows,
            subject=axis,
            gate=gate,
            sentence=sentence,
            advice="give more rows, of the dataset or of the reference",
        )
    low, high = found.value - Z95 * found.se, found.value + Z95 * found.se
    more = "more" if found.value >= 0 else "less"
    sentence = (
        f"Where a term goes with a group of {axis} in the reference, it does so {points(found.value)} {more} here "
        f"({100 * low:+.1f} to {100 * high:+.1f} points; mean of {found.pairs:g} pairs of {len(found.terms):,} terms)."
    )
    details, pairs = _details(view, real, found, limit)
    return Check(
        NAME,
        found.value,
        (low, high),
        n=view.rows,
        subject=axis,
        gate=gate,
        sentence=sentence,
        advice="draw the group in the recipe by an axis of its own, and say in the prompt that the text must keep it",
        method=(
            "pairs chosen on one half of the reference and measured on the other, both ways; variance by row; "
            f"BiasAmp→ after Wang and Russakovsky 2021; {view.lexicon}; {view.grouping.source}"
        ),
        evidence=excerpts(view, pairs),
        details=details,
        tests=1,
        test=two_sided(found.value, found.se, limit=limit, effect=effect),
    )


def measure(view: View, real: View, rng: np.random.Generator) -> Amplified | None:
    """A and BiasAmp→ with standard errors; None where too few terms have enough rows."""
    columns = np.flatnonzero(view.kinds == TERM)
    if not len(columns):
        columns = np.flatnonzero(view.kinds == WORD)
    half = _halves(real, rng)
    here = _sample(view, columns, None)
    one, other = _sample(real, columns, half), _sample(real, columns, ~half)
    enough = (
        np.min([sample.shares.rows for sample in (here, one, other)], axis=0) >= FEWEST if len(columns) else columns
    )
    terms = columns[enough] if len(columns) else columns
    if len(terms) < FEWEST_TERMS:
        return None
    here, one, other = _sample(view, terms, None), _sample(real, terms, half), _sample(real, terms, ~half)
    over = [_over(sample.shares, SURELY) for sample in (one, other)]
    if not all(some.any() for some in over):
        return None
    value, se = _crossed(here, (other, one), [some / some.sum() for some in over], _together(over, 0.74, 0.16))
    tied = [_over(sample.shares, 0.0) for sample in (one, other)]
    signs = [np.where(some, 1.0, -1.0) / some.size for some in tied]
    directed = _crossed(here, (other, one), signs, _together(tied, 0.64, 0.5))
    return Amplified(
        value,
        se,
        directed,
        over[0] & over[1],
        terms,
        float(np.mean([some.sum() for some in over])),
    )


def _over(shares: Shares, surely: float) -> NDArray[np.bool_]:
    """[groups, terms]: where p(g | t) is over p(g), by so many standard errors."""
    share, var = shares.smoothed()
    expected = shares.of_all[:, None]
    if surely <= 0:
        return shares.share > expected
    return (share - expected > surely * np.sqrt(var)) & (shares.share > expected)


def _together(over: Sequence[NDArray[np.bool_]], most: float, by_chance: float) -> float:
    """How far the errors of the two ways go together, as each half chooses the pairs for the other.

    `most` is the correlation where nothing is a tie and chance chooses: (E[s·Z])²/E[s²] of a standard normal Z and the
    sign s that its choice gives. Then `by_chance` of the pairs chosen on a half are chosen on the other as well; with
    true ties all are, and the errors are independent. Between the two the correlation falls in a straight line.
    """
    both, one, other = (int(np.count_nonzero(some)) for some in (over[0] & over[1], *over))
    agree = 2 * both / max(1, one + other)
    return most * min(1.0, (1.0 - agree) / (1.0 - by_chance))


def _crossed(
    here: Sample, measured: Sequence[Sample], weights: Sequence[Floats], together: float
) -> tuple[float, float]:
    """Both ways averaged, with the standard error. `weights` of each way come from the half that is not measured."""
    values = [
        float((weight * (here.shares.share - sample.shares.share)).sum())
        for sample, weight in zip(measured, weights, strict=True)
    ]
    one, other = (sample.variance(weight) for sample, weight in zip(measured, weights, strict=True))
    there = (one + other + 2 * together * math.sqrt(one * other)) / 4
    return float(np.mean(values)), math.sqrt(here.variance(np.mean(weights, axis=0)) + there)


def _halves(view: View, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Half of the rows, what was made together on one side."""
    clusters = np.arange(len(view.data)) if view.clusters is None else view.clusters
    count = int(clusters.max()) + 1 if len(clusters) else 0
    marked = np.zeros(count, dtype=np.bool_)
    marked[rng.permutation(count)[: count // 2]] = True
    return marked[clusters]


def _sample(view: View, columns: NDArray[np.intp], rows: NDArray[np.bool_] | None) -> Sample:
    only = view.only if rows is None else np.where(rows, view.only, -1)
    terms = view.terms[:, columns]
    terms.data = np.minimum(terms.data, 1.0)
    return Sample(terms, only, view.clusters, count_shares(terms, only, len(view.grouping.names)))


def _details(view: View, real: View, found: Amplified, limit: float) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """The chosen pairs by how much they differ, as a table and a forest plot; and those that grew most."""
    here, there = (_sample(one, found.terms, None).shares for one in (view, real))
    group, term = np.nonzero(found.chosen)
    (one, var), (other, other_var) = here.smoothed(), there.smoothed()
    difference, half = (one - other)[group, term], Z95 * np.sqrt(var + other_var)[group, term]
    order = np.argsort(-difference * np.sign(found.value or 1.0), kind="stable")
    rows, forest, pairs = [], [], []
    for at in order[:SHOWN].tolist():
        place = (int(group[at]), int(term[at]))
        name, of = view.names[found.terms[place[1]]], view.grouping.names[place[0]]
        ends = [round(float(difference[at] + sign * half[at]), 4) for sign in (0, -1, 1)]
        rows.append([name, of, round(float(here.share[place]), 4), round(float(there.share[place]), 4), *ends])
        forest.append({"label": f"{name}: {of}", "value": ends[0], "low": ends[1], "high": ends[2]})
        pairs.append((name, place[0]))
    title = f"Pairs over-associated in the reference: {view.grouping.axis}"
    value, se = found.directed
    details = {
        "biasamp": value,
        "biasamp_interval": [value - Z95 * se, value + Z95 * se],
        "pairs": found.pairs,
        "terms": len(found.terms),
        "tables": [
            {
                "title": title,
                "header": ["term", "group", "share", "reference", "difference", "low", "high"],
                "rows": rows,
            }
        ],
        "plots": [
            {
                "kind": "forest",
                "title": title,
                "rows": forest,
                "limit": [-limit, limit],
                "x_label": "difference of shares",
            }
        ],
    }
    return details, pairs[:4]
