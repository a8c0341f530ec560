"""The plan: rows by index alone, a hash over exactly its ingredients, every fault at once."""

from __future__ import annotations

import copy
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.errors import MissingExtra, RecipeError
from factory.planning import Plan, compile_plan
from factory.prompts import render
from factory.recipe import Recipe, parse_recipe
from factory.types import Variation

RECIPE: dict[str, Any] = {
    "name": "plan-test",
    "seed": 7,
    "rows": 50,
    "models": {
        "writer": {"backend": "echo", "temperature": 0.5},
        "other": {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"},
        "judge": "embedded/tiny",
    },
    "from": {"path": "rows.jsonl", "carry": ["id"]},
    "vary": {
        "topic": {"file": "topics.txt"},
        "level": {"choice": {"easy": 3, "hard": 1}},
        "word": {"depends": {"on": "level", "choices": {"easy": ["cat"], "hard": ["axolotl", "ocelot"]}}},
        "line": {"template": "{{ word }} {{ source.id }} {{ row }}"},
        "city": {"table": "cities.csv"},
    },
    "steps": [
        {
            "name": "draft",
            "prompt": "Write on {{ topic }}, {{ line }}, {{ city.name }}: {{ source.text }}",
            "output": {"title": "str", "body": "str"},
            "generate": {"model": {"writer": 3, "other": 1}, "candidates": 2},
        },
        {"name": "final", "prompt": "Improve {{ draft.title }}"},
    ],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "rows.jsonl").write_text("".join(json.dumps({"id": n, "text": f"t{n}"}) + "\n" for n in range(7)))
    (folder / "topics.txt").write_text("rain\nsnow\nsun\n")
    (folder / "cities.csv").write_text("name,people\nUlm,126\nBonn,336\n")
    return folder


def recipe(base: Path, data: dict[str, Any]) -> Recipe:
    return parse_recipe(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), base=base)


def plan(base: Path, data: dict[str, Any]) -> Plan:
    return compile_plan(recipe(base, data))


def single(**keys: Any) -> dict[str, Any]:
    return {"name": "p", "models": {"writer": "echo"}, "prompt": "hello", **keys}


def changed(data: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    new = copy.deepcopy(data)
    here: Any = new
    for key in path[:-1]:
        here = here.setdefault(key, {}) if isinstance(here, dict) else here[key]
    here[path[-1]] = value
    return new


def faults(base: Path, text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        compile_plan(parse_recipe(text, base=base, file="r.yaml"))
    return caught.value


# Rows


def test_rows_in_any_order_are_the_same_rows(base: Path) -> None:
    for balance in (False, True):
        one, two = (plan(base, {**RECIPE, "balance": balance}) for _ in range(2))
        forward = [one.row(index) for index in range(40)]
        backward = [two.row(index) for index in reversed(range(40))][::-1]
        assert forward == backward
        assert forward[11] == plan(base, {**RECIPE, "balance": balance}).row(11)
        assert [variation.source["id"] for variation in forward if variation.source] == [
            index % 7 for index in range(40)
        ]
        assert list(forward[0].values) == list(RECIPE["vary"])
        for variation in forward:
            json.dumps(dict(variation.values), allow_nan=False)
            assert variation.values["line"] == f"{variation.values['word']} {variation.row % 7} {variation.row}"
    with pytest.raises(ValueError, match="count from 0"):
        one.row(-1)


def test_the_scope_is_what_prompts_render_from(base: Path) -> None:
    one = plan(base, RECIPE)
    variation = one.row(9)
    scope = one.scope(variation)
    assert set(scope) == {*RECIPE["vary"], "row", "source"}
    text = render(one.templates["draft"], scope).messages[0].content
    values = variation.values
    assert text == f"Write on {values['topic']}, {values['line']}, {values['city']['name']}: t2"
    assert "source" not in plan(base, single()).scope(Variation(3, {"a": 1}))
    assert plan(base, single()).scope(Variation(3, {"a": 1})) == {"a": 1, "row": 3}


def test_size_is_one_pass_over_the_source(base: Path) -> None:
    assert plan(base, {**RECIPE, "rows": "all"}).size == 7
    assert plan(base, RECIPE).size is None
    assert plan(base, RECIPE).source_rows == 7
    assert plan(base, single()).source_rows is None


def test_balance_covers_the_axes_evenly(base: Path) -> None:
    rows = [plan(base, {**RECIPE, "balance": True}).row(index) for index in range(12)]
    assert Counter(row.values["topic"] for row in rows) == {"rain": 4, "snow": 4, "sun": 4}
    assert Counter(row.values["word"] for row in rows) == {"cat": 9, "axolotl": 1, "ocelot": 2} or Counter(
        row.values["word"] for row in rows
    ) == {"cat": 9, "axolotl": 2, "ocelot": 1}


# The hash


FREE = [
    (("rows",), 500),
    (("max_planned",), 5000),
    (("budget",), {"usd": 3}),
    (("license",), "cc0-1.0"),
    (("language",), "de"),
    (("description",), "text"),
    (("carry",), ["topic"]),
    (("from", "carry"), []),
    (("keep",), {"top_k": 1, "min_score": 1}),
    (("steps", 0, "score"), [{"length": {"min_words": 3}}]),
    (("filter",), [{"dedup": {"on": "final"}}]),
    (("export",), {"test_fraction": 0.2}),
    (("models", "judge"), "echo"),
    (("models", "spare"), "echo"),
    (("models", "other", "price"), {"input": 1, "output": 2}),
    (("models", "other", "concurrency"), 9),
    (("models", "other", "requests_per_minute"), 10),
    (("models", "other", "tokens_per_minute"), 10),
    (("models", "other", "timeout"), 3),
    (("models", "other", "headers"), {"X-Team": "a"}),
    (("models", "other", "api_key_env"), "OTHER_KEY"),
    (("models", "other", "license"), "mit"),
]
INGREDIENTS = [
    (("name",), "other", "name"),
    (("seed",), 8, "seed"),
    (("balance",), True, "balance"),
    (("vary", "topic"), {"file": "rain\nsnow\nice"}, "vary.topic"),
    (("vary", "level", "choice", "easy"), 4, "vary.level"),
    (("vary", "word", "depends", "choices", "easy"), ["dog"], "vary.word"),
    (("vary", "line", "template"), "{{ word }}", "vary.line"),
    (("vary", "city", "table"), {"path": "cities.csv", "columns": ["name"]}, "vary.city"),
    (("vary", "new"), {"integer": {"min": 1, "max": 2}}, "vary.new"),
    (("from", "limit"), 5, "from"),
    (("steps", 0, "prompt"), "Write", "steps.draft.prompt"),
    (("steps", 1, "prompt"), "Improve this: {{ draft.title }}", "steps.final.prompt"),
    (("steps", 0, "output"), {"title": "str"}, "steps.draft.output"),
    (("steps", 1, "output"), {"text": "str"}, "steps.final.output"),
    (("steps", 0, "generate", "candidates"), 3, "steps.draft.candidates"),
    (("generate",), {"candidates": 2}, "steps.final.candidates"),
    (("steps", 0, "generate", "model"), {"writer": 1, "other": 1}, "steps.draft.models"),
    (("models", "other", "base_url"), "http://127.0.0.1:2/v1", "steps.draft.models"),
    (("models", "other", "identity"), "here", "steps.draft.models"),
    (("models", "other", "max_tokens"), 5, "steps.draft.models"),
    (("models", "other", "reasoning_effort"), "low", "steps.draft.models"),
    (("models", "other", "extra_body"), {"a": 1}, "steps.draft.models"),
    (("steps", 1, "name"), "last", "steps"),
]


@given(st.lists(st.sampled_from(FREE), unique_by=lambda change: change[0]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_no_ingredient_does_not_change_the_hash(base: Path, changes: list[Any]) -> None:
    data = RECIPE
    for path, value in changes:
        data = changed(data, path, value)
    assert plan(base, data).parts == plan(base, RECIPE).parts
    assert plan(base, data).sha == plan(base, RECIPE).sha


@pytest.mark.parametrize(("path", "value", "part"), INGREDIENTS)
def test_each_ingredient_changes_the_hash_and_is_named(base: Path, path: Any, value: Any, part: str) -> None:
    before, after = plan(base, RECIPE), plan(base, changed(RECIPE, path, value))
    assert before.sha != after.sha
    differing = {key for key in {*before.parts, *after.parts} if before.parts.get(key) != after.parts.get(key)}
    assert part in differing
    if path[0] == "models":
        assert differing == {"steps.draft.models"}
    elif part != "steps":
        assert differing <= {part, "steps.draft.models", "steps.final.models"}


@given(st.lists(st.sampled_from(INGREDIENTS), unique_by=lambda change: change[2], min_size=1, max_size=4), st.randoms())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_hash_is_over_the_parts(base: Path, changes: list[Any], random: Any) -> None:
    data, shuffled = RECIPE, list(changes)
    for path, value, _ in changes:
        data = changed(data, path, value)
    one = plan(base, data)
    assert one.sha != plan(base, RECIPE).sha
    assert len(one.sha) == 64
    random.shuffle(shuffled)
    again = RECIPE
    for path, value, _ in shuffled:
        again = changed(again, path, value)
    assert plan(base, again).sha == one.sha


def test_contents_count_and_places_do_not(base: Path, tmp_path: Path) -> None:
    for file in base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    sha = plan(base, RECIPE).sha
    assert plan(tmp_path, RECIPE).sha == sha
    (tmp_path / "topics.txt").rename(tmp_path / "renamed.txt")
    data = changed(RECIPE, ("vary", "topic", "file"), "renamed.txt")
    assert plan(tmp_path, data).sha == sha
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "text": "new"}\n')
    assert plan(tmp_path, data).parts["from"] != plan(base, RECIPE).parts["from"]
    (tmp_path / "p.j2").write_text("Improve {{ draft.title }}")
    data = changed(RECIPE, ("steps", 1, "prompt"), "p.j2")
    before = plan(base, RECIPE).parts["steps.final.prompt"]
    (base / "p.j2").write_text("Improve {{ draft.title }}!")
    assert plan(base, data).parts["steps.final.prompt"] != before


def test_the_name_of_a_role_is_no_ingredient(base: Path) -> None:
    one = plan(base, single(models={"writer": "echo"}))
    two = plan(base, single(models={"author": "echo"}, generate={"model": {"author": 3}}))
    assert one.sha == two.sha


# Faults


def test_every_fault_is_told_at_once_with_its_line(base: Path) -> None:
    text = """\
name: broken
models: {writer: echo}
from:
  path: rows.jsonl
  carry: [idd]
vary:
  topic: {file: topic.txt}
  source: {choice: [1]}
  draft: {choice: [a]}
  level: {choice: [easy, hard, odd]}
  word:
    depends:
      on: level
      choices: {easy: [x], hard: [y]}
  a: {template: "{{ b }}"}
  b: {template: "{{ a }}"}
  c: {template: "{{ levl }}"}
  d: {depends: {on: nothing, choices: {x: [y]}}}
carry: [lvel]
steps:
  - name: draft
    prompt: "{{ topc }} {{ source.txt }}"
  - name: final
    prompt: missing.j2
"""
    error = faults(base, text)
    found = [(place.line, place.key, f"{place.message} | {place.hint}") for place in error.places]

    def told(line: int, *words: str) -> bool:
        return any(at == line and all(word in message for word in words) for at, _, message in found)

    assert told(5, "`idd` (did you mean `id`?)")
    assert told(7, "topic.txt", "did you mean `topics.txt`?")
    assert told(8, "`source` is taken")
    assert told(9, "also the name of a step")
    assert told(12, "`level` can be `odd`")
    assert told(15, "a → b → a")
    assert told(17, "`levl` is undefined", "did you mean `level`?")
    assert told(18, "no axis `nothing`")
    assert told(19, "no axis `lvel`", "did you mean `level`?")
    assert told(22, "topc", "did you mean `topic`?")
    assert told(22, "txt", "did you mean `text`?")
    assert told(24, "missing.j2")
    lines = [place.line for place in error.places if place.line]
    assert lines == sorted(lines)
    assert len(str(error)) < 3000


def test_steps_know_what_came_before_and_nothing_later(base: Path) -> None:
    text = """\
name: order
models: {writer: echo}
steps:
  - {name: one, prompt: "{{ two.two }}"}
  - {name: two, prompt: "{{ one.on }}"}
  - {name: three, prompt: "{{ one.one }} {{ two.two }} {{ row }}"}
"""
    error = faults(base, text)
    assert {place.line for place in error.places} == {4, 5}


def test_rows_all_needs_a_source_and_source_needs_from(base: Path) -> None:
    error = faults(base, "name: x\nmodels: {writer: echo}\nrows: all\nprompt: '{{ source.text }}'\n")
    assert [place.line for place in error.places] == [3, 4]
    assert "add `from:`" in error.places[0].hint


def test_a_text_that_cannot_be_rendered_is_found_before_anything_is_paid(base: Path) -> None:
    text = "name: x\nmodels: {writer: echo}\nfrom: rows.jsonl\nprompt: x\nvary:\n"
    text += "  a: {template: '{{ 1 / (source.id - 5) }}'}\n"
    error = faults(base, text)
    assert error.places[0].line == 6
    assert "row 5" in error.places[0].message


def test_a_parent_value_met_first_in_a_late_row_is_a_clear_error(base: Path) -> None:
    entry = {"on": "t", "choices": {"low": ["x"]}}
    vary = {"t": {"template": "{{ 'low' if row < 5000 else 'high' }}"}, "a": {"depends": entry}}
    one = plan(base, single(vary=vary))
    assert one.row(4999).values["a"] == "x"
    with pytest.raises(RecipeError, match="row 5000: axis `a`: nothing for `t` = `high`"):
        one.row(5000)


def test_an_absent_extra_alone_says_how_to_install_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faker", None)
    with pytest.raises(MissingExtra, match="faker"):
        plan(base, single(vary={"a": {"faker": "name"}}))
    with pytest.raises(RecipeError, match=r"2 faults") as caught:
        plan(base, single(vary={"a": {"faker": "name"}}, prompt="{{ nowhere }}"))
    assert "nowhere" in caught.value.message
    assert "text-data-factory[faker]" in caught.value.message
