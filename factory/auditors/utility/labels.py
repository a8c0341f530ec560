"""Labels of synthetic rows: those that real rows contradict, and classes that are missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.auditors.statistics import RESAMPLES, Floats, percentile_interval, resampled_sums, z_test
from factory.auditors.utility.arms import Arms
from factory.auditors.utility.learners import Ints
from factory.auditors.utility.mixing import fold_of
from factory.auditors.utility.pairing import estimate
from factory.types import Check, Evidence, Test

NOISE, MISSING = "utility.label_noise", "utility.labels_missing"
FOLDS = 5
SEEN = 0.05
"""A share of wrong labels so far above the limit must not go unseen."""
SHOWN = 20
LEAST_SIGHT = 0.15
"""Wrong labels must be contradicted so much oftener than right ones, or nothing can be told."""
ADVICE = "look at the rows in the evidence: a judge or a `where` filter on the label takes such rows out"


@dataclass(frozen=True, slots=True)
class Opinions:
    """What models say that have not seen a row (nor a copy of it). `rows`: places in the pool, those of a known class.

    `says`: the class that is confidently the likeliest, −1 for none. `margin`: its probability less that of the label.
    """

    rows: Ints
    says: Ints
    margin: Floats

    def contradicted(self, labels: Ints) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (self.says >= 0) & (self.says != labels[self.rows])
        return found


def label_noise(arms: Arms, dataset: Data, limit: float) -> Check:
    """The share of wrong labels among synthetic rows, from how often models of real rows contradict them.

    Confident learning (Northcutt, Jiang and Chuang 2021): a label is contradicted where another class is the likeliest
    among those whose probability reaches the mean that real rows of the class get out of fold. Real rows, judged in the
    same way, say how often right labels are contradicted (c), and wrong ones drawn at random (w), at the classes'
    shares among the synthetic rows: share = (found − c) / (w − c).
    """
    bench = arms.bench
    real, synthetic = judge_labels(arms)
    method = f"confident learning (Northcutt et al. 2021), {FOLDS} folds; {arms.learner.name}; bootstrap over rows"
    if not len(synthetic.rows) or not len(real.rows):
        return Check(NOISE, None, sentence="No synthetic row has a label that real rows have.", method=method)
    found, right, wrong, share, drawn = _rates(arms, real, synthetic)
    details = {"contradicted": found, "right_labels_contradicted": right, "wrong_labels_contradicted": wrong}
    evidence = _evidence(arms, synthetic, dataset)
    told = (
        f"Models of real rows contradict the label of {found:.1%} of {len(synthetic.rows):,} synthetic rows; of right "
        f"labels they contradict {right:.1%}, of wrong ones {wrong:.1%}."
    )
    if wrong - right < LEAST_SIGHT:
        told = f"{told} They see too little of wrong labels to tell how many there are."
        advice = "give more real rows of each class (`reference:`), or labels that the text tells"
        return Check(NOISE, None, n=len(synthetic.rows), sentence=told, advice=advice, method=method, details=details)
    low, high = percentile_interval(drawn)
    told = (
        f"{told} So about {max(0.0, share):.1%} of the labels are wrong ({max(0.0, low):.1%} to {max(0.0, high):.1%})."
    )
    return Check(
        NOISE,
        share,
        interval=(low, high),
        n=len(synthetic.rows),
        gate=f"at most {limit:.0%} of the labels are wrong",
        sentence=told + _unknown(bench.counts, arms),
        evidence=evidence,
        advice=ADVICE,
        method=method,
        details=details,
        test=z_test(share, float(np.std(drawn[np.isfinite(drawn)])), limit=limit, effect=limit + SEEN),
    )


def judge_labels(arms: Arms) -> tuple[Opinions, Opinions]:
    """Of real and of synthetic rows what models trained on the other folds' real rows say."""
    bench, real = arms.bench, arms.bench.real[: arms.most]
    folds = fold_of(bench.twins, arms.rng("utility.noise.folds"), FOLDS)
    known = np.unique(bench.labels[real])
    synthetic = bench.synthetic[np.isin(bench.labels[bench.synthetic], known)]
    rows = np.concatenate([real, synthetic])
    given = np.zeros((len(rows), bench.classes))
    for fold in range(FOLDS):
        arms.told("judge the labels")
        train, asked = np.sort(real[folds[real] != fold]), np.flatnonzero(folds[rows] == fold)
        if len(train) and len(asked):
            given[asked] = arms.learner.probabilities(train, bench.labels, rows[asked], bench.classes)
    bars = _bars(given[: len(real)], bench.labels[real])
    sure = np.where(given >= bars, given, -1.0)
    says = np.where(sure.max(axis=1) >= 0, sure.argmax(axis=1), -1)
    places = np.arange(len(rows))
    margin = given[places, np.maximum(says, 0)] - given[places, bench.labels[rows]]
    cut = len(real)
    return Opinions(real, says[:cut], margin[:cut]), Opinions(synthetic, says[cut:], margin[cut:])


def _bars(given: Floats, labels: Ints) -> Floats:
    """Of each class the mean probability that rows with its label get; no row reaches that of a class without rows."""
    classes = given.shape[1]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=given[np.arange(len(labels)), labels], minlength=classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def _rates(arms: Arms, real: Opinions, synthetic: Opinions) -> tuple[float, float, float, float, Floats]:
    """Contradicted synthetic labels, right ones, wrong ones, the share of wrong labels, and that over resamples."""
    bench = arms.bench
    known = np.unique(bench.labels[real.rows])
    others = max(1, len(known) - 1)
    hit = real.contradicted(bench.labels)
    wrong = np.where(real.says < 0, 0.0, np.where(hit, 1 - 1 / others, 1.0))
    mine = _by_class(bench.labels[synthetic.rows], known, synthetic.contradicted(bench.labels)[:, None])
    theirs = _by_class(bench.labels[real.rows], known, np.stack([hit, wrong], axis=1))
    one, other = (arms.rng(NOISE, name) for name in ("synthetic", "real"))
    groups = [np.unique(bench.twins[rows], return_inverse=True)[1] for rows in (synthetic.rows, real.rows)]
    drawn = _share(
        resampled_sums(mine, one, resamples=RESAMPLES, groups=groups[0]),
        resampled_sums(theirs, other, resamples=RESAMPLES, groups=groups[1]),
        len(known),
    )
    sums = np.asarray(mine.sum(axis=0)).reshape(1, -1), np.asarray(theirs.sum(axis=0)).reshape(1, -1)
    rates = _rates_of(*sums, len(known))
    found, right, broken = (float(rate[0]) for rate in rates)
    return found, right, broken, float(_share(*sums, len(known))[0]), drawn


def _by_class(labels: Ints, known: Ints, values: NDArray[Any]) -> Any:
    """Sparse [rows, classes · (1 + values)]: a one for the row's class, and its values in blocks of their own."""
    from scipy.sparse import csr_matrix, hstack

    at = np.searchsorted(known, labels)
    rows = np.arange(len(labels))
    shape = (len(labels), len(known))
    blocks = [np.ones(len(labels)), *np.asarray(values, dtype=np.float64).T]
    return hstack([csr_matrix((block, (rows, at)), shape=shape) for block in blocks], format="csr")


def _rates_of(mine: Floats, theirs: Floats, classes: int) -> tuple[Floats, Floats, Floats]:
    """Contradicted: synthetic labels; right and wrong labels of real rows, at the synthetic rows' shares of classes."""
    counts, hits = mine[:, :classes], mine[:, classes:]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    real = theirs[:, :classes]
    pooled = [theirs[:, classes * k : classes * (k + 1)] for k in (1, 2)]
    rates = []
    for block in pooled:
        overall = block.sum(axis=1, keepdims=True) / np.maximum(1, real.sum(axis=1, keepdims=True))
        rates.append((shares * (block + overall) / (real + 1)).sum(axis=1))
    return hits.sum(axis=1) / np.maximum(1, counts.sum(axis=1)), rates[0], rates[1]


def _share(mine: Floats, theirs: Floats, classes: int) -> Floats:
    found, right, wrong = _rates_of(mine, theirs, classes)
    return (found - right) / np.maximum(wrong - right, LEAST_SIGHT / 3)


def _evidence(arms: Arms, found: Opinions, dataset: Data) -> tuple[Evidence, ...]:
    bench = arms.bench
    hit = np.flatnonzero(found.contradicted(bench.labels))
    worst = hit[np.argsort(-found.margin[hit], kind="stable")][:SHOWN]
    shown = []
    for place in worst.tolist():
        row = int(found.rows[place])
        at = int(bench.places[row])
        details = {"label": bench.names[bench.labels[row]], "real rows say": bench.names[int(found.says[place])]}
        shown.append(Evidence(at, bench.texts[row][:300], dataset.ids[at], details=details))
    return tuple(shown)


def _unknown(counts: dict[str, int], arms: Arms) -> str:
    bench = arms.bench
    known = np.unique(bench.labels[bench.real])
    strange = int((~np.isin(bench.labels[bench.synthetic], known)).sum())
    return f" {strange:,} rows have a label that no real row has; they are not judged." if strange else ""


def labels_missing(arms: Arms, *, gated: bool = True) -> Check:
    """Classes of real rows that the dataset lacks beyond chance: Fisher's exact test for each, Bonferroni over them.

    Not `gated`: they are told, and no verdict hangs on them.
    """
    bench = arms.bench
    test_rows = np.bincount(bench.labels[bench.test], minlength=bench.classes)
    real = np.bincount(bench.labels[bench.real], minlength=bench.classes) + test_rows
    synthetic = np.bincount(bench.labels[bench.synthetic], minlength=bench.classes)
    wanted = np.flatnonzero(real)
    gone = wanted[synthetic[wanted] == 0]
    n, m = int(synthetic.sum()), int(real.sum())
    chances = [chance_of_none(int(real[one]), m, n) for one in gone]
    shares = real[gone] / m
    value = float(shares.sum())
    strange = [bench.names[k] for k in np.flatnonzero((synthetic > 0) & (real == 0))]
    details: dict[str, Any] = {
        "missing": {bench.names[k]: float(s) for k, s in zip(gone[:100], shares[:100], strict=True)},
        "unknown_to_real_rows": strange[:100],
        "plots": [_plot(arms, real, synthetic)],
    }
    told = f"Each of the {len(wanted):,} classes of the real rows is in the dataset."
    if len(gone):
        cost = _cost(arms, gone)
        details["accuracy_without_them"] = cost
        some = ", ".join(f"`{bench.names[k][:40]}`" for k in gone[:5])
        told = (
            f"{len(gone):,} of the {len(wanted):,} classes of the real rows are not in the dataset: {some}"
            f"{', …' if len(gone) > 5 else ''}. They are {value:.1%} of the real rows; {cost['sentence']}"
        )
    if strange:
        told += f" {len(strange):,} of its classes are not among the real rows: {', '.join(strange[:5])[:200]}."
    return Check(
        MISSING,
        value,
        n=n,
        gate="no class of the real rows is missing beyond chance" if gated else None,
        sentence=told,
        advice="plan rows for these classes: an axis with all labels, `balance: true`, or a `quota` filter",
        method="Fisher's exact test for each class without rows, Bonferroni over the classes",
        details=details,
        tests=len(wanted) if gated else 0,
        test=_missing_test(chances, len(wanted), m, n) if gated else None,
    )


def chance_of_none(real: int, all_real: int, synthetic: int) -> float:
    """The chance that none of `real` rows of a class is among `synthetic` rows of both samples (hypergeometric)."""
    total = all_real + synthetic

    def ways(count: int, taken: int) -> float:
        return math.lgamma(count + 1) - math.lgamma(taken + 1) - math.lgamma(count - taken + 1)

    if real > all_real:
        return 0.0
    return math.exp(min(0.0, ways(total - real, synthetic) - ways(total, synthetic)))


def _missing_test(chances: list[float], classes: int, real: int, synthetic: int) -> Test:
    def mde(alpha: float) -> float:
        """The smallest share of real rows whose absence is found."""
        for rows in range(1, real + 1):
            if chance_of_none(rows, real, synthetic) <= alpha / classes:
                return rows / real
        return 1.0

    return Test(min(1.0, classes * min(chances, default=1.0)), 1.0 / classes, mde)


def _cost(arms: Arms, gone: Ints) -> dict[str, Any]:
    """What a model of real rows loses when it has seen none of these classes."""
    bench, real = arms.bench, arms.bench.real[: arms.most]
    kept = real[~np.isin(bench.labels[real], gone)]
    if not len(kept):
        return {"value": None, "sentence": "nothing is left to train on without them."}
    whole = arms.correct(real, "all classes")
    less = arms.correct(kept, "without the missing classes")
    found = estimate((whole.astype(np.float64) - less)[None], arms.rng(MISSING))
    low, high = (100 * one for one in found.interval)
    told = (
        f"a model of real rows loses {100 * found.value:.1f} points of accuracy without them ({low:.1f} to {high:.1f})."
    )
    return found.told() | {"sentence": told}


def _plot(arms: Arms, real: Ints, synthetic: Ints) -> dict[str, Any]:
    order = np.argsort(-real, kind="stable")[:40]
    return {
        "kind": "bars",
        "title": "Rows by class",
        "labels": [arms.bench.names[k][:40] for k in order],
        "series": {
            "dataset": (synthetic[order] / max(1, synthetic.sum())).tolist(),
            "reference": (real[order] / max(1, real.sum())).tolist(),
        },
        "y_label": "share of rows",
    }
