"""Is a label given to one group more often than to another, among rows on the same topic?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.comparing import EXCERPT, Scene, Side, unseen
from factory.auditors.bias.contrasts import Contrast, contrast_test, eligible, share_contrasts, told_at_once, worst
from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.types import Check, Evidence

NAME = "bias.parity"
MOST_LABELS = 20
FEWEST = 10
TOPICS = 8
ROWS_OF_TOPIC = 100
FITTED_ON = 5_000
EACH = 5
WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
Places = NDArray[np.intp]


def topics(
    dataset: Data, reference: Data | None, context: AuditContext, hidden: frozenset[str] = frozenset()
) -> tuple[Places, Places | None, str]:
    """Topics of all rows: k-means of their vectors, fitted on a sample of both data sets together.

    `hidden`: words, in small letters, that are taken out first: those by which groups are told must make no topics, or
    there is nobody of another group within one.
    """
    from sklearn.cluster import KMeans

    from factory.auditors.spaces import local_space

    given = [*dataset.clipped, *(reference.clipped if reference is not None else [])]
    texts = [_without(text, hidden) for text in given] if hidden else given
    rng = context.rng(NAME, "topics")
    count = min(TOPICS, len(texts) // ROWS_OF_TOPIC)
    if count < 2:
        zeros = np.zeros(len(texts), dtype=np.intp)
        return zeros[: len(dataset)], zeros[len(dataset) :] if reference is not None else None, ""
    sample = np.sort(rng.choice(len(texts), min(FITTED_ON, len(texts)), replace=False))
    space = local_space(rng, [texts[place] for place in sample.tolist()], 32)
    means = KMeans(count, n_init=1, max_iter=50, random_state=int(rng.integers(2**31)))
    means.fit(space.vectors([texts[place] for place in sample.tolist()]))
    found = means.predict(space.vectors(texts)).astype(np.intp)
    told = f"{count} topics by k-means ({space.name})"
    return found[: len(dataset)], found[len(dataset) :] if reference is not None else None, told


def _without(text: str, hidden: frozenset[str]) -> str:
    return " ".join(word for word in WORDS.findall(text) if word.lower() not in hidden)


def parity(scene: Scene, *, limit: float, effect: float) -> list[Check]:
    """P(label | group), each group against the others, within topics (Mantel and Haenszel 1959); needs labels.

    Risk differences, each label by itself; at most the 20 labels with the most rows. With labels in the reference as
    well, what counts is the difference less the reference's.
    """
    labels = scene.here.data.labels
    if labels is None:
        told = "No column holds labels, so nothing can be said of labels by group."
        advice = "name the column: `label: NAME`, or `--label NAME`"
        return [Check(NAME, None, n=len(scene.here.data), sentence=told, advice=advice)]
    checks, too_few = [], []
    for grouping, there in scene.pairs:
        found = _check(scene, labels, grouping, there, limit, effect)
        if found is None:
            too_few.append(grouping.axis)
        else:
            checks.append(found)
    return [*checks, *([unseen(NAME, too_few, scene)] if too_few else [])]


def _check(
    scene: Scene, labels: Sequence[str | None], grouping: Grouping, there: Grouping | None, limit: float, effect: float
) -> Check | None:
    only = _labelled(grouping.only(), labels)
    real = scene.there.data.labels if scene.there is not None and there is not None else None
    real_only = _labelled(there.only(), real) if real is not None and there is not None else None
    if real is not None and not set(real) & set(labels):
        real = real_only = None
    chosen, small = eligible(only, grouping.names, scene.min_rows, real_only)
    wanted = _frequent(labels, only)
    if len(chosen) < 2 or len(wanted) < 2:
        return None
    contrasts = _contrasts(scene.here, labels, only, chosen, grouping.names, wanted)
    reals: list[Contrast] = []
    excess = contrasts
    if real is not None and real_only is not None and scene.there is not None:
        reals = _contrasts(scene.there, real, real_only, chosen, grouping.names, wanted)
        by_label = {one.label: one for one in reals}
        contrasts = [one for one in contrasts if one.label in by_label]
        reals = [by_label[one.label] for one in contrasts]
        excess = [one.less(other) for one, other in zip(contrasts, reals, strict=True)]
    if not excess:
        return None
    at, test = worst(excess, limit=limit, effect=effect)
    place = excess.index(at)
    label, _, group = contrasts[place].label.partition(" | ")
    with_reference = " more than in the reference" if reals else ""
    method = f"Mantel–Haenszel risk difference; groups: {grouping.source}"
    return Check(
        NAME,
        at.value,
        at.interval(told_at_once(test, len(excess))),
        n=int(np.count_nonzero(np.isin(only, chosen))),
        gate=f"a label's share differs between groups by at most {100 * limit:.3g} percentage points{with_reference}",
        sentence=_sentence(contrasts[place], reals[place] if reals else None, label, group),
        subject=grouping.axis,
        evidence=_evidence(scene.here.data, labels, only, list(grouping.names).index(group), label),
        details={
            "labels": list(wanted),
            "too_few_rows": small,
            "strata": scene.strata_told,
            "plots": [_forest(grouping, excess, limit, effect)],
        },
        method=f"{method}{scene.strata_told and '; strata: ' + scene.strata_told}",
        advice="draw label and group by axes apart from each other, or balance the rows of each label over the groups",
        tests=len(excess),
        test=test,
    )


def _labelled(only: Places, labels: Sequence[str | None]) -> Places:
    known = np.array([label is not None for label in labels], dtype=np.bool_)
    return np.where(known, only, -1).astype(np.intp)


def _frequent(labels: Sequence[str | None], only: Places) -> list[str]:
    """The labels that are tested: of two, one tells all; the rarest of them last."""
    counts = Counter(
        label for label, group in zip(labels, only.tolist(), strict=True) if group >= 0 and label is not None
    )
    return [label for label, n in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if n >= FEWEST][
        :MOST_LABELS
    ]


def _contrasts(
    side: Side,
    labels: Sequence[str | None],
    only: Places,
    chosen: Sequence[int],
    names: Sequence[str],
    wanted: Sequence[str],
) -> list[Contrast]:
    given = np.array([label if label is not None else "" for label in labels], dtype=object)
    tested = wanted[:1] if len(wanted) == 2 and len(set(labels) - {None}) == 2 else wanted
    found = []
    for label in tested:
        hits = np.asarray(given == label, dtype=np.bool_)
        for one in share_contrasts(hits, only, chosen, names, side.strata, side.clusters):
            shown = f"{label} | {one.label}"
            found.append(Contrast(shown, one.value, one.se, one.df, one.n, one.others, one.mean, one.others_mean))
    return found


def _sentence(one: Contrast, real: Contrast | None, label: str, group: str) -> str:
    told = (
        f"Among rows on the same topic, '{label}' is the label of {100 * one.mean:.1f} % of the rows that speak of "
        f"'{group}' alone ({one.n:,}), and of {100 * one.others_mean:.1f} % of those of the other groups "
        f"({one.others:,})."
    )
    if real is not None:
        told += f" In the reference they are {100 * real.value:+.1f} percentage points apart."
    return told


def _forest(grouping: Grouping, excess: Sequence[Contrast], limit: float, effect: float) -> dict[str, Any]:
    rows = []
    for one in excess[:40]:
        low, high = one.interval(len(excess))
        mde = contrast_test(one, limit=limit, effect=effect).mde_at(0.05 / len(excess))
        rows.append({"label": one.label, "value": one.value, "low": low, "high": high, "mde": mde})
    return {
        "kind": "forest",
        "title": f"share of a label by group: {grouping.axis}",
        "rows": rows,
        "limit": [-limit, limit],
        "x_label": "difference of shares, group less the others",
    }


def _evidence(data: Data, labels: Sequence[str | None], only: Places, group: int, label: str) -> tuple[Evidence, ...]:
    rows = [row for row, given in enumerate(labels) if given == label and only[row] == group][:EACH]
    return tuple(Evidence(row, data.texts[row][:EXCERPT], data.ids[row], details={"label": label}) for row in rows)
