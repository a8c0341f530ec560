"""The shipped recipes, and the starter that `factory init` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from factory import files, registry
from factory.errors import StorageFull, UsageError
from factory.recipe import load_recipe, shipped

RECIPE = """\
# yaml-language-server: $schema=./recipe.schema.json
# A starter. Look first:   factory preview recipe.yaml
# Then make the rows:      factory run recipe.yaml
name: my-dataset
description: Grade-school word problems with worked answers.
seed: 1                       # every draw comes from it: same seed, same plan
rows: 50                      # dataset rows wanted; raise it later and run again: the first rows stay as they are
license: apache-2.0

models:
  # The model that ships in the package: no key, no download. It knows three narrow jobs only, this is one.
  # A real model is one line away, for example:
  # writer: {backend: openai, model: gpt-5-mini, max_tokens: 700}
  # writer: {backend: openai, model: Qwen/Qwen3-8B, base_url: "http://localhost:8000/v1", max_tokens: 700}
  writer: {backend: embedded, model: tiny, temperature: 0.8, max_tokens: 200}

vary:                         # each row draws a value from every axis
  topic: {choice: [apples, books, pencils, cookies, marbles]}
  operation: {choice: {addition: 2, subtraction: 2, multiplication: 1, division: 1}}   # with weights
  difficulty: {choice: [easy, medium]}

prompt: prompt.j2             # {{ topic }} … are in scope
output: {question: str, answer: str}      # the dataset's columns
generate: {model: writer, candidates: 4}  # N candidates a row …
score:
  - format: {}
  - arithmetic: {numbers_from: question}  # recomputes the worked answer; a wrong one is vetoed
  - length: {min_words: 5, target_words: 40, weight: 1}
keep: {top_k: 1}              # … of which the best is kept
filter:
  - dedup: {on: question, threshold: 0.8}
carry: [topic, operation, difficulty]     # axes that become columns
"""


def shipped_recipes() -> list[dict[str, Any]]:
    """Name, description, rows and models of every recipe in the package."""
    found = []
    for path in sorted(shipped("recipes").glob("*.yaml")):
        recipe = load_recipe(path)
        found.append(
            {
                "name": path.stem,
                "description": recipe.description.strip(),
                "rows": recipe.rows,
                "models": sorted({model.name for model in recipe.models.values()}),
                "roles": {role: model.name for role, model in recipe.models.items()},
                "path": str(path),
            }
        )
    return found


def registered() -> list[dict[str, Any]]:
    """Everything that is registered: kind, name, origin, what it does, and its options with type and default."""
    return [
        {
            "kind": entry.kind,
            "name": entry.name,
            "origin": entry.origin,
            "summary": entry.summary,
            "options": _options(entry.kind, entry.name),
        }
        for entry in registry.entries()
    ]


def _options(kind: str, name: str) -> dict[str, dict[str, Any]]:
    """The options of a plugin by name; none where they cannot be read, which its use in a recipe will tell."""
    if kind not in registry.KINDS or kind == "backend":
        return {}
    try:
        properties = registry.config_model(kind, name).model_json_schema()
    except (UsageError, PydanticInvalidForJsonSchema):
        return {}
    required = properties.get("required", [])
    return {
        option: {"required": option in required, "default": shape.get("default")}
        for option, shape in properties.get("properties", {}).items()
    }


def write_starter(directory: Path) -> list[Path]:
    """Write recipe.yaml, prompt.j2 and the schema for editors. Never overwrites: UsageError when one is there."""
    import json

    from factory.recipe import json_schema

    contents = {
        "recipe.yaml": RECIPE,
        "prompt.j2": (shipped("prompts") / "word-problem.j2").read_text(),
        "recipe.schema.json": json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n",
    }
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file", "give a directory")
    present = [name for name in contents if (directory / name).exists()]
    if present:
        raise UsageError(
            f"{directory}: {', '.join(present)} already there, nothing was written", "give another directory"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            files.write_atomic(directory / name, text)
    except (OSError, StorageFull) as error:
        told = error.message if isinstance(error, StorageFull) else f"{directory}: {error.strerror}"
        raise UsageError(f"nothing can be written there: {told}", "give another directory") from error
    return [directory / name for name in contents]
