"""The end of a run: audit, card, ledger, the dataset in its place, and the manifest's status last."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factory.auditing import Audit, failed, write_json
from factory.auditing.of_run import read_rows
from factory.auditors import Data
from factory.card import CardFacts, PairFacts
from factory.errors import FactoryError, GateFailed, Incomplete, Interrupted
from factory.journal import Journal
from factory.ledger import Sums, write_ledger
from factory.outputs import Outputs
from factory.planning import Plan
from factory.reporting import ReportFacts, card_plots, card_summary, run_files, tell_story, write_report
from factory.results import Result
from factory.run_dir import RunDir, model_facts, plan_facts, versions, write_manifest
from factory.types import Check
from factory.whole_set import PassResult, WholeSet

SHOWN = 5
UNCHECKED = "no gate was checked"
COMPARED = ("compared with", "against")
"""Facts of a filter that name the data it compares with, by digest."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: `complete`, `incomplete`, `interrupted` or `rejected`; and the error to raise, if any."""

    status: str
    reason: str
    error: FactoryError | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the walk counted. `rejected`: candidates by stage; `previous`: the manifest that was there before.

    `rows`: those of the dataset; `passes`: what passes over the whole set left of the accepted ones.
    """

    run: RunDir
    plan: Plan
    journal: Journal
    ending: Ending
    rows: int
    planned: int
    rejected: Mapping[str, int]
    reasons: Sequence[tuple[str, str, int]]
    served: Mapping[str, Sequence[str]]
    n_modes: Mapping[str, bool]
    formats: Mapping[str, str]
    calls: int
    replayed: int
    notices: Sequence[str]
    notice: Callable[[str], None]
    previous: Mapping[str, Any]
    passes: Sequence[PassResult] = ()
    scorers: Sequence[Mapping[str, Any]] = ()
    filters: Sequence[Mapping[str, Any]] = ()
    flagged: Mapping[str, int] = field(default_factory=dict)
    publish_anyway: str = ""
    report: bool = True

    @property
    def accepted(self) -> int:
        """Rows before any pass over the whole set."""
        return self.passes[0].before if self.passes else self.rows


Auditing = Callable[[Sequence[Path]], Awaitable[Audit | None]]
"""The audit of the rows in these files; None where nothing is audited. An Incomplete or Interrupted ends the run so."""


async def finish(outputs: Outputs, facts: RunFacts, auditing: Auditing) -> tuple[Ending, Result]:
    """Write everything. A gate that says no turns the ending into `rejected`.

    A dataset that was complete is replaced by an unfinished extension only when that has all its rows.
    """
    splits = outputs.close()
    _tell_of_changes(facts)
    if outputs.whole is not None:
        facts = _after_passes(facts, outputs.whole)
    audit, facts = await _audit(outputs, facts, auditing)
    await facts.journal.flush()
    sums = Sums()
    write_ledger(sums.watch(facts.journal.entries()), facts.run.ledger)
    ledger = sums.as_json(facts.rows)
    checks = () if audit is None else audit.checks
    ending = _gate(facts, audit)
    if _keeps_previous(facts, ending):
        outputs.discard()
        manifest = {**facts.previous, "last_attempt": {"status": ending.status, "reason": ending.reason}}
        dataset = facts.run.dataset
        report = None
    else:
        rejected = ending.status == "rejected"
        dataset = facts.run.rejected_dataset if rejected else facts.run.dataset
        manifest = {**_told_pairs(outputs), **_manifest(facts, ending, splits, ledger, checks, dataset.name)}
        report = _report_facts(outputs, facts, audit, manifest)
        outputs.publish(_card_facts(facts, outputs, ending, splits, ledger, checks, report), rejected=rejected)
        if rejected and facts.previous.get("status") != "complete" and facts.run.dataset.exists():
            shutil.rmtree(facts.run.dataset)
            facts.notice("rows that an unfinished run had left in dataset/ are gone from there: a gate failed")
    write_manifest(facts.run, manifest)
    if report is not None:
        write_report(facts.run.report, report)
    total = ledger["total"]
    summary = {
        "run": str(facts.run.path),
        "dataset": str(dataset),
        "rows": facts.rows,
        "planned": facts.planned,
        "rejected": dict(facts.rejected),
        "spent_usd": total["cost_usd"],
        "calls": facts.calls,
        "replayed": facts.replayed,
        "status": ending.status,
        "gates": [{"name": check.name, "subject": check.subject, "verdict": check.verdict} for check in checks],
        "audit": None if audit is None else {"verdict": audit.verdict, "gating": audit.gating, "areas": audit.areas},
        "report": str(facts.run.report) if report is not None else None,
        "upper_bound_usd": total["upper_bound_usd"],
        "splits": splits,
        "notices": list(facts.notices),
        **_told_passes(facts),
        **_told_flags(facts),
        **_told_pairs(outputs),
    }
    return ending, Result(facts.run, summary, tuple(checks))


async def _audit(outputs: Outputs, facts: RunFacts, auditing: Auditing) -> tuple[Audit | None, RunFacts]:
    """The audit of a complete run. One that cannot be finished leaves the run incomplete."""
    if facts.ending.status != "complete":
        return None, facts
    try:
        audit = await auditing(outputs.files())
    except Interrupted as error:
        return None, replace(facts, ending=Ending("interrupted", f"{error.message}; {UNCHECKED}", error))
    except Incomplete as error:
        reason = f"the audit is not finished: {error.message}; {UNCHECKED}"
        return None, replace(facts, ending=Ending("incomplete", reason, error))
    return audit, facts


def _report_facts(
    outputs: Outputs, facts: RunFacts, audit: Audit | None, manifest: Mapping[str, Any]
) -> ReportFacts | None:
    """What the report tells, with `audit.json` written: it holds the same figures. None where no report is wanted."""
    gating = bool(facts.plan.recipe.audit)
    found = (audit or Audit((), gating)).as_json()
    report = None
    if facts.report:
        dataset = Data(facts.plan.recipe.name, read_rows(outputs.files()))
        report = ReportFacts(found, facts.plan.recipe.name, dataset, run=run_files(facts.run, manifest))
        found["story"] = tell_story(report)
    if audit is not None or report is not None:
        write_json(facts.run.audit, found)
    return report


def _after_passes(facts: RunFacts, whole: WholeSet) -> RunFacts:
    """The facts with what the passes over the whole set dropped taken out."""
    rows = whole.results[-1].after
    mine = [(stage, f"`{name}` over the whole set", count) for (stage, name), count in sorted(whole.dropped.items())]
    reasons = sorted([*facts.reasons, *mine], key=lambda reason: -reason[2])
    names = ", ".join(f"`{result.name}`" for result in whole.results)
    facts.notice(f"{names} over the whole set kept {rows} of {facts.rows} accepted rows")
    rejected = whole.rejected(facts.rejected)
    return replace(facts, rows=rows, rejected=rejected, reasons=reasons, passes=tuple(whole.results))


def _told_passes(facts: RunFacts) -> dict[str, Any]:
    return {"whole_set": [asdict(result) for result in facts.passes]} if facts.passes else {}


def _tell_of_changes(facts: RunFacts) -> None:
    """Say where a filter now compares with other data than when the dataset was made."""
    before = {one["name"]: one for one in facts.previous.get("filters", ())}
    for one in facts.filters:
        known = before.get(one["name"], {})
        if any(key in known and known[key] != one[key] for key in COMPARED if key in one):
            facts.notice(
                f"what the filter `{one['name']}` compares with has changed since this dataset was made: rows that "
                "were in it may fall, and others may come back"
            )


def _told_flags(facts: RunFacts) -> dict[str, Any]:
    """Accepted rows that filters flagged, by stage."""
    return {"flagged": dict(facts.flagged)} if facts.flagged else {}


def _gate(facts: RunFacts, audit: Audit | None) -> Ending:
    bad = failed(audit.checks) if audit is not None and audit.gating else []
    if not bad:
        return facts.ending
    checks = audit.checks if audit is not None else ()
    if facts.publish_anyway:
        facts.notice(f"{len(bad)} of {len(checks)} checks failed; published all the same: {facts.publish_anyway}")
        return facts.ending
    told = "\n".join(f"  {check.title}: {check.sentence or 'failed'}" for check in bad[:SHOWN])
    more = f"\n  … and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    error = GateFailed(
        f"{len(bad)} of {len(checks)} checks failed\n{told}{more}",
        "the rows lie in dataset.rejected/; audit.json and report.html say why (--publish-anyway REASON overrides it)",
    )
    return Ending("rejected", error.message, error)


def _keeps_previous(facts: RunFacts, ending: Ending) -> bool:
    """Whether the complete dataset of before stays; says what happens to it where that could surprise."""
    before = _accepted_before(facts.previous)
    if facts.previous.get("status") != "complete" or not facts.run.dataset.exists():
        return False
    what = "accepted rows" if facts.passes or facts.previous.get("whole_set") else "rows"
    if ending.status in ("incomplete", "interrupted"):
        if facts.accepted < before:
            facts.notice(
                f"the complete dataset of {before} {what} stays as it was: this run got to {facts.accepted} {what} only"
            )
            return True
        if facts.accepted > before:
            first = "" if what != "rows" else f"; its first {before} rows are as they were"
            facts.notice(f"the dataset grew from {before} to {facts.accepted} {what} and is marked incomplete{first}")
        else:
            facts.notice(f"the dataset still has its {before} {what}, and is marked incomplete")
    elif ending.status == "rejected":
        rows = facts.previous.get("rows", 0)
        facts.notice(f"dataset/ still holds the {rows} rows of before; the new ones lie in dataset.rejected/")
    elif facts.accepted < before:
        facts.notice(f"the dataset was cut from {before} to {facts.accepted} {what}; the journal keeps all answers")
    return False


def _pair_facts(outputs: Outputs) -> PairFacts | None:
    if outputs.pairs is None:
        return None
    return PairFacts(outputs.pair_splits, dict(sorted(outputs.pairs.pairing.without.items())))


def _told_pairs(outputs: Outputs) -> dict[str, Any]:
    pairs = _pair_facts(outputs)
    return {} if pairs is None else {"preference": {"splits": dict(pairs.splits), "without": dict(pairs.without)}}


def _accepted_before(previous: Mapping[str, Any]) -> int:
    """The rows that an earlier run accepted: like is compared with like, whatever passes left of them."""
    passes = previous.get("whole_set")
    rows: int = passes[0]["before"] if passes else previous.get("rows", 0)
    return rows


def _card_facts(
    facts: RunFacts,
    outputs: Outputs,
    ending: Ending,
    splits: Mapping[str, int],
    ledger: Mapping[str, Any],
    checks: Sequence[Check],
    report: ReportFacts | None,
) -> CardFacts:
    plots = {} if report is None else card_plots(report)
    return CardFacts(
        plan=facts.plan,
        status=ending.status,
        reason=ending.reason,
        rows=facts.rows,
        planned=facts.planned,
        splits=splits,
        models=model_facts(facts.served, facts.plan),
        rejected=facts.rejected,
        reasons=facts.reasons,
        ledger=ledger,
        examples=outputs.examples,
        checks=checks,
        audit="" if report is None or not checks else card_summary(report, plots),
        plots=plots,
        published_anyway=facts.publish_anyway if failed(checks) else "",
        version=versions()["text-data-factory"],
        passes=facts.passes,
        scorers=facts.scorers,
        filters=facts.filters,
        flagged=facts.flagged,
        pairs=_pair_facts(outputs),
    )


def _told_check(check: Check) -> dict[str, Any]:
    told: dict[str, Any] = {"name": check.name, "verdict": check.verdict, "value": check.value}
    if check.subject:
        told["subject"] = check.subject
    return {**told, "sentence": check.sentence} if check.verdict == "FAIL" else told


def _manifest(
    facts: RunFacts,
    ending: Ending,
    splits: Mapping[str, int],
    ledger: Mapping[str, Any],
    checks: Sequence[Check],
    dataset: str,
) -> dict[str, Any]:
    recipe = facts.plan.recipe
    return {
        **plan_facts(facts.plan),
        "rows_wanted": recipe.rows,
        "rows": facts.rows,
        "splits": dict(splits),
        "planned": facts.planned,
        "rejected": dict(facts.rejected),
        **_told_passes(facts),
        **_told_flags(facts),
        "filters": [dict(one) for one in facts.filters],
        "scorers": [dict(scorer) for scorer in facts.scorers],
        "reasons": [list(reason) for reason in facts.reasons],
        "models": model_facts(facts.served, facts.plan),
        "one_request_for_all_candidates": dict(facts.n_modes),
        "structured": dict(facts.formats),
        "ledger": ledger["total"],
        "checks": [_told_check(check) for check in checks],
        **({"published_anyway": facts.publish_anyway} if facts.publish_anyway and failed(checks) else {}),
        "dataset": dataset,
        "notices": list(facts.notices),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": ending.reason,
        "status": ending.status,
    }
