"""The journal: what was asked, what came back and what it cost, each call exactly once, whatever kills the process.

A journal is a directory of SQLite files, one per writer (`00000.sqlite`, …); readers read them all. Before an attempt
is sent, a *lease* says that it may have been; when it ends, one transaction writes the ledger entry, removes the lease
and, where the call is decided, stores the response. A lease that a crash left behind becomes an attempt with outcome
`lost`. Every row carries a digest, so that a changed byte is an error that names it and never a wrong answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from factory.errors import FactoryError, JournalDamaged, UsageError, nearest
from factory.journal.files import JournalFile, create_file, damaged, network_filesystem
from factory.journal.rows import (
    ASSUMED,
    OK,
    REUSED,
    Lease,
    Stored,
    decode_entry,
    decode_lease,
    decode_stored,
    key_of,
    lost_entry,
    spent_by,
)
from factory.journal.wal import Mark, Tail, describe_loss, log_path, read_mark, scan_log
from factory.journal.writer import Write, Writer
from factory.types import LedgerEntry

__all__ = ["Journal", "Lease", "Stored"]

Notice = Callable[[str], None]
KNOWN_MOST = 2_000_000
"""Calls whose keys are held in memory (85 bytes each), so that a new call needs no look into the file."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What the last process left of one file: its log, how much of it is whole, and the last commit it acknowledged."""

    tail: Tail
    whole: int
    mark: Mark | None


class Journal:
    """All calls of a run. Made by `Journal.open`; to be closed, or used in a `with` block."""

    def __init__(self, files: Sequence[JournalFile], reused: Sequence[JournalFile], notice: Notice):
        self._files = tuple(files)
        self._reused = tuple(reused)
        self._notice = notice
        self._writer: Writer | None = None
        self._ask_failures_again = False
        self._adopting: dict[bytes, Stored] = {}
        self._leased: dict[str, int] = {}
        self._known: set[bytes] | None = None
        self._tried: dict[bytes, int] = {}
        self._spent_before: int | None = None
        self._told: set[str] = set()
        self.lost_at_open = 0

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        writable: bool,
        reuse: Sequence[Path] = (),
        notice: Notice,
        retry_failed: bool = False,
        writer: int = 0,
    ) -> Journal:
        """Open the journal in `directory` (`RUN/journal`), made if it is not there and `writable`.

        `reuse`: other runs or their journals; their usable responses are copied here on demand. `retry_failed`:
        outcomes other than "ok" that were recorded before now count as not asked. `writer`: the file to write.
        `notice` gets a sentence about whatever a user should know and that is no error.
        Raises JournalDamaged, StorageFull, UsageError.
        """
        path = directory / f"{writer:05d}.sqlite"
        if not writable:
            return cls._open_files(_existing(directory), reuse, notice)
        network = network_filesystem(directory)
        create_file(path)
        if network:
            notice(f"{directory} is on a network file system ({network}): the journal works without a write-ahead log")
        with contextlib.ExitStack() as undo:
            opened, left = _open_writer(path, network)
            undo.callback(opened.close)
            others = [other for other in _paths(directory) if other != path]
            journal = cls._open_files(others, reuse, notice)
            undo.callback(journal.close)
            own = JournalFile(path)
            journal._files = (own, *journal._files)
            journal._ask_failures_again = retry_failed
            journal._begin(own, opened, left)
            undo.pop_all()
        return journal

    @classmethod
    def _open_files(cls, paths: Sequence[Path], reuse: Sequence[Path], notice: Notice) -> Journal:
        with contextlib.ExitStack() as undo:
            files, reused = [], []
            for path in paths:
                mark = read_mark(path)
                files.append(JournalFile(path))
                undo.callback(files[-1].close)
                _tell_loss(files[-1], _Left(Tail(0, 0, 0, True), 0, mark), notice)
            for path in (found for run in reuse for found in _existing(_journal_of(run))):
                reused.append(JournalFile(path))
                undo.callback(reused[-1].close)
                _tell_damage(reused[-1], notice)
            undo.pop_all()
        return cls(files, reused, notice)

    def _begin(self, own: JournalFile, writer: Writer, left: _Left) -> None:
        """Check the own file, settle what a crash left open as lost, and start writing."""
        _tell_loss(own, left, self._notice)
        if own.is_small():
            own.check_structure()
            self._spent_before = _sum_spent(own)
        writer.empty_log()
        leases = list(_leases(own))
        lost = [Write(entry=lost_entry(lease), settles=lease) for lease in leases]
        self._known = own.keys(KNOWN_MOST)
        self._tried = own.failed_attempts()
        for lease in leases:
            self._note(key_of(lease.call_id), lease.attempt)
        writer.start(lost, next_entry=own.opened_at + 1, commits=own.commits())
        self._writer = writer
        self.lost_at_open = len(lost)

    def get(self, call_id: str, *, decided: bool = False) -> Stored | None:
        """What is known of a call, None when it must be asked. Copies a usable response from a reused journal.

        `decided`: recorded failures count, also where the journal was opened to ask them again.

        Raises JournalDamaged where the stored row is not what was written.
        """
        key = key_of(call_id)
        if (adopted := self._adopting.get(key)) is not None:
            return adopted
        failed = None
        for file in self._files[1 if self._is_new(key) else 0 :]:
            if (row := file.lookup(key)) is None:
                continue
            stored = decode_stored(row)
            if stored.outcome == OK:
                return stored
            if decided or not self._ask_failures_again or row[2] > file.opened_at or stored.outcome == ASSUMED:
                failed = failed or stored
        if failed is None and self._reused:
            return self._adopt(call_id, key)
        return failed

    def _adopt(self, call_id: str, key: bytes) -> Stored | None:
        """A usable response of a reused journal, copied into the own one with a ledger entry that costs nothing."""
        for file in self._reused:
            try:
                row = file.lookup(key)
                if row is None or row[3].decode() != OK:
                    continue
                paid = file.entry(row[2])
                if paid is None:
                    raise damaged(file.path, f"row {row[2]} of `ledger` (call {call_id}) is missing")
            except JournalDamaged as error:
                self._tell_once(f"--reuse: {error.message}; what cannot be read there is asked again")
                continue
            stored = decode_stored(row)
            if self._writer is not None:
                entry = replace(
                    decode_entry(paid),
                    attempt=self.next_attempt(call_id),
                    nano_usd=0,
                    upper_bound_nano_usd=None,
                    price_source=REUSED,
                    outcome=REUSED,
                    latency_s=None,
                    at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                )
                self._adopting[key] = stored
                self._remember(key)
                self._writer.submit(Write(entry=entry, stored=stored, done=lambda: self._adopted(key)))
            return stored
        return None

    def _adopted(self, key: bytes) -> None:
        self._adopting.pop(key, None)

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._notice(sentence)

    async def lease(self, lease: Lease, durable: bool) -> None:
        """Note that an attempt is about to be sent. With `durable` it is on the disk when this returns.

        Otherwise it is written with the next commit and not waited for. Raises StorageFull.
        """
        waiter = asyncio.get_running_loop().create_future() if durable else None
        self._leased[lease.call_id] = max(lease.attempt, self._leased.get(lease.call_id, 0))
        self._open_writer().submit(Write(lease=lease, waiter=waiter))
        if waiter is not None:
            await waiter

    async def settle(self, entry: LedgerEntry, lease: Lease | None, stored: Stored | None) -> None:
        """End an attempt: its ledger entry, its lease gone and, where the call is decided, what it came to.

        One transaction, on the disk when this returns. A usable response already stored for the call stands; a
        recorded failure is replaced. Raises StorageFull; then nothing of it is acknowledged.
        """
        waiter = asyncio.get_running_loop().create_future()
        key = key_of(entry.call_id)
        if stored is not None:
            self._remember(key)
        if entry.outcome not in (OK, REUSED):
            self._note(key, entry.attempt)
        self._open_writer().submit(Write(entry=entry, settles=lease, stored=stored, waiter=waiter))
        try:
            await waiter
        finally:
            if lease is not None:
                self._leased.pop(lease.call_id, None)

    async def flush(self) -> None:
        """Wait until all that was handed over is on the disk, adopted responses included. Raises StorageFull."""
        waiter = asyncio.get_running_loop().create_future()
        self._open_writer().submit(Write(waiter=waiter))
        await waiter

    def next_attempt(self, call_id: str) -> int:
        """The number of the next attempt at a call, counting from 1, lost attempts included."""
        key = key_of(call_id)
        asked = self._files[1 if self._is_new(key) else 0 :]
        known = max((file.last_attempt(key) for file in asked), default=0)
        return 1 + max(known, self._tried.get(key, 0), self._leased.get(call_id, 0))

    def _is_new(self, key: bytes) -> bool:
        """Whether the own file, which is the first, surely holds no outcome of this call. What it tried is `_tried`."""
        return self._known is not None and key not in self._known

    def _remember(self, key: bytes) -> None:
        if self._known is not None:
            self._known.add(key)
            if len(self._known) > KNOWN_MOST:
                self._known = None

    def _note(self, key: bytes, attempt: int) -> None:
        self._tried[key] = max(attempt, self._tried.get(key, 0))

    def entries(self, row: int | None = None) -> Iterator[LedgerEntry]:
        """The ledger, one entry an attempt, in the order of the commits; of one planned row where given.

        Raises JournalDamaged.
        """
        for file in self._files:
            for values in file.rows("ledger", row=row):
                yield decode_entry(values[1:])

    def calls(self, row: int | None = None) -> Iterator[Stored]:
        """Every decided call in the order in which they were decided; of one planned row where given."""
        for file in self._files:
            for values in file.rows("responses", row=row):
                stored = decode_stored(values[1:])
                yield replace(stored, request=dict(stored.request))

    def leases(self) -> Iterator[Lease]:
        """Attempts that may be in flight (or, where nobody writes, that the next start will record as lost)."""
        for file in self._files:
            yield from _leases(file)

    def spent_nano(self) -> int:
        """Nano-USD spent: every attempt at its cost, or at its upper bound where its cost is not known."""
        if self._writer is None:
            return sum(_sum_spent(file) for file in self._files)
        own, *others = self._files
        if self._spent_before is None:
            self._spent_before = _sum_spent(own, upto=own.opened_at)
        return self._spent_before + self._writer.spent + sum(_sum_spent(file) for file in others)

    def verify(self) -> int:
        """Check every page, index and row of every file. Returns the number of decided calls. Raises JournalDamaged."""
        calls = 0
        for file in self._files:
            file.check_structure()
            file.commits()
            entries = sum(1 for _ in _ledger(file))
            for values in file.rows("responses"):
                calls += 1
                len(decode_stored(values[1:]).request)
                if not 1 <= values[3] <= entries:
                    raise damaged(file.path, f"row {values[0]} of `responses` has no ledger entry")
            for _ in _leases(file):
                pass
        return calls

    def close(self) -> None:
        """Commit what is queued and let go of the files. Raises a writer's failure that nobody has been told."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                for file in self._files:
                    file.close()
                writer.close()
        finally:
            for file in (*self._files, *self._reused):
                file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise FactoryError("this journal is closed, or open for reading only")
        return self._writer


def _open_writer(path: Path, network: str | None) -> tuple[Writer, _Left]:
    """A writer that is not started, and what it found. The log is looked at before SQLite recovers it."""
    mark, tail = read_mark(path), scan_log(log_path(path))
    writer = Writer(path, network)
    try:
        return writer, _Left(tail, writer.recovered_frames(), mark)
    except FactoryError:
        writer.close()
        raise


def _tell_loss(file: JournalFile, left: _Left, notice: Notice) -> None:
    if sentence := describe_loss(file.path, left.tail, left.whole, left.mark, file.commits()):
        notice(sentence)


def _tell_damage(file: JournalFile, notice: Notice) -> None:
    try:
        if file.is_small():
            file.check_structure()
    except JournalDamaged as error:
        notice(f"--reuse: {error.message}; what cannot be read there is asked again")


def _paths(directory: Path) -> list[Path]:
    return sorted(directory.glob("[0-9]*.sqlite"))


def _existing(directory: Path) -> list[Path]:
    """The files of a journal that must be there."""
    if paths := _paths(directory):
        return paths
    raise UsageError(f"{directory}: there is no journal here", "give the directory of a run that has been started")


def _journal_of(run: Path) -> Path:
    """The journal directory of a run, or the path itself where it is one."""
    try:
        if (run / "journal").is_dir():
            return run / "journal"
        if _paths(run):
            return run
        near = nearest(run.name, (path.name for path in run.parent.glob("*") if (path / "journal").is_dir()))
    except OSError as error:
        raise UsageError(f"--reuse {run}: cannot be read ({error.strerror})", "check the permissions") from error
    raise UsageError(f"--reuse {run}: no run with a journal is there", near or "give the directory of a run")


def _leases(file: JournalFile) -> Iterator[Lease]:
    for values in file.rows("leases"):
        yield decode_lease(values[1:])


def _ledger(file: JournalFile, upto: int | None = None) -> Iterator[tuple[Any, ...]]:
    """The ledger rows of a file. Their ids have no gap, since none is ever removed. Raises JournalDamaged."""
    for expected, values in enumerate(file.rows("ledger", upto=upto), start=1):
        if values[0] != expected:
            raise damaged(file.path, f"row {expected} of `ledger` is missing")
        yield values


def _sum_spent(file: JournalFile, upto: int | None = None) -> int:
    spent = 0
    for values in _ledger(file, upto):
        spent += spent_by(values[11], values[12])
    return spent
