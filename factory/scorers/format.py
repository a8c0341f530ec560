"""Form: what a text must contain, start or end with, match or equal. Templates are rendered in the row's scope."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from factory.errors import UsageError
from factory.scorers import Context, as_text, column, render_template, shorten, text_of, traits, veto
from factory.types import Candidate, Score


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
    text = " ".join(text.split())
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


@traits(low=0, high=1)
def format(
    candidate: Candidate,
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
) -> Score:
    """A broken rule vetoes; otherwise 1.

    `contains` and `not_contains`: all, none of the texts. `starts_with`, `ends_with`, `one_of`: one of them.
    `equals`: columns that must equal a template, as text or as numbers. `pattern`: a regular expression that must be
    found, as it stands (no template). Case, runs of white space and Unicode composition don't matter unless
    `case_sensitive` (case alone).
    """
    raw = text_of(candidate, on)
    text = _normal(raw, case_sensitive)

    def rendered(templates: str | list[str] | None) -> list[str]:
        return [_normal(render_template(context, template), case_sensitive) for template in _listed(templates)]

    for wanted in rendered(contains):
        if wanted not in text:
            return veto("format", f"does not contain '{shorten(wanted)}'")
    for unwanted in rendered(not_contains):
        if unwanted and unwanted in text:
            return veto("format", f"contains '{shorten(unwanted)}'")
    if (starts := rendered(starts_with)) and not text.startswith(tuple(starts)):
        return veto("format", f"does not start with '{shorten(starts[0])}'")
    if (ends := rendered(ends_with)) and not text.endswith(tuple(ends)):
        return veto("format", f"does not end with '{shorten(ends[0])}'")
    if one_of is not None and text not in rendered(one_of):
        return veto("format", f"'{shorten(raw)}' is not one of the wanted texts")
    if pattern is not None and not _compile(pattern, case_sensitive).search(raw):
        return veto("format", f"does not match {shorten(pattern)}")
    for name, template in (equals or {}).items():
        wanted, value = render_template(context, template), column(candidate, name, "equals")
        if not _same(value, wanted, case_sensitive):
            return veto("format", f"{name} is '{shorten(as_text(value))}', wanted '{shorten(wanted)}'")
    return Score("format", 1.0)
