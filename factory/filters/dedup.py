"""`dedup`: rows out that repeat an accepted one, or a row of other data; the first row wins (`factory.duplicates`)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from factory.duplicates import Duplicate, Duplicates, Reference, conversation_text, open_reference
from factory.errors import UsageError
from factory.filters import Columns, Drop, Item, as_columns
from factory.filters.keying import Key
from factory.types import Message, Task
from factory.vectors import decode

if TYPE_CHECKING:
    from factory.scorers import Context

_TOLD = {
    "exact": "same text as",
    "near": "near-duplicate of",
    "paraphrase": "paraphrase of",
    "semantic": "same meaning as",
}


@dataclass(frozen=True, slots=True)
class Embedded:
    """What `prepare` found for a candidate: the embedding of its text, or why there is none."""

    vector: NDArray[np.float32] | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Last:
    item: Item
    batch: Any
    scopes: list[str] | None
    fault: str = ""


class Dedup:
    """Drops texts that repeat an accepted row; the first in row order wins.

    `on`: the column or columns that count (default: all of the recipe's output, joined); one may hold conversations.
    Equal texts (case and white space aside) always fall. `by` says what else does: `shingles`, near-duplicates by the
    Jaccard similarity of word 5-grams; `characters`, paraphrases by the cosine of character 4-grams; `embeddings`,
    texts of one meaning by the cosine of the embeddings of `model`, a role. `threshold`: the similarity from which on
    (default 0.8, 0.7, 0.9). `within`: a column, an axis or a template; only rows of one value are compared. `against`:
    runs, data files and indexes, whose rows are known from the start.

    Memory holds what is known of every accepted row and of those of `against`: about 1 KB for 50 words by shingles,
    4 KB by characters, 4 to 6 bytes a dimension by embeddings. An index of `against` stays on disk.
    """

    def __init__(
        self,
        *,
        on: str | list[str] | None = None,
        threshold: float | None = None,
        by: Literal["shingles", "characters", "embeddings"] = "shingles",
        model: str | None = None,
        within: str | None = None,
        against: str | list[str] | None = None,
    ):
        if by == "embeddings" and model is None:
            raise UsageError("`by: embeddings` without `model`", "name a role of `models` that embeds texts")
        if by != "embeddings" and model is not None:
            raise UsageError(f"`model` is for `by: embeddings`, and `by` is `{by}`", "remove it, or change `by`")
        self.tasks: Mapping[str, Task] = {} if model is None else {model: "embed"}
        self._known: Duplicates | None = Duplicates(threshold, by)
        self._by = by
        self._threshold = self._known.threshold
        self._on = on
        self._within = None if within is None else Key(within, "within")
        self._against = (against,) if isinstance(against, str) else tuple(against or ())
        self._references: list[Reference] = []
        self._columns: tuple[str, ...] | None = None
        self._rows = array("q")
        self._candidates = array("q")
        self._last: _Last | None = None

    def bind(self, columns: Columns) -> None:
        self._columns = columns.output if self._on is None else as_columns("on", self._on, columns)
        if self._within is not None:
            self._within.bind(columns)
        for entry in self._against:
            self._references.append(open_reference(entry, self._columns, columns.base))
        if self._references:
            scope_of = None if self._within is None else self._within.of
            Duplicates.check_references(self._references, self._threshold, self._by, scope_of)
            self._known = None  # until the first row: nobody waits for it who only looks at the recipe

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was compared, for the card: a reference that changes later changes what an extension finds."""
        told: dict[str, Any] = {"by": self._by, "threshold": self._threshold}
        if self._references:
            known = [{"name": name} for name in self._against] if self._known is None else self._known.facts
            told["against"] = known
        return told

    async def prepare(self, item: Item, context: Context) -> Embedded:
        """The embedding of the text; an empty one needs none."""
        text = self._text(item)
        if not text.strip():
            return Embedded(None)
        (role,) = self.tasks
        stored = await context.ask(role, (Message("user", text),), index=item.index, task="embed")
        if stored.response is None:
            return Embedded(None, f"no embedding by `{role}` ({stored.outcome}: {stored.message})")
        try:
            return Embedded(decode(stored.response.choices[0].text))
        except ValueError as error:
            return Embedded(None, f"no embedding by `{role}`: {error}")

    def check(self, item: Item) -> Drop | None:
        last = self._look(item)
        if last.fault:
            return Drop("dedup", last.fault)
        found = self._duplicates().match_prepared(last.batch, last.scopes)[0]
        return None if found is None else self._drop(item, found)

    def add(self, item: Item) -> None:
        last = self._look(item)
        self._duplicates().keep_prepared(last.batch, last.scopes)
        self._rows.append(item.row)
        self._candidates.append(item.index)

    def _duplicates(self) -> Duplicates:
        """What is known; references are read when the first candidate comes."""
        if self._known is None:
            scope_of = None if self._within is None else self._within.of
            self._known = Duplicates(self._threshold, self._by, self._references, scope_of=scope_of)
        return self._known

    def _look(self, item: Item) -> _Last:
        """`add` follows `check` of the same item: the work is done once."""
        if self._last is None or self._last.item is not item:
            embedded = item.prepared if isinstance(item.prepared, Embedded) else Embedded(None)
            scopes = None if self._within is None else [self._within.of(item.fields, item.scope)]
            if embedded.fault:
                self._last = _Last(item, None, scopes, embedded.fault)
            else:
                vectors = [embedded.vector] if self._by == "embeddings" else None
                self._last = _Last(item, self._duplicates().prepare([self._text(item)], vectors), scopes)
        return self._last

    def _text(self, item: Item) -> str:
        columns = item.fields if self._columns is None else self._columns
        return "\n".join(conversation_text(item.fields.get(column)) for column in columns)

    def _drop(self, item: Item, found: Duplicate) -> Drop:
        alike = "" if found.kind == "exact" else f" (similarity {found.similarity:.2f})"
        if found.place is None:
            whom, matched = f"row {found.row} of {found.source}", f"{found.source}:{found.row}"
        else:
            row, candidate = self._rows[found.place], self._candidates[found.place]
            whom = f"candidate {candidate} of this row" if row == item.row else f"row {row}"
            matched = str(row)
        return Drop("dedup", f"{_TOLD[found.kind]} {whom}{alike}", matched)
