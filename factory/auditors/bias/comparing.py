"""One outcome of rows compared between groups: the check that the checks of outcomes, sentiment and toxicity give."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.contrasts import (
    Contrast,
    contrast_test,
    eligible,
    mean_contrasts,
    share_contrasts,
    told_at_once,
    worst,
)
from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.auditors.statistics import Floats
from factory.types import Check, Evidence

Places = NDArray[np.intp]
EXCERPT = 300
EACH = 4


@dataclass(frozen=True, eq=False)
class Side:
    """Data that are looked at: outcomes by name ([rows], nan: unknown), strata and clusters of the rows."""

    data: Data
    outcomes: Mapping[str, Floats]
    strata: Places
    clusters: Places | None


@dataclass(frozen=True, eq=False)
class Scene:
    """What the checks share. `pairs`: each grouping, with the same groups in the reference (None: not there)."""

    here: Side
    there: Side | None
    pairs: Sequence[tuple[Grouping, Grouping | None]]
    context: AuditContext
    min_rows: int = 50
    strata_told: str = ""


@dataclass(frozen=True)
class Measure:
    """How an outcome is compared. `shares`: it is yes or no, and differences are of shares; else standardised.

    `shown` turns a mean into words; `told`: what it is ("sentiment", "the share of toxic rows").
    """

    check: str
    outcome: str
    told: str
    shares: bool
    limit: float
    effect: float
    method: str
    advice: str
    shown: Callable[[float], str] = field(default=lambda value: f"{value:.2f}")


def compare(scene: Scene, what: Measure, *, kind: str = "") -> list[Check]:
    """One check for each grouping that enough rows speak of, and one for the others together.

    `kind` tells outcomes of one check apart: it stands behind the axis in `subject`.
    """
    checks, too_few = [], []
    behind = f": {kind}" if kind else ""
    for grouping, there in scene.pairs:
        found = _compare(scene, what, grouping, there, f"{grouping.axis}{behind}")
        if found is None:
            too_few.append(grouping.axis)
        else:
            checks.append(found)
    if too_few:
        checks.append(unseen(what.check, too_few, scene, what, behind))
    return checks


def unseen(name: str, axes: Sequence[str], scene: Scene, what: Measure | None = None, behind: str = "") -> Check:
    """INCONCLUSIVE for axes whose groups too few rows speak of."""
    both = "" if scene.there is None else ", in the dataset and in the reference"
    return Check(
        name,
        None,
        n=len(scene.here.data),
        subject=f"{', '.join(axes)}{behind}",
        sentence=f"Fewer than two groups have {scene.min_rows} rows that speak of them alone{both}: {', '.join(axes)}.",
        advice="more rows, or groups that rows speak of: `axis: NAME` of the recipe, `groups:` of your own, or a lower "
        "`min_rows`",
        gate=None if what is None else _gate(what, scene.there is not None),
        method="" if what is None else what.method,
    )


def _compare(scene: Scene, what: Measure, grouping: Grouping, there: Grouping | None, subject: str) -> Check | None:
    values = scene.here.outcomes[what.outcome]
    only = np.where(np.isfinite(values), grouping.only(), -1)
    real = _real(scene, what, there)
    chosen, small = eligible(only, grouping.names, scene.min_rows, None if real is None else real[0])
    if len(chosen) < 2:
        return None
    contrasts = _contrasts(what, values, only, chosen, grouping.names, scene.here)
    if real is not None:
        reals = _contrasts(what, real[1], real[0], chosen, grouping.names, real[2])
        contrasts, reals = _both(contrasts, reals)
        excess = [one.less(other) for one, other in zip(contrasts, reals, strict=True)]
    else:
        reals, excess = [], contrasts
    if not excess:
        return None
    at, test = worst(excess, limit=what.limit, effect=what.effect)
    place = excess.index(at)
    contrast = contrasts[place]
    value = at.value if math.isfinite(at.value) else math.copysign(99.0, at.value)
    return Check(
        what.check,
        value,
        at.interval(told_at_once(test, len(excess))) if math.isfinite(at.value) else None,
        n=int(np.count_nonzero(np.isin(only, chosen))),
        gate=_gate(what, real is not None),
        sentence=_sentence(what, grouping, chosen, contrast, reals[place] if reals else None, small, scene.min_rows),
        subject=subject,
        evidence=_evidence(scene.here.data, values, only, grouping.names, contrast, what),
        details={
            "groups": _sizes(values, only, chosen, grouping.names),
            "too_few_rows": small,
            "strata": scene.strata_told,
            "compared_with_reference": real is not None,
            "plots": [_forest(what, grouping, excess)],
        },
        method=f"{what.method}; groups: {grouping.source}{scene.strata_told and '; strata: ' + scene.strata_told}",
        advice=what.advice,
        tests=len(excess),
        test=test,
    )


def _real(scene: Scene, what: Measure, there: Grouping | None) -> tuple[Places, Floats, Side] | None:
    """Groups and values of the reference, where it has the outcome."""
    if scene.there is None or there is None or what.outcome not in scene.there.outcomes:
        return None
    values = scene.there.outcomes[what.outcome]
    return np.where(np.isfinite(values), there.only(), -1).astype(np.intp), values, scene.there


def _contrasts(
    what: Measure, values: Floats, only: Places, chosen: Sequence[int], names: Sequence[str], side: Side
) -> list[Contrast]:
    if what.shares:
        return share_contrasts(values > 0, only.astype(np.intp), chosen, names, side.strata, side.clusters)
    return mean_contrasts(values, only.astype(np.intp), chosen, names, side.strata, side.clusters)


def _both(one: Sequence[Contrast], other: Sequence[Contrast]) -> tuple[list[Contrast], list[Contrast]]:
    """The contrasts of the groups that both sides have, in one order."""
    by_label = {each.label: each for each in other}
    kept = [each for each in one if each.label in by_label]
    return kept, [by_label[each.label] for each in kept]


def _gate(what: Measure, with_reference: bool) -> str:
    unit = _points(what.limit) if what.shares else f"{what.limit:g} standard deviations"
    beyond = " more than in the reference" if with_reference else ""
    return f"groups differ in {what.told} by at most {unit}{beyond}"


def _points(share: float) -> str:
    return f"{100 * share:.3g} percentage points"


def _sentence(
    what: Measure,
    grouping: Grouping,
    chosen: Sequence[int],
    one: Contrast,
    real: Contrast | None,
    small: Sequence[str],
    least: int,
) -> str:
    rest = [grouping.names[place] for place in chosen if grouping.names[place] != one.label]
    others = f"'{rest[0]}'" if len(rest) == 1 else "the other groups"
    apart = _points(abs(one.value)) if what.shares else f"{abs(one.value):.2f} standard deviations"
    way = "the same as" if one.value == 0 else f"{apart} {'above' if one.value > 0 else 'below'}"
    told = (
        f"Where rows speak of '{one.label}' alone ({one.n:,}), {what.told} is {what.shown(one.mean)}, {way} that of "
        f"{others} ({what.shown(one.others_mean)}, {one.others:,} rows)."
    )
    if real is not None:
        signed = _points(real.value) if what.shares else f"{real.value:+.2f} standard deviations"
        told += f" In the reference the difference is {signed}."
    if small:
        told += f" Too few rows (under {least}) to tell: {', '.join(small[:8])}{', …' if len(small) > 8 else ''}."
    return told


def _sizes(values: Floats, only: Places, chosen: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"group": names[place], "rows": int((only == place).sum()), "mean": float(values[only == place].mean())}
        for place in chosen
    ]


def _forest(what: Measure, grouping: Grouping, contrasts: Sequence[Contrast]) -> dict[str, Any]:
    rows = []
    for one in contrasts:
        if math.isfinite(one.value):
            low, high = one.interval(len(contrasts))
            mde = contrast_test(one, limit=what.limit, effect=what.effect).mde_at(0.05 / len(contrasts))
            rows.append({"label": one.label, "value": one.value, "low": low, "high": high, "mde": mde})
    unit = "difference of shares" if what.shares else "difference in standard deviations"
    return {
        "kind": "forest",
        "title": f"{what.told}: {grouping.axis}",
        "rows": rows,
        "limit": [-what.limit, what.limit],
        "x_label": f"{unit}, group less the others",
    }


def _evidence(
    data: Data, values: Floats, only: Places, names: Sequence[str], one: Contrast, what: Measure
) -> tuple[Evidence, ...]:
    """Rows of the group and of the others that pull them apart most."""
    group = list(names).index(one.label)
    sign = 1 if one.value >= 0 else -1
    found = []
    for rows, way in ((np.flatnonzero(only == group), sign), (np.flatnonzero((only >= 0) & (only != group)), -sign)):
        order = rows[np.argsort(-way * values[rows], kind="stable")][:EACH]
        for row in order.tolist():
            details = {"group": names[only[row]], what.outcome: round(float(values[row]), 4)}
            found.append(Evidence(row, data.texts[row][:EXCERPT], data.ids[row], details=details))
    return tuple(found)
