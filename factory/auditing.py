"""Auditors look at the finished dataset; a gate that says no keeps it from being published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factory import registry
from factory.errors import FactoryError
from factory.recipe import Recipe
from factory.types import Check


def audit_rows(recipe: Recipe, rows: Sequence[Mapping[str, Any]]) -> list[Check]:
    """The checks of every auditor in the recipe's `audit:`, in its order. Raises FactoryError naming a broken one."""
    checks: list[Check] = []
    for spec in recipe.audit or []:
        auditor = registry.lookup("auditor", spec.name)
        try:
            found = auditor(rows, None, **spec.options)
        except FactoryError:
            raise
        except Exception as error:
            raise FactoryError(f"auditor `{spec.name}` failed: {type(error).__name__}: {error}") from error
        checks += list(found)
    return checks


def failed(checks: Sequence[Check]) -> list[Check]:
    """The checks that keep the dataset back."""
    return [check for check in checks if check.verdict == "FAIL"]
