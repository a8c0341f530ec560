"""`status`, `explain` and `ledger`: readers of a run, live or finished."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.making import JsonOpt
from factory.cli.output import note, one_line, print_json, tell

RunArg = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, such as runs/latest.")]


class By(StrEnum):
    """What the ledger can be broken down by."""

    model = "model"
    purpose = "purpose"
    step = "step"
    outcome = "outcome"


def status(run: RunArg, json_: JsonOpt = False) -> None:
    """Show where a run stands; works on a live run."""
    from factory.explaining import run_status

    found = run_status(run)
    if json_:
        print_json(found)
    else:
        tell(_show_status(found))


def _show_status(found: dict[str, Any]) -> str:
    from factory.cli.display import duration, money

    target = f" of {found['target']}" if found["target"] not in (None, "all") else ""
    passes = found.get("whole_set")
    rows = f"{found['rows']} chosen from {passes[0]['before']}" if passes else f"{found['rows']}"
    rejected = ", ".join(f"{stage} {count}" for stage, count in found["rejected"].items() if count)
    reason = f" ({one_line(found['reason'])})" if found["reason"] else ""
    lines = [
        f"{found['name']}: {found['status']}{reason}",
        f"  rows: {rows}{target} from {found['planned']} planned rows",
        f"  rejected candidates: {rejected or 'none'}",
        f"  spent: {money(found['spent_usd'])}",
    ]
    live = found["progress"]
    if live:
        left = f", about {duration(live['eta_s'])} left" if live.get("eta_s") is not None else ""
        lines.append(
            f"  now: {live['in_flight']} calls in flight, {live['tokens_per_s']:,.0f} tokens/s, "
            f"{duration(live['elapsed_s'])} elapsed{left}"
        )
        if live.get("spent_nano") and live.get("per_row_usd") is not None:
            per_row, projected = money(live["per_row_usd"]), money(live["projected_usd"])
            lines.append(f"  {per_row} a row so far, {projected} in all at that rate")
        if live.get("gpu_seconds"):
            lines.append(f"  GPU time: {duration(live['gpu_seconds'])}")
        lines += [f"  {one_line(told)}" for told in map(_tell_model, live.get("models", ()))]
    for shard in found["batches"]:
        told = f"{shard['completed']:,} of {shard['requests']:,} requests answered, {shard['failed']:,} failed"
        lines.append(f"  batch {shard['batch'] or shard['tag']}: {shard['status'] or shard['state']}, {told}")
    if found["holder"]:
        lines.append(f"  held by process {found['holder']['pid']} on {found['holder']['host']}")
    if found["dataset"]:
        lines.append(f"  dataset: {found['dataset']}")
    if found["last_attempt"]:
        told = found["last_attempt"]
        why = f" ({one_line(told['reason'])})" if told["reason"] else ""
        lines.append(f"  a later run of it was {told['status']}{why}; this dataset stayed as it was")
    if found["status"] not in ("complete", "running") or found["last_attempt"]:
        lines.append("  the same `factory run` command goes on: nothing is paid twice")
    return "\n".join(lines)


def _tell_model(state: dict[str, Any]) -> str:
    from factory.cli.display import model_line
    from factory.progress import ModelState

    return f"{state['role']} ({state['model']}): {model_line(ModelState(**state))}"


def explain(
    run: RunArg,
    row: Annotated[int, typer.Argument(metavar="ROW", min=0, help="`meta.row` of the dataset.")],
    json_: JsonOpt = False,
) -> None:
    """Tell one row's whole story: variation, prompt, candidates, scores, verdict, cost."""
    from factory.explaining import explain_row

    found = explain_row(run, row, note)
    if json_:
        print_json(found)
        return
    from factory.cli.story import tell_story

    tell(tell_story(found))


def ledger(
    run: RunArg,
    by: Annotated[By | None, typer.Option("--by", help="Break the totals down.")] = None,
    json_: JsonOpt = False,
) -> None:
    """Show where the tokens and the money went, per accepted row too."""
    from factory.explaining import run_ledger

    found = run_ledger(run, by.value if by is not None else None, note)
    if json_:
        print_json(found)
    else:
        tell(_show_ledger(found, by.value if by is not None else ""))


COLUMNS = ("calls", "attempts", "prompt_tokens", "completion_tokens", "cost_usd", "upper_bound_usd")


def _show_ledger(found: dict[str, Any], by: str) -> str:
    lines = [[by, *(name.replace("_", " ") for name in COLUMNS)]]
    for label, line in [*found.get("by", {}).items(), ("total", found["total"])]:
        lines.append([one_line(label), *(_number(line.get(name)) for name in COLUMNS)])
    widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS) + 1)]
    table = [
        f"{line[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    ]
    per_row = found.get("per_accepted_row_usd")
    table.append("" if per_row is None else f"per accepted row: {_number(per_row)} USD")
    if found["total"].get("unknown_cost"):
        table.append(f"{found['total']['unknown_cost']} attempts have no known cost; they are not in `cost usd`")
    return "\n".join(table).rstrip()


def _number(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, int):
        return f"{value:,}"
    return (f"{value:,.9f}".rstrip("0").rstrip(".")) or "0"
