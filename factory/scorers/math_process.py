"""The one process that reads formulas for this one: started when first needed, killed when it takes too long."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import FactoryError

PROGRAM = Path(__file__).with_name("math_worker.py")
QUESTIONS_EACH = 2000
"""After so many questions a process is replaced: SymPy's caches only grow."""


class Undecided(Exception):
    """A question that took too long, or too much memory."""


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[str]
    asked: int = 0


class FormulaProcess:
    """Questions to `math_worker`, one after the other. It may be used from every thread and event loop."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None
        self._lock = threading.Lock()
        self._queue = ThreadPoolExecutor(max_workers=1, thread_name_prefix="math-verify")

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The worker's answer. Raises Undecided, and FactoryError where no worker can be had."""
        return await asyncio.get_running_loop().run_in_executor(self._queue, self.ask_now, question)

    def ask_now(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The same, waiting for it."""
        with self._lock:
            worker = self._ready()
            worker.asked += 1
            answer = _converse(worker.process, json.dumps(question))
            if answer is None:
                self._stop()
                raise Undecided(f"it takes more than {question['seconds']:g} s to read")
        if "error" in answer:
            raise Undecided("it takes too much memory to read")
        return answer

    def _ready(self) -> _Worker:
        worker = self._worker
        if worker is not None and (worker.asked >= QUESTIONS_EACH or worker.process.poll() is not None):
            self._stop()
            worker = None
        if worker is None:
            worker = self._worker = _start()
        return worker

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        process = worker.process
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was not written yet had no reader any more
        process.wait()

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._stop()


def _start() -> _Worker:
    # -P: beside the program lie modules that are called as the standard library's are (`math`, `http`).
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONHASHSEED": "0"},
        start_new_session=True,  # Ctrl-C is for this process
    )
    assert process.stdin is not None and process.stdout is not None
    first = process.stdout.readline()
    told = json.loads(first) if first else {}
    if "ready" not in told:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        raise FactoryError(
            f"the scorer `math` cannot start its process: {told.get('failed') or f'it ended with {process.wait()}'}",
            "try `python -c 'import math_verify'`",
            code="scorer",
        )
    return _Worker(process)


def _converse(process: subprocess.Popen[str], line: str) -> dict[str, Any] | None:
    """One question and its answer; None when the process died of it."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        return None
    return json.loads(answer) if answer.endswith("\n") else None


formulas = FormulaProcess()
"""The process of this interpreter."""
atexit.register(formulas.close)
