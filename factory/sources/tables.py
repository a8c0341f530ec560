"""Rows out of data files: JSONL, JSON, CSV, TSV (each also gzipped) and Parquet; every value a JSON value."""

from __future__ import annotations

import base64
import csv
import difflib
import gzip
import io
import json
import math
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

FORMATS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
"""Suffix (before `.gz`) → format of a data file."""

INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})")
DECIMAL = re.compile(r"-?(?:0|[1-9]\d{0,14})\.\d{1,15}")


def json_value(value: Any) -> Any:
    """`value` as JSON can hold it.

    Dates and times become ISO text, decimals their exact text, bytes their UTF-8 text (base64 where they are none),
    time spans seconds, sets and tuples lists; NaN and infinities become None, lone surrogates U+FFFD.
    """
    if isinstance(value, str):
        return value if value.isascii() else _encodable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((json_value(item) for item in value), key=str)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_of(bytes(value))
    if callable(getattr(value, "tolist", None)):  # NumPy scalars and arrays
        return json_value(value.tolist())
    return str(value)


def _encodable(text: str) -> str:
    """The text with lone surrogates (JSON escapes can make them) replaced: they have no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _text_of(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii")


def format_of(path: Path) -> str | None:
    """The data format that a file's name announces, None for any other name."""
    name = path.name.lower().removesuffix(".gz")
    return FORMATS.get(Path(name).suffix)


def missing_path(path: Path) -> UsageError:
    """The error for a path that is not there: names the nearest file beside it, or the folder that is missing."""
    parent = path.parent
    if not parent.is_dir():
        while parent != parent.parent and not parent.parent.is_dir():
            parent = parent.parent
        return UsageError(f"no such file: {path}", f"the folder {parent} is missing")
    names = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    close = difflib.get_close_matches(path.name, sorted(names), n=3, cutoff=0.5)
    if not close:
        return UsageError(f"no such file: {path}", f"{parent} holds nothing of a similar name")
    return UsageError(f"no such file: {path}", "did you mean " + " or ".join(f"`{name}`" for name in close) + "?")


def read_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked where its name ends in .gz. Raises UsageError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise missing_path(path) from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, a file is needed") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot read ({error.strerror or error})") from error
    if not path.name.lower().endswith(".gz"):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: not a whole gzip file ({error})", "unpack it, or download it again") from error


def read_text(path: Path) -> str:
    """The file as text: UTF-8, a byte-order mark dropped, line ends as they are. Raises UsageError with the offset."""
    raw = read_bytes(path)
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path}: UTF-16, not UTF-8", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}")
    start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    try:
        return raw[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + start
        line = raw.count(b"\n", 0, offset) + 1
        raise UsageError(
            f"{path}: not UTF-8: byte 0x{raw[offset]:02x} at offset {offset} (line {line})",
            f"convert it, for example: iconv -f ISO-8859-1 -t UTF-8 {path.name}",
        ) from None


def read_lines(path: Path) -> list[str]:
    """The file's lines, stripped; blank ones and those that begin with `#` are skipped. Raises UsageError."""
    found = entries_of(read_text(path))
    if not found:
        raise UsageError(f"{path}: no entries", "blank lines and lines that begin with # do not count")
    return found


def entries_of(text: str) -> list[str]:
    """The lines of a text that count as entries; see `read_lines`."""
    lines = (line.strip() for line in re.split(r"[\r\n]", text))
    return [line for line in lines if line and not line.startswith("#")]


def read_table(path: Path) -> list[Row]:
    """All rows of a JSONL, JSON, CSV, TSV or Parquet file, every row with every column. Raises UsageError."""
    return list(open_table(path, None))


def open_table(path: Path, format_: str | None) -> Sequence[Row]:
    """As `read_table`, but a Parquet file stays in Arrow's memory and its rows are made when asked for.

    `format_`: jsonl, json, csv or parquet; None: by the file's name.
    """
    if not path.is_file():
        raise UsageError(f"{path} is a folder, a file is needed") if path.is_dir() else missing_path(path)
    chosen = format_ or format_of(path)
    if chosen is None:
        raise UsageError(f"{path}: unknown kind of file", f"known endings: {', '.join(FORMATS)}, and these with .gz")
    if chosen == "parquet":
        rows: Sequence[Row] = ArrowRows(_read_parquet(path))
    else:
        rows = _READERS[chosen](path)
    if not rows:
        raise UsageError(f"{path}: no rows")
    return rows


def _read_jsonl(path: Path) -> list[Row]:
    return _fill_columns(list(_parse_lines(read_text(path), path)))


def _parse_lines(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{path}: line {number} is not JSON ({reason_of(error)}): {cut(line)}", "one JSON object a line"
            ) from None
        if not isinstance(value, dict):
            raise UsageError(
                f"{path}: line {number} is {kind_of(value)}, not an object: {cut(line)}", "one JSON object a line"
            )
        yield json_value(value)


def _read_json(path: Path) -> list[Row]:
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) > 1 and _is_object(lines[0]):  # JSONL under the name .json is common
            return _fill_columns(list(_parse_lines(text, path)))
        line = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its text"
        raise UsageError(f"{path}: not JSON: {line}: {reason_of(error)}") from None
    rows = _rows_in(value, path)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UsageError(f"{path}: entry {index} is {kind_of(row)}, not an object: {cut(json.dumps(row))}")
    return _fill_columns([json_value(row) for row in rows])


def _rows_in(value: Any, path: Path) -> list[Any]:
    """The list of rows: the value itself, its `data`, or its only list of objects."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        if isinstance(value.get("data"), list):
            return list(value["data"])
        lists = [key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)]
        if len(lists) == 1:
            return list(value[lists[0]])
        if lists:
            raise UsageError(f"{path}: several lists of rows: {', '.join(lists)}", "name the one that counts `data`")
    raise UsageError(f"{path}: neither a list of objects nor an object with a list `data`")


def _read_csv(path: Path) -> list[Row]:
    name = path.name.lower().removesuffix(".gz")
    text = read_text(path)
    previous = csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if name.endswith(".tsv") else ",", strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if cells:
                lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num}: {error}", "cells with quotes or commas are quoted") from None
    finally:
        csv.field_size_limit(previous)
    if not lines:
        raise UsageError(f"{path}: no header")
    header = [cell.strip() or f"column_{index + 1}" for index, cell in enumerate(lines[0][1])]
    twice = sorted({cell for cell in header if header.count(cell) > 1})
    if twice:
        raise UsageError(f"{path}: the header has a column twice: {', '.join(twice)}")
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise UsageError(f"{path}: line {number} has {len(cells)} cells, the header has {len(header)}")
    columns = [_typed([cells[index] for _, cells in lines[1:]]) for index in range(len(header))]
    return [dict(zip(header, values, strict=True)) for values in zip(*columns, strict=True)]


def _typed(cells: list[str]) -> list[Any]:
    """A column as numbers where every cell is one and prints as the same text again; else as the text it is.

    So `007` and `1.50` stay text. An empty cell of a column of numbers is None.
    """
    numbers: list[Any] = []
    for cell in cells:
        if not cell:
            numbers.append(None)
        elif INTEGER.fullmatch(cell) and cell != "-0":
            numbers.append(int(cell))
        elif DECIMAL.fullmatch(cell) and repr(float(cell)) == cell:
            numbers.append(float(cell))
        else:
            return list(cells)
    return numbers if any(cells) else list(cells)


_READERS: Mapping[str, Callable[[Path], list[Row]]] = {"jsonl": _read_jsonl, "json": _read_json, "csv": _read_csv}


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        # ParquetFile reads this one file: `read_table` would take columns from folder names such as `a=1`.
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: not a Parquet file ({cut(first)})", "give `format:` if it is another kind") from None
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise UsageError(f"{path}: a column stands twice: {', '.join(twice)}")
    return table


@dataclass(frozen=True)
class ArrowRows(Sequence[Row]):
    """An Arrow table as a sequence of rows, each made when it is asked for."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        position = index % len(self)
        names = self.table.column_names
        return {
            name: json_value(column[position].as_py()) for name, column in zip(names, self.table.columns, strict=True)
        }

    def __iter__(self) -> Iterator[Row]:
        for batch in self.table.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield json_value(row)


def _fill_columns(rows: list[Row]) -> list[Row]:
    """Every row with every column, in the order of first appearance; what a row lacks is None."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if all(len(row) == len(columns) for row in rows):
        return rows
    return [{column: row.get(column) for column in columns} for row in rows]


def check_columns(wanted: Sequence[str], columns: Sequence[str], what: str) -> None:
    """Raise UsageError for the wanted columns that are not there, with the nearest names and the whole list."""
    absent = [column for column in wanted if column not in columns]
    if not absent:
        return
    missing = "; ".join(f"`{column}` ({nearest(column, columns)})" for column in absent)
    noun = "column" if len(absent) == 1 else "columns"
    raise UsageError(f"{what} has no {noun} {missing}", f"it has: {', '.join(columns)}")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def reason_of(error: Exception) -> str:
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), type(value).__name__)


def cut(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
