"""A copy of real rows with canaries among them, and the record of what was planted and what was kept back.

One walk over the data in bounded memory (two where nobody can say how many rows there are). Everything is written
beside OUT and moved into its place at the end: OUT holds the earlier result or the new one.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import seeds
from factory.auditors.canaries import KIND, Canary
from factory.cleaning import Step
from factory.cleaning.interrupting import interruptible, undisturbed
from factory.cleaning.writing import guarded, held_folder
from factory.errors import UsageError
from factory.files import swap_directory, write_atomic
from factory.planting.drawing import draw_canaries
from factory.sources.streaming import Stream, open_stream
from factory.sources.streaming_texts import check_text_columns, only_text_column

if TYPE_CHECKING:
    import pyarrow as pa

COMMAND = "canaries"
PLANTED, CANARIES, SUMMARY = "planted.parquet", "canaries.json", "summary.json"
FILES = (PLANTED, CANARIES, SUMMARY)
MOST = 10_000
"""Canaries in one planting."""
BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Planting:
    """What `factory canaries` was told. `data`: files, folders, saved datasets, runs, Hub names. `column`: where the
    sentences go (None: the only text column). As many as `count` are planted, and as many kept back; `repeats`: how
    often each is planted, in turn.
    """

    data: tuple[str, ...]
    column: str | None = None
    count: int = 50
    repeats: tuple[int, ...] = (1,)
    seed: int = 0
    split: str = "train"
    config: str | None = None
    limit: int | None = None
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Row `at` of the copy is canary `k`; it goes before row `host` of the data, whose other columns it takes."""

    at: int
    host: int
    k: int


def plant_canaries(
    wanted: Planting,
    *,
    out: Path,
    notice: Callable[[str], None] = lambda text: None,
    progress: Callable[[Step], None] = lambda step: None,
) -> dict[str, Any]:
    """Write a copy of the data with canaries as rows of their own, and the record; what `--json` prints.

    Each canary's row takes its other columns from the row behind it. Raises UsageError (bad data, column or numbers;
    an `out` that holds something else), StorageFull, Interrupted: nothing is written then.
    """
    began = time.monotonic()
    _check(wanted, out)
    with interruptible("nothing was written"):
        stream = open_stream(
            wanted.data,
            split=wanted.split,
            config=wanted.config,
            skip_bad=wanted.skip_bad,
            limit=wanted.limit,
            batch_rows=BATCH_ROWS,
            tick=lambda rows: progress(Step("reading", rows, None)),
        )
        column = _column(wanted, stream)
        for told in stream.notes:
            notice(told)
        rows = stream.rows if stream.rows is not None else _count(stream, progress)
        planted, places = _draw(wanted, rows)
        kept_back = [one for one, _ in draw_canaries(wanted.count, wanted.seed, "kept-back", (1,))]
        record = {
            "kind": KIND,
            "version": 1,
            "data": list(wanted.data),
            "column": column,
            "rows": rows + len(places),
            "seed": wanted.seed,
            "planted": [one.as_json() for one in planted],
            "kept_back": [one.as_json() for one in kept_back],
        }
        with _folder(out) as folder:
            _copy(stream, column, planted, places, folder / PLANTED, progress)
            summary = _summary(wanted, column, (rows, len(places)), out, time.monotonic() - began)
            write_atomic(folder / CANARIES, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
            write_atomic(folder / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False, default=str) + "\n")
            with undisturbed():
                guarded(lambda: (folder / "lock").unlink(missing_ok=True), out)
                guarded(lambda: swap_directory(folder, out.resolve()), out)
    return summary


def _summary(wanted: Planting, column: str, rows: tuple[int, int], out: Path, seconds: float) -> dict[str, Any]:
    return {
        "command": COMMAND,
        "data": list(wanted.data),
        "column": column,
        "rows": rows[0],
        "planted": wanted.count,
        "planted_rows": rows[1],
        "kept_back": wanted.count,
        "repeat": list(wanted.repeats),
        "seed": wanted.seed,
        "seconds": round(seconds, 3),
        "out": str(out),
        "files": {"data": str(out / PLANTED), "record": str(out / CANARIES)},
    }


def _check(wanted: Planting, out: Path) -> None:
    """What can be told before anything is read."""
    if not 1 <= wanted.count <= MOST:
        raise UsageError(f"--count {wanted.count}: not between 1 and {MOST:,}", "50 are plenty")
    if not wanted.repeats or min(wanted.repeats) < 1 or max(wanted.repeats) > 1000:
        raise UsageError("--repeat: not between 1 and 1,000", "for example --repeat 1,4,16")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file", f"name a folder: it will hold {', '.join(FILES)}")
    place = out.resolve()
    for entry in wanted.data:
        path = Path(entry).expanduser()
        source = path.resolve()
        if path.exists() and (source == place or place in source.parents):
            raise UsageError(f"--out {out} holds the data, {entry}", "name another folder: OUT is replaced as a whole")
        if path.is_dir() and source in place.parents and not (source / "manifest.json").is_file():
            told = f"--out {out} lies inside the data, {entry}"
            raise UsageError(told, "name a folder outside: what is written there would be read as data next time")
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if names and (others := [name for name in names if name not in FILES] or _not_ours(out, names)):
        told = f"--out {out} holds what `factory {COMMAND}` did not write: {', '.join(others[:3])}"
        raise UsageError(told, "name a new folder: OUT is replaced as a whole")


def _not_ours(out: Path, names: Sequence[str]) -> list[str]:
    """The files of a folder whose summary is not this command's."""
    try:
        found = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return list(names)
    return [] if isinstance(found, dict) and found.get("command") == COMMAND else list(names)


def _column(wanted: Planting, stream: Stream) -> str:
    """The column that takes sentences. Raises UsageError for one that is not there, or is no plain text."""
    import pyarrow as pa

    column = wanted.column or only_text_column(stream.schema, stream.name)
    stream.check_columns((column,))
    check_text_columns(stream.schema, (column,), stream.name)
    kind = stream.schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        plain = [field.name for field in stream.schema if pa.types.is_string(field.type)]
        told = f"{stream.name}: the column `{column}` holds {kind}, and a canary is a plain text"
        raise UsageError(told, f"columns of plain text: {', '.join(plain) or 'none'}")
    return column


def _count(stream: Stream, progress: Callable[[Step], None]) -> int:
    rows = 0
    for batch in stream:
        rows = batch.first + batch.table.num_rows
        progress(Step("reading", rows, None))
    return rows


def _draw(wanted: Planting, rows: int) -> tuple[list[Canary], list[_Place]]:
    """The planted canaries with the rows of the copy that they get, and these rows in order."""
    drawn = draw_canaries(wanted.count, wanted.seed, "planted", wanted.repeats)
    copies = [k for k, (_, times) in enumerate(drawn) for _ in range(times)]
    draw = seeds.generator(wanted.seed, "canaries", "places", rows)
    hosts = [draw.randrange(rows) for _ in copies]
    pairs = sorted(zip(hosts, copies, strict=True))
    places = [_Place(host + before, host, k) for before, (host, k) in enumerate(pairs)]
    where: dict[int, list[int]] = {}
    for one in places:
        where.setdefault(one.k, []).append(one.at)
    return [replace(canary, rows=tuple(where[k])) for k, (canary, _) in enumerate(drawn)], places


def _copy(
    stream: Stream,
    column: str,
    planted: Sequence[Canary],
    places: Sequence[_Place],
    path: Path,
    progress: Callable[[Step], None],
) -> None:
    """The rows with the canaries between them."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        writer = guarded(lambda: parquet.ParquetWriter(path, stream.schema, compression="zstd"), path)
    except pa.ArrowException as error:
        raise UsageError(f"Parquet cannot hold the data's columns: {error}", "save them with other types") from error
    following = 0
    with writer:
        for batch in stream:
            last = batch.first + batch.table.num_rows
            until = following
            while until < len(places) and places[until].host < last:
                until += 1
            table = _with_rows(batch.table, batch.first, column, planted, places[following:until])
            following = until
            guarded(lambda table=table: writer.write_table(table), path)  # type: ignore[misc]
            progress(Step("planting", last, stream.rows))


def _with_rows(
    table: pa.Table, first: int, column: str, planted: Sequence[Canary], places: Sequence[_Place]
) -> pa.Table:
    """A table with canaries before their hosts: a copy of the host with another text."""
    import numpy as np
    import pyarrow as pa

    if not places:
        return table
    hosts = np.array([one.host - first for one in places])
    order = np.concatenate([np.arange(table.num_rows), hosts])
    added = np.arange(len(order)) >= table.num_rows
    order_of = np.lexsort((~added, order))  # a canary stands before its host
    kind = table.schema.field(column).type
    texts = pa.concat_arrays(
        [*table.column(column).cast(kind).chunks, pa.array([planted[one.k].text for one in places], kind)]
    )
    taken = table.take(pa.array(order[order_of]))
    place = table.schema.get_field_index(column)
    return taken.set_column(place, table.schema.field(column), texts.take(pa.array(order_of)))


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder beside OUT, held for this process; nothing is left of it that was not moved."""
    with held_folder(out, COMMAND) as folder:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
