"""The raw rows of a test set's files: one, several, or a folder of them, and what they hold in one hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factory.errors import UsageError
from factory.files import sha256_file
from factory.sources.tables import format_of, missing_path, open_table
from factory.test_sets.shaping import PLACE

Raw = Mapping[str, Any]
SPLITS = ("test", "validation", "valid", "val", "dev", "eval", "train")
"""The words in file names that say of which split a file is; the first that some file has is taken."""
_NO_ROWS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "manifest.json"}
_PARTS = r"(?:^|[/_.-]){}(?:[/_.-]|$)"


def list_files(path: Path, split: str = "") -> list[Path]:
    """The data files at `path`: the file itself, or those below a folder that belong to one split by their names.

    Without `split` it is the first of `SPLITS` that a file is named for; where none is, all files count. Raises
    UsageError: nothing there, no data files, no file of this split.
    """
    if path.is_file():
        if format_of(path) is None:
            raise UsageError(
                f"{path}: unknown kind of file", "a test set is .jsonl, .json, .csv, .tsv (also .gz) or .parquet"
            )
        return [path]
    if not path.is_dir():
        raise missing_path(path)
    found = sorted(
        (file for file in path.rglob("*") if file.is_file() and _counts(file, path)),
        key=lambda file: file.relative_to(path).as_posix(),
    )
    if not found:
        raise UsageError(f"{path}: a folder without data files", "it needs .jsonl, .json, .csv, .tsv or .parquet files")
    for word in [split] if split else SPLITS:
        pattern = re.compile(_PARTS.format(re.escape(word)), re.IGNORECASE)
        if chosen := [file for file in found if pattern.search(file.relative_to(path).as_posix())]:
            return chosen
    if split:
        names = ", ".join(file.name for file in found[:12])
        raise UsageError(f"{path}: no file is named for the split `{split}`", f"there are: {names}")
    return found


def _counts(file: Path, folder: Path) -> bool:
    inside = file.relative_to(folder).parts
    hidden = any(part.startswith((".", "_")) for part in inside)
    return not hidden and format_of(file) is not None and file.name not in _NO_ROWS


def read_files(files: Sequence[Path]) -> list[Raw]:
    """The rows of all files, one after the other. Raises UsageError with the file, and the line where there is one."""
    if len(files) == 1:
        return list(open_table(files[0], None))
    return [
        {**row, PLACE: f"{file.name.split('.')[0]}:{number}"}
        for file in files
        for number, row in enumerate(open_table(file, None))
    ]


def hash_files(files: Sequence[Path]) -> str:
    """SHA-256 over the files' bytes, in their order (hex); their names do not count, but for several files' own."""
    hasher = hashlib.sha256()
    for file in files:
        name = file.name if len(files) > 1 else ""
        hasher.update(f"{name} {sha256_file(file)}\n".encode())
    return hasher.hexdigest()
