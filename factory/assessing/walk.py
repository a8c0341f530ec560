"""Every row of a dataset before the scorers: rows of one prompt together, in order, calls journaled."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from factory import batch_jobs
from factory.asking import Asking, scorer_context
from factory.assessing.report import Table, build_report
from factory.assessing.spec import Spec, Wanted, read_labels, read_spec
from factory.assessing.stopping import Stop, stopping
from factory.assessing.writing import write_files
from factory.calling import Calls, Draining, ReplayMiss
from factory.compiling import Job, compile_job
from factory.errors import BudgetSpent, Incomplete, Interrupted, UsageError
from factory.generating import Generation
from factory.journal import Stored
from factory.ledger import Sums, write_ledger
from factory.prompts import render_text
from factory.scorers import Context, as_text
from factory.scoring import Scorers, score
from factory.session import RunOptions, Session, go_live, open_session, resolve_capabilities
from factory.types import Candidate, Message, Prompt, Scored, Variation

GROUPS_AT_ONCE = 64
PROMPTED = frozenset({"judge", "pairwise", "prompt_copy", "reward", "perplexity", "logprob", "ifd", "similarity"})
OWN = frozenset({"prompt", "to", "between"})
"""Options with which such a scorer brings along what it compares with."""
Progressed = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found: `summary` is what `--json` prints; `files` were written, by what they are."""

    summary: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows that are candidates of one prompt; `first` is the number of the first."""

    first: int
    rows: tuple[int, ...]
    key: Any


def assess(
    wanted: Wanted,
    *,
    out: Path | None = None,
    replay: bool = False,
    notice: Callable[[str], None] = lambda text: None,
    progress: Progressed = lambda done, total: None,
) -> Assessment:
    """Run scorers over a dataset; with labels, tell how well they know good from bad.

    `out`: a folder for scores, report and plot, and for the journal of what models were asked: the same command again
    asks nothing twice. Raises UsageError or RecipeError (bad data, scorers or columns; models without `out`),
    Incomplete (a server is gone, the budget is spent, or `replay` misses a call: resumable), Interrupted (Ctrl-C).
    """
    spec = read_spec(wanted)
    job = _of_no_data(compile_job(spec.recipe, _names(spec)))
    labels = None if wanted.labels is None else read_labels(spec.source, wanted.labels, wanted.good)
    asks = any(scorer.roles for scorer in job.steps[-1].scorers.scorers)
    if asks and out is None:
        raise UsageError("these scorers ask models, and what is paid for must be kept", "name a folder with --out")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file", "name a folder")
    if blind := _without_prompt(wanted, job):
        notice(f"without --prompt, {', '.join(blind)} cannot see what was asked")
    return asyncio.run(_assess(wanted, spec, job, labels, _Way(out, replay, notice, progress, asks)))


@dataclass(frozen=True, slots=True)
class _Way:
    out: Path | None
    replay: bool
    notice: Callable[[str], None]
    progress: Progressed
    asks: bool


@dataclass(frozen=True, slots=True)
class _Live:
    """Open models and journal, and whether somebody asked to stop."""

    generation: Generation
    session: Session
    stop: Stop

    @property
    def calls(self) -> Calls:
        return self.session.calls


async def _assess(wanted: Wanted, spec: Spec, job: Job, labels: list[float | None] | None, way: _Way) -> Assessment:
    groups = list(_groups(wanted, spec))
    async with _session(job, way) as live:
        scored = await _score_all(wanted, spec, job, groups, live, way)
        ledger = None
        if live is not None:
            await live.session.journal.flush()
            sums = Sums()
            write_ledger(sums.watch(live.session.journal.entries()), live.session.run.ledger)
            ledger = sums.as_json(len(spec.source))
    scorers = job.steps[-1].scorers
    table = _table(wanted, spec, scorers, groups, scored, labels)
    report = build_report(scorers, table)
    notes = [told for one in scorers.scorers for told in (getattr(one.plugin, "notes", list)() or [])]
    summary = {
        "data": wanted.data,
        "rows": len(spec.source),
        "groups": len(groups) if wanted.group else None,
        "labels": wanted.labels,
        **report,
        "notes": notes,
        "ledger": ledger["total"] if ledger else None,
    }
    files = {} if way.out is None else write_files(way.out, summary, scorers, table)
    return Assessment({**summary, "out": None if way.out is None else str(way.out)}, files)


@asynccontextmanager
async def _session(job: Job, way: _Way) -> AsyncIterator[_Live | None]:
    """The open models and journal, where scorers ask models at all."""
    if not way.asks:
        yield None
        return
    assert way.out is not None
    async with open_session(job, RunOptions(out=way.out, replay=way.replay, notice=way.notice)) as session:
        with stopping(session.calls) as stop:
            try:
                generation = await (resolve_capabilities(session) if way.replay else go_live(session))
                yield _Live(generation, session, stop)
            except ReplayMiss as miss:
                raise Incomplete(
                    f"--replay: the journal has no answer for {miss}",
                    "run without --replay to make the calls that are missing",
                    code="replay_miss",
                ) from miss
            except (Draining, asyncio.CancelledError) as error:
                if not stop.asked:
                    raise
                told = "interrupted before all rows were scored"
                raise Interrupted(told, "the same command goes on: nothing is paid twice") from error
            finally:
                await batch_jobs.settle_left(session.calls)
        session.calls.tell_notes()


def _groups(wanted: Wanted, spec: Spec) -> Iterator[_Group]:
    """The rows by the group column, in the order of each group's first row; each for itself without one."""
    if wanted.group is None:
        for row in range(len(spec.source)):
            yield _Group(row, (row,), row)
        return
    members: dict[str, list[int]] = {}
    for row in range(len(spec.source)):
        members.setdefault(as_text(spec.source[row].get(wanted.group)), []).append(row)
    for key, rows in members.items():
        yield _Group(rows[0], tuple(rows), key)


async def _score_all(
    wanted: Wanted, spec: Spec, job: Job, groups: Sequence[_Group], live: _Live | None, way: _Way
) -> dict[int, Scored]:
    """Scores by row. So many groups at once; when one fails, those under way still finish and are journaled."""
    scorers, found = job.steps[-1].scorers, dict[int, Scored]()
    waiting = iter(groups)
    done = 0
    failed: list[BaseException] = []

    async def one(group: _Group) -> None:
        candidates, context = _row(wanted, spec, job, group, live)
        if live is not None:
            await live.calls.budget.enter(group.first, 0)
        try:
            scored = await score(scorers, candidates, context)
        finally:
            if live is not None:
                live.calls.budget.release(group.first)
        found.update(zip(group.rows, scored, strict=True))

    async def work() -> None:
        nonlocal done
        for group in waiting:
            try:
                await one(group)
            except (Exception, asyncio.CancelledError) as error:
                failed.append(error)
                if live is not None and not isinstance(error, BudgetSpent):
                    live.calls.drain()
            if failed:
                return
            done += 1
            way.progress(done, len(groups))

    workers = [asyncio.create_task(work()) for _ in groups[: _at_once(live)]]
    if live is not None:
        live.stop.tasks.update(workers)
    await asyncio.gather(*workers)
    if failed:
        raise next((error for error in failed if not isinstance(error, Draining)), failed[0])
    return found


def _at_once(live: _Live | None) -> int:
    """Groups under way: a batch is as large as what waits for it."""
    if live is None:
        return 1
    batched = [model.concurrency for model in live.calls.models.values() if model.keeps_intents]
    return max([GROUPS_AT_ONCE, *batched])


def _row(wanted: Wanted, spec: Spec, job: Job, group: _Group, live: _Live | None) -> tuple[list[Candidate], Context]:
    """A group's candidates, and what scorers may know of their row."""
    first = spec.source[group.first]
    asked = as_text(first.get(wanted.prompt)) if wanted.prompt else ""
    prompt = Prompt((Message("user", asked),) if asked else (), "")
    variation = Variation(group.first, _variation(first), _source(wanted, spec, first))
    scope = {**{key: value for key, value in first.items() if key != "meta"}, **variation.values}
    scope |= {"source": first, "row": group.first}
    candidates = [_candidate(spec, group, place) for place in range(len(group.rows))]
    if live is None:
        return candidates, Context(variation, prompt, scope, lambda text: render_text(text, scope))
    step, recipe = job.steps[-1].name, spec.recipe
    asking = Asking(live.calls, recipe.name, recipe.seed, live.generation.formats)
    return candidates, scorer_context(asking, variation, step, prompt, scope, _as_it_is)


def _of_no_data(job: Job) -> Job:
    """The job with a plan that is the same for any data and scorers: more rows, or others, find what was paid for.

    A call in the journal answers for its very messages, so nothing can be taken for what it is not.
    """
    parts = {"score": hashlib.sha256(b"score").hexdigest()}
    return replace(job, plan=replace(job.plan, parts=parts, sha=parts["score"]))


def _without_prompt(wanted: Wanted, job: Job) -> list[str]:
    """The scorers that look at a row's prompt, where there is none."""
    config = job.steps[-1].config.score
    return (
        []
        if wanted.prompt
        else [f"`{one.name}`" for one in config if one.name in PROMPTED and not one.options.keys() & OWN]
    )


def _names(spec: Spec) -> list[str]:
    """What templates see beside `source` and `row`: the columns, and the axes of a row that a run has made."""
    return [*spec.source.columns, *(_variation(spec.source[0]) if len(spec.source) else ())]


def _as_it_is(stored: Stored) -> Stored:
    return stored


def _candidate(spec: Spec, group: _Group, place: int) -> Candidate:
    row = spec.source[group.rows[place]]
    fields = {name: row.get(name) for name in spec.columns}
    meta = row.get("meta")
    model = str(meta.get("model")) if isinstance(meta, dict) and meta.get("model") else "data"
    text = "\n".join(as_text(value) for value in fields.values())
    return Candidate(group.first, "main", place, text, "stop", 0, model, fields)


def _source(wanted: Wanted, spec: Spec, row: dict[str, Any]) -> dict[str, Any]:
    """What stands for the source of a row: neither what is scored nor what is known of it."""
    aside = {*spec.columns, wanted.labels, wanted.group, "meta"}
    return {name: value for name, value in row.items() if name not in aside}


def _variation(row: dict[str, Any]) -> dict[str, Any]:
    """The axes of a row that a run has made."""
    meta = row.get("meta")
    try:
        found = json.loads(meta["variation"]) if isinstance(meta, dict) else {}
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _table(
    wanted: Wanted,
    spec: Spec,
    scorers: Scorers,
    groups: Sequence[_Group],
    scored: dict[int, Scored],
    labels: list[float | None] | None,
) -> Table:
    rows = range(len(spec.source))
    keys = {row: group.key for group in groups for row in group.rows}
    lengths = [sum(len(as_text(spec.source[row].get(name))) for name in spec.columns) for row in rows]
    return Table(
        scored=[scored[row] for row in rows],
        labels=labels,
        groups=[keys[row] for row in rows] if wanted.group else None,
        characters=lengths,
    )
