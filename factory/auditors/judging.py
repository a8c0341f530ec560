"""Questions of an audit to a model, answered by one JSON object: asked, read, asked once more when out of form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.auditors.context import AuditContext
from factory.prompts import render
from factory.scorers import Setup
from factory.scorers.judging.prompting import load_judge_prompt
from factory.scorers.judging.verdicts import ASKS, OutOfForm, read_verdict
from factory.together import together
from factory.types import Choice, Message

AT_ONCE = 256

__all__ = ["Judged", "OutOfForm", "Question", "ask_all", "messages_of"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one row. `shown`: the texts that are judged, so that a verdict quoted from them counts not."""

    row: int
    messages: tuple[Message, ...]
    shown: tuple[str, ...] = ()
    index: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision, None where there is none: then `why` says why."""

    value: Any
    why: str = ""


def messages_of(template: str, names: Mapping[str, Any]) -> tuple[Message, ...]:
    """A shipped prompt (its file's name in `prompts/`), rendered. Raises UsageError for one that is not there."""
    prompt = load_judge_prompt(template, Setup(), "prompt")
    return render(prompt.template, names).messages


async def ask_all(
    context: AuditContext,
    role: str,
    questions: Sequence[Question],
    *,
    schema: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], Any],
    told: str = "",
) -> list[Judged]:
    """The decisions, in order. `read` makes one of a JSON object, or raises OutOfForm.

    Never raises for what a model says; raises Incomplete where its server is gone, CallBarred when the run stops.
    """
    found: list[Judged] = []
    for first in range(0, len(questions), AT_ONCE):
        context.progress(told, first / len(questions))
        part = questions[first : first + AT_ONCE]
        found += await together([_ask(context, role, question, schema, read) for question in part])
    return found


async def _ask(
    context: AuditContext,
    role: str,
    question: Question,
    schema: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], Any],
) -> Judged:
    asked, fault = question.messages, ""
    for _ in range(ASKS):
        answer = await context.ask(role, asked, question.row, index=question.index, schema=schema)
        if answer.text is None:
            return Judged(None, answer.problem)
        try:
            value, _ = read_verdict(Choice(answer.text, "stop"), read, question.shown)
            return Judged(value)
        except OutOfForm as error:
            fault = str(error)
            again = f"That is not in form: {fault}. Write one JSON object of your own and nothing else."
            asked = (
                *question.messages,
                Message("assistant", answer.text[:4000] or "(nothing)"),
                Message("user", again),
            )
    return Judged(None, f"no answer in form, asked {ASKS} times: {fault}")
