"""Judges' prompts: files of `prompts/`, and the marks between which they show what is judged.

What is judged was written by a model, and may be written for the judge: it may quote the rubric, name a grade, or close
whatever quotation it stands in. So it stands between marks that carry a code made from the text itself: a text cannot
hold its own code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.errors import Place, RecipeError, UsageError
from factory.prompts import TEMPLATE_SUFFIXES, Template, load_template, render
from factory.recipe.files import is_path
from factory.scorers import Context, Setup, as_text, column
from factory.types import Candidate, Message, Prompt

CODE = 10
"""Hex digits of a mark's code."""


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """A prompt, a rubric or a reference as the recipe has it. `name`: its path, "" for a text in the recipe."""

    template: Template
    name: str

    @property
    def sha(self) -> str:
        """SHA-256 (hex) of the template and all that it includes."""
        return self.template.sha

    @property
    def size(self) -> int:
        """UTF-8 bytes of its source."""
        texts = [part.source for part in self.template.parts] + list(self.template.files.values())
        return sum(len(text.encode()) for text in texts)


def load_judge_prompt(value: str, setup: Setup, option: str) -> JudgePrompt:
    """A path (relative to the recipe, then to the shipped prompts) or a text. `option`: what the recipe calls it.

    Raises UsageError where there is no such file, or it is no template: with the line in it.
    """

    def place(*keys: str | int, message: str, hint: str = "") -> Place:
        return Place("", None, "", message, hint)

    try:
        template = load_template(value, setup.base, place=place)
    except RecipeError as error:
        fault = error.places[0]
        where = f" ({fault.file}:{fault.line})" if fault.file else f" (line {fault.line})" if fault.line else ""
        raise UsageError(f"`{option}`: {fault.message}{where}", fault.hint) from error
    return JudgePrompt(template, value.strip() if is_path(value, TEMPLATE_SUFFIXES) else "")


def render_judge_prompt(prompt: JudgePrompt, context: Context, names: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages for one question: the template sees the row's scope, and `names` before it. Raises RecipeError."""
    return render(prompt.template, {**context.scope, **names}).messages


def render_part(prompt: JudgePrompt, context: Context) -> str:
    """A rubric or a reference for one row, as one text."""
    return "\n\n".join(message.content for message in render(prompt.template, context.scope).messages)


def fence(name: str, text: str) -> str:
    """A text between two lines that it cannot imitate: `[[[ NAME code` and `NAME code ]]]`."""
    turn = 0
    while True:
        code = hashlib.sha256(f"{name}\0{turn}\0{text}".encode("utf-8", "replace")).hexdigest()[:CODE]
        if code not in text:
            return f"[[[ {name} {code}\n{text}\n{name} {code} ]]]"
        turn += 1


def show_task(prompt: Prompt) -> str:
    """The prompt that was answered, between marks."""
    messages = prompt.messages
    if len(messages) == 1:
        return fence("TASK", messages[0].content)
    return "\n\n".join(fence(f"TASK, {message.role} message", message.content) for message in messages)


def answer_texts(candidate: Candidate, on: str | None) -> dict[str, str]:
    """What a judge sees of a candidate, by column; "" names an answer that is one text."""
    if on is not None:
        return {"": as_text(column(candidate, on))}
    fields = candidate.fields
    if fields is None:
        return {"": candidate.text}
    if len(fields) == 1:
        return {"": as_text(next(iter(fields.values())))}
    return {name: as_text(value) for name, value in fields.items()}


def show_answer(candidate: Candidate, on: str | None = None, name: str = "ANSWER") -> str:
    """The candidate between marks: the column `on`, or every column between marks of its own."""
    texts = answer_texts(candidate, on)
    return "\n\n".join(fence(f"{name}, {column}" if column else name, text) for column, text in texts.items())
