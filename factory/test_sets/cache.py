"""What is kept on this machine: the rows of test sets, and their indexes. Safe with several processes at once.

CACHE/test_sets/NAME.jsonl.gz     a line of facts, then a line for each row
CACHE/indexes/NAME-<key>/         an index of `factory.decontamination`, with `source.json`
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from factory.decontamination.types import TestRow, TestSet
from factory.errors import FactoryError, UsageError
from factory.files import is_storage_fault, storage_fault, sync_directory
from factory.types import canonical_json

FORMAT = 1
INDEX_FACTS = ("name", "rows", "code", "source", "private", "sha", "scheme")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}(?::[A-Za-z0-9._ -]{1,60})?")


@dataclass(frozen=True, slots=True)
class Cached:
    """A test set that is here. `indexed`: an index of exactly these rows is here too; `bytes` counts both."""

    name: str
    rows: int
    code: bool
    source: str
    private: bool
    indexed: bool
    bytes: int
    sha: str = field(repr=False, default="")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def cache_dir() -> Path:
    """Where test sets are kept: FACTORY_CACHE, else the platform's place for caches (XDG_CACHE_HOME, ~/.cache, …)."""
    if given := os.environ.get("FACTORY_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "text-data-factory"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "text-data-factory" / "cache"
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    return base / "text-data-factory"


def check_name(name: str) -> str:
    """The name, when it can be one. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` is no name for a test set", "letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
        )
    return name


def slug(name: str) -> str:
    """A name as a file's name."""
    return re.sub(r"[^a-z0-9._-]", "_", name.lower().replace(":", "__").replace("/", "--"))


def rows_sha(test_set: TestSet) -> str:
    """The hash of what a test set holds (hex): its rows and whether they are code; its name does not count."""
    hasher = hashlib.sha256(f"{FORMAT} {test_set.code}\n".encode())
    for row in test_set.rows:
        hasher.update(canonical_json(asdict(row)).encode() + b"\n")
    return hasher.hexdigest()


def store_rows(test_set: TestSet, *, source: str, private: bool, map_sha: str = "") -> str:
    """Keep a test set's rows under its name, in place of what was there; their hash.

    `map_sha`: the hash of the field map that made them. Raises StorageFull.
    """
    sha = rows_sha(test_set)
    facts = {"format": FORMAT, "name": test_set.name, "rows": len(test_set.rows), "code": test_set.code,
             "source": source, "private": private, "sha": sha, "map": map_sha}  # fmt: skip
    lines = [canonical_json(facts), *(canonical_json(asdict(row)) for row in test_set.rows)]
    raw = gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=6, mtime=0)
    path = _rows_path(test_set.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".rows-", dir=path.parent)  # a name of its own for each process
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise _storage(error, path) from error
    return sha


def stored_facts(name: str) -> Mapping[str, Any] | None:
    """What is known of the rows kept under this name, without reading them; None where there are none."""
    path = _rows_path(name)
    return _read_facts(path) if path.is_file() else None


def read_stored(name: str) -> TestSet:
    """The rows kept under this name. Raises UsageError for a damaged file."""
    path = _rows_path(name)
    facts = _read_facts(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            next(file)
            rows = tuple(_test_row(json.loads(line)) for line in file)
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error) as error:
        raise _damaged(path, error) from error
    test_set = TestSet(name=str(facts["name"]), rows=rows, code=bool(facts["code"]))
    if len(rows) != facts["rows"] or rows_sha(test_set) != facts["sha"]:
        raise _damaged(path, ValueError("its rows are not those that were written"))
    return test_set


def _test_row(given: dict[str, Any]) -> TestRow:
    return TestRow(**{**given, "choices": tuple(given["choices"]), "turns": tuple(given["turns"])})


def _read_facts(path: Path) -> Mapping[str, Any]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            facts = json.loads(next(file, ""))
        if facts["format"] != FORMAT:
            raise UsageError(f"{path}: written by another version of the factory", "delete it, and build it again")
        return dict(facts)
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{path}: a damaged file of the cache ({error})", "delete it, then `factory benchmarks index NAME`"
    )


def _rows_path(name: str) -> Path:
    return cache_dir() / "test_sets" / f"{slug(name)}.jsonl.gz"


def index_path(name: str, key: str) -> Path:
    """Where the index of a source with this key (hex) is, or would be."""
    return cache_dir() / "indexes" / f"{slug(name)}-{key[:16]}"


def store_index(path: Path, save: Callable[[Path], None], facts: Mapping[str, Any], *, replace: bool) -> None:
    """Let `save` write an index beside `path` and put it there in one step.

    Where another process was faster its index stays, unless `replace`. Raises StorageFull.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            save(work / "index")
            (work / "index" / "source.json").write_text(canonical_json(facts), encoding="utf-8")
            if replace and path.exists():
                _move_away(path, work / "old")
            _put(work / "index", path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        sync_directory(path.parent)
    except OSError as error:
        raise _storage(error, path) from error


def _move_away(path: Path, to: Path) -> None:
    try:
        os.rename(path, to)
    except FileNotFoundError:
        return  # another process replaces it as well


def _put(new: Path, path: Path) -> None:
    try:
        os.rename(new, path)
    except OSError:
        if not (path / "source.json").is_file():
            raise
        # another process has put its index there meanwhile: it is the same one


def index_facts(path: Path) -> Mapping[str, Any] | None:
    """The facts beside an index; None where there is no whole index."""
    try:
        facts = dict(json.loads((path / "source.json").read_text(encoding="utf-8")))
        return {key: facts[key] for key in INDEX_FACTS}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: a damaged index ({error})", "delete the folder; it is built again") from error


def cached() -> list[Cached]:
    """The test sets that are kept here, by name; those of which only an index is here too."""
    indexes: dict[str, list[tuple[Path, Mapping[str, Any]]]] = {}
    for path in sorted((cache_dir() / "indexes").glob("*-*")):
        if not path.name.startswith(".") and (facts := index_facts(path)) is not None:
            indexes.setdefault(str(facts["name"]), []).append((path, facts))
    found = []
    for path in sorted((cache_dir() / "test_sets").glob("*.jsonl.gz")):
        facts = _read_facts(path)
        mine = indexes.pop(str(facts["name"]), [])
        fresh = any(one["sha"] == facts["sha"] for _, one in mine)
        found.append(_cached(facts, fresh, path.stat().st_size + sum(_size(at) for at, _ in mine)))
    for same in indexes.values():
        found += [_cached(facts, True, _size(path)) for path, facts in same[-1:]]
    return sorted(found, key=lambda one: one.name)


def _cached(facts: Mapping[str, Any], indexed: bool, size: int) -> Cached:
    return Cached(
        name=str(facts["name"]),
        rows=int(facts["rows"]),
        code=bool(facts["code"]),
        source=str(facts["source"]),
        private=bool(facts.get("private")),
        indexed=indexed,
        bytes=size,
        sha=str(facts["sha"]),
    )


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _storage(error: OSError, path: Path) -> FactoryError:
    if is_storage_fault(error):
        fault = storage_fault(error, path)
        fault.hint = "FACTORY_CACHE names another folder for test sets and their indexes"
        return fault
    return UsageError(f"{path}: cannot write ({error.strerror or error})", "FACTORY_CACHE names another folder")
