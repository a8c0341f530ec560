"""A recipe: what is wanted, as YAML. `load_recipe` reads one and reports every fault at once.

The parts: `shape` (prompts, plugins, steps, the recipe), `models` and `axes` (its sections), `document` (YAML),
`overrides`, `checks`, `faults`, `loading` (how it is read), `schema`.
"""

from factory.recipe.axes import (
    AXIS_KINDS,
    AxisConfig,
    ChunkConfig,
    DateConfig,
    DependsConfig,
    FakerConfig,
    IntegerConfig,
    NormalConfig,
    SourceConfig,
    TableConfig,
    UniformConfig,
)
from factory.recipe.files import find_file, shipped
from factory.recipe.loading import build_recipe, load_recipe, parse_recipe
from factory.recipe.models import ModelConfig, Price, split_model
from factory.recipe.overrides import Overrides
from factory.recipe.schema import json_schema
from factory.recipe.shape import (
    BudgetConfig,
    ExportConfig,
    GenerateConfig,
    KeepConfig,
    MessageConfig,
    PluginConfig,
    Recipe,
    ResolvedStep,
    ScorerConfig,
    StepConfig,
)

__all__ = [
    "AXIS_KINDS",
    "AxisConfig",
    "BudgetConfig",
    "ChunkConfig",
    "DateConfig",
    "DependsConfig",
    "ExportConfig",
    "FakerConfig",
    "GenerateConfig",
    "IntegerConfig",
    "KeepConfig",
    "MessageConfig",
    "ModelConfig",
    "NormalConfig",
    "Overrides",
    "PluginConfig",
    "Price",
    "Recipe",
    "ResolvedStep",
    "ScorerConfig",
    "SourceConfig",
    "StepConfig",
    "TableConfig",
    "UniformConfig",
    "build_recipe",
    "find_file",
    "json_schema",
    "load_recipe",
    "parse_recipe",
    "shipped",
    "split_model",
]
