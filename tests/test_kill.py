"""Killed with -9 at random moments and started again by the same command: the same bytes, nothing paid twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fault_server import ServerProcess
from interrupted_runs import Job, count, run_with_kills, start, wait_for_requests
from support import factory_json, parquet_hashes

SERVER = ("--standard-faults", "--latency", "0.04", "--jitter", "1")
ROWS = 150


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The dataset's hashes of a run that nothing kills, by how the server takes `n`; its counts must fit exactly."""
    found = {}
    for mode in ("honour", "ignore"):
        directory = tmp_path_factory.mktemp(mode)
        with ServerProcess(*SERVER, "--fault-seed", "11", "--n-mode", mode) as server:
            recipe = Job(ROWS).write(directory, server.url)
            summary = factory_json("run", recipe, "--out", directory / "run")
            counts = count(server, directory / "run")
        assert summary["rows"] == ROWS
        assert counts.requests == counts.attempts and counts.repeated == 0 and counts.lost_at_kills == 0
        assert counts.answered_calls == counts.delivered_calls and counts.unused_answers == 0
        assert counts.ledger_nano <= counts.billed_nano <= counts.ledger_nano + counts.upper_bound_nano
        found[mode] = parquet_hashes(directory / "run")
    return found


@pytest.mark.parametrize("mode", ["honour", "ignore"])
def test_kills_change_no_byte_and_repeat_only_what_was_in_flight(
    tmp_path: Path, undisturbed: dict[str, dict[str, str]], mode: str
) -> None:
    limit, kills = 16, 4
    with ServerProcess(*SERVER, "--fault-seed", "22", "--n-mode", mode) as server:
        recipe = Job(ROWS, concurrency=limit).write(tmp_path, server.url)
        requests = ROWS if mode == "honour" else 4 * ROWS
        told = run_with_kills(server, recipe, tmp_path / "run", kills=kills, requests=requests, seed=5, limit=limit)
        assert told.code == 0, told.errors[-3000:]
        assert told.kills == kills
        counts = count(server, tmp_path / "run")
        again = factory_json("run", recipe, "--out", tmp_path / "run")
        assert server.stats()["requests"] == counts.requests, "a finished run asks nothing"
    assert parquet_hashes(tmp_path / "run") == undisturbed[mode]
    assert json.loads(told.output)["rows"] == again["rows"] == ROWS
    in_flight = sum(told.in_flight)
    unleased = counts.requests - counts.attempts
    assert counts.repeated <= counts.lost_at_kills + max(0, unleased) <= in_flight
    assert counts.unused_answers == 0, "every answer in the ledger is in the journal and used"
    assert unleased <= in_flight
    assert 0 <= counts.delivered_calls - counts.answered_calls <= in_flight


def test_a_killed_process_at_another_concurrency_gives_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, dict[str, str]]
) -> None:
    with ServerProcess(*SERVER, "--fault-seed", "33", "--n-mode", "honour") as server:
        process = start(Job(ROWS, concurrency=3).write(tmp_path, server.url), tmp_path / "run")
        assert wait_for_requests(server, process, ROWS // 3)
        process.kill()
        process.communicate()
        recipe = Job(ROWS, concurrency=64).write(tmp_path, server.url)
        assert factory_json("run", recipe, "--out", tmp_path / "run")["replayed"] > ROWS // 4
    assert parquet_hashes(tmp_path / "run") == undisturbed["honour"]
