"""Whether a run stays close to the fault-free time when its server misbehaves.

    python benchmarks/faults.py [--rows 3000] [--latency 0.5] [--concurrency 100] [--only NAME]…

Each scenario is a whole run with a journal against a server process of its own:

    429 with Retry-After    10% of the requests, for a second
    429 without             10% of the requests
    hangs                   5% of the requests are never answered; `timeout: 2`
    outage                  after a third of the rows connections are reset and refused for 10 s
    saturation              beyond 16 requests in flight the latency grows by (in flight / 16)^1.5: at 100 the server
                            gives 40% of its throughput, and never an error

The fault-free time is that of the same rows, latency and concurrency in the same call; for saturation it is that of
the same server at concurrency 16, which is all that it can do. A hang keeps its slot for the whole timeout and cannot
be known for one before, so at the same concurrency no client gets below (0.95 × latency + 0.05 × timeout) / latency,
1.15 here. Leaves with 1 when a row is lost, the wall time is over 1.5 × the fault-free time plus the outage, or the
requests are over 1.25 × the rows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fault_server import ServerProcess
from support import server_model, write_recipe

from factory.api import run
from factory.recipe import load_recipe

WALL = 1.5
REQUESTS = 1.25
OUTAGE_S = 10.0
SATURATION = 16


@dataclass(frozen=True)
class Scenario:
    """What the server does, how the recipe's model differs, and which scenario is its fault-free one."""

    name: str
    server: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    against: str = "fault-free"
    outage: float = 0.0


@dataclass(frozen=True)
class Line:
    """One run: seconds, rows wanted and made, requests that reached the server."""

    scenario: Scenario
    seconds: float
    rows: int
    made: int
    requests: int


def scenarios(rows: int, latency: float) -> list[Scenario]:
    saturating = {"saturation": SATURATION, "thrash": 1.5, "latency": min(latency, 0.05)}
    return [
        Scenario("fault-free"),
        Scenario("429 with Retry-After", {"faults": {"rate_limit": 0.1}, "retry_after": 1}),
        Scenario("429 without", {"faults": {"rate_limit_bare": 0.1}}),
        Scenario("hangs", {"faults": {"hang": 0.05}}, {"timeout": 2}),
        Scenario("outage", {"die_after": rows // 3, "outage": OUTAGE_S}, outage=OUTAGE_S),
        Scenario("fault-free at 16", saturating, {"concurrency": SATURATION}, against="fault-free at 16"),
        Scenario("saturation", saturating, against="fault-free at 16"),
    ]


def measure(scenario: Scenario, rows: int, latency: float, concurrency: int, directory: Path) -> Line:
    """One run of the recipe."""
    home = directory / scenario.name.replace(" ", "-")
    with ServerProcess() as server:
        server.configure(**({"latency": latency, "jitter": 0.2} | scenario.server))
        model = server_model(server.url, **{"concurrency": concurrency, **scenario.model})
        recipe = write_recipe(home, rows=rows, models={"writer": model})
        started = time.monotonic()
        result = run(load_recipe(str(recipe)), runs_dir=home / "runs")
        seconds = time.monotonic() - started
        return Line(scenario, seconds, rows, int(result.summary["rows"]), server.stats()["requests"])


def broken(line: Line, free: Line) -> list[str]:
    """The bounds that a run missed."""
    found = []
    if line.made != line.rows:
        found.append(f"{line.rows - line.made} rows lost")
    if line.seconds > WALL * free.seconds + line.scenario.outage:
        found.append(f"wall over {WALL} × fault-free" + (" + outage" if line.scenario.outage else ""))
    if line.requests > REQUESTS * line.rows:
        found.append(f"requests over {REQUESTS} × needed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds of an answer; up to 20%% more at random")
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--only", action="append", help="a scenario, with the one it is compared to")
    options = parser.parse_args()
    wanted = scenarios(options.rows, options.latency)
    if options.only:
        names = set(options.only) | {one.against for one in wanted if one.name in options.only}
        wanted = [one for one in wanted if one.name in names]
    lines: dict[str, Line] = {}
    bad = 0
    print(f"{'scenario':<22}{'wall s':>8}{'outage':>8}{'ratio':>7}{'requests':>10}{'lost':>6}  verdict", flush=True)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        for scenario in wanted:
            line = measure(scenario, options.rows, options.latency, options.concurrency, Path(name))
            lines[scenario.name] = line
            free = lines[scenario.against]
            faults = broken(line, free)
            bad += len(faults)
            print(
                f"{scenario.name:<22}{line.seconds:>8.1f}{scenario.outage:>8.1f}"
                f"{(line.seconds - scenario.outage) / free.seconds:>7.2f}{line.requests / line.rows:>10.3f}"
                f"{line.rows - line.made:>6}  {'; '.join(faults) or 'kept'}",
                flush=True,
            )
    print("every bound kept" if not bad else f"{bad} bounds missed")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
