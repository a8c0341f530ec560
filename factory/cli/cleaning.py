"""`dedup`: duplicates out of any dataset."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory.cli.making import JsonOpt
from factory.cli.output import clean, note, one_line, print_json, say, tell

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from factory.cleaning import Step

PLAIN_EVERY_S = 10.0
STAGES = {
    "reading": "looking through the data",
    "against": "reading what comes first",
    "indexing": "indexing test sets",
    "embedding": "embedding test sets",
}
"""What the steps of a command are called, where it is not by their own name."""

DataArg = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA", help="JSONL, JSON, CSV, TSV, Parquet, a folder, a saved dataset, a run, a Hub name."
    ),
]
ColumnOpt = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="TEXT", help="What is compared; several are joined. [default: the only text]"),
]
OutOpt = Annotated[
    Path, typer.Option("--out", metavar="OUT", help="The folder for kept.parquet, removed.parquet, summary.json.")
]
SplitOpt = Annotated[str, typer.Option("--split", metavar="SPLIT", help="The split of a dataset.")]
ConfigOpt = Annotated[str | None, typer.Option("--config", metavar="NAME", help="The configuration of a Hub dataset.")]
LimitOpt = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The first N rows only.")]
SkipBadOpt = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out broken lines (bad JSON, not UTF-8, cells missing); count them.")
]


ThresholdOpt = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="T",
        help="From which similarity on rows are duplicates, 0.1 … 1. "
        "[default: 0.8 by shingles, 0.7 by characters, 0.9 by embeddings]",
    ),
]
ByOpt = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="WAY",
        help="shingles (near-duplicates), characters (light paraphrases), embeddings (one meaning; needs --model).",
    ),
]
EmbedderOpt = Annotated[
    str | None,
    typer.Option("--model", metavar="BACKEND/MODEL", help="What embeds: sentence-transformers/NAME, in this process."),
]
WithinOpt = Annotated[
    str | None,
    typer.Option("--within", metavar="COLUMN", help="Rows with different values here are never duplicates."),
]
AgainstOpt = Annotated[
    list[str] | None,
    typer.Option("--against", metavar="X", help="Rows that come first: data, a run, or a saved index. Repeatable."),
]
SaveIndexOpt = Annotated[
    Path | None, typer.Option("--save-index", metavar="DIR", help="Save the kept rows as an index for --against.")
]


def dedup(
    data: DataArg,
    out: OutOpt,
    column: ColumnOpt = None,
    threshold: ThresholdOpt = None,
    by: ByOpt = "shingles",
    model: EmbedderOpt = None,
    within: WithinOpt = None,
    against: AgainstOpt = None,
    save_index: SaveIndexOpt = None,
    split: SplitOpt = "train",
    config: ConfigOpt = None,
    limit: LimitOpt = None,
    skip_bad: SkipBadOpt = False,
    json_: JsonOpt = False,
) -> None:
    """Take near-duplicates out of any dataset; the first row wins.

    OUT gets kept.parquet (the rows as they were), removed.parquet (with the row that each repeats, and how similar it
    is) and summary.json.
    """
    from factory.cleaning import Wanted, deduplicate

    wanted = Wanted(
        data=tuple(data),
        columns=tuple(column or ()),
        threshold=threshold,
        by=by,
        model=model,
        within=within,
        against=tuple(against or ()),
        save_index=save_index,
        split=split,
        config=config,
        limit=limit,
        skip_bad=skip_bad,
    )
    with watching(quiet=json_) as view:
        found = deduplicate(wanted, out=out, notice=view.notice, progress=view.update)
    if json_:
        print_json(found.summary)
        return
    tell(_show(found.summary))
    for what, path in found.files.items():
        tell(f"  {what + ':':9}{one_line(path)}")


def _show(summary: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary["by_kind"].items())
    lines = [
        f"{summary['rows']:,} rows: {summary['kept']:,} kept, {summary['removed']:,} removed"
        + (f" ({kinds})" if kinds else "")
        + f"; {summary['seconds']:.1f} s, {summary['rows_per_second'] or 0:,} rows/s"
    ]
    for name, count in summary["by_against"].items():
        lines.append(f"  of the removed rows, {count:,} repeat {one_line(name)}")
    if summary["empty"] > 1:
        lines.append(f"  {summary['empty']:,} rows have no text: all but the first are duplicates of it")
    if summary["skipped"]:
        lines.append(f"  bad rows left out: {summary['skipped']:,}")
    return "\n".join(lines)


def how_far(step: Step) -> str:
    """A step in words."""
    total = f" of {step.total:,}" if step.total is not None else ""
    fallen = f", {step.removed:,} removed" if step.stage == "comparing" else ""
    return f"{step.done:,}{total} rows{fallen}"


class Plain:
    """A line now and then."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PLAIN_EVERY_S

    def update(self, step: Step) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PLAIN_EVERY_S
            say(f"{STAGES.get(step.stage, step.stage)}: {how_far(step)}")

    def notice(self, text: str) -> None:
        note(text)


class Live:
    """A bar on stderr. A terminal that goes away ends the view, not the work."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._stage = ""
        self._gone = False

    def update(self, step: Step) -> None:
        if self._gone:
            return
        try:
            if step.stage != self._stage:
                for task in self._bar.task_ids:
                    self._bar.remove_task(task)
                self._stage = step.stage
                self._bar.add_task(STAGES.get(step.stage, step.stage), total=step.total, told="")
            self._bar.update(self._bar.task_ids[0], completed=step.done, total=step.total, told=how_far(step))
        except OSError:
            self._gone = True

    def notice(self, text: str) -> None:
        if not self._gone:
            try:
                self._bar.console.print(f"note: {clean(text)}", markup=False, highlight=False, emoji=False)
            except OSError:
                self._gone = True


@contextmanager
def watching(*, quiet: bool) -> Iterator[Plain | Live]:
    """How to show the way: a bar in a terminal, plain lines elsewhere or when `quiet`; always on stderr."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield Plain()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[told]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Live(bar)
