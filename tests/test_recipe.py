"""Recipes: the contract's example, every fault at once with its line, overrides, YAML without surprises, the schema."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from factory.errors import FactoryError, RecipeError, UsageError
from factory.planning import compile_plan
from factory.recipe import (
    ModelConfig,
    Overrides,
    Recipe,
    build_recipe,
    json_schema,
    load_recipe,
    parse_recipe,
    shipped,
)
from factory.recipe import document as recipe_yaml
from factory.types import canonical_json

MINIMAL = "name: x\nprompt: hi\nmodels: {writer: echo}\n"

# The example of the public contract, without the plugins that are not built in.
EXAMPLE = """\
name: support-instruct
seed: 7
rows: 10000                      # dataset rows wanted
max_planned: 40000
budget: {usd: 40}
models:
  writer: {backend: openai, model: Qwen/Qwen3-8B, base_url: "http://localhost:8000/v1", temperature: 0.9, max_tokens: 700, concurrency: 64}
  judge:  {backend: vllm, model: Qwen/Qwen3-32B, temperature: 0, price: {input: 0.1, output: 0.3}}
from: {path: data/tickets.jsonl, carry: [id]}
vary:
  topic:   {file: data/topics.txt}
  persona: {choice: {novice: 3, expert: 1}}              # weights
  length:  {choice: [short, medium, long]}
  age:     {normal: {mean: 40, sd: 12, min: 18, max: 90}}
  ticket:  {integer: {min: 1, max: 999999}}
prompt: prompts/instruct.j2
output: {instruction: str, response: str}
generate: {model: writer, candidates: 4}
score:
  - length: {min_words: 20}
keep: {top_k: 1, min_score: 4}
filter:
  - dedup: {on: instruction, threshold: 0.8}
export: {test_fraction: 0.02}
"""  # noqa: E501  (as the contract has it)


def parse(text: str, base: Path = Path("/nonexistent"), **overrides: Any) -> Recipe:
    return parse_recipe(text, base=base, file="r.yaml", overrides=Overrides(**overrides) if overrides else None)


def faults(text: str, base: Path = Path("/nonexistent"), **overrides: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse(text, base, **overrides)
    assert len(str(caught.value)) < 3_000
    return [str(place) for place in caught.value.places]


def recipe(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "prompt": "hi", "models": {"writer": "echo"}, **changes}


# What a recipe says


def test_the_contracts_example() -> None:
    read = parse(EXAMPLE)
    assert (read.name, read.seed, read.rows, read.max_rows_planned()) == ("support-instruct", 7, 10_000, 40_000)
    writer = read.models["writer"]
    assert writer.name == "openai/Qwen/Qwen3-8B"
    assert writer.identity_key == "openai/Qwen/Qwen3-8B@http://localhost:8000/v1"
    assert writer.sampling().body() == {"temperature": 0.9, "max_tokens": 700}
    assert read.models["judge"].price is not None
    assert read.models["judge"].price.output == 0.3
    assert read.vary["persona"].choice == {"novice": 3.0, "expert": 1.0}
    assert {name: axis.kind for name, axis in read.vary.items()} == {
        "topic": "file",
        "persona": "choice",
        "length": "choice",
        "age": "normal",
        "ticket": "integer",
    }
    (step,) = read.step_list()
    assert (step.name, step.models, step.candidates, step.keep.min_score) == ("main", (("writer", 1.0),), 4, 4)
    assert step.output == {"instruction": "str", "response": "str"}
    assert (read.filter[0].name, read.filter[0].options) == ("dedup", {"on": "instruction", "threshold": 0.8})
    assert (read.audit, read.export.test_fraction) == (None, 0.02)
    assert read.place("vary", "age", message="x").line == 14
    assert read.effective_text == read.text == EXAMPLE


@pytest.mark.parametrize(("key", "kind"), [("score", "scorer"), ("filter", "filter"), ("audit", "auditor")])
def test_a_plugin_that_is_not_there_is_told_in_every_list(key: str, kind: str) -> None:
    (told,) = faults(MINIMAL + f"{key}:\n  - no_such_plugin: {{x: 1}}\n")
    assert told.startswith(f"r.yaml:5: {key}.0.no_such_plugin: unknown {kind} `no_such_plugin` (")


def test_a_role_that_a_scorer_asks_for_must_be_there() -> None:
    text = MINIMAL + "score:\n  - no_such_judge: {model: jugde}\n"
    told = faults(text.replace("echo}", "echo, judge: echo}"))
    assert "r.yaml:5: score.0.no_such_judge.model: no model has the role `jugde` (did you mean `judge`?)" in told


def test_defaults() -> None:
    read = parse(MINIMAL)
    assert (read.seed, read.rows, read.max_rows_planned(), read.balance, read.language) == (0, 100, 400, False, "en")
    (step,) = read.step_list()
    assert (step.prompt, step.output, step.parse, step.repair) == ("hi", None, "auto", False)
    assert (step.candidates, step.keep.top_k, step.score) == (1, 1, ())
    assert read.models["writer"].name == read.models["writer"].identity_key == "echo"
    assert parse(MINIMAL + "rows: all\nfrom: data.jsonl\n").max_rows_planned() is None


def test_shorthands_mean_what_they_stand_for() -> None:
    short = parse(
        "name: x\nprompt: hi\nmodels: {writer: openai/a/b}\nbudget: 5\nfrom: data.csv\n"
        "vary: {t: {table: t.csv}, f: {faker: name}}\nscore: [length]\n"
    )
    long = parse(
        "name: x\nprompt: hi\nmodels: {writer: {backend: openai, model: a/b}}\nbudget: {usd: 5}\n"
        "from: {path: data.csv}\nvary: {t: {table: {path: t.csv}}, f: {faker: {provider: name}}}\n"
        "score: [{length: {}}]\n"
    )
    assert short.model_dump() == long.model_dump()
    assert short.models["writer"].model == "a/b"


def test_a_model_may_be_named_in_place() -> None:
    read = parse("name: x\nprompt: hi\ngenerate: {model: {embedded/tiny: 3, echo: 1}}\n")
    assert read.models["embedded/tiny"].model == "tiny"
    assert read.step_list()[0].models == (("embedded/tiny", 3.0), ("echo", 1.0))
    (told,) = faults("name: x\nprompt: hi\nmodels: {}\ngenerate: {model: embeded/tiny}\n")
    assert "there is no model" in told


def test_steps_take_the_recipes_generate_and_only_the_last_its_keep() -> None:
    read = parse(
        "name: x\nmodels: {writer: echo, other: embedded/tiny}\ngenerate: {candidates: 4}\nkeep: {top_k: 2}\nsteps:\n"
        "  - {name: plan, prompt: a, generate: {model: other}}\n  - {name: draft, prompt: b, keep: {top_k: 3}}\n"
        "  - {name: final, prompt: '{{ draft.draft }}', output: {t: str}, score: [length]}\n"
    )
    plan, draft, final = read.step_list()
    assert (plan.models, plan.candidates, plan.keep.top_k) == ((("other", 1.0),), 1, 1)
    assert (draft.models, draft.candidates, draft.keep.top_k) == ((("writer", 1.0),), 4, 3)
    assert (final.keep.top_k, final.output, final.score[0].name) == (2, {"t": "str"}, "length")


def test_identity_and_sampling_of_models() -> None:
    assert ModelConfig(backend="openai", model="m").identity_key == "openai/m@default"
    same = {ModelConfig(backend="openai", model="m", base_url=f"http://h:1/v1{end}").identity_key for end in ("", "/")}
    assert same == {"openai/m@http://h:1/v1"}
    assert ModelConfig(backend="embedded", model="tiny").identity_key == "embedded/tiny"
    assert ModelConfig(backend="openai", model="m", base_url="http://h/v1", identity="mine").identity_key == "mine"
    model = ModelConfig(backend="openai", model="m", stop="END", top_k=5, reasoning_effort="low", extra_body={"a": 1})
    assert model.sampling().body() == {"stop": ["END"], "top_k": 5, "reasoning_effort": "low", "a": 1}


def test_a_pydantic_class_is_an_output() -> None:
    class Answer(BaseModel):
        text: str
        score: int

    built = build_recipe(recipe(output=Answer))
    assert built.output is not None
    assert set(built.output["properties"]) == {"text", "score"}
    assert parse(built.effective_text).output == built.output


def test_a_dict_is_read_like_a_file() -> None:
    import datetime

    built = build_recipe(recipe(vary={"day": {"choice": (datetime.date(2024, 5, 1), 2)}}))
    assert built.vary["day"].choice == ["2024-05-01", 2]
    with pytest.raises(RecipeError, match="a set cannot stand in a recipe"):
        build_recipe(recipe(vary={"day": {"choice": {1, 2}}}))
    with pytest.raises(RecipeError, match=r"<recipe>: sede: unknown key"):
        build_recipe(recipe(sede=1))


def test_a_recipe_is_frozen_and_its_dump_is_plain_and_stable() -> None:
    read = parse(EXAMPLE)
    with pytest.raises(ValueError, match="frozen"):
        read.seed = 5  # type: ignore[misc]
    dumped = read.model_dump(mode="json", by_alias=True)
    assert canonical_json(dumped) == canonical_json(parse(EXAMPLE).model_dump(mode="json", by_alias=True))
    assert "from" in dumped
    assert "license" not in dumped, "what is not set is not there, so that a new key changes no hash"
    assert dumped["vary"]["length"] == {"choice": ["short", "medium", "long"]}


def test_the_dump_tells_numbers_from_texts_and_keeps_the_order_of_weights() -> None:
    texts = ["{1: 2, 2: 1}", "{'1': 2, '2': 1}", "{2: 1, 1: 2}", "[[1, 2], [2, 1]]"]
    dumps = {canonical_json(parse(MINIMAL + f"vary: {{a: {{choice: {t}}}}}").model_dump(mode="json")) for t in texts}
    assert len(dumps) == len(texts)
    case = "vary: {{p: {{choice: [1]}}, a: {{depends: {{on: p, choices: {{{}: [x]}}, default: [y]}}}}}}"
    dumps = {canonical_json(parse(MINIMAL + case.format(key)).model_dump(mode="json")) for key in ("1", "'1'")}
    assert len(dumps) == 2


# YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("1:30", "1:30"),
        ("2024-05-01", "2024-05-01"),
        ("!!timestamp 2024-05-01", "2024-05-01"),
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("007", "007"),
        ("10_000", 10_000),
        ("0x1F", 31),
        ("0o17", 15),
        ("-5", -5),
        ("5.0.1", "5.0.1"),
        ("~", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
    ],
)
def test_choice_values_are_what_they_look_like(text: str, value: object) -> None:
    read = parse(MINIMAL + f"vary: {{a: {{choice: [{text}, z]}}}}")
    assert isinstance(read.vary["a"].choice, list)
    assert read.vary["a"].choice[0] == value
    assert type(read.vary["a"].choice[0]) is type(value)


def test_on_is_a_key() -> None:
    read = parse(MINIMAL + "filter:\n  - dedup: {on: text}\n")
    assert read.filter[0].options == {"on": "text"}


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12),
    st.sampled_from(
        ["no", "on", "1e-3", "007", "1:30", "2024-01-01", "~", "<<", "=", ".5", "0o7", "1_0", "", "a\nb", "x: y"]
    ),
)
_DATA = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abé1~.", max_size=4), inner, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(_DATA)
def test_what_is_dumped_is_read_back(data: object) -> None:
    document = recipe_yaml.read(recipe_yaml.dump(data), "f")
    assert document.faults == ()
    assert document.data == data
    assert canonical_json(document.data) == canonical_json(data)


@settings(max_examples=200, deadline=None)
@given(_DATA)
def test_json_is_read_as_json(data: object) -> None:
    text = json.dumps(data, ensure_ascii=False)
    document = recipe_yaml.read(text, "f")
    assert document.faults == ()
    assert document.data == data


def test_other_yaml_readers_agree_on_what_is_dumped() -> None:
    data = {
        "a": ["no", "on", "1:30", "007", "2024-01-01", "1e-3", "~", "x: y", "5", 5, 0.5, True, None],
        "on": {"1": 2},
    }
    assert yaml.safe_load(recipe_yaml.dump(data)) == data


def test_merge_keys_and_anchors() -> None:
    document = recipe_yaml.read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {y: 4, <<: [*a, {z: 5}]}\n", "f")
    assert document.data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 4, "z": 5}}


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: x\nvary: [a, b\n", 2, "not YAML"),
        ("name: x\nprompt: a: b\n", 2, "needs quotes"),
        ("name: x\n\tseed: 1\n", 2, "not tabs"),
        ("name: x\nprompt: {{ a }} b\n", 2, "`{{` needs quotes"),
        ("name: x\nprompt: {{ a }}\n", 2, "a key must be plain text"),
        ("name: 'x\n", 1, "not closed"),
        ("name: x\n---\nname: y\n", 2, "one document"),
        ("name: x\nseed: @5\n", 2, "not YAML"),
        ("a: \x00", 1, "not YAML"),
        ("- a\n- b\n", 1, "not a list"),
        ("# nothing\n\njust text\n", 3, "not the text `just text`"),
        ("", None, "is empty"),
        ("# only a comment\n", None, "is empty"),
        ("x: " + "[" * 50_000, 1, "too deeply nested"),
        ("x: &x [*x]\nname: y", 1, "aliases repeat it too often"),
        (_BOMB, 6, "aliases repeat it too often"),
        ("name: x\nseed: !!python/object/apply:os.system [ls]\n", 2, "seed"),
        ("name: x\nseed: .nan\n", 2, "not a finite number"),
        ("name: x\nseed: !!binary aGk=\n", 2, "not allowed here"),
        ("name: x\nseed: !!timestamp 2024-13-01\n", 2, "no date"),
    ],
)
def test_what_is_not_a_recipe(text: str, line: int | None, words: str) -> None:
    told = faults(text)
    where = f"r.yaml:{line}:" if line else "r.yaml:"
    assert any(one.startswith(where) and words in one for one in told), told


def test_duplicate_keys_are_told_with_both_lines() -> None:
    told = faults(
        "name: x\nprompt: hi\nmodels: {writer: echo}\nseed: 1\nseed: 2\nvary:\n  a: {choice: [1]}\n  a: {choice: [2]}\n"
    )
    assert told == [
        "r.yaml:5: seed: the key `seed` is there twice (first on line 4: keep one)",
        "r.yaml:8: vary.a: the key `a` is there twice (first on line 7: keep one)",
    ]


# Faults


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("sede: 1", "5: sede: unknown key `sede` (did you mean `seed`?)"),
        ("keep: {topk: 1}", "5: keep.topk: unknown key `topk` (did you mean `top_k`?)"),
        ("temperature: 1", "5: temperature: unknown key `temperature` (`temperature` belongs under `models: ROLE:`)"),
        ("candidates: 4", "5: candidates: unknown key `candidates` (`candidates` belongs under `generate:`)"),
        ("rows: 0", "5: rows: must be at least 1, not 0"),
        ("rows: many", "5: rows: must be a whole number, or `all` for one pass over `from:`, not the text `many`"),
        ("rows: 1.5", "5: rows: must be a whole number, or `all` for one pass over `from:`, not 1.5"),
        ("rows: true", "5: rows: must be a whole number, or `all` for one pass over `from:`, not true"),
        ("seed: '5'", "5: seed: must be a whole number, not the text `5` (remove the quotes)"),
        ("seed: [1]", "5: seed: must be a whole number, not a list"),
        ("seed:", "5: seed: must be a whole number, not nothing"),
        ("description: 5", "5: description: must be text, not 5 (put it in quotes)"),
        ("balance: maybe", "5: balance: must be true or false, not the text `maybe`"),
        ("carry: topic", "5: carry: must be a list, not the text `topic` (write [topic])"),
        ("parse: jsn", "5: parse: must be one of auto, json, sections, not the text `jsn` (did you mean `json`?)"),
        ("budget: {usd: 0}", "5: budget.usd: must be greater than 0, not 0"),
        ("budget: {usd: forty}", "5: budget.usd: must be a number, not the text `forty`"),
        ("budget: {}", "5: budget.usd: is missing (for example {usd: 5})"),
        ("keep: 3", "5: keep: must be a mapping (`key: value` lines), not 3"),
        ("generate: {candidates: 0}", "5: generate.candidates: must be at least 1, not 0"),
        ("generate: {candidates: 2000}", "5: generate.candidates: must be at most 1024, not 2000"),
        ("generate: {model: {writer: 0}}", "5: generate.model: the weights sum to 0"),
        ("generate: {model: wrtr}", "5: generate.model: no model has the role `wrtr` (did you mean `writer`?)"),
        ("generate: {model: {writer: 1, othr: 1}}", "5: generate.model.othr: no model has the role `othr`"),
        ("export: {test_fraction: 1}", "5: export.test_fraction: must be less than 1, not 1"),
        ("steps: []", "5: steps: must not be empty"),
        ("output: [a]", "5: output: must be a mapping of columns to types, or a JSON Schema, not a list"),
        ("output: {}", "5: output: names no column"),
        ("output: {meta: str}", "5: output.meta: `meta` is the factory's own column"),
        ("keep: {top_k: 2}", "5: keep.top_k: `top_k: 2` needs at least as many candidates, there are 1"),
        ("max_planned: 5", "5: max_planned: 5 planned rows cannot give 100 rows (at least 100, or leave it out)"),
        ("vary: {a: {choise: [1]}}", "5: vary.a.choise: `choise` is no kind of axis (did you mean `choice`?)"),
        ("vary: {a: [1, 2]}", "5: vary.a: must be a mapping (`key: value` lines), not a list"),
        ("vary: {a: {}}", "5: vary.a: an axis needs a kind (one of: choice, file"),
        ("vary: {a: {choice: [1], file: x.txt}}", "5: vary.a: an axis has one kind, this one has `choice` and `file`"),
        ("vary: {a: {choice: []}}", "5: vary.a.choice: is empty"),
        ("vary: {a: {choice: {x: 0, y: 0}}}", "5: vary.a.choice: the weights sum to 0 (give at least one choice"),
        ("vary: {a: {choice: {x: 1, y: -1}}}", "5: vary.a.choice.y: the weight of `y` is -1 (weights are 0 or more)"),
        ("vary: {a: {choice: {x: much}}}", "5: vary.a.choice.x: the weight of `x` must be a number"),
        ("vary: {a: {integer: {min: 5, max: 2}}}", "5: vary.a.integer.min: `min` (5) is above `max` (2)"),
        ("vary: {a: {normal: {mean: 1}}}", "5: vary.a.normal.sd: is missing"),
        ("vary: {a: {date: {start: 2024-02-30, end: x}}}", "5: vary.a.date.start: `2024-02-30` is no date"),
        ("score: [lenght]", "5: score.0: unknown scorer `lenght` (did you mean `length`?)"),
        (
            "score: [{length: {min_wrds: 3}}]",
            "5: score.0.length.min_wrds: unknown key `min_wrds` (did you mean `min_words`?)",
        ),
        (
            "score: [{length: {min_words: three}}]",
            "5: score.0.length.min_words: must be a whole number, not the text `three`",
        ),
        ("score: [{length: {weight: -1}}]", "5: score.0.length.weight: must be at least 0, not -1"),
        ("score: [{length: 5}]", "5: score.0.length: the options of `length` must be a mapping"),
        ("score: [{length: {}, refusal: {}}]", "5: score.0: must be a name, or one name with its options"),
        ("filter: [{dedup: {on: texx}}]", "5: filter.0.dedup.on: no column `texx` (did you mean `text`?)"),
        ("filter: [{dedup: {on: text, weight: 1}}]", "5: filter.0.dedup.weight: unknown key `weight`"),
        ("filter: [dedupe]", "5: filter.0: unknown filter `dedupe` (did you mean `dedup`?)"),
        ("from: {pth: x}", "5: from.pth: unknown key `pth` (did you mean `path`?)"),
        (
            "from: {path: x.txt, chunk: {words: 5, overlap: 5}}",
            "5: from.chunk.overlap: `overlap` (5) must be less than",
        ),
        ("output: {id: str}\nfrom: {path: x.csv, carry: [id]}", "6: from.carry: there is a column `id` already"),
    ],
)
def test_each_fault_is_told_in_plain_words_at_its_line(more: str, expected: str) -> None:
    told = faults(f"name: x\nprompt: hi\nmodels:\n  writer: echo\n{more}\n")
    assert any(one.startswith(f"r.yaml:{expected}") for one in told), told


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-5-mini", "writer: `gpt-5-mini` is no BACKEND/MODEL (write BACKEND/MODEL, for example openai/gpt-5-mini)"),
        ("opnai/x", "writer: unknown backend `opnai` (did you mean `openai`?)"),
        ("{backend: opnai, model: x}", "writer.backend: unknown backend `opnai` (did you mean `openai`?)"),
        ("embedded", "writer: the backend `embedded` needs a `model` (for example embedded/tiny)"),
        ("{model: x}", "writer.backend: is missing"),
        ("{backend: echo, temprature: 1}", "writer.temprature: unknown key `temprature` (did you mean `temperature`?)"),
        ("{backend: echo, temperature: hot}", "writer.temperature: must be a number, not the text `hot`"),
        ("{backend: echo, max_tokens: 0}", "writer.max_tokens: must be at least 1, not 0"),
        ("{backend: echo, top_p: 1.5}", "writer.top_p: must be at most 1, not 1.5"),
        ("{backend: echo, price: {input: 1}}", "writer.price.output: is missing"),
        ("{backend: echo, price: {input: -1, output: 1}}", "writer.price.input: must be at least 0, not -1"),
        ("{backend: echo, extra_body: {n: 4}}", "writer.extra_body.n: `n` is set by the factory itself"),
        ("{backend: echo, base_url: 'localhost:80'}", "writer.base_url: `localhost:80` is no URL"),
        ("[1]", "writer: must be a mapping (`key: value` lines), not a list"),
    ],
)
def test_faults_of_models(model: str, expected: str) -> None:
    told = faults(f"name: x\nprompt: hi\nmodels:\n  writer: {model}\n")
    assert any(one.startswith(f"r.yaml:4: models.{expected}") for one in told), told


@pytest.mark.parametrize(
    "model",
    [
        "{backend: openai, model: m, api_key_env: sk-SECRET-1}",
        "{backend: openai, model: m, headers: {Authorization: Bearer SECRET}}",
        "{backend: openai, model: m, headers: {X-API-Key: SECRET}}",
        "{backend: openai, model: m, base_url: 'https://user:SECRET@host/v1'}",
    ],
)
def test_keys_are_refused_and_not_repeated(model: str) -> None:
    (told,) = faults(f"name: x\nprompt: hi\nmodels:\n  writer: {model}\n")
    assert "SECRET" not in told
    assert "environment" in told or "never stands in a recipe" in told


def test_a_model_that_nobody_asks_for_may_name_an_absent_backend() -> None:
    assert parse(MINIMAL.replace("echo}", "echo, judge: vllm/Qwen/Qwen3-8B}")).models["judge"].backend == "vllm"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\nmodels: {writer: echo}\n", "r.yaml:1: `prompt` is missing"),
        ("prompt: x\nmodels: {writer: echo}\n", "r.yaml:1: name: is missing (for example `name: my-dataset`)"),
        ("name: a b\nprompt: x\nmodels: {writer: echo}\n", "r.yaml:1: name: `a b` is no name"),
        ("name: ../a\nprompt: x\nmodels: {writer: echo}\n", "r.yaml:1: name: `../a` is no name"),
        ("name: x\nprompt: x\n", "r.yaml:1: models: there is no model (write `models: {writer: embedded/tiny}`)"),
        ("name: x\nprompt: x\nmodels: {teacher: echo}\n", "r.yaml:3: models: no model has the role `writer`, which"),
        (MINIMAL + "steps: [{name: a, prompt: b}]\n", "r.yaml:2: prompt: `prompt` and `steps` exclude each other"),
        (
            "name: x\nmodels: {writer: echo}\noutput: {a: str}\nsteps: [{name: a, prompt: b}]\n",
            "r.yaml:3: output: `output` and `steps` exclude each other (move `output` into a step)",
        ),
        (
            "name: x\nmodels: {writer: echo}\nsteps:\n  - {name: a, prompt: b}\n  - {name: a, prompt: b}\n",
            "r.yaml:5: steps.1.name: two steps are called `a`",
        ),
        (
            "name: x\nmodels: {writer: echo}\nsteps:\n  - {name: source, prompt: b}\n",
            "r.yaml:4: steps.0.name: `source` is in scope of every prompt already",
        ),
        (
            "name: x\nmodels: {writer: echo}\nsteps:\n  - {name: a b, prompt: b}\n",
            "r.yaml:4: steps.0.name: `a b` is no name for a step",
        ),
        (
            "name: x\nmodels: {writer: echo}\nsteps:\n  - name: a\n    prompt: b\n    score:\n      - lenght\n",
            "r.yaml:7: steps.0.score.0: unknown scorer `lenght`",
        ),
        ("name: x\nprompt: 5\nmodels: {writer: echo}\n", "r.yaml:2: prompt: must be text or a list of messages, not 5"),
        (
            "name: x\nprompt:\n  - {role: usr, content: x}\nmodels: {writer: echo}\n",
            "r.yaml:3: prompt.0.role: must be one of system, user, assistant, not the text `usr` (did",
        ),
    ],
)
def test_faults_of_the_whole(text: str, expected: str) -> None:
    told = faults(text)
    assert any(one.startswith(expected) for one in told), told


def test_every_fault_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "instruct.j2").write_text("ok")
    text = (
        "name: x\n"
        "sede: 1\n"
        "rows: 0\n"
        "models:\n"
        "  writer: {backend: echo, temprature: 1}\n"
        "vary:\n"
        "  a: {choice: {x: 0}}\n"
        "  b: {depends: {on: zz, choices: {p: [q]}}}\n"
        "  c: {file: gone.txt}\n"
        "prompt: prompts/instrct.j2\n"
        "carry: [d]\n"
        "generate: {model: wrter}\n"
        "score:\n"
        "  - lenght\n"
        "  - length: {min_words: x}\n"
        "rows: 5\n"
    )
    told = faults(text, tmp_path)
    lines = [int(one.split(":")[1]) for one in told]
    assert lines == sorted(lines)
    assert lines == [2, 3, 5, 7, 8, 9, 10, 11, 12, 14, 15, 16]
    assert "did you mean `prompts/instruct.j2`?" in told[6]


def test_prompts_and_axes_are_told_with_the_other_faults_but_not_for_what_hangs_on_them(tmp_path: Path) -> None:
    (tmp_path / "p.j2").write_text("{{ a }} {{ b }} {{ source.x }}\n{{ topik }}")
    text = (
        "name: x\nmodels: {writer: echo}\nprompt: p.j2\nfrom: {path: 5}\n"
        "vary:\n  a: {choise: [1], fle: x}\n  b: {depends: {on: a, choices: {1: [2]}}}\n  topic: {choice: [1]}\n"
    )
    told = faults(text, tmp_path)
    assert [one.split(": ", 1)[0] for one in told] == ["r.yaml:4", "r.yaml:6", "r.yaml:6", f"{tmp_path / 'p.j2'}:2"]
    assert told[-1].endswith("`topik` is undefined (did you mean `topic`?)")


def test_a_prompts_faults_have_their_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "p.j2").write_text("line one\nabout {{ topik }}\n")
    read = parse("name: x\nprompt: p.j2\nmodels: {writer: echo}\nvary: {topic: {choice: [a]}}\n", tmp_path)
    with pytest.raises(RecipeError) as caught:
        compile_plan(read)
    assert [str(place) for place in caught.value.places] == [
        f"{tmp_path / 'p.j2'}:2: `topik` is undefined (did you mean `topic`?)"
    ]


def test_many_long_faults_fit_on_a_screen() -> None:
    long = "k" * 300
    text = MINIMAL + "".join(f"{long}{number}: {'v' * 500}\n" for number in range(40))
    told = faults(text)
    assert len(told) == 40
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, base=Path(), file="/very/long" * 30 + "/r.yaml")
    assert len(str(caught.value)) < 3_000
    assert "… and 28 more" in str(caught.value)
    assert str(caught.value).count("\n") == 13


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(-2, 2)
    | st.sampled_from(["", "x", "echo", "a/b", "{{ z", "all"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["x", "choice", "on", "model", "length", "depends", "choices"]), inner, max_size=2
        )
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*(field.alias or name for name, field in Recipe.model_fields.items())]), _JUNK, max_size=5
    )
)
def test_whatever_stands_in_a_recipe_it_is_read_or_told(changes: dict[str, Any]) -> None:
    text = recipe_yaml.dump({**recipe(), **changes})
    try:
        read = parse(text)
    except RecipeError as error:
        assert error.places
        assert all(place.file == "r.yaml" and place.message for place in error.places)
        assert len(str(error)) < 3_000
    else:
        assert read.step_list()
        canonical_json(read.model_dump(mode="json", by_alias=True))
        assert parse(read.effective_text).model_dump() == read.model_dump()


# Files


def test_a_shipped_recipe_is_found_by_name_and_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read = load_recipe("word-problems")
    assert read.base == shipped("recipes")
    (tmp_path / "word-problems").write_text(MINIMAL)
    assert load_recipe("word-problems").base == tmp_path
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "r.yaml").write_text(MINIMAL + "sede: 1\n")
    with pytest.raises(RecipeError, match=re.escape(os.path.join("sub", "r.yaml") + ":4: sede")):
        load_recipe(Path("sub/r.yaml"))


def test_every_shipped_recipe_loads() -> None:
    paths = sorted(shipped("recipes").glob("*.yaml"))
    assert len(paths) >= 3
    for path in paths:
        assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("word-problem", "no such file `word-problem`", "did you mean the shipped recipe `word-problems`?"),
        ("word-problems.yaml", "no such file `word-problems.yaml`", "did you mean the shipped recipe `word-problems`?"),
        ("mine.yml", "no such file `mine.yml`", "did you mean `mine.yaml`?"),
        ("mine", "no such file `mine`", "did you mean `mine.yaml`?"),
        ("sub/oter.yaml", "no such file `sub/oter.yaml`", "did you mean `sub/other.yaml`?"),
        ("zzzzz", "no such file `zzzzz`", "shipped recipes: "),
        ("sub", "`sub` is a folder", "name a recipe in it: other.yaml"),
    ],
)
def test_a_missing_file_says_what_is_near(
    name: str, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for path in ("mine.yaml", "sub/other.yaml"):
        (tmp_path / path).write_text(MINIMAL)
    with pytest.raises(UsageError) as caught:
        load_recipe(name)
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        load_recipe(tmp_path / "r.yaml")


# Overrides


def test_rows_seed_and_budget() -> None:
    read = parse(EXAMPLE, rows=5, seed=1, budget=2.5)
    assert (read.rows, read.seed, read.budget.usd if read.budget else None) == (5, 1, 2.5)
    assert parse(MINIMAL + "from: x.csv\n", rows="all").rows == "all"
    assert faults(MINIMAL, rows=0) == ["--rows 0: rows: must be at least 1, not 0"]
    assert faults(MINIMAL, budget=-1.0) == ["--budget -1: budget.usd: must be greater than 0, not -1.0"]


def test_a_model_is_replaced_with_its_address_price_identity_and_licence_but_keeps_its_sampling() -> None:
    text = (
        "name: x\nprompt: hi\nmodels:\n  writer: {backend: openai, model: a, base_url: 'http://h:1/v1', identity: i,"
        " price: {input: 1, output: 1}, license: mit, api_key_env: OTHER_KEY, headers: {X-Team: t}, temperature: 0.5,"
        " max_tokens: 7, concurrency: 3, timeout: 9}\n"
    )
    writer = parse(text, models=(("writer", "openai/gpt-5-mini"),)).models["writer"]
    assert writer == ModelConfig(
        backend="openai", model="gpt-5-mini", temperature=0.5, max_tokens=7, concurrency=3, timeout=9.0
    )
    own = "name: x\nprompt: hi\nmodels: {writer: {backend: openai, model: a, api_key_env: MINE}}\n"
    assert parse(own, models=(("writer", "openai/b"),)).models["writer"].api_key_env == "MINE"
    assert parse(MINIMAL, models=(("writer", "embedded/tiny"),)).models["writer"].name == "embedded/tiny"
    assert parse("name: x\nprompt: hi\n", models=(("writer", "echo"),)).models["writer"].name == "echo"
    place = parse(
        MINIMAL,
        models=(("writer", "openai/m"),),
        sets=(("models.writer.base_url", "http://h:2/v1"),),
    ).models["writer"]
    assert place.identity_key == "openai/m@http://h:2/v1"


@pytest.mark.parametrize(
    ("role", "model", "expected"),
    [
        ("writter", "echo", "--model writter=echo: models.writter: no role `writter` (did you mean `writer`?)"),
        ("writer", "opnai/x", "--model writer=opnai/x: models.writer.backend: unknown backend `opnai` (did you mean"),
        ("writer", "embedded", "--model writer=embedded: models.writer: the backend `embedded` needs a `model`"),
    ],
)
def test_faults_of_replaced_models(role: str, model: str, expected: str) -> None:
    (told,) = faults(MINIMAL, models=((role, model),))
    assert told.startswith(expected)


@pytest.mark.parametrize(
    ("key", "value", "look"),
    [
        ("generate.candidates", "4", lambda r: r.generate.candidates == 4),
        ("keep.min_score", "0.5", lambda r: r.keep.min_score == 0.5),
        ("models.writer.temperature", "1e-1", lambda r: r.models["writer"].temperature == 0.1),
        ("models.writer.stop", "[a, b]", lambda r: r.models["writer"].stop == ["a", "b"]),
        ("models.other", "openai/x", lambda r: r.models["other"].model == "x"),
        ("score.0.length.min_words", "3", lambda r: r.score[0].options == {"min_words": 3}),
        ("score.length.min_words", "3", lambda r: r.score[0].options == {"min_words": 3}),
        ("score.length.weight", "2", lambda r: r.score[0].weight == 2),
        ("score.1", "repetition", lambda r: [s.name for s in r.score] == ["length", "repetition"]),
        ("score.length", "null", lambda r: r.score == []),
        ("filter.0", "{unique: {on: text}}", lambda r: r.filter[0].name == "unique"),
        ("vary.topic.choice.a", "5", lambda r: r.vary["topic"].choice == {"a": 5.0, "b": 1.0}),
        ("vary.topic", "null", lambda r: r.vary == {}),
        ("budget.usd", "3", lambda r: r.budget.usd == 3),
        ("prompt", "'no'", lambda r: r.prompt == "no"),
        ("description", "no", lambda r: r.description == "no"),
        ("from.limit", "3", lambda r: r.from_.limit == 3),
    ],
)
def test_set_reaches_every_key(key: str, value: str, look: Any) -> None:
    text = (
        "name: x\nprompt: hi\nmodels: {writer: embedded/tiny}\nbudget: 1\nscore: [length]\nfrom: a.csv\n"
        "vary: {topic: {choice: {a: 1, b: 1}}}\n"
    )
    read = parse(text, sets=((key, value),))
    assert look(read)
    again = parse(read.effective_text)
    assert again.model_dump() == read.model_dump()


def test_set_reaches_steps_by_name() -> None:
    text = "name: x\nmodels: {writer: echo}\nsteps:\n  - {name: a, prompt: b}\n  - {name: c, prompt: d}\n"
    read = parse(text, sets=(("steps.c.generate.candidates", "3"), ("steps.0.prompt", "e")))
    assert [(step.prompt, step.candidates) for step in read.step_list()] == [("e", 1), ("d", 3)]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("rwos", "5", "rwos: unknown key `rwos` (did you mean `rows`?)"),
        (
            "models.writer.temprature",
            "5",
            "models.writer.temprature: unknown key `temprature` (did you mean `temperature`?)",
        ),
        ("name.x", "5", "name.x: `name` is a plain value and has no key `x`"),
        ("score.3", "length", "score.3: `score` has 0 items, counted from 0 (write score.0 to add one)"),
        ("score.length.x", "1", "score.length.x: `score` has no item `length` (write score.0=length to add it)"),
        ("rows", "[1", "rows: not YAML"),
        ("rows", "lots", "rows: must be a whole number"),
        ("a..b", "1", "a..b: `a..b` is no key"),
        ("generate.candidates", "0", "generate.candidates: must be at least 1, not 0"),
    ],
)
def test_faults_of_set_name_the_option(key: str, value: str, expected: str) -> None:
    (told,) = faults(MINIMAL, sets=((key, value),))
    assert told.startswith(f"--set {key}={value}: {expected}")


def test_overrides_follow_each_other() -> None:
    first = parse(EXAMPLE).override(Overrides(rows=5))
    second = first.override(Overrides(seed=9, sets=(("keep.min_score", "1"),)))
    assert (second.rows, second.seed, second.keep.min_score) == (5, 9, 1)
    assert second.model_dump() == parse(EXAMPLE, rows=5, seed=9, sets=(("keep.min_score", "1"),)).model_dump()
    assert first.text == EXAMPLE
    with pytest.raises(RecipeError, match="--rows 0"):
        second.override(Overrides(rows=0))


# The schema


def _valid(data: Mapping[str, Any]) -> bool:
    return not list(jsonschema.Draft202012Validator(json_schema()).iter_errors(data))


def test_the_schema_is_one_and_takes_the_example_and_the_shipped_recipes() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(recipe_yaml.read(EXAMPLE, "").data)) == []
    for path in shipped("recipes").glob("*.yaml"):
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(recipe_yaml.read(path.read_text(), "").data))
        assert errors == [], path
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"rows": "all", "from": "x.csv"}, True),
        ({"rows": 0}, False),
        ({"rows": "many"}, False),
        ({"sede": 1}, False),
        ({"name": "a b"}, False),
        ({"models": {"writer": "embedded/tiny", "judge": {"backend": "openai", "model": "m", "stop": "x"}}}, True),
        ({"models": {"writer": {"model": "x"}}}, False),
        ({"budget": 5}, True),
        ({"budget": {"usd": 0}}, False),
        ({"vary": {"a": {"choice": {"x": 1}}, "b": {"table": "t.csv"}, "c": {"faker": "name"}}}, True),
        ({"vary": {"a": {"choice": [1], "file": "x.txt"}}}, False),
        ({"vary": {"a": {}}}, False),
        ({"vary": {"a": {"choice": {"x": -1}}}}, False),
        ({"vary": {"a": {"choise": [1]}}}, False),
        ({"vary": None, "score": None}, True),
        ({"score": ["length", {"length": {"min_words": 3, "weight": 1}}, {"length": None}]}, True),
        ({"score": [{"length": {"min_wrds": 3}}]}, False),
        ({"score": ["lenght"]}, False),
        ({"filter": [{"dedup": {"weight": 1}}]}, False),
        ({"generate": {"model": {"writer": 3}, "candidates": 4}}, True),
        ({"generate": {"candidates": 0}}, False),
        ({"prompt": [{"role": "user", "content": "x"}]}, True),
        ({"prompt": [{"role": "usr", "content": "x"}]}, False),
        ({"steps": [{"name": "a", "prompt": "b"}]}, False),
        ({"output": {"a": "str"}}, True),
        ({"output": {}}, False),
        ({"export": {"test_fraction": 1}}, False),
    ],
)
def test_the_schema_and_the_loader_agree(changes: dict[str, Any], valid: bool) -> None:
    data = recipe(**changes)
    assert _valid(data) is valid
    try:
        build_recipe(data)
    except FactoryError:
        assert not valid
    else:
        assert valid
