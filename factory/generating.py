"""One row, from its variation to ranked candidates: render → call → parse → score → select, step by step.

A row depends on the plan and on the journal alone. Nothing here looks at another row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from factory import seeds
from factory.asking import Asking, scorer_context
from factory.calling import Calls, OpenModel
from factory.curation import item_of
from factory.errors import RecipeError
from factory.filters import NamedFilter, prepare
from factory.journal import Stored
from factory.parsing import Output, Parsed, compile_output, describe, repair_messages
from factory.planning import Plan, known_names
from factory.prompts import Template, render
from factory.recipe import Recipe, ResolvedStep
from factory.requesting import Form, StructuredMode, build_request, response_format
from factory.scorers import Context, Setup
from factory.scoring import (
    Scorers,
    check_bounds,
    check_min_score,
    check_options,
    compile_scorers,
    diversify,
    score,
    select,
)
from factory.together import together
from factory.types import (
    Candidate,
    Choice,
    Cost,
    Message,
    Prompt,
    Request,
    RowOutcome,
    Scored,
    Variation,
    Verdict,
    with_fields,
)

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.S)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the recipe, compiled. `says_json`: the template itself asks for JSON."""

    config: ResolvedStep
    template: Template
    output: Output
    scorers: Scorers
    says_json: bool = False

    @property
    def name(self) -> str:
        return self.config.name


@dataclass(frozen=True, slots=True)
class Generation:
    """What every row of a run shares.

    `n_modes`: per role, whether one request may ask for all candidates. `formats`: per role and step, how JSON is
    asked for, where it is. `filters`: those of the recipe; some ask models about a row while it is made.
    """

    plan: Plan
    steps: tuple[Step, ...]
    calls: Calls
    n_modes: Mapping[str, bool] = field(default_factory=dict)
    formats: Mapping[tuple[str, str], StructuredMode] = field(default_factory=dict)
    filters: Sequence[NamedFilter] = ()

    @property
    def recipe(self) -> Recipe:
        return self.plan.recipe


@dataclass(slots=True)
class _Row:
    """The walk of one row: what it has asked and paid so far."""

    generation: Generation
    variation: Variation
    cost: Cost = field(default_factory=Cost)
    counted: set[str] = field(default_factory=set)

    def count(self, stored: Stored) -> Stored:
        """Add what an answer cost, once: a scorer and `keep: diversity` may want the same embedding."""
        if stored.response is not None and stored.call_id not in self.counted:
            self.counted.add(stored.call_id)
            usage = stored.response.usage
            self.cost = self.cost + Cost(usage.prompt_tokens, usage.completion_tokens, stored.nano_usd)
        return stored


def compile_steps(plan: Plan, names: Collection[str] = ()) -> tuple[Step, ...]:
    """The recipe's steps with their prompts, output parsers and scorers. `names`: what else templates see.

    Raises RecipeError.
    """
    recipe = plan.recipe
    compiled = []
    known = {**dict.fromkeys(names), **known_names(recipe, plan.axes, plan.source)}
    for number, step in enumerate(plan.steps):
        single = recipe.steps is None
        place = partial(recipe.place, *(() if single else ("steps", number)))
        column = "text" if single else step.name
        output = compile_output(step.output, step.parse, text_column=column, place=place)
        setup = Setup(
            recipe.base,
            recipe.language,
            tuple(one.name for one in output.columns),
            step.candidates,
            tuple(recipe.models),
        )
        faults = check_options(step.score, setup.columns, known, recipe.base, place)
        if faults:
            raise RecipeError(faults)
        scorers = compile_scorers(
            step.score, language=recipe.language, combine=step.keep.combine, setup=setup, place=place
        )
        faults = check_bounds(scorers, step.score, place) + check_min_score(scorers, step.keep.min_score, place)
        if faults:
            raise RecipeError(faults)
        known[step.name] = setup.columns
        template = plan.templates[step.name]
        compiled.append(Step(step, template, output, scorers, _says_json(template)))
    return tuple(compiled)


def _says_json(template: Template) -> bool:
    """Whether the prompt's own words, or an included text's, speak of JSON: names and filters (`tojson`) do not."""
    sources = [part.source for part in template.parts] + list(template.files.values())
    return any("json" in _JINJA.sub("", source).lower() for source in sources)


def wants_json(step: Step) -> bool:
    """Whether a step's answers are to be JSON: `parse: json`, or a prompt that speaks of JSON where either is read."""
    output = step.output
    return not output.plain and (output.mode == "json" or (output.mode == "auto" and step.says_json))


def form_of(step: Step) -> Form:
    """The form of a step's answers, for servers that can be held to one."""
    return Form(step.name, step.output.schema)


def ask_for_json(messages: Sequence[Message], mode: StructuredMode | None, step: Step) -> tuple[Message, ...]:
    """The messages; where no schema is enforced and the prompt does not speak of JSON, with a sentence that does."""
    if mode is None or mode == "json_schema" or step.says_json:
        return tuple(messages)
    *before, last = messages  # the last one is the user's
    return (*before, Message(last.role, f"{last.content}\n\n{describe(step.output)}"))


def pick_model(recipe: Recipe, step: ResolvedStep, row: int) -> str:
    """The role that writes this row: the only one, or a draw from the mixture by (seed, row, step)."""
    if len(step.models) == 1:
        return step.models[0][0]
    total = sum(weight for _, weight in step.models)
    point = seeds.uniform(recipe.name, recipe.seed, row, step.name, "model") * total
    for role, weight in step.models:
        point -= weight
        if point < 0:
            return role
    return step.models[-1][0]


def uses_n(generation: Generation, step: Step, role: str) -> bool:
    """Whether the step's candidates are asked in one request."""
    return step.config.candidates > 1 and generation.n_modes.get(role, False)


def candidate_seed(recipe: Recipe, row: int, step: str, index: int) -> int:
    """The seed of candidate `index`; one request for all candidates has the seed of candidate 0."""
    return seeds.derive(recipe.name, recipe.seed, row, step, index)


def candidate_request(
    generation: Generation, step: Step, role: str, row: int, messages: Sequence[Message], *, index: int = 0, n: int = 1
) -> Request:
    """The request for candidate `index`, or for all `n` of them."""
    config = generation.calls.models[role].config
    seed = candidate_seed(generation.recipe, row, step.name, index)
    mode = generation.formats.get((role, step.name))
    return build_request(
        config,
        ask_for_json(messages, mode, step),
        seed=seed,
        row=row,
        step=step.name,
        index=index,
        n=n,
        response_format=response_format(mode, form_of(step)),
    )


def candidate_requests(
    generation: Generation, step: Step, role: str, row: int, messages: Sequence[Message]
) -> list[Request]:
    """The requests that ask for a step's candidates when nothing goes wrong."""
    n = step.config.candidates
    if uses_n(generation, step, role):
        return [candidate_request(generation, step, role, row, messages, n=n)]
    return [candidate_request(generation, step, role, row, messages, index=k) for k in range(n)]


async def make_row(generation: Generation, index: int, changes: Mapping[str, Any] | None = None) -> RowOutcome:
    """Generate, parse, score and select row `index`; `changes`: axis values that are not as they would be drawn.

    Raises ReplayMiss or Draining when a call may not be made, Incomplete when the run cannot go on.
    """
    plan = generation.plan
    variation = plan.row(index, changes)
    row = _Row(generation, variation)
    scope = plan.scope(variation)
    columns: dict[str, Any] = {}
    kept: dict[str, Mapping[str, Any]] = {}
    rejected: list[Verdict] = []
    prompt_sha = ""
    for step in generation.steps:
        prompt = render(step.template, {**scope, **kept})
        prompt_sha = prompt.template_sha
        context = _context(row, step, prompt, {**scope, **kept})
        ranked, verdicts, refused = await _run_step(row, step, prompt, context)
        rejected += verdicts
        final = step is generation.steps[-1]
        if final or not ranked:
            columns |= _carried(plan, variation)
            offered = tuple(ranked) if final else ()
            outcome = RowOutcome(variation, offered, tuple(rejected), row.cost, prompt_sha, kept, columns, refused)
            return await _prepare_filters(row, step, outcome, context)
        fields = ranked[0].candidate.fields or {}
        kept[step.name] = fields
        columns |= fields
        rejected += [
            Verdict(index, other, False, "select", f"step {step.name} keeps the best one") for other in ranked[1:]
        ]
    raise AssertionError("a plan has at least one step")


def _context(row: _Row, step: Step, prompt: Prompt, scope: Mapping[str, Any]) -> Context:
    """What the step's scorers see, and the filters that ask models."""
    generation = row.generation
    asking = Asking(generation.calls, generation.recipe.name, generation.recipe.seed, generation.formats)
    return scorer_context(asking, row.variation, step.name, prompt, scope, row.count)


async def _prepare_filters(row: _Row, step: Step, outcome: RowOutcome, context: Context) -> RowOutcome:
    """The outcome with what filters ask models of the candidates that may be offered to them; its cost is the row's."""
    filters = row.generation.filters
    if not any(one.tasks for one in filters):
        return outcome
    keep = step.config.keep
    offered = outcome.ranked if keep.fallback else outcome.ranked[: keep.top_k]
    prepared = await prepare(filters, [item_of(outcome, scored) for scored in offered], context)
    return replace(outcome, prepared=prepared, cost=row.cost)


def _carried(plan: Plan, variation: Variation) -> dict[str, Any]:
    """Source columns and axes that the recipe carries into the dataset."""
    source = plan.recipe.from_
    carried = {name: (variation.source or {}).get(name) for name in (source.carry if source else [])}
    return carried | {name: variation.values[name] for name in plan.recipe.carry}


async def _run_step(
    row: _Row, step: Step, prompt: Prompt, context: Context
) -> tuple[list[Scored], list[Verdict], bool]:
    """The step's eligible candidates, best first; its verdicts; and whether every call was refused."""
    index = row.variation.row
    role = pick_model(row.generation.recipe, step.config, index)
    model = row.generation.calls.models[role]
    answers = await _ask(row, step, role, model, prompt)
    verdicts: list[Verdict] = []
    parsed: list[Candidate] = []
    for candidate, refusal in answers:
        if refusal:
            verdicts.append(Verdict(index, Scored(candidate), False, "call", refusal))
            continue
        candidate, result = await _parse(row, step, role, model, prompt, candidate)
        if result.fields is None:
            verdicts.append(Verdict(index, Scored(candidate), False, "parse", result.reason))
        else:
            parsed.append(with_fields(candidate, result.fields))
    refused = all(refusal for _, refusal in answers)
    scored = await score(step.scorers, parsed, context)
    ranked, selected = select(scored, step.config.keep)
    diversity = step.config.keep.diversity if step is row.generation.steps[-1] else None
    ranked, without = await diversify(ranked, diversity, context)
    return list(ranked), [*verdicts, *selected, *without], refused


async def _ask(row: _Row, step: Step, role: str, model: OpenModel, prompt: Prompt) -> list[tuple[Candidate, str]]:
    """The step's N candidates in index order, each with why its call was refused ('' when it was not)."""
    n = step.config.candidates
    if uses_n(row.generation, step, role):
        request = _request(row, step, role, prompt, index=0, n=n)
        stored = row.count(await row.generation.calls.call(role, request))
        if stored.response is None:
            return [_refused(row, step, model, k, stored) for k in range(n)]
        texts, seed = stored.response.choices[:n], request.seed
        first = [(_candidate(row, step, model, k, choice, seed), "") for k, choice in enumerate(texts)]
        return first + await _ask_each(row, step, role, model, prompt, range(len(texts), n))
    return await _ask_each(row, step, role, model, prompt, range(n))


async def _ask_each(
    row: _Row, step: Step, role: str, model: OpenModel, prompt: Prompt, wanted: range
) -> list[tuple[Candidate, str]]:
    """One request a candidate."""
    requests = [_request(row, step, role, prompt, index=k, n=1) for k in wanted]
    answers = await together([row.generation.calls.call(role, request) for request in requests])
    found: list[tuple[Candidate, str]] = []
    for request, stored in zip(requests, answers, strict=True):
        row.count(stored)
        if stored.response is None:
            found.append(_refused(row, step, model, request.index, stored))
        else:
            choice = stored.response.choices[0]
            found.append((_candidate(row, step, model, request.index, choice, request.seed), ""))
    return found


def _request(row: _Row, step: Step, role: str, prompt: Prompt, *, index: int, n: int) -> Request:
    return candidate_request(row.generation, step, role, row.variation.row, prompt.messages, index=index, n=n)


def _seed(row: _Row, step: Step, index: int) -> int:
    return candidate_seed(row.generation.recipe, row.variation.row, step.name, index)


def _candidate(row: _Row, step: Step, model: OpenModel, index: int, choice: Choice, seed: int) -> Candidate:
    return Candidate(
        row.variation.row,
        step.name,
        index,
        choice.text,
        choice.finish_reason,
        seed,
        model.config.name,
        logprobs=choice.logprobs,
    )


def _refused(row: _Row, step: Step, model: OpenModel, index: int, stored: Stored) -> tuple[Candidate, str]:
    candidate = _candidate(row, step, model, index, Choice("", "error"), _seed(row, step, index))
    return candidate, f"{stored.outcome}: {stored.message}"


async def _parse(
    row: _Row, step: Step, role: str, model: OpenModel, prompt: Prompt, candidate: Candidate
) -> tuple[Candidate, Parsed]:
    """The candidate parsed; when it is not in form and the step allows it, after one repair call."""
    parsed = step.output.parse(candidate.text, candidate.finish_reason)
    if parsed.fields is not None or not step.config.repair or not parsed.reason.startswith("invalid"):
        return candidate, parsed
    request = build_request(
        model.config,
        repair_messages(prompt.messages, candidate.text, parsed.reason, step.output),
        seed=candidate.seed,
        row=candidate.row,
        step=step.name,
        purpose="repair",
        index=candidate.index,
        response_format=response_format(row.generation.formats.get((role, step.name)), form_of(step)),
    )
    stored = row.count(await row.generation.calls.call(role, request))
    if stored.response is None:
        return candidate, parsed
    choice = stored.response.choices[0]
    again = step.output.parse(choice.text, choice.finish_reason)
    if again.fields is None:
        return candidate, Parsed(None, f"{parsed.reason}; after repair: {again.reason}")
    return replace(candidate, text=choice.text, finish_reason=choice.finish_reason, logprobs=choice.logprobs), again
