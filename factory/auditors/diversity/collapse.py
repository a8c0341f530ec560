"""Few texts, or few templates with other numbers and names in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.diversity.telling import percent, point, shown, unknown
from factory.auditors.spaces import Tokens, tokenize
from factory.auditors.statistics import equal_sizes
from factory.minhash import BASE, U64, Ints, mix, stream
from factory.types import Check, Evidence

NAME = "diversity.collapse"
TOO_FEW = 20
NAMES = 0.5
"""From this share of capitalised words on, capitals are the style of a text and mark no names."""
_NUMBER, _NAME, _EMPTY = stream(31, 3)


def templates(texts: Tokens) -> U64:
    """The template of each text, uint64 [n]: its words and marks in order, numbers and names alike.

    `texts`: tokenised with `marks`. A number is a word that begins with a digit, a name one that begins with a capital;
    several of them side by side are one. Scripts without capitals keep their names.
    """
    count = len(texts)
    owners, sizes = texts.owners, texts.sizes
    capitals = np.bincount(owners, weights=texts.capital, minlength=count)
    names = texts.capital & ~texts.numeric & (capitals <= NAMES * sizes)[owners]
    kind = np.where(texts.numeric, 1, np.where(names, 2, 0))
    hashes = np.where(kind == 1, _NUMBER, np.where(kind == 2, _NAME, texts.hashes))
    kept = np.ones(len(kind), dtype=bool)
    kept[1:] = (kind[1:] == 0) | (kind[1:] != kind[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[kept], owners[kept]
    sizes = np.bincount(owners, minlength=count)
    starts = np.cumsum(sizes) - sizes
    powers = np.full(int(sizes.max(initial=0)) + 1, BASE, dtype=np.uint64)
    powers[0] = 1
    powers = np.cumprod(powers, dtype=np.uint64)
    terms = mix(hashes) * powers[np.arange(len(hashes)) - starts[owners]]
    found = np.full(count, _EMPTY, dtype=np.uint64)
    filled = sizes > 0
    if filled.any():
        found[filled] = mix(np.add.reduceat(terms, starts[filled]))
    return found


def _counts(keys: U64) -> tuple[Ints, Ints]:
    """The first row of each different key, and how many rows have it; the commonest first."""
    _, firsts, counts = np.unique(keys, return_index=True, return_counts=True)
    order = np.lexsort((firsts, -counts))
    return firsts[order].astype(np.int64), counts[order].astype(np.int64)


def check_collapse(
    dataset: Data, reference: Data | None, context: AuditContext, *, max_templates: float, max_excess: float
) -> Check:
    """`diversity.collapse`: the share of rows whose template an earlier row has."""
    n = len(dataset)
    if n < TOO_FEW:
        return unknown(NAME, f"{n} rows are too few to speak of collapse.", f"at least {TOO_FEW} rows", n=n)
    keys = templates(tokenize(dataset.clipped, marks=True))
    firsts, counts = _counts(keys)
    value = 1 - len(counts) / n
    allowed, beside, real = max_templates, "", None
    if reference is not None and len(reference) >= TOO_FEW:
        real = _real(reference, n, context)
        allowed = min(1.0, real + max_excess)
        beside = f" In as many rows of the reference {percent(real)} do."
    return Check(
        NAME,
        value,
        n=n,
        gate=f"at most {percent(allowed)} of the rows repeat an earlier row's template",
        verdict="FAIL" if value > allowed else "PASS",
        sentence=(
            f"{n:,} rows are made after {len(counts):,} templates (texts in which numbers and names do not count): "
            f"{percent(value)} of the rows repeat the template of an earlier one.{beside}"
        ),
        evidence=_evidence(dataset, keys, firsts, counts),
        details={
            "templates": len(counts),
            "texts": len(set(dataset.clipped)),
            "commonest": int(counts[0]),
            "effective": float(1 / ((counts / n) ** 2).sum()),
            "reference": real,
            "plots": [_plot(counts, n)],
        },
        method="texts with their numbers and capitalised words masked; different ones counted",
        advice="the rows vary in details alone: more topics, styles and tasks in `vary`, other prompts, seed rows",
    )


def _real(reference: Data, n: int, context: AuditContext) -> float:
    """The same share among real rows, no more of them than the dataset has."""
    _, rows = equal_sizes(n, len(reference), n, context.rng("diversity", "collapse"))
    found = templates(tokenize([reference.clipped[row] for row in rows.tolist()], marks=True))
    return 1 - len(np.unique(found)) / len(found)


def _evidence(dataset: Data, keys: U64, firsts: Ints, counts: Ints) -> tuple[Evidence, ...]:
    """Three rows of each of the commonest templates."""
    places = []
    for first, count in zip(firsts[:5].tolist(), counts[:5].tolist(), strict=True):
        if count > 1:
            places += [(int(row), count) for row in np.flatnonzero(keys == keys[first])[:3]]
    return shown(point(dataset, dataset.clipped, row, {"rows of this template": count}) for row, count in places)


def _plot(counts: Ints, n: int) -> dict[str, Any]:
    top = counts[:10]
    labels = [f"{place}." for place in range(1, len(top) + 1)]
    series = {"dataset": (top / n).tolist()}
    return {
        "kind": "bars",
        "title": "Commonest templates",
        "labels": labels,
        "series": series,
        "y_label": "share of rows",
    }
