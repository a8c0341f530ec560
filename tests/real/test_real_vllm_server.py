"""vLLM's own OpenAI server with the embedded checkpoint: the real peer of the backend `openai`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import CHECKPOINT, ROWS, check_dataset, free_port, post, serving, word_problems
from support import factory_json, parquet_hashes

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
NAME = "tiny"
ASKED: dict[str, Any] = {
    "model": NAME,
    "messages": [{"role": "user", "content": "Write a word problem about apples."}],
    "max_tokens": 40,
    "seed": 5,
}


@pytest.fixture(scope="module")
def server(vllm_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(CHECKPOINT)]
    command += ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    grammar = {"backend": "xgrammar", "disable_any_whitespace": True}  # or so small a model fills answers with blanks
    command += ["--structured-outputs-config", json.dumps(grammar)]
    command += ["--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill"]
    with serving(command, port, tmp_path_factory.mktemp("vllm") / "server.log") as url:
        yield url


def model(url: str, **changes: Any) -> dict[str, Any]:
    return {"backend": "openai", "model": NAME, "base_url": url} | changes


def test_a_recipe_runs_and_repeats(server: str, tmp_path: Path) -> None:
    recipe = word_problems(tmp_path, model(server))
    first = factory_json("run", recipe, "--out", tmp_path / "one")
    assert (first["status"], first["rows"], first["calls"]) == ("complete", ROWS, ROWS + 1)
    check_dataset(tmp_path / "one")
    factory_json("run", recipe, "--out", tmp_path / "two")
    assert parquet_hashes(tmp_path / "two") == parquet_hashes(tmp_path / "one")


def test_a_schema_is_asked_for_and_kept(server: str, tmp_path: Path) -> None:
    prompt = "Write a word problem about {{ topic }} ({{ operation }}, {{ difficulty }}) as JSON."
    output = {"type": "object", "properties": {"kind": {"enum": ["easy", "hard"]}}, "required": ["kind"]}
    recipe = word_problems(tmp_path, model(server), prompt=prompt, output=output, score=None)
    done = factory_json("run", recipe, "--out", tmp_path / "run")
    assert done["rows"] == ROWS and "parse" not in done["rejected"]


def test_an_unknown_model_names_the_servers_own(server: str, tmp_path: Path) -> None:
    recipe = word_problems(tmp_path, model(server, model="tinny"))
    error = factory_json("run", recipe, "--out", tmp_path / "run", code=4)["error"]
    assert "tinny" in error["message"] and NAME in (error["message"] + error["hint"]).replace("tinny", "")


def test_a_prompt_that_does_not_fit_is_that_rows_alone(server: str, tmp_path: Path) -> None:
    vary = {"size": {"choice": [1, 700]}}
    prompt = "Write a word problem about {% for _ in range(size) %}apples {% endfor %}"
    changes = {"vary": vary, "prompt": prompt, "output": None, "score": None, "rows": 4, "balance": True}
    recipe = word_problems(tmp_path, model(server), **changes)
    done = factory_json("run", recipe, "--out", tmp_path / "run")
    assert done["rows"] == 4 and done["rejected"].get("call", 0) >= 1
    import pyarrow.parquet as pq

    reasons = {line["reason"] for line in pq.read_table(tmp_path / "run" / "rejects.parquet").to_pylist()}
    assert any(reason.startswith("context_too_long") and "512" in reason for reason in reasons), reasons


def test_what_this_server_does_with_parameters(server: str) -> None:
    """A record of what the server honours; where a newer one does otherwise, the docs want mending too."""
    _, three = post(server, ASKED | {"n": 3})
    texts = [choice["message"]["content"] for choice in three["choices"]]
    alone = [post(server, ASKED | {"seed": 5 + k})[1]["choices"][0]["message"]["content"] for k in range(3)]
    assert texts == alone, "candidate k has the seed + k"
    _, told = post(server, ASKED | {"logprobs": True, "top_logprobs": 2})
    assert [len(token["top_logprobs"]) for token in told["choices"][0]["logprobs"]["content"]][:2] == [2, 2]
    schema = {"type": "object", "properties": {"q": {"type": "string", "maxLength": 9}}, "required": ["q"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    _, formed = post(server, ASKED | {"response_format": form, "max_tokens": 300})
    assert formed["choices"][0]["message"]["content"].lstrip().startswith("{")
    assert set(json.loads(formed["choices"][0]["message"]["content"])) == {"q"}
    assert post(server, ASKED | {"n": 2, "temperature": 0})[0] == 400, "greedy and n > 1 do not go together"
    assert post(server, ASKED | {"model": "no-such-model"})[0] == 404
