"""llama.cpp's server with the embedded checkpoint, as a GGUF file: a real peer that does things its own way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import CHECKPOINT, ROWS, check_dataset, free_port, post, serving, word_problems
from support import ROOT, factory_json, parquet_hashes

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
SLOTS = 4
ASKED = {"messages": [{"role": "user", "content": "Write a word problem about apples."}], "max_tokens": 40, "seed": 5}


@pytest.fixture(scope="module")
def server(llama_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("llama")
    script = str(ROOT / "scripts" / "gguf_checkpoint.py")
    subprocess.run([gguf_python(), script, str(CHECKPOINT), str(folder / "tiny.gguf")], check=True, timeout=120)
    port = free_port()
    size = ["--ctx-size", str(512 * SLOTS), "--parallel", str(SLOTS), "--threads", "2"]
    command = [llama_program, "--model", "tiny.gguf", "--host", "127.0.0.1", "--port", str(port), "--jinja", *size]
    with serving(command, port, folder / "server.log") as url:
        yield url


def gguf_python() -> str:
    """An interpreter that has the package `gguf`: this one, or the one that has vLLM."""
    import os

    for python in (sys.executable, os.environ.get("FACTORY_VLLM_PYTHON", "")):
        if python and subprocess.run([python, "-c", "import gguf"], capture_output=True).returncode == 0:
            return python
    pytest.skip("no interpreter with the package `gguf`: pip install gguf, or set FACTORY_VLLM_PYTHON")


def model(url: str, **changes: Any) -> dict[str, Any]:
    return {"backend": "openai", "model": "tiny.gguf", "base_url": url} | changes


def test_a_recipe_runs_and_repeats(server: str, tmp_path: Path) -> None:
    recipe = word_problems(tmp_path, model(server))
    first = factory_json("run", recipe, "--out", tmp_path / "one")
    assert (first["status"], first["rows"]) == ("complete", ROWS)
    check_dataset(tmp_path / "one")
    factory_json("run", recipe, "--out", tmp_path / "two")
    assert parquet_hashes(tmp_path / "two") == parquet_hashes(tmp_path / "one")


def test_more_candidates_than_it_has_slots(server: str, tmp_path: Path) -> None:
    """The server refuses an `n` above its slots: then each candidate is a request."""
    refused, body = post(server, ASKED | {"n": SLOTS + 2})
    assert refused == 400 and "n" in json.dumps(body)
    recipe = word_problems(tmp_path, model(server), rows=2, generate={"model": "writer", "candidates": SLOTS + 2})
    done = factory_json("run", recipe, "--out", tmp_path / "run")
    assert (done["status"], done["rows"]) == ("complete", 2)


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
    _, formed = post(server, ASKED | {"response_format": form})
    assert set(json.loads(formed["choices"][0]["message"]["content"])) == {"q"}
    status, other = post(server, ASKED | {"model": "no-such-model"})
    assert status == 200 and other["model"] == "tiny.gguf", "it serves what it has, whatever is asked for"
