"""A row's candidates before the scorers: the cheap ones first, the dear ones on what is still in play."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from factory.errors import CallBarred, FactoryError, Permanent
from factory.scorers import Context
from factory.scoring.compiled import Scorer, Scorers
from factory.scoring.totals import Column, add_up
from factory.together import together
from factory.types import Candidate, Score, Scored


async def score(scorers: Scorers, candidates: Sequence[Candidate], context: Context) -> list[Scored]:
    """Every candidate with its scores, in order. What is dear runs last, on what is not vetoed yet.

    A weighted score that is missing vetoes the candidate; it never counts as 0. Raises FactoryError, naming scorer,
    row and candidate, when a scorer fails.
    """
    if not scorers.scorers or not candidates:
        return [Scored(candidate) for candidate in candidates]
    if context.language != scorers.language:
        context = replace(context, language=scorers.language)
    vetoed = [False] * len(candidates)
    columns: list[Column] = [[None] * len(candidates) for _ in scorers.scorers]
    for number in scorers.order:
        scorer, column = scorers.scorers[number], columns[number]
        if scorer.traits.expense == "rule":
            places: Sequence[int] = range(len(candidates))
            chosen = candidates
        else:
            places = [k for k, out in enumerate(vetoed) if not out]
            chosen = [candidates[k] for k in places]
        if not chosen:
            continue
        scores = _give(scorer, chosen, context)
        if not _are_scores(scorer.name, scores, len(chosen)):
            scores = await _settle_all(scorer, scores, chosen)
        if scorer.veto_below is not None or scorer.veto_above is not None:
            scores = [_bounded(scorer, one) for one in scores]
        for k, one in zip(places, scores, strict=True):
            column[k] = one
            if one.vetoed:
                vetoed[k] = True
    return add_up(scorers, candidates, columns)


def in_order_of_expense(scorers: Scorers) -> list[Scorer]:
    """The scorers as they run: the cheapest first, those of one expense as the recipe has them."""
    return [scorers.scorers[number] for number in scorers.order]


def _bounded(scorer: Scorer, given: Score) -> Score:
    """The score, vetoed where the recipe's own bounds on its value are broken."""
    value = given.value
    if value is None or given.vetoed:
        return given
    if scorer.veto_below is not None and value < scorer.veto_below:
        told = f"{value:.4g} is below veto_below {scorer.veto_below:g}"
    elif scorer.veto_above is not None and value > scorer.veto_above:
        told = f"{value:.4g} is above veto_above {scorer.veto_above:g}"
    else:
        return given
    return replace(given, reason=f"{told} ({given.reason})" if given.reason else told, vetoed=True)


def _give(scorer: Scorer, candidates: Sequence[Candidate], context: Context) -> Any:
    """What a scorer returns for the candidates: scores, as a rule; else to be settled."""
    if not scorer.whole:
        return _one_by_one(scorer, candidates, context)
    try:
        return scorer.call(list(candidates), context)
    except Exception as error:
        return [_missing(scorer, error, candidates)] * len(candidates)


def _one_by_one(scorer: Scorer, candidates: Sequence[Candidate], context: Context) -> list[Any]:
    """What a scorer returns for each candidate: a score, or what to await. A bare loop, for rules are cheap."""
    call = scorer.call
    given: list[Any] = []
    while len(given) < len(candidates):
        try:
            for one in candidates[len(given) :]:
                given.append(call(one, context))
        except Exception as error:
            given.append(_missing(scorer, error, [candidates[len(given)]]))
    return given


async def _settle_all(scorer: Scorer, given: Any, candidates: Sequence[Candidate]) -> list[Score]:
    """What a scorer returned, awaited where it is to be, as one Score for each candidate."""
    if scorer.whole:
        if inspect.isawaitable(given):
            try:
                given = await given
            except Exception as error:
                given = [_missing(scorer, error, candidates)] * len(candidates)
        if not isinstance(given, list | tuple) or len(given) != len(candidates):
            amount = f"{len(given)}" if isinstance(given, list | tuple) else type(given).__name__
            raise _plugin_fault(scorer, candidates, f"it must return {len(candidates)} scores, not {amount}")
    elif any(map(inspect.isawaitable, given)):
        given = await together(
            [_settle(scorer, one, candidate) for one, candidate in zip(given, candidates, strict=True)]
        )
    return [_read(scorer, value, [one]) for value, one in zip(given, candidates, strict=True)]


async def _settle(scorer: Scorer, result: Any, candidate: Candidate) -> Any:
    try:
        return await result if inspect.isawaitable(result) else result
    except Exception as error:
        return _missing(scorer, error, [candidate])


def _missing(scorer: Scorer, error: Exception, candidates: Sequence[Candidate]) -> Score:
    """The missing score where a judge refuses; any other error goes on, a scorer's own with its place."""
    if isinstance(error, FactoryError | CallBarred):
        raise error
    if isinstance(error, Permanent):
        return Score(scorer.name, None, f"{error.outcome}: {error.message}")
    raise _plugin_fault(scorer, candidates, f"{type(error).__name__}: {error}") from error


def _are_scores(name: str, given: Any, amount: int) -> bool:
    """Whether a scorer returned sound Scores of its name and nothing else, as the built-in ones do."""
    if type(given) is not list or len(given) != amount:
        return False
    for one in given:
        if type(one) is not Score or one.name != name or not (one.value is None or math.isfinite(one.value)):
            return False
    return True


def _plugin_fault(scorer: Scorer, candidates: Sequence[Candidate], told: str) -> FactoryError:
    row = candidates[0].row
    which = ", ".join(str(candidate.index) for candidate in candidates[:8])
    many = "candidates" if len(candidates) > 1 else "candidate"
    return FactoryError(
        f"the scorer `{scorer.name}` failed on row {row}, {many} {which}: {told[:500]}",
        f"mend the scorer and run the same command again; `factory explain RUN {row}` shows the row",
        code="scorer",
    )


def _read(scorer: Scorer, given: Any, candidates: Sequence[Candidate]) -> Score:
    """What a scorer returned, as a Score: a number is the value, False vetoes, None is missing."""
    if isinstance(given, Score):
        result = given if given.name == scorer.name else replace(given, name=scorer.name)
    elif given is None:
        result = Score(scorer.name, None)
    elif isinstance(given, bool) or type(given).__name__ == "bool":  # numpy's bool too
        result = Score(scorer.name, float(bool(given)), vetoed=not given)
    elif isinstance(given, numbers.Real):
        result = Score(scorer.name, float(given))
    else:
        raise _plugin_fault(
            scorer, candidates, f"it returned {type(given).__name__}, not a Score, number, bool or None"
        )
    if result.value is not None and not math.isfinite(result.value):
        raise _plugin_fault(scorer, candidates, f"its value is {result.value}, not a finite number")
    return result
