"""One process at a time in a run directory: a lock that the system lets go of, however its holder dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from factory.errors import RunDirError
from factory.files import is_storage_fault, storage_fault

_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN)
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_TRIES = 5
_PAUSE = 0.05  # seconds between tries: `holder` of another process takes the lock for some microseconds


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a run directory. `start` is ISO 8601, UTC."""

    host: str
    pid: int
    start: str


@contextmanager
def hold(run_dir: Path) -> Iterator[Holder]:
    """Hold `run_dir` (made if it is not there) for the length of a `with` block.

    Raises RunDirError naming the holder where another process, or another run of this one, has it: nothing is changed
    then. Raises StorageFull where the lock cannot be written.
    """
    handle = _open(run_dir)
    try:
        if not _take(handle, run_dir):
            raise _in_use(run_dir, _read(handle))
        if not _is_there(handle, run_dir):
            raise RunDirError(f"{run_dir}: its lock was removed this very moment", "run the same command again")
        me = Holder(socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat(timespec="seconds"))
        try:
            text = json.dumps(asdict(me)).encode() + b"\n"
            os.ftruncate(handle, 0)
            os.pwrite(handle, text, 0)
        except OSError as error:
            if is_storage_fault(error):
                raise storage_fault(error, run_dir / "lock") from error
            raise
        yield me
    finally:
        os.close(handle)  # which lets go of the lock


def holder(run_dir: Path) -> Holder | None:
    """Who holds `run_dir` now, None for nobody. Changes nothing."""
    try:
        handle = os.open(run_dir / "lock", os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if _flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB, run_dir):
            return None
        return _read(handle) or Holder("unknown host", 0, "just now")
    finally:
        os.close(handle)


def _open(run_dir: Path) -> int:
    path = run_dir / "lock"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise RunDirError(f"{error.filename}: not what a run directory needs there", "choose another --out") from error
    except OSError as error:  # whatever the system says: a directory that cannot be made or written
        raise storage_fault(error, path) from error


def _take(handle: int, run_dir: Path) -> bool:
    for left in range(_TRIES - 1, -1, -1):
        if _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, run_dir):
            return True
        if left:
            time.sleep(_PAUSE)
    return False


def _is_there(handle: int, run_dir: Path) -> bool:
    """False when the locked file is no longer the one that others would find."""
    try:
        return os.path.samestat(os.fstat(handle), (run_dir / "lock").stat())
    except FileNotFoundError:
        return False


def _flock(handle: int, operation: int, run_dir: Path) -> bool:
    """True when the lock was taken, False when somebody has it."""
    try:
        fcntl.flock(handle, operation)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno in _UNSUPPORTED:
            what = f"{run_dir}: this file system has no locks ({error.strerror})"
            raise RunDirError(what, "choose another place with --out") from error
        raise
    return True


def _read(handle: int) -> Holder | None:
    """What the lock file says, None while its holder has not written yet."""
    try:
        found = json.loads(os.pread(handle, 4096, 0))
        return Holder(str(found["host"]), int(found["pid"]), str(found["start"]))
    except (ValueError, KeyError, TypeError):
        return None


def _in_use(run_dir: Path, found: Holder | None) -> RunDirError:
    if found is None:
        who = "another process that has just started"
    else:
        who = f"process {found.pid} on {found.host} since {found.start}"
    hint = "wait for it, stop it, or choose another --out; `factory status` shows where it stands"
    return RunDirError(f"{run_dir} is in use by {who}", hint)
