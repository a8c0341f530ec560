"""What is to be scored, as a recipe: the scorers and models of a file (or named on the command line), over DATA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import UsageError, nearest
from factory.listed import read_listed
from factory.recipe import Overrides, Recipe, build_recipe
from factory.recipe.axes import SourceConfig
from factory.recipe.shape import MOST_CANDIDATES
from factory.scorers import as_text, shorten
from factory.sources import Source, read_source

WRITER = "data"
"""The role that would write, if anything were written here."""
GROUPED = ("pairwise", "self_consistency", "clusters")
"""Scorers of a row's candidates together."""
SHARED = ("models", "language", "keep")
"""Keys that a file of scorers shares with a recipe."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `factory score` was told.

    `scorers`: a YAML file with `score:` (a recipe is one), or names and YAML separated by commas. `columns`: what the
    scorers look at. `group`: rows with the same value are candidates of one prompt. `good`: labels that count as good.
    """

    data: str
    scorers: str
    columns: tuple[str, ...] = ()
    prompt: str | None = None
    labels: str | None = None
    good: tuple[str, ...] = ()
    group: str | None = None
    split: str = "train"
    limit: int | None = None
    models: tuple[tuple[str, str], ...] = ()
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """The recipe that scores, the rows, and the columns that make a candidate."""

    recipe: Recipe
    source: Source
    columns: tuple[str, ...]


def read_spec(wanted: Wanted) -> Spec:
    """Read data and scorers. Raises UsageError or RecipeError for what does not fit together."""
    config = {"path": wanted.data, "split": wanted.split}
    if wanted.limit is not None:
        config["limit"] = wanted.limit  # type: ignore[assignment]
    source = read_source(SourceConfig.model_validate(config), Path())
    given, base, file = _scorers(wanted.scorers)
    columns = _columns(wanted, source, given)
    _check_group(wanted, given["score"] if isinstance(given["score"], list) else [])
    for option, name in (("--prompt", wanted.prompt), ("--labels", wanted.labels), ("--group", wanted.group)):
        _check_column(option, name, source)
    data = {
        "name": "score",
        "rows": "all",
        "seed": given.get("seed", 0),
        "from": {**config, "path": str(Path(wanted.data).absolute()) if Path(wanted.data).exists() else wanted.data},
        **{key: given[key] for key in SHARED if key in given},
        "prompt": "-",
        "output": dict.fromkeys(columns, "str"),
        "generate": {"model": WRITER, "candidates": _most_candidates(wanted, source)},
        "score": given["score"],
        **({"budget": wanted.budget} if wanted.budget is not None else {}),
    }
    keep = data.get("keep")
    combine = keep.get("combine") if isinstance(keep, Mapping) else None
    data["keep"] = {"combine": combine} if combine is not None else {}
    models, overrides = _models(wanted, given)
    data["models"] = {**models, WRITER: {"backend": "echo", "max_tokens": 1}} if isinstance(models, dict) else models
    recipe = build_recipe(data, base=base, file=file, overrides=Overrides(models=overrides))
    return Spec(recipe, source, columns)


def _models(wanted: Wanted, given: Mapping[str, Any]) -> tuple[Any, tuple[tuple[str, str], ...]]:
    """The models that the scorers ask, and what `--model` changes of them: no other is opened, or needs its key.

    A role that the file does not have is defined by `--model`. Raises UsageError for one that nobody defines.
    """
    models = given.get("models") or {}
    if not isinstance(models, dict):
        return models, ()
    if WRITER in models:
        raise UsageError(f"`{WRITER}` is the name of the rows here, and of a model", "give the model another name")
    asked = _roles(given["score"])
    told = dict(wanted.models)
    for role in asked:
        if role not in models and role not in told:
            hint = f"say --model {role}=BACKEND/MODEL, or write `models:` beside `score:`"
            raise UsageError(f"no model has the role `{role}`, which a scorer asks", hint)
    for role in told:
        if role not in asked and role not in models:
            raise UsageError(
                f"--model {role}={told[role]}: no scorer asks `{role}`", nearest(role, asked) if asked else ""
            )
    kept = {
        role: models[role] if role in models else told[role] for role in models.keys() | told.keys() if role in asked
    }
    return kept, tuple((role, target) for role, target in wanted.models if role in kept and role in models)


def _check_group(wanted: Wanted, score: Any) -> None:
    """Scorers that compare candidates need rows that are candidates of one prompt."""
    names = {
        name
        for entry in score
        if isinstance(entry, str | Mapping)
        for name in ([entry] if isinstance(entry, str) else entry)
    }
    needy = [name for name in GROUPED if name in names]
    if wanted.group is None and needy:
        told = f"`{needy[0]}` compares the candidates of a prompt, and every row stands alone"
        raise UsageError(told, "say --group COLUMN: rows with the same value there are candidates of one prompt")


def _roles(score: Any) -> list[str]:
    """The models that scorers name, as they stand in the file."""
    found: list[str] = []
    for entry in score if isinstance(score, list) else []:
        for options in entry.values() if isinstance(entry, Mapping) else ():
            if isinstance(options, Mapping):
                many = options.get("models")
                found += [role for role in (options.get("model"), *(many if isinstance(many, list) else ())) if role]
    return list(dict.fromkeys(role for role in found if isinstance(role, str)))


def _scorers(text: str) -> tuple[dict[str, Any], Path, str]:
    """What a file, or the command line, says of scorers; where its paths start; and its name."""
    example = "length: {min_words: 20}, repetition"
    listed = read_listed(text, option="--scorers", key="score", what="scorers", example=example)
    return _with_score(listed.data, listed.path), listed.base, listed.name


def _with_score(data: Any, path: Path | None) -> dict[str, Any]:
    """What was read, with `score:`: that of the last step which has one, where the file has none of its own."""
    if isinstance(data, list):
        return {"score": data}
    if not isinstance(data, dict):
        raise UsageError(f"{path}: holds no scorers", "write `score:` and a list of scorers")
    found = dict(data)
    if not found.get("score"):
        steps = [step for step in found.get("steps") or [] if isinstance(step, dict) and step.get("score")]
        if not steps:
            raise UsageError(f"{path}: has no `score:`", "write `score:` and a list of scorers")
        found |= {key: steps[-1][key] for key in ("score", "output", "keep") if key in steps[-1]}
    return found


def _columns(wanted: Wanted, source: Source, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that make a candidate: those named, those the recipe writes, or the only text there is."""
    for name in wanted.columns:
        _check_column("--column", name, source)
    if wanted.columns:
        return wanted.columns
    output = given.get("output")
    if isinstance(output, dict) and output and all(str(name) in source.columns for name in output):
        return tuple(str(name) for name in output)
    used = {wanted.prompt, wanted.labels, wanted.group, "meta"}
    texts = [name for name in source.columns if name not in used and _is_text(source, name)]
    if len(texts) == 1:
        return (texts[0],)
    raise UsageError(
        f"{wanted.data}: which column is to be scored?",
        f"say --column NAME; text columns: {', '.join(texts) or 'none'}",
    )


def _most_candidates(wanted: Wanted, source: Source) -> int:
    """Rows of the largest group."""
    if wanted.group is None:
        return 1
    values = [source[row].get(wanted.group) for row in range(len(source))]
    if None in values:
        told = f"--group {wanted.group}: row {values.index(None)} has no value there"
        raise UsageError(told, "give every row one, or leave such rows out")
    sizes = Counter(as_text(value) for value in values)
    group, most = sizes.most_common(1)[0]
    if most > MOST_CANDIDATES:
        told = f"--group {wanted.group}: {most:,} rows have the value '{shorten(group)}'"
        raise UsageError(told, f"a prompt has at most {MOST_CANDIDATES:,} candidates here: name another column")
    return most


def _is_text(source: Source, name: str) -> bool:
    return any(isinstance(source[row].get(name), str) for row in range(min(20, len(source))))


def _check_column(option: str, name: str | None, source: Source) -> None:
    if name is not None and name not in source.columns:
        hint = nearest(name, source.columns) or f"columns: {', '.join(source.columns)}"
        raise UsageError(f"{option} {name}: no such column", hint)


def read_labels(source: Source, column: str, good: Sequence[str]) -> list[float | None]:
    """A column's labels as numbers: 1 for good and 0 for bad where there are two kinds, grades as they are.

    A row without a label is None. Raises UsageError where nobody can tell which of two words is the good one, or a
    grade is no number.
    """
    values = [source[row].get(column) for row in range(len(source))]
    words = sorted({_word(value) for value in values if value is not None})
    if good:
        missing = [one for one in good if one.strip().lower() not in words]
        if missing:
            raise UsageError(
                f"--good {missing[0]}: no such label", f"labels: {', '.join(shorten(word, 30) for word in words[:8])}"
            )
        chosen = {one.strip().lower() for one in good}
        return [None if value is None else float(_word(value) in chosen) for value in values]
    if len(words) < 2:
        raise UsageError(
            f"--labels {column}: all labels are the same ({', '.join(words) or 'none'})", "nothing to tell"
        )
    if len(words) == 2 and (best := [word for word in words if word in GOOD]):
        return [None if value is None else float(_word(value) == best[0]) for value in values]
    try:
        return [None if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        some = ", ".join(shorten(word, 30) for word in words[:8]) + (", …" if len(words) > 8 else "")
        raise UsageError(f"--labels {column}: which labels are good? There are {some}", "say --good LABEL") from None


GOOD = frozenset({"true", "yes", "1", "good", "correct", "right", "pass", "passed", "accept", "accepted", "positive"})
"""Words for what is good, where a column has two."""


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()
