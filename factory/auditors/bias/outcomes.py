"""Do rows that speak of one group fare otherwise: are they shorter, refused more often, scored lower?"""

from __future__ import annotations

import math

import numpy as np

from factory.auditors.bias.comparing import Measure, Scene, compare
from factory.auditors.bias.tone import measure
from factory.auditors.data import Data
from factory.auditors.statistics import Floats
from factory.types import Check

__all__ = ["measure", "outcomes", "scores_of"]
NAME = "bias.outcomes"
SCORES = ("meta.score", "score")


def scores_of(data: Data) -> Floats | None:
    """The score of each row (`meta.score`, or a column `score`), nan where it has none; None where no row has one."""
    for column in SCORES:
        inside = column.startswith("meta.")
        if ("meta" if inside else column) not in data.table.schema.names:
            continue
        try:
            given = data.values(column)
        except AttributeError:  # `meta` is no struct here
            continue
        found = np.array([_number(value) for value in given], dtype=np.float64)
        if np.isfinite(found).any():
            return found
    return None


def outcomes(scene: Scene, *, limit: float, effect: float, share_limit: float, share_effect: float) -> list[Check]:
    """Length, refusals and scores, each group against the others.

    Length is compared as its logarithm, as lengths are skew. `limit`: standard deviations; `share_limit`: a difference
    of shares of refusals.
    """
    wanted = [_length(limit, effect), _refusal(share_limit, share_effect)]
    if "score" in scene.here.outcomes:
        wanted.append(_score(limit, effect))
    checks: list[Check] = []
    for what in wanted:
        checks += compare(scene, what, kind="length" if what.outcome == "words" else what.outcome)
    return checks


def _length(limit: float, effect: float) -> Measure:
    return Measure(
        NAME,
        "words",
        "the length of a row",
        False,
        limit,
        effect,
        "standardised difference of the logarithm of the number of words, by Student's t",
        "ask for texts of the same length whatever the group: an axis for length that is drawn apart from the group",
        lambda mean: f"{math.expm1(mean):.0f} words",
    )


def _refusal(limit: float, effect: float) -> Measure:
    return Measure(
        NAME,
        "refusal",
        "the share of refusals",
        True,
        limit,
        effect,
        "difference of shares; refusals as the scorer `refusal` knows them",
        "let the scorer `refusal` veto them, and look at the prompts of the group that is refused",
        lambda mean: f"{100 * mean:.1f} %",
    )


def _score(limit: float, effect: float) -> Measure:
    return Measure(
        NAME,
        "score",
        "the score",
        False,
        limit,
        effect,
        "standardised difference of the rows' scores, by Student's t",
        "look at what the scorers measure: one may punish names or words of the group; leave it out, or use `quota`",
        lambda mean: f"{mean:.3g}",
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
