"""The live view of a run in a terminal, and a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factory.cli.output import clean, note, one_line, say
from factory.progress import ModelState, Progress

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.live import Live as RichLive

PLAIN_EVERY_S = 10.0
WIDTH = 92
"""Columns of the panel, where the terminal has them."""
WIDE = 88
"""Columns from which its numbers stand in threes."""
NARROW = 50
"""Columns from which they stand in twos."""
MODELS = 6
"""Models of which the panel tells."""
MARGIN = 3
"""Columns left free in a terminal: the `^C` that it echoes must not start a line of its own."""
STYLES = {"running": "", "complete": "green"}


def money(usd: float | None) -> str:
    """USD for people: cents, or four digits where they matter. An unknown amount is no 0, and a tiny one neither."""
    if usd is None:
        return "unknown"
    if 0 < usd < 0.0001:
        return "<$0.0001"
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def duration(seconds: float | None) -> str:
    """1:05, or 2:03:04."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def spent(progress: Progress) -> str:
    """What was spent, of which budget."""
    cap = f" of {money(progress.cap_usd)}" if progress.cap_nano is not None else ""
    return f"{money(progress.spent_usd)}{cap}"


def per_row(progress: Progress) -> str:
    """What an accepted row costs so far, and what the whole run comes to at that rate; "" while nothing is paid."""
    if not progress.spent_nano or progress.per_row_usd is None:
        return ""
    return f"{money(progress.per_row_usd)} a row, {money(progress.projected_usd)} projected"


def model_line(state: ModelState) -> str:
    """How a model is called now."""
    if state.told:
        return state.told
    if state.paused:
        return "paused: one call at a time asks after its server"
    return f"{state.in_flight:,} in flight, {state.limit:,} of {state.cap:,} allowed"


def done_of(progress: Progress) -> tuple[int, int, str]:
    """How far, of how much, of what: accepted rows, or source rows where every one is taken once."""
    if progress.target is None:
        return progress.committed, progress.limit, "source rows"
    return progress.accepted, progress.target, "rows"


def rejected(progress: Progress) -> int:
    """Candidates that something was wrong with; those made past the target wait for an extension."""
    return sum(count for stage, count in progress.rejected.items() if stage != "unused")


def plain_line(progress: Progress) -> str:
    """One line for logs."""
    done, total, unit = done_of(progress)
    parts = [
        f"{done:,} of {total:,} {unit} ({_percent(done, total)})",
        f"{progress.committed:,} planned rows done"
        if progress.target is not None
        else f"{progress.accepted:,} accepted",
        f"{rejected(progress):,} candidates rejected",
        f"{progress.in_flight:,} calls in flight",
        f"{progress.tokens_per_s:,.0f} tokens/s",
        f"spent {spent(progress)}" + (f" ({told})" if (told := per_row(progress)) else ""),
        f"{duration(progress.elapsed_s)} elapsed",
    ]
    if progress.gpu_seconds:
        parts.append(f"{duration(progress.gpu_seconds)} of GPU time")
    parts += [f"{one_line(state.role)} {one_line(model_line(state))}" for state in progress.models if _special(state)]
    if progress.eta_s is not None:
        parts.append(f"about {duration(progress.eta_s)} left")
    return ", ".join(parts)


def _special(state: ModelState) -> bool:
    """Whether something about a model should be known: it pauses, is held back, or works through a batch."""
    return state.paused or bool(state.told) or state.limit < state.cap


def _percent(done: int, total: int) -> str:
    return f"{100 * min(done, total) // max(total, 1)}%"


def render(progress: Progress, *, notices: bool = True, margin: int = 0) -> RenderableType:
    """The panel: a bar to the target, the numbers that matter, what is rejected and why.

    Its columns have fixed places, so that nothing jumps while numbers grow; it only ever gets longer. `margin`:
    columns left free beside it.
    """
    return _View(progress, notices, margin)


@dataclass(frozen=True, slots=True)
class _View:
    """The panel, laid out for the width that it gets."""

    progress: Progress
    notices: bool
    margin: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.constrain import Constrain

        width = max(24, min(WIDTH, options.max_width - self.margin))
        columns = 3 if width >= WIDE else 2 if width >= NARROW else 1
        yield Constrain(_panel(self.progress, self.notices, columns), width)


def _panel(progress: Progress, notices: bool, columns: int) -> RenderableType:
    from rich.box import ROUNDED
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    parts: list[RenderableType] = [_bar(progress), Text(), _numbers(progress, columns)]
    if progress.models:
        parts += [Text(), _models(progress.models, names=columns > 1)]
    if progress.reasons:
        parts += [Text(), _reasons(progress)]
    if progress.doing:
        parts += [Text(one_line(progress.doing))]
    if notices:
        parts += [Text(one_line(told), style="yellow") for told in progress.notices[-2:]]
    return Panel(
        Group(*parts),
        title=Text(clean(Path(progress.run).name), style="bold"),
        title_align="left",
        subtitle=Text(clean(progress.status), style=STYLES.get(progress.status, "yellow")),
        subtitle_align="right",
        box=ROUNDED,
        border_style="dim",
        padding=(0, 1),
    )


def _bar(progress: Progress) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, total, unit = done_of(progress)
    whole = f"{total:,} of {total:,} {unit}  100%"
    head = Table.grid(padding=(0, 2), expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", min_width=len(whole), no_wrap=True)
    told = Text.assemble((f"{done:,}", "bold"), f" of {total:,} {unit}  {_percent(done, total):>4}")
    head.add_row(ProgressBar(total=max(total, 1), completed=min(done, total)), told)
    return head


def _numbers(progress: Progress, columns: int) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    other = ("planned", progress.committed) if progress.target is not None else ("accepted", progress.accepted)
    facts = (
        ("calls", f"{progress.calls:,}"),
        ("in flight", f"{progress.in_flight:,}"),
        ("elapsed", duration(progress.elapsed_s)),
        (other[0], f"{other[1]:,}"),
        ("tokens/s", f"{progress.tokens_per_s:,.0f}"),
        ("left", duration(progress.eta_s)),
        ("replayed", f"{progress.replayed:,}"),
        ("retries", f"{progress.retries:,}"),
        ("spent", spent(progress)),
        ("a row", _usd(progress.per_row_usd)),
        ("GPU time", duration(progress.gpu_seconds) if progress.gpu_seconds else "–"),
        ("projected", _usd(progress.projected_usd)),
    )
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    for _ in range(columns):
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    cells = [Text.assemble((f"{label:<10}", "dim"), value) for label, value in facts]
    for start in range(0, len(cells), columns):
        grid.add_row(*cells[start : start + columns])
    return grid


def _usd(usd: float | None) -> str:
    return "–" if usd is None else money(usd)


def _models(states: Sequence[ModelState], *, names: bool) -> RenderableType:
    """One line a model; what is out of the ordinary stands out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False, expand=True)
    table.add_column(max_width=12, no_wrap=True, overflow="ellipsis")
    if names:
        table.add_column(ratio=1, max_width=28, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
    for state in states[:MODELS]:
        style = "yellow" if state.paused or (state.limit < state.cap and not state.told) else ""
        name = [Text(one_line(state.model))] if names else []
        role, told = Text(one_line(state.role), style="dim"), Text(one_line(model_line(state)), style=style)
        table.add_row(role, *name, told)
    return table


def _reasons(progress: Progress) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False, expand=True, title_justify="left",
        title=Text.assemble(("rejected candidates  ", "dim"), f"{rejected(progress):,}"),
    )  # fmt: skip
    table.add_column(justify="right", min_width=7)
    table.add_column(min_width=8, no_wrap=True)
    table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    for stage, reason, count in progress.reasons:
        table.add_row(f"{count:,}", Text(clean(stage), style="dim"), Text(one_line(reason)))
    return table


def summary_svg(progress: Progress, width: int = WIDTH) -> str:
    """The panel as an SVG image."""
    import io

    from rich.console import Console

    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=False
    )
    console.print(render(progress))
    return console.export_svg(title="factory run")


class Plain:
    """A line at the start and now and then; notices as they come."""

    def __init__(self) -> None:
        self._last: float | None = None

    def update(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._last is None:
            self._last = now
            say(f"run: {progress.run}")
        elif now - self._last >= PLAIN_EVERY_S and progress.status == "running":
            self._last = now
            say(plain_line(progress))

    def notice(self, text: str) -> None:
        note(text)


class Live:
    """The panel, redrawn in place on stderr. A terminal that goes away ends the view, not the run."""

    def __init__(self, live: RichLive) -> None:
        self._live = live
        self._gone = False

    def update(self, progress: Progress) -> None:
        if not self._gone:
            try:
                self._live.update(render(progress, notices=False, margin=MARGIN), refresh=True)
            except OSError:
                self._gone = True

    def notice(self, text: str) -> None:
        if not self._gone:
            try:
                self._live.console.print(f"note: {clean(text)}", markup=False, highlight=False, emoji=False)
            except OSError:
                self._gone = True


@contextmanager
def watching(*, quiet: bool) -> Iterator[Plain | Live]:
    """How to show a run: the panel in a terminal, plain lines elsewhere or when `quiet`."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield Plain()
        return
    from rich.console import Console
    from rich.live import Live as RichLive

    console = Console(stderr=True)
    with RichLive(console=console, auto_refresh=False, redirect_stdout=False, vertical_overflow="crop") as live:
        yield Live(live)
