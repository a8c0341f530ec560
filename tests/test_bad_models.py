"""What a user sees when a model cannot do what a recipe asks: which, why, what to do; never a traceback."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from form_server import FormServer
from support import ROOT, factory, factory_json, server_model, write_recipe

SECRET = "sk-very-secret-0123456789"
FIELDS = {"question": "str", "answer": "str"}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(Settings()) as running:
        yield running


def told(folder: Path, code: int, *parts: str, **variables: str) -> str:
    """`factory run recipe.yaml`, to its failure: what it says, and with --json the same in one object."""
    plain = factory("run", "recipe.yaml", cwd=folder, **variables)
    assert plain.returncode == code, f"exit {plain.returncode}\n{plain.stdout[-1000:]}\n{plain.stderr[-2000:]}"
    message = plain.stderr[plain.stderr.index("error: ") :]
    for part in parts:
        assert part in message, f"{part!r} is not in\n{message}"
    found = factory_json("run", "recipe.yaml", cwd=folder, code=code, **variables)
    assert set(found["error"]) == {"code", "message", "hint"} and found["error"]["code"] not in ("bug", "")
    for text in (plain.stdout, plain.stderr, json.dumps(found)):
        assert "Traceback" not in text and SECRET not in text
    assert len(message) < 3000
    return message


# --- a name


def test_an_unknown_model_is_told_with_the_servers_list_nearest_first(tmp_path: Path, server: FaultServer) -> None:
    write_recipe(tmp_path, models={"writer": server_model(server.url, model="mock-jsn")})
    message = told(tmp_path, 4, "openai/mock-jsn", server.url, "HTTP 404", "the server has `mock-json`", "goes on")
    named = message[message.index("the server has") :].split("\n")[0]
    assert named.index("`mock-json`") < named.index("`mock-sections`"), "the nearest name comes first"
    assert server.stats()["outcomes"].keys() == {"no_model"}
    mended = write_recipe(tmp_path, models={"writer": server_model(server.url, "json")})
    assert factory_json("run", mended, cwd=tmp_path)["status"] == "complete"


def test_a_list_of_hundreds_fits_the_screen(tmp_path: Path, server: FaultServer) -> None:
    server.configure(models=[f"maker/model-{number:03d}-instruct" for number in range(500)])
    write_recipe(tmp_path, models={"writer": server_model(server.url, model="maker/model-123-instrct")})
    told(tmp_path, 4, "the server has `maker/model-123-instruct`", "more")


# --- a key


def test_a_key_with_no_rights(tmp_path: Path, server: FaultServer) -> None:
    server.configure(key="sesame")
    write_recipe(tmp_path, models={"writer": server_model(server.url, api_key_env="MY_KEY")})
    told(tmp_path, 4, "HTTP 401", server.url, "$MY_KEY", "refused", "goes on", MY_KEY=SECRET)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert factory_json("run", "recipe.yaml", cwd=tmp_path, MY_KEY="sesame")["status"] == "complete"


def test_a_key_that_may_not_use_this_model(tmp_path: Path) -> None:
    class Forbids(FormServer):
        def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            return 403, {"error": {"message": "You have insufficient permissions for this operation.", "code": None}}

    with Forbids() as server:
        model = {"backend": "openai", "model": "mock-form", "base_url": server.url, "api_key_env": "MY_KEY"}
        write_recipe(tmp_path, models={"writer": model})
        told(tmp_path, 4, "HTTP 403", "insufficient permissions", "$MY_KEY", "no right", MY_KEY=SECRET)
        assert len(server.bodies) <= 2 * 20, "a refused key is not tried for every row"


# --- a context


def test_a_prompt_too_long_costs_its_row_alone(tmp_path: Path, server: FaultServer) -> None:
    server.configure(context_length=60)
    prompt = "Tell of {{ animal }} {{ number }}.{% if row == 3 %}{{ ' And more of it.' * 40 }}{% endif %}"
    write_recipe(tmp_path, models={"writer": server_model(server.url)}, prompt=prompt, rows=6)
    found = factory_json("run", "recipe.yaml", "--out", "run", cwd=tmp_path)
    assert found["status"] == "complete" and found["rows"] == 6 and found["rejected"]["call"] == 1
    story = factory_json("explain", "run", 3, cwd=tmp_path)
    assert "context_too_long" in json.dumps(story)
    assert re.search(r"maximum context length is 60 tokens\. Yours has 1\d\d tokens", json.dumps(story))
    ledger = factory_json("ledger", "run", "--by", "outcome", cwd=tmp_path)
    assert ledger["by"]["context_too_long"]["cost_usd"] == 0


def test_a_refusal_without_counts_gets_our_own(tmp_path: Path) -> None:
    class Small(FormServer):
        def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            if len(body["messages"][0]["content"]) > 200:
                return 400, {"error": {"message": "the request exceeds the available context size", "type": "x"}}
            return super().answer(body)

    prompt = "Tell of {{ animal }} {{ number }}.{% if row == 1 %}{{ ' And more of it.' * 40 }}{% endif %}"
    with Small() as server:
        model = {"backend": "openai", "model": "mock-form", "base_url": server.url, "max_tokens": 70}
        write_recipe(tmp_path, models={"writer": model}, prompt=prompt, rows=3)
        factory_json("run", "recipe.yaml", "--out", "run", cwd=tmp_path)
    story = json.dumps(factory_json("explain", "run", 1, cwd=tmp_path))
    assert "tokens by our own estimate, and max_tokens asks for 70 more" in story


# --- a form


def test_a_model_that_cannot_do_schemas_is_asked_otherwise_and_that_is_told(tmp_path: Path) -> None:
    with FormServer("refuse") as server:
        model = {"backend": "openai", "model": "mock-form", "base_url": server.url}
        write_recipe(tmp_path, models={"writer": model}, output=FIELDS, parse="json", rows=4)
        done = factory("run", "recipe.yaml", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    (note,) = [line for line in done.stderr.splitlines() if "JSON is asked for" in line]
    assert "writer (openai/mock-form) does not take a JSON schema (HTTP 400" in note
    assert "asked for by the words of the prompt, and every answer is checked here" in note
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["structured"] == {"writer main": "prompt"}


def test_a_schema_that_is_forced_and_refused_is_a_fault_of_the_recipe(tmp_path: Path) -> None:
    with FormServer("object_only") as server:
        model = {"backend": "openai", "model": "mock-form", "base_url": server.url, "structured": "json_schema"}
        write_recipe(tmp_path, models={"writer": model}, output=FIELDS, parse="json", rows=4)
        told(
            tmp_path,
            2,
            "recipe.yaml:",
            "models.writer.structured: `structured: json_schema` cannot be had",
            "type `json_schema` is not available with this model",
            "remove the key",
        )
        assert len(server.bodies) == 1, "one question, before any row; the second run is told by the journal"


# --- an extra

HIDDEN = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in {"vllm", "transformers", "torch"}
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""
"""Put in `sitecustomize`: these packages are not there, whatever is installed."""


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_a_missing_extra_is_one_line_with_the_command(tmp_path: Path, backend: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDDEN)
    path = f"{tmp_path / 'site'}{os.pathsep}{ROOT}"
    write_recipe(tmp_path, models={"writer": {"backend": backend, "model": "Qwen/Qwen3-0.6B", "max_tokens": 10}})
    message = told(
        tmp_path,
        2,
        backend,
        "needs an extra that is not installed",
        f'pip install "text-data-factory[{backend}]"',
        PYTHONPATH=path,
    )
    assert len(message.strip().splitlines()) == 2 and not (tmp_path / "runs").exists()
    done = factory("doctor", "recipe.yaml", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 1 and f'pip install "text-data-factory[{backend}]"' in done.stdout
