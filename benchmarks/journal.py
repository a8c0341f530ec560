"""How fast the journal commits and replays, with 2 KB responses.

    python benchmarks/journal.py [--calls 20000] [--directory DIR] [--json]

Prints calls settled per second at one and at a hundred calls a commit (each with a lease before it), replayed calls per
second (`get`, warm), the seconds that opening for writing takes, and bytes on disk per call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from factory.journal import Journal, Lease, Stored
from factory.types import Choice, LedgerEntry, Message, Request, Response, Sampling, Usage

_WORDS = [
    f"{head}{tail}" for head in ("ba", "co", "di", "fu", "gra", "hel") for tail in ("ner", "tos", "lim", "ck", "ve")
]


def make_request(number: int) -> Request:
    """A chat request of some 400 bytes."""
    prompt = f"Write a story about number {number}. " + "Keep it short, plain and free of names. " * 8
    return Request(
        identity="openai/writer@http://127.0.0.1:8000/v1",
        model="writer",
        messages=(Message("user", prompt),),
        sampling=Sampling(temperature=0.8, max_tokens=600),
        n=1,
        seed=number,
        row=number,
        step="main",
        purpose="generate",
        index=0,
    )


def make_call(number: int) -> tuple[Lease, LedgerEntry, Stored]:
    """One attempt with a response of about 2,000 characters."""
    request = make_request(number)
    draw = random.Random(number)
    text = " ".join(draw.choices(_WORDS, k=360))
    call_id, at = request.call_id, "2025-01-01T00:00:00.000+00:00"
    lease = Lease(call_id, 1, number, "main", "generate", "openai/writer", 3_000_000, at)
    entry = LedgerEntry(
        call_id, 1, number, "main", "generate", "openai/writer", 90, 0, 500, 0, 123_456, None, "recipe", "ok", 1.25, at
    )
    response = Response((Choice(text, "stop"),), Usage(90, 500), "writer")
    return lease, entry, Stored(call_id, "ok", response, "", 123_456, "recipe", request.content())


async def settle_all(journal: Journal, calls: list[tuple[Lease, LedgerEntry, Stored]], workers: int) -> float:
    """Seconds to lease and settle every call with this many of them in flight."""
    queue = iter(calls)

    async def work() -> None:
        for lease, entry, stored in queue:
            await journal.lease(lease, durable=False)
            await journal.settle(entry, lease, stored)

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    return time.perf_counter() - start


async def commit_batches(journal: Journal, calls: list[tuple[Lease, LedgerEntry, Stored]], batch: int) -> float:
    """Seconds to settle every call, this many to a commit, without leases."""
    start = time.perf_counter()
    for first in range(0, len(calls), batch):
        await asyncio.gather(
            *(journal.settle(entry, None, stored) for _, entry, stored in calls[first : first + batch])
        )
    return time.perf_counter() - start


def measure(directory: Path, count: int) -> dict[str, float]:
    """All figures, in a journal of `count` calls under `directory`."""
    result: dict[str, float] = {}
    calls = [make_call(number) for number in range(count)]
    few = calls[: max(200, count // 10)]
    for name, some, batch in (("settle_1_per_commit", few, 1), ("settle_100_per_commit", calls, 100)):
        with Journal.open(directory / name, writable=True, notice=print) as journal:
            result[name] = len(some) / asyncio.run(commit_batches(journal, some, batch))
    for name, some, workers in (("lease_settle_1_in_flight", few, 1), ("lease_settle_128_in_flight", calls, 128)):
        with Journal.open(directory / name, writable=True, notice=print) as journal:
            result[name] = len(some) / asyncio.run(settle_all(journal, some, workers))
    place = directory / "lease_settle_128_in_flight"
    result["bytes_per_call"] = (place / "00000.sqlite").stat().st_size / count
    start = time.perf_counter()
    with Journal.open(place, writable=True, notice=print) as journal:
        result["open_seconds"] = time.perf_counter() - start
        ids = [entry.call_id for _, entry, _ in calls]
        for _ in range(2):
            start = time.perf_counter()
            found = sum(journal.get(call_id) is not None for call_id in ids)
            result["get"] = found / (time.perf_counter() - start)
        start = time.perf_counter()
        missing = sum(journal.get(f"{number:032x}") is None for number in range(count))
        result["get_miss"] = missing / (time.perf_counter() - start)
        start = time.perf_counter()
        journal.verify()
        result["verify"] = count / (time.perf_counter() - start)
    return result


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--directory", type=Path, help="where to write (default: a temporary directory)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch:
        result = measure(Path(scratch), options.calls)
    if options.json:
        json.dump({"calls": options.calls, **result}, sys.stdout)
        print()
        return
    for name, value in result.items():
        print(f"{name:28} {value:12,.2f}" if value < 100 else f"{name:28} {value:12,.0f}")


if __name__ == "__main__":
    main()
