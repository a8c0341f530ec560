"""A run from recipe to dataset: set the stage, replay, call, commit, write, and the manifest last.

Resume has no code path of its own: the same command with a warm journal goes on.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from factory import batch_jobs
from factory.auditing import Audit
from factory.auditing.aside import Aside
from factory.auditing.asking import Asker
from factory.auditing.of_run import Material, audit_run
from factory.auditing.rehearsing import rehearse
from factory.calling import Draining, OpenModel, ReplayMiss
from factory.compiling import Job, compile_job
from factory.curation import Committed, Curation
from factory.errors import FactoryError, Incomplete, Interrupted, StorageFull, TargetNotReached
from factory.finishing import Ending, RunFacts, finish
from factory.outputs import Outputs
from factory.progress import Progress, model_states, write_progress
from factory.recipe import Recipe
from factory.results import Result
from factory.run_dir import point_latest, read_manifest
from factory.scoring.telling import scorer_facts, scorer_notes
from factory.session import RunOptions, Session, go_live, open_session, resolve_capabilities
from factory.types import RowOutcome
from factory.window import Window

GRACE_S = 5.0
"""Seconds that calls in flight get to finish after an interruption."""
TICK_S = 0.25
COLLECT = (50_000, 20, 100)
"""Thresholds of Python's cycle collector during a run, against the usual (700, 10, 10)."""
IDENTICAL_ROWS = 10
"""Rows in a row with nothing but identical candidates after which that is told."""
MAX_ROWS_IN_FLIGHT = 1024


@dataclass(slots=True)
class Walk:
    """A run under way: the session and what counts its rows."""

    session: Session
    curation: Curation
    outputs: Outputs
    window: Window
    started: float
    live_since: float | None = None
    done_before: int = 0
    interrupted: bool = False
    warned: bool = False
    identical_rows: int = 0
    doing: str = ""
    aside: Aside | None = None

    def tell(self, what: str, share: float) -> None:
        """What the audit is at, for the progress display; leaves it when the run is to stop."""
        if self.aside is not None:
            self.aside.check()
        self.doing = f"audit: {what}, {share:.0%}" if what else ""


def execute(recipe: Recipe, options: RunOptions) -> Result:
    """Run a recipe. Works where an event loop is already running (a notebook) too.

    Raises UsageError for a bad recipe, key or directory, GateFailed, Incomplete (resumable) or Interrupted; the last
    three have the Result of what was made so far in their `result` attribute.
    """
    job = compile_job(recipe)
    rehearse(job.plan, job.audits, job.columns)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        in_main = threading.current_thread() is threading.main_thread()
        return asyncio.run(_execute(job, options, handle_signals=in_main))
    return _in_thread(job, options)


def _in_thread(job: Job, options: RunOptions) -> Result:
    """Run in a thread with a loop of its own; an interruption of the waiting thread drains the run."""
    box: dict[str, Any] = {}
    handle: dict[str, Callable[[], object]] = {}

    def work() -> None:
        try:
            box["result"] = asyncio.run(_execute(job, options, handle_signals=False, expose=handle))
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=work, name="factory-run", daemon=True)
    thread.start()
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            if "interrupt" not in handle or box.get("asked"):
                raise
            box["asked"] = True
            handle["interrupt"]()
    if "error" in box:
        raise box["error"]
    result: Result = box["result"]
    return result


async def _execute(
    job: Job,
    options: RunOptions,
    *,
    handle_signals: bool,
    expose: dict[str, Callable[[], object]] | None = None,
) -> Result:
    with _seldom_collecting():
        async with open_session(job, options) as session:
            walk = _begin(session)
            for told in (told for step in job.steps for told in scorer_notes(step.scorers)):
                session.calls.notice(told)
            with _signals(walk, handle_signals, expose):
                return await _run(walk)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Rows make many objects and hardly a cycle, so that looking for cycles as often as usual finds nothing."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _begin(session: Session) -> Walk:
    job, recipe = session.job, session.job.recipe
    flags = any(one.flags for one in job.filters)
    outputs = Outputs(session.run, job.plan, job.columns, job.passes, flags)
    target = None if recipe.rows == "all" else recipe.rows
    keep = job.steps[-1].config.keep
    curation = Curation(job.filters, target, keep.fallback, keep.top_k)
    limit = job.plan.size if job.plan.size is not None else recipe.max_rows_planned() or 0
    in_flight = _rows_in_flight(session.calls.models)
    waves = any(model.keeps_intents for model in session.calls.models.values())
    window = Window(session.generation(), curation, session.budget, outputs.write, target, limit, in_flight, waves)
    walk = Walk(session, curation, outputs, window, time.monotonic())
    window.sink = lambda outcome, committed: _take(walk, outcome, committed)
    return walk


def _take(walk: Walk, outcome: RowOutcome, committed: Committed) -> None:
    """A committed row goes to the files; a model that repeats itself row after row is told of once."""
    walk.outputs.write(outcome, committed)
    n = walk.session.job.steps[-1].config.candidates
    same = sum(verdict.reason.startswith("duplicate_candidate") for verdict in outcome.rejected)
    walk.identical_rows = walk.identical_rows + 1 if n > 1 and same == n - 1 else 0
    if walk.identical_rows == IDENTICAL_ROWS:
        walk.session.calls.notice(
            f"all {n} candidates of {IDENTICAL_ROWS} rows in a row are identical: the model ignores seeds, or its "
            "temperature is 0; more candidates only cost more"
        )


def _rows_in_flight(models: Mapping[str, OpenModel]) -> int:
    """Twice the slots of the model that has most: rows that wait before another attempt must not starve its slots.

    Those of a batch model are bounded by its `concurrency` alone.
    """
    live = [2 * model.concurrency for model in models.values() if not model.keeps_intents]
    batched = [model.concurrency for model in models.values() if model.keeps_intents]
    return max([min(MAX_ROWS_IN_FLIGHT, max([2, *live])), *batched])


@contextmanager
def _signals(walk: Walk, handle: bool, expose: dict[str, Callable[[], object]] | None) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) drains the run, the second leaves at once."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if walk.interrupted:
            os._exit(130)
        walk.interrupted = True
        if walk.aside is not None:
            walk.aside.stop()
        walk.session.calls.notice("stopping: calls in flight get a few seconds (Ctrl-C again leaves at once)")
        walk.session.calls.drain()
        batch_jobs.stand_down(walk.session.calls)
        loop.call_later(GRACE_S, walk.window.cancel)

    if expose is not None:
        expose["interrupt"] = lambda: loop.call_soon_threadsafe(interrupt)
    installed = []
    if handle:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, interrupt)
                installed.append(number)
    try:
        yield
    finally:
        for number in installed:
            loop.remove_signal_handler(number)


async def _run(walk: Walk) -> Result:
    ticker = asyncio.create_task(_tick(walk))
    failure: BaseException | None = None
    try:
        await _replay_then_call(walk)
    except FactoryError as error:
        failure = error
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker
    walk.session.calls.tell_notes()
    failure = failure or walk.window.failure
    if failure is not None and (not isinstance(failure, Incomplete) or isinstance(failure, StorageFull)):
        raise failure  # after StorageFull the rows written so far may be torn: what lies in dataset/ stays
    await batch_jobs.settle_left(walk.session.calls)
    await walk.session.journal.flush()
    ending, result = await finish(walk.outputs, _facts(walk, _ending(walk, failure)), partial(_audit, walk))
    _report(walk, ending.status)
    point_latest(walk.session.run)
    if ending.error is not None:
        ending.error.result = result
        raise ending.error
    return result


async def _replay_then_call(walk: Walk) -> None:
    """Replay in order; then go live, unless there is nothing more to do."""
    session, window = walk.session, walk.window
    try:
        window.generation = await resolve_capabilities(session)
        await window.replay()
    except ReplayMiss as miss:
        window.miss = miss
    if window.miss is None or session.calls.draining:
        return
    if session.options.replay:
        raise Incomplete(
            f"--replay: the journal has no answer for {window.miss}",
            "run without --replay to make the calls that are missing",
            code="replay_miss",
        )
    walk.live_since, walk.done_before = time.monotonic(), _done(window)
    try:
        window.generation = await go_live(session)
    except Draining:  # interrupted while the probe was in flight
        return
    await window.advance()


def _ending(walk: Walk, failure: BaseException | None) -> Ending:
    """How the run ended: complete, or why not."""
    window, recipe = walk.window, walk.session.job.recipe
    if window.reached or (window.target is None and window.committed >= window.limit and failure is None):
        return Ending("complete", "", None)
    if walk.interrupted:
        told = f"interrupted with {window.accepted} rows accepted"
        return Ending("interrupted", told, Interrupted(told, "the same command goes on: nothing is paid twice"))
    if isinstance(failure, FactoryError):
        return Ending("incomplete", failure.message, failure)
    worst = walk.curation.top_reasons(1)
    why = f"; most fall at `{worst[0][0]}`: {worst[0][1]} ({worst[0][2]})" if worst else ""
    error = TargetNotReached(
        f"{window.accepted} of {recipe.rows} rows after all {window.committed} planned rows (max_planned){why}",
        "raise max_planned, or loosen what rejects most; what was made is kept and used",
    )
    return Ending("incomplete", error.message, error)


def _facts(walk: Walk, ending: Ending) -> RunFacts:
    session, calls = walk.session, walk.session.calls
    return RunFacts(
        run=session.run,
        plan=session.job.plan,
        journal=session.journal,
        ending=ending,
        rows=walk.curation.accepted,
        planned=walk.curation.committed,
        rejected=walk.curation.rejected_by_stage(),
        reasons=walk.curation.top_reasons(20),
        served={role: sorted(names) for role, names in calls.served.items()},
        n_modes=dict(walk.window.generation.n_modes),
        formats={" ".join(where): mode for where, mode in walk.window.generation.formats.items()},
        calls=calls.counters.calls,
        replayed=calls.counters.replayed,
        notices=session.notices,
        notice=calls.notice,
        previous=read_manifest(session.run) or {},
        scorers=[told for step in session.job.steps for told in scorer_facts(step.name, step.scorers)],
        filters=[{"name": one.name, **one.facts} for one in session.job.filters if one.facts],
        flagged=dict(sorted(walk.curation.flagged.items())),
        publish_anyway=session.options.publish_anyway,
        report=session.options.report,
    )


async def _audit(walk: Walk, files: Sequence[Path]) -> Audit | None:
    """The audit, beside the event loop. Raises Interrupted, Incomplete (a model is gone, `--replay` misses a call)."""
    session, recipe = walk.session, walk.session.job.recipe
    wanted = session.options.report if recipe.audit is None else bool(recipe.audit)
    if not wanted:
        return None
    if not walk.interrupted:
        session.calls.reopen()  # drained when the target was reached
    walk.aside = aside = Aside()
    wake = None if session.options.replay else partial(go_live, session)
    asker = Asker(session.calls, recipe.name, recipe.seed, walk.window.generation, wake)
    material = Material(session.job.plan, session.job.audits, files, session.run.rejects, asker, walk.tell)
    ticker = asyncio.create_task(_tick(walk))
    try:
        audit = await aside.run(lambda: audit_run(material, aside))
    except ReplayMiss as miss:
        hint = "run without --replay to make the calls that are missing"
        raise Incomplete(f"the journal has no answer for {miss}", hint, code="replay_miss") from miss
    except Draining:
        pass
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker
    if walk.interrupted:
        raise Interrupted("interrupted during the audit", "the same command goes on: nothing is paid twice")
    return audit


async def _tick(walk: Walk) -> None:
    while True:
        _warn_early(walk)
        _report(walk, "running")
        await asyncio.sleep(TICK_S)


def _warn_early(walk: Walk) -> None:
    if walk.warned or walk.window.target is None:
        return
    warning = walk.curation.early_warning(walk.window.limit)
    if warning:
        walk.warned = True
        walk.session.calls.notice(warning)


def _report(walk: Walk, status: str) -> None:
    progress = snapshot(walk, status)
    write_progress(walk.session.run.progress, progress)
    if walk.session.options.on_progress is not None:
        walk.session.options.on_progress(progress)


def snapshot(walk: Walk, status: str) -> Progress:
    """The counts of this moment."""
    window, counters, budget = walk.window, walk.session.calls.counters, walk.session.budget
    now = time.monotonic()
    live = max(now - walk.live_since, 1e-9) if walk.live_since is not None else None
    return Progress(
        status=status,
        run=str(walk.session.run.path),
        accepted=window.accepted,
        target=window.target,
        committed=walk.curation.committed,
        limit=window.limit,
        running=window.running,
        in_flight=counters.in_flight,
        calls=counters.calls,
        replayed=counters.replayed,
        retries=counters.retries,
        prompt_tokens=counters.prompt_tokens,
        completion_tokens=counters.completion_tokens,
        spent_nano=_spent(walk),
        cap_nano=budget.cap,
        elapsed_s=now - walk.started,
        tokens_per_s=counters.completion_tokens / live if live else 0.0,
        eta_s=_seconds_left(walk, live) if status == "running" else None,
        rejected=walk.curation.rejected_by_stage(),
        reasons=tuple(walk.curation.top_reasons(5)),
        notices=tuple(walk.session.notices[-5:]),
        models=model_states(walk.session.calls.models),
        gpu_seconds=counters.gpu_seconds,
        doing=walk.doing,
    )


def _done(window: Window) -> int:
    """What is counted towards the end: accepted rows, or committed ones where every source row is taken once."""
    return window.accepted if window.target is not None else window.committed


def _seconds_left(walk: Walk, live: float | None) -> float | None:
    """By the rate since the first call; None while nothing is known of it."""
    window = walk.window
    gained = _done(window) - walk.done_before
    if live is None or gained <= 0:
        return None
    wanted = window.target if window.target is not None else window.limit
    return max(0.0, (wanted - _done(window)) * live / gained)


def _spent(walk: Walk) -> int | None:
    """Nano-USD by the journal, with a budget or without; None where no model has a known price: that is no 0."""
    session = walk.session
    if session.calls.models and all(model.price.unknown for model in session.calls.models.values()):
        return None
    return session.journal.spent_nano()
