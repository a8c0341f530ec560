"""`decontaminate`: rows that overlap test sets out, or flagged, by the cascade of `factory.decontamination`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from factory.decontamination import LAYERS, RATES, BenchmarkIndex, Cascade, Hit, TestRow
from factory.decontamination.columns import row_texts
from factory.decontamination.embedding import QuestionVectors
from factory.decontamination.questions import nearest_questions
from factory.decontamination.types import as_plain, check_layers
from factory.errors import UsageError
from factory.filters import Columns, Drop, Item, as_columns
from factory.filters.decontaminate_judge import ASKS, SCHEMA, Judged, judge_hit, prompt_bytes, show_row
from factory.scorers import Context
from factory.test_sets import index_of, read_test_set
from factory.test_sets.vectors import vectors_of
from factory.together import together
from factory.types import Flag, Message, Task, canonical_json
from factory.vectors import decode

Layer = Literal["ngram", "coverage", "characters"]


class Decontaminate:
    """Drops rows that overlap the rows of test sets; with `mode: flag` they stay, and `meta.flags` says why.

    `against`: a known test set, a Hub name, a file, a mapping with `path` and a field map, or a list of these. `on`:
    the columns that are compared, each by itself and together (default: all of the recipe's output). `layers`: those of
    the cascade that look. `fpr`: the share of clean rows that may fall at each test set's calibrated thresholds:
    0.0001, 0.001 or 0.01. `model`: a role that embeds, to find a question in other words; its vectors of the test sets
    are made before, by `factory benchmarks index … --model`. `judge`: a role that decides where a row is over the
    threshold for 0.01 and under the one for `fpr`. What matched stands in the rejects as JSON.
    """

    schema = SCHEMA
    asked_share = 0.02
    """The share of candidates, about, that are in between, which the judge is asked of."""

    def __init__(
        self,
        *,
        against: str | dict[str, Any] | list[str | dict[str, Any]],
        on: str | list[str] | None = None,
        mode: Literal["drop", "flag"] = "drop",
        layers: list[Layer] | None = None,
        fpr: float = 0.001,
        model: str | None = None,
        judge: str | None = None,
    ):
        listed = list(against) if isinstance(against, list) else [against] if against else []
        if not listed:
            raise UsageError("`against` names no test set", "see `factory benchmarks list`, or give a file")
        if fpr not in RATES:
            raise UsageError(f"`fpr: {fpr}` is none of the calibrated rates", ", ".join(map(str, RATES)))
        if model is not None and model == judge:
            raise UsageError(f"`model` and `judge` are both `{model}`", "one embeds, the other writes: two roles")
        self.flags = mode == "flag"
        self.tasks: Mapping[str, Task] = {
            **({} if model is None else {model: "embed"}),
            **({} if judge is None else {judge: "generate"}),
        }
        self._against, self._on = listed, on
        self._layers = check_layers(LAYERS if layers is None else layers)
        self._fpr, self._model, self._judge = fpr, model, judge
        self._columns: tuple[str, ...] = ()
        self._cascade: Cascade | None = None
        self._vectors: list[QuestionVectors] = []
        self._rows: dict[str, Mapping[int, TestRow]] = {}
        self._found: Counter[str] = Counter()
        self._unjudged = 0

    def bind(self, columns: Columns) -> None:
        """Open the indexes of the test sets; one that is not built yet is built and kept. Raises UsageError."""
        self._columns = columns.output if self._on is None else as_columns("on", self._on, columns)
        indexes = [index_of(spec, columns.base) for spec in self._against]
        names = [index.name for index in indexes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"`against` names `{twice[0]}` twice", "give one of the two another `name`")
        self._cascade = Cascade(indexes, layers=self._layers, fpr=self._fpr)
        if self._model is not None:
            name = columns.models.get(self._model, self._model)
            self._vectors = [vectors_of(spec, columns.base, name) for spec in self._against]
        if self._judge is not None:
            sets = [read_test_set(spec, columns.base) for spec in self._against]
            self._rows = {one.name: {row.row: row for row in one.rows} for one in sets}

    @property
    def calls(self) -> int:
        """Questions at most for one candidate: a text of each column is embedded, and each hit is judged."""
        asked = len(self._columns) * (self._model is not None)
        return asked + ASKS * len(self._against) * (self._judge is not None)

    @property
    def prompt_bytes(self) -> int:
        """UTF-8 bytes that the judge's prompt adds to a question, with the longest row of a test set."""
        rows = (row for known in self._rows.values() for row in known.values())
        longest = max((len(show_row(row).encode("utf-8", "replace")) for row in rows), default=0)
        return prompt_bytes() + longest if self._judge is not None else 0

    @property
    def facts(self) -> dict[str, Any]:
        """What was compared with what, and what was found, by test set."""
        if self._cascade is None:
            return {}
        compared = ", ".join(f"{index.name} ({len(index):,} rows, {_digest(index)})" for index in self._cascade.indexes)
        layers = [*self._layers, *(["embedding"] if self._model else []), *(["judge"] if self._judge else [])]
        found = {index.name: self._found[index.name] for index in self._cascade.indexes}
        told = {"compared with": compared, "layers": ", ".join(layers), "false positives aimed at": self._fpr}
        unjudged = {"fell because the judge gave no verdict": self._unjudged} if self._unjudged else {}
        return {**told, "candidates found": found, **unjudged}

    async def prepare(self, item: Item, context: Context) -> Sequence[Judged] | Drop:
        """The row's hits: those of the cascade, those by meaning, and the gray ones that the judge does not clear."""
        texts = self._texts(item)
        hits = self._look(texts, gray=self._judge is not None)
        if self._model is not None:
            refused = await self._add_by_meaning(texts, hits, item, context)
            if refused is not None:
                return refused
        firm = [hit for hit in hits if not hit.gray]
        if firm or self._judge is None:
            return [Judged(hit) for hit in firm]
        shown = "\n\n".join(texts.values())
        judge, rows = self._judge, self._rows
        asked = [judge_hit(judge, hit, rows[hit.benchmark][hit.row], shown, item.index, context) for hit in hits]
        return [judged for judged in await together(asked) if judged is not None]

    def check(self, item: Item) -> Drop | Flag | None:
        if isinstance(item.prepared, Drop):
            return item.prepared
        judged = item.prepared if self.tasks else [Judged(hit) for hit in self._look(self._texts(item))]
        if not judged:
            return None
        # A verdict goes before a missing one.
        best = min(judged, key=lambda one: bool(one.why))
        self._found.update({one.hit.benchmark for one in judged})
        self._unjudged += bool(best.why)
        reason = tell(best.hit) + (f"; the judge gave no verdict: {best.why}" if best.why else "")
        told = reason, canonical_json(as_plain(best.hit, 300))
        return Flag("decontaminate", *told) if self.flags else Drop("decontaminate", *told)

    def add(self, item: Item) -> None:
        """A row is compared with test sets alone."""

    def _texts(self, item: Item) -> dict[str, str]:
        return row_texts(item.fields, self._columns)

    def _look(self, texts: Mapping[str, str], *, gray: bool = False) -> list[Hit]:
        if self._cascade is None:
            raise UsageError("this filter has opened no test set yet", "call `bind(Columns(…))` first")
        return self._cascade.check_many([texts], gray=gray)[0]

    async def _add_by_meaning(
        self, texts: Mapping[str, str], hits: list[Hit], item: Item, context: Context
    ) -> Drop | None:
        """Add hits of test sets that have no firm one yet; a text that the model refuses leaves the row unknown."""
        assert self._model is not None
        said = [(column, text) for column, text in texts.items() if text.strip()]
        model, index = self._model, item.index
        asked = [context.ask(model, (Message("user", text),), index=index, task="embed") for _, text in said]
        vectors = []
        for stored in await together(asked):
            if stored.response is None:
                return Drop("decontaminate", f"no embedding to compare ({stored.outcome}: {stored.message})")
            vectors.append(decode(stored.response.choices[0].text))
        for one in self._vectors if said else ():
            found = nearest_questions(one, np.stack(vectors), self._fpr)
            best = max((hit for hit in found if hit is not None), key=lambda hit: hit.score, default=None)
            if best is not None and all(known.gray or known.benchmark != one.name for known in hits):
                column, text = said[found.index(best)]
                hits.append(replace(best, column=column, span=text))
        return None


def _digest(index: BenchmarkIndex) -> str:
    """Eight hex digits of what an index was made of."""
    return hashlib.blake2b(np.asarray(index.arrays["words"]).tobytes(), digest_size=4).hexdigest()


def tell(hit: Hit) -> str:
    """A hit as the reason of a verdict."""
    return f"overlaps {hit.benchmark}: the {hit.part} of row {hit.row} ({hit.layer}, score {hit.score:.2f})"
