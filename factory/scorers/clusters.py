"""Clusters of free answers: how large a share of a row's candidates says the like."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from factory.errors import UsageError, nearest
from factory.scorers import Context, Setup, Traits, shorten, text_of
from factory.scorers.linkage import Linkage, entropy, link
from factory.scorers.similarity import embed
from factory.scorers.words import words
from factory.types import Candidate, Score
from factory.vectors import cosine_matrix

NAME = "clusters"
BY_WORDS, BY_MEANING = 0.5, 0.85
"""Thresholds where the recipe has none: of shared trigrams, and of cosines."""
MAX_CHARS = 10_000
"""The beginning of an answer that is compared by its trigrams."""
GRAM = 3


class Clusters:
    """Share of the row's candidates in the same cluster of like answers; 0…1, higher is better.

    With `model` answers are alike by the cosine of its embeddings, without by the character trigrams that they share.
    Two clusters become one while they are at least `threshold` alike, by `linkage`: `complete` (any two members) or
    `average`. Parts: the cluster's `size`, how many `clusters`, and the row's semantic `entropy` in nats, 0 where all
    agree: Kuhn et al. (2023), "Semantic uncertainty", in the discrete form of Farquhar et al. (2024).
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        threshold: Annotated[float, Field(gt=0, le=1)] | None = None,
        linkage: Linkage = "complete",
        on: str | None = None,
    ):
        self.model, self.on = model, on
        self.linkage: Linkage = linkage
        self.threshold = threshold if threshold is not None else BY_WORDS if model is None else BY_MEANING

    @property
    def traits(self) -> Traits:
        """A rule without a model; with one, an expense, and a model that can embed."""
        if self.model is None:
            return Traits(low=0, high=1)
        return Traits(low=0, high=1, expense="model", task="embed")

    def bind(self, setup: Setup) -> None:
        """Raises UsageError for a column that is not there, or where there is nothing to cluster."""
        if setup.candidates < 2:
            raise UsageError(
                f"`{NAME}` compares the candidates of a row, and a row has one", "write `generate: {candidates: 8}`"
            )
        if self.on is not None and setup.columns and self.on not in setup.columns:
            raise UsageError(f"`on: {self.on}` names no output column", nearest(self.on, setup.columns))

    def calls(self, n: int) -> int:
        """One for each different text, at most."""
        return 0 if self.model is None else n

    async def __call__(self, candidates: list[Candidate], context: Context) -> list[Score]:
        texts = [text_of(candidate, self.on) for candidate in candidates]
        different = list(dict.fromkeys(text for text in texts if text.strip()))
        missing = dict.fromkeys((text for text in texts if not text.strip()), "the answer is empty")
        if self.model is None:
            similar: Any = share_of_grams(different)
        else:
            vectors = await embed(context, self.model, different)
            missing |= _unusable(vectors)
            different = [text for text in different if text not in missing]
            similar = cosine_matrix([vectors[text] for text in different])
        return self._settle(texts, different, missing, similar)

    def _settle(
        self, texts: Sequence[str], different: Sequence[str], missing: dict[str, str], similar: Any
    ) -> list[Score]:
        """The scores. Each different text is one item, its copies with it: they count, but link nobody."""
        labels = dict(zip(different, link(similar, self.threshold, self.linkage), strict=True))
        sizes = Counter(labels[text] for text in texts if text in labels)
        shared = {"clusters": float(len(sizes)), "entropy": entropy(list(sizes.values()))}
        scores = []
        for text in texts:
            if text not in labels:
                scores.append(Score(NAME, None, missing[text], parts={"size": 0.0, **shared}))
                continue
            size = sizes[labels[text]]
            told = f"{size} of {len(texts)} are like {shorten(different[labels[text]])!r}"
            scores.append(Score(NAME, size / len(texts), told, parts={"size": float(size), **shared}))
        return scores


def _unusable(vectors: dict[str, Any]) -> dict[str, str]:
    """Texts without a vector, or with one of another length than most, and why."""
    lengths = Counter(len(vector) for vector in vectors.values() if not isinstance(vector, str))
    usual = max(lengths, key=lambda length: (lengths[length], -length), default=0)
    found = {}
    for text, vector in vectors.items():
        if isinstance(vector, str):
            found[text] = vector
        elif len(vector) != usual:
            found[text] = f"its embedding has {len(vector)} numbers, others have {usual}"
    return found


def grams_of(text: str) -> frozenset[str]:
    """The different character trigrams of a text's words, in one case and width, a space around each word."""
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARS])
    found = " ".join(words(plain)) or " ".join(plain.split())
    padded = f" {found} "
    return frozenset(padded[place : place + GRAM] for place in range(len(padded) - GRAM + 1))


def share_of_grams(texts: Sequence[str]) -> list[list[float]]:
    """Jaccard similarity of every two texts' trigrams, 0…1."""
    sets = [grams_of(text) for text in texts]
    found = [[1.0] * len(sets) for _ in sets]
    for place, one in enumerate(sets):
        for other in range(place):
            shared = len(one & sets[other])
            found[place][other] = found[other][place] = shared / (len(one) + len(sets[other]) - shared or 1)
    return found
