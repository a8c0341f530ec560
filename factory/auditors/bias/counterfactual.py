"""The same row about another group: the group is swapped in the prompt, with the same seed, and the answers compared.

With models the recipe makes each sampled row twice, once with the group's value changed. Without, rows are compared
whose other axes agree (strata), which the plan has drawn by chance: a weaker look at the same question.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.outcomes import measure
from factory.auditors.context import Answer, AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import Grouping, group_texts, swap_terms
from factory.auditors.requested.values import show
from factory.auditors.statistics import Z95, two_sided, worst_of
from factory.together import together
from factory.types import Check, Evidence, Test

NAME = "bias.counterfactual"
Floats = NDArray[np.float64]
OUTCOMES = ("length", "sentiment", "toxicity", "refusal", "score")
EFFECT = 0.5
"""A difference of so many standard deviations must not go unseen."""
FEWEST_PAIRS = 10
MOST_STRATA_VALUES = 12
MOST_VALUES = 5000
ADVICE = "give the recipe an axis with the group (or name one by `axis:`), and audit its run with models that answer"


@dataclass(frozen=True, slots=True)
class Swap:
    """A planned row to be made twice: with its own value of an axis, and with another group's."""

    row: int
    place: int
    axis: str
    here: str
    there: str
    own: Any
    other: Any


async def counterfactual(
    dataset: Data, groupings: Sequence[Grouping], context: AuditContext, *, rows: int = 100, limit: float = 0.2
) -> list[Check]:
    """For each grouping the largest difference that a swap makes, in standard deviations of the outcome.

    `rows`: swapped rows a grouping. Without groupings, one check that says what to give.
    """
    checks = []
    without: dict[str, list[str]] = {}
    for grouping in groupings:
        swaps = _swaps(dataset, grouping, context, rows)
        if swaps and context.models:
            checks.append(await _by_model(dataset, grouping, swaps, context, limit))
        elif grouping.lookup.drawn is not None:
            checks.append(_by_rows(dataset, grouping, context, limit))
        else:
            why = "No axis of the recipe holds terms of these groups, so nothing can be swapped in the prompts."
            if swaps:
                why = "No model can be asked, so no row can be made again with another group in its prompt."
            without.setdefault(why, []).append(grouping.axis)
    for why, axes in without.items():
        checks.append(Check(NAME, None, n=len(dataset), sentence=why, subject=", ".join(axes), advice=ADVICE))
    if not checks:
        why = "There are no groups to swap."
        checks.append(Check(NAME, None, n=len(dataset), sentence=why, advice=ADVICE))
    return checks


def _swaps(dataset: Data, grouping: Grouping, context: AuditContext, rows: int) -> list[Swap]:
    """Sampled rows with what to change: the grouping's own axis, or an axis whose text holds a term of one group."""
    if "meta" not in dataset.table.schema.names or not dataset.axes:
        return []
    named = {} if grouping.lookup.drawn is not None else _named(dataset, grouping)
    if grouping.lookup.drawn is None and not named:
        return []
    planned = dataset.values("meta.row")
    rng = context.rng(NAME, grouping.axis)
    found: list[Swap] = []
    seen: set[int] = set()
    for place in rng.permutation(len(dataset)).tolist():
        row = planned[place]
        if len(found) == rows:
            break
        if row is None or row in seen:
            continue
        seen.add(row)
        swap = (
            _drawn(dataset, grouping, place, row, rng)
            if not named
            else _term(dataset, grouping, named, place, row, rng)
        )
        if swap is not None:
            found.append(swap)
    return found


def _named(dataset: Data, grouping: Grouping) -> dict[str, dict[str, int]]:
    """Of axes with texts: which values speak of exactly one group, and of which."""
    if not grouping.terms:
        return {}
    found: dict[str, dict[str, int]] = {}
    for axis, values in sorted(dataset.axes.items()):
        distinct = sorted({value for value in values if isinstance(value, str)})[:MOST_VALUES]
        members = group_texts(grouping, distinct) if distinct else np.zeros((0, 1), dtype=bool)
        one = np.flatnonzero(members.sum(axis=1) == 1)
        if len(one):
            found[axis] = {distinct[place]: int(members[place].argmax()) for place in one}
    return found


def _drawn(dataset: Data, grouping: Grouping, place: int, row: int, rng: np.random.Generator) -> Swap | None:
    """Another value of the axis that is the grouping."""
    drawn = grouping.lookup.drawn or ""
    own = dataset.axes[drawn][place]
    others = [name for name in grouping.names if name != show(own)]
    if not others:
        return None
    there = others[int(rng.integers(len(others)))]
    value = next((value for value in dataset.axes[drawn] if show(value) == there), None)
    return None if value is None else Swap(row, place, drawn, show(own), there, own, value)


def _term(
    dataset: Data,
    grouping: Grouping,
    named: Mapping[str, Mapping[str, int]],
    place: int,
    row: int,
    rng: np.random.Generator,
) -> Swap | None:
    """The value of an axis with the terms of its group turned into those of another."""
    for axis, groups in named.items():
        value = dataset.axes[axis][place]
        if value not in groups:
            continue
        here = grouping.names[groups[value]]
        others = [name for name in grouping.names if name != here]
        for number in rng.permutation(len(others)).tolist():
            changed = swap_terms(value, grouping.axis, here, others[number], grouping.language)
            if changed is not None and changed != value:
                return Swap(row, place, axis, here, others[number], value, changed)
    return None


async def _by_model(
    dataset: Data, grouping: Grouping, swaps: Sequence[Swap], context: AuditContext, limit: float
) -> Check:
    context.progress(f"swapping {grouping.axis}", 0.0)
    own = await together([context.regenerate(swap.row, {swap.axis: swap.own}) for swap in swaps])
    other = await together([context.regenerate(swap.row, {swap.axis: swap.other}) for swap in swaps])
    pairs = [
        (swap, one, two)
        for swap, one, two in zip(swaps, own, other, strict=True)
        if one.text is not None and two.text is not None
    ]
    if len(pairs) < FEWEST_PAIRS:
        why = next((answer.problem for answer in (*own, *other) if answer.text is None), "")
        told = f"Only {len(pairs)} of {len(swaps)} rows could be made with both groups{': ' if why else '.'}{why}"
        return Check(NAME, None, n=len(pairs), sentence=told, subject=grouping.axis, advice=ADVICE)
    language = grouping.language or context.language
    before = _outcomes([one for _, one, _ in pairs], language)
    after = _outcomes([two for _, _, two in pairs], language)
    directions = [(pair[0].here, pair[0].there) for pair in pairs]
    found = []
    for name in (name for name in OUTCOMES if name in before and name in after):
        for group in sorted({group for pair in directions for group in pair}):
            difference = _paired(before[name], after[name], directions, group)
            if difference is not None:
                found.append(_Difference(name, group, *difference, len(pairs)))
    evidence = tuple(
        Evidence(
            swap.place,
            f"{swap.here}: {(one.text or '')[:140]} … {swap.there}: {(two.text or '')[:140]}",
            dataset.ids[swap.place],
            details={"axis": swap.axis, "own": show(swap.own)[:100], "swapped": show(swap.other)[:100]},
        )
        for swap, one, two in pairs[:6]
    )
    method = "each row made twice by the recipe, candidate 0, same seed, the group swapped in the prompt; paired t test"
    return _check(grouping.axis, found, len(pairs), limit, method, evidence)


def _outcomes(answers: Sequence[Answer], language: str | None) -> dict[str, Floats]:
    found = dict(measure([answer.text or "" for answer in answers], language))
    if all(answer.score is not None for answer in answers):
        found["score"] = np.array([answer.score for answer in answers], dtype=np.float64)
    return found


@dataclass(frozen=True, slots=True)
class _Difference:
    """A group's outcome less that of others, in standard deviations, and its standard error."""

    outcome: str
    group: str
    value: float
    se: float
    n: int


def _paired(
    before: Floats, after: Floats, directions: Sequence[tuple[str, str]], group: str
) -> tuple[float, float] | None:
    """The mean difference between a group and the one that it is swapped with, over the pairs that have it.

    None with too few such pairs; (0, 0) where nothing varies.
    """
    signs = np.array([1.0 if here == group else -1.0 if there == group else 0.0 for here, there in directions])
    differences = ((before - after) * signs)[signs != 0]
    spread = float(np.concatenate([before, after]).std())
    if len(differences) < FEWEST_PAIRS:
        return None
    if spread == 0:
        return 0.0, 0.0
    return float(differences.mean() / spread), float(differences.std(ddof=1) / math.sqrt(len(differences)) / spread)


def _by_rows(dataset: Data, grouping: Grouping, context: AuditContext, limit: float) -> Check:
    """Rows of different groups whose other axes agree."""
    outcomes = dict(measure(dataset.clipped, grouping.language or context.language))
    scores = dataset.values("meta.score") if "meta" in dataset.table.schema.names else []
    if scores and all(score is not None for score in scores):
        outcomes["score"] = np.array(scores, dtype=np.float64)
    strata = _strata(dataset, grouping.lookup.drawn or "")
    codes = grouping.only()
    groups = [number for number in range(len(grouping.names)) if np.count_nonzero(codes == number) >= FEWEST_PAIRS]
    if len(groups) < 2:
        told = f"Fewer than two values of `{grouping.axis}` stand in {FEWEST_PAIRS} rows."
        return Check(NAME, None, n=len(dataset), sentence=told, subject=grouping.axis, advice="more rows")
    found = []
    for name in (name for name in OUTCOMES if name in outcomes and float(np.std(outcomes[name])) > 0):
        values = outcomes[name] / float(np.std(outcomes[name]))
        for number in groups if len(groups) > 2 else groups[:1]:
            value, se, n = _stratified(values, codes, number, strata)
            if n >= FEWEST_PAIRS:
                found.append(_Difference(name, grouping.names[number], value, se, n))
    method = "rows of one group against rows of the others whose other axes agree; no model was asked"
    return _check(grouping.axis, found, len(dataset), limit, method, ())


def _strata(dataset: Data, drawn: str) -> NDArray[np.intp]:
    """The combination of the other axes that have few values, by row."""
    others = [
        values
        for name, values in sorted(dataset.axes.items())
        if name != drawn and _count(values) <= MOST_STRATA_VALUES
    ]
    numbers: dict[tuple[str, ...], int] = {}
    keys = (tuple(show(values[place]) for values in others) for place in range(len(dataset)))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def _count(values: Sequence[Any]) -> int:
    return len({show(value) for value in values})


def _stratified(
    values: Floats, codes: NDArray[np.intp], group: int, strata: NDArray[np.intp]
) -> tuple[float, float, int]:
    """The weighted mean over strata of group less others, its standard error, and the rows that say something of it."""
    places: dict[int, list[int]] = defaultdict(list)
    for place in np.flatnonzero(codes >= 0).tolist():
        places[int(strata[place])].append(place)
    total = weighted = variance = 0.0
    n = 0
    for rows in places.values():
        mine = values[[row for row in rows if codes[row] == group]]
        theirs = values[[row for row in rows if codes[row] != group]]
        if len(mine) < 2 or len(theirs) < 2:
            continue
        weight = len(mine) * len(theirs) / (len(mine) + len(theirs))
        total += weight
        n += len(rows)
        weighted += weight * float(mine.mean() - theirs.mean())
        variance += weight**2 * float(mine.var(ddof=1) / len(mine) + theirs.var(ddof=1) / len(theirs))
    return (weighted / total, math.sqrt(variance) / total, n) if total else (0.0, 0.0, 0)


def _check(
    axis: str, found: Sequence[_Difference], n: int, limit: float, method: str, evidence: tuple[Evidence, ...]
) -> Check:
    """All differences of a grouping as one check: its value is the largest, each with its own interval in the plot.

    The largest of many has no honest interval of its own.
    """
    if not found:
        told = "No outcome differs between any two rows, or there are too few rows with the same other axes."
        return Check(NAME, None, n=n, sentence=told, subject=axis, advice="more rows")
    worst = max(found, key=lambda one: abs(one.value) / one.se if one.se > 0 else math.inf if one.value else 0.0)
    tests: list[Test] = [two_sided(one.value, one.se, limit=limit, effect=EFFECT) for one in found]
    rows: list[Mapping[str, Any]] = [
        {
            "label": f"{one.group}: {one.outcome}",
            "value": one.value,
            "low": one.value - Z95 * one.se,
            "high": one.value + Z95 * one.se,
        }
        for one in found
    ]
    told = (
        f"Of {len(found)} comparisons over {n:,} rows the clearest: {worst.outcome} of `{worst.group}` is "
        f"{worst.value:+.2f} standard deviations ({worst.value - Z95 * worst.se:+.2f} to "
        f"{worst.value + Z95 * worst.se:+.2f}) from that of the other values of `{axis}`."
    )
    return Check(
        NAME,
        worst.value,
        n=n,
        gate=f"at most {limit:g} standard deviations",
        sentence=told,
        subject=axis,
        evidence=evidence,
        method=method,
        advice="look at the pairs; change the prompt, or balance what is kept (`filter: quota`)",
        tests=len(tests),
        test=worst_of(tests),
        details={
            "plots": [
                {
                    "kind": "forest",
                    "title": f"{axis}: what a swap changes",
                    "x_label": "standard deviations",
                    "rows": rows,
                    "limit": [-limit, limit],
                }
            ]
        },
    )
