"""How many different words and phrases there are, beside real rows at equal words and equal lengths."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.auditors.diversity.matching import Matched
from factory.auditors.diversity.telling import (
    FEWEST,
    NO_REFERENCE,
    loss_interval,
    loss_test,
    percent,
    unknown,
)
from factory.auditors.spaces import Tokens
from factory.minhash import U64, Ints
from factory.types import Check

NAME = "diversity.lexical"
SIZES = (1, 2, 3)
GATED = {1: "words", 3: "phrases"}
"""What is gated, by its length in words; the others are told."""
LONGEST = 1000
"""Words from which on rows count as equally long."""
_CALLED = {1: "words", 2: "pairs of words", 3: "runs of three words"}
COMPRESSED = 1_000_000
"""Bytes that are compressed."""
MTLD_WORDS = 20_000
MTLD_RATIO = 0.72


@dataclass(frozen=True, slots=True)
class Grams:
    """The different runs of n words of a sample: `types` of `tokens`; `variance`: of `types`, by the jackknife over
    rows; `entropy` in bits."""

    types: int
    tokens: int
    variance: float
    entropy: float

    @property
    def distinct(self) -> float:
        """distinct-n (Li et al. 2016)."""
        return self.types / self.tokens if self.tokens else 0.0


def count_grams(words: Tokens, n: int) -> Grams:
    """Counts runs of `n` words. Leaving out a row costs the runs that stand in it alone: that gives the jackknife."""
    hashes, owners = words.grams(n)
    if not len(hashes):
        return Grams(0, 0, 0.0, 0.0)
    order = np.argsort(hashes, kind="stable")  # owners ascend within equal runs
    ordered, holders = hashes[order], owners[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(starts[1:], len(ordered))
    alone = holders[starts] == holders[ends - 1]
    lost = np.bincount(holders[starts[alone]], minlength=len(words)).astype(np.float64)
    variance = _variance(lost, words.sizes) * _excess(hashes, owners, len(words) // 2)
    shares = (ends - starts) / len(ordered)
    return Grams(len(starts), len(ordered), variance, float(-(shares * np.log2(shares)).sum()))


def _variance(lost: NDArray[np.float64], sizes: Ints) -> float:
    """The jackknife's variance for rows of given lengths: what the lengths explain of `lost` is no error, for both
    samples have the same lengths."""
    if len(lost) < 3:
        return float(lost.sum())
    _, group, counts = np.unique(np.minimum(sizes, LONGEST), return_inverse=True, return_counts=True)
    means = np.bincount(group, weights=lost) / counts
    inner = (lost - means[group]) ** 2 * (counts / np.maximum(counts - 1, 1))[group]
    lone = counts[group] == 1  # rows of a length of their own: against all rows, by the word
    rate = lost.sum() / sizes.sum()
    inner[lone] = (lost[lone] - rate * sizes[lone]) ** 2
    return float(inner.sum())


def _excess(hashes: U64, owners: Ints, half: int) -> float:
    """By how much the jackknife overrates the variance of a number of types (it does: Efron and Stein 1981).

    For independent rows the variance in half of them is about the number of types that the other half adds; the
    jackknife takes those that stand there once.
    """
    first = np.unique(hashes[owners < half], return_counts=True)[1]
    once = np.count_nonzero(first == 1)
    added = len(np.unique(hashes)) - len(first)
    return min(1.0, max(0.25, added / once)) if once else 1.0


def check_lexical(
    dataset: Data, reference: Data | None, words: Tokens, matched: Matched | None, *, max_loss: float
) -> list[Check]:
    """`diversity.lexical`: the share of the reference's different words, and of its runs of three, that is missing.

    `words`: of a sample of the dataset, for the figures where there is no reference.
    """
    if reference is None or matched is None:
        return [_alone(dataset, words)]
    if len(matched) < FEWEST:
        why = f"Only {len(matched)} rows of each side have words: too few to compare vocabularies."
        return [unknown(NAME, why, "more rows", n=len(matched))]
    mine = {n: count_grams(matched.words, n) for n in SIZES}
    theirs = {n: count_grams(matched.other_words, n) for n in SIZES}
    figures = _figures(matched.words, mine), _figures(matched.other_words, theirs)
    figures[0]["compression_ratio"] = compression(dataset, matched.rows)
    figures[1]["compression_ratio"] = compression(reference, matched.others)
    checks = []
    for n, subject in GATED.items():
        if mine[n].types and theirs[n].types:
            checks.append(_compare(n, subject, mine, theirs, figures, len(matched), max_loss))
        else:
            why = f"The rows are too short to hold runs of {n} words."
            checks.append(unknown(NAME, why, "longer rows, or leave it out", subject=subject, n=len(matched)))
    return checks


def _compare(
    n: int, subject: str, mine: Any, theirs: Any, figures: tuple[Any, Any], rows: int, max_loss: float
) -> Check:
    one, other = mine[n], theirs[n]
    log_ratio = math.log(one.types / other.types)
    se = math.sqrt(one.variance / one.types**2 + other.variance / other.types**2)
    loss = 1 - one.types / other.types
    sentence = (
        f"In as many words ({one.tokens:,} of each, from rows of equal length) the dataset has {one.types:,} different "
        f"{_CALLED[n]} and the reference {other.types:,}: {percent(abs(loss))} {'fewer' if loss > 0 else 'more'}."
    )
    plot = {
        "kind": "bars",
        "title": "Different runs of n words, as a share of all",
        "labels": [f"distinct-{size}" for size in SIZES],
        "series": {
            "dataset": [mine[size].distinct for size in SIZES],
            "reference": [theirs[size].distinct for size in SIZES],
        },
        "y_label": "share",
    }
    return Check(
        NAME,
        loss,
        interval=loss_interval(log_ratio, se),
        n=rows,
        gate=f"at most {percent(max_loss)} fewer different {_CALLED[n]} than the reference",
        sentence=sentence,
        subject=subject,
        details={"dataset": figures[0], "reference": figures[1], "plots": [plot] if n == 1 else []},
        method=(
            "rows of both paired by their number of words, so that both have equal words in rows of equal lengths; "
            "different runs counted; jackknife over rows"
        ),
        advice=(
            "vary what is asked for: more topics, personas and styles in `vary`, a higher temperature, several models"
        ),
        tests=1,
        test=loss_test(log_ratio, se, limit=max_loss, effect=min(0.99, max_loss + 0.15)),
    )


def _alone(dataset: Data, words: Tokens) -> Check:
    """Figures without a gate: how many different words are enough hangs on the kind of text."""
    if not len(words.hashes):
        return unknown(NAME, "No row has a word.", "name the text columns with `on`", n=len(dataset))
    counted = {n: count_grams(words, n) for n in SIZES}
    figures = _figures(words, counted)
    sentence = (
        f"{counted[1].types:,} different words among {counted[1].tokens:,}; how many there should be, only real rows "
        "of the same kind can tell."
    )
    return Check(
        NAME,
        None,
        n=len(words),
        sentence=sentence,
        details={"dataset": figures},
        method="different runs of 1 to 3 words, of a sample of rows",
        advice=NO_REFERENCE,
    )


def _figures(words: Tokens, counted: dict[int, Grams]) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": len(words), "words": counted[1].tokens, "mtld": mtld(words)}
    for n, grams in counted.items():
        found[f"distinct_{n}"] = grams.distinct
        found[f"entropy_{n}"] = grams.entropy
        found[f"different_{n}"] = grams.types
    return found


def mtld(words: Tokens) -> float | None:
    """MTLD (McCarthy and Jarvis 2010): words that it takes until the share of different ones falls to .72, both ways.

    Over the first words of the rows one after another; None where there are none.
    """
    found = words.hashes[:MTLD_WORDS].tolist()
    if not found:
        return None
    return (_mtld(found) + _mtld(found[::-1])) / 2


def _mtld(words: Sequence[int]) -> float:
    factors, seen, count, ratio = 0.0, set[int](), 0, 1.0
    for word in words:
        count += 1
        seen.add(word)
        ratio = len(seen) / count
        if ratio <= MTLD_RATIO:
            factors, seen, count, ratio = factors + 1, set(), 0, 1.0
    factors += (1 - ratio) / (1 - MTLD_RATIO)
    return len(words) / factors if factors else float(len(words))


def compression(data: Data, rows: Ints) -> float | None:
    """Bytes of the rows' texts over their bytes after DEFLATE: higher says more repetition (Shaib et al. 2024)."""
    parts, size = [], 0
    for row in rows.tolist():
        part = data.clipped[row].encode("utf-8", "surrogatepass")[: COMPRESSED - size]
        parts.append(part)
        size += len(part) + 1
        if size >= COMPRESSED:
            break
    whole = b"\n".join(parts)
    return len(whole) / len(zlib.compress(whole, 6)) if whole.strip() else None
