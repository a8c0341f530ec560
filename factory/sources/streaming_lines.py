"""Rows out of JSON Lines, JSON and CSV files, a block at a time: the file is never in memory as a whole (JSON is).

Each file is read twice: once for the types of its columns, its rows and its faults, once for the rows.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from factory.errors import UsageError
from factory.sources.streaming_columns import ANY, FLOAT, NULL, STR, Kind, find_kind, merge
from factory.sources.tables import DECIMAL, INTEGER, Row, cut, json_value, kind_of, open_table, reason_of

BLOCK = 1 << 23
"""Bytes of a file at a time."""
LONGEST = 1 << 30
"""Bytes of a line."""
SHOWN = 3
"""Bad lines that are told one by one."""
Rows = list[Row]


@dataclass(slots=True)
class Faults:
    """What was wrong with a file: raised at once, or counted with `skip`."""

    path: Path
    skip: bool
    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, told: str, hint: str) -> None:
        if not self.skip:
            skip = "`factory dedup` and `factory decontaminate` leave such rows of DATA out with --skip-bad"
            raise UsageError(f"{self.path}: {told}", f"{hint}; {skip}")
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(told)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where its name ends in .gz. Raises UsageError, also for what fails while reading."""
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as handle:
            yield cast(BinaryIO, handle)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{path}: not a whole gzip file ({error})", "unpack it, or download it again") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot read ({error.strerror or error})") from error


def jsonl_chunks(path: Path, faults: Faults, rows: int) -> Iterator[Rows]:
    """The objects of a JSON Lines file, at most `rows` at a time; blank lines count as lines only."""
    number = 1
    with opened(path) as handle:
        for block in _blocks(handle, path):
            lines = block.split(b"\n")
            if not lines[-1]:
                lines.pop()
            for start in range(0, len(lines), rows):
                part = lines[start : start + rows]
                found = _objects(part, number + start, faults)
                if found:
                    yield found
            number += len(lines)


def _blocks(handle: BinaryIO, path: Path) -> Iterator[bytes]:
    """The bytes in blocks that end with a line."""
    head = handle.read(4)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path}: UTF-16, not UTF-8", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}")
    rest = [head.removeprefix(b"\xef\xbb\xbf")]
    size = 0
    while block := handle.read(BLOCK):
        end = block.rfind(b"\n") + 1
        if not end:
            rest.append(block)
            size += len(block)
            if size > LONGEST:
                raise UsageError(f"{path}: a line of more than 1 GiB", "one JSON object a line")
            continue
        yield b"".join([*rest, block[:end]])
        rest, size = [block[end:]], 0
    if last := b"".join(rest):
        yield last


def _objects(lines: Sequence[bytes], first: int, faults: Faults) -> Rows:
    """The lines as objects: all at once, and one by one where something is not as it should be."""
    try:
        found = list(map(orjson.loads, lines))
        if set(map(type, found)) == {dict}:
            return found
    except orjson.JSONDecodeError:
        pass  # a blank line, one that only Python's reader takes, or a fault: looked at below, one by one
    checked = (_object(line, number, faults) for number, line in enumerate(lines, first))
    return [one for one in checked if one is not None]


def _object(line: bytes, number: int, faults: Faults) -> Row | None:
    """One line as an object; None for a blank one and for a fault that is counted."""
    if not line.strip():
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        told = f"line {number} is not UTF-8: byte 0x{line[error.start]:02x} at its offset {error.start}"
        faults.add(told, f"convert it, for example: iconv -f ISO-8859-1 -t UTF-8 {faults.path.name}")
        return None
    try:
        value = _loads(line, text)
    except (ValueError, RecursionError) as error:
        faults.add(f"line {number} is not JSON ({reason_of(error)}): {cut(text)}", "one JSON object a line")
        return None
    if not isinstance(value, dict):
        faults.add(f"line {number} is {kind_of(value)}, not an object: {cut(text)}", "one JSON object a line")
        return None
    return value


def _loads(line: bytes, text: str) -> Any:
    """JSON as orjson reads it, or else as Python does: NaN (null here), halves of characters (U+FFFD)."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json_value(json.loads(text))


def json_chunks(path: Path, faults: Faults, rows: int) -> Iterator[Rows]:
    """The objects of a JSON file; one that holds JSON Lines is read as such, any other one is read whole."""
    if _holds_lines(path):
        yield from jsonl_chunks(path, faults, rows)
        return
    table = iter(open_table(path, "json"))
    while chunk := list(islice(table, rows)):
        yield chunk


def _holds_lines(path: Path) -> bool:
    """Whether the first line is a whole object and something follows it."""
    with opened(path) as handle:
        first = handle.readline(BLOCK).removeprefix(b"\xef\xbb\xbf")
        if not first.strip().startswith(b"{"):
            return False
        try:
            return isinstance(orjson.loads(first), dict) and bool(handle.read(BLOCK).strip())
        except orjson.JSONDecodeError:
            return False


def csv_chunks(path: Path, faults: Faults, rows: int) -> Iterator[Rows]:
    """The rows of a CSV or TSV file, every cell a text."""
    name = path.name.lower().removesuffix(".gz")
    delimiter = "\t" if name.endswith(".tsv") else ","
    with opened(path) as handle:
        text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = _header(_some(reader, 1, path, faults, None), path)
        while chunk := _some(reader, rows, path, faults, header):
            yield [dict(zip(header, cells, strict=True)) for cells in chunk]


def _header(first: list[list[str]], path: Path) -> list[str]:
    if not first:
        raise UsageError(f"{path}: no header")
    header = [cell.strip() or f"column_{index + 1}" for index, cell in enumerate(first[0])]
    if not all(map(_is_utf8, header)):
        raise UsageError(f"{path}: the header is not UTF-8", f"convert it: iconv -f ISO-8859-1 -t UTF-8 {path.name}")
    if twice := sorted({cell for cell in header if header.count(cell) > 1}):
        raise UsageError(f"{path}: the header has a column twice: {', '.join(twice)}")
    return header


def _some(reader: Any, rows: int, path: Path, faults: Faults, header: list[str] | None) -> list[list[str]]:
    """The next rows with all their cells, at most `rows` or about a block; [] at the end."""
    found: list[list[str]] = []
    size, start = 0, reader.line_num
    previous = csv.field_size_limit(min(LONGEST, sys.maxsize))
    try:
        while len(found) < rows and size < BLOCK:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                faults.add(f"line {reader.line_num}: {error}", "cells with quotes or commas are quoted")
                continue
            if cells is None:
                break
            if cells and _is_whole(cells, header, reader.line_num, faults):
                found.append(cells)
            size += sum(map(len, cells))
    finally:
        csv.field_size_limit(previous)
    if start == 0 and header is None and found and "\x00" in "".join(found[0]):
        raise UsageError(f"{path}: UTF-16 or binary, not UTF-8", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}")
    return found


def _is_whole(cells: list[str], header: list[str] | None, number: int, faults: Faults) -> bool:
    if header is None:
        return True
    if len(cells) != len(header):
        hint = "every row has the header's cells"
        faults.add(f"line {number} has {len(cells)} cells, the header has {len(header)}", hint)
        return False
    if not all(map(_is_utf8, cells)):
        hint = f"convert it, for example: iconv -f ISO-8859-1 -t UTF-8 {faults.path.name}"
        faults.add(f"line {number} is not UTF-8", hint)
        return False
    return True


def _is_utf8(cell: str) -> bool:
    if cell.isascii():
        return True
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def csv_kind(chunk: Rows) -> Kind:
    """The kinds of cells: numbers where every cell is one and prints as the same text again, as `read_table` does."""
    fields = {name: _cells_kind([row[name] for row in chunk]) for name in chunk[0]} if chunk else {}
    return Kind("struct", fields=fields)


def _cells_kind(cells: list[str]) -> Kind:
    kind = NULL
    present = [cell for cell in cells if cell]
    if not present:
        return NULL
    if all(map(INTEGER.fullmatch, present)) and "-0" not in present:
        whole = [*map(int, present)]
        return Kind("int", min(whole), max(whole))
    for cell in present:
        if INTEGER.fullmatch(cell) and cell != "-0":
            kind = merge(kind, Kind("int", int(cell), int(cell)))
        elif DECIMAL.fullmatch(cell) and repr(float(cell)) == cell:
            kind = merge(kind, FLOAT)
        else:
            return STR
        if kind is ANY:
            return STR
    return kind


def csv_types(kind: Kind) -> Kind:
    """The kinds that a whole CSV file has: a column that is no number somewhere, or empty everywhere, is text."""
    plain = {name: one if one.name in ("int", "float") else STR for name, one in kind.fields.items()}
    return Kind("struct", fields=plain)


def csv_values(chunk: Rows, kind: Kind) -> Rows:
    """The cells as values: those of a column of numbers as numbers, an empty one as None."""
    casts: dict[str, Callable[[str], Any]] = {
        name: int if one.name == "int" else float for name, one in kind.fields.items() if one.name in ("int", "float")
    }
    if not casts:
        return chunk
    return [
        row | {name: cast(row[name]) if row[name] else None for name, cast in casts.items() if name in row}
        for row in chunk
    ]


def json_kind(chunk: Rows) -> Kind:
    """The kinds of objects' values."""
    names = dict.fromkeys(name for row in chunk for name in row)
    return Kind("struct", fields={name: find_kind([row.get(name) for row in chunk]) for name in names})
