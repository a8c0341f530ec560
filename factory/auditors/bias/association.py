"""`bias.association`: what goes with a group here, more or less than it does in real data.

With a reference, the gate is about pairs of a group and a term: how far p(group | term) lies from the real one, beyond
what the whole share of the group explains. Without one a tie may be the world's: it is told, and gated only where the
recipe declares terms neutral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.families import Families
from factory.auditors.bias.neutral import check_neutral
from factory.auditors.bias.pairs import FEWEST, Differences, compare
from factory.auditors.bias.telling import cannot_tell, excerpts, pick, points, share
from factory.auditors.bias.ties import Q, Ties, find_ties, interval_of, tell_ties
from factory.auditors.bias.views import ROWS_FOR_WORDS, View, language_of, look
from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.auditors.statistics import benjamini_hochberg, z_quantile
from factory.errors import UsageError
from factory.types import Check, Test

NAME = "bias.association"
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gates allow: `limit` between shares, `ratio` of odds for `neutral` terms; the `effect`s must be seen."""

    limit: float = 0.1
    effect: float = 0.3
    ratio: float = 1.5
    ratio_effect: float = 2.0
    neutral: tuple[str, ...] = ()


def association(
    dataset: Data,
    reference: Data | None,
    groupings: Sequence[Grouping],
    reference_groupings: Sequence[Grouping | None] | None,
    context: AuditContext,
    *,
    limit: float = 0.1,
    effect: float | None = None,
    ratio: float = 1.5,
    ratio_effect: float | None = None,
    neutral: Sequence[str] = (),
) -> list[Check]:
    """One check for each grouping, and one more where terms are declared neutral.

    `limit`: how far the share of a group among the rows with a term may lie from the reference's; `effect`: what must
    not go unseen (.2 more). `neutral`: fields or categories of the lexicon that ought to go with no group; `ratio`: the
    odds that are allowed there, `ratio_effect` those that must not go unseen (a third more). Raises UsageError for
    limits that make no sense and categories that do not exist.
    """
    effect = limit + 0.2 if effect is None else effect
    ratio_effect = ratio * 4 / 3 if ratio_effect is None else ratio_effect
    if not 0 <= limit < effect or limit > 1:
        raise UsageError(
            f"`limit` {limit} and `effect` {effect}", "differences of shares: 0 ≤ limit ≤ 1, limit < effect"
        )
    if not 1 <= ratio < ratio_effect:
        raise UsageError(
            f"`ratio` {ratio} and `ratio_effect` {ratio_effect}", "ratios of odds: 1 ≤ ratio < ratio_effect"
        )
    limits = Limits(limit, effect, ratio, ratio_effect, tuple(neutral))
    chosen, left_out = pick(groupings, reference_groupings)
    checks: list[Check] = []
    for place, (grouping, there) in enumerate(chosen):
        context.progress(f"{NAME}: {grouping.axis}", place / len(chosen))
        view, real = look(dataset, grouping, language_of(grouping, groupings, context), reference, there)
        checks += _check(view, real, limits)
    if left_out or not chosen:
        checks.append(cannot_tell(NAME, left_out, dataset))
    return checks


def _check(view: View, real: View | None, limits: Limits) -> list[Check]:
    ties = find_ties(view)
    neutral = check_neutral(NAME, view, limits.neutral, limits.ratio, limits.ratio_effect, ties)
    if real is not None:
        return [_against(view, real, ties, limits), *neutral]
    return neutral or [_told(view, ties)]


def _told(view: View, ties: Ties) -> Check:
    """Without a reference: the findings, and no verdict."""
    axis = view.grouping.axis
    pools, words = ties.pools(), ties.words()
    found = [tie for tie in pools if tie.q <= Q]
    first = pools[0] if pools else None
    parts = []
    if first is not None:
        low, high = interval_of(first, len(pools))
        parts.append(
            f"Of {len({tie.name for tie in pools})} categories of words, {len({tie.name for tie in found})} go with "
            f"one group more than with the others; most clearly {first.name}, at {first.ratio:.2f} times the odds with "
            f"{view.grouping.names[first.group]} ({low:.2f} to {high:.2f})."
        )
    if words:
        parts.append(f"{len(words):,} single {'word does' if len(words) == 1 else 'words do'}.")
    elif len(view.data) < ROWS_FOR_WORDS:
        parts.append(f"Single words are not told under {ROWS_FOR_WORDS:,} rows: most would be noise.")
    parts.append("Whether the world is like that, these rows cannot say.")
    evidence = excerpts(view, [(tie.name, tie.group) for tie in found[:4]])
    return Check(
        NAME,
        None if first is None else first.ratio,
        None if first is None else interval_of(first, len(pools)),
        n=view.rows,
        subject=axis,
        sentence=" ".join(parts),
        advice="give real rows (`--reference FILE`), or declare what ought to be even: `neutral: [occupations]`",
        method=_method(view),
        evidence=evidence,
        details=tell_ties(view, ties),
        tests=ties.tests,
    )


def _against(view: View, real: View, ties: Ties, limits: Limits) -> Check:
    found = compare(view.shares(), real.shares(), view.apart | real.apart)
    told = tell_ties(view, ties, find_ties(real))
    gate = (
        f"no share of a group among the rows with a term differs from the reference by more than {points(limits.limit)}"
    )
    base = Check(NAME, None, n=view.rows, subject=view.grouping.axis, gate=gate, method=_method(view), details=told)
    if not len(found):
        return replace(
            base,
            sentence=f"No term stands in {FEWEST} rows with one group, here and in the reference.",
            advice="give more rows, of the dataset or of the reference",
        )
    families = Families(view.kinds[found.term])
    p = found.p(limits.limit)
    adjusted = families.adjust(p)
    surely = np.abs(found.difference) / found.se
    worst = int(np.argmin(adjusted)) if adjusted.min() < 0.5 else int(np.argmax(surely))
    listed = find_differences(found, limits.limit)
    wide = z_quantile(1 - 0.025 / len(found)) * float(found.se[worst])
    value = float(found.difference[worst])
    interval = (max(-1.0, value - wide), min(1.0, value + wide))
    test = Test(
        float(adjusted.min()),
        limits.effect,
        lambda alpha: families.typical(lambda level: found.detectable(level, limits.limit), alpha, found.rows),
    )
    shown = [at for at in np.argsort(adjusted, kind="stable").tolist() if listed.beyond[at]][:4] or [worst]
    return replace(
        base,
        value=value,
        interval=interval,
        sentence=_sentence(view, found, worst, interval, listed, limits.limit),
        advice="vary the group in the recipe as an axis of its own, independent of the terms that it comes with here",
        evidence=excerpts(view, [(view.names[found.term[at]], int(found.group[at])) for at in shown]),
        details=_details(view, found, listed, limits.limit, told),
        tests=len(found) + ties.tests,
        test=test,
    )


@dataclass(frozen=True)
class Listed:
    """Differences as findings, [pairs]. `q`: Benjamini and Hochberg, of being none at all; `half`: of intervals that
    hold for a share of .95 of the significant ones (Benjamini and Yekutieli 2005); `beyond`: those over the limit."""

    q: NDArray[np.float64]
    half: NDArray[np.float64]
    beyond: NDArray[np.bool_]


def find_differences(found: Differences, limit: float) -> Listed:
    """Which pairs differ, and which surely by more than `limit`, in all and beyond the shift of the other rows."""
    q = benjamini_hochberg(found.p(0.0))
    count = max(1, int(np.count_nonzero(q <= Q)))
    width = z_quantile(1 - 0.025 * count / len(found))
    lowest = np.minimum(np.abs(found.difference) - width * found.se, np.abs(found.beyond) - width * found.beyond_se)
    return Listed(q, width * found.se, (q <= Q) & (lowest > limit))


def _sentence(
    view: View, found: Differences, at: int, interval: tuple[float, float], listed: Listed, limit: float
) -> str:
    axis, term = view.grouping.axis, view.names[found.term[at]]
    group = view.grouping.names[found.group[at]]
    low, high = (100 * end for end in interval)
    return (
        f"Of the rows with '{term}' that speak of one group of {axis}, {share(found.here[at])} speak of {group}; in "
        f"the reference {share(found.there[at])} (a difference of {100 * found.difference[at]:+.1f} points, {low:.1f} "
        f"to {high:.1f}). Of {len(found):,} pairs of a group and a term {np.count_nonzero(listed.q <= Q):,} differ, "
        f"{listed.beyond.sum():,} of them surely by more than {points(limit)}."
    )


def _details(view: View, found: Differences, listed: Listed, limit: float, told: dict[str, Any]) -> dict[str, Any]:
    """The surest differences as a table and a forest plot, then what goes with which group."""
    rows, forest = [], []
    for at in np.argsort(-np.abs(found.difference) / found.se, kind="stable")[:SHOWN].tolist():
        term, group = view.names[found.term[at]], view.grouping.names[found.group[at]]
        value, half = float(found.difference[at]), float(listed.half[at])
        ends = [round(one, 4) for one in (value, value - half, value + half)]
        shares = [round(float(one[at]), 4) for one in (found.here, found.there)]
        own = round(float(found.beyond[at]), 4)
        rows.append([term, group, *shares, *ends, own, float(listed.q[at]), int(found.rows[at])])
        forest.append({"label": f"{term}: {group}", "value": ends[0], "low": ends[1], "high": ends[2]})
    title = f"{view.grouping.axis}: share of a group among the rows with a term, less the reference's"
    header = ["term", "group", "share", "reference", "difference", "low", "high", "of its own", "q", "rows"]
    plot = {
        "kind": "forest",
        "title": title,
        "rows": forest,
        "limit": [-limit, limit],
        "x_label": "difference of shares",
    }
    tables = [{"title": title, "header": header, "rows": rows}, *told["tables"]]
    beyond = [
        [view.names[found.term[at]], view.grouping.names[found.group[at]]] for at in np.flatnonzero(listed.beyond)
    ]
    return {"plots": [plot, *told["plots"]], "tables": tables, "pairs": len(found), "beyond": beyond[:100]}


def _method(view: View) -> str:
    return (
        "p(group | term) by row, rows that speak of one group alone; log-odds with an informative Dirichlet prior "
        "(Monroe et al. 2008), variance by row; intervals hold for all pairs at once; "
        f"{view.lexicon}; {view.grouping.source}"
    )
