"""Arms: what is trained on real rows, on synthetic ones, on both at a mix; and the controls of the same size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from factory.auditors.utility.learners import Ints, Learner, predict
from factory.auditors.utility.pairing import KEPT
from factory.auditors.utility.rows import Bench

MIXES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Synthetic rows for each real one."""
ALMOST = 0.98
"""A mix is tried where there are nearly as many synthetic rows as it takes."""
FULL = "all"
REAL_SHARE = 0.6
"""Of the rows that one training may see, so many may be real where synthetic ones are added."""
Bools = NDArray[np.bool_]


@dataclass
class Arms:
    """Trainings on one bench by one learner, each different one done once. `draw` numbers a draw of rows.

    `rng(name, draw)`: a generator of its own. `told(what)`: hears of each training.
    """

    bench: Bench
    learner: Learner
    rng: Callable[..., np.random.Generator]
    told: Callable[[str], None]
    _done: dict[bytes, Bools] = field(default_factory=dict)
    _orders: dict[tuple[str, int], Ints] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """Rows that one training sees at most."""
        return self.learner.affordable(self.bench.classes)

    def correct(self, rows: Ints, what: str) -> Bools:
        """Of each test row: whether a model trained on these rows of the pool gives its label."""
        rows = np.sort(rows)
        key = hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
        if key not in self._done:
            self.told(what)
            bench = self.bench
            found = predict(self.learner, rows, bench.labels, bench.test, bench.classes)
            self._done[key] = found == bench.labels[bench.test]
        return self._done[key]

    def real(self, size: int | str, draw: int) -> Ints:
        """So many real rows of each class (all there are of a smaller one), or all that are affordable."""
        if size == FULL:
            return self.bench.real[: int(self.most * REAL_SHARE)]
        order = self._order("real", draw, self.bench.real)
        return order[np.sort(first_of_each(self.bench.labels[order], int(size)))]

    def synthetic(self, count: int, draw: int) -> Ints:
        """So many synthetic rows at random, fewer where there are not so many."""
        return self._order("synthetic", draw, self.bench.synthetic)[:count]

    def some_real(self, count: int, draw: int) -> Ints:
        """So many real rows at random."""
        return self._order("some", draw, self.bench.real)[:count]

    def thin(self, rows: Ints, draw: int) -> Ints:
        """Random four fifths of these rows."""
        return self.rng("utility.thin", draw).permutation(np.sort(rows))[: max(1, round(KEPT * len(rows)))]

    def more_real(self, rows: Ints, count: int, draw: int) -> Ints:
        """So many further real rows at random."""
        order = self._order("more", draw, self.bench.real)
        return order[~np.isin(order, rows)][:count]

    def repeated(self, rows: Ints, size: int, draw: int) -> Ints:
        """The rows over and over up to `size`, in an order of the draw's."""
        return np.resize(self.rng("utility.repeated", draw).permutation(np.sort(rows)), size)

    def mixes(self, real: int) -> list[float]:
        """The mixes that there are synthetic rows for: the usual ones, or all where that is less than a quarter."""
        room = min(len(self.bench.synthetic), max(1, self.most - real))
        found = [mix for mix in MIXES if mix * real * ALMOST <= room]
        return found or [room / real]

    def _order(self, name: str, draw: int, rows: Ints) -> Ints:
        key = (name, draw)
        if key not in self._orders:
            self._orders[key] = self.rng(f"utility.{name}", draw).permutation(rows)
        return self._orders[key]


def first_of_each(labels: Ints, count: int) -> Ints:
    """Places of the first `count` rows of each label."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    fresh = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(labels) else order
    sizes = np.diff(np.append(fresh, len(labels)))
    rank = np.arange(len(labels)) - np.repeat(fresh, sizes)
    return order[rank < count]


def sizes_of(bench: Bench, shots: Sequence[int], most: int) -> list[int | str]:
    """The sizes of the real part that are well below all of it, and all of it."""
    labels = bench.labels[bench.real]
    whole = min(len(labels), int(most * REAL_SHARE))
    found: list[int | str] = [k for k in shots if len(first_of_each(labels, k)) <= 0.9 * whole]
    return [*found, FULL]


def size_name(size: int | str) -> str:
    return "all real rows" if size == FULL else f"{size} real rows a class"
