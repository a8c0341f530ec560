"""Whether a sandbox can be had here, found out by running a tiny program in it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from factory.sandbox.command import Way, bwrap_version
from factory.sandbox.launching import Job, counts_tasks, last_line, prepare
from factory.sandbox.limits import Limits
from factory.sandbox.seccomp import make_filter
from factory.sandbox.slots import cores, unused_user

OLDEST = (0, 4)
SAYS = b"the sandbox runs"


@dataclass(frozen=True, slots=True)
class Found:
    """The way that works here, or why none does."""

    way: Way | None
    why: str = ""


def available() -> str | None:
    """None when programs can be run in a sandbox here; otherwise why not, and what to do. Found out once."""
    return _probe().why or None


def sandbox_way() -> Way:
    """The way that works here. Raises RuntimeError where there is none: ask `available` first."""
    found = _probe()
    if found.way is None:
        raise RuntimeError(found.why)
    return found.way


@functools.cache
def _probe() -> Found:
    if not sys.platform.startswith("linux"):
        return Found(None, f"the sandbox needs Linux, this is {sys.platform}: use a container or a virtual machine")
    version = bwrap_version()
    if not version:
        return Found(None, "bubblewrap is not installed: `apt install bubblewrap` (or dnf, apk, pacman)")
    if version < OLDEST:
        return Found(None, f"bubblewrap {'.'.join(map(str, version))} is too old: install 0.4 or newer")
    told = []
    for way in _ways():
        fault = _try(way)
        if not fault:
            return Found(way)
        told.append(fault)
    return Found(None, f"bubblewrap cannot make a sandbox here: {told[-1] if told else ''}{_advice()}")


def _ways() -> list[Way]:
    """What to try, the strongest first. Without the filter, the number of processes must be bounded otherwise."""
    filtered = make_filter() is not None
    ways = [Way(drops=True, filtered=filtered)] if os.geteuid() == 0 else []
    ways.append(Way(drops=False, filtered=filtered))
    return [way for way in ways if way.filtered or counts_tasks(way)]


def _try(way: Way) -> str:
    """'' when a tiny program runs, else what went wrong."""
    source = b"import json, os, random, socket\nassert os.getuid()\nprint('the sandbox runs', end='')"
    job = Job("program", {"source": source, "files": {}, "arguments": []})
    try:
        with ExitStack() as stack:
            # The last user of this process: no place that is in use has it.
            command, inherited, stdin, begun = prepare(stack, job, Limits(), way, unused_user(2 * cores()))
            stack.callback(os.close, begun)
            done = subprocess.run(
                command, stdin=stdin, capture_output=True, pass_fds=inherited, env={}, cwd="/", timeout=60
            )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    if done.returncode == 0 and done.stdout == SAYS:
        return ""
    return last_line(done.stderr) or f"exit code {done.returncode}"


def _advice() -> str:
    """The settings that forbid user namespaces, where they are on."""
    for name, bad in (
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("user/max_user_namespaces", "0"),
    ):
        path = Path("/proc/sys") / name
        try:
            value = path.read_text().strip()
        except OSError:
            continue
        if value == bad:
            return f"; {name.replace('/', '.')} is {value}: an administrator can change it with sysctl"
    return "; in a container, user namespaces must be allowed (--security-opt seccomp=unconfined)"
