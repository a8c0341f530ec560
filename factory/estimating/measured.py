"""An estimate from rows that were made: a pilot, or what an earlier run journaled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from factory.calling import OpenModel
from factory.compiling import Job
from factory.estimating.amounts import Amounts, Estimate, Interval, Key
from factory.estimating.duration import MAX_ROWS_IN_FLIGHT, Pacing, measured_seconds
from factory.estimating.forecast import Floats, Forecast, Target, forecast_rows, interval
from factory.estimating.guess import planned_rows
from factory.estimating.sample import PLACE, Sample


def estimate_from(job: Job, models: Mapping[str, OpenModel], sample: Sample, basis: str) -> Estimate:
    """The whole run, and what is still to be paid of it, by the rows in the sample (two at least)."""
    recipe = job.recipe
    rows, limit = planned_rows(job)
    in_flight = min(MAX_ROWS_IN_FLIGHT, max([2, *(model.concurrency for model in models.values())]))
    target = Target(None if recipe.rows == "all" else rows, limit, job.steps[-1].config.keep.top_k, in_flight)
    forecast = forecast_rows(sample, target, (recipe.name, recipe.seed, "estimate", sample.rows))
    table = {key: np.array(lines) for key, lines in sample.table.items()}
    rare = _rare(job, table)
    parts: dict[Key, Amounts] = {}
    for key in sorted({*table, *sample.booked}):
        parts[key] = _whole(forecast, [key], table, sample, {} if key[1] == "probe" else _rare_of(key, rare))[0]
    every = [*parts]
    total, to_pay = _whole(forecast, every, table, sample, rare)
    pacing = Pacing(
        models, table, np.array(sample.residence), sample.busy_s, sample.compute_s, sample.settled, in_flight
    )
    whole = measured_seconds(pacing, forecast, parts)
    return Estimate(
        basis=basis,
        rows=rows,
        pilot_rows=sample.rows,
        planned=interval(forecast.planned),
        acceptance=interval(forecast.acceptance),
        parts=parts,
        total=total,
        to_pay=to_pay,
        seconds=None if whole is None else whole[0],
        seconds_left=None if whole is None else whole[1],
        short=forecast.short if target.rows is not None else None,
        rests_on=_rests_on(sample, basis, target),
        notes=tuple(_notes(job, sample, total)),
    )


def _whole(
    forecast: Forecast, keys: Sequence[Key], table: Mapping[Key, Floats], sample: Sample, rare: Mapping[str, float]
) -> tuple[Amounts, Amounts]:
    """The amounts of these keys together, for the whole run and for what is not booked yet."""
    name = " ".join(keys[0]) if len(keys) == 1 else "total"
    whole: dict[str, Interval] = {}
    left: dict[str, Interval] = {}
    for measure in ("requests", "prompt_tokens", "completion_tokens", "nano"):
        place = PLACE[measure]
        values = sum((table[key][:, place] for key in keys if key in table), np.zeros(sample.rows))
        booked = sum(sample.booked[key][place] for key in keys if key in sample.booked)
        beyond = sum(sample.booked[key][place] for key in keys if key[1] == "probe" and key in sample.booked)
        drawn = np.maximum(forecast.total(values, f"{name} {measure}", rare.get(measure, 0.0)) + beyond, booked)
        whole[measure], left[measure] = interval(drawn), interval(drawn - booked)
    bound = sum(sample.booked[key][PLACE["bound"]] for key in keys if key in sample.booked)
    if bound:
        per_row = sum((table[key][:, PLACE["bound"]] for key in keys if key in table), np.zeros(sample.rows))
        more = interval(forecast.total(per_row, f"{name} bound"))
        whole["nano"] = Interval(whole["nano"].low, whole["nano"].expected, whole["nano"].high + max(bound, more.high))
        left["nano"] = Interval(
            left["nano"].low, left["nano"].expected, left["nano"].high + max(0.0, more.high - float(per_row.sum()))
        )
    return _amounts(whole), _amounts(left)


def _amounts(found: Mapping[str, Interval]) -> Amounts:
    nano = found["nano"]
    unknown = np.isnan([nano.low, nano.expected, nano.high]).any()
    return Amounts(found["requests"], found["prompt_tokens"], found["completion_tokens"], None if unknown else nano)


def _rare(job: Job, table: Mapping[Key, Floats]) -> dict[str, float]:
    """What an event adds that the sample may not hold: a retry is a request; a repair is a whole call more."""
    rare = {"requests": 1.0}
    allowed = {step.name for step in job.steps if step.config.repair}
    calls = [lines for (step, purpose, _), lines in table.items() if step in allowed and purpose == "generate"]
    if not calls:
        return rare
    sums = np.sum([lines.sum(axis=0) for lines in calls], axis=0)
    count = max(1.0, float(sums[PLACE["calls"]]))
    mean = {name: float(sums[PLACE[name]]) / count for name in ("prompt_tokens", "completion_tokens", "nano")}
    return rare | mean | {"prompt_tokens": mean["prompt_tokens"] + mean["completion_tokens"]}


def _rare_of(key: Key, rare: Mapping[str, float]) -> dict[str, float]:
    return {"requests": rare["requests"]} if key[1] != "repair" else dict(rare)


def _rests_on(sample: Sample, basis: str, target: Target) -> dict[str, str]:
    rows = f"{sample.rows} rows of {'the pilot' if basis == 'pilot' else 'the journal'}"
    given = sum(sample.accepted)
    return {
        "planned": f"{rows} gave {given} dataset rows"
        if target.rows is not None
        else f"one pass over the source; {rows} gave {given} dataset rows",
        "tokens": f"the usage that was counted for {rows}, judges, repairs and retries included; 95 % intervals",
        "usd": "today's prices at those tokens, what was paid already as it was; attempts without an answer count "
        "in the upper end alone",
        "seconds": "the latencies that were measured, at the recipe's concurrency and limits; the upper end takes no "
        "more in flight than there was. Start-up and writing are not counted",
    }


def _notes(job: Job, sample: Sample, total: Amounts) -> Iterable[str]:
    names = {getattr(spec, "name", "") for spec in job.recipe.filter}
    if names & {"dedup", "unique"}:
        if sample.duplicates:
            yield (
                f"{sample.duplicates} near-duplicates among {sample.rows} rows: the more rows, the more of them; "
                "that growth is counted in"
            )
        else:
            yield (
                f"no near-duplicate among {sample.rows} rows; in a far larger dataset there may be many, and the "
                "estimate does not know"
            )
    lost = sum(booked[PLACE["bound"]] for booked in sample.booked.values())
    if lost and total.nano is not None:
        yield "some attempts were sent and lost: what they cost nobody knows, so the upper end counts them in full"
