"""Validators of output: a checked JSON Schema drawn into pydantic's core schema."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError, SchemaValidator, ValidationError, core_schema

from factory.parsing.schema import schema_types
from factory.parsing.values import (
    fold,
    json_key,
    read_bool,
    read_integer,
    read_list,
    read_number,
    read_object,
    read_string,
)

INT64 = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Builder:
    """Draws a checked schema into pydantic's core schema.

    `lax`: text stands for a number, a truth value, a list or an object (labelled sections, field maps), and a choice
    may differ in case. Otherwise JSON's own types are wanted; only 5.0 for 5 is forgiven, as JSON Schema does.
    """

    lax: bool

    def validator(self, schema: Mapping[str, Any]) -> SchemaValidator:
        return SchemaValidator(self.build(schema))

    def build(self, schema: Mapping[str, Any]) -> core_schema.CoreSchema:
        """The core schema of one (sub)schema."""
        if "anyOf" in schema:
            built: core_schema.CoreSchema = core_schema.union_schema(
                [self.build(inner) for inner in schema["anyOf"]], mode="left_to_right"
            )
            if schema_types(schema):
                built = core_schema.chain_schema([self._typed(schema), built])
        else:
            built = self._typed(schema)
        choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if choices is not None:
            built = core_schema.no_info_before_validator_function(self._choose(choices), built)
        return core_schema.nullable_schema(built) if schema.get("nullable") else built

    def _typed(self, schema: Mapping[str, Any]) -> core_schema.CoreSchema:
        types = schema_types(schema)
        if not types:
            return core_schema.any_schema()
        makers: dict[str, Callable[[Mapping[str, Any]], core_schema.CoreSchema]] = {
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": self._boolean,
            "array": self._array,
            "object": self._object,
            "null": lambda _: core_schema.none_schema(),
        }
        built = [makers[name](schema) for name in types]
        return built[0] if len(built) == 1 else core_schema.union_schema(list(built), mode="left_to_right")

    def _before(self, read: Callable[[Any], Any], schema: core_schema.CoreSchema) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(read, schema) if self.lax else schema

    def _string(self, schema: Mapping[str, Any]) -> core_schema.CoreSchema:
        inner: core_schema.CoreSchema = core_schema.str_schema(
            strict=True,
            min_length=schema.get("minLength"),
            max_length=schema.get("maxLength"),
            pattern=schema.get("pattern"),
        )
        if "format" in schema:
            inner = core_schema.no_info_after_validator_function(check_format(schema["format"]), inner)
        return self._before(read_string, inner)

    def _integer(self, schema: Mapping[str, Any]) -> core_schema.CoreSchema:
        low, high = schema.get("minimum", INT64[0]), schema.get("maximum", INT64[1])
        inner = core_schema.int_schema(
            strict=True,
            ge=max(math.ceil(low), INT64[0]),
            le=min(math.floor(high), INT64[1]),
            gt=None if (gt := schema.get("exclusiveMinimum")) is None else math.floor(gt),
            lt=None if (lt := schema.get("exclusiveMaximum")) is None else math.ceil(lt),
        )
        return core_schema.no_info_before_validator_function(
            read_integer if self.lax else _whole, self._multiple(schema, inner)
        )

    def _number(self, schema: Mapping[str, Any]) -> core_schema.CoreSchema:
        inner = core_schema.float_schema(
            strict=True,
            allow_inf_nan=False,
            ge=schema.get("minimum"),
            le=schema.get("maximum"),
            gt=schema.get("exclusiveMinimum"),
            lt=schema.get("exclusiveMaximum"),
        )
        return self._before(read_number, self._multiple(schema, inner))

    @staticmethod
    def _multiple(schema: Mapping[str, Any], inner: core_schema.CoreSchema) -> core_schema.CoreSchema:
        step = schema.get("multipleOf")
        if step is None:
            return inner

        def check(value: float) -> float:
            if abs(math.remainder(value, step)) > 1e-9 * max(1.0, abs(value)):
                raise PydanticCustomError("multiple_of", "Input should be a multiple of {step}", {"step": step})
            return value

        return core_schema.no_info_after_validator_function(check, inner)

    def _boolean(self, _: Mapping[str, Any]) -> core_schema.CoreSchema:
        return self._before(read_bool, core_schema.bool_schema(strict=True))

    def _array(self, schema: Mapping[str, Any]) -> core_schema.CoreSchema:
        items = schema.get("items")
        inner: core_schema.CoreSchema = core_schema.list_schema(
            self.build(items) if items is not None else core_schema.any_schema(),
            min_length=schema.get("minItems"),
            max_length=schema.get("maxItems"),
            strict=True,
        )
        if schema.get("uniqueItems"):
            inner = core_schema.no_info_after_validator_function(_check_unique, inner)
        return self._before(read_list, inner)

    def _object(self, schema: Mapping[str, Any]) -> core_schema.CoreSchema:
        extra = schema.get("additionalProperties", True)
        required = set(schema.get("required") or ())
        fields = {
            name: core_schema.typed_dict_field(self.build(inner), required=name in required)
            for name, inner in (schema.get("properties") or {}).items()
        }
        free = extra is not False and (isinstance(extra, Mapping) or not fields)
        inner: core_schema.CoreSchema = core_schema.typed_dict_schema(
            fields,
            strict=True,
            extra_behavior="forbid" if extra is False else "allow" if free else "ignore",
            extras_schema=self.build(extra) if isinstance(extra, Mapping) else None,
        )
        if "minProperties" in schema or "maxProperties" in schema:
            inner = core_schema.no_info_before_validator_function(_check_size(schema), inner)
        return self._before(read_object, inner)

    def _choose(self, choices: list[Any]) -> Callable[[Any], Any]:
        """Equality as JSON knows it (true is not 1); in lax mode also by the text, whatever its case."""
        exact = {json_key(choice): choice for choice in choices}
        folded: dict[str, Any] = {}
        for choice in choices:
            folded.setdefault(fold(choice), choice)
        listed = ", ".join(map(str, choices[:8])) + (", …" if len(choices) > 8 else "")

        def choose(value: Any) -> Any:
            try:
                key = json_key(value)
            except (TypeError, ValueError):
                key = ""
            if key in exact:
                return exact[key]
            if self.lax and isinstance(value, str | int | float) and fold(value) in folded:
                return folded[fold(value)]
            raise PydanticCustomError("enum", "Input should be one of: {listed}", {"listed": listed})

        return choose


def check_format(name: str) -> Callable[[str], str]:
    """A check that a text is a date, time, UUID, e-mail address or URI; the text itself stays as it is."""
    makers: dict[str, core_schema.CoreSchema] = {
        "date": core_schema.date_schema(),
        "date-time": core_schema.datetime_schema(),
        "time": core_schema.time_schema(),
        "duration": core_schema.timedelta_schema(),
        "uuid": core_schema.uuid_schema(),
        "uri": core_schema.url_schema(),
        "email": core_schema.str_schema(pattern=r"^[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+$"),
    }
    reader = SchemaValidator(makers[name])

    def check(value: str) -> str:
        try:
            reader.validate_json(json.dumps(value))
        except ValidationError as error:
            raise PydanticCustomError("format", "Input should be a valid {name}", {"name": name}) from error
        return value

    return check


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_unique(values: list[Any]) -> list[Any]:
    seen = {json_key(value) for value in values}
    if len(seen) < len(values):
        raise PydanticCustomError("unique", "List should hold distinct values")
    return values


def _check_size(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    low, high = schema.get("minProperties", 0), schema.get("maxProperties", math.inf)

    def check(value: Any) -> Any:
        if isinstance(value, Mapping) and not low <= len(value) <= high:
            raise PydanticCustomError("size", "Object has {n} properties", {"n": len(value)})
        return value

    return check
