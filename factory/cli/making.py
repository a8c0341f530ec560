"""`run` and `preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.output import note, one_line, print_json, tell

RecipeArg = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.")]
OutOpt = Annotated[
    Path | None, typer.Option("--out", metavar="RUN", help="The run directory. [default: RUNS_DIR/<name>-<plan>]")
]
RunsDirOpt = Annotated[
    Path, typer.Option("--runs-dir", metavar="RUNS_DIR", help="Where run directories are made without --out.")
]
RowsOpt = Annotated[
    str | None, typer.Option("--rows", metavar="N", help="Dataset rows wanted, or `all`: one pass over `from:`.")
]
SeedOpt = Annotated[int | None, typer.Option("--seed", metavar="S", help="Another seed.")]
BudgetOpt = Annotated[
    float | None, typer.Option("--budget", metavar="USD", help="A hard cap on what this run may spend in all.")
]
ModelOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="ROLE=BACKEND/MODEL", help="Another model for a role, e.g. writer=openai/gpt-5-mini."
    ),
]
SetOpt = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. generate.candidates=8.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


EXAMPLES = {"--model": "writer=openai/gpt-5-mini", "--set": "generate.candidates=8"}


def pairs(given: list[str] | None, option: str, form: str) -> tuple[tuple[str, str], ...]:
    from factory.errors import UsageError

    pairs = []
    for text in given or []:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"{option} {text}: not of the form {form}", f"for example {option} {EXAMPLES[option]}")
        pairs.append((key.strip(), value.strip()))
    return tuple(pairs)


def load(
    recipe: str,
    rows: str | None,
    seed: int | None,
    budget: float | None,
    model: list[str] | None,
    sets: list[str] | None,
) -> Any:
    """The recipe with what the command line says of it."""
    from factory.errors import UsageError
    from factory.recipe import Overrides, load_recipe

    wanted: Any = rows
    if rows is not None and rows != "all":
        try:
            wanted = int(rows)
        except ValueError:
            raise UsageError(
                f"--rows {rows}: not a whole number", "give a number, or `all` for one pass over `from:`"
            ) from None
    overrides = Overrides(
        rows=wanted,
        seed=seed,
        budget=budget,
        models=pairs(model, "--model", "ROLE=BACKEND/MODEL"),
        sets=pairs(sets, "--set", "KEY=VALUE"),
    )
    return load_recipe(recipe, overrides=overrides)


def _check_runs(reuse: list[Path] | None) -> None:
    from factory.run_dir import open_run_dir

    for path in reuse or ():
        open_run_dir(path)


def _reason(given: str | None) -> str:
    from factory.errors import UsageError

    if given is not None and not given.strip():
        raise UsageError("--publish-anyway has no reason", 'say why: --publish-anyway "reviewed by hand"')
    return (given or "").strip()


def run(
    recipe: RecipeArg,
    out: OutOpt = None,
    rows: RowsOpt = None,
    seed: SeedOpt = None,
    budget: BudgetOpt = None,
    model: ModelOpt = None,
    set_: SetOpt = None,
    reuse: Annotated[
        list[Path] | None, typer.Option("--reuse", metavar="RUN", help="Take answers that fit from other runs.")
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Journal only: a call that is missing is an error.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what was given up or refused.")
    ] = False,
    publish_anyway: Annotated[
        str | None, typer.Option("--publish-anyway", metavar="REASON", help="Publish though a gate fails; recorded.")
    ] = None,
    report: Annotated[
        bool | None,
        typer.Option("--report/--no-report", help="Write report.html, and audit where the recipe does not ask for it."),
    ] = None,
    runs_dir: RunsDirOpt = Path("runs"),
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Save the final progress panel as an SVG.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No panel; a plain line now and then.")] = False,
    json_: JsonOpt = False,
) -> None:
    """Make the dataset. The same command again goes on where it stopped, or extends; nothing is paid twice."""
    from factory.cli.display import watching
    from factory.errors import FactoryError
    from factory.progress import Progress
    from factory.runner import execute
    from factory.session import RunOptions, wants_report

    _check_svg(svg)
    _check_runs(reuse)
    loaded = load(recipe, rows, seed, budget, model, set_)
    last: list[Progress] = []

    def keep(progress: Progress) -> None:
        last[:] = [progress]
        view.update(progress)

    try:
        with watching(quiet=quiet or json_) as view:
            options = RunOptions(
                out=out,
                runs_dir=runs_dir,
                reuse=tuple(reuse or ()),
                replay=replay,
                retry_failed=retry_failed,
                publish_anyway=_reason(publish_anyway),
                report=wants_report() if report is None else report,
                on_progress=keep,
                notice=view.notice,
            )
            result = execute(loaded, options)
    except FactoryError as error:
        if error.result is not None and error.result.summary["planned"] and not json_:
            tell(_summary(error.result.summary))
        raise
    finally:
        if svg is not None and last:
            _save_svg(svg, last[0])
    if json_:
        print_json(result.summary)
    else:
        tell(_summary(result.summary))


def _check_svg(path: Path | None) -> None:
    """Better now than after the run."""
    from factory.errors import UsageError

    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise UsageError(f"--svg {path}: no file can be written there", "name a file in a folder that exists")


def _save_svg(path: Path, progress: Any) -> None:
    from factory.cli.display import summary_svg
    from factory.files import write_atomic

    write_atomic(path, summary_svg(progress), durable=False)


def _audited(summary: Any) -> list[str]:
    """The audit on one line: its verdict, and that of each area."""
    audit = summary.get("audit")
    if audit is None:
        return []
    areas = ", ".join(f"{area} {verdict}" for area, verdict in audit["areas"].items())
    gates = "" if audit["gating"] else ", no gates"
    return [f"  audit {audit['verdict']} ({areas}{gates})"]


def _summary(summary: Any) -> str:
    from factory.cli.display import money

    splits = ", ".join(f"{count} {split}" for split, count in summary["splits"].items())
    rejected = ", ".join(f"{stage} {count}" for stage, count in summary["rejected"].items() if count)
    bound = summary["upper_bound_usd"]
    lost = f" (and at most {money(bound)} for answers that were lost)" if bound else ""
    return "\n".join(
        [
            f"{summary['rows']} rows ({splits}) from {summary['planned']} planned rows",
            f"  rejected candidates: {rejected or 'none'}",
            f"  calls {summary['calls']}, replayed {summary['replayed']}, spent {money(summary['spent_usd'])}{lost}",
            *_audited(summary),
            f"  dataset: {summary['dataset']}",
            *([f"  report:  {summary['report']}"] if summary.get("report") else []),
            f"  next:    factory explain {summary['run']} 0   ·   factory ledger {summary['run']}",
        ]
    )


def preview(
    recipe: RecipeArg,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, max=1000, help="Rows to show.")] = 3,
    generate: Annotated[
        bool, typer.Option("--generate", help="Really make the rows: calls, journaled in the run that `run` will use.")
    ] = False,
    out: OutOpt = None,
    rows: RowsOpt = None,
    seed: SeedOpt = None,
    budget: BudgetOpt = None,
    model: ModelOpt = None,
    set_: SetOpt = None,
    runs_dir: RunsDirOpt = Path("runs"),
    json_: JsonOpt = False,
) -> None:
    """Show drawn variation and rendered prompts, without a call; --generate adds candidates, scores and verdicts."""
    from factory.previewing import generate_rows, preview_rows
    from factory.session import RunOptions

    loaded = load(recipe, rows, seed, budget, model, set_)
    if generate:
        found = generate_rows(loaded, n, RunOptions(out=out, runs_dir=runs_dir, notice=note))
    else:
        found = preview_rows(loaded, n)
    if json_:
        print_json(found)
        return
    for row in found["rows"]:
        tell(show_row(row))
    tell(_preview_end(found))


def _preview_end(found: dict[str, Any]) -> str:
    from factory.cli.display import money

    if found["run"] is None:
        return "no call was made; --generate makes these rows, and `factory run` uses them"
    return (
        f"calls {found['calls']}, replayed {found['replayed']}, cost of these rows {money(found['cost_usd'])}; "
        f"journaled in {found['run']}: `factory run` uses them"
    )


def show_row(row: dict[str, Any]) -> str:
    """A previewed row as text."""
    lines = [f"── row {row['row']} " + "─" * 60]
    lines += [f"  {name}: {one_line(value)}" for name, value in row["variation"].items()]
    lines += [f"  source.{name}: {_short(value)}" for name, value in (row["source"] or {}).items()]
    for prompt in row["prompts"]:
        lines += ["", f"  prompt of step {prompt['step']}, for {prompt['model']} × {prompt['candidates']}"]
        for message in prompt["messages"]:
            lines += [f"    {message['role']}:", *_indented(message["content"], 6)]
    lines += [
        f"  step {name}: its prompt needs what the steps before it write (--generate)" for name in row["later_steps"]
    ]
    for candidate in row["candidates"]:
        lines += ["", f"  candidate {candidate['step']}/{candidate['candidate']}: {candidate['verdict']}"]
        if candidate["scores"]:
            lines.append(
                "    " + ", ".join(f"{name} {show_score(value)}" for name, value in candidate["scores"].items())
            )
        lines += _indented(candidate["text"], 6)
    return "\n".join([*lines, ""])


def show_score(value: float | None) -> str:
    """A score in three digits."""
    return "missing" if value is None else f"{value:.3g}"


def _short(value: object, width: int = 200) -> str:
    text = one_line(value)
    return text if len(text) <= width else text[: width - 2] + " …"


def _indented(text: str, by: int) -> list[str]:
    return [" " * by + line for line in text.splitlines()]
