"""What a recipe says, as frozen pydantic models: prompts, plugins, steps and the recipe itself.

`model_dump(mode="json", by_alias=True)` is plain JSON data, the same for the same recipe: keys that are not set are
left out, and weights are lists of pairs, so that `{1: 2}` and `{"1": 2}` differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from factory.errors import Place, UsageError
from factory.recipe.axes import AxisConfig, SourceConfig
from factory.recipe.keeping import Keep, KeepConfig
from factory.recipe.models import ModelConfig
from factory.recipe.preference import PreferenceConfig, read_short
from factory.recipe.section import WEIGHTS_SCHEMA, Float, Int, Key, Section, check_weights, fault
from factory.types import Role

if TYPE_CHECKING:
    from factory.recipe.overrides import Overrides


class MessageConfig(Section):
    """One message of a prompt: its content is a template, or the path of one."""

    role: Role
    content: str


def _prompt_tag(value: object) -> str | None:
    return "text" if isinstance(value, str) else "messages" if isinstance(value, list) else None


PromptConfig = Annotated[
    Annotated[str, Tag("text"), Field(min_length=1)]
    | Annotated[list[MessageConfig], Tag("messages"), Field(min_length=1)],
    Discriminator(_prompt_tag),
]
"""A path, an inline text, or messages."""


class PluginConfig(Section):
    """A plugin with its options: `- length: {min_words: 20}` or `- length`."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    weight: Float | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _read_short(cls, data: object) -> object:
        if isinstance(data, str):
            return {"name": data}
        if not isinstance(data, dict) or len(data) != 1:
            raise fault("must be a name, or one name with its options", "for example `- length: {min_words: 20}`")
        name, options = next(iter(data.items()))
        if options is None:
            options = {}
        if not isinstance(options, dict):
            raise fault(f"the options of `{name}` must be a mapping", f"write `- {name}: {{option: value}}`", name)
        return cls._split(str(name), options)

    @classmethod
    def _split(cls, name: str, options: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "options": options}


SCORER_KEYS = ("weight", "veto_below", "veto_above")
"""Keys that every scorer takes beside its own options."""


class ScorerConfig(PluginConfig):
    """A scorer: beside its options, `weight` makes its value count in the total, and bounds make it veto."""

    veto_below: Float | None = None
    veto_above: Float | None = None

    @classmethod
    def _split(cls, name: str, options: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in options.items() if key not in SCORER_KEYS}
        return {"name": name, "options": rest, **{key: options[key] for key in SCORER_KEYS if key in options}}

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that the scorer asks: its option `model`, or each of `models`."""
        many = self.options.get("models")
        named = [self.options.get("model"), *(many if isinstance(many, list) else [])]
        return tuple(role for role in named if isinstance(role, str))


def _check_mixture(value: object) -> object:
    if isinstance(value, dict):
        return check_weights(value)
    if not isinstance(value, str) or not value:
        raise fault("must be the name of a model, or names with weights")
    return value


Mixture = Annotated[
    str | dict[str, float],
    BeforeValidator(_check_mixture),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, WEIGHTS_SCHEMA]}),
]


MOST_CANDIDATES = 1024


class GenerateConfig(Section):
    """Who writes, and how many candidates of each row."""

    model: Mixture = "writer"
    candidates: Annotated[Int, Field(ge=1, le=MOST_CANDIDATES)] = 1

    def mixture(self) -> tuple[tuple[str, float], ...]:
        """Roles with their weights."""
        return ((self.model, 1.0),) if isinstance(self.model, str) else tuple(self.model.items())


class BudgetConfig(Section):
    """A hard cap on what a run may cost."""

    usd: Float = Field(gt=0)

    @model_validator(mode="before")
    @classmethod
    def _read_short(cls, data: object) -> object:
        return {"usd": data} if isinstance(data, (int, float)) else data


class ExportConfig(Section):
    """How the dataset is written."""

    test_fraction: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    preference: Annotated[PreferenceConfig | None, BeforeValidator(read_short)] = None


_OUTPUT_EXAMPLE = "for example {question: str, answer: str}"


def _check_output(value: object) -> object:
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    if not isinstance(value, dict):
        raise fault("must be a mapping of columns to types, or a JSON Schema", _OUTPUT_EXAMPLE)
    if not value:
        raise fault("names no column", f"{_OUTPUT_EXAMPLE}; leave `output` out for plain text")
    return value


OutputConfig = Annotated[
    dict[str, Any], BeforeValidator(_check_output), WithJsonSchema({"type": "object", "minProperties": 1})
]
ParseKind = Literal["auto", "json", "sections"]


def _check_step_name(value: str) -> str:
    if not value.isidentifier() or not value.isascii():
        raise fault(f"`{value[:60]}` is no name for a step", "letters, digits and `_`, so that prompts can say it")
    return value


_STEP_NAME_SCHEMA = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
_NAME_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}


class StepConfig(Section):
    """One step of several: it sees what the earlier ones kept."""

    name: Annotated[str, AfterValidator(_check_step_name), WithJsonSchema(_STEP_NAME_SCHEMA)]
    prompt: PromptConfig
    output: OutputConfig | None = None
    parse: ParseKind = "auto"
    repair: bool = False
    generate: GenerateConfig | None = None
    score: list[ScorerConfig] = Field(default_factory=list)
    keep: KeepConfig | None = None


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """A step with every default filled in; `main` where a recipe has a single prompt."""

    name: str
    prompt: str | list[MessageConfig]
    output: Mapping[str, Any] | None
    parse: ParseKind
    repair: bool
    models: tuple[tuple[str, float], ...]
    candidates: int
    score: tuple[ScorerConfig, ...]
    keep: Keep


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a recipe was read: its file, its text, and the line of every key by its path of keys.

    `overridden` names the option behind a key that did not come from the file. `effective`: the YAML with the
    overrides applied. `override` reads the recipe anew with further ones.
    """

    base: Path = field(default_factory=Path)
    file: str = "<recipe>"
    text: str = ""
    effective: str = ""
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    overridden: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    override: Callable[[Recipe, Overrides], Recipe] | None = None

    def place(self, *keys: Key, message: str, hint: str = "") -> Place:
        """The place of a key; of the nearest key above it that stands in the file."""
        path = tuple(str(key) for key in keys)
        shown = ".".join(path)
        for length in range(len(path), -1, -1):
            if (option := self.overridden.get(path[:length])) is not None:
                return Place(option, None, shown, message, hint)
            if (line := self.lines.get(path[:length])) is not None:
                return Place(self.file, line, shown, message, hint)
            if length and (below := [key for key in self.overridden if key[:length] == path[:length]]):
                return Place(self.overridden[below[0]], None, shown, message, hint)
        return Place(self.file, None, shown, message, hint)


def _check_rows(value: object) -> object:
    if value != "all" and (not isinstance(value, int) or isinstance(value, bool)):
        raise fault("must be a whole number, or `all` for one pass over `from:`")
    if isinstance(value, int) and value < 1:
        raise fault(f"must be at least 1, not {value}")
    return value


Rows = Annotated[
    int | Literal["all"],
    BeforeValidator(_check_rows),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]}),
]


def _check_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise fault(f"`{value[:60]}` is no name", "letters, digits, `.`, `_` and `-`; it names folders and rows")
    return value


class Recipe(Section):
    """A whole recipe. Read one with `factory.recipe.load_recipe`, which also checks what hangs together."""

    name: Annotated[str, AfterValidator(_check_name), WithJsonSchema(_NAME_SCHEMA)]
    description: str = ""
    seed: Int = 0
    rows: Rows = 100
    max_planned: Int | None = Field(default=None, ge=1)
    budget: BudgetConfig | None = None
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    from_: SourceConfig | None = Field(default=None, alias="from")
    vary: dict[str, AxisConfig] = Field(default_factory=dict)
    balance: bool = False
    carry: list[str] = Field(default_factory=list)
    prompt: PromptConfig | None = None
    steps: list[StepConfig] | None = Field(default=None, min_length=1)
    output: OutputConfig | None = None
    parse: ParseKind = "auto"
    repair: bool = False
    generate: GenerateConfig = GenerateConfig()
    score: list[ScorerConfig] = Field(default_factory=list)
    keep: KeepConfig = KeepConfig()
    filter: list[PluginConfig] = Field(default_factory=list)
    whole_set: list[PluginConfig] = Field(
        default_factory=list, description="passes over all accepted rows; an extension of the run makes them anew"
    )
    audit: list[PluginConfig] | None = None
    export: ExportConfig = ExportConfig()
    license: str | None = None
    language: str = "en"

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def base(self) -> Path:
        """The directory that relative paths start from."""
        return self._origin.base

    @property
    def file(self) -> str:
        """The recipe's file, as it was named."""
        return self._origin.file

    @property
    def text(self) -> str:
        """The YAML as it was read."""
        return self._origin.text

    @property
    def effective_text(self) -> str:
        """The YAML with the overrides applied: reading it gives this recipe."""
        return self._origin.effective

    def place(self, *keys: Key, message: str, hint: str = "") -> Place:
        """A fault at a key, with its line."""
        return self._origin.place(*keys, message=message, hint=hint)

    def override(self, overrides: Overrides) -> Recipe:
        """The recipe with overrides, checked as a whole. Raises RecipeError."""
        if self._origin.override is None:
            raise UsageError("this recipe was not read by `load_recipe`, `parse_recipe` or `build_recipe`")
        return self._origin.override(self, overrides)

    def max_rows_planned(self) -> int | None:
        """How many rows may be planned: `max_planned`, or 4 × rows; None for one pass over the source."""
        if self.rows == "all":
            return self.max_planned
        return self.max_planned if self.max_planned is not None else 4 * self.rows

    def step_list(self) -> tuple[ResolvedStep, ...]:
        """The steps in order, defaults filled in: a single prompt is the step `main`; only the last keeps several."""
        if self.steps is None:
            if self.prompt is None:
                raise ValueError("a recipe needs a prompt or steps")
            steps = [StepConfig.model_construct(None, **_own_step(self))]
        else:
            steps = self.steps
        return tuple(_resolve(self, step, last=step is steps[-1]) for step in steps)


def _own_step(recipe: Recipe) -> dict[str, Any]:
    shared = ("prompt", "output", "parse", "repair", "generate", "score", "keep")
    return {"name": "main", **{key: getattr(recipe, key) for key in shared}}


def _resolve(recipe: Recipe, step: StepConfig, *, last: bool) -> ResolvedStep:
    generate = step.generate or recipe.generate
    return ResolvedStep(
        name=step.name,
        prompt=step.prompt,
        output=step.output,
        parse=step.parse,
        repair=step.repair,
        models=generate.mixture(),
        candidates=generate.candidates,
        score=tuple(step.score),
        keep=(step.keep or (recipe.keep if last else KeepConfig())).resolve(generate.candidates),
    )
