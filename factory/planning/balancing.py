"""Even coverage with random access (`balance: true`).

Rows are cut into blocks; within a block every value stands as often as its weight says, in an order shuffled for
that block. So row i's value is found from (seed, name, i) alone, and any prefix is even to less than a block.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import accumulate
from threading import Lock
from typing import Any, Protocol

from factory import seeds
from factory.planning.axes import Axis, Branches, Finite, Normal, Uniform, draw, value_key, value_on

STRATA = 256
"""Strata of continuous axes and long ranges, and the block of weights without a small common denominator."""

_CACHED_SLOTS = 4096
_CACHED_BLOCKS = 8


class Blocks:
    """An endless even sequence of the indices of `weights`, with random access.

    With weights of a small common denominator L (equal ones: L = their number) each block of L ranks holds each index
    exactly in proportion. Otherwise a block has 256 ranks whose quantiles are evenly spaced from an offset drawn for
    the block (systematic sampling): each index within 1 of its share a block, and exactly its share on average.
    """

    def __init__(self, key: tuple[seeds.Key, ...], weights: Sequence[float] | int):
        """`weights`: a number of equal ones, or the weights (all above 0). `key` makes sequences independent."""
        self._key = key
        counts = [1] * weights if isinstance(weights, int) else whole_weights(weights)
        self._counts = counts
        self._slots = [index for index, count in enumerate(counts) for _ in range(count)] if counts else None
        self._edges: list[float] = []
        if self._slots is None and not isinstance(weights, int):
            total = math.fsum(weights)
            self._edges = [STRATA * share / total for share in accumulate(weights)]
            self._edges[-1] = math.inf  # rounding must not leave the last stratum without an index
        self.length = len(self._slots) if self._slots is not None else STRATA
        self._orders: dict[int, list[int]] = {}
        self._positions: dict[int, dict[int, list[int]]] = {}
        self._totals: dict[int, list[int]] = {}
        self._lock = Lock()

    def index(self, rank: int) -> int:
        """The index at `rank` (from 0)."""
        block, position = divmod(rank, self.length)
        return self._order(block)[position]

    def count(self, rank: int, index: int) -> int:
        """How often `index` stands before `rank`."""
        block, position = divmod(rank, self.length)
        places = self._positions.get(block)
        if places is None:
            places = {}
            for place, value in enumerate(self._order(block)):
                places.setdefault(value, []).append(place)
            _remember(self._positions, block, places, self.length)
        return self._before(block, index) + bisect_left(places.get(index, ()), position)

    def _order(self, block: int) -> list[int]:
        order = self._orders.get(block)
        if order is None:
            order = list(self._slots) if self._slots is not None else self._systematic(block)
            _shuffle(order, (*self._key, "block", block))
            _remember(self._orders, block, order, self.length)
        return order

    def _edge(self, offset: float, index: int) -> int:
        """The first slot of a systematic block that belongs to an index above `index`."""
        return bisect_left(range(STRATA), self._edges[index], key=lambda slot: slot + offset) if index >= 0 else 0

    def _systematic(self, block: int) -> list[int]:
        offset = self._offset(block)
        order: list[int] = []
        for index in range(len(self._edges)):
            order += [index] * (self._edge(offset, index) - len(order))
        return order

    def _offset(self, block: int) -> float:
        return seeds.uniform(*self._key, "offset", block)

    def _before(self, block: int, index: int) -> int:
        """How often `index` stands in the blocks before `block`; sums of systematic blocks are kept."""
        if self._counts is not None:
            return block * self._counts[index]
        with self._lock:
            totals = self._totals.setdefault(index, [0])
            while len(totals) <= block:
                offset = self._offset(len(totals) - 1)
                totals.append(totals[-1] + self._edge(offset, index) - self._edge(offset, index - 1))
            return totals[block]


def whole_weights(weights: Sequence[float]) -> list[int] | None:
    """The smallest whole numbers in the proportion of the weights; None when they sum to too many for a block.

    Decimal weights are taken as written: 0.7 and 0.3 are 7 and 3.
    """
    exact = [Fraction(repr(float(weight))) for weight in weights]
    denominator = math.lcm(*(weight.denominator for weight in exact))
    numbers = [int(weight * denominator) for weight in exact]
    divisor = math.gcd(*numbers)
    whole = [number // divisor for number in numbers]
    return whole if sum(whole) <= max(STRATA, 2 * len(whole)) else None


def _shuffle(items: list[int], key: tuple[seeds.Key, ...]) -> None:
    """Fisher and Yates, by `random()` alone: the one method whose numbers Python promises not to change."""
    random = seeds.generator(*key).random
    for last in range(len(items) - 1, 0, -1):
        other = int(random() * (last + 1))
        items[last], items[other] = items[other], items[last]


def _remember(cache: dict[int, Any], key: int, value: Any, size: int) -> None:
    """Keep the value, and not more than the last few."""
    cache[key] = value
    while len(cache) > max(_CACHED_BLOCKS, _CACHED_SLOTS // size):
        cache.pop(next(iter(cache)), None)


class Track(Protocol):
    """An axis whose whole sequence of values can be counted: what an axis that hangs on it needs.

    `path` picks a column where values are table rows; () is the value itself. Keys are `value_key` texts.
    """

    def keys(self, path: tuple[str, ...]) -> Collection[str]:
        """The keys of all its values."""
        ...

    def count(self, row: int, path: tuple[str, ...], key: str) -> int:
        """In how many rows before `row` the value has this key."""
        ...


class FiniteTrack:
    """The even sequence of a finite axis, or of one branch of a `depends` axis."""

    def __init__(self, key: tuple[seeds.Key, ...], finite: Finite):
        self._values = finite.values
        self._blocks = Blocks(key, finite.weights or len(finite.values))
        self._indices: dict[tuple[str, ...], dict[str, list[int]]] = {}

    def value(self, rank: int) -> Any:
        """The value at `rank` of the sequence."""
        return self._values[self._blocks.index(rank)]

    def keys(self, path: tuple[str, ...]) -> Mapping[str, list[int]]:
        """Each key with the indices of its values."""
        found = self._indices.get(path)
        if found is None:
            found = {}
            for index, value in enumerate(self._values):
                found.setdefault(value_key(value_on(path, value)), []).append(index)
            self._indices[path] = found
        return found

    def count(self, rank: int, path: tuple[str, ...], key: str) -> int:
        """See `Track.count`."""
        return sum(self._blocks.count(rank, index) for index in self.keys(path).get(key, ()))


class BranchTrack:
    """A `depends` axis: within each value of the axis it hangs on an even sequence of its own.

    A row's place in that sequence is its rank among the rows of the same parent value. Where those cannot be counted
    (a parent that is a text, a number or a long range) it is the row itself: even on average.
    """

    def __init__(self, key: tuple[seeds.Key, ...], name: str, axis: Branches, parent: Track | None):
        self._key = key
        self._name = name
        self._axis = axis
        self._parent = parent
        self._tracks: dict[str, FiniteTrack] = {}

    def draw(self, row: int, earlier: Mapping[str, Any]) -> Any:
        """The value of a row, given the values of the axes before."""
        key = value_key(value_on(self._axis.on, earlier))
        rank = row if self._parent is None else self._parent.count(row, self._axis.on[1:], key)
        return self._track(key).value(rank)

    def keys(self, path: tuple[str, ...]) -> Collection[str]:
        """See `Track.keys`."""
        above = self._parent.keys(self._axis.on[1:]) if self._parent else ()
        return dict.fromkeys(key for each in above for key in self._track(each).keys(path))

    def count(self, row: int, path: tuple[str, ...], key: str) -> int:
        """See `Track.count`."""
        if self._parent is None:
            raise ValueError(f"axis {self._name} cannot be counted")
        on = self._axis.on[1:]
        return sum(
            self._track(each).count(self._parent.count(row, on, each), path, key) for each in self._parent.keys(on)
        )

    def _track(self, key: str) -> FiniteTrack:
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = FiniteTrack((*self._key, key), self._axis.branch(key, self._name))
        return track


Draw = Callable[[int, Mapping[str, Any]], Any]
"""(row, the values of earlier axes with `source` and `row`) → the axis' value."""


def independent_draws(axes: Mapping[str, Axis], seed: int) -> dict[str, Draw]:
    """A draw of each axis for itself, row by row."""
    return {name: partial(_draw_alone, axis, seed, name) for name, axis in axes.items()}


def balanced_draws(axes: Mapping[str, Axis], seed: int) -> dict[str, Draw]:
    """An even draw of each axis; `axes` come after those they hang on.

    Lists, files and tables: each pass uses each entry once (weighted ones in proportion). Numbers, and whole numbers
    or days of more than 256 values: one in each of 256 strata of equal probability a block. `depends`: even within
    each value of the other axis. Texts follow from other axes; `faker` values are drawn alone.
    """
    draws: dict[str, Draw] = {}
    tracks: dict[str, Track] = {}
    for name, axis in axes.items():
        key = (seed, name)
        if isinstance(axis, Uniform | Normal) or (isinstance(axis, Finite) and _is_long(axis)):
            draws[name] = partial(_draw_stratum, axis, Blocks(key, STRATA), key)
        elif isinstance(axis, Finite):
            track = tracks[name] = FiniteTrack(key, axis)
            draws[name] = partial(_draw_track, track)
        elif isinstance(axis, Branches):
            parent = tracks.get(axis.on[0])
            branch = BranchTrack(key, name, axis, parent)
            if parent is not None and len(parent.keys(axis.on[1:])) <= STRATA:
                tracks[name] = branch
            draws[name] = branch.draw
        else:
            draws[name] = partial(_draw_alone, axis, seed, name)
    return draws


def _is_long(axis: Finite) -> bool:
    return axis.ordered and len(axis.values) > STRATA


def _draw_alone(axis: Axis, seed: int, name: str, row: int, earlier: Mapping[str, Any]) -> Any:
    return draw(axis, seed, row, name, earlier)


def _draw_track(track: FiniteTrack, row: int, earlier: Mapping[str, Any]) -> Any:
    return track.value(row)


def _draw_stratum(
    axis: Uniform | Normal | Finite, blocks: Blocks, key: tuple[int, str], row: int, earlier: Mapping[str, Any]
) -> Any:
    """The quantile at a random point of the row's stratum."""
    seed, name = key
    point = (blocks.index(row) + seeds.uniform(seed, row, name)) / STRATA
    return axis.at(min(point, 1 - 2**-53))
