"""What a row can still cost at most: the amount at which the budget admits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from factory.calling import Calls, OpenModel, worst_case
from factory.generating import Generation, Step, build_request, candidate_requests, pick_model
from factory.opening import embedding_role
from factory.parsing import describe
from factory.prompts import TEMPLATE_SUFFIXES, render
from factory.recipe.files import find_file, is_path
from factory.scoring import Scorer
from factory.types import Message, Request, Task

BYTES_PER_TOKEN = 8
"""A generous bound on the text that one generated token can add to a later prompt."""
MESSAGES = 4
"""Messages of a scorer's question: system, user, and two more where it is asked again."""


def row_worst_case(generation: Generation, index: int) -> int:
    """Nano-USD: every step and repair at its worst case, and one retry of the largest call.

    Calls of the first step that the journal holds cost nothing. A later step's prompt is bounded by its template,
    the scope, and all that the steps before it may write. So is what scorers ask, by all that they may show; those of
    their calls that the journal holds are taken off.
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
        asked = _scorer_bounds(generation, step, index, sum(len(one.content.encode()) for one in messages), scope)
        total += sum(bounds) + sum(asked)
        largest = max([largest, *bounds, *asked])
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


def _scorer_bounds(generation: Generation, step: Step, row: int, prompt: int, scope: Mapping[str, Any]) -> list[int]:
    """What each call of the step's scorers, of filters, and for `keep: diversity`, can cost that is not made yet.

    `prompt`: bytes of the row's prompt. A panel's calls are shared evenly by its models.
    """
    calls, n = generation.calls, step.config.candidates
    writers = (calls.models[role].config.max_tokens or 0 for role, _ in step.config.models)
    answer = max(writers) * BYTES_PER_TOKEN
    fixed = prompt + len(str(dict(scope)).encode())
    bounds: dict[str, list[int]] = {}
    for spec, scorer in zip(step.config.score, step.scorers.scorers, strict=True):
        if not scorer.roles:
            continue
        most = scorer.calls(n) if scorer.calls is not None else 1 if scorer.whole else n
        shown = getattr(scorer.plugin, "answers", n if scorer.whole else 1)
        size = fixed + answer * shown + _own_words(generation, scorer, spec.options)
        for role in scorer.roles:
            one = _asked_bound(calls.models[role], scorer.traits.task, size)
            bounds.setdefault(role, []).extend([one] * -(-most // len(scorer.roles)))
    if (embeds := embedding_role(step)) is not None:
        bounds.setdefault(embeds, []).extend([_asked_bound(calls.models[embeds], "embed", answer)] * n)
    for asker in generation.filters if step is generation.steps[-1] else ():
        size = fixed + answer + int(getattr(asker.inner, "prompt_bytes", 0))
        for role, task in asker.tasks.items():
            share = -(-asker.calls // len(asker.tasks))
            bounds.setdefault(role, []).extend([_asked_bound(calls.models[role], task, size)] * (n * share))
    made = _made(generation, step, row) if bounds else Counter()
    left: list[int] = []
    for role, costs in bounds.items():
        left += sorted(costs, reverse=True)[: max(0, len(costs) - made[calls.models[role].config.identity_key])]
    return left


def _own_words(generation: Generation, scorer: Scorer, options: Mapping[str, Any]) -> int:
    """Bytes that a scorer's own prompt adds to a call: by its own word, or all texts in its options."""
    known = getattr(scorer.plugin, "prompt_bytes", None)
    return (
        int(known)
        if known is not None
        else sum(len(text.encode()) for text in option_texts(options, generation.recipe.base))
    )


def option_texts(value: Any, base: Path) -> Iterator[str]:
    """All texts in a scorer's options; of a prompt's file that is named there, what is in it.

    `base`: the directory that the recipe's paths start from.
    """
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from option_texts(inner, base)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from option_texts(inner, base)
    elif isinstance(value, str):
        path = find_file(value, base) if is_path(value, TEMPLATE_SUFFIXES) else None
        yield value if path is None else path.read_text(encoding="utf-8", errors="replace")


def _asked_bound(model: OpenModel, task: Task, size: int) -> int:
    """One question of so many bytes; where it is to be written, with an earlier answer to it in it."""
    own = (model.config.max_tokens or 0) * BYTES_PER_TOKEN if task == "generate" else 0
    messages = [Message("user", "x" * (size + own)), *[Message("user", "")] * (MESSAGES - 1)]
    request = build_request(model.config, messages, seed=0, row=0, step="", purpose="judge", task=task)
    return worst_case(model.price, request) or 0


def _made(generation: Generation, step: Step, row: int) -> Counter[str]:
    """How many calls of the step's scorers the journal holds for a row, by the model's identity."""
    stored = (one.request for one in generation.calls.journal.calls(row))
    return Counter(
        str(asked["identity"])
        for asked in stored
        if asked.get("purpose") in ("judge", "score") and asked.get("step") == step.name
    )
