"""How long a run takes: Little's law with each model's concurrency, and the limits of requests and tokens a minute.

Generating alone is counted; start-up, and what is written at the end, are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from factory.calling import OpenModel
from factory.estimating.amounts import Amounts, Interval, Key
from factory.estimating.forecast import Floats, Forecast, interval
from factory.estimating.sample import PLACE
from factory.recipe.models import IN_PROCESS

FIRST_TOKEN_S = Interval(0.5, 1.0, 3.0)
TOKENS_PER_S = Interval(150.0, 60.0, 20.0)
"""Of one answer, from the fastest to the slowest."""
BATCH_S = 24 * 3600.0
"""A batch job is promised within a day."""
MAX_ROWS_IN_FLIGHT = 1024
CALL_CPU_S = 0.001
"""What this process computes for a call: sending, reading and journaling it."""
SLACK = 1.25
"""Room above the slowest time: a retry that waits, a busy machine."""


def guess_seconds(parts: Mapping[Key, Amounts], models: Mapping[str, OpenModel]) -> Interval | None:
    """Seconds by guessed latencies; None where a model runs in this process: its speed is not to be guessed."""
    longest = batch_seconds(parts, models) or Interval.exactly(0.0)
    for role, model in models.items():
        amounts = sum((part for key, part in parts.items() if key[2] == role), Amounts())
        if not amounts.requests.high:
            continue
        if model.config.backend == "echo" or model.config.batch:
            continue
        if model.config.backend in IN_PROCESS:
            return None
        found = _guess_model(model, amounts)
        longest = Interval(*(max(getattr(longest, name), getattr(found, name)) for name in ("low", "expected", "high")))
    return longest


def _guess_model(model: OpenModel, amounts: Amounts) -> Interval:
    bounds = []
    for name in ("low", "expected", "high"):
        requests, written = getattr(amounts.requests, name), getattr(amounts.completion_tokens, name)
        latency = requests * getattr(FIRST_TOKEN_S, name) + written / getattr(TOKENS_PER_S, name)
        parallel = min(model.concurrency, max(1.0, requests))
        bounds.append(max(latency / parallel, limit_seconds(model, requests, tokens_of(amounts, name))))
    return Interval(*bounds)


def batch_seconds(parts: Iterable[Key], models: Mapping[str, OpenModel]) -> Interval | None:
    """Seconds where a model works in batch jobs, each done within a day: one for each step, its judges and repairs,
    and as many again for the rows that fall short. None where there is no such model."""
    stages = {key[:2] for key in parts if key[1] != "probe" and key[2] in models and models[key[2]].config.batch}
    if not stages:
        return None
    return Interval(0.0, BATCH_S * len(stages), 2 * BATCH_S * len(stages))


def tokens_of(amounts: Amounts, name: str) -> float:
    return float(getattr(amounts.prompt_tokens, name) + getattr(amounts.completion_tokens, name))


def limit_seconds(model: OpenModel, requests: float, tokens: float) -> float:
    """What the model's limits a minute make of it at least."""
    config = model.config
    by_requests = 60.0 * requests / config.requests_per_minute if config.requests_per_minute else 0.0
    by_tokens = 60.0 * tokens / config.tokens_per_minute if config.tokens_per_minute else 0.0
    return max(by_requests, by_tokens)


@dataclass(frozen=True)
class Pacing:
    """What was measured of time: `table` by key as in a sample, seconds a row is in flight, seconds in which anything
    was, seconds of computing a row, how calls settle (see Sample), and how many rows run at a time."""

    models: Mapping[str, OpenModel]
    table: Mapping[Key, Floats]
    residence: Floats
    busy_s: float
    compute_s: float
    settled: tuple[float, float]
    in_flight: int


def measured_seconds(
    pacing: Pacing, forecast: Forecast, parts: Mapping[Key, Amounts]
) -> tuple[Interval, Interval] | None:
    """Seconds of the whole run, and of what is left of it.

    At best every model keeps as many calls in flight as its concurrency allows and each takes as long as in the
    sample (Little's law); at worst there is no more at a time than in the sample, as with a server that is full.
    None where nothing was measured: answers that were taken over from another run have no latency.
    """
    if (whole := batch_seconds(parts, pacing.models)) is not None:
        return whole, whole if forecast.remaining.any() else Interval.exactly(0.0)
    if not pacing.busy_s:
        return None
    stay = forecast.mean(pacing.residence, "residence")
    best, likely = (_parallel_seconds(pacing, forecast, stay, settled) for settled in pacing.settled)
    worst = np.maximum(likely, forecast.remaining * pacing.busy_s / len(pacing.residence) + stay)
    if _is_local(pacing.models):
        likely = np.sqrt(likely * worst)
    left = Interval(interval(best).low, interval(likely).expected, interval(worst).high * SLACK)
    if not forecast.remaining.any():
        left = Interval.exactly(0.0)
    return left + Interval.exactly(pacing.busy_s), left


def _parallel_seconds(pacing: Pacing, forecast: Forecast, stay: Floats, settled: float) -> Floats:
    """Draws of the seconds left, with as much in flight as the recipe allows and latencies by a factor of the means."""
    remaining = forecast.remaining
    seconds = remaining * (pacing.compute_s + CALL_CPU_S * _per_row(pacing.table, "requests"))
    for role, model in pacing.models.items():
        lines = [value for key, value in pacing.table.items() if key[2] == role]
        if not lines:
            continue
        columns = sum(lines[1:], lines[0])
        flight = forecast.mean(columns[:, PLACE["latency"]], f"{role} latency") * settled
        tokens = columns[:, PLACE["prompt_tokens"]] + columns[:, PLACE["completion_tokens"]]
        paces = zip(
            forecast.mean(columns[:, PLACE["requests"]], f"{role} pace"),
            forecast.mean(tokens, f"{role} tokens"),
            strict=True,
        )
        limits = np.array([limit_seconds(model, *pace) for pace in paces])
        seconds = np.maximum(seconds, remaining * np.maximum(flight / model.concurrency, limits))
    seconds = np.maximum(seconds, remaining * stay * settled / pacing.in_flight)
    return np.asarray(seconds + np.where(remaining > 0, stay * settled, 0.0), float)  # the last row is alone


def _per_row(table: Mapping[Key, Floats], measure: str) -> float:
    return sum(float(lines[:, PLACE[measure]].mean()) for lines in table.values())


def _is_local(models: Mapping[str, OpenModel]) -> bool:
    """Whether a machine of one's own does the work: it is full sooner than a provider is."""
    return any(model.backend.local or model.price.source == "local" for model in models.values())
