"""A long run without a model: memory, and whether the last rows are as fast as the first.

    python benchmarks/echo_scale.py [--rows 100000] [--profile FILE] [--replay]

`echo`, one candidate a row, exact and near duplicates removed. Prints rows per second over the whole run and over its
first and last tenth, and the peak of the resident memory; leaves with 1 when the peak is over 1 GB or the last tenth is
slower than 0.8 × the first by the wall. The rates by the processor leave out what else the machine does.
`--replay` runs the same command again, on the journal alone.
"""

from __future__ import annotations

import argparse
import cProfile
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from factory.progress import Progress
from factory.recipe import load_recipe
from factory.runner import execute
from factory.session import RunOptions

PEAK_MB = 1000
SLOWEST = 0.8


@dataclass(frozen=True)
class Tick:
    """Seconds by the wall and by the processor, and rows committed by then."""

    wall: float
    processor: float
    rows: int


def write_recipe(directory: Path, rows: int) -> Path:
    """Prompts of some 40 words out of eight axes, all distinct, few of them alike."""
    words = [f"{head}{vowel}{end}" for head in _HEADS for vowel in "aeiouy" for end in _ENDS]
    phrases = [" ".join(words[(i * step) % len(words)] for step in (1, 7, 31, 101, 173)) for i in range(1, 500)]
    axes = {f"phrase{i}": {"choice": phrases} for i in range(7)}
    text = ", ".join(f"{join} {{{{ {axis} }}}}" for axis, join in zip(axes, _JOINS, strict=True))
    recipe = {
        "name": "echo-scale",
        "seed": 3,
        "rows": rows,
        "max_planned": 2 * rows,
        "models": {"writer": "echo"},
        "vary": {**axes, "number": {"integer": {"min": 1, "max": 10**9}}},
        "prompt": f"Number {{{{ number }}}} {text}.",
        "generate": {"model": "writer", "candidates": 1},
        "filter": [{"dedup": {"threshold": 0.8}}],
    }
    path = directory / "echo-scale.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


_HEADS = ("ba", "co", "di", "fu", "gra", "hel")
_ENDS = ("n", "st", "mer", "ck", "dle", "ving", "ton", "sh", "ran", "lo", "per", "nd", "x", "zel", "th", "ge", "ru")
_JOINS = ("of the", "and", "with a", "near", "under", "to the", "without")


def measure(recipe: Path, out: Path) -> tuple[list[Tick], float, int]:
    """Four ticks a second, seconds of it all, and rows accepted."""
    ticks: list[Tick] = []
    started = time.monotonic()

    def note(progress: Progress) -> None:
        if progress.status == "running":  # the last snapshot comes after all files are written
            ticks.append(Tick(time.monotonic() - started, time.process_time(), progress.committed))

    result = execute(load_recipe(str(recipe)), RunOptions(out=out, on_progress=note))
    return ticks, time.monotonic() - started, int(result.summary["rows"])


def rate(ticks: list[Tick], begin: int, end: int, clock: str) -> float:
    """Committed rows per second between two counts, read off the ticks; `clock` is `wall` or `processor`."""
    return (end - begin) / (_moment(ticks, end, clock) - _moment(ticks, begin, clock))


def _moment(ticks: list[Tick], count: int, clock: str) -> float:
    """When so many rows were committed, between the two ticks around it."""
    last = ticks[0]
    for tick in ticks:
        if tick.rows >= count:
            share = (count - last.rows) / (tick.rows - last.rows) if tick.rows > last.rows else 1.0
            return float(getattr(last, clock) + share * (getattr(tick, clock) - getattr(last, clock)))
        last = tick
    return float(getattr(ticks[-1], clock))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--replay", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="echo-scale-") as name:
        recipe, out = write_recipe(Path(name), options.rows), Path(name) / "run"
        profiler = cProfile.Profile()
        if options.profile:
            profiler.enable()
        ticks, seconds, accepted = measure(recipe, out)
        if options.profile:
            profiler.disable()
            profiler.dump_stats(options.profile)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        journal = sum(file.stat().st_size for file in (out / "journal").iterdir())
        committed, tenth = ticks[-1].rows, ticks[-1].rows // 10
        first, last = rate(ticks, 0, tenth, "wall"), rate(ticks, committed - tenth, committed, "wall")
        began = next(tick.rows for tick in ticks if tick.rows)
        cpu_first = rate(ticks, began, began + tenth, "processor")
        cpu_last = rate(ticks, committed - tenth, committed, "processor")
        print(f"rows             {accepted} in {seconds:.1f} s")
        print(f"rate             {committed / seconds:.0f} rows/s over everything")
        print(f"processor        {1000 * time.process_time() / committed:.2f} ms a row, the start included")
        print(f"finishing        {seconds - ticks[-1].wall:.1f} s for ledger, card and manifest")
        print(f"first tenth      {first:.0f} rows/s")
        print(f"last tenth       {last:.0f} rows/s ({last / first:.2f} × the first; at least {SLOWEST})")
        print(f"by the processor {cpu_first:.0f} and {cpu_last:.0f} rows/s ({cpu_last / cpu_first:.2f})")
        print(f"peak memory      {peak:.0f} MB (at most {PEAK_MB})")
        print(f"journal          {journal / committed:.0f} bytes a row")
        if options.replay:
            again, seconds, _ = measure(recipe, out)
            print(f"replay           {again[-1].rows / seconds:.0f} rows/s")
        kept = peak < PEAK_MB and last >= SLOWEST * first and accepted == options.rows
        print("kept" if kept else "missed")
        sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
