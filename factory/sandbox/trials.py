"""Tries code on tests: the code in one sandbox, the tests in another, with nothing but a socket between them.

The verdict comes from the tests' process alone, so that no exit code, printed text, patched name or introspection of
the code can stand for it. What the code can do is answer calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from factory.sandbox.launching import Job, Launched, explain, launch
from factory.sandbox.limits import Finished, Limits
from factory.sandbox.probing import sandbox_way
from factory.sandbox.running import as_bytes, check_available
from factory.sandbox.slots import slots, unused_user

REPORT_BYTES = 4 << 20
CODE_IS_GONE = 75
"""The exit code of the tests' process when the code's process ended before it."""
LAST_WORDS_SECONDS = 2.0
GRACE_SECONDS = 2.0
"""By the clock, the tests may last so much longer than the code: the code's end is then told as its own."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How many tests passed. `reason`: what the first failed one says; '' when all passed.

    `fault`: why the tests could not be run at all, through no fault of the code ('' as a rule).
    """

    passed: int
    total: int
    reason: str
    fault: str = ""


async def try_tests(
    code: str | bytes, tests: str | bytes, *, limits: Limits | None = None, own_operators: bool = False
) -> Trial:
    """Run tests on code that has never been seen, each in a sandbox of its own. The limits hold for either.

    `own_operators`: let the code's own classes decide comparisons and arithmetic with plain data. Raises UsageError
    where there is no sandbox, FactoryError when one does not start.
    """
    check_available("try_tests")
    bounds = limits or Limits()
    async with slots().hold() as place:
        with ExitStack() as stack:
            ours, theirs = socket.socketpair()
            stack.callback(ours.close)
            stack.callback(theirs.close)
            read, write = os.pipe()
            reader = asyncio.StreamReader(limit=REPORT_BYTES)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", 0)
            )
            stack.callback(transport.close)
            try:
                coder, tester = await _launch_both(
                    code, tests, bounds, own_operators, place, (theirs.fileno(), ours.fileno(), write)
                )
            finally:
                os.close(write)
            ours.close()
            theirs.close()
            return await _watch(coder, tester, reader, bounds)


async def _launch_both(
    code: str | bytes,
    tests: str | bytes,
    limits: Limits,
    own_operators: bool,
    place: int,
    fds: tuple[int, int, int],
) -> tuple[Launched, Launched]:
    theirs, ours, write = fds
    way = sandbox_way()
    data: dict[str, Any] = {"source": as_bytes(code), "channel": theirs, "output_bytes": limits.output_bytes}
    coder = await launch(
        Job("candidate_side", data), limits=limits, way=way, user=unused_user(place), channels=(theirs,)
    )
    data = {"source": as_bytes(tests), "channel": ours, "report": write, "own_operators": own_operators}
    longer = replace(limits, wall_seconds=limits.wall_seconds + GRACE_SECONDS)
    try:
        tester = await launch(
            Job("tests_side", data), limits=longer, way=way, user=unused_user(place, 1), channels=(ours, write)
        )
    except BaseException:
        coder.kill()
        await coder.finish()
        raise
    return coder, tester


async def _watch(coder: Launched, tester: Launched, reader: asyncio.StreamReader, limits: Limits) -> Trial:
    """Wait for the tests' end, end the code, and read the report."""

    async def stop_after_tests() -> Finished:
        wait = 0.0
        try:
            end = await tester.finish()
            # Where the code ended first, its end is under way and is to be told as it was.
            wait = LAST_WORDS_SECONDS if end.code == CODE_IS_GONE else 0.0
            return end
        finally:
            asyncio.get_running_loop().call_later(wait, coder.kill)

    ends = asyncio.ensure_future(coder.finish()), asyncio.ensure_future(stop_after_tests())
    reading = asyncio.ensure_future(_read(reader, tester))
    try:
        code_end, tests_end, report = await asyncio.gather(*ends, reading)
    except BaseException:
        coder.kill()
        tester.kill()
        await asyncio.gather(*ends, reading, return_exceptions=True)
        raise
    return _judge(report, code_end, tests_end, limits)


async def _read(reader: asyncio.StreamReader, tester: Launched) -> list[dict[str, Any]]:
    """The report's lines; a report that is too long ends the tests."""
    data = bytearray()
    while piece := await reader.read(1 << 16):
        data += piece
        if len(data) > REPORT_BYTES:
            tester.kill("output")
            break
    found = []
    for line in bytes(data).splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # the last line of a process that was ended within it
            break
    return [line for line in found if isinstance(line, dict)]


def _judge(report: list[dict[str, Any]], code_end: Finished, tests_end: Finished, limits: Limits) -> Trial:
    total = next((line["total"] for line in reversed(report) if "total" in line), 0)
    results = [(line["name"], line["why"]) for line in report if "why" in line]
    passed = sum(not why for _, why in results)
    first = next((f"{name}: {why}" for name, why in results if why), "")
    fault = next((line["fault"] for line in report if "fault" in line), "")
    loading = next((line["code"] for line in report if "code" in line), "")
    if fault:
        return Trial(0, 0, fault, fault)
    if loading:
        return Trial(0, max(1, total), _explain(f"the code: {loading}", limits))
    if any("gone" in line for line in report):
        reason = first or f"the code ended before its tests: {code_end.reason or f'exit code {code_end.code}'}"
        return Trial(passed, max(passed + 1, total), _explain(reason, limits))
    if not any("done" in line for line in report):
        why = tests_end.reason or f"they ended with exit code {tests_end.code}"
        return Trial(passed, max(passed + 1, total), first or f"the tests were not finished: {why}")
    if not total:
        return Trial(0, 0, "there is no test to run", "there is no test to run")
    if passed < total and not first:
        first = f"{total - passed} of {total} tests were not run"
    return Trial(passed, total, _explain(first, limits))


def _explain(reason: str, limits: Limits) -> str:
    """A reason, with what the sandbox has to do with it."""
    return f"{reason} (the limit is {limits.memory_mb} MB)" if "MemoryError" in reason else explain(reason)
