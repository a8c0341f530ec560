"""Compiles the kernel (factory/kernel/*.c) into a shared library inside the package.

`python scripts/build_kernel.py` does so in a checkout, `--if-newer` only where a source is newer than the library. When
the package is built or installed, Hatch runs `Kernel` below. The library has no part of Python in it: one serves every
version. Without a C compiler ($CC, cc, gcc or clang) the package is pure Python, and NumPy does the work.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, where there need be no Hatch
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("fingerprint.c", "table.c", "hubs.c", "index.c")
NAME = f"_kernel{'.dll' if sys.platform == 'win32' else '.so'}"
FLAGS = (
    "-O3", "-std=gnu11", "-fno-strict-aliasing", "-ffp-contract=off", "-fvisibility=hidden", "-shared", "-Wall",
)  # fmt: skip


def compiler() -> list[str] | None:
    """The C compiler's command, or None."""
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        return named if shutil.which(named[0]) else None
    found = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    return None if found is None else [found]


def build(directory: Path, extra: tuple[str, ...] = (), name: str = NAME) -> str:
    """Compile the sources of `directory` into the library beside them; returns what went wrong, or nothing.

    The library is replaced in one step: a process that has the old one open keeps it.
    """
    command = compiler()
    if command is None:
        return "no C compiler found ($CC, cc, gcc, clang)"
    made = directory / f"{name}.{os.getpid()}"
    position = () if sys.platform == "win32" else ("-fPIC",)
    own = shlex.split(os.environ.get("CFLAGS", ""))
    command = [*command, *FLAGS, *position, *own, *extra, "-o", str(made), *(str(directory / one) for one in SOURCES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"`{command[0]}` failed: {' '.join(done.stderr.split())[:500]}"
        made.replace(directory / name)
    except OSError as error:
        return f"`{command[0]}` cannot be run or {directory} cannot be written: {error}"
    finally:
        made.unlink(missing_ok=True)
    return ""


def stale(directory: Path) -> bool:
    """Whether the library is absent or older than a source."""
    library = directory / NAME
    sources = [*directory.glob("*.[ch]"), Path(__file__)]
    return not library.exists() or any(one.stat().st_mtime > library.stat().st_mtime for one in sources)


class Kernel(BuildHookInterface):  # type: ignore[misc,valid-type]
    """Hatch's hook: the library goes into the wheel, whose tag then names the platform and no version of Python."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before a wheel, also an editable one, is put together."""
        if self.target_name != "wheel":
            return
        directory = Path(self.root) / "factory" / "kernel"
        failed = build(directory)
        if failed:
            (directory / NAME).unlink(missing_ok=True)
            self.app.display_warning(f"The compiled kernel is left out, and NumPy does its work: {failed}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append(f"/factory/kernel/{NAME}")


def main() -> int:
    """Build in place; 0 where that went well or nothing was to be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--if-newer", action="store_true", help="only where a source is newer than the library")
    arguments = parser.parse_args()
    directory = ROOT / "factory" / "kernel"
    if arguments.if_newer and not stale(directory):
        return 0
    failed = build(directory)
    if failed:
        print(f"The kernel was not built, and NumPy does its work: {failed}", file=sys.stderr)
        return 1
    print(f"Built factory/kernel/{NAME}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
