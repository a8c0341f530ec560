"""The first program in the sandbox: sets the limits, gives up what is left of its rights, then runs the job.

Arguments: the descriptor of the job (marshal, written by the factory), and that on which it says that it has begun.
"""

from __future__ import annotations

import marshal
import os
import resource
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def set_limits(limits: dict[str, int], *, all_needed: bool) -> None:
    """Soft and hard limits alike: without privileges neither can be raised again.

    Where not all are needed (SQLite, which keeps to limits of its own), those that the system lacks are left out.
    """
    cpu = limits["cpu"]
    wanted = [("CPU", cpu, cpu + 1), ("CORE", 0, 0), ("MEMLOCK", 0, 0), ("MSGQUEUE", 0, 0)]
    wanted += [(name, limits[key], limits[key]) for name, key in (("FSIZE", "file"), ("NOFILE", "files"))]
    wanted.append(("AS", limits["memory"], limits["memory"]))
    if limits["tasks"]:
        wanted.append(("NPROC", limits["tasks"], limits["tasks"]))
    for name, soft, hard in wanted:
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (soft, hard))
        except (AttributeError, ValueError, OSError):
            if all_needed:
                raise


def offer_package() -> None:
    """Make `factory.sandbox.inside` importable from where this file lies, without the rest of the factory."""
    inside = os.path.dirname(os.path.abspath(__file__))
    for name, path in (("factory", os.path.dirname(os.path.dirname(inside))), ("factory.sandbox", "")):
        package = ModuleType(name)
        package.__path__ = [path or os.path.dirname(inside)]
        sys.modules[name] = package


def drop_rights(user: int) -> None:
    """Become a user that owns nothing. /tmp is made writable first."""
    if os.access("/tmp", os.W_OK):
        os.chmod("/tmp", 0o1777)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def main() -> None:
    job_fd, begun_fd = int(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(job_fd, "rb") as file:
        job: dict[str, Any] = marshal.load(file)
    offer_package()
    run = import_module(f"factory.sandbox.inside.{job['module']}").run
    if job["user"]:
        drop_rights(job["user"])
    set_limits(job["limits"], all_needed=job["confined"])
    os.write(begun_fd, b"1")
    os.close(begun_fd)
    run(job)


if __name__ == "__main__":
    main()
