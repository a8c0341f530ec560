"""What the command line changes in a recipe: `--rows`, `--seed`, `--budget`, `--model`, `--set`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from factory.errors import Place, nearest
from factory.recipe.document import read_scalar
from factory.recipe.models import split_model

Path = tuple[str, ...]
_OF_THE_MODEL = ("backend", "model", "base_url", "price", "identity", "license")
_LISTS = ("score", "filter", "whole_set", "audit", "steps", "carry")
_OF_THE_SERVER = ("api_key_env", "headers", "extra_body")


@dataclass(frozen=True, slots=True)
class Overrides:
    """Changes to a recipe, applied in this order. `models`: (role, "backend/model"); `sets`: (dotted key, YAML).

    A dotted key walks mappings by key and lists by index, plugin name or step name; the value null removes the key.
    """

    rows: int | Literal["all"] | None = None
    seed: int | None = None
    budget: float | None = None
    models: tuple[tuple[str, str], ...] = ()
    sets: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return self != Overrides()


@dataclass(frozen=True, slots=True)
class Changed:
    """The data with the overrides applied, the option behind each changed key, and faults."""

    data: dict[Any, Any]
    options: Mapping[Path, str]
    faults: tuple[Place, ...]


class _Refused(Exception):
    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint


def apply(data: Mapping[Any, Any], overrides: Overrides) -> Changed:
    """A changed copy of the recipe's data. Faults are collected, never raised."""
    changed = copy.deepcopy(dict(data))
    options: dict[Path, str] = {}
    faults: list[Place] = []
    for name, value in (("rows", overrides.rows), ("seed", overrides.seed)):
        if value is not None:
            changed[name] = value
            options[(name,)] = f"--{name} {value}"
    if overrides.budget is not None:
        changed["budget"] = {"usd": overrides.budget}
        options[("budget",)] = f"--budget {overrides.budget:g}"
    for role, text in overrides.models:
        option = f"--model {role}={text}"
        try:
            path = _set_model(changed, role, text)
            options |= {path: option, (*path, "backend"): option, (*path, "model"): option}
        except _Refused as refused:
            faults.append(Place(option, None, f"models.{role}", refused.message, refused.hint))
    for key, text in overrides.sets:
        option = f"--set {key}={text}"
        option = option if len(option) <= 80 else option[:79] + "…"
        try:
            options[_set_key(changed, key, read_scalar(text))] = option
        except _Refused as refused:
            faults.append(Place(option, None, key, refused.message, refused.hint))
        except ValueError as error:
            faults.append(Place(option, None, key, str(error), "VALUE is YAML: quote text that holds `: ` or `{`"))
    return Changed(changed, options, tuple(faults))


def asked_roles(data: Mapping[Any, Any]) -> list[str]:
    """Every role that the raw data's `generate:` asks for."""
    steps = data.get("steps")
    found: list[str] = []
    for part in [data, *(steps if isinstance(steps, list) else [])]:
        generate = part.get("generate") if isinstance(part, Mapping) else None
        if generate is None and part is not data:
            continue
        model = generate.get("model", "writer") if isinstance(generate, Mapping) else "writer"
        found += map(str, model) if isinstance(model, Mapping) else [model] if isinstance(model, str) else []
    return list(dict.fromkeys(found))


def _set_model(data: dict[Any, Any], role: str, text: str) -> Path:
    defined = data.get("models")
    known = [*asked_roles(data), *(map(str, defined) if isinstance(defined, Mapping) else ())]
    if role not in known:
        raise _Refused(f"no role `{role}`", nearest(role, known))
    models = data.get("models")
    if models is None:
        models = data["models"] = {}
    if not isinstance(models, dict):
        raise _Refused("`models` is no mapping in the recipe")
    old = models.get(role)
    old = split_model(old) if isinstance(old, str) else old if isinstance(old, dict) else {}
    new = split_model(text)
    moved = bool(old.get("base_url")) or old.get("backend") != new["backend"]
    gone = (*_OF_THE_MODEL, *(_OF_THE_SERVER if moved else ()))
    models[role] = {**new, **{key: value for key, value in old.items() if key not in gone}}
    return ("models", role)


def _expand(path: Path, value: Any) -> Any:
    """A shorthand as the mapping it stands for, so that a key below it can be set."""
    if isinstance(value, str) and len(path) == 2 and path[0] == "models":
        return split_model(value)
    if isinstance(value, str) and path == ("from",):
        return {"path": value}
    if isinstance(value, (int, float)) and path == ("budget",):
        return {"usd": value}
    if value == "all" and path[-1] == "keep":
        return {"top_k": "all"}
    in_plugins = len(path) >= 2 and path[-2] in ("score", "filter", "whole_set", "audit")
    return {value: {}} if isinstance(value, str) and in_plugins else value


def _item_name(item: Any) -> str | None:
    """What a list item may be called by: a plugin's name, a step's name."""
    if isinstance(item, str):
        return item
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        return str(item["name"])
    return str(next(iter(item))) if isinstance(item, dict) and len(item) == 1 else None


def _index(items: list[Any], part: str, shown: str) -> int:
    if part.isdigit():
        if int(part) > len(items):
            raise _Refused(
                f"`{shown}` has {len(items)} items, counted from 0", f"write {shown}.{len(items)} to add one"
            )
        return int(part)
    named = [_item_name(item) for item in items]
    if part not in named:
        hint = nearest(part, [name for name in named if name]) or f"write {shown}.{len(items)}={part} to add it"
        raise _Refused(f"`{shown}` has no item `{part}`", hint)
    return named.index(part)


def _set_key(data: dict[Any, Any], key: str, value: Any) -> Path:
    """Set (or, with null, remove) one dotted key; returns its path. Raises _Refused."""
    parts = key.split(".")
    if not all(parts):
        raise _Refused(f"`{key}` is no key", "write KEY=VALUE, for example generate.candidates=4")
    current: Any = data
    path: list[str] = []
    while True:
        part = parts.pop(0)
        at: Any = part
        named = False
        if isinstance(current, list):
            at = _index(current, part, ".".join(path))
            named = not part.isdigit()
        elif isinstance(current, dict):
            at = next((known for known in current if str(known) == part), part)
        else:
            raise _Refused(f"`{'.'.join(path)}` is a plain value and has no key `{part}`", "set it as a whole")
        path.append(str(at))
        if not parts:
            _put(current, at, value)
            return tuple(path)
        below = current[at] if isinstance(current, dict) and at in current else None
        if isinstance(current, list):
            below = current[at] if at < len(current) else None
        below = _expand(tuple(path), below)
        if below is None:
            below = [] if path[-1] in _LISTS else {}
        _put(current, at, below)
        current = below
        if named and isinstance(below, dict) and part in below:
            below[part] = {} if below[part] is None else below[part]
            path.append(part)
            current = below[part]


def _put(container: Any, at: Any, value: Any) -> None:
    if isinstance(container, list):
        if value is None and at < len(container):
            del container[at]
        elif at < len(container):
            container[at] = value
        else:
            container.append(value)
    elif value is None:
        container.pop(at, None)
    else:
        container[at] = value
