"""`score`: scorers on any dataset, checked against labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.making import JsonOpt, pairs
from factory.cli.output import note, one_line, print_json, say, tell


def score(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="JSONL, JSON, CSV, Parquet, a saved dataset, a run, or a Hub name."),
    ],
    scorers: Annotated[
        str,
        typer.Option(
            "--scorers", metavar="FILE|LIST", help="A YAML file with `score:` (a recipe is one), or `length, refusal`."
        ),
    ],
    column: Annotated[
        list[str] | None, typer.Option("--column", metavar="NAME", help="What is scored; may be given several times.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="NAME", help="The column with the prompt.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="NAME", help="The column that says which rows are good.")
    ] = None,
    good: Annotated[
        list[str] | None, typer.Option("--good", metavar="LABEL", help="A label that counts as good.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Rows with the same value answer the same prompt.")
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT", help="The split of a dataset.")] = "train",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The first N rows only.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where scores, report, plot and journal go.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="ROLE=BACKEND/MODEL", help="A model for a scorer's role.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="A hard cap on what this may spend in all.")
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Journal only: a call that is missing is an error.")] = False,
    json_: JsonOpt = False,
) -> None:
    """Run scorers over any dataset; with --labels, tell how well each knows good rows from bad."""
    from factory.assessing import Wanted, assess

    wanted = Wanted(
        data=data,
        scorers=scorers,
        columns=tuple(column or ()),
        prompt=prompt,
        labels=labels,
        good=tuple(good or ()),
        group=group,
        split=split,
        limit=limit,
        models=pairs(model, "--model", "ROLE=BACKEND/MODEL"),
        budget=budget,
    )
    found = assess(wanted, out=out, replay=replay, notice=note, progress=_Progress(quiet=json_))
    if json_:
        print_json(found.summary)
        return
    tell(_show(found.summary))
    for what, path in found.files.items():
        tell(f"  {what}: {one_line(path)}")


class _Progress:
    """A line on stderr each tenth of the way, for what takes longer."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._next = 0.1

    def __call__(self, done: int, total: int) -> None:
        if self._quiet or total < 1000 or done / total < self._next:
            return
        self._next += 0.1
        say(f"{done:,} of {total:,}")


def _show(summary: dict[str, Any]) -> str:
    from factory.assessing.story import bias_table, figure, scorer_table, veto_table

    head = f"{summary['rows']:,} rows, {figure(summary['vetoed'], percent=True)} vetoed"
    parts = [head]
    for title, (header, rows) in (
        ("", scorer_table(summary)),
        ("vetoes against labels", veto_table(summary)),
        ("what moves judges and should not (rank correlation, share)", bias_table(summary)),
    ):
        if rows:
            parts += ["", *([title] if title else []), _align(header, rows)]
    why = [(name, told["reasons"][0]) for name, told in summary["scorers"].items() if told["reasons"]]
    if why:
        parts += ["", "why rows fell, or have no value (the most frequent reason)"]
        parts += [f"{name}: {_short(reason)} ({count:,})" for name, (reason, count) in why]
    for note_ in summary["notes"]:
        parts += ["", f"note: {note_}"]
    return "\n".join(parts)


def _short(reason: str) -> str:
    return reason if len(reason) <= 100 else reason[:99] + "…"


def _align(header: list[str], rows: list[list[str]]) -> str:
    """Columns side by side, the first to the left and the others to the right."""
    cells = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(widths[k]) if k == 0 else cell.rjust(widths[k]) for k, cell in enumerate(row)).rstrip()
        for row in cells
    )
