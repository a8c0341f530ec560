"""Many hypotheses in one gate: the level is shared out among kinds, so that a few pay not for many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.views import CATEGORY, TERM, WORD

Floats = NDArray[np.float64]
WEIGHTS = {CATEGORY: 0.4, TERM: 0.4, WORD: 0.2}


class Families:
    """Weighted Bonferroni over hypotheses of these kinds: the shares of kinds that are absent go to the others."""

    def __init__(self, kinds: NDArray[np.str_]):
        names, places, counts = np.unique(kinds, return_inverse=True, return_counts=True)
        weights = np.array([WEIGHTS[name] for name in names.tolist()])
        self.levels: Floats = (weights / weights.sum() / counts)[places]
        """The share of the level that each hypothesis has; 1 in all."""

    def adjust(self, p: Floats) -> Floats:
        """The p-value of each for a level that holds for all together."""
        return np.minimum(1.0, p / self.levels)

    def typical(self, detectable: Callable[[Floats], Floats], alpha: float, rows: Floats) -> float:
        """The effect that would be seen in half of the rows: the median, by rows, of the detectable ones.

        The rarest term of any lexicon can never be judged; that it cannot must not hide what is known of the others.
        """
        found = detectable(alpha * self.levels)
        order = np.argsort(found, kind="stable")
        reached = np.cumsum(rows[order])
        return float(found[order][np.searchsorted(reached, reached[-1] / 2)])
