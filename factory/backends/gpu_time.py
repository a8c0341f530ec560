"""Accelerator time of a model in this process, shared out among the requests it works on."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable


class ShareMeter:
    """Attributes time to the requests in flight in equal shares: each gets ∫ dt / (number in flight).

    Batched requests cannot be told apart on the accelerator; equal shares sum to exactly the time in which anything
    ran, times `accelerators`. Idle time is nobody's. `clock` gives seconds, never backwards. One thread owns a meter.
    """

    def __init__(self, accelerators: int = 1, clock: Callable[[], float] = time.monotonic):
        if accelerators < 1:
            raise ValueError(f"{accelerators} accelerators: at least 1 is needed")
        self._accelerators = accelerators
        self._clock = clock
        self._at = 0.0
        self._share = 0.0  # what a request in flight since the meter was last idle has gathered
        self._starts: dict[Hashable, float] = {}

    def __len__(self) -> int:
        """Requests in flight."""
        return len(self._starts)

    def start(self, key: Hashable) -> None:
        """A request begins. Raises ValueError for one that is in flight already."""
        if key in self._starts:
            raise ValueError(f"{key!r} is in flight already")
        self._advance()
        self._starts[key] = self._share

    def stop(self, key: Hashable) -> float:
        """A request ends, however: its accelerator seconds. Raises KeyError for one that is not in flight."""
        if key not in self._starts:
            raise KeyError(key)
        self._advance()
        return (self._share - self._starts.pop(key)) * self._accelerators

    def _advance(self) -> None:
        now = self._clock()
        if self._starts:
            self._share += (now - self._at) / len(self._starts)
        else:
            self._share = 0.0  # begins anew with every busy time, so that long runs lose no precision
        self._at = now
