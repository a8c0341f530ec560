"""Members and holdout as one pool in an order of its own, in which nothing tells who was a member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.data import CLIP, Data
from factory.auditors.pii import find_all, mask_all
from factory.auditors.privacy.distances import Compared, compare, plain
from factory.minhash import Ints
from factory.types import Evidence

MOST = 20_000
"""Members, and rows of the holdout, that are compared by words; word for word all are."""
EXCERPT = 300


@dataclass(frozen=True)
class Side:
    """Real rows by number: whose they are, and which."""

    texts: list[str]
    members: NDArray[np.bool_]
    rows: Ints

    @property
    def share(self) -> float:
        """Members among them."""
        return float(self.members.mean())

    @property
    def sizes(self) -> tuple[int, int]:
        """Members, and rows of the holdout."""
        count = int(self.members.sum())
        return count, len(self.members) - count


@dataclass(frozen=True)
class Real:
    """The dataset, the pool of all real rows, and the part of it that is compared by words.

    `shown`: what members say may be quoted (the rows of a private source may not).
    """

    dataset: Data
    pool: Side
    sample: Side
    shown: bool

    @cached_property
    def compared(self) -> Compared:
        return compare(self.dataset.clipped, self.sample.texts)

    @cached_property
    def identical(self) -> Ints:
        """For each row the pool row with the same text, −1 without one."""
        return _same(self.dataset.texts, self.pool.texts, str.strip)

    @cached_property
    def same_words(self) -> Ints:
        """For each row the pool row with the same words in the same order, −1 without one."""
        return _same(self.dataset.clipped, [text[:CLIP] for text in self.pool.texts], plain)

    def evidence(self, row: int, side: Side, place: int, **details: object) -> Evidence:
        """A row of the dataset beside a member."""
        beside: dict[str, object] = {"member_row": int(side.rows[place])}
        if self.shown:
            beside["member"] = excerpt(side.texts[place])
        return Evidence(row, excerpt(self.dataset.texts[row]), self.dataset.ids[row], details={**beside, **details})


def open_real(dataset: Data, reference: Data, holdout: Data, context: AuditContext) -> Real:
    """The pool, shuffled: of real rows that are equally near, chance chooses and not the order of the files."""
    texts = [*reference.texts, *holdout.texts]
    members = np.arange(len(texts)) < len(reference)
    rows = np.concatenate([np.arange(len(reference)), np.arange(len(holdout))])
    order = context.rng("privacy", "pool").permutation(len(texts))
    pool = Side([texts[place] for place in order.tolist()], members[order], rows[order])
    chosen = np.sort(np.concatenate([np.flatnonzero(one)[:MOST] for one in (pool.members, ~pool.members)]))
    clipped = [*reference.clipped, *holdout.clipped]
    picked = [clipped[place] for place in order[chosen].tolist()]
    sample = Side(picked, pool.members[chosen], pool.rows[chosen])
    return Real(dataset, pool, sample, shown=reference is not context.private)


def excerpt(text: str) -> str:
    """The beginning of a text, at most `EXCERPT` characters, personal data in it masked."""
    cut = text[: EXCERPT * 10]
    told = mask_all(cut, find_all(cut))
    return told if len(told) <= EXCERPT and len(cut) == len(text) else told[: EXCERPT - 1] + "…"


def _same(texts: Sequence[str], pool: Sequence[str], form: Callable[[str], str]) -> Ints:
    first: dict[str, int] = {}
    for place, text in enumerate(pool):
        first.setdefault(form(text), place)
    first.pop("", None)
    return np.array([first.get(form(text), -1) for text in texts], dtype=np.int64)
