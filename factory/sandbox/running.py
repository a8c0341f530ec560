"""Runs one Python program in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from factory.errors import UsageError
from factory.sandbox.launching import Job, launch
from factory.sandbox.limits import Finished, Limits
from factory.sandbox.probing import available, sandbox_way
from factory.sandbox.slots import slots, unused_user


def check_available(what: str) -> None:
    """Raises UsageError when no sandbox can be had: nothing is ever run without one."""
    why = available()
    if why is not None:
        raise UsageError(f"{what} needs a sandbox: {why}", "without a sandbox no generated code is run")


async def run_program(
    code: str | bytes,
    *,
    limits: Limits | None = None,
    stdin: str | bytes = b"",
    files: Mapping[str, bytes] | None = None,
    arguments: Sequence[str] = (),
) -> Finished:
    """Run a Python program as `python main.py ARGUMENTS` in the sandbox, `files` beside it; waits for a free core.

    The code may be anything: what does not even compile ends in an error. Raises UsageError where there is no
    sandbox, FactoryError when it does not start.
    """
    check_available("run_program")
    bounds = limits or Limits()
    data = {"source": as_bytes(code), "files": dict(files or {}), "arguments": list(arguments)}
    job = Job("program", data, as_bytes(stdin))
    async with slots().hold() as place:
        started = await launch(job, limits=bounds, way=sandbox_way(), user=unused_user(place))
        return await started.finish()


async def run_query(data: Mapping[str, object], *, limits: Limits) -> Finished:
    """Run the factory's own SQLite program: in the sandbox where there is one, else as a process with limits."""
    way = None if available() else sandbox_way()
    async with slots().hold() as place:
        started = await launch(Job("sql_side", data), limits=limits, way=way, user=unused_user(place))
        return await started.finish()


def as_bytes(text: str | bytes) -> bytes:
    """UTF-8; lone surrogates, which no encoding has, become question marks."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
