"""Whether the texts show an axis, by a judge that is not told what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.judging import Judged, OutOfForm, Question, ask_all, messages_of
from factory.auditors.requested.values import read_axis
from factory.auditors.statistics import Z95, z_test
from factory.measures import wilson
from factory.scorers.judging.prompting import fence
from factory.types import Check, Evidence

NAME = "requested.axis"
PROMPT = "audit-axis.j2"
OPTIONS = 8
"""Values among which the judge chooses: the one that was asked for and others."""
SHOWN = 12_000
EFFECT = 0.15
"""So many misses above the limit must not go unseen."""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "choice": {"type": "integer"}},
    "required": ["reason", "choice"],
    "additionalProperties": False,
}


async def judge_axis(dataset: Data, axis: str, context: AuditContext, *, role: str, rows: int, limit: float) -> Check:
    """The share of sampled rows in which the judge sees another value than the one asked for, or none."""
    values = read_axis(axis, dataset.axes[axis]).shown
    distinct = sorted(set(values))
    if len(distinct) < 2:
        told = f"All rows have the same value of `{axis}`."
        return Check(
            NAME, None, n=len(values), sentence=told, subject=axis, advice="vary it, or leave it out of `axes:`"
        )
    rng = context.rng(NAME, axis, "rows")
    places = np.sort(rng.choice(len(dataset), min(rows, len(dataset)), replace=False)).tolist()
    options = [_options(values[place], distinct, rng) for place in places]
    questions = [
        _question(place, dataset.clipped[place][:SHOWN], axis, given)
        for place, given in zip(places, options, strict=True)
    ]
    judged = await ask_all(context, role, questions, schema=SCHEMA, read=_read, told=f"{axis}, asking {role}")
    return _conclude(dataset, axis, role, [values[place] for place in places], options, judged, places, limit)


def _options(own: str, distinct: list[str], rng: np.random.Generator) -> list[str]:
    others = [value for value in distinct if value != own]
    chosen = rng.choice(len(others), min(OPTIONS - 1, len(others)), replace=False)
    options = [own, *(others[place] for place in chosen)]
    return [options[place] for place in rng.permutation(len(options))]


def _question(place: int, text: str, axis: str, options: list[str]) -> Question:
    names = {
        "text": fence("TEXT", text),
        "axis": axis,
        "options": [" ".join(option.split())[:300] for option in options],
    }
    return Question(place, messages_of(PROMPT, names), (text,), index=0)


def _read(data: Mapping[str, Any]) -> int:
    choice = data.get("choice")
    if isinstance(choice, str) and choice.strip().isdigit():
        return int(choice)
    if not isinstance(choice, int) or isinstance(choice, bool):
        raise OutOfForm("`choice` is no whole number")
    return choice


def _conclude(
    dataset: Data,
    axis: str,
    role: str,
    asked: list[str],
    options: list[list[str]],
    judged: list[Judged],
    places: list[int],
    limit: float,
) -> Check:
    seen = [
        None if one.value is None or not 0 <= one.value <= len(given) else "" if not one.value else given[one.value - 1]
        for one, given in zip(judged, options, strict=True)
    ]
    told = [place for place, value in enumerate(seen) if value is not None]
    without = next((one.why for one in judged if one.value is None), "")
    if len(told) < 10:
        why = f"`{role}` gave {len(told)} answers to {len(judged)} questions about `{axis}`: {without}"
        return Check(NAME, None, n=len(told), sentence=why, subject=axis, advice="a stronger judge, or more `rows`")
    misses = [place for place in told if seen[place] != asked[place]]
    n, share = len(told), len(misses) / len(told)
    interval = wilson(len(misses), n)
    se = max((interval[1] - interval[0]) / (2 * Z95), 1e-9)
    evidence = tuple(
        Evidence(
            places[place],
            dataset.texts[places[place]][:300],
            dataset.ids[places[place]],
            details={"asked for": asked[place][:200], "the judge sees": (seen[place] or "none of them")[:200]},
        )
        for place in misses[:20]
    )
    missing = f" {len(judged) - n} questions have no answer: {without or 'no such choice'}." if n < len(judged) else ""
    return Check(
        NAME,
        share,
        interval=interval,
        n=n,
        gate=f"at most {limit:.0%} of rows show another value than asked for",
        sentence=f"In {len(misses)} of {n} rows `{role}` sees no sign of the `{axis}` that was asked for.{missing}",
        subject=axis,
        evidence=evidence,
        method=f"the judge `{role}` chooses blindly among {OPTIONS} values at most, in random order, or none",
        advice="say in the prompt what the axis is to change, and show it by an example",
        test=z_test(share, se, limit=limit, effect=limit + EFFECT),
    )
