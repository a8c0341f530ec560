"""What `factory score` leaves: `scores.parquet`, `report.json`, `report.md` and, with labels, `plot.svg`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.assessing.plot import draw_plot
from factory.assessing.report import Table
from factory.assessing.story import tell_report
from factory.exporting import ParquetLines, scores_json
from factory.files import storage_fault, write_atomic
from factory.scoring import Scorers

LINES = (
    ("row", "int"),
    ("group", "str"),
    ("label", "float"),
    ("total", "float"),
    ("vetoed", "bool"),
    ("reason", "str"),
    ("scores", "str"),
)


def write_files(out: Path, summary: Mapping[str, Any], scorers: Scorers, table: Table) -> dict[str, Path]:
    """Write everything into `out`; the paths by what they are. Raises StorageFull, FactoryError (no permission)."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_fault(error, out) from error
    paths = {"scores": out / "scores.parquet", "report": out / "report.json", "story": out / "report.md"}
    _write_scores(paths["scores"], scorers, table)
    write_atomic(paths["report"], json.dumps(summary, indent=2, ensure_ascii=False, default=str) + "\n")
    write_atomic(paths["story"], tell_report(summary))
    plot = draw_plot(summary)
    if plot is not None:
        paths["plot"] = out / "plot.svg"
        write_atomic(paths["plot"], plot)
    return paths


def _write_scores(path: Path, scorers: Scorers, table: Table) -> None:
    names = [scorer.name for scorer in scorers.scorers]
    lines = ParquetLines(path, LINES, nested={"values": [(name, "float") for name in names]})
    for row, scored in enumerate(table.scored):
        values = {score.name: score.value for score in scored.scores}
        veto = next((score for score in scored.scores if score.vetoed), None)
        lines.write(
            {
                "row": row,
                "group": None if table.groups is None else str(table.groups[row]),
                "label": None if table.labels is None else table.labels[row],
                "total": scored.total,
                "vetoed": veto is not None,
                "reason": None if veto is None else f"{veto.name}: {veto.reason}",
                "scores": scores_json(scored),
                "values": values,
            }
        )
    lines.close()
