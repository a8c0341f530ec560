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
class Progress:
    """Counts of one moment. `target` None: one pass over the sources. Times in seconds, rates of this process."""

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

    @property
    def spent_usd(self) -> float | None:
        return None if self.spent_nano is None else self.spent_nano / NANO

    @property
    def cap_usd(self) -> float | None:
        return None if self.cap_nano is None else self.cap_nano / NANO


def write_progress(path: Path, progress: Progress) -> None:
    """Replace the progress file in one step. It is a courtesy to readers, so it is not synced."""
    write_atomic(path, json.dumps(asdict(progress)), durable=False)


def read_progress(path: Path) -> dict[str, Any] | None:
    """The last snapshot written, or None."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
