"""Ctrl-C, SIGTERM, a second process, and a disk that does not take it: what stays, what is told, and how to go on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import ServerProcess
from interrupted_runs import Job, count, start, wait_for_hanging, wait_for_requests
from judge_server import JudgeServer
from support import command, environment, factory, factory_json, parquet_hashes, write_recipe

import factory as package
from factory.journal import Journal

ROWS = 120


def load(run: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(run / "dataset"), split="train", cache_dir=str(run.parent / "cache"))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Answers after 0.2 to 0.4 s."""
    with ServerProcess("--latency", "0.2", "--jitter", "1") as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("undisturbed")
    factory_json("run", Job(ROWS, 2, 64).write(directory, server.url), "--out", directory / "run")
    return parquet_hashes(directory / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interruption_ends_soon_and_the_same_command_goes_on(
    tmp_path: Path, server: ServerProcess, undisturbed: dict[str, str], number: signal.Signals
) -> None:
    out = tmp_path / "run"
    server.reset()
    recipe = Job(ROWS, 2, 8).write(tmp_path, server.url)
    process = start(recipe, out)
    assert wait_for_requests(server, process, 40)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    told = json.loads(stdout)
    assert process.returncode == 130, stderr
    assert told["error"]["code"] == "interrupted" and "same command" in told["error"]["hint"]
    assert "stopping" in stderr
    assert 0 < told["rows"] < ROWS and told["status"] == "interrupted" and len(load(out)) == told["rows"]
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    counts = count(server, out)
    assert counts.requests == counts.attempts and counts.lost_at_kills == 0, "calls in flight were waited for"
    again = factory_json("run", recipe, "--out", out)
    assert again["rows"] == ROWS and server.stats()["repeated"] == 0
    assert parquet_hashes(out) == undisturbed


def test_calls_that_never_answer_are_given_up_after_a_few_seconds(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ServerProcess("--latency", "0.05") as server:
        recipe = Job(ROWS, 2, 8).write(tmp_path, server.url)
        process = start(recipe, out)
        assert wait_for_requests(server, process, 30)
        server.configure(faults={"hang": 1.0})
        assert wait_for_hanging(server, process, 8)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        told = json.loads(stdout)
        assert process.returncode == 130, stderr
        counts = count(server, out)
        assert counts.requests == counts.attempts
        with Journal.open(out / "journal", writable=False, notice=lambda text: None) as journal:
            lost = [entry for entry in journal.entries() if entry.outcome == "lost"]
            assert list(journal.leases()) == []
        assert 0 < len(lost) <= 8 and all(entry.upper_bound_nano_usd for entry in lost)
        assert len(load(out)) == told["rows"] > 0
        server.configure(faults={})
        assert factory_json("run", recipe, "--out", out)["rows"] == ROWS


def test_interrupted_while_the_first_call_of_all_hangs(tmp_path: Path) -> None:
    with ServerProcess("--fault", "hang=1") as server:
        process = start(Job(5, 2, 2).write(tmp_path, server.url), tmp_path / "run")
        assert wait_for_requests(server, process, 1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout + stderr
    assert json.loads(stdout)["error"]["code"] == "interrupted"


def test_the_second_interruption_ends_at_once(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ServerProcess("--latency", "0.05") as server:
        recipe = Job(ROWS, 2, 8).write(tmp_path, server.url)
        process = start(recipe, out)
        assert wait_for_requests(server, process, 30)
        server.configure(faults={"hang": 1.0})
        assert wait_for_hanging(server, process, 8)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
        assert not (out / "dataset").exists(), "it did not wait to write one"
        server.configure(faults={})
        assert factory_json("run", recipe, "--out", out)["rows"] == ROWS


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but what the first process writes all the time."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in ("progress.json", ".progress.json.tmp")
    }


def wait_until_stopped(pid: int) -> None:
    """Until every thread of a process that was sent SIGSTOP has stopped: one may be in the middle of a commit."""
    for _ in range(500):
        told = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        if all(line.rpartition(")")[2].split()[0] in "Tt" for line in told):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} has not stopped")


def test_a_second_process_is_told_who_holds_the_directory_and_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ServerProcess("--latency", "0.05") as server:
        recipe = Job(40, 2, 4).write(tmp_path, server.url)
        process = start(recipe, out)
        assert wait_for_requests(server, process, 4)
        server.configure(faults={"hang": 1.0})
        assert wait_for_hanging(server, process, 4)
        os.kill(process.pid, signal.SIGSTOP)  # so that whatever changes is not its doing
        try:
            wait_until_stopped(process.pid)
            before = snapshot(out)
            second = factory("run", recipe, "--out", out)
            assert second.returncode == 2 and str(process.pid) in second.stderr, second.stderr
            assert "in use" in second.stderr and "Traceback" not in second.stderr
            assert snapshot(out) == before
        finally:
            process.kill()
            process.communicate()
        server.configure(faults={})
        assert factory_json("run", recipe, "--out", out)["rows"] == 40


def run_limited(recipe: Path, out: Path, size: int) -> subprocess.CompletedProcess[str]:
    """The command where no file may grow beyond `size` bytes."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        command("run", recipe, "--out", out, "--json"),
        capture_output=True, text=True, env=environment(), preexec_fn=limit, timeout=240,
    )  # fmt: skip


@pytest.mark.parametrize("size", [1_000, 40_000, 250_000])
def test_a_disk_that_takes_no_more_is_told_and_the_run_goes_on_later(tmp_path: Path, size: int) -> None:
    """Whatever is written when it happens: the first manifest, the journal, the dataset."""
    recipe = write_recipe(tmp_path, rows=400, prompt="Tell me of the {{ animal }} with the number {{ number }}." * 20)
    out = tmp_path / "run"
    done = run_limited(recipe, out, size)
    told = json.loads(done.stdout)["error"]
    assert done.returncode == 4 and told["code"] == "storage", done.stdout + done.stderr
    assert str(out) in told["message"] and "same command" in told["hint"]
    assert "Traceback" not in done.stderr
    assert factory_json("run", recipe, "--out", out)["rows"] == 400
    assert parquet_hashes(out) == parquet_hashes(package.run(recipe, out=tmp_path / "whole").path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system takes root; the test above needs none")
def test_a_full_file_system(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no mounts here: {made.stderr.strip()}")
    try:
        recipe = write_recipe(tmp_path, rows=1500)
        done = factory("run", recipe, "--out", mount / "run", "--json")
        told = json.loads(done.stdout)["error"]
        assert done.returncode == 4 and told["code"] == "storage", done.stdout + done.stderr
        assert "disk is full" in told["message"] and "free some space" in told["hint"]
        subprocess.run(["mount", "-o", "remount,size=64m", str(mount)], check=True)
        assert factory_json("run", recipe, "--out", mount / "run")["replayed"] > 10
        assert parquet_hashes(mount / "run") == parquet_hashes(package.run(recipe, out=tmp_path / "whole").path)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_damaged_journal_names_file_and_row(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, rows=30)
    factory_json("run", recipe, "--out", tmp_path / "run")
    before = parquet_hashes(tmp_path / "run")
    path = tmp_path / "run" / "journal" / "00000.sqlite"
    raw = path.read_bytes()
    place = raw.index(b"Tell me of the", len(raw) // 4)
    path.write_bytes(raw[:place] + b"T" + b"E" + raw[place + 2 :])
    done = factory("run", recipe, "--out", tmp_path / "run", "--json")
    told = json.loads(done.stdout)["error"]
    assert done.returncode == 1 and told["code"] == "journal_damaged", done.stdout + done.stderr
    assert "00000.sqlite" in told["message"] and "row " in told["message"] and "--reuse" in told["hint"]
    assert parquet_hashes(tmp_path / "run") == before
    saved = factory_json("run", recipe, "--out", tmp_path / "other", "--reuse", tmp_path / "run")
    assert saved["rows"] == 30 and parquet_hashes(tmp_path / "other") == before


@pytest.mark.parametrize("place", ["/sys/factory-run", "file/run"])
def test_a_directory_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    recipe = write_recipe(tmp_path)
    done = factory("run", recipe, "--out", tmp_path / place)
    assert done.returncode in (2, 4) and "--out" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert "unexpected" not in done.stderr


def test_a_read_only_directory(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes wherever it likes")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = factory("run", write_recipe(tmp_path), "--out", locked / "run")
    assert done.returncode == 4 and "cannot write" in done.stderr


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    recipe = Job(5).write(tmp_path, "http://127.0.0.1:9/v1")
    done = factory("run", recipe, "--out", tmp_path / "run", "--json")
    told = json.loads(done.stdout)["error"]
    assert done.returncode == 4 and told["code"] == "unreachable" and "127.0.0.1:9" in told["message"], done.stdout
    assert "doctor" in told["hint"] and len(done.stdout) < 3000


def test_judges_in_flight_are_waited_for_where_others_of_the_row_have_not_begun(tmp_path: Path) -> None:
    """Two of a row's four questions hang at the server, two wait for their turn: Ctrl-C loses none of the answers."""
    two, release = threading.Semaphore(0), threading.Event()

    def judge(body: dict[str, Any], index: int) -> str:
        two.release()
        assert release.wait(60)
        return '{"reason": "fair", "score": 3}'

    def write(body: dict[str, Any], index: int) -> str:
        return f"answer {index} with the seed {body['seed']}"

    with JudgeServer(judge=judge, writer=write) as server:
        models = {"writer": server.model("writer"), "judge": server.model("judge", concurrency=2)}
        recipe = write_recipe(
            tmp_path,
            models=models,
            rows=2,
            generate={"model": "writer", "candidates": 4},
            score=[{"judge": {"model": "judge", "weight": 1}}],
        )
        process = start(recipe, tmp_path / "run")
        assert two.acquire(timeout=60) and two.acquire(timeout=60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        release.set()
        process.communicate(timeout=60)
        assert process.returncode == 130 and server.count("judge") == 2
        factory_json("run", recipe, "--out", tmp_path / "run")
        asked = [json.dumps(body, sort_keys=True) for body in server.asked("judge")]
        assert len(asked) == len(set(asked)), "nothing was asked twice"
