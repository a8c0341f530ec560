"""How texts begin: whether a few openings stand before many of them.

An opening is the first words of a text. A prefix that all texts of a column share ("Question:", a fixed instruction) is
a format and no habit: it is told, and what follows it is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.auditors.data import Data
from factory.auditors.diversity.telling import FEWEST, NO_REFERENCE, percent, point, shown, unknown
from factory.auditors.spaces import Tokens, gram_hashes, tokenize
from factory.auditors.statistics import Z95, z_test
from factory.minhash import U64, Ints
from factory.types import Check

NAME = "diversity.openings"
ALL = 0.99
"""A prefix of so many texts is their format."""
SHORT = 4
"""Texts of fewer words, in the middle, have no opening to speak of."""
_END = np.uint64(0x5851F42D4C957F2D)


@dataclass(frozen=True, slots=True)
class Openings:
    """Of the texts of a column: `codes` int64 [rows], the number of each text's opening; `counts` by number.

    `rows`: the texts that have words. `prefix`: words of the format before what is looked at.
    """

    rows: Ints
    codes: Ints
    keys: U64
    counts: Ints
    prefix: int

    @property
    def concentration(self) -> tuple[float, float, float]:
        """K, its lower and its upper bound (95 %). K² estimates the chance that two texts open alike.

        K is the share of rows that one common opening would have if all others were different: 1/K² is the effective
        number of openings. K² is Simpson's unbiased estimate Σ n(n−1) / N(N−1), its variance by the delta method, with
        the term of second order that matters where all openings are about as rare.
        """
        n = len(self.rows)
        shares = self.counts / n
        alike = float((self.counts * (self.counts - 1)).sum() / (n * (n - 1)))
        square = float((shares**2).sum())
        variance = 4 * max(0.0, float((shares**3).sum()) - square**2) / n + 2 * alike * (1 - alike) / n**2
        half = Z95 * math.sqrt(variance) + 2 / n**2  # so that no pair in n²/2 is not taken for none at all
        return math.sqrt(alike), math.sqrt(max(0.0, alike - half)), math.sqrt(min(1.0, alike + half))

    @property
    def commonest(self) -> float:
        return float(self.counts.max() / len(self.rows))


def read_openings(words: Tokens, length: int) -> Openings:
    """The openings of texts, after the prefix that all of them share. At least two texts have words."""
    rows = np.flatnonzero(words.sizes)
    prefix = _shared_prefix(words, rows, length)
    keys = _keys(words, rows, prefix, length)
    found, codes, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return Openings(rows, codes, found, counts, prefix)


def _keys(words: Tokens, rows: Ints, prefix: int, length: int) -> U64:
    """The hash of `length` words from `prefix` on; past a text's end stands a mark."""
    starts, ends = words.starts[rows] + prefix, words.ends[rows]
    columns = []
    for step in range(length):
        inside = starts + step < ends
        column = np.full(len(rows), _END, dtype=np.uint64)
        column[inside] = words.hashes[(starts + step)[inside]]
        columns.append(column)
    together = np.stack(columns, axis=1)
    return gram_hashes(together.reshape(-1), length)[::length]


def _shared_prefix(words: Tokens, rows: Ints, length: int) -> int:
    """How many first words at least `ALL` of the texts have in common, as long as enough follows to look at."""
    prefix = 0
    alive = np.ones(len(rows), dtype=bool)
    starts, sizes = words.starts[rows], words.sizes[rows]
    while True:
        alive &= sizes > prefix
        if np.count_nonzero(alive) < ALL * len(rows):
            return _if_enough(sizes, prefix, length)
        here = words.hashes[(starts + prefix)[alive]]
        values, counts = np.unique(here, return_counts=True)
        if counts.max() < ALL * len(rows):
            return _if_enough(sizes, prefix, length)
        alive[np.flatnonzero(alive)[here != values[counts.argmax()]]] = False
        prefix += 1


def _if_enough(sizes: Ints, prefix: int, length: int) -> int:
    return prefix if np.mean(sizes >= prefix + length) >= 0.9 else 0


def check_openings(
    dataset: Data,
    reference: Data | None,
    *,
    words: int,
    max_opening: float,
    max_excess: float,
) -> list[Check]:
    """`diversity.openings`, one for each text column: how concentrated openings are, by itself or beside real rows."""
    found = []
    for column in dataset.columns:
        subject = column if len(dataset.columns) > 1 else ""
        texts = dataset.text(column)
        other = _same_column(column, dataset, reference)
        real = None if reference is None or other is None else reference.text(other)
        found.append(_look(dataset, texts, real, subject, words, max_opening, max_excess))
    return found


def _same_column(column: str, dataset: Data, reference: Data | None) -> str | None:
    """The column of the reference to compare with: of the same name, or the only one where both have one."""
    if reference is None:
        return None
    if column in reference.columns:
        return column
    return reference.columns[0] if len(dataset.columns) == len(reference.columns) == 1 else None


def _look(
    dataset: Data,
    texts: Sequence[str],
    real: Sequence[str] | None,
    subject: str,
    length: int,
    max_opening: float,
    max_excess: float,
) -> Check:
    words = tokenize([text[:HEAD] for text in texts])
    filled = int(np.count_nonzero(words.sizes))
    if filled < FEWEST:
        why = f"{filled:,} rows have words: too few to compare how they begin."
        return unknown(NAME, why, "more rows", subject=subject, n=filled)
    mine = read_openings(words, length)
    if real is not None:
        other = tokenize([text[:HEAD] for text in real])
        if np.count_nonzero(other.sizes) >= FEWEST:
            return _beside(dataset, texts, mine, read_openings(other, length), subject, length, max_excess)
    k, low, high = mine.concentration
    known: dict[str, Any] = _figures(texts, mine, length)
    short = float(np.median(words.sizes[words.sizes > 0])) < SHORT
    told = _told(texts, mine, length)
    if short:
        why = f"{told} The texts are too short for an opening to say anything by itself."
        return Check(NAME, None, n=filled, subject=subject, sentence=why, advice=NO_REFERENCE, details=known)
    se = max((high - low) / (2 * Z95), 1e-9)
    return Check(
        NAME,
        k,
        interval=(low, high),
        n=filled,
        gate=f"no more concentrated than one opening before {percent(max_opening)} of the rows",
        sentence=told,
        subject=subject,
        evidence=_evidence(dataset, texts, mine),
        details={**known, "plots": [_plot(texts, mine, None, length)]},
        method=_method(length),
        advice="say in the prompt how texts may begin, or vary it; a filter on the opening thins it out",
        tests=1,
        test=z_test(k, se, limit=max_opening, effect=max_opening + 0.1),
    )


def _beside(
    dataset: Data,
    texts: Sequence[str],
    mine: Openings,
    theirs: Openings,
    subject: str,
    length: int,
    max_excess: float,
) -> Check:
    k, low, high = mine.concentration
    other, below, above = theirs.concentration
    excess = k - other
    # Newcombe's hybrid of two intervals (1998).
    interval = (
        excess - math.hypot(k - low, above - other),
        excess + math.hypot(high - k, other - below),
    )
    se = max((interval[1] - interval[0]) / (2 * Z95), 1e-9)
    effective = 1 / max(other**2, 1 / len(theirs.rows))
    return Check(
        NAME,
        excess,
        interval=interval,
        n=len(mine.rows),
        gate=f"at most {max_excess:.2f} more concentrated than the reference (1: all open alike)",
        sentence=f"{_told(texts, mine, length)} In the reference it is as with {effective:,.0f}.",
        subject=subject,
        evidence=_evidence(dataset, texts, mine),
        details={
            **_figures(texts, mine, length),
            "reference_concentration": other,
            "reference_effective": effective,
            "reference_commonest": theirs.commonest,
            "plots": [_plot(texts, mine, theirs, length)],
        },
        method=_method(length),
        advice="say in the prompt how texts may begin, or vary it; a filter on the opening thins it out",
        tests=1,
        test=z_test(max(0.0, excess), se, limit=max_excess, effect=max_excess + 0.1),
    )


HEAD = 4000
"""Characters in which an opening is looked for."""
_WORD = re.compile(r"\S+")


def _told(texts: Sequence[str], found: Openings, length: int) -> str:
    effective = 1 / max(found.concentration[0] ** 2, 1 / len(found.rows))
    commonest = _quote(texts, found, int(found.counts.argmax()), length)
    told = (
        f"The commonest opening, “{commonest}”, stands in {percent(found.commonest)} of the rows; openings vary as "
        f"with {effective:,.0f} equally common ones."
    )
    if found.prefix:
        words = "word, which was" if found.prefix == 1 else f"{found.prefix} words, which were"
        told += f" All rows begin with the same {words} left out."
    return told


def _quote(texts: Sequence[str], found: Openings, code: int, length: int) -> str:
    """An opening as it is written in the first row that has it."""
    row = int(found.rows[int(np.argmax(found.codes == code))])
    head = texts[row][:HEAD]
    spans = list(_WORD.finditer(head))
    if len(spans) <= found.prefix:  # words without spaces between them
        return head[: 12 * length].strip()
    part = head[spans[found.prefix].start() : spans[min(found.prefix + length, len(spans)) - 1].end()]
    return part if len(part) <= 60 else part[:59] + "…"


def _figures(texts: Sequence[str], found: Openings, length: int) -> dict[str, Any]:
    top = np.argsort(-found.counts, kind="stable")[:10]
    return {
        "concentration": found.concentration[0],
        "effective": 1 / max(found.concentration[0] ** 2, 1 / len(found.rows)),
        "commonest": found.commonest,
        "different": len(found.counts),
        "shared_prefix_words": found.prefix,
        "tables": [
            {
                "title": "Commonest openings",
                "header": ["opening", "rows", "share"],
                "rows": [
                    [_quote(texts, found, code, length), int(found.counts[code]), found.counts[code] / len(found.rows)]
                    for code in top.tolist()
                ],
            }
        ],
    }


def _evidence(dataset: Data, texts: Sequence[str], found: Openings) -> Any:
    """Rows of the commonest openings that stand in at least a hundredth of the rows."""
    places = []
    for code in np.argsort(-found.counts, kind="stable")[:5].tolist():
        count = int(found.counts[code])
        if count >= max(2, len(found.rows) // 100):
            places += [(int(row), count) for row in found.rows[np.flatnonzero(found.codes == code)[:4]]]
    return shown(point(dataset, texts, row, {"rows with this opening": count}) for row, count in places)


def _plot(texts: Sequence[str], mine: Openings, theirs: Openings | None, length: int) -> dict[str, Any]:
    top = np.argsort(-mine.counts, kind="stable")[:10]
    series = {"dataset": (mine.counts[top] / len(mine.rows)).tolist()}
    if theirs is not None:
        at = np.minimum(np.searchsorted(theirs.keys, mine.keys[top]), len(theirs.keys) - 1)
        same = theirs.keys[at] == mine.keys[top]
        series["reference"] = np.where(same, theirs.counts[at] / len(theirs.rows), 0.0).tolist()
    labels = [_quote(texts, mine, code, length) for code in top.tolist()]
    return {
        "kind": "bars",
        "title": "Commonest openings",
        "labels": labels,
        "series": series,
        "y_label": "share of rows",
    }


def _method(length: int) -> str:
    return (
        f"first {length} words, after a prefix that {percent(ALL)} of the rows share; concentration = square root of "
        "the chance that two rows open alike (Simpson)"
    )
