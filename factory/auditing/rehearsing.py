"""The auditors of a recipe on two made-up rows, before anything is paid: options that make no sense are told then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from factory import registry
from factory.auditing.of_run import planned_axes
from factory.auditing.specs import AuditSpec
from factory.auditors import Answer, AuditContext, Data
from factory.errors import Place, RecipeError, UsageError
from factory.exporting import arrow_type, as_json
from factory.planning import Plan

TASKS = frozenset({"generate", "likelihood", "classify", "embed"})
SAMPLES: Mapping[str, Any] = {"str": "A text of a made-up row.", "int": 1, "float": 0.5, "bool": True, "json": "{}"}


def rehearse(plan: Plan, specs: Sequence[AuditSpec], columns: Sequence[tuple[str, str]]) -> None:
    """Call each built-in auditor once. `columns`: the dataset's, with their kinds. Raises RecipeError with every fault.

    A reference is not read and no model is asked. Auditors of plugins are not called: what they remember is theirs.
    """
    ours = [(number, spec) for number, spec in enumerate(specs) if _is_built_in(spec.name)]
    if not ours:
        return
    rows = _rows(plan, columns)
    faults: list[Place] = []
    with ThreadPoolExecutor(1) as thread:  # there may be an event loop in this one
        for number, spec in ours:
            error = thread.submit(_run, plan, spec, rows).result()
            if error is not None:
                faults.append(plan.recipe.place("audit", number, spec.name, message=error.message, hint=error.hint))
    if faults:
        raise RecipeError(faults)


def _is_built_in(name: str) -> bool:
    target = registry.BUILT_IN["auditor"].get(name, "")
    return bool(target) and registry.lookup("auditor", name).__module__.startswith(target.partition(":")[0])


def _run(plan: Plan, spec: AuditSpec, rows: Any) -> UsageError | None:
    return asyncio.run(_call(plan, spec, rows))


async def _call(plan: Plan, spec: AuditSpec, rows: Any) -> UsageError | None:
    async def answer(*_: Any, **__: Any) -> Answer:
        return Answer(None, "nobody is asked now")

    async def embed(role: str, texts: Sequence[str]) -> Any:
        import numpy as np

        return np.zeros((len(texts), 2), dtype=np.float32)

    dataset = Data(plan.recipe.name, rows, spec.on, spec.label)
    context = AuditContext(
        holdout=dataset,
        base=plan.recipe.base,
        axes=planned_axes(plan),
        models=dict.fromkeys(spec.roles.values(), TASKS),
        ask=answer,
        embed=embed,
        regenerate=answer,
    )
    try:
        await registry.lookup("auditor", spec.name)(dataset, dataset, context, **spec.options)
    except UsageError as error:
        return error
    return None


def _rows(plan: Plan, columns: Sequence[tuple[str, str]]) -> Any:
    """Two rows with the dataset's columns, and the axes of the plan's first ones."""
    import pyarrow as pa

    variations = [plan.row(index) for index in range(2)]
    meta = [
        {
            "row": variation.row,
            "id": str(variation.row),
            "model": "made-up",
            "score": 0.0,
            "variation": as_json(dict(variation.values)),
        }
        for variation in variations
    ]
    table = {name: pa.array([SAMPLES.get(kind)] * 2, arrow_type(kind)) for name, kind in columns}
    return pa.table({**table, "meta": pa.array(meta)})
