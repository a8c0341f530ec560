"""Runs of the command against a fault server: killed, interrupted, counted. Shared by tests and benchmarks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import command, environment, server_model, write_recipe

from factory.journal import Journal

PRICE = {"input": 1.0, "output": 10.0}
"""USD per million tokens: 1,000 and 10,000 nano-USD a token."""


@dataclass(frozen=True)
class Job:
    """A run of `rows` × `candidates` against a server."""

    rows: int
    candidates: int = 4
    concurrency: int = 16
    changes: dict[str, Any] = field(default_factory=dict)

    def write(self, directory: Path, url: str) -> Path:
        """The recipe: scored, deduplicated, priced; `identity` keeps the plan alike wherever the server is."""
        model = server_model(url, concurrency=self.concurrency, identity="mock", price=PRICE)
        recipe = {
            "models": {"writer": model},
            "rows": self.rows,
            "generate": {"model": "writer", "candidates": self.candidates},
            "score": [{"length": {"min_words": 20, "target_words": 33, "weight": 1}}],
            "filter": [{"dedup": {"threshold": 0.6}}],
            "carry": ["animal"],
        }
        return write_recipe(directory, **(recipe | self.changes))


def start(recipe: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    """The command in the background."""
    return subprocess.Popen(
        command("run", recipe, "--out", out, "--json", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def wait_for_requests(server: Any, process: subprocess.Popen[str], more: int) -> bool:
    """Wait until the server has got so many more requests. False when the process ended before."""
    goal = server.stats()["requests"] + more
    while process.poll() is None:
        if server.stats()["requests"] >= goal:
            return True
        time.sleep(0.01)
    return False


def wait_for_hanging(server: Any, process: subprocess.Popen[str], calls: int) -> bool:
    """Wait until so many requests hang: all that a run has in flight. False when the process ended before."""
    while process.poll() is None:
        if server.stats()["outcomes"].get("hang", 0) >= calls:
            return True
        time.sleep(0.01)
    return False


@dataclass
class Kills:
    """What killing a run again and again came to. `in_flight`: attempts open at each kill, at most."""

    kills: int = 0
    in_flight: list[int] = field(default_factory=list)
    code: int = 0
    output: str = ""
    errors: str = ""


def run_with_kills(
    server: Any,
    recipe: Path,
    out: Path,
    *,
    kills: int,
    requests: int,
    seed: int,
    limit: int,
    options: tuple[object, ...] = (),
) -> Kills:
    """Run the same command until it ends, killing it -9 `kills` times after a random number of requests.

    `requests`: what the whole run asks at least, over which the kills are spread. `limit`: calls in flight at most.
    """
    draw = random.Random(seed)
    told = Kills()
    while True:
        left = max(0, requests - server.stats()["requests"])
        process = start(recipe, out, *options)
        soon = draw.randrange(1, 2 + left // (kills - told.kills + 2))
        if told.kills < kills and wait_for_requests(server, process, soon):
            time.sleep(draw.random() * 0.03)
            os.kill(process.pid, signal.SIGKILL)
            told.kills += 1
            told.in_flight.append(limit)
            process.communicate()
            continue
        told.output, told.errors = process.communicate(timeout=600)
        told.code = process.returncode
        return told


@dataclass(frozen=True)
class Counts:
    """The server's counts beside the journal's. `repeated`: whole answers delivered to a call that had one before."""

    requests: int
    attempts: int
    lost_at_kills: int
    answered_calls: int
    unused_answers: int
    repeated: int
    delivered_calls: int
    billed_nano: int
    ledger_nano: int
    upper_bound_nano: int


def count(server: Any, out: Path) -> Counts:
    """Everything that the promises are about. The journal is only read."""
    stats = server.stats(log=True)
    with Journal.open(out / "journal", writable=False, notice=lambda text: None) as journal:
        entries = list(journal.entries())
        calls = list(journal.calls())
    good = Counter(entry.call_id for entry in entries if entry.outcome == "ok")
    answered = {stored.call_id for stored in calls if stored.response is not None}
    delivered = Counter(entry["hash"] for entry in stats["log"] if entry["outcome"] == "ok" and not entry["gone"])
    return Counts(
        requests=stats["requests"],
        attempts=len(entries),
        lost_at_kills=sum(entry.outcome == "lost" and entry.latency_s is None for entry in entries),
        answered_calls=len(answered),
        unused_answers=sum(good.values()) - len(answered),
        repeated=sum(delivered.values()) - len(delivered),
        delivered_calls=len(delivered),
        billed_nano=stats["billed_prompt_tokens"] * 1_000 + stats["billed_completion_tokens"] * 10_000,
        ledger_nano=sum(entry.nano_usd or 0 for entry in entries),
        upper_bound_nano=sum(entry.upper_bound_nano_usd or 0 for entry in entries if entry.nano_usd is None),
    )
