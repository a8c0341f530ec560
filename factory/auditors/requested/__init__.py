"""The area `requested`: is what was asked for there? The plan's shares in the rows, and each axis in the texts."""

from __future__ import annotations

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.requested.coverage import coverage
from factory.auditors.requested.judged import judge_axis
from factory.auditors.requested.values import axes_to_check
from factory.auditors.requested.visible import visible
from factory.types import Check

__all__ = ["requested"]


async def requested(
    dataset: Data,
    reference: Data | None,
    context: AuditContext,
    *,
    axes: list[str] | None = None,
    model: str | None = None,
    rows: int = 300,
    max_shift: float = 0.1,
    min_visible: float = 0.1,
    max_misses: float = 0.2,
) -> list[Check]:
    """Is what was asked for in the rows: each axis with its planned shares, and to be seen in the texts?

    `axes`: those to look at (default: all of `vary`). `model`: a role that judges `rows` rows; without one a classifier
    trained here tells whether the text shows the axis. `max_shift`: of the shares, total variation distance.
    `min_visible`: how much better than chance the classifier must be, 0…1. `max_misses`: the share of rows in which the
    judge sees another value than the one asked for. Raises UsageError for an axis that is not there.
    """
    chosen = axes_to_check(dataset, axes)
    if not chosen:
        advice = "audit a run, or give the data a column `meta` with `variation` (JSON: axis to value)"
        told = "The rows do not say what was asked for: they have no axes."
        return [Check("requested.axis", None, sentence=told, advice=advice, n=len(dataset))]
    checks = coverage(dataset, chosen, context, limit=max_shift)
    for number, axis in enumerate(chosen):
        context.progress(axis, number / len(chosen))
        if model is None:
            checks.append(visible(dataset, axis, context, limit=min_visible))
        else:
            checks.append(await judge_axis(dataset, axis, context, role=model, rows=rows, limit=max_misses))
    return checks
