"""Reading a recipe: YAML, overrides, validation, and every fault at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from factory import registry
from factory.errors import FactoryError, Place, RecipeError, UsageError, nearest
from factory.recipe.axes import SourceConfig
from factory.recipe.checks import check
from factory.recipe.document import Document, dump, plain, read
from factory.recipe.faults import collect, describe, find_path, fit, in_order
from factory.recipe.files import nearest_file, read_text, shipped, shown
from factory.recipe.overrides import Overrides, apply, asked_roles
from factory.recipe.shape import Origin, Recipe

_EMPTY_MEANS_OMITTED = ("models", "vary", "carry", "generate", "score", "keep", "filter", "whole_set", "export")
_PLACEHOLDER = {"choice": ["?"]}


def load_recipe(path_or_name: Path | str, *, overrides: Overrides | None = None) -> Recipe:
    """Read a recipe file, or a shipped recipe by its name.

    Raises RecipeError with every fault at once, UsageError when there is no such file.
    """
    path = _find(path_or_name)
    return parse_recipe(read_text(path), base=path.absolute().parent, file=shown(path), overrides=overrides)


def _find(path_or_name: Path | str) -> Path:
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    name = str(path_or_name)
    recipes = shipped("recipes")
    if (recipes / f"{name}.yaml").is_file() and "/" not in name:
        return recipes / f"{name}.yaml"
    raise UsageError(*_missing_recipe(path, name, recipes))


def _missing_recipe(path: Path, name: str, recipes: Path) -> tuple[str, str]:
    """Message and hint for a recipe that is not there: a name beside it, else a shipped one."""
    if path.is_dir():
        inside = sorted(found.name for found in path.glob("*.y*ml"))
        return f"`{name}` is a folder", f"name a recipe in it: {', '.join(inside[:5])}" if inside else "name a recipe"
    message = f"no such file `{name}`"
    beside = nearest_file(path.name, path.parent, (".yaml", ".yml"))
    beside = beside or nearest_file(f"{path.name}.yaml", path.parent, (".yaml", ".yml"))
    if beside is not None:
        return message, f"did you mean `{path.with_name(beside)}`?"
    known = sorted(found.stem for found in recipes.glob("*.yaml"))
    near = nearest(path.stem, known)
    if near.startswith("did you mean"):
        return message, near.replace("did you mean", "did you mean the shipped recipe")
    return message, f"shipped recipes: {', '.join(known)}" if known else "`factory init` writes a starter recipe"


def parse_recipe(text: str, *, base: Path, file: str = "<recipe>", overrides: Overrides | None = None) -> Recipe:
    """The recipe in a YAML text. `base`: where relative paths start. Raises RecipeError with every fault at once."""
    document = read(text, file)
    origin = Origin(base=base, file=file, text=text, lines=document.lines, override=_override)
    return _build(document, origin, overrides or Overrides())


def build_recipe(
    data: Mapping[str, Any], *, base: Path | None = None, file: str = "<recipe>", overrides: Overrides | None = None
) -> Recipe:
    """The recipe in a dict, as `parse_recipe` reads it; `output` may be a pydantic class. Raises RecipeError."""
    output = data.get("output")
    if isinstance(output, type) and issubclass(output, BaseModel):
        data = {**data, "output": output.model_json_schema()}
    try:
        text = dump(plain(data))
    except ValueError as error:
        raise RecipeError([Place(file, None, "", str(error))]) from error
    document = replace(read(text, file), lines={})
    origin = Origin(base=base or Path(), file=file, text=text, override=_override)
    return _build(document, origin, overrides or Overrides())


def _override(recipe: Recipe, overrides: Overrides) -> Recipe:
    text = recipe.effective_text
    if text == recipe.text:
        return parse_recipe(text, base=recipe.base, file=recipe.file, overrides=overrides)
    return build_recipe(read(text, recipe.file).data, base=recipe.base, file=recipe.file, overrides=overrides)


def _build(document: Document, origin: Origin, overrides: Overrides) -> Recipe:
    if not isinstance(document.data, dict):
        raise RecipeError(fit(document.faults or [_not_a_recipe(document, origin)]))
    changed = apply(document.data, overrides)
    origin = replace(origin, overridden=changed.options)
    origin = replace(origin, effective=dump(changed.data) if overrides else origin.text)
    data = _normalise(changed.data)
    faults = [*document.faults, *changed.faults]
    known = {(fault.line, fault.key) for fault in document.faults}
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        found = collect(error, Recipe, data, origin.place)
        faults += [fault for fault in found if (fault.line, fault.key) not in known]
        recipe = None
    faults += check(data, origin.place)
    if recipe is None or faults:
        faults += _plan_faults(data, origin)
        raise RecipeError(fit(in_order(faults, origin.file)))
    return _with_origin(recipe, origin)


def _with_origin(recipe: Recipe, origin: Origin) -> Recipe:
    recipe._origin = origin
    return recipe


def _not_a_recipe(document: Document, origin: Origin) -> Place:
    if document.data is None:
        return Place(origin.file, None, "", "is empty", "`factory init` writes a starter recipe")
    message = f"must be a mapping (`key: value` lines), not {describe(document.data)}"
    return Place(origin.file, document.lines.get((), 1), "", message, "a recipe starts with `name: my-dataset`")


def _normalise(data: Mapping[Any, Any]) -> dict[Any, Any]:
    """The data without empty sections, and with a role for each model that is named in place."""
    kept = {key: value for key, value in data.items() if value is not None or key not in _EMPTY_MEANS_OMITTED}
    models = kept.get("models", {})
    if not isinstance(models, dict):
        return kept
    implicit = {}
    for role in asked_roles(kept):
        backend, slash, _ = role.partition("/")
        if role not in models and (slash or role == "echo") and backend in registry.names("backend"):
            implicit[role] = role
    return {**kept, "models": {**models, **implicit}} if implicit else kept


# What else is wrong with a recipe that has faults: its axes, sources and prompts, as far as they can be told


def _plan_faults(data: Mapping[Any, Any], origin: Origin) -> list[Place]:
    """The faults that `compile_plan` finds once the others are taken out, so that all are told at once."""
    from factory.planning import compile_plan

    mended = _mend(data, origin.base)
    if mended is None:
        return []
    recipe, without_source = mended
    try:
        compile_plan(_with_origin(recipe, origin))
    except RecipeError as error:
        unsure = [place for place in error.places if place.key == "rows" or "`source`" in place.message]
        return [place for place in error.places if not (without_source and place in unsure)]
    except FactoryError:
        return []  # an absent extra, say: the same command tells it once the recipe's own faults are gone
    return []


def _mend(data: Mapping[Any, Any], base: Path) -> tuple[Recipe, bool] | None:
    """A recipe without the faulty parts, and whether `from:` had to go; None where too little is left."""
    mended = copy.deepcopy(dict(data))
    if not isinstance(mended.get("vary", {}), dict) or not isinstance(mended.get("models", {}), dict):
        return None
    for _ in range(50):
        try:
            recipe = Recipe.model_validate(mended)
        except ValidationError as error:
            found = [find_path(one["loc"], mended, keep_last=False)[0] for one in error.errors(include_url=False)]
            if not all(_take_out(mended, path) for path in _distinct(found)):
                return None
            continue
        if (recipe.prompt is None) == (recipe.steps is None):
            return None
        lacking = {role for step in recipe.step_list() for role, _ in step.models} - set(recipe.models)
        if lacking:
            mended["models"] = {**mended.get("models", {}), **dict.fromkeys(lacking, "echo")}
        if lacking or _mend_links(mended):
            continue
        if recipe.from_ is not None and _may_be_remote(recipe.from_, base):
            del mended["from"]
            continue
        return recipe, "from" in data and "from" not in mended
    return None


def _may_be_remote(source: SourceConfig, base: Path) -> bool:
    """True for what may be a Hub name: nothing is fetched for the sake of an error message."""
    return source.format == "hub" or not ((base / source.path).exists() or Path(source.path).suffix)


def _distinct(paths: list[list[Any]]) -> list[list[Any]]:
    """Each path once, an axis as a whole, later ones first: so that removing one leaves the others where they are."""
    whole = [path[:2] if path[:1] == ["vary"] else path for path in paths]
    return [path for index, path in enumerate(whole) if path not in whole[:index]][::-1]


def _take_out(data: dict[Any, Any], path: list[Any]) -> bool:
    """Remove or replace what is wrong at a path; False where nothing sensible is left then."""
    if path in ([], ["name"]):  # of the top level's keys only the name must be there
        data["name"] = "recipe"
        return True
    if path[0] == "vary" and len(path) == 2 and data["vary"][path[1]] != _PLACEHOLDER:
        data["vary"][path[1]] = copy.deepcopy(_PLACEHOLDER)
        return True
    if path[0] == "models" and len(path) == 2:
        data["models"][path[1]] = "echo"
        return True
    if path[0] == "steps" and (len(path) < 3 or path[2] in ("name", "prompt", "output")):
        return False
    container: Any = data
    for part in path[:-1]:
        if not (part in container if isinstance(container, dict) else part < len(container)):
            return True
        container = container[part]
    if isinstance(container, list):
        container[path[-1] : path[-1] + 1] = []
    else:
        container.pop(path[-1], None)
    return True


def _mend_links(data: dict[Any, Any]) -> bool:
    """Replace axes that depend on a replaced one; True when something changed."""
    vary = data.get("vary", {})
    changed = False
    for name, axis in vary.items():
        on = axis["depends"].get("on") if isinstance(axis.get("depends"), dict) else None
        if on is not None and vary.get(on) == _PLACEHOLDER:
            vary[name] = copy.deepcopy(_PLACEHOLDER)
            changed = True
    return changed
