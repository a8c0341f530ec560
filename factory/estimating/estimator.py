"""From a recipe to an estimate: make the pilot where one is wanted, look into the journal, or guess."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

from factory.calling import OpenModel
from factory.compiling import Job, compile_job
from factory.errors import BudgetSpent, UsageError
from factory.estimating.amounts import Estimate
from factory.estimating.guess import guess_run, planned_rows
from factory.estimating.measured import estimate_from
from factory.estimating.report import as_json
from factory.estimating.sample import LEAST_ROWS, Sample, read_sample
from factory.journal import Journal
from factory.opening import Unopened, open_models
from factory.previewing import generate_rows
from factory.prices import price_for
from factory.recipe import Recipe
from factory.recipe.models import IN_PROCESS
from factory.run_dir import RunDir, check_plan, choose_run_dir
from factory.session import RunOptions


def estimate_recipe(recipe: Recipe, options: RunOptions, *, pilot: int | None = None) -> dict[str, Any]:
    """What `factory estimate --json` prints; see `factory.estimating.report.as_json`.

    `pilot`: rows that are really made first, in the run that `run` will use; else the journal of that run tells, where
    there is one; else it is a guess, which needs no key and no network. Raises UsageError for a bad recipe, directory
    or pilot, and with a pilot what a run raises.
    """
    if pilot is not None and pilot < LEAST_ROWS:
        raise UsageError(
            f"--pilot {pilot}: a pilot is {LEAST_ROWS} rows at least", "20 tell much, for example --pilot 20"
        )
    job = compile_job(recipe)
    run = choose_run_dir(job.plan, options.out, options.runs_dir)
    check_plan(run, job.plan)
    notes: list[str] = []
    if pilot is not None:
        _make_pilot(job, pilot, options, notes)
    models = open_unasked(job)
    estimate, paid = asyncio.run(_estimate(job, models, run, "journal" if pilot is None else "pilot"))
    if job.audited:
        notes.append(f"what the audit asks of {', '.join(sorted(job.audited))} is not in this")
    estimate = replace(estimate, notes=(*notes, *estimate.notes))
    cap = None if recipe.budget is None else recipe.budget.usd
    return as_json(estimate, models, paid=paid, cap=cap, run=str(run.path))


def open_unasked(job: Job) -> dict[str, OpenModel]:
    """The models of a recipe, as far as they can be opened here. What runs in process is free, installed or not."""
    models = open_models(job.plan, job.steps, job.filters, job.audited, must_open=False)
    for role, model in models.items():
        if isinstance(model.backend, Unopened) and model.config.backend in IN_PROCESS:
            models[role] = replace(model, price=price_for(model.config, local=True))
    return models


def _make_pilot(job: Job, pilot: int, options: RunOptions, notes: list[str]) -> None:
    """Make the pilot's rows; no more of them than the run needs at least. A spent budget ends it early."""
    rows, limit = planned_rows(job)
    least = math.ceil(rows / job.steps[-1].config.keep.top_k) if job.recipe.rows != "all" else limit
    wanted = min(pilot, least, limit)
    if wanted < pilot:
        notes.append(f"the pilot is {wanted} rows: the run may need no more")
    try:
        generate_rows(job.recipe, wanted, options)
    except BudgetSpent as error:
        notes.append(f"the pilot ended early: {error.message}")


async def _estimate(job: Job, models: dict[str, OpenModel], run: RunDir, basis: str) -> tuple[Estimate, int]:
    """The estimate, and what was paid already in nano-USD."""
    try:
        sample = await _sample(job, models, run)
        if sample.rows >= LEAST_ROWS:
            return estimate_from(job, models, sample, basis), sample.paid
        found = guess_run(job, models)
        if sample.booked:
            found = replace(found, notes=("the journal holds too few whole rows to tell from: this is a guess",))
        return found, sample.paid
    finally:
        for model in models.values():
            await model.backend.close()


async def _sample(job: Job, models: dict[str, OpenModel], run: RunDir) -> Sample:
    if not any(run.journal.glob("*.sqlite")):
        return Sample()
    journal = Journal.open(run.journal, writable=False, notice=lambda told: None)
    try:
        return await read_sample(job, models, journal)
    finally:
        journal.close()
