"""From a test set to its index."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from factory.decontamination.calibrating import calibrate, own_texts
from factory.decontamination.copies import copy_arrays
from factory.decontamination.fields import read_fields
from factory.decontamination.index import BenchmarkIndex, Neutral, gram_arrays, spans_of_texts, unit_arrays
from factory.decontamination.spaces import Reader
from factory.decontamination.texts import tokenise
from factory.decontamination.types import TestSet

QUESTION_CHARACTERS = 300
"""Of each question the index keeps so much, for reports."""


def build_index(
    test_set: TestSet,
    *,
    neutral: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> BenchmarkIndex:
    """The index of a test set, with calibrated thresholds. The same input gives the same index.

    `neutral`: clean texts to calibrate on (the shipped corpus). `progress` is told what is being done. Raises
    UsageError for a test set without text or with values that are no texts.
    """
    tell = progress or (lambda _: None)
    if neutral is None:
        from factory.decontamination.neutral import texts

        neutral = texts()
    tell(f"{test_set.name}: reading {len(test_set.rows)} rows")
    fields = read_fields(test_set)
    ground = _read_neutral(neutral)
    tell(f"{test_set.name}: indexing {len(fields.tokens.hashes)} words")
    arrays = gram_arrays(fields, ground.tokens) | unit_arrays(fields, ground, code=test_set.code)
    arrays |= copy_arrays(fields, neutral)
    texts_by_row = dict(zip(*reversed(own_texts(fields)), strict=True))
    questions = [texts_by_row.get(place, "")[:QUESTION_CHARACTERS] for place in range(len(test_set.rows))]
    rows = tuple(row.row for row in test_set.rows)
    index = BenchmarkIndex(test_set.name, test_set.code, rows, arrays, questions=questions)
    tell(f"{test_set.name}: calibrating on {len(texts_by_row)} rows and {len(neutral)} neutral texts")
    found = calibrate(index, fields, neutral)
    return dataclasses.replace(index, arrays=arrays | found.arrays, thresholds=found.thresholds, facts=found.facts)


def _read_neutral(texts: Sequence[str]) -> Neutral:
    tokens = tokenise(texts)
    return Neutral(tokens, Reader(tokens), spans_of_texts(tokens))
