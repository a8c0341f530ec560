"""What a row can still cost at most: the amount at which the budget admits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.calling import Calls, OpenModel, worst_case
from factory.generating import Generation, Step, build_request, candidate_requests, pick_model
from factory.parsing import describe
from factory.prompts import render
from factory.types import Message, Request

BYTES_PER_TOKEN = 8
"""A generous bound on the text that one generated token can add to a later prompt."""


def row_worst_case(generation: Generation, index: int) -> int:
    """Nano-USD: every step and repair at its worst case, and one retry of the largest call.

    Calls of the first step that the journal holds cost nothing. A later step's prompt is bounded by its template,
    the scope, and all that the steps before it may write. What scorers ask is covered by the calls' own leases.
    """
    plan, calls = generation.plan, generation.calls
    scope = plan.scope(plan.row(index))
    total = largest = written = 0
    for step in generation.steps:
        role = pick_model(plan.recipe, step.config, index)
        model = calls.models[role]
        messages = _sketch(step, scope, written) if written else render(step.template, scope).messages
        requests = candidate_requests(generation, step, role, index, messages)
        if not written:
            requests = [request for request in requests if not _is_paid(calls, model, request.call_id)]
        bounds = [worst_case(model.price, request) or 0 for request in requests]
        if step.config.repair:
            bounds += [_repair_bound(step, model, requests[0])] * step.config.candidates if requests else []
        total += sum(bounds)
        largest = max([largest, *bounds])
        written += (model.config.max_tokens or 0) * BYTES_PER_TOKEN
    return total + largest


def _is_paid(calls: Calls, model: OpenModel, call_id: str) -> bool:
    """Whether the budget knows of a call already: it is journaled, or an earlier process has sent it in a batch."""
    has_sent = getattr(model.backend, "has_sent", None)
    return calls.journal.get(call_id) is not None or (has_sent is not None and has_sent(call_id))


def _sketch(step: Step, scope: Mapping[str, Any], written: int) -> tuple[Message, ...]:
    """A message at least as long as the step's prompt can be."""
    source = "".join(part.source for part in step.template.parts)
    return (Message("user", source + str(dict(scope)) + "x" * written),)


def _repair_bound(step: Step, model: OpenModel, request: Request) -> int:
    """A repair call: the prompt again, the answer it got, a sentence on what is wrong, and the wanted form."""
    answer = "x" * ((model.config.max_tokens or 0) * BYTES_PER_TOKEN + 1000)
    messages = (*request.messages, Message("assistant", answer), Message("user", describe(step.output)))
    repair = build_request(
        model.config,
        messages,
        seed=0,
        row=request.row,
        step=request.step,
        response_format=request.response_format,
    )
    return worst_case(model.price, repair) or 0
