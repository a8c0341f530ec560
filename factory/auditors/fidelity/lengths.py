"""fidelity.length: are the texts as long as real ones?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.telling import point_at
from factory.auditors.fidelity.testing import kolmogorov_test
from factory.auditors.statistics import Z95, worst_of
from factory.types import Check, Evidence, Test

Floats = NDArray[np.float64]
BINS = 40
LEANING = 0.25
"""Standard errors by which the largest of many differences comes out too large, about."""


@dataclass(frozen=True, eq=False)
class Distance:
    """Two samples of numbers compared. `ks`: largest difference of their distribution functions, with its interval.

    `wasserstein`: the mean distance that values would have to be moved, in the values' unit.
    """

    ks: float
    interval: tuple[float, float]
    wasserstein: float
    medians: tuple[float, float]
    test: Test


def compare_numbers(here: Floats, there: Floats, *, limit: float, effect: float) -> Distance:
    """KS and Wasserstein-1 distance of two samples, none empty; ties are taken together."""
    values = np.unique(np.concatenate([here, there]))
    one = np.searchsorted(np.sort(here), values, side="right") / len(here)
    two = np.searchsorted(np.sort(there), values, side="right") / len(there)
    gaps = np.abs(one - two)
    at = int(np.argmax(gaps))
    ks = float(gaps[at])
    se = float(np.sqrt(one[at] * (1 - one[at]) / len(here) + two[at] * (1 - two[at]) / len(there)))
    known = kolmogorov_test(ks, len(here), len(there), limit=0.0, effect=effect).p <= 0.05
    middle = ks - LEANING * se
    low = max(0.0, middle - Z95 * se) if known else 0.0
    return Distance(
        ks=ks,
        interval=(low, max(ks, min(1.0, middle + Z95 * se))),
        wasserstein=float((gaps[:-1] * np.diff(values)).sum()),
        medians=(float(np.median(here)), float(np.median(there))),
        test=kolmogorov_test(ks, len(here), len(there), limit=limit, effect=effect),
    )


def measure(texts: list[str]) -> dict[str, Floats]:
    """Words (between spaces) and characters of each text."""
    words = np.fromiter((len(text.split()) for text in texts), dtype=np.float64, count=len(texts))
    characters = np.fromiter(map(len, texts), dtype=np.float64, count=len(texts))
    return {"words": words, "characters": characters}


def check_lengths(pair: Pair, *, limit: float, effect: float) -> Check:
    """KS distance of words and characters of each text column, the largest of them against the limit."""
    here = {(name, unit): v for name, texts in pair.whole_here.items() for unit, v in measure(texts).items()}
    there = {(name, unit): v for name, texts in pair.whole_there.items() for unit, v in measure(texts).items()}
    found = {key: compare_numbers(here[key], there[key], limit=limit, effect=effect) for key in here}
    worst = max(found, key=lambda key: found[key].ks)
    largest = found[worst]
    rows = [[*key, one.ks, one.wasserstein, *one.medians] for key, one in found.items()]
    header = ["column", "unit", "KS distance", "Wasserstein distance", "median here", "median in the reference"]
    return Check(
        "fidelity.length",
        largest.ks,
        interval=largest.interval,
        n=len(pair.dataset),
        gate=f"KS distance of lengths at most {limit:g} in every text column",
        tests=len(found),
        test=worst_of([one.test for one in found.values()]),
        sentence=_tell(worst, largest, pair.note),
        advice=_advise(worst, largest),
        method=(
            "Kolmogorov-Smirnov distance of words (between spaces) and characters by text column, tested against the "
            "limit by the Dvoretzky-Kiefer-Wolfowitz-Massart bound; Wasserstein-1 distance beside it"
        ),
        evidence=_outside(pair, worst, here[worst], there[worst]),
        details={
            "ks": {" ".join(key): one.ks for key, one in found.items()},
            "wasserstein": {" ".join(key): one.wasserstein for key, one in found.items()},
            "tables": [{"title": "Lengths by column", "header": header, "rows": rows}],
            "plots": [_histogram(key, here[key], there[key]) for key in found if key[1] == worst[1]],
        },
    )


def _tell(worst: tuple[str, str], found: Distance, note: str) -> str:
    column, unit = worst
    mine, theirs = found.medians
    told = (
        f"Half of the texts in `{column}` have at most {mine:g} {unit}, in the reference {theirs:g}; at one length the "
        f"shares of texts that are no longer differ by {100 * found.ks:.1f} points (of at most 100)."
    )
    return f"{told} {note}".strip()


def _advise(worst: tuple[str, str], found: Distance) -> str:
    mine, theirs = found.medians
    how = "longer" if mine < theirs else "shorter" if mine > theirs else "more varied"
    return (
        f"ask for {how} texts in `{worst[0]}`: an axis of lengths drawn as in the reference and named in the prompt, "
        "`max_tokens` high enough, `length:` bounds as a scorer"
    )


def _outside(pair: Pair, worst: tuple[str, str], here: Floats, there: Floats) -> tuple[Evidence, ...]:
    """Rows whose length lies outside of all real ones, the farthest first."""
    low, high = float(there.min()), float(there.max())
    off = np.maximum(low - here, here - high)
    rows = [int(row) for row in np.argsort(-off, kind="stable")[:5] if off[row] > 0]
    return point_at(pair.dataset, rows, pair.here[worst[0]], **{worst[1]: [float(here[row]) for row in rows]})


def _histogram(key: tuple[str, str], here: Floats, there: Floats) -> dict[str, object]:
    top = float(np.quantile(np.concatenate([here, there]), 0.99))
    edges = np.unique(np.round(np.linspace(0, max(1.0, top), BINS + 1), 6))
    series = {}
    for name, values in (("dataset", here), ("reference", there)):
        counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
        series[name] = (counts / len(values)).tolist()
    title = f"Length of `{key[0]}` (the last bar holds all longer ones)"
    return {"kind": "histogram", "title": title, "edges": edges.tolist(), "series": series, "x_label": key[1]}
