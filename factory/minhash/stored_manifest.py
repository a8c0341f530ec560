"""What an index on disk says of itself: `manifest.json`, written last and in one step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from factory.errors import FactoryError, UsageError
from factory.files import write_atomic
from factory.minhash.scheme import PERMUTATIONS, SCHEME, banding

NAME = "manifest.json"
FORMAT = 1


class IndexDamaged(FactoryError):
    """A file of an index is not what its manifest says."""

    code = "index_damaged"


def damaged(path: Path, what: str) -> IndexDamaged:
    """The error for a file that is not as it was written."""
    return IndexDamaged(f"{path}: damaged: {what}", "restore the index from a copy, or build it again from its texts")


@dataclass(frozen=True, slots=True)
class Facts:
    """Size and SHA-256 of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One segment: `first` and `last` row id, `empty` the place of its first empty text, `files` by array name."""

    name: str
    rows: int
    first: int
    last: int
    empty: int | None
    files: Mapping[str, Facts]

    @property
    def nbytes(self) -> int:
        return sum(file.bytes for file in self.files.values())


@dataclass(frozen=True, slots=True)
class IndexManifest:
    """Scheme, banding and segments of an index. `next` numbers the next segment, `note` is the maker's own."""

    threshold: float
    bands: int
    size: int
    note: Mapping[str, Any]
    segments: tuple[SegmentFacts, ...] = ()
    next: int = 0
    scheme: str = SCHEME
    permutations: int = PERMUTATIONS
    format: int = FORMAT
    rows: int = 0

    def with_segments(self, segments: tuple[SegmentFacts, ...], *, following: int) -> IndexManifest:
        """The manifest of the same index with other segments."""
        return replace(self, segments=segments, rows=sum(one.rows for one in segments), next=following)


def new_manifest(threshold: float, note: Mapping[str, Any]) -> IndexManifest:
    """The manifest of an empty index. Raises UsageError for a wrong threshold, or a note that JSON cannot hold."""
    bands, size = banding(threshold)
    try:
        kept = json.loads(json.dumps(dict(note), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the index's note cannot be written as JSON: {error}", "use texts, numbers and lists"
        ) from error
    return IndexManifest(float(threshold), bands, size, kept)


def write_manifest(index: Path, manifest: IndexManifest) -> None:
    """Replace the manifest, durably. Raises StorageFull."""
    content = {field.name: getattr(manifest, field.name) for field in fields(manifest)}
    content["segments"] = [_plain(segment) for segment in manifest.segments]
    write_atomic(index / NAME, json.dumps({**content, "sha256": _digest(content)}, ensure_ascii=False) + "\n")


def read_manifest(index: Path) -> IndexManifest:
    """The manifest of the index in `index`.

    Raises UsageError where there is none or where it is of another scheme, IndexDamaged where it is not as written.
    """
    path = index / NAME
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not index.exists():
            raise UsageError(f"{index}: no such index", "give the directory of an index that was stored") from None
        hint = "give the directory of an index that was stored"
        raise UsageError(f"{index}: not an index of near-duplicates (it has no {NAME})", hint) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", "check the permissions") from error
    try:
        content = json.loads(raw)
        told = content.pop("sha256")
        format_, scheme = content["format"], content["scheme"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, "it is no manifest of an index") from error
    if _digest(content) != told:
        raise damaged(path, "its content does not match its digest")
    if format_ != FORMAT:
        hint = "use the version of text-data-factory that wrote it, or build it again from its texts"
        raise UsageError(f"{path}: format {format_}; this version reads format {FORMAT}", hint)
    if scheme != SCHEME:
        hint = "schemes are never mixed: build the index again from its texts"
        raise UsageError(f"{path}: its hashes are of the scheme `{scheme}`, this version's of `{SCHEME}`", hint)
    return _parsed(content, path)


def _parsed(content: dict[str, Any], path: Path) -> IndexManifest:
    try:
        segments = tuple(
            SegmentFacts(**{**one, "files": {name: Facts(**file) for name, file in one["files"].items()}})
            for one in content.pop("segments")
        )
        return IndexManifest(**content, segments=segments)
    except (TypeError, KeyError, AttributeError) as error:
        raise damaged(path, f"a part of it is missing or unknown ({error})") from error


def _plain(segment: SegmentFacts) -> dict[str, Any]:
    content = {field.name: getattr(segment, field.name) for field in fields(segment)}
    content["files"] = {name: {"bytes": file.bytes, "sha256": file.sha256} for name, file in segment.files.items()}
    return content


def _digest(content: Mapping[str, Any]) -> str:
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()
