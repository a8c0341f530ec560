"""The factory: a whole run, with its journal, ledger, card and dataset. `ticks` tell how it went on, four a second."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from task import MAX_TOKENS, MODEL, TEMPERATURE, finish, prompt, read_task

import factory
from factory.progress import Progress

PAGE_MB = 4096 / 2**20


def resident_mb() -> float:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


task = read_task()
recipe = {
    "name": "throughput",
    "seed": 1,
    "rows": task.rows,
    "models": {
        "writer": {
            "backend": "openai",
            "model": MODEL,
            "base_url": task.url,
            "temperature": TEMPERATURE,
            "max_tokens": MAX_TOKENS,
            "concurrency": task.concurrency,
        }
    },
    "prompt": prompt(0).replace(" 0.", " {{ row }}."),
    "generate": {"model": "writer", "candidates": 1},
}
path = task.directory / "throughput.yaml"
path.write_text(json.dumps(recipe))  # JSON is YAML
ticks: list[dict[str, float]] = []


def note(progress: Progress) -> None:
    if progress.status == "running":
        rows = asdict(progress)["committed"]
        ticks.append({"rows": rows, "wall": time.monotonic(), "cpu": time.process_time(), "mb": resident_mb()})


result = factory.run(path, out=task.directory / "run", on_progress=note)
finish(int(result.summary["rows"]), calls=result.summary["calls"], ticks=ticks)
