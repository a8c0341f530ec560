"""Output schemas: a recipe's field map or JSON Schema, checked key by key. Nothing unknown is ignored in silence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, core_schema

from factory.errors import Place, nearest

PlaceMaker = Callable[..., Place]
"""`place(*keys, message=…, hint=…)`: a fault at a key of the recipe."""

FIELD_TYPES: Mapping[str, str] = {
    "str": "string",
    "string": "string",
    "text": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
}
KINDS: Mapping[str, str] = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}) | {
    "$schema",
    "$id",
    "$comment",
}
KEYWORDS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
    "boolean": frozenset(),
    "null": frozenset(),
}
GENERAL = frozenset({"type", "enum", "const", "anyOf", "nullable"})
SUPPORTED = GENERAL.union(*KEYWORDS.values())
MAX_DEPTH = 32
REFERENCE = frozenset({"$ref", "$defs", "definitions"})
FORMATS = ("date", "date-time", "time", "duration", "uuid", "email", "uri")


@dataclass(slots=True)
class Faults:
    """Collects every fault of one `output:`, each at its key."""

    place: PlaceMaker
    found: list[Place] = field(default_factory=list)

    def add(self, keys: tuple[str, ...], message: str, hint: str = "") -> None:
        self.found.append(self.place(*keys, message=message, hint=hint))


def is_json_schema(output: Mapping[str, Any]) -> bool:
    """Whether `output:` is a JSON Schema (`type: object`) rather than a field map."""
    return output.get("type") == "object" and not isinstance(output.get("properties", {}), str)


def field_map_schema(output: Mapping[Any, Any], keys: tuple[str, ...], faults: Faults) -> dict[str, Any]:
    """The JSON Schema of a field map: `str int float bool list[…]`, `?` or `| null` for optional, a list of choices,
    or a nested map."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, kind in output.items():
        here = (*keys, str(name))
        if not isinstance(name, str) or not name.strip():
            faults.add(here, "a column's name must be text", "quote it")
            continue
        schema, optional = _field_schema(kind, here, faults)
        properties[name] = schema
        if not optional:
            required.append(name)
    if not output:
        faults.add(keys, "no columns", "name at least one, such as `{question: str, answer: str}`")
    return {"type": "object", "properties": properties, "required": required}


def _field_schema(kind: Any, keys: tuple[str, ...], faults: Faults) -> tuple[dict[str, Any], bool]:
    if len(keys) > MAX_DEPTH:
        faults.add(keys, f"nested deeper than {MAX_DEPTH} levels")
    elif isinstance(kind, Mapping):
        return field_map_schema(kind, keys, faults), False
    elif isinstance(kind, list) and kind:
        if len(kind) == 1 and isinstance(kind[0], str) and kind[0] in FIELD_TYPES:
            return {"type": "array", "items": {"type": FIELD_TYPES[kind[0]]}}, False
        if all(isinstance(choice, str | int | float | bool) for choice in kind):
            return {"enum": list(kind)}, False
        faults.add(keys, "choices must be plain values (text, numbers, true or false)")
    elif isinstance(kind, str):
        return _named_schema(kind, keys, faults)
    else:
        faults.add(keys, f"a column's type must be a name, not {kind!r}", "such as `str`, `int`, `list[str]`, `str?`")
    return {"type": "string"}, False


def _named_schema(kind: str, keys: tuple[str, ...], faults: Faults) -> tuple[dict[str, Any], bool]:
    bare = re.sub(r"\s+", "", kind)
    optional = False
    for suffix in ("?", "|null", "|None"):
        if bare.endswith(suffix):
            bare, optional = bare[: -len(suffix)], True
    schema: dict[str, Any]
    if bare in FIELD_TYPES:
        schema = {"type": FIELD_TYPES[bare]}
    elif bare == "list":
        schema = {"type": "array", "items": {"type": "string"}}
    elif (inner := re.fullmatch(r"list\[(\w+)\]", bare)) and inner[1] in FIELD_TYPES:
        schema = {"type": "array", "items": {"type": FIELD_TYPES[inner[1]]}}
    else:
        known = [*FIELD_TYPES, *(f"list[{name}]" for name in ("str", "int", "float", "bool"))]
        faults.add(keys, f"unknown type `{kind}`", nearest(bare, known))
        return {"type": "string"}, optional
    if optional:
        schema["nullable"] = True
    return schema, optional


def expand_refs(schema: Any, keys: tuple[str, ...], faults: Faults) -> dict[str, Any]:
    """The schema with its local `$ref`s (`#/$defs/…`) put in place, as pydantic's own schemas use them."""
    named = {
        f"#/{key}/{name}": inner for key in ("$defs", "definitions") for name, inner in (schema.get(key) or {}).items()
    }

    def expand(part: Any, here: tuple[str, ...], seen: tuple[str, ...], named_values: bool = False) -> Any:
        if len(here) > 3 * MAX_DEPTH:
            faults.add(here[:4], f"nested deeper than {MAX_DEPTH} levels")
            return {}
        if isinstance(part, list):
            return [expand(item, (*here, str(index)), seen) for index, item in enumerate(part)]
        if not isinstance(part, Mapping):
            return part
        reference = None if named_values else part.get("$ref")
        inner = {
            key: value
            if key in ("enum", "const", "default", "examples") and not named_values
            else expand(value, (*here, str(key)), seen, key == "properties" and not named_values)
            for key, value in part.items()
            if named_values or key not in REFERENCE
        }
        if reference is None:
            return inner
        if reference in seen:
            faults.add(here, f"`{reference}` refers to itself", "an output must have a fixed depth")
            return {}
        if reference not in named:
            faults.add((*here, "$ref"), f"`{reference}` is not defined here", nearest(str(reference), named))
            return {}
        target = expand(named[reference], here, (*seen, reference))
        return {**target, **inner} if isinstance(target, Mapping) else target

    expanded = expand(schema, keys, ())
    return expanded if isinstance(expanded, dict) else {}


def check_schema(schema: Any, keys: tuple[str, ...], faults: Faults) -> None:
    """Every keyword that is unknown or unsupported, and every wrong value, becomes a fault: nothing is ignored."""
    if not isinstance(schema, Mapping):
        faults.add(keys, f"a schema must be a mapping, not {schema!r}", "such as `{type: string}`")
        return
    if len(keys) > 3 * MAX_DEPTH:
        faults.add(keys, f"nested deeper than {MAX_DEPTH} levels")
        return
    types = schema_types(schema)
    for name in types:
        if name not in TYPES:
            faults.add((*keys, "type"), f"unknown type `{name}`", nearest(str(name), TYPES))
    allowed = GENERAL | ANNOTATIONS | frozenset[str]().union(*(KEYWORDS.get(str(name), ()) for name in types))
    for key, value in schema.items():
        here = (*keys, str(key))
        if key not in SUPPORTED | ANNOTATIONS:
            faults.add(here, f"JSON Schema keyword `{key}` is not supported", nearest(str(key), SUPPORTED))
        elif key not in allowed:
            said = " or ".join(map(str, types)) or "a schema without `type`"
            faults.add(here, f"`{key}` says nothing about {said}", "give the matching `type`")
        elif problem := _keyword_problem(str(key), value):
            faults.add(here, problem)
    _check_inner(schema, keys, faults)


def _check_inner(schema: Mapping[str, Any], keys: tuple[str, ...], faults: Faults) -> None:
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name, inner in properties.items():
            check_schema(inner, (*keys, "properties", str(name)), faults)
    for name in schema.get("required") or ():
        if isinstance(name, str) and isinstance(properties, Mapping) and name not in properties:
            faults.add((*keys, "required"), f"`{name}` is not among the properties", nearest(name, properties))
    if "items" in schema:
        check_schema(schema["items"], (*keys, "items"), faults)
    if isinstance(schema.get("additionalProperties"), Mapping):
        check_schema(schema["additionalProperties"], (*keys, "additionalProperties"), faults)
    for place, inner in enumerate(schema.get("anyOf") or ()):
        check_schema(inner, (*keys, "anyOf", str(place)), faults)


def _keyword_problem(key: str, value: Any) -> str:
    """What is wrong with a keyword's value, or ''."""
    if key in ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"):
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return "" if good else f"must be a whole number ≥ 0, not {value!r}"
    if key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        good = good and (key != "multipleOf" or value > 0)
        return "" if good else f"must be a {'positive ' if key == 'multipleOf' else ''}number, not {value!r}"
    if key in ("nullable", "uniqueItems"):
        return "" if isinstance(value, bool) else f"must be true or false, not {value!r}"
    if key in ("enum", "anyOf"):
        return "" if isinstance(value, list) and value else f"must be a list with at least one entry, not {value!r}"
    if key == "required":
        good = isinstance(value, list) and all(isinstance(name, str) for name in value)
        return "" if good else f"must be a list of names, not {value!r}"
    if key == "properties":
        return "" if isinstance(value, Mapping) and value else "must name at least one property"
    if key == "additionalProperties":
        return "" if isinstance(value, bool | Mapping) else f"must be true, false or a schema, not {value!r}"
    if key == "pattern":
        return _pattern_problem(value)
    if key == "format" and value not in FORMATS:
        return f"unknown format `{value}`: {nearest(str(value), FORMATS)}"
    return ""


def _pattern_problem(value: Any) -> str:
    if not isinstance(value, str):
        return f"must be a regular expression, not {value!r}"
    try:
        SchemaValidator(core_schema.str_schema(pattern=value))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return f"not a regular expression that runs in linear time (no look-around or back-references): {reason}"
    return ""


def schema_types(schema: Mapping[str, Any]) -> list[Any]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [] if kind is None else [kind]


def column_kind(schema: Mapping[str, Any]) -> tuple[str, bool]:
    """(kind, optional) of a property: `str int float bool list[…]`, else `json`."""
    kinds = _kinds(schema)
    optional = "null" in kinds
    kinds.discard("null")
    if kinds == {"int", "float"}:
        return "float", optional
    return (kinds.pop() if len(kinds) == 1 else "json"), optional


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """The kinds that a value may have, "null" among them."""
    kinds = {"null"} if schema.get("nullable") else set()
    if "anyOf" in schema:
        return kinds.union(*(_kinds(inner) for inner in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return kinds | {_value_kind(value) for value in schema.get("enum", [schema.get("const")])}
    for name in schema_types(schema):
        items = schema.get("items")
        if name == "array" and isinstance(items, Mapping):
            inner, optional = column_kind(items)
            kinds.add(f"list[{inner}]" if inner in KINDS.values() and not optional else "json")
        else:
            kinds.add("null" if name == "null" else KINDS.get(name, "json"))
    return kinds or {"json"}


def _value_kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}
    return names.get(type(value), "json")
