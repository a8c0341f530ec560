"""`novelty`: rows out that are too much like an accepted one; the first row wins."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from factory.errors import UsageError
from factory.filters import Columns, Drop, Item, as_columns, text_of
from factory.filters.rouge import RougeIndex
from factory.minhash import Fingerprint, Index, shingles


class _Match(Protocol):
    @property
    def place(self) -> int: ...
    @property
    def similarity(self) -> float: ...


class _Known(Protocol):
    """Texts in the order of `add`. `match`: the earliest whose similarity is above the bound."""

    def prepare(self, text: str) -> Any: ...
    def match(self, prepared: Any) -> _Match | None: ...
    def add(self, prepared: Any) -> int: ...


class _ByShingles(Index):
    """`Index` with a bound in place of a threshold, from texts."""

    def __init__(self, bound: float):
        super().__init__(math.nextafter(bound, 1))

    def prepare(self, text: str) -> Fingerprint:
        return self.fingerprint(shingles(text))


@dataclass(frozen=True, slots=True)
class _Last:
    item: Item
    prepared: Any


class Novelty:
    """Drops texts whose similarity to an accepted row is above a bound; the first in row order wins.

    `by`: `rouge_l`, the F1 over the longest common subsequence of words, as Self-Instruct did with 0.7 (Wang et al.
    2023), or `minhash`, the Jaccard similarity that `dedup` uses. `on`: the column or columns that count (default: all
    of the recipe's output, joined). `max_similarity`: what is still novel, 0 … below 1 (0.1 at least for `minhash`).
    """

    def __init__(
        self,
        *,
        on: str | list[str] | None = None,
        max_similarity: float = 0.7,
        by: Literal["rouge_l", "minhash"] = "rouge_l",
    ):
        least = 0.1 if by == "minhash" else 0.0
        if not least <= max_similarity < 1:
            told = f"`max_similarity` is {max_similarity:g}, outside {least:g} … below 1"
            raise UsageError(told, "0.7 is usual with `rouge_l`")
        self._on = on
        self._by = by
        self._columns: tuple[str, ...] | None = None
        self._known: _Known = _ByShingles(max_similarity) if by == "minhash" else RougeIndex(max_similarity)
        self._rows = array("q")
        self._candidates = array("q")
        self._last: _Last | None = None

    def bind(self, columns: Columns) -> None:
        self._columns = columns.output if self._on is None else as_columns("on", self._on, columns)

    def check(self, item: Item) -> Drop | None:
        match = self._known.match(self._prepare(item))
        if match is None:
            return None
        row, candidate = self._rows[match.place], self._candidates[match.place]
        whom = f"candidate {candidate} of this row" if row == item.row else f"row {row}"
        return Drop("dedup", f"not novel: {_NAMES[self._by]} {match.similarity:.2f} with {whom}", str(row))

    def add(self, item: Item) -> None:
        self._known.add(self._prepare(item))
        self._rows.append(item.row)
        self._candidates.append(item.index)

    def _prepare(self, item: Item) -> Any:
        """`add` follows `check` of the same item: the work is done once."""
        if self._last is None or self._last.item is not item:
            columns = item.fields if self._columns is None else self._columns
            text = "\n".join(text_of(item.fields.get(column)) for column in columns)
            self._last = _Last(item, self._known.prepare(text))
        return self._last.prepared


_NAMES = {"rouge_l": "ROUGE-L", "minhash": "Jaccard similarity"}
