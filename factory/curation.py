"""Curation: verdicts in row order. The verdict on a row depends only on that row and on those before it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.errors import FactoryError
from factory.filters import Drop, Filter, Item, prepared_for
from factory.types import STAGES, Flag, RowOutcome, Scored, Verdict

EXAMPLES = 3
"""Rejects of each stage that are kept as examples."""
WARN_AFTER = 200
"""Rows after which `early_warning` judges the acceptance."""
REASONS = 100
"""Different reasons counted for a stage; further ones are counted together."""

_NUMBER = re.compile(r"(?<!\w)\d+(?:[.,]\d+)*(?!\w)")


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a row: (rank, candidate) of the accepted ones, and a verdict for every candidate.

    `flags`: what filters say of accepted ones, by rank.
    """

    row: int
    accepted: tuple[tuple[int, Scored], ...]
    verdicts: tuple[Verdict, ...]
    flags: Mapping[int, tuple[Flag, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Early:
    """What the first rows showed: rows accepted among them, the stage that rejected most, and an example of it."""

    accepted: int
    rejected: Counter[str]
    examples: dict[str, Verdict]


class Curation:
    """Takes finished rows in order of their index and decides which candidates the dataset gets.

    Each row's candidates are offered best first to every filter in turn; `top_k` at most are accepted. With `fallback`
    a lower one replaces one that fell; without it only the best `top_k` are offered. `target` rows end it (None: no
    end); what comes later is `unused`, whatever it is, and changes no count but that of `unused`.
    """

    def __init__(self, filters: Sequence[Filter], target: int | None, fallback: bool, top_k: int):
        self._filters = tuple(filters)
        self.target = target
        self.fallback = fallback
        self.top_k = top_k
        self.accepted = 0
        self.committed = 0
        self._next_row = 0
        self.flagged: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, list[Verdict]] = {}
        self._early: _Early | None = None

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self.target is not None and self.accepted >= self.target

    @property
    def acceptance(self) -> float:
        """Dataset rows per committed row up to the target; 0 before the first."""
        return self.accepted / self.committed if self.committed else 0.0

    @property
    def p_hat(self) -> float:
        """Dataset rows that a further row is expected to give: (accepted + 1) / (committed + 1)."""
        return (self.accepted + 1) / (self.committed + 1)

    def commit(self, outcome: RowOutcome) -> Committed:
        """The verdicts on a row. Rows must come in order: 0, 1, 2, …"""
        row = outcome.row
        if row != self._next_row:
            message = f"row {row} was committed where row {self._next_row} was due"
            raise FactoryError(message, "this is a bug of the factory: please report it", code="internal")
        self._next_row += 1
        if self.reached:
            committed = Committed(row, (), _unused(outcome))
        else:
            committed = self._judge(outcome)
            self.committed += 1
        self._count(committed.verdicts)
        if self.committed == WARN_AFTER and self._early is None:
            first = {stage: verdicts[0] for stage, verdicts in self._examples.items()}
            self._early = _Early(self.accepted, self._rejected.copy(), first)
        return committed

    def rejected_by_stage(self) -> dict[str, int]:
        """Rejected candidates by stage, in the order of a row's walk; stages without any are left out."""
        return {stage: self._rejected[stage] for stage in STAGES if self._rejected[stage]}

    def top_reasons(self, count: int) -> list[tuple[str, str, int]]:
        """The most frequent (stage, reason, candidates), `unused` aside. Numbers in reasons are folded into `#`."""
        order = {stage: place for place, stage in enumerate(STAGES)}
        lines = [(stage, reason, number) for (stage, reason), number in self._reasons.items() if stage != "unused"]
        return sorted(lines, key=lambda line: (-line[2], order[line[0]], line[1]))[:count]

    def examples(self, stage: str) -> tuple[Verdict, ...]:
        """The first rejects of a stage."""
        return tuple(self._examples.get(stage, ()))

    def early_warning(self, max_planned: int | None) -> str | None:
        """After the first 200 rows: what to expect when their acceptance cannot reach the target, else None.

        Names the stage that rejects most, with an example.
        """
        early = self._early
        if early is None or self.target is None or max_planned is None:
            return None
        expected = early.accepted * max_planned // WARN_AFTER
        if expected >= self.target:
            return None
        text = (
            f"the first {WARN_AFTER} planned rows gave {early.accepted} of the dataset: at this rate all "
            f"{max_planned} planned rows (max_planned) give about {expected} of the {self.target} wanted"
        )
        if not early.rejected:
            return text
        stage, number = max(early.rejected.items(), key=lambda item: (item[1], -STAGES.index(item[0])))
        example = early.examples[stage]
        share = f"{number} of {early.rejected.total()} rejects"
        shown = f"row {example.row}: {example.reason[:200]}"
        return (
            f"{text}; most fall at `{stage}` ({share}), such as {shown}. Loosen that, vary more, or raise max_planned"
        )

    def _judge(self, outcome: RowOutcome) -> Committed:
        accepted: list[tuple[int, Scored]] = []
        flags: dict[int, tuple[Flag, ...]] = {}
        verdicts = list(outcome.rejected)
        lowest = math.inf
        for offered, scored in enumerate(outcome.ranked):
            if len(accepted) == self.top_k or (offered >= self.top_k and not self.fallback):
                verdicts.append(Verdict(outcome.row, scored, False, "select", _passed_over(self.top_k, scored, lowest)))
            elif self.reached:
                verdicts.append(_unused_verdict(outcome.row, scored))
            else:
                verdict = self._offer(outcome, scored)
                verdicts.append(verdict)
                if verdict.accepted:
                    if verdict.flags:
                        flags[len(accepted)] = verdict.flags
                        self.flagged.update({flag.stage for flag in verdict.flags})
                    accepted.append((len(accepted), scored))
                    self.accepted += 1
            lowest = min(lowest, scored.total)
        return Committed(outcome.row, tuple(accepted), tuple(verdicts), flags)

    def _offer(self, outcome: RowOutcome, scored: Scored) -> Verdict:
        """One candidate before all filters; the first that drops it decides."""
        if not self._filters:
            return Verdict(outcome.row, scored, True)
        item, prepared = item_of(outcome, scored), outcome.prepared
        items = [prepared_for(item, number, prepared) if prepared else item for number in range(len(self._filters))]
        flags: list[Flag] = []
        for one, seen in zip(self._filters, items, strict=True):
            found = one.check(seen)
            if isinstance(found, Drop):
                return Verdict(outcome.row, scored, False, found.stage, found.reason, found.matched)
            if found is not None:
                flags.append(found)
        for one, seen in zip(self._filters, items, strict=True):
            one.add(seen)
        return Verdict(outcome.row, scored, True, flags=tuple(flags))

    def _count(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.accepted:
                continue
            stage = verdict.stage
            self._rejected[stage] += 1
            examples = self._examples.setdefault(stage, [])
            if len(examples) < EXAMPLES:
                examples.append(verdict)
            key = (stage, _NUMBER.sub("#", verdict.reason)[:160])
            if key not in self._reasons:
                if self._kinds[stage] >= REASONS:
                    key = (stage, "other reasons")
                self._kinds[stage] += 1
            self._reasons[key] += 1


def item_of(outcome: RowOutcome, scored: Scored) -> Item:
    """A candidate as filters see it."""
    candidate = scored.candidate
    fields = {**outcome.columns, **(candidate.fields or {})}
    return Item(outcome.row, candidate.index, fields, _scope(outcome))


def _scope(outcome: RowOutcome) -> dict[str, Any]:
    """What the last step's prompt could name: axes, `row`, `source`, and what earlier steps kept."""
    variation = outcome.variation
    source = {} if variation.source is None else {"source": variation.source}
    return {**variation.values, "row": outcome.row, **source, **outcome.context}


def _passed_over(top_k: int, scored: Scored, lowest: float) -> str:
    """Why a candidate was not wanted. One with a higher total than one before it stands back by `keep: diversity`."""
    told = f"not among the best {top_k}"
    return f"{told}: too much like them" if scored.total > lowest else told


def _unused_verdict(row: int, scored: Scored) -> Verdict:
    return Verdict(row, scored, False, "unused", "made past the target")


def _unused(outcome: RowOutcome) -> tuple[Verdict, ...]:
    every = [*(verdict.scored for verdict in outcome.rejected), *outcome.ranked]
    return tuple(_unused_verdict(outcome.row, scored) for scored in every)
