"""Batch runs killed with -9 between any two remote acts, and started again: each request is paid once."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from batch_runs import TIMING, batch_recipe, check_paid_once, kill, start, wait_until
from batch_server import BatchProcess
from support import factory_json, parquet_hashes

SCORED = {"generate": {"model": "writer", "candidates": 2}}
ACTS = ("upload_before", "upload_after", "submit_before", "submit_after", "download")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The dataset's hashes of a run that nothing kills."""
    directory = tmp_path_factory.mktemp("undisturbed")
    with BatchProcess() as server:
        recipe = batch_recipe(directory, server.url, **SCORED)
        summary = factory_json("run", recipe, "--out", directory / "run", FACTORY_BATCH_TIMING=TIMING)
        assert summary["rows"] == 40
        check_paid_once(server.stats(), directory / "run")
        submits = server.stats()["submits"]
        assert submits <= 4, "few waves"
    return parquet_hashes(directory / "run")


@pytest.mark.parametrize("act", ACTS)
def test_killed_at_a_remote_act(tmp_path: Path, undisturbed: dict[str, str], act: str) -> None:
    out = tmp_path / "run"
    with BatchProcess(stall=act) as server:
        recipe = batch_recipe(tmp_path, server.url, **SCORED)
        process = start(recipe, out)
        wait_until(lambda: server.stats()["stalled"] == act, process)
        kill(process)
        again = start(recipe, out)
        output, errors = again.communicate(timeout=120)
        assert again.returncode == 0, errors
        check_paid_once(server.stats(), out)
        submits = server.stats()["submits"]
        factory_json("run", recipe, "--out", out)
        assert server.stats()["submits"] == submits, "a finished run sends nothing"
    assert json.loads(output)["rows"] == 40
    assert parquet_hashes(out) == undisturbed
    assert not list((out / "journal" / "batches").glob("*/")), "collected shards are forgotten"


def test_killed_while_waiting_twice_and_collected_by_the_third(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    out = tmp_path / "run"
    with BatchProcess(hold=True) as server:
        recipe = batch_recipe(tmp_path, server.url, **SCORED)
        for _ in range(2):
            polls = server.stats()["polls"]
            process = start(recipe, out)
            wait_until(lambda: server.stats()["polls"] > polls + 2, process)  # noqa: B023 - used within the turn
            status = factory_json("status", out)
            assert [(shard["state"], shard["requests"]) for shard in status["batches"]] == [("submitted", 40)]
            assert status["batches"][0]["batch"] in server.stats()["batches"]
            kill(process)
        server.configure(hold=False)
        assert factory_json("run", recipe, "--out", out, FACTORY_BATCH_TIMING=TIMING)["rows"] == 40
        check_paid_once(server.stats(), out)
        assert server.stats()["uploads"] == server.stats()["submits"]
    assert parquet_hashes(out) == undisturbed


def test_killed_while_answers_are_journaled(tmp_path: Path) -> None:
    """The kill falls between the download and the last commit, wherever that happens to be."""
    out = tmp_path / "run"
    with BatchProcess(latency=0.1) as server:
        recipe = batch_recipe(tmp_path, server.url, rows=600, filter=[])
        process = start(recipe, out)

        def collected() -> bool:
            return any('"collected"' in path.read_text() for path in (out / "journal" / "batches").glob("*/state.json"))

        wait_until(collected, process)
        kill(process)
        assert factory_json("run", recipe, "--out", out, FACTORY_BATCH_TIMING=TIMING)["rows"] == 600
        check_paid_once(server.stats(), out)


def test_a_lagging_list_is_looked_at_again(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    out = tmp_path / "run"
    with BatchProcess(stall="submit_after", lag=1.5, page=1) as server:
        recipe = batch_recipe(tmp_path, server.url, **SCORED)
        process = start(recipe, out)
        wait_until(lambda: server.stats()["stalled"] != "", process)
        kill(process)
        timing = TIMING.replace("lag=0.3", "lag=10")
        assert factory_json("run", recipe, "--out", out, FACTORY_BATCH_TIMING=timing)["rows"] == 40
        check_paid_once(server.stats(), out)
    assert parquet_hashes(out) == undisturbed


def test_ctrl_c_leaves_at_once_and_the_same_command_collects(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    out = tmp_path / "run"
    with BatchProcess(hold=True) as server:
        recipe = batch_recipe(tmp_path, server.url, **SCORED)
        process = start(recipe, out)
        wait_until(lambda: server.stats()["polls"] > 2, process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert json.loads(output)["error"]["code"] == "interrupted"
        server.configure(hold=False)
        assert factory_json("run", recipe, "--out", out, FACTORY_BATCH_TIMING=TIMING)["rows"] == 40
        check_paid_once(server.stats(), out)
    assert parquet_hashes(out) == undisturbed
