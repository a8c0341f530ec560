"""An audit as a whole: its verdict, its areas, and `audit.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from factory import files
from factory.auditing.concluding import ALPHA
from factory.types import Check

AREAS = ("bias", "diversity", "fidelity", "requested", "utility", "privacy")
Word = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found. `gating`: a FAIL keeps the dataset back (False: the recipe has no `audit:`, it is only told).

    `facts`: what was compared with what, lexicons and models with their versions.
    """

    checks: tuple[Check, ...]
    gating: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Word:
        """FAIL when a check fails; PASS when more areas pass than could not be told; else INCONCLUSIVE."""
        return _most(list(self.areas.values()))

    @property
    def areas(self) -> dict[str, Word]:
        """The verdict of each area that was looked at, the built-in ones first."""
        names = dict.fromkeys([*AREAS, *(check.area for check in self.checks)])
        by_area = {name: [check for check in self.checks if check.area == name] for name in names}
        return {name: together(checks) for name, checks in by_area.items() if checks}

    @property
    def tests(self) -> int:
        """Hypotheses tested in all."""
        return sum(check.tests for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """What `audit.json` holds."""
        return {
            "verdict": self.verdict,
            "gating": self.gating,
            "areas": self.areas,
            "tests": self.tests,
            "alpha": ALPHA,
            "facts": dict(self.facts),
            "checks": [check.as_json() for check in self.checks],
        }


def together(checks: Sequence[Check]) -> Word:
    """FAIL when one fails; PASS when more pass than could not be told; else INCONCLUSIVE: a badge must not promise what
    hardly anything was measured for."""
    return _most([check.verdict for check in checks])


def _most(verdicts: Sequence[Word]) -> Word:
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if verdicts.count("PASS") > verdicts.count("INCONCLUSIVE") else "INCONCLUSIVE"


def write_json(path: Path, told: Mapping[str, Any]) -> None:
    """Write `audit.json`. Raises StorageFull."""
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    files.write_atomic(path, text.encode("utf-8", "replace") + b"\n")
