"""The limits of the area's gates, and the effects that must not go unseen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory.errors import UsageError, nearest

DEFAULTS: Mapping[str, tuple[float, float]] = {
    "length": (0.1, 0.2),
    "vocabulary": (0.1, 0.25),
    "words": (0.02, 0.05),
    "topics": (0.001, 0.015),
    "style": (0.1, 0.3),
    "coverage": (0.1, 0.2),
    "mauve": (0.05, 0.15),
    "classifier": (0.9, 0.95),
    "labels": (0.001, 0.02),
    "columns": (0.1, 0.25),
    "correlation": (0.1, 0.35),
    "conditional": (0.02, 0.1),
}
"""Limit and effect by gate. `words` is the gate of `vocabulary` for the shares of words."""
CHECKS = tuple(name for name in DEFAULTS if name != "words")


@dataclass(frozen=True, slots=True)
class Gates:
    """`checks`: those to make. `limits`: limit and effect by gate. `smallest`: the share from which a label counts."""

    checks: tuple[str, ...]
    limits: Mapping[str, tuple[float, float]]
    smallest: float

    def of(self, name: str) -> dict[str, float]:
        """The arguments `limit` and `effect` of a check."""
        limit, effect = self.limits[name]
        return {"limit": limit, "effect": effect}


def read_gates(checks: Sequence[str] | None, limits: Mapping[str, float] | None, smallest: float) -> Gates:
    """The options as gates: an effect lies as far beyond a limit that is given as beyond the default one.

    Raises UsageError for unknown names and for limits outside 0 … 1 (`style`: 0 or more).
    """
    for name in checks or ():
        if name not in CHECKS:
            raise UsageError(f"fidelity: no check `{name}`", f"{nearest(name, CHECKS)} checks: {', '.join(CHECKS)}")
    if checks is not None and not checks:
        raise UsageError("fidelity: `checks` is empty", f"name some of: {', '.join(CHECKS)}")
    if not 0 <= smallest < 1:
        raise UsageError(f"fidelity: `min_label_share` is {smallest}", "a share, from 0 to under 1")
    found = dict(DEFAULTS)
    for name, limit in (limits or {}).items():
        if name not in DEFAULTS:
            raise UsageError(f"fidelity: no limit `{name}`", f"{nearest(name, DEFAULTS)} limits: {', '.join(DEFAULTS)}")
        most = math.inf if name == "style" else 1.0
        if not 0 <= limit <= most:
            raise UsageError(f"fidelity: the limit of `{name}` is {limit}", "a number from 0 to 1 (`style`: 0 or more)")
        default, effect = DEFAULTS[name]
        found[name] = (limit, min(most, limit + effect - default))
    return Gates(tuple(checks) if checks is not None else CHECKS, found, smallest)
