"""What a recipe says of a scorer, for tests that compile scorers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spec:
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: float | None = None
    veto_below: float | None = None
    veto_above: float | None = None
