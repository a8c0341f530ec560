"""What scorers share that ask a model to measure an answer: which prompt it answers, and its tokens' likelihoods."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from factory.errors import UsageError, nearest
from factory.scorers import Context, Setup, text_of
from factory.scorers.judging.prompting import JudgePrompt, load_judge_prompt, render_judge_prompt
from factory.types import Candidate, Message, TokenLogprob

EMPTY = "the answer is empty"
_MOST = 700.0
"""exp of more than this is no float."""


class Exchange:
    """The prompt that an answer is measured after, and the answer: options `prompt` and `on` of several scorers.

    `prompt` None: the row's own; else a template (a text, or the path of one) that sees the row's names and the
    candidate's output columns; an empty text: none, the answer alone.
    """

    def __init__(self, prompt: str | None, on: str | None):
        self._given, self._on = prompt, on
        self._template: JudgePrompt | None = None

    def bind(self, setup: Setup) -> None:
        """Read the template. Raises UsageError where it has a fault, or where `on` names no column."""
        if self._given is not None and self._given.strip():
            self._template = load_judge_prompt(self._given, setup, "prompt")
        if self._on is not None and setup.columns and self._on not in setup.columns:
            raise UsageError(f"`on: {self._on}` names no output column", nearest(self._on, setup.columns))

    def prompt(self, candidate: Candidate, context: Context) -> tuple[Message, ...]:
        """The messages before the answer. Raises RecipeError for a name that is not there."""
        if self._template is None:
            return context.prompt.messages if self._given is None else ()
        return render_judge_prompt(self._template, context, candidate.fields or {})

    def answer(self, candidate: Candidate) -> str:
        """The text that is measured."""
        return text_of(candidate, self._on)


async def ask_likelihood(
    context: Context, role: str, before: Sequence[Message], answer: str, index: int
) -> tuple[float, ...] | str:
    """Natural log-probabilities of an answer's tokens after the messages before it; or why there are none."""
    if not answer:
        return EMPTY
    stored = await context.ask(role, (*before, Message("assistant", answer)), index=index, task="likelihood")
    if stored.response is None:
        return f"{stored.outcome}: {stored.message}"
    return read_logprobs(stored.response.choices[0].logprobs, "the model told no log-probabilities")


def read_logprobs(given: Sequence[TokenLogprob] | None, why: str) -> tuple[float, ...] | str:
    """The values of tokens' log-probabilities; `why` where there are none."""
    found = tuple(one.logprob for one in given or ())
    if not found:
        return why
    return found if all(math.isfinite(value) for value in found) else "a log-probability is not finite"


def mean(values: Sequence[float]) -> float:
    """The mean of log-probabilities: exact sums, so that the order of additions is no matter; at most 0."""
    return min(0.0, math.fsum(values) / len(values))


def perplexity_of(values: Sequence[float]) -> float:
    """exp of the mean negative log-probability, from 1 on."""
    return math.exp(min(-mean(values), _MOST))


def read_labels(text: str) -> dict[str, float] | str:
    """A classifier's numbers by label; or what is wrong with its answer."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, Mapping) or not found:
        return "the model's answer holds no scores"
    for label, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"the model's score `{str(label)[:40]}` is no finite number"
    return {str(label): float(value) for label, value in found.items()}
