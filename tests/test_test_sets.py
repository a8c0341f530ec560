"""Test sets: the registry, rows out of every usual shape, files, the Hub, and what is kept on this machine."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmark_rows import ROWS
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.decontamination.types import TestRow, TestSet
from factory.errors import UsageError
from factory.test_sets import cache, entries, fetching, find, index_of, of_suite, read_test_set, suites
from factory.test_sets.entries import ALL_CONFIGS, Entry, Fields, make_fields, plain
from factory.test_sets.naming import guess_fields
from factory.test_sets.paths import open_scopes, read_in, read_path
from factory.test_sets.reading import keep, locate
from factory.test_sets.shaping import shape_rows

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real test sets is not on this machine")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FACTORY_CACHE", str(folder))
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- the registry


def test_the_registry_is_whole() -> None:
    known = entries()
    assert len(known) >= 250
    taken: dict[str, str] = {}
    for entry in known:
        for name in (entry.name, *entry.aliases):
            assert plain(name) == name, f"{entry.name}: `{name}` is written in lower case with hyphens"
            assert name not in taken, f"{entry.name}: `{name}` is {taken.get(name)} too"
            taken[name] = entry.name
        assert cache.check_name(entry.name) == entry.name
        assert bool(entry.hub) != bool(entry.page), f"{entry.name}: on the Hub, or on a page"
        assert not entry.hub or re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", entry.hub)
        assert not entry.page or entry.page.startswith("https://")
        assert entry.fields.question or entry.fields.turns, entry.name
        assert entry.suites and set(entry.suites) <= set(suites()), entry.name
        assert entry.splits and entry.title and re.fullmatch(r"[a-z]{2,3}", entry.language), entry.name
        assert entry.rows is None or entry.rows > 0
        sources = "lm-eval|lighteval|opencompass|inspect-evals|card|memory"
        assert re.fullmatch(rf"({sources})(; (fields|Hub id) from memory)?", entry.checked), entry.name
        assert entry.configs == ALL_CONFIGS or "*" not in entry.configs


def test_every_suite_has_its_test_sets() -> None:
    for suite in suites():
        assert of_suite(suite), suite
    first = {"arc-challenge", "hellaswag", "mmlu", "truthfulqa", "winogrande", "gsm8k"}
    assert {entry.name for entry in of_suite("open-llm-leaderboard-v1")} == first
    second = {entry.name for entry in of_suite("open-llm-leaderboard-v2")}
    assert {"ifeval", "bbh", "math-lighteval", "gpqa", "musr", "mmlu-pro"} <= second
    assert len(of_suite("opencompass")) >= 100 and len(of_suite("lm-eval")) >= 150
    with pytest.raises(UsageError, match="did you mean `opencompass`"):
        of_suite("opencompas")


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_every_field_map_reads_a_row_of_its_shape(entry: Entry) -> None:
    row = made_row(entry.fields)
    shaped = shape_rows([row], entry.fields)
    assert len(shaped.rows) == 1 and shaped.empty == 0, row
    found = shaped.rows[0]
    paths = [alternatives(path)[0] for path in entry.fields.question] or [alternatives(entry.fields.turns)[0]]
    assert all(f"the text of {path}" in found.question for path in paths)
    if entry.fields.choices:
        assert len(found.choices) == max(3, len(entry.fields.choices)) or len(found.choices) == len(
            entry.fields.choices
        )
    if entry.fields.answer:
        assert found.answer
    if entry.fields.answer and entry.fields.choices and not is_text_answer(entry.fields):
        assert found.answer in found.choices
    if entry.fields.turns and entry.fields.question:
        assert found.turns


def alternatives(path: str) -> list[str]:
    return [part.strip() for part in path.split("|")]


def is_text_answer(fields: Fields) -> bool:
    """Whether the answer is the text of a field of its own, as the correct choice in a column is."""
    return fields.answer[0] in fields.choices


def made_row(fields: Fields) -> dict[str, Any]:
    """A row with something at the first of every path's alternatives."""
    row: dict[str, Any] = {}
    for path in fields.question:
        place(row, alternatives(path)[0], f"the text of {alternatives(path)[0]}")
    if fields.turns:
        name = alternatives(fields.turns)[0]
        place(row, name, f"the text of {name}" if "[]" in name else [f"the text of {name}", "and the next turn"])
    for number, path in enumerate(fields.choices):
        texts: Any = (
            ["first choice", "second choice", "third choice"] if len(fields.choices) == 1 else f"choice {number}"
        )
        name = alternatives(path)[0]
        if name in fields.answer and len(fields.choices) == 1:
            texts = {"first choice": 0, "second choice": 1, "third choice": 0}
        place(row, name, "the only choice" if "[]" in name else texts)
    if fields.answer:
        name = alternatives(fields.answer[0])[0]
        if read_path(row, name) in (None, []):
            place(row, name, 1 if fields.choices or fields.classes else "the answer")
    if fields.labels:
        name = alternatives(fields.labels)[0]
        place(row, name, 1 if "[]" in name else [1, 2, 3])
    return row


def place(row: dict[str, Any], path: str, value: Any) -> None:
    name, _, rest = path.partition(".")
    key = name.removesuffix("[]")
    if not rest:
        row.setdefault(key, [value] if name.endswith("[]") and not isinstance(value, list) else value)
    elif name.endswith("[]"):
        place(row.setdefault(key, [{}])[0], rest, value)
    else:
        place(row.setdefault(key, {}), rest, value)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("gsm8k", "gsm8k"), ("GSM8K", "gsm8k"), ("openai/gsm8k", "gsm8k"), ("HumanEval+", "humaneval-plus"),
        ("mbpp plus", "mbpp-plus"), ("truthfulqa_mc2", "truthfulqa"), ("csqa", "commonsense-qa"),
        ("bbh:snarks", "bbh:snarks"), ("BBH:Word_Sorting", "bbh:word_sorting"), ("mmlu:anatomy", "mmlu:anatomy"),
        ("cmmlu:agronomy", "cmmlu:agronomy"),
    ],
)  # fmt: skip
def test_names_by_which_test_sets_are_found(written: str, name: str) -> None:
    found = find(written)
    assert found.name == name
    if ":" in name:
        assert found.configs == (name.partition(":")[2],) and found.rows is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("gsm8", "did you mean `gsm8k`"),
        ("helaswag", "did you mean `hellaswag`"),
        ("bbh:snark", "did you mean `snarks`"),
        ("gsm8k:test", "one of: main"),
        ("zzzz", "factory benchmarks list"),
    ],
)
def test_unknown_names_come_with_the_nearest(written: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        find(written)


# --- rows as well-known test sets have them


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_well_known_test_sets(name: str) -> None:
    row, expected = ROWS[name]
    shaped = shape_rows([row], find(name).fields)
    assert len(shaped.rows) == 1
    found = shaped.rows[0]
    for field, value in expected.items():
        told = getattr(found, field)
        assert (told.strip() if field == "answer" else told) == value, found


def test_squad_as_published_has_a_row_for_each_question(tmp_path: Path) -> None:
    """The published file: articles with paragraphs with questions; some have no answer."""
    qas = [[("Who?", ["Bo", "Bob"]), ("When?", [])], [("Why?", ["rain"])]]
    paragraphs = [
        {"context": "C", "qas": [{"id": f"{p}{k}", "question": q, "answers": [{"text": a} for a in answers]}
                                 for k, (q, answers) in enumerate(part)]} for p, part in enumerate(qas)
    ]  # fmt: skip
    (tmp_path / "dev-v2.0.json").write_text(
        json.dumps({"version": "2", "data": [{"title": "T", "paragraphs": paragraphs}]})
    )
    made = keep(locate("dev-v2.0.json", tmp_path), "squad-v2", replace_=False)
    assert [(row.row, row.question, row.answer, row.id) for row in made.rows] == [
        (0, "Who?", "Bo", "00"), (1, "When?", "", "01"), (2, "Why?", "rain", "10"),
    ]  # fmt: skip


# --- paths

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON, st.lists(st.sampled_from(["a", "b", "c", "0", "1", "a[]", "b[]"]), min_size=1, max_size=4).map(".".join))
def test_paths_are_total_and_agree_with_a_plain_walk(value: Any, path: str) -> None:
    assert read_path(value, path) == oracle(value, path.split("."))
    scopes = open_scopes(value, path)
    assert len(scopes) >= 1 or "[]" in path
    for scope in scopes:
        read_in(scope, path)


def oracle(value: Any, parts: list[str]) -> Any:
    if not parts:
        return value
    key, listed = parts[0].removesuffix("[]"), parts[0].endswith("[]")
    if isinstance(value, list) and key.isdigit():
        return oracle(value[int(key)], parts[1:]) if int(key) < len(value) else None
    if not isinstance(value, dict) or key not in value:
        return None
    if not listed:
        return oracle(value[key], parts[1:])
    if value[key] is None:
        return None
    items = value[key] if isinstance(value[key], list) else [value[key]]
    found = [oracle(item, parts[1:]) for item in items]
    if any(part.endswith("[]") for part in parts[1:]):
        found = [one for part in found if isinstance(part, list) for one in part]
    return [one for one in found if one is not None]


def test_paths_with_alternatives_dots_in_names_and_lists_inside() -> None:
    assert read_path({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert read_path({"b": None, "c": 3}, "b|c") == 3
    row = {"t": "T", "x": [{"q": "q1", "y": [1, 2]}, {"q": "q2", "y": []}]}
    scopes = open_scopes(row, "x[].q")
    assert [(read_in(s, "x[].q"), read_in(s, "x[].y"), read_in(s, "t")) for s in scopes] == [
        ("q1", [1, 2], "T"), ("q2", [], "T"),
    ]  # fmt: skip


# --- answers


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.data())
def test_an_answer_becomes_its_choice_in_every_way_of_writing_it(count: int, data: st.DataObject) -> None:
    texts = [f"choice number {k}" for k in range(count)]
    right = data.draw(st.integers(0, count - 1))
    letter = chr(ord("A") + right)
    ways = [
        right,
        str(right),
        letter,
        letter.lower(),
        f"({letter})",
        f"{letter}.",
        f"{letter})",
        texts[right],
        float(right),
    ]
    for answer in ways:
        fields = Fields(question=("q",), choices=("c",), answer=("a",), base=0)
        made = shape_rows([{"q": "Q", "c": texts, "a": answer}], fields).rows[0]
        assert made.answer == texts[right], answer
    flags = [int(k == right) for k in range(count)]
    assert shape_rows([{"q": "Q", "c": texts, "a": flags}], fields).rows[0].answer == texts[right]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_whether_choices_count_from_0_or_1_is_seen_in_the_answers(base: int, places: list[int]) -> None:
    raw = [{"q": f"Q{k}", "c": list("wxyz"), "a": place + base} for k, place in enumerate([*places, 0, 3])]
    made = shape_rows(raw, Fields(question=("q",), choices=("c",), answer=("a",)))
    assert [row.answer for row in made.rows] == ["wxyz"[place] for place in [*places, 0, 3]]


def test_an_answer_that_no_choice_has_stays_as_it_is() -> None:
    fields = Fields(question=("q",), choices=("c",), answer=("a",), base=0)
    for answer, told in ((7, "7"), ("Z", "Z"), ("none of these", "none of these"), (None, "")):
        assert shape_rows([{"q": "Q", "c": ["x", "y"], "a": answer}], fields).rows[0].answer == told


def test_empty_choices_shift_no_answer() -> None:
    listed = Fields(question=("q",), choices=("c",), answer=("a",), base=0)
    assert shape_rows([{"q": "Q", "c": ["", "x", None, "y"], "a": 3}], listed).rows[0].answer == "y"
    assert shape_rows([{"q": "Q", "c": ["", "x", None, "y"], "a": "B"}], listed).rows[0].choices == ("x", "y")
    columns = Fields(question=("q",), choices=("A", "B", "C"), answer=("a",))
    assert shape_rows([{"q": "Q", "A": "x", "B": "", "C": "z", "a": "C"}], columns).rows[0].answer == "z"
    named = {"q": "Q", "c": {"d": "four", "b": "two"}, "a": "b"}
    assert shape_rows([named], listed).rows[0].answer == "two", "the keys are the labels"


def test_rows_without_a_question_keep_their_numbers() -> None:
    raw = [{"q": "one"}, {"q": "  "}, {"q": None}, {"q": "four"}]
    made = shape_rows(raw, Fields(question=("q",)))
    assert [row.row for row in made.rows] == [0, 3] and made.empty == 2


def test_conversations_give_the_turns_of_the_user() -> None:
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Yes?"}, {"from": "human", "value": "Bye."}]  # fmt: skip
    made = shape_rows([{"m": said}, {"m": json.dumps(said)}], Fields(turns="m"))
    assert [(row.question, row.turns) for row in made.rows] == [("Hi.", ("Bye.",))] * 2


COLUMNS = st.sampled_from(["question", "answer", "choices", "A", "B", "turns", "options", "is_correct", "id", "x"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(COLUMNS, JSON, min_size=1, max_size=6), min_size=1, max_size=4))
def test_rows_of_any_shape_give_texts_or_a_clear_error(raw: list[dict[str, Any]]) -> None:
    try:
        shaped = shape_rows(raw, guess_fields(raw, Fields(), "it"))
    except UsageError as error:
        assert "it has:" in error.hint
        return
    for row in shaped.rows:
        assert row.question and isinstance(row.answer, str) and isinstance(row.id, str)
        assert all(isinstance(text, str) for text in (*row.choices, *row.turns))
    assert len({row.row for row in shaped.rows}) == len(shaped.rows)


# --- files of every kind, by the usual names

PLAIN = [{"question": f"What is {k} + {k}?", "answer": str(2 * k)} for k in range(5)]


def written(folder: Path, kind: str) -> Path:
    path = folder / f"plain.{kind}"
    if kind.startswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in PLAIN)
    elif kind == "json":
        text = json.dumps({"about": "sums", "rows": PLAIN})
    elif kind.startswith(("csv", "tsv")):
        lines = [["question", "answer"], *([row["question"], row["answer"]] for row in PLAIN)]
        text = "\n".join(("\t" if kind.startswith("tsv") else ",").join(line) for line in lines) + "\n"
    else:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist(PLAIN), path)
        return path
    path.write_bytes(gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "csv.gz", "tsv", "parquet"])
def test_files_of_every_kind(tmp_path: Path, kind: str) -> None:
    made = read_test_set(written(tmp_path, kind).name, tmp_path)
    assert made.name == "plain" and not made.code
    assert [(row.row, row.question, row.answer) for row in made.rows] == [
        (k, row["question"], row["answer"]) for k, row in enumerate(PLAIN)
    ]


NAMED: list[tuple[dict[str, Any], tuple[str, str, int]]] = [
    ({"prompt": "P", "completion": "C"}, ("P", "C", 0)),
    ({"instruction": "I", "input": "and more", "output": "O"}, ("I\n\nand more", "O", 0)),
    ({"Problem": "P", "Answer": "7"}, ("P", "7", 0)),
    ({"query": "Q", "choices": ["x", "y"], "gold": [1]}, ("Q", "y", 2)),
    ({"question": "Q", "A": "w", "B": "x", "C": "y", "D": "z", "answer": "D"}, ("Q", "z", 4)),
    ({"question": "Q", "option_a": "w", "option_b": "x", "answer": "a"}, ("Q", "w", 2)),
    ({"question": "Q", "choice1": "w", "choice2": "x", "label": 0}, ("Q", "w", 2)),
    ({"sentence": "S _", "option1": "w", "option2": "x", "answer": "2"}, ("S _", "x", 2)),
    ({"ctx": "C", "endings": ["w", "x"], "label": 1}, ("C", "x", 2)),
    ({"question": "Q", "answerA": "w", "answerB": "x", "answerC": "y", "correct": "B"}, ("Q", "x", 3)),
    ({"question": {"stem": "Q", "choices": [{"text": "w", "label": "A"}]}, "answerKey": "A"}, ("Q", "w", 1)),
    ({"question": "Q", "choices": {"text": ["w", "x"], "label": ["1", "2"]}, "answerKey": "2"}, ("Q", "x", 2)),
    ({"question": "Q", "options": {"A": "w", "B": "x"}, "answer": "B"}, ("Q", "x", 2)),
    ({"premise": "P", "hypothesis": "H", "label": 1}, ("P\n\nH", "1", 0)),
    ({"problem": "P", "solution": "S", "source": "web"}, ("P", "S", 0)),
    ({"question": "Q", "distractor1": "w", "correct_answer": "x"}, ("Q", "x", 2)),
    ({"text": "T"}, ("T", "", 0)),
]


@pytest.mark.parametrize(("row", "expected"), NAMED, ids=[",".join(row) for row, _ in NAMED])
def test_columns_are_found_by_their_usual_names(
    tmp_path: Path, row: dict[str, Any], expected: tuple[str, str, int]
) -> None:
    made = read_test_set(str(write_jsonl(tmp_path / "x.jsonl", [row])), tmp_path).rows[0]
    assert (made.question, made.answer, len(made.choices)) == expected


def test_programs_are_seen_by_their_columns(tmp_path: Path) -> None:
    row = {"task_id": "t/1", "prompt": "def f():\n", "canonical_solution": "    return 1\n", "entry_point": "f"}
    made = read_test_set(str(write_jsonl(tmp_path / "x.jsonl", [row])), tmp_path)
    assert made.code and made.rows[0].id == "t/1"
    assert not read_test_set({"path": "x.jsonl", "code": False}, tmp_path).code


def test_a_field_map_says_what_the_names_do_not(tmp_path: Path) -> None:
    row = {"frage": {"text": "Was?"}, "a": "ja", "b": "nein", "richtig": 2, "nr": "n1"}
    write_jsonl(tmp_path / "x.jsonl", [row, {**row, "richtig": 1}])
    spec = {
        "path": "x.jsonl",
        "name": "eigene",
        "question": "frage.text",
        "choices": ["a", "b"],
        "answer": "richtig",
        "id": "nr",
    }
    made = read_test_set(spec, tmp_path)
    assert made.name == "eigene"
    assert made.rows[0] == TestRow(row=0, question="Was?", answer="nein", choices=("ja", "nein"), id="n1")


def test_tables_with_a_line_for_each_choice(tmp_path: Path) -> None:
    """Two questions of the same words one after the other stay two."""

    def block(question: str, texts: str, right: int) -> list[dict[str, Any]]:
        return [{"question": question, "answer": text, "is_correct": k == right} for k, text in enumerate(texts)]

    rows = [*block("Which?", "abcd", 2), *block("Which?", "wxyz", 0), *block("Who?", "pq", 1)]
    made = read_test_set(str(write_jsonl(tmp_path / "x.jsonl", rows)), tmp_path)
    assert [(row.question, row.answer, "".join(row.choices)) for row in made.rows] == [
        ("Which?", "c", "abcd"), ("Which?", "w", "wxyz"), ("Who?", "q", "pq"),
    ]  # fmt: skip


def test_folders_take_the_files_of_one_split(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2), ("dev", 1)):
        write_jsonl(tmp_path / "set" / f"{split}.jsonl", PLAIN[:count])
    assert len(read_test_set("set", tmp_path).rows) == 2
    assert len(read_test_set({"path": "set", "split": "train"}, tmp_path).rows) == 3
    with pytest.raises(UsageError, match="no file is named for the split `tets`"):
        read_test_set({"path": "set", "split": "tets"}, tmp_path)
    write_jsonl(tmp_path / "tasks" / "one.jsonl", PLAIN[:2])
    write_jsonl(tmp_path / "tasks" / "two.jsonl", PLAIN[:3])
    made = read_test_set("tasks", tmp_path)
    assert [row.id for row in made.rows] == ["one:0", "one:1", "two:0", "two:1", "two:2"]
    both = read_test_set({"path": ["tasks/two.jsonl", "set/dev.jsonl"]}, tmp_path)
    assert len(both.rows) == 4


@real_data
@pytest.mark.parametrize(
    ("path", "name", "rows", "choices", "turns"),
    [
        ("gsm8k/test.jsonl", "gsm8k-test", 1319, 0, 0),
        ("mmlu", "mmlu", 14042, 14042, 0),
        ("bbh", "bbh", 6511, 4000, 0),
        ("humaneval/HumanEval.jsonl.gz", "HumanEval", 164, 0, 0),
        ("mt_bench/question.jsonl", "mt_bench-question", 80, 0, 80),
    ],
)
def test_real_files_need_no_field_map(path: str, name: str, rows: int, choices: int, turns: int) -> None:
    told: list[str] = []
    made = read_test_set(f"./{path}", DATA, notice=told.append)
    assert made.name == name and len(made.rows) == rows and told == []
    assert sum(bool(row.choices) for row in made.rows) >= choices
    assert sum(bool(row.turns) for row in made.rows) == turns
    assert all(row.question for row in made.rows) and made.code == (rows == 164)
    strange = [row for row in made.rows if row.choices and row.answer not in row.choices]
    assert len(strange) <= 3, "three rows of BBH have answers that none of their options has"
    if path != "mt_bench/question.jsonl":
        assert all(row.answer for row in made.rows)


# --- what is wrong is told


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("nothing.jsonl", "no such file"),
        ("helaswag", "did you mean `hellaswag`"),
        ("x/y/z", "no such file"),
        ({"path": "plain.jsonl", "qestion": "a"}, "did you mean `question`"),
        ({"path": "plain.jsonl", "question": "qestion"}, "did you mean `question`"),
        ({"path": "plain.jsonl", "answer": "gold"}, "no answer column `gold`"),
        ({"path": "plain.jsonl", "name": "my set!"}, "no name for a test set"),
        ({}, "needs a `path`"),
        ("numbers.csv", "no column looks like a question"),
        ("broken.jsonl", "line 2 is not JSON"),
        ("empty.jsonl", "no rows"),
        ("blank.jsonl", "no row has a question"),
        ("folder", "without data files"),
        ("readme.md", "unknown kind of file"),
    ],
)
def test_faults_are_told_with_what_to_do(tmp_path: Path, spec: Any, told: str) -> None:
    write_jsonl(tmp_path / "plain.jsonl", PLAIN)
    (tmp_path / "numbers.csv").write_text("x,y\n1,2\n")
    (tmp_path / "broken.jsonl").write_text('{"question": "a"}\n{oops\n')
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "blank.jsonl").write_text('{"question": " "}\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "readme.md").write_text("hello")
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        read_test_set(spec, tmp_path)
    assert len(caught.value.message) < 800
    if spec == "numbers.csv":
        assert "x, y" in caught.value.hint


def test_rows_without_a_question_are_told(tmp_path: Path) -> None:
    told: list[str] = []
    read_test_set(str(write_jsonl(tmp_path / "x.jsonl", [*PLAIN, {"question": ""}])), tmp_path, notice=told.append)
    assert len(told) == 1 and "1 of 6 rows have no question" in told[0]


# --- the Hub, played by a fake


class FakeHub:
    """`datasets.load_dataset` and `get_dataset_config_names`: (hub, config, split) → rows, or an error to raise."""

    def __init__(self, rows: Mapping[tuple[str, str | None, str], Any]):
        self.rows = dict(rows)
        self.asked: list[tuple[str, str | None, str]] = []

    def load_dataset(self, hub: str, config: str | None = None, *, split: str, **given: Any) -> Any:
        import datasets

        key = (
            (hub, config, split) if "data_files" not in given else (hub, given["data_files"][split], given["revision"])
        )
        self.asked.append(key)
        found = self.rows.get(
            key, datasets.exceptions.DatasetNotFoundError(f"Dataset '{hub}' doesn't exist on the Hub")
        )
        if isinstance(found, Exception):
            raise found
        return datasets.Dataset.from_list(found)

    def get_dataset_config_names(self, hub: str) -> list[str]:
        return [config for name, config, _ in self.rows if name == hub and config is not None]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeHub]:
    import datasets

    def play(rows: Mapping[tuple[str, str | None, str], Any]) -> FakeHub:
        fake = FakeHub(rows)
        monkeypatch.setattr(datasets, "load_dataset", fake.load_dataset)
        monkeypatch.setattr(datasets, "get_dataset_config_names", fake.get_dataset_config_names)
        monkeypatch.setattr(fetching, "check_reachable", lambda wanted: None)
        return fake

    return play


def test_a_known_test_set_is_fetched_once_and_kept(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    fake = hub({("openai/gsm8k", "main", "test"): PLAIN})
    told: list[str] = []
    first = read_test_set("GSM8K", tmp_path, notice=told.append)
    assert first.name == "gsm8k" and len(first.rows) == 5 and "fetching openai/gsm8k" in told[0]
    again = read_test_set("openai/gsm8k", tmp_path)
    assert again.rows == first.rows and fake.asked == [("openai/gsm8k", "main", "test")]
    kept = cache.cached()
    assert [(one.name, one.rows, one.private, one.indexed) for one in kept] == [("gsm8k", 5, False, False)]


def test_only_the_columns_that_are_needed_are_read(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    picture = b"\xff" * 1000
    rows = [{"id": "h1", "question": "What is shown?", "answer": "a cat", "image": picture, "rationale": "It purrs."}]
    hub({("cais/hle", None, "test"): rows})
    assert read_test_set("hle", tmp_path).rows == (TestRow(0, "What is shown?", "a cat", id="h1"),)
    wanted = fetching.Wanted("hle", "cais/hle", columns=("question", "answer"))
    assert [set(row) for row in fetching.fetch_rows(wanted, lambda told: None)] == [{"question", "answer"}]


def test_all_configurations_and_splits_are_taken(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    row = {"id": 0, "question": "Q", "A": "a", "B": "b", "C": "c", "D": "d", "answer": "A"}
    hub({("ceval/ceval-exam", "law", "val"): [row], ("ceval/ceval-exam", "art", "val"): [row],
         ("ceval/ceval-exam", "law", "test"): [row, row], ("ceval/ceval-exam", "art", "test"): [row]})  # fmt: skip
    fake_names = {"law": 3, "art": 2}
    made = read_test_set("ceval:law", tmp_path)
    assert len(made.rows) == fake_names["law"] and made.name == "ceval:law"
    task = {"input": "I", "target": "T"}
    bbh = find("bbh")
    hub({(bbh.hub, config, "test"): [task] for config in bbh.configs})
    made = read_test_set("bbh", tmp_path)
    assert len(made.rows) == 27 and made.rows[0].id == f"{bbh.configs[0]}:0"


def test_stars_are_the_configurations_that_the_hub_lists(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    row = {"Question": "Q", "A": "a", "B": "b", "C": "c", "D": "d", "Answer": "A"}
    fake = hub({("haonan-li/cmmlu", "agronomy", "test"): [row], ("haonan-li/cmmlu", "anatomy", "test"): [row] * 2})
    assert len(read_test_set("cmmlu", tmp_path).rows) == 3
    assert [config for _, config, _ in fake.asked] == ["agronomy", "anatomy"]


def test_any_hub_name_with_a_field_map(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    fake = hub({("me/mine", None, "validation"): [{"q": "Q", "a": "A"}], ("me/mine", None, "test"): PLAIN})
    assert len(read_test_set("me/mine", tmp_path).rows) == 5
    spec = {"path": "me/mine", "split": "validation", "question": "q", "answer": "a"}
    assert read_test_set(spec, tmp_path).rows[0].answer == "A"
    assert read_test_set(spec, tmp_path).rows[0].answer == "A" and len(fake.asked) == 2, "kept with its map"


def test_sets_with_a_loading_program_are_read_from_the_hubs_parquet(
    hub: Callable[..., FakeHub], tmp_path: Path
) -> None:
    program = RuntimeError("Dataset scripts are no longer supported, but found gsm8k.py")
    hub(
        {
            ("openai/gsm8k", "main", "test"): program,
            ("openai/gsm8k", "main/test/*.parquet", "refs/convert/parquet"): PLAIN,
        }
    )
    assert len(read_test_set("gsm8k", tmp_path).rows) == 5


@pytest.mark.parametrize(
    ("name", "error", "told", "hint"),
    [
        ("gsm8k", ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub"), "cannot be fetched", "--from FILE"),
        ("gpqa", PermissionError("Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub"), "is gated", "HF_TOKEN"),
        ("mmlu", ValueError("BuilderConfig 'all' not found. Available: ['law']"), "Available", "config"),
        ("mmlu", ValueError("Unknown split 'test'. Should be one of ['train']"), "Unknown split", "--split"),
    ],
)
def test_the_hubs_faults_say_what_to_do(
    hub: Callable[..., FakeHub], tmp_path: Path, name: str, error: Exception, told: str, hint: str
) -> None:
    entry = find(name)
    hub({(entry.hub, entry.configs[0], entry.splits[0]): error})
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        read_test_set(name, tmp_path)
    assert hint in caught.value.hint
    if name == "gpqa":
        assert entry.address in caught.value.hint


def test_what_is_missing_on_the_hub_and_gated(hub: Callable[..., FakeHub], tmp_path: Path) -> None:
    hub({})
    with pytest.raises(UsageError, match="the Hub has no dataset `me/none`"):
        read_test_set("me/none", tmp_path)
    with pytest.raises(UsageError, match="is gated"):  # the Hub shows a gated set to nobody without a token
        read_test_set("gpqa-diamond", tmp_path)


def test_no_network_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError("no such host")

    monkeypatch.setattr(fetching.socket, "getaddrinfo", unknown)
    monkeypatch.setattr(fetching, "getproxies", dict)
    with pytest.raises(UsageError, match=r"huggingface\.co cannot be reached") as caught:
        read_test_set("hellaswag", tmp_path)
    hint = caught.value.hint
    assert "factory benchmarks index hellaswag" in hint and "--from FILE" in hint and "cache folder" in hint


def test_offline_is_honoured(hub: Callable[..., FakeHub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub({("Rowan/hellaswag", None, "validation"): ConnectionError("OfflineModeIsEnabled")})
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        read_test_set("hellaswag", tmp_path)


def test_what_is_not_on_the_hub_names_its_page(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not on the Hub") as caught:
        read_test_set("gaokao-bench", tmp_path)
    assert "https://" in caught.value.hint and "--from FILE" in caught.value.hint


# --- the cache


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("FACTORY_CACHE")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_dir() == tmp_path / "xdg" / "text-data-factory"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard says: ignore it
    assert cache.cache_dir() == Path.home() / ".cache" / "text-data-factory"
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache.cache_dir() == Path.home() / "Library" / "Caches" / "text-data-factory"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=3), st.lists(TEXTS, max_size=2)), max_size=5),
    st.booleans(),
)
def test_rows_come_back_as_they_were_kept(given_rows: list[tuple[str, str, list[str], list[str]]], code: bool) -> None:
    rows = tuple(
        TestRow(row=k, question=q, answer=a, choices=tuple(c), turns=tuple(t), id=str(k))
        for k, (q, a, c, t) in enumerate(given_rows)
    )
    sha = cache.store_rows(TestSet("mine", rows, code), source="here", private=True)
    read = cache.read_stored("mine")
    assert read == TestSet("mine", rows, code) and cache.rows_sha(read) == sha
    assert cache.rows_sha(replace(read, name="another")) == sha
    assert cache.rows_sha(replace(read, code=not code)) != sha


def test_damaged_files_of_the_cache_are_told(cache_folder: Path) -> None:
    cache.store_rows(TestSet("mine", [TestRow(0, "Q")]), source="here", private=True)
    path = cache_folder / "test_sets" / "mine.jsonl.gz"
    whole = path.read_bytes()
    changed = gzip.compress(gzip.decompress(whole).replace(b'"Q"', b'"R"'))
    for raw in (whole[: len(whole) // 2], b"nothing", changed):
        path.write_bytes(raw)
        with pytest.raises(UsageError, match="damaged file of the cache"):
            cache.read_stored("mine")


def test_the_users_own_sets(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", PLAIN)
    keep(locate("x.jsonl", tmp_path), "my-exam", replace_=False)
    assert read_test_set("my-exam", tmp_path).rows[0].question == "What is 0 + 0?"
    with pytest.raises(UsageError, match="there is a test set `my-exam` already"):
        keep(locate("x.jsonl", tmp_path), "my-exam", replace_=False)
    write_jsonl(tmp_path / "x.jsonl", PLAIN[:2])
    keep(locate("x.jsonl", tmp_path), "my-exam", replace_=True)
    assert len(read_test_set("my-exam", tmp_path).rows) == 2
    with pytest.raises(UsageError, match="did you mean `my-exam`"):
        read_test_set("my-exma", tmp_path)


def test_a_file_may_serve_as_the_rows_of_a_known_name(tmp_path: Path) -> None:
    """With the registry's fields where they fit, else by the usual names."""
    write_jsonl(tmp_path / "x.jsonl", [{"ctx": "He", "query": "no", "endings": ["sat", "ran"], "label": "1"}])
    assert keep(locate("x.jsonl", tmp_path), "HellaSwag", replace_=False).rows[0].answer == "ran"
    assert cache.cached()[0].name == "hellaswag" and not cache.cached()[0].private
    with (tmp_path / "y.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt", "target"], ["Go on", "ok"]])
    assert keep(locate("y.csv", tmp_path), "hellaswag", replace_=True).rows[0].question == "Go on"
    write_jsonl(tmp_path / "z.jsonl", [{"prompt": "def f():", "canonical_solution": "pass"}])
    assert keep(locate("z.jsonl", tmp_path), "humaneval", replace_=False).code


def test_two_processes_that_keep_the_same_set(tmp_path: Path) -> None:
    """Writers and a reader at once: whoever reads sees a whole file."""
    write_jsonl(tmp_path / "x.jsonl", PLAIN)
    located = locate("x.jsonl", tmp_path)
    keep(located, "shared", replace_=True)
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                keep(located, "shared", replace_=True)
                assert len(read_test_set("shared", tmp_path).rows) == 5
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults and os.listdir(cache.cache_dir() / "test_sets") == ["shared.jsonl.gz"]


def test_fields_are_written_as_one_or_as_several() -> None:
    assert make_fields({"question": "a", "choices": ["b", "c"]}) == Fields(question=("a",), choices=("b", "c"))


def test_a_suite_and_fields_of_kept_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="is a suite, not a test set") as caught:
        index_of("open-llm-leaderboard-v1", tmp_path)
    assert "gsm8k" in caught.value.hint and "hellaswag" in caught.value.hint
    path = tmp_path / "g.jsonl"
    path.write_text('{"question": "How many oars hang in the boat house of Pell?", "answer": "9"}\n')
    keep(locate(str(path), tmp_path), "gsm8k", replace_=False)
    assert len(index_of("gsm8k", tmp_path)) == 1
    with pytest.raises(UsageError, match="gsm8k"):  # its kept rows have no such field, and the Hub is not asked
        index_of({"path": "gsm8k", "question": "nope"}, tmp_path)
