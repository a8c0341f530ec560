"""One journal file: its tables, how it is made, opened, read and checked, and what its faults mean."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from factory.errors import FactoryError, JournalDamaged, StorageFull, UsageError
from factory.files import is_storage_fault, storage_fault, sync_directory
from factory.journal.rows import digest_fields

APPLICATION_ID = 0x54444602  # "TDF" and the format's version
BUSY_SECONDS = 30.0
CHECK_BELOW = 512 * 1024 * 1024
PAGE = 500

SCHEMA = (
    "CREATE TABLE ledger (id INTEGER PRIMARY KEY, call_id BLOB NOT NULL, attempt INTEGER NOT NULL, row INTEGER,"
    " step TEXT NOT NULL, purpose TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER, cached_tokens INTEGER,"
    " completion_tokens INTEGER, reasoning_tokens INTEGER, nano_usd INTEGER, upper_bound_nano_usd INTEGER,"
    " price_source TEXT NOT NULL, outcome TEXT NOT NULL, latency_s REAL, at TEXT NOT NULL, gpu_seconds REAL,"
    " digest BLOB NOT NULL)",
    "CREATE INDEX ledger_failed ON ledger (call_id, attempt) WHERE outcome NOT IN ('ok', 'reused')",
    "CREATE TABLE responses (id INTEGER PRIMARY KEY, call_id BLOB NOT NULL, row INTEGER, entry INTEGER NOT NULL,"
    " outcome TEXT NOT NULL, response BLOB, message TEXT NOT NULL, nano_usd INTEGER, price_source TEXT NOT NULL,"
    " request BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE UNIQUE INDEX responses_call ON responses (call_id)",
    "CREATE INDEX responses_row ON responses (row)",
    "CREATE TABLE leases (id INTEGER PRIMARY KEY, call_id BLOB NOT NULL, attempt INTEGER NOT NULL, row INTEGER,"
    " step TEXT NOT NULL, purpose TEXT NOT NULL, model TEXT NOT NULL, upper_bound_nano INTEGER, at TEXT NOT NULL,"
    " digest BLOB NOT NULL)",
    "CREATE UNIQUE INDEX leases_call ON leases (call_id, attempt)",
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), commits INTEGER NOT NULL, digest BLOB NOT NULL)",
)
_LOOKUP = (
    "SELECT id, digest, call_id, row, entry, outcome, response, message, nano_usd, price_source, request"
    " FROM responses WHERE call_id = ?"
)
_HINT = (
    "restore the file from a copy; or run with a new --out and --reuse this run: "
    "what is sound is copied, the rest is asked again"
)
_FAILED = "SELECT max(attempt) FROM ledger WHERE call_id = ? AND outcome NOT IN ('ok', 'reused')"
_FAILED_ALL = "SELECT call_id, max(attempt) FROM ledger WHERE outcome NOT IN ('ok', 'reused') GROUP BY call_id"
_LEASED = "SELECT max(attempt) FROM leases WHERE call_id = ?"
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|lustre|ceph|glusterfs|gpfs|beegfs|ncpfs|orangefs|pvfs2|davfs"
    r"|fuse\.(?!fuseblk|ext\w*|ntfs\S*|overlay\S*|fuse-overlayfs|unionfs|mergerfs|encfs|gocryptfs|bindfs).*"
)
_Values = Sequence[Any] | Mapping[str, Any]
_STORAGE_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_PROTOCOL,
}
_DAMAGE_CODES = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


def damaged(path: Path, what: str) -> JournalDamaged:
    """The error for a journal file that is not as it was written."""
    return JournalDamaged(f"{path}: the journal is damaged: {what}", _HINT)


def damaged_row(path: Path, table: str, row: int, key: object) -> JournalDamaged:
    """The error for one row that does not match its digest."""
    call = key.hex() if isinstance(key, bytes) else repr(key)
    return damaged(path, f"row {row} of `{table}` (call {call}) does not match its digest, a stored byte has changed")


def explain_fault(error: sqlite3.Error, path: Path) -> FactoryError:
    """SQLite's error as ours: StorageFull where the disk does not take it, JournalDamaged where the file is unsound."""
    if isinstance(error, sqlite3.ProgrammingError):
        return FactoryError(f"{path}: {error}")
    code = getattr(error, "sqlite_errorcode", None) or 0
    if code in _DAMAGE_CODES or code & 0xFF not in _STORAGE_CODES:
        return damaged(path, str(error))
    if code & 0xFF == sqlite3.SQLITE_FULL:
        what, hint = "the disk is full", "free some space"
    elif code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        what, hint = "another program keeps the journal locked", "close what has it open"
    else:
        what, hint = f"cannot write ({error})", "check the disk and the permissions, or choose another place with --out"
    return StorageFull(f"{path}: {what}", f"{hint}; then run the same command again: nothing is paid twice")


def network_filesystem(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that holds `path`, None for a local one (or where that cannot be told)."""
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(errors="replace")
        except OSError:
            return None
    where = path.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[1]))
        if where.is_relative_to(point) and len(point.parts) >= best:  # the later of two mounts on one point is on top
            best, kind = len(point.parts), fields[2]
    return kind if _NETWORK.fullmatch(kind) else None


def create_file(path: Path) -> None:
    """A new, empty journal file where there is none: whole or not there, whenever the machine stops.

    Raises StorageFull, UsageError.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO state VALUES (1, 0, ?)", (digest_fields((0,)),))
        handle = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
        sync_directory(path.parent)
    except sqlite3.Error as error:
        raise explain_fault(error, path) from error
    except OSError as error:
        if is_storage_fault(error):
            raise storage_fault(error, path) from error
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            raise UsageError(f"{path.parent}: a file is in the place of the journal's directory", "move it") from error
        raise


def connect(target: str, *, uri: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode. Text comes as bytes: a changed byte must reach the digest, not a decoder."""
    connection = sqlite3.connect(
        target, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64, uri=uri
    )
    connection.text_factory = bytes
    return connection


def open_writer(path: Path, network: str | None) -> tuple[sqlite3.Connection, bool]:
    """A connection that may write, and whether it uses a write-ahead log. Every commit is durable when it returns."""
    try:
        connection = connect(str(path))
        if network:  # a log needs memory shared between processes, which exists on one machine only
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        (mode,) = connection.execute(f"PRAGMA journal_mode = {'DELETE' if network else 'WAL'}").fetchone()
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        logged = mode.lower() == b"wal"
        # EXTRA syncs the directory too, without which a deleted rollback journal may come back after a power cut.
        connection.execute(f"PRAGMA synchronous = {'FULL' if logged else 'EXTRA'}")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        connection.execute("PRAGMA cache_size = -32000")  # the index over random keys outgrows the usual 2 MB
        connection.execute("PRAGMA cache_spill = OFF")
    except sqlite3.Error as error:
        raise explain_fault(error, path) from error
    return connection, logged


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raises JournalDamaged or UsageError unless the file is a journal of this format."""
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        found = {row[0].decode(errors="replace") for row in connection.execute("SELECT sql FROM sqlite_schema")}
    except sqlite3.Error as error:
        raise explain_fault(error, path) from error
    if found == set(SCHEMA) and application == APPLICATION_ID:
        return
    if application >> 8 == APPLICATION_ID >> 8 and application != APPLICATION_ID and found != set(SCHEMA):
        hint = "use the version that wrote it, or a new --out"
        raise UsageError(f"{path}: written by another version of the factory (format {application & 0xFF})", hint)
    raise damaged(path, "its tables are not those of a journal")


class JournalFile:
    """One file, opened for reading. Safe to use from several threads; never blocks a writer for long."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._connection = self._connect()
        check_schema(self._connection, path)
        self.opened_at = int(self._one("SELECT max(id) FROM ledger") or 0)

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._probe(f"{self.path.resolve().as_uri()}?mode=ro")
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or not self.path.exists():
                raise explain_fault(error, self.path) from error
        return self._connect_copy()

    def _connect_copy(self) -> sqlite3.Connection:
        """Read a copy: a log that must be recovered first cannot be where nothing may be written."""
        self._copy = tempfile.TemporaryDirectory(prefix="factory-journal-")
        target = Path(self._copy.name) / self.path.name
        try:
            for suffix in ("", "-wal", "-journal"):
                source = self.path.with_name(self.path.name + suffix)
                if source.exists():
                    shutil.copyfile(source, target.with_name(target.name + suffix))
            return self._probe(target.resolve().as_uri())
        except sqlite3.Error as error:
            raise explain_fault(error, self.path) from error
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read ({error.strerror})", "check the permissions") from error

    @staticmethod
    def _probe(uri: str) -> sqlite3.Connection:
        connection = connect(uri, uri=True)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _all(self, sql: str, values: _Values = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain_fault(error, self.path) from error

    def _one(self, sql: str, values: _Values = ()) -> Any:
        rows = self._all(sql, values)
        return rows[0][0] if rows else None

    def lookup(self, key: bytes) -> tuple[Any, ...] | None:
        """The response row of a call after its id, checked; None where there is none. Raises JournalDamaged."""
        rows = self._all(_LOOKUP, (key,))
        if not rows:
            return None
        number, digest, *values = rows[0]
        values[0] = key
        if digest_fields(values) != digest:
            raise damaged_row(self.path, "responses", number, key)
        return tuple(values)

    def entry(self, number: int) -> tuple[Any, ...] | None:
        """The ledger row with this id after its id, checked; None where there is none."""
        rows = self._all("SELECT * FROM ledger WHERE id = ?", (number,))
        return self._checked("ledger", rows[0])[1:] if rows else None

    def rows(self, table: str, *, row: int | None = None, upto: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Every row of `table` in the order of its id (first field), checked; of one planned row, or up to an id."""
        where = "" if row is None else " AND row = :row"
        where += "" if upto is None else " AND id <= :upto"
        sql = f"SELECT * FROM {table} WHERE id > :last{where} ORDER BY id LIMIT {PAGE}"
        last = 0
        while page := self._all(sql, {"last": last, "row": row, "upto": upto}):
            for values in page:
                yield self._checked(table, values)
            last = page[-1][0]

    def _checked(self, table: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if digest_fields(values[1:-1]) != values[-1]:
            raise damaged_row(self.path, table, values[0], values[1])
        return values[:-1]

    def last_attempt(self, key: bytes) -> int:
        """The highest attempt number that this file knows of a call, 0 for none."""
        found = [self._one(_FAILED, (key,)), self._one(_LEASED, (key,))]
        if self._one("SELECT 1 FROM responses WHERE call_id = ? AND outcome = 'ok'", (key,)):
            found.append(self._one("SELECT max(attempt) FROM ledger WHERE call_id = ?", (key,)))
        return max((number for number in found if number is not None), default=0)

    def keys(self, most: int) -> set[bytes] | None:
        """The keys of all decided calls; None where there are more than `most`."""
        if (self._one("SELECT max(id) FROM responses") or 0) > most:
            return None
        return {key for (key,) in self._all("SELECT call_id FROM responses")}

    def failed_attempts(self) -> dict[bytes, int]:
        """By call, the highest number of an attempt that brought no answer."""
        return dict(self._all(_FAILED_ALL))

    def commits(self) -> int:
        """The number of the last commit, checked."""
        rows = self._all("SELECT commits, digest FROM state")
        if len(rows) != 1 or digest_fields(rows[0][:1]) != rows[0][1]:
            raise damaged(self.path, "its count of commits does not match its digest, a stored byte has changed")
        return int(rows[0][0])

    def check_structure(self) -> None:
        """SQLite's own check of pages and indexes, so that none hides a call. Raises JournalDamaged."""
        (found,) = self._all("PRAGMA integrity_check(1)")[0]
        if found != b"ok":
            raise damaged(self.path, found.decode(errors="replace").replace("\n", " ")[:300])

    def is_small(self) -> bool:
        """True where checking the whole file costs a second or two at most."""
        return self.path.stat().st_size < CHECK_BELOW

    def close(self) -> None:
        with self._lock:
            self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()
