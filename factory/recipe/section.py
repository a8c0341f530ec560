"""What every part of a recipe is made of: frozen sections, strict numbers, weighted choices, faults in plain words."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import (
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    Strict,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import PydanticCustomError

Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), AllowInfNan(False)]
Key = str | int


def fault(message: str, hint: str = "", *at: Key) -> PydanticCustomError:
    """An error in plain words; `at` names the key below the value that is wrong."""
    return PydanticCustomError("plain", "{message}", {"message": message, "hint": hint, "at": list(at)})


class Section(BaseModel):
    """A part of a recipe: frozen, unknown keys refused, keys that are not set left out of its dump."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _dump_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_weights(weights: dict[Any, Any]) -> dict[Any, float]:
    """Weights as floats: finite, none negative, the sum above 0."""
    for key, weight in weights.items():
        if not _number(weight) or not math.isfinite(weight):
            raise fault(f"the weight of `{key}` must be a number", "", key)
        if weight < 0:
            raise fault(f"the weight of `{key}` is {weight}", "weights are 0 or more", key)
    if not weights:
        raise fault("is empty", "name at least one choice")
    if not sum(weights.values()) > 0:
        raise fault("the weights sum to 0", "give at least one choice a weight above 0")
    return {key: float(weight) for key, weight in weights.items()}


def check_choices(value: object) -> list[Any] | dict[Any, float]:
    if isinstance(value, dict):
        return check_weights(value)
    if not isinstance(value, list):
        raise fault("must be a list of values, or a mapping of values to weights")
    if not value:
        raise fault("is empty", "name at least one choice")
    return value


def dump_choices(value: object) -> object:
    return {"weights": [list(pair) for pair in value.items()]} if isinstance(value, dict) else value


WEIGHTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"type": "number", "minimum": 0},
    "minProperties": 1,
}
CHOICES_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "array", "minItems": 1}, WEIGHTS_SCHEMA]}
Choices = Annotated[
    Any,
    BeforeValidator(check_choices),
    PlainSerializer(dump_choices, when_used="json"),
    WithJsonSchema(CHOICES_SCHEMA),
]
"""A list of JSON values, or a dict of value → weight (float)."""
