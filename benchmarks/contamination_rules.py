"""The rules of well-known tools, for comparison: runs of words in common with any row of a benchmark.

- 13 words in a row, any one (GPT-3's and lm-evaluation-harness's decontamination: 13-grams)
- 8 words in a row, any one (GPT-2's overlap analysis used 8-grams)
- half of a test row's 8-grams or more (PaLM counts an example as seen at 70 % of its 8-grams)

Words are runs of letters and digits in small letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b

import numpy as np
from contamination_variants import whole_text
from numpy.typing import NDArray

from factory.decontamination import TestSet

_WORD = re.compile(r"[^\W_]+")
_STEP = 0x9E3779B97F4A7C15


@cache
def _hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")


def _grams(text: str, size: int) -> NDArray[np.uint64]:
    """A 64-bit hash for every run of `size` words, sorted and distinct."""
    words = np.array([_hash(word) for word in _WORD.findall(text.lower())], dtype=np.uint64)
    count = len(words) - size + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    sums = np.zeros(count, dtype=np.uint64)
    for i in range(size):
        sums = sums * np.uint64(_STEP) + (words[i : i + count] ^ (words[i : i + count] >> np.uint64(29)))
    return np.unique(sums)


class Rules:
    """Which benchmarks a data row is contaminated with, by each of the three rules."""

    names = ("13-gram, any", "8-gram, any", "8-gram, half of the row")

    def __init__(self, test_sets: Iterable[TestSet]):
        self.benchmarks: list[str] = []
        long: list[NDArray[np.uint64]] = []
        short: list[NDArray[np.uint64]] = []
        owners: list[int] = []
        for test_set in test_sets:
            start = len(owners)
            for row in test_set.rows:
                text = whole_text(row)
                long += [_grams(text, 13), _grams(row.answer, 13)]
                short.append(_grams(f"{text}\n{row.answer}" if test_set.code else text, 8))
                owners.append(len(self.benchmarks))
            self.benchmarks.append(test_set.name)
            assert len(owners) - start == len(test_set.rows)
        self._owners = np.array(owners)
        self._sizes = np.array([len(grams) for grams in short])
        self._long, self._long_rows = _sorted(long, np.repeat(np.arange(len(owners)), 2))
        self._short, self._short_rows = _sorted(short, np.arange(len(owners)))

    def check(self, fields: Mapping[str, str]) -> tuple[set[str], set[str], set[str]]:
        """The benchmarks found by each of `names`."""
        rows13 = [_find(self._long, self._long_rows, _grams(text, 13)) for text in fields.values()]
        short = np.unique(np.concatenate([_grams(text, 8) for text in fields.values()]))
        rows8 = _find(self._short, self._short_rows, short)
        rows, counts = np.unique(rows8, return_counts=True)
        half = rows[2 * counts >= self._sizes[rows]]
        return self._names(np.concatenate(rows13)), self._names(rows), self._names(half)

    def _names(self, rows: NDArray[np.int64]) -> set[str]:
        return {self.benchmarks[place] for place in set(self._owners[rows].tolist())}


def _sorted(grams: list[NDArray[np.uint64]], rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    values = np.concatenate(grams)
    owners = np.repeat(rows, [len(part) for part in grams])
    order = np.argsort(values, kind="stable")
    return values[order], owners[order]


def _find(known: NDArray[np.uint64], rows: NDArray[np.int64], asked: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The rows of every hash of `asked`, one after another."""
    first, last = np.searchsorted(known, asked, "left"), np.searchsorted(known, asked, "right")
    spans = [rows[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True) if b > a]
    return np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
