"""The columns of a data row as the texts that are compared: a conversation by its turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factory.duplicates import conversation_text

_TURNS = ("messages", "conversations", "conversation", "turns")


def row_texts(fields: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """The texts of a row by name: a column's name, or `column[k]` for turn k of a conversation in it."""
    found: dict[str, str] = {}
    for column in columns:
        value = fields.get(column)
        turns = _turns(value)
        if turns is None:
            found[column] = value if isinstance(value, str) else conversation_text(value)
        else:
            found |= {f"{column}[{place}]": conversation_text(turn) for place, turn in enumerate(turns)}
    return found


def _turns(value: Any) -> Sequence[Any] | None:
    """The turns of a conversation; None for anything else."""
    if isinstance(value, Mapping):
        value = next((value[name] for name in _TURNS if isinstance(value.get(name), list | tuple)), None)
    if isinstance(value, list | tuple) and len(value) > 1 and all(isinstance(turn, Mapping | str) for turn in value):
        return value
    return None
