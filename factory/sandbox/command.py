"""The command line that puts a Python program into bubblewrap: what it sees, what it may do."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

HARNESS = "/harness/factory/sandbox/inside"
INSIDE = Path(__file__).resolve().parent / "inside"
SYSTEM = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/lib", "/lib32", "/lib64", "/libx32")
STORES = ("/nix/store", "/gnu/store")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
VARIABLES = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PATH": "/nowhere",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "1",
}
"""The whole environment. Sets have the same order every time; one malloc arena, or threads would eat address space."""


@dataclass(frozen=True, slots=True)
class Way:
    """How privileges are given up. `drops`: bubblewrap runs as root and the program takes an unused user id;
    otherwise a user namespace maps this user to nobody. `filtered`: with the system-call filter."""

    drops: bool
    filtered: bool


def interpreter() -> str:
    """The real file of the running Python, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


@functools.cache
def bwrap_version() -> tuple[int, ...]:
    """The version of the bubblewrap that is installed; () where there is none or it cannot be started."""
    if shutil.which("bwrap") is None:
        return ()
    try:
        told = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, timeout=20, env={}).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", told)[:3])


def build_command(way: Way, *, file_mb: int, filter_fd: int | None, start: list[str]) -> list[str]:
    """`bwrap … python start.py …`: new namespaces, no network, a read-only root of libraries, no /proc, no /sys.

    The only place to write is /tmp, `file_mb` large; where bubblewrap is older than 0.7 even that is read-only.
    """
    found = shutil.which("bwrap") or "bwrap"
    line = [found, "--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL"]
    if way.drops:
        line += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        line += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        line += ["--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    line += _mounts()
    line += ["--ro-bind", str(INSIDE), HARNESS, "--chdir", "/tmp", "--remount-ro", "/"]
    at = line.index("--chdir")
    line[at:at] = [*_sized(file_mb), "--tmpfs", "/tmp"] if bwrap_version() >= (0, 7) else ["--dir", "/tmp"]
    for name, value in VARIABLES.items():
        line += ["--setenv", name, value]
    if filter_fd is not None:
        line += ["--seccomp", str(filter_fd)]
    return [*line, "--", *_python(interpreter(), f"{HARNESS}/start.py"), *start]


def build_unconfined(start: list[str]) -> list[str]:
    """`python start.py …` as a plain process of its own: for the factory's own programs alone."""
    return [*_python(interpreter(), str(INSIDE / "start.py")), *start]


def _python(program: str, script: str) -> list[str]:
    """Without installed packages, and without the script's folder on the path."""
    return [program, "-S", "-s", "-P", "-B", "-X", "utf8", script]


def _sized(file_mb: int) -> list[str]:
    return ["--size", str(max(1, file_mb) << 20)]


@functools.cache
def _mounts() -> list[str]:
    """The read-only view: system libraries, the interpreter with its library but no installed packages, few devices."""
    bound: list[str] = []
    line: list[str] = []

    def bind(path: str) -> None:
        if os.path.exists(path) and not any(path == one or path.startswith(one + "/") for one in bound):
            bound.append(path)
            for parent in reversed(Path(path).parents[:-1]):  # or bubblewrap makes them as closed as the source's
                if not any(parent.is_relative_to(one) for one in bound) and str(parent) not in line:
                    line.extend(["--dir", str(parent)])
            line.extend(["--ro-bind", path, path])

    for path in SYSTEM:
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
            bound.append(path)
        else:
            bind(path)
    for path in (*STORES, "/usr/share/zoneinfo", "/etc/ld.so.cache"):
        bind(path)
    prefix = os.path.realpath(sys.base_prefix)
    if prefix not in ("/", "/usr"):
        bind(os.path.join(prefix, "lib"))
        bind(os.path.join(prefix, "lib64"))
    for path in (os.path.dirname(os.__file__), sysconfig.get_config_var("DESTSHARED") or "", interpreter()):
        bind(path)
    packages = os.path.join(os.path.dirname(os.__file__), "site-packages")
    if os.path.isdir(packages):
        line += ["--tmpfs", packages, "--remount-ro", packages]
    for path in DEVICES:
        line += ["--dev-bind", path, path]
    return line
