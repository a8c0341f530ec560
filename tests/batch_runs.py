"""Runs of the command against a batch server: started, killed, counted. Shared by the tests of batch jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import command, environment, server_model, write_recipe

from factory.journal import Journal

TIMING = "quiet=0.15,first=0.05,last=0.1,lag=0.3"
PRICE = {"input": 1.0, "output": 10.0}


def batch_recipe(directory: Path, url: str, *, model: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A recipe with a batch model; `identity` keeps the plan alike wherever the server is."""
    defaults: dict[str, Any] = {"batch": True, "identity": "mock", "price": PRICE}
    writer = server_model(url, **(defaults | (model or {})))
    recipe: dict[str, Any] = {
        "models": {"writer": writer},
        "rows": 40,
        "score": [{"length": {"min_words": 20, "target_words": 33, "weight": 1}}],
        "filter": [{"dedup": {"threshold": 0.6}}],
        "carry": ["animal"],
    }
    return write_recipe(directory, **(recipe | changes))


def start(recipe: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    """The command in the background."""
    return subprocess.Popen(
        command("run", recipe, "--out", out, "--json", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(FACTORY_BATCH_TIMING=TIMING),
    )


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60.0) -> None:
    """Wait for something that the process brings about."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"it ended: {process.communicate()}"
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def booked(out: Path) -> tuple[list[Any], list[Any]]:
    """The ledger's entries and the decided calls."""
    with Journal.open(out / "journal", writable=False, notice=lambda text: None) as journal:
        return list(journal.entries()), list(journal.calls())


def check_paid_once(stats: dict[str, Any], out: Path) -> None:
    """Each request was generated once, and the ledger is what the server billed."""
    entries, calls = booked(out)
    assert set(stats["generated"].values()) <= {1}, "a request was paid twice"
    answered = [entry for entry in entries if entry.outcome == "ok" and entry.purpose != "probe"]
    assert sorted(entry.call_id for entry in answered) == sorted(stats["generated"])
    assert not [entry for entry in entries if entry.outcome == "lost"]
    paid = [entry for entry in entries if entry.outcome == "ok"]
    assert sum(entry.prompt_tokens for entry in paid) == stats["prompt_tokens"]
    assert sum(entry.completion_tokens for entry in paid) == stats["completion_tokens"]
    billed = stats["prompt_tokens"] * 1_000 + stats["completion_tokens"] * 10_000
    assert sum(entry.nano_usd for entry in entries) == billed
    assert {call.call_id for call in calls if call.response is not None} >= set(stats["generated"])
