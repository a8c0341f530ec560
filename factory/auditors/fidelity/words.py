"""The words of both sides, counted once: a matrix for each text column of the dataset and of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.auditors.fidelity.pairing import Pair
from factory.auditors.vocabulary import count_words


@dataclass(frozen=True, eq=False)
class Words:
    """`names`: all words; `blocks`: by text column the dataset's and the reference's counts, CSR [rows, words]."""

    names: list[str]
    blocks: dict[str, tuple[Any, Any]]

    def of(self, column: str) -> tuple[Any, Any]:
        """Counts of a column: the dataset's and the reference's."""
        return self.blocks[column]

    def joined(self) -> tuple[Any, Any]:
        """Counts of all columns together."""
        here, there = zip(*self.blocks.values(), strict=True)
        return sum(here[1:], here[0]), sum(there[1:], there[0])


def count_both(pair: Pair) -> Words:
    """Count the words of every compared column of both sides, with one numbering of words."""
    lists = [side[name] for name in pair.columns for side in (pair.here, pair.there)]
    counts = count_words(text for texts in lists for text in texts)
    ends = np.cumsum([0, *map(len, lists)])
    parts = [counts.matrix[ends[at] : ends[at + 1]] for at in range(len(lists))]
    blocks = {name: (parts[2 * at], parts[2 * at + 1]) for at, name in enumerate(pair.columns)}
    return Words(counts.words, blocks)
