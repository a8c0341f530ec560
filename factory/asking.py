"""What a row's scorers see, and how they ask: their calls are journaled, paid and replayed like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory import seeds
from factory.calling import Calls
from factory.journal import Stored
from factory.prompts import render_text
from factory.requesting import Form, StructuredMode, build_request, response_format
from factory.scorers import Context
from factory.types import Message, Prompt, Task, Variation

VERDICT = "verdict"
"""The name under which servers see the form of a scorer's question."""
SCORERS = "scorers/"
"""Prefix of a step's name where `Generation.formats` tells how the models of its scorers take a form. No step's name
has a slash."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom scorers may ask: the open calls, what seeds derive from, and how each model takes a JSON form."""

    calls: Calls
    name: str
    seed: int
    formats: Mapping[tuple[str, str], StructuredMode]


def scorer_context(
    asking: Asking,
    variation: Variation,
    step: str,
    prompt: Prompt,
    scope: Mapping[str, Any],
    count: Callable[[Stored], Stored],
) -> Context:
    """The context of a row's scorers. `count` is given every answer, so that its cost becomes the row's."""

    async def ask(
        role: str,
        messages: Sequence[Message],
        *,
        index: int = 0,
        schema: Mapping[str, Any] | None = None,
        logprobs: int | None = None,
        task: Task = "generate",
    ) -> Stored:
        """One question. The seed hangs on row, step and `index`."""
        model = asking.calls.models[role]
        mode = asking.formats.get((role, SCORERS + step)) if schema is not None else None
        request = build_request(
            model.config,
            messages,
            seed=seeds.derive(asking.name, asking.seed, variation.row, step, "judge", index),
            row=variation.row,
            step=step,
            purpose="judge" if task == "generate" else "score",
            index=index,
            response_format=None if schema is None else response_format(mode, Form(VERDICT, schema)),
            logprobs=logprobs,
            task=task,
        )
        return count(await asking.calls.call(role, request))

    return Context(
        variation=variation, prompt=prompt, scope=scope, render=lambda text: render_text(text, scope), ask=ask
    )
