"""Whether killed runs pay nothing twice and end with the same bytes.

    python benchmarks/exactly_once.py [--rows 2000] [--candidates 4] [--kills 10] [--seed 1] [--only kills|concurrency]

A local server with 5% 429, 3% 500, 2% resets, 1% truncated bodies and 1% empty `choices`. First a run that nothing
disturbs; then the same recipe against other faults, killed with -9 at random moments and started again by the same
command, with candidates by one request (`n`) and by single requests; then runs at concurrency 1, 16 and 128. Prints a
table, and leaves with 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fault_server import ServerProcess
from interrupted_runs import Counts, Job, count, run_with_kills
from support import parquet_hashes

LATENCY = ("--latency", "0.02", "--jitter", "1")


@dataclass(frozen=True)
class Line:
    """One run of the table."""

    name: str
    seconds: float
    rows: int
    kills: int
    in_flight: int
    counts: Counts
    hashes: dict[str, str]


def make(name: str, job: Job, mode: str, fault_seed: int, directory: Path, kills: int = 0, seed: int = 0) -> Line:
    """One run against a server of its own."""
    out = directory / name.replace(" ", "-")
    with ServerProcess("--standard-faults", *LATENCY, "--fault-seed", str(fault_seed), "--n-mode", mode) as server:
        recipe = job.write(out.with_suffix(".d"), server.url)
        requests = job.rows * (1 if mode == "honour" else job.candidates)
        started = time.monotonic()
        told = run_with_kills(server, recipe, out, kills=kills, requests=requests, seed=seed, limit=job.concurrency)
        seconds = time.monotonic() - started
        counts = count(server, out)
    if told.code:
        raise SystemExit(f"{name}: exit {told.code}\n{told.errors[-3000:]}")
    rows = json.loads(told.output)["rows"]
    return Line(name, seconds, rows, told.kills, sum(told.in_flight), counts, parquet_hashes(out))


def broken(line: Line, first: Line) -> list[str]:
    """The promises that a run broke."""
    counts, found = line.counts, []
    unleased = counts.requests - counts.attempts
    if line.hashes != first.hashes:
        found.append("other bytes than the undisturbed run")
    if counts.repeated > line.in_flight:
        found.append(f"{counts.repeated} calls repeated, {line.in_flight} in flight at kills at most")
    if counts.repeated > counts.lost_at_kills + max(0, unleased):
        found.append("an answer that was journaled was asked for again")
    if counts.unused_answers:
        found.append(f"{counts.unused_answers} answers in the ledger that the journal does not hold")
    if unleased > line.in_flight or (not line.kills and unleased):
        found.append(f"{unleased} requests that the ledger does not know")
    if not 0 <= counts.delivered_calls - counts.answered_calls <= line.in_flight:
        found.append("answers delivered and answers journaled differ by more than was in flight")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["kills", "concurrency"])
    options = parser.parse_args()
    lines: list[tuple[Line, list[str]]] = []
    header = f"{'run':<22}{'s':>7}{'rows':>7}{'kills':>7}{'requests':>10}{'attempts':>10}{'lost':>6}{'repeated':>10}"
    print(header + f"{'answers':>9}  verdict", flush=True)

    def add(line: Line, first: Line | None) -> Line:
        faults = broken(line, first or line)
        lines.append((line, faults))
        c = line.counts
        print(
            f"{line.name:<22}{line.seconds:>7.1f}{line.rows:>7}{line.kills:>7}{c.requests:>10}{c.attempts:>10}"
            f"{c.lost_at_kills:>6}{c.repeated:>10}{c.answered_calls:>9}  {'; '.join(faults) or 'kept'}",
            flush=True,
        )
        return line

    with tempfile.TemporaryDirectory(prefix="exactly-once-") as name:
        directory = Path(name)
        job = Job(options.rows, options.candidates, 32)
        for mode, how in (("honour", "by n"), ("ignore", "single")):
            first = add(make(f"undisturbed {how}", job, mode, 1, directory), None)
            if options.only != "concurrency":
                add(make(f"killed {how}", job, mode, 2, directory, options.kills, options.seed), first)
            if options.only != "kills" and mode == "honour":
                for slots in (1, 16, 128):
                    other = Job(options.rows, options.candidates, slots)
                    add(make(f"concurrency {slots}", other, mode, 3 + slots, directory), first)
    bad = sum(len(faults) for _, faults in lines)
    print("every promise kept" if not bad else f"{bad} promises broken")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
