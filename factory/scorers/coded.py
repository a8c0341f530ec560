"""A row's texts as numbers, one for each word, so that rules look at all words of all candidates at once with NumPy.

A number has 64 bits and depends on nothing but the word: two different words of a row share one by a chance of 1 in
10^14. It takes a fraction of the time that the words themselves take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np

from factory.scorers.words import spaced_words

Array = np.ndarray[Any, np.dtype[Any]]

AT_ONCE = 64
"""Texts that are coded together."""
SMALL = 100_000
"""Characters of texts whose coding is kept for the next scorer."""
MIX, TURN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
BLOCKS = tuple(np.uint64(pow(0xA0761D6478BD642F, power, 1 << 64)) for power in range(8))
MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
VALUE = np.uint64(0xFFFF)
SLOTS = 1 << 15
SLOT = np.uint64(64 - 15)
ROOM = bytes(8 * len(BLOCKS) + 8)


class Coded:
    """The words of some texts: text k has those from `bounds[k]` to `bounds[k + 1]`.

    `codes`: uint64 by word; the higher a bit, the better it is mixed. `data`: the words' bytes; each word has its place
    in `starts` and `sizes`.
    """

    def __init__(self, data: bytes, starts: Array, sizes: Array, codes: Array, bounds: list[int]):
        self.data, self.starts, self.sizes, self.codes, self.bounds = data, starts, sizes, codes, bounds
        self._runs = {1: codes}

    @cached_property
    def owners(self) -> Array:
        """The number of each word's text."""
        return np.arange(len(self.bounds) - 1).repeat(self.amounts())

    def amounts(self) -> list[int]:
        """How many words each text has."""
        return [end - start for start, end in pairwise(self.bounds)]

    def word(self, place: int) -> str:
        start = int(self.starts[place])
        return self.data[start : start + int(self.sizes[place])].decode("utf-8", "surrogatepass")

    def sums(self, values: Array) -> list[int]:
        """The sum of the words' values for each text."""
        running = np.concatenate(((0,), values.cumsum())).take(self.bounds)
        return (running[1:] - running[:-1]).tolist()  # type: ignore[no-any-return]

    def runs(self, n: int) -> Array:
        """A number for each run of n words, by its first word; the last ones of a text reach into the next text.

        A long run is made of its two halves.
        """
        if n not in self._runs:
            half = n // 2
            first, second = self.runs(n - half), self.runs(half)
            amount = max(0, len(self.codes) - n + 1)
            found = first[:amount] * np.uint64(pow(int(MIX), half, 1 << 64))
            found += second[n - half : n - half + amount]
            self._runs[n] = found
        return self._runs[n]


def batches(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Texts in parts of at most `AT_ONCE`."""
    for first in range(0, len(texts), AT_ONCE):
        yield tuple(texts[first : first + AT_ONCE])


def code_words(texts: tuple[str, ...]) -> Coded:
    """The words of at most `AT_ONCE` texts, as `words` finds them."""
    return _kept_code(texts) if sum(map(len, texts)) <= SMALL else _code_words(texts)


def _code_words(texts: tuple[str, ...]) -> Coded:
    return code([spaced_words(text) for text in texts])


_kept_code = lru_cache(maxsize=4)(_code_words)


def code(spaced: Sequence[bytes]) -> Coded:
    """What stands between the spaces of each text (in UTF-8); a text has no other white space."""
    data = b" " + b" ".join(spaced) + b" "
    spaces = (np.frombuffer(data, dtype=np.uint8) == 32).nonzero()[0]
    starts = spaces[:-1] + 1
    sizes = spaces[1:] - starts
    if not sizes.all():
        filled = sizes.nonzero()[0]
        starts, sizes = starts.take(filled), sizes.take(filled)
    offsets, total = [0], 1
    for text in spaced:
        total += len(text) + 1
        offsets.append(total)
    bounds = starts.searchsorted(offsets).tolist()
    return Coded(data, starts, sizes, _number(data, starts, sizes), bounds)


def _number(data: bytes, starts: Array, sizes: Array) -> Array:
    """A number for each word: its bytes by eights, each eight times a number of its own."""
    eights = np.ndarray(len(data) + len(ROOM) - 8, dtype="<u8", buffer=data + ROOM, strides=(1,))
    numbers = eights[starts]  # not `take`, which would copy the whole view
    numbers &= MASKS.take(sizes, mode="clip")
    numbers *= MIX
    more = eights[starts + 8]
    more &= MASKS.take(sizes - 8, mode="clip")
    more *= TURN
    numbers += more
    longest, block = int(sizes.max(initial=0)), 2
    longer = (sizes > 16).nonzero()[0] if longest > 16 else sizes[:0]
    while longer.size and block < len(BLOCKS):
        rest = sizes.take(longer) - 8 * block
        numbers[longer] += (eights[starts.take(longer) + 8 * block] & MASKS.take(rest, mode="clip")) * BLOCKS[block]
        longer, block = longer[rest > 8], block + 1
    for place in longer.tolist():
        word = data[int(starts[place]) : int(starts[place] + sizes[place])]
        numbers[place] = int.from_bytes(blake2b(word, digest_size=8).digest(), "little")
    return numbers


def repeating(coded: Coded, n: int) -> list[bool]:
    """For each text, whether a run of n words may stand in it twice; it hardly ever says so without cause."""
    runs = (coded.runs(n) * TURN & ~np.uint64(AT_ONCE - 1)) | coded.owners[: max(0, len(coded.codes) - n + 1)].view(
        np.uint64
    )
    runs.sort()
    twice = runs[1:][runs[1:] == runs[:-1]]
    if not twice.size:
        return [False] * (len(coded.bounds) - 1)
    owners = set((twice & np.uint64(AT_ONCE - 1)).tolist())
    return [number in owners for number in range(len(coded.bounds) - 1)]


class Table:
    """A number for each word: `work(words)` gives those of new words, and they are kept, by the words' codes.

    Of the words whose codes begin alike the last one is kept. An entry is a code with the number (at most 65,535) in
    place of its last 16 bits, so that a look at one place of memory tells all.
    """

    def __init__(self, work: Callable[[Sequence[str]], Sequence[int]]):
        self._work = work
        self._entries = np.zeros(SLOTS, dtype=np.uint64)

    def clear(self) -> None:
        self._entries[:] = 0

    def find(self, coded: Coded, places: Array | None = None) -> Array:
        """The numbers of all words, or of those at some places: int64."""
        codes = coded.codes if places is None else coded.codes.take(places)
        slots = (codes >> SLOT).view(np.int64)
        found = self._entries.take(slots)
        found ^= codes & ~VALUE
        if found.max(initial=0) > VALUE:  # else the codes are the same, and the number is left
            missing = (found > VALUE).nonzero()[0]
            words = [coded.word(int(place)) for place in (missing if places is None else places.take(missing))]
            numbers = np.array(self._work(words), dtype=np.uint64)
            found[missing] = numbers
            kept = missing[numbers <= VALUE]
            self._entries[slots[kept]] = (codes[kept] & ~VALUE) | found[kept]
        return found.view(np.int64)
