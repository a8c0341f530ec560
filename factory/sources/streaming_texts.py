"""The texts of a table's rows: one column as Arrow holds it, several joined, conversations as what was said."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

SAID = ("content", "value", "text")
"""Where a turn of a conversation keeps what was said."""
WHO = ("role", "from", "speaker", "author")
"""Where it keeps who said it, which is no text of it."""
Said = Callable[[Any], str]


def texts(table: Any, columns: Sequence[str], said: Said | None = None) -> Any:
    """The text of each row: a pyarrow array of strings without nulls; several columns are joined by a line break.

    `table`: a pyarrow table, record batch, or a stream's `Batch`. Null is the empty text. Conversations of
    `{"role", "content"}` or `{"from", "value"}` are what is said, a line a turn; lists and mappings of any other shape
    are what `said` makes of them (`factory.duplicates.conversation_text`, which this agrees with). Raises UsageError
    for a column of numbers and the like, and for such a shape without `said`.
    """
    import pyarrow as pa
    import pyarrow.compute as compute

    table = getattr(table, "table", table)
    found = [_column(table, name, said) for name in columns]
    if len(found) == 1:
        return found[0]
    if any(pa.types.is_large_string(one.type) for one in found) or sum(one.nbytes for one in found) >= 2**31:
        found = [one.cast(pa.large_string()) for one in found]
    return compute.binary_join_element_wise(*found, pa.scalar("\n", found[0].type))


def text_columns(schema: pa.Schema) -> list[str]:
    """The columns that `texts` takes, without a run's `meta`."""
    return [field.name for field in schema if field.name != "meta" and holds_text(field.type)]


def holds_text(kind: pa.DataType) -> bool:
    """Whether a type is text, or a conversation or list with text in it."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return holds_text(kind.value_type)
    if _is_list(kind):
        return holds_text(kind.value_type)
    if types.is_struct(kind):
        return any(holds_text(field.type) for field in kind)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def check_text_columns(schema: pa.Schema, columns: Sequence[str], name: str) -> None:
    """Raise UsageError for a column that holds no text, naming those that do."""
    for column in columns:
        kind = schema.field(column).type
        if not holds_text(kind):
            others = ", ".join(text_columns(schema)) or "none"
            raise UsageError(f"{name}: the column `{column}` holds {told(kind)}, no text", f"text columns: {others}")


def told(kind: pa.DataType) -> str:
    """A type in words."""
    import pyarrow as pa

    types = pa.types
    if types.is_null(kind):
        return "nothing but nulls"
    if types.is_boolean(kind):
        return "true and false"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return f"numbers ({kind})"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "bytes"
    if types.is_temporal(kind):
        return f"times ({kind})"
    text = str(kind)
    return text if len(text) <= 60 else text[:59] + "…"


def only_text_column(schema: pa.Schema, name: str) -> str:
    """The column to take where none is named. Raises UsageError, listing them, unless there is exactly one."""
    found = text_columns(schema)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(found) if found else f"none; columns: {', '.join(schema.names)}"
    raise UsageError(f"{name}: which column holds the text?", f"say --column NAME; text columns: {listed}")


def _column(table: Any, name: str, said: Said | None) -> Any:
    import pyarrow as pa
    import pyarrow.compute as compute

    if name not in table.schema.names:
        told_names = f"{nearest(name, table.schema.names)} columns: {', '.join(table.schema.names)}"
        raise UsageError(f"no column `{name}`", told_names)
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # more than one array can hold
            column = column.cast(_large(column.type)).combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        check_text_columns(table.schema, (name,), "the data")
        column = _conversations(column, said, name)
    return compute.fill_null(column, "") if column.null_count else column


def _large(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return pa.large_string() if pa.types.is_string(kind) else kind


def _conversations(column: Any, said: Said | None, name: str) -> Any:
    """Conversations as texts: by their buffers where a turn is who and what alone, else one by one."""
    import pyarrow as pa

    if (place := _plain_turn(column.type)) is not None:
        return _joined_turns(column, place)
    if said is None:
        raise UsageError(f"the column `{name}` holds {told(column.type)}, no text", "name a text column")
    return pa.array([said(value) for value in column.to_pylist()], pa.string())


def _plain_turn(kind: pa.DataType) -> int | None:
    """Where a turn of a list keeps its text, if there is nothing else that could be said."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)):
        return None
    turn = kind.value_type
    names = [field.name for field in turn]
    spoken = [name for name in names if name in SAID]
    others = set(names) - {*WHO, *spoken}
    if len(spoken) != 1 or others or len(names) < 2 or not pa.types.is_string(turn.field(spoken[0]).type):
        return None
    return names.index(spoken[0])


def _joined_turns(column: Any, place: int) -> Any:
    """What the turns say, a line each; a turn that says nothing (null) is no line, and no turns are the empty text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as compute

    turns = compute.struct_field(column.values, [place])
    ends = column.offsets.to_numpy()
    if turns.null_count:
        before = np.concatenate([[0], np.cumsum(turns.is_valid().to_numpy(zero_copy_only=False))])
        turns, ends = turns.drop_null(), before[ends].astype(np.int32)
    joined = compute.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), turns), "\n")
    return compute.if_else(column.is_valid(), joined, "") if column.null_count else joined


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def values_as_text(table: pa.Table, name: str) -> list[str]:
    """A column's values as texts by which rows are told apart: null is like no text, equal numbers are equal."""
    import pyarrow as pa

    column = table.column(name)
    try:
        texts = column.cast(pa.large_string()).to_pylist()
    except pa.ArrowException:  # lists, mappings
        texts = [None if one is None else json.dumps(one, sort_keys=True, default=str) for one in column.to_pylist()]
    return ["" if text is None else f"={text}" for text in texts]
