"""fidelity.correlation and fidelity.conditional: do columns hang together as they do in real rows?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from factory.auditors.fidelity.associations import Association, Block, associate, moments
from factory.auditors.fidelity.pairing import Column, Pair
from factory.auditors.fidelity.scenes import MOST_ROWS, Scene
from factory.auditors.fidelity.telling import count, unmeasured
from factory.auditors.fidelity.testing import Divergence, compare_strata, normal_interval, student_test
from factory.auditors.fidelity.topics import Topics
from factory.auditors.statistics import worst_of
from factory.types import Check, Test

Floats = NDArray[np.float64]
MOST_COLUMNS = 30
MOST_VALUES = 12
MOST_LABELS = 40
BINS = 4
FEWEST_ROWS = 60
GROUPS = 30
GIVE = "data with at least two columns beside the text (numbers, categories, labels), by the same names in both"
NAMES = ("correlation", "conditional")


@dataclass(frozen=True, eq=False)
class Table:
    """The columns that are related to each other, for the same sampled rows of each side: structured ones, the label,
    and of the texts their topic and how many words they have."""

    columns: tuple[Column, ...]

    @property
    def rows(self) -> tuple[int, int]:
        return len(self.columns[0].here), len(self.columns[0].there)


def build_table(
    pair: Pair,
    scene: Scene | None,
    topics: Topics | None,
    lengths: dict[str, tuple[Floats, Floats]],
    rng: np.random.Generator,
) -> Table:
    """The rows of the scene, without those of the reference that the topics were fitted on."""
    if scene is not None and topics is not None:
        here, there = scene.rows, scene.others[~topics.fitted]
    else:
        here, there = (
            np.sort(rng.choice(len(data), min(len(data), MOST_ROWS), replace=False))
            for data in (pair.dataset, pair.reference)
        )
    found = [column.take(here, there) for column in pair.structured]
    if (label := _label(pair)) is not None:
        found.insert(0, label.take(here, there))
    if scene is not None and topics is not None:
        few = topics.group[topics.here], topics.group[topics.there[~topics.fitted]]
        names = tuple(f"group {at + 1}" for at in range(int(topics.group.max()) + 1))
        found.append(Column("topic", "category", *few, names))
    found += [Column(f"words of {name}", "number", one[here], two[there]) for name, (one, two) in lengths.items()]
    return Table(tuple(found[:MOST_COLUMNS]))


def _label(pair: Pair) -> Column | None:
    mine, theirs = pair.dataset.labels, pair.reference.labels
    if mine is None or theirs is None:
        return None
    names = sorted({one for side in (mine, theirs) for one in side if one is not None})
    code = {name: place for place, name in enumerate(names)}
    here, there = (
        np.array([-1 if one is None else code[one] for one in side], dtype=np.int64) for side in (mine, theirs)
    )
    return Column("label", "category", here, there, tuple(names))


@dataclass(frozen=True, eq=False)
class Related:
    """How two columns hang together: in the dataset, in the reference, the difference's standard error and test."""

    names: tuple[str, str]
    measure: str
    here: float
    there: float
    se: float
    test: Test

    @property
    def value(self) -> float:
        return self.here - self.there


def check_relations(
    pair: Pair,
    table: Table,
    matched: Sequence[Related],
    rng: np.random.Generator,
    *,
    correlation: tuple[float, float],
    conditional: tuple[float, float],
) -> list[Check]:
    """Differences of every pair's association, and of one column's distribution given another's value.

    `correlation`, `conditional`: limit and effect of each.
    """
    pairs = list(combinations(range(len(table.columns)), 2)) if table.columns else []
    if not table.columns or min(table.rows) < FEWEST_ROWS:
        pairs = []
    if not pairs and not matched:
        why = f"Fewer than two columns to relate, or fewer than {FEWEST_ROWS} rows."
        return [unmeasured(name, why, GIVE, n=len(pair.dataset)) for name in NAMES]
    blocks = [_encode(column) for column in table.columns] if pairs else []
    sides = []
    for side in (0, 1) if pairs else ():
        size = table.rows[side]
        sides.append(moments([block[side] for block in blocks], rng.permutation(np.arange(size) % GROUPS), GROUPS))
    found = list(matched)
    for one, two in pairs:
        each = [associate(sums, [block[side] for block in blocks], one, two) for side, sums in enumerate(sides)]
        found.append(_related((table.columns[one].name, table.columns[two].name), each, correlation))
    checks = [_correlation(pair, found, correlation[0])]
    if not pairs:
        why = f"Fewer than two columns to relate, or fewer than {FEWEST_ROWS} rows."
        return [*checks, unmeasured("conditional", why, GIVE, n=len(pair.dataset))]
    given = [_given(table.columns, blocks, [sums.total for sums in sides], one, two, conditional) for one, two in pairs]
    return [*checks, _conditional(pair, given, conditional[0])]


def _related(names: tuple[str, str], each: list[Association], gate: tuple[float, float]) -> Related:
    se = float(np.hypot(each[0].se, each[1].se))
    value = each[0].value - each[1].value
    test = student_test(value, se, 2 * (GROUPS - 1), limit=gate[0], effect=gate[1])
    return Related(names, each[0].measure, each[0].value, each[1].value, se, test)


def _encode(column: Column) -> tuple[Block, Block]:
    """A column as blocks of numbers for each side: standardised ranks, and 0/1 for its categories or bins."""
    nulls = column.nulls()
    if column.kind == "number":
        known = column.there[~nulls[1]]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
        codes = [np.searchsorted(edges, side, side="right") for side in (column.here, column.there)]
        size = len(edges) + 1
        ranks: list[Floats | None] = [
            _ranks(side, null) for side, null in zip((column.here, column.there), nulls, strict=True)
        ]
    else:
        sizes = sum(np.bincount(side[side >= 0], minlength=len(column.names)) for side in (column.here, column.there))
        most = MOST_LABELS if column.name in ("label", "topic") else MOST_VALUES
        top = np.argsort(-np.asarray(sizes), kind="stable")[: most - 1]
        place = np.full(len(column.names) + 1, len(top))
        place[top] = np.arange(len(top))
        codes = [place[side] for side in (column.here, column.there)]
        size = len(top) + 1
        ranks = [None, None]
    codes = [np.where(null, size, code) for null, code in zip(nulls, codes, strict=True)]
    made = [Block(_one_hot(code, size + 1), rank) for code, rank in zip(codes, ranks, strict=True)]
    return made[0], made[1]


def _one_hot(codes: NDArray[np.int64], size: int) -> Floats:
    found = np.zeros((len(codes), size))
    found[np.arange(len(codes)), codes] = 1.0
    return found


def _ranks(values: Floats, null: NDArray[np.bool_]) -> Floats:
    """Mid-ranks of what is known, scaled to −½ … ½; 0 for null."""
    known = values[~null]
    order = np.sort(known)
    middle = (np.searchsorted(order, known, "left") + np.searchsorted(order, known, "right")) / 2
    found = np.zeros(len(values))
    found[~null] = middle / max(1, len(known)) - 0.5
    return found


def _correlation(pair: Pair, found: list[Related], limit: float) -> Check:
    ordered = sorted(found, key=lambda one: -abs(one.value))
    worst = ordered[0]
    low, high = normal_interval(abs(worst.value), worst.se, 0.0, 2.0)
    rows = []
    for one in ordered[:30]:
        ends = normal_interval(one.value, one.se)
        label = f"{one.names[0]} × {one.names[1]} ({one.measure})"
        rows.append({"label": label, "value": one.value, "low": ends[0], "high": ends[1]})
    header = ["column", "column", "measure", "dataset", "reference", "difference"]
    listed = [[*one.names, one.measure, one.here, one.there, one.value] for one in ordered[:100]]
    return Check(
        "fidelity.correlation",
        abs(worst.value),
        interval=(low if worst.test.p < 1 and abs(worst.value) > 1.96 * worst.se else 0.0, high),
        n=len(pair.dataset),
        gate=f"no two columns' association differs by more than {limit:g}",
        tests=len(found),
        test=worst_of([one.test for one in found]),
        sentence=(
            f"Of {count(len(found), 'pair')} of columns `{worst.names[0]}` and `{worst.names[1]}` differ most: their "
            f"association is {worst.here:.2f}, in the reference {worst.there:.2f} (0: none, 1: one tells the other)."
        ),
        advice=f"draw `{worst.names[0]}` and `{worst.names[1]}` together, or let one be written in view of the other",
        method=(
            "Spearman's ρ (numbers), bias-corrected Cramér's V (categories), correlation ratio of ranks (mixed), words "
            f"in common (texts); jackknife over {GROUPS} groups of rows, Student's t, Bonferroni"
        ),
        details={
            "tables": [{"title": "Associations", "header": header, "rows": listed}],
            "plots": [
                {
                    "kind": "forest", "title": "Association of two columns: dataset less reference", "rows": rows,
                    "limit": [-limit, limit], "x_label": "difference",
                }
            ],
        },
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Given:
    """The distribution of the column `what` given the value of `given`, compared."""

    what: str
    given: str
    found: Divergence


def _given(
    columns: Sequence[Column],
    blocks: Sequence[tuple[Block, Block]],
    totals: list[Floats],
    one: int,
    two: int,
    gate: tuple[float, float],
) -> Given:
    """Of the second column given the first where that has fewer values; of the label in any case."""
    sizes = [blocks[at][0].codes.shape[1] for at in (one, two)]
    what, given = (one, two) if columns[one].name == "label" or sizes[0] > sizes[1] else (two, one)
    starts = np.cumsum([0, *(block[0].width for block in blocks)])
    tables = []
    for total in totals:
        first, second = (slice(starts[at], starts[at] + blocks[at][0].codes.shape[1]) for at in (given, what))
        tables.append(total[first, second])
    strata = list(zip(tables[0], tables[1], strict=True))
    return Given(columns[what].name, columns[given].name, compare_strata(strata, limit=gate[0], effect=gate[1]))


def _conditional(pair: Pair, found: list[Given], limit: float) -> Check:
    ordered = sorted(found, key=lambda one: -one.found.value)
    worst = ordered[0]
    listed = [[one.what, one.given, one.found.value, one.found.chance, one.found.moved] for one in ordered[:100]]
    header = ["column", "given", "bits beyond chance", "bits by chance", "share of rows to move"]
    shown = ordered[:20]
    return Check(
        "fidelity.conditional",
        worst.found.value,
        interval=worst.found.interval,
        n=len(pair.dataset),
        gate=f"no column's distribution, given another's value, diverges by more than {limit:g} bits beyond chance",
        tests=len(found),
        test=worst_of([one.found.test for one in found]),
        sentence=(
            f"Of {count(len(found), 'pair')} of columns the distribution of `{worst.what}` given `{worst.given}` "
            f"differs most: {100 * worst.found.moved:.1f} % of the rows would have to change `{worst.what}` (by chance "
            f"alone some would)."
        ),
        advice=f"let the plan draw `{worst.what}` by `{worst.given}`, with the reference's shares",
        method=(
            f"Jensen-Shannon divergence within each value (numbers in {BINS} classes of the reference), averaged; "
            "non-central chi-square, Bonferroni"
        ),
        details={
            "tables": [{"title": "Conditional distributions", "header": header, "rows": listed}],
            "plots": [
                {
                    "kind": "bars", "title": "Divergence given another column",
                    "labels": [f"{one.what} given {one.given}" for one in shown],
                    "series": {
                        "dataset": [one.found.value for one in shown], "chance": [one.found.chance for one in shown]
                    },
                    "y_label": "bits",
                }
            ],
        },
    )  # fmt: skip
