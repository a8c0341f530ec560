"""What goes with a group in one data set: categories, and where rows are many, words; by log-odds, as findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.log_odds import compare_words
from factory.auditors.bias.terms import is_own, own_words
from factory.auditors.bias.views import CATEGORY, ROWS_FOR_WORDS, View
from factory.auditors.statistics import Z95, benjamini_hochberg, z_quantile
from factory.auditors.vocabulary import words_of

Floats = NDArray[np.float64]
Q = 0.05
ROWS_OF_WORD = 10
"""Rows with a word and a group, below which nothing is said of it."""
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Tie:
    """A category or word with the group it goes with: how many times the odds of the other groups, 95 % interval."""

    name: str
    pooled: bool
    group: int
    ratio: float
    low: float
    high: float
    z: float
    q: float
    se: float


@dataclass(frozen=True)
class Tested:
    """Categories, or words, against groups; arrays are [groups, names], of two groups [1, names]."""

    names: Sequence[str]
    pooled: bool
    odds: Floats
    se: Floats
    z: Floats
    q: Floats
    mirrored: bool

    def ties(self, chosen: NDArray[np.bool_]) -> list[Tie]:
        """The ties marked, by z. Of two groups, each with the one it goes with."""
        group, at = np.nonzero(chosen)
        z = self.z[group, at]
        order = np.argsort(-(np.abs(z) if self.mirrored else z), kind="stable")
        return [self._tie(int(group[one]), int(at[one])) for one in order.tolist()]

    def _tie(self, group: int, at: int) -> Tie:
        odds, se, z, q = (float(one[group, at]) for one in (self.odds, self.se, self.z, self.q))
        if self.mirrored and odds < 0:
            group, odds, z = 1, -odds, -z
        low, high = (_ratio(odds + sign * Z95 * se) for sign in (-1, 1))
        return Tie(self.names[at], self.pooled, group, _ratio(odds), low, high, z, q, se)


@dataclass(frozen=True)
class Ties:
    """What was tested in one data set."""

    parts: tuple[Tested, ...]

    @property
    def tests(self) -> int:
        return int(sum(part.z.size for part in self.parts))

    def pools(self) -> list[Tie]:
        """Categories with a group that has more of them, by z."""
        pooled = [part for part in self.parts if part.pooled]
        return [tie for part in pooled for tie in part.ties((part.z > 0) | (part.mirrored & (part.z != 0)))]

    def words(self) -> list[Tie]:
        """Words at q ≤ .05 with a group that has more of them, by z."""
        return [
            tie
            for part in self.parts
            if not part.pooled
            for tie in part.ties((part.q <= Q) & ((part.z > 0) | part.mirrored))
        ]

    def of(self, names: Sequence[str], *, pooled: bool) -> dict[str, Tie]:
        """The surest tie of each of these."""
        found: dict[str, Tie] = {}
        for part in self.parts:
            if part.pooled == pooled:
                marked = np.zeros(part.z.shape, dtype=np.bool_)
                wanted = set(names)
                marked[:, [at for at, name in enumerate(part.names) if name in wanted]] = True
                for tie in part.ties(marked):
                    found.setdefault(tie.name, tie)
        return found


def _ratio(odds: float) -> float:
    """Of log-odds; beyond e²⁰ it makes no difference."""
    return math.exp(min(20.0, max(-20.0, odds)))


def find_ties(view: View) -> Ties:
    """All categories and words, tested. `q`: Benjamini and Hochberg over all of a kind."""
    return Ties(tuple(part for part in (_categories(view), _words(view)) if part is not None))


def _categories(view: View) -> Tested | None:
    columns = np.flatnonzero(view.kinds == CATEGORY)
    if not len(columns):
        return None
    sizes = np.asarray(words_of(view.data).matrix.sum(axis=1), dtype=np.float64).ravel()
    return _test(view, view.terms[:, columns], [view.names[at] for at in columns.tolist()], sizes, pooled=True)


def _words(view: View) -> Tested | None:
    """Every word but the groups' own, seen with one group only or with several."""
    if len(view.data) < ROWS_FOR_WORDS:
        return None
    counts, own = words_of(view.data), own_words(view.grouping)
    held = counts.matrix[np.flatnonzero(view.only >= 0)]
    rows = np.bincount(held.indices, minlength=len(counts.words))
    foreign = np.ones(len(counts.words), dtype=np.bool_)
    foreign[[at for at, word in enumerate(counts.words) if is_own(word, own)]] = False
    sizes = np.asarray(counts.matrix @ foreign.astype(np.float64)).ravel()
    columns = np.flatnonzero(foreign & (rows >= ROWS_OF_WORD))
    if not len(columns):
        return None
    return _test(view, counts.matrix[:, columns], [counts.words[at] for at in columns.tolist()], sizes, pooled=False)


def _test(view: View, words: Any, names: Sequence[str], sizes: Floats, *, pooled: bool) -> Tested | None:
    """None where no row that speaks of one group has any of them."""
    from scipy.special import ndtr

    groups = len(view.grouping.names)
    found = compare_words(words, sizes, view.only, groups, view.clusters)
    seen = np.flatnonzero(found[0].here + found[0].there > 0)
    if not len(seen):
        return None
    odds, se, z = (np.stack([getattr(one, key)[seen] for one in found]) for key in ("odds", "se", "z"))
    q = benjamini_hochberg(2 * ndtr(-np.abs(z).ravel())).reshape(z.shape)
    return Tested([names[at] for at in seen.tolist()], pooled, odds, se, z, q, groups == 2)


def interval_of(tie: Tie, tests: int) -> tuple[float, float]:
    """That holds for all of so many at once."""
    half = z_quantile(1 - 0.025 / max(1, tests)) * tie.se
    odds = math.log(tie.ratio)
    return _ratio(odds - half), _ratio(odds + half)


def tell_ties(view: View, ties: Ties, there: Ties | None = None) -> dict[str, Any]:
    """Tables and a forest plot for `details`: categories all, words the first of each group."""
    names = view.grouping.names
    pools, words = ties.pools(), ties.words()
    tables = [_table(f"Categories that go with {view.grouping.axis}", pools, names, there)] if pools else []
    for group, name in enumerate(names):
        of_group = [tie for tie in words if tie.group == group][:SHOWN]
        if of_group:
            tables.append(_table(f"Words that go with {name}", of_group, names, there))
    rows = [
        {"label": f"{tie.name}: {names[tie.group]}", "value": tie.ratio, "low": tie.low, "high": tie.high}
        for tie in pools[:SHOWN]
    ]
    title = f"{view.grouping.axis}: how many times the odds a category has with a group"
    plots = (
        [{"kind": "forest", "title": title, "rows": rows, "limit": 1.0, "x_label": "ratio of odds", "scale": "log"}]
        if rows
        else []
    )
    return {"tables": tables, "plots": plots}


def _table(title: str, ties: Sequence[Tie], names: Sequence[str], there: Ties | None) -> dict[str, Any]:
    header = ["term", "group", "ratio of odds", "low", "high", "z", "q", *(["in the reference"] if there else [])]
    real = {} if there is None else there.of([tie.name for tie in ties], pooled=ties[0].pooled)
    rows = []
    for tie in ties:
        figures = (round(one, 3) for one in (tie.ratio, tie.low, tie.high, tie.z))
        row: list[Any] = [tie.name, names[tie.group], *figures, tie.q]
        if there is not None:
            found = real.get(tie.name)
            row.append("" if found is None else f"{found.ratio:.2f} {names[found.group]}")
        rows.append(row)
    return {"title": title, "header": header, "rows": rows}
