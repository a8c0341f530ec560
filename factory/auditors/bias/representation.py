"""How often each group is spoken of, against a declared target or real rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.comparing import EXCERPT, Scene, unseen
from factory.auditors.bias.contrasts import told_at_once
from factory.auditors.groups import Grouping
from factory.auditors.statistics import POWER, Z95, share_difference, two_sided, worst_of, z_quantile
from factory.errors import UsageError, nearest
from factory.types import Check, Evidence, Test

NAME = "bias.representation"
BEYOND = 0.10
"""A deviation of so much more than the tolerance must not go unseen."""
MOST = 12
FEWEST = 10
OTHER = "(other)"
EACH = 3


@dataclass(frozen=True, slots=True)
class Deviation:
    """The share of a group less the share it ought to have, with intervals and a test.

    `alone` is the interval of this share; `interval` holds for all shares of the axis at once.
    """

    label: str
    share: float
    wanted: float
    interval: tuple[float, float]
    alone: tuple[float, float]
    test: Test

    @property
    def value(self) -> float:
        return self.share - self.wanted


def representation(scene: Scene, targets: Mapping[str, Mapping[str, float]] | None, tolerance: float) -> list[Check]:
    """One check for each grouping. `targets`: shares by axis and group; an axis of the recipe has those it planned."""
    named = targets or {}
    known = [grouping.axis for grouping, _ in scene.pairs]
    for axis in named:
        if axis not in known:
            raise UsageError(f"`target`: '{axis}' is no axis that is looked at", nearest(axis, known))
    checks, too_few = [], []
    for grouping, there in scene.pairs:
        only = grouping.only()
        if np.count_nonzero(only >= 0) < scene.min_rows:
            too_few.append(grouping.axis)
            continue
        target = _target(grouping, named.get(grouping.axis), scene)
        checks.append(_check(scene, grouping, there, target, tolerance))
    return [*checks, *([unseen(NAME, too_few, scene)] if too_few else [])]


def _target(grouping: Grouping, given: Mapping[str, float] | None, scene: Scene) -> Mapping[str, float] | None:
    """The declared shares, or those that the recipe plans for an axis of its own. Raises UsageError for a wrong one."""
    if given is None:
        planned = scene.context.axes.get(grouping.axis) if grouping.lookup.drawn is not None else None
        return None if not planned else {str(value): float(share) for value, share in planned.items()}
    for name, share in given.items():
        if name not in grouping.names:
            raise UsageError(f"`target`: '{grouping.axis}' has no group '{name}'", nearest(name, grouping.names))
        if not 0 <= share <= 1:
            raise UsageError(f"`target`: {share:g} of '{name}' is no share", "give 0 to 1")
    if sum(given.values()) > 1.0001:
        raise UsageError(f"`target`: the shares of '{grouping.axis}' sum to {sum(given.values()):g}", "to 1 at most")
    return given


def _check(
    scene: Scene, grouping: Grouping, there: Grouping | None, target: Mapping[str, float] | None, tolerance: float
) -> Check:
    only = grouping.only()
    counts = np.bincount(only[only >= 0], minlength=len(grouping.names))
    n = int(counts.sum())
    details: dict[str, Any] = {
        "shares": [
            {"group": name, "rows": int(counts[place]), "share": counts[place] / n, "mentioned_in": int(mentioned)}
            for place, (name, mentioned) in enumerate(zip(grouping.names, grouping.members.sum(axis=0), strict=True))
        ],
        "rows_with_one_group": n,
        "rows_with_several": int((grouping.members.sum(axis=1) > 1).sum()),
        "rows_looked_at": grouping.rows,
    }
    method = f"rows that speak of one group alone; groups: {grouping.source}"
    if target is not None:
        found = _against_target(only, counts, grouping.names, target, tolerance, scene.here.clusters)
        kind = "target"
    elif there is not None and np.count_nonzero(there.only() >= 0) >= scene.min_rows:
        found = _against_reference(scene, only, there.only(), grouping.names, tolerance, details)
        kind = "reference"
    else:
        return _without(scene, grouping, there, counts, details, method)
    worst = min(found, key=lambda one: (one.test.p, -abs(one.value), one.label))
    test = worst_of([one.test for one in found])
    details["plots"] = [_forest(grouping, found, tolerance, kind)]
    details |= _divergence(counts, grouping.names, found)
    return Check(
        NAME,
        worst.value,
        worst.alone if told_at_once(test, len(found)) == 1 else worst.interval,
        n=n,
        gate=f"each share at most {_points(tolerance)} off the {kind}",
        sentence=(
            f"Of {n:,} rows that speak of one group alone, {_percent(worst.share)} speak of '{worst.label}'; the "
            f"{kind} is {_percent(worst.wanted)}."
        ),
        subject=grouping.axis,
        evidence=_evidence(scene, only, grouping.names, worst.label),
        details=details,
        method=method,
        advice="draw the group by an axis with weights (`vary:`), or keep rows by `quota`, so that "
        f"'{worst.label}' comes to {_percent(worst.wanted)}",
        tests=len(found),
        test=test,
    )


def _against_target(
    only: NDArray[np.intp],
    counts: NDArray[np.intp],
    names: Sequence[str],
    target: Mapping[str, float],
    tolerance: float,
    clusters: NDArray[np.intp] | None,
) -> list[Deviation]:
    n = float(counts.sum())
    wanted = {name: share for name, share in target.items() if name in names}
    absent = [name for name in target if name not in names and target[name] > 0]
    sizes = {name: float(counts[list(names).index(name)]) for name in wanted} | dict.fromkeys(absent, 0.0)
    labels = [*wanted, *absent]
    if len(labels) == 2 and sum(sizes.values()) == n and math.isclose(sum(target.values()), 1.0):
        labels = labels[:1]
    found = []
    for label in labels:
        inside = only == (list(names).index(label) if label in names else -2)
        rows = n / _design(inside[only >= 0], None if clusters is None else clusters[only >= 0])
        found.append(_deviation(label, sizes[label] / n, target[label], rows, tolerance, len(labels)))
    return found


def _deviation(label: str, share: float, wanted: float, n: float, tolerance: float, comparisons: int) -> Deviation:
    """Exact binomial tails at either end of target ± tolerance; Wilson's interval, for all comparisons at once."""
    from scipy.special import betainc

    high, low, hits = min(1.0, wanted + tolerance), max(0.0, wanted - tolerance), share * n
    above = 1.0 if hits <= 0 or high >= 1 else float(betainc(hits, n - hits + 1, high))
    below = 1.0 if hits >= n or low <= 0 else float(betainc(n - hits, hits + 1, 1 - low))
    at = min((high, low), key=lambda edge: abs(edge - 0.5))
    se = math.sqrt(max(at * (1 - at), 1 / (4 * n)) / n)

    def mde_at(alpha: float) -> float:
        return tolerance + (z_quantile(1 - alpha / 2) + z_quantile(POWER)) * se

    def interval(z: float) -> tuple[float, float]:
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return centre - half - wanted, centre + half - wanted

    test = Test(min(1.0, 2 * min(above, below)), tolerance + BEYOND, mde_at)
    return Deviation(label, share, wanted, interval(_sidak(comparisons)), interval(Z95), test)


def _sidak(comparisons: int) -> float:
    return z_quantile(1 - (1 - 0.95 ** (1 / comparisons)) / 2)


def _against_reference(
    scene: Scene,
    here: NDArray[np.intp],
    there: NDArray[np.intp],
    names: Sequence[str],
    tolerance: float,
    details: dict[str, Any],
) -> list[Deviation]:
    """Differences of shares; groups with few rows count together, so that they neither are lost nor lead."""
    one, other = (np.bincount(only[only >= 0], minlength=len(names)) for only in (here, there))
    assert scene.there is not None
    both = one + other
    order = [place for place in np.argsort(-both, kind="stable").tolist() if both[place] >= FEWEST][:MOST]
    merged = [place for place in range(len(names)) if place not in order and both[place]]
    parts = [[place] for place in order] + ([merged] if merged else [])
    labels = [names[place] for place in order] + ([OTHER] if merged else [])
    details["reference_shares"] = {name: other[place] / other.sum() for place, name in enumerate(names)}
    comparisons = 1 if len(parts) == 2 else len(parts)
    found = []
    for label, part in list(zip(labels, parts, strict=True))[: 1 if len(parts) == 2 else None]:
        sides = []
        for only, clusters in ((here, scene.here.clusters), (there, scene.there.clusters)):
            kept = only >= 0
            inside = np.isin(only[kept], part)
            design = _design(inside, None if clusters is None else clusters[kept])
            sides.append((float(inside.mean()), max(1, round(len(inside) / design))))
        (share, n), (real, m) = sides
        rounded, se, interval = share_difference(round(share * n), n, round(real * m), m)
        value, widen = share - real, _sidak(comparisons) / Z95
        alone = (value - (rounded - interval[0]), value + (interval[1] - rounded))
        wide = (value - widen * (rounded - interval[0]), value + widen * (interval[1] - rounded))
        test = two_sided(value, se, limit=tolerance, effect=tolerance + BEYOND)
        found.append(Deviation(label, share, real, wide, alone, test))
    if not found:  # one group in both, and nothing else
        same = two_sided(0.0, 0.0, limit=tolerance, effect=tolerance + BEYOND)
        found.append(Deviation(labels[0], 1.0, 1.0, (0.0, 0.0), (0.0, 0.0), same))
    return found


def _design(inside: NDArray[np.bool_], clusters: NDArray[np.intp] | None) -> float:
    """How many times the variance of a share is as large as that of rows drawn one by one; at least 1."""
    if clusters is None or not len(inside):
        return 1.0
    residuals = inside - inside.mean()
    plain = float((residuals**2).sum())
    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], weights=residuals).astype(np.float64)
    return max(1.0, float((sums**2).sum()) / plain) if plain > 0 else 1.0


def _divergence(counts: NDArray[np.intp], names: Sequence[str], found: Sequence[Deviation]) -> dict[str, float]:
    """G (log-likelihood ratio) against the wanted shares, and the Jensen–Shannon divergence in bits."""
    n = counts.sum()
    wanted = {one.label: one.wanted for one in found if one.wanted > 0}
    shares = {name: counts[place] / n for place, name in enumerate(names)}
    p = [shares.get(label, 0.0) for label in wanted]
    q = list(wanted.values())
    p, q = [*p, max(0.0, 1 - sum(p))], [*q, max(0.0, 1 - sum(q))]
    g = 2 * n * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0 and b > 1e-9)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    jsd = sum(0.5 * sum(a * math.log2(a / m) for a, m in zip(side, middle, strict=True) if a > 0) for side in (p, q))
    return {"g": float(g), "jsd_bits": float(jsd)}


def _without(
    scene: Scene,
    grouping: Grouping,
    there: Grouping | None,
    counts: NDArray[np.intp],
    details: dict[str, Any],
    method: str,
) -> Check:
    """INCONCLUSIVE: nothing says what the shares ought to be. They are told all the same."""
    n = int(counts.sum())
    order = np.argsort(-counts, kind="stable")[:5]
    told = ", ".join(f"'{grouping.names[place]}' {_percent(counts[place] / n)}" for place in order if counts[place])
    why = "nothing says what the shares ought to be"
    if there is not None:
        why = f"fewer than {scene.min_rows} rows of the reference speak of one group alone"
    shown = ", ".join(f"{grouping.names[place]}: {1 / max(1, min(2, len(order))):g}" for place in order[:2])
    details["plots"] = [
        {
            "kind": "bars",
            "title": f"share of rows: {grouping.axis}",
            "labels": [grouping.names[place] for place in order],
            "series": {"dataset": [float(counts[place] / n) for place in order]},
            "y_label": "share of rows that speak of one group alone",
        }
    ]
    return Check(
        NAME,
        None,
        n=n,
        sentence=f"Of {n:,} rows that speak of one group alone: {told}. It cannot be judged, as {why}.",
        subject=grouping.axis,
        details=details,
        method=method,
        advice="give real rows (`--reference FILE`), or the shares that you want: "
        f"`target: {{{grouping.axis}: {{{shown}}}}}`",
    )


def _forest(grouping: Grouping, found: Sequence[Deviation], tolerance: float, kind: str) -> dict[str, Any]:
    return {
        "kind": "forest",
        "title": f"share of rows less the {kind}: {grouping.axis}",
        "rows": [
            {"label": one.label, "value": one.value, "low": one.interval[0], "high": one.interval[1]} for one in found
        ],
        "limit": [-tolerance, tolerance],
        "x_label": f"share less the {kind}'s",
    }


def _evidence(scene: Scene, only: NDArray[np.intp], names: Sequence[str], label: str) -> tuple[Evidence, ...]:
    data = scene.here.data
    order = sorted(range(len(names)), key=lambda place: (names[place] != label, place))
    rows = [row for place in order[:4] for row in np.flatnonzero(only == place)[:EACH].tolist()]
    return tuple(
        Evidence(row, data.texts[row][:EXCERPT], data.ids[row], details={"group": names[only[row]]}) for row in rows
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:.3g} percentage points"
