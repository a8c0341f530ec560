"""Preference pairs: of each row's candidates the best that was accepted, and one that is worse.

A pair hangs on its row alone (and, where lengths are balanced, on the pairs before it), so extension moves none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from factory.curation import Committed
from factory.recipe.preference import PreferenceConfig
from factory.scorers import as_text
from factory.types import Candidate, Scored, Verdict

STAGES = ("score", "select")
"""Where a candidate may have fallen that serves as the worse one. What fell to a filter may be good, or must not be
published; what could not be parsed is no answer."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`margin`: the difference of the totals; None where a veto kept the worse one from all its scores."""

    row: int
    chosen: Scored
    rejected: Scored
    margin: float | None
    reason: str


@dataclass(slots=True)
class Pairing:
    """Chooses a pair for one row after the other, and counts the rows without one by reason."""

    config: PreferenceConfig
    pairs: int = 0
    without: dict[str, int] = field(default_factory=dict)
    longer: int = 0
    """Characters that the chosen ones of all pairs so far are longer by than the rejected ones."""

    def choose(self, committed: Committed) -> Pair | None:
        """The row's pair, or None where it has none: nothing was accepted, or nothing is worse by enough."""
        if not committed.accepted:
            return None
        pair = self._find(committed)
        if pair is None:
            return None
        self.pairs += 1
        self.longer += self._lead(pair)
        return pair

    def _find(self, committed: Committed) -> Pair | None:
        _, chosen = committed.accepted[0]
        answer = response_text(chosen.candidate, self.config.response)
        others = [
            one
            for one in _others(committed, chosen, self.config)
            if response_text(one.rejected.candidate, self.config.response) != answer
        ]
        worse = [one for one in others if self._worse_by_enough(one)]
        if not worse:
            self._miss("no other candidate" if not others else "no candidate that is worse by enough")
            return None
        if self.config.length_balanced:
            return min(worse, key=lambda pair: (abs(self.longer + self._lead(pair)), self._order(pair)))
        return min(worse, key=self._order)

    def _worse_by_enough(self, pair: Pair) -> bool:
        """A vetoed one failed a check: it is worse whatever the totals say."""
        if _is_vetoed(pair.rejected):
            return True
        return pair.margin is not None and pair.margin > 0 and pair.margin >= self.config.min_margin

    def _order(self, pair: Pair) -> tuple[bool, float, int]:
        """The pairs by how much is wanted of the worse one: `worst` first the vetoed, `hardest` last."""
        vetoed = _is_vetoed(pair.rejected)
        total, index = pair.rejected.total, pair.rejected.candidate.index
        return (not vetoed, total, index) if self.config.rejected == "worst" else (vetoed, -total, index)

    def _lead(self, pair: Pair) -> int:
        column = self.config.response
        return len(response_text(pair.chosen.candidate, column)) - len(response_text(pair.rejected.candidate, column))

    def _miss(self, reason: str) -> None:
        self.without[reason] = self.without.get(reason, 0) + 1


def response_text(candidate: Candidate, column: str | None) -> str:
    """What the pair shows of a candidate: one output column, or its whole text."""
    return candidate.text if column is None else as_text((candidate.fields or {}).get(column))


def _others(committed: Committed, chosen: Scored, config: PreferenceConfig) -> Iterator[Pair]:
    """The row's other candidates that may stand against the chosen one."""
    for _, scored in committed.accepted[1:]:
        yield Pair(committed.row, chosen, scored, chosen.total - scored.total, "a lower score")
    step = chosen.candidate.step
    for verdict in committed.verdicts:
        scored = verdict.scored
        if verdict.accepted or verdict.stage not in STAGES or scored.candidate.step != step:
            continue
        if verdict.reason == "duplicate_candidate" or not _admitted(verdict, config):
            continue
        yield Pair(committed.row, chosen, scored, _margin(chosen, scored), verdict.reason)


def _is_vetoed(scored: Scored) -> bool:
    return any(score.vetoed for score in scored.scores)


def _admitted(verdict: Verdict, config: PreferenceConfig) -> bool:
    """Whether every veto of the candidate is one that a published example may have. A missing score proves nothing."""
    vetoes = [score for score in verdict.scored.scores if score.vetoed]
    return all(score.value is not None and config.admits(_plain(score.name)) for score in vetoes)


def _plain(name: str) -> str:
    """The scorer's own name: `length` of `length_2`."""
    head, _, tail = name.rpartition("_")
    return head if head and tail.isdigit() else name


def _margin(chosen: Scored, other: Scored) -> float | None:
    """The difference of the totals, where both were made of the same scores."""
    return chosen.total - other.total if _valued(chosen) == _valued(other) else None


def _valued(scored: Scored) -> set[str]:
    return {score.name for score in scored.scores if score.value is not None}
