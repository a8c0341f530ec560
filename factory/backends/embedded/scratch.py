"""Named float32 buffers that are used again at every step, so that hot loops allocate nothing large."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


class Scratch:
    """Buffers by name, for one thread. What `take` returns is valid until the same name is taken again."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.float32]] = {}
        self._views: dict[tuple[str, tuple[int, ...]], NDArray[np.float32]] = {}

    def take(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A contiguous array of this shape with arbitrary finite contents."""
        view = self._views.get((name, shape))
        if view is not None:
            return view
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.zeros(size, np.float32)
            self._views = {key: old for key, old in self._views.items() if key[0] != name}
        view = self._views[name, shape] = buffer[:size].reshape(shape)
        return view
