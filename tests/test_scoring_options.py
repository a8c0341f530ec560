"""What is wrong with a scorer's options is told before anything is asked, with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from factory import registry
from factory.compiling import compile_job
from factory.errors import RecipeError
from factory.recipe import build_recipe, load_recipe
from factory.scorers import Context
from factory.types import Candidate


def compile_with(directory: Path, score: list[Any], **changes: Any) -> list[str]:
    """Compile a recipe with these scorers; the faults as they are told."""
    (directory / "rows.jsonl").write_text('{"text": "a passage", "answer": "12"}\n')
    recipe = {
        "name": "options",
        "rows": 1,
        "models": {"writer": "echo"},
        "from": {"path": "rows.jsonl"},
        "vary": {"topic": {"choice": ["cats", "dogs"]}},
        "prompt": "Question: of {{ topic }} Answer: it",
        "output": {"question": "str", "answer": "str"},
        "score": score,
    }
    path = directory / "recipe.yaml"
    path.write_text(yaml.safe_dump({**recipe, **changes}, sort_keys=False))
    try:
        compile_job(load_recipe(path))
    except RecipeError as error:
        return [f"{place.file}:{place.line} {place.key}: {place.message} ({place.hint})" for place in error.places]
    return []


@pytest.mark.parametrize(
    ("scorer", "key", "told"),
    [
        ({"length": {"on": "anser"}}, "score.0.length.on", "`on: anser` names no output column"),
        ({"arithmetic": {"numbers_from": "nope"}}, "score.0.arithmetic.numbers_from", "names no output column"),
        ({"format": {"equals": {"nope": "x"}}}, "score.0.format.equals", "`equals: nope` names no output column"),
        ({"math": {"expect": "{{ source.anser }}"}}, "score.0.math.expect", "`source` has no `anser`"),
        ({"math": {"expect": "{{ topc }}"}}, "score.0.math.expect", "`topc` is undefined"),
        ({"math": {"expect": "{{ answer }}"}}, "score.0.math.expect", "`answer` is undefined"),
        ({"prompt_copy": {"ignore": ["fine", "{{ topic"]}}, "score.0.prompt_copy.ignore", "bad template"),
        ({"format": {"contains": "{{ topic | shout }}"}}, "score.0.format.contains", "no filter `shout`"),
        ({"sql": {"schema": "{{ source.ddl }}"}}, "score.0.sql.schema", "`source` has no `ddl`"),
        ({"judge": {"model": "writer", "rubric": "{{ nope }}"}}, "score.0.judge.rubric", "`nope` is undefined"),
        ({"judge": {"model": "writer", "prompt": "{{ answr }}"}}, "score.0.judge.prompt", "`answr` is undefined"),
        ({"length": {"veto_below": 7}}, "score.0.length", "`veto_below: 7` vetoes everything"),
        ({"length": {"veto_above": -1}}, "score.0.length", "`veto_above: -1` vetoes everything"),
        ({"length": {"veto_below": 0.9, "veto_above": 0.1}}, "score.0.length", "leave no value"),
        ({"novelty": {}}, "score.0.novelty", "no source to compare with"),
        ({"python": {"tests": "assert ((("}}, "score.0.python", "do not parse"),
    ],
)
def test_each_fault_is_told_with_its_line(tmp_path: Path, scorer: Any, key: str, told: str) -> None:
    source = {"from": None} if "novelty" in scorer else {}
    (fault,) = compile_with(tmp_path, [scorer], **source)
    assert f" {key}: " in fault and told in fault
    assert fault.startswith("recipe.yaml:") or "/recipe.yaml:" in fault


@pytest.mark.parametrize(
    "scorer",
    [
        {"math": {"expect": "{{ source.answer }}"}},
        {"math": {"expect": "{{ nope | default('12') }}"}},
        {"format": {"contains": "{{ topic }}", "equals": {"answer": "{{ source['answer'] }}"}}},
        {"judge": {"model": "writer", "prompt": "{{ answer }} {{ rubric }} {{ form }} {{ topic }}"}},
        {"regex": {"not_pattern": "[{][{] ?nope", "pattern": "."}},
        {"length": {"veto_below": 1}},
    ],
)
def test_what_is_right_passes(tmp_path: Path, scorer: Any) -> None:
    assert compile_with(tmp_path, [scorer]) == []


@pytest.mark.parametrize(
    ("score", "keep", "told"),
    [
        ([{"length": {"min_words": 1}}], {"min_score": 0.5}, "no scorer has a weight"),
        ([{"length": {"weight": 1}}], {"min_score": 1.5}, "no total can be above 1"),
        ([{"length": {"weight": 1}}], {"min_score": 1.5, "combine": "ranks"}, "no total can be above 1"),
        ([{"judge": {"model": "writer", "weight": 1, "scale": [1, 10]}}], {"min_score": 10.5}, "above 10"),
        ([{"length": {"weight": 1}}], {"min_score": 1}, ""),
        ([{"length": {}}], {"min_score": 0}, ""),
        ([{"judge": {"model": "writer", "weight": 1}}, {"length": {"weight": 3}}], {"min_score": 2}, ""),
        ([{"perplexity": {"weight": 1}}], {"min_score": -30}, ""),
    ],
)
def test_a_bound_on_the_total_that_nothing_meets(tmp_path: Path, score: list[Any], keep: Any, told: str) -> None:
    faults = compile_with(tmp_path, score, keep=keep)
    assert len(faults) == bool(told) and all(told in fault and " keep.min_score: " in fault for fault in faults)


def test_a_fault_in_a_file_is_told_with_the_files_line(tmp_path: Path) -> None:
    (tmp_path / "rubric.j2").write_text("Good is what is true.\n\nOf {{ topik }}.\n")
    (fault,) = compile_with(tmp_path, [{"judge": {"model": "writer", "rubric": "rubric.j2"}}])
    assert "rubric.j2:3 " in fault and "`topik` is undefined (did you mean `topic`?)" in fault


def test_a_step_knows_those_before_it(tmp_path: Path) -> None:
    steps = [
        {"name": "draft", "prompt": "Of {{ topic }}", "score": [{"format": {"contains": "{{ topc }}"}}]},
        {"name": "final", "prompt": "Of {{ draft.draft }}", "score": [{"novelty": {"source": "{{ draft.text }}"}}]},
    ]
    for number, told in ((0, "`topc` is undefined"), (1, "`draft` has no `text`")):
        chosen = [{**step, "score": step["score"] if k == number else []} for k, step in enumerate(steps)]
        path = tmp_path / "steps.yaml"
        recipe = {"name": "steps", "models": {"writer": "echo"}, "vary": {"topic": {"choice": ["cats"]}}}
        path.write_text(yaml.safe_dump({**recipe, "rows": 1, "steps": chosen}))
        with pytest.raises(RecipeError) as failed:
            compile_job(load_recipe(path))
        assert told in str(failed.value) and f"steps.{number}.score.0" in failed.value.places[0].key


def test_options_of_other_scorers_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they mean is theirs to say."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @registry.scorer("own_way")
    def own_way(candidate: Candidate, context: Context, *, on: str = "", expect: str = "") -> bool:
        return True

    assert compile_with(tmp_path, [{"own_way": {"on": "nope", "expect": "{{ nope }}"}}]) == []


@pytest.mark.parametrize(
    ("scorer", "options"),
    [
        ("length", {"min_words": -1}),
        ("length", {"target_words": 0}),
        ("repetition", {"ngram": 0}),
        ("repetition", {"max_share": 2.0}),
        ("language", {"min_probability": 2.0}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(scorer: str, options: dict[str, float]) -> None:
    data = {"name": "r", "models": {"writer": "echo"}, "prompt": "x", "score": [{scorer: options}]}
    with pytest.raises(RecipeError, match=next(iter(options))):
        build_recipe(data)
