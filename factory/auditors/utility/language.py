"""How well real text is foretold by a model of synthetic text: word-pair models, for data with and without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.spaces import tokenize
from factory.auditors.statistics import Floats
from factory.auditors.utility.learners import Ints
from factory.auditors.utility.pairing import ERRORS, KEPT, estimate
from factory.auditors.utility.rows import FEWEST, GIVE_REFERENCE, MOST_TEST, TEST_SHARE, without_copies
from factory.types import Check

NAME = "utility.language_model"
FEWEST_WORDS = 500
MOST_WORDS = 2_000_000
SEEN = 0.5
"""Bits a word above the limit that must not go unseen."""


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as numbers of words, of one vocabulary for all. `before`: the word before (`size` at the start of a text).

    `owners`: the text of each word. Words stand in the order of the texts.
    """

    words: Ints
    before: Ints
    owners: Ints
    sizes: Ints
    size: int


@dataclass(frozen=True, slots=True)
class PairModel:
    """Word pairs interpolated with words, and those with the even chance of each word (Witten and Bell 1991)."""

    words: Floats
    context: Ints
    kinds: Ints
    keys: Ints
    counts: Ints
    size: int

    def bits(self, words: Ints, before: Ints) -> Floats:
        """−log2 of each word's probability after the word before it."""
        keys = before * self.size + words
        at = np.minimum(np.searchsorted(self.keys, keys), max(0, len(self.keys) - 1))
        seen = np.where(self.keys[at] == keys, self.counts[at], 0) if len(self.keys) else np.zeros(len(keys))
        kinds, context = self.kinds[before], self.context[before]
        alone = self.words[words]
        chance = np.where(context > 0, (seen + kinds * alone) / np.maximum(1, context + kinds), alone)
        found: Floats = -np.log2(chance)
        return found


def learn_pairs(words: Ints, before: Ints, size: int) -> PairModel:
    """The model of these words; `size`: of the vocabulary, known before anything is read."""
    keys, counts = np.unique(before * size + words, return_counts=True)
    contexts = keys // size
    single = np.bincount(words, minlength=size).astype(np.float64)
    distinct = max(1, int(np.count_nonzero(single)))
    probabilities = (single + distinct / size) / (single.sum() + distinct)
    context = np.bincount(before, minlength=size + 1)
    return PairModel(probabilities, context, np.bincount(contexts, minlength=size + 1), keys, counts, size)


def read_words(texts: list[str]) -> Words:
    tokens = tokenize(texts)
    names, words = np.unique(tokens.hashes, return_inverse=True)
    before = np.concatenate([[len(names)], words[:-1]])[: len(words)]
    starts = tokens.starts[tokens.sizes > 0]
    before[starts] = len(names)
    return Words(words.astype(np.int64), before.astype(np.int64), tokens.owners, tokens.sizes, max(1, len(names)))


def language_model(
    dataset: Data, reference: Data | None, context: AuditContext, draws: int, limit: float, most: int
) -> Check:
    """Bits a word that real test text costs a model of synthetic text above one of as many words of real text."""
    if reference is None:
        return Check(NAME, None, n=len(dataset), sentence="There is no real text to test on.", advice=GIVE_REFERENCE)
    if not dataset.columns or not reference.columns:
        return Check(NAME, None, n=len(dataset), sentence="No column holds text.", advice="name it: `on: COLUMN`")
    real, synthetic, test = _parts(dataset, reference, context, most)
    for part, what in ((real, "real"), (synthetic, "synthetic"), (test, "real test")):
        if len(part) < FEWEST:
            told = f"There are {len(part)} {what} texts apart from copies of test rows, and {FEWEST} are needed."
            return Check(NAME, None, n=len(test), sentence=told, advice="give more rows")
    read = read_words([*real, *synthetic, *test])
    bounds = np.cumsum([0, len(real), len(synthetic), len(test)])
    rows = [np.arange(bounds[k], bounds[k + 1]) for k in range(3)]
    words = [int(read.sizes[part].sum()) for part in rows]
    if min(words) < FEWEST_WORDS:
        told = f"The smallest part has {min(words)} words, and {FEWEST_WORDS} are needed."
        return Check(NAME, None, n=len(test), sentence=told, advice="give more rows, or longer ones")
    return _compare(read, rows, min(*words[:2], MOST_WORDS), context, draws, limit)


def _parts(dataset: Data, reference: Data, context: AuditContext, most: int) -> tuple[list[str], list[str], list[str]]:
    """Texts to train on, real and synthetic, without copies of those to test on."""

    def drawn(data: Data, name: str, count: int) -> list[str]:
        texts = [text for text in data.clipped if text.strip()]
        return [texts[k] for k in context.rng(NAME, name).permutation(len(texts))[:count]]

    real, synthetic = drawn(reference, "real", most), drawn(dataset, "synthetic", most)
    if context.holdout is not None and context.holdout.columns:
        test = drawn(context.holdout, "test", MOST_TEST)
    else:
        apart = int(len(real) * TEST_SHARE)
        real, test = real[apart:], real[:apart]
    clean = [[part[k] for k in without_copies(part, test)] for part in (real, synthetic)]
    return clean[0], clean[1], test


def _compare(read: Words, rows: list[Ints], size: int, context: AuditContext, draws: int, limit: float) -> Check:
    asked = _within(read, rows[2])
    sizes = read.sizes[rows[2]]
    arms = [_first_words(read, part, size) for part in rows[:2]]
    table = _costs(read, arms, asked, rows[2])[None]
    drawn = []
    for draw in range(draws):
        context.progress("utility: models of word pairs", 0.0)
        rng = context.rng(NAME, "thin", draw)
        drawn.append(_costs(read, [rng.permutation(arm)[: round(KEPT * len(arm))] for arm in arms], asked, rows[2]))
    thinned = np.stack(drawn)
    by_real, by_synthetic, by_both = (float(table[..., k].mean() / sizes.mean()) for k in range(3))
    extra = estimate(table[..., [1, 0, 3]], context.rng(NAME), _extra, thinned=thinned[..., [1, 0, 3]])
    added = estimate(table[..., [0, 2, 3]], context.rng(NAME, "both"), _extra, thinned=thinned[..., [0, 2, 3]])
    low, high = extra.interval
    told = (
        f"A model of {size:,} words of synthetic text needs {by_synthetic:.2f} bits for a word of {extra.n:,} real "
        f"test texts, a model of as many words of real text {by_real:.2f}: {extra.value:+.2f} bits ({low:+.2f} to "
        f"{high:+.2f}); one of both together {by_both:.2f}."
    )
    return Check(
        NAME,
        extra.value,
        interval=extra.interval,
        n=extra.n,
        gate=f"at most {limit:g} bits a word more than as much real text",
        sentence=told,
        advice="make texts more like the real ones: words and phrases of the real rows in the prompt, or as examples",
        method=(
            "word pairs interpolated with words (Witten and Bell 1991), one vocabulary for all arms, as many words in "
            f"each; {ERRORS.format(draws=draws)}"
        ),
        details={
            "bits_real": by_real, "bits_synthetic": by_synthetic, "bits_both": by_both, "words": size,
            "saved_by_adding": added.told(),
        },
        test=extra.beyond(limit, limit + SEEN),
    )  # fmt: skip


def _first_words(read: Words, rows: Ints, size: int) -> Ints:
    """The first of these texts, so that they have `size` words together (they lie in random order)."""
    return rows[: int(np.searchsorted(np.cumsum(read.sizes[rows]), size)) + 1]


def _costs(read: Words, arms: list[Ints], asked: Ints, texts: Ints) -> Floats:
    """Bits of each test text by models of real texts, of synthetic ones and of both; and its words: [texts, 4]."""
    parts = [_within(read, arm) for arm in arms]
    costs = [_cost(read, part, asked, texts) for part in (*parts, np.concatenate(parts))]
    return np.stack([*costs, read.sizes[texts].astype(np.float64)], axis=1)


def _within(read: Words, rows: Ints) -> Ints:
    """Places of the words of these texts."""
    ends = np.cumsum(read.sizes)
    sizes = read.sizes[rows]
    first = np.repeat((ends - read.sizes)[rows] - (np.cumsum(sizes) - sizes), sizes)
    places: Ints = first + np.arange(int(sizes.sum()))
    return places


def _cost(read: Words, trained: Ints, asked: Ints, texts: Ints) -> Floats:
    """Bits of each test text."""
    model = learn_pairs(read.words[trained], read.before[trained], read.size)
    bits = model.bits(read.words[asked], read.before[asked])
    found: Floats = np.bincount(read.owners[asked] - texts[0], weights=bits, minlength=len(texts)).astype(np.float64)
    return found


def _extra(means: Floats) -> Floats:
    found: Floats = (means[..., 0] - means[..., 1]) / np.maximum(means[..., 2], 1e-12)
    return found
