"""fidelity.labels: are the classes those of the reference, and as frequent?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.auditors.fidelity.telling import count, percent, point_at, several, unmeasured
from factory.auditors.fidelity.testing import compare_counts
from factory.types import Check, Test

Floats = NDArray[np.float64]
GIVE = "`label: NAME`, the column of classes (in both files)"
SUBJECTS = ("shares", "missing or new")
MOST_SHOWN = 40
RARE = 12
"""Rows of both sides up to which labels are judged together."""


def check_labels(
    dataset: Data, reference: Data, texts: list[str] | None, *, limit: float, effect: float, smallest: float
) -> list[Check]:
    """Divergence of the shares of labels; labels that one side lacks altogether."""
    mine, theirs = dataset.labels, reference.labels
    if mine is None or theirs is None or not any(mine) or not any(theirs):
        side = "the dataset" if mine is None or not any(mine or ()) else "the reference"
        why = f"No column of {side} holds labels."
        return [unmeasured("labels", why, GIVE, n=len(dataset), subject=one) for one in SUBJECTS]
    here, there = Counter(one for one in mine if one is not None), Counter(one for one in theirs if one is not None)
    names = sorted(here.keys() | there.keys(), key=lambda one: (-there[one], one))
    one, two = (np.array([side[name] for name in names], dtype=np.float64) for side in (here, there))
    places: dict[str, list[int]] = {name: [] for name in names}
    for row, name in enumerate(mine):
        if name is not None and not there[name] and len(places[name]) < 3:
            places[name].append(row)
    return [
        _shares(dataset, names, one, two, limit, effect),
        _missing(dataset, texts, names, (one, two), places, smallest),
    ]


def _shares(dataset: Data, names: list[str], one: Floats, two: Floats, limit: float, effect: float) -> Check:
    found = compare_counts(one, two, limit=limit, effect=effect)
    gaps = one / one.sum() - two / two.sum()
    worst = int(np.argmax(np.abs(gaps)))
    shown = [int(at) for at in np.argsort(-np.abs(gaps), kind="stable")[:MOST_SHOWN]]
    less = [names[at] for at in np.argsort(gaps, kind="stable")[:5] if gaps[at] < 0]
    return Check(
        "fidelity.labels",
        found.value,
        subject="shares",
        interval=found.interval,
        n=int(one.sum()),
        gate=f"shares of labels diverge by at most {limit:g} bits beyond chance",
        tests=1,
        test=found.test,
        sentence=(
            f"{percent(found.moved)} of the rows would have to change their label for the shares to be the reference's "
            f"(chance alone moves some). The largest difference: `{names[worst]}` with "
            f"{percent(one[worst] / one.sum())} against {percent(two[worst] / two.sum())}."
        ),
        advice=f"make the label an axis with the reference's shares; too rare are {several(less)}",
        method="Jensen-Shannon divergence of the labels' shares without what chance adds; non-central chi-square",
        details={
            "bits": {"plain": found.plain, "chance": found.chance},
            "moved": found.moved,
            "plots": [
                {
                    "kind": "bars", "title": "Labels, those that differ most first",
                    "labels": [names[at] for at in shown], "y_label": "share of rows",
                    "series": {
                        "dataset": (one / one.sum())[shown].tolist(), "reference": (two / two.sum())[shown].tolist(),
                    },
                }
            ],
        },
    )  # fmt: skip


def _missing(
    dataset: Data,
    texts: list[str] | None,
    names: list[str],
    counts: tuple[Floats, Floats],
    places: dict[str, list[int]],
    smallest: float,
) -> Check:
    """Labels that one side lacks. That all rows of a label fell to the other side by chance has the probability
    ((rows there)/(all rows))^(rows of the label), when rows are dealt at random: Bonferroni over labels. Many new
    labels of few rows each are judged together, by the number of rows that would fall so."""
    one, two = counts
    n, m = one.sum(), two.sum()
    lacking = [at for at in range(len(names)) if not one[at] and two[at] / m >= smallest]
    new = [at for at in range(len(names)) if not two[at]]
    large = [at for at in new if one[at] / n >= smallest]
    p = [two[at] * math.log(m / (n + m)) for at in lacking] + [one[at] * math.log(n / (n + m)) for at in large]
    together = _many_new(one, two, smallest)
    best = min(1.0, len(names) * math.exp(min(p, default=0.0)), 2 * together)
    missed = float(two[lacking].sum() / m)
    made_up = float(one[new].sum() / n)
    worst = max([two[at] / m for at in lacking] + [one[at] / n for at in large], default=0.0)
    anything = bool(lacking or large) or together < 0.05
    rows = [row for at in sorted(new, key=lambda at: -one[at]) for row in places[names[at]]]
    return Check(
        "fidelity.labels",
        missed + made_up,
        subject="missing or new",
        n=int(n),
        gate=f"no label of at least {percent(smallest)} of the rows that one side lacks, beyond chance",
        tests=len(names) + 1,
        test=Test(best, max(worst, smallest) if anything else math.inf, _smallest_missing(len(names), n, m)),
        sentence=_tell_missing([names[at] for at in lacking], missed, [names[at] for at in new], made_up),
        advice="plan every label of the reference as a value of an axis, and give the list of labels in the prompt",
        method="probability that all rows of a label fall to one side by chance, Bonferroni over labels",
        evidence=() if texts is None else point_at(dataset, rows[:10], texts),
        details={
            "missing": {names[at]: int(two[at]) for at in lacking},
            "new": {names[at]: int(one[at]) for at in sorted(new, key=lambda at: -one[at])[:50]},
        },
    )


def _many_new(one: Floats, two: Floats, smallest: float) -> float:
    """The p-value that the dataset has more rows of new labels than rows dealt at random would give it, less the share
    `smallest`; of labels so rare that one alone says little. The number of rows is a sum over labels, each all or
    nothing: its distribution by the product of their characteristic functions."""
    n, m = one.sum(), two.sum()
    pooled = one + two
    rare = pooled <= RARE
    found = float(one[rare & (two == 0)].sum()) - smallest * n
    if found <= 0:
        return 1.0
    sizes, labels = np.unique(pooled[rare].astype(int), return_counts=True)
    points = int((sizes * labels).sum()) + 1
    angle = -2j * np.pi * np.arange(points) / points
    product = np.ones(points, dtype=np.complex128)
    for size, count_of in zip(sizes.tolist(), labels.tolist(), strict=True):
        chance = (n / (n + m)) ** size
        product *= (1 - chance + chance * np.exp(angle * size)) ** count_of
    shares = np.maximum(0.0, np.fft.ifft(product).real)
    return float(min(1.0, shares[math.ceil(found - 1e-9) :].sum() + 1e-12))


def _smallest_missing(labels: int, n: float, m: float) -> Callable[[float], float]:
    def mde_at(alpha: float) -> float:
        rows = math.log(alpha / labels) / math.log(max(n, m) / (n + m))
        return (rows + 0.84 * math.sqrt(rows)) / min(n, m)

    return mde_at


def _tell_missing(lacking: list[str], missed: float, new: list[str], made_up: float) -> str:
    if not lacking and not new:
        return "Every label of the reference is there, and no other."
    told = []
    if lacking:
        have = f"{percent(missed)} of the real rows have"
        told.append(f"The dataset has no row of {count(len(lacking), 'label')} that {have}: {several(lacking)}.")
    if new:
        told.append(f"{percent(made_up)} of its rows have labels that the reference does not know: {several(new)}.")
    return " ".join(told)
