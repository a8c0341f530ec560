"""The command `factory`. Thin: parse, call, print. Errors become one screen and an exit code, never a traceback."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

from factory.cli import (
    auditing,
    canaries,
    cleaning,
    decontaminating,
    estimating,
    inspecting,
    making,
    offline,
    scoring,
    starting,
    test_sets,
)
from factory.cli.output import drop, fail, tell

EPILOG = """\
\b
Start with:
  factory recipes
  factory preview word-problems
  factory run word-problems

\b
Exit codes: 0 done, 1 failed, 2 bad usage or recipe, 3 a gate failed,
4 incomplete and 130 interrupted (the same command goes on in both cases).
"""
COMMANDS = (
    ("init", starting.init, "Write a starter recipe and prompt"),
    ("recipes", starting.recipes, "List the shipped recipes"),
    ("preview", making.preview, "Show drawn rows and prompts, without a call"),
    ("estimate", estimating.estimate, "Tell tokens, USD and time before paying"),
    ("run", making.run, "Make the dataset; again: resume or extend"),
    ("status", inspecting.status, "Show where a run stands"),
    ("explain", inspecting.explain, "Tell one row's whole story"),
    ("ledger", inspecting.ledger, "Show where tokens and money went"),
    ("score", scoring.score, "Run scorers on any dataset, against labels"),
    ("audit", auditing.audit, "Audit any dataset: bias, privacy, utility, …"),
    ("dedup", cleaning.dedup, "Take near-duplicates out of any dataset"),
    ("decontaminate", decontaminating.decontaminate, "Take rows that overlap test sets out of any dataset"),
    ("canaries", canaries.plant, "Plant secrets in source rows, for the audit to look for"),
    ("export-requests", offline.export_requests, "Write the missing requests to a batch file"),
    ("import-responses", offline.import_responses, "Take in the answers to that file"),
    ("doctor", starting.doctor, "Check what is installed and reachable"),
    ("schema", starting.schema, "Print the JSON Schema of a recipe"),
    ("plugins", starting.plugins, "List what is registered, with its options"),
)

app = typer.Typer(
    name="factory",
    help="Make text datasets with language models: N candidates a row, the best K kept, nothing paid twice.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _function, _short in COMMANDS:
    app.command(_name, short_help=_short)(_function)
app.add_typer(test_sets.app, name="benchmarks", short_help="List, add and index test sets")


def _version(asked: bool) -> None:
    if asked:
        from factory.version import __version__

        tell(f"factory {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command itself."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 is no reason to fail
    try:
        code: Any = app(args=given, standalone_mode=False)
    except Exception as error:
        code = fail(error, as_json=as_json)
    except KeyboardInterrupt:
        code = 130
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
    sys.exit(code if isinstance(code, int) else 0)
