"""Rows to audit: their texts, labels, axes and other columns, read once and held in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.duplicates import conversation_text
from factory.errors import UsageError
from factory.sources.streaming import open_stream, texts
from factory.sources.streaming_texts import check_text_columns, text_columns
from factory.sources.tables import check_columns

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("label", "labels", "intent", "category", "class", "target")
"""Columns that hold the label of a row, where none is named."""
MOST_LABELS = 1000
IDENTITIES = ("id", "ids", "idx", "index", "key", "row", "sentid", "uuid")
"""Columns that tell rows apart, and say nothing of them; so do names that end in `_id`."""
MOST_CATEGORIES = 200
LEAST_REPEATS = 10
LONGEST_CATEGORY = 60
CLIP = 20_000
"""Characters of a text that statistics of style, words and topics look at."""


class Data(Sequence[Mapping[str, Any]]):
    """A table of rows. `columns`: those whose text is looked at; `label`: the column of classes, None without one.

    By default texts are all columns of text but the label, those of categories (few short values, each repeated),
    identities (`id`, `…_id`) and nested records that are no conversation.
    """

    def __init__(self, name: str, table: pa.Table, columns: Sequence[str] | None = None, label: str | None = None):
        self.name = name
        self.table = table
        if columns is not None:
            check_columns(columns, table.schema.names, name)
            check_text_columns(table.schema, columns, name)
        if label is not None:
            check_columns((label,), table.schema.names, name)
        self.label = label if label is not None else self._guess_label()
        found = [one for one in text_columns(table.schema) if one != self.label]
        free = [one for one in found if not _is_aside(table, one)]
        self.columns: tuple[str, ...] = tuple(columns) if columns is not None else tuple(free or found)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return self.table.take(list(range(*at.indices(len(self))))).to_pylist()
        place = at if at >= 0 else at + len(self)
        if not 0 <= place < len(self):
            raise IndexError(at)
        return self.table.slice(place, 1).to_pylist()[0]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for batch in self.table.to_batches(max_chunksize=1000):
            yield from batch.to_pylist()

    def text(self, column: str) -> list[str]:
        """One column as texts, null as the empty one. Raises UsageError where it holds none."""
        found: list[str] = texts(self.table, (column,), conversation_text).to_pylist()
        return found

    @cached_property
    def texts(self) -> list[str]:
        """The text of each row: its `columns`, joined by a line break. Raises UsageError where there are none."""
        if not self.columns:
            raise UsageError(f"{self.name}: no column holds text", f"columns: {', '.join(self.table.schema.names)}")
        found: list[str] = texts(self.table, self.columns, conversation_text).to_pylist()
        return found

    @cached_property
    def clipped(self) -> list[str]:
        """`texts`, each cut to its first `CLIP` characters: what statistics look at."""
        return [text if len(text) <= CLIP else text[:CLIP] for text in self.texts]

    def values(self, column: str) -> list[Any]:
        """One column as it is; `meta.NAME` is a field of the struct `meta`. Raises UsageError when it is not there."""
        if column.startswith("meta.") and "meta" in self.table.schema.names:
            field = column.removeprefix("meta.")
            return [None if one is None else one.get(field) for one in self._meta]
        check_columns((column,), self.table.schema.names, self.name)
        found: list[Any] = self.table.column(column).to_pylist()
        return found

    @cached_property
    def labels(self) -> list[str | None] | None:
        """The class of each row as text, None without a label column."""
        if self.label is None:
            return None
        return [None if value is None else str(value) for value in self.values(self.label)]

    @cached_property
    def axes(self) -> dict[str, list[Any]]:
        """What a run drew for its rows (`meta.variation`), by axis; empty for other data."""
        drawn = [_variation(one) for one in self._meta]
        names = sorted({name for one in drawn for name in one})
        return {name: [one.get(name) for one in drawn] for name in names}

    @cached_property
    def ids(self) -> list[str | None]:
        """`meta.id` of each row, None where it has none."""
        return [None if one is None else one.get("id") for one in self._meta] if self._meta else [None] * len(self)

    def take(self, places: Sequence[int]) -> Data:
        """The rows at these places, in this order, under the same name and columns."""
        return Data(self.name, self.table.take(list(places)), self.columns, self.label)

    @cached_property
    def _meta(self) -> list[Mapping[str, Any] | None]:
        import pyarrow as pa

        names = self.table.schema.names
        if "meta" not in names or not pa.types.is_struct(self.table.schema.field("meta").type):
            return []
        found: list[Mapping[str, Any] | None] = self.table.column("meta").to_pylist()
        return found

    def _guess_label(self) -> str | None:
        """A column with a usual name whose values repeat and are few; `ClassLabel` numbers count."""
        for name in self.table.schema.names:
            if name.lower() in LABELS and _few(self.table.column(name)):
                return str(name)
        return None


def _is_aside(table: pa.Table, name: str) -> bool:
    """Whether a column that holds text is none to read."""
    import pyarrow as pa

    lower = name.lower()
    identity = lower in IDENTITIES or lower.endswith(("_id", "-id"))
    return identity or pa.types.is_struct(table.schema.field(name).type) or holds_categories(table, name)


def holds_categories(table: pa.Table, name: str) -> bool:
    """Whether a column of texts is one of categories: few values, short, each in ten rows on average."""
    import pyarrow as pa
    import pyarrow.compute as compute

    column = table.column(name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return False
    known = [value for value in compute.unique(column).to_pylist() if value is not None]
    if len(known) > min(MOST_CATEGORIES, max(2, table.num_rows // LEAST_REPEATS)):
        return False
    return all(len(value) <= LONGEST_CATEGORY and "\n" not in value for value in known)


def _few(column: Any) -> bool:
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        return False
    counts = Counter(column.to_pylist())
    return len(counts) <= min(MOST_LABELS, max(2, len(column) // 2))


def _variation(meta: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        found = json.loads(meta["variation"]) if meta else {}
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_data(
    entry: str,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    split: str = "train",
    limit: int | None = None,
) -> Data:
    """Any data, as `factory.sources.streaming.open_stream` reads it, held in memory.

    Raises UsageError: nothing there, no rows, a column that is not there or holds no text.
    """
    import pyarrow as pa

    stream = open_stream(entry, split=split, limit=limit)
    for wanted in (columns or (), () if label is None else (label,)):
        stream.check_columns(tuple(wanted))
    table = pa.Table.from_batches(
        [batch for one in stream for batch in one.table.to_batches()], schema=stream.schema
    ).replace_schema_metadata(None)
    name = Path(stream.name).name if Path(stream.name).expanduser().exists() else stream.name
    return Data(name, table, columns, label)
