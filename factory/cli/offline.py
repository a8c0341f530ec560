"""`export-requests` and `import-responses`: a run whose calls are made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factory.cli.inspecting import RunArg
from factory.cli.making import JsonOpt, ModelOpt, RowsOpt, RunsDirOpt, SeedOpt, SetOpt, load
from factory.cli.output import note, one_line, print_json, tell


def export_requests(
    source: Annotated[str, typer.Argument(metavar="RUN|RECIPE", help="A run directory, or a recipe as for `run`.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The batch file. [default: RUN/requests.jsonl]")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="The run directory of a recipe (`--out` of `run`).")
    ] = None,
    rows: RowsOpt = None,
    seed: SeedOpt = None,
    model: ModelOpt = None,
    set_: SetOpt = None,
    runs_dir: RunsDirOpt = Path("runs"),
    json_: JsonOpt = False,
) -> None:
    """Write the requests that a run would make now into an OpenAI batch file, and make none of them.

    vLLM's `run-batch`, or any batch API, answers it; `import-responses` takes the answers in. Later steps need what
    earlier ones wrote: export and import again until nothing is missing, then `factory run RECIPE --replay`.
    """
    from factory.errors import RecipeError
    from factory.offline import export_requests as export
    from factory.session import RunOptions

    directory = Path(source)
    is_run = (directory / "recipe.yaml").is_file() and (directory / "journal").is_dir()
    try:
        recipe = load(str(directory / "recipe.yaml") if is_run else source, rows, seed, None, model, set_)
        options = RunOptions(out=directory if is_run else run, runs_dir=runs_dir, notice=note)
        found = export(recipe, options, out)
    except RecipeError as error:
        if is_run:
            error.hint = f"{error.hint}; or give the recipe itself: factory export-requests RECIPE --run {source}"
        raise
    if json_:
        print_json(found)
    else:
        tell(_show_export(found, source))


def _show_export(found: dict[str, Any], source: str) -> str:
    if not found["requests"]:
        return f"nothing is missing in {found['run']}: `factory run RECIPE --replay` makes the dataset"
    steps = ", ".join(f"{count:,} of step {one_line(step)}" for step, count in found["steps"].items())
    lines = [f"{found['requests']:,} requests of {found['rows']:,} rows ({steps})"]
    lines += [f"  {path}" for path in found["files"]]
    return "\n".join([*lines, f"  next:  factory import-responses {found['run']} ANSWERS.jsonl"])


def import_responses(
    run: RunArg,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The output file of the batch (and its error file).")],
    json_: JsonOpt = False,
) -> None:
    """Take in the answers to exported requests. Doing it again changes nothing; the same `factory run` goes on."""
    from factory.offline import import_responses as take_in

    found = take_in(run, file, note)
    if json_:
        print_json(found)
        return
    told = ", ".join(f"{found[name]:,} {name}" for name in ("imported", "already", "refused", "failed", "unknown"))
    lines = [told, *(f"  line {fault['line']}: {one_line(fault['message'])}" for fault in found["errors"])]
    tell("\n".join([*lines, "  next:  factory export-requests for what is still missing, or factory run"]))
