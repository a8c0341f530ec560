"""Ctrl-C and SIGTERM while data is cleaned: what was begun is taken back, and the command leaves with 130."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from factory.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(outcome: str) -> Iterator[None]:
    """Turn Ctrl-C (and SIGTERM, in the main thread) into Interrupted with the `outcome`, when all `with` blocks inside
    have cleaned up."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, _stop) for number in _SIGNALS} if main else {}
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: {outcome}", "the same command starts again") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """The last steps, which a signal must not come between: with them all is done, so it comes too late."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, _too_late) for number in _SIGNALS} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _too_late(number: int, frame: FrameType | None) -> None:
    """Nothing: the command is about to leave."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
