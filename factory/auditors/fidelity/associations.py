"""Associations of columns from sums of products, so that groups of rows can be left out without another pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """A column of n rows as numbers: `codes` [n, values] of 0 and 1; `ranks` [n] for numbers, else None."""

    codes: Floats
    ranks: Floats | None

    @property
    def width(self) -> int:
        return int(self.codes.shape[1]) + (self.ranks is not None)

    @property
    def columns(self) -> Floats:
        return self.codes if self.ranks is None else np.column_stack([self.codes, self.ranks])


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums of products of all columns of all blocks, by group of rows: `groups` [g, d, d]. The last of the d columns is
    1 for every row. `starts`: where each block begins."""

    groups: Floats
    starts: tuple[int, ...]

    @cached_property
    def total(self) -> Floats:
        found: Floats = self.groups.sum(axis=0)
        return found

    @cached_property
    def all(self) -> Floats:
        """[1 + g, d, d]: of all rows, then without each group."""
        return np.concatenate([self.total[None], self.total[None] - self.groups])


@dataclass(frozen=True, eq=False)
class Association:
    """Its measure's name, value, and standard error by the jackknife over groups."""

    measure: str
    value: float
    se: float


def moments(blocks: Sequence[Block], group: NDArray[np.int64], count: int) -> Moments:
    """The moments of blocks of the same rows; `group`: the group of each row, 0 … count−1."""
    columns = np.column_stack([*(block.columns for block in blocks), np.ones(len(group))])
    starts = np.cumsum([0, *(block.width for block in blocks)])
    found = np.empty((count, columns.shape[1], columns.shape[1]))
    for at in range(count):
        part = columns[group == at]
        found[at] = part.T @ part
    return Moments(found, tuple(int(one) for one in starts))


def associate(sums: Moments, blocks: Sequence[Block], one: int, two: int) -> Association:
    """Spearman's ρ of numbers, the correlation ratio of a number's ranks by a category, Cramér's V of categories."""
    if blocks[one].ranks is not None and blocks[two].ranks is not None:
        values = _correlation(sums, _rank(sums, blocks, one), _rank(sums, blocks, two))
        return Association("Spearman", float(values[0]), _error(values))
    if blocks[one].ranks is None and blocks[two].ranks is None:
        values, floor = _cramer(sums, _codes(sums, blocks, one), _codes(sums, blocks, two))
        return Association("Cramér", float(values[0]), _near_nothing(_error(values), values[0], floor))
    number, category = (one, two) if blocks[one].ranks is not None else (two, one)
    values, floor = _ratio(sums, _rank(sums, blocks, number), _codes(sums, blocks, category))
    return Association("correlation ratio", float(values[0]), _near_nothing(_error(values), values[0], floor))


def _rank(sums: Moments, blocks: Sequence[Block], at: int) -> int:
    return sums.starts[at] + int(blocks[at].codes.shape[1])


def _codes(sums: Moments, blocks: Sequence[Block], at: int) -> slice:
    return slice(sums.starts[at], sums.starts[at] + blocks[at].codes.shape[1])


def _error(values: Floats) -> float:
    left = values[1:]
    return math.sqrt(float((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum()))


def _near_nothing(se: float, value: float, floor: float) -> float:
    """Near 0 the jackknife of a root that is cut at 0 jumps: there the error is that of a root of a normal variable
    with the standard deviation `floor`², about .7 of `floor` where that root is `floor`."""
    return 0.7 * floor if value < 2 * floor else se


def _correlation(sums: Moments, one: int, two: int) -> Floats:
    every = sums.all
    n = every[:, -1, -1]
    means = every[:, -1, one] / n, every[:, -1, two] / n
    shared = every[:, one, two] / n - means[0] * means[1]
    spreads = every[:, one, one] / n - means[0] ** 2, every[:, two, two] / n - means[1] ** 2
    product = np.sqrt(np.maximum(0, spreads[0]) * np.maximum(0, spreads[1]))
    found: Floats = np.where(product > 1e-12, shared / np.maximum(product, 1e-12), 0.0)
    return found


def _cramer(sums: Moments, one: slice, two: slice) -> tuple[Floats, float]:
    """Cramér's V without its bias (Bergsma 2013), and how large it comes out without an association."""
    every = sums.all
    tables = every[:, one, two]
    n = every[:, -1, -1]
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    expected = rows[:, :, None] * columns[:, None, :] / n[:, None, None]
    ratio = np.divide(tables**2, expected, out=np.zeros_like(tables), where=expected > 0)
    squared = ratio.sum(axis=(1, 2)) / n - 1
    k, r = int((rows[0] > 0).sum()), int((columns[0] > 0).sum())
    df = (k - 1) * (r - 1)
    if df == 0:
        return np.zeros(len(n)), 0.0
    least = np.minimum(k - (k - 1) ** 2 / (n - 1), r - (r - 1) ** 2 / (n - 1)) - 1
    least = np.maximum(least, 1e-3)
    found: Floats = np.sqrt(np.clip((squared - df / (n - 1)) / least, 0.0, 1.0))
    return found, math.sqrt(math.sqrt(2 * df) / n[0] / least[0])


def _ratio(sums: Moments, number: int, category: slice) -> tuple[Floats, float]:
    """The correlation ratio, its square without its bias (Kelley 1935), and its size without an association."""
    every = sums.all
    n, total = every[:, -1, -1], every[:, -1, number]
    sizes, within = every[:, -1, category], every[:, number, category]
    between = np.divide(within**2, sizes, out=np.zeros_like(within), where=sizes > 0).sum(axis=1) - total**2 / n
    whole = every[:, number, number] - total**2 / n
    k = int((sizes[0] > 0).sum())
    if k < 2 or whole[0] <= 1e-12:
        return np.zeros(len(n)), 0.0
    squared = 1 - (1 - between / np.maximum(whole, 1e-12)) * (n - 1) / np.maximum(1, n - k)
    found: Floats = np.sqrt(np.clip(squared, 0.0, 1.0))
    return found, math.sqrt(math.sqrt(2 * (k - 1)) / n[0])
