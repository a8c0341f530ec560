"""What the journal knows of a plan's rows: the pilot, whether it was made for the purpose or by an earlier run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from factory.budget import Budget
from factory.calling import Calls, OpenModel, ReplayMiss
from factory.capabilities import resolve_formats, resolve_n
from factory.compiling import Job
from factory.curation import Committed, Curation
from factory.estimating.amounts import Key
from factory.generating import Generation, make_row
from factory.journal import Journal
from factory.prices import cost
from factory.types import LedgerEntry, Usage

MEASURES = ("requests", "calls", "prompt_tokens", "completion_tokens", "nano", "bound", "latency")
"""Of each row and key: attempts sent, calls decided, tokens, nano-USD at today's price, the upper bound of what was
lost, seconds in flight."""
PLACE = {name: place for place, name in enumerate(MEASURES)}
SETTLED_CALLS = 5
"""Calls after the first wave from which their latency can be told."""
LEAST_ROWS = 2
"""Rows from which an interval can be told."""


@dataclass(slots=True)
class Sample:
    """Rows 0 … n−1 as the journal has them whole.

    `accepted`: dataset rows of each. `table`: by key, one list of MEASURES a row. `residence`: seconds from a row's
    first request to its last answer, without the wait for a slot. `booked`: the sums by key of all that the journal
    holds, rows that are not whole and probes included; `paid`: what was spent, in nano-USD, lost attempts at their
    upper bounds. `busy_s`: seconds in which calls of these rows were in flight. `compute_s`: seconds of this process
    for a row. `duplicates`: candidates dropped as near-duplicates; `exposure`: accepted rows that each offered
    candidate was compared with, summed up. `settled`: latency once
    connections stand, by the mean latency: at best, and expected.
    """

    accepted: list[int] = field(default_factory=list)
    table: dict[Key, list[list[float]]] = field(default_factory=dict)
    residence: list[float] = field(default_factory=list)
    booked: dict[Key, list[float]] = field(default_factory=dict)
    paid: int = 0
    busy_s: float = 0.0
    compute_s: float = 0.0
    duplicates: int = 0
    exposure: float = 0.0
    settled: tuple[float, float] = (1.0, 1.0)

    @property
    def rows(self) -> int:
        return len(self.accepted)


async def read_sample(job: Job, models: dict[str, OpenModel], journal: Journal) -> Sample:
    """Replay the plan's rows from the first one on, up to the first that is not whole. Makes no call.

    Raises JournalDamaged, and FactoryError where a scorer fails.
    """
    sample = Sample()
    await _replay(job, Calls(journal, Budget(None), models), sample)
    entries: list[LedgerEntry] = []
    for entry in journal.entries():
        key = _key(job, models, entry)
        _book(sample.booked.setdefault(key, [0.0] * len(MEASURES)), entry, models)
        if entry.row is not None and entry.row < sample.rows:
            rows = sample.table.setdefault(key, [[0.0] * len(MEASURES) for _ in range(sample.rows)])
            _book(rows[entry.row], entry, models)
            entries.append(entry)
    sample.paid = journal.spent_nano()
    sample.busy_s, sample.residence = _times(entries, sample.rows)
    sample.settled = _settled(entries)
    return sample


async def _replay(job: Job, calls: Calls, sample: Sample) -> None:
    generation = Generation(job.plan, job.steps, calls, filters=job.filters)
    keep = job.steps[-1].config.keep
    curation = Curation(job.filters, None, keep.fallback, keep.top_k)
    limit = job.plan.size if job.plan.size is not None else job.recipe.max_rows_planned() or 0
    started = time.process_time()
    try:
        generation = replace(generation, n_modes=await resolve_n(generation), formats=await resolve_formats(generation))
        for row in range(limit):
            before = curation.accepted
            committed = curation.commit(await make_row(generation, row))
            sample.accepted.append(curation.accepted - before)
            _count_duplicates(sample, committed, before)
    except ReplayMiss:
        pass  # the first row that is not whole: where the sample ends
    sample.compute_s = (time.process_time() - started) / max(1, sample.rows)


def _count_duplicates(sample: Sample, committed: Committed, accepted_before: int) -> None:
    dropped = sum(verdict.stage == "dedup" for verdict in committed.verdicts)
    sample.duplicates += dropped
    sample.exposure += accepted_before * (dropped + len(committed.accepted))


def _key(job: Job, models: Mapping[str, OpenModel], entry: LedgerEntry) -> Key:
    """Step, purpose and role of an attempt: the ledger holds the model's name alone."""
    if entry.purpose == "probe":
        roles = [entry.step, *models]
        return "", "probe", next((role for role in roles if _is(models, role, entry.model)), entry.model)
    step = next((step for step in job.steps if step.name == entry.step), None)
    if step is None:
        return entry.step, entry.purpose, entry.model
    if entry.purpose == "judge":
        roles = [str(spec.options.get("model")) for spec in step.config.score]
    else:
        roles = [role for role, _ in step.config.models]
    return step.name, entry.purpose, next((r for r in [*roles, *models] if _is(models, r, entry.model)), entry.model)


def _is(models: Mapping[str, OpenModel], role: str, name: str) -> bool:
    return role in models and models[role].config.name == name


def _book(sums: list[float], entry: LedgerEntry, models: Mapping[str, OpenModel]) -> None:
    tokens = (entry.prompt_tokens or 0, entry.completion_tokens or 0)
    sums[PLACE["requests"]] += 1
    sums[PLACE["calls"]] += entry.outcome in ("ok", "reused", "gave_up")
    sums[PLACE["prompt_tokens"]] += tokens[0]
    sums[PLACE["completion_tokens"]] += tokens[1]
    sums[PLACE["nano"]] += _price_today(entry, models) if any(tokens) else 0
    sums[PLACE["bound"]] += (entry.upper_bound_nano_usd or 0) if entry.nano_usd is None else 0
    sums[PLACE["latency"]] += entry.latency_s or 0.0


def _price_today(entry: LedgerEntry, models: Mapping[str, OpenModel]) -> float:
    """What the attempt's tokens cost by the recipe's prices, NaN where no price is known."""
    model = next((model for model in models.values() if model.config.name == entry.model), None)
    if model is None or model.price.unknown:
        return float("nan")
    usage = Usage(
        entry.prompt_tokens or 0,
        entry.completion_tokens or 0,
        entry.cached_tokens or 0,
        entry.reasoning_tokens or 0,
        gpu_seconds=entry.gpu_seconds,
    )
    return float(cost(model.price, usage) or 0)


def _times(entries: list[LedgerEntry], rows: int) -> tuple[float, list[float]]:
    """Seconds in which any of these attempts was in flight; and of each row, the longest chain of its calls.

    Within a step candidates run side by side, and so do its judges; generating, repairing and judging follow each
    other, and so do steps.
    """
    spans: list[tuple[float, float]] = []
    calls: dict[tuple[Any, ...], tuple[float, float]] = {}
    for entry in entries:
        if entry.latency_s is None:
            continue
        start = datetime.fromisoformat(entry.at).timestamp()
        end = start + entry.latency_s
        spans.append((start, end))
        where = (entry.row, entry.step, entry.purpose, entry.call_id)
        first, last = calls.get(where, (start, end))
        calls[where] = (min(first, start), max(last, end))
    stages: dict[tuple[Any, ...], float] = {}
    for (row, step, purpose, _), (start, end) in calls.items():
        stages[row, step, purpose] = max(stages.get((row, step, purpose), 0.0), end - start)
    residence = [0.0] * rows
    for (row, _, _), seconds in stages.items():
        residence[row] += seconds
    return _union(spans), residence


def _settled(entries: list[LedgerEntry]) -> tuple[float, float]:
    """How long calls take once connections stand, by the mean of all. The first wave of calls waits for them, so the
    calls after it tell; where there were none, the quickest call tells the best case and nothing the expected one."""
    spans = [(datetime.fromisoformat(entry.at).timestamp(), entry.latency_s) for entry in entries if entry.latency_s]
    if not spans:
        return 1.0, 1.0
    mean = sum(latency for _, latency in spans) / len(spans)
    answered = min(start + latency for start, latency in spans)
    later = [latency for start, latency in spans if start >= answered]
    if len(later) < SETTLED_CALLS:
        return min(latency for _, latency in spans) / mean, 1.0
    ratio = min(1.0, sum(later) / len(later) / mean)
    return ratio, ratio


def _union(spans: list[tuple[float, float]]) -> float:
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
