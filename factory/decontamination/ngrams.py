"""The n-gram layer: rare runs of 8 words that stand in a row of the data and in a row of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.decontamination.fields import CHOICES, part_name
from factory.decontamination.grams import GRAM, Presence, expand, find, prefix_sums, run_hashes
from factory.decontamination.index import SHORT, BenchmarkIndex
from factory.decontamination.spaces import Floats
from factory.decontamination.texts import U64, Ints, Tokens

SHARE = 0.6
"""A field, or a column of the data, so much of which matches counts as one that matches enough."""
ENOUGH, PLENTY = 6.0, 12.0
"""Runs of 8 words that such a match is worth at least, by one run and by more. A 13-gram is 6."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The data's texts as words: `texts[i]` belongs to data row `rows[i]`; `columns[i]` names its field.

    `real` texts stand first, row after row; after them come versions of some (code without comments).
    """

    tokens: Tokens
    texts: tuple[str, ...]
    rows: Ints
    columns: tuple[str, ...]
    count: int
    real: int


@dataclass(frozen=True, slots=True)
class GramMatches:
    """Per pair of data row and benchmark row that share a rare run, sorted by them: arrays of one length.

    `evidence` counts runs of 8 words (a 13-gram is 6); `share` of the field; `field` the best one, -1 for the row.
    `at` and `place`: every shared run's first word in the data and in the benchmark; `ends`: where each pair's stop.
    """

    data: Ints
    rows: Ints
    evidence: Floats
    share: Floats
    field: Ints
    at: Ints
    place: Ints
    ends: Ints


class GramFinder:
    """Several benchmarks' rare runs, looked up in one pass over the data."""

    def __init__(self, indexes: Sequence[BenchmarkIndex]):
        self._indexes = indexes
        self._long = Presence(_join([index.arrays["gram_hashes"] for index in indexes]))
        short = _join([index.arrays["short_hashes"] for index in indexes])
        self._short = Presence(short) if len(short) else None

    def find(self, batch: Batch) -> list[GramMatches]:
        """The matches with every benchmark."""
        sums = prefix_sums(batch.tokens.hashes)
        long = _look(batch, sums, GRAM, self._long)
        short = [(long[0][:0], long[1][:0])]
        if self._short is not None:
            short = [_look(batch, sums, size, self._short) for size in range(SHORT[0], SHORT[1] + 1)]
        both = np.concatenate([hashes for hashes, _ in short]), np.concatenate([at for _, at in short])
        return [self._match(index, batch, long, both) for index in self._indexes]

    def _match(
        self, index: BenchmarkIndex, batch: Batch, grams: tuple[U64, Ints], short: tuple[U64, Ints]
    ) -> GramMatches:
        arrays = index.arrays
        which, postings = _postings(arrays["gram_hashes"], grams[0])
        at, place = grams[1][which], arrays["gram_places"][postings].astype(np.int64)
        field = np.searchsorted(arrays["field_ends"], place, side="right")
        which, postings = _postings(arrays["short_hashes"], short[0])
        if len(which):
            short_field = arrays["short_fields"][postings].astype(np.int64)
            starts = np.where(short_field > 0, arrays["field_ends"][short_field - 1], 0)
            at, field = np.concatenate([at, short[1][which]]), np.concatenate([field, short_field])
            place = np.concatenate([place, starts])
        whole = np.zeros(len(at), dtype=bool)
        whole[len(at) - len(which) :] = True
        return _weigh(index, batch, at, place, field, whole)


def _join(parts: Sequence[U64]) -> U64:
    return np.concatenate([np.asarray(part, dtype=np.uint64) for part in parts])


def _look(batch: Batch, sums: U64, length: int, presence: Presence) -> tuple[U64, Ints]:
    """The runs of `length` words that may be known, and their first words; no run crosses a text's end."""
    grams = run_hashes(sums, length)
    at = presence.may_hold(grams)
    at = at[at + length <= batch.tokens.ends[np.searchsorted(batch.tokens.ends, at, side="right")]]
    return grams[at], at


def _postings(known: U64, values: U64) -> tuple[Ints, Ints]:
    """(number of the value, place in `known`) of every occurrence of `values` in the sorted `known`."""
    hit, first = find(known, values)
    asked = np.flatnonzero(hit)
    if not len(asked):
        return asked, asked
    first = np.searchsorted(known, values[asked], side="left")
    last = np.searchsorted(known, values[asked], side="right")
    owner, at = expand(first, last - first)
    return asked[owner], at


def _weigh(index: BenchmarkIndex, batch: Batch, at: Ints, place: Ints, field: Ints, whole: np.ndarray) -> GramMatches:
    """Evidence per pair of rows from single shared runs."""
    arrays = index.arrays
    text = np.searchsorted(batch.tokens.ends, at, side="right")
    data, row = batch.rows[text], arrays["field_rows"][field].astype(np.int64)
    order = np.lexsort((at, place, field, row, data))
    at, place, field, whole, text, data, row = (a[order] for a in (at, place, field, whole, text, data, row))
    pair = _groups(data, row)
    firsts = np.flatnonzero(_changes(pair))
    count = len(firsts)
    # runs of the benchmark's row that are found, each once
    fresh = _changes(pair, field, place)
    in_row = np.bincount(pair[fresh], minlength=count)
    sums = np.flatnonzero(_changes(pair, field))
    sub_pair, sub_field = pair[sums], field[sums]
    sub = np.cumsum(_changes(pair, field)) - 1
    in_field = np.bincount(sub[fresh], minlength=len(sums)) if len(sums) else np.zeros(0)
    of_field = np.maximum(arrays["field_grams"][sub_field], 1)
    share = np.minimum(in_field / of_field, 1.0)
    short = np.bincount(sub[whole], minlength=len(sums)) > 0 if len(sums) else np.zeros(0, dtype=bool)
    # options are often the same few words ("I and II only"): their share alone says nothing
    asked = arrays["field_kinds"][sub_field] != CHOICES
    evidence = np.where(
        ((share >= SHARE) & asked) | short,
        np.maximum(in_field, np.where(in_field > 1, PLENTY, ENOUGH) + share),
        in_field,
    )
    # runs of a column of the data that are found, each once
    spots = np.unique(pair * (len(batch.tokens.hashes) + 1) + at)
    owner, spot = spots // (len(batch.tokens.hashes) + 1), spots % (len(batch.tokens.hashes) + 1)
    spot_text = np.searchsorted(batch.tokens.ends, spot, side="right")
    words = np.diff(batch.tokens.ends, prepend=0)
    sizes = words - GRAM + 1
    row_words = np.bincount(batch.rows[: batch.real], weights=words[: batch.real], minlength=batch.count)
    main = 2 * words >= row_words[batch.rows]  # a text that is half of its row, or more
    columns = np.unique(owner * (len(sizes) + 1) + spot_text, return_counts=True)
    of_text = columns[0] % (len(sizes) + 1)
    covered = (columns[1] / np.maximum(sizes[of_text], 1) >= SHARE) & main[of_text]
    whole_column = np.zeros(count, dtype=bool)
    whole_column[columns[0][covered] // (len(sizes) + 1)] = True
    best = _best_of(sub_pair, evidence, count)
    row_share = np.minimum(in_row / np.maximum(arrays["row_grams"][row[firsts]], 1), 1.0)
    strong = np.maximum(
        evidence[best],
        np.where(
            ((row_share >= SHARE) & (in_row > 2)) | whole_column, np.where(in_row > 1, PLENTY, ENOUGH) + row_share, 0.0
        ),
    )
    total = np.maximum(strong, in_row)
    best_field = np.where(in_row > 1.5 * in_field[best] + 1, -1, sub_field[best])
    best_share = np.where(best_field < 0, row_share, share[best])
    ends = np.append(firsts[1:], len(at)) if count else firsts
    return GramMatches(data[firsts], row[firsts], total, best_share, best_field, at, place, ends)


def _changes(*keys: Ints) -> np.ndarray:
    """True where any of the sorted keys differs from the one before."""
    fresh = np.zeros(len(keys[0]), dtype=bool)
    fresh[:1] = True
    for key in keys:
        fresh[1:] |= key[1:] != key[:-1]
    return fresh


def _groups(*keys: Ints) -> Ints:
    return np.cumsum(_changes(*keys)) - 1


def _best_of(groups: Ints, values: Floats, count: int) -> Ints:
    """For each of `count` ascending groups the place of its largest value, the first of equal ones."""
    order = np.lexsort((np.arange(len(values)), -values, groups))
    return order[np.searchsorted(groups[order], np.arange(count))]


def locate(batch: Batch, index: BenchmarkIndex, matches: GramMatches, number: int) -> tuple[int, int, int]:
    """The longest matching stretch of a pair: (text, first word, end), in the words of the batch."""
    first = int(matches.ends[number - 1]) if number else 0
    at, place = matches.at[first : int(matches.ends[number])], matches.place[first : int(matches.ends[number])]
    words, theirs = batch.tokens.hashes, index.arrays["words"]
    row = int(matches.rows[number])
    row_first = int(index.arrays["word_row_ends"][row - 1]) if row else 0
    row_last = int(index.arrays["word_row_ends"][row])
    best, done = (0, 0, 0), -1
    reached: dict[int, int] = {}
    for spot, there in sorted(zip(at.tolist(), place.tolist(), strict=True)):
        diagonal = spot - there
        if reached.get(diagonal, done) > spot:
            continue
        text = int(np.searchsorted(batch.tokens.ends, spot, side="right"))
        low, high = int(batch.tokens.ends[text - 1]) if text else 0, int(batch.tokens.ends[text])
        start, end = spot, spot
        while start > low and start - diagonal > row_first and words[start - 1] == theirs[start - 1 - diagonal]:
            start -= 1
        while end < high and end - diagonal < row_last and words[end] == theirs[end - diagonal]:
            end += 1
        reached[diagonal] = end
        if end - start > best[2] - best[1]:
            best = (text, start, end)
    return best


def part_of(index: BenchmarkIndex, field: int) -> str:
    """The part's name of a match's field."""
    return "row" if field < 0 else part_name(int(index.arrays["field_kinds"][field]))
