"""vLLM in process with the embedded checkpoint: what the backend promises, seen on the real engine."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_servers import CHECKPOINT, ENGINE, QUIET_CPU, ROWS, check_dataset, stored_answers, word_problems
from support import environment, parquet_hashes

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
ASK = Path(__file__).with_name("ask_vllm.py")


@pytest.fixture(scope="module")
def asked(vllm_python: str) -> dict[str, Any]:
    """What one engine answered."""
    done = subprocess.run(
        [vllm_python, str(ASK), str(CHECKPOINT), "answers"],
        capture_output=True,
        text=True,
        env=environment(**QUIET_CPU),
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("\n") == 1, f"more than the answers on stdout: {done.stdout[:2000]}"
    found: dict[str, Any] = json.loads(done.stdout)
    told = {name: found[name] for name in ("start_s", "wall_s", "tokens", "gpu_s")}
    print(told, f"{found['tokens'] / found['wall_s']:.0f} tokens/s")
    return found


def test_candidates_differ_and_repeat(asked: dict[str, Any]) -> None:
    assert len(set(asked["four"])) == 4
    assert asked["again"] == asked["four"]


def test_a_candidate_hangs_on_no_other(asked: dict[str, Any]) -> None:
    assert asked["solo"] == asked["four"][:1]
    assert asked["two"] == asked["four"][:2]
    assert asked["in_a_crowd"] == asked["four"]


def test_the_prompt_is_counted_once_and_the_time_is_shared_out(asked: dict[str, Any]) -> None:
    prompt, completion = asked["usage"]
    assert 10 < prompt < 40 and completion > 8
    assert 0.5 * asked["wall_s"] < asked["gpu_s"] <= asked["wall_s"] * 1.001


def test_logprobs_spell_the_text(asked: dict[str, Any]) -> None:
    text, tokens = asked["logprobs"]
    assert text == asked["solo"][0]
    assert "".join(token for token, _, _ in tokens) == text
    for token, value, top in tokens:
        assert value <= 0 and len(top) == 2 and top[0][1] >= top[1][1]
        assert value <= top[0][1] or math.isclose(value, top[0][1])
        assert all(other != token or math.isclose(value, p) for other, p in top)
    assert set(asked["logprobs_0"]) == {0}


def test_a_schema_is_kept(asked: dict[str, Any]) -> None:
    assert len(set(asked["json"])) > 1
    for text in asked["json"]:
        found = json.loads(text)
        assert set(found) == {"question", "count"} and found["count"] in ("one", "two")
    assert asked["object"][0].lstrip().startswith("{")


def test_sampling_parameters_reach_the_engine(asked: dict[str, Any]) -> None:
    assert len(asked["greedy"]) == 3 and len(set(asked["greedy"])) == 1
    assert asked["top_k_1"] == asked["greedy"][:1]
    assert asked["greedy"][0].startswith(asked["stop"][0]) and len(asked["stop"][0]) <= 10
    assert asked["five_tokens"] == 5


def test_without_max_tokens_the_model_says_how_much(asked: dict[str, Any]) -> None:
    _, completion, finish = asked["to_the_brim"]
    limit = json.loads((CHECKPOINT / "generation_config.json").read_text())["max_new_tokens"]
    assert (completion, finish) == (limit, "length")


def test_what_cannot_be_is_told(asked: dict[str, Any]) -> None:
    kind, message, _ = asked["too_long"]
    assert kind == "ContextTooLong" and "tokens" in message and "512" in message
    assert asked["unknown"][:2] == ["UsageError", "vllm has no sampling parameter `min_tokns`"]
    assert "min_tokens" in asked["unknown"][2]
    assert asked["bad_value"][0] == "UsageError" and "repetition_penalty" in asked["bad_value"][1]
    assert asked["bad_schema"][0] == "BadRequest"


def test_a_dead_engine_stops_the_run(asked: dict[str, Any]) -> None:
    kind, message, hint = asked["death"]
    assert kind == "Incomplete" and "died" in message and "the same command" in hint
    assert not psutil.pid_exists(asked["pid"])


def run_recipe(python: str, recipe: Path, out: Path, code: int = 0, **variables: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-m", "factory", "run", str(recipe), "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        env=environment(**(QUIET_CPU | variables)),
        timeout=400,
    )
    assert done.returncode == code, f"exit {done.returncode}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_recipe_runs_and_repeats(vllm_python: str, tmp_path: Path) -> None:
    recipe = word_problems(tmp_path, {"backend": "vllm", "model": str(CHECKPOINT), "engine": ENGINE})
    first = run_recipe(vllm_python, recipe, tmp_path / "one")
    assert (first["status"], first["rows"], first["calls"]) == ("complete", ROWS, ROWS)
    check_dataset(tmp_path / "one")
    assert sum(line["gpu_seconds"] for line in stored_answers(tmp_path / "one")) > 0
    run_recipe(vllm_python, recipe, tmp_path / "two")
    assert parquet_hashes(tmp_path / "two") == parquet_hashes(tmp_path / "one")


def test_a_finished_run_never_loads_the_model(vllm_python: str, tmp_path: Path) -> None:
    """Run once on the real engine; again, where an engine could not even find its kernels' folder."""
    recipe = word_problems(tmp_path, {"backend": "vllm", "model": str(CHECKPOINT), "engine": ENGINE}, rows=2)
    run_recipe(vllm_python, recipe, tmp_path / "run")
    again = run_recipe(vllm_python, recipe, tmp_path / "run", VLLM_CPU_KVCACHE_SPACE="no number")
    assert (again["calls"], again["status"]) == (0, "complete")


def test_what_keeps_an_engine_from_starting_is_told(vllm_python: str, tmp_path: Path) -> None:
    def failure(name: str, **changes: Any) -> dict[str, str]:
        engine = ENGINE | changes.pop("engine", {})
        variables = changes.pop("variables", {})
        model = {"backend": "vllm", "model": str(CHECKPOINT), "engine": engine} | changes
        recipe = word_problems(tmp_path / name, model)
        found: dict[str, str] = run_recipe(vllm_python, recipe, tmp_path / name / "run", 2, **variables)["error"]
        return found

    unknown = failure("unknown", engine={"max_model_length": 256})
    assert "`engine.max_model_length`" in unknown["message"] and "max_model_len" in unknown["hint"]
    missing = failure("missing", model=str(tmp_path / "nowhere"))
    assert "nowhere" in missing["message"] and "Hub name" in missing["hint"]
    memory = failure("memory", variables={"VLLM_CPU_KVCACHE_SPACE": "100000"})
    assert "max_model_len" in memory["hint"] and "quantization" in memory["hint"], memory


def test_no_process_outlives_a_kill(vllm_python: str) -> None:
    command = [vllm_python, str(ASK), str(CHECKPOINT), "endless"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(**QUIET_CPU)
    ) as process:
        assert process.stdout is not None
        children = [psutil.Process(pid) for pid in json.loads(process.stdout.readline())]
        assert any("python" in child.name() or "VLLM" in child.name() for child in children)
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    left = [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    for child in left:
        child.kill()
    assert not left
