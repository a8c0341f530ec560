"""`factory dedup`: duplicates out of any data, the first row wins. One walk over the stream, in bounded memory."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from factory import kernel
from factory.cleaning.ahead import ahead
from factory.cleaning.interrupting import interruptible, undisturbed
from factory.cleaning.saving import IndexFile, check_index_place, open_index_file
from factory.cleaning.writing import KEPT, REMOVED, SUMMARY, Results, check_out, choose, open_results
from factory.duplicates import Duplicates, DuplicatesFound, Reference, ScopeOf, conversation_text, open_reference
from factory.duplicates.references import Chunk
from factory.errors import UsageError
from factory.minhash import SCHEME, banding, fingerprint
from factory.sources.streaming import Batch, Stream, open_stream, texts
from factory.sources.streaming_texts import check_text_columns, only_text_column, values_as_text

if TYPE_CHECKING:
    import pyarrow as pa

    from factory.cleaning.embedding import Embedder

COMMAND = "dedup"
EMBEDDED_ROWS = 512
"""Rows at a time where a model reads them: it is slow, and progress should show."""
BATCH_ROWS = 10_000
MOST_WORKERS = 4
"""Threads that make fingerprints; the walk that compares them is one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `factory dedup` was told. `data`: files, folders, saved datasets, runs, Hub names, one after the other.

    `columns`: what is compared, joined (none: the only text column there is). `threshold`: None for the default of
    `by`. `within`: rows are duplicates only of rows with the same value there. `against`: data, runs and saved indexes
    whose rows come first. `save_index`: where the kept rows go as an index for later.
    """

    data: tuple[str, ...]
    columns: tuple[str, ...] = ()
    threshold: float | None = None
    by: str = "shingles"
    model: str | None = None
    within: str | None = None
    against: tuple[str, ...] = ()
    save_index: Path | None = None
    split: str = "train"
    config: str | None = None
    limit: int | None = None
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is: `stage` is "reading" (the first look at files), "against" or "comparing"; `total` if known."""

    stage: str
    done: int
    total: int | None
    removed: int = 0


Progressed = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was found: `summary` is what `--json` prints; `files` were written, by what they are."""

    summary: dict[str, Any]
    files: dict[str, Path]


def deduplicate(
    wanted: Wanted,
    *,
    out: Path,
    notice: Callable[[str], None] = lambda text: None,
    progress: Progressed = lambda step: None,
) -> Cleaned:
    """Write the rows that repeat no earlier row, and those that do, with what they repeat, into the folder `out`.

    Raises UsageError (bad data, columns or options; an `out` that holds something else), StorageFull where the disk
    does not take it, Interrupted (Ctrl-C): nothing is written then.
    """
    began = time.monotonic()
    _check_options(wanted, out)
    with interruptible("nothing was written"), ExitStack() as stack:
        embedder = open_model(wanted.model, stack)
        stream = open_stream(
            wanted.data,
            split=wanted.split,
            config=wanted.config,
            skip_bad=wanted.skip_bad,
            limit=wanted.limit,
            batch_rows=BATCH_ROWS if embedder is None else EMBEDDED_ROWS,
            tick=lambda rows: progress(Step("reading", rows, None)),
        )
        columns = _columns(wanted, stream)
        for told in stream.notes:
            notice(told)
        known = _known(wanted, columns, embedder, progress)
        _tell_of_other_columns(known.names, columns, notice)
        results = stack.enter_context(open_results(out, COMMAND, stream.schema, _own_columns()))
        index = stack.enter_context(_index(wanted, known, columns))
        walk = _Walk(wanted, columns, known, embedder, results, index)
        for step in stack.enter_context(closing(walk.over(stream))):
            progress(step)
        for old, new in results.renamed.items():
            notice(f"removed.parquet: the data's column `{old}` is `{new}` there")
        summary = _summary(wanted, stream, walk, out, time.monotonic() - began)
        with undisturbed():
            results.finish(summary)
            if index is not None:
                index.finish()
    files = {"kept": out / KEPT, "removed": out / REMOVED, "summary": out / SUMMARY}
    return Cleaned(summary, files | ({} if wanted.save_index is None else {"index": wanted.save_index}))


def _check_options(wanted: Wanted, out: Path) -> None:
    """What can be told before anything is read."""
    if wanted.by not in ("shingles", "characters", "embeddings"):
        raise UsageError(f"--by {wanted.by}: unknown", "one of: shingles, characters, embeddings")
    Duplicates(wanted.threshold, wanted.by)  # type: ignore[arg-type]  # it checks the threshold
    if wanted.by == "embeddings" and wanted.model is None:
        from factory.cleaning.embedding import LOCAL

        raise UsageError("--by embeddings needs a model", LOCAL)
    if wanted.model is not None and wanted.by != "embeddings":
        raise UsageError(f"--model {wanted.model}: --by {wanted.by} asks no model", "say --by embeddings")
    check_out(out, COMMAND, (*wanted.data, *wanted.against))
    if twice := [entry for entry in wanted.against if _same(entry, wanted.data)]:
        raise UsageError(
            f"--against {twice[0]} is DATA itself: every row would be one that came before", "leave it out"
        )
    if wanted.save_index is not None:
        if wanted.by != "shingles":
            told = f"--save-index: an index holds shingles, and this compares by {wanted.by}"
            raise UsageError(told, "leave --by out, or give the kept rows with --against next time")
        check_index_place(wanted.save_index, out)


def _same(entry: str, data: Sequence[str]) -> bool:
    """Whether an entry is one of the data, under whatever name."""
    return any(Path(entry).expanduser().resolve() == Path(one).expanduser().resolve() for one in data)


def open_model(model: str | None, stack: ExitStack) -> Embedder | None:
    """The model that embeds, open as long as the stack is; None where none is asked for."""
    if model is None:
        return None
    from factory.cleaning.embedding import open_embedder

    return stack.enter_context(open_embedder(model))


def _columns(wanted: Wanted, stream: Stream) -> tuple[str, ...]:
    """The columns that are compared. Raises UsageError for one that is not there, or holds no text."""
    columns = tuple(dict.fromkeys(wanted.columns)) or (only_text_column(stream.schema, stream.name),)
    stream.check_columns(columns)
    check_text_columns(stream.schema, columns, stream.name)
    if wanted.within is not None:
        stream.check_columns((wanted.within,))
    return columns


def _own_columns() -> list[pa.Field]:
    import pyarrow as pa

    return [
        pa.field("row", pa.int64()),
        pa.field("duplicate_of", pa.int64()),
        pa.field("duplicate_in", pa.string()),
        pa.field("duplicate_in_row", pa.int64()),
        pa.field("similarity", pa.float64()),
        pa.field("kind", pa.string()),
    ]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A batch's texts made ready to be compared, their scopes, and how many are empty."""

    prints: Any
    scopes: list[str] | None
    empty: int


class _Walk:
    """What is counted on the way."""

    def __init__(
        self,
        wanted: Wanted,
        columns: Sequence[str],
        known: Duplicates,
        embedder: Embedder | None,
        results: Results,
        index: IndexFile | None,
    ):
        self.columns = columns
        self.known = known
        self.results = results
        self.kinds: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.rows = self.empty = 0
        self._within = wanted.within
        self._embedder = embedder
        self._index = index

    def over(self, stream: Stream) -> Generator[Step, None, None]:
        """Walk; a step after each batch."""
        for batch, ready in ahead(stream, self._prepare, self._workers(stream)):
            self._take(batch, ready)
            yield Step("comparing", self.rows, stream.rows, self.results.removed)

    def _workers(self, stream: Stream) -> int:
        """Threads for what knows of no other row: none for a model (it has its own) and for a network, which may hang
        when it is to be stopped; one where NumPy does the work."""
        if self._embedder is not None or not stream.local:
            return 0
        return min(MOST_WORKERS, os.cpu_count() or 1) if kernel.available() else 1

    def _prepare(self, batch: Batch) -> _Ready:
        """What is made of a batch alone."""
        import pyarrow.compute as compute

        said: Any = texts(batch, self.columns, conversation_text)
        empty = int(compute.sum(compute.equal(compute.binary_length(said), 0)).as_py() or 0)
        scopes = None if self._within is None else values_as_text(batch.table, self._within)
        vectors = None if self._embedder is None else self._embedder.embed(said.to_pylist(), batch.first)
        if self._index is not None:
            bands, size = banding(self.known.threshold)
            return _Ready(fingerprint(said, bands=bands, size=size, signatures=True), scopes, empty)
        return _Ready(
            self.known.prepare(said if self.known.by == "shingles" else said.to_pylist(), vectors), scopes, empty
        )

    def _take(self, batch: Batch, ready: _Ready) -> None:
        found = self.known.offer_prepared(ready.prints, ready.scopes)
        kept = found.kept
        self.rows += len(found)
        self.empty += ready.empty
        if kept.all():
            self.results.keep(batch.table)
        else:
            self.results.keep(choose(batch.table, kept))
            self._remove(batch, found)
        if self._index is not None:
            self._index.add(ready.prints, np.flatnonzero(kept), batch.first)

    def _remove(self, batch: Batch, found: DuplicatesFound) -> None:
        rows = np.flatnonzero(~found.kept)
        sources = [None if source < 0 else found.names[source] for source in found.sources[rows].tolist()]
        kinds = ["exact" if exact else found.kind for exact in found.exact[rows].tolist()]
        matched = found.rows[rows].tolist()
        self.kinds.update(kinds)
        self.sources.update(source for source in sources if source is not None)
        own = {
            "row": (batch.first + rows).tolist(),
            "duplicate_of": [row if source is None else None for row, source in zip(matched, sources, strict=True)],
            "duplicate_in": sources,
            "duplicate_in_row": [None if source is None else row for row, source in zip(matched, sources, strict=True)],
            "similarity": found.similarity[rows].tolist(),
            "kind": kinds,
        }
        self.results.remove(choose(batch.table, ~found.kept), own)


def _known(wanted: Wanted, columns: tuple[str, ...], embedder: Embedder | None, progress: Progressed) -> Duplicates:
    """What rows are compared with: nothing yet, or what `--against` names."""
    references = []
    for entry in wanted.against:
        opened = open_reference(entry, columns, Path())
        if opened.stream is not None:
            if wanted.within is not None:
                opened.stream.check_columns((wanted.within,))
            told = (opened.name, opened.columns, opened.stream, opened.index)
            opened = _Reference(*told, wanted.within, embedder, progress)
        references.append(opened)
    scope_of = None if wanted.within is None else _scope_in_chunks
    return Duplicates(wanted.threshold, wanted.by, references, scope_of=scope_of)  # type: ignore[arg-type]


def _tell_of_other_columns(names: Sequence[str], columns: Sequence[str], notice: Callable[[str], None]) -> None:
    """Say which indexes were made of other columns than those that are compared."""
    from factory.minhash.stored import StoredIndex, is_index

    for name in names:
        if is_index(Path(name)):
            with StoredIndex.open(Path(name)) as index:
                before = index.note.get("columns") if isinstance(index.note, Mapping) else None
            if isinstance(before, list) and before != list(columns):
                told = f"{', '.join(map(str, before))}, and {', '.join(columns)} is compared with it"
                notice(f"{name} is an index of the column {told}")


def _scope_in_chunks(row: Mapping[str, Any], axes: Mapping[str, Any]) -> str:
    raise AssertionError("a reference tells the scopes of its rows a chunk at a time")


@dataclass(frozen=True)
class _Reference(Reference):
    """Data of `--against`: scopes by the column `within`, embeddings by the model."""

    within: str | None = None
    embedder: Embedder | None = None
    progress: Progressed = lambda step: None

    def chunks(self, scope_of: ScopeOf | None, *, vectors: bool) -> Iterator[Chunk]:
        assert self.stream is not None
        for batch in self.stream:
            said: Any = texts(batch, self.columns, conversation_text)
            scopes = None if self.within is None else values_as_text(batch.table, self.within)
            made = self.embedder.embed(said.to_pylist(), batch.first) if vectors and self.embedder else None
            yield Chunk(batch.first, said, scopes, made)
            self.progress(Step("against", batch.first + batch.table.num_rows, self.stream.rows))


def _index(wanted: Wanted, known: Duplicates, columns: Sequence[str]) -> Any:
    if wanted.save_index is None:
        return nullcontext(None)
    note = {"command": COMMAND, "data": list(wanted.data), "columns": list(columns)}
    return open_index_file(wanted.save_index, known.threshold, note)


def _summary(wanted: Wanted, stream: Stream, walk: _Walk, out: Path, seconds: float) -> dict[str, Any]:
    results, known = walk.results, walk.known
    return {
        "command": COMMAND,
        "data": list(wanted.data),
        "rows": walk.rows,
        "kept": results.kept,
        "removed": results.removed,
        "by_kind": dict(sorted(walk.kinds.items())),
        "by_against": {name: walk.sources.get(name, 0) for name in known.names},
        "empty": walk.empty,
        "skipped": stream.skipped,
        "columns": list(walk.columns),
        "by": known.by,
        "threshold": known.threshold,
        "model": wanted.model,
        "within": wanted.within,
        "scheme": SCHEME if known.by == "shingles" else None,
        "renamed": results.renamed,
        "index": None if wanted.save_index is None else str(wanted.save_index),
        "memory_bytes": known.nbytes,
        "seconds": round(seconds, 3),
        "rows_per_second": round(walk.rows / seconds) if seconds > 0 else None,
        "out": str(out),
    }
