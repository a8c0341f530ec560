"""Runs of words that two sets of texts share: the longest one of each text, and all of a certain length.

Words are those of `factory.decontamination.texts`: case, accents, punctuation and white space do not count, and a
character of a script that is written without spaces is a word. A run lies within one text on either side. Runs are
compared by 64-bit hashes that follow from running sums, for any length in one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.decontamination.grams import Presence, find, prefix_sums, span_hashes
from factory.decontamination.texts import Tokens, prepare, tokenise

Ints = NDArray[np.int64]
U64 = NDArray[np.uint64]
FIRST = 4
"""Words of the runs that are looked for first; lengths double from there."""
MOST = 4096
"""Words up to which the length of a run is told; longer ones count as this many."""
BLOCK = 32_000_000
"""Characters of texts looked at together."""
EXACT = 20_000
"""Characters up to which the place of a word is traced to the character that was written."""


@dataclass(frozen=True, slots=True)
class Side:
    """The words of some texts: `rows` int64[words] the text of each, `ends` int64[words] where that text ends."""

    tokens: Tokens
    sums: U64
    rows: Ints
    ends: Ints

    def hashes(self, places: Ints, length: int) -> U64:
        """Those of the runs of `length` words that begin at `places`."""
        return span_hashes(self.sums, places, places + length)

    def fitting(self, places: Ints, length: int) -> Ints:
        return places[places + length <= self.ends[places]]


def read_side(texts: Sequence[str]) -> Side:
    """The words of texts, and what is needed to hash runs of them."""
    tokens = tokenise(texts)
    rows = np.repeat(np.arange(len(texts)), np.diff(tokens.ends, prepend=0))
    return Side(tokens, prefix_sums(tokens.hashes), rows, tokens.ends[rows])


@dataclass(frozen=True, slots=True)
class Longest:
    """For each of n texts int64[n]: the words of its longest shared run (at most `MOST`), its first word within the
    text, and the row and word of the other side where it stands (-1 without any)."""

    words: Ints
    first: Ints
    other: Ints
    other_first: Ints


def longest_runs(texts: Sequence[str], known: Side) -> Longest:
    """The longest run of words of each text that one known text has too. Linear but for a logarithm."""
    parts = [_longest(read_side(texts[first:last]), known) for first, last in blocks(texts)]
    if not parts:
        empty = np.empty(0, dtype=np.int64)
        return Longest(empty, empty, empty, empty)
    return Longest(
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.other for part in parts]),
        np.concatenate([part.other_first for part in parts]),
    )


def blocks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """[first, last) of texts that are looked at together."""
    first = taken = 0
    for place, text in enumerate(texts):
        taken += len(text)
        if taken >= BLOCK:
            yield first, place + 1
            first, taken = place + 1, 0
    if first < len(texts):
        yield first, len(texts)


class _Search:
    """What is known so far: `words` of each text's longest run, `place` and `other` where it begins on either side."""

    def __init__(self, own: Side, known: Side, count: int):
        self.own, self.known = own, known
        self.words = np.zeros(count, dtype=np.int64)
        self.place = np.full(count, -1, dtype=np.int64)
        self.other = np.full(count, -1, dtype=np.int64)

    def match(self, own: Ints, known: Ints, length: int) -> tuple[Ints, Ints]:
        """Of the places those where a run of `length` words begins that the other side has too; notes what is found."""
        own, known = self.own.fitting(own, length), self.known.fitting(known, length)
        hashes = self.known.hashes(known, length)
        order = np.argsort(hashes, kind="stable")
        hashes, known = hashes[order], known[order]
        asked = self.own.hashes(own, length)
        if len(asked) > 4096:
            likely = Presence(hashes).may_hold(asked)
            own, asked = own[likely], asked[likely]
        hit, place = find(hashes, asked)
        own, place = own[hit], place[hit]
        rows = self.own.rows[own]
        fresh = np.flatnonzero(np.diff(rows, prepend=-1))  # the first of each text: places ascend
        self.words[rows[fresh]], self.place[rows[fresh]] = length, own[fresh]
        self.other[rows[fresh]] = known[place[fresh]]
        groups = np.cumsum(np.diff(hashes, prepend=hashes[:1]) != 0) if len(hashes) else np.empty(0, dtype=np.int64)
        wanted = np.zeros(int(groups[-1]) + 1 if len(groups) else 0, dtype=bool)
        wanted[groups[place]] = True
        return own, np.sort(known[wanted[groups]])

    def refine(self, own: Ints, known: Ints, low: int, high: int) -> None:
        """Lengths between `low`, that the texts of these places have, and `high`, that they do not: by halving."""
        rows = np.unique(self.own.rows[own])
        lows, highs = np.full(len(self.words), low), np.full(len(self.words), high)
        rows = rows[highs[rows] - lows[rows] > 1]
        while len(rows):
            middles = (lows + highs) // 2
            active = np.zeros(len(self.words), dtype=bool)
            active[rows] = True
            own = own[active[self.own.rows[own]]]
            kept = []
            asked = middles[self.own.rows[own]]
            for middle in np.unique(asked).tolist():
                mine = own[asked == middle]
                hits, _ = self.match(mine, known, middle)
                found = np.zeros(len(self.words), dtype=bool)
                found[self.own.rows[hits]] = True
                tried = np.unique(self.own.rows[mine])
                lows[tried[found[tried]]] = middle
                highs[tried[~found[tried]]] = middle
                kept += [hits, mine[~found[self.own.rows[mine]]]]
            own = np.sort(np.concatenate(kept))
            rows = rows[highs[rows] - lows[rows] > 1]


def _longest(own: Side, known: Side) -> Longest:
    count = len(own.tokens.ends)
    search = _Search(own, known, count)
    mine = np.arange(len(own.rows), dtype=np.int64)
    theirs = np.arange(len(known.rows), dtype=np.int64)
    low, length = 0, FIRST
    while len(mine) and length <= MOST:
        hits, others = search.match(mine, theirs, length)
        found = np.zeros(count, dtype=bool)
        found[own.rows[hits]] = True
        search.refine(mine[~found[own.rows[mine]]], theirs, low, length)
        mine, theirs, low, length = hits, others, length, 2 * length
    some = search.words > 0
    firsts, their_firsts = own.tokens.firsts(), known.tokens.firsts()
    place, other = np.where(some, search.place, 0), np.where(some, search.other, 0)
    if not len(known.rows):
        return Longest(search.words, np.zeros_like(place), search.other, search.other)
    other_row = known.rows[other]
    return Longest(
        search.words,
        np.where(some, place - firsts, 0),
        np.where(some, other_row, -1),
        np.where(some, other - their_firsts[other_row], -1),
    )


def cut_words(text: str, first: int, count: int) -> str:
    """What is written from word `first` on, `count` words long."""
    tokens = tokenise([text])
    start = int(tokens.places[first])
    last = first + count - 1
    end = int(tokens.places[last] + tokens.sizes[last])
    if text.isascii():
        return text[start:end]
    if len(text) > EXACT:
        return prepare(text).encode("utf-8", "surrogatepass")[start:end].decode("utf-8", "ignore")
    sizes = [len(prepare(sign).encode("utf-8", "surrogatepass")) for sign in text]
    characters = np.repeat(np.arange(len(text)), sizes)
    return text[int(characters[start]) : int(characters[min(end, len(characters)) - 1]) + 1]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of `words` words of text `row` from its word `first` on, that `other` of the known texts has."""

    row: int
    first: int
    words: int
    other: int


class Passages:
    """Runs of `length` words of known texts, but those that `common` or more of the texts hold."""

    def __init__(self, texts: Sequence[str], length: int, common: int):
        self._length = length
        hashes, rows = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
        for first, last in blocks(texts):
            side = read_side(texts[first:last])
            places = side.fitting(np.arange(len(side.rows), dtype=np.int64), length)
            hashes.append(side.hashes(places, length))
            rows.append(side.rows[places] + first)
        every, where = np.concatenate(hashes), np.concatenate(rows)
        order = np.lexsort((where, every))
        every, where = every[order], where[order]
        new = np.flatnonzero(np.diff(every, prepend=~every[:1]) != 0)
        other_row = np.ones(len(every), dtype=bool)
        other_row[1:] = (every[1:] != every[:-1]) | (where[1:] != where[:-1])
        counts = np.add.reduceat(other_row.astype(np.int64), new) if len(new) else np.empty(0, dtype=np.int64)
        rare = new[counts < common]
        self._hashes, self._rows = every[rare], where[rare]
        self._presence = Presence(self._hashes)
        self.common = int(np.count_nonzero(counts >= common))

    def find(self, texts: Sequence[str]) -> Iterator[tuple[Span, float]]:
        """Every longest stretch of words in the texts all of whose runs are known, with its weight: a word counts 1, a
        character of a script without spaces ½. Runs of fewer than four different words are none."""
        for begin, last in blocks(texts):
            side = read_side(texts[begin:last])
            places = side.fitting(np.arange(len(side.rows), dtype=np.int64), self._length)
            asked = side.hashes(places, self._length)
            likely = self._presence.may_hold(asked)
            hit, at = find(self._hashes, asked[likely])
            places, others = places[likely[hit]], self._rows[at[hit]]
            if not len(places):
                continue
            rows = side.rows[places]
            starts = np.flatnonzero((np.diff(places, prepend=-2) != 1) | (np.diff(rows, prepend=-1) != 0))
            stops = np.append(starts[1:], len(places)) - 1
            weights = np.concatenate([np.zeros(1), np.cumsum(_weights(side.tokens))])
            firsts = side.tokens.firsts()
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                first, end, row = int(places[start]), int(places[stop]) + self._length, int(rows[start])
                if len(np.unique(side.tokens.hashes[first:end])) >= min(4, self._length):
                    span = Span(row + begin, first - int(firsts[row]), end - first, int(others[start]))
                    yield span, float(weights[end] - weights[first])


def _weights(tokens: Tokens) -> NDArray[np.float64]:
    lead = tokens.letters[tokens.starts]
    single = ((tokens.sizes == 3) & (lead >= 0xE0)) | ((tokens.sizes == 4) & (lead >= 0xF0))
    return np.where(single, 0.5, 1.0)
