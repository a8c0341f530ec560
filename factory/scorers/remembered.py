"""What is known of single words, worked out once a word: texts use the same few thousand again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
LIMIT = 100_000
"""Words; a full memory is emptied."""
MAX_LETTERS = 48
"""Longer words are not kept."""


class Remembered(dict[str, Found]):
    """`memory[word]` is `work(word)`. A dict, so that `map(memory.__getitem__, words)` runs at the dict's own speed."""

    def __init__(self, work: Callable[[str], Found]):
        super().__init__()
        self._work = work

    def __missing__(self, word: str) -> Found:
        found = self._work(word)
        if len(word) <= MAX_LETTERS:
            if len(self) >= LIMIT:
                self.clear()
            self[word] = found
        return found
