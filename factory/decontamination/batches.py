"""Rows of data as a batch of words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from factory.decontamination.ngrams import Batch
from factory.decontamination.texts import strip_comments, tokenise
from factory.errors import UsageError

ROWS = 512
BYTES = 200_000
"""A batch holds so many rows, and about so many characters."""


def read_rows(rows: Sequence[Mapping[str, str]], *, code: bool) -> Iterator[tuple[int, Batch]]:
    """(number of the first row, batch) of all rows. Raises UsageError for a value that is no text."""
    first, size = 0, 0
    for place, row in enumerate(rows):
        size += sum(len(text) if isinstance(text, str) else 0 for text in row.values())
        if size > BYTES or place + 1 - first == ROWS or place + 1 == len(rows):
            yield first, read_batch(rows[first : place + 1], first, code=code)
            first, size = place + 1, 0


def read_batch(rows: Sequence[Mapping[str, str]], number: int = 0, *, code: bool) -> Batch:
    """The texts of some rows; `code`: source code is looked at without its comments as well."""
    texts: list[str] = []
    owners: list[int] = []
    columns: list[str] = []
    for place, row in enumerate(rows):
        fields: Mapping[str, object] = row  # callers are not always typed
        for column, text in fields.items():
            if not isinstance(text, str):
                if text is None:
                    continue
                raise UsageError(
                    f"row {number + place}: `{column}` is {type(text).__name__}, not a text",
                    "give the text columns only, or join a conversation's turns to one text",
                )
            texts.append(text)
            owners.append(place)
            columns.append(column)
    real = len(texts)
    if code:
        for i in range(real):
            stripped = strip_comments(texts[i])
            if stripped is not texts[i]:
                texts.append(stripped)
                owners.append(owners[i])
                columns.append(columns[i])
    return Batch(tokenise(texts), tuple(texts), np.array(owners, dtype=np.int64), tuple(columns), len(rows), real)
