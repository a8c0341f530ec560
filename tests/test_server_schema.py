"""The schema that servers are sent: what it lets through, the parser takes; `strict` promises what OpenAI asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from factory.errors import RecipeError
from factory.parsing import compile_output, server_schema

NAMES = ["answer", "größe", "nullable", "default", "enum", "properties", "required", "type", "$defs", "a b"]
WORDS = st.text("abcäß \n\"'{}", min_size=1, max_size=6).filter(str.strip)
SMALL = st.integers(-20, 20)

# --- schemas


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object schema with one to four properties."""

    def build(parts: dict[str, Any], required: list[bool], more: Any) -> dict[str, Any]:
        names = [name for name, asked in zip(parts, required, strict=False) if asked]
        extra = {} if more is None else {"additionalProperties": more}
        return {"type": "object", "properties": parts, "required": names, **extra}

    parts = st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=4)
    return st.builds(
        build, parts, st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from([None, True, False])
    )


def extended(base: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Some schemas with `nullable`, some with annotations."""
    extra = st.sampled_from(
        [{}, {}, {"nullable": True}, {"description": "d"}, {"title": "t"}, {"examples": ["default"]}]
    )
    return st.builds(lambda schema, more: {**schema, **more}, base, extra)


texts = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={"minLength": st.integers(0, 3), "pattern": st.sampled_from(["^[a-c]+$", "a", "b|ß"])},
)
numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={"minimum": SMALL, "exclusiveMaximum": SMALL, "multipleOf": st.sampled_from([1, 2, 0.5])},
)
choices = st.one_of(
    st.builds(lambda values: {"enum": values}, st.lists(WORDS | SMALL | st.booleans(), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, WORDS | SMALL | st.none()),
)
leaves = st.one_of(texts, numbers, choices, st.just({"type": "boolean"}), st.just({"type": ["string", "null"]}))


def grow(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={"minItems": st.integers(0, 2), "uniqueItems": st.booleans()},
    )
    unions = st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
    return extended(st.one_of(lists, unions, objects(inner)))


schemas = objects(st.recursive(extended(leaves), grow, max_leaves=6))
kinds = st.sampled_from(["str", "int", "float", "bool", "list[str]", "list[int]", "str?", "int?", "list[float] | null"])
field_maps: st.SearchStrategy[Any] = st.recursive(
    kinds | st.lists(st.sampled_from(["x", "y", 3, True]), min_size=2, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=3),
    max_leaves=5,
).filter(lambda value: isinstance(value, dict))

# --- what a server held to a schema may say


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Values around a schema: most of them fit it."""
    if not isinstance(schema, Mapping):
        return st.none()
    if "anyOf" in schema:
        return st.one_of(*(values(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    found = schema.get("type", [])
    return st.one_of(*(of_type(name, schema) for name in ([found] if isinstance(found, str) else found)))


def of_type(name: str, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if name == "object":
        parts = {key: values(part) for key, part in schema.get("properties", {}).items()}
        required = {key: parts.pop(key) for key in list(parts) if key in schema.get("required", ())}
        free = schema.get("additionalProperties") is not False
        extra = {"another": WORDS} if free else {}
        return st.fixed_dictionaries(required, optional={**parts, **extra})
    if name == "array":
        return st.lists(values(schema.get("items", {})), max_size=3)
    numeric = SMALL | st.sampled_from([0.5, 2.0, -1.5])
    plain = {"string": WORDS, "integer": SMALL, "number": numeric, "boolean": st.booleans(), "null": st.none()}
    return plain[name]


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
@given(st.data(), field_maps | schemas)
def test_what_the_closed_schema_takes_the_parser_takes(data: st.DataObject, output: dict[str, Any]) -> None:
    try:
        compiled = compile_output(output, "json")
    except RecipeError:
        assume(False)
    closed = server_schema(compiled.schema, "main")["schema"]
    Draft202012Validator.check_schema(closed)
    value = data.draw(values(closed))
    assume(Draft202012Validator(closed).is_valid(value))
    parsed = compiled.parse(json.dumps(value))
    assert parsed.fields is not None, parsed.reason


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(field_maps | schemas)
def test_strict_keeps_the_rules_of_strict(output: dict[str, Any]) -> None:
    try:
        compiled = compile_output(output, "json")
    except RecipeError:
        assume(False)
    made = server_schema(compiled.schema, "main")
    assert set(made) == {"name", "schema", "strict"}
    for part in subschemas(made["schema"]):
        assert not {"nullable", "default", "examples", "$ref", "$defs"} & part.keys()
        if made["strict"]:
            assert "type" in part or "anyOf" in part
            assert not {"minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties"} & part.keys()
            if part.get("type") == "object":
                assert part["additionalProperties"] is False
                assert sorted(part["required"]) == sorted(part["properties"])


def subschemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for part in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        yield from subschemas(part)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield from subschemas(schema[key])


@settings(deadline=None)
@given(field_maps)
def test_a_field_map_is_always_strict(output: dict[str, Any]) -> None:
    try:
        compiled = compile_output(output, "json")
    except RecipeError:
        assume(False)
    assert server_schema(compiled.schema, "main")["strict"] is True


def test_a_field_map_as_it_is_sent() -> None:
    output = compile_output({"question": "str", "level": ["easy", "hard"], "hint": "str?", "tags": "list[str]"})
    made = server_schema(output.schema, "step one: größe" + "x" * 80)
    assert made["name"] == ("step_one__gr__e" + "x" * 80)[:64]
    assert made["schema"]["properties"] == {
        "question": {"type": "string"},
        "level": {"enum": ["easy", "hard"], "type": "string"},
        "hint": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    }
    assert made["schema"]["required"] == ["question", "level", "hint", "tags"] and made["strict"] is True


@pytest.mark.parametrize(
    "part",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": True, "required": ["x"]},
        {"type": "object", "properties": {"x": {"type": "string"}}},
        {"type": "array"},
        {"description": "whatever"},
        {"type": "string", "minLength": 1},
        {"type": "string", "format": "uri"},
        {"enum": [["a"]]},
    ],
)
def test_what_strict_cannot_hold(part: dict[str, Any]) -> None:
    output = compile_output({"type": "object", "properties": {"a": part}, "required": ["a"]})
    assert server_schema(output.schema, "main")["strict"] is False


def test_an_object_with_alternatives_is_not_closed() -> None:
    part = {"type": "object", "properties": {"x": {"type": "string"}}, "anyOf": [{"type": "object"}]}
    output = compile_output({"type": "object", "properties": {"a": part}, "required": ["a"]}, "json")
    made = server_schema(output.schema, "main")
    assert made["schema"]["properties"]["a"] == part and made["strict"] is False


class Inner(BaseModel):
    default: str
    count: int = 3


class Outer(BaseModel):
    first: Inner
    second: Inner | None = None


def test_references_of_a_pydantic_class_are_put_in_place() -> None:
    output = compile_output(Outer, "json")
    made = server_schema(output.schema, "main")
    assert "$ref" not in json.dumps(made) and "$defs" not in made["schema"]
    first = made["schema"]["properties"]["first"]
    assert first["properties"]["default"]["type"] == "string" and first["additionalProperties"] is False
    assert made["strict"] is False, "a field with a default need not be there"
    value = {"first": {"default": "a"}, "second": None}
    assert Draft202012Validator(made["schema"]).is_valid(value) and output.parse(json.dumps(value)).fields is not None
