"""Runs a Python program as `python main.py` would, with its own files beside it."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any


def run(job: dict[str, Any]) -> None:
    """Write the files to the working directory, then execute `source` as the module `__main__`."""
    for name, content in job["files"].items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as file:
            file.write(content)
    source: bytes = job["source"]
    sys.path.append("")
    sys.argv = ["main.py", *job["arguments"]]
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    module.__dict__["__file__"] = "main.py"
    seed_random(source)
    remember_lines("main.py", source)
    exec(compile(source, "main.py", "exec", dont_inherit=True), module.__dict__)


def seed_random(source: bytes) -> None:
    """The same random numbers every time, for a program that does not seed them itself."""
    if b"random" in source:
        import random

        random.seed(0)


def remember_lines(name: str, source: bytes) -> None:
    """Let tracebacks show the program's lines, though it is no file."""
    if not os.access(".", os.W_OK) or len(source) > 1 << 20 or os.path.exists(name):
        return
    with open(name, "wb") as file:
        file.write(source)
