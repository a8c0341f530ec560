"""fidelity.style: are the texts written as real ones are?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.marks import FEATURES, style_features
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.telling import point_at
from factory.auditors.fidelity.testing import normal_interval, student_test
from factory.auditors.fidelity.words import Words
from factory.auditors.statistics import worst_of, z_tail
from factory.types import Check, Evidence, Test

Floats = NDArray[np.float64]
COMMONEST = 50
LANGUAGE_ROWS = 2_000
LANGUAGE_CHARS = 200
OUTLIERS = 0.995
MOST = 10.0
"""Standard deviations that a difference is told as at most."""


@dataclass(frozen=True, eq=False)
class Difference:
    """A feature's mean in the dataset less that in the reference, in standard deviations, and the means."""

    column: str
    feature: str
    value: float
    se: float
    means: tuple[float, float]
    test: Test

    @property
    def label(self) -> str:
        return f"{self.column}: {self.feature}"


def compare_means(here: Floats, there: Floats, *, limit: float, effect: float) -> tuple[float, float, Test]:
    """Standardised difference of means (Cohen's d by the mean of both variances), its standard error, and its test.

    Values beyond the pooled quantiles .005 and .995 count as these, so that a few huge ones decide nothing. Welch's
    degrees of freedom.
    """
    low, high = np.quantile(np.concatenate([here, there]), [1 - OUTLIERS, OUTLIERS])
    one, two = np.clip(here, low, high), np.clip(there, low, high)
    first, second = float(one.var(ddof=1)), float(two.var(ddof=1))
    sd = float(np.sqrt((first + second) / 2))
    gap = float(one.mean() - two.mean())
    if sd <= 1e-9 * max(1.0, abs(float(two.mean()))):
        value = 0.0 if abs(gap) <= 1e-9 else float(np.sign(gap)) * MOST
        return value, 0.0, student_test(value, 0.0, 1, limit=limit, effect=effect)
    each = first / len(one), second / len(two)
    se = float(np.sqrt(sum(each)))
    df = sum(each) ** 2 / (each[0] ** 2 / (len(one) - 1) + each[1] ** 2 / (len(two) - 1))
    value = gap / sd
    spread = float(np.sqrt((se / sd) ** 2 + value**2 / (2 * (len(one) + len(two)))))
    return value, spread, student_test(value, spread, df, limit=limit, effect=effect)


def check_style(pair: Pair, words: Words, context: AuditContext, *, limit: float, effect: float) -> Check:
    """Standardised differences of style features by text column, the largest of them against the limit."""
    found: list[Difference] = []
    marks: dict[str, tuple[Floats, Floats]] = {}
    for name in pair.columns:
        sides = style_features(pair.here[name]), style_features(pair.there[name])
        marks[name] = sides
        for place, feature in enumerate(FEATURES):
            one, two = sides[0][:, place], sides[1][:, place]
            found.append(_differ(name, feature, one, two, limit, effect))
        found.append(_differ(name, "the commonest words", *_common_words(words, name), limit, effect))
        language = _language(pair, name, context)
        if language is not None:
            found.append(_differ(name, f"in another language than {language[0]}", *language[1:], limit, effect))
    ordered = sorted(found, key=lambda one: -abs(one.value))
    worst = ordered[0]
    beyond = [one for one in ordered if abs(one.value) > limit and len(found) * one.test.p <= 0.05]
    return Check(
        "fidelity.style",
        abs(worst.value),
        interval=_size_interval(worst),
        n=len(pair.dataset),
        gate=f"no style feature's mean differs by more than {limit:g} standard deviations",
        tests=len(found),
        test=worst_of([one.test for one in found]),
        sentence=_tell(worst, len(beyond), len(found)),
        advice="name the style in the prompt, or show real rows as examples: " + "; ".join(map(_how, beyond[:3])),
        method=f"{len(found)} features, differences of means in pooled standard deviations, Welch's t, Bonferroni",
        evidence=_extreme(pair, marks, worst),
        details=_details(ordered, limit),
    )


def _differ(name: str, feature: str, one: Floats, two: Floats, limit: float, effect: float) -> Difference:
    value, se, test = compare_means(one, two, limit=limit, effect=effect)
    return Difference(name, feature, value, se, (float(one.mean()), float(two.mean())), test)


def _size_interval(found: Difference) -> tuple[float, float]:
    low, high = normal_interval(abs(found.value), found.se, low=0.0)
    known = found.se <= 0 or 2 * z_tail(abs(found.value) / found.se) <= 0.05
    return (low if known else 0.0), high


def _common_words(words: Words, name: str) -> tuple[Floats, Floats]:
    """The share of each text's words that are among the commonest of both sides (those of one would favour it)."""
    here, there = words.of(name)
    totals = np.asarray(here.sum(axis=0)).ravel() + np.asarray(there.sum(axis=0)).ravel()
    common = np.sort(np.argsort(-totals, kind="stable")[:COMMONEST])
    sides = []
    for matrix in (here, there):
        hits = np.asarray(matrix[:, common].sum(axis=1)).ravel()
        sides.append(hits / np.maximum(1, np.asarray(matrix.sum(axis=1)).ravel()))
    return sides[0].astype(np.float64), sides[1].astype(np.float64)


def _language(pair: Pair, name: str, context: AuditContext) -> tuple[str, Floats, Floats] | None:
    """The reference's main language, and for a sample of rows of each whether they are in another."""
    rng = context.rng("fidelity.style", "language", name)
    sides = []
    for texts in (pair.here[name], pair.there[name]):
        rows = np.sort(rng.choice(len(texts), min(len(texts), LANGUAGE_ROWS), replace=False))
        sides.append(_languages([texts[row] for row in rows.tolist()]))
    known = Counter(one for one in sides[1] if one)
    if not known:
        return None
    main = min(known, key=lambda one: (-known[one], one))
    found = [np.array([bool(one) and one != main for one in side], dtype=np.float64) for side in sides]
    return main, found[0], found[1]


def _languages(texts: Sequence[str]) -> list[str]:
    """The likeliest language of each text by its beginning, "" for one without a letter."""
    from factory.scorers.language_model import encode, model, probabilities

    cut = [text[:LANGUAGE_CHARS] for text in texts]
    best = np.argmax(probabilities([encode(text) for text in cut]), axis=1).tolist()
    labels = model().labels
    return [labels[at] if any(map(str.isalpha, text)) else "" for at, text in zip(best, cut, strict=True)]


def _tell(worst: Difference, beyond: int, total: int) -> str:
    here, there = worst.means
    told = (
        f"Of {total} features of style {beyond} differ clearly. The largest difference: {worst.feature} in "
        f"`{worst.column}`, {here:.3g} on average against {there:.3g} in the reference"
    )
    return f"{told} ({abs(worst.value):.2f} standard deviations)."


def _how(one: Difference) -> str:
    word = "less" if one.value > 0 else "more"
    return f"{word} of `{one.feature}` in `{one.column}` ({one.means[0]:.3g}, real {one.means[1]:.3g})"


def _extreme(pair: Pair, marks: dict[str, tuple[Floats, Floats]], worst: Difference) -> tuple[Evidence, ...]:
    """The rows that have most (or least) of the feature that differs most."""
    if worst.feature not in FEATURES:
        return ()
    values = marks[worst.column][0][:, FEATURES.index(worst.feature)]
    rows = [int(row) for row in np.argsort(-np.sign(worst.value) * values, kind="stable")[:5]]
    return point_at(pair.dataset, rows, pair.here[worst.column], **{worst.feature: [float(values[r]) for r in rows]})


def _details(ordered: list[Difference], limit: float) -> dict[str, object]:
    rows = []
    for one in ordered[:30]:
        low, high = normal_interval(one.value, one.se)
        rows.append({"label": one.label, "value": one.value, "low": low, "high": high})
    plot = {
        "kind": "forest", "title": "Features of style: dataset less reference", "rows": rows, "limit": [-limit, limit],
        "x_label": "standard deviations",
    }  # fmt: skip
    means = {one.label: {"dataset": one.means[0], "reference": one.means[1], "d": one.value} for one in ordered}
    return {"features": means, "plots": [plot]}
