"""Calls for the tests of the journal, and a process that makes them until it is killed.

    python journal_calls.py DIRECTORY FIRST WORKERS [--unsafe] [--limit BYTES] [--count N]

prints `leased N` once the lease of call N is durable and `ack N` once the call is settled.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from factory.errors import StorageFull
from factory.journal import Journal, Lease, Stored
from factory.types import Choice, LedgerEntry, Message, Request, Response, Sampling, Usage

AT = "2025-01-01T00:00:00.000+00:00"


def make_request(number: int, purpose: str = "generate") -> Request:
    return Request(
        identity="openai/writer@http://127.0.0.1:1/v1",
        model="writer",
        messages=(Message("system", "You write."), Message("user", f"Tell me about {number}. " * 12)),
        sampling=Sampling(temperature=0.5, max_tokens=64, extra={"min_p": 0.1}),
        n=1,
        seed=number,
        row=number // 2,
        step="main",
        purpose=purpose,  # type: ignore[arg-type]
        index=number % 2,
    )


def make_call(number: int, attempt: int = 1, outcome: str = "ok") -> tuple[Lease, LedgerEntry, Stored]:
    """The lease, the entry and the outcome of call `number`: always the same for the same arguments."""
    request = make_request(number)
    draw = random.Random(number)
    text = " ".join(draw.choices(["alpha", "beta", "gamma", "delta", "ε", "zeta"], k=draw.randrange(5, 400)))
    bound, cost = 1000 + number, 100 + number
    lease = Lease(request.call_id, attempt, request.row, "main", "generate", "openai/writer", bound, AT)
    ok = outcome == "ok"
    entry = LedgerEntry(
        call_id=request.call_id,
        attempt=attempt,
        row=request.row,
        step="main",
        purpose="generate",
        model="openai/writer",
        prompt_tokens=40 if ok else 0,
        cached_tokens=0,
        completion_tokens=number if ok else 0,
        reasoning_tokens=0,
        nano_usd=cost if ok else 0,
        upper_bound_nano_usd=None,
        price_source="recipe",
        outcome=outcome,
        latency_s=0.25,
        at=AT,
    )
    response = Response((Choice(text, "stop"),), Usage(40, number), "writer-1") if ok else None
    message = "" if ok else f"the server said {outcome}"
    stored = Stored(request.call_id, outcome, response, message, cost if ok else None, "recipe", request.content())
    return lease, entry, stored


def same(found: Stored | None, expected: Stored) -> bool:
    """Equal in every field, the request as plain data."""
    if found is None or replace(found, request={}) != replace(expected, request={}):
        return False
    return dict(found.request) == {
        **expected.request,
        "messages": [list(message) for message in expected.request["messages"]],
    }


async def settle_calls(journal: Journal, numbers: range, workers: int = 8) -> None:
    """Lease and settle these calls."""
    todo = iter(numbers)

    async def work() -> None:
        for number in todo:
            lease, entry, stored = make_call(number)
            await journal.lease(lease, durable=False)
            await journal.settle(entry, lease, stored)

    await asyncio.gather(*(work() for _ in range(workers)))


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def _work(journal: Journal, numbers: Iterator[int]) -> None:
    for number in numbers:
        lease, entry, stored = make_call(number)
        durable = number % 3 == 0
        await journal.lease(lease, durable=durable)
        if durable:
            say(f"leased {number}")
        await journal.settle(entry, lease, stored)
        say(f"ack {number}")


async def _run(journal: Journal, numbers: Iterator[int], workers: int) -> list[BaseException]:
    results = await asyncio.gather(*(_work(journal, numbers) for _ in range(workers)), return_exceptions=True)
    return [result for result in results if result is not None]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("workers", type=int)
    parser.add_argument("--unsafe", action="store_true", help="no fsync: what the power-cut test must notice")
    parser.add_argument("--limit", type=int, help="no file may grow beyond this")
    parser.add_argument("--count", type=int)
    parser.add_argument("--checkpoint", type=int, help="empty the log after this many pages")
    options = parser.parse_args()
    if options.limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.limit, options.limit))
    journal = Journal.open(options.directory, writable=True, notice=lambda text: say(f"notice {text}"))
    assert journal._writer is not None
    if options.checkpoint:
        journal._writer._connection.execute(f"PRAGMA wal_autocheckpoint = {options.checkpoint}")
    if options.unsafe:
        journal._writer._connection.execute("PRAGMA synchronous = OFF")
    last = None if options.count is None else options.first + options.count
    numbers = iter(range(options.first, last)) if last is not None else count(options.first)
    for fault in asyncio.run(_run(journal, numbers, options.workers)):
        say(f"{'full' if isinstance(fault, StorageFull) else 'fault'} {fault!r}")
    journal.close()
    say("closed")


if __name__ == "__main__":
    main()
