"""Making a segment of an index on disk, from new texts or from older segments, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from factory.minhash.batches import sign_many
from factory.minhash.fingerprints import Fingerprints
from factory.minhash.scheme import U32, U64, Ints
from factory.minhash.stored_manifest import Facts, IndexManifest, SegmentFacts
from factory.minhash.stored_ragged import parities, pieces, places_in, prefixes, starts_of
from factory.minhash.stored_segments import ArrayWriter, Segment

HUB = 64
"""A bucket of more texts than this is a hub: its texts are found by their rarest shingles instead."""

_ELEMENTS = 1 << 20
_ROWS = 1 << 15
_MOST_SLOTS = 20  # as a power of two

Mask = NDArray[np.bool_]
Postings = Iterable[tuple[U64, Ints]]


class Source(Protocol):
    """Where the rows of a new segment come from: a batch, or a segment."""

    @property
    def shingles(self) -> U64: ...
    @property
    def ends(self) -> Ints: ...
    @property
    def signatures(self) -> U32: ...
    @property
    def digests(self) -> U64: ...
    @property
    def parities(self) -> U64: ...
    @property
    def rows(self) -> Ints: ...


@dataclass(frozen=True, slots=True)
class _Batch:
    shingles: U64
    ends: Ints
    signatures: U32
    digests: U64
    parities: U64
    rows: Ints


class _Ordered:
    """The rows of all sources in ascending order of row id; of equal ones, the earlier source and place first."""

    def __init__(self, sources: Sequence[Source]):
        self.sources = sources
        rows = np.concatenate([np.asarray(source.rows) for source in sources])
        counts = [len(source.rows) for source in sources]
        order = np.argsort(rows, kind="stable")
        self.first, self.last = int(rows[order[0]]), int(rows[order[-1]])
        self.which = np.repeat(np.arange(len(sources)), counts)[order]
        self.local = order - (np.cumsum(counts) - counts)[self.which]
        self.place_of = np.empty(len(order), dtype=np.int64)
        self.place_of[order] = np.arange(len(order))
        starts = np.concatenate([starts_of(np.asarray(source.ends)) for source in sources])
        self.sizes = (np.concatenate([np.asarray(source.ends) for source in sources]) - starts)[order]
        self.starts = starts[order]
        self.posted = self._firsts() & (self.sizes > 0)

    def __len__(self) -> int:
        return len(self.local)

    def take(self, name: str, places: slice | Ints) -> NDArray[Any]:
        """An array's rows at `places`."""
        which, local = self.which[places], self.local[places]
        kind = getattr(self.sources[0], name)
        taken = np.empty((len(local), *kind.shape[1:]), dtype=kind.dtype)
        for source in np.unique(which).tolist():
            mine = which == source
            taken[mine] = getattr(self.sources[source], name)[local[mine]]
        return taken

    def take_sets(self, places: slice | Ints) -> U64:
        """The sets at `places`, one after another."""
        which, starts, sizes = self.which[places], self.starts[places], self.sizes[places]
        taken = np.empty(int(sizes.sum()), dtype=np.uint64)
        targets = np.cumsum(sizes) - sizes
        for source in np.unique(which).tolist():
            mine = np.flatnonzero(which == source)
            found = self.sources[source].shingles[places_in(starts[mine], sizes[mine])]
            taken[places_in(targets[mine], sizes[mine])] = found
        return taken

    def _firsts(self) -> Mask:
        """Which rows are the first of their digest: equal texts need one entry in the buckets, whatever is asked."""
        digests = self.take("digests", slice(None))
        order = np.lexsort((digests[:, 1], digests[:, 0]))
        fresh = np.ones(len(order), dtype=bool)
        fresh[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
        first = np.zeros(len(order), dtype=bool)
        first[order[fresh]] = True
        return first


def write_batch(directory: Path, name: str, batch: Fingerprints, rows: Ints, index: IndexManifest) -> SegmentFacts:
    """Write new texts as a segment of `index` into `directory`."""
    starts = starts_of(batch.ends)
    sizes = batch.ends - starts
    signatures = sign_many(batch.shingles, sizes)[2] if batch.signatures is None else batch.signatures
    assert signatures is not None  # asked for
    bits = parities(batch.shingles, starts, sizes)
    ordered = _Ordered([_Batch(batch.shingles, batch.ends, signatures, batch.digests, bits, rows)])
    return _write(directory, name, ordered, _new_postings(ordered, batch.keys), index)


def write_merged(directory: Path, name: str, segments: Sequence[Segment], index: IndexManifest) -> SegmentFacts:
    """Write several segments of `index` as one into `directory`."""
    ordered = _Ordered(segments)
    return _write(directory, name, ordered, _merged_postings(ordered, segments), index)


def _new_postings(ordered: _Ordered, keys: U64) -> Iterator[tuple[U64, Ints]]:
    posted = np.flatnonzero(ordered.posted)
    flat = keys[ordered.local[posted]].ravel()
    order = np.argsort(flat, kind="stable")
    yield flat[order], posted[order // keys.shape[1]]


def _merged_postings(ordered: _Ordered, segments: Sequence[Segment]) -> Iterator[tuple[U64, Ints]]:
    """The buckets of all segments, one stretch of keys after another; keys are hashes, so the stretches are even."""
    steps = 1 + sum(len(segment.keys) for segment in segments) // _ELEMENTS
    firsts = [0] * len(segments)
    offsets = np.cumsum([0, *(len(segment) for segment in segments)])
    for step in range(1, steps + 1):
        bound = np.uint64(step * (1 << 64) // steps - 1)
        keys, places = [], []
        for k, segment in enumerate(segments):
            last = len(segment.keys) if step == steps else int(np.searchsorted(segment.keys, bound))
            moved = ordered.place_of[offsets[k] + segment.places[firsts[k] : last]]
            stay = ordered.posted[moved]
            keys.append(segment.keys[firsts[k] : last][stay])
            places.append(moved[stay])
            firsts[k] = last
        flat, owners = np.concatenate(keys), np.concatenate(places)
        order = np.lexsort((owners, flat))
        yield flat[order], owners[order]


def _write(directory: Path, name: str, ordered: _Ordered, postings: Postings, index: IndexManifest) -> SegmentFacts:
    length = int(ordered.posted.sum()) * index.bands
    hubs = np.zeros(len(ordered), dtype=bool)
    keys_file, places_file = ArrayWriter(directory, "keys", length), ArrayWriter(directory, "places", length)
    with keys_file, places_file:
        for keys, places in postings:
            keys_file.write(keys)
            places_file.write(places)
            hubs[_in_hubs(keys, places)] = True
    files = {"keys": keys_file.facts, "places": places_file.facts}
    _write_rows(directory, ordered, files)
    rarity, prefix_keys, prefix_places = _hub_prefixes(ordered, np.flatnonzero(hubs), index.threshold)
    _write_whole(directory, "rarity", rarity, files)
    _write_whole(directory, "prefix_keys", prefix_keys, files)
    _write_whole(directory, "prefix_places", prefix_places, files)
    empties = np.flatnonzero(ordered.sizes == 0)
    empty = int(empties[0]) if len(empties) else None
    return SegmentFacts(name, len(ordered), ordered.first, ordered.last, empty, files)


def _write_rows(directory: Path, ordered: _Ordered, files: dict[str, Facts]) -> None:
    """Write what lies in the order of the rows."""
    for array in ("signatures", "digests", "parities", "rows"):
        with ArrayWriter(directory, array, len(ordered)) as writer:
            for first in range(0, len(ordered), _ROWS):
                writer.write(ordered.take(array, slice(first, first + _ROWS)))
        files[array] = writer.facts
    _write_whole(directory, "ends", np.cumsum(ordered.sizes), files)
    with ArrayWriter(directory, "shingles", int(ordered.sizes.sum())) as writer:
        for piece in pieces(ordered.sizes, _ELEMENTS):
            writer.write(ordered.take_sets(piece))
    files["shingles"] = writer.facts


def _write_whole(directory: Path, array: str, values: NDArray[Any], files: dict[str, Facts]) -> None:
    with ArrayWriter(directory, array, len(values)) as writer:
        writer.write(values)
    files[array] = writer.facts


def _in_hubs(keys: U64, places: Ints) -> Ints:
    """The places under keys that hold more than `HUB`; `keys` is sorted and holds every entry of its keys."""
    firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.int64)
    counts = np.diff(np.append(firsts, len(keys)))
    large = counts > HUB
    return places[places_in(firsts[large], counts[large])]


def _hub_prefixes(ordered: _Ordered, hubs: Ints, threshold: float) -> tuple[NDArray[np.uint8], U64, Ints]:
    """Rarity of the shingles in hub texts, and their texts' rarest shingles: sorted, each with its place."""
    if not len(hubs):
        return np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    sizes = ordered.sizes[hubs]
    slots = 1 << int(np.clip(int(sizes.sum()).bit_length(), 10, _MOST_SLOTS))
    counts = np.zeros(slots, dtype=np.int64)
    for piece in pieces(sizes, _ELEMENTS):
        members = ordered.take_sets(hubs[piece]) & np.uint64(slots - 1)
        counts += np.bincount(members.astype(np.int64), minlength=slots)
    rarity = np.ceil(np.log2(counts + 1)).astype(np.uint8)
    keys, places = [], []
    for piece in pieces(sizes, _ELEMENTS):
        chosen, lengths = prefixes(ordered.take_sets(hubs[piece]), sizes[piece], rarity, threshold)
        keys.append(chosen)
        places.append(np.repeat(hubs[piece], lengths))
    flat, owners = np.concatenate(keys), np.concatenate(places)
    order = np.argsort(flat, kind="stable")
    return rarity, flat[order], owners[order]
