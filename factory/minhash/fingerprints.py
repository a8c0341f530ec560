"""What an index needs of many texts, made at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.errors import UsageError
from factory.kernel import calls, chosen, library
from factory.minhash import batches
from factory.minhash.buffers import Buffer, buffer_of
from factory.minhash.scheme import BANDS, PERMUTATIONS, U32, U64, Ints, banding

_ROWS = 8192
_BYTES = 1 << 24
"""Texts, and bytes of text, hashed together: their arrays fit the processor's caches better than those of a corpus."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an index needs of a text: its shingles, its band keys and, where known, the digest of its characters."""

    shingles: U64
    keys: U64
    digest: U64 | None = None


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of n texts, in order. `Fingerprints[i:j]` are those of some of them."""

    shingles: U64
    """All sets one after another, each sorted and distinct."""
    ends: Ints
    """int64[n]: where each set ends in `shingles`."""
    keys: U64
    """uint64[n, bands]"""
    digests: U64
    """uint64[n, 2]: 16 bytes of BLAKE2b of the normalised text; zeros where it is not known."""
    signatures: U32 | None = None
    """uint32[n, 128], where asked for."""

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, rows: slice) -> Fingerprints:
        first, end, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("fingerprints are sliced without a step")
        end = max(first, end)
        start = self.start(first)
        stop = int(self.ends[end - 1]) if end > first else start
        signatures = None if self.signatures is None else self.signatures[first:end]
        ends = self.ends[first:end] - start
        return Fingerprints(self.shingles[start:stop], ends, self.keys[first:end], self.digests[first:end], signatures)

    def take(self, rows: Ints) -> Fingerprints:
        """Those of some rows, in their order."""
        sizes = (self.ends - np.concatenate([[0], self.ends[:-1]]))[rows]
        ends = np.cumsum(sizes)
        places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(self.ends[rows] - ends, sizes)
        signatures = None if self.signatures is None else self.signatures[rows]
        return Fingerprints(self.shingles[places], ends, self.keys[rows], self.digests[rows], signatures)

    def start(self, row: int) -> int:
        """Where a set begins in `shingles`."""
        return int(self.ends[row - 1]) if row else 0

    def at(self, row: int) -> Fingerprint:
        """One text's."""
        return Fingerprint(self.shingles_at(row), self.keys[row], self.digests[row])

    def shingles_at(self, row: int) -> U64:
        """The shingles of one text."""
        return self.shingles[self.start(row) : int(self.ends[row])]


def fingerprint(
    texts: Sequence[str] | Any,
    *,
    bands: int | None = None,
    size: int | None = None,
    signatures: bool = False,
    kernel: bool | None = None,
) -> Fingerprints:
    """Shingles, band keys and digests of many texts: a sequence of strings, or an Arrow array of them.

    `bands` and `size` are those of `banding(threshold)` (default: 25 and 5). `kernel`: by the compiled kernel (True),
    by NumPy (False), by whichever there is (None); the result is the same. Raises UsageError for what is no text, and
    for a banding that fits no signature.
    """
    if bands is None or size is None:
        bands, size = banding(0.8)
    if not (1 <= size <= len(BANDS) and 1 <= bands <= PERMUTATIONS // size):
        told = f"{bands} bands of {size} minima do not fit a signature of {PERMUTATIONS}"
        raise UsageError(told, "take both from banding(threshold)")
    make = _by_kernel if chosen(kernel) else _by_numpy
    made = [make(part, bands, size, signatures) for part in _parts(buffer_of(texts))]
    return made[0] if len(made) == 1 else _join(made)


def _parts(whole: Buffer) -> Iterator[Buffer]:
    """The texts in parts of `_ROWS`, fewer where they are long; at least one part."""
    first = 0
    while first < len(whole) or not first:
        fitting = int(np.searchsorted(whole.offsets, whole.offsets[first] + _BYTES, side="right")) - 1
        end = min(first + _ROWS, max(fitting, first + 1), len(whole))
        offsets = whole.offsets[first : end + 1]
        yield Buffer(whole.data[offsets[0] : offsets[-1]], offsets - offsets[0])
        if end == first:
            return
        first = end


def _by_kernel(texts: Buffer, bands: int, size: int, signed: bool) -> Fingerprints:
    buffer, wide = batches.normalise_wide(texts)
    return Fingerprints(*calls.fingerprint(library(), (buffer.data, buffer.offsets, wide), bands, size, signed=signed))


def _by_numpy(texts: Buffer, bands: int, size: int, signed: bool) -> Fingerprints:
    normal = batches.normalise_many(texts)
    sets, sizes, minima = batches.sign_many(*batches.shingle_many(normal))
    assert minima is not None  # asked for
    keys = batches.keys_of(minima, bands, size)
    return Fingerprints(sets, np.cumsum(sizes), keys, batches.digests_of(normal), minima if signed else None)


def _join(parts: Sequence[Fingerprints]) -> Fingerprints:
    shifts = np.cumsum([0, *(len(part.shingles) for part in parts[:-1])])
    signatures = [part.signatures for part in parts if part.signatures is not None]
    return Fingerprints(
        np.concatenate([part.shingles for part in parts]),
        np.concatenate([part.ends + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.digests for part in parts]),
        np.concatenate(signatures) if signatures else None,
    )
