"""A run with a budget never spends more, by the server's own count, and uses what it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fault_server import ServerProcess
from interrupted_runs import PRICE, Job, count, run_with_kills
from support import factory, parquet_hashes, server_model, write_recipe

from factory.journal import Journal
from factory.types import NANO

SERVER = ("--standard-faults", "--latency", "0.01", "--jitter", "1")
ROWS = 240


def job(concurrency: int) -> Job:
    return Job(ROWS, candidates=2, concurrency=concurrency)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, str]]:
    """What the whole run costs (nano-USD, by the ledger's known costs), and its dataset."""
    directory = tmp_path_factory.mktemp("whole")
    with ServerProcess(*SERVER, "--fault-seed", "3") as server:
        done = factory("run", job(64).write(directory, server.url), "--out", directory / "run", "--json")
        assert done.returncode == 0, done.stderr[-3000:]
        cost = count(server, directory / "run").ledger_nano
    return cost, parquet_hashes(directory / "run")


def spent(out: Path) -> int:
    with Journal.open(out / "journal", writable=False, notice=lambda text: None) as journal:
        return journal.spent_nano()


@pytest.mark.parametrize("concurrency", [4, 128])
def test_half_the_money_then_all_of_it(tmp_path: Path, whole: tuple[int, dict[str, str]], concurrency: int) -> None:
    cost, hashes = whole
    cap = cost // 2
    out = tmp_path / "run"
    with ServerProcess(*SERVER, "--fault-seed", "4") as server:
        recipe = job(concurrency).write(tmp_path, server.url)
        done = factory("run", recipe, "--out", out, "--budget", cap / NANO, "--json")
        told = json.loads(done.stdout)
        counts = count(server, out)
        assert done.returncode == 4 and told["error"]["code"] == "budget", done.stdout + done.stderr[-2000:]
        assert "--budget" in told["error"]["hint"]
        assert counts.billed_nano <= cap
        assert 0.9 * cap <= spent(out) <= cap
        assert 0 < told["rows"] < ROWS and told["status"] == "incomplete"
        assert counts.requests == counts.attempts and counts.lost_at_kills == 0
        (kept,) = (out / "dataset").rglob("*.parquet")
        assert kept.exists()

        again = factory("run", recipe, "--out", out, "--budget", cap / NANO, "--json")
        assert again.returncode == 4
        assert count(server, out).billed_nano <= cap

        done = factory("run", recipe, "--out", out, "--budget", 3 * cost / NANO, "--json")
        assert done.returncode == 0, done.stderr[-2000:]
        assert server.stats()["repeated"] == 0
    assert parquet_hashes(out) == hashes


def test_kills_overrun_no_budget(tmp_path: Path, whole: tuple[int, dict[str, str]]) -> None:
    cost, hashes = whole
    cap = cost // 2
    out = tmp_path / "run"
    with ServerProcess(*SERVER, "--fault-seed", "5") as server:
        recipe = job(128).write(tmp_path, server.url)
        told = run_with_kills(
            server, recipe, out, kills=3, requests=ROWS // 2, seed=8, limit=128, options=("--budget", cap / NANO)
        )
        assert told.code == 4, told.errors[-2000:]
        counts = count(server, out)
        assert counts.billed_nano <= cap
        assert 0.8 * cap <= spent(out) <= cap
        assert counts.requests <= counts.attempts, "with a budget every attempt is on the disk before it is sent"
        done = factory("run", recipe, "--out", out, "--budget", 3 * cost / NANO, "--json")
        assert done.returncode == 0, done.stderr[-2000:]
    assert parquet_hashes(out) == hashes


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"base_url": "https://models.invalid/v1", "api_key_env": "A_KEY", "model": "who-knows"}, "price"),
        ({"max_tokens": None, "price": PRICE}, "max_tokens"),
    ],
)
def test_a_budget_without_a_worst_case_is_bad_usage(tmp_path: Path, model: dict[str, Any], told: str) -> None:
    config = {key: value for key, value in (server_model("http://127.0.0.1:9/v1") | model).items() if value is not None}
    recipe = write_recipe(tmp_path, models={"writer": config}, budget={"usd": 1})
    done = factory("run", recipe, "--out", tmp_path / "run", A_KEY="sk-none")
    assert done.returncode == 2, done.stderr
    line = 1 + next(n for n, text in enumerate(recipe.read_text().splitlines()) if text.strip() == "writer:")
    assert told in done.stderr and f"recipe.yaml:{line}" in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_an_unknown_price_without_a_budget_is_null(tmp_path: Path) -> None:
    """A price nobody knows costs null in the rows and in the summary, and is labelled."""
    import factory as package
    from factory import registry
    from factory.backends.echo import Echo

    class Foreign(Echo):
        local = False

    registry.register("backend", "test_foreign", lambda model: Foreign())
    recipe = write_recipe(tmp_path, models={"writer": {"backend": "test_foreign", "model": "x"}}, rows=3)
    result = package.run(recipe, out=tmp_path / "run")
    assert [row["meta"]["cost_usd"] for row in result.dataset()["train"]] == [None] * 3
    assert result.summary["spent_usd"] is None
    assert set(result.ledger()["price_source"]) == {"unknown"} and set(result.ledger()["cost_usd"]) == {None}


def test_spending_is_counted_over_all_runs_of_the_directory(tmp_path: Path) -> None:
    with ServerProcess() as server:
        recipe = Job(40, candidates=1).write(tmp_path, server.url)
        assert factory("run", recipe, "--out", tmp_path / "run", "--rows", 20).returncode == 0
        already = spent(tmp_path / "run")
        done = factory("run", recipe, "--out", tmp_path / "run", "--budget", already / NANO)
        assert done.returncode == 4 and "budget" in done.stderr
        assert spent(tmp_path / "run") == already
