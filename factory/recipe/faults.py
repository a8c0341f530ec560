"""Faults in plain words: what pydantic found, with the key as the file spells it and the nearest valid name."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from factory.errors import Place, nearest
from factory.recipe.axes import AXIS_KINDS, AxisConfig, SourceConfig
from factory.recipe.models import ModelConfig
from factory.recipe.shape import ExportConfig, GenerateConfig, KeepConfig, Recipe

MAX_CHARACTERS = 2_800
"""A list of faults fits on one screen; the error's own head comes on top."""

Placer = Callable[..., Place]

_HOMES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("models: ROLE:", ModelConfig),
    ("generate:", GenerateConfig),
    ("keep:", KeepConfig),
    ("export:", ExportConfig),
    ("from:", SourceConfig),
    ("vary: AXIS:", AxisConfig),
    ("the top level", Recipe),
)

_WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be a mapping (`key: value` lines)",
    "model_type": "must be a mapping (`key: value` lines)",
    "model_attributes_type": "must be a mapping (`key: value` lines)",
    "mapping_type": "must be a mapping (`key: value` lines)",
    "union_tag_not_found": "must be text or a list of messages",
    "union_tag_invalid": "must be text or a list of messages",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
}

_PLAIN = ("too_short", "string_too_short", "string_too_long", "too_long")

_EXAMPLES = {
    "name": "for example `name: my-dataset`",
    "backend": "for example {backend: embedded, model: tiny}",
    "prompt": "a path such as prompts/x.j2, or the text itself",
    "path": "for example {path: data/rows.jsonl}",
    "usd": "for example {usd: 5}",
}


def describe(value: object) -> str:
    """A value as a reader of YAML would call it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = value if len(value) <= 40 else value[:39] + "…"
        return f"the text `{shown}`".replace("\n", " ")
    if isinstance(value, (int, float)):
        return f"{value}"[:40]
    return "a list" if isinstance(value, (list, tuple)) else "a mapping" if isinstance(value, Mapping) else "that"


def find_path(loc: Sequence[Any], data: Any, *, keep_last: bool) -> tuple[list[Any], Any]:
    """Pydantic's location as keys of the raw data, and the value there.

    Components that the data does not have (union members, the parts of a shorthand) are skipped; a plugin's name,
    which pydantic does not see, is put in. `keep_last`: the last component names a key that is missing or unknown.
    """
    path: list[Any] = []
    current = data
    for number, part in enumerate(loc):
        last = number == len(loc) - 1
        if isinstance(current, Mapping):
            inner = next(iter(current.values()), None) if len(current) == 1 else None
            if part not in current and isinstance(inner, Mapping) and part in inner:
                path.append(next(iter(current)))
                current = inner
            if part in current:
                path.append(part)
                current = current[part]
                continue
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            path.append(part)
            current = current[part]
            continue
        if last and keep_last:
            path.append(part)
            current = None
    return path, current


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every pydantic model that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.GenericAlias) or typing.get_origin(annotation) is not None:
        return [found for part in typing.get_args(annotation) for found in _models_in(part)]
    return []


def fields_at(model: type[BaseModel], loc: Sequence[Any]) -> tuple[type[BaseModel], list[str]]:
    """The model that owns the keys at a location, and the names it knows."""
    for part in loc:
        by_name = {field.alias or name: field for name, field in model.model_fields.items()}
        inner = _models_in(by_name[part].annotation) if isinstance(part, str) and part in by_name else []
        if inner:
            model = inner[0]
    return model, [field.alias or name for name, field in model.model_fields.items()]


def explain_unknown(key: object, model: type[BaseModel], known: Iterable[str]) -> tuple[str, str]:
    """Message and hint for a key that its section does not have."""
    known = list(known)
    if model is AxisConfig:
        return f"`{key}` is no kind of axis", nearest(str(key), AXIS_KINDS)
    message = f"unknown key `{key}`"
    if not difflib.get_close_matches(str(key), known, n=1, cutoff=0.75):
        for home, owner in _HOMES:
            if owner is not model and str(key) in {field.alias or name for name, field in owner.model_fields.items()}:
                return message, f"`{key}` belongs under `{home}`" if home[-1] == ":" else f"`{key}` belongs at {home}"
    return message, nearest(str(key), known) if known else "it takes no options"


def _explain(error: Mapping[str, Any], value: object, model: type[BaseModel]) -> tuple[str, str]:
    """Message and hint for one of pydantic's errors."""
    kind, context = error["type"], error.get("ctx") or {}
    loc = error["loc"]
    if kind == "plain":
        told = context["message"]
        bare = told.startswith("must be") and ", not " not in told and not context["at"]
        return f"{told}, not {describe(value)}" if bare else told, context["hint"]
    if kind == "missing":
        return "is missing", _EXAMPLES.get(str(loc[-1]), "")
    if kind == "extra_forbidden":
        owner, known = fields_at(model, loc[:-1])
        return explain_unknown(loc[-1], owner, known)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return f"must be one of {', '.join(choices)}, not {describe(value)}", _near_only(value, choices)
    words = _WORDS.get(kind)
    if words is None:
        message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return message[:1].lower() + message[1:], ""
    message = words.format(
        **{name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in context.items()}
    )
    return message if kind in _PLAIN else f"{message}, not {describe(value)}", _type_hint(kind, value)


def _near_only(value: object, choices: Iterable[str]) -> str:
    hint = nearest(str(value), choices)
    return hint if hint.startswith("did you mean") else ""


def _type_hint(kind: str, value: object) -> str:
    if kind.startswith(("int", "float")) and isinstance(value, str):
        return "remove the quotes" if re.fullmatch(r"[-+]?[0-9.]+", value) else ""
    if kind == "string_type" and value is not None and not isinstance(value, (list, dict)):
        return "put it in quotes"
    if kind == "list_type" and isinstance(value, str):
        return f"write [{value[:30]}]"
    return ""


def _first_of_union(errors: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Errors without repetition: the members of a union each complain about the same value."""
    seen: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for error in errors:
        seen.setdefault((error["loc"], error["type"]), error)
    return list(seen.values())


def collect(error: ValidationError, model: type[BaseModel], data: Any, place: Placer) -> list[Place]:
    """Every fault pydantic found, each at its place in the file; one a key."""
    found: dict[tuple[Any, ...], Place] = {}
    for one in _first_of_union(error.errors(include_url=False)):
        path, value = find_path(one["loc"], data, keep_last=one["type"] in ("missing", "extra_forbidden"))
        message, hint = _explain(one, value, model)
        path += (one.get("ctx") or {}).get("at", [])
        key = tuple(map(str, path))
        if key in found and found[key].message != message:
            found[key] = _either(found[key], message)
        found.setdefault(key, place(*path, message=message, hint=hint))
    return list(found.values())


def _either(place: Place, message: str) -> Place:
    """Two members of a union refused the same value: "must be text or a list, not 5"."""
    one, _, value = place.message.partition(", not ")
    other = message.partition(", not ")[0].removeprefix("must be ")
    if not one.startswith("must be ") or other in one or not message.startswith("must be "):
        return place
    return replace(place, message=f"{one} or {other}, not {value}", hint="")


def in_order(places: Iterable[Place], file: str) -> list[Place]:
    """Without repetition, in the order of the file; other files and options after it."""
    unique = list(dict.fromkeys(places))
    return sorted(
        unique, key=lambda place: (place.file != file, "" if place.file == file else place.file, place.line or 0)
    )


def fit(places: Sequence[Place]) -> list[Place]:
    """The places with texts so short that the error's list of twelve fits on one screen."""
    allowed = MAX_CHARACTERS // max(1, min(len(places), 12)) - 1
    return [_fit_one(place, allowed) for place in places]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"


def _fit_one(place: Place, allowed: int) -> Place:
    if len(str(place)) <= allowed:
        return place
    file = place.file if len(place.file) <= allowed // 3 else "…" + place.file[-(allowed // 3) :]
    place = replace(place, file=file, key=_cut(place.key, allowed // 4))
    over = len(str(place)) - allowed
    if over > 0:
        place = replace(place, hint=_cut(place.hint, max(len(place.hint) - over, 40)))
    over = len(str(place)) - allowed
    return replace(place, message=_cut(place.message, max(len(place.message) - over, 40))) if over > 0 else place
