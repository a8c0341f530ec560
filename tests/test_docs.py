"""README and docs are executed: commands, Python, recipes, and the tables against the code they speak of."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from support import ROOT, environment

from factory.recipe import AXIS_KINDS, ModelConfig, Recipe, SourceConfig, parse_recipe
from factory.recipe.document import dump, read
from factory.recipe.models import Price
from factory.recipe.shape import ScorerConfig
from factory.registry import BUILT_IN, config_model

README = (ROOT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))} | {"README.md": README}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)


def blocks(language: str) -> list[tuple[str, str]]:
    return [(name, code) for name, text in DOCS.items() for found, code in BLOCK.findall(text) if found == language]


def run_python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment(), timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(("name", "code"), blocks("python"))
def test_python_blocks_run(name: str, code: str, tmp_path: Path) -> None:
    if "recipe = " in code:
        shown = re.search(r'recipe = """\n(.*?)"""', code, re.S)
        assert shown is not None
        (tmp_path / "r.yaml").write_text(shown.group(1))
        code += "\nassert factory.run('r.yaml', runs_dir='runs').summary['rows'] == 10"
    run_python(code, tmp_path)


@pytest.mark.parametrize(("name", "code"), blocks("yaml"))
def test_yaml_blocks_are_recipes(name: str, code: str, tmp_path: Path) -> None:
    data = read(code, name).data
    if "name" not in data:
        data = {"name": "fragment", "prompt": "x", **data, "models": {**fillers(data), **data.get("models", {})}}
        code = dump(data)
    assert parse_recipe(code, base=ROOT / "recipes").name


def fillers(data: dict[str, Any]) -> dict[str, str]:
    """A model for every role that a fragment names without saying who it is."""
    scorers = [ScorerConfig.model_validate(one) for one in data.get("score", [])]
    return dict.fromkeys({"writer", *(role for scorer in scorers for role in scorer.roles)}, "echo")


def test_every_command_of_the_docs_exists() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "factory", "--help"], capture_output=True, text=True, env=environment(), timeout=60
    )
    known = set(re.findall(r"^\W*([\w-]+)\s{2,}", done.stdout, re.M))
    used = {
        shlex.split(line)[1] for _, code in blocks("bash") for line in code.splitlines() if line.startswith("factory ")
    } | set(re.findall(r"`factory ([\w-]+)", README))
    assert used and used <= known, f"unknown: {used - known}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|benchmarks|docs|recipes)/[\w./-]+)`", README))))
def test_files_the_readme_names_are_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", "\n".join(DOCS.values())))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists() or (ROOT / "docs" / target).exists()


def test_the_recipe_in_the_readme_is_the_shipped_one() -> None:
    shown = [code for found, code in BLOCK.findall(README) if found == "yaml" and code.startswith("name: word-")]
    assert len(shown) == 1
    shipped = (ROOT / "recipes" / "word-problems.yaml").read_text()
    assert yaml.safe_load(shown[0]) == yaml.safe_load(shipped)


def test_recipe_reference_names_every_key() -> None:
    text = DOCS["recipe.md"]
    keys = {field.alias or name for name, field in Recipe.model_fields.items()}
    keys |= set(ModelConfig.model_fields) - {"backend", "model"} | set(SourceConfig.model_fields) - {"path"}
    keys |= set(AXIS_KINDS)
    missing = sorted(key for key in keys if not re.search(rf"`[^`]*\b{key}\b[^`]*`", text))
    assert not missing


def test_recipe_reference_names_every_price_choice_and_backend() -> None:
    text = DOCS["recipe.md"]
    wanted = set(Price.model_fields) | BUILT_IN["backend"].keys()
    for key in ("structured", "api"):
        wanted |= set(get_args(ModelConfig.model_fields[key].annotation))
    missing = sorted(word for word in wanted if not re.search(rf"`[^`]*\b{word}\b[^`]*`", text))
    assert not missing


def options_of(kind: str, name: str) -> list[str]:
    return [field.alias or key for key, field in config_model(kind, name).model_fields.items()]


@pytest.mark.parametrize(("kind", "page"), [("filter", "recipe.md"), ("pass", "selection.md")])
def test_tables_name_every_plugin_and_option(kind: str, page: str) -> None:
    for name in BUILT_IN[kind]:
        line = next((line for line in DOCS[page].splitlines() if line.startswith(f"| `{name}` |")), None)
        assert line is not None, f"{kind} {name} is not in docs/{page}"
        missing = [option for option in options_of(kind, name) if f"`{option}`" not in line]
        assert not missing, f"{kind} {name}: {missing}"


@pytest.mark.parametrize("name", sorted(BUILT_IN["scorer"]))
def test_every_scorer_has_a_section_that_names_its_options(name: str) -> None:
    assert f"| [`{name}`](scorers.md#{name}) |" in DOCS["recipe.md"]
    sections = re.split(r"^(?=#{1,3} )", DOCS["scorers.md"], flags=re.M)
    section = next((part for part in sections if part.startswith(f"### `{name}`")), None)
    assert section is not None, f"no section for {name}"
    missing = [option for option in options_of("scorer", name) if not re.search(rf"`{option}\b", section)]
    assert not missing


@pytest.mark.parametrize("name", sorted(DOCS))
def test_docs_speak_of_the_project_alone(name: str) -> None:
    assert not re.search(r"(?<![\w.~])/(work|tmp|root|opt)/", DOCS[name])
