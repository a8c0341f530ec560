"""Source rows (`from:`): data files, documents cut into chunks, saved `datasets` directories, Hub datasets."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError, nearest
from factory.sources.documents import cut_markdown, cut_text
from factory.sources.tables import (
    ArrowRows,
    Row,
    check_columns,
    format_of,
    missing_path,
    open_table,
    read_lines,
    read_table,
    read_text,
)
from factory.types import canonical_json

if TYPE_CHECKING:
    from factory.recipe.axes import SourceConfig

__all__ = ["Source", "read_lines", "read_source", "read_table"]

DOCUMENTS = {".txt": "text", ".text": "text", ".rst": "text", ".md": "markdown", ".markdown": "markdown"}
_DEFAULT_WORDS, _DEFAULT_OVERLAP = 300, 50
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Source:
    """Source rows in order. `source[i]` is a row as JSON values, every row with all of `columns`.

    `sha` (hex) is over columns and rows, so it is the same wherever and in whatever format the rows are kept.
    """

    name: str
    columns: tuple[str, ...]
    sha: str
    rows: Sequence[Row] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return dict(self.rows[index])


def read_source(config: SourceConfig, base: Path) -> Source:
    """The rows that a recipe's `from:` names; relative paths are relative to `base`.

    Raises UsageError: nothing there (with the nearest names), no rows, a broken line (with its number), text that is
    not UTF-8 (with the offset), columns that are missing (with those there are), a Hub dataset out of reach.
    """
    path = Path(config.path).expanduser()
    path = path if path.is_absolute() else base / path
    rows, columns = _open(config, path)
    if config.columns:
        check_columns(config.columns, columns, config.path)
        columns = tuple(config.columns)
    check_columns(config.carry, columns, config.path)
    kept = _keep(rows, columns, config.limit)
    if not kept:
        raise UsageError(f"{config.path}: no rows", "a source needs at least one")
    name = config.path if path == Path(config.path) or not path.exists() else path.name
    return Source(name, columns, _sha(columns, kept), kept)


def _keep(rows: Sequence[Row], columns: tuple[str, ...], limit: int | None) -> Sequence[Row]:
    """The first `limit` rows, with these columns only."""
    if isinstance(rows, ArrowRows):
        table = rows.table.select(list(columns))
        return ArrowRows(table if limit is None else table.slice(0, limit))
    return [{column: row[column] for column in columns} for row in islice(rows, limit)]


def _sha(columns: tuple[str, ...], rows: Sequence[Row]) -> str:
    hasher = hashlib.sha256(canonical_json(columns).encode())
    for row in rows:
        hasher.update(canonical_json(row).encode())
        hasher.update(b"\n")
    return hasher.hexdigest()


def _open(config: SourceConfig, path: Path) -> tuple[Sequence[Row], tuple[str, ...]]:
    """Rows and their columns, before `columns`, `carry` and `limit`."""
    if (path / "manifest.json").is_file() and (path / "dataset").is_dir():
        path = path / "dataset"  # a run directory
    if (path / "data").is_dir() and (path / "preference").is_dir():
        path = path / "data"  # a dataset that a run has made: its pairs are no rows
    kind = config.format or guess_format(config.path, path)
    if kind in ("dataset", "hub"):
        opened = _saved(path, config.split) if kind == "dataset" else _from_hub(config)
        rows: Sequence[Row] = ArrowRows(opened)
        return rows, tuple(opened.column_names)
    if not path.exists():
        raise missing_path(path)
    if kind in DOCUMENTS.values():
        rows = _documents(path, config)
    elif path.is_dir():
        rows = _folder(path, config)
    else:
        rows = open_table(path, kind)
    columns = tuple(rows.table.column_names if isinstance(rows, ArrowRows) else rows[0])
    return rows, columns


def guess_format(written: str, path: Path) -> str | None:
    """The format by name and content; None for a folder of files and for what `open_table` then refuses."""
    if path.is_dir():
        return "dataset" if is_saved(path) else None
    if path.exists() or (suffix := path.suffix.lower()) in DOCUMENTS or format_of(path):
        return DOCUMENTS.get(path.suffix.lower()) or format_of(path)
    if _HUB_NAME.fullmatch(written) and not suffix and not _looks_local(written, path):
        return "hub"
    return None


def _looks_local(written: str, path: Path) -> bool:
    """A name that is rather a mistyped path: its folder is there, or a file of nearly that name."""
    if "/" in written:
        return path.parent.is_dir()
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    stems = [name.split(".")[0] for name in names]
    return bool(difflib.get_close_matches(written, [*names, *stems], n=1, cutoff=0.75))


def data_files(folder: Path, kind: Callable[[Path], str | None]) -> list[Path]:
    """The files below a folder that `kind` knows, in the order of their paths; hidden ones are left out."""
    found = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).parts
        if path.is_file() and kind(path) and not any(part.startswith((".", "_")) for part in inside):
            found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _folder(path: Path, config: SourceConfig) -> Sequence[Row]:
    """The rows of the data files of a folder, or of its documents."""
    files = [file for file in data_files(path, format_of) if config.format in (None, format_of(file))]
    documents = [file for file in data_files(path, document_kind) if file.stem.lower() != "readme"]
    if files and documents and config.format is None:
        raise UsageError(
            f"{path} holds both data ({files[0].name}) and documents ({documents[0].name})",
            "say which with `format:`, for example `format: markdown`",
        )
    if not files:
        return _documents(path, config)
    return _concatenate(files_of_split(files, path, config.split), config.format)


def document_kind(path: Path) -> str | None:
    return DOCUMENTS.get(path.suffix.lower())


def files_of_split(files: list[Path], folder: Path, split: str) -> list[Path]:
    """The files that belong to `split` by name (`train.csv`, `train-00000-of-00002.parquet`, `train/…`), or all.

    Files that cannot be of one table (another format) are refused.
    """
    pattern = re.compile(rf"(?:^|[/_.-]){re.escape(split)}(?:[/_.-]|$)")
    chosen = [path for path in files if pattern.search(path.relative_to(folder).as_posix())] or files
    formats = sorted({str(format_of(path)) for path in chosen})
    if len(formats) > 1:
        raise UsageError(f"{folder} holds files of several formats: {', '.join(formats)}", "name one file or subfolder")
    return chosen


def _concatenate(files: list[Path], format_: str | None) -> Sequence[Row]:
    """The rows of several files of one format, one after the other; every file must have the same columns."""
    import pyarrow as pa

    tables = [open_table(path, format_) for path in files]
    if len(tables) == 1:
        return tables[0]
    first = sorted(tables[0][0])
    for path, table in zip(files, tables, strict=True):
        if sorted(table[0]) != first:
            raise UsageError(
                f"{path} has other columns than {files[0].name}: {', '.join(table[0])}", "name one file or split"
            )
    arrow = [table.table for table in tables if isinstance(table, ArrowRows)]
    if len(arrow) < len(tables):
        return [row for table in tables for row in table]
    try:
        return ArrowRows(pa.concat_tables(arrow, promote_options="permissive"))
    except pa.ArrowException as error:
        raise UsageError(f"{files[0].parent}: the files do not make one table ({error})", "name one file") from None


def _documents(path: Path, config: SourceConfig) -> list[Row]:
    """Chunks of one document, or of all documents below a folder."""
    if path.is_dir():
        files = data_files(path, document_kind)
        if not files:
            endings = ", ".join(DOCUMENTS)
            raise UsageError(f"{path}: a folder without data or documents", f"documents end in {endings}")
    else:
        files = [path]
    words = config.chunk.words if config.chunk else _DEFAULT_WORDS
    overlap = config.chunk.overlap if config.chunk else _DEFAULT_OVERLAP
    if overlap >= words:
        raise UsageError(f"chunk: overlap {overlap} is not less than words {words}", "a chunk must go on")
    rows: list[Row] = []
    headings = False
    for file in files:
        text = read_text(file).replace("\r\n", "\n")
        markdown = (config.format or document_kind(file)) == "markdown"
        headings = headings or markdown
        document = file.relative_to(path).as_posix() if path.is_dir() else file.name
        for number, chunk in enumerate((cut_markdown if markdown else cut_text)(text, words, overlap)):
            rows.append({"text": chunk.text, "document": document, "chunk": number, "heading": chunk.heading})
    if not rows:
        raise UsageError(f"{config.path}: no words in it", "a source needs at least one chunk")
    if not headings:
        for row in rows:
            del row["heading"]
    return rows


def is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or ((path / "state.json").is_file() and _has_info(path))


def _has_info(path: Path) -> bool:
    return (path / "dataset_info.json").is_file()


def _saved(path: Path, split: str) -> Any:
    """The Arrow table of a directory that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    if not path.exists():
        raise missing_path(path)
    if not path.is_dir() or not is_saved(path):
        raise UsageError(f"{path}: not a directory that `datasets` saved", "write it with `save_to_disk`")
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, LookupError) as error:  # IndexError is what it says of a dataset without rows
        raise UsageError(
            f"{path}: a `datasets` directory that is damaged or has no rows ({error})", "save it again"
        ) from error
    return _table(loaded, split, str(path))


def _from_hub(config: SourceConfig) -> Any:
    """The Arrow table of a Hub dataset's split. Raises UsageError when the Hub is out of reach or does not have it."""
    import datasets

    try:
        loaded = datasets.load_dataset(config.path, config.config)
    except Exception as error:  # the library raises errors of half a dozen packages here; each is told, none is lost
        raise _hub_fault(config.path, error) from error
    return _table(loaded, config.split, config.path)


def _hub_fault(name: str, error: Exception) -> UsageError:
    kind = type(error).__name__
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), kind)
    local = (
        f'where there is a network: datasets.load_dataset("{name}").save_to_disk("FOLDER"); copy the folder here and '
        "write `from: FOLDER`"
    )
    if kind == "DatasetNotFoundError" and "offline" not in first.lower():
        return UsageError(f"no file `{name}` here, and no such dataset on the Hub", "check the name; " + local)
    if isinstance(error, ValueError) and "config" in first.lower():
        return UsageError(f"the Hub dataset `{name}`: {first}", "choose one: `from: {path: …, config: …}`")
    return UsageError(f"no file `{name}` here, and the Hub dataset cannot be fetched ({kind}: {first[:200]})", local)


def _table(loaded: Any, split: str, name: str) -> Any:
    """The Arrow table of a Dataset or of a DatasetDict's split: columns as stored, nothing decoded."""
    if hasattr(loaded, "keys"):
        if split not in loaded:
            raise UsageError(
                f"{name} has no split `{split}` ({nearest(split, loaded)})", f"it has: {', '.join(loaded)}"
            )
        loaded = loaded[split]
    return loaded.with_format("arrow")[:]
