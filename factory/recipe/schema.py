"""The JSON Schema of a recipe, for editors: shorthands and every registered plugin with its options included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from factory import registry
from factory.errors import FactoryError
from factory.recipe.shape import Recipe

_PLUGIN_LISTS = {"score": "scorer", "filter": "filter", "whole_set": "pass", "audit": "auditor"}
_SCORER_KEYS = {
    "weight": {"type": "number", "minimum": 0, "description": "its share of the total; without one it only vetoes"},
    "veto_below": {"type": "number", "description": "a smaller value vetoes the candidate"},
    "veto_above": {"type": "number", "description": "a larger value vetoes the candidate"},
}
_SHORT: dict[str, dict[str, Any]] = {
    "ModelConfig": {"type": "string", "pattern": "^[^/]+(/.+)?$", "description": "BACKEND/MODEL"},
    "SourceConfig": {"type": "string", "minLength": 1, "description": "a path"},
    "TableConfig": {"type": "string", "minLength": 1, "description": "a path"},
    "FakerConfig": {"type": "string", "minLength": 1, "description": "a provider"},
    "BudgetConfig": {"type": "number", "exclusiveMinimum": 0, "description": "USD"},
    "KeepConfig": {"const": "all", "description": "every valid candidate"},
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe file. Plugins that cannot be loaded are known by name alone."""
    schema = Recipe.model_json_schema(by_alias=True, mode="validation")
    definitions: dict[str, Any] = schema["$defs"]
    for unused in ("PluginConfig", "ScorerConfig"):
        definitions.pop(unused, None)
    for name, short in _SHORT.items():
        definitions[f"{name}Full"] = definitions[name]
        definitions[name] = {"anyOf": [short, {"$ref": f"#/$defs/{name}Full"}]}
    axis = definitions["AxisConfig"]
    axis.update(minProperties=1, maxProperties=1)
    for kind in axis["properties"].values():
        _forbid_null(kind)
    stop = definitions["ModelConfigFull"]["properties"]["stop"]
    stop["anyOf"] = [{"type": "string", "minLength": 1}, *stop["anyOf"]]
    for key, kind in _PLUGIN_LISTS.items():
        definitions[key] = {"anyOf": [_plugin(kind, name, definitions) for name in registry.names(kind)] or [False]}
        schema["properties"][key] = _list_of(key, schema["properties"][key])
    definitions["StepConfig"]["properties"]["score"] = _list_of("score", schema["properties"]["score"])
    for key in ("models", "vary", "carry", "generate", "keep", "export"):
        schema["properties"][key] = {"anyOf": [schema["properties"][key], {"type": "null"}]}
    schema["oneOf"] = [{"required": ["prompt"]}, {"required": ["steps"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Recipe of the text data factory",
    }


def _forbid_null(kind: dict[str, Any]) -> None:
    kind["anyOf"] = [one for one in kind["anyOf"] if one != {"type": "null"}]
    kind.pop("default", None)


def _list_of(key: str, old: Mapping[str, Any]) -> dict[str, Any]:
    told = {"description": old["description"]} if "description" in old else {}
    return {**told, "anyOf": [{"type": "array", "items": {"$ref": f"#/$defs/{key}"}}, {"type": "null"}]}


def _plugin(kind: str, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """`- name` or `- name: {option: value}`; the bare name only where no option is required."""
    options, summary = _options(kind, name, definitions)
    full = {
        "type": "object",
        "properties": {name: {"anyOf": [options, {"type": "null"}]} if not options.get("required") else options},
        "required": [name],
        "additionalProperties": False,
        "description": summary,
    }
    return full if options.get("required") else {"anyOf": [{"const": name, "description": summary}, full]}


def _options(kind: str, name: str, definitions: dict[str, Any]) -> tuple[dict[str, Any], str]:
    try:
        summary = (registry.lookup(kind, name).__doc__ or "").strip().partition("\n")[0]
        reference = f"#/$defs/{kind}.{name}.{{model}}"
        options = registry.config_model(kind, name).model_json_schema(ref_template=reference)
    except (FactoryError, PydanticInvalidForJsonSchema):
        return {"type": "object"}, ""
    for inner, definition in options.pop("$defs", {}).items():
        definitions[f"{kind}.{name}.{inner}"] = definition
    options.pop("title", None)
    if kind == "scorer":
        options["properties"] = {**options.get("properties", {}), **_SCORER_KEYS}
    return options, summary
