"""Options that take a YAML file (a recipe is one) or a list on the command line: `--scorers`, `--checks`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import RecipeError, UsageError
from factory.recipe.document import read
from factory.recipe.files import read_text, shipped, shown
from factory.scorers import shorten


@dataclass(frozen=True, slots=True)
class Listed:
    """What was read. `base`: where its paths start; `name`: what messages call it; `path` None: the command line."""

    data: Any
    base: Path
    name: str
    path: Path | None = None


def read_listed(text: str, *, option: str, key: str, what: str, example: str) -> Listed:
    """A file, a shipped recipe by name, or a YAML list without its brackets. `key`: where a file has it; `what` it is.

    Raises RecipeError for a file that is no YAML, UsageError for one that is not there and for what is no list.
    """
    path = Path(text).expanduser()
    recipe = shipped("recipes") / f"{path.name}.yaml"
    if not path.is_file() and path.name == text and recipe.is_file():
        path = recipe
    if path.is_file():
        name = shown(path.absolute())
        document = read(read_text(path), name)
        if document.faults:
            raise RecipeError(document.faults)
        return Listed(document.data, path.absolute().parent, name, path)
    if text.strip().lower().endswith((".yaml", ".yml")):
        raise UsageError(f"no such file `{text}`", f"name a recipe, or a YAML file with `{key}:`")
    document = read(f"[{text}]", option)
    if document.faults or not isinstance(document.data, list) or not document.data:
        why = f" ({document.faults[0].message})" if document.faults and "{" in text else ""
        raise UsageError(
            f"{option} {shorten(text, 80)}: neither a file nor {what}{why}",
            f"for example {option} '{example}', or a YAML file with `{key}:`",
        )
    return Listed(document.data, Path(), option)
