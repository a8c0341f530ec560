"""Thresholds of one benchmark: at most a given share of clean texts may hit.

Clean texts are the neutral corpus, and the benchmark's own rows, each against all the others (templated benchmarks
resemble themselves). What other rows of the benchmark score against a unit is the unit's background: a data row must
stand out from it. Rows that still have a near copy in their own benchmark are set aside: no threshold tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.decontamination.batches import ROWS, read_batch
from factory.decontamination.fields import ANSWER, CHOICES, QUESTION, Fields
from factory.decontamination.index import BenchmarkIndex
from factory.decontamination.scoring import NOTHING, Scorer, stand_out
from factory.decontamination.texts import Ints
from factory.decontamination.types import LAYERS, RATES

SHARES = {"ngram": 0.4, "coverage": 0.2, "characters": 0.8}
"""How the false positives that are allowed are shared among the layers; what the first find the last often find too."""
GRAM_LIMITS = {0.0001: (6.0, 12.0), 0.001: (4.0, 6.0), 0.01: (2.0, 4.0)}
LOWEST = {"coverage": {0.0001: 0.6, 0.001: 0.52, 0.01: 0.42}, "characters": {0.0001: 0.0, 0.001: -1.5, 0.01: -3.0}}
HIGHEST = {"coverage": 0.9, "characters": 12.0}
"""No calibration goes below or above these: small benchmarks have few rows to learn from."""
OWN = 2.0
"""Clean data is taken to be half of the benchmark's kind, half neutral, so own rows may hit twice as often."""
COPIED, NEAR_COPY = 12.0, 0.35
"""Runs of 8 words, and coverage, from which a row counts as a near copy of another row of its benchmark."""
_TAIL = 0.02


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Thresholds[layer][rate], each unit's background in both scores, and facts on how they came about."""

    thresholds: dict[str, Any]
    arrays: dict[str, Any]
    facts: dict[str, Any]


def calibrate(index: BenchmarkIndex, fields: Fields, neutral: Sequence[str]) -> Calibrated:
    """Scores the benchmark's own rows and the neutral texts, and reads thresholds off the tails."""
    questions, rows = own_texts(fields)
    answers = _answers(fields)
    data = [{"question": text, "answer": answers.get(int(row), "")} for text, row in zip(questions, rows, strict=True)]
    own = _score_all(index, data, rows)
    ground = _score_all(index, [{"text": text} for text in neutral], None)
    units = len(index.arrays["unit_rows"])
    halves = [own.data % 2 == half for half in (0, 1)]
    seen = [_background(own, chosen, units) for chosen in halves]
    backgrounds = np.maximum(seen[0], seen[1])
    copied = (own.grams >= COPIED) | (_best(own.scores[0], own.data, len(questions)) >= NEAR_COPY)
    tails: dict[str, tuple[Any, Any]] = {}
    for column, layer in enumerate(("coverage", "characters")):
        # a row is judged by a background that it had no part in
        known = np.where(halves[0], seen[1][column][own.unit], seen[0][column][own.unit])
        mine = _best(stand_out(own.scores[column], known, layer), own.data, len(questions))
        theirs = stand_out(ground.scores[column], backgrounds[column][ground.unit], layer)
        tails[layer] = mine, _best(theirs, ground.data, len(neutral))
    thresholds: dict[str, dict[str, float]] = {layer: {} for layer in LAYERS}
    floors = dict.fromkeys(tails, NOTHING)
    for rate in reversed(RATES):
        low, high = GRAM_LIMITS[rate]
        clean = np.concatenate([own.grams[~copied], ground.grams])
        steps = [step for step in np.arange(low, high) if np.mean(clean >= step) <= rate * SHARES["ngram"]]
        thresholds["ngram"][str(rate)] = float(steps[0] if steps else high)
        for layer, (mine, theirs) in tails.items():
            least = rate * SHARES[layer]
            kept = mine[~copied]
            needed = max(
                tail_threshold(kept, max(OWN * least, 0.5 / max(len(kept), 1))),
                tail_threshold(theirs, least),
            )
            floors[layer] = max(floors[layer], float(np.clip(needed, LOWEST[layer][rate], HIGHEST[layer])))
            thresholds[layer][str(rate)] = floors[layer]
    facts = {"own_texts": len(questions), "near_copies": int(copied.sum()), "neutral_texts": len(neutral)}
    return Calibrated(thresholds, {"unit_coverage": backgrounds[0], "unit_characters": backgrounds[1]}, facts)


def _background(scores: _Scores, chosen: Any, units: int) -> Any:
    """float32[2, units]: the best score that each unit gets from the chosen pairs, of other rows."""
    found = np.full((2, units), NOTHING, dtype=np.float32)
    for column in (0, 1):
        np.maximum.at(found[column], scores.unit[chosen], scores.scores[column][chosen])
    return found


def _best(scores: Any, data: Ints, count: int) -> Any:
    best = np.full(count, NOTHING)
    np.maximum.at(best, data, scores)
    return best


def _answers(fields: Fields) -> dict[int, str]:
    """The first answer of each row that has one."""
    answers: dict[int, str] = {}
    for text, row, kind in zip(fields.texts, fields.rows.tolist(), fields.kinds.tolist(), strict=True):
        if kind == ANSWER:
            answers.setdefault(row, text)
    return answers


def own_texts(fields: Fields) -> tuple[list[str], Ints]:
    """Each row's question, with its choices, as a text; and the rows."""
    texts: dict[int, str] = {}
    for text, row, kind in zip(fields.texts, fields.rows.tolist(), fields.kinds.tolist(), strict=True):
        if kind == QUESTION and row not in texts:
            texts[row] = text
        elif kind == CHOICES:
            texts[row] = f"{texts[row]}\n{text}" if row in texts else text
    return list(texts.values()), np.array(list(texts), dtype=np.int64)


def tail_threshold(scores: Any, rate: float) -> float:
    """The score that a share `rate` of clean texts exceeds.

    Read off where at least 10 texts lie above it; else an exponential tail from the 2 % highest scores, its scale from
    their median excess, which single near copies do not move.
    """
    if not len(scores):
        return NOTHING
    if rate * len(scores) >= 10:
        return float(np.quantile(scores, 1 - rate)) + 1e-6
    tail = max(_TAIL, rate, min(20 / len(scores), 0.5))
    start = float(np.quantile(scores, 1 - tail))
    excess = scores[scores > start] - start
    if not len(excess) or start <= NOTHING:
        return float(scores.max()) + 1e-6
    scale = float(np.median(excess)) / np.log(2)
    return float(start + scale * np.log(tail / rate) + 1e-6)


@dataclass(frozen=True, slots=True)
class _Scores:
    """Every text's n-gram evidence, and of every pair its text, unit and both scores."""

    grams: Any
    data: Ints
    unit: Ints
    scores: tuple[Any, Any]


def _score_all(index: BenchmarkIndex, data: Sequence[Mapping[str, str]], rows: Ints | None) -> _Scores:
    """Each text against all rows but its own."""
    scorer = Scorer([index], LAYERS)
    evidence = np.zeros(len(data))
    parts: list[tuple[Any, ...]] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))]
    for first in range(0, len(data), ROWS):
        batch = read_batch(data[first : first + ROWS], code=index.code)
        excluded = None if rows is None else rows[first : first + ROWS]
        scored = scorer.score(batch, exclude=excluded)
        grams = scored.grams[0]
        other = np.ones(len(grams.data), dtype=bool) if excluded is None else grams.rows != excluded[grams.data]
        np.maximum.at(evidence, first + grams.data[other], grams.evidence[other])
        parts += [(pairs.data + first, pairs.unit, pairs.coverage, pairs.characters) for pairs in scored.pairs]
    which, unit, coverage, characters = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Scores(evidence, which, unit, (coverage, characters))
