"""Indexes of test sets: taken from the cache where source and scheme are the same, else built and kept there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError
from factory.files import sha256_file
from factory.test_sets.cache import cache_dir, index_facts, index_path, rows_sha, store_index, stored_facts
from factory.test_sets.entries import Fields, find_if_known
from factory.test_sets.fetching import elsewhere
from factory.test_sets.reading import Located, Spec, locate, read_located, source_key

if TYPE_CHECKING:
    from factory.decontamination import BenchmarkIndex, TestSet

Notice = Callable[[str], None]


def index_of(
    spec: Spec, base: Path, *, build: bool = True, notice: Notice = lambda told: None, progress: Notice | None = None
) -> BenchmarkIndex:
    """The index of a test set: out of the cache when its rows and the scheme are unchanged, else built and kept.

    `spec` as for `read_test_set`. `build=False`: what is not in the cache is an error. Raises UsageError as
    `read_test_set`, StorageFull where the cache cannot be written.
    """
    return open_or_build(locate(spec, base), build=build, notice=notice, progress=progress)[0]


@dataclass(frozen=True, slots=True)
class Indexed:
    """Where an index lies, how many rows and bytes it has, and whether it was built just now."""

    name: str
    path: Path
    rows: int
    bytes: int
    built: bool
    source: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "path": str(self.path), "rows": self.rows, "bytes": self.bytes, "built": self.built,
                "source": self.source}  # fmt: skip


def open_or_build(
    located: Located,
    *,
    build: bool = True,
    rebuild: bool = False,
    notice: Notice = lambda told: None,
    progress: Notice | None = None,
) -> tuple[BenchmarkIndex, Indexed]:
    """As `index_of`, with the facts. `rebuild`: build it again although it is there."""
    from factory.decontamination import open_index

    scheme = _scheme()
    key = _key(source_key(located), scheme)
    mapped = located.entry is None and located.fields != Fields()  # an index of other fields is another index
    path = index_path(located.name, key) if key else None if mapped else _by_name(located.name, scheme)
    facts = None if path is None or rebuild else index_facts(path)
    if path is not None and facts is not None:
        return open_index(path), _told(path, facts, built=False)
    if not build:
        raise UsageError(f"`{located.name}` is not indexed here", _how_to_build(located))
    test_set = read_located(located, notice)
    path = index_path(located.name, _key(source_key(located), scheme))
    made = {
        "name": located.name,
        "rows": len(test_set.rows),
        "code": test_set.code,
        "source": _source(located),
        "private": not located.hub and find_if_known(located.name) is None,
        "sha": rows_sha(test_set),
        "scheme": scheme,
    }
    _build(test_set, path, made, rebuild=rebuild, progress=progress)
    return open_index(path), _told(path, made, built=True)


def _build(test_set: TestSet, path: Path, facts: Mapping[str, Any], *, rebuild: bool, progress: Notice | None) -> None:
    from factory.decontamination import build_index, save_index

    built = build_index(test_set, progress=progress)
    store_index(path, lambda place: save_index(built, place), facts, replace=rebuild)


def _scheme() -> str:
    """What an index hangs on beside its rows: how texts are compared, and the corpus that sets the thresholds."""
    from factory.decontamination.neutral import FILE
    from factory.decontamination.types import SCHEME

    return f"{SCHEME} neutral-{sha256_file(FILE)[:12]}"


def _key(source: str, scheme: str) -> str:
    return hashlib.sha256(f"{source} {scheme}".encode()).hexdigest() if source else ""


def _by_name(name: str, scheme: str) -> Path | None:
    """An index of this name whose rows are not here: a copied cache may hold only that."""
    for path in sorted((cache_dir() / "indexes").glob(index_path(name, "*").name)):
        facts = index_facts(path)
        if facts is not None and facts["name"] == name and facts["scheme"] == scheme:
            return path
    return None


def _source(located: Located) -> str:
    """Where the rows came from: the files, the Hub, or what is noted beside the rows that are kept."""
    kept = None if located.files else stored_facts(located.name)
    return located.source if kept is None else str(kept["source"])


def _told(path: Path, facts: Mapping[str, Any], *, built: bool) -> Indexed:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Indexed(str(facts["name"]), path, int(facts["rows"]), size, built, str(facts["source"]))


def _how_to_build(located: Located) -> str:
    if located.files or located.stored:
        return f"factory benchmarks index {located.files[0] if located.files else located.name}"
    return f"factory benchmarks index {located.name}; without a network: {elsewhere(located.name)}"


def drop_stale(indexed: Indexed) -> list[Path]:
    """Remove the indexes that this one has replaced: of the same rows' earlier state. What was removed.

    Two files of the same name in different places keep an index each.
    """
    kept = stored_facts(indexed.name) is not None
    gone = []
    for path in sorted(indexed.path.parent.glob("*-*")):
        facts = index_facts(path)
        if path == indexed.path or facts is None or facts["name"] != indexed.name:
            continue
        if kept or facts["source"] == indexed.source:
            shutil.rmtree(path)
            gone.append(path)
    return gone
