"""Selection within a row: which candidates are eligible, in which order, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from factory.types import Candidate, Score, Scored, Verdict, canonical_json


class Keep(Protocol):
    """What a recipe says of the candidates that stay."""

    @property
    def min_score(self) -> float | None: ...


def select(scored: Sequence[Scored], keep: Keep) -> tuple[tuple[Scored, ...], tuple[Verdict, ...]]:
    """The eligible candidates, best first by (−total, index), and the verdicts on the others.

    Stage `score`: the first veto's reason. Stage `select`: below `min_score`, or the same output as an earlier
    candidate (`duplicate_candidate`). `top_k` is cut later, in curation, where a later candidate may take the place
    of a duplicate.
    """
    eligible: list[Scored] = []
    verdicts: list[Verdict] = []
    seen: dict[str, int] = {}
    for one in sorted(scored, key=lambda one: one.candidate.index):
        candidate = one.candidate
        first_veto = next((given for given in one.scores if given.vetoed), None)
        if first_veto is not None:
            verdicts.append(Verdict(candidate.row, one, False, "score", _veto_reason(first_veto)))
            continue
        key = _output_key(candidate) if len(scored) > 1 else ""
        if key in seen:
            same = f"candidate {seen[key]}"
            verdicts.append(Verdict(candidate.row, one, False, "select", "duplicate_candidate", same))
            continue
        seen[key] = candidate.index
        if keep.min_score is not None and one.total < keep.min_score:
            reason = f"score {one.total:.4g} is below min_score {keep.min_score:g}"
            verdicts.append(Verdict(candidate.row, one, False, "select", reason))
            continue
        eligible.append(one)
    eligible.sort(key=lambda one: (-one.total, one.candidate.index))
    return tuple(eligible), tuple(verdicts)


def _veto_reason(given: Score) -> str:
    if given.value is None and given.reason.startswith("score "):
        return given.reason
    return f"{given.name}: {given.reason}" if given.reason else given.name


def _output_key(candidate: Candidate) -> str:
    """Equal for candidates with the same output: their columns, or the text where it was not parsed."""
    if candidate.fields is None:
        return f"t{candidate.text.strip()}"
    return "f" + canonical_json(candidate.fields)
