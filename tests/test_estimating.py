"""`factory estimate`: what it says before anything is made, from a pilot, and from a journal that is there."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from hypothesis import given
from hypothesis import strategies as st
from support import factory, factory_json, server_model, write_recipe

import factory as package
from factory.errors import RecipeError, RunDirError, UsageError
from factory.estimating import Interval, estimate_recipe
from factory.explaining import run_ledger
from factory.previewing import preview_rows
from factory.recipe import Overrides, load_recipe
from factory.runner import execute
from factory.session import RunOptions
from factory.token_counts import count_bytes

PRICE = {"price": {"input": 1.0, "output": 4.0}}
COUNTS = ("planned", "requests", "prompt_tokens", "completion_tokens")
amounts = st.floats(0, 1e9)


def estimated(path: Path | str, out: Path, pilot: int | None = None, **overrides: Any) -> dict[str, Any]:
    return estimate_recipe(load_recipe(str(path), overrides=Overrides(**overrides)), RunOptions(out=out), pilot=pilot)


def in_order(interval: dict[str, float]) -> bool:
    return interval["low"] <= interval["expected"] <= interval["high"]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@given(amounts, amounts, amounts, amounts)
def test_intervals_add_and_multiply_bound_by_bound(a: float, b: float, c: float, d: float) -> None:
    one, other = Interval(min(a, b), min(a, b), max(a, b)), Interval(min(c, d), max(c, d), max(c, d))
    for value in (one + other, one.times(other), one.times(2.0)):
        assert 0 <= value.low <= value.expected <= value.high
    assert Interval(1.2, 1.5, 1.7).counts() == {"low": 1, "expected": 2, "high": 2}


def test_a_guess_needs_no_key_no_network_and_no_directory(tmp_path: Path, offline: None) -> None:
    model = {"backend": "openai", "model": "gpt-5-mini", "max_tokens": 100}
    path = write_recipe(tmp_path, models={"writer": model}, score=[{"length": {"min_words": 3}}])
    found = estimated(path, tmp_path / "run")
    assert found["basis"] == "guess" and found["pilot_rows"] == 0 and not (tmp_path / "run").exists()
    assert found["planned"] == {"low": 20, "expected": 40, "high": 80}, "from all accepted to max_planned"
    assert found["completion_tokens"] == {"low": 100, "expected": 1333, "high": 8000}
    assert in_order(found["usd"]) and found["usd"]["low"] > 0 and in_order(found["seconds"])
    assert found["by_model"][0]["price_source"] == "genai-prices"
    assert any("writer cannot be opened here" in note and "OPENAI_API_KEY" in note for note in found["notes"])


def test_prompts_of_a_guess_are_the_plans_own(tmp_path: Path) -> None:
    """Echo counts bytes, so here the guess of prompt tokens can be checked to the token, save what a template adds."""
    path = write_recipe(tmp_path, rows=30, max_planned=30)
    recipe = load_recipe(str(path), overrides=Overrides())
    true = sum(
        count_bytes(message["content"])
        for row in preview_rows(recipe, 30)["rows"]
        for message in row["prompts"][0]["messages"]
    )
    found = estimated(path, tmp_path / "run")
    assert found["planned"] == {"low": 30, "expected": 30, "high": 30}, "nothing can be rejected"
    assert found["prompt_tokens"]["low"] <= true <= found["prompt_tokens"]["high"]
    assert found["prompt_tokens"]["expected"] == true + 4 * 30


def test_an_unknown_price_is_no_0(tmp_path: Path, offline: None) -> None:
    path = write_recipe(
        tmp_path, models={"writer": {"backend": "openai", "model": "m", "base_url": "https://x.example/v1"}}
    )
    found = estimated(path, tmp_path / "run", budget=1.0)
    assert found["usd"] is None and found["to_pay"]["usd"] is None and found["usd_per_row"] is None
    assert found["budget"] == {"usd": 1.0, "suffices": None, "rows": None}
    notes = " ".join(found["notes"])
    assert "price" in notes and "refuses a budget" in notes and "max_tokens" in notes


def test_judges_repairs_steps_and_mixtures_are_in_the_guess(tmp_path: Path, offline: None) -> None:
    @package.scorer("estimate_judge")
    async def estimate_judge(candidate: Any, context: Any, *, model: str, rubric: str = "") -> float:
        return 1.0

    steps = [
        {"name": "draft", "prompt": "Draft {{ number }}", "generate": {"model": {"a": 3, "b": 1}}},
        {
            "name": "final", "prompt": "Improve: {{ draft.draft }}{% for x in draft.draft.items %}{% endfor %}",
            "generate": {"model": "a", "candidates": 3}, "output": {"text": "str", "points": "list[int]"},
            "repair": True, "score": [{"estimate_judge": {"model": "judge", "rubric": "word " * 400}}],
        },
    ]  # fmt: skip
    models = {name: {"backend": "echo", "max_tokens": 90, **PRICE} for name in ("a", "b", "judge")}
    path = write_recipe(tmp_path, prompt=None, steps=steps, models=models, rows=40)
    found = estimated(path, tmp_path / "run")
    parts = {(part["step"], part["purpose"], part["role"]): part for part in found["by_step"]}
    assert set(parts) == {
        ("draft", "generate", "a"), ("draft", "generate", "b"), ("final", "generate", "a"), ("final", "repair", "a"),
        ("final", "judge", "judge"),
    }  # fmt: skip
    drafts = [parts["draft", "generate", role]["requests"]["expected"] for role in "ab"]
    assert drafts == [60, 20], "by the mixture's weights"
    judged = parts["final", "judge", "judge"]
    assert judged["requests"]["low"] == 40 and judged["requests"]["expected"] == 240
    assert judged["prompt_tokens"]["expected"] > 240 * 500, "the rubric is counted"
    for name in COUNTS[1:]:
        total = sum(part[name]["expected"] for part in found["by_step"])
        assert abs(total - found[name]["expected"]) <= len(parts)


def test_a_pilot_is_journaled_and_used(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=60, score=[{"format": {"not_contains": "cat"}}])
    out = tmp_path / "run"
    found = estimated(path, out, pilot=20)
    assert found["basis"] == "pilot" and found["pilot_rows"] == 20 and found["run"] == str(out)
    assert all(in_order(found[name]) for name in COUNTS) and in_order(found["seconds"])
    assert found["to_pay"]["requests"]["expected"] == found["requests"]["expected"] - 20
    assert estimated(path, out)["basis"] == "journal"
    assert estimated(path, out)["requests"] == found["requests"], "the same rows tell the same"
    result = execute(load_recipe(str(path), overrides=Overrides()), RunOptions(out=out))
    assert (
        result.summary["replayed"] >= 20 and run_ledger(out, None)["total"]["attempts"] == result.summary["calls"] + 20
    )


def test_a_finished_run_is_known_and_costs_nothing_more(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=30, models={"writer": {"backend": "echo", **PRICE}})
    out = tmp_path / "run"
    summary = execute(load_recipe(str(path), overrides=Overrides()), RunOptions(out=out)).summary
    found = estimated(path, out)
    total = run_ledger(out, None)["total"]
    assert found["planned"]["low"] == found["planned"]["high"] == summary["planned"]
    assert found["requests"] == dict.fromkeys(("low", "expected", "high"), total["attempts"])
    assert found["usd"]["high"] == pytest.approx(total["cost_usd"]) == found["paid_usd"]
    assert found["to_pay"]["usd"] == {"low": 0, "expected": 0, "high": 0} and found["to_pay"]["seconds"]["high"] == 0
    more = estimated(path, out, rows=90)
    assert more["requests"]["expected"] > 80 and more["to_pay"]["requests"]["expected"] >= 50


def test_an_estimate_of_a_live_run_changes_nothing(tmp_path: Path) -> None:
    from factory.locking import hold

    path = write_recipe(tmp_path, rows=30)
    out = tmp_path / "run"
    estimated(path, out, pilot=10)

    def contents() -> dict[Path, bytes]:
        files = [file for file in out.rglob("*") if file.is_file()]
        return {file: file.read_bytes() for file in files if not file.name.endswith(("-shm", "-wal", "lock"))}

    before = contents()
    with hold(out):
        assert estimated(path, out)["basis"] == "journal"
        with pytest.raises(RunDirError):
            estimated(path, out, pilot=10)
    assert contents() == before


def test_one_pass_over_a_source_is_planned_exactly(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"x": f"text {n}"}) + "\n" for n in range(50)))
    path = write_recipe(tmp_path, rows="all", **{"from": {"path": "rows.jsonl"}}, prompt="Say {{ source.x }} {{ row }}")
    for pilot in (None, 10):
        found = estimated(path, tmp_path / "run", pilot=pilot)
        assert found["planned"] == {"low": 50, "expected": 50, "high": 50} and found["rows"] == 50


def test_a_pilot_is_no_larger_than_the_run(tmp_path: Path) -> None:
    found = estimated(write_recipe(tmp_path, rows=12, keep={"top_k": 2}, generate={"model": "writer", "candidates": 4}),
                      tmp_path / "run", pilot=50)  # fmt: skip
    assert found["pilot_rows"] == 6 and any("no more" in note for note in found["notes"])


def test_a_target_out_of_reach_is_told(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=40, score=[{"format": {"contains": "cat"}}])
    found = estimated(path, tmp_path / "run", pilot=20)
    assert found["planned"]["high"] == 160 and found["target_at_risk"] > 0.5
    assert any("max_planned may not be enough" in note for note in found["notes"])


@pytest.mark.parametrize("pilot", [None, 20])
def test_a_budget_is_compared(tmp_path: Path, pilot: int | None) -> None:
    path = write_recipe(tmp_path, rows=100, models={"writer": {"backend": "echo", "max_tokens": 40, **PRICE}})
    out = tmp_path / "run"
    rich = estimated(path, out, pilot=pilot, budget=100.0)
    assert rich["budget"]["suffices"] is True and rich["budget"]["rows"] == dict.fromkeys(
        ("low", "expected", "high"), 100
    )
    poor = estimated(path, out, budget=rich["usd"]["low"] / 4)
    assert (
        poor["budget"]["suffices"] is False
        and in_order(poor["budget"]["rows"])
        and poor["budget"]["rows"]["high"] <= 25
    )
    middle = (rich["usd"]["low"] + rich["usd"]["high"]) / 2
    assert estimated(path, out, budget=middle)["budget"]["suffices"] is (None if rich["usd"]["low"] < middle else True)


def test_a_pilot_that_the_budget_ends_still_tells(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=500, models={"writer": {"backend": "echo", "max_tokens": 40, **PRICE}})
    full = estimated(path, tmp_path / "full", pilot=10)
    cap = full["usd"]["expected"] / 500 * 20
    found = estimated(path, tmp_path / "run", pilot=100, budget=cap)
    assert 2 <= found["pilot_rows"] < 100 and any("pilot ended early" in note for note in found["notes"])
    assert found["budget"]["suffices"] is False and found["paid_usd"] <= cap


def test_lost_attempts_widen_the_upper_end(tmp_path: Path) -> None:
    with FaultServer(Settings(faults={"reset_late": 0.2})) as server:
        models = {"writer": server_model(server.url, **PRICE)}
        found = estimated(write_recipe(tmp_path, rows=60, models=models), tmp_path / "run", pilot=20)
    assert found["requests"]["high"] > 60 and any("sent and lost" in note for note in found["notes"])
    assert found["usd"]["high"] > 1.2 * found["usd"]["expected"]


@pytest.mark.parametrize("pilot", [0, -3, 1])
def test_a_pilot_has_two_rows_at_least(tmp_path: Path, pilot: int) -> None:
    with pytest.raises(UsageError, match=r"2 rows at least"):
        estimated(write_recipe(tmp_path), tmp_path / "run", pilot=pilot)
    assert not (tmp_path / "run").exists()


def test_faults_are_those_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="animall"):
        estimated(write_recipe(tmp_path, prompt="{{ animall }}"), tmp_path / "run")
    estimated(write_recipe(tmp_path), tmp_path / "run", pilot=2)
    with pytest.raises(RunDirError, match="another plan"):
        estimated(write_recipe(tmp_path, seed=5), tmp_path / "run")


def test_the_command(tmp_path: Path) -> None:
    write_recipe(tmp_path, rows=40, models={"writer": {"backend": "echo", "max_tokens": 40, **PRICE}})
    guess = factory("estimate", "recipe.yaml", cwd=tmp_path)
    assert guess.returncode == 0 and "a guess" in guess.stdout and "--pilot 20" in guess.stdout
    assert not (tmp_path / "runs").exists() and guess.stderr == ""
    pilot = factory("estimate", "recipe.yaml", "--pilot", 10, "--budget", 5, cwd=tmp_path)
    assert pilot.returncode == 0 and "pilot of 10 rows" in pilot.stdout and "suffices" in pilot.stdout
    assert all(len(line) <= 80 for line in (guess.stdout + pilot.stdout).splitlines())
    found = factory_json("estimate", "recipe.yaml", "--rows", 80, cwd=tmp_path)
    assert found["basis"] == "journal" and found["rows"] == 80
    keys = {"run", "basis", "pilot_rows", "rows", *COUNTS, "usd", "seconds", "by_model", "by_step", "notes", "to_pay"}
    assert keys <= set(found)
    bad = factory_json("estimate", "recipe.yaml", "--pilot", 0, cwd=tmp_path, code=2)
    assert bad["error"]["code"] == "usage" and "--pilot 0" in bad["error"]["message"]
    assert factory("estimate", "recipe.yaml", "--model", "writer", cwd=tmp_path).returncode == 2


def test_a_pilot_without_a_key_is_told(tmp_path: Path) -> None:
    write_recipe(tmp_path, models={"writer": {"backend": "openai", "model": "gpt-5-mini", "max_tokens": 50}})
    done = factory("estimate", "recipe.yaml", "--pilot", 5, cwd=tmp_path)
    assert done.returncode == 2 and "OPENAI_API_KEY" in done.stderr and "Traceback" not in done.stderr
    assert factory("estimate", "recipe.yaml", cwd=tmp_path).returncode == 0


def test_batch_models_have_days_and_limits_have_minutes(tmp_path: Path, offline: None) -> None:
    model = {"backend": "openai", "model": "gpt-5-mini", "max_tokens": 100, "requests_per_minute": 2}
    slow = estimated(write_recipe(tmp_path, models={"writer": model}), tmp_path / "run")
    assert slow["seconds"]["low"] == 600, "20 requests at two a minute"
    batch = estimated(write_recipe(tmp_path, models={"writer": model | {"batch": True}}), tmp_path / "run")
    assert batch["by_model"][0]["batch"] and batch["seconds"]["high"] == 2 * 86_400
    assert any("24 hours" in note for note in batch["notes"])


def test_a_pilot_keeps_to_the_limits_in_its_forecast(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        models = {"writer": server_model(server.url, requests_per_minute=1200, **PRICE)}
        found = estimated(write_recipe(tmp_path, rows=200, models=models), tmp_path / "run", pilot=5)
    assert found["to_pay"]["seconds"]["low"] >= 195 * 60 / 1200 * 0.98


@pytest.mark.parametrize("hour", [None, 2.0])
def test_a_price_by_the_hour_needs_a_pilot(tmp_path: Path, offline: None, hour: float | None) -> None:
    price = {"gpu_hour": hour} if hour else {"input": 1.0, "output": 1.0}
    model = {"backend": "vllm", "model": "org/name", "max_tokens": 50, "price": price}
    found = estimated(write_recipe(tmp_path, models={"writer": model}), tmp_path / "run")
    assert (found["usd"] is None) is (hour is not None) and found["seconds"] is None
    assert any("by the hour" in note for note in found["notes"]) is (hour is not None)
