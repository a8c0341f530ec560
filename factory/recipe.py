"""A recipe: what is wanted, as YAML. `load_recipe` reads one and reports every fault at once.

The parts: `recipe_shape` (prompts, plugins, steps, the recipe), `recipe_models` and `recipe_axes` (its sections),
`recipe_yaml`, `recipe_overrides`, `recipe_checks`, `recipe_faults`, `recipe_loading` (how it is read), `recipe_schema`.
"""

from factory.recipe_axes import (
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
from factory.recipe_files import find_file, shipped
from factory.recipe_loading import build_recipe, load_recipe, parse_recipe
from factory.recipe_models import ModelConfig, Price, split_model
from factory.recipe_overrides import Overrides
from factory.recipe_schema import json_schema
from factory.recipe_shape import (
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
