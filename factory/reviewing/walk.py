"""An audit of any data: read it, run the auditors (with models, through a journal), write audit.json and report."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from factory import batch_jobs
from factory.auditing import Audit, run_auditors, write_json
from factory.auditing.aside import Aside
from factory.auditing.asking import Asker
from factory.auditing.of_run import Reading, asking, read_rejects
from factory.auditing.running import Auditor
from factory.auditors import AuditContext, Data, read_data
from factory.calling import Draining, ReplayMiss
from factory.compiling import Job, compile_job
from factory.errors import Incomplete, Interrupted, UsageError
from factory.files import storage_fault
from factory.ledger import Sums, write_ledger
from factory.recipe import build_recipe
from factory.recipe.document import read
from factory.reporting import ReportFacts, tell_story, write_report
from factory.reviewing.spec import Spec, Wanted, read_spec
from factory.session import RunOptions, Session, go_live, open_session, resolve_capabilities
from factory.types import Check

WRITER = "data"
"""The role that would write, if anything were written here."""
Told = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Review:
    """What was found: `summary` is what `--json` prints; `files` were written, by what they are."""

    audit: Audit
    summary: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Way:
    out: Path | None
    replay: bool
    notice: Callable[[str], None]
    progress: Told


def review(
    wanted: Wanted,
    *,
    out: Path | None = None,
    replay: bool = False,
    notice: Callable[[str], None] = lambda text: None,
    progress: Told = lambda what, share: None,
) -> Review:
    """Audit data. `out`: a folder for `audit.json`, `report.html`, and the journal of what models were asked.

    Raises UsageError or RecipeError (bad data or options; models without `out`), Incomplete (a server is gone, the
    budget is spent, `replay` misses a call: resumable), Interrupted (Ctrl-C), StorageFull.
    """
    spec = read_spec(wanted)
    if spec.models and out is None:
        raise UsageError("these auditors ask models, and what is paid for must be kept", "name a folder with --out")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file", "name a folder")
    dataset = read_data(
        wanted.data, columns=wanted.columns or None, label=wanted.label, split=wanted.split, limit=wanted.limit
    )
    reading = Reading()
    auditors = [reading.auditor(one, _view(dataset, one.on, one.label)) for one in spec.audits]
    context = AuditContext(seed=wanted.seed, rejects=_rejects(wanted.data), base=spec.base)
    way = _Way(out, replay, notice, progress)
    try:
        if spec.models:
            audit = asyncio.run(_with_models(wanted, spec, auditors, context, way))
        else:
            audit = Audit(tuple(asyncio.run(run_auditors(auditors, replace(context, progress=progress)))))
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted: nothing was written", "the same command starts again") from error
    audit = replace(audit, checks=(*audit.checks, *_not_compared(wanted.data, audit)))
    audit = replace(audit, facts={"data": {"name": Path(wanted.data).name, "rows": len(dataset)}, **reading.facts()})
    return _write(audit, wanted, dataset, next((one.reference for one in auditors if one.reference), None), out)


def _view(dataset: Data, on: tuple[str, ...] | None, label: str | None) -> Data:
    """The rows as an auditor is to see them; the same object where it wants nothing else."""
    if (on is None or on == dataset.columns) and (label is None or label == dataset.label):
        return dataset
    return Data(dataset.name, dataset.table, on or dataset.columns, label or dataset.label)


def _not_compared(data: str, audit: Audit) -> list[Check]:
    """What a run's own audit looks at and this one cannot: the private sources of its recipe."""
    recipe = Path(data).expanduser() / "recipe.yaml"
    if not recipe.is_file() or not any(check.area == "privacy" for check in audit.checks):
        return []
    given = read(recipe.read_text("utf-8", "replace"), recipe.name).data
    source = given.get("from") if isinstance(given, dict) else None
    if not isinstance(source, dict) or source.get("private") is not True:
        return []
    told = "The rows that this run was made from are private, and this audit does not know them."
    advice = "`factory run RECIPE` again audits with them and makes no call; or give them as --reference"
    return [Check("privacy.verbatim", None, sentence=told, advice=advice)]


def _rejects(data: str) -> Data | None:
    """The candidates that fell, where the data is a run."""
    path = Path(data).expanduser()
    return read_rejects(path / "rejects.parquet") if (path / "manifest.json").is_file() else None


async def _with_models(wanted: Wanted, spec: Spec, auditors: list[Auditor], context: AuditContext, way: _Way) -> Audit:
    job = _job(wanted, spec)
    async with open_session(job, RunOptions(out=way.out, replay=way.replay, notice=way.notice)) as session:
        aside = Aside()
        wake = None if way.replay else lambda: go_live(session)
        generation = await _generation(session, way)
        asker = Asker(session.calls, "audit", wanted.seed, generation, wake)

        def told(what: str, share: float) -> None:
            aside.check()
            way.progress(what, share)

        whole = replace(context, progress=told, **asking(asker, aside))
        try:
            checks = await aside.run(lambda: run_auditors(auditors, whole))
        except ReplayMiss as miss:
            hint = "run without --replay to make the calls that are missing"
            raise Incomplete(f"the journal has no answer for {miss}", hint, code="replay_miss") from miss
        except (Draining, asyncio.CancelledError) as error:
            aside.stop()
            told_ = "interrupted before the audit was done"
            raise Interrupted(told_, "the same command goes on: nothing is paid twice") from error
        finally:
            await batch_jobs.settle_left(session.calls)
            await session.journal.flush()
            write_ledger(Sums().watch(session.journal.entries()), session.run.ledger)
        session.calls.tell_notes()
        return Audit(tuple(checks or ()))


async def _generation(session: Session, way: _Way) -> Any:
    return await (resolve_capabilities(session) if way.replay else go_live(session))


def _job(wanted: Wanted, spec: Spec) -> Job:
    """A job that writes nothing, with the models that auditors ask; its plan is the same for any data."""
    data = {
        "name": "audit",
        "rows": 1,
        "seed": wanted.seed,
        "prompt": "-",
        "models": {**spec.models, WRITER: {"backend": "echo", "max_tokens": 1}},
        "generate": {"model": WRITER},
        **({"budget": wanted.budget} if wanted.budget is not None else {}),
    }
    job = compile_job(build_recipe(data, base=spec.base, file=spec.file))
    parts = {"audit": hashlib.sha256(b"audit").hexdigest()}
    return replace(job, audits=spec.audits, plan=replace(job.plan, parts=parts, sha=parts["audit"]))


def _write(audit: Audit, wanted: Wanted, dataset: Data, reference: Data | None, out: Path | None) -> Review:
    found = audit.as_json()
    summary = {"data": wanted.data, "rows": len(dataset), **found, "out": None if out is None else str(out)}
    if out is None:
        return Review(audit, summary)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_fault(error, out) from error
    paths = {"audit": out / "audit.json", "report": out / "report.html"}
    facts = ReportFacts(found, Path(wanted.data).name, dataset, reference)
    found["story"] = tell_story(facts)
    write_json(paths["audit"], found)
    write_report(paths["report"], facts)
    return Review(audit, summary, paths)
