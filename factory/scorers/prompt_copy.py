"""Copies of the prompt: how much of an answer is the prompt's own words, few-shot examples included."""

from __future__ import annotations

from collections.abc import Sequence

from factory.errors import UsageError
from factory.scorers import Context, render_template, text_of, traits
from factory.scorers.coded import batches, code_words
from factory.scorers.copying import Known, covered, hits, know, longest_run, suspect, trace
from factory.scorers.words import words
from factory.types import Candidate, Score

OWN = Score("prompt_copy", 1.0)
SHORT = Score("prompt_copy", 1.0, "too short to tell")


@traits(low=0, high=1)
class PromptCopy:
    """1 − the share of the answer's words that stand in the prompt in runs of `n` or more; 0…1, higher is better.

    All messages of the rendered prompt count, so that an example copied into the answer is found, while a topic, a
    name or a label of fewer than `n` words is nobody's copy. `ignore`: templates of texts that the answer may repeat
    (a passage that it is to quote). `max_run`: more words than that copied at a stretch veto. In an
    answer of fewer than `n` words nobody can tell, and the value is 1.
    """

    def __init__(
        self,
        *,
        n: int = 8,
        max_run: int | None = None,
        ignore: str | list[str] | None = None,
        on: str | None = None,
    ):
        if n < 2:
            raise UsageError(f"`n` of `prompt_copy` is {n}", "use a number of words ≥ 2, such as 8")
        if max_run is not None and max_run < n:
            raise UsageError(
                f"`max_run` of `prompt_copy` is {max_run}, below n = {n}", "use max_run ≥ n, or a smaller n"
            )
        self._ignore = [ignore] if isinstance(ignore, str) else ignore or []
        self._n, self._max_run, self._on = n, max_run, on

    def __call__(self, candidates: Sequence[Candidate], context: Context) -> list[Score]:
        prompt = tuple(message.content for message in context.prompt.messages)
        traced = trace(prompt, self._n)
        scores = []
        for part in batches([text_of(candidate, self._on) for candidate in candidates]):
            coded = code_words(part)
            for text, amount, copies in zip(part, coded.amounts(), suspect(coded, traced), strict=True):
                if amount < self._n:
                    scores.append(SHORT)
                else:
                    scores.append(self._score(text, self._read_prompt(prompt, context)) if copies else OWN)
        return scores

    def _score(self, text: str, known: Known) -> Score:
        found = words(text)
        marks = hits(found, known)
        if not marks:
            return OWN
        copied = covered(marks, known.n)
        value = 1 - copied / len(found)
        if self._max_run is not None and (run := longest_run(found, marks, known)) > self._max_run:
            return Score(
                "prompt_copy",
                value,
                f"{run} words at a stretch stand in the prompt, at most {self._max_run} wanted",
                True,
            )
        return Score("prompt_copy", value, f"{copied} of {len(found)} words stand in the prompt")

    def _read_prompt(self, prompt: tuple[str, ...], context: Context) -> Known:
        """The prompt's runs of n words, without those that may be repeated."""
        known = know(prompt, self._n)
        if not self._ignore:
            return known
        allowed = know(tuple(render_template(context, template) for template in self._ignore), self._n)
        return Known(known.n, known.texts, known.vocabulary, known.runs - allowed.runs)
