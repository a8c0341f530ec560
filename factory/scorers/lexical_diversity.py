"""Lexical diversity: how many different words a text uses, whatever its length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from factory.errors import UsageError
from factory.scorers import Context, text_of, traits
from factory.scorers.coded import Coded, batches, code_words
from factory.types import Candidate, Score

NO_WORDS = Score("lexical_diversity", None, "no words")
MOST = (1 << 14) - 1
"""Words that are looked at at once; 50 bits of a word's code are left beside its place."""
APART = np.uint64(0xD6E8FEB86659FD93)


def moving_average_ratio(found: Sequence[str], window: int) -> float:
    """The mean share of different words over every run of `window` words; over all of them where there are fewer.

    MATTR (Covington and McFall 2010, Cutting the Gordian knot: the moving-average type-token ratio). One pass: a
    window lacks as many types as it has words that stand in it before, so each pair of neighbouring occurrences of a
    word costs every window that holds both. `found` has at least one word.
    """
    if len(found) <= window:
        return len(set(found)) / len(found)
    last: dict[str, int] = {}
    lost, end = 0, len(found) - window
    for place, word in enumerate(found):
        if word in last:
            before = last[word]
            if place - before < window:
                if before > end:
                    before = end
                lost += before + 1 if place < window else before - place + window
        last[word] = place
    looked = (end + 1) * window
    return (looked - lost) / looked


def ratios(coded: Coded, window: int) -> list[float]:
    """The moving-average ratio of each text, worked out for all at once; 0 for one without words."""
    amounts = coded.amounts()
    if len(coded.codes) > MOST:
        split = [[coded.word(place) for place in range(start, end)] for start, end in pairwise(coded.bounds)]
        return [moving_average_ratio(found, window) if found else 0.0 for found in split]
    # Sorted by word, then by place: neighbours of one word are its occurrences that follow each other.
    keys = coded.codes + coded.owners.view(np.uint64) * APART
    keys &= ~np.uint64(MOST)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    again = (keys[1:] ^ keys[:-1]) <= MOST
    before, place = ((side[again] & np.uint64(MOST)).view(np.int64) for side in (keys[:-1], keys[1:]))
    owner = coded.owners.take(place)
    start = np.array(coded.bounds).take(owner)
    amount = np.array(amounts).take(owner)
    size = np.minimum(amount, window)
    first, last = place - start - size + 1, amount - size
    lost = np.minimum(before - start, last) - np.maximum(first, 0) + 1
    lost[first > before - start] = 0
    lacking = np.bincount(owner, weights=lost, minlength=len(amounts)).tolist()
    looked = [(amount - min(amount, window) + 1) * min(amount, window) for amount in amounts]
    return [(every - missing) / every if every else 0.0 for missing, every in zip(lacking, looked, strict=True)]


@traits(low=0, high=1)
def lexical_diversity(
    candidates: Sequence[Candidate], context: Context, *, window: int = 50, on: str | None = None
) -> list[Score]:
    """The mean share of different words in runs of `window` words, 0…1, higher is more diverse; missing without words.

    The moving-average type-token ratio, which does not fall with the text's length. A text of fewer words has the
    plain ratio of different words to words, so short answers come out higher: compare answers of like length, or take
    a smaller window. English prose lies around 0.7 to 0.85 at 50 words.
    """
    if window < 2:
        raise UsageError(f"`window` of `lexical_diversity` is {window}", "use a number of words ≥ 2, such as 50")
    scores = []
    for part in batches([text_of(candidate, on) for candidate in candidates]):
        coded = code_words(part)
        for ratio, amount in zip(ratios(coded, window), coded.amounts(), strict=True):
            if amount > window:
                scores.append(Score("lexical_diversity", ratio))
            elif amount:
                scores.append(Score("lexical_diversity", ratio, f"{amount} words"))
            else:
                scores.append(NO_WORDS)
    return scores
