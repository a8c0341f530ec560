"""One segment of an index on disk: a directory of raw `.npy` arrays, written once, then memory-mapped."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from factory.files import sha256_file, sync_directory
from factory.minhash.scheme import PERMUTATIONS, U32, U64, Ints
from factory.minhash.stored_manifest import Facts, SegmentFacts, damaged
from factory.minhash.stored_ragged import PARITY_WORDS

ARRAYS: Mapping[str, tuple[str, int | None]] = {
    "keys": ("<u8", None),  # band keys of every distinct text, sorted
    "places": ("<i4", None),  # beside each key the place of its text, ascending under one key
    "signatures": ("<u4", PERMUTATIONS),
    "shingles": ("<u8", None),  # all sets one after another
    "ends": ("<i8", None),  # where each set ends
    "rows": ("<i8", None),  # row ids, ascending: a place's row
    "digests": ("<u8", 2),  # of the normalised texts
    "parities": ("<u8", PARITY_WORDS),
    "rarity": ("|u1", None),  # rarity of shingles in hub texts, by their low bits; empty without hubs
    "prefix_keys": ("<u8", None),  # rarest shingles of the texts in hub buckets, sorted
    "prefix_places": ("<i4", None),
}
"""Every array of a segment: its type, and its columns where it has two dimensions."""

_CHECKED = 4 << 20
"""Files up to this size have their SHA-256 compared whenever a segment is opened."""


class ArrayWriter:
    """Writes one `.npy` file of a known length in pieces; a context manager, durable at its end."""

    def __init__(self, directory: Path, name: str, length: int):
        kind, columns = ARRAYS[name]
        self.dtype = np.dtype(kind)
        self.shape = (length,) if columns is None else (length, columns)
        self._handle = (directory / f"{name}.npy").open("wb")
        self._hasher = hashlib.sha256()
        self._bytes = 0
        self._rows = 0
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(_Tee(self), header)

    def put(self, raw: bytes | memoryview) -> int:
        """Write bytes as they are."""
        self._hasher.update(raw)
        self._bytes += len(raw)
        return self._handle.write(raw)

    def write(self, values: NDArray[Any]) -> None:
        """Append a piece of the array."""
        self._rows += len(values)
        if values.size:
            self.put(np.ascontiguousarray(values, dtype=self.dtype).data.cast("B"))

    @property
    def facts(self) -> Facts:
        return Facts(self._bytes, self._hasher.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                assert self._rows == self.shape[0], f"{self._handle.name}: {self._rows} of {self.shape[0]} written"
                self._handle.flush()
                os.fsync(self._handle.fileno())
        finally:
            self._handle.close()


class _Tee:
    """What NumPy's header function writes to."""

    def __init__(self, writer: ArrayWriter):
        self._writer = writer

    def write(self, raw: bytes) -> int:
        return self._writer.put(raw)


@dataclass(frozen=True, slots=True)
class Segment:
    """The memory-mapped arrays of a segment, as `ARRAYS` tells them."""

    facts: SegmentFacts
    keys: U64
    places: NDArray[np.int32]
    signatures: U32
    shingles: U64
    ends: Ints
    rows: Ints
    digests: U64
    parities: U64
    rarity: NDArray[np.uint8]
    prefix_keys: U64
    prefix_places: NDArray[np.int32]

    def __len__(self) -> int:
        return self.facts.rows

    def spans(self, places: Ints) -> tuple[Ints, Ints]:
        """Where the sets at `places` start, and their sizes."""
        starts = np.where(places > 0, self.ends[places - 1], 0)
        return starts, self.ends[places] - starts


def open_segment(directory: Path, facts: SegmentFacts) -> Segment:
    """Map a segment. Raises IndexDamaged naming a file that is not as written, FileNotFoundError where one is gone."""
    arrays = {name: _open_array(directory / f"{name}.npy", name, facts.files.get(name)) for name in ARRAYS}
    segment = Segment(facts, **arrays)
    _check_lengths(directory, segment)
    return segment


def verify_segment(directory: Path, facts: SegmentFacts) -> None:
    """Read every byte of a segment. Raises IndexDamaged naming the first file that is not as written."""
    for name, file in facts.files.items():
        path = directory / f"{name}.npy"
        if not path.exists():
            raise damaged(path, "it is missing")
        if sha256_file(path) != file.sha256:
            raise damaged(path, "its content does not match its digest")


def _open_array(path: Path, name: str, facts: Facts | None) -> Any:
    kind, columns = ARRAYS[name]
    if facts is None:
        raise damaged(path.parent.parent.parent / "manifest.json", f"it does not tell the size of `{path.name}`")
    found = path.stat().st_size
    if found != facts.bytes:
        raise damaged(path, f"it has {found} bytes where {facts.bytes} were written")
    if facts.bytes <= _CHECKED and sha256_file(path) != facts.sha256:
        raise damaged(path, "its content does not match its digest")
    try:
        mapped = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise damaged(path, "it is no array") from error
    wanted = mapped.dtype == np.dtype(kind) and mapped.ndim == (1 if columns is None else 2)
    if not wanted or (columns is not None and mapped.shape[1] != columns):
        raise damaged(path, f"it holds {mapped.dtype}{list(mapped.shape)}")
    return mapped.view(np.ndarray)


def _check_lengths(directory: Path, segment: Segment) -> None:
    """Arrays that belong together have lengths that fit."""
    rows = segment.facts.rows
    for name in ("ends", "rows", "signatures", "digests", "parities"):
        if len(getattr(segment, name)) != rows:
            raise damaged(directory / f"{name}.npy", f"it has {len(getattr(segment, name))} rows where {rows} belong")
    for name, other in (("places", "keys"), ("prefix_places", "prefix_keys")):
        if len(getattr(segment, name)) != len(getattr(segment, other)):
            raise damaged(directory / f"{name}.npy", f"its length differs from that of {other}.npy")
    if rows and int(segment.ends[-1]) != len(segment.shingles):
        raise damaged(directory / "ends.npy", "it does not end where the shingles do")


@contextmanager
def fresh_directory(segments: Path, name: str) -> Iterator[Path]:
    """A directory to write a segment in, which becomes `segments/name` durably, or goes away when writing fails."""
    made = segments / f".{name}.tmp"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
        sync_directory(made)
        os.rename(made, segments / name)
        sync_directory(segments)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
