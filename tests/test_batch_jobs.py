"""Batch runs against a server that expires, drops, refuses and fails: everything ends once, and is booked as billed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from batch_runs import PRICE, TIMING, batch_recipe, booked, check_paid_once
from batch_server import BatchServer
from support import parquet_hashes, server_model, write_recipe

from factory.errors import Incomplete, KeyRefused, RecipeError, ServerUnreachable, UsageError
from factory.recipe import Overrides, load_recipe
from factory.results import Result
from factory.runner import execute
from factory.session import RunOptions


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_BATCH_TIMING", TIMING)


def run(recipe: Path, out: Path, *, rows: int | None = None, **options: Any) -> Result:
    overrides = Overrides(rows=rows, seed=None, budget=None, models=(), sets=())
    return execute(load_recipe(str(recipe), overrides=overrides), RunOptions(out=out, **options))


def outcomes(out: Path) -> Counter[str]:
    return Counter(entry.outcome for entry in booked(out)[0] if entry.purpose != "probe")


def test_partial_and_expired_batches_are_completed_and_billed_once(tmp_path: Path) -> None:
    first = {"expire": 0.2, "drop": 0.1, "error": 0.1, "limit": 0.1, "refuse": 0.1}
    with BatchServer(first=first) as server:
        result = run(batch_recipe(tmp_path, server.url, rows=60, filter=[]), tmp_path / "run")
        check_paid_once(server.stats(), tmp_path / "run")
        assert server.stats()["submits"] <= 8
    assert result.summary["rows"] == 60
    assert set(outcomes(tmp_path / "run")) == {"ok", "not_served", "server_error", "overloaded", "bad_request"}
    refused = [call for call in booked(tmp_path / "run")[1] if call.outcome == "bad_request"]
    assert refused and all("the test server says refuse" in call.message for call in refused)
    assert result.summary["rejected"]["call"] == len(refused)


def test_a_line_that_cannot_be_read_counts_at_its_upper_bound(tmp_path: Path) -> None:
    with BatchServer(first={"garbage": 0.2}) as server:
        run(batch_recipe(tmp_path, server.url, filter=[]), tmp_path / "run")
        stats = server.stats()
    garbage = sum(count - 1 for count in stats["generated"].values())
    entries = [entry for entry in booked(tmp_path / "run")[0] if entry.outcome == "bad_body"]
    assert len(entries) == garbage > 0, "those alone were asked twice"
    assert all(entry.nano_usd is None and entry.upper_bound_nano_usd for entry in entries)


def test_a_cancelled_batch_is_sent_again(tmp_path: Path) -> None:
    with BatchServer(hold=True) as server:

        def cancel() -> None:
            while not server.stats()["batches"]:
                time.sleep(0.01)
            name = next(iter(server.stats()["batches"]))
            server._ask(f"/v1/batches/{name}/cancel", b"{}")
            server.configure(hold=False)

        thread = threading.Thread(target=cancel)
        thread.start()
        result = run(batch_recipe(tmp_path, server.url, filter=[]), tmp_path / "run")
        thread.join()
        check_paid_once(server.stats(), tmp_path / "run")
    assert result.summary["rows"] == 40
    assert outcomes(tmp_path / "run")["not_served"] == 40


@pytest.mark.parametrize(("code", "hint"), [("model_not_found", "model"), ("invalid_json_line", "doctor")])
def test_a_batch_that_fails_its_validation_stops_the_run_and_costs_nothing(
    tmp_path: Path, code: str, hint: str
) -> None:
    with BatchServer(fail=[code]) as server:
        recipe = batch_recipe(tmp_path, server.url, filter=[])
        with pytest.raises(KeyRefused, match=f"(?s)as a whole: line 1: the test server says {code}") as caught:
            run(recipe, tmp_path / "run")
        assert hint in caught.value.hint
        assert sum(outcomes(tmp_path / "run").values()) == 1, "one call tells of it"
        assert run(recipe, tmp_path / "run").summary["rows"] == 40
        check_paid_once(server.stats(), tmp_path / "run")


def test_too_many_enqueued_tokens_make_smaller_batches(tmp_path: Path) -> None:
    with BatchServer(enqueued=12) as server:
        result = run(batch_recipe(tmp_path, server.url, filter=[]), tmp_path / "run")
        stats = server.stats()
        check_paid_once(stats, tmp_path / "run")
    assert result.summary["rows"] == 40
    assert outcomes(tmp_path / "run") == {"ok": 40}, "what was never run is no attempt"
    done = [size for name, size in stats["sizes"].items() if stats["batches"][name] == "completed"]
    assert max(done) <= 12


def test_a_refused_parameter_is_sent_otherwise_in_the_next_batch(tmp_path: Path) -> None:
    with BatchServer(refuse=["max_tokens"]) as server:
        result = run(batch_recipe(tmp_path, server.url, filter=[]), tmp_path / "run")
        check_paid_once(server.stats(), tmp_path / "run")
        assert server.stats()["submits"] == 2
    assert result.summary["rows"] == 40
    assert any("max_completion_tokens" in told for told in result.summary["notices"])


def test_an_outage_while_waiting_is_waited_out(tmp_path: Path) -> None:
    with BatchServer(hold=True) as server:

        def trouble() -> None:
            while server.stats()["polls"] < 2:
                time.sleep(0.01)
            server.configure(down=True, hold=False)
            time.sleep(0.5)
            server.configure(down=False)

        thread = threading.Thread(target=trouble)
        thread.start()
        result = run(batch_recipe(tmp_path, server.url, filter=[]), tmp_path / "run")
        thread.join()
        check_paid_once(server.stats(), tmp_path / "run")
    assert result.summary["rows"] == 40 and outcomes(tmp_path / "run") == {"ok": 40}


def test_a_server_that_is_not_there_ends_the_run_without_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_BATCH_TIMING", TIMING + ",silent=0.3")
    with BatchServer() as server:
        url = server.url
    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:\d+"):
        run(batch_recipe(tmp_path, url), tmp_path / "run")
    assert not booked(tmp_path / "run")[0]


def test_a_server_without_metadata_is_searched_by_file(tmp_path: Path) -> None:
    with BatchServer(metadata=False, first={"expire": 0.3}) as server:
        run(batch_recipe(tmp_path, server.url, filter=[]), tmp_path / "run")
        check_paid_once(server.stats(), tmp_path / "run")


def test_two_steps_two_batch_models_and_a_live_one(tmp_path: Path) -> None:
    with BatchServer(latency=0.2) as server:
        batch = server_model(server.url, batch=True, price=PRICE, identity="one")
        models = {
            "writer": batch,
            "critic": {**batch, "identity": "two", "temperature": 0.1},
            "live": server_model(server.url, price=PRICE, identity="three"),
        }
        steps = [
            {"name": "draft", "prompt": "Tell me of the {{ animal }} {{ number }}.", "generate": {"model": "writer"}},
            {"name": "better", "prompt": "Better: {{ draft.draft }}", "generate": {"model": "live"}},
            {"name": "last", "prompt": "Judge: {{ better.better }}", "generate": {"model": "critic"}},
        ]
        recipe = write_recipe(tmp_path, models=models, steps=steps, prompt=None, generate=None, rows=30)
        result = run(recipe, tmp_path / "run")
        stats = server.stats()
    assert result.summary["rows"] == 30
    assert stats["submits"] == 2 and stats["live"] == 30, "the second batch waits for the live calls between"
    assert set(stats["generated"].values()) == {1} and len(stats["generated"]) == 60


def test_waves_are_few_and_little_is_paid_past_the_target(tmp_path: Path) -> None:
    kept = [{"where": {"expression": "number % 2 == 0"}}]
    with BatchServer(latency=0.02) as server:
        result = run(batch_recipe(tmp_path, server.url, rows=300, score=[], filter=kept), tmp_path / "run")
        stats = server.stats()
    assert result.summary["rows"] == 300
    planned = result.summary["planned"]
    assert stats["submits"] <= 4
    assert len(stats["generated"]) <= 1.12 * planned


def test_what_no_row_asks_for_any_more_is_booked_all_the_same(tmp_path: Path) -> None:
    with BatchServer(hold=True) as server:
        recipe = batch_recipe(tmp_path, server.url, filter=[])
        interrupt(recipe, tmp_path / "run", server)
        server.configure(hold=False)
        result = run(recipe, tmp_path / "run", rows=10)
        check_paid_once(server.stats(), tmp_path / "run")
        assert result.summary["rows"] == 10 and len(server.stats()["generated"]) == 40
        submits = server.stats()["submits"]
        assert run(recipe, tmp_path / "run").summary["rows"] == 40
        assert server.stats()["submits"] == submits, "the others were journaled"


def interrupt(recipe: Path, out: Path, server: BatchServer) -> None:
    """Run until a batch has been submitted, and leave as Ctrl-C does."""
    import asyncio

    from factory.errors import Interrupted
    from factory.runner import _execute, compile_job

    handle: dict[str, Any] = {}

    def watch() -> None:
        while not server.stats()["polls"]:
            time.sleep(0.01)
        handle["interrupt"]()

    thread = threading.Thread(target=watch)
    thread.start()
    job = compile_job(load_recipe(str(recipe)))
    with pytest.raises(Interrupted):
        asyncio.run(_execute(job, RunOptions(out=out), handle_signals=False, expose=handle))
    thread.join()


def test_the_budget_holds_over_an_interruption(tmp_path: Path) -> None:
    cap = 0.05
    with BatchServer(hold=True) as server:
        recipe = batch_recipe(tmp_path, server.url, filter=[], budget={"usd": cap}, rows=100)
        interrupt(recipe, tmp_path / "run", server)
        sent = sum(server.stats()["sizes"].values())
        assert 5 < sent < 100, "as many as the cap bears at their worst case"
        server.configure(hold=False)
        with pytest.raises(Incomplete, match="budget"):
            run(recipe, tmp_path / "run")
        stats = server.stats()
        check_paid_once(stats, tmp_path / "run")
    billed = stats["prompt_tokens"] * 1_000 + stats["completion_tokens"] * 10_000
    assert 0.85 * cap < billed / 1e9 <= cap


def test_a_budget_that_batches_use_up_is_no_reason_not_to_collect_them(tmp_path: Path) -> None:
    """One row's worst case is most of the cap: what was sent must not bar its own collection."""
    with BatchServer(hold=True, n_mode="ignore") as server:
        wide: dict[str, Any] = {"generate": {"model": "writer", "candidates": 10}, "rows": 1}
        recipe = batch_recipe(tmp_path, server.url, filter=[], budget={"usd": 0.0255}, **wide)
        interrupt(recipe, tmp_path / "run", server)
        assert sum(server.stats()["sizes"].values()) == 10
        server.configure(hold=False)
        assert run(recipe, tmp_path / "run").summary["rows"] == 1
        check_paid_once(server.stats(), tmp_path / "run")


def test_refusals_spread_over_a_batch_stop_no_run(tmp_path: Path) -> None:
    """A batch tells its errors in a file of their own: sixty in a row are no sign that nothing succeeds."""
    with BatchServer(first={"refuse": 0.3}) as server:
        result = run(batch_recipe(tmp_path, server.url, rows=140, filter=[], score=[]), tmp_path / "run")
        check_paid_once(server.stats(), tmp_path / "run")
    assert result.summary["rows"] == 140 and outcomes(tmp_path / "run")["bad_request"] > 40


def test_a_failure_elsewhere_ends_the_run_though_a_batch_is_out(tmp_path: Path) -> None:
    from fault_server import FaultServer, Settings

    with BatchServer(hold=True) as server, FaultServer(Settings(models=("mock-text",))) as other:
        models = {
            "writer": server_model(server.url, batch=True),
            "live": server_model(other.url, model="mock-gone"),
        }
        mixed = {"model": {"writer": 1, "live": 1}}
        recipe = write_recipe(tmp_path, models=models, generate=mixed, rows=30)
        with pytest.raises(KeyRefused, match="mock-gone"):
            run(recipe, tmp_path / "run")


def test_probes_are_live_and_cost_the_standard_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at a provider: the tables know both prices of its models."""
    import factory.opening
    from factory.prices import LOCAL, PriceTable

    def price_for(config: Any, *, local: bool) -> PriceTable:
        assert local and LOCAL.source == "local"
        return (
            PriceTable(500, 500, None, "genai-prices (batch)")
            if config.batch
            else PriceTable(1000, 1000, None, "genai-prices")
        )

    monkeypatch.setattr(factory.opening, "price_for", price_for)
    with BatchServer() as server:
        two = {"generate": {"model": "writer", "candidates": 2}, "filter": []}
        run(batch_recipe(tmp_path, server.url, model={"price": None}, rows=3, **two), tmp_path / "run")
    entries, _ = booked(tmp_path / "run")
    for entry in entries:
        rate = 1000 if entry.purpose == "probe" else 500
        assert entry.nano_usd == (entry.prompt_tokens + entry.completion_tokens) * rate
    assert {entry.price_source for entry in entries} == {"genai-prices", "genai-prices (batch)"}


def test_replay_of_a_batch_run_needs_no_server(tmp_path: Path) -> None:
    with BatchServer() as server:
        recipe = batch_recipe(tmp_path, server.url)
        run(recipe, tmp_path / "run")
        before = parquet_hashes(tmp_path / "run")
    assert run(recipe, tmp_path / "run", replay=True).summary["calls"] == 0
    assert parquet_hashes(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"backend": "embedded", "model": "tiny"}, "needs the backend `openai`"),
        ({"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "api": "responses"}, "Responses API"),
    ],
)
def test_where_batches_are_not_to_be_had(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    recipe = write_recipe(tmp_path, models={"writer": {**changes, "batch": True}})
    with pytest.raises((UsageError, RecipeError), match=told):
        run(recipe, tmp_path / "run")


def test_unknown_timing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_BATCH_TIMING", "frist=2")
    with pytest.raises(UsageError, match="frist"):
        run(batch_recipe(tmp_path, "http://127.0.0.1:9/v1"), tmp_path / "run")
