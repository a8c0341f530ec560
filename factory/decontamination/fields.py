"""A test set as arrays: its fields (question, choices, answer, turns) as words, row after row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factory.decontamination.texts import Ints, Tokens, strip_comments, tokenise
from factory.decontamination.types import TestRow, TestSet
from factory.errors import UsageError

QUESTION, CHOICES, ANSWER, TURN = 0, 1, 2, 3
"""Kinds of fields; TURN + k is turn k + 2 of the conversation."""


@dataclass(frozen=True, slots=True)
class Fields:
    """`tokens` of all fields; each field's benchmark row (its place, not its number) and kind: int64[fields]."""

    tokens: Tokens
    texts: tuple[str, ...]
    rows: Ints
    kinds: Ints


def part_name(kind: int) -> str:
    """The name of a field's kind in a hit."""
    return ("question", "choices", "answer")[kind] if kind < TURN else f"turn {kind - TURN + 2}"


def read_fields(test_set: TestSet) -> Fields:
    """The fields of every row that are not empty. Raises UsageError for a test set without a text, or wrong types."""
    texts: list[str] = []
    rows: list[int] = []
    kinds: list[int] = []
    for place, row in enumerate(test_set.rows):
        for kind, text in _fields_of(row, test_set):
            texts.append(text)
            rows.append(place)
            kinds.append(kind)
    if not texts:
        raise UsageError(
            f"the test set `{test_set.name}` has no text: {len(test_set.rows)} rows, every question and answer empty",
            "check which columns hold the question and the answer",
        )
    return Fields(tokenise(texts), tuple(texts), np.array(rows), np.array(kinds))


def _fields_of(row: TestRow, test_set: TestSet) -> list[tuple[int, str]]:
    turns, question = row.turns, row.question
    if turns and (not question or turns[0] == question):  # all turns, the first among them
        question, turns = turns[0], turns[1:]
    named: list[tuple[int, str]] = [(QUESTION, question)]
    if row.choices:
        named.append((CHOICES, "\n".join(_check(choice, row, test_set) for choice in row.choices)))
    if row.answer not in row.choices:
        named.append((ANSWER, row.answer))
    named += [(TURN + k, turn) for k, turn in enumerate(turns)]
    named = [(kind, _check(text, row, test_set)) for kind, text in named]
    if test_set.code:
        stripped = [(kind, strip_comments(text)) for kind, text in named]
        named += [pair for pair, whole in zip(stripped, named, strict=True) if pair != whole]
    return [(kind, text) for kind, text in named if text.strip()]


def _check(text: object, row: TestRow, test_set: TestSet) -> str:
    if not isinstance(text, str):
        raise UsageError(
            f"test set `{test_set.name}`, row {row.row}: a field is {type(text).__name__}, not a text",
            "questions, answers, choices and turns are texts",
        )
    return text
