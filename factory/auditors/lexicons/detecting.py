"""In which language rows are, as far as lexicons need to know: told on a sample, then row by row where it is mixed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE = 300
LETTERS = 400
"""Of each text, so many characters are read."""
FEWEST = 25
"""Letters below which nobody can tell; such texts are read together."""
ALL = 0.9
MOSTLY = 0.5
_NO_LETTERS = re.compile(r"[\W\d_]+")


@dataclass(frozen=True, eq=False)
class Spoken:
    """The language chosen, its share in the sample, the most frequent other one, and its rows (None: all of them).

    `language` None: too few rows are in any of the languages that were offered.
    """

    language: str | None
    share: float
    other: str
    rows: NDArray[np.bool_] | None = None


def spoken(texts: Sequence[str], offered: Sequence[str]) -> Spoken:
    """In which of the languages `offered` most rows are.

    From a share of .9 in an evenly spread sample of 300 rows on all rows count; from .5 on those that are in it (rows
    too short to tell among them); below, none.
    """
    places = np.unique(np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(np.intp)).tolist()
    labels = _labels([texts[place] for place in places])
    if not labels:
        return Spoken(offered[0] if offered else None, 1.0, "")
    counts: dict[str, float] = {}
    for label, weight in labels:
        counts[label] = counts.get(label, 0.0) + weight
    total = sum(counts.values())
    ordered = sorted(counts, key=lambda code: (-counts[code], code))
    best = next((code for code in ordered if code in offered), None)
    share = counts[best] / total if best else 0.0
    other = next((code for code in ordered if code != best), "")
    if best is None or share < MOSTLY:
        return Spoken(None, share, other)
    if share >= ALL:
        return Spoken(best, share, other)
    found = _likeliest([_letters(text) for text in texts])
    return Spoken(best, share, other, np.array([label in (None, best) for label in found], dtype=np.bool_))


def _letters(text: str) -> str:
    return _NO_LETTERS.sub(" ", text[: 2 * LETTERS]).strip()[:LETTERS]


def _labels(texts: Sequence[str]) -> list[tuple[str, float]]:
    """The language of each text that is long enough, and of the short ones read together, with how many rows it is."""
    samples = [_letters(text) for text in texts]
    found = [(label, 1.0) for label in _likeliest(samples) if label is not None]
    short = [sample for sample in samples if 0 < len(sample) < FEWEST]
    joined = " ".join(short)[: 10 * LETTERS]
    if joined and len(joined) >= FEWEST:
        label = _likeliest([joined])[0]
        if label is not None:
            found.append((label, float(len(short))))
    return found


def _likeliest(samples: Sequence[str]) -> list[str | None]:
    """The likeliest language of each text, None for one that is too short to tell."""
    from factory.scorers.language_model import encode, model, probabilities

    found: list[str | None] = [None] * len(samples)
    places = [place for place, sample in enumerate(samples) if len(sample) >= FEWEST]
    if places:
        labels = model().labels
        best = probabilities([encode(samples[place]) for place in places]).argmax(axis=1).tolist()
        for place, column in zip(places, best, strict=True):
            found[place] = labels[column]
    return found
