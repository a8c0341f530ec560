"""References (`against`): texts that are known before the first one is offered, of another run, a file, or an index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factory.duplicates.conversations import conversation_text
from factory.errors import UsageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from factory.sources.streaming import Batch, Stream

ScopeOf = Callable[[Mapping[str, Any], Mapping[str, Any]], str]
"""The scope of a row: from its columns, and from the axes of a run's row."""

VECTORS = "embedding"
"""The column of a reference that holds embeddings."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a reference; `first` is the number of the first. `texts`: an Arrow array of strings."""

    first: int
    texts: Any
    scopes: Sequence[str] | None
    vectors: NDArray[np.float64] | None


@dataclass(frozen=True)
class Reference:
    """Texts under a name: rows of data, of which `columns` count, or the directory of an index (`index`)."""

    name: str
    columns: tuple[str, ...] = ()
    stream: Stream | None = None
    index: Path | None = None

    def chunks(self, scope_of: ScopeOf | None, *, vectors: bool) -> Iterator[Chunk]:
        """All rows, in bounded memory. `vectors`: with their embeddings, out of the column `embedding`."""
        from factory.sources.streaming import texts

        assert self.stream is not None
        if vectors:
            self.check_vectors()
        for batch in self.stream:
            yield Chunk(
                batch.first,
                texts(batch, self.columns, conversation_text),
                None if scope_of is None else _scopes(batch, scope_of, self.name),
                _vectors(batch.table, self.name, batch.first) if vectors else None,
            )

    def check_vectors(self) -> None:
        """Raises UsageError where the rows have no embeddings."""
        assert self.stream is not None
        if VECTORS not in self.stream.columns:
            told = f"`{self.name}` has no column `{VECTORS}`, which its rows are compared by"
            raise UsageError(told, "give each row a list of numbers there, made by the model that embeds the texts")


def open_reference(entry: str, columns: Sequence[str], base: Path | None = None, *, split: str = "train") -> Reference:
    """What an entry of `against` names; a relative path starts from `base`.

    An index (a directory that `StoredIndex` wrote), a run, a saved dataset, a data file or folder, or a Hub dataset.
    Compared are the columns of the same names, else the only one that holds text. Raises UsageError: nothing there
    (with the nearest names), a run that has no dataset yet, no such columns (with those there are).
    """
    from factory.minhash.stored import is_index

    written = Path(entry).expanduser()
    path = written if base is None or written.is_absolute() else base / written
    if not entry.strip():
        raise UsageError("an entry of `against` is empty", "name a run, a data file, or an index")
    if is_index(path):
        return Reference(entry, index=path)
    if (path / "manifest.json").is_file() and not (path / "dataset").is_dir():
        raise UsageError(f"{path}: a run without a dataset", "finish it with the command that started it")
    return _open_data(entry, path, tuple(columns), split)


def _open_data(entry: str, path: Path, columns: tuple[str, ...], split: str) -> Reference:
    from factory.sources.streaming import open_stream
    from factory.sources.streaming_texts import check_text_columns, text_columns

    # A name that is no path here may be that of a Hub dataset; else the error names the nearest file.
    named = str(path) if path.exists() or path.parent.is_dir() or entry.count("/") > 1 else entry
    stream = open_stream(_files_of_run(path) or named, split=split)
    absent = [column for column in columns if column not in stream.columns]
    if not absent and columns:
        check_text_columns(stream.schema, columns, entry)
        return Reference(entry, columns, stream)
    found = text_columns(stream.schema)
    if len(found) != 1:
        wanted = ", ".join(f"`{column}` ({nearest(column, stream.columns)})" for column in absent) or "one to compare"
        listed = ", ".join(found) or f"none; columns: {', '.join(stream.columns)}"
        raise UsageError(
            f"{entry} has no column {wanted}", f"text columns: {listed}; give it the names that are compared"
        )
    return Reference(entry, tuple(found), stream)


def _files_of_run(path: Path) -> list[str]:
    """The dataset of a run, its test rows after the others: all of them are known. Nothing for other data."""
    dataset = path / "dataset" if (path / "manifest.json").is_file() else path
    if not (dataset / "README.md").is_file() or not (dataset / "data").is_dir():
        return []
    files = sorted((dataset / "data").glob("*.parquet"))
    return [str(file) for file in sorted(files, key=lambda file: not file.name.startswith("train"))]


def _scopes(batch: Batch, scope_of: ScopeOf, name: str) -> list[str]:
    """The scope of each row."""
    found = []
    for number, row in enumerate(batch.table.to_pylist()):
        try:
            found.append(scope_of(row, _axes(row)))
        except UsageError as error:
            raise UsageError(f"`{name}`, row {batch.first + number}: {error.message}", error.hint) from error
    return found


def _axes(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a run drew for the row; nothing for a row of other data."""
    meta = row.get("meta")
    text = meta.get("variation") if isinstance(meta, Mapping) else None
    try:
        values = json.loads(text) if isinstance(text, str) else {}
    except ValueError:  # a `meta` of somebody else's
        values = {}
    return values if isinstance(values, Mapping) else {}


def _vectors(table: pa.Table, name: str, first: int) -> NDArray[np.float64]:
    """The embeddings of the rows, [rows, dimensions]."""
    column = table.column(VECTORS).to_pylist()
    try:
        vectors = np.array(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        told = f"`{name}`: rows {first} … hold an `{VECTORS}` that is no list of numbers of one length"
        raise UsageError(told, "embed every row with one model") from error
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        told = f"`{name}`: `{VECTORS}` is missing, empty or not finite in one of the rows {first} …"
        raise UsageError(told, "embed every row with one model")
    return vectors
