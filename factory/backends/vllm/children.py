"""The processes that an engine starts: what they write, what Ctrl-C does to them, and that they die with this one.

vLLM runs the model in processes of its own. Left alone they write to stdout (where `--json` promises one object), stop
at once at a Ctrl-C that is meant to let calls in flight end, and run on after a `kill -9` of their parent, holding the
accelerator's memory. So they are spawned through a small shell script that gives them a process group of their own,
sends what they write to a log, and leaves a watcher behind that kills the group when this process is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from pathlib import Path

_TALKATIVE = "VLLM_LOGGING_LEVEL" in os.environ
"""Whether the user wants to see vLLM's messages; asked before we set a level ourselves."""
_TAIL_BYTES = 64_000
_GOODBYES = 256
"""Bytes written at a peaceful end: one for each watcher, and some to spare."""
_LAUNCH = """import os, sys
alive, *rest = sys.argv[1:]
os.setpgrp()
own = os.getpid()
if os.fork() == 0:
    os.setpgrp()
    os.closerange(0, 65536)  # not to hold what others read the end of, such as the pipe that tells of our death
    if not os.read(os.open(alive, os.O_RDONLY), 1):  # the end, without a goodbye
        os.killpg(own, 9)
        import shutil
        shutil.rmtree(os.path.dirname(alive), ignore_errors=True)
    os._exit(0)
os.execv(sys.executable, [sys.executable, *rest])
"""
"""Run by the new process before it becomes what it is to be; the fork is the watcher."""
_SCRIPT = """#!/bin/sh
VLLM_LOGGING_LEVEL={level}
export VLLM_LOGGING_LEVEL
exec {python} -c {launch} {alive} "$@" {output}
"""


class Children:
    """The processes spawned within `launching()`. With `VLLM_LOGGING_LEVEL` set they write to stderr, else to a log."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="factory-vllm-"))
        self.log = self._folder / "engine.log"
        self._before = {child.pid for child in multiprocessing.active_children()}
        fifo, script = self._folder / "alive", self._folder / "python"
        os.mkfifo(fifo, 0o600)
        # Open for both, so that neither side waits for the other; not inherited, so that it closes with this process.
        self._alive: int | None = os.open(fifo, os.O_RDWR)
        output = ">&2" if _TALKATIVE else f">>{shlex.quote(str(self.log))} 2>&1"
        level = os.environ.get("VLLM_LOGGING_LEVEL", "INFO") if _TALKATIVE else "INFO"
        words = {"level": level, "python": sys.executable, "launch": _LAUNCH, "alive": str(fifo)}
        quoted = {name: shlex.quote(word) for name, word in words.items()}
        text = _SCRIPT.format(**quoted, output=output)
        script.write_text(text, encoding="utf-8")
        script.chmod(0o700)
        self._script = script

    @contextmanager
    def launching(self) -> Iterator[None]:
        """Processes that `multiprocessing` spawns meanwhile, in any thread, are started as described above."""
        usual = spawn.get_executable()
        if os.access(self._script, os.X_OK):  # not where temporary files may not be executed
            spawn.set_executable(str(self._script))
        try:
            yield
        finally:
            spawn.set_executable(usual)

    def tail(self) -> str:
        """The end of what they wrote; empty where they write to stderr."""
        if not self.log.is_file():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def stop(self) -> None:
        """Kill those that still run: an engine that is not wanted any more before it has started."""
        for child in multiprocessing.active_children():
            if child.pid not in self._before:
                child.kill()

    def release(self, *, keep_log: bool = False) -> None:
        """They are gone: send the watchers away, and remove the log unless somebody was told of it."""
        if self._alive is None:
            return
        os.write(self._alive, b"\n" * _GOODBYES)
        os.close(self._alive)
        self._alive = None
        if not keep_log:
            shutil.rmtree(self._folder, ignore_errors=True)
