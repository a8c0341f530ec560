"""`init`, `recipes`, `schema`, `plugins`, `doctor`: what one needs before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.making import EXAMPLES, JsonOpt, ModelOpt, SetOpt, load
from factory.cli.output import note, one_line, print_json, tell


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put the starter recipe.")] = Path("."),
    json_: JsonOpt = False,
) -> None:
    """Write a starter recipe and prompt, commented, that runs as it stands on the embedded model."""
    from factory.starters import write_starter

    written = write_starter(directory)
    if json_:
        print_json({"written": [str(path) for path in written]})
        return
    for path in written:
        tell(f"wrote {path}")
    tell(f"\nnext:  factory preview {written[0]}\n       factory run {written[0]}")


def recipes(json_: JsonOpt = False) -> None:
    """List the shipped recipes: name, what each makes, the models it asks for."""
    from factory.starters import shipped_recipes

    found = shipped_recipes()
    if json_:
        print_json({"recipes": found})
        return
    width = max((len(recipe["name"]) for recipe in found), default=0)
    for recipe in found:
        tell(f"{recipe['name']:<{width}}  {recipe['description']}")
        models = ", ".join(f"{role}: {model}" for role, model in recipe["roles"].items())
        tell(f"{'':<{width}}  {recipe['rows']} rows; models: {models}")
    if found:
        tell(f"\nlook:  factory preview {found[-1]['name']}\nrun:   factory run {found[-1]['name']}")


def schema(json_: JsonOpt = False) -> None:
    """Print the JSON Schema of a recipe, for editors: completion and checks while one writes.

    Save it beside recipes, and begin each with `# yaml-language-server: $schema=./recipe.schema.json`.
    """
    from factory.recipe import json_schema

    print_json(json_schema())


def plugins(json_: JsonOpt = False) -> None:
    """List backends, scorers, filters, auditors and exporters, built in or installed, with their options."""
    from factory.starters import registered

    found = registered()
    if json_:
        print_json({"plugins": found})
        return
    kind = None
    for entry in found:
        if entry["kind"] != kind:
            tell(("" if kind is None else "\n") + f"{entry['kind']}{'es' if entry['kind'].endswith('s') else 's'}")
            kind = entry["kind"]
        origin = "" if entry["origin"] == "built-in" else f" [{entry['origin']}]"
        tell(f"  {entry['name']:<14} {one_line(entry['summary'])[:400]}{origin}")
        if entry["options"]:
            told = (
                name if option["required"] else f"{name}={option['default']}"
                for name, option in entry["options"].items()
            )
            tell(f"  {'':<14} {', '.join(told)}")


def doctor(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Also check this recipe, its files and its models.")
    ] = None,
    ask: Annotated[
        bool | None,
        typer.Option(
            "--ask/--no-ask",
            help="Ask every model of RECIPE a dozen short questions, or none: real calls, outside any run. "
            "[default: only those that cost nothing]",
            show_default=False,
        ),
    ] = None,
    model: ModelOpt = None,
    set_: SetOpt = None,
    json_: JsonOpt = False,
) -> None:
    """Check what is installed, reachable and configured. Exit code 1 when something is broken.

    A model that is asked shows what its server really honours (n, seed, schema, logprobs, …), and how fast it is.
    """
    from factory.cli.checkup import show_check, show_failures, show_model
    from factory.doctor import examine
    from factory.errors import FactoryError, UsageError

    given = {"--ask": ask, "--model": model, "--set": set_}
    option = next((name for name, value in given.items() if value), None)
    if option is not None and recipe is None:
        hint = f"for example factory doctor word-problems {' '.join([option, EXAMPLES.get(option, '')]).strip()}"
        raise UsageError(f"{option} needs a recipe: its models are asked", hint)
    loaded = None if recipe is None else load(recipe, None, None, None, model, set_)
    found = examine(loaded, ask=ask, notice=note)
    bad = [check["name"] for check in found.checks if check["ok"] is False]
    if json_:
        told = f"{len(bad)} of {len(found.checks)} checks failed: {', '.join(bad)}"
        error = FactoryError(told, "see `checks`", code="doctor")
        models = {role: facts.as_json() for role, facts in found.models.items()}
        errors = {"error": error.as_json()} if bad else {}
        print_json({"ok": not bad, "checks": found.checks, "models": models, **errors})
    else:
        for check in found.checks:
            facts = found.models.get(check.get("role", ""))
            tell(show_check(check) if facts is None else show_model(check, facts))
        tell("\n" + show_failures(len(found.checks), bad))
    if bad:
        raise typer.Exit(1)
