"""What can be told of scorers' options before anything is paid: names in templates, columns, bounds nothing meets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from factory.errors import Place, RecipeError, nearest
from factory.prompts import TEMPLATE_SUFFIXES, check_names, load_template
from factory.recipe.files import find_file, is_path
from factory.registry import BUILT_IN
from factory.scoring.compiled import PlaceMaker, Scorers, ScorerSpec
from factory.templating import explain, plain_environment, unknown_filters, unknown_names

Known = Mapping[str, Collection[str] | None]
"""Names in a template's scope, each with its fields where they are known."""

COLUMNS = ("on", "numbers_from", "tests_on")
"""Options that name an output column."""
TEMPLATES = frozenset(
    {
        "also", "between", "contains", "ends_with", "equals", "expect", "expect_output", "ignore", "letter",
        "not_contains", "operation", "passages", "prompt", "reference", "rubric", "source", "starts_with", "stdin",
        "tests", "to",
    }
)  # fmt: skip
"""Options of the built-in scorers that are templates; also `schema` of `sql`."""
SEES_COLUMNS = frozenset({"between", "prompt"})
"""Templates that see the candidate's output columns too."""
SOURCED = {"citation": {"passages", "source"}, "grounded": {"source"}, "novelty": {"source"}}
"""Scorers that compare with the row's source, and the options with another text in its place."""
JUDGES = {
    "judge": ("answer", "task", "reference", "rubric", "aspects", "low", "high", "grades", "form"),
    "pairwise": ("answer_a", "answer_b", "task", "rubric", "reference", "form"),
}
"""What a judge's own `prompt` sees beside the row."""


def check_options(
    specs: Sequence[ScorerSpec], columns: Collection[str], known: Known, base: Path, place: PlaceMaker
) -> list[Place]:
    """Faults of a step's scorers: an output column that is not there, a template with a name that nothing has.

    Only of built-in scorers: what an option of another one means, nobody knows here. `columns`: the step's output.
    """
    faults: list[Place] = []
    for number, spec in enumerate(specs):
        if spec.name not in BUILT_IN["scorer"]:
            continue
        if "source" not in known and spec.name in SOURCED and not SOURCED[spec.name] & spec.options.keys():
            told = f"`{spec.name}` has no source to compare with"
            hint = 'give the recipe a `from:`, or write `source:` with a template, such as "{{ passage }}"'
            faults.append(place("score", number, spec.name, message=told, hint=hint))
        for option, value in spec.options.items():
            keys = ("score", number, spec.name, option)
            for name in _columns(option, value):
                if name not in columns:
                    told = f"`{option}: {name}` names no output column"
                    faults.append(place(*keys, message=told, hint=nearest(name, columns)))
            if option in TEMPLATES or (spec.name, option) == ("sql", "schema"):
                names = {**known, **_besides(spec.name, option, columns)}
                found = [one for text in _texts(value) for one in _check_template(text, names, base)]
                faults += [one if one.file else place(*keys, message=one.message, hint=one.hint) for one in found]
    return faults


def check_bounds(scorers: Scorers, specs: Sequence[ScorerSpec], place: PlaceMaker) -> list[Place]:
    """Bounds that veto whatever a scorer may say."""
    faults = []
    for number, (scorer, spec) in enumerate(zip(scorers.scorers, specs, strict=True)):
        low, high, traits = scorer.veto_below, scorer.veto_above, scorer.traits
        message = ""
        if low is not None and high is not None and low > high:
            message = f"`veto_below: {low:g}` and `veto_above: {high:g}` leave no value"
        elif low is not None and traits.high is not None and low > traits.high:
            message = f"`veto_below: {low:g}` vetoes everything: values of `{spec.name}` are at most {traits.high:g}"
        elif high is not None and traits.low is not None and high < traits.low:
            message = f"`veto_above: {high:g}` vetoes everything: values of `{spec.name}` are at least {traits.low:g}"
        if message:
            hint = "veto_below ≤ veto_above, both within the scorer's range"
            faults.append(place("score", number, spec.name, message=message, hint=hint))
    return faults


def check_min_score(scorers: Scorers, min_score: float | None, place: PlaceMaker) -> list[Place]:
    """A `min_score` that no total can reach."""
    best = _best_total(scorers)
    if min_score is None or best is None or min_score <= best + 1e-9:
        return []
    if not any(scorer.weight for scorer in scorers.scorers):
        told, hint = "no scorer has a weight, so every total is 0", "give a scorer `weight: 1`, or remove it"
    else:
        told, hint = (
            f"no total can be above {best:g}",
            "the total is the weighted mean: choose a bound within its range",
        )
    return [place("keep", "min_score", message=f"`min_score: {min_score:g}` rejects everything: {told}", hint=hint)]


def _best_total(scorers: Scorers) -> float | None:
    """The highest total there may be; None where a weighted scorer has no bound."""
    weighted = [(one.weight, one.traits) for one in scorers.scorers if one.weight]
    if not weighted:
        return 0.0
    if scorers.combine != "values":
        return 1.0
    best = 0.0
    for weight, traits in weighted:
        top = traits.high if traits.better == "higher" else None if traits.low is None else -traits.low
        if top is None:
            return None
        best += weight * top
    return best / sum(weight for weight, _ in weighted)


def _columns(option: str, value: Any) -> Collection[str]:
    """The output columns that an option names."""
    if option in COLUMNS and isinstance(value, str):
        return (value,)
    return tuple(value) if option == "equals" and isinstance(value, Mapping) else ()


def _besides(scorer: str, option: str, columns: Collection[str]) -> Known:
    """What a template sees beside the row's names."""
    if option in SEES_COLUMNS:
        return dict.fromkeys(JUDGES.get(scorer, columns) if option == "prompt" else columns)
    return {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _check_template(text: str, known: Known, base: Path) -> list[Place]:
    """The first fault of a template, or those of a file with their lines; other files are not looked into."""
    if is_path(text, TEMPLATE_SUFFIXES):
        return _check_file(text, known, base) if find_file(text, base) is not None else []
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return []
    try:
        tree = plain_environment().parse(text)
        found = unknown_filters(tree) or unknown_names(tree, known, known)
    except jinja2.TemplateSyntaxError as error:
        message, hint = explain(error, known)
        return [Place("", None, "", message, hint)]
    return [Place("", None, "", message, hint) for _, message, hint in found[:1]]


def _check_file(text: str, known: Known, base: Path) -> list[Place]:
    def place(*keys: str | int, message: str, hint: str = "") -> Place:
        return Place("", None, "", message, hint)

    try:
        return check_names(load_template(text, base, place=place), known)
    except RecipeError:
        return []  # the scorer itself reads the file, and says what is wrong with it
