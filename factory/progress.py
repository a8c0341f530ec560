"""A snapshot of a run that is under way: what the terminal shows and `progress.json` holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from factory.files import write_atomic
from factory.types import NANO


@dataclass(frozen=True, slots=True)
class ModelState:
    """How a model is called now: attempts in flight, how many may be (`limit`, at most `cap`), whether calls pause
    until its server is back. `told`: where a batch stands; "" for a model without one."""

    role: str
    model: str
    in_flight: int = 0
    limit: int = 0
    cap: int = 0
    paused: bool = False
    told: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of one moment. `target` None: one pass over the sources. Times in seconds, rates of this process.

    `doing`: what else the run is at, such as its audit.
    """

    status: str
    run: str
    accepted: int
    target: int | None
    committed: int
    limit: int
    running: int = 0
    in_flight: int = 0
    calls: int = 0
    replayed: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spent_nano: int | None = 0
    cap_nano: int | None = None
    elapsed_s: float = 0.0
    tokens_per_s: float = 0.0
    eta_s: float | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[tuple[str, str, int], ...] = ()
    notices: tuple[str, ...] = ()
    models: tuple[ModelState, ...] = ()
    gpu_seconds: float = 0.0
    doing: str = ""

    @property
    def spent_usd(self) -> float | None:
        return None if self.spent_nano is None else self.spent_nano / NANO

    @property
    def cap_usd(self) -> float | None:
        return None if self.cap_nano is None else self.cap_nano / NANO

    @property
    def per_row_usd(self) -> float | None:
        """USD spent for each accepted row so far, rejected ones and judges included; None before the first."""
        spent = self.spent_usd
        return None if spent is None or not self.accepted else spent / self.accepted

    @property
    def projected_usd(self) -> float | None:
        """USD of the whole run, if the rows that are left cost as much as those before; None while nothing is known."""
        done, wanted = (self.accepted, self.target) if self.target is not None else (self.committed, self.limit)
        spent = self.spent_usd
        return None if spent is None or not done else spent * max(1.0, wanted / done)


def model_states(models: Mapping[str, Any]) -> tuple[ModelState, ...]:
    """The state of each open model. What a model or its backend does not tell is left out."""
    found = []
    for role, model in models.items():
        window = getattr(model, "window", None)
        tell = getattr(model.backend, "progress", None)
        found.append(
            ModelState(
                role=role,
                model=model.config.name,
                in_flight=getattr(window, "in_flight", 0),
                limit=getattr(window, "limit", model.concurrency),
                cap=model.concurrency,
                paused=bool(getattr(window, "paused", False)),
                told="" if tell is None else str(tell() or ""),
            )
        )
    return tuple(found)


def write_progress(path: Path, progress: Progress) -> None:
    """Replace the progress file in one step. It is a courtesy to readers, so it is not synced."""
    derived = {"per_row_usd": progress.per_row_usd, "projected_usd": progress.projected_usd}
    write_atomic(path, json.dumps(asdict(progress) | derived), durable=False)


def read_progress(path: Path) -> dict[str, Any] | None:
    """The last snapshot written, or None."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
