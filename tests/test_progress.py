"""What a snapshot derives, and what `progress.json` and `status` tell of a run that is live."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import write_recipe

from factory.cli.inspecting import _show_status
from factory.explaining import run_status
from factory.locking import hold
from factory.progress import ModelState, Progress, model_states, read_progress, write_progress
from factory.recipe import Overrides, load_recipe
from factory.runner import execute
from factory.session import RunOptions
from factory.types import NANO


def snapshot(**changes: Any) -> Progress:
    fields = {"status": "running", "run": "r", "accepted": 50, "target": 200, "committed": 80, "limit": 800}
    return Progress(**{**fields, "spent_nano": NANO // 2, **changes})


def test_what_is_projected() -> None:
    assert snapshot().per_row_usd == pytest.approx(0.01) and snapshot().projected_usd == pytest.approx(2.0)
    assert snapshot(accepted=0).per_row_usd is None and snapshot(accepted=0).projected_usd is None
    assert snapshot(spent_nano=None).per_row_usd is None and snapshot(spent_nano=None).projected_usd is None
    assert snapshot(accepted=200).projected_usd == pytest.approx(0.5), "no less than what is spent"
    one_pass = snapshot(target=None, committed=80, limit=400)
    assert one_pass.projected_usd == pytest.approx(2.5) and one_pass.per_row_usd == pytest.approx(0.01)


def test_models_tell_what_they_have() -> None:
    config = SimpleNamespace(name="openai/m")
    plain = SimpleNamespace(config=config, concurrency=16, backend=SimpleNamespace())
    window = SimpleNamespace(in_flight=3, limit=4, paused=True)
    full = SimpleNamespace(
        config=config, concurrency=16, window=window, backend=SimpleNamespace(progress=lambda: "b 1")
    )
    assert model_states({"a": plain, "b": full}) == (
        ModelState("a", "openai/m", 0, 16, 16),
        ModelState("b", "openai/m", 3, 4, 16, True, "b 1"),
    )


def test_the_file_holds_what_is_derived(tmp_path: Path) -> None:
    write_progress(tmp_path / "p.json", snapshot(models=(ModelState("a", "m"),)))
    found = read_progress(tmp_path / "p.json")
    assert found is not None and found["per_row_usd"] == 0.01 and found["projected_usd"] == 2.0
    assert found["models"][0]["role"] == "a"


def test_a_run_reports_its_models_and_status_shows_them(tmp_path: Path) -> None:
    model = {"backend": "echo", "price": {"input": 1.0, "output": 4.0}, "max_tokens": 40}
    recipe = load_recipe(str(write_recipe(tmp_path, models={"writer": model})), overrides=Overrides())
    seen: list[Progress] = []
    execute(recipe, RunOptions(out=tmp_path / "run", on_progress=seen.append))
    last = seen[-1]
    assert last.models[0].role == "writer" and last.models[0].model == "echo" and last.models[0].cap == 64
    assert last.projected_usd == pytest.approx(last.spent_usd) and last.per_row_usd is not None
    with hold(tmp_path / "run"):
        found = run_status(tmp_path / "run")
        assert found["progress"]["per_row_usd"] == last.per_row_usd
        text = _show_status(found)
    assert "a row so far" in text and "in all at that rate" in text and "writer (echo): 0 in flight" in text
    json.dumps(found)
