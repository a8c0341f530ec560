"""Scores of a row's candidates: scorers are compiled once, run on one row, and add up to a total; `select` ranks."""

from __future__ import annotations

import asyncio
import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from factory.errors import CallBarred, FactoryError, Permanent, UsageError
from factory.registry import lookup
from factory.registry import options as plugin_options
from factory.scorers import Context
from factory.types import Candidate, Score, Scored, Verdict, canonical_json


class ScorerSpec(Protocol):
    """What a recipe says of a scorer."""

    @property
    def name(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def weight(self) -> float | None: ...


class Keep(Protocol):
    """What a recipe says of the candidates that stay."""

    @property
    def min_score(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Scorer:
    """A compiled scorer. `name` is unique within the step; `whole`: it takes the row's candidates at once."""

    name: str
    call: Callable[..., Any]
    options: Mapping[str, Any]
    weight: float
    whole: bool
    awaits: bool


@dataclass(frozen=True, slots=True)
class Scorers:
    """A step's scorers in the recipe's order, and the recipe's language."""

    scorers: tuple[Scorer, ...]
    language: str = "en"


def compile_scorers(specs: Sequence[ScorerSpec], *, language: str = "en") -> Scorers:
    """Look up a step's scorers and check their options. A scorer used twice is called `name`, `name_2`, …

    Raises UsageError for an unknown scorer, a wrong option or a negative weight.
    """
    compiled: list[Scorer] = []
    taken: set[str] = set()
    for spec in specs:
        call = lookup("scorer", spec.name)
        weight = 0.0 if spec.weight is None else float(spec.weight)
        if not math.isfinite(weight) or weight < 0:
            raise UsageError(f"the weight of the scorer `{spec.name}` is {weight}", "use a number ≥ 0")
        name, count = spec.name, 1
        while name in taken:
            count += 1
            name = f"{spec.name}_{count}"
        taken.add(name)
        first = next(iter(inspect.signature(call).parameters), "")
        awaits = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)
        compiled.append(Scorer(name, call, _options(spec), weight, first == "candidates", awaits))
    return Scorers(tuple(compiled), language)


def _options(spec: ScorerSpec) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        return plugin_options("scorer", spec.name, spec.options)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)[:3]]
        raise UsageError(f"options of the scorer `{spec.name}`: {'; '.join(told)}", "see `factory plugins`") from error


async def score(scorers: Scorers, candidates: Sequence[Candidate], context: Context) -> list[Scored]:
    """Every candidate with its scores, in order. Asynchronous scorers run last, on what is not vetoed yet.

    A weighted score that is missing vetoes the candidate; it never counts as 0. Raises FactoryError, naming scorer,
    row and candidate, when a scorer fails.
    """
    if not scorers.scorers:
        return [Scored(candidate) for candidate in candidates]
    context = replace(context, language=scorers.language)
    table: list[dict[str, Score]] = [{} for _ in candidates]
    for scorer in (*(s for s in scorers.scorers if not s.awaits), *(s for s in scorers.scorers if s.awaits)):
        places = [k for k, row in enumerate(table) if not (scorer.awaits and _vetoed(row.values()))]
        found = await _run(scorer, [candidates[k] for k in places], context)
        for k, result in zip(places, found, strict=True):
            table[k][scorer.name] = result
    return [_total(scorers, candidate, row) for candidate, row in zip(candidates, table, strict=True)]


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
        result = scorer.call(argument, context, **scorer.options)
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


def _total(scorers: Scorers, candidate: Candidate, row: Mapping[str, Score]) -> Scored:
    """The weighted mean of the values with a weight; 0 without any."""
    scores: list[Score] = []
    weighted = weights = 0.0
    for scorer in scorers.scorers:
        given = row.get(scorer.name)
        if given is None:
            continue
        if scorer.weight and given.value is None and not given.vetoed:
            reason = f"score {scorer.name} is missing" + (f" ({given.reason})" if given.reason else "")
            given = Score(scorer.name, None, reason, vetoed=True)
        elif scorer.weight and given.value is not None:
            weighted += scorer.weight * given.value
            weights += scorer.weight
        scores.append(given)
    return Scored(candidate, tuple(scores), weighted / weights if weights else 0.0)


def select(scored: Sequence[Scored], keep: Keep) -> tuple[tuple[Scored, ...], tuple[Verdict, ...]]:
    """The eligible candidates, best first by (−total, index), and the verdicts on the others.

    Stage `score`: the first veto's reason. Stage `select`: below `min_score`, or the same output as an earlier
    candidate (`duplicate_candidate`). `top_k` is cut later, in curation, where a later candidate may take the place
    of a duplicate.
    """
    eligible: list[Scored] = []
    verdicts: list[Verdict] = []
    seen: dict[str, int] = {}
    for one in sorted(scored, key=lambda one: one.candidate.index):
        candidate = one.candidate
        first_veto = next((given for given in one.scores if given.vetoed), None)
        if first_veto is not None:
            verdicts.append(Verdict(candidate.row, one, False, "score", _veto_reason(first_veto)))
            continue
        key = _output_key(candidate) if len(scored) > 1 else ""
        if key in seen:
            same = f"candidate {seen[key]}"
            verdicts.append(Verdict(candidate.row, one, False, "select", "duplicate_candidate", same))
            continue
        seen[key] = candidate.index
        if keep.min_score is not None and one.total < keep.min_score:
            reason = f"score {one.total:.4g} is below min_score {keep.min_score:g}"
            verdicts.append(Verdict(candidate.row, one, False, "select", reason))
            continue
        eligible.append(one)
    eligible.sort(key=lambda one: (-one.total, one.candidate.index))
    return tuple(eligible), tuple(verdicts)


def _veto_reason(given: Score) -> str:
    if given.value is None and given.reason.startswith("score "):
        return given.reason
    return f"{given.name}: {given.reason}" if given.reason else given.name


def _output_key(candidate: Candidate) -> str:
    """Equal for candidates with the same output: their columns, or the text where it was not parsed."""
    if candidate.fields is None:
        return f"t{candidate.text.strip()}"
    return "f" + canonical_json(candidate.fields)
