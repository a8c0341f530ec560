"""What an auditor may know besides the rows and the reference."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from factory import seeds
from factory.auditors.data import Data
from factory.errors import UsageError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, or None and why. `score`: the total of a row made anew; None where a scorer vetoed it."""

    text: str | None
    problem: str = ""
    score: float | None = None


def _cannot_ask(*_: Any, **__: Any) -> Awaitable[Any]:
    raise UsageError("this audit has no models to ask", "name one: --model ROLE=BACKEND/MODEL, or `models` of a recipe")


def _silent(told: str, share: float) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class AuditContext:
    """What an auditor may know. Everything but `seed` may be absent.

    `holdout`: real rows that neither the model nor the recipe has seen. `private`: rows of sources that the recipe
    calls private. `rejects`: the candidates that fell, with the columns of `rejects.parquet`. `language`: the recipe's,
    None where nobody said. `axes`: the values that the recipe plans for each axis, with their shares (None: drawn from
    a file or a range). `models`: what each role that may be asked is able to do (`generate`, `embed`, `classify`,
    `likelihood`). `ask(role, messages, row, index=0, schema=None)` gives an `Answer`, `embed(role, texts)` an array
    [n, d], `regenerate(row, {axis: value})` what the recipe makes for a planned row with an axis changed and the same
    seed; all are journaled. `progress(told, share)` hears what is done, 0…1.
    """

    seed: int = 0
    holdout: Data | None = None
    private: Data | None = None
    rejects: Data | None = None
    base: Path = Path()
    language: str | None = None
    axes: Mapping[str, Mapping[Any, float] | None] = field(default_factory=dict)
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ask: Callable[..., Awaitable[Answer]] = _cannot_ask
    embed: Callable[..., Awaitable[Any]] = _cannot_ask
    regenerate: Callable[..., Awaitable[Answer]] = _cannot_ask
    progress: Callable[[str, float], None] = _silent

    def rng(self, *names: str | int) -> np.random.Generator:
        """A generator of its own for what it is named after: the same names give the same numbers."""
        return np.random.Generator(np.random.PCG64(seeds.derive(self.seed, "audit", *names)))
