"""Novelty: how much of a text is not taken from the row's source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from factory.errors import UsageError
from factory.scorers import Context, as_text, render_template, text_of, traits
from factory.scorers.coded import batches, code_words
from factory.scorers.copying import hits, know, longest_run, suspect, trace
from factory.scorers.words import words
from factory.types import Candidate, Score

NEW = Score("novelty", 1.0)


@traits(low=0, high=1)
class Novelty:
    """The share of the text's runs of `n` words that do not stand in the source; 0…1, higher is newer.

    `source`: a template of the text to compare with, or a list of them; by default all text of the row's source
    (`from:`). `max_run`: more words than that copied at a stretch veto. A text shorter than `n` words is compared as
    one run; without words the score is missing. Case and punctuation do not matter; in scripts without spaces every
    sign is a word.
    """

    def __init__(
        self,
        *,
        source: str | list[str] | None = None,
        n: int = 4,
        max_run: int | None = None,
        on: str | None = None,
    ):
        if n < 1:
            raise UsageError(f"`n` of `novelty` is {n}", "use a number of words ≥ 1, such as 4")
        if max_run is not None and max_run < n:
            raise UsageError(f"`max_run` of `novelty` is {max_run}, below n = {n}", "use max_run ≥ n, or a smaller n")
        self._templates = [source] if isinstance(source, str) else source
        self._n, self._max_run, self._on = n, max_run, on

    def __call__(self, candidates: Sequence[Candidate], context: Context) -> list[Score]:
        texts = self._read_source(context)
        traced = trace(texts, self._n)
        scores = []
        for part in batches([text_of(candidate, self._on) for candidate in candidates]):
            coded = code_words(part)
            for text, amount, copies in zip(part, coded.amounts(), suspect(coded, traced), strict=True):
                scores.append(self._score(text, texts) if copies or amount < self._n else NEW)
        return scores

    def _score(self, text: str, texts: tuple[str, ...]) -> Score:
        found = words(text)
        if not found:
            return Score("novelty", None, "no words")
        known = know(texts, min(self._n, len(found)))
        marks = hits(found, known)
        if not marks:
            return NEW
        copied = marks.count(1)
        value = 1 - copied / len(marks)
        if self._max_run is not None and (run := longest_run(found, marks, known)) > self._max_run:
            return Score(
                "novelty", value, f"{run} words at a stretch stand in the source, at most {self._max_run} wanted", True
            )
        return Score("novelty", value, f"{copied} of {len(marks)} runs of {known.n} words stand in the source")

    def _read_source(self, context: Context) -> tuple[str, ...]:
        if self._templates is not None:
            return tuple(render_template(context, template) for template in self._templates)
        source = context.variation.source
        if source is None:
            raise UsageError(
                "`novelty` has no source to compare with",
                'give the recipe `from:`, or name a text: `novelty: {source: "{{ … }}"}`',
            )
        return tuple(_texts_in(source))


def _texts_in(value: object) -> list[str]:
    """Every text in a source row, nested ones too; numbers are no text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts_in(inner)]
    if isinstance(value, list | tuple):
        return (
            [as_text(value)]
            if all(isinstance(item, str) for item in value)
            else [text for inner in value for text in _texts_in(inner)]
        )
    return []
