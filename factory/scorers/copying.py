"""Runs of words that a text shares with others: what is copied, how much of it, and how long at a stretch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from factory.scorers.coded import MIX, Array, Coded, batches, code_words
from factory.scorers.words import words

MODULUS = (1 << 61) - 1
BASE = 1_000_003
SHORT = 4
"""Runs of so few words are looked up at once; of longer ones, the single words first."""
FEW = 64
Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """Texts that another may have copied from: their words, and their runs of `n` words."""

    n: int
    texts: tuple[tuple[str, ...], ...]
    vocabulary: frozenset[str]
    runs: frozenset[Gram]


@lru_cache(maxsize=4)
def know(texts: tuple[str, ...], n: int) -> Known:
    """The runs of `n` words in each text. Kept for the last few texts, as a row's candidates share them."""
    split = tuple(words(text) for text in texts)
    vocabulary = frozenset(word for found in split for word in found)
    return Known(n, split, vocabulary, frozenset(run for found in split for run in runs_of(found, n)))


class Trace(NamedTuple):
    """A quick mark of texts' runs of `n` words: `bits` by their codes' highest bits (less `shift`), and the codes."""

    n: int
    bits: Array
    shift: np.uint64
    codes: Array


@lru_cache(maxsize=4)
def trace(texts: tuple[str, ...], n: int) -> Trace:
    parts = [code_words(part).runs(n) for part in batches(texts)]
    codes = (parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.uint64)])) * MIX
    size = min(20, max(13, (32 * len(codes)).bit_length()))
    bits, shift = np.zeros(1 << size, dtype=bool), np.uint64(64 - size)
    bits[(codes >> shift).view(np.int64)] = True
    return Trace(n, bits, shift, codes)


def suspect(coded: Coded, traced: Trace) -> list[bool]:
    """For each text, whether one of its runs of words may be a traced one; it hardly ever says so without cause."""
    runs = coded.runs(traced.n) * MIX
    places = traced.bits.take((runs >> traced.shift).view(np.int64)).nonzero()[0]
    if places.size:
        likely = runs.take(places)
        same = (likely[:, None] == traced.codes).any(axis=1) if likely.size < FEW else np.isin(likely, traced.codes)
        places = places[same]
    owners = set(coded.owners.take(places).tolist()) if places.size else ()
    return [number in owners for number in range(len(coded.bounds) - 1)]


def runs_of(found: Sequence[str], n: int) -> Iterable[Gram]:
    """Every run of n words, in order."""
    return zip(*(found[offset:] for offset in range(n)), strict=False)


def hits(found: Sequence[str], known: Known) -> bytes:
    """For every run of `n` words, in order, 1 where it is known and 0 where it is not; b"" where none is.

    Long runs are made only between the first and the last place where `n` known words follow each other.
    """
    n = known.n
    if n <= SHORT:
        marks = bytes(map(known.runs.__contains__, runs_of(found, n)))
        return marks if 1 in marks else b""
    run = b"\1" * n
    likely = bytes(map(known.vocabulary.__contains__, found))
    place = likely.find(run)
    if place < 0:
        return b""
    end = likely.rfind(run) + n
    marks = bytes(map(known.runs.__contains__, runs_of(found[place:end], n)))
    return b"\0" * place + marks + b"\0" * (len(found) - end) if 1 in marks else b""


def covered(marks: bytes, n: int) -> int:
    """How many words lie in a marked run of n words."""
    count = until = 0
    place = marks.find(1)
    while place >= 0:
        count += n if place >= until else place + n - until
        until = place + n
        place = marks.find(1, place + 1)
    return count


def longest_run(found: Sequence[str], marks: bytes, known: Known) -> int:
    """The length of the longest run of words under the marks that stands in one of the known texts; 0 without marks.

    Exact. Bisects the length (what holds a run of k words holds one of k − 1), with rolling hashes of all runs of a
    length, checked word by word; time grows as words × log(words).
    """
    stretches = list(_stretches(marks, known.n))
    if not stretches:
        return 0
    low = known.n
    high = min(max(end - start for start, end in stretches), max(map(len, known.texts)))
    numbers: dict[str, int] = {}
    parts = [[numbers.setdefault(word, len(numbers) + 1) for word in found[start:end]] for start, end in stretches]
    sources = [[numbers.get(word, 0) for word in text] for text in known.texts]
    while low < high:
        middle = (low + high + 1) // 2
        if _share_run(parts, sources, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _stretches(marks: bytes, n: int) -> Iterator[tuple[int, int]]:
    """Where the words of each unbroken row of marks begin and end."""
    start = marks.find(1)
    while start >= 0:
        stop = marks.find(0, start)
        stop = len(marks) if stop < 0 else stop
        yield start, stop + n - 1
        start = marks.find(1, stop)


def _share_run(parts: list[list[int]], sources: list[list[int]], length: int) -> bool:
    """Whether a run of `length` words of a part stands in a source."""
    wanted: dict[int, tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for place, value in enumerate(_rolling(part, length)):
            wanted.setdefault(value, (number, place))
    for source in sources:
        for place, value in enumerate(_rolling(source, length)):
            if value in wanted:
                number, start = wanted[value]
                if parts[number][start : start + length] == source[place : place + length]:
                    return True
    return False


def _rolling(coded: list[int], length: int) -> Iterable[int]:
    """The hash of every run of `length` numbers, in order."""
    if len(coded) < length:
        return
    value, top = 0, pow(BASE, length - 1, MODULUS)
    for number in coded[:length]:
        value = (value * BASE + number) % MODULUS
    yield value
    for old, new in zip(coded, coded[length:], strict=False):
        value = ((value - old * top) * BASE + new) % MODULUS
        yield value
