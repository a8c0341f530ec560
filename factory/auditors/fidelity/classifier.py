"""fidelity.classifier: can a simple classifier of words tell the dataset from real rows?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.telling import percent, point_at, unmeasured
from factory.auditors.fidelity.testing import normal_interval
from factory.auditors.fidelity.words import Words
from factory.auditors.statistics import Z95, z_test
from factory.types import Check

Floats = NDArray[np.float64]
MOST_ROWS = 10_000
FEWEST_ROWS = 50


def check_classifier(pair: Pair, words: Words, context: AuditContext, *, limit: float, effect: float) -> Check:
    """A two-sample test by a classifier (Lopez-Paz and Oquab 2017): AUC on rows that it was not trained on."""
    rng = context.rng("fidelity.classifier")
    here, there = words.joined()
    size = min(here.shape[0], there.shape[0], 2 * MOST_ROWS)
    if size < FEWEST_ROWS:
        why = f"{size:,} rows on each side are too few to train and to test."
        return unmeasured("classifier", why, f"at least {FEWEST_ROWS} rows each", n=len(pair.dataset))
    mine, theirs = rng.permutation(here.shape[0])[:size], rng.permutation(there.shape[0])[:size]
    half = size // 2
    weights = learn(here[mine[:half]], there[theirs[:half]])
    scores = [np.asarray(side @ weights).ravel() for side in (here[mine[half:]], there[theirs[half:]])]
    found, se = area_under_curve(*scores)
    low, high = normal_interval(found, se, 0.0, 1.0)
    order = np.argsort(-scores[0], kind="stable")[:5]
    given = np.argsort(-weights, kind="stable")[:10]
    return Check(
        "fidelity.classifier",
        found,
        interval=(low, high),
        n=size - half,
        gate=f"a classifier of words tells dataset and reference apart with an AUC of at most {limit:g}",
        tests=1,
        test=z_test(found, se, limit=limit, effect=effect),
        sentence=(
            f"Of a row of the dataset and a real one, a simple classifier of words picks the right one in "
            f"{percent(found)} of the cases (guessing: 50 %)."
        ),
        advice="the words that give rows away: " + ", ".join(words.names[at] for at in given),
        method=f"naive Bayes over words, trained on {half:,} rows each, judged on {size - half:,}; DeLong's error",
        evidence=point_at(
            pair.dataset, mine[half:][order].tolist(), pair.joined[0], score=[float(scores[0][at]) for at in order]
        ),
        details={"gives away": [words.names[at] for at in given]},
    )


def learn(here: Any, there: Any) -> Floats:
    """Log-odds of each word, smoothed by half an occurrence a word (Krichevsky and Trofimov 1981)."""
    logs = []
    for side in (here, there):
        totals = np.asarray(side.sum(axis=0)).ravel() + 0.5
        logs.append(np.log(totals / totals.sum()))
    found: Floats = logs[0] - logs[1]
    return found


def area_under_curve(positive: Floats, negative: Floats) -> tuple[float, float]:
    """AUC, ties by half, and its standard error by DeLong, DeLong and Clarke-Pearson 1988.

    Where nothing varies (all told apart), the error is that of the rule of three.
    """
    order, other = np.sort(negative), np.sort(positive)
    above = (np.searchsorted(order, positive, "left") + np.searchsorted(order, positive, "right")) / (2 * len(order))
    below = 1 - (np.searchsorted(other, negative, "left") + np.searchsorted(other, negative, "right")) / (
        2 * len(other)
    )
    se = math.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    return float(above.mean()), max(se, 3 / (Z95 * min(len(above), len(below))) / 2)
