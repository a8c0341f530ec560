"""Whether the texts show an axis, without a model: can a classifier trained on some rows tell it of the others?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.requested.values import Axis, read_axis
from factory.auditors.statistics import POWER, Z95, z_quantile, z_tail
from factory.types import Check, Evidence, Test

NAME = "requested.axis"
MOST_ROWS = 5000
FOLDS = 5
FEWEST_ROWS = 40
WIDTH = 50_000
PAIRS = 3
OVERLAP = math.sqrt(1 + FOLDS / (FOLDS - 1))
"""Folds share most of their training rows, so their results vary together (Nadeau and Bengio 2003)."""
ADVICE = (
    "say in the prompt what the axis is to change; if it is not meant to show, name the others in `axes:`; a judge "
    "sees more than a classifier: `model: ROLE`"
)


def visible(dataset: Data, axis: str, context: AuditContext, *, limit: float) -> Check:
    """How much better than chance the axis can be told from the text, 0 (not at all) to 1 (always)."""
    rng = context.rng(NAME, axis)
    places = np.arange(len(dataset))
    if len(places) > MOST_ROWS:
        places = np.sort(rng.choice(len(dataset), MOST_ROWS, replace=False))
    read = read_axis(axis, [dataset.axes[axis][place] for place in places])
    texts = [dataset.clipped[place] for place in places]
    if read.kind == "constant":
        return _open(
            axis, len(texts), f"All rows have the same value of `{axis}`.", "vary it, or leave it out of `axes:`"
        )
    if read.kind == "rare" or len(texts) < FEWEST_ROWS:
        told = f"There are too few rows for each value of `{axis}` to tell whether the texts show it."
        return _open(axis, len(texts), told, "more rows, or a judge: `model: ROLE`")
    if read.kind == "texts":
        return _matched(axis, read, texts, rng, limit)
    return _classified(axis, read, texts, places, dataset, context, limit)


def _open(axis: str, n: int, told: str, advice: str) -> Check:
    return Check(NAME, None, n=n, sentence=told, subject=axis, advice=advice)


def _classified(
    axis: str, read: Axis, texts: list[str], places: NDArray[Any], dataset: Data, context: AuditContext, limit: float
) -> Check:
    """Out-of-fold balanced accuracy of a linear classifier over TF-IDF, scaled so that chance is 0."""
    kept = np.flatnonzero(read.codes >= 0)
    codes = read.codes[kept]
    predicted = _predict([texts[place] for place in kept], codes, context.rng(NAME, axis, "folds"))
    right = (predicted == codes).astype(np.float64)
    counts = np.bincount(codes)
    classes = np.flatnonzero(counts)
    recalls = np.array([right[codes == one].mean() for one in classes])
    chance = 1 / len(classes)
    skill = float((recalls.mean() - chance) / (1 - chance))
    variance = sum(r * (1 - r) / counts[one] + 0.25 / counts[one] ** 2 for r, one in zip(recalls, classes, strict=True))
    se = OVERLAP * math.sqrt(variance) / len(classes) / (1 - chance)
    wrong = kept[np.flatnonzero(right == 0)][:8]
    evidence = tuple(
        Evidence(
            int(places[place]),
            texts[place][:300],
            dataset.ids[int(places[place])],
            details={"asked for": read.names[read.codes[place]], "looks like": read.names[predicted[at]]},
        )
        for place, at in ((int(one), int(np.flatnonzero(kept == one)[0])) for one in wrong)
    )
    table = [[read.names[one], int(counts[one]), float(recall)] for one, recall in zip(classes, recalls, strict=True)]
    told = f"From the text alone `{axis}` is told right in {recalls.mean():.0%} of rows, by chance in {chance:.0%}."
    method = f"linear classifier over TF-IDF (words, pairs), {FOLDS} folds, balanced accuracy, chance taken off"
    details = {"tables": [{"title": f"{axis}: told right", "header": ["value", "rows", "share"], "rows": table}]}
    return _finish(axis, skill, se, len(kept), limit, told, method, details, evidence)


def _predict(texts: list[str], codes: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """The class of each row by a model that was trained without it."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import LinearSVC

    words = {"token_pattern": r"(?u)\w+", "ngram_range": (1, 2), "sublinear_tf": True, "max_features": WIDTH}
    matrix = TfidfVectorizer(**words).fit_transform([f"{text} _" for text in texts])
    seed = int(rng.integers(2**31))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    predicted = np.empty(len(codes), dtype=np.intp)
    for train, test in folds.split(np.zeros(len(codes)), codes):
        model = LinearSVC(class_weight="balanced", random_state=seed)
        predicted[test] = model.fit(matrix[train], codes[train]).predict(matrix[test])
    return predicted


def _matched(axis: str, read: Axis, texts: list[str], rng: np.random.Generator, limit: float) -> Check:
    """Whether a text is more like the value that it was asked for than like others: 2·AUC − 1 over pairs of a row."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 5), max_features=WIDTH)
    matrix = vectorizer.fit_transform([*texts, *read.shown])
    rows, values = matrix[: len(texts)], matrix[len(texts) :]
    own = np.asarray(rows.multiply(values).sum(axis=1)).ravel()
    wins = np.zeros(len(texts))
    for _ in range(PAIRS):
        others = (np.arange(len(texts)) + rng.integers(1, len(texts), len(texts))) % len(texts)
        other = np.asarray(rows.multiply(values[others]).sum(axis=1)).ravel()
        same = np.array([read.shown[one] == read.shown[two] for one, two in enumerate(others)])
        wins += np.where(same | (own == other), 0.0, np.sign(own - other)) / PAIRS
    skill, se = float(wins.mean()), float(wins.std(ddof=1) / math.sqrt(len(wins)))
    told = f"A text is nearer to its own value of `{axis}` than to another row's in {(1 + skill) / 2:.0%} of pairs."
    method = (
        "TF-IDF of character 3- to 5-grams, cosine with the row's own value against another row's; chance taken off"
    )
    return _finish(axis, skill, max(se, 1e-9), len(texts), limit, told, method, {}, ())


def _finish(
    axis: str,
    skill: float,
    se: float,
    n: int,
    limit: float,
    told: str,
    method: str,
    details: dict[str, Any],
    evidence: tuple[Evidence, ...],
) -> Check:
    """The gate is about an axis that does not show: it fails when `skill` lies below `limit` beyond doubt.

    What must not go unseen is an axis that shows not at all (0). Where skill is above the limit beyond doubt there is
    nothing left to be seen.
    """
    seen = skill - limit > 2.5 * se

    def mde_at(alpha: float) -> float:
        return 0.0 if seen else (z_quantile(1 - alpha) + z_quantile(POWER)) * se

    half = Z95 * se
    return Check(
        NAME,
        skill,
        interval=(max(-1.0, skill - half), min(1.0, skill + half)),
        n=n,
        gate=f"at least {limit:g} better than chance (0: chance, 1: always right)",
        sentence=told,
        subject=axis,
        evidence=evidence,
        details=details,
        method=method,
        advice=ADVICE,
        test=Test(z_tail((limit - skill) / se), limit, mde_at),
    )
