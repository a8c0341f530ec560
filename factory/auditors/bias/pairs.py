"""Pairs of a group and a term: of the rows with the term, the share that speaks of the group; in one data set, in two.

Rows that speak of no group of the axis, or of several, say nothing of a pair and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.auditors.statistics import POWER, z_quantile

Floats = NDArray[np.float64]
FEWEST = 30
"""Rows with a term and a group, in each of two data sets, below which a pair is not looked at."""


@dataclass(frozen=True)
class Shares:
    """Counts of one data set. `hits` [groups, terms]: rows of the group with the term; `sizes` [groups]: rows.

    `spread` [groups, terms]: by how much the variance of a share is larger than that of independent rows (1: they are).
    """

    hits: Floats
    sizes: Floats
    spread: Floats

    @property
    def rows(self) -> Floats:
        """[terms]: rows with the term and a group."""
        found: Floats = self.hits.sum(axis=0)
        return found

    @property
    def share(self) -> Floats:
        """[groups, terms]: p(group | term), 0 where no row has the term."""
        return self.hits / np.maximum(self.rows, 1.0)

    @property
    def of_all(self) -> Floats:
        """[groups]: p(group)."""
        return self.sizes / max(1.0, float(self.sizes.sum()))

    def smoothed(self) -> tuple[Floats, Floats]:
        """Shares and their variances with a hit and a miss more in each, so that 0 of 40 is not certain."""
        size = self.rows + 2.0
        share = (self.hits + 1.0) / size
        return share, share * (1.0 - share) / size * self.spread


def clusters_of(data: Data) -> NDArray[np.intp] | None:
    """Numbers of what was made together (`meta.row`, where a row of the plan gave several); None: rows are apart."""
    if "meta" not in data.table.schema.names:
        return None
    try:
        rows = data.values("meta.row")
    except (KeyError, AttributeError):
        return None
    if any(row is None for row in rows):
        return None
    _, found = np.unique(np.array(rows), return_inverse=True)
    return None if not len(found) or found.max() + 1 == len(found) else found.astype(np.intp)


def one_hot(only: NDArray[Any], groups: int) -> Any:
    """scipy CSR [groups, rows]: 1 where the row speaks of the group alone."""
    from scipy.sparse import csr_matrix

    rows = np.flatnonzero(only >= 0)
    return csr_matrix((np.ones(len(rows)), (only[rows], rows)), shape=(groups, len(only)))


def count_shares(terms: Any, only: NDArray[Any], groups: int, clusters: NDArray[Any] | None = None) -> Shares:
    """`terms`: scipy CSR 0/1 [rows, terms]; `only` [rows]: the group, −1 for none."""
    members = one_hot(only, groups)
    hits = np.asarray((members @ terms).toarray(), dtype=np.float64)
    sizes = np.asarray(members.sum(axis=1), dtype=np.float64).ravel()
    found = Shares(hits, sizes, np.ones_like(hits))
    return found if clusters is None else Shares(hits, sizes, _spread(found, terms, members, clusters))


def _spread(shares: Shares, terms: Any, members: Any, clusters: NDArray[Any]) -> Floats:
    """Squared sums of residuals by cluster over what independent rows would give; never under 1."""
    from scipy.sparse import csr_matrix, diags

    together = csr_matrix((np.ones(len(clusters)), (clusters, np.arange(len(clusters)))))
    grouped = np.asarray(members.sum(axis=0)).ravel()
    with_group = together @ (diags(grouped) @ terms)
    share, expected = shares.share, shares.rows * shares.share * (1.0 - shares.share)
    found = np.ones_like(share)
    for group in range(len(share)):
        of_group = together @ (diags(members[group].toarray().ravel()) @ terms)
        residuals = of_group - with_group @ diags(share[group])
        squares = np.asarray(residuals.multiply(residuals).sum(axis=0)).ravel()
        found[group] = np.maximum(1.0, squares / np.maximum(expected[group], 1e-12))
        found[group][expected[group] <= 0] = 1.0
    return found


@dataclass(frozen=True)
class Differences:
    """p(group | term) here less there, for the pairs of two data sets. All arrays are [pairs].

    `difference` and `se` are plain. `beyond` and `beyond_se`: what is left when the share of the group in the rows
    without the term moves as well: the part that belongs to this term.
    """

    group: NDArray[np.intp]
    term: NDArray[np.intp]
    here: Floats
    there: Floats
    rows: Floats
    difference: Floats
    se: Floats
    beyond: Floats
    beyond_se: Floats

    def __len__(self) -> int:
        return len(self.group)

    def p(self, limit: float) -> Floats:
        """Of a size being no larger than `limit`, plain and beyond: the larger of the two p-values."""
        plain, own = (
            within(size, se, limit) for size, se in ((self.difference, self.se), (self.beyond, self.beyond_se))
        )
        agree = np.sign(self.difference) == np.sign(self.beyond)
        found: Floats = np.where(agree, np.maximum(plain, own), 1.0)
        return found

    def detectable(self, levels: Floats, limit: float) -> Floats:
        """The size of each that is found with a power of .8 where its p is compared with a level of its own."""
        from scipy.special import ndtri

        found: Floats = limit + (ndtri(1 - levels / 2) + z_quantile(POWER)) * np.maximum(self.se, self.beyond_se)
        return found


def within(sizes: Floats, se: Floats, limit: float) -> Floats:
    """p-values of true sizes inside ±`limit`: the chance of one as large where it is `limit`."""
    from scipy.special import ndtr

    size = np.abs(sizes)
    found: Floats = np.minimum(1.0, ndtr(-(size - limit) / se) + ndtr(-(size + limit) / se))
    return found


def compare(here: Shares, there: Shares, terms: NDArray[np.bool_] | None = None) -> Differences:
    """All pairs whose term (of those marked) has enough rows in both; of two groups that which has more here.

    The plain difference has the variance of Agresti and Caffo (2000); what is beyond the shift of the other rows is
    taken on the scale of log-odds.
    """
    groups = len(here.sizes)
    enough = (here.rows >= FEWEST) & (there.rows >= FEWEST) & (True if terms is None else terms)
    looked_at = np.zeros(here.hits.shape, dtype=bool)
    looked_at[: 1 if groups == 2 else groups] = enough
    looked_at[(here.sizes == 0) & (there.sizes == 0)] = False
    group, term = np.nonzero(looked_at)
    (one, var), (other, other_var) = here.smoothed(), there.smoothed()
    if groups == 2:
        group = np.where((one < other)[group, term], 1, group)
    at = (group, term)
    moved, moved_var = _moved(here, there)
    return Differences(
        group, term, here.share[at], there.share[at], np.minimum(here.rows, there.rows)[term],
        (one - other)[at], np.sqrt(var + other_var)[at], (one - moved)[at], np.sqrt(var + moved_var)[at],
    )  # fmt: skip


def _moved(here: Shares, there: Shares) -> tuple[Floats, Floats]:
    """The shares there, moved by as much as the rows without the term differ; and their variances."""
    from scipy.special import expit

    share, var = there.smoothed()
    odds = np.log(share / (1.0 - share))
    shift, shift_var = np.zeros_like(odds), np.zeros_like(odds)
    enough = np.ones(odds.shape[1], dtype=bool)
    for shares, sign in ((here, 1.0), (there, -1.0)):
        hits = shares.sizes[:, None] - shares.hits + 1.0
        misses = (shares.sizes.sum() - shares.rows)[None, :] - hits + 2.0
        shift += sign * np.log(hits / misses)
        shift_var += 1.0 / hits + 1.0 / misses
        enough &= (shares.sizes.sum() - shares.rows) >= FEWEST
    moved = expit(odds + np.where(enough, shift, 0.0))
    slope = moved * (1.0 - moved)
    return moved, (slope / (share * (1.0 - share))) ** 2 * var + np.where(enough, slope**2 * shift_var, 0.0)


def rows_with(terms: Any, column: int, only: NDArray[Any], group: int, most: int) -> list[int]:
    """The first rows of a group with a term."""
    held = np.sort(terms[:, [column]].tocoo().row)
    return [int(row) for row in held[only[held] == group][:most]]
