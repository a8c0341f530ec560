"""`quota`: at most so many rows, or such a share of them, of each value; the first rows win."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from factory.errors import UsageError
from factory.filters import Columns, Drop, Item
from factory.filters.keying import Key
from factory.scorers import shorten


class Quota:
    """Keeps at most so many rows of each value of a column, an axis or a template.

    `on`: what rows are counted by. `most`: rows of each value. `share`: of n accepted rows at most ⌈share · n⌉ +
    `slack` have one value, at every n, so that a balance holds from the first row on and is kept by an extension.
    """

    def __init__(self, *, on: str, most: int | None = None, share: float | None = None, slack: int = 0):
        if most is None and share is None:
            raise UsageError("neither `most` nor `share` is given", "for example `most: 50`, or `share: 0.3`")
        if most is not None and most < 1:
            raise UsageError(f"`most` is {most}", "use a number from 1 on")
        if share is not None and not 0 < share <= 1:
            raise UsageError(f"`share` is {share:g}, outside 0 … 1", "for example 0.3 of four balanced letters")
        if slack < 0:
            raise UsageError(f"`slack` is {slack}", "use a number from 0 on")
        if slack and share is None:
            raise UsageError("`slack` loosens a `share`, and there is none", "remove it, or give a share")
        self._key = Key(on)
        self._most = most
        self._share = None if share is None else Fraction(repr(share))  # 0.1 is a tenth here, so that 30 rows give 3
        self._slack = slack
        self._counts: Counter[str] = Counter()
        self._accepted = 0

    def bind(self, columns: Columns) -> None:
        self._key.bind(columns)

    def check(self, item: Item) -> Drop | None:
        value = self._key.of(item.fields, item.scope)
        count = self._counts[value]
        if self._most is not None and count >= self._most:
            return Drop(
                "filter", f"{self._key.shown} is `{shorten(value)}` in {count} rows already, of at most {count}"
            )
        if self._share is not None:
            rows = self._accepted + 1
            allowed = -(-self._share.numerator * rows // self._share.denominator) + self._slack
            if count >= allowed:
                told = f"{self._key.shown} is `{shorten(value)}` in {count} of {self._accepted} rows"
                return Drop("filter", f"{told}: of {rows} at most {allowed} may be")
        return None

    def add(self, item: Item) -> None:
        self._counts[self._key.of(item.fields, item.scope)] += 1
        self._accepted += 1
