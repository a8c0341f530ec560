"""Maximal marginal relevance: the best first, then whatever is good and unlike what was chosen before it.

Carbonell and Goldstein 1998, "The use of MMR, diversity-based reranking". Pure functions, no models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from factory.minhash import normalise
from factory.scorers.words import vocabulary

GRAM = 4
"""Characters of a gram where texts are compared by characters."""
DIGITS = 12
"""Decimal digits that decide. Equal values reached along two ways differ at the 16th digit, and which of them is the
larger hangs on the machine: what agrees to here is a tie, and ties go to the total and then to the index."""


def relevance(totals: Sequence[float]) -> list[float]:
    """Totals scaled within the row: 0 for the lowest, 1 for the highest; 1 for all where all are equal."""
    low, high = min(totals, default=0.0), max(totals, default=0.0)
    if high == low:
        return [1.0] * len(totals)
    # Halves: the difference of two finite floats can be infinite.
    return [(total / 2 - low / 2) / (high / 2 - low / 2) for total in totals]


def spread_out(totals: Sequence[float], alike: Sequence[Sequence[float]], weight: float) -> list[int]:
    """The places 0 … n−1 in the order in which they are chosen.

    Each time the place with the largest (1 − weight) · relevance − weight · (largest similarity to a chosen one);
    nothing chosen yet counts as similarity 0, so that the best total comes first. Ties: the higher total, then the
    lower place. `alike[i][j]`: similarity of i and j, 0…1. O(n²).
    """
    worth = relevance(totals)
    closest = [0.0] * len(totals)
    left = list(range(len(totals)))
    order: list[int] = []
    while left:
        chosen = max(
            left,
            key=lambda k: (round((1 - weight) * worth[k] - weight * closest[k], DIGITS), totals[k], -k),
        )
        left.remove(chosen)
        order.append(chosen)
        for k in left:
            closest[k] = max(closest[k], alike[chosen][k])
    return order


def compare(texts: Sequence[str], by: str) -> list[list[float]]:
    """Jaccard similarity of every two texts, 0…1: of their sets of words (`tokens`) or of `characters` 4-grams.

    Case aside. Two texts without any word (or character) are the same.
    """
    sets = [_SETS[by](text) for text in texts]
    found = [[1.0] * len(sets) for _ in sets]
    for i, one in enumerate(sets):
        for j in range(i):
            found[i][j] = found[j][i] = jaccard(one, sets[j])
    return found


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """The shared members over all members; 1 for two empty sets."""
    shared = len(one & other)
    every = len(one) + len(other) - shared
    return shared / every if every else 1.0


@lru_cache(maxsize=64)
def _grams(text: str) -> frozenset[str]:
    """The runs of `GRAM` characters of the normalised text; a shorter text is one gram."""
    folded = normalise(text)
    if len(folded) <= GRAM:
        return frozenset([folded] if folded else ())
    return frozenset(folded[start : start + GRAM] for start in range(len(folded) - GRAM + 1))


_SETS: dict[str, Callable[[str], frozenset[str]]] = {"tokens": vocabulary, "characters": _grams}
