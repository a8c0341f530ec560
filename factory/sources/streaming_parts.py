"""The parts of a stream: data files, saved datasets, Hub datasets. Each knows its schema, and gives tables in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from factory.errors import UsageError, nearest
from factory.sources.source import is_saved
from factory.sources.streaming_columns import Kind, arrow_type, build_table, fits, merge, settle
from factory.sources.streaming_lines import (
    Faults,
    Rows,
    csv_chunks,
    csv_kind,
    csv_types,
    csv_values,
    json_chunks,
    json_kind,
    jsonl_chunks,
)
from factory.sources.tables import cut, format_of, missing_path

if TYPE_CHECKING:
    import pyarrow as pa

HELD_BYTES = 1 << 27
BATCH_BYTES = 1 << 26
"""Bytes of a table, about: rows that are larger than usual come fewer at a time."""
HUB_HINT = (
    'where there is a network: datasets.load_dataset("{name}").save_to_disk("FOLDER"), or download its files; '
    "copy them here and give the folder as DATA"
)
Ticks = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """How parts are read: rows a table, at most so many rows, whether bad rows are left out, who hears of progress."""

    split: str = "train"
    config: str | None = None
    skip_bad: bool = False
    rows: int = 10_000
    limit: int | None = None
    tick: Ticks = lambda rows: None


class Part(Protocol):
    """`rows`: None where nobody knows beforehand. `schema`: of the tables that `tables` gives."""

    name: str

    @property
    def rows(self) -> int | None: ...
    @property
    def schema(self) -> pa.Schema: ...
    def tables(self) -> Iterator[pa.Table]: ...


@dataclass
class LinesPart:
    """A file of rows as Python values. `kind` is replaced by that of all such files before `tables`.

    The tables of a file of some `HELD_BYTES` are kept from the first walk, so that there need not be a second.
    """

    path: Path
    reading: Reading
    name: str
    rows: int = 0
    kind: Kind = field(default_factory=lambda: Kind("struct"))
    faults: Faults = field(init=False)
    _held: list[tuple[Kind, pa.Table]] | None = field(default_factory=list)

    def __post_init__(self) -> None:
        """The first walk: kinds, rows, faults. Raises UsageError."""
        self.faults = Faults(self.path, self.reading.skip_bad)
        look = csv_kind if self._format == "csv" else json_kind
        found = Kind("struct")
        size = 0
        for chunk in self._chunks(self.faults):
            kind = look(chunk)
            found = merge(found, kind)
            self.rows += len(chunk)
            self.reading.tick(self.rows)
            if self._held is not None:
                self._held.append((settle(kind), self._table(chunk, settle(kind))))
                size += self._held[-1][1].nbytes
                if size > HELD_BYTES:
                    self._held = None
        self.kind = csv_types(found) if self._format == "csv" else found

    @property
    def _format(self) -> str:
        return str(format_of(self.path))

    @property
    def schema(self) -> pa.Schema:
        """Of the settled kind."""
        import pyarrow as pa

        return pa.schema([pa.field(name, arrow_type(one)) for name, one in settle(self.kind).fields.items()])

    def _chunks(self, faults: Faults) -> Iterator[Rows]:
        left = self.reading.limit
        for chunk in _READERS[self._format](self.path, faults, self.reading.rows):
            kept = chunk if left is None else chunk[:left]
            yield kept
            if left is not None:
                left -= len(kept)
                if not left:
                    return

    def _table(self, chunk: Rows, kind: Kind) -> pa.Table:
        return build_table(csv_values(chunk, kind) if self._format == "csv" else chunk, kind)

    def tables(self) -> Iterator[pa.Table]:
        """What is kept of the first walk where its columns are as those of the whole; else a second walk."""
        kind = settle(self.kind)
        if self._held is not None and all(fits(one, kind) for one, _ in self._held):
            yield from (table for _, table in self._held)
            return
        self._held = None
        for chunk in self._chunks(Faults(self.path, self.reading.skip_bad)):
            yield self._table(chunk, kind)


_READERS: Mapping[str, Callable[[Path, Faults, int], Iterator[Rows]]] = {
    "jsonl": jsonl_chunks,
    "json": json_chunks,
    "csv": csv_chunks,
}


@dataclass
class ParquetPart:
    """A Parquet file, a piece of a row group at a time."""

    path: Path
    reading: Reading
    name: str

    def __post_init__(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        try:
            with parquet.ParquetFile(self.path) as file:
                self._schema, self.rows = _without_views(file.schema_arrow), int(file.metadata.num_rows)
                groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
        except (pa.ArrowException, OSError) as error:
            raise self._fault(error) from None
        names = self._schema.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"{self.path}: a column stands twice: {', '.join(twice)}")
        widest = max((one.total_byte_size / max(one.num_rows, 1) for one in groups), default=1.0)
        self._at_once = max(1, min(self.reading.rows, int(BATCH_BYTES / max(widest, 1.0))))

    def _fault(self, error: Exception) -> UsageError:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "a Parquet file ends with its index: download it again if it was cut off"
        return UsageError(f"{self.path}: not a whole Parquet file ({cut(first)})", hint)

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def tables(self) -> Iterator[pa.Table]:
        """Raises UsageError where a page is damaged."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        # Without pre_buffer and with a small buffer a row group is read page by page, however large it is.
        try:
            with parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20) as file:
                for batch in file.iter_batches(batch_size=self._at_once):
                    table = pa.Table.from_batches([batch])
                    yield table if table.schema.equals(self._schema) else table.cast(self._schema)
        except (pa.ArrowException, OSError) as error:
            raise self._fault(error) from None


def _without_views(schema: pa.Schema) -> pa.Schema:
    """The schema with plain texts and bytes in the place of views, of which rows cannot be chosen."""
    import pyarrow as pa

    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(plain.get(field.type, field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


@dataclass
class SavedPart:
    """A directory that `save_to_disk` wrote, memory-mapped."""

    path: Path
    reading: Reading
    name: str

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise missing_path(self.path)
        if not self.path.is_dir() or not is_saved(self.path):
            raise UsageError(f"{self.path}: not a directory that `datasets` saved", "write it with `save_to_disk`")
        import datasets

        try:
            loaded = datasets.load_from_disk(str(self.path))
        except (OSError, ValueError, LookupError) as error:  # IndexError is what it says of a dataset without rows
            raise UsageError(
                f"{self.path}: a `datasets` directory that is damaged or has no rows ({error})", "save it again"
            ) from error
        self._data = files_of_split(loaded, self.reading.split, str(self.path)).with_format("arrow")
        self.rows = len(self._data)
        self._schema = self._data.features.arrow_schema

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def tables(self) -> Iterator[pa.Table]:
        yield from _small(self._data.iter(batch_size=min(self.reading.rows, 1000)), self.reading.rows)


@dataclass
class HubPart:
    """A dataset of the Hub, streamed. Its schema is that of its card, or of its first rows."""

    name: str
    reading: Reading
    rows: int | None = None

    def __post_init__(self) -> None:
        import datasets

        split = self.reading.split
        try:
            loaded = datasets.load_dataset(self.name, self.reading.config, streaming=True)
        except Exception as error:  # the library raises errors of half a dozen packages here; each is told, none lost
            raise _hub_fault(self.name, error) from error
        data = files_of_split(loaded, split, self.name)
        features = getattr(data, "features", None)
        info = getattr(getattr(data, "info", None), "splits", None) or {}
        self.rows = getattr(info.get(split), "num_examples", None) or None
        self._data = data.with_format("arrow")
        self._schema = features.arrow_schema if features else next(self._read(1000)).schema

    def _read(self, rows: int) -> Iterator[pa.Table]:
        try:
            yield from self._data.iter(batch_size=rows)
        except Exception as error:  # as above
            raise _hub_fault(self.name, error) from error

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    def tables(self) -> Iterator[pa.Table]:
        yield from _small(self._read(min(self.reading.rows, 1000)), self.reading.rows)


def _small(tables: Iterator[Any], rows: int) -> Iterator[pa.Table]:
    """The tables put together to `rows` rows or `BATCH_BYTES`, whichever is less."""
    import pyarrow as pa

    held: list[pa.Table] = []
    size = count = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        count += table.num_rows
        if count >= rows or size >= BATCH_BYTES:
            yield pa.concat_tables(held)
            held, size, count = [], 0, 0
    if held:
        yield pa.concat_tables(held)


def files_of_split(loaded: Any, split: str, name: str) -> Any:
    """The split of what `datasets` loaded; the data itself where it has none."""
    if not hasattr(loaded, "keys"):
        return loaded
    if split in loaded:
        return loaded[split]
    told = f"{name} has no split `{split}` ({nearest(split, loaded)})"
    raise UsageError(told, f"say --split NAME; it has: {', '.join(loaded)}")


def _hub_fault(name: str, error: Exception) -> UsageError:
    kind = type(error).__name__
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), kind)
    local = HUB_HINT.format(name=name)
    if kind == "DatasetNotFoundError" and "offline" not in first.lower():
        return UsageError(f"no file `{name}` here, and no such dataset on the Hub", f"check the name; {local}")
    if isinstance(error, ValueError) and "config" in first.lower():
        listed = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        return UsageError(f"the Hub dataset `{name}`: {cut(listed, 600)}", "say --config NAME")
    return UsageError(f"no file `{name}` here, and the Hub dataset cannot be fetched ({kind}: {first[:200]})", local)
