"""`by: characters`: the earliest text whose cosine over character grams reaches the threshold; exact, by an index.

Prefixes find the candidates (Chaudhuri et al. 2006; Bayardo et al. 2007). In any one order of all grams, let a text's
suffix be as many of its last grams as together have a length below r · (the text's length), r < threshold; the prefix
is the rest. What two texts share past the end of either prefix adds less than r · |x| · |y| to x · y, so a pair at the
threshold t has (t − r) · |x| · |y| at least in grams that both prefixes hold. The order is by rarity among the texts
known when the index was last built, so that few texts share what prefixes hold; every order finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from factory.duplicates.engines import no_matches
from factory.duplicates.grams import UNIT, Grams
from factory.minhash import U32, U64, Ints, Matches, mix
from factory.postings import Growing, Places, Postings

FEW = 48
"""So many texts are compared without an index."""
_SLACK = 0.2
"""threshold − r."""
_SLOTS = 1 << 20
_BLOCK = 64
_SURE = 1e-9
"""Above any error of the float sums that only choose candidates."""


class Characters:
    """Known texts by their grams. About 6 bytes a distinct gram, and 8 to 16 more a gram of the prefixes."""

    def __init__(self, threshold: float):
        self._threshold = Fraction(repr(threshold))
        self._loose = float(threshold) * (1 - _SURE)
        self._suffix = max(threshold - _SLACK, threshold / 2)
        self._grams = Growing(np.uint32)
        self._weights = Growing(np.uint16)
        self._ends = Growing(np.int64)
        self._squares = Growing(np.int64)
        self._heaviest = Growing(np.float64)
        self._exact: dict[bytes, int] = {}
        self._postings: Postings | None = None
        self._rarity: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._built_at = 0

    def __len__(self) -> int:
        return self._ends.size

    @property
    def nbytes(self) -> int:
        held = (self._grams, self._weights, self._ends, self._squares, self._heaviest)
        index = self._postings.nbytes + self._rarity.nbytes if self._postings else 0
        return sum(one.nbytes for one in held) + index + 100 * len(self._exact)

    def match_many(self, batch: Grams) -> Matches:
        found = no_matches(len(batch))
        for k in range(len(batch)):
            self._match(batch, k, found)
        return found

    def add_many(self, batch: Grams, *, compared: bool = True) -> None:
        for k in range(len(batch)):
            self._add(batch, k)

    def offer_many(self, batch: Grams) -> Matches:
        found = no_matches(len(batch))
        for k in range(len(batch)):
            if not self._match(batch, k, found):
                self._add(batch, k)
        return found

    def _match(self, batch: Grams, k: int, found: Matches) -> bool:
        place = self._exact.get(batch.digests[k])
        if place is not None:
            found.places[k], found.similarity[k], found.exact[k] = place, 1.0, True
            return True
        span = batch.span(k)
        grams = batch.grams[span]
        if not len(grams) or not len(self):
            return False
        weights = batch.weights[span]
        candidates = self._candidates(grams, weights, int(batch.squares[k]))
        place, similarity = self._earliest(candidates, grams, weights.astype(np.int64), int(batch.squares[k]))
        if place >= 0:
            found.places[k], found.similarity[k] = place, similarity
        return place >= 0

    def _add(self, batch: Grams, k: int) -> None:
        span, place = batch.span(k), len(self)
        grams, weights = batch.grams[span], batch.weights[span]
        self._exact.setdefault(batch.digests[k], place)
        self._grams.extend(grams)
        self._weights.extend(weights)
        self._ends.append(self._grams.size)
        self._squares.append(int(batch.squares[k]))
        self._heaviest.append(int(weights.max(initial=1)))
        if self._postings is not None:
            self._index(grams, weights, int(batch.squares[k]), place)

    def _candidates(self, grams: U32, weights: NDArray[np.uint16], square: int) -> Ints | Places:
        """Every place that may reach the threshold, ascending."""
        known = len(self)
        if known <= FEW:
            return np.arange(known)
        if self._postings is None or known >= 2 * self._built_at:
            self._build()
        prefix = self._prefix(grams, weights, square)
        once = prefix[weights[prefix] == UNIT]
        often = prefix[weights[prefix] > UNIT]
        places, most = self._sum(
            [
                (self._find(grams[once], 0), UNIT, False),
                (self._find(grams[once], 1), UNIT, True),
                (self._find(grams[often], 0), int(weights.max()), False),
                (self._find(grams[often], 1), int(weights.max()), True),
            ]
        )
        needed = (self._loose - self._suffix) * np.sqrt(float(square) * self._squares.view()[places])
        return places[most >= needed]

    def _find(self, grams: U32, often: int) -> Places:
        """The places that have the grams in their prefix, once or often, one after another."""
        assert self._postings is not None
        found = self._postings.find(_keys(grams, often))
        assert found is not None  # only a limit gives None
        return found

    def _sum(self, parts: Sequence[tuple[Places, int, bool]]) -> tuple[Ints, NDArray[np.float64]]:
        """Places, ascending, and for each a bound of the products that its shared grams add up to.

        A part: a place for each gram shared, the weight of that gram in the text asked for, and whether its weight in
        the known text may be that text's heaviest, or is that of a gram that stands once.
        """
        known = len(self)
        every = np.concatenate([part for part, _, _ in parts])
        dense = 8 * len(every) > known
        places = np.flatnonzero(np.bincount(every, minlength=known)) if dense else np.unique(every)
        most = np.zeros(len(places))
        for part, weight, heavy in parts:
            if not len(part):
                continue
            other = self._heaviest.view()[places] if heavy else float(UNIT)
            if dense:
                most += np.bincount(part, minlength=known)[places] * (weight * other)
            else:
                most += np.bincount(np.searchsorted(places, part), minlength=len(places)) * (weight * other)
        return places, most

    def _earliest(self, places: Ints | Places, mine: U32, weights: Ints, square: int) -> tuple[int, float]:
        """The first of the places that reaches the threshold and its cosine, or −1."""
        ends, grams, others = self._ends.view(), self._grams.view(), self._weights.view()
        for first in range(0, len(places), _BLOCK):
            block = places[first : first + _BLOCK].astype(np.int64)
            block = block[self._squares.view()[block] > 0]
            if not len(block):
                continue
            starts = np.where(block > 0, ends[block - 1], 0)
            spans = [slice(start, stop) for start, stop in zip(starts.tolist(), ends[block].tolist(), strict=True)]
            theirs = np.concatenate([grams[span] for span in spans])
            at = np.minimum(np.searchsorted(mine, theirs), len(mine) - 1)
            same = np.flatnonzero(mine[at] == theirs)
            values = np.zeros(len(theirs), dtype=np.int64)
            values[same] = np.concatenate([others[span] for span in spans])[same] * weights[at[same]]
            lengths = ends[block] - starts
            dots = np.add.reduceat(values, np.cumsum(lengths) - lengths)
            squares = self._squares.view()[block]
            for k in np.flatnonzero(dots >= self._loose * np.sqrt(float(square) * squares)).tolist():
                dot, product = int(dots[k]), square * int(squares[k])
                if (dot * self._threshold.denominator) ** 2 >= self._threshold.numerator**2 * product:
                    return int(block[k]), min(1.0, dot / math.sqrt(product))
        return -1, 0.0

    def _build(self) -> None:
        """Postings of all known texts, in the order of rarity among them."""
        self._built_at = len(self)
        slots = np.zeros(_SLOTS, dtype=np.int64)
        grams = self._grams.view()
        for first in range(0, len(grams), _SLOTS):
            slots += np.bincount(grams[first : first + _SLOTS] & np.uint32(_SLOTS - 1), minlength=_SLOTS)
        self._rarity = np.minimum(slots, np.iinfo(np.int32).max).astype(np.int32)
        self._postings = Postings()
        ends = self._ends.view().tolist()
        for place, stop in enumerate(ends):
            span = slice(ends[place - 1] if place else 0, stop)
            self._index(grams[span], self._weights.view()[span], int(self._squares.view()[place]), place)

    def _index(self, grams: U32, weights: NDArray[np.uint16], square: int, place: int) -> None:
        if len(grams):
            assert self._postings is not None
            prefix = self._prefix(grams, weights, square)
            self._postings.add(_keys(grams[prefix], weights[prefix] > UNIT), place)

    def _prefix(self, grams: U32, weights: NDArray[np.uint16], square: int) -> Ints:
        """Which of a text's grams are its prefix."""
        rarity = self._rarity[grams & np.uint32(_SLOTS - 1)].astype(np.int64)
        order = np.argsort(rarity << 32 | grams.astype(np.int64))
        wide = weights[order].astype(np.int64)
        left = square - np.cumsum(wide * wide)  # the squared length of what follows each gram
        return order[: int(np.argmax(left < self._suffix**2 * square * (1 - _SURE))) + 1]


def _keys(grams: U32, often: int | NDArray[np.bool_]) -> U64:
    """Keys of the postings: grams that stand once in a text apart from those that stand more often."""
    return mix(grams.astype(np.uint64) * np.uint64(2) + np.asarray(often, dtype=np.uint64) + np.uint64(1))
