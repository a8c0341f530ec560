"""Any data as a stream of Arrow tables in bounded memory: what `factory dedup` and `factory decontaminate` read.

JSON Lines, JSON, CSV and TSV (each also gzipped), Parquet, folders of these, directories that `datasets` saved, run
directories, Hub datasets. Rows keep their types: a Parquet file's schema as it is; the columns of JSON Lines and CSV
are looked at over the whole file first, so that a column of numbers with one text in it is no surprise in row 900,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from factory.errors import UsageError
from factory.sources.source import data_files, document_kind, files_of_split, guess_format
from factory.sources.streaming_columns import merge, mixed_names, settle
from factory.sources.streaming_parts import HubPart, LinesPart, ParquetPart, Part, Reading, SavedPart, Ticks
from factory.sources.streaming_texts import texts
from factory.sources.tables import FORMATS, check_columns, format_of, missing_path

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Batch", "Stream", "open_stream", "texts"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a stream; `first` is the number of the first of them, from 0 in the order of the data."""

    first: int
    table: pa.Table


@dataclass(frozen=True)
class Stream:
    """Data that can be walked again and again (a Hub dataset is fetched again).

    `rows`: how many there are, None where only the walk tells. `skipped`: bad rows left out, which do not count in
    row numbers. `notes`: what a user should know of how it is read.
    """

    name: str
    schema: pa.Schema
    rows: int | None
    skipped: int
    notes: tuple[str, ...]
    parts: tuple[Part, ...]
    reading: Reading

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.schema.names)

    @property
    def local(self) -> bool:
        """Whether all of it is on this machine."""
        return not any(isinstance(part, HubPart) for part in self.parts)

    def check_columns(self, wanted: Sequence[str]) -> None:
        """Raise UsageError for a column that is not there, or that one of several files lacks."""
        check_columns(wanted, self.columns, self.name)
        for part in self.parts:
            check_columns(wanted, part.schema.names, part.name)

    def __iter__(self) -> Iterator[Batch]:
        first, left = 0, self.reading.limit
        for part in self.parts:
            for table in part.tables():
                cut = table if left is None else table.slice(0, left)
                if cut.num_rows:
                    yield Batch(first, _fit(cut, self.schema, part.name))
                first += cut.num_rows
                left = None if left is None else left - cut.num_rows
                if left == 0:
                    return
        if not first:
            raise UsageError(f"{self.name}: no rows")


def open_stream(
    data: str | Sequence[str],
    *,
    split: str = "train",
    config: str | None = None,
    skip_bad: bool = False,
    batch_rows: int = 10_000,
    limit: int | None = None,
    tick: Ticks = lambda rows: None,
) -> Stream:
    """Data, or several of them one after the other, as a stream; JSON Lines and CSV are looked through first.

    `data`: a file, a folder, a saved dataset, a run, or a Hub name. `skip_bad`: leave out lines that are no JSON
    objects, not UTF-8 or without their cells, and count them. `limit`: the first rows only. `tick` hears how many rows
    of a file were looked through. Raises UsageError: nothing there (with the nearest names), no rows, a broken line
    (with its number), a Hub dataset out of reach (with what to do instead).
    """
    given = (data,) if isinstance(data, str) else tuple(data)
    if not given:
        raise UsageError("no data given", "name a file, a folder, a run or a Hub dataset")
    reading = Reading(split, config, skip_bad, batch_rows, limit, tick)
    notes: list[str] = []
    parts: list[Part] = []
    for entry in given:
        opened = _open(entry, _left(reading, parts), notes)
        parts += opened
        if limit is not None and all(part.rows is not None for part in parts) and _rows(parts) >= limit:
            break
    schema = _schema(parts, notes)
    known = None if any(part.rows is None for part in parts) else _rows(parts)
    name = given[0] if len(given) == 1 else f"{given[0]} and {len(given) - 1} more"
    skipped = 0
    for part in parts:
        if isinstance(part, LinesPart) and part.faults.count:
            skipped += part.faults.count
            notes.append(_told(part))
    if known == 0:
        why = f": all {skipped:,} were bad" if skipped else ""
        raise UsageError(f"{name}: no rows{why}", "there is nothing to read")
    rows = known if limit is None or known is None else min(known, limit)
    return Stream(name, schema, rows, skipped, tuple(notes), tuple(parts), reading)


def _rows(parts: Sequence[Part]) -> int:
    return sum(part.rows or 0 for part in parts)


def _left(reading: Reading, parts: Sequence[Part]) -> Reading:
    """With a limit: so many rows are still wanted of what comes next."""
    return reading if reading.limit is None else replace(reading, limit=max(1, reading.limit - _rows(parts)))


def _told(part: LinesPart) -> str:
    """What was left out of a file."""
    count = part.faults.count
    more = f"; and {count - len(part.faults.shown):,} more" if count > len(part.faults.shown) else ""
    rows = "1 bad row" if count == 1 else f"{count:,} bad rows"
    return f"{part.name}: {rows} left out: {'; '.join(part.faults.shown)}{more}"


def _open(entry: str, reading: Reading, notes: list[str]) -> list[Part]:
    path = Path(entry).expanduser()
    if (path / "manifest.json").is_file() and (path / "dataset").is_dir():
        path = path / "dataset"  # a run directory
    if (path / "data").is_dir() and (path / "preference").is_dir():
        path = path / "data"  # a dataset that a run has made: its pairs are no rows
    if (path / "kept.parquet").is_file() and (path / "summary.json").is_file():
        path = path / "kept.parquet"  # what `factory dedup` or `factory decontaminate` has kept
    kind = guess_format(entry, path)
    if kind == "dataset":
        return [SavedPart(path, reading, entry)]
    if kind == "hub":
        return [HubPart(entry, reading)]
    if not path.exists():
        raise missing_path(path)
    if path.is_file() and reading.split != "train":
        notes.append(f"{path} is one file, without splits: all of it is read (--split {reading.split})")
    files = _folder(path, reading.split, notes) if path.is_dir() else [path]
    parts: list[Part] = []
    for file in files:
        left = _left(reading, parts)
        parts.append(_file(file, left, entry if file == path else str(file)))
        if reading.limit is not None and _rows(parts) >= reading.limit:
            break
    return parts


def _file(path: Path, reading: Reading, name: str) -> Part:
    format_ = format_of(path)
    known = f"known endings: {', '.join(FORMATS)}, and these with .gz"
    if document_kind(path):
        raise UsageError(f"{path} is a document, not rows", known)
    if format_ is None:
        raise UsageError(f"{path}: unknown kind of file", known)
    if not path.stat().st_size:
        raise UsageError(f"{path}: the file is empty", "there is nothing to read")
    if format_ == "parquet":
        return ParquetPart(path, reading, name)
    return LinesPart(path, reading, name)


def _folder(path: Path, split: str, notes: list[str]) -> list[Path]:
    """The data files of a folder that belong to the split, in the order of their paths."""
    files = data_files(path, format_of)
    if not files:
        others = data_files(path, document_kind)
        what = f"documents ({others[0].name}, …)" if others else "no data"
        hint = f"data files end in {', '.join(FORMATS)}, and these with .gz"
        raise UsageError(f"{path}: a folder with {what}" + (" and no data" if others else ""), hint)
    chosen = files_of_split(files, path, split)
    if len(chosen) < len(files):
        notes.append(f"{path}: the split {split} only, files left aside: {len(files) - len(chosen)} (--split)")
    elif split != "train":
        listed = ", ".join(file.relative_to(path).as_posix() for file in files[:6])
        raise UsageError(f"{path}: no file of the split `{split}`", f"it holds: {listed}")
    return chosen


def _schema(parts: Sequence[Part], notes: list[str]) -> pa.Schema:
    """The schema of all parts: a single one's as it is; what is new in a later part comes at the end."""
    import pyarrow as pa

    lines = [part for part in parts if isinstance(part, LinesPart)]
    if lines:
        kind = reduce(merge, (part.kind for part in lines))
        settled = settle(kind)
        if mixed := list(mixed_names(settled)):
            named = ", ".join(f"`{name}`" for name in mixed[:6]) + (", …" if len(mixed) > 6 else "")
            notes.append(f"values of several types are kept as text in {named}")
        for file in lines:
            file.kind = replace(kind, fields={name: kind.fields[name] for name in file.kind.fields})
    schemas = [part.schema for part in parts]
    if all(schema.equals(schemas[0], check_metadata=True) for schema in schemas):
        return schemas[0]
    try:
        found = pa.unify_schemas([schema.remove_metadata() for schema in schemas], promote_options="permissive")
    except pa.ArrowException as error:
        what = f"{parts[0].name} and {len(parts) - 1} more"
        raise UsageError(f"{what}: they do not make one table ({error})", "name files with the same columns") from None
    for part in parts:
        if absent := [name for name in found.names if name not in part.schema.names]:
            notes.append(f"{part.name} has no {', '.join(f'`{name}`' for name in absent[:6])}: null in its rows")
    return found


def _fit(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """The table with the schema's columns and types."""
    import pyarrow as pa

    if table.schema.equals(schema, check_metadata=False):
        return table.replace_schema_metadata(schema.metadata)
    try:
        columns = [
            table[field.name].cast(field.type) if field.name in table.column_names else _nulls(table, field)
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)
    except pa.ArrowException as error:
        hint = "its rows change their types: save it (`save_to_disk`), or convert it to Parquet"
        raise UsageError(f"{name}: a row does not fit the columns of the first ones ({error})", hint) from None


def _nulls(table: pa.Table, field: pa.Field) -> pa.Array:
    import pyarrow as pa

    return pa.nulls(table.num_rows, field.type)
