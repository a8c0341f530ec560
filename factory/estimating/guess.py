"""An estimate before anything was made: prompts rendered from the plan, all else guessed between bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory.calling import OpenModel
from factory.capabilities import backend_structure
from factory.compiling import Job
from factory.errors import RecipeError
from factory.estimating.amounts import Amounts, Estimate, Interval, Key
from factory.estimating.duration import guess_seconds
from factory.generating import Step, wants_json
from factory.opening import Unopened, embedding_role
from factory.prices import PriceTable, cost
from factory.prompts import render
from factory.scoring import Scorer
from factory.token_counts import TokenCounter, count_messages, counter_for
from factory.types import Message, Usage
from factory.worst_case import option_texts

SAMPLED_ROWS = 48
"""Planned rows whose prompts are rendered."""
SHARES = (0.05, 1 / 3, 1.0)
"""How much of `max_tokens` an answer is guessed to take."""
UNBOUNDED = (20.0, 400.0, 4096.0)
"""Tokens of an answer where there is no `max_tokens`."""
REPAIRED = Interval(0.0, 0.05, 1.0)
"""Share of answers that are guessed to need a repair, where the recipe allows one."""
RETRIED = Interval(1.0, 1.0, 1.1)
"""Attempts by request."""
PROBE = (20.0, 30.0)
"""Prompt and completion tokens of a probe."""
FORM_PROBES = Interval(1, 1, 2)
"""Probes that find out how a server takes a JSON form."""
BYTES_PER_TOKEN = 5
"""Of English prose: for the words of a prompt that is not rendered."""
REPAIR_WORDS = 120
"""Tokens of what a repair call says besides the prompt and the answer."""


def guess_run(job: Job, models: Mapping[str, OpenModel]) -> Estimate:
    """What a run may take, without a call, a key or the network. Raises RecipeError where a prompt cannot be rendered.

    Bounds are bounds of what was assumed, not of a confidence: every assumption is told.
    """
    planned, acceptance = guess_planned(job)
    counters = {role: counter_for(model.config) for role, model in models.items()}
    per_row = _per_row(job, models, counters, planned)
    parts = {key: amounts.times(planned) for key, amounts in per_row.items()}
    parts |= {("", "probe", role): amounts for role, amounts in _probes(job, models).items()}
    total = sum(parts.values(), Amounts())
    seconds = guess_seconds(parts, models)
    return Estimate(
        basis="guess",
        rows=planned_rows(job)[0],
        pilot_rows=0,
        planned=planned,
        acceptance=acceptance,
        parts=parts,
        total=total,
        to_pay=total,
        seconds=seconds,
        seconds_left=seconds,
        short=None,
        rests_on=_rests_on(job, counters),
        notes=(),
    )


def planned_rows(job: Job) -> tuple[int, int]:
    """Dataset rows wanted, and rows that may be planned for them."""
    plan, recipe = job.plan, job.recipe
    if recipe.rows == "all":
        size = plan.size or 0
        return size, size
    return recipe.rows, recipe.max_rows_planned() or 0


def guess_planned(job: Job) -> tuple[Interval, Interval]:
    """Rows planned, and dataset rows per planned row: all accepted at best, just enough of `max_planned` at worst."""
    rows, limit = planned_rows(job)
    if job.recipe.rows == "all":
        return Interval.exactly(limit), Interval(0.0, 1.0, 1.0)
    top_k = job.steps[-1].config.keep.top_k
    least = min(limit, math.ceil(rows / top_k))
    if not _may_reject(job):
        return Interval.exactly(least), Interval.exactly(rows / max(least, 1))
    planned = Interval(least, math.sqrt(least * limit), limit)
    return planned, Interval(rows / max(limit, 1), rows / max(planned.expected, 1), rows / max(least, 1))


def _may_reject(job: Job) -> bool:
    steps = job.steps
    judged = any(step.config.score or not step.output.plain or step.config.keep.min_score for step in steps)
    return bool(judged or job.filters)


def _per_row(
    job: Job, models: Mapping[str, OpenModel], counters: Mapping[str, TokenCounter], planned: Interval
) -> dict[Key, Amounts]:
    """What one planned row takes, by step, purpose and role."""
    prompts = _render(job, models, planned)
    found: dict[Key, Amounts] = {}
    for step in job.steps:
        weight = sum(share for _, share in step.config.models)
        for role, share in step.config.models:
            model, n = models[role], step.config.candidates
            prompt = _mean([count_messages(messages, counters[role]) for messages in prompts[step.name]])
            answer = guess_answer(model)
            part = Interval.exactly(share / weight)
            requests = _requests(model, n)
            found[step.name, "generate", role] = _amounts(model, requests, prompt, answer.times(n)).times(part)
            if step.config.repair:
                again = REPAIRED.times(n)
                longer = prompt + answer + Interval.exactly(REPAIR_WORDS)
                amounts = _amounts(model, again, longer, answer.times(again)).times(part)
                found[step.name, "repair", role] = amounts
        for purpose, role, judged in _judges(job, step, models, counters, prompts[step.name]):
            key = (step.name, purpose, role)
            found[key] = found.get(key, Amounts()) + judged
    return found


def _amounts(model: OpenModel, requests: Interval, prompt: Interval, completion: Interval) -> Amounts:
    """So many requests with a prompt of so many tokens each, and so many completion tokens in all."""
    return Amounts(
        requests.times(RETRIED), requests.times(prompt), completion, _nano(model, requests, prompt, completion)
    )


def _nano(model: OpenModel, requests: Interval, prompt: Interval, completion: Interval) -> Interval | None:
    price = model.price
    if price.unknown or price.gpu_second:
        return None
    bounds = []
    for name in ("low", "expected", "high"):
        count, size, written = (getattr(one, name) for one in (requests, prompt, completion))
        bounds.append(count * _cost(price, size, written / count) if count else 0.0)
    return Interval(*bounds)


def _cost(price: PriceTable, prompt: float, completion: float) -> float:
    return float(cost(price, Usage(math.ceil(prompt), math.ceil(completion))) or 0)


def guess_answer(model: OpenModel) -> Interval:
    """Completion tokens of one candidate."""
    limit = model.config.max_tokens
    if limit is None:
        return Interval(*UNBOUNDED)
    return Interval(*(max(1.0, share * limit) for share in SHARES))


def _requests(model: OpenModel, candidates: int) -> Interval:
    """Requests for a row's candidates: one for all, or one each; where nobody knows, either."""
    honours = model.backend.honours_n
    if honours is None:
        return Interval(1, 1, candidates)
    return Interval.exactly(1 if honours else candidates)


def _mean(counts: Sequence[Any]) -> Interval:
    return Interval(*(sum(getattr(one, name) for one in counts) / len(counts) for name in ("low", "tokens", "high")))


def sampled_rows(planned: int) -> list[int]:
    """Rows spread evenly over those that will be planned."""
    count = min(SAMPLED_ROWS, max(planned, 1))
    return [place * planned // count for place in range(count)]


def _render(job: Job, models: Mapping[str, OpenModel], planned: Interval) -> dict[str, list[tuple[Message, ...]]]:
    """Prompts of sampled rows, by step. Those of later steps with made-up answers in place of what was written."""
    prompts: dict[str, list[tuple[Message, ...]]] = {step.name: [] for step in job.steps}
    for row in sampled_rows(round(planned.expected)):
        scope: dict[str, Any] = job.plan.scope(job.plan.row(row))
        for step in job.steps:
            if step is job.steps[0]:
                messages = render(step.template, scope).messages
            else:
                messages = _sketch(step, scope)
            prompts[step.name].append(messages)
            tokens = max(guess_answer(models[role]).expected for role, _ in step.config.models)
            scope = scope | {step.name: _made_up(step, round(tokens))}
    return prompts


def _sketch(step: Step, scope: Mapping[str, Any]) -> tuple[Message, ...]:
    """A later step's prompt; where made-up answers do not fit its template, about as long a text."""
    try:
        return render(step.template, scope).messages
    except RecipeError:
        source = "".join(part.source for part in step.template.parts)
        return (Message("user", source + " ".join(str(value) for value in scope.values())),)


def _made_up(step: Step, tokens: int) -> dict[str, Any]:
    """Output columns with as much text in them as an answer of so many tokens has."""
    texts = [column for column in step.output.columns if column.kind.startswith(("str", "list[str"))]
    text = " ".join(["text"] * max(1, tokens // max(1, len(texts))))
    values = {"str": text, "int": 1, "float": 1.0, "bool": True, "json": {}}
    return {
        column.name: [values.get(column.kind[5:-1], text)] if column.kind.startswith("list") else values[column.kind]
        for column in step.output.columns
    }


def _judges(
    job: Job,
    step: Step,
    models: Mapping[str, OpenModel],
    counters: Mapping[str, TokenCounter],
    prompts: Sequence[tuple[Message, ...]],
) -> Iterator[tuple[str, str, Amounts]]:
    """(purpose, role, amounts) of what scorers ask of their models for one row: own words, the row's prompt, answers.

    All of a panel's models are asked alike. A scorer that measures, or `keep: diversity`, has nothing written.
    """
    n = step.config.candidates
    answer = max((guess_answer(models[role]) for role, _ in step.config.models), key=lambda one: one.expected)
    for spec, scorer in zip(step.config.score, step.scorers.scorers, strict=True):
        shown = answer.times(getattr(scorer.plugin, "answers", 1))
        writes = scorer.traits.task == "generate"
        for role in scorer.roles:
            calls = _calls(scorer, n)
            verdict = guess_answer(models[role]) if writes else Interval.exactly(0)
            amounts = Amounts()
            if calls.high:
                own = _own_words(job, spec.options, scorer, counters[role])
                row_prompt = _mean([count_messages(messages, counters[role]) for messages in prompts])
                whole = shown + Interval(0, own, own) + Interval(0, row_prompt.expected, row_prompt.high)
                amounts = _amounts(models[role], calls, whole, verdict.times(calls))
            yield "judge" if writes else "score", role, amounts
    if (embeds := embedding_role(step)) is not None:
        yield "score", embeds, _amounts(models[embeds], Interval(0, n, n), answer, Interval.exactly(0))
    for one in job.filters if step is job.steps[-1] else ():
        keep = step.config.keep
        offered = n if keep.fallback else min(n, keep.top_k)
        for role, task in one.tasks.items():
            writes = task == "generate"
            most = offered * -(-one.calls // len(one.tasks))
            expected = offered * (getattr(one.inner, "asked_share", 1.0) if writes else 1.0)
            calls = Interval(0, expected, most)
            words = Interval.exactly(getattr(one.inner, "prompt_bytes", 0) / BYTES_PER_TOKEN)
            verdict = guess_answer(models[role]) if writes else Interval.exactly(0)
            yield (
                "judge" if writes else "score",
                role,
                _amounts(models[role], calls, answer + words, verdict.times(calls)),
            )


def _calls(scorer: Scorer, n: int) -> Interval:
    """Questions to each of a scorer's models for n candidates."""
    if scorer.calls is None:
        return Interval(1, 1, n) if scorer.whole else Interval(1, n, n)
    most = scorer.calls(n) / len(scorer.roles)
    expected = most / getattr(scorer.plugin, "asks", 1)
    return Interval(min(1.0, expected), expected, most)


def _own_words(job: Job, options: Mapping[str, Any], scorer: Scorer, count: TokenCounter) -> float:
    """Tokens of what a scorer says itself: all texts in its options, and the rest of its own prompt."""
    texts = list(option_texts(options, job.recipe.base))
    told = sum(len(text.encode()) for text in texts)
    rest = max(0, getattr(scorer.plugin, "prompt_bytes", 0) - told)
    return sum(count(text).tokens for text in texts) + rest / BYTES_PER_TOKEN


def _probes(job: Job, models: Mapping[str, OpenModel]) -> dict[str, Amounts]:
    """The calls that find out what a server honours."""
    counts: dict[str, Interval] = {}
    for step in job.steps:
        for role, _ in step.config.models:
            model = models[role]
            found = Interval.exactly(0)
            if step.config.candidates > 1 and model.backend.honours_n is None and role not in counts:
                found += Interval.exactly(1)
            if wants_json(step) and model.config.structured == "auto" and _unknown_structure(model):
                found += FORM_PROBES
            counts[role] = counts.get(role, Interval.exactly(0)) + found
        asking = {role for one in step.scorers.scorers if getattr(one.plugin, "schema", None) for role in one.roles}
        if step is job.steps[-1]:
            writes = [(one, role) for one in job.filters for role, task in one.tasks.items() if task == "generate"]
            asking |= {role for one, role in writes if one.schema is not None}
        for role in sorted(asking):
            if models[role].config.structured == "auto" and _unknown_structure(models[role]):
                counts[role] = counts.get(role, Interval.exactly(0)) + FORM_PROBES
    prompt, completion = (Interval.exactly(tokens) for tokens in PROBE)
    return {
        role: _amounts(models[role], count, prompt, completion.times(count))
        for role, count in counts.items()
        if count.high
    }


def _unknown_structure(model: OpenModel) -> bool:
    return isinstance(model.backend, Unopened) or backend_structure(model.backend) is None


def _rests_on(job: Job, counters: Mapping[str, TokenCounter]) -> dict[str, str]:
    if job.recipe.rows == "all":
        planned = "one pass over the source"
    elif _may_reject(job):
        planned = "nobody knows yet how many rows are accepted: from all of them down to just enough (max_planned)"
    else:
        planned = "nothing in the recipe rejects a row"
    by = sorted({f"{role}: {counter.by}" for role, counter in counters.items()})
    return {
        "planned": planned,
        "tokens": f"prompts of {SAMPLED_ROWS} planned rows, counted ({'; '.join(by)}); answers guessed: a third of "
        "max_tokens, from a twentieth to all of it",
        "usd": "today's prices at those tokens",
        "seconds": "guessed latencies of 0.5 to 3 s and 20 to 150 tokens/s, at the recipe's concurrency and limits",
    }
