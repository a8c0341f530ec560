"""Small file operations that survive a crash at any moment."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from factory.errors import StorageFull

_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG}


def storage_fault(error: OSError, path: Path | str) -> StorageFull:
    """The error for a disk that is full or cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "the disk is full" if full else f"cannot write ({error.strerror or error})"
    hint = "free some space" if full else "check the permissions, or choose another place with --out"
    return StorageFull(f"{path}: {what}", f"{hint}; then run the same command again: nothing is paid twice")


def is_storage_fault(error: OSError) -> bool:
    """True for errors that mean 'this disk does not take it'."""
    return error.errno in _STORAGE


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Replace `path` in one step: a reader sees the old bytes or the new ones. Raises StorageFull."""
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            handle.write(raw)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        os.replace(temporary, path)
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        if is_storage_fault(error):
            raise storage_fault(error, path) from error
        raise


def swap_directory(new: Path, target: Path) -> None:
    """Put `new` in the place of `target` by two renames; `repair_directory` finishes what a crash left undone."""
    old = target.with_name(f".{target.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if target.exists():
        os.rename(target, old)
    os.rename(new, target)
    sync_directory(target.parent)
    if old.exists():
        shutil.rmtree(old)


def repair_directory(target: Path) -> None:
    """After a crash inside `swap_directory`: bring back the old directory, or drop it when the new one is there."""
    old = target.with_name(f".{target.name}.old")
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old)
    else:
        os.rename(old, target)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    hasher = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()
