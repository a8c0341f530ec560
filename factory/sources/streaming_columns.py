"""Column types of rows that come as Python values (JSON Lines, JSON, CSV), found over the whole stream; Arrow arrays.

`find_kind` looks at a chunk, `merge` puts chunks together, `settle` makes what is left a type, and `build` makes the
array. What no Arrow type holds (numbers and texts in one column, say) becomes text: a text as it is, any other value
as its JSON. `pyarrow.array` would import pandas, and look at every value again.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_FIELDS = 1000
"""A mapping with more names than this is kept as JSON: its names are data."""
_EXACT = 2**53
"""Whole numbers up to here are the same as floats."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What values of a column are: null, bool, int (with bounds), float, str, list, struct, or any."""

    name: str
    low: int = 0
    high: int = 0
    item: Kind | None = None
    fields: Mapping[str, Kind] = field(default_factory=dict)


NULL, BOOL, FLOAT, STR, ANY = (Kind(name) for name in ("null", "bool", "float", "str", "any"))
_PLAIN: Mapping[type, Kind] = {str: STR, bool: BOOL, float: FLOAT}


def find_kind(values: Sequence[Any]) -> Kind:
    """The kind that holds all the values; None fits every kind."""
    types = set(map(type, values))
    absent = type(None) in types
    types.discard(type(None))
    if not types:
        return NULL
    if len(types) > 1:
        parts = [find_kind([value for value in values if type(value) is one]) for one in sorted(types, key=str)]
        return reduce(merge, parts)
    present = [value for value in values if value is not None] if absent else values
    (only,) = types
    if only is int:
        return Kind("int", min(present), max(present))
    if only is list:
        return Kind("list", item=find_kind(list(chain.from_iterable(present))))
    if only is dict:
        names = list(dict.fromkeys(chain.from_iterable(present)))
        if len(names) > MOST_FIELDS:
            return ANY
        return Kind("struct", fields={name: find_kind([one.get(name) for one in present]) for name in names})
    return _PLAIN.get(only, ANY)


def merge(one: Kind, other: Kind) -> Kind:
    """The kind that holds what either holds."""
    if one.name == "null" or other.name == "any":
        return other
    if other.name == "null" or one.name == "any":
        return one
    if {one.name, other.name} == {"int", "float"}:
        whole = one if one.name == "int" else other
        return FLOAT if whole.low >= -_EXACT and whole.high <= _EXACT else ANY
    if one.name != other.name:
        return ANY
    if one.name == "int":
        return Kind("int", min(one.low, other.low), max(one.high, other.high))
    if one.name == "list":
        assert one.item is not None and other.item is not None
        return Kind("list", item=merge(one.item, other.item))
    if one.name == "struct":
        names = dict.fromkeys((*one.fields, *other.fields))
        if len(names) > MOST_FIELDS:
            return ANY
        fields = {name: merge(one.fields.get(name, NULL), other.fields.get(name, NULL)) for name in names}
        return Kind("struct", fields=fields)
    return one


def settle(kind: Kind) -> Kind:
    """The kind with everything that Arrow or Parquet has no type for as `any`: huge numbers, mappings without names."""
    if kind.name == "int":
        signed = kind.low >= -(2**63) and kind.high < 2**63
        return kind if signed or (kind.low >= 0 and kind.high < 2**64) else ANY
    if kind.name == "list":
        assert kind.item is not None
        return replace(kind, item=settle(kind.item))
    if kind.name == "struct":
        fields = {name: settle(inner) for name, inner in kind.fields.items()}
        return replace(kind, fields=fields) if fields else ANY
    return kind


def fits(part: Kind, whole: Kind) -> bool:
    """Whether a table of settled `part` can be cast to that of settled `whole`, without a value that would differ."""
    for name, one in part.fields.items():
        other = whole.fields.get(name, ANY)
        if arrow_type(one) != arrow_type(other) and (one.name, other.name) != ("int", "float"):
            return False
    return True


def mixed_names(kind: Kind, prefix: str = "") -> Iterator[str]:
    """The columns (`a`, `a.b`, `a[]`) of a settled struct that are kept as text because no other type holds them."""
    for name, inner in kind.fields.items():
        shown = f"{prefix}{name}"
        while inner.name == "list" and inner.item is not None:
            inner, shown = inner.item, f"{shown}[]"
        if inner.name == "any":
            yield shown
        elif inner.name == "struct":
            yield from mixed_names(inner, f"{shown}.")


def arrow_type(kind: Kind) -> pa.DataType:
    """The Arrow type of a settled kind."""
    import pyarrow as pa

    if kind.name == "int":
        return pa.int64() if kind.high < 2**63 else pa.uint64()
    if kind.name == "list":
        assert kind.item is not None
        return pa.list_(arrow_type(kind.item))
    if kind.name == "struct":
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner in kind.fields.items()])
    return {"null": pa.null(), "bool": pa.bool_(), "float": pa.float64()}.get(kind.name, pa.string())


def build_table(rows: Sequence[Mapping[str, Any]], kind: Kind) -> pa.Table:
    """The rows as a table of a settled struct's columns; what a row lacks is null."""
    import pyarrow as pa

    columns = [build([row.get(name) for row in rows], inner) for name, inner in kind.fields.items()]
    return pa.Table.from_arrays(columns, names=list(kind.fields))


def build(values: Sequence[Any], kind: Kind) -> pa.Array:
    """The array of a settled kind. Raises UnicodeEncodeError where a text has half a character in it."""
    import pyarrow as pa

    type_ = arrow_type(kind)
    if kind.name == "null":
        return pa.nulls(len(values))
    if kind.name == "any":
        values = [value if value is None or isinstance(value, str) else _as_json(value) for value in values]
    missing = values.count(None)
    valid = _bits([value is not None for value in values]) if missing else None
    if kind.name == "list":
        assert kind.item is not None
        lengths = [0 if value is None else len(value) for value in values]
        items = build(list(chain.from_iterable(value for value in values if value is not None)), kind.item)
        return pa.Array.from_buffers(type_, len(values), [valid, _offsets(lengths)], missing, children=[items])
    if kind.name == "struct":
        children = [
            build([None if value is None else value.get(name) for value in values], inner)
            for name, inner in kind.fields.items()
        ]
        return pa.Array.from_buffers(type_, len(values), [valid], missing, children=children)
    return pa.Array.from_buffers(type_, len(values), [valid, *_plain_buffers(values, kind, bool(missing))], missing)


def _plain_buffers(values: Sequence[Any], kind: Kind, missing: bool) -> list[pa.Buffer]:
    """The buffers of a plain type, after the one that says what is null."""
    import pyarrow as pa

    if kind.name in ("str", "any"):
        texts = [value or "" for value in values] if missing else values
        joined = "".join(texts)
        if joined.isascii():
            return [_offsets([*map(len, texts)]), pa.py_buffer(joined.encode())]
        raw = [*map(str.encode, texts)]
        return [_offsets([*map(len, raw)]), pa.py_buffer(b"".join(raw))]
    if kind.name == "bool":
        return [_bits([bool(value) for value in values])]
    code = "d" if kind.name == "float" else "q" if kind.high < 2**63 else "Q"
    return [pa.py_buffer(array(code, [value or 0 for value in values] if missing else values))]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bits(flags: Sequence[bool]) -> pa.Buffer:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.array(flags, dtype=bool), bitorder="little"))


def _offsets(lengths: Sequence[int]) -> pa.Buffer:
    """Where each of the lengths begins, and where the last one ends. Raises UsageError beyond 2 GiB."""
    import numpy as np
    import pyarrow as pa

    ends = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(np.array(lengths, dtype=np.int64), out=ends[1:])
    if ends[-1] >= 2**31:
        raise UsageError(f"the texts of {len(lengths):,} rows take more than 2 GiB", "write them as Parquet or JSONL")
    return pa.py_buffer(ends.astype(np.int32))
