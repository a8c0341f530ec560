"""The lock on a run directory, between real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from factory.errors import RunDirError, StorageFull
from factory.locking import Holder, hold, holder

ROOT = Path(__file__).resolve().parent.parent
HOLD = """
import sys
from pathlib import Path
from factory.errors import FactoryError
from factory.locking import hold
try:
    with hold(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
except FactoryError as error:
    print(error.exit_code, error.code, error.message, flush=True)
"""


def start(run_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(run_dir)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def say(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def snapshot(run_dir: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in run_dir.rglob("*") if path.is_file()}


def test_the_second_process_is_told_who_holds_it_and_changes_nothing(tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / "mine"
    first = start(run_dir)
    assert say(first) == "held"
    (run_dir / "manifest.json").write_text("{}")
    before = snapshot(run_dir)
    second = start(run_dir)
    answer = say(second)
    since = json.loads((run_dir / "lock").read_text())["start"]
    assert answer.startswith(
        f"2 run_dir {run_dir} is in use by process {first.pid} on {socket.gethostname()} since {since}"
    )
    assert second.wait() == 0
    with pytest.raises(RunDirError) as caught, hold(run_dir):
        pass
    assert str(first.pid) in caught.value.message and "--out" in caught.value.hint
    assert holder(run_dir) == Holder(socket.gethostname(), first.pid, since)
    assert snapshot(run_dir) == before
    first.communicate("\n")
    assert holder(run_dir) is None
    with hold(run_dir) as mine:
        assert mine.pid == os.getpid()
        assert holder(run_dir) == mine
    assert sorted(path.name for path in run_dir.iterdir()) == ["lock", "manifest.json"]


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    first = start(tmp_path)
    assert say(first) == "held"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert holder(tmp_path) is None
    second = start(tmp_path)
    assert say(second) == "held"
    with pytest.raises(RunDirError, match=f"process {second.pid} "), hold(tmp_path):
        pass
    second.communicate("\n")


def test_two_runs_of_one_process(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(RunDirError, match=f"process {os.getpid()} "), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path):
        raise ZeroDivisionError
    assert holder(tmp_path) is None


def test_looking_does_not_keep_others_out(tmp_path: Path) -> None:
    """`holder` takes the lock for a moment; a run that starts in this moment must not be refused."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(tmp_path)

    with hold(tmp_path):
        pass
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(100):
            with hold(tmp_path):
                pass
    finally:
        stop.set()
        watcher.join()


def test_a_holder_that_has_not_written_yet(tmp_path: Path) -> None:
    with hold(tmp_path):
        (tmp_path / "lock").write_text("")
        with pytest.raises(RunDirError, match="just started"), hold(tmp_path):
            pass
        assert holder(tmp_path) is not None


def test_only_one_of_many_gets_it(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(5)]
    said = [say(process) for process in processes]
    assert said.count("held") == 1
    assert sum("is in use by" in answer for answer in said) == 4
    for process in processes:
        process.communicate("\n")


def test_places_where_no_run_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunDirError, match="file") as caught, hold(place):
            pass
        assert caught.value.exit_code == 2
    assert holder(tmp_path / "file") is None
    assert holder(tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()


def test_a_place_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(handle: int, text: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageFull, match="disk is full") as caught, hold(tmp_path):
        pass
    assert caught.value.exit_code == 4
    monkeypatch.undo()
    with hold(tmp_path):
        pass
