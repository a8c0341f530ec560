"""A look before the run: drawn rows and prompts without a call, or rows really made and journaled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from factory.calling import ReplayMiss
from factory.compiling import Job, compile_job
from factory.curation import Committed, Curation
from factory.generating import Generation, Step, make_row, pick_model
from factory.planning import Plan
from factory.prompts import render
from factory.recipe import Recipe
from factory.session import RunOptions, Session, go_live, open_session, resolve_capabilities
from factory.types import NANO, Cost, Message, RowOutcome, Scored
from factory.worst_case import row_worst_case


def preview_rows(recipe: Recipe, n: int) -> dict[str, Any]:
    """Variation and the first step's prompt of the first n rows; later steps' prompts need what is written before.

    Raises RecipeError. Makes no call and no file.
    """
    job = compile_job(recipe)
    return {"run": None, "rows": [_row(job, index) for index in range(_count(job.plan, n))]}


def generate_rows(recipe: Recipe, n: int, options: RunOptions) -> dict[str, Any]:
    """Make the first n rows with real calls, journaled in the run that `run` will use, and judge them as it will.

    Raises what a run raises: UsageError, Incomplete, JournalDamaged.
    """
    job = compile_job(recipe)
    return asyncio.run(_generate(job, _count(job.plan, n), options))


def _count(plan: Plan, n: int) -> int:
    return n if plan.size is None else min(n, plan.size)


async def _generate(job: Job, n: int, options: RunOptions) -> dict[str, Any]:
    async with open_session(job, options) as session:
        try:
            outcomes = await _make(session, await resolve_capabilities(session), n)
        except ReplayMiss:
            outcomes = await _make(session, await go_live(session), n)
        session.calls.tell_notes()
        counters = session.calls.counters
        cost = sum((outcome.cost for outcome in outcomes), Cost())
        keep = job.steps[-1].config.keep
        curation = Curation(job.filters, None, keep.fallback, keep.top_k)
        return {
            "run": str(session.run.path),
            "rows": [_told(job, outcome, curation.commit(outcome)) for outcome in outcomes],
            "calls": counters.calls,
            "replayed": counters.replayed,
            "cost_usd": None if cost.nano_usd is None else cost.nano_usd / NANO,
        }


async def _make(session: Session, generation: Generation, n: int) -> list[RowOutcome]:
    """The first n rows. When one fails, those in flight still finish and are journaled, then it is raised."""

    async def make(index: int) -> RowOutcome:
        if session.calls.live:
            await session.budget.enter(index, row_worst_case(generation, index))
        try:
            return await make_row(generation, index)
        finally:
            session.budget.release(index)

    results = await asyncio.gather(*(make(index) for index in range(n)), return_exceptions=True)
    outcomes: list[RowOutcome] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        outcomes.append(result)
    return outcomes


def _told(job: Job, outcome: RowOutcome, committed: Committed) -> dict[str, Any]:
    candidates = [_candidate(scored, f"accepted, score {scored.total:.3g}") for _, scored in committed.accepted]
    for verdict in committed.verdicts:
        if not verdict.accepted:
            matched = f" (matches {verdict.matched})" if verdict.matched else ""
            candidates.append(_candidate(verdict.scored, f"rejected at {verdict.stage}: {verdict.reason}{matched}"))
    candidates.sort(key=lambda told: (told["step"], told["candidate"]))
    return {**_row(job, outcome.row), "later_steps": [], "candidates": candidates}


def _row(job: Job, index: int) -> dict[str, Any]:
    plan = job.plan
    variation = plan.row(index)
    prompt = render(job.steps[0].template, plan.scope(variation))
    return {
        "row": index,
        "variation": dict(variation.values),
        "source": dict(variation.source) if variation.source else None,
        "prompts": [{**_asked(plan, job.steps[0], index), "messages": _messages(prompt.messages)}],
        "later_steps": [step.name for step in job.steps[1:]],
        "candidates": [],
    }


def _asked(plan: Plan, step: Step, index: int) -> dict[str, Any]:
    model = plan.recipe.models[pick_model(plan.recipe, step.config, index)]
    return {"step": step.name, "model": model.name, "candidates": step.config.candidates}


def _candidate(scored: Scored, verdict: str) -> dict[str, Any]:
    candidate = scored.candidate
    return {
        "step": candidate.step,
        "candidate": candidate.index,
        "text": candidate.text,
        "fields": candidate.fields,
        "scores": {score.name: score.value for score in scored.scores},
        "verdict": verdict,
    }


def _messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]
