"""What a run made, as Python sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError
from factory.run_dir import RunDir, open_run_dir, read_manifest
from factory.types import Check

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, slots=True)
class Result:
    """A run's directory and the summary that `factory run --json` prints."""

    run: RunDir
    summary: Mapping[str, Any] = field(default_factory=dict)
    audits: tuple[Check, ...] = ()

    @property
    def path(self) -> Path:
        return self.run.path

    @property
    def status(self) -> str:
        return str(self.summary.get("status", "unknown"))

    def dataset(self) -> datasets.DatasetDict:
        """The rows, by split. Raises UsageError when the run has written none yet."""
        import datasets

        if not self.run.dataset.exists():
            raise UsageError(f"{self.run.path}: no dataset yet", f"look at `factory status {self.run.path}`")
        found = datasets.load_dataset(str(self.run.dataset))
        assert isinstance(found, datasets.DatasetDict)
        return found

    def ledger(self) -> datasets.Dataset:
        """One line an attempt."""
        return _read_parquet(self.run.ledger)

    def rejects(self) -> datasets.Dataset:
        """One line a rejected candidate."""
        return _read_parquet(self.run.rejects)


def _read_parquet(path: Path) -> datasets.Dataset:
    import datasets
    import pyarrow.parquet as pq

    if not path.exists():
        raise UsageError(f"{path}: not written yet", "a run writes it when it ends")
    return datasets.Dataset(pq.read_table(path))


def open_run(path: Path | str) -> Result:
    """The result of an earlier run. Raises UsageError when `path` is no run directory."""
    run = open_run_dir(path)
    return Result(run, read_manifest(run) or {})
