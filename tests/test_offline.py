"""Requests exported, answered elsewhere, imported: the dataset of a live run, every answer booked once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from batch_runs import booked
from fault_answers import make_answer
from fault_server import FaultServer, Settings
from support import factory, factory_json, parquet_hashes, server_model, write_recipe

KEPT = [{"where": {"expression": "number % 3 != 0"}}]


def answer(file: Path, **changes: dict[str, Any]) -> Path:
    """What a cluster makes of a file, in another order; `changes` replace the answer to a line by its number."""
    lines = read(file)
    told = []
    for number, line in enumerate(lines):
        assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
        made = {
            "id": f"vllm-{number}",
            "custom_id": line["custom_id"],
            "response": {"status_code": 200, "request_id": f"r{number}", "body": make_answer(line["body"], 1, "")[0]},
            "error": None,
        }
        told.append(json.dumps(made | changes.get(f"line{number}", {})))
    out = file.with_suffix(".answers.jsonl")
    out.write_text("\n".join(reversed(told)) + "\n")
    return out


def read(file: Path | str) -> list[dict[str, Any]]:
    """The lines of a batch file."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def rounds(recipe: Path, directory: Path) -> list[dict[str, Any]]:
    """Export and import until nothing is missing; what each export told."""
    told: list[dict[str, Any]] = []
    while len(told) < 12:
        found = factory_json("export-requests", recipe, "--run", directory / "run", "--out", directory / "asked.jsonl")
        if not found["requests"]:
            return told
        told.append(found)
        for file in found["files"]:
            imported = factory_json("import-responses", directory / "run", answer(Path(file)))
            assert imported["failed"] == imported["unknown"] == 0
    raise AssertionError("there is no end to it")


def test_rounds_make_the_dataset_of_a_live_run(tmp_path: Path) -> None:
    model = server_model("https://cluster.example.org/v1", api_key_env="NO_SUCH_KEY", identity="mock", price=None)
    steps = [
        {"name": "draft", "prompt": "Of the {{ animal }} {{ number }}.", "generate": {"candidates": 2}},
        {"name": "final", "prompt": "Better: {{ draft.draft }}"},
    ]
    changes: dict[str, Any] = {"rows": 24, "steps": steps, "prompt": None, "filter": KEPT, "generate": None}
    recipe = write_recipe(tmp_path / "away", models={"writer": model}, **changes)
    told = rounds(recipe, tmp_path / "away")
    assert told[0]["steps"] == {"draft": 48} and told[1]["steps"] == {"final": 24}
    assert told[0]["rows"] == 24 and told[0]["file"].endswith("asked.jsonl")
    made = factory_json("run", recipe, "--out", tmp_path / "away" / "run", "--replay")
    assert made["rows"] == 24 and made["calls"] == 0

    with FaultServer(Settings(n_mode="ignore")) as server:
        live = write_recipe(
            tmp_path / "live", models={"writer": server_model(server.url, identity="mock", price=None)}, **changes
        )
        assert factory_json("run", live, "--out", tmp_path / "live" / "run")["rows"] == 24
    import pyarrow.parquet as pq

    def texts(place: str) -> list[Any]:
        paths = sorted((tmp_path / place / "run" / "dataset").rglob("*.parquet"))
        return [(row["draft"], row["final"]) for path in paths for row in pq.read_table(path).to_pylist()]

    assert texts("away") == texts("live")
    ok = [entry for entry in booked(tmp_path / "away" / "run")[0] if entry.outcome == "ok"]
    assert len(ok) == len({entry.call_id for entry in ok}) == sum(found["requests"] for found in told)
    assert {entry.price_source for entry in ok} == {"unknown"}


def test_imports_are_idempotent_and_tell_what_is_wrong(tmp_path: Path) -> None:
    model = server_model("http://127.0.0.1:9/v1", price={"input": 1, "output": 10})
    recipe = write_recipe(tmp_path, models={"writer": model}, rows=6)
    run = tmp_path / "run"
    found = factory_json("export-requests", recipe, "--run", run)
    assert found["requests"] == 6 and found["file"] == str(run / "requests.jsonl")
    too_long = {"error": {"message": "This model's maximum context length is 10 tokens", "code": 400}}
    file = answer(
        Path(found["file"]),
        line0={"response": {"status_code": 500, "body": {"error": {"message": "out of luck"}}}},
        line1={"response": {"status_code": 400, "body": None}, "error": too_long["error"]},
        line2={"custom_id": "f" * 32},
        line3={"response": None, "error": {"code": "batch_expired", "message": "too late"}},
    )
    file.write_text(file.read_text() + "nonsense\n[]\n")
    first = factory_json("import-responses", run, file)
    counts = {name: first[name] for name in ("imported", "already", "refused", "unknown", "failed")}
    assert counts == {"imported": 2, "already": 0, "refused": 1, "unknown": 1, "failed": 4}
    assert {(fault["line"], fault["message"].split(":")[0]) for fault in first["errors"]} >= {
        (6, "HTTP 500"),
        (5, "context_too_long"),
        (4, "no request of this run has this custom_id"),
        (7, "no JSON object with a `custom_id`"),
    }
    again = factory_json("import-responses", run, file)
    assert (again["imported"], again["already"], again["failed"]) == (0, 3, 4)
    entries, calls = booked(run)
    assert sorted(entry.outcome for entry in entries) == ["context_too_long", "ok", "ok"]
    assert {entry.price_source for entry in entries} == {"recipe"} and all(call.nano_usd is not None for call in calls)
    assert factory_json("export-requests", run)["requests"] == 3, "what failed is asked again"


def test_what_stands_in_the_way_is_told(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, models={"writer": server_model("http://127.0.0.1:9/v1")}, rows=3)
    run = tmp_path / "run"
    factory_json("export-requests", recipe, "--run", run)
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text(json.dumps({"custom_id": "0" * 32, "response": {"status_code": 200, "body": {}}}) + "\n")
    told = factory_json("import-responses", run, foreign, code=2)["error"]
    assert "none of its 1 lines" in told["message"]
    assert "no such file" in factory_json("import-responses", run, tmp_path / "gone", code=2)["error"]["message"]
    other = tmp_path / "other"
    (other / "journal").mkdir(parents=True)
    assert "nothing was exported" in factory_json("import-responses", other, foreign, code=2)["error"]["message"]
    shown = factory("export-requests", recipe, "--run", run)
    assert "3 requests of 3 rows" in shown.stdout and "import-responses" in shown.stdout


def test_local_steps_are_made_here_and_each_model_gets_a_file(tmp_path: Path) -> None:
    one = server_model("http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY")
    models = {"writer": {"backend": "echo"}, "one": one, "two": {**one, "model": "mock-echo"}}
    steps = [
        {"name": "seen", "prompt": "The {{ animal }} {{ number }}", "generate": {"model": "writer"}},
        {"name": "said", "prompt": "Of {{ seen.seen }}", "generate": {"model": {"one": 1, "two": 1}}},
    ]
    recipe = write_recipe(tmp_path, models=models, steps=steps, prompt=None, generate=None, rows=20)
    found = factory_json("export-requests", recipe, "--run", tmp_path / "run", "--out", tmp_path / "asked.jsonl")
    assert found["steps"] == {"said": 20}
    assert [Path(file).name for file in found["files"]] == ["asked-one.jsonl", "asked-two.jsonl"]
    named = [{line["body"]["model"] for line in read(file)} for file in found["files"]]
    assert named == [{"mock-text"}, {"mock-echo"}]


def test_how_json_is_asked_for_stays_as_it_was_decided(tmp_path: Path) -> None:
    """The decision is journaled: a server that comes later, and --retry-failed, change nothing about it."""
    with FaultServer() as server:
        model = server_model(server.url, "json", identity="mock")
        changes: dict[str, Any] = {"output": {"question": "str", "answer": "str"}, "rows": 5}
        changes |= {"generate": {"model": "writer", "candidates": 2}, "prompt": "In JSON: {{ animal }} {{ number }}"}
        recipe = write_recipe(tmp_path, models={"writer": model}, **changes)
        run = tmp_path / "run"
        found = factory_json("export-requests", recipe, "--run", run)
        lines = read(found["file"])
        assert len(lines) == 10 and not any("n" in line["body"] for line in lines)
        assert not any("response_format" in line["body"] for line in lines)
        factory_json("import-responses", run, answer(Path(found["file"])))
        before = factory_json("run", recipe, "--out", run, "--retry-failed")
        assert before["rows"] == 5 and server.stats()["requests"] == 0
    assert parquet_hashes(run)


@pytest.mark.parametrize("given", ["gone", "gone.yaml"])
def test_a_recipe_that_is_not_there(given: str) -> None:
    assert factory("export-requests", given).returncode == 2
