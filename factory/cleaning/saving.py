"""`--save-index`: the kept rows as an index for later commands and runs, in its place when all is done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from factory.duplicates.shingled import take
from factory.errors import UsageError
from factory.files import is_storage_fault, storage_fault, swap_directory
from factory.minhash import Ints
from factory.minhash.fingerprints import Fingerprints
from factory.minhash.stored import StoredIndex, is_index


def check_index_place(path: Path, out: Path) -> None:
    """Raise UsageError unless nothing is there, or an empty folder, apart from OUT."""
    place, folder = path.resolve(), out.resolve()
    if place == folder or folder in place.parents:
        raise UsageError(
            f"--save-index {path} lies in --out {out}, which is replaced as a whole", "name another folder"
        )
    if is_index(path):
        hint = "name another folder: `--against` takes several indexes"
        raise UsageError(f"--save-index {path}: there is an index already", hint)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"--save-index {path} is not empty", "name another folder")


class IndexFile:
    """An index that is written beside its place."""

    def __init__(self, path: Path, place: Path, stored: StoredIndex):
        self._path = path
        self._place = place
        self._stored = stored

    def add(self, prints: Fingerprints, kept: Ints, first: int) -> None:
        """Add those of a batch that were kept; `first` is the row of the batch's first text."""
        self._stored.append(take(prints, kept), first + kept)

    def finish(self) -> None:
        """Put the index in its place."""
        self._stored.close()
        try:
            swap_directory(self._path, self._place)
        except OSError as error:
            if is_storage_fault(error):
                raise storage_fault(error, self._place) from error
            raise


@contextmanager
def open_index_file(path: Path, threshold: float, note: Mapping[str, Any]) -> Iterator[IndexFile]:
    """An index for `path`, for the length of a `with` block; nothing is left of it unless it was finished."""
    place = path.resolve()
    folder = place.with_name(f".{place.name}.part")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        stored = stack.enter_context(StoredIndex.create(folder, threshold=threshold, note=note))
        yield IndexFile(folder, place, stored)
