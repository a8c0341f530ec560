"""Totals: the weighted mean of a candidate's values, as they are, scaled by range, or as ranks within the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from factory.scoring.compiled import Scorer, Scorers
from factory.types import Candidate, Score, Scored


def add_up(scorers: Scorers, candidates: Sequence[Candidate], table: Sequence[Mapping[str, Score]]) -> list[Scored]:
    """Every candidate with its scores in the recipe's order and their weighted mean (0 without any weight).

    A weighted score that is missing vetoes its candidate. `values`: raw, a scorer whose lower values are better counts
    negatively. `scaled`: (value − low) / (high − low) of the documented range, 1 the better end. `ranks`: the share of
    the row's other candidates, among those in play, that the value beats, a tie counting half; 1 for one alone.
    """
    rows = [_missing_vetoes(scorers, row) for row in table]
    weighted = [scorer for scorer in scorers.scorers if scorer.weight]
    points = {scorer.name: _points(scorers, scorer, rows) for scorer in weighted}
    made = []
    for k, (candidate, row) in enumerate(zip(candidates, rows, strict=True)):
        total = weights = 0.0
        for scorer in weighted:
            point = points[scorer.name][k]
            if point is not None:
                total += scorer.weight * point
                weights += scorer.weight
        told = tuple(row[scorer.name] for scorer in scorers.scorers if scorer.name in row)
        made.append(Scored(candidate, told, total / weights if weights else 0.0))
    return made


def _missing_vetoes(scorers: Scorers, row: Mapping[str, Score]) -> dict[str, Score]:
    found = dict(row)
    for scorer in scorers.scorers:
        given = found.get(scorer.name)
        if scorer.weight and given is not None and given.value is None and not given.vetoed:
            reason = f"score {scorer.name} is missing" + (f" ({given.reason})" if given.reason else "")
            found[scorer.name] = Score(scorer.name, None, reason, vetoed=True)
    return found


def _points(scorers: Scorers, scorer: Scorer, rows: Sequence[Mapping[str, Score]]) -> list[float | None]:
    """What the scorer's value adds to each candidate's mean; None where there is no value."""
    traits = scorer.traits
    values = [given.value if (given := row.get(scorer.name)) is not None else None for row in rows]
    if scorers.combine == "ranks":
        playing = [not any(given.vetoed for given in row.values()) for row in rows]
        return _ranks(values, playing, lower=traits.better == "lower")
    sign = -1.0 if traits.better == "lower" else 1.0
    if scorers.combine == "values":
        return [None if value is None else sign * value for value in values]
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
