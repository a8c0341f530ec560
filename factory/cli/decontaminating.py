"""`decontaminate`: rows that overlap test sets out of any dataset."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from factory.cli.cleaning import ConfigOpt, DataArg, LimitOpt, OutOpt, SkipBadOpt, SplitOpt, watching
from factory.cli.making import JsonOpt
from factory.cli.output import one_line, print_json, tell

AgainstOpt = Annotated[
    list[str],
    typer.Option("--against", metavar="BENCH", help="A test set: a known name, a Hub name, or a file. Repeatable."),
]
ColumnOpt = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="TEXT", help="What is compared, each by itself and together. [default: all text]"),
]
FieldOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--against-column",
        metavar="FIELD",
        help="The test sets' field with the question, or PART=FIELD: question, answer, choices, turns.",
    ),
]
ModeOpt = Annotated[
    str, typer.Option("--mode", metavar="MODE", help="drop; flag: keep all rows, with a column `contamination`.")
]
LayerOpt = Annotated[
    list[str] | None,
    typer.Option("--layer", metavar="LAYER", help="ngram, coverage, characters. Repeatable. [default: all three]"),
]
FprOpt = Annotated[
    float,
    typer.Option("--fpr", metavar="RATE", help="Clean rows that may fall, per test set: 0.0001, 0.001 or 0.01."),
]
ModelOpt = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="BACKEND/MODEL", help="Compare meanings too: sentence-transformers/NAME, in this process."
    ),
]


def decontaminate(
    data: DataArg,
    against: AgainstOpt,
    out: OutOpt,
    column: ColumnOpt = None,
    against_column: FieldOpt = None,
    mode: ModeOpt = "drop",
    layer: LayerOpt = None,
    fpr: FprOpt = 0.001,
    model: ModelOpt = None,
    split: SplitOpt = "train",
    config: ConfigOpt = None,
    limit: LimitOpt = None,
    skip_bad: SkipBadOpt = False,
    json_: JsonOpt = False,
) -> None:
    """Take rows that overlap test sets out of any dataset, or flag them.

    OUT gets kept.parquet (the rows as they were), removed.parquet (with test set, row, layer, score and the stretch
    that matches) and summary.json. `factory benchmarks list` shows the known test sets.
    """
    from factory.cleaning.decontaminating import Suspects
    from factory.cleaning.decontaminating import decontaminate as walk
    from factory.decontamination import LAYERS

    wanted = Suspects(
        data=tuple(data),
        against=tuple(against),
        columns=tuple(column or ()),
        against_columns=tuple(against_column or ()),
        mode=mode,
        layers=tuple(part.strip() for one in layer for part in one.split(",")) if layer else LAYERS,
        fpr=fpr,
        model=model,
        split=split,
        config=config,
        limit=limit,
        skip_bad=skip_bad,
    )
    with watching(quiet=json_) as view:
        found = walk(wanted, out=out, notice=view.notice, progress=view.update)
    if json_:
        print_json(found.summary)
        return
    tell(_show(found.summary))
    for what, path in found.files.items():
        tell(f"  {what + ':':9}{one_line(path)}")


def _show(summary: dict[str, Any]) -> str:
    rows, found = summary["rows"], summary["contaminated"]
    what = "flagged" if summary["mode"] == "flag" else "removed"
    speed = f"{summary['seconds']:.1f} s, {summary['rows_per_second'] or 0:,} rows/s"
    lines = [f"{rows:,} rows: {found:,} {what}, {rows - found:,} clean; {speed}"]
    for name, count in summary["by_benchmark"].items():
        lines.append(f"  {count:,} overlap {one_line(name)} ({summary['benchmark_rows'][name]:,} rows)")
    if summary["by_layer"]:
        lines.append("  found by " + ", ".join(f"{layer}: {count:,}" for layer, count in summary["by_layer"].items()))
    if summary["skipped"]:
        lines.append(f"  {summary['skipped']:,} bad rows were left out")
    return "\n".join(lines)
