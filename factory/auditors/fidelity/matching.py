"""Whether the texts of a row belong together: words that two columns share, against those of another row's text."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.relations import Related
from factory.auditors.fidelity.testing import student_test
from factory.auditors.fidelity.words import Words

Floats = NDArray[np.float64]
MOST_PAIRS = 10
FEWEST_ROWS = 60


def match_texts(pair: Pair, words: Words, rng: np.random.Generator, *, limit: float, effect: float) -> list[Related]:
    """For each two text columns: how much likelier a row's second text shares more (rare) words with its first than the
    second text of a row drawn at random does than it shares fewer. 0: texts do not belong together, 1: always."""
    if min(len(pair.dataset), len(pair.reference)) < FEWEST_ROWS:
        return []
    found = []
    for one, two in list(combinations(pair.columns, 2))[:MOST_PAIRS]:
        sides = list(zip(words.of(one), words.of(two), strict=True))
        weights = _weights(sides)
        values = [_belong(first, second, weights, rng) for first, second in sides]
        here, there = (float(side.mean()) for side in values)
        se = math.sqrt(sum(float(side.var(ddof=1)) / len(side) for side in values))
        se = max(se, 1 / min(map(len, values)))
        test = student_test(here - there, se, min(map(len, values)) - 1, limit=limit, effect=effect)
        found.append(Related((one, two), "words in common", here, there, se, test))
    return found


def _weights(sides: list[tuple[Any, Any]]) -> Floats:
    """The squared inverse document frequency of each word, over all texts of both columns."""
    rows = sum(np.bincount(matrix.indices, minlength=matrix.shape[1]) for side in sides for matrix in side)
    total = sum(matrix.shape[0] for side in sides for matrix in side)
    found: Floats = (np.log((1 + total) / (1 + np.asarray(rows))) + 1) ** 2
    return found


def _belong(one: Any, two: Any, weights: Floats, rng: np.random.Generator) -> Floats:
    """1, 0 or −1 for each row: its own second text is more, equally or less alike than another row's."""
    from scipy.sparse import diags

    first, second = _unit(one, weights), _unit(two, weights)
    order = rng.permutation(one.shape[0])
    other = np.empty(len(order), dtype=np.intp)
    other[order] = np.roll(order, 1)
    weighed = first @ diags(weights)
    own = np.asarray(weighed.multiply(second).sum(axis=1)).ravel()
    strange = np.asarray(weighed.multiply(second[other]).sum(axis=1)).ravel()
    gap = own - strange
    found: Floats = np.where(np.abs(gap) <= 1e-12, 0.0, np.sign(gap))
    return found


def _unit(matrix: Any, weights: Floats) -> Any:
    """Which words stand in each row, scaled so that a row's weighted length is 1."""
    from scipy.sparse import csr_matrix, diags

    stands = csr_matrix((np.ones(len(matrix.indices)), matrix.indices, matrix.indptr), shape=matrix.shape)
    lengths = np.sqrt(np.asarray(stands @ weights).ravel())
    return diags(1 / np.maximum(lengths, 1e-12)) @ stands
