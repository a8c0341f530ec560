"""Rows that repeat earlier rows: equal after normalisation, near copies, and, beside real rows, close variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.diversity.telling import FEWEST, percent, point, shown, unknown
from factory.auditors.spaces import Tokens, tokenize
from factory.auditors.statistics import equal_sizes
from factory.minhash import U64, Fingerprints, Index, Ints, mix, stream
from factory.types import Check, Evidence

NAME = "diversity.duplicates"
CLOSE = "close variants"
TOO_FEW = 20
"""Rows under which a share of repetitions says nothing."""
LONG = 8
"""Words that the texts of a column have, in the middle, to be compared by themselves."""
SIMILAR = 0.6
"""Shared pairs of neighbouring words, of all of both, from which on texts are close variants."""
MOST = 20_000
"""Rows of each side in which close variants are looked for at most."""
SIZES = (2, 3, 5, 10, 20, 50, 100, 1000)
_EDGE = stream(21, 1)[0]
_FACTOR = stream(22, 1)[0] | np.uint64(1)


@dataclass(frozen=True, slots=True)
class Repeats:
    """For each of n rows the first row that it repeats, its own where it repeats none; and whether word for word."""

    first: Ints
    exact: NDArray[np.bool_]

    @property
    def repeated(self) -> NDArray[np.bool_]:
        again: NDArray[np.bool_] = self.first != np.arange(len(self.first))
        return again

    @property
    def share(self) -> float:
        """Rows that repeat an earlier one, of all."""
        return float(self.repeated.mean()) if len(self.first) else 0.0

    @property
    def sizes(self) -> Ints:
        """Rows of each cluster of two or more, the largest first."""
        counts = np.bincount(self.first, minlength=len(self.first))
        return np.sort(counts[counts > 1])[::-1]


def near_repeats(data: Data, threshold: float) -> Repeats:
    """Copies and near copies, as `factory dedup` finds them: a row repeats the earliest kept one that is alike.

    Of rows with several columns of long texts, only those that repeat the same row in every one of them: questions on
    one document are no copies of each other.
    """
    columns = _long_columns(data)
    found = [_star(texts, threshold) for texts in columns]
    firsts = np.stack([one.first for one in found], axis=1)
    _, places, inverse = np.unique(firsts, axis=0, return_index=True, return_inverse=True)
    first = places[inverse.reshape(-1)].astype(np.int64)
    exact = np.logical_and.reduce([one.exact for one in found]) & (first != np.arange(len(first)))
    return Repeats(first, exact)


def _long_columns(data: Data) -> list[Sequence[str]]:
    """The texts of each column that holds long ones; the joined text where there is one such column at most."""
    if len(data.columns) < 2:
        return [data.texts]
    texts: list[Sequence[str]] = [data.text(column) for column in data.columns]
    heads = [tokenize([text[:400] for text in column]).sizes for column in texts]
    found = [
        column
        for column, sizes in zip(texts, heads, strict=True)
        if np.any(sizes) and float(np.median(sizes[sizes > 0])) >= LONG
    ]
    return found if len(found) > 1 else [data.texts]


def _star(texts: Sequence[str], threshold: float) -> Repeats:
    matches = Index(threshold).offer_many(texts)
    found = _first_rows(matches.places, matches.exact)
    empty = np.array([not text.strip() for text in texts], dtype=bool)  # no text is no copy of no text
    return Repeats(np.where(empty, np.arange(len(empty)), found.first), found.exact & ~empty)


def _first_rows(places: Ints, exact: NDArray[np.bool_]) -> Repeats:
    """Places among the kept texts become rows."""
    kept = np.flatnonzero(places < 0)
    first = np.arange(len(places))
    again = places >= 0
    first[again] = kept[places[again]]
    return Repeats(first, exact)


def close_repeats(words: Tokens) -> Repeats:
    """Rows that share `SIMILAR` of their pairs of neighbouring words with an earlier one; the edges of a text count.

    A word changed in a text of ten words leaves a close variant, and no near copy.
    """
    sets, sizes = _pairs(words)
    index = Index(SIMILAR)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    keys = np.zeros((len(words), index.bands), dtype=np.uint64)
    for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if end > start:
            keys[row] = index.fingerprint(sets[start:end]).keys
    none = np.zeros((len(words), 2), dtype=np.uint64)
    matches = index.offer_many(Fingerprints(sets, ends, keys, none))
    return _first_rows(matches.places, matches.exact)


def _pairs(words: Tokens) -> tuple[U64, Ints]:
    """The different pairs of each text, ascending, one text after another, and how many each has."""
    sizes = words.sizes
    filled = sizes > 0
    padded = np.full(int((sizes + filled).sum()), _EDGE, dtype=np.uint64)  # every text's words after an edge
    room = sizes + filled
    starts = np.cumsum(room) - room
    owners = words.owners
    padded[np.arange(len(words.hashes)) - words.starts[owners] + starts[owners] + 1] = words.hashes
    owners = np.repeat(np.arange(len(words)), room)
    following = np.roll(padded, -1)
    following[(starts + sizes)[filled]] = _EDGE
    pairs = mix(padded * _FACTOR + following)
    order = np.lexsort((pairs, owners))
    pairs = pairs[order]
    fresh = np.ones(len(pairs), dtype=bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]) | (owners[1:] != owners[:-1])
    return pairs[fresh], np.bincount(owners[fresh], minlength=len(words)).astype(np.int64)


def check_duplicates(
    dataset: Data, reference: Data | None, context: AuditContext, *, threshold: float, max_duplicates: float
) -> Check:
    """`diversity.duplicates`: the share of rows that repeat an earlier one; the limit is beyond what real rows have."""
    n = len(dataset)
    if n < TOO_FEW:
        return unknown(NAME, f"{n} rows are too few for a share of copies.", f"at least {TOO_FEW} rows", n=n)
    found = near_repeats(dataset, threshold)
    exact, near = int(found.exact.sum()), int((found.repeated & ~found.exact).sum())
    allowed, beside = max_duplicates, ""
    if reference is not None and len(reference) >= TOO_FEW:
        _, rows = equal_sizes(n, len(reference), n, context.rng("diversity", "duplicates"))
        real = near_repeats(reference if len(rows) == len(reference) else reference.take(rows.tolist()), threshold)
        allowed = min(1.0, allowed + real.share)
        beside = f" In {len(rows):,} rows of the reference {percent(real.share)} do."
    sizes = found.sizes
    biggest = f" The largest group has {int(sizes[0]):,} rows." if len(sizes) else ""
    sentence = (
        f"Of {n:,} rows {exact + near:,} ({percent(found.share)}) repeat an earlier row: {exact:,} word for word, "
        f"{near:,} nearly.{biggest}{beside}"
    )
    return Check(
        NAME,
        found.share,
        n=n,
        gate=f"at most {percent(allowed)} of the rows repeat an earlier one",
        verdict="FAIL" if found.share > allowed else "PASS",
        sentence=sentence,
        evidence=_evidence(dataset, found),
        details={
            "exact": exact,
            "near": near,
            "in_groups": int(sizes.sum()),
            "groups": len(sizes),
            "largest": int(sizes[0]) if len(sizes) else 1,
            "plots": [_plot(found)],
        },
        method=(
            f"near copies: Jaccard similarity of word 5-grams (short texts: character 5- to 8-grams) ≥ {threshold:g}, "
            "found by MinHash; each row is counted with the earliest one that it repeats"
        ),
        advice="filter with `dedup`, and vary what is asked for",
    )


def close_variants(
    dataset: Data, reference: Data | None, words: Tokens, context: AuditContext, *, max_close: float
) -> Check | None:
    """`diversity.duplicates`, close variants: beside real rows at equal n, for how many there may be hangs on the kind
    of text. None without a reference: the plain check stands alone then."""
    if reference is None:
        return None
    other = tokenize(reference.clipped)
    rng = context.rng("diversity", "close")
    mine, theirs = equal_sizes(len(words), len(other), MOST, rng)
    if len(mine) < FEWEST:
        why = f"{len(mine)} rows of each side are too few to compare close variants."
        return unknown(NAME, why, f"at least {FEWEST} rows", subject=CLOSE, n=len(mine))
    found, real = close_repeats(words.take(mine)), close_repeats(other.take(theirs))
    excess = found.share - real.share
    return Check(
        NAME,
        excess,
        n=len(mine),
        gate=f"at most {percent(max_close)} of the rows more than in the reference",
        verdict="FAIL" if excess > max_close else "PASS",
        sentence=(
            f"Of {len(mine):,} rows {percent(found.share)} are copies or close variants of an earlier one (some words "
            f"changed), of as many rows of the reference {percent(real.share)}."
        ),
        subject=CLOSE,
        evidence=_evidence(dataset, found, mine),
        details={"dataset": found.share, "reference": real.share},
        method=f"Jaccard similarity of pairs of neighbouring words ≥ {SIMILAR:g}, found by MinHash, at equal n",
        advice="filter with `dedup: {by: characters}`, which finds reworded rows, and vary what is asked for",
    )


def _evidence(dataset: Data, found: Repeats, rows: Ints | None = None) -> tuple[Evidence, ...]:
    """Two rows of each of the largest groups."""
    counts = np.bincount(found.first, minlength=len(found.first))
    places = []
    for head in np.argsort(-counts, kind="stable")[:8].tolist():
        if counts[head] < 2:
            break
        others = np.flatnonzero(found.first == head)
        group = [int(one) if rows is None else int(rows[one]) for one in (head, *others[others != head][:4].tolist())]
        details: dict[str, Any] = {"rows in the group": int(counts[head]), "first rows": group}
        places += [(group[0], details), (group[1], details)]
    return shown(point(dataset, dataset.clipped, row, details) for row, details in places)


def _plot(found: Repeats) -> dict[str, Any]:
    sizes = found.sizes
    labels, counts = ["1"], [int(len(found.first) - sizes.sum())]
    for low, high in zip(SIZES, (*SIZES[1:], None), strict=True):
        inside = sizes[(sizes >= low) & ((sizes < high) if high else True)]
        labels.append(f"{low}" if high == low + 1 else f"{low}–{high - 1}" if high else f"{low}+")
        counts.append(int(inside.sum()))
    title = "Rows by how many are alike"
    shares = [count / len(found.first) for count in counts]
    return {"kind": "bars", "title": title, "labels": labels, "series": {"dataset": shares}, "y_label": "share of rows"}
