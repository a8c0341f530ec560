"""The files of a run while they are written: rows and rejects stream to temporary files, then take their place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory import files
from factory.card import CardFacts, render_card
from factory.curation import Committed
from factory.exporting import FLAGS, META, RejectsWriter, SplitFiles, dataset_row
from factory.planning import Plan
from factory.preference_files import CONFIG, PreferenceWriter
from factory.run_dir import RunDir, publish
from factory.types import DatasetRow, RowOutcome
from factory.whole_set import NamedPass, WholeSet

EXAMPLES = 3


@dataclass(slots=True)
class Outputs:
    """The dataset and the rejects of a run, in the making. `write` is the sink of the window.

    With passes over the whole set accepted rows wait in `whole` until `close`, and their preference pairs with them.
    `flags`: a filter may flag rows, so `meta` has a field for that.
    """

    run: RunDir
    plan: Plan
    columns: Sequence[tuple[str, str]]
    passes: Sequence[NamedPass] = ()
    flags: bool = False
    whole: WholeSet | None = field(init=False, default=None)
    pairs: PreferenceWriter | None = field(init=False, default=None)
    pair_splits: dict[str, int] = field(init=False, default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    _dataset: SplitFiles = field(init=False)
    _rejects: RejectsWriter = field(init=False)

    def __post_init__(self) -> None:
        try:
            if self.run.building.exists():
                shutil.rmtree(self.run.building)
        except OSError as error:
            raise files.storage_fault(error, self.run.building) from error
        meta = (*META, FLAGS) if self.flags else META
        self._dataset = SplitFiles(self.run.building, "data", self.plan, self.columns, meta)
        self._rejects = RejectsWriter(self._rejects_path)
        if (preference := self.plan.recipe.export.preference) is not None:
            self.pairs = PreferenceWriter(self.run.building, self.plan, preference)
        if self.passes:
            self.whole = WholeSet(self.passes, self.run.path)

    @property
    def _rejects_path(self) -> Path:
        return self.run.path / ".rejects.parquet.tmp"

    def write(self, outcome: RowOutcome, committed: Committed) -> None:
        """One committed row: what was accepted into the dataset, everything else into the rejects."""
        pair = None if self.pairs is None else self.pairs.make(outcome, committed)
        for rank, scored in committed.accepted:
            flags = committed.flags.get(rank, ()) if self.flags else None
            row = dataset_row(self.plan, outcome, rank, scored, flags)
            chosen = pair if rank == 0 else None
            if self.whole is None:
                self._keep(row, chosen)
            else:
                self.whole.add(outcome, scored, row, chosen)
        for verdict in committed.verdicts:
            if not verdict.accepted:
                self._rejects.write(verdict, outcome.variation.values)

    def _keep(self, row: DatasetRow, pair: Mapping[str, Any] | None) -> None:
        self._dataset.write(row.flat())
        if self.pairs is not None and pair is not None:
            self.pairs.write(pair)
        if len(self.examples) < EXAMPLES:
            self.examples.append(row.flat())

    def close(self) -> dict[str, int]:
        """Run the passes and finish the files; rows by split. The dataset is not in its place yet."""
        for held, verdict in self.whole.decide() if self.whole is not None else ():
            if verdict is None:
                self._keep(held.row, held.pair)
            else:
                self._rejects.write(verdict, held.values)
        splits = self._dataset.close()
        if self.pairs is not None:
            self.pair_splits = self.pairs.close()
        self._rejects.close()
        os.replace(self._rejects_path, self.run.rejects)
        return splits

    def files(self) -> list[Path]:
        """The Parquet files of the rows, after `close`."""
        return [self.run.building / path for path in self._dataset.paths().values()]

    def publish(self, facts: CardFacts, *, rejected: bool) -> Path:
        """Write the card beside the Parquet and put the directory in its place."""
        configs = {"default": self._dataset.paths()}
        if self.pairs is not None and (pairs := self.pairs.paths()):
            configs[CONFIG] = pairs
        for name, plot in facts.plots.items():
            (self.run.building / name).parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self.run.building / name, plot)
        files.write_atomic(self.run.building / "README.md", render_card(facts, configs))
        return publish(self.run, rejected=rejected)

    def discard(self) -> None:
        """Drop the rows written so far; what lies in `dataset/` stays."""
        shutil.rmtree(self.run.building)
