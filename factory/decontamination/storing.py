"""An index as a directory: one .npy file an array (memory-mapped), questions, and a manifest, written last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from factory.decontamination.index import BenchmarkIndex
from factory.decontamination.types import SCHEME
from factory.errors import UsageError
from factory.files import is_storage_fault, repair_directory, storage_fault, swap_directory, write_atomic

MANIFEST = "manifest.json"
_KIND = "text-data-factory benchmark index"


def save_index(index: BenchmarkIndex, path: Path | str) -> None:
    """Write the index to a directory, in the place of an index that is there. Raises UsageError, StorageFull."""
    target = Path(path)
    if target.exists() and not is_index(target) and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists and is no benchmark index", "choose another directory")
    new = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if new.exists():
            shutil.rmtree(new)
        new.mkdir()
        for name, array in index.arrays.items():
            np.save(new / f"{name}.npy", np.asarray(array), allow_pickle=False)
        write_atomic(new / "questions.json", json.dumps(list(index.questions), ensure_ascii=False), durable=False)
        write_atomic(new / MANIFEST, json.dumps(_manifest(index), indent=1, ensure_ascii=False))
        swap_directory(new, target)
    except OSError as error:
        if is_storage_fault(error):
            raise storage_fault(error, target) from error
        raise


def _manifest(index: BenchmarkIndex) -> dict[str, Any]:
    return {
        "kind": _KIND,
        "scheme": SCHEME,
        "name": index.name,
        "code": index.code,
        "rows": len(index.rows),
        "row_numbers": None if index.rows == tuple(range(len(index.rows))) else list(index.rows),
        "thresholds": index.thresholds,
        "facts": dict(index.facts),
        "arrays": {name: int(np.asarray(array).size) for name, array in index.arrays.items()},
    }


def is_index(path: Path | str) -> bool:
    """True for a directory that `save_index` wrote."""
    manifest = Path(path) / MANIFEST
    return manifest.is_file() and _KIND in manifest.read_text(encoding="utf-8", errors="replace")


def open_index(path: Path | str) -> BenchmarkIndex:
    """The index in a directory, its arrays memory-mapped. Raises UsageError where there is none, or another scheme."""
    target = Path(path)
    repair_directory(target)
    manifest = read_manifest(target)
    arrays: dict[str, Any] = {}
    for name, size in manifest["arrays"].items():
        try:
            held = np.load(target / f"{name}.npy", mmap_mode="r" if size else None, allow_pickle=False)
            arrays[name] = np.asarray(held)  # still the mapped file, without the class that makes every slice slow
        except (OSError, ValueError) as error:
            raise UsageError(f"{target}: `{name}.npy` cannot be read ({error})", "build the index again") from error
        if arrays[name].size != size:
            raise UsageError(f"{target}: `{name}.npy` holds {arrays[name].size} values, not {size}", "build it again")
    rows = manifest["row_numbers"]
    return BenchmarkIndex(
        manifest["name"],
        manifest["code"],
        tuple(range(manifest["rows"])) if rows is None else tuple(rows),
        arrays,
        manifest["thresholds"],
        manifest["facts"],
        json.loads((target / "questions.json").read_text(encoding="utf-8")),
    )


def read_manifest(path: Path | str) -> dict[str, Any]:
    """The manifest alone: name, counts, thresholds, facts. Raises UsageError where it is none of ours, or another
    scheme's."""
    target = Path(path)
    if not is_index(target):
        raise UsageError(f"{target} is no benchmark index", "build one from the benchmark's file")
    try:
        manifest: dict[str, Any] = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"{target}: the manifest is damaged ({error})", "build the index again") from error
    if manifest.get("scheme") != SCHEME:
        raise UsageError(
            f"{target}: the index was built with scheme `{manifest.get('scheme')}`, this version reads `{SCHEME}`",
            "build the index again from the benchmark's rows: indexes of two schemes cannot be mixed",
        )
    return manifest
