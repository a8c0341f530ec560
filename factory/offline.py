"""Calls made elsewhere: requests that are missing in the journal, as a batch file; and its answers, journaled.

The file is that of OpenAI's Batch API and of vLLM's `run-batch`, so a cluster without network can do the calls. The
same `factory run` goes on with what was imported; in rounds, since later steps need what earlier ones wrote.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from factory.backends import Backend
from factory.batch_jobs import Courier
from factory.batch_jobs.lines import Answer, body_of, read_answers, request_line
from factory.batch_jobs.record import Asked
from factory.batch_jobs.settling import outcome_of, settle
from factory.calling import Draining, OpenModel, worst_case
from factory.capabilities import FORMATS, backend_structure, probe_format, probe_n, wanted_forms
from factory.compiling import Job, compile_job
from factory.curation import Curation
from factory.errors import CallFault, JournalDamaged, Permanent, UsageError
from factory.files import write_atomic
from factory.journal import Journal, Stored
from factory.journal.rows import ASSUMED
from factory.locking import hold
from factory.prices import PriceTable, price_for, unknown_price
from factory.recipe import ModelConfig, Recipe
from factory.run_dir import RunDir, open_run_dir
from factory.session import RunOptions, Session, open_session, resolve_capabilities
from factory.types import LedgerEntry, Request, Response
from factory.window import Window

MADE_HERE = frozenset({"echo", "embedded"})
"""Backends that cost nothing and need nothing: their calls are made at once, so that what needs them can be asked."""
ERRORS_SHOWN = 20


class Gatherer:
    """A backend that notes what it is asked and answers nothing. `real` knows what the model's server can do."""

    unbounded = True
    keeps_intents = True

    def __init__(self, role: str, real: Backend):
        self.role, self.real = role, real
        self.honours_n, self.local = real.honours_n, real.local
        self.structured = getattr(real, "structured", "prompt")
        self.requests: dict[str, Request] = {}

    async def generate(self, request: Request) -> Response:
        """Note the request, unless a batch has it already. Always raises Draining: there is no answer now."""
        call_id = request.call_id
        if not (isinstance(self.real, Courier) and self.real.knows(call_id)):
            self.requests[call_id] = request
        raise Draining

    async def close(self) -> None:
        await self.real.close()


def export_requests(recipe: Recipe, options: RunOptions, file: Path | None) -> dict[str, Any]:
    """Write every request that the run would make now, and that the journal has no answer to, into a batch file.

    One file a model, where several are asked: `FILE-ROLE.jsonl`. How candidates and JSON are asked for is decided
    here, and journaled, where no probe has shown it: one request a candidate, JSON by the prompt alone or as the
    recipe's `structured:` says. Raises what opening a run raises, and StorageFull.
    """
    return asyncio.run(_export(compile_job(recipe), replace(options, replay=True), file))


async def _export(job: Job, options: RunOptions, file: Path | None) -> dict[str, Any]:
    async with open_session(job, options) as session:
        await _assume(session)
        gatherers = _gather_from(session.calls.models)
        await _walk(session)
        found = {gatherer.role: gatherer for gatherer in gatherers if gatherer.requests}
        target = file or session.run.path / "requests.jsonl"
        files = _write(session, found, target)
        requests = [request for gatherer in found.values() for request in gatherer.requests.values()]
        return {
            "run": str(session.run.path),
            "file": str(files[0]) if files else None,
            "files": [str(path) for path in files],
            "requests": len(requests),
            "rows": len({request.row for request in requests}),
            "steps": dict(Counter(request.step for request in requests)),
        }


async def _assume(session: Session) -> None:
    """Journal a decision in the place of every probe that has not been made: then nothing can change it later."""
    recipe = session.job.recipe
    for role, model in session.calls.models.items():
        if model.config.backend in MADE_HERE:
            continue
        probes: list[Request] = []
        steps = [step for step in session.job.steps if role in {name for name, _ in step.config.models}]
        if model.backend.honours_n is None and any(step.config.candidates > 1 for step in steps):
            probes.append(probe_n(recipe, role, model.config))
        if model.config.structured == "auto" and backend_structure(model.backend) is None:
            probes += [
                probe_format(recipe, role, model.config, form, mode)
                for asked, _, form in wanted_forms(session.job.steps)
                if asked == role
                for mode in FORMATS
            ]
        await _assume_probes(session.journal, model, probes)


async def _assume_probes(journal: Journal, model: OpenModel, probes: Iterable[Request]) -> None:
    """All of a step's probes, or none: where the first was really made, the rest follows from it."""
    open_ = [probe for probe in probes if journal.get(probe.call_id) is None]
    made = {(probe.step, probe.n) for probe in probes} - {(probe.step, probe.n) for probe in open_}
    for probe in open_:
        if (probe.step, probe.n) in made:
            continue
        told = "not asked, since its requests are exported"
        stored = Stored(probe.call_id, ASSUMED, None, told, 0, model.price.source, probe.content())
        await journal.settle(_assumed_entry(journal, model, probe), None, stored)


def _assumed_entry(journal: Journal, model: OpenModel, probe: Request) -> LedgerEntry:
    return LedgerEntry(
        call_id=probe.call_id,
        attempt=journal.next_attempt(probe.call_id),
        row=None,
        step=probe.step,
        purpose=probe.purpose,
        model=model.config.name,
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        reasoning_tokens=0,
        nano_usd=0,
        upper_bound_nano_usd=None,
        price_source=model.price.source,
        outcome=ASSUMED,
        latency_s=None,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _gather_from(models: dict[str, OpenModel]) -> list[Gatherer]:
    """Put a gatherer in the place of every backend whose calls are not made here; no pace is kept."""
    gatherers = []
    for role, model in models.items():
        if model.config.backend in MADE_HERE:
            continue
        gatherers.append(Gatherer(role, model.backend))
        unpaced = model.config.model_copy(update={"requests_per_minute": None, "tokens_per_minute": None})
        models[role] = replace(model, config=unpaced, backend=gatherers[-1])
    return gatherers


async def _walk(session: Session) -> None:
    """Start the rows that a run would start now. Those that miss a call end there."""
    job, recipe = session.job, session.job.recipe
    target = None if recipe.rows == "all" else recipe.rows
    keep = job.steps[-1].config.keep
    curation = Curation(job.filters, target, keep.fallback, keep.top_k)
    limit = job.plan.size if job.plan.size is not None else recipe.max_rows_planned() or 0
    generation = await resolve_capabilities(session)
    window = Window(generation, curation, session.budget, lambda outcome, committed: None, target, limit, limit, True)
    await window.replay()
    if window.miss is not None:
        session.calls.live = True
        await window.advance()
    if window.failure is not None and not any(
        isinstance(model.backend, Gatherer) and model.backend.requests for model in session.calls.models.values()
    ):
        raise window.failure


def _write(session: Session, found: dict[str, Gatherer], target: Path) -> list[Path]:
    """The files and, before them, the durable record of what they ask."""
    record = Exported(session.run)
    record.add(session.calls.models, found)
    files = []
    for role, gatherer in found.items():
        path = target if len(found) == 1 else target.with_name(f"{target.stem}-{role}{target.suffix or '.jsonl'}")
        real = gatherer.real.live if isinstance(gatherer.real, Courier) else gatherer.real
        lines = [request_line(name, body_of(real, asked)) for name, asked in gatherer.requests.items()]
        write_atomic(path, b"\n".join(lines) + b"\n")
        files.append(path)
    return files


class Exported:
    """What was exported from a run: one file an export in `RUN/journal/exports`, and the models' configurations."""

    def __init__(self, run: RunDir):
        self.directory = run.journal / "exports"

    def add(self, models: dict[str, OpenModel], found: dict[str, Gatherer]) -> None:
        """Record the requests that are not recorded yet. Raises StorageFull."""
        if not found:
            return
        known = self.calls()
        lines = []
        for role, gatherer in found.items():
            model = models[role]
            for call_id, request in gatherer.requests.items():
                if call_id not in known:
                    bound = worst_case(model.price, request)
                    lines.append(
                        orjson.dumps({"call_id": call_id, "role": role, "bound": bound, "content": request.content()})
                    )
        configs = {role: models[role].config.model_dump(mode="json", exclude_unset=True) for role in found}
        local = {role: gatherer.local for role, gatherer in found.items()}
        path = self.directory / "models.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        told = {role: {"config": config, "local": local[role]} for role, config in configs.items()}
        write_atomic(path, json.dumps({**before, **told}, indent=1))
        if lines:
            number = 1 + max((int(old.stem) for old in self._files()), default=0)
            write_atomic(self.directory / f"{number:05d}.jsonl", b"\n".join(lines) + b"\n")

    def calls(self) -> dict[str, dict[str, Any]]:
        """Every exported request by its call_id. Raises JournalDamaged."""
        found: dict[str, dict[str, Any]] = {}
        for path in self._files():
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                try:
                    call = orjson.loads(line)
                    found[call["call_id"]] = call
                except (ValueError, KeyError, TypeError) as error:
                    raise JournalDamaged(f"{path}: line {number} is damaged ({error})", "export again") from error
        return found

    def models(self) -> dict[str, tuple[str, PriceTable]]:
        """Name and price of each role's model: the recipe's price, 0 where it runs here, else unknown."""
        found = {}
        for role, told in json.loads((self.directory / "models.json").read_text()).items():
            config = ModelConfig.model_validate(told["config"])
            found[role] = config.name, _price_of(config, local=told["local"])
        return found

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("[0-9]*.jsonl"))


def _price_of(config: ModelConfig, *, local: bool) -> PriceTable:
    """Who made the calls is not known here, so no provider's price is taken for them."""
    price = price_for(config, local=local or config.backend in ("vllm", "transformers"))
    if price.source in ("recipe", "local"):
        return price
    return unknown_price("the calls were made elsewhere, and the recipe gives no price")


def import_responses(path: Path, file: Path, notice: Callable[[str], None]) -> dict[str, Any]:
    """Journal the answers of a batch's output file under the calls they belong to. Again: nothing changes.

    A request that was refused for good (a 400, say) is journaled as refused; one that failed otherwise is left open,
    to be exported again. Raises UsageError where nothing of the file belongs to the run, RunDirError, JournalDamaged.
    """
    run = open_run_dir(path)
    exported = Exported(run)
    calls = exported.calls()
    if not calls:
        raise UsageError(f"{path}: nothing was exported from this run", "`factory export-requests` comes first")
    if not file.is_file():
        raise UsageError(f"{file}: no such file", "give the output file of the batch")
    with hold(run.path), Journal.open(run.journal, writable=True, notice=notice) as journal:
        found = asyncio.run(_import(journal, calls, exported.models(), file))
    if found["unknown"] and not found["imported"] + found["already"] + found["refused"] + found["failed"]:
        raise UsageError(
            f"{file}: none of its {found['unknown']} lines answers a request of {path}",
            "each line names its request in `custom_id`; is it the output of another run's export?",
        )
    return {"run": str(run.path), **found}


async def _import(
    journal: Journal, calls: dict[str, dict[str, Any]], models: dict[str, tuple[str, PriceTable]], file: Path
) -> dict[str, Any]:
    counts = dict.fromkeys(("imported", "already", "refused", "unknown", "failed"), 0)
    errors: list[dict[str, Any]] = []

    def tell(kind: str, answer: Answer, message: str) -> None:
        counts[kind] += 1
        if len(errors) < ERRORS_SHOWN:
            errors.append({"line": answer.number, "custom_id": answer.call_id or None, "message": message[:300]})

    for answer in read_answers(file):
        call = calls.get(answer.call_id)
        if answer.value is None or not answer.call_id:
            tell("failed", answer, "no JSON object with a `custom_id`")
        elif call is None:
            tell("unknown", answer, "no request of this run has this custom_id")
        elif journal.get(answer.call_id) is not None:
            counts["already"] += 1
        else:
            outcome = outcome_of(answer.value, call["content"])
            if isinstance(outcome, CallFault) and not isinstance(outcome, Permanent):
                tell("failed", answer, outcome.message)
                continue
            name, price = models[call["role"]]
            asked = Asked(answer.call_id, journal.next_attempt(answer.call_id), call["bound"], call["content"])
            await settle(journal, asked, outcome, name, price)
            if isinstance(outcome, Permanent):
                tell("refused", answer, f"{outcome.outcome}: {outcome.message}")
            else:
                counts["imported"] += 1
    return {**counts, "errors": errors}
