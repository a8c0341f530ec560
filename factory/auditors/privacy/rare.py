"""`privacy.rare`: whether what only few real rows have comes back more for members than for the holdout.

Of texts: two words of one real row, each in at most k real rows, in one row of the dataset, or a number of six digits
or more; of structured columns: a combination of values that at most k real rows have. Real rows of which something
comes back are exposed. Some are by chance; those of the holdout tell how many, and the test is exact: under the null
hypothesis the exposed fall on members and holdout as they are drawn.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import CLIP, Data
from factory.auditors.privacy.exact import shares_p
from factory.auditors.privacy.real import Real, excerpt
from factory.auditors.spaces.tokens import tokenize
from factory.auditors.statistics import POWER, share_difference, z_quantile
from factory.minhash import U64, Ints
from factory.types import Check, Evidence, Test

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NAME = "privacy.rare"
EFFECTS = {"words": 0.05, "columns": 0.1}
TOGETHER = 2
"""Rare words of one real row in one row of the dataset."""
NUMBER = re.compile(r"(?<![\d.,])\d(?:[ .\-/()]?\d){5,}")
BLOCK = 5_000
SHOWN = 20
MOST_COLUMNS = 8
MOST_VALUES = 1_000
LONGEST_VALUE = 60
"""Characters of a value in a structured column, on average, at most: beyond it is text."""
ADVICE = (
    "look at the rows: have names, numbers and rare values replaced in the source or by the prompt, carry fewer "
    "columns, and make fewer rows of each source row"
)


@dataclass(frozen=True)
class Exposed:
    """`rows` bool [pool]: real rows of which something rare comes back; `by`: the row of the dataset that has it (−1),
    `what`: in words, by pool row."""

    rows: NDArray[np.bool_]
    by: Ints
    what: dict[int, str]


def rare(real: Real, sides: tuple[Data, Data], *, rows: int, limit: float) -> list[Check]:
    """A check of the texts, and one of the structured columns where members, holdout and dataset share some."""
    checks = [_check(real, _exposed_by_words(real, rows), "words and numbers", rows, limit)]
    names = _structured(real.dataset, *sides)
    if names:
        found = list(_exposed_by_values(real, sides, names, rows))
        worst = min(found, key=lambda one: _p(real, one[1], limit))
        subject = "columns " + ", ".join(names)
        checks.append(_check(real, worst[1], subject, rows, limit, among=len(found), chosen=worst[0]))
    return checks


def _p(real: Real, found: Exposed, limit: float) -> float:
    members = real.pool.members
    n, m = real.pool.sizes
    return shares_p(int(found.rows[members].sum()), n, int(found.rows[~members].sum()), m, math.floor(limit * n))


def _check(
    real: Real,
    found: Exposed,
    subject: str,
    rows: int,
    limit: float,
    *,
    among: int = 1,
    chosen: tuple[str, ...] = (),
) -> Check:
    """`among`: so many sets of columns were looked at, of which `chosen` is the most unequal (Bonferroni); the most
    unequal of many has no honest interval."""
    members = real.pool.members
    n, m = real.pool.sizes
    hits, others = int(found.rows[members].sum()), int(found.rows[~members].sum())
    value, _, interval = share_difference(hits, n, others, m)
    spread = f" ({interval[0]:+.1%} to {interval[1]:+.1%})" if among == 1 else ""
    pooled = min(0.5, (hits + others + 1) / (n + m))
    se = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    p = min(1.0, among * _p(real, found, limit))
    kind = "a combination" if len(chosen) > 1 else "a value"
    what = f"{kind} of {', '.join(chosen)}" if chosen else "something"
    told = f"Of {n:,} members {hits:,} ({hits / n:.1%}) come back with {what} that at most {rows} real rows have"
    return Check(
        NAME,
        value,
        interval=interval if among == 1 else None,
        n=n + m,
        gate=f"at most {limit:.1%} more of the members than of the holdout come back with something rare",
        sentence=(
            f"{told}, of {m:,} rows of the holdout {others:,} ({others / m:.1%}): a difference of {value:+.1%}{spread}."
        ),
        subject=subject,
        evidence=_evidence(real, found),
        details={
            "members_exposed": hits,
            "holdout_exposed": others,
            "members": n,
            "holdout": m,
            "plots": [_plot(real, found)],
        },
        method=_method(subject, rows),
        advice=ADVICE,
        tests=among,
        test=Test(
            p,
            limit + EFFECTS[subject.split()[0]],
            lambda alpha: limit + (z_quantile(1 - alpha / among) + z_quantile(POWER)) * se,
        ),
    )


def _method(subject: str, rows: int) -> str:
    if subject.startswith("columns"):
        told = f"each set of up to three columns, combinations of values that at most {rows} real rows have"
        return f"{told}; exact test by exchange, corrected for the number of sets"
    return (
        f"two words that at most {rows} real rows have, of one real row, in one row of the dataset, or one number of "
        "six digits or more; exact test by exchange"
    )


def _plot(real: Real, found: Exposed) -> dict[str, Any]:
    members = real.pool.members
    shares = [float(found.rows[members].mean()), float(found.rows[~members].mean())]
    return {
        "kind": "bars",
        "title": "Real rows that come back with something rare",
        "labels": ["members", "holdout"],
        "series": {"dataset": [round(one, 5) for one in shares]},
        "y_label": "share of the real rows",
    }


def _evidence(real: Real, found: Exposed) -> tuple[Evidence, ...]:
    places = np.flatnonzero(found.rows & real.pool.members)[:SHOWN]
    return tuple(
        real.evidence(int(found.by[place]), real.pool, place, rare=found.what.get(place, ""))
        for place in places.tolist()
    )


def _exposed_by_words(real: Real, most: int) -> Exposed:
    texts = [text[:CLIP] for text in real.pool.texts]
    pool, rows, words = _incidence(texts, real.dataset.clipped)
    count = np.bincount(pool.indices, minlength=pool.shape[1])
    chosen = np.flatnonzero((count <= most) & (count > 0))
    uncommon = set(words[chosen[chosen < len(words)]].tolist())
    pool, rows = pool[:, chosen], rows[:, chosen]
    columns = pool.T.tocsr()
    by = np.full(len(texts), -1, dtype=np.int64)
    for start in range(0, rows.shape[0], BLOCK):
        products = (rows[start : start + BLOCK] @ columns).tocoo()
        strong = products.data >= TOGETHER
        # The first row of the dataset for each real one.
        places, first = np.unique(products.col[strong], return_index=True)
        owners = products.row[strong][first] + start
        fresh = by[places] < 0
        by[places[fresh]] = owners[fresh]
    what = {
        place: _in_common(texts[place], real.dataset.clipped[by[place]], uncommon)
        for place in np.flatnonzero((by >= 0) & real.pool.members)[:SHOWN].tolist()
    }
    return Exposed(by >= 0, by, what)


def _incidence(pool: Sequence[str], rows: Sequence[str]) -> tuple[csr_matrix, csr_matrix, U64]:
    """Which words (1) and long numbers (in the pool 2) stand in each text, by the words of the pool (the first columns,
    whose hashes come third) and its numbers."""
    from scipy.sparse import csr_matrix, hstack

    ours, theirs = tokenize(list(pool)), tokenize(list(rows))
    words, inverse = np.unique(ours.hashes, return_inverse=True)
    at = np.searchsorted(words, theirs.hashes)
    known = np.zeros(len(at), dtype=bool)
    inside = at < len(words)
    known[inside] = words[at[inside]] == theirs.hashes[inside]

    def once(owners: Ints, columns: Ints, shape: tuple[int, int]) -> csr_matrix:
        found = csr_matrix((np.ones(len(owners), dtype=np.int32), (owners, columns)), shape=shape)
        found.sum_duplicates()
        found.data[:] = 1
        return found

    numbers = [_numbers(text) for text in pool]
    place = {number: k for k, number in enumerate(sorted({one for some in numbers for one in some}))}
    theirs_numbers = [[one for one in _numbers(text) if one in place] for text in rows] if place else [[] for _ in rows]

    def counted(found: Sequence[Sequence[str]]) -> csr_matrix:
        owners = np.array([row for row, some in enumerate(found) for _ in some], dtype=np.int64)
        columns = np.array([place[one] for some in found for one in some], dtype=np.int64)
        return once(owners, columns, (len(found), max(1, len(place))))

    left = once(ours.owners, inverse.ravel(), (len(pool), max(1, len(words))))
    right = once(theirs.owners[known], at[known], (len(rows), max(1, len(words))))
    pair = hstack([left, counted(numbers) * TOGETHER], "csr"), hstack([right, counted(theirs_numbers)], "csr")
    return (*pair, words)


def _numbers(text: str) -> list[str]:
    """Numbers of six digits or more, as digits alone."""
    return ["".join(filter(str.isdigit, one)) for one in NUMBER.findall(text)]


def _in_common(real: str, row: str, uncommon: set[int]) -> str:
    """The rare words and numbers that both have, as they stand in the row."""
    shared = uncommon & set(tokenize([real]).hashes.tolist())
    words = list(dict.fromkeys(re.findall(r"\w+(?:['’]\w+)*", row)))
    made = tokenize(words)
    owners = [at for at, key in zip(made.owners.tolist(), made.hashes.tolist(), strict=True) if key in shared]
    numbers = [one for one in _numbers(row) if one in _numbers(real)]
    return excerpt(", ".join([*numbers, *(words[at] for at in dict.fromkeys(owners))]))


def _structured(dataset: Data, reference: Data, holdout: Data) -> list[str]:
    """Columns that all three have and whose values repeat: categories, whole numbers, short texts."""
    names: list[str] = []
    for name in dataset.table.schema.names:
        present = all(name in one.table.schema.names for one in (reference, holdout))
        if present and name != "meta" and len(names) < MOST_COLUMNS and _repeats(reference, name):
            names.append(name)
    return names


def _repeats(reference: Data, name: str) -> bool:
    import pyarrow as pa

    kind = reference.table.schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    plain = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (plain or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return False
    values = reference.values(name)
    if plain and sum(len(value or "") for value in values) > LONGEST_VALUE * len(values):
        return False
    distinct = len(set(values))
    only_text = plain and reference.columns == (name,) and name != reference.label
    return 2 <= distinct <= min(MOST_VALUES, max(2, len(values) // 2)) and not only_text


def _exposed_by_values(
    real: Real, sides: tuple[Data, Data], names: Sequence[str], most: int
) -> Iterator[tuple[tuple[str, ...], Exposed]]:
    """Each set of up to three columns, with the real rows that come back with a rare combination of them."""
    codes = [_codes(real, sides, name) for name in names]
    for count in range(1, min(3, len(names)) + 1):
        for chosen in combinations(range(len(names)), count):
            yield tuple(names[k] for k in chosen), _exposed_by(real, names, codes, chosen, most)


def _exposed_by(
    real: Real, names: Sequence[str], codes: Sequence[tuple[Ints, Ints]], chosen: tuple[int, ...], most: int
) -> Exposed:
    size = len(real.pool.texts)
    exposed, by = np.zeros(size, dtype=bool), np.full(size, -1, dtype=np.int64)
    sizes = [int(codes[k][0].max()) + 1 for k in chosen]
    pool = _keys([codes[k][0] for k in chosen], sizes)
    rows = _keys([codes[k][1] for k in chosen], sizes)
    keys, inverse, counts = np.unique(pool, return_inverse=True, return_counts=True)
    known, first = np.unique(rows, return_index=True)
    at = np.searchsorted(known, keys).clip(0, len(known) - 1)
    back = (counts <= most) & (known[at] == keys) & (keys >= 0)
    places = np.flatnonzero(back[inverse.ravel()])
    exposed[places] = True
    by[places] = first[at[inverse.ravel()[places]]]
    what: dict[int, str] = {}
    for place in places[real.pool.members[places]][:SHOWN].tolist():
        row = real.dataset.table.slice(int(by[place]), 1)
        what[place] = excerpt(", ".join(f"{names[k]}={row.column(names[k])[0].as_py()}" for k in chosen))
    return Exposed(exposed, by, what)


def _codes(real: Real, sides: tuple[Data, Data], name: str) -> tuple[Ints, Ints]:
    """Numbers for the values of the pool and of the dataset; −1 for a value that no real row has."""
    reference, holdout = (one.values(name) for one in sides)
    pool = [
        reference[row] if member else holdout[row]
        for row, member in zip(real.pool.rows.tolist(), real.pool.members.tolist(), strict=True)
    ]
    place = {value: k for k, (value, _) in enumerate(sorted(Counter(map(str, pool)).items()))}
    theirs = [place.get(str(value), -1) for value in real.dataset.values(name)]
    return np.array([place[str(value)] for value in pool], dtype=np.int64), np.array(theirs, dtype=np.int64)


def _keys(codes: Sequence[Ints], sizes: Sequence[int]) -> Ints:
    """One number for each combination; −1 where one of them is."""
    found = np.zeros(len(codes[0]), dtype=np.int64)
    missing = np.zeros(len(codes[0]), dtype=bool)
    for one, size in zip(codes, sizes, strict=True):
        found = found * size + one
        missing |= one < 0
    found[missing] = -1
    return found
