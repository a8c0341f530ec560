"""What a cleaning command leaves in OUT: kept.parquet, removed.parquet and summary.json, all of them or none.

Everything is written beside OUT and moved into its place at the end, so that OUT holds the earlier result or the new
one, whatever happens in between.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from factory.cleaning.interrupting import undisturbed
from factory.errors import RunDirError, UsageError
from factory.files import is_storage_fault, repair_directory, storage_fault, swap_directory, write_atomic
from factory.locking import hold
from factory.sources.streaming_columns import BOOL, FLOAT, STR, Kind, build

if TYPE_CHECKING:
    import pyarrow as pa

KEPT, REMOVED, SUMMARY = "kept.parquet", "removed.parquet", "summary.json"
GROUP_ROWS = 10_000
"""Rows of a row group, at most; and its bytes in memory, about."""
GROUP_BYTES = 1 << 26
T = TypeVar("T")


def check_out(out: Path, command: str, data: Sequence[str]) -> None:
    """Raise UsageError unless OUT is not there, empty, or an earlier result of `command`, and apart from the data."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file", "name a folder: it will hold kept.parquet and removed.parquet")
    place = out.resolve()
    for entry in data:
        path = Path(entry).expanduser()
        if not path.exists():
            continue
        source = path.resolve()
        if source == place or place in source.parents:
            raise UsageError(f"--out {out} holds the data, {entry}", "name another folder: OUT is replaced as a whole")
        if source.is_dir() and source in place.parents and not (source / "manifest.json").is_file():
            told = f"--out {out} lies inside the data, {entry}"
            raise UsageError(told, "name a folder outside: what is written there would be read as data next time")
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if others := [name for name in names if name not in (KEPT, REMOVED, SUMMARY)]:
        listed = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        raise UsageError(f"--out {out} holds other files: {listed}", "name a new folder: OUT is replaced as a whole")
    if names and _command_of(out) != command:
        told = f"--out {out} holds what `factory {command}` did not write: {', '.join(names)}"
        raise UsageError(told, "name a new folder, or remove that one")


def _command_of(out: Path) -> str | None:
    """The command whose result OUT holds."""
    try:
        found = json.loads((out / SUMMARY).read_text())
    except (OSError, ValueError):
        return None
    return found.get("command") if isinstance(found, dict) else None


class Results:
    """The files of one result while they are written. `renamed`: columns of the data that stand under another name in
    removed.parquet, because the command's own column has theirs."""

    def __init__(
        self, folder: Path, out: Path, schema: pa.Schema, extra: Sequence[pa.Field], marks: Sequence[pa.Field] = ()
    ):
        self.folder = folder
        self.out = out
        self.finished = False
        self.renamed = _renamed(schema.names, [field.name for field in extra])
        self._extra = tuple(extra)
        self._marks = tuple(marks)
        self._kept = _File(folder / KEPT, _with_columns(schema, self._marks, {}) if marks else schema)
        self._removed = _File(folder / REMOVED, _with_columns(schema, self._extra, self.renamed))

    @property
    def kept(self) -> int:
        """Rows kept so far."""
        return self._kept.rows

    @property
    def removed(self) -> int:
        """Rows removed so far."""
        return self._removed.rows

    def keep(self, table: pa.Table, marked: Mapping[str, Any] | None = None) -> None:
        """Add rows that stay, with values for each column that marks them. Raises StorageFull."""
        self._kept.write(_joined(table, self._marks, marked or {}, self._kept.schema) if self._marks else table)

    def remove(self, table: pa.Table, found: Mapping[str, Any]) -> None:
        """Add rows that fall, with an Arrow array or plain values for each of the command's own columns."""
        if table.num_rows:
            self._removed.write(_joined(table, self._extra, found, self._removed.schema))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close the files, write the summary, and put all of it in OUT's place."""
        self._kept.close()
        self._removed.close()
        text = json.dumps(summary, indent=2, ensure_ascii=False, default=str) + "\n"
        write_atomic(self.folder / SUMMARY, text)
        with undisturbed():
            guarded(lambda: (self.folder / "lock").unlink(missing_ok=True), self.out)
            guarded(lambda: swap_directory(self.folder, self.out), self.out)
            self.finished = True

    def abandon(self) -> None:
        """Close and delete what was written so far."""
        for file in (self._kept, self._removed):
            file.abandon()


@contextmanager
def open_results(
    out: Path, command: str, schema: pa.Schema, extra: Sequence[pa.Field], marks: Sequence[pa.Field] = ()
) -> Iterator[Results]:
    """The files of a result, for the length of a `with` block; nothing is left of them unless it was finished.

    `schema`: that of the data. `extra`: the command's own columns of removed.parquet; `marks`: columns that kept rows
    get, of names that the data does not have. Raises UsageError where another
    process writes there, StorageFull where the disk does not take it.
    """
    with held_folder(out, command) as folder:
        yield from _results(folder, out.resolve(), (schema, extra, marks))


@contextmanager
def held_folder(out: Path, command: str) -> Iterator[Path]:
    """An empty folder beside OUT, held for this process; what comes of it is the caller's.

    Raises UsageError where OUT cannot be a folder, and where another process writes there.
    """
    place = out.resolve()
    folder = place.with_name(f".{place.name}.part")
    try:
        guarded(lambda: place.parent.mkdir(parents=True, exist_ok=True), out)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"--out {out}: {error.filename} is a file", "name a folder") from error
    guarded(lambda: repair_directory(place), out)
    try:
        with hold(folder):
            for left in folder.iterdir():
                if left.name != "lock":
                    left.unlink()
            yield folder
    except RunDirError as error:
        told = f"--out {out}: another `factory {command}` is writing there"
        raise UsageError(told, "wait for it, or name another folder") from error


def _results(folder: Path, place: Path, columns: tuple[Any, ...]) -> Iterator[Results]:
    """The files in a folder that is held."""
    results = None
    try:
        results = Results(folder, place, *columns)
        yield results
    finally:
        if results is not None and not results.finished:
            results.abandon()
        if results is None or not results.finished:
            shutil.rmtree(folder, ignore_errors=True)


def guarded(action: Callable[[], T], path: Path) -> T:
    """What the action gives. Raises StorageFull where the disk does not take it."""
    try:
        return action()
    except OSError as error:
        if is_storage_fault(error):
            raise storage_fault(error, path) from error
        raise


class _File:
    """A Parquet file, written in row groups of `GROUP_ROWS` rows or about `GROUP_BYTES`, by a thread of its own."""

    def __init__(self, path: Path, schema: pa.Schema):
        import pyarrow as pa
        import pyarrow.parquet as parquet

        self.path = path
        self.schema = schema
        self.rows = 0
        self._held: list[pa.Table] = []
        self._size = self._count = 0
        self._thread = ThreadPoolExecutor(1)
        self._under_way: Future[None] | None = None
        try:
            self._writer = guarded(lambda: parquet.ParquetWriter(path, schema, compression="zstd"), path)
        except pa.ArrowException as error:
            path.unlink(missing_ok=True)
            raise _unwritable(error) from error

    def write(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        self._held.append(table)
        self.rows += table.num_rows
        self._count += table.num_rows
        self._size += table.nbytes
        if self._count >= GROUP_ROWS or self._size >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Hand what is held to the thread that writes, once it has written what came before."""
        import pyarrow as pa

        if self._held:
            table = pa.concat_tables(self._held)
            self._held, self._size, self._count = [], 0, 0
            self._wait()
            self._under_way = self._thread.submit(self._writer.write_table, table, row_group_size=GROUP_ROWS)

    def _wait(self) -> None:
        import pyarrow as pa

        waited, self._under_way = self._under_way, None
        if waited is None:
            return
        try:
            guarded(waited.result, self.path)
        except pa.ArrowException as error:
            raise _unwritable(error) from error

    def close(self) -> None:
        """Write what is held, and the footer. A file without rows is valid."""
        self._flush()
        self._wait()
        self._thread.shutdown()
        guarded(self._writer.close, self.path)

    def abandon(self) -> None:
        """Let go of the file; a disk that was full is still full when the footer comes."""
        self._held = []
        self._thread.shutdown(wait=True, cancel_futures=True)
        with suppress(OSError):
            self._writer.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _unwritable(error: Exception) -> UsageError:
    return UsageError(f"Parquet cannot hold the data's columns: {error}", "save them with other types")


def choose(table: pa.Table, chosen: Any) -> pa.Table:
    """The rows of a table for which a bool[rows] array is true."""
    import pyarrow as pa

    return table.filter(pa.array(chosen))


def _renamed(names: Sequence[str], own: Sequence[str]) -> dict[str, str]:
    """Other names for the data's columns that are called like the command's own."""
    found: dict[str, str] = {}
    for name in names:
        if name in own:
            other = f"data_{name}"
            while other in names or other in own or other in found.values():
                other = f"data_{other}"
            found[name] = other
    return found


def _joined(table: pa.Table, own: Sequence[pa.Field], values: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """The table with the command's own columns behind its own."""
    import pyarrow as pa

    added = [_array(values[field.name], field.type) for field in own]
    return pa.Table.from_arrays([*table.columns, *added], schema=schema)


def _with_columns(schema: pa.Schema, extra: Sequence[pa.Field], renamed: Mapping[str, str]) -> pa.Schema:
    """The data's columns, then the command's own. What `datasets` noted of the columns is noted of all of them."""
    import pyarrow as pa

    fields = [field.with_name(renamed.get(field.name, field.name)) for field in schema]
    metadata = dict(schema.metadata or {})
    metadata.pop(b"pandas", None)  # it speaks of an index that these rows do not have
    if (noted := metadata.pop(b"huggingface", None)) is not None:
        told = _features(noted, extra, renamed)
        if told is not None:
            metadata[b"huggingface"] = told
    return pa.schema([*fields, *extra], metadata or None)


def _features(noted: bytes, extra: Sequence[pa.Field], renamed: Mapping[str, str]) -> bytes | None:
    """The note of `datasets` with the command's own columns; None where it is not what it should be."""
    try:
        found = json.loads(noted)
        features = {renamed.get(name, name): one for name, one in found["info"]["features"].items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    kinds = {"double": "float64", "bool": "bool"}
    features |= {one.name: {"dtype": kinds.get(str(one.type), str(one.type)), "_type": "Value"} for one in extra}
    return json.dumps({"info": {**found["info"], "features": features}}).encode()


def _array(values: Any, kind: pa.DataType) -> Any:
    """The values as an array of a type; arrays of Arrow as they are."""
    import pyarrow as pa

    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(kind)
    plain = list(values)
    known = {pa.int64(): Kind("int"), pa.float64(): FLOAT, pa.string(): STR, pa.bool_(): BOOL}
    return build(plain, known[kind]) if kind in known else pa.array(plain, kind)
