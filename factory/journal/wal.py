"""What a crash left of a write-ahead log: read before SQLite recovers it, for recovery drops a torn tail in silence.

Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log. SQLite itself decides, by the checksums, how many
frames are whole; here is counted how many were written since the last reset (those with the header's salts). Beside
each journal file lies a mark, `00000.mark`: the number of the last acknowledged commit and the machine's boot id. It is
written without fsync, which a killed process survives and a power cut does not; so a mark of this boot tells exactly
whether an acknowledged commit is missing, and with one of another boot, or none, any torn tail is reported.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from factory.errors import UsageError

_HEADER = 32
_FRAME = 24
_MAGIC = (0x377F0682, 0x377F0683)
_MARK = "{commits:020d} {boot:<36}\n"
_MARK_BYTES = 58


@dataclass(frozen=True, slots=True)
class Tail:
    """A log as it lies on disk. `frames`: those with the salts of the header, a cut last one included; `size` in bytes.

    `header_whole` is False where the header itself is damaged: then SQLite ignores the whole log.
    """

    size: int
    frames: int
    frame_bytes: int
    header_whole: bool


def scan_log(path: Path) -> Tail:
    """Count what the log at `path` holds. A missing or empty log has no frames. Raises UsageError: not readable."""
    try:
        with path.open("rb", buffering=0) as log:
            size, header = os.fstat(log.fileno()).st_size, log.read(_HEADER)
            if not header:
                return Tail(0, 0, 0, True)
            page = _page_size(header)
            if page is None:
                return Tail(size, 0, 0, False)
            step, salts = _FRAME + page, header[16:24]
            starts = range(_HEADER, size, step)
            frames = sum(1 for start in starts if _has_salts(os.pread(log.fileno(), 16, start)[8:], salts))
            return Tail(size, frames, step, True)
    except FileNotFoundError:
        return Tail(0, 0, 0, True)
    except OSError as error:
        raise _unreadable(path, error) from error


def _has_salts(found: bytes, salts: bytes) -> bool:
    """Whether a frame was written since the last reset. One that is cut within its salts counts."""
    return found == salts[: len(found)]


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: cannot be read ({error.strerror})", "check the permissions")


def _page_size(header: bytes) -> int | None:
    """The page size of a whole log header, None for a damaged one."""
    if len(header) < _HEADER:
        return None
    words = struct.unpack(">8I", header)
    if words[0] not in _MAGIC:
        return None
    order = ">" if words[0] & 1 else "<"
    first = second = 0
    body = struct.unpack(f"{order}6I", header[:24])
    for even, odd in zip(body[::2], body[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return words[2] if (first, second) == words[6:] else None


@dataclass(frozen=True, slots=True)
class Mark:
    """The last acknowledged commit of a journal file, and the boot that wrote it."""

    commits: int
    boot: str


def boot_id() -> str:
    """Names this boot of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:36]
    except OSError:
        return ""


def log_path(journal_file: Path) -> Path:
    """Where SQLite keeps the write-ahead log of a journal file."""
    return journal_file.with_name(journal_file.name + "-wal")


def mark_path(journal_file: Path) -> Path:
    """Where the mark of a journal file lies."""
    return journal_file.with_suffix(".mark")


def read_mark(journal_file: Path) -> Mark | None:
    """The mark beside a journal file; None where there is none or it is not whole. Raises UsageError: not readable."""
    try:
        text = mark_path(journal_file).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(mark_path(journal_file), error) from error
    number, _, boot = text.rstrip("\n").partition(" ")
    if len(text) != _MARK_BYTES or not number.isdigit():
        return None
    return Mark(int(number), boot.strip())


def format_mark(commits: int, boot: str) -> bytes:
    """The bytes of a mark, always of one length, so that it is overwritten in place."""
    return _MARK.format(commits=commits, boot=boot).encode()


def describe_loss(journal_file: Path, tail: Tail, whole: int, mark: Mark | None, commits: int) -> str | None:
    """One sentence about what recovery dropped, None when that is nothing that anybody had been told was safe.

    `whole`: frames that SQLite recovered; `commits`: the last commit that the file now knows. A process that was merely
    killed may leave half a commit at the end of the log: nobody had been told of it, and it is not mentioned.
    """
    missing = max(0, mark.commits - commits) if mark else 0
    if not tail.header_whole:
        dropped, frames = tail.size, "its header is damaged, so all"
    else:
        count = max(0, tail.frames - whole)
        dropped = min(count * tail.frame_bytes, max(0, tail.size - _HEADER - whole * tail.frame_bytes))
        frames = f"{count} torn or unfinished frame{'' if count == 1 else 's'},"
    same_boot = mark is not None and mark.boot == boot_id()
    if not missing and (same_boot or not dropped):
        return None
    lost = ""
    if missing:
        lost = "; the last commit is missing" if missing == 1 else f"; the last {missing} commits are missing"
    return (
        f"{journal_file}: the write-ahead log was torn: {frames} {dropped} bytes dropped{lost}; "
        "those calls are asked again, and what they cost is not in the ledger"
    )
