"""The auditors of an audit, one after another; those that are coroutines may ask models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from factory import registry
from factory.auditing.concluding import conclude
from factory.auditors import AuditContext, Data
from factory.errors import CallBarred, FactoryError
from factory.types import Check


@dataclass(frozen=True, slots=True)
class Auditor:
    """One entry of `audit:`: an auditor's name, the rows it looks at, its options (checked), what it compares with."""

    name: str
    dataset: Data
    options: Mapping[str, Any] = field(default_factory=dict)
    reference: Data | None = None
    holdout: Data | None = None


async def run_auditors(auditors: Sequence[Auditor], context: AuditContext) -> list[Check]:
    """The checks of every auditor, in order, with verdicts. Raises FactoryError naming an auditor that broke."""
    checks: list[Check] = []
    for number, auditor in enumerate(auditors):
        context.progress(auditor.name, number / len(auditors))
        checks += await _run(
            auditor, replace(context, holdout=auditor.holdout, progress=_part(context, number, auditors))
        )
    context.progress("", 1.0)
    return conclude(checks)


def _part(context: AuditContext, number: int, auditors: Sequence[Auditor]) -> Callable[[str, float], None]:
    """What an auditor tells of its own way, as a part of the whole."""

    def told(what: str, share: float) -> None:
        name = auditors[number].name
        context.progress(f"{name}: {what}" if what else name, (number + min(1.0, max(0.0, share))) / len(auditors))

    return told


async def _run(auditor: Auditor, context: AuditContext) -> list[Check]:
    function = registry.lookup("auditor", auditor.name)
    given = (auditor.dataset, auditor.reference, context)[: _positional(function)]
    try:
        found = function(*given, **auditor.options)
        if inspect.isawaitable(found):
            found = await found
        return list(found)
    except (FactoryError, CallBarred):
        raise
    except Exception as error:
        raise FactoryError(f"auditor `{auditor.name}` failed: {type(error).__name__}: {error}") from error


def _positional(function: Callable[..., Any]) -> int:
    """How many of (dataset, reference, context) a plugin takes: at least the first two."""
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 3
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(3, max(2, sum(kind in plain for kind in kinds)))


def failed(checks: Sequence[Check]) -> list[Check]:
    """The checks that keep the dataset back."""
    return [check for check in checks if check.verdict == "FAIL"]
