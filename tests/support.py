"""Recipes and runs for the tests: small builders, and the command in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def write_recipe(directory: Path, name: str = "recipe.yaml", **changes: Any) -> Path:
    """A recipe on `echo` that makes distinct rows; keys in `changes` replace its own, None removes one."""
    recipe: dict[str, Any] = {
        "name": "sample",
        "seed": 1,
        "rows": 20,
        "models": {"writer": {"backend": "echo"}},
        "vary": {
            "animal": {"choice": ["cat", "dog", "owl", "fox", "yak", "emu"]},
            "number": {"integer": {"min": 1, "max": 10**9}},
        },
        "prompt": "Tell me of the {{ animal }} with the number {{ number }}.",
        "generate": {"model": "writer", "candidates": 1},
    }
    recipe |= changes
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({key: value for key, value in recipe.items() if value is not None}, sort_keys=False))
    return path


def server_model(url: str, mode: str = "text", **changes: Any) -> dict[str, Any]:
    """A model of the fault server."""
    model = {"backend": "openai", "model": f"mock-{mode}", "base_url": url, "temperature": 0.8, "max_tokens": 200}
    return model | changes


def parquet_hashes(run: Path) -> dict[str, str]:
    """SHA-256 of every Parquet file of a run's dataset."""
    files = sorted((run / "dataset").rglob("*.parquet"))
    assert files, f"{run} has no dataset"
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, without what could colour or key the outcome."""
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random"} | changes


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "factory", *map(str, arguments)]


def factory(*arguments: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=cwd, env=environment(**variables), timeout=240
    )


def factory_json(*arguments: object, cwd: Path | None = None, code: int = 0, **variables: str) -> dict[str, Any]:
    """Run the command with --json; its one object, after checking the exit code."""
    done = factory(*arguments, "--json", cwd=cwd, **variables)
    assert done.returncode == code, f"exit {done.returncode}: {done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found
