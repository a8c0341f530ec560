"""What the checks about pairs have in common when they tell what they found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factory.auditors.bias.pairs import FEWEST, rows_with
from factory.auditors.bias.views import View
from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.types import Check, Evidence

EXCERPT = 300
EACH = 5
MOST = 20
Chosen = list[tuple[Grouping, Grouping | None]]


def pick(
    groupings: Sequence[Grouping], reference_groupings: Sequence[Grouping | None] | None
) -> tuple[Chosen, list[tuple[str, int]]]:
    """Groupings with two groups and enough rows, each with that of the reference; and the others with their rows."""
    others = list(reference_groupings) if reference_groupings is not None else [None] * len(groupings)
    chosen: Chosen = []
    left_out: list[tuple[str, int]] = []
    for grouping, there in zip(groupings, others, strict=True):
        only = grouping.only()
        sizes = np.bincount(only[only >= 0], minlength=len(grouping.names))
        if np.count_nonzero(sizes) >= 2 and sizes.sum() >= FEWEST:
            chosen.append((grouping, there))
        else:
            left_out.append((grouping.axis, int(sizes.sum())))
    return chosen, left_out


def cannot_tell(name: str, left_out: Sequence[tuple[str, int]], dataset: Data) -> Check:
    """INCONCLUSIVE for the axes that too few rows speak of."""
    if left_out:
        axes = ", ".join(f"{axis} ({rows:,})" for axis, rows in left_out)
        sentence = (
            f"Too few of {len(dataset):,} rows speak of exactly one group, or all speak of the same one: {axes}. "
            f"{FEWEST} rows and two groups are needed."
        )
    else:
        sentence = "The rows have no groups to look at."
    advice = (
        "more rows, or groups that the rows speak of: `axis: NAME` of the recipe, or `groups:` with terms of your own"
    )
    return Check(
        name, None, n=len(dataset), subject=", ".join(axis for axis, _ in left_out), sentence=sentence, advice=advice
    )


def excerpts(view: View, pairs: Sequence[tuple[str, int]]) -> tuple[Evidence, ...]:
    """The first rows that show pairs of a term and a group, the text around the term."""
    place = {name: at for at, name in reversed(list(enumerate(view.names)))}
    found: list[Evidence] = []
    for name, group in pairs:
        if name not in place:
            continue
        details = {"term": name, "group": view.grouping.names[group]}
        for row in rows_with(view.terms, place[name], view.only, group, EACH):
            text = _around(view.data.clipped[row], name)
            found.append(Evidence(row, text, id=view.data.ids[row], details=details))
    return tuple(found[:MOST])


def _around(text: str, term: str) -> str:
    """At most `EXCERPT` characters, with the term where it stands in them as it is written."""
    at = text.casefold().find(term)
    start = 0 if at < EXCERPT - len(term) else max(0, min(at - EXCERPT // 2, len(text) - EXCERPT))
    return text[start : start + EXCERPT]


def share(value: float) -> str:
    """A share in words: 12.3 %."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """A difference of shares in words, without its sign: 12.3 points."""
    return f"{abs(100 * value):.3g} points"
