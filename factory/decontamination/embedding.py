"""The embedding layer: questions of a test set as vectors, and from which cosine on a text is taken for one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.decontamination.types import RATES
from factory.errors import UsageError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

FORMAT = 1
DIGITS = 5
"""Decimal digits of a cosine that decide: what matrix products give behind them hangs on the machine."""
BLOCK = 1 << 22
"""Cosines at a time: 16 MB."""


@dataclass(frozen=True, slots=True)
class QuestionVectors:
    """The questions of a test set under one model.

    `vectors`: float32 [n, d], of length 1 (0 for an empty text). `rows`: int64 [n], the test set's rows they belong to.
    `thresholds`: by false-positive rate, the cosine from which on a text counts as one of the questions.
    """

    name: str
    model: str
    vectors: Floats
    rows: Ints
    thresholds: Mapping[float, float]

    def nearest(self, asked: Floats) -> tuple[Ints, Floats]:
        """(row, cosine) of the question nearest to each vector of `asked`, float32 [m, d]; the first of equals.

        Raises UsageError for vectors of another length.
        """
        if asked.shape[1] != self.vectors.shape[1]:
            told = f"vectors of `{self.model}` had {self.vectors.shape[1]} numbers, now they have {asked.shape[1]}"
            raise UsageError(f"`{self.name}`: {told}", f"factory benchmarks index {self.name} --model … --rebuild")
        places, cosines = nearest(units(asked), self.vectors)
        return self.rows[places], cosines

    def save(self, folder: Path) -> None:
        """Write into a new folder."""
        folder.mkdir(parents=True)
        np.save(folder / "vectors.npy", self.vectors)
        np.save(folder / "rows.npy", self.rows)
        facts = {"format": FORMAT, "name": self.name, "model": self.model, "thresholds": dict(self.thresholds)}
        (folder / "vectors.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def open_vectors(folder: Path) -> QuestionVectors:
    """What `save` wrote, memory-mapped. Raises UsageError for a damaged folder."""
    try:
        facts: dict[str, Any] = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError("written by another version")
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        rows = np.load(folder / "rows.npy", mmap_mode="r")
        if vectors.ndim != 2 or len(vectors) != len(rows):
            raise ValueError(f"{vectors.shape} vectors for {rows.shape} rows")
        thresholds = {float(rate): float(value) for rate, value in facts["thresholds"].items()}
        return QuestionVectors(str(facts["name"]), str(facts["model"]), vectors, rows, thresholds)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{folder}: damaged vectors of a test set ({error})", "delete the folder, and index again"
        ) from error


def build_vectors(name: str, model: str, rows: Ints, vectors: Floats, neutral: Floats) -> QuestionVectors:
    """Unit vectors, with thresholds from how near the set's questions are to each other and neutral texts to them.

    A threshold is the larger of two quantiles: of the cosines of neutral texts to their nearest question, and of those
    of the questions to their nearest other one. Neither sample reaches into the far tail, and a test set that holds a
    question twice would push a plain quantile to 1: beyond the 99th percentile the tail is taken to fall off as it does
    from the 90th to the 99th, exponentially.
    """
    made = units(vectors)
    _, among = nearest(made, made, apart=True)
    _, aside = nearest(units(neutral), made)
    thresholds = {rate: round(min(1.0, max(_tail(among, rate), _tail(aside, rate))), DIGITS) for rate in RATES}
    return QuestionVectors(name, model, made, np.asarray(rows, dtype=np.int64), thresholds)


def _tail(cosines: Floats, rate: float) -> float:
    """The value that a share `rate` exceeds; beyond 1 % by an exponential tail."""
    if not len(cosines):
        return -1.0
    ninety, top = (float(np.quantile(cosines, share)) for share in (0.9, 0.99))
    return top + (top - ninety) * float(np.log10(0.01 / rate))


def units(vectors: Floats) -> Floats:
    """Each vector at length 1; zeros stay zeros."""
    found = np.asarray(vectors, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))
    return (found / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


def nearest(asked: Floats, known: Floats, *, apart: bool = False) -> tuple[Ints, Floats]:
    """(place in `known`, cosine rounded to `DIGITS`) of the nearest to each of `asked`; the first of equals.

    `apart`: the two are the same vectors, and none is its own nearest.
    """
    places, cosines = np.zeros(len(asked), dtype=np.int64), np.full(len(asked), -1, dtype=np.float32)
    if not len(known):
        return places, cosines
    step = max(1, BLOCK // len(known))
    for first in range(0, len(asked), step):
        block = np.round(asked[first : first + step] @ known.T, DIGITS)
        if apart:
            here = np.arange(len(block))
            block[here, first + here] = -1
        best = block.argmax(axis=1)
        places[first : first + step] = best
        cosines[first : first + step] = block[np.arange(len(block)), best]
    return places, cosines
