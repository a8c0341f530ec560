"""Self-BLEU (Zhu et al. 2018, Texygen): how much of each text stands in the others, by runs of 1 to 4 words.

It grows with the number of texts that are compared, so it is taken within batches of a fixed size; batches are
independent, which gives the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.auditors.diversity.matching import Matched
from factory.auditors.diversity.telling import NO_REFERENCE, percent, unknown
from factory.auditors.spaces import Tokens
from factory.auditors.statistics import POWER, mean_interval
from factory.minhash import U64, Ints, mix
from factory.types import Check, Test

NAME = "diversity.self_bleu"
LONGEST = 4
SMOOTHING = 0.1
"""What stands for no match at all (Chen and Cherry 2014, method 1)."""
BATCH = (20, 100)
"""Texts of a batch: as many as give 20 batches, within these bounds."""
BATCHES = 50
FEWEST = 100
_APART = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Batches:
    size: int
    count: int

    @property
    def texts(self) -> int:
        return self.size * self.count


def batches_of(rows: int) -> Batches:
    """How `rows` texts are put into batches."""
    size = int(np.clip(rows // 20, *BATCH))
    return Batches(size, min(BATCHES, rows // size))


def self_bleu_scores(words: Tokens, size: int) -> NDArray[np.float64]:
    """BLEU-4 of each text with the other texts of its batch as references, 0…1; batches of `size`, in order.

    A text of fewer than 4 words is compared by the runs it has; one without words scores 0. The number of texts is a
    multiple of `size`.
    """
    lengths = words.sizes
    logs = np.zeros(len(words))
    orders = np.minimum(lengths, LONGEST)
    for n in range(1, LONGEST + 1):
        hashes, owners = words.grams(n)
        totals = np.maximum(lengths - n + 1, 0)
        clipped = _clipped(hashes, owners, size, len(words))
        has = totals > 0
        precision = np.where(clipped > 0, clipped, SMOOTHING)[has] / totals[has]
        logs[has] += np.log(precision) / orders[has]
    scores = np.exp(logs) * _brevity(lengths, size)
    scores[lengths == 0] = 0.0
    return np.asarray(np.minimum(scores, 1.0))


def _clipped(hashes: U64, owners: Ints, size: int, texts: int) -> NDArray[np.float64]:
    """For each text, how many of its runs the other texts of its batch have, each as often as the one with most."""
    if not len(hashes):
        return np.zeros(texts)
    keys = mix(hashes + (owners // size).astype(np.uint64) * _APART)
    order = np.argsort(keys, kind="stable")  # owners ascend within equal keys
    keys, owners = keys[order], owners[order]
    fresh = np.concatenate(([True], (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])))
    starts = np.flatnonzero(fresh)
    counts = np.diff(starts, append=len(keys))
    keys, owners = keys[starts], owners[starts]
    order = np.lexsort((-counts, keys))
    keys, owners, counts = keys[order], owners[order], counts[order]
    first = np.concatenate(([True], keys[1:] != keys[:-1]))
    heads = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    most = counts[heads]
    second = np.zeros(len(heads), dtype=counts.dtype)
    several = np.diff(heads, append=len(keys)) > 1
    second[several] = counts[heads[several] + 1]
    others = np.where(first, second[group], most[group])
    shared = np.minimum(counts, others).astype(np.float64)
    return np.bincount(owners, weights=shared, minlength=texts).astype(np.float64)


def _brevity(lengths: Ints, size: int) -> NDArray[np.float64]:
    """BLEU's penalty for a text shorter than the reference of the nearest length (the shorter one of two)."""
    found = np.ones(len(lengths))
    for first in range(0, len(lengths), size):
        mine = lengths[first : first + size]
        apart = np.abs(mine[None, :] - mine[:, None]) * 2 + (mine[None, :] > mine[:, None])
        np.fill_diagonal(apart, np.iinfo(np.int64).max)
        nearest = mine[np.argmin(apart, axis=1)]
        short = (mine < nearest) & (mine > 0)
        found[first : first + size][short] = np.exp(1 - nearest[short] / mine[short])
    return found


def check_self_bleu(words: Tokens, matched: Matched | None, *, max_rise: float, rows: int) -> Check:
    """`diversity.self_bleu`: how much higher the dataset's self-BLEU is than the reference's."""
    known = len(words) if matched is None else len(matched)
    if known < FEWEST:
        why = f"{known:,} rows with words are too few for self-BLEU, which takes {FEWEST}."
        return unknown(NAME, why, "more rows" if matched or rows < FEWEST else NO_REFERENCE, n=known)
    batches = batches_of(known)
    chosen = np.arange(batches.texts)
    if matched is None:
        value = float(self_bleu_scores(words.take(chosen), batches.size).mean())
        why = f"Self-BLEU is {value:.2f} in batches of {batches.size}; how high it may be, only real rows can tell."
        figures = {"self_bleu": value, "batch": batches.size, "batches": batches.count}
        return Check(NAME, None, n=batches.texts, sentence=why, advice=NO_REFERENCE, details=figures, method=_method())
    shape = (batches.count, batches.size)
    mine = self_bleu_scores(matched.words.take(chosen), batches.size).reshape(shape).mean(axis=1)
    theirs = self_bleu_scores(matched.other_words.take(chosen), batches.size).reshape(shape).mean(axis=1)
    value, se, interval = mean_interval(mine - theirs)
    return Check(
        NAME,
        value,
        interval=interval,
        n=batches.texts,
        gate=f"at most {max_rise:.2f} above the reference",
        sentence=(
            f"Of a text's phrases the other texts of its batch hold {percent(mine.mean())} (self-BLEU, batches of "
            f"{batches.size}), in the reference {percent(theirs.mean())}."
        ),
        details={
            "dataset": float(mine.mean()),
            "reference": float(theirs.mean()),
            "batch": batches.size,
            "batches": batches.count,
        },
        method=_method(),
        advice="texts share phrases: vary the prompt's wording, add axes to `vary`, filter with `rouge` or `novelty`",
        tests=1,
        test=t_test(value, se, batches.count - 1, limit=max_rise, effect=max_rise + 0.1),
    )


def t_test(value: float, se: float, freedom: int, *, limit: float, effect: float) -> Test:
    """`statistics.z_test` for a mean of few values, by Student's t."""
    from scipy.special import stdtr, stdtrit

    if se <= 0:
        return Test(0.0 if value > limit else 1.0, effect, lambda alpha: limit)
    p = float(stdtr(freedom, (limit - value) / se))
    return Test(
        p,
        effect,
        lambda alpha: limit + float(stdtrit(freedom, 1 - alpha) + stdtrit(freedom, POWER)) * se,
    )


def _method() -> str:
    return (
        "self-BLEU-4 (Zhu et al. 2018) of words, within batches of rows, of equal lengths on both sides; t over batches"
    )
