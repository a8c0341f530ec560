"""`audit`: every audit on any dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.making import JsonOpt, pairs
from factory.cli.output import note, one_line, print_json, say, tell

FAILED = 3
SHOWN = 12


def audit(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="JSONL, JSON, CSV, Parquet, a saved dataset, a run, or a Hub name."),
    ],
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="REAL", help="Real rows to compare with.")
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option("--holdout", metavar="HELD", help="Real rows that nothing was made from: privacy, utility."),
    ] = None,
    checks: Annotated[
        str | None,
        typer.Option(
            "--checks", metavar="FILE|LIST", help="A YAML file with `audit:` (a recipe is one), or `bias, privacy`."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", metavar="NAME", help="Whose text is looked at; several, or with commas between."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="NAME", help="The column with the class of a row.")
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT", help="The split of a dataset.")] = "train",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The first N rows only.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where audit.json and report.html go.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="ROLE=BACKEND/MODEL", help="A model for an auditor's role.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="A hard cap on what this may spend in all.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Of sampling and resampling.")] = 0,
    replay: Annotated[bool, typer.Option("--replay", help="Journal only: a call that is missing is an error.")] = False,
    json_: JsonOpt = False,
) -> None:
    """Audit any dataset: bias, diversity, fidelity, what was requested, utility, privacy. A FAIL leaves with 3."""
    from factory.reviewing import Wanted, review

    wanted = Wanted(
        data=data,
        reference=reference,
        holdout=holdout,
        audits=checks,
        columns=tuple(name.strip() for given in columns or () for name in given.split(",") if name.strip()),
        label=label,
        split=split,
        limit=limit,
        models=pairs(model, "--model", "ROLE=BACKEND/MODEL"),
        budget=budget,
        seed=seed,
    )
    found = review(wanted, out=out, replay=replay, notice=note, progress=_Progress(quiet=json_))
    if json_:
        print_json(found.summary)
    else:
        tell(_show(found.summary))
        for what, path in found.files.items():
            tell(f"  {what}: {one_line(path)}")
    if found.audit.verdict == "FAIL":
        raise typer.Exit(FAILED)


class _Progress:
    """A line on stderr when an audit has come to something else."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._last = ""

    def __call__(self, what: str, share: float) -> None:
        area = what.partition(":")[0]
        if self._quiet or not area or area == self._last:
            return
        self._last = area
        say(f"{area} ({share:.0%} done)")


def _show(summary: dict[str, Any]) -> str:
    """The verdict by area, then what failed and what could not be told, then the rest."""
    checks = summary["checks"]
    lines = [f"{summary['verdict']}  {summary['rows']:,} rows, {len(checks)} checks, {summary['tests']:,} tests"]
    lines += [f"  {area:<10} {verdict}" for area, verdict in summary["areas"].items()]
    for verdict in ("FAIL", "INCONCLUSIVE", "PASS"):
        mine = [check for check in checks if check["verdict"] == verdict]
        if mine:
            lines += ["", f"{verdict} ({len(mine)})"]
        alike = _alike(mine)
        shown = alike if verdict == "FAIL" else alike[:SHOWN]
        for checks_ in shown:
            lines += _told(checks_, advice=verdict != "PASS")
        if left := sum(map(len, alike[len(shown) :])):
            lines.append(f"  … and {left} more (--json, or --out DIR for a report)")
    return "\n".join(lines)


def _alike(checks: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Checks of which the same is said, together."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for check in checks:
        found.setdefault((check["sentence"], check["advice"]), []).append(check)
    return list(found.values())


def _told(checks: list[dict[str, Any]], *, advice: bool) -> list[str]:
    check = checks[0]
    named = f"{check['name']} [{one_line(check['subject'])}]" if check["subject"] else check["name"]
    name = named if len(checks) == 1 else ", ".join(dict.fromkeys(one["name"] for one in checks))
    lines = [f"  {name}: {one_line(check['sentence'])}"]
    if check["verdict"] == "FAIL" and check["gate"]:
        lines.append(f"    gate: {one_line(check['gate'])}")
    if advice and check["advice"]:
        lines.append(f"    → {one_line(check['advice'])}")
    return lines
