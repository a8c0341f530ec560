"""What a model's server really does with `n` and with a JSON form: found once, by journaled probes, before row 0.

Servers drop what they do not know in silence, so an accepted request proves nothing: the answer is looked at. What is
found becomes part of every request of the run; the journal holds the probes, so a resumed run finds the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from factory import seeds
from factory.asking import SCORERS, VERDICT
from factory.backends import Backend
from factory.errors import RecipeError
from factory.filters import NamedFilter
from factory.generating import Generation, Step, form_of, wants_json
from factory.journal import Stored
from factory.parsing import server_schema
from factory.recipe import ModelConfig, Recipe
from factory.requesting import Form, StructuredMode, build_request, response_format
from factory.types import Message, Request

Format = Literal["json_schema", "json_object"]
FORMATS: tuple[Format, ...] = ("json_schema", "json_object")
"""From the strictest to the loosest; where neither is taken, the prompt alone asks for JSON."""

_WORDS = {
    "json_schema": "a JSON schema",
    "json_object": "`json_object`",
    "prompt": "the words of the prompt",
}
_BEGINNING = re.compile(r'\{\s*(?:"([^"\\]*)("?))?')


def probe_n(recipe: Recipe, role: str, config: ModelConfig) -> Request:
    """A neutral prompt with as many candidates as steps ask for: the count that comes back tells if `n` is honoured.

    As many, not two: some servers take no more at once than they have slots.
    """
    messages = (Message("user", "Write one short sentence about the sea."),)
    seed = seeds.derive(recipe.name, recipe.seed, "probe", role)
    n = max(step.candidates for step in recipe.step_list() if any(role == one for one, _ in step.models))
    return build_request(config, messages, seed=seed, row=None, step=role, purpose="probe", n=n)


def probe_format(recipe: Recipe, role: str, config: ModelConfig, form: Form, mode: Format) -> Request:
    """A prompt that asks for prose, in the form that is wanted: only a server that honours it sends JSON.

    `json_object` has to be asked for by name (OpenAI's API insists), so there acceptance is all that can be tested.
    """
    text = "Write one short sentence about the sea."
    if mode == "json_object":
        text = "Describe the sea in one short JSON object."
    seed = seeds.derive(recipe.name, recipe.seed, "probe", role, form.name, mode)
    messages = (Message("user", text),)
    asked = response_format(mode, form)
    return build_request(config, messages, seed=seed, row=None, step=form.name, purpose="probe", response_format=asked)


def keeps_to(schema: Mapping[str, Any], text: str) -> bool:
    """Whether a text is a JSON object with the keys of a closed schema, or the beginning of one that was cut off.

    Values are not looked at: what a model puts there is the output parser's to judge.
    """
    text = text.strip()
    names: Mapping[str, Any] = schema.get("properties", {})
    try:
        found = json.loads(text)
    except ValueError:
        beginning = _BEGINNING.match(text)
        if beginning is None:
            return False
        name, ended = beginning.groups()
        return name is None or (name in names if ended else any(known.startswith(name) for known in names))
    return isinstance(found, dict) and set(schema.get("required", ())) <= found.keys() <= names.keys()


async def resolve_n(generation: Generation) -> Mapping[str, bool]:
    """Per role, whether one request may ask for all candidates: known of the backend, or found by a probe.

    Raises ReplayMiss when the probe may not be made now.
    """
    calls, recipe = generation.calls, generation.recipe
    modes: dict[str, bool] = {}
    for role in _roles(step for step in generation.steps if step.config.candidates > 1):
        model = calls.models[role]
        if model.backend.honours_n is not None:
            modes[role] = model.backend.honours_n
            continue
        stored = await calls.call(role, probe_n(recipe, role, model.config), decided=True)
        modes[role] = stored.response is not None and len(stored.response.choices) >= 2
    return modes


async def resolve_formats(generation: Generation) -> Mapping[tuple[str, str], StructuredMode]:
    """Per role and step that wants JSON, how it is asked for; what a server does not do is told as a notice.

    The models of a step's scorers stand under `SCORERS` and the step's name. Raises ReplayMiss when a probe may not be
    made now, RecipeError where `structured:` wants what cannot be had.
    """
    formats: dict[tuple[str, str], StructuredMode] = {}
    for role, name, form in wanted_forms(generation.steps, generation.filters):
        wanted = generation.calls.models[role].config.structured
        if wanted == "auto":
            formats[role, name] = await _find_format(generation, form, role)
        else:
            formats[role, name] = await _check_wanted(generation, form, role, wanted)
    return formats


def wanted_forms(steps: Sequence[Step], filters: Sequence[NamedFilter] = ()) -> list[tuple[str, str, Form]]:
    """(role, name in `Generation.formats`, form) of all that is to be answered in JSON.

    A scorer says so by its attribute `schema`: the closed JSON Schema of its models' answers. So does a filter, which
    asks beside the scorers of the last step.
    """
    found = []
    for step in steps:
        if wants_json(step):
            found += [(role, step.name, form_of(step)) for role, _ in sorted(step.config.models)]
        asking: dict[str, Form] = {}
        for scorer in step.scorers.scorers:
            schema = getattr(scorer.plugin, "schema", None)
            if schema is not None:
                asking |= {role: Form(VERDICT, schema) for role in scorer.roles if role not in asking}
        if step is steps[-1]:
            for one in filters:
                if one.schema is not None:
                    writes = [role for role, task in one.tasks.items() if task == "generate" and role not in asking]
                    asking |= {role: Form(VERDICT, one.schema) for role in writes}
        found += [(role, SCORERS + step.name, form) for role, form in sorted(asking.items())]
    return found


async def _find_format(generation: Generation, form: Form, role: str) -> StructuredMode:
    """The strictest form that the model keeps to."""
    model = generation.calls.models[role]
    known = backend_structure(model.backend)
    if known is not None:
        return known
    found: StructuredMode = "prompt"
    missing = []
    for mode in FORMATS:
        stored, kept = await _probe(generation, form, role, mode)
        if kept:
            found = mode
            break
        missing.append(_shortcoming(mode, stored))
    if missing:
        told = f"{role} ({model.config.name}) {' and '.join(missing)}"
        generation.calls.notice(f"{told}: JSON is asked for by {_WORDS[found]}, and every answer is checked here")
    return found


async def _check_wanted(generation: Generation, form: Form, role: str, mode: StructuredMode) -> StructuredMode:
    """The form that the recipe names. A server is asked once whether it takes it, before a row is."""
    model = generation.calls.models[role]
    if mode == "prompt":
        return mode
    known: StructuredMode | None = getattr(model.backend, "structured", mode)
    if known == "prompt" or (known == "json_object" and mode == "json_schema"):
        raise _cannot(generation.recipe, role, mode, f"the backend `{model.config.backend}` cannot be held to it", "")
    if known is not None:
        return mode
    stored, kept = await _probe(generation, form, role, mode)
    if stored.response is None:
        again = "; --retry-failed asks the server again"
        said = f"{model.config.name} refuses it: {server_words(stored.message)}"
        raise _cannot(generation.recipe, role, mode, said, again)
    if not kept:
        generation.calls.notice(
            f"{role} ({model.config.name}) {_shortcoming(mode, stored)}: the recipe wants it so, and every answer is "
            "checked here; the prompt should say the form"
        )
    return mode


def _cannot(recipe: Recipe, role: str, mode: str, why: str, more: str) -> RecipeError:
    hint = f"remove the key: what the model can do is found by itself{more}"
    message = f"`structured: {mode}` cannot be had: {why}"
    return RecipeError([recipe.place("models", role, "structured", message=message, hint=hint)])


async def _probe(generation: Generation, form: Form, role: str, mode: Format) -> tuple[Stored, bool]:
    """The answer to a probe, and whether it shows that the form is kept to."""
    model = generation.calls.models[role]
    request = probe_format(generation.recipe, role, model.config, form, mode)
    stored = await generation.calls.call(role, request, decided=model.config.structured == "auto")
    if stored.response is None or mode == "json_object":
        return stored, stored.response is not None
    schema = server_schema(form.schema, form.name)["schema"]
    return stored, keeps_to(schema, stored.response.choices[0].text)


def _shortcoming(mode: Format, stored: Stored) -> str:
    if stored.response is None:
        return f"does not take {_WORDS[mode]} ({server_words(stored.message)})"
    return f"takes {_WORDS[mode]} but does not keep to it"


def server_words(message: str) -> str:
    """What a server said in a refusal, short: without its own name, and without advice on the recipe."""
    words = re.sub(r"^\S+:\d+: ", "", " ".join(message.split())).partition(" (the server does not take")[0]
    return words if len(words) <= 160 else words[:159] + "…"


def backend_structure(backend: Backend) -> StructuredMode | None:
    """How a backend takes JSON forms, by its own `structured`; "prompt" for one that says nothing, None: ask it."""
    known: StructuredMode | None = getattr(backend, "structured", "prompt")
    return known


def _roles(steps: Iterable[Step]) -> Sequence[str]:
    return sorted({role for step in steps for role, _ in step.config.models})
