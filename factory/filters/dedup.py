"""`dedup`: near-duplicates out, by exact Jaccard similarity over shingles (`factory.minhash`); the first row wins."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass

from factory.filters import Columns, Drop, Item, as_columns, text_of
from factory.minhash import Fingerprint, Index, normalise, shingles_of_normalised


@dataclass(frozen=True, slots=True)
class _Prepared:
    item: Item
    digest: bytes
    fingerprint: Fingerprint


class Dedup:
    """Drops texts that are near-duplicates of an accepted row; the first in row order wins.

    `on`: the column or columns that count (default: all of the recipe's output, joined). `threshold`: Jaccard
    similarity, 0.1 … 1, from which on a text is a duplicate. Equal texts after normalisation are found by their hash.
    """

    def __init__(self, *, on: str | list[str] | None = None, threshold: float = 0.8):
        self._index = Index(threshold)
        self._on = on
        self._columns: tuple[str, ...] | None = None
        self._exact: dict[bytes, int] = {}
        self._rows = array("q")
        self._candidates = array("q")
        self._last: _Prepared | None = None

    def bind(self, columns: Columns) -> None:
        self._columns = columns.output if self._on is None else as_columns("on", self._on, columns)

    def check(self, item: Item) -> Drop | None:
        prepared = self._prepare(item)
        place = self._exact.get(prepared.digest)
        if place is not None:
            return self._drop(item, place, "same text as", "")
        match = self._index.match(prepared.fingerprint)
        if match is None:
            return None
        return self._drop(item, match.place, "near-duplicate of", f" (similarity {match.similarity:.2f})")

    def add(self, item: Item) -> None:
        prepared = self._prepare(item)
        place = self._index.add(prepared.fingerprint)
        self._exact.setdefault(prepared.digest, place)
        self._rows.append(item.row)
        self._candidates.append(item.index)

    def _prepare(self, item: Item) -> _Prepared:
        """`add` follows `check` of the same item: the work is done once."""
        if self._last is None or self._last.item is not item:
            columns = item.fields if self._columns is None else self._columns
            text = normalise("\n".join(text_of(item.fields.get(column)) for column in columns))
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self._last = _Prepared(item, digest, self._index.fingerprint(shingles_of_normalised(text)))
        return self._last

    def _drop(self, item: Item, place: int, what: str, how: str) -> Drop:
        row, candidate = self._rows[place], self._candidates[place]
        whom = f"candidate {candidate} of this row" if row == item.row else f"row {row}"
        return Drop("dedup", f"{what} {whom}{how}", str(row))
