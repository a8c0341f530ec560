"""The one thread that writes to a journal file: it commits whatever is queued as soon as its last commit ends."""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.errors import FactoryError
from factory.files import is_storage_fault, storage_fault
from factory.journal.files import explain_fault, open_writer
from factory.journal.rows import (
    Lease,
    Stored,
    digest_fields,
    encode_entry,
    encode_lease,
    encode_stored,
    key_of,
    response_row,
    spent_by,
)
from factory.journal.wal import boot_id, format_mark, mark_path
from factory.types import LedgerEntry

BATCH = 2000  # writes a commit at most: bounds memory and the wait of the first of them

_ENTRY = f"INSERT INTO ledger VALUES ({', '.join('?' * 19)})"
_LEASE = f"INSERT OR REPLACE INTO leases VALUES (NULL, {', '.join('?' * 9)})"
_SETTLED = "DELETE FROM leases WHERE call_id = ? AND attempt = ?"
# The first usable response stands; a recorded failure is replaced by whatever was asked again after it.
_RESPONSE = f"""INSERT INTO responses VALUES (NULL, {", ".join("?" * 10)}) ON CONFLICT (call_id) DO UPDATE SET
    row = excluded.row, entry = excluded.entry, outcome = excluded.outcome, response = excluded.response,
    message = excluded.message, nano_usd = excluded.nano_usd, price_source = excluded.price_source,
    request = excluded.request, digest = excluded.digest WHERE responses.outcome <> 'ok'"""
_COMMITS = "UPDATE state SET commits = ?, digest = ?"


@dataclass(frozen=True, slots=True)
class Write:
    """One thing to commit: a lease, or an entry with the lease it settles and perhaps the call's final outcome."""

    lease: Lease | None = None
    entry: LedgerEntry | None = None
    settles: Lease | None = None
    stored: Stored | None = None
    waiter: asyncio.Future[None] | None = None
    done: Callable[[], None] | None = None


@dataclass(slots=True)
class _Batch:
    """The rows of one commit. A lease that is settled in the same commit is never written."""

    next_entry: int
    leases: dict[tuple[bytes, int], tuple[Any, ...]] = field(default_factory=dict)
    settled: list[tuple[bytes, int]] = field(default_factory=list)
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    responses: list[tuple[Any, ...]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    spent: int = 0

    def add(self, write: Write) -> None:
        """Encode one write. Raises what the encoding raises, before anything of it has joined the batch."""
        entry, stored, lease = write.entry, write.stored, write.lease
        entry_row = None if entry is None else encode_entry(entry)
        body = None if stored is None else encode_stored(stored)
        if lease is not None:
            row = encode_lease(lease)
            self.leases[(row[0], lease.attempt)] = row
        if write.settles is not None:
            key = (key_of(write.settles.call_id), write.settles.attempt)
            if self.leases.pop(key, None) is None:
                self.settled.append(key)
        if entry is not None and entry_row is not None:
            if stored is not None and body is not None:
                self.responses.append(response_row(key_of(stored.call_id), entry.row, self.next_entry, body))
            self.entries.append((self.next_entry, *entry_row))
            self.next_entry += 1
            self.spent += spent_by(entry.nano_usd, entry.upper_bound_nano_usd)
        self.writes.append(write)


class Writer:
    """Queue, thread and connection of one journal file. `spent`: nano-USD of the attempts it has committed."""

    def __init__(self, path: Path, network: str | None):
        self.path = path
        self.failure: FactoryError | None = None
        self.spent = 0
        self._told = False
        self._next_entry = 1
        self._commits = 0
        self._boot = boot_id()
        self._connection, self.logged = open_writer(path, network)
        try:
            self._mark = os.open(mark_path(path), os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError as error:
            self._connection.close()
            raise (storage_fault(error, path) if is_storage_fault(error) else error) from error
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"journal {path.name}", daemon=True)

    def recovered_frames(self) -> int:
        """How many frames of the log SQLite found whole. To be asked before the first write."""
        return max(0, self._checkpoint("PASSIVE")) if self.logged else 0

    def empty_log(self) -> None:
        """Move the log into the file and cut it to nothing, so that a later log starts with salts of its own."""
        if self.logged:
            self._checkpoint("TRUNCATE")

    def _checkpoint(self, mode: str) -> int:
        try:
            _, frames, _ = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            raise explain_fault(error, self.path) from error
        return int(frames)

    def start(self, first: Sequence[Write], *, next_entry: int, commits: int) -> None:
        """Commit `first`, note where the file stands, and start the thread. Raises StorageFull, JournalDamaged."""
        self._next_entry, self._commits = next_entry, commits
        batch = _Batch(next_entry)
        for write in first:
            batch.add(write)
        if first:
            self._commit(batch)
        self._write_mark()
        if self.failure is not None:
            self._told = True
            raise self.failure
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Queue one write. Raises the failure that stopped the writer, if one has."""
        if self.failure is not None:
            self._told = True
            raise self.failure
        self._queue.put(write)

    def close(self) -> None:
        """Commit what is queued, stop, close. Raises a failure that nobody has heard of."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        try:
            if self.failure is None:
                self.empty_log()
        except FactoryError as error:
            self.failure = error
        finally:
            self._connection.close()
            os.close(self._mark)
        if self.failure is not None and not self._told:
            self._told = True
            raise self.failure

    def _run(self) -> None:
        going = True
        while going:
            write = self._queue.get()
            taken: list[Write] = []
            while write is not None:
                taken.append(write)
                if len(taken) == BATCH or self._queue.empty():
                    break
                write = self._queue.get()
            going = write is not None
            if taken:
                self._tell(self._take(taken))

    def _take(self, taken: list[Write]) -> list[tuple[Write, Exception | None]]:
        """Commit these writes. Returns each with its own fault, or the writer's, or None."""
        if self.failure is not None:
            return [(write, self.failure) for write in taken]
        batch, faulty = _Batch(self._next_entry), list[tuple[Write, Exception | None]]()
        for write in taken:
            try:
                batch.add(write)
            except Exception as error:  # this one cannot be stored: its waiter hears it, the others go on
                faulty.append((write, error))
        failure = self._commit(batch) if batch.writes else None
        for write, fault in faulty:
            if write.waiter is None and self.failure is None:
                self.failure = FactoryError(f"{self.path}: cannot be stored: {fault}")
        return [*faulty, *((write, failure) for write in batch.writes)]

    def _commit(self, batch: _Batch) -> FactoryError | None:
        """One transaction. Whatever goes wrong stops the writer for good; what was committed stays acknowledged."""
        commits = self._commits + 1
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_LEASE, batch.leases.values())
            connection.executemany(_SETTLED, batch.settled)
            connection.executemany(_ENTRY, batch.entries)
            connection.executemany(_RESPONSE, batch.responses)
            connection.execute(_COMMITS, (commits, digest_fields((commits,))))
            connection.execute("COMMIT")
        except Exception as error:
            self.failure = self._stopped(error)
            return self.failure
        self._commits, self._next_entry = commits, batch.next_entry
        self.spent += batch.spent
        self._write_mark()
        return None

    def _stopped(self, error: Exception) -> FactoryError:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as second:  # the file is left to the recovery of the next start
                error.add_note(f"and the rollback failed: {second}")
        if isinstance(error, sqlite3.Error):
            return explain_fault(error, self.path)
        return FactoryError(f"{self.path}: the journal stopped: {type(error).__name__}: {error}")

    def _write_mark(self) -> None:
        try:
            os.pwrite(self._mark, format_mark(self._commits, self._boot), 0)
        except OSError as error:
            if self.failure is None:
                self.failure = storage_fault(error, mark_path(self.path))

    def _tell(self, results: list[tuple[Write, Exception | None]]) -> None:
        """Wake the waiters: one call into each event loop, whatever the number of them."""
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]] = {}
        for write, error in results:
            if write.done is not None and error is None:
                write.done()
            if write.waiter is not None:
                self._told = self._told or error is self.failure
                loops.setdefault(write.waiter.get_loop(), []).append((write.waiter, error))
        for loop, waiters in loops.items():
            if not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(_resolve, waiters)
                except RuntimeError as error:  # closed this very moment: then nobody waits
                    if not loop.is_closed():
                        raise error


def _resolve(waiters: list[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for waiter, error in waiters:
        if waiter.done():  # its task was cancelled; what it wrote is committed all the same
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
