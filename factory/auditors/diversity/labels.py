"""How evenly the rows spread over their labels, beside real rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from factory.auditors.data import Data
from factory.auditors.diversity.telling import FEWEST, NO_REFERENCE, loss_interval, loss_test, percent, unknown
from factory.types import Check

NAME = "diversity.labels"
_BARS = 20


def label_entropy(counts: Sequence[int]) -> tuple[float, float]:
    """Entropy in nats with Miller and Madow's correction (1955), and its standard error by the delta method."""
    found = np.array([count for count in counts if count], dtype=np.float64)
    n = found.sum()
    shares = found / n
    surprise = -np.log(shares)
    entropy = float(shares @ surprise)
    variance = float(shares @ (surprise - entropy) ** 2) / n
    return entropy + (len(found) - 1) / (2 * n), math.sqrt(variance)


def check_labels(dataset: Data, reference: Data | None, *, max_loss: float) -> Check:
    """`diversity.labels`: the share of the reference's effective number of labels that the dataset lacks."""
    mine = _counts(dataset)
    if mine is None:
        return unknown(NAME, "No column holds labels.", "name it: `label: COLUMN`, where there is one", n=len(dataset))
    n = mine.total()
    if not n:
        return unknown(NAME, f"The column `{dataset.label}` is empty.", "name another: `label: COLUMN`", n=0)
    entropy, se = label_entropy(list(mine.values()))
    told = (
        f"The rows spread over {len(mine):,} labels as evenly as over {math.exp(entropy):.1f} equally common ones; the "
        f"commonest, “{mine.most_common(1)[0][0]}”, has {percent(mine.most_common(1)[0][1] / n)}."
    )
    details = {"labels": len(mine), "effective": math.exp(entropy)}
    theirs = None if reference is None else _counts(reference)
    if reference is None or not theirs:
        advice = NO_REFERENCE if reference is None else "name the reference's labels: `label: COLUMN`, the same in both"
        return Check(NAME, None, n=n, sentence=told, details=details, advice=advice, method="entropy of the labels")
    if min(n, theirs.total()) < FEWEST:
        return unknown(NAME, f"{told} The rows with labels are too few to compare.", f"at least {FEWEST} rows", n=n)
    real, real_se = label_entropy(list(theirs.values()))
    loss, both = 1 - math.exp(entropy - real), math.hypot(se, real_se)
    names = [name for name, _ in (theirs + mine).most_common(_BARS)]
    plot = {
        "kind": "bars",
        "title": "Commonest labels",
        "labels": names,
        "series": {
            "dataset": [mine[name] / n for name in names],
            "reference": [theirs[name] / theirs.total() for name in names],
        },
        "y_label": "share of rows",
    }
    return Check(
        NAME,
        loss,
        interval=loss_interval(entropy - real, both),
        n=n,
        gate=f"an effective number of labels at most {percent(max_loss)} below the reference's",
        sentence=f"{told} The reference's spread as over {math.exp(real):.1f}.",
        details={**details, "reference_labels": len(theirs), "reference_effective": math.exp(real), "plots": [plot]},
        method="entropy of the labels (Miller and Madow's correction), as an effective number; delta method",
        advice="draw the labels evenly: an axis in `vary`, or `quota` in `filter`",
        tests=1,
        test=loss_test(entropy - real, both, limit=max_loss, effect=min(0.99, max_loss + 0.1)),
    )


def _counts(data: Data) -> Counter[str] | None:
    """Rows of each label; None without a label column."""
    if data.labels is None:
        return None
    return Counter(label for label in data.labels if label is not None)
