"""What the scores say, and how well they tell good rows from bad: figures with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from factory.measures import (
    Measured,
    auc,
    calibration,
    calibration_error,
    kappa,
    partial_spearman,
    share,
    spearman,
)
from factory.scoring import Scorer, Scorers
from factory.types import Score, Scored

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in order: scores, labels (None: no label), the group of each, and how long the texts are."""

    scored: Sequence[Scored]
    labels: Sequence[float | None] | None
    groups: Sequence[Any] | None
    characters: Sequence[int]

    def scores(self, name: str) -> list[Score | None]:
        """One scorer's score of each row; None where it was not asked."""
        return [next((one for one in scored.scores if one.name == name), None) for scored in self.scored]


@dataclass(frozen=True, slots=True)
class _Column:
    """Rows where a scorer has a value, by their place."""

    places: list[int]
    values: list[float]

    def pick(self, all_: Sequence[Any]) -> list[Any]:
        return [all_[place] for place in self.places]


def build_report(scorers: Scorers, table: Table) -> dict[str, Any]:
    """`scorers` by name, `total`, and `agreement` between every two. Plain data, ready for JSON."""
    told = {scorer.name: _tell(scorer, table) for scorer in scorers.scorers}
    columns = {scorer.name: _column(table.scores(scorer.name)) for scorer in scorers.scorers}
    vetoed = [any(score.vetoed for score in one.scores) for one in table.scored]
    report: dict[str, Any] = {
        "scorers": told,
        "vetoed": _told(share(sum(vetoed), len(vetoed))),
        "agreement": _agreement(columns, table),
    }
    if any(scorer.weight for scorer in scorers.scorers):
        playing = [place for place, out in enumerate(vetoed) if not out]
        totals = _Column(playing, [table.scored[place].total for place in playing])
        report["total"] = {"values": _spread(totals.values), **_against_labels(totals, table, None)}
    if table.labels is not None:
        report["veto_against_labels"] = _vetoes(vetoed, table)
    return report


def _tell(scorer: Scorer, table: Table) -> dict[str, Any]:
    scores = table.scores(scorer.name)
    column = _column(scores)
    asked = [score for score in scores if score is not None]
    missing = sum(score.value is None for score in asked)
    own = [bool(score is not None and score.vetoed) for score in scores]
    found: dict[str, Any] = {
        "range": [scorer.traits.low, scorer.traits.high],
        "better": scorer.traits.better,
        "asked": len(asked),
        "missing": missing,
        "vetoed": _told(share(sum(own), len(asked))),
        "values": _spread(column.values),
        "reasons": _reasons(asked),
        **_against_labels(column, table, scorer),
    }
    if table.labels is not None:
        found["veto_against_labels"] = _vetoes(own, table)
    if scorer.traits.expense == "judge":
        found["bias"] = _bias(asked, column, table)
    if (report := getattr(scorer.plugin, "report", None)) is not None:
        found["report"] = report()
    return found


def _column(scores: Sequence[Score | None]) -> _Column:
    places = [place for place, score in enumerate(scores) if score is not None and score.value is not None]
    return _Column(places, [float(scores[place].value) for place in places])  # type: ignore[union-attr, arg-type]


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    import numpy as np

    array = np.asarray(values)
    low, tenth, middle, ninetieth, high = (float(each) for each in np.quantile(array, QUANTILES))
    return {
        "mean": float(array.mean()), "min": low, "p10": tenth, "median": middle, "p90": ninetieth, "max": high,
    }  # fmt: skip


def _reasons(scores: Sequence[Score]) -> list[list[Any]]:
    """The most frequent reasons of vetoes and of missing values."""
    counts: dict[str, int] = {}
    for score in scores:
        if (score.vetoed or score.value is None) and score.reason:
            counts[score.reason[:160]] = counts.get(score.reason[:160], 0) + 1
    return [[reason, count] for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]]


def _against_labels(column: _Column, table: Table, scorer: Scorer | None) -> dict[str, Any]:
    """AUC and calibration against good and bad, rank correlation against the labels as they are."""
    if table.labels is None:
        return {}
    kept = [k for k, place in enumerate(column.places) if table.labels[place] is not None]
    values = [column.values[k] for k in kept]
    labels = [float(table.labels[column.places[k]]) for k in kept]  # type: ignore[arg-type]
    groups = None if table.groups is None else [table.groups[column.places[k]] for k in kept]
    lower = scorer is not None and scorer.traits.better == "lower"
    turned = [-value for value in values] if lower else values
    found: dict[str, Any] = {"spearman": _told(spearman(turned, labels, groups))}
    if not set(labels) <= {0.0, 1.0}:
        return found
    good = [label == 1.0 for label in labels]
    found["auc"] = _told(auc(turned, good, groups))
    if not values:
        return found
    bins = calibration(values, good)
    found["calibration"] = [
        {"score": one.score, "share_good": one.share, "interval": list(one.interval), "n": one.n} for one in bins
    ]
    if scorer is not None and (scorer.traits.low, scorer.traits.high) == (0, 1) and not lower:
        found["calibration_error"] = calibration_error(bins)
    return found


def _vetoes(vetoed: Sequence[bool], table: Table) -> dict[str, Any] | None:
    """How many of the bad rows a veto catches, and how many of the good ones it costs."""
    assert table.labels is not None
    rows = [(out, label == 1.0) for out, label in zip(vetoed, table.labels, strict=True) if label is not None]
    if not {label for label in table.labels if label is not None} <= {0.0, 1.0}:
        return None
    bad, good = [out for out, fine in rows if not fine], [out for out, fine in rows if fine]
    return {
        "bad_caught": _told(share(sum(bad), len(bad))),
        "good_lost": _told(share(sum(good), len(good))),
        "kappa": _told(kappa([out for out, _ in rows], [not fine for _, fine in rows])),
    }


def _bias(asked: Sequence[Score], column: _Column, table: Table) -> dict[str, Any]:
    """What moves a judge and should not: the length of a text, and the place where it was shown.

    `length`: rank correlation with the characters, at equal label where there are labels. `position`: the share of
    comparisons where the other order gave another winner.
    """
    lengths = [float(each) for each in column.pick(table.characters)]
    found: dict[str, Any] = {"length": _told(spearman(column.values, lengths, _maybe(column, table.groups)))}
    if table.labels is not None:
        kept = [k for k, place in enumerate(column.places) if table.labels[place] is not None]
        labels = [float(table.labels[column.places[k]]) for k in kept]  # type: ignore[arg-type]
        held = partial_spearman([column.values[k] for k in kept], [lengths[k] for k in kept], labels)
        found["length_at_equal_label"] = _told(held)
    parts = [score.parts for score in asked if score.parts and "inconsistent" in score.parts]
    if parts:
        turned = sum(part["inconsistent"] for part in parts)
        every = sum(part.get("comparisons", 0.0) for part in parts)
        found["position"] = _told(share(round(turned / 2), round(every / 2)))
    return found


def _maybe(column: _Column, groups: Sequence[Any] | None) -> list[Any] | None:
    return None if groups is None else column.pick(groups)


def _agreement(columns: Mapping[str, _Column], table: Table) -> list[dict[str, Any]]:
    """Rank correlation of every two scorers, over the rows where both have a value."""
    found = []
    for one, other in combinations(columns, 2):
        values = dict(zip(columns[other].places, columns[other].values, strict=True))
        pairs = [
            (value, values[place], place)
            for place, value in zip(columns[one].places, columns[one].values, strict=True)
            if place in values
        ]
        if len(pairs) < 3:
            continue
        groups = None if table.groups is None else [table.groups[place] for _, _, place in pairs]
        told = spearman([a for a, _, _ in pairs], [b for _, b, _ in pairs], groups)
        if told.value is not None:
            found.append({"scorers": [one, other], "spearman": _told(told)})
    return found


def _told(measured: Measured) -> dict[str, Any]:
    interval = None if measured.interval is None else list(measured.interval)
    return {"value": measured.value, "interval": interval, "n": measured.n}
