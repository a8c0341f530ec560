"""Selection within a row: which candidates are eligible, in which order, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from factory.errors import FactoryError
from factory.scorers import Context, text_of
from factory.scoring.diversity import compare, spread_out
from factory.together import together
from factory.types import Candidate, Message, Score, Scored, Verdict, canonical_json
from factory.vectors import cosine_matrix, decode


class Keep(Protocol):
    """What a recipe says of the candidates that stay."""

    @property
    def min_score(self) -> float | None: ...


class Diversity(Protocol):
    """What a recipe says of the order by diversity; see `factory.recipe.keeping`."""

    @property
    def weight(self) -> float: ...
    @property
    def on(self) -> str | None: ...
    @property
    def by(self) -> str: ...
    @property
    def model(self) -> str | None: ...


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


async def diversify(
    ranked: Sequence[Scored], diversity: Diversity | None, context: Context
) -> tuple[tuple[Scored, ...], tuple[Verdict, ...]]:
    """The eligible candidates in the order of maximal marginal relevance; totals stay what they are.

    With a model the texts are embedded, by one journaled call each; a candidate whose text the model refuses falls at
    stage `select`. Of fewer than three the order is known without looking: nothing is asked.
    """
    if diversity is None or len(ranked) < 3:
        return tuple(ranked), ()
    verdicts: list[Verdict] = []
    if diversity.model is None:
        alike = compare([text_of(one.candidate, diversity.on) for one in ranked], diversity.by)
    else:
        ranked, alike, verdicts = await _embed(ranked, diversity, diversity.model, context)
    by_index = sorted(range(len(ranked)), key=lambda k: ranked[k].candidate.index)  # so that ties go to the index
    totals = [ranked[k].total for k in by_index]
    order = spread_out(totals, [[alike[i][j] for j in by_index] for i in by_index], diversity.weight)
    return tuple(ranked[by_index[k]] for k in order), tuple(verdicts)


async def _embed(
    ranked: Sequence[Scored], diversity: Diversity, role: str, context: Context
) -> tuple[list[Scored], list[list[float]], list[Verdict]]:
    """The candidates that have an embedding, their cosines (negative ones as 0), and verdicts on the others."""
    texts = [text_of(one.candidate, diversity.on) for one in ranked]
    asked = [
        context.ask(role, (Message("user", text),), index=one.candidate.index, task="embed")
        for one, text in zip(ranked, texts, strict=True)
    ]
    kept, vectors, verdicts = [], [], []
    for one, stored in zip(ranked, await together(asked), strict=True):
        if stored.response is None:
            reason = f"no embedding for `keep: diversity` ({stored.outcome}: {stored.message})"
            verdicts.append(Verdict(one.candidate.row, one, False, "select", reason))
            continue
        kept.append(one)
        vectors.append(stored.response.choices[0].text)
    try:
        cosines = cosine_matrix([decode(text) for text in vectors])
    except ValueError as error:
        told = f"row {ranked[0].candidate.row}: the embeddings of `{role}` cannot be compared: {error}"
        raise FactoryError(told, "`keep: diversity` needs a model whose vectors all have one length") from error
    return kept, [[max(0.0, float(value)) for value in line] for line in cosines], verdicts


def _veto_reason(given: Score) -> str:
    if given.value is None and given.reason.startswith("score "):
        return given.reason
    return f"{given.name}: {given.reason}" if given.reason else given.name


def _output_key(candidate: Candidate) -> str:
    """Equal for candidates with the same output: their columns, or the text where it was not parsed."""
    if candidate.fields is None:
        return f"t{candidate.text.strip()}"
    return "f" + canonical_json(candidate.fields)
