"""What a recipe says of the candidates that stay: `keep: …`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from factory.recipe.section import Float, Section, fault

Combine = Literal["values", "scaled", "ranks"]


def _check_top_k(value: object) -> object:
    if value != "all" and (not isinstance(value, int) or isinstance(value, bool)):
        raise fault("must be a whole number, or `all`")
    if isinstance(value, int) and value < 1:
        raise fault(f"must be at least 1, not {value}")
    return value


TopK = Annotated[
    int | Literal["all"],
    BeforeValidator(_check_top_k),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]}),
]


class DiversityConfig(Section):
    """The order within the row by maximal marginal relevance: good, and unlike what stands before it."""

    weight: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=0.3, description="0: by the total alone; 1: by unlikeness alone"
    )
    on: str | None = Field(default=None, min_length=1, description="the column that is compared; default: all")
    similarity: Literal["tokens", "characters"] | None = Field(
        default=None, description="Jaccard similarity of words (the default), or of runs of characters"
    )
    model: str | None = Field(default=None, min_length=1, description="a model that embeds texts, instead")

    @property
    def by(self) -> str:
        """What texts are compared by: `tokens`, `characters` or `embeddings`."""
        return "embeddings" if self.model is not None else self.similarity or "tokens"

    @model_validator(mode="after")
    def _check(self) -> DiversityConfig:
        if self.model is not None and self.similarity is not None:
            raise fault("`model` and `similarity` exclude each other", "remove one of them")
        return self


class KeepConfig(Section):
    """Which candidates of a row stay."""

    top_k: TopK = Field(default=1, description="how many of the best; `all`: every valid one")
    min_score: Float | None = None
    fallback: bool = False
    combine: Combine = Field(
        default="values",
        description="weights combine raw values, values scaled by the scorers' ranges, or ranks within the row",
    )
    diversity: DiversityConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_short(cls, data: Any) -> Any:
        if isinstance(data, str) and data != "all":
            raise fault("must be `all`, or a mapping such as {top_k: 2}")
        return {"top_k": "all"} if data == "all" else data

    def at_most(self, candidates: int) -> int:
        """How many candidates of a row can stay."""
        return candidates if self.top_k == "all" else self.top_k

    def resolve(self, candidates: int) -> Keep:
        """These rules for a step of so many candidates."""
        top_k = self.at_most(candidates)
        return Keep(top_k, self.top_k == "all", self.min_score, self.fallback, self.combine, self.diversity)


@dataclass(frozen=True, slots=True)
class Keep:
    """`KeepConfig` for a step whose number of candidates is known. `everything`: the recipe said `all`."""

    top_k: int = 1
    everything: bool = False
    min_score: float | None = None
    fallback: bool = False
    combine: Combine = "values"
    diversity: DiversityConfig | None = None

    @property
    def order_matters(self) -> bool:
        """Whether anything hangs on the order after the best candidate."""
        return self.top_k > 1 or self.fallback
