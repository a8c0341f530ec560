"""The files of a run while they are written: rows and rejects stream to temporary files, then take their place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from factory import files
from factory.auditing import audit_rows, failed
from factory.card import CardFacts, render_card
from factory.curation import Committed
from factory.exporting import DatasetWriter, RejectsWriter, dataset_row
from factory.planning import Plan
from factory.run_dir import RunDir, publish
from factory.types import Check, RowOutcome

EXAMPLES = 3


@dataclass(slots=True)
class Outputs:
    """The dataset and the rejects of a run, in the making. `write` is the sink of the window."""

    run: RunDir
    plan: Plan
    columns: Sequence[tuple[str, str]]
    examples: list[dict[str, Any]] = field(default_factory=list)
    _dataset: DatasetWriter = field(init=False)
    _rejects: RejectsWriter = field(init=False)

    def __post_init__(self) -> None:
        try:
            if self.run.building.exists():
                shutil.rmtree(self.run.building)
        except OSError as error:
            raise files.storage_fault(error, self.run.building) from error
        self._dataset = DatasetWriter(self.run.building, self.plan, self.columns)
        self._rejects = RejectsWriter(self._rejects_path)

    @property
    def _rejects_path(self) -> Path:
        return self.run.path / ".rejects.parquet.tmp"

    def write(self, outcome: RowOutcome, committed: Committed) -> None:
        """One committed row: what was accepted into the dataset, everything else into the rejects."""
        for rank, scored in committed.accepted:
            row = dataset_row(self.plan, outcome, rank, scored)
            self._dataset.write(row)
            if len(self.examples) < EXAMPLES:
                self.examples.append(row.flat())
        for verdict in committed.verdicts:
            if not verdict.accepted:
                self._rejects.write(verdict, outcome.variation.values)

    def close(self) -> dict[str, int]:
        """Finish the files; rows by split. The dataset is not in its place yet."""
        splits = self._dataset.close()
        self._rejects.close()
        os.replace(self._rejects_path, self.run.rejects)
        return splits

    def audit(self) -> list[Check]:
        """Run the recipe's auditors over the finished rows and write `audit.json`."""
        if not self.plan.recipe.audit:
            return []
        checks = audit_rows(self.plan.recipe, self._read_rows())
        verdict = "FAIL" if failed(checks) else "PASS"
        data = {"verdict": verdict, "checks": [asdict(check) for check in checks]}
        files.write_atomic(self.run.audit, json.dumps(data, indent=2) + "\n")
        return checks

    def _read_rows(self) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = []
        for path in self._dataset.paths().values():
            rows += pq.read_table(self.run.building / path).to_pylist()
        return rows

    def publish(self, facts: CardFacts, *, rejected: bool) -> Path:
        """Write the card beside the Parquet and put the directory in its place."""
        files.write_atomic(self.run.building / "README.md", render_card(facts, self._dataset.paths()))
        return publish(self.run, rejected=rejected)

    def discard(self) -> None:
        """Drop the rows written so far; what lies in `dataset/` stays."""
        shutil.rmtree(self.run.building)
