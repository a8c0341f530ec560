"""`estimate`: requests, tokens, money and time before they are spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.making import (
    BudgetOpt,
    JsonOpt,
    ModelOpt,
    OutOpt,
    RecipeArg,
    RowsOpt,
    RunsDirOpt,
    SeedOpt,
    SetOpt,
    load,
)
from factory.cli.output import clean, note, one_line, print_json, say, tell

WIDTH = 80
UNITS = ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600), (float("inf"), "days", 86_400))
"""Up to how many seconds a unit serves, and its seconds."""


def estimate(
    recipe: RecipeArg,
    pilot: Annotated[
        int | None,
        typer.Option("--pilot", metavar="N", help="First really make N rows, journaled in the run that `run` uses."),
    ] = None,
    out: OutOpt = None,
    rows: RowsOpt = None,
    seed: SeedOpt = None,
    budget: BudgetOpt = None,
    model: ModelOpt = None,
    set_: SetOpt = None,
    runs_dir: RunsDirOpt = Path("runs"),
    json_: JsonOpt = False,
) -> None:
    """Tell what a run will take: requests, tokens, USD and time, judges and retries counted in, each with its bounds.

    Without --pilot no call is made, and no key is needed: a journal that is there already tells, else it is a guess.
    """
    from factory.estimating import estimate_recipe
    from factory.session import RunOptions

    loaded = load(recipe, rows, seed, budget, model, set_)
    if pilot is not None and pilot > 1 and not json_:
        say(f"pilot: making {pilot} rows")
    found = estimate_recipe(loaded, RunOptions(out=out, runs_dir=runs_dir, notice=note), pilot=pilot)
    if json_:
        print_json(found)
    else:
        tell(show_estimate(found, recipe))


def show_estimate(found: dict[str, Any], recipe: str) -> str:
    """The estimate as a table and sentences, 80 columns wide."""
    lines = [*_wrap(_heading(found)), "", *_table(found), ""]
    if len(found["by_model"]) > 1 or len(found["by_step"]) > 1:
        lines += [*_parts(found), ""]
    if found["budget"]:
        lines += _wrap(_budget(found), "budget: ")
    rests = found["rests_on"]
    lines += [line for name in ("planned", "tokens", "usd", "seconds") for line in _wrap(rests[name], f"{name}: ")]
    lines += [line for told in found["notes"] for line in _wrap(told, "note: ")]
    return "\n".join([*lines, "", *_wrap(_next(found, recipe), "next: ")])


def _heading(found: dict[str, Any]) -> str:
    name = Path(found["run"]).name
    basis = {
        "guess": "a guess: nothing was made yet",
        "pilot": f"from a pilot of {found['pilot_rows']} rows, 95 % intervals",
        "journal": f"from {found['pilot_rows']} rows that the journal holds, 95 % intervals",
    }[found["basis"]]
    return f"{name}: {found['rows']:,} rows, {basis}"


def _table(found: dict[str, Any]) -> list[str]:
    from factory.cli.display import money

    left = found["to_pay"]
    rows: list[tuple[str, Any, Any, str]] = [
        ("planned rows", found["planned"], _count, ""),
        ("requests", found["requests"], _count, ""),
        ("prompt tokens", found["prompt_tokens"], _count, ""),
        ("completion tokens", found["completion_tokens"], _count, ""),
        ("cost", found["usd"], money, "unknown: no price"),
        ("  still to pay", left["usd"], money, "unknown: no price"),
        ("  per dataset row", found["usd_per_row"], money, "unknown: no price"),
        ("time", found["seconds"], _duration, "unknown: only a pilot can tell"),
        ("  still to go", left["seconds"], _duration, "unknown: only a pilot can tell"),
    ]
    if found["basis"] == "guess":
        rows = [row for row in rows if not row[0].startswith("  still")]
    lines = [f"{'':<20}{'expected':>15}{'from':>15}{'to':>15}"]
    for label, value, show, unknown in rows:
        if value is None:
            lines.append(f"{label:<20}{unknown:>45}")
        else:
            lines.append(f"{label:<20}" + "".join(f"{show(value[name]):>15}" for name in ("expected", "low", "high")))
    return lines


def _parts(found: dict[str, Any]) -> list[str]:
    """Expected amounts by step, purpose and model."""
    from factory.cli.display import money

    names = {entry["role"]: entry["model"] for entry in found["by_model"]}
    lines = [f"{'expected, by step':<32}{'requests':>11}{'prompt':>13}{'completion':>13}{'cost':>11}"]
    for part in found["by_step"]:
        what = f"{part['step']} {part['purpose']}".strip()
        label = one_line(f"{what}, {names.get(part['role'], part['role'])}")
        label = label if len(label) <= 31 else label[:30] + "…"
        counts = [_count(part[name]["expected"]) for name in ("requests", "prompt_tokens", "completion_tokens")]
        cost = "unknown" if part["usd"] is None else money(part["usd"]["expected"])
        lines.append(f"{label:<32}{counts[0]:>11}{counts[1]:>13}{counts[2]:>13}{cost:>11}")
    return lines


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e10 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    """Seconds for people, in the unit that fits."""
    unit, size = next((unit, size) for limit, unit, size in UNITS if seconds < limit)
    return f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:,.0f} {unit}"


def _budget(found: dict[str, Any]) -> str:
    from factory.cli.display import money

    budget, wanted = found["budget"], found["rows"]
    cap = money(budget["usd"])
    if budget["rows"] is None:
        return f"{cap}: whether it suffices cannot be told without a price"
    rows = budget["rows"]
    stop = f"about {rows['expected']:,} of {wanted:,} rows (from {rows['low']:,} to {rows['high']:,})"
    if budget["suffices"]:
        return f"{cap} suffices: at most {money(found['usd']['high'])} are to be expected"
    if budget["suffices"] is None:
        return f"{cap} may not suffice: it makes {stop}"
    return f"{cap} does not suffice: the run would stop, resumable, at {stop}"


def _next(found: dict[str, Any], recipe: str) -> str:
    if found["basis"] == "guess":
        return (
            f"factory estimate {clean(recipe)} --pilot 20, with the same options; its rows are kept for `factory run`"
        )
    return f"factory run {clean(recipe)}, with the same options, goes on with the rows of {clean(found['run'])}"


def _wrap(text: str, label: str = "") -> list[str]:
    """Lines of at most 80 columns, the ones after the first set in."""
    import textwrap

    return textwrap.wrap(one_line(label + text), WIDTH, subsequent_indent="  ", break_on_hyphens=False)
