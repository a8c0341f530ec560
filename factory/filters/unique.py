"""`unique`: at most one row for each value of the given columns; the first row wins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from factory.filters import Columns, Drop, Item, as_columns
from factory.minhash import normalise


class Unique:
    """Drops rows whose columns equal those of an accepted row, letter case and white space aside.

    `on`: the column or columns that together must be unique (default: all of the recipe's output).
    """

    def __init__(self, *, on: str | list[str] | None = None):
        self._on = on
        self._columns: tuple[str, ...] | None = None
        self._seen: dict[bytes, int] = {}

    def bind(self, columns: Columns) -> None:
        self._columns = columns.output if self._on is None else as_columns("on", self._on, columns)

    def check(self, item: Item) -> Drop | None:
        row = self._seen.get(self._key(item))
        if row is None:
            return None
        named = ", ".join(f"`{column}`" for column in self._names(item))
        return Drop("dedup", f"same {named} as {'this row' if row == item.row else f'row {row}'}", str(row))

    def add(self, item: Item) -> None:
        self._seen.setdefault(self._key(item), item.row)

    def _names(self, item: Item) -> tuple[str, ...]:
        return tuple(item.fields) if self._columns is None else self._columns

    def _key(self, item: Item) -> bytes:
        values = [_folded(item.fields.get(column)) for column in self._names(item)]
        text = json.dumps(values, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _folded(value: Any) -> Any:
    """The value with all its strings normalised."""
    if isinstance(value, str):
        return normalise(value)
    if isinstance(value, Mapping):
        return {str(key): _folded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_folded(one) for one in value]
    return value
