"""The shipped recipes run as they stand, on the model in the package, and their rows are what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import environment

import factory
from factory.recipe import load_recipe, shipped

RECIPES = sorted(path.stem for path in shipped("recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, factory.Result]:
    runs = tmp_path_factory.mktemp("recipes")
    return {name: factory.run(name, runs_dir=runs) for name in RECIPES}


def rows_of(result: factory.Result) -> list[dict[str, Any]]:
    return list(result.dataset()["train"])


@pytest.mark.parametrize("name", RECIPES)
def test_it_makes_all_its_rows_and_they_differ(results: dict[str, factory.Result], name: str) -> None:
    rows = rows_of(results[name])
    assert len(rows) == load_recipe(name).rows >= 150
    texts = [json.dumps({key: value for key, value in row.items() if key != "meta"}) for row in rows]
    assert len(set(texts)) >= 0.95 * len(texts)


@pytest.mark.parametrize("name", RECIPES)
def test_it_points_editors_at_the_schema_and_shows_the_line_for_a_real_model(name: str) -> None:
    text = (shipped("recipes") / f"{name}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=")
    line = re.search(r"^  # (writer: \{backend: openai.*\})$", text, re.M)
    assert line is not None, "the commented line of a real model"
    lines = text.replace(f"  # {line.group(1)}", f"  {line.group(1)}").splitlines()
    real = "\n".join(one for one in lines if not one.startswith("  writer: {backend: embedded"))
    from factory.recipe import parse_recipe

    assert parse_recipe(real, base=shipped("recipes")).models["writer"].backend == "openai"


def test_word_problems_are_right(results: dict[str, factory.Result]) -> None:
    operations = Counter()
    for row in rows_of(results["word-problems"]):
        final = re.search(r"####\s*([\d,]+)", row["answer"])
        assert final is not None and row["question"].strip()
        equations = re.findall(r"((?:\d+ [+×÷-] )+\d+) = (\d+)", row["answer"])
        assert equations
        for left, right in equations:
            assert eval(left.replace("×", "*").replace("÷", "/")) == int(right)
        assert int(final.group(1).replace(",", "")) == int(equations[-1][1])
        operations[row["operation"]] += 1
    assert len(operations) == 5 and min(operations.values()) >= 20


def test_customer_messages_name_their_product_and_rating(results: dict[str, factory.Result]) -> None:
    ratings = {"positive": {4, 5}, "negative": {1, 2}, "mixed": {2, 3, 4}, "neutral": {3}}
    rows = rows_of(results["customer-messages"])
    for row in rows:
        assert row["product"].lower() in row["message"].lower()
        assert row["rating"] in ratings[row["sentiment"]]
    assert min(Counter(row["sentiment"] for row in rows).values()) >= 25


def test_multiple_choice_answers_are_the_facts(results: dict[str, factory.Result]) -> None:
    rows = rows_of(results["multiple-choice"])
    letters = Counter()
    for row in rows:
        options = dict(re.findall(r"^([A-D])\) (.+)$", row["text"], re.M))
        letter = re.search(r"^Answer: ([A-D])$", row["text"], re.M)
        fact = json.loads(row["meta"]["variation"])["fact"]
        assert len(options) == len(set(options.values())) == 4 and letter is not None
        assert letter.group(1) == row["letter"] and options[row["letter"]] == str(fact["answer"])
        also = {text for text in str(fact["also"] or "").split("|") if text}
        assert not also & set(options.values())
        letters[row["letter"]] += 1
    assert min(letters.values()) >= 30


def test_the_schema_beside_the_recipes_is_the_current_one() -> None:
    """After a change of the recipe's shape: `factory schema > recipes/recipe.schema.json`."""
    code = "import json; from factory.recipe import json_schema; print(json.dumps(json_schema()))"  # no test's plugins
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert json.loads((shipped("recipes") / "recipe.schema.json").read_text()) == json.loads(done.stdout)


def test_prompts_and_data_travel_beside_the_recipes(tmp_path: Path) -> None:
    assert (shipped("prompts") / "word-problem.j2").exists() and (shipped("recipes") / "data" / "facts.csv").exists()
