"""While a model is loaded, no other one computes or is loaded: loading changes settings of the whole process.

The library sets torch's default dtype, and how parameters are made and tied, for as long as it builds a model; a model
that computed in another thread at that moment would see them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_changed = threading.Condition()
_computing = 0
_loading = False


@contextmanager
def computing() -> Iterator[None]:
    """Many may compute at once; waits while a model is loaded."""
    global _computing
    with _changed:
        _changed.wait_for(lambda: not _loading)
        _computing += 1
    try:
        yield
    finally:
        with _changed:
            _computing -= 1
            _changed.notify_all()


@contextmanager
def loading() -> Iterator[None]:
    """One at a time; begins when the steps under way have ended."""
    global _loading
    with _changed:
        _changed.wait_for(lambda: not _loading)
        _loading = True
        _changed.wait_for(lambda: not _computing)
    try:
        yield
    finally:
        with _changed:
            _loading = False
            _changed.notify_all()
