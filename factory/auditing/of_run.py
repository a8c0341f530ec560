"""The audit of a run: its rows, its rejects, what it compares with, and the models that it may ask."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from factory.auditing.aside import Aside
from factory.auditing.asking import Asker
from factory.auditing.report import Audit
from factory.auditing.running import Auditor, run_auditors
from factory.auditing.specs import AuditSpec, default_specs
from factory.auditors import AuditContext, Data, read_data
from factory.planning import Plan
from factory.planning.axes import Finite, support
from factory.sources.streaming_texts import text_columns

MOST_VALUES = 1000
Progressed = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Material:
    """What a run leaves to its audit.

    `files`: the Parquet of its rows; `specs`: the recipe's `audit:`; `asker`: None where no model may be asked.
    """

    plan: Plan
    specs: Sequence[AuditSpec]
    files: Sequence[Path]
    rejects: Path
    asker: Asker | None
    progress: Progressed = field(default=lambda told, share: None)


async def audit_run(material: Material, aside: Aside) -> Audit | None:
    """Run the recipe's auditors; without `audit:` those that need no reference, which then gate nothing.

    Runs in the thread of `aside`, and asks models in its loop. None where there is nothing to run or no row. Raises
    UsageError (a reference that cannot be read), Incomplete (a model does not answer), FactoryError (an auditor broke).
    """
    recipe, plan = material.plan.recipe, material.plan
    table = read_rows(material.files)
    specs = list(material.specs) if recipe.audit is not None else default_specs(recipe.base)
    if not specs or not table.num_rows:
        return None
    gating = recipe.audit is not None
    reading = Reading()
    private = _private_rows(plan)
    views = {(spec.on, spec.label): Data(recipe.name, table, spec.on, spec.label) for spec in specs}
    auditors = [reading.auditor(spec, views[spec.on, spec.label]) for spec in specs]
    whole = AuditContext(
        seed=recipe.seed,
        private=private,
        rejects=read_rejects(material.rejects),
        base=recipe.base,
        language=None if recipe.language.startswith("en") else recipe.language,  # English is looked for in the rows
        axes=planned_axes(plan),
        progress=material.progress,
        **asking(material.asker, aside),
    )
    checks = await run_auditors(auditors, whole)
    if not gating:
        checks = [check for check in checks if check.value is not None]
    return Audit(tuple(checks), gating, reading.facts())


def asking(asker: Asker | None, aside: Aside) -> dict[str, Any]:
    """The fields of `AuditContext` by which auditors in the thread of `aside` ask models."""
    if asker is None:
        return {}
    return {
        "models": asker.roles,
        "ask": aside.here(asker.ask),
        "embed": aside.here(asker.embed),
        "regenerate": aside.here(asker.regenerate),
    }


class Reading:
    """References and holdouts, each read once."""

    def __init__(self) -> None:
        self._read = cache(self._open)
        self._facts: dict[str, Any] = {}

    def _open(self, entry: str, on: tuple[str, ...], label: str | None) -> Data:
        found = read_data(entry)
        names = found.table.schema.names
        columns = [name for name in on if name in text_columns(found.table.schema)]
        return Data(found.name, found.table, columns or None, label if label in names else None)

    def auditor(self, spec: AuditSpec, dataset: Data) -> Auditor:
        """An entry of `audit:` with its data. Raises UsageError for data that cannot be read."""
        found: dict[str, Data | None] = {}
        for kind, entry in (("reference", spec.reference), ("holdout", spec.holdout)):
            found[kind] = None if entry is None else self._read(entry, dataset.columns, dataset.label)
            if entry is not None and (data := found[kind]) is not None:
                facts = {"name": Path(entry).name, "rows": len(data), "sha256": digest(data)}
                self._facts.setdefault(kind, facts)
        return Auditor(spec.name, dataset, spec.options, **found)

    def facts(self) -> dict[str, Any]:
        """What the dataset was compared with, by its name alone."""
        return dict(self._facts)


def digest(data: Data) -> str:
    """SHA-256 (hex) over the texts of data, in order."""
    hasher = hashlib.sha256()
    for text in data.texts if data.columns else ():
        encoded = text.encode("utf-8", "surrogatepass")
        hasher.update(b"%d:" % len(encoded) + encoded)
    return hasher.hexdigest()


def read_rows(files: Sequence[Path]) -> Any:
    """The rows of all splits, in the order of (row, rank)."""
    import pyarrow as pa
    import pyarrow.compute as compute
    import pyarrow.parquet as pq

    table = pa.concat_tables([pq.read_table(path) for path in files])
    if len(files) > 1:
        rows = table.column("meta").combine_chunks().field("row")
        table = table.take(compute.sort_indices(rows))
    return table


def read_rejects(path: Path) -> Data | None:
    """A run's rejected candidates; None where there is no such file."""
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    return Data("rejects.parquet", pq.read_table(path), ("text",))


def _private_rows(plan: Plan) -> Data | None:
    """The sources, where the recipe calls them private."""
    import pyarrow as pa

    source, config = plan.source, plan.recipe.from_
    if source is None or config is None or not config.private:
        return None
    rows = [{key: _cell(value) for key, value in source[place].items()} for place in range(len(source))]
    return Data(source.name, pa.Table.from_pylist(rows))


def _cell(value: Any) -> Any:
    """A cell that fits a column whatever the other rows hold."""
    from factory.exporting import as_json

    return value if value is None or isinstance(value, str) else as_json(value)


def planned_axes(plan: Plan) -> dict[str, Mapping[Any, float] | None]:
    """The share that each value of an axis is planned with; None for axes of ranges, texts and long lists.

    Of an axis that hangs on another one the values are known and not their shares: they are told as None too.
    """
    found: dict[str, Mapping[Any, float] | None] = {}
    for name, axis in plan.axes.items():
        values = support(name, plan.axes)
        found[name] = None
        if isinstance(axis, Finite) and values is not None and len(values) <= MOST_VALUES and _hashable(values):
            weights = axis.weights or (1.0,) * len(values)
            shares: dict[Any, float] = {}
            for value, weight in zip(values, weights, strict=True):
                shares[value] = shares.get(value, 0.0) + weight / sum(weights)
            found[name] = shares
    return found


def _hashable(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str | int | float | bool) or value is None for value in values)
