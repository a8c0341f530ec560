"""The kernel's functions on NumPy arrays. Every size is checked here; C trusts them. Calls release the GIL."""

from __future__ import annotations

import ctypes
import threading
from ctypes import POINTER, byref, c_double, c_int64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.errors import FactoryError

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PERMUTATIONS = 128
_NO_MEMORY, _FULL, _BROKEN = -1, -2, -3
_MOST_SHINGLES = (1 << 31) - 1


def declare(library: ctypes.CDLL) -> None:
    """Tell ctypes the types of every function: without them it passes 32-bit integers."""
    size, array = c_int64, c_void_p
    types: dict[str, tuple[Any, list[Any]]] = {
        "fk_configure": (c_int64, [array, size]),
        "fk_fingerprint": (c_int64, [array] * 3 + [size] * 3 + [array] * 4 + [POINTER(c_void_p)]),
        "fk_sets_copy": (None, [array, array]),
        "fk_sets_free": (None, [array]),
        "fk_keys_of_set": (None, [array, size, size, size, array]),
        "fk_index_new": (c_void_p, [c_double, size, size, size]),
        "fk_index_free": (None, [array]),
        "fk_index_count": (c_int64, [array]),
        "fk_index_hub_queries": (c_int64, [array]),
        "fk_index_bytes": (c_int64, [array]),
        "fk_index_set": (c_int64, [array, size, POINTER(c_void_p)]),
        "fk_index_add": (c_int64, [array, array, size, array]),
        "fk_index_walk": (c_int64, [array] * 4 + [size] * 2 + [array] * 2),
    }
    for name, (result, arguments) in types.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def fingerprint(
    library: ctypes.CDLL,
    texts: tuple[NDArray[np.uint8], Ints, NDArray[np.bool_]],
    bands: int,
    size: int,
    *,
    signed: bool,
) -> tuple[U64, Ints, U64, U64, U32 | None]:
    """Shingles, ends, keys, digests and signatures of texts: (UTF-8 bytes, int64[n + 1] offsets, bool[n] beyond ASCII).

    What is beyond ASCII must be normalised and casefolded. Raises MemoryError; ValueError for wrong offsets.
    """
    data, offsets, wide = (np.ascontiguousarray(one) for one in texts)
    rows = len(offsets) - 1
    if rows < 0 or len(wide) != rows or data.dtype != np.uint8 or offsets.dtype != np.int64 or wide.dtype != bool:
        raise ValueError("texts are uint8 bytes, int64 offsets, one more than texts, and a bool for each text")
    if offsets[0] < 0 or offsets[-1] > len(data) or (np.diff(offsets) < 0).any():
        raise ValueError("offsets must ascend within the bytes")
    _check_banding(bands, size)
    ends = np.empty(rows, dtype=np.int64)
    keys = np.empty((rows, bands), dtype=np.uint64)
    digests = np.empty((rows, 2), dtype=np.uint64)
    signatures = np.empty((rows, PERMUTATIONS), dtype=np.uint32) if signed else None
    made = c_void_p()
    try:
        count = library.fk_fingerprint(
            *(one.ctypes.data for one in (data, offsets, wide)), rows, bands, size,
            *(None if one is None else one.ctypes.data for one in (ends, keys, digests, signatures)), byref(made),
        )  # fmt: skip
        _check(count)
        shingles = np.empty(count, dtype=np.uint64)
        library.fk_sets_copy(made, shingles.ctypes.data)
    finally:
        library.fk_sets_free(made)
    return shingles, ends, keys, digests, signatures


def keys_of_set(library: ctypes.CDLL, shingles: U64, bands: int, size: int) -> U64:
    """The band keys of one set: uint64[bands]."""
    _check_banding(bands, size)
    held = np.ascontiguousarray(shingles, dtype=np.uint64)
    keys = np.empty(bands, dtype=np.uint64)
    library.fk_keys_of_set(held.ctypes.data, len(held), bands, size, keys.ctypes.data)
    return keys


class Table:
    """An index in the kernel's own memory. Its calls exclude each other, so that threads may share it."""

    def __init__(self, library: ctypes.CDLL, threshold: float, bands: int, size: int, hub: int):
        _check_banding(bands, size)
        if not 0 < threshold <= 1:
            raise ValueError(f"a threshold of {threshold}")
        self._library, self._bands = library, bands
        self._lock = threading.Lock()
        self._held = library.fk_index_new(threshold, bands, size, max(hub, 0))
        if not self._held:
            raise MemoryError("no memory for an index")

    def __del__(self) -> None:
        held, self._held = getattr(self, "_held", None), None
        if held:
            self._library.fk_index_free(held)

    def __reduce__(self) -> Any:
        raise TypeError("an index in the compiled kernel cannot be pickled: make it again from its texts")

    def __len__(self) -> int:
        return int(self._library.fk_index_count(self._held))

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        with self._lock:
            return int(self._library.fk_index_bytes(self._held))

    @property
    def hub_queries(self) -> int:
        """How many sets met an overfull bucket."""
        return int(self._library.fk_index_hub_queries(self._held))

    def set_at(self, place: int) -> U64:
        """A copy of a kept set. Raises IndexError where there is none."""
        with self._lock:
            address = c_void_p()
            size = self._library.fk_index_set(self._held, place, byref(address))
            if size < 0:
                raise IndexError(f"no text at place {place}: the index holds {len(self)}")
            if not size:
                return np.empty(0, dtype=np.uint64)
            held = ctypes.cast(address, POINTER(ctypes.c_uint64))
            return np.ctypeslib.as_array(held, shape=(size,)).copy()

    def add(self, shingles: U64, keys: U64) -> int:
        """Keep a set; returns its place."""
        held, under = self._checked(shingles, keys.reshape(1, -1))
        with self._lock:
            place = self._library.fk_index_add(self._held, held.ctypes.data, len(held), under.ctypes.data)
        _check(place)
        return int(place)

    def walk(self, shingles: U64, ends: Ints, keys: U64, *, keep: bool) -> tuple[Ints, Floats]:
        """The earliest duplicate of each set, or -1, and its similarity; with `keep` what has none is kept.

        Raises ValueError where the arrays do not fit each other, MemoryError.
        """
        held, under = self._checked(shingles, keys)
        stops = np.ascontiguousarray(ends, dtype=np.int64)
        if len(stops) != len(under):
            raise ValueError(f"{len(stops)} sets and the keys of {len(under)}")
        if len(stops) and (stops[0] < 0 or stops[-1] > len(held) or (np.diff(stops) < 0).any()):
            raise ValueError("the ends of sets must ascend within the shingles")
        places = np.empty(len(stops), dtype=np.int64)
        similarity = np.empty(len(stops))
        with self._lock:
            failed = self._library.fk_index_walk(
                self._held, held.ctypes.data, stops.ctypes.data, under.ctypes.data, len(stops), int(keep),
                places.ctypes.data, similarity.ctypes.data,
            )  # fmt: skip
        _check(failed)
        return places, similarity

    def _checked(self, shingles: U64, keys: U64) -> tuple[U64, U64]:
        held = np.ascontiguousarray(shingles, dtype=np.uint64)
        under = np.ascontiguousarray(keys, dtype=np.uint64)
        if under.ndim != 2 or under.shape[1] != self._bands:
            raise ValueError(f"keys of shape {under.shape}, and the index has {self._bands} bands")
        return held, under


def _check_banding(bands: int, size: int) -> None:
    if not (1 <= size <= 5 and 1 <= bands <= PERMUTATIONS // size):
        raise ValueError(f"{bands} bands of {size} minima: 1 … 5 minima a band, {PERMUTATIONS} in all")


def _check(result: int) -> None:
    if result >= 0:
        return
    if result == _NO_MEMORY:
        raise MemoryError("no memory for near-duplicates")
    if result == _FULL:
        told = f"the index is full: 2**31 texts, or a text of more than {_MOST_SHINGLES} shingles"
        raise FactoryError(told, "split the data")
    raise FactoryError("the index lacked memory before, and what it holds is not whole", "make it again")
