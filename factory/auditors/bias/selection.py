"""`bias.selection`: does our own choice of candidates keep some groups, or some models, less often than others?

Of all candidates that were scored, the share kept of a group over that of all others: the four-fifths rule asks for .8
(Uniform Guidelines on Employee Selection Procedures, 1978). The interval of the log-ratio takes the candidates of a row
together, as they stand against each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.candidates import JUDGED, Candidates, gather, variations
from factory.auditors.bias.flips import check_flips
from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.auditors.statistics import POWER, z_quantile
from factory.errors import UsageError
from factory.types import Check, Evidence, Test

NAME = "bias.selection"
FEWEST = 20
"""Candidates of a group below which nothing is said of it."""
FEW_KEPT = 5
MOST_VALUES = 20
MOST_CANDIDATES = 200_000
"""Whose texts are read for groups; of more, whole rows are drawn."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ratios:
    """Groups with enough candidates. All [groups]: `log_ratio` of the share kept to that of all others."""

    names: tuple[str, ...]
    counts: Floats
    kept: Floats
    log_ratio: Floats
    se: Floats
    tests: int


def selection(
    dataset: Data,
    context: AuditContext,
    groupings: Sequence[Grouping],
    *,
    limit: float = 0.8,
    effect: float | None = None,
    flips: float = 0.5,
) -> list[Check]:
    """One check for each axis of the recipe, each lexicon of groups, the models, and each judge that compares pairs.

    `limit`: how many times as often as all others a group must be kept; `effect`: the ratio that must not go unseen (.8
    of it); `flips`: the share of a judge's comparisons that may turn with the order. Raises UsageError for bad ones.
    """
    effect = 0.8 * limit if effect is None else effect
    if not 0 < effect < limit <= 1:
        raise UsageError(f"`limit` {limit} and `effect` {effect}", "ratios of selection: 0 < effect < limit ≤ 1")
    rejects = context.rejects
    if rejects is None:
        return [
            _cannot(
                dataset,
                "Which candidates fell is not known.",
                "audit the run itself (`factory audit RUN`): its rejects.parquet holds them",
            )
        ]
    missing = [
        name for name in ("row", "step", "stage", "reason", "text", "scores") if name not in rejects.table.schema.names
    ]
    candidates = None if missing else gather(dataset, rejects)
    if candidates is None:
        told = f"the rejects have no {', '.join(missing)}" if missing else "the rows have no `meta.row`"
        return [
            _cannot(
                dataset,
                f"Candidates cannot be set beside the rows: {told}.",
                "audit a run's own dataset: `factory audit RUN`",
            )
        ]
    turned = check_flips(dataset, rejects, [*dataset.values("meta.row"), *rejects.values("row")], flips)
    if candidates.kept.all():
        return [
            _cannot(dataset, "Every candidate that was scored was kept: nothing was chosen.", "nothing to do"),
            *turned,
        ]
    checks: list[Check] = []
    for subject, values in _axes(candidates):
        codes, names = _codes(values)
        if len(names) > 1:
            checks.append(_check(candidates, subject, names, codes, limit, effect))
    context.progress(NAME, 0.5)
    for subject, names, codes in _spoken_of(candidates, groupings, context):
        checks.append(_check(candidates, subject, names, codes, limit, effect))
    if not checks:
        checks.append(
            _cannot(
                dataset,
                "No axis, no second model and no group of people tells candidates apart.",
                "vary an axis in the recipe, or mix models",
            )
        )
    return [*checks, *turned]


def _cannot(dataset: Data, sentence: str, advice: str) -> Check:
    return Check(NAME, None, n=len(dataset), sentence=sentence, advice=advice)


def _axes(candidates: Candidates) -> list[tuple[str, Sequence[Any]]]:
    found: list[tuple[str, Sequence[Any]]] = [
        (f"axis {name}", values) for name, values in variations(candidates).items()
    ]
    if (models := candidates.column("model")) is not None:
        found.append(("model", models))
    return found


def _codes(values: Sequence[Any]) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """The values that are groups, by how often they come; no names where they are too many to be any."""
    counts = Counter(str(value) for value in values if value is not None)
    if len(counts) > MOST_VALUES:
        return np.full(len(values), -1, dtype=np.intp), ()
    names = tuple(sorted(counts, key=lambda name: (-counts[name], name)))
    place = {name: at for at, name in enumerate(names)}
    return np.array([-1 if value is None else place[str(value)] for value in values], dtype=np.intp), names


def _spoken_of(
    candidates: Candidates, groupings: Sequence[Grouping], context: AuditContext
) -> list[tuple[str, tuple[str, ...], NDArray[np.intp]]]:
    """Groups of people that candidates speak of: the only one, or −1."""
    from factory.auditors.lexicons.matching import build_matcher

    told = [(grouping, grouping.lookup.lexicon) for grouping in groupings if grouping.lookup.lexicon is not None]
    if not told:
        return []
    texts, looked_at = _sampled(candidates, context)
    members = build_matcher([lexicon for _, lexicon in told if lexicon is not None]).members(texts)
    found, first = [], 0
    for grouping, _ in told:
        here = members[:, first : first + len(grouping.names)]
        first += len(grouping.names)
        codes = np.full(len(candidates), -1, dtype=np.intp)
        codes[looked_at] = np.where(here.sum(axis=1) == 1, here.argmax(axis=1), -1)
        if len(np.unique(codes[codes >= 0])) > 1:
            found.append((grouping.axis, grouping.names, codes))
    return found


def _sampled(candidates: Candidates, context: AuditContext) -> tuple[list[str], NDArray[np.intp]]:
    texts = candidates.texts()
    if len(texts) <= MOST_CANDIDATES:
        return texts, np.arange(len(texts))
    rows = int(candidates.rows.max()) + 1
    marked = np.zeros(rows, dtype=np.bool_)
    marked[context.rng(NAME, "rows").permutation(rows)[: max(1, rows * MOST_CANDIDATES // len(texts))]] = True
    places = np.flatnonzero(marked[candidates.rows])
    return [texts[at] for at in places.tolist()], places


def measure_ratios(candidates: Candidates, names: Sequence[str], codes: NDArray[np.intp]) -> Ratios | None:
    """Each group against all others that belong to one; None where fewer than two have enough candidates."""
    grouped = codes >= 0
    counts = np.bincount(codes[grouped], minlength=len(names)).astype(np.float64)
    kept = np.bincount(codes[grouped], weights=candidates.kept[grouped], minlength=len(names))
    enough = [at for at in np.flatnonzero(counts >= FEWEST).tolist() if counts.sum() - counts[at] >= FEWEST]
    if len(enough) < 2:
        return None
    log_ratio, se = np.zeros(len(enough)), np.zeros(len(enough))
    for place, at in enumerate(enough):
        moves = np.zeros(len(codes))
        floor = 0.0
        for side, sign in ((codes == at, 1.0), (grouped & (codes != at), -1.0)):
            size, hits = float(side.sum()), float(candidates.kept[side].sum())
            rate = (hits + 0.5) / (size + 1.0)
            log_ratio[place] += sign * math.log(rate)
            moves[side] += sign * (candidates.kept[side] - hits / size) / (size * rate)
            if min(hits, size - hits) < FEW_KEPT:  # too few for the rows to show how they vary
                floor += (1.0 - rate) / (size * rate)
        clustered = np.bincount(candidates.rows, weights=moves)
        se[place] = math.sqrt(max(float((clustered**2).sum()), floor))
    chosen = np.array(enough)
    tests = 1 if len(names) == 2 else len(enough)
    return Ratios(tuple(names[at] for at in enough), counts[chosen], kept[chosen], log_ratio, se, tests)


def _check(
    candidates: Candidates, subject: str, names: Sequence[str], codes: NDArray[np.intp], limit: float, effect: float
) -> Check:
    found = measure_ratios(candidates, names, codes)
    gate = f"each group is kept at least {limit:g} times as often as all others, as far as chance can be ruled out"
    if found is None:
        sentence = f"Fewer than two groups of {subject} have {FEWEST} candidates that were scored."
        return Check(
            NAME,
            None,
            n=int((codes >= 0).sum()),
            subject=subject,
            gate=gate,
            sentence=sentence,
            advice="make more rows",
        )
    p = _p(found, limit)
    worst = int(np.argmin(p)) if p.min() < 1 else int(np.argmin(found.log_ratio))
    half = z_quantile(1 - 0.025 / found.tests) * found.se
    ratio, low, high = (math.exp(found.log_ratio[worst] + sign * half[worst]) for sign in (0, -1, 1))
    name, rate = found.names[worst], found.kept[worst] / found.counts[worst]
    sentence = (
        f"Of {found.counts[worst]:,.0f} scored candidates with {subject} = {name}, {100 * rate:.1f} % are kept: "
        f"{ratio:.2f} times as often as all others ({low:.2f} to {high:.2f})."
    )
    test = Test(
        min(1.0, float(p.min()) * found.tests), 1 - effect, lambda alpha: 1 - float(_seen(found, alpha, limit).min())
    )
    return Check(
        NAME,
        1 - ratio,
        (1 - high, 1 - low),
        n=int(found.counts.sum()),
        subject=subject,
        gate=gate,
        sentence=sentence,
        advice=f"look at what falls of {name}, and mend the scorer, the judge's rubric or the filter that takes it",
        method="value: by how much less often the worst-off group is kept; log-ratio of shares, variance by row",
        evidence=_fallen(candidates, codes == list(names).index(name), subject, name),
        details=_details(candidates, subject, names, codes, found, half, limit),
        tests=found.tests,
        test=test,
    )


def _p(found: Ratios, limit: float) -> Floats:
    """Of the ratio being 1, where it is under the limit; else 1."""
    from scipy.special import ndtr

    sure = np.where(found.se > 0, ndtr(-np.abs(found.log_ratio) / np.maximum(found.se, 1e-300)), 0.0)
    return np.where(found.log_ratio < math.log(limit), np.minimum(1.0, 2 * sure), 1.0)


def _seen(found: Ratios, alpha: float, limit: float) -> Floats:
    """The ratio of each that is found with a power of .8: both under the limit and surely under 1."""
    sure = np.exp(-(z_quantile(1 - alpha / found.tests / 2) + z_quantile(POWER)) * found.se)
    return np.minimum(sure, limit * np.exp(-z_quantile(POWER) * found.se))


def _fallen(candidates: Candidates, members: NDArray[np.bool_], subject: str, name: str) -> tuple[Evidence, ...]:
    """Those of the group that fell with the highest totals."""
    places = np.flatnonzero(members & ~candidates.kept)
    order = places[np.argsort(-np.nan_to_num(candidates.total[places], nan=-1e9), kind="stable")][:10]
    texts, reasons = candidates.rejects.values("text"), candidates.rejects.values("reason")
    found = []
    for at in order.tolist():
        row = int(candidates.place[at])
        details = {subject: name, "stage": str(candidates.stage[at]), "reason": str(reasons[row])[:200]}
        found.append(Evidence(row, str(texts[row] or "")[:300], source="rejects", details=details))
    return tuple(found)


def _details(
    candidates: Candidates, subject: str, names: Sequence[str], codes: NDArray[np.intp], found: Ratios, half: Floats,
    limit: float,
) -> dict[str, Any]:  # fmt: skip
    rows, forest = [], []
    for at, name in enumerate(found.names):
        ratio, low, high = (round(math.exp(found.log_ratio[at] + sign * half[at]), 4) for sign in (0, -1, 1))
        stages = Counter(candidates.stage[codes == list(names).index(name)].tolist())
        shares = [round(stages[stage] / float(found.counts[at]), 4) for stage in JUDGED]
        rows.append([name, int(found.counts[at]), int(found.kept[at]), ratio, low, high, *shares])
        forest.append({"label": name, "value": ratio, "low": low, "high": high})
    header = ["group", "candidates", "kept", "ratio", "low", "high", *(f"fell: {stage}" for stage in JUDGED)]
    title = f"How often candidates are kept, by {subject}, over all others"
    plot = {
        "kind": "forest",
        "title": title,
        "rows": forest,
        "limit": limit,
        "x_label": "ratio of shares kept",
        "scale": "log",
    }
    return {
        "ratios": {row[0]: row[3] for row in rows},
        "tables": [{"title": title, "header": header, "rows": rows}],
        "plots": [plot],
    }
