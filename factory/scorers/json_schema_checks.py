"""JSON Schemas made into checks: by the factory's own validators where they cover a schema, else by `jsonschema`.

Which of the two is used hangs on the schema alone, never on what is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import ValidationError

from factory.errors import MissingExtra, Place, UsageError, nearest
from factory.parsing.schema import ANNOTATIONS, GENERAL, KEYWORDS, Faults, check_schema, expand_refs, schema_types
from factory.parsing.validators import Builder

Check = Callable[[Any], str]
"""Data → what is wrong with it and where, or ''."""
IN_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
IN_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
IN_ONE = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties", "additionalItems", "contentSchema",
)  # fmt: skip
OTHERS = frozenset(
    {"$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary", "dependentRequired", "dependencies", "id"}
    | {"minContains", "maxContains", "contentEncoding", "contentMediaType"}
)
KNOWN = GENERAL | ANNOTATIONS | OTHERS | frozenset((*IN_MAPS, *IN_LISTS, *IN_ONE)).union(*KEYWORDS.values())
MAX_LEVELS = 100
SHOWN = 2


def make_check(schema: Any) -> Check:
    """A check of data against a schema.

    Raises UsageError for a wrong schema, MissingExtra where it takes `jsonschema` and that is not installed.
    """
    if not isinstance(schema, Mapping):
        raise UsageError("`schema` of `json_schema` is no mapping", "for example `{type: object, required: [answer]}`")
    every = list(_schemas(schema, "", 0))
    for part, where in every:
        for key in part:
            if key not in KNOWN:
                raise UsageError(f"`schema` of `json_schema`: unknown keyword `{key}`{where}", nearest(str(key), KNOWN))
    faults = Faults(_place)
    expanded = expand_refs(schema, (), faults)
    if faults.found or not all(_covered(part) for part, _ in _schemas(expanded, "", 0)):
        return _check_fully(schema)
    check_schema(expanded, (), faults)
    if faults.found:
        told = "; ".join(f"{fault.key}: {fault.message}".lstrip(": ") for fault in faults.found[:3])
        raise UsageError(f"`schema` of `json_schema`: {told}", faults.found[0].hint)
    return _check_quickly(expanded)


def _place(*keys: str, message: str, hint: str = "") -> Place:
    return Place("<schema>", None, ".".join(keys), message, hint)


def _schemas(schema: Any, where: str, level: int) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every schema in a schema, with words for where it is."""
    if level > MAX_LEVELS:
        raise UsageError(f"`schema` of `json_schema` is nested deeper than {MAX_LEVELS} levels")
    if not isinstance(schema, Mapping):
        return
    yield schema, where
    for key, value in schema.items():
        inner: list[tuple[str, Any]] = []
        if key in IN_MAPS and isinstance(value, Mapping):
            inner = [(f" in {key}.{name}", part) for name, part in value.items()]
        elif key in IN_LISTS and isinstance(value, list):
            inner = [(f" in {key}.{number}", part) for number, part in enumerate(value)]
        elif key in IN_ONE:
            inner = [(f" in {key}", part) for part in (value if isinstance(value, list) else [value])]
        for below, part in inner:
            yield from _schemas(part, where + below, level + 1)


def _covered(schema: Mapping[str, Any]) -> bool:
    """Whether the factory's own validators say the same of this schema as JSON Schema does."""
    types = schema_types(schema)
    allowed = GENERAL | ANNOTATIONS | frozenset[str]().union(*(KEYWORDS.get(str(name), ()) for name in types))
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not (
        isinstance(properties, Mapping) and isinstance(required, list) and isinstance(schema.get("anyOf", []), list)
    ):
        return True  # wrong in itself: the check of the schema says so
    parts = [schema.get("items", {}), *properties.values(), *schema.get("anyOf", [])]
    return (
        allowed.issuperset(schema)
        and all(isinstance(part, Mapping) for part in parts)
        and all(name in properties for name in required)
        and not ("enum" in schema and "const" in schema)
    )


def _in_json(told: str) -> str:
    """A fault in JSON's words."""
    return told.replace("Input should be a valid dictionary", "should be an object").replace(
        "Input should be a valid list", "should be an array"
    )


def _check_quickly(schema: Mapping[str, Any]) -> Check:
    validator = Builder(lax=False).validator(schema)

    def check(data: Any) -> str:
        try:
            validator.validate_python(data)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            told = [f"{_path(fault['loc'], data, fault['type'])}: {_in_json(fault['msg'])}" for fault in faults]
            return _tell(told)
        return ""

    return check


def _path(keys: tuple[int | str, ...], data: Any, kind: str) -> str:
    """`$.a[0].b` of a fault: names of alternatives that pydantic puts in between are left out."""
    path = "$"
    for number, key in enumerate(keys):
        if isinstance(data, list) and isinstance(key, int) and key < len(data):
            path, data = f"{path}[{key}]", data[key]
        elif isinstance(data, dict) and key in data:
            path, data = f"{path}.{key}", data[key]
        elif isinstance(data, dict) and kind == "missing" and number == len(keys) - 1:
            path = f"{path}.{key}"
    return path


def _tell(told: list[str]) -> str:
    """The first faults in one line."""
    different = list(dict.fromkeys(told))
    shown = "; ".join(one[:160] for one in different[:SHOWN])
    return shown + (f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else "")


def _check_fully(schema: Mapping[str, Any]) -> Check:
    """A check by the library `jsonschema`: the draft that `$schema` names, or 2020-12. Nothing is fetched."""
    try:
        import jsonschema
        import referencing
    except ImportError as error:
        raise MissingExtra("this `schema` of `json_schema` uses keywords that", "jsonschema") from error
    draft = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        draft.check_schema(schema)
    except jsonschema.SchemaError as error:
        where = ".".join(map(str, error.absolute_path))
        raise UsageError(
            f"`schema` of `json_schema`{f', {where}' if where else ''}: {error.message[:200]}", "mend the schema"
        ) from error
    validator = draft(schema, registry=referencing.Registry(), format_checker=draft.FORMAT_CHECKER)

    def check(data: Any) -> str:
        try:
            faults = sorted(
                validator.iter_errors(data), key=lambda fault: (list(map(str, fault.absolute_path)), fault.message)
            )
        except RecursionError:
            return "nested too deeply for the schema to be checked"
        return _tell([f"{fault.json_path}: {fault.message}" for fault in faults])

    try:
        if check(None).startswith("nested"):
            raise UsageError(
                "`schema` of `json_schema` refers to itself without an end", "let a `$ref` go down a level"
            )
    except referencing.exceptions.Unresolvable as error:
        raise UsageError(
            f"`schema` of `json_schema`: {error} is not defined in it", "schemas are not fetched"
        ) from error
    return check
