"""Starts real servers, runs one recipe on whatever model, and looks at the dataset that comes out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import ROOT, environment, write_recipe

CHECKPOINT = ROOT / "factory" / "backends" / "tiny"
ENGINE = {"dtype": "float32", "enforce_eager": True}
"""What vLLM needs on a CPU."""
QUIET_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
ROWS = 12


def word_problems(directory: Path, model: Mapping[str, Any], **changes: Any) -> Path:
    """The recipe that all of them run: word problems, four candidates a row, the best kept, log-probabilities asked."""
    recipe: dict[str, Any] = {
        "rows": ROWS,
        "models": {"writer": {"temperature": 0.8, "max_tokens": 200, "logprobs": 2, **model}},
        "vary": {
            "topic": {"choice": ["apples", "trains", "books"]},
            "operation": {"choice": ["addition", "subtraction", "multiplication"]},
            "difficulty": {"choice": ["easy", "medium"]},
        },
        "prompt": "word-problem.j2",
        "output": {"question": "str", "answer": "str"},
        "generate": {"model": "writer", "candidates": 4},
        "score": [{"arithmetic": {"numbers_from": "question", "require_final": True, "weight": 1}}],
        "keep": {"top_k": 1},
    }
    return write_recipe(directory, **(recipe | changes))


def check_dataset(run: Path) -> None:
    """The dataset loads, has its rows and columns, and its questions are words, each its own."""
    import datasets

    rows = datasets.load_dataset(str(run / "dataset"), cache_dir=str(run.parent / "cache"))["train"]
    assert rows.num_rows == ROWS
    assert rows.column_names == ["question", "answer", "meta"]
    assert all(len(row["question"].split()) >= 5 and row["answer"].strip() for row in rows)
    assert len(set(rows["question"])) >= ROWS - 2
    assert all(meta["prompt_tokens"] > 20 and meta["completion_tokens"] > 20 for meta in rows["meta"])


def stored_answers(run: Path) -> list[dict[str, Any]]:
    """The ledger's lines of the run, as mappings."""
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = pq.read_table(run / "ledger.parquet").to_pylist()
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int, log: Path, seconds: float = 300) -> Iterator[str]:
    """The base URL of a server started by `command`, once it answers; it and all its processes are gone afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment(**QUIET_CPU), start_new_session=True, cwd=log.parent
        )
    try:
        deadline = time.monotonic() + seconds
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, f"the server ended: {log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"the server does not answer: {log.read_text()[-3000:]}"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def post(base_url: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    """Status and decoded body of a plain chat completion: what the server itself says, our code left out."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{base_url}/chat/completions", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
