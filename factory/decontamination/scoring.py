"""A batch against several benchmarks: every layer's scores, before any threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.decontamination.index import BenchmarkIndex
from factory.decontamination.ngrams import Batch, GramFinder, GramMatches
from factory.decontamination.pairs import Stretches, cut_stretches, describe_needed, find_candidates, measure
from factory.decontamination.rule import coverage, evidence
from factory.decontamination.spaces import Floats, Reader
from factory.decontamination.texts import Ints


@dataclass(frozen=True, slots=True)
class PairScores:
    """Pairs of a stretch of the data and a unit of the benchmark: arrays of one length."""

    data: Ints
    stretch: Ints
    unit: Ints
    rows: Ints
    coverage: Floats
    characters: Floats


@dataclass(frozen=True, slots=True)
class Scored:
    """What the layers found in a batch, a list entry per benchmark (empty for layers not asked for)."""

    grams: list[GramMatches]
    stretches: Stretches | None
    pairs: list[PairScores]


class Scorer:
    """Several benchmarks, ready to score batches."""

    def __init__(self, indexes: Sequence[BenchmarkIndex], layers: Sequence[str]):
        self.indexes = tuple(indexes)
        self._finder = GramFinder(indexes) if "ngram" in layers else None
        self._with_pairs = "coverage" in layers or "characters" in layers

    def score(self, batch: Batch, *, exclude: Ints | None = None) -> Scored:
        """All layers. `exclude`: for each data row a row of the benchmark that is no candidate (for calibration)."""
        grams = self._finder.find(batch) if self._finder else []
        if not self._with_pairs or not batch.real:
            return Scored(grams, None, [])
        reader = Reader(batch.tokens)
        stretches = cut_stretches(batch.tokens.ends, batch.rows, batch.real, batch.count)
        stems = reader.describe_stems(stretches.spans)
        barred = None if exclude is None else exclude[stretches.data]
        found = [find_candidates(index, stems, barred) for index in self.indexes]
        needed = np.unique(np.concatenate([stretch for stretch, _ in found]))
        described = describe_needed(reader, stretches, needed)
        pairs = []
        for index, (stretch, document) in zip(self.indexes, found, strict=True):
            measured = measure(index, described, np.searchsorted(needed, stretch), document)
            at = needed[measured.stretch]
            rows = index.arrays["unit_rows"][measured.unit].astype(np.int64)
            scores = coverage(measured.features), evidence(measured.features)
            pairs.append(PairScores(stretches.data[at], at, measured.unit, rows, *scores))
        return Scored(grams, stretches, pairs)


def above_background(index: BenchmarkIndex, pairs: PairScores) -> tuple[Floats, Floats]:
    """(coverage, characters), `NOTHING` where other rows of the benchmark resemble the unit as much, nearly."""
    known = index.arrays["unit_coverage"][pairs.unit], index.arrays["unit_characters"][pairs.unit]
    return stand_out(pairs.coverage, known[0], "coverage"), stand_out(pairs.characters, known[1], "characters")


def stand_out(scores: Floats, background: Floats, layer: str) -> Floats:
    """The scores that are above their background by the layer's margin; `NOTHING` in the place of the others."""
    least, margin, most = BACKGROUND[layer]
    needed = np.where(background >= least, np.minimum(background + margin, np.maximum(background, most)), NOTHING)
    return np.where(scores >= needed, scores, np.float32(NOTHING))


NOTHING = -30.0
BACKGROUND = {"coverage": (0.3, 0.15, 0.93), "characters": (-2.5, 0.75, 8.0)}
"""(from where on a background counts, by how much a score must be above it, and where that is enough)."""


def best_pairs(pairs: PairScores, scores: Floats) -> Ints:
    """For each data row that has a pair, its best one: (highest score, then the first row and unit)."""
    order = np.lexsort((pairs.stretch, pairs.unit, pairs.rows, -scores, pairs.data))
    data = pairs.data[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = data[1:] != data[:-1]
    return order[fresh]
