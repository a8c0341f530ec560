"""The key-value cache of a running batch: rows join, grow by a token a step and leave, without copying the others.

Every layer has a buffer [rows, heads, columns, size]. The live rows are the first ones; their tokens end at one common
column, so short rows are padded on the left, where the attention mask hides whatever lies there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from factory.backends.transformers.options import library

_STRIDE = 64


class KeyValues:
    """The cache of up to `most` rows. `width`: columns in use. One thread owns it."""

    def __init__(self, most: int, device: torch.device):
        self._most, self._device = most, device
        self._start = self._end = self._columns = self._capacity = 0
        self.lengths: list[int] = []
        self._layers: list[tuple[Tensor, Tensor] | None] = []
        self._mask = torch.zeros(0, 0, dtype=torch.long, device=device)
        self._cache: Any = None

    @property
    def width(self) -> int:
        return self._end - self._start

    def insert(self, fresh: Any, parents: Sequence[int], lengths: Sequence[int]) -> None:
        """Add rows: row i is a copy of row `parents[i]` of a freshly read cache, whose last `lengths[i]` columns count.

        `fresh` is a `transformers.DynamicCache`, padded on the left.
        """
        found = [(layer.keys, layer.values) if _holds(layer) else None for layer in fresh.layers]
        width = next(pair[0].shape[2] for pair in found if pair is not None)
        first, rows = len(self.lengths), len(self.lengths) + len(parents)
        if not first:
            self._start = self._end = width if width < self._columns else 0
        self._make_room(found, rows, width)
        at = slice(self._end - width, self._end)
        for pair, buffers in zip(found, self._layers, strict=True):
            if pair is not None and buffers is not None:
                order = torch.tensor(parents, device=pair[0].device)
                for new, buffer in zip(pair, buffers, strict=True):
                    buffer[first:rows, :, at] = new.index_select(0, order)
        places = torch.arange(self._columns, device=self._device)
        begins = torch.tensor([self._end - length for length in lengths], device=self._device)
        self._mask[first:rows] = (places >= begins[:, None]) & (places < self._end)
        self.lengths += lengths
        self._trim()

    def remove(self, row: int) -> None:
        """Let a row go: the last one takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            for buffers in self._layers:
                for buffer in buffers or ():
                    buffer[row, :, self._start : self._end] = buffer[last, :, self._start : self._end]
            self._mask[row] = self._mask[last]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        self._trim()

    def begin_step(self) -> tuple[Any, Tensor, Tensor]:
        """The cache for one more token of every row, with its attention mask [rows, width + 1] and positions [rows, 1].

        Nothing counts before `end_step`, so a forward pass that fails may be made again.
        """
        rows = len(self.lengths)
        if self._end == self._columns:
            self._lay_out(self._layers, self._capacity, max(self.width, 1))
        for layer, buffers in zip(self._cache.layers, self._layers, strict=True):
            if buffers is not None:
                layer.keys, layer.values = (buffer[:rows, :, self._start : self._end] for buffer in buffers)
        self._mask[:rows, self._end] = 1
        mask = self._mask[:rows, self._start : self._end + 1]
        return self._cache, mask, torch.tensor(self.lengths, device=self._device)[:, None]

    def end_step(self) -> None:
        """The token is in."""
        self._end += 1
        self.lengths = [length + 1 for length in self.lengths]

    def _write(self, number: int, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Stands for a layer's `update`: keeps the new column, returns all of them."""
        buffers, rows, end = self._layers[number], len(self.lengths), self._end
        assert buffers is not None
        buffers[0][:rows, :, end : end + 1] = keys
        buffers[1][:rows, :, end : end + 1] = values
        return buffers[0][:rows, :, self._start : end + 1], buffers[1][:rows, :, self._start : end + 1]

    def _trim(self) -> None:
        """Leave out the columns on the left that no row uses any more."""
        self._start = self._end - max(self.lengths, default=0)

    def _make_room(self, like: Sequence[tuple[Tensor, Tensor] | None], rows: int, width: int) -> None:
        """Buffers with so many rows, and at least `width` columns up to the common end."""
        if not self._layers:
            self._prepare(like)
        if rows > self._capacity or width > self._end or self._end >= self._columns:
            capacity = max(self._capacity, min(self._most, max(rows, 2 * self._capacity)))
            self._lay_out(like, capacity, max(width, self.width))

    def _prepare(self, like: Sequence[tuple[Tensor, Tensor] | None]) -> None:
        caches = library("transformers.cache_utils")
        self._layers = [None for _ in like]
        self._cache = caches.DynamicCache()
        self._cache.layers = []
        for number, pair in enumerate(like):
            layer: Any = caches.DynamicLayer()
            if pair is not None:
                layer.is_initialized = True
                layer.update = partial(self._write, number)
            self._cache.layers.append(layer)

    def _lay_out(self, like: Sequence[tuple[Tensor, Tensor] | None], capacity: int, end: int) -> None:
        """New buffers whose common end lies at column `end`; what the old ones hold moves over."""
        rows, width = len(self.lengths), self.width
        columns = (end + max(end // 4, _STRIDE) + _STRIDE - 1) // _STRIDE * _STRIDE
        old, now = slice(self._start, self._end), slice(end - width, end)
        for number, pair in enumerate(like):
            if pair is None:
                continue
            before = self._layers[number]
            moved = []
            for which, tensor in enumerate(pair):
                shape = (capacity, tensor.shape[1], columns, tensor.shape[3])
                buffer = torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
                if before is not None and rows:
                    buffer[:rows, :, now] = before[which][:rows, :, old]
                moved.append(buffer)
            self._layers[number] = (moved[0], moved[1])
        mask = torch.zeros(capacity, columns, dtype=torch.long, device=self._device)
        if rows:
            mask[:rows, now] = self._mask[:rows, old]
        self._mask, self._columns, self._capacity = mask, columns, capacity
        self._start, self._end = end - width, end


def _holds(layer: Any) -> bool:
    """Whether a layer of a cache has keys: one that shares another's has none."""
    return layer.keys is not None and layer.keys.dim() == 4


def bytes_of_place(fresh: Any) -> int:
    """Bytes that one token takes in a cache."""
    pairs = [(layer.keys, layer.values) for layer in fresh.layers if _holds(layer)]
    each = [tensor.element_size() * tensor.shape[1] * tensor.shape[3] for pair in pairs for tensor in pair]
    return sum(each)
