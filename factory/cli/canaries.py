"""`canaries`: secrets that nobody has, planted in a copy of real rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.cleaning import ConfigOpt, DataArg, LimitOpt, SkipBadOpt, SplitOpt, watching
from factory.cli.making import JsonOpt
from factory.cli.output import one_line, print_json, tell

OutOpt = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="The folder for planted.parquet, canaries.json, summary.json.")
]
CountOpt = Annotated[int, typer.Option("--count", metavar="N", help="Canaries planted; as many more are kept back.")]
RepeatOpt = Annotated[
    str, typer.Option("--repeat", metavar="R", help="How often each is planted; `1,4,16`: in turn, to compare.")
]
ColumnOpt = Annotated[
    str | None, typer.Option("--column", metavar="TEXT", help="The column they go to. [default: the only text]")
]
SeedOpt = Annotated[int, typer.Option("--seed", metavar="S", help="Other canaries, other places.")]


def plant(
    data: DataArg,
    out: OutOpt,
    count: CountOpt = 50,
    repeat: RepeatOpt = "1",
    column: ColumnOpt = None,
    seed: SeedOpt = 0,
    split: SplitOpt = "train",
    config: ConfigOpt = None,
    limit: LimitOpt = None,
    skip_bad: SkipBadOpt = False,
    json_: JsonOpt = False,
) -> None:
    """Plant canaries, made-up secrets, in a copy of real rows that is to be a source.

    DIR gets planted.parquet (the rows, with the canaries between them), canaries.json (what was planted, and what was
    kept back to compare) and summary.json. Make the dataset from planted.parquet, and have its audit look for the
    canaries with `audit: [privacy: {canaries: DIR/canaries.json}]`.
    """
    from factory.planting import Planting, plant_canaries

    wanted = Planting(
        data=tuple(data),
        column=column,
        count=count,
        repeats=_repeats(repeat),
        seed=seed,
        split=split,
        config=config,
        limit=limit,
        skip_bad=skip_bad,
    )
    with watching(quiet=json_) as view:
        summary = plant_canaries(wanted, out=out, notice=view.notice, progress=view.update)
    if json_:
        print_json(summary)
        return
    tell(_show(summary))


def _repeats(given: str) -> tuple[int, ...]:
    from factory.errors import UsageError

    try:
        return tuple(int(one) for one in given.split(","))
    except ValueError:
        raise UsageError(f"--repeat {given}: not a number", "for example --repeat 1,4,16") from None


def _show(summary: dict[str, Any]) -> str:
    return (
        f"{summary['planted']:,} canaries planted in {summary['planted_rows']:,} rows among {summary['rows']:,}, "
        f"{summary['kept_back']:,} kept back; {summary['seconds']:.1f} s\n"
        f"  data:    {one_line(summary['files']['data'])}\n"
        f"  record:  {one_line(summary['files']['record'])} (keep it from the model; name it in the audit)"
    )
