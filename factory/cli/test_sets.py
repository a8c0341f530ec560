"""`benchmarks`: the test sets that are known, the user's own, and their indexes on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from factory.cli.making import JsonOpt
from factory.cli.output import note, one_line, print_json, say, tell

if TYPE_CHECKING:
    from factory.errors import FactoryError
    from factory.test_sets import Cached, Entry
    from factory.test_sets.indexing import Indexed

app = typer.Typer(
    help="Test sets that data must not contain: list them, add your own, index them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

QuestionOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--question", metavar="FIELD", help="The field with the question; several make one. Paths: a.b, a[].b."
    ),
]
AnswerOpt = Annotated[list[str] | None, typer.Option("--answer", metavar="FIELD", help="The field with the answer.")]
ChoicesOpt = Annotated[
    list[str] | None,
    typer.Option("--choices", metavar="FIELD", help="The field with the choices, or one field for each."),
]
TurnsOpt = Annotated[str | None, typer.Option("--turns", metavar="FIELD", help="The field with a list of turns.")]
SplitOpt = Annotated[
    str | None, typer.Option("--split", metavar="SPLIT", help="The split (a folder's files, the Hub's).")
]
CodeOpt = Annotated[bool, typer.Option("--code", help="Questions and answers are programs.")]


@app.command("list", short_help="List the known test sets, and what is here")
def list_(
    suite: Annotated[str | None, typer.Option("--suite", metavar="SUITE", help="Those of one suite only.")] = None,
    here: Annotated[bool, typer.Option("--here", help="Those that are kept on this machine only.")] = False,
    json_: JsonOpt = False,
) -> None:
    """List the known test sets: name, title, rows, licence, and whether rows or index are here."""
    from factory.test_sets import cache_dir, cached, entries, of_suite, suites

    known = of_suite(suite) if suite else entries()
    kept = {one.name: one for one in cached()}
    told = [_of_entry(entry, kept.pop(entry.name, None)) for entry in known]
    if not suite:
        told += [_of_cached(one) for one in kept.values()]
    if here:
        told = [one for one in told if one["cached"]]
    if json_:
        print_json({"cache": str(cache_dir()), "suites": suites(), "benchmarks": told})
        return
    tell(_table(told) if told else "none")
    count = sum(one["cached"] for one in told)
    tell(f"\n{len(told):,} test sets, {count:,} of them here, in {one_line(cache_dir())}")
    if not suite:
        tell(f"suites (--suite): {', '.join(suites())}")


def _of_entry(entry: Entry, kept: Cached | None) -> dict[str, Any]:
    state = {"cached": kept is not None, "indexed": kept is not None and kept.indexed, "private": False}
    facts = entry.as_json() | {"address": entry.address}
    return facts | state | ({"rows": kept.rows, "source": kept.source, "bytes": kept.bytes} if kept else {})


def _of_cached(kept: Cached) -> dict[str, Any]:
    told = {key: value for key, value in kept.as_json().items() if key != "sha"}
    title = f"your own, from {Path(kept.source).name}" if kept.private else kept.source
    return told | {"title": title, "licence": "", "gated": False, "suites": [], "cached": True}


def _table(told: Sequence[dict[str, Any]]) -> str:
    cells = [("name", "title", "rows", "licence", "here")]
    for one in told:
        rows = "" if one["rows"] is None else f"{one['rows']:,}"
        gated = "gated" if one["gated"] else ""
        here = "indexed" if one["indexed"] else "rows" if one["cached"] else gated
        cells.append((one["name"], _short(one["title"]), rows, one["licence"], here))
    widths = [max(len(row[k]) for row in cells) for k in range(5)]
    return "\n".join(
        "  ".join(cell.rjust(widths[k]) if k == 2 else cell.ljust(widths[k]) for k, cell in enumerate(row)).rstrip()
        for row in cells
    )


def _short(text: object, length: int = 44) -> str:
    line = one_line(text)
    return line if len(line) <= length else line[: length - 1] + "…"


@app.command("add", short_help="Keep a test set of your own under a name")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name; one of the registry: the file serves as its rows.")
    ],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="JSONL, JSON, CSV, TSV (also .gz), Parquet, a folder.")
    ],
    question: QuestionOpt = None,
    answer: AnswerOpt = None,
    choices: ChoicesOpt = None,
    turns: TurnsOpt = None,
    split: SplitOpt = None,
    code: CodeOpt = False,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of the one of this name.")] = False,
    json_: JsonOpt = False,
) -> None:
    """Keep a copy of the rows that comparing needs, under NAME, on this machine only. Nothing is sent anywhere."""
    from factory.test_sets.reading import keep, locate

    spec = _spec(files, question, answer, choices, turns, split, code)
    kept = keep(locate(spec, Path.cwd()), name, replace_=replace, notice=_notice(json_))
    example = {"question": kept.rows[0].question, "answer": kept.rows[0].answer, "choices": len(kept.rows[0].choices)}
    if json_:
        print_json({"name": kept.name, "rows": len(kept.rows), "code": kept.code, "example": example})
        return
    tell(f"{kept.name}: {len(kept.rows):,} rows{' of code' if kept.code else ''}")
    tell(f"  its first question: {_short(example['question'], 100)}")
    tell(f"  and its answer: {_short(example['answer'], 100) or '(none)'}")
    tell(f"use it: --against {kept.name}; build its index now: factory benchmarks index {kept.name}")


def _spec(
    paths: Sequence[str],
    question: list[str] | None,
    answer: list[str] | None,
    choices: list[str] | None,
    turns: str | None,
    split: str | None,
    code: bool,
) -> dict[str, Any]:
    """A spec as `factory.test_sets.read_test_set` takes it; `--choices A,B,C,D` names four fields."""
    listed = [part.strip() for one in choices or () for part in one.split(",")] or None
    given = {"question": question, "answer": answer, "choices": listed, "turns": turns, "split": split}
    return {
        "path": list(paths),
        **{key: value for key, value in given.items() if value},
        **({"code": True} if code else {}),
    }


def _notice(quiet: bool) -> Any:
    return (lambda told: None) if quiet else note


@app.command("index", short_help="Build the indexes of test sets")
def index(
    names: Annotated[list[str], typer.Argument(metavar="NAME|FILE…", help="Names, suites, Hub names, files.")],
    from_: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="FILE", help="A downloaded copy of NAME, where there is no network."),
    ] = None,
    question: QuestionOpt = None,
    answer: AnswerOpt = None,
    choices: ChoicesOpt = None,
    turns: TurnsOpt = None,
    split: SplitOpt = None,
    code: CodeOpt = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="BACKEND/MODEL",
            help="Embed the questions too: sentence-transformers/NAME, in this process.",
        ),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build it again although it is here.")] = False,
    json_: JsonOpt = False,
) -> None:
    """Fetch the rows of test sets where they are not here, and build their indexes.

    Without a network: on a machine that has one run the same command and copy the cache folder, or give --from FILE.
    """
    from factory.errors import FactoryError, UsageError
    from factory.test_sets.reading import keep, locate

    field_map = _spec([], question, answer, choices, turns, split, code)
    if from_:
        if len(names) != 1:
            raise UsageError(f"--from goes with one NAME, {len(names)} are given", "one command for each")
        keep(
            locate({**field_map, "path": from_}, Path.cwd()),
            names[0],
            replace_=rebuild,
            again=True,
            notice=_notice(json_),
        )
        field_map = {"path": []}
    told: list[dict[str, Any]] = []
    failed: dict[str, FactoryError] = {}
    for name in _names_of(names):
        spec = {**field_map, "path": name} if len(field_map) > 1 else name
        try:
            made = _index(locate(spec, Path.cwd()), rebuild=rebuild, quiet=json_)
            told.append(made | ({} if model is None else _embed(spec, model, quiet=json_)))
        except FactoryError as error:
            failed[name] = error
    if failed:
        raise _failure(failed, told)
    if json_:
        print_json({"indexed": told})


def _embed(spec: str | dict[str, Any], model: str, *, quiet: bool) -> dict[str, Any]:
    """Embed a test set's questions, for the layer that compares meanings."""
    from factory.cleaning.decontaminating import embed_test_set
    from factory.cleaning.embedding import open_embedder
    from factory.cli.cleaning import watching

    with watching(quiet=quiet) as view, open_embedder(model) as embedder:
        made = embed_test_set(spec, embedder, view.notice, view.update)
    if not quiet:
        tell(f"{made.name}: {len(made.rows):,} questions embedded by {one_line(model)}")
    return {"model": model, "embedded": len(made.rows)}


def _failure(failed: dict[str, FactoryError], told: list[dict[str, Any]]) -> FactoryError:
    """The only fault as it is, or all of them in one; what was indexed all the same goes with it."""
    from factory.errors import UsageError

    if len(failed) == 1:
        error = next(iter(failed.values()))
    else:
        lines = [f"  {name}: {error.message}" for name, error in failed.items()]
        hint = next(error.hint for error in failed.values())
        error = UsageError(
            f"{len(failed)} of {len(failed) + len(told)} could not be indexed\n" + "\n".join(lines), hint
        )
    faults = {name: error.as_json() for name, error in failed.items()}
    error.result = SimpleNamespace(summary={"indexed": told, "failed": faults})
    return error


def _names_of(names: Sequence[str]) -> list[str]:
    """The names, a suite's in its place."""
    from factory.test_sets import of_suite, suites

    found = []
    for name in names:
        found += [entry.name for entry in of_suite(name)] if name in suites() and not Path(name).exists() else [name]
    return list(dict.fromkeys(found))


def _index(located: Any, *, rebuild: bool, quiet: bool) -> dict[str, Any]:
    from factory.test_sets.indexing import drop_stale, open_or_build

    start = time.perf_counter()
    _, made = open_or_build(located, rebuild=rebuild, notice=_notice(quiet), progress=None if quiet else say)
    gone = drop_stale(made)
    seconds = time.perf_counter() - start
    if not quiet:
        tell(_line(made, seconds, len(gone)))
    return {**made.as_json(), "seconds": round(seconds, 2), "replaced": len(gone)}


def _line(made: Indexed, seconds: float, gone: int) -> str:
    how = f"built in {seconds:.1f} s" if made.built else "here already, unchanged"
    size = f"{made.bytes / 1e6:,.1f} MB" if made.bytes >= 1e5 else f"{made.bytes / 1e3:,.1f} kB"
    replaced = f"; {gone} older one{'s' if gone > 1 else ''} removed" if gone else ""
    return f"{made.name}: {made.rows:,} rows, {size}, {how}{replaced}"
