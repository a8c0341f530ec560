"""One row's whole story, and where a run stands: read from the journal and the files, also while the run is live."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from factory.batch_jobs import show_batches
from factory.errors import FactoryError, UsageError
from factory.journal import Journal
from factory.ledger import summarise
from factory.locking import holder
from factory.progress import read_progress
from factory.run_dir import RunDir, open_run_dir, read_manifest
from factory.types import NANO

Notice = Callable[[str], None]


TRIES = 3


def _ignore(text: str) -> None:
    """Who asks for no notices gets none."""


def explain_row(path: Path | str, row: int, notice: Notice = _ignore) -> dict[str, Any]:
    """Variation, calls (prompt, answers, attempts, cost), what was accepted and what was rejected, of `meta.row` = row.

    Raises UsageError when the run knows nothing of the row.
    """
    run = open_run_dir(path)
    calls = _calls(run, row, notice)
    accepted, rejected = _verdicts(run, row)
    if not calls and not accepted and not rejected:
        manifest = read_manifest(run) or {}
        planned = manifest.get("planned")
        hint = f"the run committed rows 0 to {planned - 1}" if planned else "the run has made no row yet"
        raise UsageError(f"{run.path}: nothing is known of row {row}", hint)
    variation = next((line["meta"]["variation"] for line in accepted), None)
    variation = variation or next((line["variation"] for line in rejected), None)
    known = [call["cost_usd"] for call in calls]
    return {
        "row": row,
        "variation": variation,
        "calls": calls,
        "accepted": accepted,
        "rejected": rejected,
        "cost_usd": None if any(cost is None for cost in known) else sum(known),
        "committed": bool(accepted or rejected),
    }


def _calls(run: RunDir, row: int, notice: Notice) -> list[dict[str, Any]]:
    journal = Journal.open(run.journal, writable=False, notice=notice)
    try:
        attempts: dict[str, list[dict[str, Any]]] = {}
        for entry in journal.entries(row=row):
            attempts.setdefault(entry.call_id, []).append(
                {"attempt": entry.attempt, "outcome": entry.outcome, "latency_s": entry.latency_s, "at": entry.at}
            )
        return [_call(stored, attempts.get(stored.call_id, [])) for stored in journal.calls(row=row)]
    finally:
        journal.close()


def _call(stored: Any, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    request, response = stored.request, stored.response
    return {
        "call_id": stored.call_id,
        "step": request["step"],
        "purpose": request["purpose"],
        "index": request["index"],
        "model": request["identity"],
        "messages": [{"role": role, "content": content} for role, content in request["messages"]],
        "outcome": stored.outcome,
        "message": stored.message,
        "answers": [choice.text for choice in response.choices] if response else [],
        "cost_usd": None if stored.nano_usd is None else stored.nano_usd / NANO,
        "attempts": attempts,
    }


def _verdicts(run: RunDir, row: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What was accepted and what was rejected of a row, by the files of the last run that ended.

    A live run may swap them while they are read: then they are looked for again.
    """
    for left in range(TRIES - 1, -1, -1):
        try:
            return _lines(_parquet_files(run), row, meta=True), _lines([run.rejects], row, meta=False)
        except FileNotFoundError:
            if not left:
                raise
            time.sleep(0.1)
    raise AssertionError("the loop returns or raises")


def _parquet_files(run: RunDir) -> list[Path]:
    directory = run.dataset if run.dataset.exists() else run.rejected_dataset
    return sorted((directory / "data").glob("*.parquet"))


def _lines(paths: list[Path], row: int, *, meta: bool) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    for path in paths:
        if path.exists():
            try:
                table = pq.read_table(path)
                rows = pc.struct_field(table["meta"], "row") if meta else table["row"]
                found += table.filter(pc.equal(rows, row)).to_pylist()
            except (pa.ArrowInvalid, KeyError) as error:
                raise FactoryError(
                    f"{path}: cannot be read ({str(error)[:200]})",
                    "run the same command again: it writes the files anew from the journal, without a call",
                ) from error
    return found


def run_status(path: Path | str) -> dict[str, Any]:
    """Status, counts and who holds the directory. A run that died says so: `running` needs a live holder.

    The manifest tells of the last run that ended, `progress` of one that is live; `last_attempt` of a later one that
    ended or died without putting its rows into the dataset.
    """
    run = open_run_dir(path)
    manifest = read_manifest(run) or {}
    progress = read_progress(run.progress) or {}
    owner = holder(run.path)
    live = owner is not None
    ended = "rows" in manifest
    status = "running" if live else manifest.get("status", "unknown")
    if not live and status == "running":
        status = "stopped"
    counts = manifest if ended and not live else progress
    return {
        "run": str(run.path),
        "status": status,
        "reason": "" if live else manifest.get("reason", ""),
        "name": manifest.get("name"),
        "plan_sha": manifest.get("plan_sha"),
        "rows": counts.get("rows", counts.get("accepted", 0)),
        "target": progress.get("target") if live else manifest.get("rows_wanted", progress.get("target")),
        "planned": counts.get("planned", counts.get("committed", 0)),
        "rejected": counts.get("rejected", {}),
        "whole_set": counts.get("whole_set", []),
        "spent_usd": _spent(manifest, progress, live),
        "dataset": str(run.dataset) if run.dataset.exists() else None,
        "holder": asdict(owner) if owner else None,
        "batches": show_batches(run.path),
        "progress": progress if live else None,
        "last_attempt": _last_attempt(manifest, progress) if ended and not live else None,
    }


def _last_attempt(manifest: dict[str, Any], progress: dict[str, Any]) -> dict[str, str] | None:
    """A run after the one that the manifest tells of: one that died, or one whose rows were fewer."""
    if progress.get("status") == "running":
        return {"status": "stopped", "reason": f"{progress.get('accepted', 0)} rows accepted by then"}
    found: dict[str, str] | None = manifest.get("last_attempt")
    return found


def _spent(manifest: dict[str, Any], progress: dict[str, Any], live: bool) -> float | None:
    if not live and "ledger" in manifest:
        cost: float | None = manifest["ledger"].get("cost_usd")
        return cost
    nano = progress.get("spent_nano")
    return None if nano is None else nano / NANO


def run_ledger(path: Path | str, by: str | None, notice: Notice = _ignore) -> dict[str, Any]:
    """The ledger's totals from the journal, also of a live run; per accepted row where the rows are known."""
    run = open_run_dir(path)
    journal = Journal.open(run.journal, writable=False, notice=notice)
    try:
        return summarise(journal.entries(), by=by, accepted_rows=int(run_status(path)["rows"]))
    finally:
        journal.close()
