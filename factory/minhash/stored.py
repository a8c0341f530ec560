"""An index of near-duplicates on disk, for later runs: append-only, crash-safe, searched without being loaded.

A directory: `manifest.json` (scheme, threshold, banding, segments, and a `note` of whoever made it), `lock`, and
`segments/NNNNN/*.npy`. An append writes one segment into a temporary directory, makes it durable, renames it, and
replaces the manifest last: a crash at any moment leaves the old state or the new one, and the next writer removes what
lies about. Many small segments are merged as in a log-structured merge tree; results never depend on segments.

One process writes at a time, from its first append to `close`; any number read meanwhile, each the state that it
opened. Searching maps the files: memory stays with the block at hand, however large the index is.
"""

from __future__ import annotations

import errno
import os
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from factory.errors import UsageError
from factory.files import is_storage_fault, storage_fault
from factory.minhash.fingerprints import Fingerprints
from factory.minhash.index import Matches
from factory.minhash.scheme import Ints, banding, mix
from factory.minhash.stored_building import write_batch, write_merged
from factory.minhash.stored_lock import take_lock
from factory.minhash.stored_manifest import (
    NAME,
    IndexManifest,
    SegmentFacts,
    damaged,
    new_manifest,
    read_manifest,
    write_manifest,
)
from factory.minhash.stored_searching import NONE, Asked, search
from factory.minhash.stored_segments import Segment, fresh_directory, open_segment, verify_segment

BLOCK = 4096
"""Texts looked up together."""

FAN = 8
"""This many segments of a size become one; a size is a power of it."""

LARGEST = 1 << 21
"""Rows beyond which a segment is merged no more, so that merging needs little memory."""

_HASHED = 1 << 16


class StoredIndex:
    """The index in a directory. `threshold` is what `match_many` asks for: that of the index, or a higher one."""

    def __init__(self, path: Path, manifest: IndexManifest, segments: Sequence[Segment], threshold: float):
        self.path = path
        self.threshold = threshold
        self._manifest = manifest
        self._segments = tuple(segments)
        self._release: weakref.finalize[..., Any] | None = None

    @classmethod
    def create(cls, path: Path | str, *, threshold: float = 0.8, note: Mapping[str, Any] | None = None) -> Self:
        """Make an empty index and hold it for writing. `note` is kept as JSON.

        Raises UsageError where `path` holds something already, StorageFull where it cannot be written.
        """
        place = Path(path)
        manifest = new_manifest(threshold, note or {})
        if is_index(place):
            raise UsageError(f"{place}: there is an index already", "open it to append to it")
        if place.exists() and not _is_free(place):
            raise UsageError(f"{place} is not empty, and no index", "choose another directory for the index")
        try:
            (place / "segments").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_fault(error, place) from error
        made = cls(place, manifest, (), float(threshold))
        made._take_lock()
        try:
            if is_index(place):
                raise UsageError(f"{place}: another process has just made an index here", "open it to append to it")
            write_manifest(place, manifest)
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def open(cls, path: Path | str, *, threshold: float | None = None) -> Self:
        """Open an index for reading, and for appending as soon as `append` is called.

        `threshold` may be higher than that of the index if the banding is the same. Raises UsageError for another
        scheme, a lower threshold or another banding, and where there is no index; IndexDamaged naming a damaged file.
        """
        place = Path(path)
        manifest, segments = _load(place)
        return cls(place, manifest, segments, _asked_threshold(place, manifest, threshold))

    def __len__(self) -> int:
        return self._manifest.rows

    @property
    def bands(self) -> int:
        return self._manifest.bands

    @property
    def size(self) -> int:
        """Minima a band."""
        return self._manifest.size

    @property
    def stored_threshold(self) -> float:
        """The lowest threshold that may be asked for."""
        return self._manifest.threshold

    @property
    def note(self) -> Mapping[str, Any]:
        return self._manifest.note

    @property
    def segments(self) -> tuple[SegmentFacts, ...]:
        return self._manifest.segments

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(segment.nbytes for segment in self.segments)

    @property
    def next_row(self) -> int:
        """The row id after the highest one: where ids may go on that are to stay distinct."""
        return max((segment.last for segment in self.segments), default=-1) + 1

    def append(self, texts: Fingerprints, rows: Ints | Sequence[int]) -> None:
        """Add texts with their row ids (≥ 0) as one durable step; with `signatures=True` fingerprints this is fast.

        Raises UsageError where another process writes, or for fingerprints of another banding; StorageFull, and then
        the index is as it was.
        """
        ids = np.asarray(rows, dtype=np.int64)
        self._check_banding(texts)
        if ids.shape != (len(texts),):
            raise UsageError(f"{len(texts)} texts with {ids.size} row ids", "give each text one row id")
        if len(ids) and int(ids.min()) < 0:
            raise UsageError(f"the row id {int(ids.min())} is negative", "row ids start at 0")
        self._write()
        if not len(ids):
            return
        name = _name(self._manifest.next)
        with self._changing():
            with fresh_directory(self.path / "segments", name) as directory:
                facts = write_batch(directory, name, texts, ids, self._manifest)
            self._commit((*self.segments, facts), dropped=())
            while (first := _mergeable(self.segments)) is not None:
                self._merge(first, len(self.segments))

    def match_many(self, texts: Fingerprints) -> Matches:
        """For each text the duplicate with the lowest row id: it shares a band key, and its exact Jaccard ≥ threshold.

        `places` are row ids, −1 for none; `exact` tells equal normalised texts. Of equal row ids the one appended
        earlier counts. Raises UsageError for fingerprints of another banding.
        """
        self._check_banding(texts)
        parts = [self._match_block(texts[first : first + BLOCK]) for first in range(0, len(texts), BLOCK)]
        if not parts:
            return Matches(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, bool))
        return Matches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def signatures(self) -> Sequence[tuple[Ints, Any]]:
        """Row ids and uint32[n, 128] signatures by segment, memory-mapped: datasketch loads a row of them with
        `MinHash(hashvalues=…, scheme="affine32")`."""
        return [(segment.rows, segment.signatures) for segment in self._segments]

    def digest(self) -> str:
        """32 hex digits that say which texts with which row ids are held, however they lie in segments."""
        sums = np.zeros(2, dtype=np.uint64)
        for segment in self._segments:
            for first in range(0, len(segment), _HASHED):
                part = slice(first, first + _HASHED)
                rows = mix(segment.rows[part].astype(np.uint64))
                sums += mix(mix(segment.digests[part] + rows[:, None])[:, ::-1] ^ segment.digests[part]).sum(axis=0)
        return "".join(f"{int(one):016x}" for one in sums)

    def compact(self) -> None:
        """Merge all segments into as few as there may be. Raises UsageError where another process writes."""
        self._write()
        with self._changing():
            while (run := _longest_run(self.segments)) is not None:
                self._merge(*run)

    def verify(self) -> None:
        """Read every byte. Raises IndexDamaged naming the first file that is not as it was written."""
        for facts in self.segments:
            verify_segment(self.path / "segments" / facts.name, facts)

    def close(self) -> None:
        """Let others write. Reading works on."""
        if self._release is not None:
            self._release()
            self._release = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_banding(self, texts: Fingerprints) -> None:
        if texts.keys.shape[1] != self.bands:
            what = f"{self.path} has {self.bands} bands, the fingerprints have {texts.keys.shape[1]}"
            raise UsageError(what, f"fingerprint with bands={self.bands}, size={self.size}")

    def _match_block(self, texts: Fingerprints) -> tuple[Ints, Any, Any]:
        asked = Asked(texts)
        count = len(asked)
        rows, turns = np.full(count, NONE), np.full(count, len(self._segments))
        similarity, exact = np.zeros(count), np.zeros(count, dtype=bool)
        turns_by_row = sorted(range(len(self._segments)), key=lambda turn: self._segments[turn].facts.first)
        for turn in turns_by_row:
            segment = self._segments[turn]
            wanted = rows >= segment.facts.first
            if not wanted.any():
                break
            found = search(segment, asked, wanted, self.threshold)
            hit = np.flatnonzero(found.places != NONE)
            places = found.places[hit]
            theirs = segment.rows[places]
            better = (theirs < rows[hit]) | ((theirs == rows[hit]) & (turn < turns[hit]))
            hit, places = hit[better], places[better]
            rows[hit], turns[hit], similarity[hit] = theirs[better], turn, found.similarity[hit]
            exact[hit] = (segment.digests[places] == asked.digests[hit]).all(axis=1)
        rows[rows == NONE] = -1
        return rows, similarity, exact

    def _write(self) -> None:
        """Take the lock if this object does not have it yet; what others wrote meanwhile is read, leftovers go."""
        if self._release is not None:
            return
        if not self.path.is_dir():
            raise UsageError(f"{self.path}: the index is gone", "make it again")
        self._take_lock()
        try:
            if read_manifest(self.path) != self._manifest:
                self._manifest, self._segments = _load(self.path)
            _clean(self.path, self._manifest)
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        self._release = weakref.finalize(self, os.close, take_lock(self.path))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Where a step fails, let go of the lock: whoever writes next reads the manifest and removes what is left."""
        try:
            yield
        except OSError as error:
            self.close()
            raise (storage_fault(error, self.path) if is_storage_fault(error) else error) from error
        except BaseException:
            self.close()
            raise

    def _commit(self, segments: tuple[SegmentFacts, ...], *, dropped: Sequence[SegmentFacts]) -> None:
        """Make `segments` the index; the files of `dropped` go afterwards."""
        manifest = self._manifest.with_segments(segments, following=self._manifest.next + 1)
        known = {segment.facts.name: segment for segment in self._segments}
        directory = self.path / "segments"
        opened = tuple(
            known[facts.name] if facts.name in known else open_segment(directory / facts.name, facts)
            for facts in segments
        )
        write_manifest(self.path, manifest)
        self._manifest, self._segments = manifest, opened
        for facts in dropped:
            shutil.rmtree(directory / facts.name)

    def _merge(self, first: int, last: int) -> None:
        name = _name(self._manifest.next)
        with fresh_directory(self.path / "segments", name) as directory:
            facts = write_merged(directory, name, self._segments[first:last], self._manifest)
        kept = (*self.segments[:first], facts, *self.segments[last:])
        self._commit(kept, dropped=self.segments[first:last])


def is_index(path: Path | str) -> bool:
    """Whether `path` is a directory that holds an index."""
    return (Path(path) / NAME).is_file() and (Path(path) / "segments").is_dir()


def _is_free(path: Path) -> bool:
    """Whether a directory is empty, or holds nothing but what a crash while it was being made left there."""
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    left = path / "segments"
    return names <= {"lock", "segments", f".{NAME}.tmp"} and not (left.is_dir() and any(left.iterdir()))


def _load(path: Path) -> tuple[IndexManifest, tuple[Segment, ...]]:
    """The manifest and its segments; read again when a writer merged some of them away in between."""
    manifest = read_manifest(path)
    while True:
        try:
            opened = (open_segment(path / "segments" / facts.name, facts) for facts in manifest.segments)
            return manifest, tuple(opened)
        except FileNotFoundError as error:
            newer = read_manifest(path)
            if newer == manifest:
                raise damaged(Path(str(error.filename)), "it is missing") from error
            manifest = newer
        except OSError as error:
            hint = "raise `ulimit -n`" if error.errno in (errno.EMFILE, errno.ENFILE) else "check the permissions"
            raise UsageError(f"{error.filename or path}: cannot be read ({error.strerror})", hint) from error


def _asked_threshold(path: Path, manifest: IndexManifest, threshold: float | None) -> float:
    if threshold is None:
        return manifest.threshold
    bands, size = banding(threshold)
    if threshold < manifest.threshold:
        hint = f"ask for {manifest.threshold} or more, or build the index again from its texts"
        raise UsageError(f"{path} was made for a threshold of {manifest.threshold}, not for {threshold}", hint)
    if (bands, size) != (manifest.bands, manifest.size):
        what = (
            f"{path} has {manifest.bands} bands of {manifest.size}; a threshold of {threshold} takes {bands} of {size}"
        )
        raise UsageError(what, f"use the threshold {manifest.threshold}, or build the index again from its texts")
    return float(threshold)


def _clean(path: Path, manifest: IndexManifest) -> None:
    """Remove what a crash left behind."""
    known = {facts.name for facts in manifest.segments}
    for entry in (path / "segments").iterdir():
        if entry.name not in known:
            shutil.rmtree(entry)
    (path / f".{NAME}.tmp").unlink(missing_ok=True)


def _name(number: int) -> str:
    return f"{number:05d}"


def _level(rows: int) -> int:
    level = 0
    while rows >= FAN:
        rows, level = rows // FAN, level + 1
    return level


def _mergeable(segments: Sequence[SegmentFacts]) -> int | None:
    """Where the last segments start that are worth a merge, None for nowhere.

    Sizes fall from left to right, as in a number's digits: FAN segments at the end that are of one level or below it
    become one of the next.
    """
    total, level = 0, 0
    start: int | None = None
    for place in range(len(segments) - 1, -1, -1):
        level = max(level, _level(segments[place].rows))
        total += segments[place].rows
        if total > LARGEST:
            break
        count = sum(1 for one in segments[place:] if _level(one.rows) == level)
        if count >= FAN:
            start = place
    return start


def _longest_run(segments: Sequence[SegmentFacts]) -> tuple[int, int] | None:
    """The first neighbours, two or more, that fit one segment."""
    for first in range(len(segments)):
        last, total = first, 0
        while last < len(segments) and total + segments[last].rows <= LARGEST:
            total += segments[last].rows
            last += 1
        if last - first >= 2:
            return first, last
    return None
