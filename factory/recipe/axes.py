"""Where a recipe's rows vary: source rows and axes. `factory.sources` and `factory.planning.axes` act on them."""

from __future__ import annotations

from datetime import date as Date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from factory.recipe.section import CHOICES_SCHEMA, Choices, Float, Int, Section, check_choices, dump_choices, fault


class ChunkConfig(Section):
    """How documents are cut, in words."""

    words: Int = Field(default=300, ge=1)
    overlap: Int = Field(default=50, ge=0)

    @model_validator(mode="after")
    def _check_overlap(self) -> ChunkConfig:
        if self.overlap >= self.words:
            raise fault(f"`overlap` ({self.overlap}) must be less than `words` ({self.words})", "", "overlap")
        return self


class SourceConfig(Section):
    """Source rows: a file, a folder, a saved dataset, a Hub name."""

    path: str = Field(min_length=1)
    format: Literal["jsonl", "json", "csv", "parquet", "text", "markdown", "dataset", "hub"] | None = None
    split: str = "train"
    config: str | None = None
    columns: list[str] | None = None
    carry: list[str] = Field(default_factory=list, description="columns that go into the dataset")
    chunk: ChunkConfig | None = None
    limit: Int | None = Field(default=None, ge=1)
    private: bool = Field(default=False, description="audits: no stretch of its rows may stand in the dataset")

    @model_validator(mode="before")
    @classmethod
    def _read_short(cls, data: object) -> object:
        return {"path": data} if isinstance(data, str) else data


class IntegerConfig(Section):
    """A whole number from `min` to `max`, both included."""

    min: Int
    max: Int
    step: Int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check_order(self) -> IntegerConfig:
        _check_order(self.min, self.max)
        return self


class UniformConfig(Section):
    """A number between `min` and `max`."""

    min: Float
    max: Float
    decimals: Int | None = Field(default=None, ge=0, le=15)

    @model_validator(mode="after")
    def _check_order(self) -> UniformConfig:
        _check_order(self.min, self.max)
        return self


class NormalConfig(Section):
    """A normally distributed number, clipped to `min` and `max`."""

    mean: Float
    sd: Float = Field(ge=0)
    min: Float | None = None
    max: Float | None = None
    decimals: Int | None = Field(default=None, ge=0, le=15)

    @model_validator(mode="after")
    def _check_order(self) -> NormalConfig:
        if self.min is not None and self.max is not None:
            _check_order(self.min, self.max)
        return self


def _check_order(low: float, high: float) -> None:
    if low > high:
        raise fault(f"`min` ({low}) is above `max` ({high})", "", "min")


def _check_date(value: object) -> str:
    try:
        return Date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise fault(f"`{str(value)[:40]}` is no date", "write YYYY-MM-DD") from None


IsoDate = Annotated[str, BeforeValidator(_check_date, str), WithJsonSchema({"type": "string", "format": "date"})]


class DateConfig(Section):
    """A day from `start` to `end`, both included; `format` as in strftime."""

    start: IsoDate
    end: IsoDate
    format: str = "%Y-%m-%d"

    @model_validator(mode="after")
    def _check_order(self) -> DateConfig:
        if self.start > self.end:
            raise fault(f"`start` ({self.start}) is after `end` ({self.end})", "", "start")
        return self


def _check_cases(value: object) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise fault("must be a mapping from the other axis' values to choices")
    if not value:
        raise fault("is empty", "name the choices of each value")
    checked = {}
    for key, choices in value.items():
        try:
            checked[key] = check_choices(choices)
        except PydanticCustomError as error:
            context = error.context or {}
            raise fault(context["message"], context["hint"], key, *context["at"]) from None
    return checked


def _dump_cases(value: dict[Any, Any]) -> list[list[Any]]:
    return [[key, dump_choices(choices)] for key, choices in value.items()]


Cases = Annotated[
    dict[Any, Any],
    BeforeValidator(_check_cases),
    PlainSerializer(_dump_cases, when_used="json"),
    WithJsonSchema({"type": "object", "minProperties": 1, "additionalProperties": CHOICES_SCHEMA}),
]


class DependsConfig(Section):
    """Choices that hang on the value of another axis."""

    on: str
    choices: Cases
    default: Choices | None = None


class TableConfig(Section):
    """A row of a table (CSV, JSONL, Parquet), drawn uniformly."""

    path: str = Field(min_length=1)
    columns: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_short(cls, data: object) -> object:
        return {"path": data} if isinstance(data, str) else data


class FakerConfig(Section):
    """A value from the `faker` package (an extra); further keys are the provider's arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)

    provider: str = Field(min_length=1)
    locale: str = "en_US"

    @model_validator(mode="before")
    @classmethod
    def _read_short(cls, data: object) -> object:
        return {"provider": data} if isinstance(data, str) else data


AXIS_KINDS = (
    "choice",
    "file",
    "integer",
    "uniform",
    "normal",
    "date",
    "template",
    "depends",
    "table",
    "faker",
)


class AxisConfig(Section):
    """One axis of variation: exactly one of its keys."""

    choice: Choices | None = Field(default=None, description="a list of values, or values with weights")
    file: str | None = Field(default=None, min_length=1, description="one value a line")
    integer: IntegerConfig | None = None
    uniform: UniformConfig | None = None
    normal: NormalConfig | None = None
    date: DateConfig | None = None
    template: str | None = Field(default=None, description="text made from other axes")
    depends: DependsConfig | None = None
    table: TableConfig | None = None
    faker: FakerConfig | None = None

    @property
    def kind(self) -> str:
        """The one key that is set."""
        return next(kind for kind in AXIS_KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _check_kind(self) -> AxisConfig:
        kinds = [kind for kind in AXIS_KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            told = " and ".join(f"`{kind}`" for kind in kinds)
            raise fault(
                f"an axis has one kind, this one has {told}" if kinds else "an axis needs a kind",
                "keep one" if kinds else "one of: " + ", ".join(AXIS_KINDS),
            )
        return self
