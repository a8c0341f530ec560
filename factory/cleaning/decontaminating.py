"""`factory decontaminate`: rows that overlap test sets out of any data. One walk over the stream, in bounded memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from factory.cleaning.deduplicating import Cleaned, Progressed, Step, open_model
from factory.cleaning.interrupting import interruptible
from factory.cleaning.writing import KEPT, REMOVED, SUMMARY, Results, check_out, choose, open_results
from factory.decontamination import LAYERS, RATES, BenchmarkIndex, Cascade, Hit
from factory.decontamination.columns import row_texts
from factory.decontamination.embedding import QuestionVectors
from factory.decontamination.questions import nearest_questions
from factory.decontamination.types import SCHEME, as_plain, check_layers
from factory.errors import UsageError, nearest
from factory.sources.streaming import Batch, Stream, open_stream
from factory.sources.streaming_texts import check_text_columns, text_columns
from factory.test_sets.indexing import index_of
from factory.test_sets.vectors import vectors_of
from factory.types import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

    from factory.cleaning.embedding import Embedder

COMMAND = "decontaminate"
BATCH_ROWS = 2_000
EMBEDDED_ROWS = 512
FLAG = "contamination"
"""The column that `--mode flag` adds to the rows."""
PARTS = ("question", "answer", "choices", "turns")
"""What a field of a test set may be, in `--against-column PART=FIELD`."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """What `factory decontaminate` was told. `data`: files, folders, saved datasets, runs, Hub names.

    `columns`: what is compared, each by itself and together (none: all text). `against`: names of test sets,
    Hub names, files. `against_columns`: fields of these, `FIELD` or `PART=FIELD`. `model`: what embeds, in process.
    """

    data: tuple[str, ...]
    against: tuple[str, ...]
    columns: tuple[str, ...] = ()
    against_columns: tuple[str, ...] = ()
    mode: str = "drop"
    layers: tuple[str, ...] = LAYERS
    fpr: float = 0.001
    model: str | None = None
    split: str = "train"
    config: str | None = None
    limit: int | None = None
    skip_bad: bool = False


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    found: int = 0
    by_benchmark: Counter[str] = field(default_factory=Counter)
    by_layer: Counter[str] = field(default_factory=Counter)


def decontaminate(
    wanted: Suspects,
    *,
    out: Path,
    notice: Callable[[str], None] = lambda text: None,
    progress: Progressed = lambda step: None,
) -> Cleaned:
    """Write the rows that overlap no test set, and those that do, with what they overlap, into the folder `out`.

    With `mode` "flag" every row is kept, and a column `contamination` holds the hits as JSON (null: none). Raises
    UsageError (bad data, columns, test sets or options), StorageFull, Interrupted: nothing is written then.
    """
    began = time.monotonic()
    layers = _check_options(wanted, out)
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
        indexes, vectors = _open_test_sets(wanted, embedder, notice, progress)
        marks = _marks(wanted, stream)
        results = stack.enter_context(open_results(out, COMMAND, stream.schema, _own_columns(), marks))
        walk = _Walk(columns, Cascade(indexes, layers=layers, fpr=wanted.fpr), vectors, embedder, wanted, results)
        for step in walk.over(stream):
            progress(step)
        for old, new in results.renamed.items():
            notice(f"removed.parquet: the data's column `{old}` is `{new}` there")
        seconds = time.monotonic() - began
        summary = _summary(wanted, stream, columns, walk, indexes, seconds) | {"out": str(out)}
        results.finish(summary)
    return Cleaned(summary, {"kept": out / KEPT, "removed": out / REMOVED, "summary": out / SUMMARY})


def _check_options(wanted: Suspects, out: Path) -> tuple[str, ...]:
    """What can be told before anything is read; the layers in order."""
    if not wanted.against:
        raise UsageError("which test sets? --against is missing", "`factory benchmarks list` shows the known ones")
    if wanted.mode not in ("drop", "flag"):
        raise UsageError(f"--mode {wanted.mode}: unknown", nearest(wanted.mode, ("drop", "flag")))
    if wanted.fpr not in RATES:
        raise UsageError(
            f"--fpr {wanted.fpr:g}: thresholds are calibrated for {', '.join(map(str, RATES))}", "use one of these"
        )
    check_out(out, COMMAND, (*wanted.data, *wanted.against))
    return check_layers(wanted.layers)


def _columns(wanted: Suspects, stream: Stream) -> tuple[str, ...]:
    columns = tuple(dict.fromkeys(wanted.columns)) or tuple(text_columns(stream.schema))
    if not columns:
        raise UsageError(f"{stream.name}: no column holds text", f"columns: {', '.join(stream.schema.names)}")
    stream.check_columns(columns)
    check_text_columns(stream.schema, columns, stream.name)
    return columns


def _marks(wanted: Suspects, stream: Stream) -> list[pa.Field]:
    """The column that flagged rows get."""
    import pyarrow as pa

    if wanted.mode != "flag":
        return []
    if FLAG in stream.schema.names:
        raise UsageError(
            f"{stream.name} has a column `{FLAG}` already", "it is what --mode flag adds: rename it, or drop rows"
        )
    return [pa.field(FLAG, pa.string())]


def spec_of(entry: str, columns: Sequence[str]) -> str | dict[str, Any]:
    """A test set as `factory.test_sets` takes it. `columns`: `FIELD` (a question's) or `PART=FIELD`.

    Raises UsageError for an unknown part.
    """
    told: dict[str, Any] = {}
    for column in columns:
        part, equals, name = column.partition("=")
        if not equals:
            part, name = "question", column
        if part not in PARTS or not name:
            raise UsageError(
                f"--against-column {column}: no such part", f"FIELD, or one of {', '.join(PARTS)} and =FIELD"
            )
        if part == "turns":
            told[part] = name
        else:
            told.setdefault(part, []).append(name)
    return {"path": entry, **told} if told else entry


def _open_test_sets(
    wanted: Suspects, embedder: Embedder | None, notice: Callable[[str], None], progress: Progressed
) -> tuple[list[BenchmarkIndex], dict[str, QuestionVectors]]:
    """The indexes, and with a model the vectors of their questions; what the cache lacks is built and kept there."""
    indexes: list[BenchmarkIndex] = []
    vectors: dict[str, QuestionVectors] = {}
    for entry in dict.fromkeys(wanted.against):
        spec = spec_of(entry, wanted.against_columns)

        index = index_of(spec, Path(), notice=notice)
        if index.name in {one.name for one in indexes}:
            raise UsageError(f"--against names `{index.name}` twice", "give a file another name, or leave one out")
        indexes.append(index)
        if embedder is not None:
            vectors[index.name] = embed_test_set(spec, embedder, notice, progress)
    return indexes, vectors


def embed_test_set(
    spec: str | dict[str, Any], embedder: Embedder, notice: Callable[[str], None], progress: Progressed
) -> QuestionVectors:
    """The vectors of a test set's questions, out of the cache or by the model."""
    return vectors_of(
        spec, Path(), embedder.name, embed=lambda texts, what: _embed(embedder, texts, progress), notice=notice
    )


def _embed(embedder: Embedder, texts: Sequence[str], progress: Progressed) -> Any:
    parts = []
    for first in range(0, len(texts), EMBEDDED_ROWS):
        parts.append(embedder.embed(texts[first : first + EMBEDDED_ROWS], first))
        progress(Step("embedding", min(first + EMBEDDED_ROWS, len(texts)), len(texts)))
    width = max(part.shape[1] for part in parts)
    return np.concatenate([part if part.shape[1] == width else np.zeros((len(part), width)) for part in parts])


def _own_columns() -> list[pa.Field]:
    import pyarrow as pa

    kinds = {"row": pa.int64(), "benchmark_row": pa.int64(), "score": pa.float64()}
    names = ("row", "benchmark", "benchmark_row", "part", "column", "layer", "score", "span", "hits")
    return [pa.field(name, kinds.get(name, pa.string())) for name in names]


class _Walk:
    """The stream before the cascade, and what is counted on the way."""

    def __init__(
        self,
        columns: Sequence[str],
        cascade: Cascade,
        vectors: Mapping[str, QuestionVectors],
        embedder: Embedder | None,
        wanted: Suspects,
        results: Results,
    ):
        self.counts = _Counts()
        self._columns, self._cascade, self._vectors, self._embedder = columns, cascade, vectors, embedder
        self._fpr, self._flag, self._results = wanted.fpr, wanted.mode == "flag", results

    def over(self, stream: Stream) -> Iterator[Step]:
        """Walk; a step after each batch."""
        for batch in stream:
            self._take(batch)
            yield Step("comparing", self.counts.rows, stream.rows, self.counts.found)

    def _take(self, batch: Batch) -> None:
        rows = [row_texts(row, self._columns) for row in batch.table.select(list(self._columns)).to_pylist()]
        hits = self._cascade.check_many(rows)
        if self._embedder is not None:
            hits = self._by_meaning(rows, hits, batch.first)
        self._count(hits)
        found = np.array([bool(some) for some in hits], dtype=bool)
        if self._flag:
            told = [canonical_json([as_plain(hit) for hit in some]) if some else None for some in hits]
            self._results.keep(batch.table, {FLAG: told})
            return
        self._results.keep(choose(batch.table, ~found))
        places = np.flatnonzero(found)
        self._results.remove(choose(batch.table, found), _told(places, batch.first, hits))

    def _by_meaning(self, rows: Sequence[Mapping[str, str]], hits: Sequence[list[Hit]], first: int) -> list[list[Hit]]:
        """The hits, and those by embeddings where a test set has none yet."""
        assert self._embedder is not None
        columns = [
            (place, column, text) for place, row in enumerate(rows) for column, text in row.items() if text.strip()
        ]
        if not columns:
            return list(hits)
        made = np.asarray(self._embedder.embed([text for _, _, text in columns], first), dtype=np.float32)
        found = [list(some) for some in hits]
        for one in self._vectors.values():
            for (place, column, text), hit in zip(columns, nearest_questions(one, made, self._fpr), strict=True):
                if hit is not None and all(known.benchmark != one.name for known in found[place]):
                    found[place].append(replace(hit, column=column, span=text))
        return found

    def _count(self, hits: Sequence[Sequence[Hit]]) -> None:
        self.counts.rows += len(hits)
        for some in hits:
            if some:
                self.counts.found += 1
                self.counts.by_benchmark.update(hit.benchmark for hit in some)
                self.counts.by_layer[some[0].layer] += 1


def _told(places: Any, first: int, hits: Sequence[Sequence[Hit]]) -> dict[str, list[Any]]:
    """The command's own columns of the rows at `places`: their best hit, and all of them as JSON."""
    best = [as_plain(hits[place][0]) for place in places]
    return {
        "row": [first + int(place) for place in places],
        **{
            name: [hit[name] for hit in best]
            for name in ("benchmark", "benchmark_row", "part", "column", "layer", "score", "span")
        },
        "hits": [canonical_json([as_plain(hit) for hit in hits[place]]) for place in places],
    }


def _summary(
    wanted: Suspects, stream: Stream, columns: Sequence[str], walk: _Walk, indexes: Sequence[Any], seconds: float
) -> dict[str, Any]:
    counts = walk.counts
    return {
        "command": COMMAND,
        "data": list(wanted.data),
        "rows": counts.rows,
        "contaminated": counts.found,
        "kept": counts.rows if wanted.mode == "flag" else counts.rows - counts.found,
        "by_benchmark": {index.name: counts.by_benchmark[index.name] for index in indexes},
        "by_layer": dict(sorted(counts.by_layer.items())),
        "skipped": stream.skipped,
        "columns": list(columns),
        "mode": wanted.mode,
        "layers": list(check_layers(wanted.layers)),
        "fpr": wanted.fpr,
        "model": wanted.model,
        "benchmark_rows": {index.name: len(index) for index in indexes},
        "scheme": SCHEME,
        "seconds": round(seconds, 3),
        "rows_per_second": round(counts.rows / seconds) if seconds > 0 else None,
    }
