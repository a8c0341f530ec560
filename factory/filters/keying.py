"""What rows are counted by: the value of a column, of an axis, or of a template over both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory import prompts
from factory.errors import RecipeError, UsageError, nearest
from factory.filters import Columns, text_of
from factory.types import canonical_json


class Key:
    """Reads a row's key by an option: the name of a column or of an axis (a column hides an axis), or a template such
    as `{{ topic }}-{{ level }}`. `option`: what a recipe calls it."""

    def __init__(self, on: str, option: str = "on"):
        self.on = on.strip()
        self._option = option
        self._template = any(mark in self.on for mark in ("{{", "{%", "{#"))
        if not self.on:
            raise UsageError(
                f"`{option}` is empty", "name a column, an axis, or write a template such as `{{ topic }}`"
            )

    def bind(self, columns: Columns) -> None:
        """Raises UsageError for a name that is neither a column nor in scope, with the nearest."""
        known = {*columns.every, *(columns.scope or ())}
        try:
            named = prompts.names_in(self.on) if self._template else {self.on}
        except RecipeError as error:
            place = error.places[0]
            raise UsageError(f"`{self._option}: {self.on}` is no template: {place.message}", place.hint) from error
        if columns.scope is None:  # what is in scope shows with the first row
            return
        for name in sorted(named - known):
            what = "is undefined" if self._template else "is neither a column nor an axis"
            raise UsageError(f"`{self._option}` names `{name}`, which {what}", nearest(name, known))

    def of(self, fields: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
        """The row's key as text. Numbers and texts that look alike are one key; mappings and lists count whole."""
        if self._template:
            try:
                return prompts.render_text(self.on, {**scope, **fields})
            except RecipeError as error:
                place = error.places[0]
                raise UsageError(f"`{self._option}: {self.on}`: {place.message}", place.hint) from error
        if self.on not in fields and self.on not in scope:
            hint = nearest(self.on, {*fields, *scope})
            raise UsageError(f"`{self._option}` names `{self.on}`, which is neither a column nor an axis", hint)
        value = fields[self.on] if self.on in fields else scope[self.on]
        return canonical_json(value) if isinstance(value, Mapping | list | tuple) else text_of(value)

    @property
    def shown(self) -> str:
        """What it is called in a reason."""
        return f"`{self.on}`"
