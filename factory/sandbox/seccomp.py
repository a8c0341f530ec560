"""The system-call filter of the sandbox, as a classic BPF program for `bwrap --seccomp`."""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

ALLOW = 0x7FFF0000
KILL = 0x80000000
REFUSE = 0x00050001
"""SECCOMP_RET_ERRNO with EPERM."""
ABSENT = 0x00050026
"""SECCOMP_RET_ERRNO with ENOSYS: the C library then falls back to `clone`, whose flags can be read."""

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
CLONE_THREAD = 0x10000
FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6: the others (vsock, netlink, packet, alg …) are not all bound by a network namespace."""

SAME_EVERYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 438, 442, 447)
"""io_uring, the new mount calls, pidfd_open, pidfd_getfd, mount_setattr, memfd_secret."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Numbers of one architecture: `forks` make a process; `refused` are calls that a program of text needs not.

    Refused: looking into other processes, namespaces and mounts, kernel modules, keys, BPF, tracing, and memory that
    RLIMIT_AS does not count (memfd_create, System V and POSIX message queues and segments).
    """

    audit: int
    forks: tuple[int, ...]
    clone: int
    socket: int
    refused: tuple[int, ...]


MACHINES = {
    "x86_64": Machine(
        0xC000003E, (57, 58), 56, 41,
        (
            29, 64, 68, 101, 103, 135, 155, 161, 163, 165, 166, 167, 168, 169, 175, 176, 179, 240, 246, 248,
            249, 250, 272, 298, 300, 303, 304, 308, 310, 311, 312, 313, 319, 320, 321, 323,
        ),
    ),
    "aarch64": Machine(
        0xC00000B7, (), 220, 198,
        (
            39, 40, 41, 51, 60, 89, 92, 97, 104, 105, 106, 116, 117, 142, 180, 186, 190, 194, 217, 218, 219,
            224, 225, 241, 262, 264, 265, 268, 270, 271, 272, 273, 279, 280, 282, 294,
        ),
    ),
}  # fmt: skip
CLONE3 = 435


def _line(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def make_filter(machine: str | None = None) -> bytes | None:
    """The filter for this architecture (default: this machine's), or None where the numbers are not known.

    Starting a process kills the program (SIGSYS), threads are allowed; the other refused calls fail with EPERM.
    """
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    lines = [
        _line(LOAD, ARCHITECTURE),
        _line(EQUAL, known.audit, 1, 0),
        _line(RETURN, KILL),
        _line(LOAD, NUMBER),
        _line(AT_LEAST, 0x40000000, 0, 1),  # the x32 calls of x86-64 have numbers of their own
        _line(RETURN, KILL),
    ]
    for number in known.forks:
        lines += [_line(EQUAL, number, 0, 1), _line(RETURN, KILL)]
    for number in (*known.refused, *SAME_EVERYWHERE):
        lines += [_line(EQUAL, number, 0, 1), _line(RETURN, REFUSE)]
    lines += [_line(EQUAL, CLONE3, 0, 1), _line(RETURN, ABSENT)]
    lines += [
        _line(EQUAL, known.clone, 0, 3),
        _line(LOAD, FIRST_ARGUMENT),
        _line(ANY_BIT, CLONE_THREAD, 1, 0),
        _line(RETURN, KILL),
        _line(LOAD, NUMBER),
    ]
    lines += [_line(EQUAL, known.socket, 0, len(FAMILIES) + 2), _line(LOAD, FIRST_ARGUMENT)]
    lines += [_line(EQUAL, family, len(FAMILIES) - place, 0) for place, family in enumerate(FAMILIES)]
    lines += [_line(RETURN, REFUSE), _line(RETURN, ALLOW)]
    return b"".join(lines)
