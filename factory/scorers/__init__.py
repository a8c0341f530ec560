"""Scorers: each a function of one candidate and its row's context. A scorer sees one row only.

    def cites_source(candidate: Candidate, context: Context, *, at_least: int = 1) -> Score | float | bool | None: ...

Keyword-only parameters are the scorer's options in a recipe. A float is the value, True or False passes or vetoes,
None is a missing value (never 0). A first parameter called `candidates` takes the row's whole list and returns a list.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from factory.errors import UsageError, nearest
from factory.types import Candidate, Prompt, Score, Variation


def _cannot_ask(*_: Any, **__: Any) -> Awaitable[Any]:
    raise UsageError("this context has no models to ask", "give it `ask`")


@dataclass(frozen=True, slots=True)
class Context:
    """What a scorer may know besides the candidate: the row, its prompt, and the names in scope.

    `render` renders a template in the row's scope; `ask` calls a model of the recipe (journaled). `language`: the
    recipe's language code.
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
