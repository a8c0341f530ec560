"""Totals: the weighted mean of a candidate's values, as they are, scaled by range, or as ranks within the row."""

from __future__ import annotations

from collections.abc import Sequence

from factory.scoring.compiled import Scorer, Scorers
from factory.types import Candidate, Score, Scored

Column = list[Score | None]
"""One scorer's scores of the candidates, in their order; None where it did not run."""


def add_up(scorers: Scorers, candidates: Sequence[Candidate], columns: Sequence[Column]) -> list[Scored]:
    """Every candidate with its scores in the recipe's order and their weighted mean (0 without any weight).

    `columns`: by scorer, in the recipe's order. A weighted score that is missing vetoes its candidate (the column is
    changed). `values`: raw, a scorer whose lower values are better counts negatively. `scaled`: (value − low) /
    (high − low) of the documented range, 1 the better end. `ranks`: the share of the row's other candidates, among
    those in play, that the value beats, a tie counting half; 1 for one alone.
    """
    weighted = [(scorer, column) for scorer, column in zip(scorers.scorers, columns, strict=True) if scorer.weight]
    for scorer, column in weighted:
        _veto_missing(scorer, column)
    told: list[tuple[Score, ...]] = list(zip(*columns, strict=True))
    if any(scorer.traits.expense != "rule" for scorer in scorers.scorers):  # rules run on every candidate
        told = [tuple([given for given in row if given is not None]) for row in told]
    if not weighted:
        return [Scored(candidate, row) for candidate, row in zip(candidates, told, strict=True)]
    playing = []
    if scorers.combine == "ranks":
        playing = [not any(given.vetoed for given in row) for row in told]
    sums = [0.0] * len(candidates)
    weights = [0.0] * len(candidates)
    for scorer, column in weighted:
        weight = scorer.weight
        for k, point in enumerate(_points(scorers, scorer, column, playing)):
            if point is not None:
                sums[k] += weight * point
                weights[k] += weight
    return [
        Scored(candidate, row, total / weight if weight else 0.0)
        for candidate, row, total, weight in zip(candidates, told, sums, weights, strict=True)
    ]


def _veto_missing(scorer: Scorer, column: Column) -> None:
    for k, given in enumerate(column):
        if given is not None and given.value is None and not given.vetoed:
            reason = f"score {scorer.name} is missing" + (f" ({given.reason})" if given.reason else "")
            column[k] = Score(scorer.name, None, reason, vetoed=True)


def _points(scorers: Scorers, scorer: Scorer, column: Column, playing: Sequence[bool]) -> list[float | None]:
    """What the scorer's value adds to each candidate's mean; None where there is no value."""
    traits = scorer.traits
    values = [None if given is None else given.value for given in column]
    if scorers.combine == "ranks":
        return _ranks(values, playing, lower=traits.better == "lower")
    sign = -1.0 if traits.better == "lower" else 1.0
    if scorers.combine == "values":
        return values if sign > 0 else [None if value is None else -value for value in values]
    low, high = traits.low or 0.0, traits.high if traits.high is not None else 1.0
    better, worse = (low, high) if sign < 0 else (high, low)
    return [None if value is None else min(1.0, max(0.0, (value - worse) / (better - worse))) for value in values]


def _ranks(values: Sequence[float | None], playing: Sequence[bool], *, lower: bool) -> list[float | None]:
    """The share of the other candidates in play that each value beats, ties counting half."""
    pool = [value for value, plays in zip(values, playing, strict=True) if plays and value is not None]
    found: list[float | None] = []
    for value, plays in zip(values, playing, strict=True):
        if value is None:
            found.append(None)
            continue
        others = len(pool) - (1 if plays else 0)
        beaten = sum(other > value if lower else other < value for other in pool)
        tied = sum(other == value for other in pool) - (1 if plays else 0)
        found.append((beaten + tied / 2) / others if others else 1.0)
    return found
