"""The candidates that fell, as columns; their texts are read for chosen ones alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("row", "step", "candidate", "stage", "reason", "total", "matched")


@dataclass(frozen=True, slots=True)
class Rejects:
    """`rejects.parquet` without its longest columns. `columns`: by name, a value for each line."""

    path: Path | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns.get("row", ()))

    def column(self, name: str) -> Sequence[Any]:
        return self.columns.get(name, ())

    def at(self, name: str, places: Sequence[int]) -> dict[int, Any]:
        """A column that is not held in memory (`text`, `scores`, `variation`), at these lines."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.path is None or not places:
            return {}
        file = pq.ParquetFile(self.path)
        if name not in file.schema_arrow.names:
            return {}
        found: dict[int, Any] = {}
        wanted, first = sorted(set(places)), 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            here = [place for place in wanted if first <= place < first + rows]
            if here:
                column = file.read_row_group(group, columns=[name]).column(0)
                values = column.take(pa.array([place - first for place in here])).to_pylist()
                found |= dict(zip(here, values, strict=True))
            first += rows
        return found


def read_rejects(path: Path | None) -> Rejects:
    """The lines of `rejects.parquet`; none where there is no such file."""
    import pyarrow.parquet as pq

    if path is None or not path.exists():
        return Rejects()
    names = [name for name in NAMES if name in pq.read_schema(path).names]
    table = pq.read_table(path, columns=names)
    return Rejects(path, {name: table.column(name).to_pylist() for name in names})
