"""Arrays that grow, and on them a multi-map from 64-bit keys to places: 16 bytes a slot, no objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from factory.errors import FactoryError

U64 = NDArray[np.uint64]
Places = NDArray[np.int32]
Ints = NDArray[np.int64]

_LOAD = 0.7
_CHUNK = 1 << 16
_BLOCK = 8
_FREE = np.uint64(0)
_ONE = np.uint64(1)
_STEP = np.uint64(40)
_MOST = (1 << 31) - (1 << 24)
"""Places that fit the pool's 32-bit offsets, with room for one more `add`."""


class Growing:
    """A one-dimensional array that grows by half when it is full."""

    __slots__ = ("_data", "size")

    def __init__(self, dtype: DTypeLike):
        self._data: NDArray[Any] = np.empty(256, dtype=dtype)
        self.size = 0

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    def view(self) -> NDArray[Any]:
        """What is held now; valid until the next growth."""
        return self._data[: self.size]

    def append(self, value: int) -> None:
        self._reserve(1)
        self._data[self.size] = value
        self.size += 1

    def extend(self, values: NDArray[Any] | int, count: int | None = None) -> None:
        """Append an array, or one value `count` times."""
        added = len(values) if isinstance(values, np.ndarray) else int(count or 0)
        self._reserve(added)
        self._data[self.size : self.size + added] = values
        self.size += added

    def _reserve(self, added: int) -> None:
        needed = self.size + added
        if needed > len(self._data):
            grown = np.empty(max(needed, len(self._data) + len(self._data) // 2), dtype=self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown


class Postings:
    """A multi-map: key → the places added under it. Keys must be well mixed 64-bit hashes (0 counts as 1).

    Open addressing over blocks of 8 slots (a cache line), at most 70% full, each block filled from its start; an
    overfull block spills into one that the key's high bits name. A key's places lie together in one pool, in room
    for a power of two of them: when it is full they move to the end of the pool, into twice the room.
    """

    def __init__(self) -> None:
        self._resize(1024)
        self._used = 0
        self._pool = Growing(np.int32)

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes + self._starts.nbytes + self._counts.nbytes + self._pool.nbytes

    def find(self, keys: U64, *, limit: int | None = None) -> Places | None:
        """The places under each of the keys, one after another; None when one key holds more than `limit`."""
        keys = np.maximum(keys, _ONE)
        slots = self._slots(keys)
        slots = slots[self._keys[slots] == keys]
        if not len(slots):
            return np.empty(0, dtype=np.int32)
        counts = self._counts[slots]
        if limit is not None and int(counts.max()) > limit:
            return None
        starts = self._starts[slots]
        pool = self._pool.view()
        spans = zip(starts.tolist(), (starts + counts).tolist(), strict=True)
        return np.concatenate([pool[start:end] for start, end in spans])

    def part(self, keys: U64, limit: int) -> tuple[Places, list[tuple[int, Places]]]:
        """The places under those keys that hold at most `limit`, and each other key with its places."""
        keys = np.maximum(keys, _ONE)
        slots = self._slots(keys)
        pool = self._pool.view()
        few, many = [np.empty(0, dtype=np.int32)], []
        for slot in slots[self._keys[slots] == keys].tolist():
            start, count = int(self._starts[slot]), int(self._counts[slot])
            if count > limit:
                many.append((int(self._keys[slot]), pool[start : start + count]))
            else:
                few.append(pool[start : start + count])
        return np.concatenate(few), many

    def find_rows(self, keys: U64, *, limit: int) -> tuple[Ints, Places, NDArray[np.bool_]]:
        """For rows of keys, uint64[n, m]: the rows and the places found under their keys, and which rows are hubs.

        Pairs are ascending and distinct. Of a hub, a row with a key that holds more than `limit`, there is no pair.
        """
        flat = np.maximum(keys.reshape(-1), _ONE)
        slots = self._slots(flat)
        counts = np.where(self._keys[slots] == flat, self._counts[slots], 0).reshape(keys.shape)
        hubs: NDArray[np.bool_] = np.any(counts > limit, axis=1)
        counts[hubs] = 0
        lengths = counts.reshape(-1).astype(np.int64)
        hit = np.flatnonzero(lengths)
        lengths = lengths[hit]
        ends = np.cumsum(lengths)
        at = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        found = self._pool.view()[np.repeat(self._starts[slots[hit]].astype(np.int64), lengths) + at]
        pairs = np.unique(np.repeat(hit // keys.shape[1], lengths) << 32 | found)
        return pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32), hubs

    def add_rows(self, keys: U64, places: Places) -> None:
        """Put each row's place under each key of that row, uint64[n, m]; a key may be in several rows, once in each."""
        if not len(keys):
            return
        flat = np.maximum(keys.reshape(-1), _ONE)
        order = np.argsort(flat, kind="stable")  # a key's rows stay in order
        ordered, owners = flat[order], places[order // keys.shape[1]]
        first = np.ones(len(ordered), dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        starts = np.flatnonzero(first)
        turns = np.arange(len(ordered)) - np.repeat(starts, np.diff(starts, append=len(ordered)))
        by_turn = np.argsort(turns, kind="stable")
        ends = np.cumsum(np.bincount(turns))
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            now = by_turn[start:end]
            self.add(ordered[now], owners[now])

    def add(self, keys: U64, place: int | Places) -> None:
        """Put `place` under each of the keys, which are distinct; or under each its own."""
        if self._used + len(keys) > _LOAD * len(self._keys):
            self._grow(self._used + len(keys))
        if self._pool.size > _MOST:
            raise FactoryError("the index is full: it holds 2**31 entries", "split the data")
        slots = self._claim(np.maximum(keys, _ONE))
        counts = self._counts[slots]
        new = slots[counts == 0]
        self._starts[new] = np.arange(self._pool.size, self._pool.size + len(new))
        self._pool.extend(-1, len(new))
        self._used += len(new)
        for slot in slots[(counts > 0) & (counts & (counts - 1) == 0)].tolist():
            self._move(slot)
        self._pool.view()[self._starts[slots] + counts] = place
        self._counts[slots] = counts + 1

    def _move(self, slot: int) -> None:
        """Give a key whose room is full twice the room."""
        start, count = int(self._starts[slot]), int(self._counts[slot])
        self._starts[slot] = self._pool.size
        self._pool.extend(self._pool.view()[start : start + count])
        self._pool.extend(-1, count)

    def _slots(self, keys: U64) -> Ints:
        """For each key its slot, or the free slot where its search ends."""
        blocks = (keys & self._mask).astype(np.int64)
        slots = self._slots_in(blocks, keys)
        held = self._keys[slots]
        waiting = ((held != keys) & (held != _FREE)).nonzero()[0]
        while len(waiting):
            asked = keys[waiting]
            steps = (asked >> _STEP).astype(np.int64) | 1  # odd, so that it comes by every block
            blocks[waiting] = (blocks[waiting] + steps) & int(self._mask)
            slots[waiting] = moved = self._slots_in(blocks[waiting], asked)
            held = self._keys[moved]
            waiting = waiting[(held != asked) & (held != _FREE)]
        return slots

    def _slots_in(self, blocks: Ints, keys: U64) -> Ints:
        """In each key's block the slot that holds it, else the first free one, else slot 0."""
        held = self._keys.reshape(-1, _BLOCK)[blocks]
        ends = held == keys[:, None]
        ends |= held == _FREE
        slots: Ints = blocks * _BLOCK + ends.argmax(axis=1)
        return slots

    def _claim(self, keys: U64) -> Ints:
        """`_slots`, where each new key gets a free slot of its own."""
        slots = self._slots(keys)
        waiting = (self._keys[slots] == _FREE).nonzero()[0]
        while len(waiting):
            asked = keys[waiting]
            self._keys[slots[waiting]] = asked  # of several keys that want one slot, the last gets it
            lost = self._keys[slots[waiting]] != asked
            waiting = waiting[lost]
            if len(waiting):
                slots[waiting] = self._slots(asked[lost])
        return slots

    def _resize(self, size: int) -> None:
        self._keys: U64 = np.zeros(size, dtype=np.uint64)
        self._starts: Places = np.zeros(size, dtype=np.int32)
        self._counts: Places = np.zeros(size, dtype=np.int32)
        self._mask = np.uint64(size // _BLOCK - 1)

    def _grow(self, needed: int) -> None:
        """Move every key into a table that is large enough."""
        size = len(self._keys)
        while needed > _LOAD * size:
            size *= 2
        keys, starts, counts = self._keys, self._starts, self._counts
        self._resize(size)
        for first in range(0, len(keys), _CHUNK):
            held = first + np.flatnonzero(keys[first : first + _CHUNK])
            slots = self._claim(keys[held])
            self._starts[slots] = starts[held]
            self._counts[slots] = counts[held]
