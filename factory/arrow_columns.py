"""Arrow arrays out of Python values whose type is known, by way of their buffers.

`pyarrow.array` and `Table.from_pylist` import pandas wherever that is installed, which takes longer than writing
thousands of rows, and look at every value to find its type.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from factory.errors import FactoryError

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_BYTES = 2**31 - 1
"""What the offsets of one array can reach."""


def make_table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of a schema's columns, each a sequence of values or, for a struct, again a mapping of columns.

    Raises like `make_array`.
    """
    import pyarrow as pa

    return pa.Table.from_arrays([make_array(columns[field.name], field.type) for field in schema], schema=schema)


def make_array(values: Any, kind: pa.DataType) -> pa.Array:
    """An array of a type: text, whole numbers, floats, booleans, and lists of these, with None for null; or a struct,
    of columns by name, or of mappings.

    Raises TypeError, UnicodeEncodeError or OverflowError for a value that the type does not hold, FactoryError where
    the texts or lists take more than 2 GiB.
    """
    import pyarrow as pa

    if pa.types.is_struct(kind):
        if not isinstance(values, Mapping):
            values = {field.name: [value[field.name] for value in values] for field in kind}
        children = [make_array(values[field.name], field.type) for field in kind]
        return pa.StructArray.from_arrays(children, fields=list(kind))
    missing = values.count(None)
    valid = _bits([value is not None for value in values]) if missing else None
    if pa.types.is_list(kind):
        items = [item for value in values if value is not None for item in value]
        offsets = _offsets([0 if value is None else len(value) for value in values])
        return pa.Array.from_buffers(
            kind, len(values), [valid, offsets], null_count=missing, children=[make_array(items, kind.value_type)]
        )
    return pa.Array.from_buffers(kind, len(values), [valid, *_buffers(values, kind)], null_count=missing)


def _buffers(values: Sequence[Any], kind: pa.DataType) -> list[pa.Buffer]:
    """The buffers of a plain type, after the one that says what is null."""
    import pyarrow as pa

    if pa.types.is_string(kind):
        texts = [b"" if value is None else value.encode() for value in values]
        return [_offsets([len(text) for text in texts]), pa.py_buffer(b"".join(texts))]
    if pa.types.is_boolean(kind):
        return [_bits([bool(value) for value in values])]
    codes = {pa.int32(): "i", pa.int64(): "q", pa.float64(): "d"}
    if kind not in codes:
        raise FactoryError(f"no column of the type {kind} is ever written")
    return [pa.py_buffer(array(codes[kind], [0 if value is None else value for value in values]))]


def _bits(flags: Sequence[bool]) -> pa.Buffer:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.array(flags, dtype=bool), bitorder="little"))


def _offsets(lengths: Sequence[int]) -> pa.Buffer:
    """Where each of the lengths begins, and where the last one ends."""
    import numpy as np
    import pyarrow as pa

    ends = np.cumsum([0, *lengths], dtype=np.int64)
    if ends[-1] > _MOST_BYTES:
        raise FactoryError("the texts of one group of rows take more than 2 GiB", "ask for shorter answers")
    return pa.py_buffer(ends.astype(np.int32))
