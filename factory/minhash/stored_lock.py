"""One writer at a time in an index on disk: a lock that the system lets go of, however its holder dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from factory.errors import UsageError
from factory.files import storage_fault

_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN)
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def take_lock(index: Path) -> int:
    """Lock `index` for writing; returns a file descriptor whose closing lets go.

    Raises UsageError naming the holder where somebody else writes, StorageFull where the lock cannot be made.
    """
    path = index / "lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_fault(error, path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode() + b"\n", 0)
    except OSError as error:
        fault = _fault(error, index, handle)
        os.close(handle)
        raise fault from error
    return handle


def _fault(error: OSError, index: Path, handle: int) -> Exception:
    if error.errno in _BUSY:
        hint = "wait for it or stop it; reading works meanwhile"
        return UsageError(f"{index} is being written by {_holder(handle)}", hint)
    if error.errno in _UNSUPPORTED:
        return UsageError(f"{index}: this file system has no locks ({error.strerror})", "put the index elsewhere")
    return storage_fault(error, index / "lock")


def _holder(handle: int) -> str:
    try:
        found = json.loads(os.pread(handle, 4096, 0))
        return f"process {int(found['pid'])} on {found['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process that has just started"
