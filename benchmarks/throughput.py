"""How much of the machine a call costs: the factory against bare aiohttp, the openai SDK, and its peers.

    python benchmarks/throughput.py [--rows 2000] [--long 20000] [--repeats 5] [--concurrency 100] [--latency 0.05]
                                    [--peer curator=/venvs/curator/bin/python]… [--peer-repeats 1] [--json]

One mock server, a process of its own, answers after 50 ms. Every contender is a script of `peers/` in a process of its
own and makes the same chats of one turn; the factory does a whole run with its journal, ledger, card and dataset. The
wall is that of the whole process, start-up included. Processor seconds are those of the process, its threads and the
processes it waited for; per row they are the slope between a run of few rows and one of many, so that start-up is out.
The factory and aiohttp take turns, each turn gives a ratio, and the median ratio counts: a machine that is busy or slow
for a while is so for both. Peers run where an interpreter that has them is named, by `--peer NAME=PYTHON` or, split by
commas, in FACTORY_BENCH_PEERS.

Leaves with 1 when a bound is missed: wall ≤ 2 × and processor a row ≤ 4 × those of bare aiohttp; processor a row at
most a third of the best peer's; over the long run the last tenth at least 0.8 × as fast as the first by the processor,
and memory that grows by 32 MB at most after the first fifth.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mock_server import ServerProcess

HERE = Path(__file__).resolve().parent
PEERS = ("curator", "data_designer", "distilabel", "sdg_hub")
PEERS_VARIABLE = "FACTORY_BENCH_PEERS"
WALL, PROCESSOR, PEER = 2.0, 4.0, 3.0
SLOWEST, GROWTH_MB = 0.8, 32.0


@dataclass(frozen=True)
class Sample:
    """One process: seconds by the wall and of processor, the peak of its memory, and what its script told."""

    rows: int
    wall: float
    cpu: float
    peak_mb: float
    facts: dict[str, Any]


@dataclass
class Contender:
    """A script of `peers/` with the interpreter that runs it. `fault`: why there are no samples."""

    name: str
    python: str
    samples: list[Sample] = field(default_factory=list)
    fault: str = ""

    def run(self, url: str, rows: int, concurrency: int, cache: str) -> Sample:
        """One process to its end; its compiled modules are kept in `cache`. Raises RuntimeError where it fails."""
        script = HERE / "peers" / f"with_{self.name}.py"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPATH": str(HERE.parent) if self.name == "factory" else "", "PYTHONPYCACHEPREFIX": cache}
        with tempfile.TemporaryDirectory(prefix="throughput-") as directory, tempfile.TemporaryFile() as log:
            command = [self.python, str(script), url, str(rows), str(concurrency), directory]
            started = os.times().elapsed
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=directory)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = os.times().elapsed - started
            log.seek(0)
            told = log.read().decode(errors="replace").strip()
        last = told.rpartition("\n")[2]
        if process.returncode or not last.startswith("{"):
            raise RuntimeError(f"{self.name} ended with {process.returncode}: {told[-600:]}")
        facts = json.loads(last)
        if facts["texts"] != rows:
            raise RuntimeError(f"{self.name} got {facts['texts']} texts of {rows}")
        return Sample(rows, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, facts)

    def at(self, rows: int) -> list[Sample]:
        """The samples of a size, one a turn."""
        return [sample for sample in self.samples if sample.rows == rows]

    def walls(self, rows: int) -> list[float]:
        """Seconds for so many rows, by turn."""
        return [sample.wall for sample in self.at(rows)]

    def cpu_per_row(self) -> list[float]:
        """Milliseconds of processor for one row more, by turn."""
        few, many = (pick(sample.rows for sample in self.samples) for pick in (min, max))
        pairs = zip(self.at(few), self.at(many), strict=True)
        return [1000 * (more.cpu - less.cpu) / (many - few) for less, more in pairs]


@dataclass(frozen=True)
class Bound:
    """A figure, and what it may be at most."""

    what: str
    value: float
    most: float

    @property
    def kept(self) -> bool:
        return self.value <= self.most

    def line(self) -> str:
        return f"{'kept  ' if self.kept else 'MISSED'} {self.what}: {self.value:.2f} (at most {self.most:g})"


def find_peers(named: list[str]) -> list[Contender]:
    """The peers by interpreter; one that is not named has a fault instead of samples."""
    pairs = [pair for pair in os.environ.get(PEERS_VARIABLE, "").split(",") if pair] + named
    pythons = dict(pair.split("=", 1) for pair in pairs)
    if unknown := pythons.keys() - set(PEERS):
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    return [Contender(name, pythons.get(name, ""), fault="" if name in pythons else "not named") for name in PEERS]


@dataclass(frozen=True)
class Bench:
    """What all runs have in common: the server, calls in flight, and where compiled modules are kept."""

    url: str
    concurrency: int
    cache: str

    def run(self, contender: Contender, rows: int) -> Sample:
        """One process of a contender. Raises RuntimeError where it fails."""
        return contender.run(self.url, rows, self.concurrency, self.cache)

    def take_turns(self, contenders: list[Contender], sizes: tuple[int, ...], repeats: int) -> None:
        """Run every contender at every size, again and again. One that fails is out, with its fault.

        A first run of a few rows is not counted: it compiles the modules, which an installation has done before.
        """
        for turn in range(repeats + 1):
            for contender in contenders:
                for size in sizes if turn else (self.concurrency,):
                    if contender.fault:
                        continue
                    try:
                        sample = self.run(contender, size)
                    except (RuntimeError, OSError) as error:
                        contender.fault = str(error)
                    else:
                        contender.samples += [sample] if turn else []
            if turn:
                print(f"turn {turn} of {repeats} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)


def moment(ticks: list[dict[str, float]], rows: float, clock: str) -> float:
    """What `clock` showed when so many rows were committed, between the two ticks around it."""
    last = ticks[0]
    for tick in ticks:
        if tick["rows"] >= rows:
            share = (rows - last["rows"]) / (tick["rows"] - last["rows"]) if tick["rows"] > last["rows"] else 1.0
            return last[clock] + share * (tick[clock] - last[clock])
        last = tick
    return ticks[-1][clock]


def read_long_run(sample: Sample) -> dict[str, float]:
    """Rows a second of the first and the last tenth, by wall and processor; memory after a fifth, and the most."""
    ticks, end = sample.facts["ticks"], sample.facts["ticks"][-1]["rows"]
    begin = next((tick["rows"] for tick in ticks if tick["rows"]), 0.0)
    found: dict[str, float] = {}
    for clock in ("wall", "cpu"):
        first = moment(ticks, begin + end / 10, clock) - moment(ticks, begin, clock)
        last = moment(ticks, end, clock) - moment(ticks, end * 0.9, clock)
        found[f"first_tenth_{clock}"] = end / 10 / first
        found[f"last_tenth_{clock}"] = end / 10 / last
    found["mb_after_a_fifth"] = moment(ticks, end / 5, "mb")
    found["mb_most"] = max(tick["mb"] for tick in ticks)
    found["mb_peak"] = sample.peak_mb
    return found


def ratio(ones: list[float], others: list[float]) -> float:
    """The median of the ratios, turn by turn."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def judge(factory: Contender, raw: Contender, peers: list[Contender], rows: int) -> list[Bound]:
    """The bounds that hold between contenders."""
    slower = ratio(factory.walls(rows), raw.walls(rows))
    dearer = ratio(factory.cpu_per_row(), raw.cpu_per_row())
    bounds = [
        Bound("wall of the factory / wall of aiohttp", slower, WALL),
        Bound("processor a row of the factory / that of aiohttp", dearer, PROCESSOR),
    ]
    there = {peer.name: statistics.median(peer.cpu_per_row()) for peer in peers if not peer.fault}
    if there:
        best = min(there, key=lambda name: there[name])
        share = statistics.median(factory.cpu_per_row()) / there[best]
        bounds.append(Bound(f"processor a row of the factory / that of the best peer ({best})", share, 1 / PEER))
    return bounds


def judge_long(found: dict[str, float]) -> list[Bound]:
    """The bounds on the long run."""
    slower = found["first_tenth_cpu"] / found["last_tenth_cpu"]
    growth = found["mb_most"] - found["mb_after_a_fifth"]
    return [
        Bound("processor a row of the last tenth / that of the first", slower, 1 / SLOWEST),
        Bound("MB of memory more than after the first fifth", growth, GROWTH_MB),
    ]


def figures(one: Contender, rows: int) -> dict[str, float]:
    """What a contender took: the medians of its turns, and the least and the most of its processor a row."""
    per_row = one.cpu_per_row()
    return {
        "wall_s": statistics.median(one.walls(rows)),
        "cpu_s": statistics.median(sample.cpu for sample in one.at(rows)),
        "cpu_ms_per_row": statistics.median(per_row),
        "cpu_ms_per_row_least": min(per_row),
        "cpu_ms_per_row_most": max(per_row),
        "peak_mb": max(sample.peak_mb for sample in one.at(rows)),
    }


def table(contenders: list[Contender], rows: int) -> str:
    """The figures of each contender, a line each."""
    lines = [f"{rows} rows       wall s   CPU s   CPU ms a row (least, most)   peak MB"]
    for one in contenders:
        if one.fault:
            lines.append(f"{one.name:14} skipped: {one.fault}")
            continue
        wall, cpu, row, least, most, peak = figures(one, rows).values()
        lines.append(f"{one.name:14} {wall:6.2f} {cpu:7.2f} {row:9.3f}  ({least:.3f}, {most:.3f}) {peak:14.0f}")
    return "\n".join(lines)


def as_json(contenders: list[Contender], rows: int) -> dict[str, Any]:
    """The table as data."""
    return {one.name: {"skipped": one.fault} if one.fault else figures(one, rows) for one in contenders}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--long", type=int, default=20_000, help="rows of the long run; 0: none")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=", ".join(PEERS))
    parser.add_argument("--peer-repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = parse()
    few, rows, many = options.rows // 4, options.rows, 3 * options.rows
    raw, sdk, own = (Contender(name, sys.executable) for name in ("aiohttp", "openai_sdk", "factory"))
    peers = find_peers(options.peer)
    long_run: dict[str, float] = {}
    with ServerProcess(options.latency) as server, tempfile.TemporaryDirectory(prefix="throughput-") as cache:
        bench = Bench(server.url, options.concurrency, cache)
        bench.take_turns([raw, own], (few, rows, many), options.repeats)
        bench.take_turns([sdk, *peers], (few, rows), options.peer_repeats)
        if options.long and not own.fault:
            long_run = read_long_run(bench.run(own, options.long))
    if fault := raw.fault or own.fault:
        raise SystemExit(fault)
    bounds = judge(own, raw, peers, rows) + (judge_long(long_run) if long_run else [])
    everybody = [raw, own, sdk, *peers]
    if options.json:
        told = {"contenders": as_json(everybody, rows), "long_run": long_run}
        print(json.dumps({**told, "bounds": {bound.what: bound.value for bound in bounds}}))
    else:
        print(table(everybody, rows))
        for name, value in long_run.items():
            print(f"{name:22} {value:10.0f}")
        for bound in bounds:
            print(bound.line())
    sys.exit(0 if all(bound.kept for bound in bounds) else 1)


if __name__ == "__main__":
    main()
