"""Exact tests on who was a member: under the null hypothesis members and holdout are exchanged at will.

Each takes how many rows may be exposed (`allowed`): the null hypothesis is that no more are, and the p-value is the
largest that holds under it: the allowed ones are taken to be members for certain, all others fall by chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from factory.auditors.statistics import POWER

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def binomial_pmf(n: int, share: float) -> Floats:
    """P(X = x), x = 0 … n."""
    from scipy.special import gammaln

    if share <= 0 or share >= 1:
        sure = np.zeros(n + 1)
        sure[n if share >= 1 else 0] = 1
        return sure
    x = np.arange(n + 1)
    logs = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1) + x * np.log(share) + (n - x) * np.log1p(-share)
    found: Floats = np.exp(logs)
    return found / float(found.sum())


def signs_p(weights: Ints, members: NDArray[np.bool_], share: float, allowed: int = 0) -> float:
    """P that the weights that fall to members reach what they do, if each falls there with probability `share`.

    `weights`: how many rows of the dataset hang on each real row: what one real row draws falls to one side together.
    The allowed ones are taken from the real rows with the fewest, which leaves the largest p-value.
    """
    found = int(weights[members].sum()) - allowed
    if found <= 0:
        return 1.0
    left = np.concatenate([_without(weights[members], allowed), weights[~members]])
    return min(1.0, float(sums_pmf(left, share)[found:].sum()))


def _without(weights: Ints, count: int) -> Ints:
    """The weights after `count` in all are taken, from the smallest on."""
    ordered = np.sort(weights)
    taken = np.clip(count - np.concatenate([[0], np.cumsum(ordered)[:-1]]), 0, ordered)
    left: Ints = ordered - taken
    return left


def sums_pmf(weights: Ints, share: float) -> Floats:
    """P(Σ w·X = x), X independent and 1 with probability `share`, x = 0 … Σ w."""
    found = np.ones(1)
    sizes, counts = np.unique(weights[weights > 0], return_counts=True)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spread = np.zeros(size * count + 1)
        spread[::size] = binomial_pmf(count, share)
        found = np.convolve(found, spread)
    return found


def shares_p(hits: int, n: int, others: int, m: int, allowed: int = 0) -> float:
    """P that `hits` of n members or more are among the hits + others, if these fall on all n + m alike."""
    if hits - allowed <= 0:
        return 1.0
    drawn = hits + others - allowed
    return _hypergeometric_tail(n - allowed, m, drawn, hits - allowed)


def above_p(above: int, n: int, m: int, rank: int, allowed: int = 0) -> float:
    """P that so many of n members, or more, lie above the `rank`-th highest of m rows of the holdout.

    So many do when fewer than `rank` of the highest above + rank − 1 rows are of the holdout.
    """
    above, n = above - allowed, n - allowed
    if above <= 0:
        return 1.0
    return _hypergeometric_tail(n, m, above + rank - 1, above)


def _hypergeometric_tail(n: int, m: int, drawn: int, least: int) -> float:
    """P that `least` or more of `drawn` out of n + m are of the n."""
    from scipy.special import gammaln

    def choose(total: float, some: NDArray[np.float64]) -> Floats:
        found: Floats = gammaln(total + 1) - gammaln(some + 1) - gammaln(total - some + 1)
        return found

    low, high = max(least, drawn - m, 0), min(drawn, n)
    if low > high:
        return 0.0
    if least <= max(drawn - m, 0):
        return 1.0
    x = np.arange(low, high + 1, dtype=np.float64)
    logs = choose(n, x) + choose(m, drawn - x) - choose(n + m, np.array([float(drawn)]))
    return min(1.0, float(np.exp(logs).sum()))


def least_rejected(p_of: Callable[[int], float], alpha: float, low: int, high: int) -> int:
    """The smallest count in [low, high] whose p-value is at most `alpha`; high + 1 where none is. `p_of` falls."""
    if p_of(high) > alpha:
        return high + 1
    while low < high:
        middle = (low + high) // 2
        if p_of(middle) <= alpha:
            high = middle
        else:
            low = middle + 1
    return low


def detectable(background: int, share: float, allowed: int, alpha: float, most: int) -> int:
    """How many copies are found with a power of .8 at level `alpha`, among `background` rows that fall by chance.

    more than `most`: that many are not enough.
    """
    chance = binomial_pmf(background, share)
    likely = int(np.searchsorted(np.cumsum(chance), 1 - POWER, side="right"))  # with that power it is no fewer

    def p_of(copies: int) -> float:
        left = max(copies - allowed, 0)
        return float(binomial_pmf(background + left, share)[min(likely + left, background + left) :].sum())

    return least_rejected(p_of, alpha, allowed, max(most, allowed))
