"""What a recipe says of preference pairs: `export: {preference: …}`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from factory.recipe.section import Float, Section, fault

PRIVATE = frozenset({"pii", "profanity"})
"""Scorers whose vetoes tell what must not be published, not even as an example of what is bad."""


def _check_vetoed(value: object) -> object:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise fault("must be true, false, or a list of scorers", "for example [arithmetic, python]")
    return value


Vetoed = Annotated[
    bool | list[str],
    BeforeValidator(_check_vetoed),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]}),
]


class PreferenceConfig(Section):
    """Pairs of a row's best candidate and a worse one, as a second configuration of the dataset."""

    prompt: str | None = Field(
        default=None, min_length=1, description="a template of the prompt; default: the messages that were sent"
    )
    response: str | None = Field(
        default=None, min_length=1, description="the output column that answers it; default: the whole text"
    )
    rejected: Literal["worst", "hardest"] = "worst"
    min_margin: Annotated[Float, Field(ge=0)] = 0.0
    vetoed: Vetoed = True
    length_balanced: bool = False
    form: Literal["conversational", "standard"] = "conversational"

    def admits(self, scorer: str) -> bool:
        """Whether a candidate that this scorer has vetoed may be the worse one of a pair."""
        return scorer not in PRIVATE if self.vetoed is True else isinstance(self.vetoed, list) and scorer in self.vetoed


def read_short(data: Any) -> Any:
    """`preference: true` stands for all defaults, `false` for none."""
    return {} if data is True else None if data is False else data
