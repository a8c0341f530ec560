"""`where`: rows for which an expression is true."""

from __future__ import annotations

from factory import prompts
from factory.errors import RecipeError, UsageError, nearest
from factory.filters import Columns, Drop, Item


class Where:
    """Keeps rows for which a Jinja2 expression over columns and axes is true, such as `rating >= 4 and source.id`.

    The expression is sandboxed. A column hides an axis of the same name; an undefined name is an error.
    """

    def __init__(self, *, expression: str):
        self._expression = expression.strip()
        if not self._expression:
            raise UsageError("`expression` is empty", "write one such as `rating >= 4`")
        try:
            self._names = prompts.names_in("{{ (" + self._expression + ") }}")
        except RecipeError as error:
            place = error.places[0]
            raise UsageError(f"`{self._expression}` is no expression: {place.message}", place.hint) from error

    def bind(self, columns: Columns) -> None:
        if columns.scope is None:
            return
        known = {*columns.every, *columns.scope}
        for name in sorted(self._names - known):
            raise UsageError(f"`{self._expression}` names `{name}`, which is undefined", nearest(name, known))

    def check(self, item: Item) -> Drop | None:
        try:
            true = bool(prompts.evaluate(self._expression, {**item.scope, **item.fields}))
        except RecipeError as error:
            place = error.places[0]
            raise UsageError(f"`{self._expression}`: {place.message}", place.hint) from error
        return None if true else Drop("filter", f"`{self._expression}` is false")

    def add(self, item: Item) -> None:
        """Rows do not depend on each other."""


where = Where
