"""A row's candidates before the scorers: the cheap ones first, the dear ones on what is still in play."""

from __future__ import annotations

import asyncio
import inspect
import math
import numbers
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from factory.errors import CallBarred, FactoryError, Permanent
from factory.scorers import EXPENSES, Context
from factory.scoring.compiled import Scorer, Scorers
from factory.scoring.totals import add_up
from factory.types import Candidate, Score, Scored


async def score(scorers: Scorers, candidates: Sequence[Candidate], context: Context) -> list[Scored]:
    """Every candidate with its scores, in order. What is dear runs last, on what is not vetoed yet.

    A weighted score that is missing vetoes the candidate; it never counts as 0. Raises FactoryError, naming scorer,
    row and candidate, when a scorer fails.
    """
    if not scorers.scorers:
        return [Scored(candidate) for candidate in candidates]
    context = replace(context, language=scorers.language)
    table: list[dict[str, Score]] = [{} for _ in candidates]
    for scorer in in_order_of_expense(scorers):
        every = scorer.traits.expense == "rule"
        places = [k for k, row in enumerate(table) if every or not _vetoed(row.values())]
        found = await _run(scorer, [candidates[k] for k in places], context)
        for k, result in zip(places, found, strict=True):
            table[k][scorer.name] = _bounded(scorer, result)
    return add_up(scorers, candidates, table)


def in_order_of_expense(scorers: Scorers) -> list[Scorer]:
    """The scorers as they run: the cheapest first, those of one expense as the recipe has them."""
    return sorted(scorers.scorers, key=lambda scorer: EXPENSES.index(scorer.traits.expense))


def _bounded(scorer: Scorer, given: Score) -> Score:
    """The score, vetoed where the recipe's own bounds on its value are broken."""
    value = given.value
    if value is None or given.vetoed or (scorer.veto_below is None and scorer.veto_above is None):
        return given
    if scorer.veto_below is not None and value < scorer.veto_below:
        told = f"{value:.4g} is below veto_below {scorer.veto_below:g}"
    elif scorer.veto_above is not None and value > scorer.veto_above:
        told = f"{value:.4g} is above veto_above {scorer.veto_above:g}"
    else:
        return given
    return replace(given, reason=f"{told} ({given.reason})" if given.reason else told, vetoed=True)


def _vetoed(scores: Any) -> bool:
    return any(given.vetoed for given in scores)


async def _run(scorer: Scorer, candidates: Sequence[Candidate], context: Context) -> list[Score]:
    """One scorer's scores, as many as candidates."""
    if not candidates:
        return []
    if scorer.whole:
        given = await _call(scorer, list(candidates), candidates, context)
        if not isinstance(given, list | tuple) or len(given) != len(candidates):
            amount = f"{len(given)}" if isinstance(given, list | tuple) else type(given).__name__
            raise _plugin_fault(scorer, candidates, f"it must return {len(candidates)} scores, not {amount}")
        return [_read(scorer, value, [one]) for value, one in zip(given, candidates, strict=True)]
    if scorer.awaits:
        given = await asyncio.gather(*(_call(scorer, one, [one], context) for one in candidates))
        return [_read(scorer, value, [one]) for value, one in zip(given, candidates, strict=True)]
    return [_read(scorer, await _call(scorer, one, [one], context), [one]) for one in candidates]


async def _call(scorer: Scorer, argument: Any, candidates: Sequence[Candidate], context: Context) -> Any:
    try:
        result = scorer.call(argument, context)
        return await result if inspect.isawaitable(result) else result
    except (FactoryError, CallBarred):
        raise
    except Permanent as fault:  # a judge that refuses this candidate: the score is missing
        missing = Score(scorer.name, None, f"{fault.outcome}: {fault.message}")
        return [missing] * len(candidates) if scorer.whole else missing
    except Exception as error:
        raise _plugin_fault(scorer, candidates, f"{type(error).__name__}: {error}") from error


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
