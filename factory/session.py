"""What an execution holds open: the directory's lock, the journal, the budget, the models."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from factory import batch_jobs
from factory.budget import Budget
from factory.calling import Calls, OpenModel
from factory.capabilities import resolve_formats, resolve_n
from factory.compiling import Job
from factory.generating import Generation
from factory.journal import Journal
from factory.locking import hold
from factory.opening import check_budget, check_open, check_tasks, open_models
from factory.progress import Progress
from factory.run_dir import RunDir, check_plan, choose_run_dir, start
from factory.types import NANO

REPORT = "FACTORY_REPORT"
"""The environment variable that says `off` where many small runs are made and nobody looks at their reports."""


def wants_report() -> bool:
    """Whether a run is reported where nobody says."""
    return os.environ.get(REPORT, "").strip().lower() not in ("off", "0", "no", "false")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run, beside the recipe. `on_progress` gets a snapshot four times a second, `notice` single sentences.

    `publish_anyway`: why a dataset that fails its gates is to be published all the same. `report`: whether to write
    `report.html` and the card's plots, and to audit where the recipe does not ask for it.
    """

    out: Path | None = None
    runs_dir: Path = Path("runs")
    reuse: tuple[Path, ...] = ()
    replay: bool = False
    retry_failed: bool = False
    publish_anyway: str = ""
    report: bool = field(default_factory=wants_report)
    on_progress: Callable[[Progress], None] | None = None
    notice: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """An open run directory, with everything a row needs."""

    job: Job
    options: RunOptions
    run: RunDir
    journal: Journal
    budget: Budget
    calls: Calls
    notices: list[str]

    def generation(self) -> Generation:
        """What rows share, before it is known how candidates are asked for."""
        return Generation(self.job.plan, self.job.steps, self.calls, filters=self.job.filters)


@asynccontextmanager
async def open_session(job: Job, options: RunOptions) -> AsyncIterator[Session]:
    """Check everything that can be checked, then lock the directory and open the journal.

    Raises UsageError (no key, a directory of another plan or in use), StorageFull, JournalDamaged. A model that
    cannot be opened is no error yet where the journal may have all that is needed.
    """
    plan = job.plan
    run = choose_run_dir(plan, options.out, options.runs_dir)
    check_plan(run, plan)
    warm = options.replay or bool(options.reuse) or any(run.journal.glob("*.sqlite"))
    models = open_models(plan, job.steps, job.filters, job.audited, must_open=not warm)
    try:
        check_tasks(plan.recipe, job.steps, models, job.filters)
        check_budget(plan.recipe, models, job.steps, job.filters)
        with hold(run.path):
            check_plan(run, plan)
            start(run, plan)
            session = await _open(job, options, run, models)
            try:
                yield session
            finally:
                await batch_jobs.stop(models)
                session.journal.close()
    finally:
        for model in models.values():
            await model.backend.close()


async def _open(job: Job, options: RunOptions, run: RunDir, models: dict[str, OpenModel]) -> Session:
    notices: list[str] = []

    def notice(text: str) -> None:
        if text in notices:  # what a journaled probe shows is found again when a run goes live
            return
        notices.append(text)
        if options.notice is not None:
            options.notice(text)

    reuse = [path / "journal" for path in options.reuse]
    journal = Journal.open(run.journal, writable=True, reuse=reuse, notice=notice, retry_failed=options.retry_failed)
    try:
        await batch_jobs.take_over(models, run.path, journal, notice)
    except BaseException:
        journal.close()
        raise
    budget_config = job.recipe.budget
    cap = None if budget_config is None else round(budget_config.usd * NANO)
    budget = Budget(cap, journal.spent_nano())
    calls = Calls(journal, budget, models, notice=notice)
    batch_jobs.join(calls)
    return Session(job, options, run, journal, budget, calls, notices)


async def resolve_capabilities(session: Session) -> Generation:
    """The generation with what the servers can do: known of their backends, or found by journaled probes.

    Raises ReplayMiss when a probe may not be made now.
    """
    generation = session.generation()
    return replace(generation, n_modes=await resolve_n(generation), formats=await resolve_formats(generation))


async def go_live(session: Session) -> Generation:
    """Allow calls from now on. Raises what kept a model from being opened."""
    check_open(session.calls.models)
    session.calls.live = True
    return await resolve_capabilities(session)
