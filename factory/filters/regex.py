"""`regex`: rows by a regular expression on one column."""

from __future__ import annotations

import re

from factory.errors import UsageError
from factory.filters import Columns, Drop, Item, as_columns, text_of


class Regex:
    """Drops rows in whose column a regular expression is found; with `keep`, rows in which it is not found.

    `pattern` is searched anywhere in the text (Python's syntax; `(?i)` at its start ignores case).
    """

    def __init__(self, *, column: str, pattern: str, keep: bool = False):
        try:
            self._pattern = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            message = f"`{pattern}` is no regular expression: {error}"
            raise UsageError(message, "a backslash escapes ( ) [ ] { } . * + ? | ^ $") from error
        self._column = column
        self._keep = keep

    def bind(self, columns: Columns) -> None:
        as_columns("column", self._column, columns)

    def check(self, item: Item) -> Drop | None:
        found = self._pattern.search(text_of(item.fields.get(self._column)))
        if (found is not None) == self._keep:
            return None
        if found is None:
            return Drop("filter", f"`{self._column}` lacks `{self._pattern.pattern}`")
        return Drop("filter", f"`{self._column}` matches `{self._pattern.pattern}`: {found.group()[:60]!r}")

    def add(self, item: Item) -> None:
        """Rows do not depend on each other."""


regex = Regex
