"""Passes over the whole set, after curation: they choose among all accepted rows at once.

A verdict of curation hangs on earlier rows alone; these hang on all of them, so an extension of the run chooses anew.
Accepted rows wait in a temporary file; in memory are only their totals and what each pass compares.
"""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from factory import registry
from factory.components import cluster
from factory.curation import item_of
from factory.errors import FactoryError, Place, RecipeError, UsageError
from factory.files import is_storage_fault, storage_fault
from factory.filters import Columns, Item, as_columns, text_of
from factory.filters.keying import Key
from factory.minhash import banding, shingles
from factory.postings import Growing
from factory.scorers import shorten
from factory.types import STAGES, DatasetRow, RowOutcome, Scored, Verdict

PlaceMaker = Callable[..., Place]
"""`place(*keys, message=…, hint=…)`: a fault with its place in the recipe's file."""


class Ranking(Protocol):
    """All accepted rows by their place in the dataset's order, which is that of (row, rank)."""

    @property
    def rows(self) -> Sequence[int]: ...
    @property
    def totals(self) -> Sequence[float]: ...


@dataclass(frozen=True, slots=True)
class Fallen:
    """What a pass dropped: the place of the row, why, and the row that it matched."""

    place: int
    reason: str
    matched: str | None = None


class Pass(Protocol):
    """`add` is called for every accepted row, in order; `choose` once, with the places that are still in."""

    stage: str

    def bind(self, columns: Columns) -> None: ...

    def add(self, item: Item) -> None: ...

    def choose(self, places: Sequence[int], ranking: Ranking) -> Iterator[Fallen]: ...


@dataclass(frozen=True, slots=True)
class NamedPass:
    """A pass under its recipe name: its failures say which one failed, and on which row."""

    name: str
    inner: Pass

    def add(self, item: Item) -> None:
        try:
            self.inner.add(item)
        except FactoryError as error:
            raise UsageError(f"the pass `{self.name}` failed on row {item.row}: {error.message}", error.hint) from error


@dataclass(frozen=True, slots=True)
class PassResult:
    """How many rows went into a pass, and how many were left."""

    name: str
    before: int
    after: int


class BestPer:
    """Keeps the best rows of each value of a column, an axis or a template: by total, then the first.

    `on`: what rows are grouped by. `keep`: how many of each group stay.
    """

    stage = "select"

    def __init__(self, *, on: str, keep: int = 1):
        if keep < 1:
            raise UsageError(f"`keep` is {keep}", "use a number from 1 on")
        self._key = Key(on)
        self._keep = keep
        self._groups: dict[str, int] = {}
        self._group_of = array("q")

    def bind(self, columns: Columns) -> None:
        self._key.bind(columns)

    def add(self, item: Item) -> None:
        value = self._key.of(item.fields, item.scope)
        self._group_of.append(self._groups.setdefault(value, len(self._groups)))

    def choose(self, places: Sequence[int], ranking: Ranking) -> Iterator[Fallen]:
        """The places that are not among the best of their group."""
        values = list(self._groups)
        for group, members in _grouped(places, [self._group_of[place] for place in places]):
            if len(members) > self._keep:
                told = f"{self._key.shown} is `{shorten(values[group])}`: not among the best {self._keep}"
                for place in _best_first(members, ranking)[self._keep :]:
                    yield Fallen(place, f"{told} of {len(members)} rows")


class BestOfDuplicates:
    """Keeps the best row of each cluster of near-duplicates: by total, then the first.

    `on`: the column or columns that count (default: all of the recipe's output, joined). `threshold`: the Jaccard
    similarity from which on two rows are neighbours; a chain of neighbours is one cluster.
    """

    stage = "dedup"

    def __init__(self, *, on: str | list[str] | None = None, threshold: float = 0.8):
        banding(threshold)
        self._on = on
        self._threshold = threshold
        self._columns: tuple[str, ...] = ()
        self._sets = Growing(np.uint64)
        self._ends = array("q")

    def bind(self, columns: Columns) -> None:
        self._columns = columns.output if self._on is None else as_columns("on", self._on, columns)

    def add(self, item: Item) -> None:
        self._sets.extend(shingles("\n".join(text_of(item.fields.get(column)) for column in self._columns)))
        self._ends.append(self._sets.size)

    def choose(self, places: Sequence[int], ranking: Ranking) -> Iterator[Fallen]:
        """The places that are not the best of their cluster."""
        sets, ends = self._sets.view(), self._ends
        texts = (sets[ends[place - 1] if place else 0 : ends[place]] for place in places)
        for _, members in _grouped(places, cluster(texts, self._threshold)):
            best, *others = _best_first(members, ranking)
            row = ranking.rows[best]
            for place in others:
                told = f"of {len(members)} near-duplicates row {row} is the best"
                yield Fallen(place, told, str(row))


def _grouped(places: Sequence[int], labels: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Places by label, in the order of each label's first place."""
    groups: dict[int, list[int]] = {}
    for place, label in zip(places, labels, strict=True):
        groups.setdefault(label, []).append(place)
    return list(groups.items())


def _best_first(places: Sequence[int], ranking: Ranking) -> list[int]:
    """By (−total, row, rank)."""
    return sorted(places, key=lambda place: (-ranking.totals[place], place))


def compile_passes(
    specs: Sequence[Any],
    columns: Sequence[str],
    *,
    output: Sequence[str],
    scope: Collection[str],
    place: PlaceMaker,
) -> list[NamedPass]:
    """The passes of a recipe's `whole_set:`, ready to run; see `factory.filters.compile_filters`.

    Raises RecipeError with every fault.
    """
    known = Columns(tuple(columns), tuple(output), frozenset(scope))
    compiled: list[NamedPass] = []
    faults: list[Place] = []
    for number, spec in enumerate(specs):
        try:
            made = registry.lookup("pass", spec.name)(**registry.options("pass", spec.name, spec.options))
            made.bind(known)
            compiled.append(NamedPass(spec.name, made))
        except UsageError as error:
            faults.append(place("whole_set", number, spec.name, message=error.message, hint=error.hint))
    if faults:
        raise RecipeError(faults)
    return compiled


@dataclass(frozen=True, slots=True)
class Held:
    """An accepted row as it waits for the passes: as the dataset is to have it, and as the rejects would.

    `pair`: the preference pair in which it is the chosen one.
    """

    row: DatasetRow
    scored: Scored
    values: Mapping[str, Any]
    pair: Mapping[str, Any] | None = None


class WholeSet:
    """All accepted rows of a run. `add` them in order, then `decide` once."""

    def __init__(self, passes: Sequence[NamedPass], directory: Path):
        self.results: list[PassResult] = []
        self.dropped: Counter[tuple[str, str]] = Counter()
        """Rows by (stage, name of the pass) that dropped them."""
        self.rows = array("q")
        self.totals = array("d")
        self._passes = tuple(passes)
        self._directory = directory
        self._file: IO[bytes] | None = None

    def add(self, outcome: RowOutcome, scored: Scored, row: DatasetRow, pair: Mapping[str, Any] | None = None) -> None:
        """One accepted row. Raises StorageFull where the disk does not take it."""
        item = item_of(outcome, scored)
        for one in self._passes:
            one.add(item)
        self.rows.append(outcome.row)
        self.totals.append(scored.total)
        slim = replace(scored, candidate=replace(scored.candidate, fields=None, logprobs=None))
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  # closed by `decide`
            pickle.dump(Held(row, slim, outcome.variation.values, pair), self._file, pickle.HIGHEST_PROTOCOL)
        except OSError as error:
            raise self._fault(error) from error

    def decide(self) -> Iterator[tuple[Held, Verdict | None]]:
        """Every row in order; with a verdict where a pass dropped it. The passes run one after the other."""
        fallen: dict[int, tuple[str, Fallen]] = {}
        places: Sequence[int] = range(len(self.rows))
        for one in self._passes:
            before = len(places)
            for drop in one.inner.choose(places, self):
                fallen[drop.place] = one.inner.stage, drop
                self.dropped[one.inner.stage, one.name] += 1
            places = [place for place in places if place not in fallen]
            self.results.append(PassResult(one.name, before, len(places)))
        for place, held in enumerate(self._read()):
            if place not in fallen:
                yield held, None
                continue
            stage, drop = fallen[place]
            yield held, Verdict(self.rows[place], held.scored, False, stage, drop.reason, drop.matched)

    def rejected(self, before: Mapping[str, int]) -> dict[str, int]:
        """Rejected candidates by stage, those of the passes added."""
        mine: Counter[str] = Counter()
        for (stage, _), count in self.dropped.items():
            mine[stage] += count
        return {stage: count for stage in STAGES if (count := before.get(stage, 0) + mine[stage])}

    def _read(self) -> Iterator[Held]:
        if self._file is None:
            return
        with self._file as file:
            try:
                file.seek(0)  # writes what is buffered first
            except OSError as error:
                raise self._fault(error) from error
            for _ in self.rows:
                yield pickle.load(file)

    def _fault(self, error: OSError) -> Exception:
        return storage_fault(error, self._directory) if is_storage_fault(error) else error
