"""Starts a program in the sandbox, reads what it says within bounds, and tells how it ended."""

from __future__ import annotations

import asyncio
import marshal
import math
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from factory.errors import FactoryError
from factory.sandbox.command import VARIABLES, Way, build_command, build_unconfined
from factory.sandbox.limits import Finished, Limits, Status
from factory.sandbox.seccomp import make_filter

CHUNK = 1 << 16
OWN_TASKS = 2
"""Processes of the sandbox itself that RLIMIT_NPROC counts in a user namespace: bubblewrap's first process, a spare."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to run inside: a module of `factory.sandbox.inside` and plain data for its `run`."""

    module: str
    data: Mapping[str, Any] = field(default_factory=dict)
    stdin: bytes = b""


class Launched:
    """A sandbox that has been started. `kill` may be called at any time; `finish` waits for the end."""

    def __init__(self, process: asyncio.subprocess.Process, begun_fd: int, limits: Limits) -> None:
        self._process = process
        self._begun = begun_fd
        self._limits = limits
        self._why: Literal["timeout", "output", "kill"] | None = None
        self._read = 0

    def kill(self, why: Literal["timeout", "output", "kill"] = "kill") -> None:
        """End bubblewrap; the kernel then ends every process of its namespace."""
        if self._process.returncode is None and self._why is None:
            self._why = why
            self._end()

    def _end(self) -> None:
        # Not the process object's own kill: it may take the exit status away from the loop that waits for it.
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    async def finish(self) -> Finished:
        """Wait for the end, or for a limit. Raises FactoryError when the sandbox itself did not start."""
        assert self._process.stdout is not None and self._process.stderr is not None
        timer = asyncio.get_running_loop().call_later(self._limits.wall_seconds, self.kill, "timeout")
        try:
            out, err, code = await asyncio.gather(
                self._collect(self._process.stdout, first=True),
                self._collect(self._process.stderr, first=False),
                self._process.wait(),
            )
        finally:
            timer.cancel()
            if self._process.returncode is None:
                self._end()
                await asyncio.shield(self._process.wait())
            begun = _has_begun(self._begun)
            os.close(self._begun)
        if not begun and self._why is None:
            raise FactoryError(
                f"the sandbox did not start (exit code {code}): {last_line(err) or 'it said nothing'}",
                "`factory doctor` tells what is missing; the same command goes on",
                code="sandbox",
            )
        return judge_end(code, out, err, self._why, self._limits)

    async def _collect(self, stream: asyncio.StreamReader, *, first: bool) -> bytes:
        """The first bytes, or the last, up to the limit; past the limit of both streams the program is ended."""
        kept = bytearray()
        limit = self._limits.output_bytes
        while piece := await stream.read(CHUNK):
            self._read += len(piece)
            if self._read > limit:
                self.kill("output")
            if first:
                kept += piece[: limit - len(kept)]
            else:
                kept += piece
                del kept[:-limit]
        return bytes(kept)


def _has_begun(fd: int) -> bool:
    """Whether the program said that it has begun. Never waits: what was just killed may still hold the other end."""
    os.set_blocking(fd, False)
    with suppress(BlockingIOError):
        return os.read(fd, 1) == b"1"
    return False


def limits_inside(limits: Limits, way: Way | None) -> dict[str, int]:
    """The limits as the kernel wants them."""
    return {
        "cpu": max(1, math.ceil(limits.cpu_seconds)),
        "memory": limits.memory_mb << 20,
        "file": limits.file_mb << 20,
        "files": limits.open_files,
        "tasks": limits.threads + (0 if way.drops else OWN_TASKS) if way and counts_tasks(way) else 0,
    }


def counts_tasks(way: Way) -> bool:
    """Whether RLIMIT_NPROC counts this sandbox alone: by an own user, or by the user namespace (Linux 5.14).

    Root is never held by it, not even as nobody of a user namespace.
    """
    if way.drops:
        return True
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    return os.geteuid() != 0 and version >= (5, 14)


def prepare(
    stack: ExitStack, job: Job, limits: Limits, way: Way | None, user: int
) -> tuple[list[str], tuple[int, ...], int, int]:
    """The command, the descriptors it inherits, its standard input, and where it says that it has begun.

    What `stack` holds is this process's side; close it once the program has been started.
    """
    data = dict(job.data) | {
        "module": job.module,
        "limits": limits_inside(limits, way),
        "user": user if way and way.drops else 0,
        "confined": way is not None,
    }
    job_fd = _hold(stack, marshal.dumps(data))
    stdin_fd = _hold(stack, job.stdin)
    filter_fd = None
    if way and way.filtered:
        rules = make_filter()
        assert rules is not None, "a way with a filter is chosen only where there is one"
        filter_fd = _hold(stack, rules)
    begun_read, begun_write = os.pipe()
    stack.callback(os.close, begun_write)
    start = [str(job_fd), str(begun_write)]
    if way is None:
        command = build_unconfined(start)
    else:
        command = build_command(way, file_mb=limits.file_mb, filter_fd=filter_fd, start=start)
    inherited = (job_fd, begun_write) + (() if filter_fd is None else (filter_fd,))
    return command, inherited, stdin_fd, begun_read


def _hold(stack: ExitStack, content: bytes) -> int:
    """A descriptor from which `content` can be read; the file has no name."""
    file = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return file.fileno()


OWN_PROGRAMS = ("sql_side",)
"""Programs of the factory that run no code of anybody else: these may do without the sandbox."""


async def launch(job: Job, *, limits: Limits, way: Way | None, user: int = 0, channels: Sequence[int] = ()) -> Launched:
    """Start a job in the sandbox; it inherits the descriptors `channels`. The environment is empty from the start:
    even bubblewrap's own processes have no key in it. Without a way, only the factory's own programs are started."""
    if way is None and job.module not in OWN_PROGRAMS:
        raise ValueError(f"{job.module} runs in the sandbox or not at all")
    with ExitStack() as stack:
        command, inherited, stdin, begun = prepare(stack, job, limits, way, user)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={} if way else dict(VARIABLES),
                cwd="/",
                pass_fds=(*inherited, *channels),
                start_new_session=True,
            )
        except BaseException as error:
            os.close(begun)
            if isinstance(error, OSError):
                raise FactoryError(
                    f"bubblewrap cannot be started: {error.strerror or error}", "see `factory doctor`", code="sandbox"
                ) from error
            raise
    return Launched(process, begun, limits)


def judge_end(code: int, out: bytes, err: bytes, why: str | None, limits: Limits) -> Finished:
    """How a program ended, from its exit code, what it said last, and why it was killed."""
    status: Status
    told = last_line(err)
    if code < 0:  # bubblewrap itself was ended by a signal
        code = 128 - code
    number = code - 128
    if why == "timeout":
        status, reason = "timeout", f"it took more than {limits.wall_seconds:g} s"
    elif why == "output":
        status, reason = "output", f"it wrote more than {limits.output_bytes} bytes"
    elif why == "kill" and number == signal.SIGKILL:
        status, reason = "killed", "it was stopped"
    elif code == 0:
        status, reason = "ok", ""
    elif number == signal.SIGXCPU:
        status, reason = "timeout", f"it took more than {math.ceil(limits.cpu_seconds)} s of CPU time"
    elif number == signal.SIGSYS:
        status, reason = "process", "it tried to start a process"
    elif told.startswith("MemoryError"):
        status, reason = "memory", f"it wanted more than {limits.memory_mb} MB of memory"
    elif 0 < number < 65 and not told.endswith("Error"):
        status, reason = "killed", f"it was ended by {_signal_name(number)}"
    else:
        status, reason = "error", explain(told) or f"exit code {code}"
    return Finished(status, code, out, err, reason)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_line(err: bytes, limit: int = 200) -> str:
    """The last line that is not empty, as readable text."""
    for line in reversed(err[-8192:].decode("utf-8", "replace").splitlines()):
        if line.strip():
            return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line.strip())[:limit]
    return ""


NOTES = {
    "ConnectionRefusedError": "the sandbox has no network",
    "Network is unreachable": "the sandbox has no network",
    "gaierror": "the sandbox has no network",
    "Read-only file system": "the sandbox lets nothing be written outside /tmp",
    "File too large": "the sandbox bounds files",
    "No space left": "the sandbox bounds files",
    "Operation not permitted": "the sandbox forbids it",
}


def explain(told: str) -> str:
    """An error's line, with what the sandbox has to do with it."""
    note = next((note for mark, note in NOTES.items() if mark in told), "")
    return f"{told} ({note})" if note else told
