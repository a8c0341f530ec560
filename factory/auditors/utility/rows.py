"""The rows of a utility audit: real ones to train on, real ones to test on, synthetic ones; copies of test rows out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.utility.learners import Ints

COPY = 0.8
"""Jaccard similarity from which a row is a copy of another one."""
FEWEST = 20
"""Rows that each part needs."""
TEST_SHARE = 0.25
REGRESSION_VALUES = 20
MOST_TEST = 10_000
GIVE_LABEL = "name the column of classes: `label: COLUMN` (it must be in the dataset and in the real rows)"
GIVE_REFERENCE = "give labelled real rows: `--reference FILE` (in a recipe `reference:`)"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows that have a label and a text. `places`: their places in the data."""

    texts: list[str]
    labels: list[str]
    places: Ints

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, chosen: Sequence[int] | Ints) -> Labelled:
        picked = np.asarray(chosen, dtype=np.int64)
        return Labelled([self.texts[k] for k in picked], [self.labels[k] for k in picked], self.places[picked])


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is nothing to measure, and what to give."""

    sentence: str
    advice: str


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything in one pool of rows. `real`, `synthetic`, `test`, `extra`: places in the pool, in random order.

    `labels`: the class of each row of the pool, by its place in `names`. `places`: where a pool row lies in its data.
    `twins`: rows of one number are copies of each other (real and synthetic ones). `told`: what was done to get here.
    """

    texts: list[str]
    labels: Ints
    names: tuple[str, ...]
    real: Ints
    synthetic: Ints
    test: Ints
    extra: Ints
    places: Ints
    twins: Ints
    counts: dict[str, int] = field(default_factory=dict)
    told: str = ""

    @property
    def classes(self) -> int:
        return len(self.names)


def read_labelled(data: Data, label: str | None = None, axis: str | None = None) -> Labelled | None:
    """The rows with text and label; None where there is no label. `axis`: one that serves where no column does."""
    labels: Sequence[Any] | None = data.labels
    if labels is None and label is not None and label in data.table.schema.names:
        labels = data.values(label)
    if labels is None and axis is not None:
        labels = data.axes.get(axis)
    if labels is None or not data.columns:
        return None
    texts = data.clipped
    kept = [k for k, one in enumerate(labels) if one is not None and texts[k].strip()]
    return Labelled([texts[k] for k in kept], [label_name(labels[k]) for k in kept], np.array(kept, dtype=np.int64))


def label_name(value: Any) -> str:
    """A label as text: whole numbers alike, however they are stored."""
    found = str(value)
    return found[:-2] if found.endswith(".0") and found[:-2].lstrip("-").isdigit() else found


def prepare(
    dataset: Data, reference: Data | None, context: AuditContext, extra: Labelled | None, most_rows: int
) -> Bench | Problem:
    """The bench, or why there is none. `most_rows`: of real and synthetic rows so many at most, drawn at random."""
    if reference is None:
        return Problem("There are no real rows to test on.", GIVE_REFERENCE)
    real = read_labelled(reference, dataset.label)
    if real is None:
        return Problem(f"{reference.name} has no column of labels.", GIVE_LABEL)
    synthetic = read_labelled(dataset, reference.label, reference.label)
    if synthetic is None:
        return Problem(f"{dataset.name} has no labels: there is nothing to train a classifier on.", GIVE_LABEL)
    problem = _wrong_labels(real, reference.name) or _no_common(synthetic, real)
    if problem is not None:
        return problem
    held = None if context.holdout is None else read_labelled(context.holdout, reference.label)
    if context.holdout is not None and held is None:
        return Problem(f"The holdout {context.holdout.name} has no labels.", GIVE_LABEL)
    return _gather(synthetic, real, held, context, extra or synthetic.take([]), most_rows)


def _gather(
    synthetic: Labelled, real: Labelled, held: Labelled | None, context: AuditContext, extra: Labelled, most: int
) -> Bench | Problem:
    if held is None:
        train, test = split_by_label(real.labels, context.rng("utility.split"))
        real, held, source = real.take(train), real.take(test), f"{len(test):,} rows set apart from the reference"
    else:
        source = f"{len(held):,} rows of the holdout"
    accepted = len(synthetic)
    held = _cap(held, MOST_TEST, context, "test")
    real, synthetic, extra = (
        _cap(part, most, context, name) for part, name in ((real, "real"), (synthetic, "synthetic"), (extra, "extra"))
    )
    clean, removed = [], []
    for part in (real, synthetic, extra):
        free = without_copies(part.texts, held.texts)
        removed.append(len(part) - len(free))
        clean.append(part.take(free))
    real, synthetic, extra = clean
    for part, what in ((real, "real rows to train on"), (synthetic, "synthetic rows"), (held, "real rows to test on")):
        if len(part) < FEWEST:
            return Problem(f"There are {len(part)} labelled {what}, and {FEWEST} are needed.", "give more rows")
    told = f"Tested on {source}; copies of test rows left out: {removed[1]:,} synthetic, {removed[0]:,} real."
    counts = {"copies_synthetic": removed[1], "copies_real": removed[0], "real": len(real), "test": len(held)}
    return _pool(real, synthetic, held, extra, counts | {"synthetic": len(synthetic), "accepted": accepted}, told)


def _pool(
    real: Labelled, synthetic: Labelled, held: Labelled, extra: Labelled, counts: dict[str, int], told: str
) -> Bench:
    parts = (real, synthetic, held, extra)
    texts = [text for part in parts for text in part.texts]
    given = [label for part in parts for label in part.labels]
    names = tuple(sorted(set(given)))
    number = {name: place for place, name in enumerate(names)}
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    train, made, test, more = (np.arange(starts[k], starts[k + 1]) for k in range(4))
    twins = np.arange(len(texts))
    both = np.concatenate([train, made])
    twins[both] = groups_of_copies([texts[k] for k in both])
    return Bench(
        texts,
        np.array([number[one] for one in given], dtype=np.int64),
        names,
        train,
        made,
        test,
        more,
        np.concatenate([part.places for part in parts]),
        twins,
        counts,
        told,
    )


def _cap(part: Labelled, most: int, context: AuditContext, name: str) -> Labelled:
    """At most so many rows, in random order: a first stretch of them is a random sample."""
    return part.take(context.rng("utility.rows", name).permutation(len(part))[:most])


def split_by_label(labels: Sequence[str], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Places to train and to test on: of each label a quarter goes to the test, of one with a single row none."""
    order = rng.permutation(len(labels))
    by_label: dict[str, list[int]] = {}
    for place in order.tolist():
        by_label.setdefault(labels[place], []).append(place)
    train: list[int] = []
    test: list[int] = []
    for name in sorted(by_label):
        rows = by_label[name]
        apart = int(len(rows) * TEST_SHARE + rng.random()) if len(rows) > 1 else 0
        apart = min(apart, len(rows) - 1)
        test += rows[:apart]
        train += rows[apart:]
    return np.array(sorted(train), dtype=np.int64), np.array(sorted(test), dtype=np.int64)


def without_copies(texts: Sequence[str], held: Sequence[str]) -> Ints:
    """Places of the texts that are no copies, exact or near, of the held ones."""
    from factory.minhash import Index

    if not texts or not held:
        return np.arange(len(texts))
    index = Index(COPY)
    index.offer_many(list(held))
    found: Ints = np.flatnonzero(index.match_many(list(texts)).places < 0)
    return found


def groups_of_copies(texts: Sequence[str]) -> Ints:
    """For each text the place of the first one that it is a copy of: its own where it is none."""
    from factory.minhash import Index

    if not texts:
        return np.empty(0, dtype=np.int64)
    found = Index(COPY).offer_many(list(texts)).places
    firsts = np.flatnonzero(found < 0)
    groups: Ints = np.arange(len(texts))
    copies = np.flatnonzero(found >= 0)
    groups[copies] = firsts[found[copies]]
    return groups


def _wrong_labels(real: Labelled, name: str) -> Problem | None:
    counts = Counter(real.labels)
    if len(counts) < 2:
        return Problem(f"The labels of {name} are all the same: there is nothing to tell apart.", GIVE_LABEL)
    if _is_quantity(list(counts)):
        told = f"The label of {name} is a number with {len(counts):,} different values, not a class."
        return Problem(told, "name a column of classes: `label: COLUMN`; quantities are not audited")
    if len(counts) > len(real) / 2:
        told = f"{name} has {len(counts):,} different labels in {len(real):,} rows, under two rows each."
        return Problem(told, "give more real rows of each class, or name a column of classes: `label: COLUMN`")
    return None


def _no_common(synthetic: Labelled, real: Labelled) -> Problem | None:
    known, found = set(real.labels), set(synthetic.labels)
    if known & found or not found:
        return None
    some = ", ".join(f"`{one[:40]}`" for one in sorted(found)[:3])
    others = ", ".join(f"`{one[:40]}`" for one in sorted(known)[:3])
    told = f"The dataset's labels ({some}, …) and those of the real rows ({others}, …) have none in common."
    return Problem(told, "write the labels alike in both, or name the right column: `label: COLUMN`")


def _is_quantity(values: Sequence[str]) -> bool:
    """Numbers that no one would number classes with: many with fractions, or many with gaps."""
    if len(values) <= REGRESSION_VALUES:
        return False
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return False
    if not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        return True
    return bool(numbers.max() - numbers.min() + 1 > 2 * len(numbers))
