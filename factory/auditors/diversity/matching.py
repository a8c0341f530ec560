"""Two samples made comparable: as many rows of each, and row for row as many words.

Longer texts repeat more words, however varied they are, and larger samples have seen more of them. So rows are paired
with rows of exactly as many words. Where these are less than half, the others are paired too (the shortest with the
shortest, …), and of the longer row of a pair a run of as many words as the shorter one has is looked at. Both then have
the same number of words, of rows, and the same distribution of lengths. (Cutting is kept for where it must be: a piece
of a text does not begin as texts begin, so that of two like samples the one with longer rows would seem more varied.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factory.auditors.spaces import Tokens
from factory.auditors.statistics import equal_sizes
from factory.minhash import Ints

MOST = 20_000
"""Rows of each sample that are compared at most."""


@dataclass(frozen=True, slots=True)
class Matched:
    """`rows` and `others`: int64 [m], the rows of the two samples, in a random order, paired. `words` and
    `other_words`: their words, cut to the same number in each pair, 1 or more."""

    rows: Ints
    others: Ints
    words: Tokens
    other_words: Tokens

    def __len__(self) -> int:
        return len(self.rows)


def match(one: Tokens, other: Tokens, rng: np.random.Generator, most: int = MOST) -> Matched:
    """Pairs of rows of one length; rows without a word are left out."""
    filled, other_filled = np.flatnonzero(one.sizes), np.flatnonzero(other.sizes)
    mine, theirs = equal_sizes(len(filled), len(other_filled), most, rng)
    rows, others = _by_length(one, filled[mine], rng), _by_length(other, other_filled[theirs], rng)
    same, other_same = _same_length(one.sizes[rows], other.sizes[others])
    if 2 * len(same) < len(rows):
        rest, other_rest = np.delete(np.arange(len(rows)), same), np.delete(np.arange(len(rows)), other_same)
        same, other_same = np.concatenate((same, rest)), np.concatenate((other_same, other_rest))
    order = rng.permutation(len(same))
    rows, others = rows[same[order]], others[other_same[order]]
    lengths = np.minimum(one.sizes[rows], other.sizes[others])
    return Matched(rows, others, _cut(one, rows, lengths, rng), _cut(other, others, lengths, rng))


def sample(tokens: Tokens, rng: np.random.Generator, most: int = MOST) -> tuple[Ints, Tokens]:
    """Rows with a word, in a random order, and their words: what figures without a reference stand on."""
    filled = np.flatnonzero(tokens.sizes)
    rows = rng.permutation(filled)[:most]
    return rows, tokens.take(rows)


def _by_length(tokens: Tokens, rows: Ints, rng: np.random.Generator) -> Ints:
    """The rows from short to long, those of one length in a random order."""
    shuffled = rng.permutation(rows)
    return shuffled[np.argsort(tokens.sizes[shuffled], kind="stable")]


def _same_length(sizes: Ints, others: Ints) -> tuple[Ints, Ints]:
    """Places of the pairs of equal sizes, each place once; both arrays ascend."""
    one, other = (
        each * (len(each) + 1) + np.arange(len(each)) - np.searchsorted(each, each) for each in (sizes, others)
    )
    _, mine, theirs = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    return mine, theirs


def _cut(tokens: Tokens, rows: Ints, lengths: Ints, rng: np.random.Generator) -> Tokens:
    """A run of `lengths` words out of each row, from anywhere in it."""
    room = tokens.sizes[rows] - lengths
    starts = tokens.starts[rows] + rng.integers(0, room + 1)
    ends = np.cumsum(lengths)
    places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return Tokens(tokens.hashes[places], ends, tokens.numeric[places], tokens.capital[places])
