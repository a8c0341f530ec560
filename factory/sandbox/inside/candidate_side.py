"""The process that holds the candidate's code: it runs the code when asked, then serves calls to what the code made."""

from __future__ import annotations

import io
import os
import sys
from types import ModuleType
from typing import Any

from factory.sandbox.inside.peer import Peer
from factory.sandbox.inside.program import remember_lines, seed_random
from factory.sandbox.inside.wire import Gone

MODULE = "solution"


class Captured(io.BytesIO):
    """What the code prints, until the next answer takes it along; too much of it goes to the real output, whose
    limit ends the process."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._limit:
            for _ in range(3):
                os.write(1, bytes(self._limit))
        return super().write(data)

    def take(self) -> str:
        text = self.getvalue().decode("utf-8", "replace")
        self.seek(0)
        self.truncate()
        return text


def run(job: dict[str, Any]) -> None:
    """Serve the tests' process until it is gone."""
    captured = Captured(job["output_bytes"])
    sys.stdout = io.TextIOWrapper(captured, "utf-8", errors="replace", write_through=True)
    seed_random(job["source"])
    module = ModuleType(MODULE)

    def load(wanted: list[str] | None) -> dict[str, Any]:
        sys.modules[MODULE] = module
        remember_lines(f"{MODULE}.py", job["source"])
        exec(compile(job["source"], f"{MODULE}.py", "exec", dont_inherit=True), module.__dict__)
        found = module.__dict__
        chosen = [name for name in found if not name.startswith("_")] if wanted is None else wanted
        return {name: found[name] for name in chosen if name in found}

    peer = Peer(
        job["channel"],
        strict=False,
        extra={"load": load, "attribute": lambda name: getattr(module, name)},
        take_output=captured.take,
    )
    try:
        peer.serve()
    except Gone:
        os._exit(0)
