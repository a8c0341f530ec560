"""The journal under kill -9, a power cut, a torn log and changed bytes: what was acknowledged is there or is told."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from journal_calls import make_call, same

from factory.errors import FactoryError, JournalDamaged
from factory.journal import Journal
from factory.journal.rows import digest_fields
from factory.journal.wal import mark_path, scan_log

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
FILE = "00000.sqlite"


@dataclass(frozen=True)
class Said:
    """What the process said before it was killed: calls settled, calls whose lease was durable, notices."""

    settled: set[int]
    leased: set[int]
    notices: list[str]


def run_and_kill(directory: Path, first: int, workers: int, after: int, *options: str, **environment: str) -> Said:
    """Let a process make calls, and kill -9 it when it has said `after` things."""
    command = [sys.executable, str(HERE / "journal_calls.py"), str(directory), str(first), str(workers), *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**ENVIRONMENT, **environment})
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line.decode())
        if len(lines) == after:
            child.send_signal(signal.SIGKILL)  # what it says until then is read too
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL, lines[-3:]
    words = [line.split(maxsplit=1) for line in lines if line.endswith("\n")]
    return Said(
        {int(rest) for word, rest in words if word == "ack"},
        {int(rest) for word, rest in words if word == "leased"},
        [rest for word, rest in words if word == "notice"],
    )


def present(journal: Journal, numbers: set[int]) -> set[int]:
    """Which of these calls the journal replays; each must be exactly what was stored."""
    found = set()
    for number in numbers:
        lease, _, stored = make_call(number)
        if (got := journal.get(lease.call_id)) is not None:
            assert same(got, stored)
            found.add(number)
    return found


def check(directory: Path, said: Said) -> list[str]:
    """Open for writing: everything acknowledged is there, accounts balance. Returns the notices."""
    notices: list[str] = []
    with Journal.open(directory, writable=True, notice=notices.append) as journal:
        assert present(journal, said.settled) == said.settled
        journal.verify()
        entries = list(journal.entries())
        calls = list(journal.calls())
        seen = {(entry.call_id, entry.attempt) for entry in entries}
        assert len(seen) == len(entries), "an attempt stands twice in the ledger"
        assert {call.call_id for call in calls} == {entry.call_id for entry in entries if entry.outcome == "ok"}
        assert {make_call(number)[0].call_id for number in said.leased} <= {call_id for call_id, _ in seen}
        paid = sum(entry.nano_usd or 0 for entry in entries)
        lost = sum(entry.upper_bound_nano_usd or 0 for entry in entries if entry.outcome == "lost")
        assert journal.spent_nano() == paid + lost
        assert list(journal.leases()) == []
    return notices


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    """The same journal killed again and again; readers look at it in between."""
    draw = random.Random(20)
    settled: set[int] = set()
    leased: set[int] = set()
    first = 0
    for round_ in range(10):
        said = run_and_kill(tmp_path, first, draw.choice([1, 4, 32]), draw.randrange(1, 400))
        assert said.notices == [], "a plain kill is no torn log"
        settled |= said.settled
        leased |= said.leased
        first = max(settled | leased, default=first) + 100
        if round_ % 3 == 1:
            notices: list[str] = []
            with Journal.open(tmp_path, writable=False, notice=notices.append) as reader:
                assert present(reader, settled) == settled
            assert notices == []
        if round_ % 3 == 2:
            assert check(tmp_path, Said(settled, leased, [])) == []
    assert check(tmp_path, Said(settled, leased, [])) == []
    assert len(settled) > 400


def test_a_run_that_outgrows_its_log_gives_no_false_alarm(tmp_path: Path) -> None:
    """After the log was reset it holds frames of before: they are stale, not torn."""
    for attempt in range(8):  # a kill may also meet a log that is full
        directory = tmp_path / str(attempt)
        directory.mkdir()
        said = run_and_kill(directory, 0, 16, 1500, "--checkpoint", "150")
        tail = scan_log(directory / f"{FILE}-wal")
        if tail.frame_bytes * tail.frames < tail.size - 10 * tail.frame_bytes:
            break
    else:
        raise AssertionError("this test wants a log that was reset")
    mark_path(directory / FILE).unlink()  # even where nothing but the log can tell, stale frames are not counted
    notices = check(directory, said)
    assert all("torn" in notice for notice in notices) and len(notices) <= 1
    assert check(directory, said) == []


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A small journal as a kill left it: everything in the log, nothing moved into the file yet."""
    directory = tmp_path_factory.mktemp("killed")
    said = run_and_kill(directory, 0, 3, 60)
    assert (directory / f"{FILE}-wal").stat().st_size > 100_000
    return directory, said


def copy(killed: Path, target: Path, log: bytes, *, mark: bool = True) -> Path:
    """The killed journal with another log, as it lies after a restart of the machine (no shared memory file)."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    shutil.copy(killed / FILE, target / FILE)
    (target / f"{FILE}-wal").write_bytes(log)
    if mark:
        shutil.copy(mark_path(killed / FILE), mark_path(target / FILE))
    return target


def open_damaged(directory: Path, said: Said) -> tuple[set[int], list[str]]:
    notices: list[str] = []
    with Journal.open(directory, writable=True, notice=notices.append) as journal:
        journal.verify()
        found = present(journal, said.settled)
    with Journal.open(directory, writable=True, notice=notices.append) as journal:
        assert present(journal, said.settled) == found
    return found, notices


def test_a_torn_log_is_told(killed: tuple[Path, Said], tmp_path: Path) -> None:
    """Cut anywhere: what is whole is replayed; calls that are missing are told in one sentence, once."""
    directory, said = killed
    log = (directory / f"{FILE}-wal").read_bytes()
    draw = random.Random(3)
    cuts = [0, 20, 32, 40, len(log) - 1, len(log) - 4120, len(log) - 4200, len(log) - 8240]
    cuts += [draw.randrange(len(log)) for _ in range(25)]
    for size in cuts:
        found, notices = open_damaged(copy(directory, tmp_path / "cut", log[:size]), said)
        if found != said.settled:
            assert len(notices) == 1, (size, notices)
            assert "torn" in notices[0] and "asked again" in notices[0] and FILE in notices[0]
            assert "commits are missing" in notices[0] or "last commit is missing" in notices[0]
        assert len(notices) <= 1
    assert found != said.settled, "no cut was deep enough"


def test_a_changed_byte_in_the_log_is_told(killed: tuple[Path, Said], tmp_path: Path) -> None:
    directory, said = killed
    log = (directory / f"{FILE}-wal").read_bytes()
    draw = random.Random(4)
    missed = 0
    for place in [3, 9, 18, 30, 33, 45, *(draw.randrange(len(log)) for _ in range(25))]:
        changed = bytearray(log)
        changed[place] ^= 1 << draw.randrange(8)
        found, notices = open_damaged(copy(directory, tmp_path / "flip", bytes(changed)), said)
        if found != said.settled:
            missed += 1
            assert len(notices) == 1 and "torn" in notices[0], (place, notices)
    assert missed > 5


def test_a_torn_log_is_told_without_a_mark_or_after_a_restart(killed: tuple[Path, Said], tmp_path: Path) -> None:
    """Where nothing says which commits were acknowledged, whatever is torn is told."""
    directory, said = killed
    log = (directory / f"{FILE}-wal").read_bytes()
    for mark in (False, True):
        for size in (len(log) - 100, len(log) - 4000, len(log) - 30_000):
            target = copy(directory, tmp_path / "restarted", log[:size], mark=mark)
            if mark:
                text = mark_path(target / FILE).read_text()
                mark_path(target / FILE).write_text(f"{1:020d} {'another boot':<36}\n")
                assert len(text) == mark_path(target / FILE).stat().st_size
            _, notices = open_damaged(target, said)
            assert len(notices) == 1 and "torn" in notices[0]
            assert "bytes dropped" in notices[0]


def test_a_reader_tells_what_is_missing_too(killed: tuple[Path, Said], tmp_path: Path) -> None:
    directory, said = killed
    log = (directory / f"{FILE}-wal").read_bytes()
    target = copy(directory, tmp_path / "read", log[: len(log) // 2])
    for writable in (False, False, True):  # a reader that came first must not hide it from the writer
        notices: list[str] = []
        with Journal.open(target, writable=writable, notice=notices.append) as journal:
            assert present(journal, said.settled) < said.settled
        assert len(notices) == 1 and "missing" in notices[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that was closed, with responses, failures, leases turned to losses, and open leases."""
    directory = tmp_path_factory.mktemp("whole")
    run_and_kill(directory, 0, 4, 90)
    with Journal.open(directory, writable=True, notice=print) as journal:
        journal.verify()
    return directory


def test_a_changed_byte_is_named_or_harmless(whole: Path, tmp_path: Path) -> None:
    """Any byte of the file: the journal says that it is damaged, or nothing is missing and nothing is different."""
    with Journal.open(whole, writable=False, notice=print) as journal:
        entries, calls = list(journal.entries()), list(journal.calls())
    raw = (whole / FILE).read_bytes()
    draw = random.Random(5)
    at_open = later = harmless = 0
    for place in [*range(0, 100, 5), *(draw.randrange(len(raw)) for _ in range(220))]:
        changed = bytearray(raw)
        changed[place] ^= 1 << draw.randrange(8)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / FILE).write_bytes(changed)
        opened = False
        try:
            with Journal.open(tmp_path / "run", writable=True, notice=print) as journal:
                opened = True
                for call in calls:  # every call is found: no damage makes one be asked again
                    assert same(journal.get(call.call_id), call)
                assert list(journal.entries()) == entries
                assert list(journal.calls()) == calls
                journal.verify()
                harmless += 1
        except JournalDamaged as error:
            assert str(tmp_path / "run" / FILE) in error.message
            assert error.exit_code == 1 and error.hint
            later, at_open = later + opened, at_open + (not opened)
    assert at_open > 20 and later > 20 and harmless > 5, (at_open, later, harmless)


def change(path: Path, sample: bytes) -> None:
    """Flip a bit in the middle of the bytes that are `sample`."""
    raw = bytearray(path.read_bytes())
    assert raw.count(sample) == 1
    raw[raw.index(sample) + len(sample) // 2] ^= 4
    path.write_bytes(raw)


def test_a_damaged_response_is_named_at_its_use(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    with Journal.open(run, writable=False, notice=print) as journal:
        victim, other = list(journal.calls())[5:7]
        row = next(values for values in journal._files[0].rows("responses") if values[1].hex() == victim.call_id)
    change(run / FILE, row[5])
    with Journal.open(run, writable=True, notice=print) as journal:
        assert same(journal.get(other.call_id), other)
        for act in (lambda: journal.get(victim.call_id), lambda: list(journal.calls()), journal.verify):
            with pytest.raises(JournalDamaged) as caught:
                act()
            assert victim.call_id in caught.value.message and f"row {row[0]} of `responses`" in caught.value.message
    notices: list[str] = []
    with Journal.open(tmp_path / "new", writable=True, reuse=[run], notice=notices.append) as journal:
        assert same(journal.get(other.call_id), other)  # the way out: what is sound is copied, the rest asked again
        assert journal.get(victim.call_id) is None
        assert journal.get(victim.call_id) is None
    assert len(notices) == 1 and victim.call_id in notices[0]


def test_a_damaged_ledger_is_named_at_the_start(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    with Journal.open(run, writable=False, notice=print) as journal:
        number, call, *fields = next(journal._files[0].rows("ledger"))
    change(run / FILE, fields[-2] + digest_fields((call, *fields)))  # its time, no GPU seconds, then the digest
    for act in (
        lambda journal: journal.spent_nano(),
        lambda journal: list(journal.entries()),
        lambda journal: journal.verify(),
    ):
        with (
            Journal.open(run, writable=False, notice=print) as journal,
            pytest.raises(JournalDamaged, match=f"row {number} of `ledger` \\(call {call.hex()}\\)"),
        ):
            act(journal)
    with pytest.raises(JournalDamaged, match=f"row {number} of `ledger`"):
        Journal.open(run, writable=True, notice=print)


@pytest.mark.parametrize("what", [b"", b"SQLite format 3\0", b"not a database at all " * 400])
def test_a_file_that_is_no_journal(tmp_path: Path, what: bytes) -> None:
    (tmp_path / FILE).write_bytes(what)
    for writable in (True, False):
        with pytest.raises(FactoryError) as caught:
            Journal.open(tmp_path, writable=writable, notice=print)
        assert isinstance(caught.value, JournalDamaged) and FILE in caught.value.message
    assert (tmp_path / FILE).read_bytes() == what or not what


def test_a_shortened_file(whole: Path, tmp_path: Path) -> None:
    raw = (whole / FILE).read_bytes()
    for size in (len(raw) - 4096, len(raw) // 2, 4096, 5000, 100):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        (tmp_path / FILE).write_bytes(raw[:size])
        with pytest.raises(JournalDamaged):
            Journal.open(tmp_path, writable=True, notice=print)


SHADOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* Keep what a power cut would leave: a copy of each file under $WATCHED as it was when it was last synced. It is read
   through the descriptor at hand: opening and closing the file would drop the locks that SQLite has on it. */
static int sync_and_copy(int fd, const char *name) {
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);
    int result = real(fd);
    char link[64], path[4096], part[4200], target[4200], buffer[65536];
    const char *watched = getenv("WATCHED"), *shadow = getenv("SHADOW");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (result != 0 || length <= 0 || !watched || !shadow) return result;
    path[length] = 0;
    if (strncmp(path, watched, strlen(watched)) != 0 || path[strlen(watched)] != '/') return result;
    snprintf(target, sizeof target, "%s/%s", shadow, strrchr(path, '/') + 1);
    snprintf(part, sizeof part, "%s/part", shadow);
    int to = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    off_t at = 0;
    ssize_t got;
    while ((got = pread(fd, buffer, sizeof buffer, at)) > 0) {
        if (write(to, buffer, got) != got) abort();
        at += got;
    }
    close(to);
    rename(part, target);
    return result;
}
int fsync(int fd) { return sync_and_copy(fd, "fsync"); }
int fdatasync(int fd) { return sync_and_copy(fd, "fdatasync"); }
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (compiler := shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("no C compiler: what is synced cannot be watched")
    place = tmp_path_factory.mktemp("shim")
    (place / "shadow.c").write_text(SHADOW)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", "shadow.so", "shadow.c", "-ldl"]
    built = subprocess.run(command, cwd=place, capture_output=True, check=False)
    if built.returncode:
        pytest.skip(f"the C compiler does not build a library: {built.stderr.decode()[:200]}")
    return place / "shadow.so"


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, shim: Path, unsafe: bool) -> None:
    """Only what fsync had returned for survives here. Without fsync (`unsafe`) this very test finds calls missing."""
    run, shadow = tmp_path / "run", tmp_path / "shadow"
    Journal.open(run, writable=True, notice=print).close()
    shutil.copytree(run, shadow)
    mark_path(shadow / FILE).unlink()
    options = ["--unsafe"] if unsafe else []
    watch = {"LD_PRELOAD": str(shim), "WATCHED": str(run), "SHADOW": str(shadow)}
    said = run_and_kill(run, 0, 6, 150, *options, **watch)
    notices: list[str] = []
    with Journal.open(shadow, writable=True, notice=notices.append) as journal:
        survived = present(journal, said.settled)
        known = {entry.call_id for entry in journal.entries()}
    leased = {make_call(number)[0].call_id for number in said.leased}
    assert len(said.settled) > 30
    if unsafe:
        assert survived < said.settled
    else:
        assert survived == said.settled
        assert leased <= known, "a lease was not durable before its attempt"


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_every_acknowledgement_follows_a_sync(tmp_path: Path) -> None:
    """The order of system calls, one call at a time: between two acknowledgements there is a sync."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync,fdatasync,write", sys.executable]
    command += [str(HERE / "journal_calls.py"), str(tmp_path / "run"), "1", "1", "--count", "20"]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if "ack" not in result.stdout:
        pytest.skip(f"strace does not run here: {result.stderr[-200:]}")
    synced, acknowledged = False, 0
    for line in trace.read_text().splitlines():
        if ("fsync(" in line or "fdatasync" in line) and line.rstrip().endswith("= 0"):
            synced = True
        elif 'write(1, "ack' in line:
            assert synced, "acknowledged before it was on the disk"
            synced, acknowledged = False, acknowledged + 1
    assert acknowledged == 20
