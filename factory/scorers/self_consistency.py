"""Self-consistency: the share of a row's candidates that come to the same answer."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field

from factory.errors import UsageError, nearest
from factory.scorers import Context, Setup, as_text, column, shorten, text_of, traits
from factory.scorers.choices import answer_of
from factory.scorers.voting import How, find_answer, group_answers, key_of
from factory.types import Candidate, Score

NAME = "self_consistency"
MAX_CHARS = 100_000
"""An answer is looked for in so many characters at the end of a text."""


@traits(low=0, high=1)
class SelfConsistency:
    """Share of the row's candidates that come to the same final answer; 0…1, higher is better.

    The answer is read from the column `on`, else from a column that is called as answers are, else from the text, in
    the way `read` says. Numbers are equal as numbers, texts up to case, width, spaces and punctuation around them. Who
    has no answer is missing, and counts among those who do not agree. Fewer than `min_votes` veto. Wang et al. (2023),
    "Self-consistency improves chain of thought reasoning in language models": the majority, unweighted.
    """

    def __init__(
        self,
        *,
        on: str | None = None,
        read: How = "auto",
        min_votes: Annotated[int, Field(ge=1)] | None = None,
    ):
        self.on = on
        self.read: How = read
        self.min_votes = min_votes

    def bind(self, setup: Setup) -> None:
        """Raises UsageError for a column that is not there, or where nobody could agree."""
        if setup.candidates < 2:
            raise UsageError(
                f"`{NAME}` counts the candidates of a row that agree, and a row has one",
                "write `generate: {candidates: 8}`",
            )
        if self.min_votes is not None and self.min_votes > setup.candidates:
            raise UsageError(
                f"`min_votes: {self.min_votes}` of `{NAME}`: a row has {setup.candidates} candidates",
                "ask for fewer votes, or for more candidates",
            )
        if self.on is not None and setup.columns and self.on not in setup.columns:
            raise UsageError(f"`on: {self.on}` names no output column", nearest(self.on, setup.columns))

    def __call__(self, candidates: list[Candidate], context: Context) -> list[Score]:
        said = [self._answer(candidate) for candidate in candidates]
        keys = [None if answer is None else key_of(answer, context.language) for answer in said]
        groups = group_answers(keys)
        votes = Counter(group for group in groups if group is not None)
        shared = {"answers": float(len(votes)), "read": float(votes.total())}
        scores = []
        for group in groups:
            own = 0 if group is None else votes[group]
            told = (
                f"{own} of {len(candidates)} say {shorten(said[group] or '')!r}" if group is not None else "no answer"
            )
            value = None if group is None else own / len(candidates)
            parts = {"votes": float(own), **shared}
            few = self.min_votes is not None and own < self.min_votes
            scores.append(Score(NAME, value, f"{told}, at least {self.min_votes} must" if few else told, few, parts))
        return scores

    def _answer(self, candidate: Candidate) -> str | None:
        fields = candidate.fields or {}
        if self.on is not None:
            return find_answer(as_text(column(candidate, self.on))[-MAX_CHARS:], self.read, column=True)
        if len(fields) > 1 and (given := answer_of(fields)) is not None:
            return find_answer(as_text(given)[-MAX_CHARS:], self.read, column=True)
        return find_answer(text_of(candidate, None)[-MAX_CHARS:], self.read)
