"""Scorers: each a function of one candidate and its row's context. A scorer sees one row only.

    @traits(low=0, high=1)
    def cites_source(candidate: Candidate, context: Context, *, at_least: int = 1) -> Score | float | bool | None: ...

Keyword-only parameters are the scorer's options in a recipe. A float is the value, True or False passes or vetoes,
None is a missing value (never 0). A first parameter called `candidates` takes the row's whole list and returns a list.
It may be a coroutine, and ask models through `context.ask`.

A scorer may also be a class: its `__init__` takes the options, its instances are called like a function. It may have
`bind(setup: Setup) -> None`, called once before the first row (it raises UsageError where an option does not fit),
`traits` (where they hang on the options), and `calls(n) -> int`, the model calls that n candidates take at most.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from factory.errors import UsageError, nearest
from factory.types import Candidate, Prompt, Score, Task, Variation

Expense = Literal["rule", "check", "model", "judge"]
EXPENSES: tuple[Expense, ...] = ("rule", "check", "model", "judge")
"""From the cheapest to the dearest: rules look at every candidate; checks (other programs, a sandbox), models and
judges only at those that nothing cheaper has vetoed."""
Marked = TypeVar("Marked", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Traits:
    """What is documented of a scorer: the range of its values (None: no bound), which end is better, its expense.

    `task`: what the models that it asks must be able to do.
    """

    low: float | None = None
    high: float | None = None
    better: Literal["higher", "lower"] = "higher"
    expense: Expense = "rule"
    task: Task = "generate"


def traits(
    *,
    low: float | None = None,
    high: float | None = None,
    better: Literal["higher", "lower"] = "higher",
    expense: Expense = "rule",
    task: Task = "generate",
) -> Callable[[Marked], Marked]:
    """Decorator: give a scorer its `Traits`."""

    def mark(scorer: Marked) -> Marked:
        scorer.traits = Traits(low, high, better, expense, task)  # type: ignore[attr-defined]
        return scorer

    return mark


@dataclass(frozen=True, slots=True)
class Setup:
    """What a scorer may know before the first row.

    `base`: the directory that paths of the recipe start from. `columns`: the step's output columns. `candidates`: how
    many a row has. `roles`: the models of the recipe.
    """

    base: Path = Path()
    language: str = "en"
    columns: tuple[str, ...] = ()
    candidates: int = 1
    roles: tuple[str, ...] = ()


def _cannot_ask(*_: Any, **__: Any) -> Awaitable[Any]:
    raise UsageError("this context has no models to ask", "give it `ask`")


@dataclass(frozen=True, slots=True)
class Context:
    """What a scorer may know besides the candidate: the row, its prompt, and the names in scope.

    `render` renders a template in the row's scope. `language`: the recipe's language code. `ask` calls a model of the
    recipe, journaled like any call: `await context.ask(role, messages, index=0, schema=None, logprobs=None,
    task="generate")` gives a `Stored`, whose `response` is None when the call was refused for good (`outcome` and
    `message` say why). `index` tells calls with the same messages apart: the candidate's index, as a rule. `schema`: a
    closed JSON Schema that the answer is to keep to, enforced by the server where it can.
    """

    variation: Variation
    prompt: Prompt
    scope: Mapping[str, Any]
    render: Callable[[str], str]
    ask: Callable[..., Awaitable[Any]] = _cannot_ask
    language: str = "en"


def as_text(value: Any) -> str:
    """A column's value as text: lists by lines, nested data as JSON, nothing for null."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "\n".join(as_text(item) for item in value)
    if isinstance(value, bool | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def column(candidate: Candidate, name: str, option: str = "on") -> Any:
    """The value of an output column. Raises UsageError, with the nearest name, when there is no such column."""
    fields = candidate.fields or {}
    if name not in fields:
        raise UsageError(
            f"`{option}: {name}` names no output column", nearest(name, fields) or "the output is not parsed"
        )
    return fields[name]


def text_of(candidate: Candidate, on: str | None) -> str:
    """The text a scorer looks at: one column, or all columns by lines; the raw text of an unparsed candidate."""
    if on is not None:
        return as_text(column(candidate, on))
    if candidate.fields is None:
        return candidate.text
    if len(candidate.fields) == 1:
        return as_text(next(iter(candidate.fields.values())))
    return "\n".join(as_text(value) for value in candidate.fields.values())


def texts_of(candidate: Candidate, on: str | None) -> list[str]:
    """Like `text_of`, but every column on its own."""
    if on is not None or candidate.fields is None:
        return [text_of(candidate, on)]
    return [as_text(value) for value in candidate.fields.values()]


def veto(name: str, reason: str, value: float | None = 0.0) -> Score:
    """A broken bound."""
    return Score(name, value, reason, vetoed=True)


def render_template(context: Context, template: str) -> str:
    """A template rendered in the row's scope; text without Jinja marks as it stands."""
    return context.render(template) if "{{" in template or "{%" in template or "{#" in template else template


def shorten(text: str, limit: int = 60) -> str:
    """One line of at most `limit` characters, for a reason."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"
