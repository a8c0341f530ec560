"""A glance at a text's language: some of its words, each weighed once and then known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from factory.scorers.coded import Coded, Table
from factory.scorers.language_model import Array, encode, model, to_probabilities, weigh

WORDS = 32
"""Words that are looked at: from the beginning of a text to its end."""
LIMIT = 16_384
"""Words that are kept (9 MB); a full memory is emptied."""
MAX_LETTERS = 48
"""Longer words say nothing."""
PLACES = np.arange(WORDS)
ONES = np.ones(WORDS, dtype=np.float32)


class Memory:
    """What the model makes of single words: each has a row of weights by language, and a size in bytes."""

    def __init__(self) -> None:
        self.rows = np.empty((LIMIT, len(model().labels)), dtype=np.float32)
        self.sizes = np.empty(LIMIT, dtype=np.int64)
        self.table = Table(self._learn)
        self._known: dict[str, int] = {}

    def find(self, coded: Coded, places: Array) -> Array:
        """The rows of the words at some places (fewer than `LIMIT`)."""
        if len(self._known) + len(places) > LIMIT:
            self._known.clear()
            self.table.clear()
        return self.table.find(coded, places)

    def _learn(self, words: Sequence[str]) -> list[int]:
        """Fill the rows of new words. Digits say nothing, nor do very long words."""
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        letters = ["".join(filter(str.isalpha, word)) if len(word) <= MAX_LETTERS else "" for word in new]
        texts = [encode(f" {known} ") if known else b"" for known in letters]
        if new:
            start, end = len(self._known), len(self._known) + len(new)
            self.rows[start:end] = weigh(texts)
            self.sizes[start:end] = [max(0, len(text) - 1) for text in texts]  # one space between two words
            self._known.update(zip(new, range(start, end), strict=True))
        return [self._known[word] for word in words]


memory = cache(Memory)


def glance(coded: Coded, texts: Sequence[int]) -> tuple[Array, list[int]]:
    """The probabilities of the languages for some of the texts, of `WORDS` words or more: float32 (texts, columns).

    `WORDS` words are taken evenly from a text; their weights add up, so that an n-gram which two of them share counts
    twice (the model itself has it count less). Also the size in bytes of what was looked at.
    """
    starts = np.array([coded.bounds[k] for k in texts])
    amounts = np.array([coded.bounds[k + 1] for k in texts]) - starts
    picked = (PLACES * amounts[:, None]) // WORDS + starts[:, None]
    places = memory().find(coded, picked.ravel()).reshape(picked.shape)
    scores = ONES @ memory().rows.take(places, axis=0)
    scores += model().prior
    sizes = memory().sizes.take(places).sum(axis=1)
    return to_probabilities(scores, sizes), sizes.tolist()
