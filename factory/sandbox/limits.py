"""What a program in the sandbox may use, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "error", "timeout", "memory", "output", "process", "killed"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one program. CPU seconds are whole (rounded up): they hang less on the machine's load than the clock.

    `memory_mb`: address space. `file_mb`: all of /tmp, and each file. `output_bytes`: standard output and error
    together. `threads`: those of the program, its main thread included.
    """

    cpu_seconds: float = 5.0
    wall_seconds: float = 15.0
    memory_mb: int = 512
    file_mb: int = 16
    output_bytes: int = 1 << 20
    threads: int = 16
    open_files: int = 64


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended. `code` is its exit code (128 + n after signal n); `reason` is one line, '' when all is well.

    Of `stdout` the first `output_bytes` are kept, of `stderr` the last; both are bytes as the program wrote them.
    """

    status: Status
    code: int
    stdout: bytes
    stderr: bytes
    reason: str
