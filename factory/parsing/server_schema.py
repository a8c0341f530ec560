"""A step's JSON Schema as servers want it in a request: closed objects, and `strict` only where it can be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from factory.errors import Place
from factory.parsing.schema import Faults, expand_refs, schema_types

_NOT_STRICT = frozenset({"minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties"})
"""Keywords that OpenAI's strict mode refuses."""
_STRICT_FORMATS = frozenset({"date", "date-time", "time", "duration", "uuid", "email"})
_LEFT_OUT = frozenset({"default", "deprecated", "examples", "nullable", "readOnly", "writeOnly"}) | {
    "$comment",
    "$id",
    "$schema",
}
"""What says nothing of the answer's form, or (`nullable`) is no JSON Schema and becomes a type."""
_VALUES = frozenset({"enum", "const", "required"})
"""Keywords that hold plain values, not schemas."""


def server_schema(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The `json_schema` part of a `response_format`: `name`, `schema`, and `strict`.

    Objects that say nothing of further keys allow none, so that a server cannot add some. Strict mode wants a type
    everywhere, and every property of every object required: one that may be null is asked for always; where another
    is optional, or a keyword is not taken, `strict` is false. References are put in place.
    """
    plain = expand_refs(schema, (), Faults(_bare_place)) if "$defs" in schema or "definitions" in schema else schema
    closed, strict = _close({key: value for key, value in plain.items() if key != "nullable"})
    strict = strict and "object" in schema_types(plain) and "anyOf" not in plain
    return {"name": re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64], "schema": closed, "strict": strict}


def _bare_place(*keys: str, message: str, hint: str = "") -> Place:
    return Place("<recipe>", None, ".".join(keys), message, hint)


def _close(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """A schema with closed objects and a type wherever one is known, and whether strict mode takes it."""
    if "anyOf" in schema and ("properties" in schema or "object" in schema_types(schema)):
        return dict(schema), False  # closing one of the two would shut out what the other asks for
    closed: dict[str, Any] = {}
    strict = not _NOT_STRICT & schema.keys() and schema.get("format", "date") in _STRICT_FORMATS
    for key, value in schema.items():
        if key in _LEFT_OUT:
            continue
        closed[key], taken = (value, True) if key in _VALUES else _close_part(key, value)
        strict = strict and taken
    if "type" not in closed and (kinds := _kinds_of_values(schema)):
        closed["type"] = kinds[0] if len(kinds) == 1 else kinds
        strict = strict and not {"array", "object"} & set(kinds)
    if isinstance(schema.get("properties"), Mapping):
        given = set(schema.get("required") or ())
        asked = [name for name, part in schema["properties"].items() if name in given or _may_be_null(part)]
        closed["required"] = asked
        closed.setdefault("additionalProperties", False)
        strict = strict and len(asked) == len(schema["properties"])
    if "object" in schema_types(schema):
        strict = strict and closed.get("additionalProperties") is False and "properties" in closed
    if "array" in schema_types(schema):
        strict = strict and "items" in closed
    strict = strict and ("type" in closed or "anyOf" in closed)
    return (_or_null(closed) if _may_be_null(schema) else closed), strict


def _close_part(key: str, value: Any) -> tuple[Any, bool]:
    """The value of one keyword: the schemas that it holds are closed."""
    if key == "properties" and isinstance(value, Mapping):
        parts = {name: _close(part) for name, part in value.items()}
        return {name: part for name, (part, _) in parts.items()}, all(taken for _, taken in parts.values())
    if key in ("items", "additionalProperties") and isinstance(value, Mapping):
        return _close(value)
    if key == "anyOf" and isinstance(value, Sequence):
        choices = [_close(part) for part in value]
        return [part for part, _ in choices], all(taken for _, taken in choices)
    return value, True


def _kinds_of_values(schema: Mapping[str, Any]) -> list[str]:
    """The JSON types of a schema's `enum` or `const`, sorted."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", dict: "object"}
    return sorted({names.get(type(value), "array") for value in values})


def _may_be_null(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("nullable") is True


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or null."""
    kind = schema.get("type")
    if isinstance(kind, str) and not {"enum", "const"} & schema.keys():
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
