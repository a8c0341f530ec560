"""Files that a recipe names: shipped ones, relative ones, and what to say when one is missing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from factory.errors import UsageError


def shipped(kind: Literal["prompts", "recipes"]) -> Path:
    """The folder of prompts or recipes that come with the factory: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "shipped" / kind
    return inside if inside.is_dir() else package.parent / kind


def shown(path: Path) -> str:
    """A path as the user would type it here: relative to the working directory where it lies below that."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def is_path(value: str, suffixes: tuple[str, ...]) -> bool:
    """True for one line that ends in one of the suffixes: such a value names a file, any other is the text itself."""
    return "\n" not in value.strip() and value.strip().lower().endswith(suffixes)


def find_file(value: str, base: Path) -> Path | None:
    """The file that a recipe in `base` calls `value`: relative to the recipe, then among the shipped prompts."""
    name = Path(value.strip()).expanduser()
    prompts = shipped("prompts")
    places = [base / name, prompts / name]
    if name.parts[:1] == ("prompts",):
        places.append(prompts / Path(*name.parts[1:]))
    return next((place for place in places if place.is_file()), None)


def nearest_file(name: str, folder: Path, suffixes: tuple[str, ...] = ()) -> str | None:
    """The name in `folder` that is most like `name`; None when nothing is."""
    found = _listed(folder, suffixes)
    close = difflib.get_close_matches(name, found, n=1, cutoff=0.6)
    return close[0] if close else None


def _listed(folder: Path, suffixes: tuple[str, ...] = ()) -> list[str]:
    try:
        found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
    return [name for name in found if not suffixes or name.endswith(suffixes)]


def missing_file(value: str, base: Path, kind: Literal["prompts", "recipes"]) -> tuple[str, str]:
    """Message and hint for a file that is not there: the nearest name beside it, else what its folder holds."""
    path = (base / Path(value.strip()).expanduser()).absolute()
    if path.is_dir():
        return f"`{value}` is a folder", "name a file in it"
    folder = path.parent
    message = f"no such file `{value}`"
    near = nearest_file(path.name, folder)
    if near is not None:
        return message, f"did you mean `{Path(value).parent / near}`?"
    near = nearest_file(path.name, shipped(kind))
    if near is not None:
        return message, f"did you mean the shipped `{near}`?"
    if not folder.is_dir():
        return f"{message}: there is no folder {_short(folder)}", "paths are relative to the recipe"
    if " " in value.strip():
        return message, "a single line that ends like a file name is a path: end a text in another way"
    return message, f"{_short(folder)} holds {_few(_listed(folder))}"


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 80 else "…" + text[-79:]


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return (", ".join(names[:8]) + (", …" if len(names) > 8 else "")) or "nothing"


def read_text(path: Path) -> str:
    """A text file as UTF-8, without a byte-order mark, lines ended by `\\n`. Raises UsageError."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", "check its permissions") from error
