"""Form: what a text must contain, start or end with, match or equal. Templates are rendered in the row's scope."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from factory.errors import UsageError
from factory.scorers import Context, as_text, column, render_template, shorten, text_of, traits, veto
from factory.scorers.words import single_spaced
from factory.types import Candidate, Score

PASSED = Score("format", 1.0)


@lru_cache(maxsize=256)
def _compile(pattern: str, case_sensitive: bool) -> re.Pattern[str]:
    try:
        return re.compile(pattern, 0 if case_sensitive else re.IGNORECASE)
    except re.error as error:
        raise UsageError(f"`pattern` of `format` is not a regular expression: {error}", f"it is {pattern!r}") from error


def _normal(text: str, case_sensitive: bool) -> str:
    """Comparable text: composed Unicode, straight apostrophes, single spaces and, unless wanted, no case."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).replace("’", "'")
    text = single_spaced(text)
    return text if case_sensitive else text.casefold()


def _listed(value: str | list[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


def _same(value: Any, wanted: str, case_sensitive: bool) -> bool:
    """Whether a column's value is the wanted text, or the same number."""
    shown = as_text(value)
    if _normal(shown, case_sensitive) == _normal(wanted, case_sensitive):
        return True
    try:
        return float(shown) == float(wanted)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one row: templates rendered, texts made comparable."""

    contains: tuple[str, ...]
    lacks: tuple[str, ...]
    starts: tuple[str, ...]
    ends: tuple[str, ...]
    one_of: tuple[str, ...] | None
    pattern: re.Pattern[str] | None
    equals: tuple[tuple[str, str], ...]
    case_sensitive: bool


def _broken(rules: Rules, candidate: Candidate, raw: str) -> str:
    """What a candidate breaks, or ''."""
    text = _normal(raw, rules.case_sensitive)
    for wanted in rules.contains:
        if wanted not in text:
            return f"does not contain '{shorten(wanted)}'"
    for unwanted in rules.lacks:
        if unwanted in text:
            return f"contains '{shorten(unwanted)}'"
    if rules.starts and not text.startswith(rules.starts):
        return f"does not start with '{shorten(rules.starts[0])}'"
    if rules.ends and not text.endswith(rules.ends):
        return f"does not end with '{shorten(rules.ends[0])}'"
    if rules.one_of is not None and text not in rules.one_of:
        return f"'{shorten(raw)}' is not one of the wanted texts"
    if rules.pattern is not None and not rules.pattern.search(raw):
        return f"does not match {shorten(rules.pattern.pattern)}"
    for name, wanted in rules.equals:
        value = column(candidate, name, "equals")
        if not _same(value, wanted, rules.case_sensitive):
            return f"{name} is '{shorten(as_text(value))}', wanted '{shorten(wanted)}'"
    return ""


@traits(low=0, high=1)
def format(
    candidates: Sequence[Candidate],
    context: Context,
    *,
    contains: str | list[str] | None = None,
    not_contains: str | list[str] | None = None,
    starts_with: str | list[str] | None = None,
    ends_with: str | list[str] | None = None,
    one_of: list[str] | None = None,
    pattern: str | None = None,
    equals: dict[str, str] | None = None,
    case_sensitive: bool = False,
    on: str | None = None,
) -> list[Score]:
    """A broken rule vetoes; otherwise 1.

    `contains` and `not_contains`: all, none of the texts. `starts_with`, `ends_with`, `one_of`: one of them.
    `equals`: columns that must equal a template, as text or as numbers. `pattern`: a regular expression that must be
    found, as it stands (no template). Case, runs of white space and Unicode composition don't matter unless
    `case_sensitive` (case alone).
    """

    def rendered(templates: str | list[str] | None) -> tuple[str, ...]:
        return tuple([_normal(render_template(context, template), case_sensitive) for template in _listed(templates)])

    rules = Rules(
        rendered(contains),
        tuple(filter(None, rendered(not_contains))),
        rendered(starts_with),
        rendered(ends_with),
        None if one_of is None else rendered(one_of),
        None if pattern is None else _compile(pattern, case_sensitive),
        tuple((name, render_template(context, template)) for name, template in (equals or {}).items()),
        case_sensitive,
    )
    scores = []
    for candidate in candidates:
        broken = _broken(rules, candidate, text_of(candidate, on))
        scores.append(veto("format", broken) if broken else PASSED)
    return scores
