"""What goes in and what comes out: the rows of a test set, and hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.errors import UsageError, nearest

SCHEME = "nfkd-words.gram8-5to7.rare5-trigram.char4-tfidf.u16.copies.v2"
"""Names how texts are read, hashed and scored. An index of another scheme is refused."""

LAYERS = ("ngram", "coverage", "characters")
RATES = (0.0001, 0.001, 0.01)
"""The false-positive rates for which an index stores thresholds: shares of clean rows that may hit."""


@dataclass(frozen=True, slots=True)
class TestRow:
    """One row of a test set. `row` is its number there.

    `turns` holds a conversation's turns, with or without the first, which is the question.
    """

    __test__ = False  # the name is no pytest class

    row: int
    question: str
    answer: str = ""
    choices: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class TestSet:
    """A benchmark's rows. `code`: questions and answers are source code, compared without comments too."""

    __test__ = False

    name: str
    rows: Sequence[TestRow]
    code: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A row of the data resembles a row of a benchmark.

    `part` is what leaked: "question", "answer", "choices", "row" (several of them) or "turn 2". `column` is the data's
    field, or several joined by "+". `score` is in 0 … 1, comparable within a layer only; `span` the stretch of the
    field that matches. `gray`: above the loose threshold, under the strict one.
    """

    benchmark: str
    row: int
    part: str
    column: str
    layer: str
    score: float
    span: str
    gray: bool = False


def as_plain(hit: Hit, most: int = 1000) -> dict[str, Any]:
    """A hit as plain data; of a span longer than `most` characters the beginning."""
    return {
        "benchmark": hit.benchmark,
        "benchmark_row": hit.row,
        "part": hit.part,
        "column": hit.column,
        "layer": hit.layer,
        "score": round(hit.score, 4),
        "span": hit.span if len(hit.span) <= most else hit.span[: most - 1] + "…",
    }


def check_layers(layers: Sequence[str]) -> tuple[str, ...]:
    """The layers in the order of the cascade. Raises UsageError for an unknown name or none."""
    for layer in layers:
        if layer not in LAYERS:
            raise UsageError(f"there is no layer `{layer}`", nearest(layer, LAYERS))
    if not layers:
        raise UsageError("no layer is left to look with", nearest("", LAYERS))
    return tuple(layer for layer in LAYERS if layer in layers)
