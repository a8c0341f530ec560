"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.auditors import Data
from factory.run_dir import RunDir, read_manifest


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What lies in a run's directory. `recipe`: the text of recipe.yaml; `rejects`, `ledger`: their Parquet files."""

    manifest: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    rejects: Path | None = None
    ledger: Path | None = None


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """The facts of a report. `audit`: what audit.json holds; under `story` it may hold `tell_story(facts)`, else that
    is made anew. `run` None: data that no run of ours made, so the run's sections are left out.
    """

    audit: Mapping[str, Any]
    title: str
    dataset: Data
    reference: Data | None = None
    run: RunFiles | None = None


def run_files(run: RunDir, manifest: Mapping[str, Any] | None = None) -> RunFiles:
    """What a report reads of a run; `manifest` where it is not written yet. Raises FactoryError (a broken manifest)."""
    recipe = run.path / "recipe.yaml"
    return RunFiles(
        manifest=(read_manifest(run) or {}) if manifest is None else manifest,
        recipe=recipe.read_text("utf-8", "replace") if recipe.exists() else "",
        rejects=run.rejects if run.rejects.exists() else None,
        ledger=run.ledger if run.ledger.exists() else None,
    )
