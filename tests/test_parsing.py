"""Answers become columns: JSON in any wrapping, labelled sections in any style, plain text; bad ones say why."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from factory.errors import Place, RecipeError
from factory.parsing import Column, Parsed, compile_output, describe, repair_messages
from factory.types import Message

QA = compile_output({"question": "str", "answer": "str"})
GOOD = {"question": "What?", "answer": "That."}


def fields(text: str, output: Any = QA) -> Any:
    parsed = output.parse(text, "stop")
    assert parsed.fields is not None, parsed.reason
    return dict(parsed.fields)


def reason(text: str, output: Any = QA, finish_reason: str = "stop") -> str:
    parsed = output.parse(text, finish_reason)
    assert parsed.fields is None
    return str(parsed.reason)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        "\ufeff" + json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"Sure! Here it is:\n\n{json.dumps(GOOD)}\n\nAnything else?",
        f"{{not json}} and {{ nor this: {json.dumps(GOOD)}",
        '{"other": 1}\n' + json.dumps(GOOD) + '\n{"question": "late", "answer": "late"}',
        json.dumps([GOOD]),
        json.dumps({**GOOD, "extra": {"a": [1]}}),
        "Question: What?\nAnswer: That.",
        "Answer: That.\n\nQuestion: What?",
        "QUESTION: What?\r\nANSWER: That.\r\n",
        "Question：What?\nAnswer：That.",
        "Here you go.\n\n## Question\n\nWhat?\n\n## Answer\nThat.",
        "### Question: What?\n### Answer: That.",
        "**Question:** What?\n\n**Answer:** That.",
        "**Question**: What?\n__Answer__: That.",
        "**Question**\nWhat?\n**Answer**\nThat.",
        "## **Question**\nWhat?\n## **Answer**\nThat.",
        "- Question: What?\n- Answer: That.",
        "1. Question: What?\n2. Answer: That.",
        "Question 1: What?\nAnswer 1: That.",
        "<question>What?</question>\n<answer>That.</answer>",
        "<Question>\nWhat?\n</Question><ANSWER> That.",
        "```\nQuestion: What?\nAnswer: That.\n```\nI hope this helps.",
    ],
)
def test_every_wrapping_gives_the_same_columns(text: str) -> None:
    assert fields(text) == GOOD


def test_what_a_json_string_holds_is_left_alone() -> None:
    tricky = {"question": 'a {"question": "x"} ```json {', "answer": 'Question: no\n"}\\ ✓'}
    assert fields(f"Text {json.dumps(tricky)} text") == tricky
    assert fields('{"question": "two\nlines\tand a tab", "answer": "b"}')["question"] == "two\nlines\tand a tab"


def test_sections_that_quote_json_stay_sections() -> None:
    text = f"Question: Write JSON.\nAnswer: {json.dumps({'question': 'x', 'answer': 'y'})}"
    assert fields(text)["question"] == "Write JSON."
    assert fields("Answer: see below\n" + json.dumps(GOOD)) == GOOD


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"question": "a", "answer": "b",}', "not JSON"),
        ("{question: 'a', answer: 'b'}", "no JSON object"),
        ('{\n question: "a",\n answer: "b"\n}', "no JSON object"),
        ('{"question": "a"}', "answer: Field required"),
        ('{"question": "a", "answer": ["b"]}', "answer: Input should be a valid string"),
        ('{"question": "a", "answer": null}', "answer"),
        ('{"question": "a", "answer": "  "}', "answer: empty"),
        ('{"question": "a", "answer": "never closed', "not JSON: Unterminated string"),
        ('{"question": "a", "answer": "\\ud800"}', "half a surrogate pair"),
        ('{"question": "a\\u0000", "answer": "b"}', "NUL"),
        ("Question: a\x00\nAnswer: b", "NUL"),
        ("Question: \udc00\nAnswer: b", "half a surrogate pair"),
        ("Question: a", "answer: Field required"),
        ("Question: a\nAnswer:", "answer: empty"),
        ("Question: a\nAnswer: b\nQuestion: c\nAnswer: d", "`question` appears twice"),
        ("Just prose.", "no labelled sections"),
    ],
)
def test_a_bad_answer_says_why(text: str, why: str) -> None:
    told = reason(text)
    assert told.startswith("invalid: ") and why in told


def test_empty_truncated_and_filtered_answers() -> None:
    assert reason(" \n\t") == "empty"
    assert reason("", finish_reason="length") == "truncated"
    assert reason(json.dumps(GOOD), finish_reason="length") == "truncated"
    assert reason(json.dumps(GOOD), finish_reason="content_filter") == "filtered"


def test_plain_text_is_one_column() -> None:
    output = compile_output(None, text_column="story")
    assert output.columns == (Column("story", "str"),)
    assert fields("\ufeff  Once.\n", output) == {"story": "Once."}
    assert reason("a\x00b", output).startswith("invalid: a NUL")


def test_a_field_map_reads_every_kind() -> None:
    output = compile_output(
        {
            "n": "int", "share": "float?", "ok": "bool", "tags": "list[str]", "sums": "list[int]",
            "mood": ["positive", "negative"], "level": [1, 2], "who": {"name": "str", "age": "int | null"},
        }
    )  # fmt: skip
    assert [column.kind for column in output.columns] == [
        "int", "float", "bool", "list[str]", "list[int]", "str", "int", "json",
    ]  # fmt: skip
    assert [column.name for column in output.columns if column.optional] == ["share"]
    wanted = {
        "n": 1200, "share": None, "ok": True, "tags": ["red", "dark blue"], "sums": [3, 4], "mood": "positive",
        "level": 2, "who": {"name": "Ann", "age": None},
    }  # fmt: skip
    text = (
        "N: 1,200\nOK: Yes.\nTags:\n- red\n* dark blue\nSums: 3, 4\nMood: **Positive**\nLevel: 2\n"
        'Who: {"name": "Ann", "age": null}'
    )
    assert fields(text, output) == wanted
    assert fields(json.dumps({**wanted, "n": "1,200", "mood": "POSITIVE", "level": 2.0}), output) == wanted
    told = reason(json.dumps({**wanted, "n": True, "ok": 1, "mood": "great"}), output)
    assert "n: 'true' is not a whole number" in told and "ok: '1' is not true or false" in told
    assert "one of: positive, negative" in told


@pytest.mark.parametrize("value", ["3.5", "three", "", "1,20", "4/5", "٣x", "9" * 30, "1e400", True])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    assert compile_output({"n": "int"}).parse(json.dumps({"n": value}), "stop").fields is None


def test_numbers_that_no_column_holds_are_refused() -> None:
    output = compile_output({"x": "float", "n": "int"})
    for text in ('{"x": NaN, "n": 1}', '{"x": 1e999, "n": 1}', '{"x": 1, "n": 1e30}', '{"x":1,"n":' + "9" * 5000 + "}"):
        assert reason(text, output).startswith("invalid: ")
    assert fields('{"x": 2, "n": -7.0}', output) == {"x": 2.0, "n": -7}


def test_labels_may_have_several_words() -> None:
    output = compile_output({"first_name": "str", "finalAnswer": "str", "name": "str"})
    text = "First name: Ann\n**Final Answer**: 7\nName: Bo"
    assert fields(text, output) == {"first_name": "Ann", "finalAnswer": "7", "name": "Bo"}
    assert fields("first-name: Ann\nFINAL_ANSWER: 7\nname: Bo", output)["first_name"] == "Ann"


def test_a_json_schema_is_strict_about_types() -> None:
    schema = {
        "type": "object",
        "properties": {"rating": {"type": "integer", "minimum": 1, "maximum": 5}, "note": {"type": "string"}},
        "required": ["rating"],
        "additionalProperties": False,
    }
    output = compile_output(schema)
    assert fields('{"rating": 5.0}', output) == {"rating": 5, "note": None}
    assert output.columns == (Column("rating", "int"), Column("note", "str", True))
    for bad in (
        '{"rating": "5"}',
        '{"rating": true}',
        '{"rating": 6}',
        '{"rating": 3, "other": 1}',
        '{"rating": null}',
    ):
        assert reason(bad, output).startswith("invalid: ")
    assert fields("Rating: 4\nNote: fine", output) == {"rating": 4, "note": "fine"}


def test_references_and_formats_of_a_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "day": {"type": "string", "format": "date"},
            "who": {"$ref": "#/$defs/Person"},
            "mail": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
        },
        "required": ["day", "who"],
        "$defs": {"Person": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}},
    }
    output = compile_output(schema)
    assert [(c.name, c.kind, c.optional) for c in output.columns] == [
        ("day", "str", False), ("who", "json", False), ("mail", "str", True),
    ]  # fmt: skip
    good = {"day": "2024-02-29", "who": {"name": "Ann"}, "mail": "a@b.org"}
    assert fields(json.dumps(good), output) == good
    assert "day" in reason(json.dumps({**good, "day": "2023-02-29"}), output)
    assert "mail" in reason(json.dumps({**good, "mail": "nobody"}), output)
    assert "who.name" in reason(json.dumps({**good, "who": {}}), output)


def test_every_fault_of_an_output_is_told_at_once() -> None:
    def place(*keys: str, message: str, hint: str = "") -> Place:
        return Place("r.yaml", 9, ".".join(keys), message, hint)

    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "strin"},
            "b": {"type": "string", "patern": "x"},
            "c": {"allOf": [{"type": "string"}]},
            "d": {"type": "integer", "minLength": 3},
            "e": {"type": "string", "pattern": "(?=a)b"},
            "f": {"type": "array", "items": {"type": "string", "minLength": -1}},
            "g": {"$ref": "#/$defs/Nope"},
        },
        "required": ["z"],
    }
    with pytest.raises(RecipeError) as caught:
        compile_output(
            {**schema, "properties": {k: v for k, v in schema["properties"].items() if k != "g"}}, place=place
        )
    told = str(caught.value)
    for part in (
        "`string`",
        "`pattern`",
        "`allOf` is not supported",
        "minLength",
        "linear time",
        "whole number",
        "`z`",
    ):
        assert part in told
    assert len(caught.value.places) == 7 and all(fault.line == 9 for fault in caught.value.places)
    with pytest.raises(RecipeError, match="Nope"):
        compile_output(schema)
    with pytest.raises(RecipeError) as caught:
        compile_output({"a": "strr", "b": 3, "c": "list[foo]", "d": {}, "e": [{}]})
    assert len(caught.value.places) == 5 and "did you mean `str`?" in str(caught.value)
    with pytest.raises(RecipeError, match="same label"):
        compile_output({"final_answer": "str", "finalAnswer": "str"})
    compile_output({"final_answer": "str", "finalAnswer": "str"}, "json")
    for bad, parse in (({"a": "str"}, "xml"), ({"type": "object"}, "auto"), (3, "auto")):
        with pytest.raises(RecipeError):
            compile_output(bad, parse)  # type: ignore[arg-type]
    loop = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}},
    }
    with pytest.raises(RecipeError, match="refers to itself"):
        compile_output(loop)


class Review(BaseModel):
    """A review."""

    text: str = Field(min_length=3)
    rating: int = Field(ge=1, le=5)
    tags: list[str] = []
    day: date | None = None
    mood: Literal["good", "bad"] = "good"

    @field_validator("text")
    @classmethod
    def no_shouting(cls, value: str) -> str:
        if value.isupper():
            raise ValueError("don't shout")
        return value


def test_a_pydantic_class_brings_its_own_rules() -> None:
    output = compile_output(Review)
    assert [(c.name, c.kind) for c in output.columns] == [
        ("text", "str"), ("rating", "int"), ("tags", "list[str]"), ("day", "str"), ("mood", "str"),
    ]  # fmt: skip
    wanted = {"text": "Nice one", "rating": 4, "tags": ["a", "b"], "day": "2024-05-01", "mood": "bad"}
    assert fields(json.dumps(wanted), output) == wanted
    assert fields("Text: Nice one\nRating: 4\nTags:\n1. a\n2. b\nDay: 2024-05-01\nMood: bad", output) == wanted
    assert fields('{"text": "Nice", "rating": 1}', output)["day"] is None
    assert "don't shout" in reason('{"text": "NICE", "rating": 1}', output)
    assert "rating" in reason('{"text": "Nice", "rating": 9}', output)


def test_one_mode_alone() -> None:
    only_json = compile_output({"a": "str"}, "json")
    assert only_json.parse("a: text", "stop").fields is None
    only_sections = compile_output({"a": "str"}, "sections")
    assert fields('a: {"a": "x"}', only_sections) == {"a": '{"a": "x"}'}


def test_the_repair_call_shows_what_was_wrong() -> None:
    asked = (Message("system", "s"), Message("user", "u"))
    messages = repair_messages(asked, "bad", "invalid: answer: Field required", QA)
    assert messages[:2] == asked and messages[2] == Message("assistant", "bad")
    assert "answer: Field required" in messages[3].content and '"question"' in messages[3].content
    assert "invalid:" not in messages[3].content
    assert len(repair_messages(asked, "x" * 100_000, "invalid: y")[2].content) < 10_000
    assert "`Question:`" in describe(compile_output({"question": "str"}, "sections"))


# Properties

words = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1, max_size=60
)
values = words.filter(lambda text: bool(text.strip()))


@given(
    values, values, st.sampled_from(["{}", "```json\n{}\n```", "Here:\n{}\nDone.", "\ufeff {}", "[{}]"]), st.booleans()
)
def test_json_round_trip(question: str, answer: str, style: str, ascii_only: bool) -> None:
    data = {"question": question, "answer": answer}
    assert fields(style.replace("{}", json.dumps(data, ensure_ascii=ascii_only))) == data


STYLES = (
    "{label}: {value}", "{label}:\n{value}", "**{label}:** {value}", "**{label}**: {value}", "## {label}\n{value}",
    "### {label}: {value}", "<{label}>{value}</{label}>", "<{label}>\n{value}\n</{label}>", "- {label}: {value}",
)  # fmt: skip
prose = st.lists(
    st.sampled_from(["apples", "ünd", "3×4=12,", "«oui»", "你好", "it's", "*", "-", "#", "5.5", ":)", "_x_"]),
    min_size=1,
    max_size=12,
)


@given(
    st.fixed_dictionaries({"question": prose, "final_answer": prose, "note": prose}),
    st.sampled_from(STYLES),
    st.permutations(["question", "final_answer", "note"]),
    st.sampled_from([str.lower, str.upper, str.capitalize]),
    st.sampled_from(["\n", "\n\n"]),
)
def test_sections_round_trip(data: Any, style: str, order: list[str], case: Any, between: str) -> None:
    data = {name: " ".join(value) for name, value in data.items()}
    output = compile_output(dict.fromkeys(data, "str"))
    text = between.join(
        style.replace("{label}", case(name.replace("_", " "))).replace("{value}", data[name]) for name in order
    )
    assert fields(text, output) == data


@settings(max_examples=200)
@given(st.text(max_size=300) | st.text(alphabet='{}[]":,\\ anqQuestionAnswer\n*#<>/`', max_size=300))
def test_no_text_raises(text: str) -> None:
    for output in (
        QA,
        compile_output({"question": "list[int]", "answer": {"a": "bool"}}),
        compile_output(Review),
    ):
        parsed = output.parse(text, "stop")
        assert isinstance(parsed, Parsed) and (parsed.fields is None) == bool(parsed.reason)


leaf_schemas = st.one_of(
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-5, 5),
        st.integers(0, 5),
    ),
    st.builds(lambda high: {"type": "number", "exclusiveMaximum": high}, st.floats(-5, 5)),
    st.builds(lambda low: {"type": "string", "minLength": low, "maxLength": low + 2}, st.integers(0, 2)),
    st.sampled_from(
        [
            {"type": "boolean"}, {"type": "null"}, {"enum": ["a", 1, True, None]}, {"const": 2}, {"const": False},
            {"type": "string", "pattern": "^a+$"}, {"type": ["integer", "null"]}, {"type": "integer", "multipleOf": 2},
            {"type": "integer", "exclusiveMinimum": 0.5}, {"type": "number", "minimum": 1}, {"type": "object"},
        ]
    ),
)  # fmt: skip
schemas = st.recursive(
    leaf_schemas,
    lambda inner: st.one_of(
        st.builds(lambda item, low: {"type": "array", "items": item, "minItems": low}, inner, st.integers(0, 1)),
        st.builds(lambda item: {"type": "array", "items": item, "uniqueItems": True, "maxItems": 2}, inner),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
        st.builds(
            lambda one, extra: {
                "type": "object", "properties": {"k": one}, "required": ["k"], "additionalProperties": extra
            },
            inner,
            st.booleans() | inner,
        ),
    ),
    max_leaves=4,
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-6, 6) | st.floats(-6, 6) | st.sampled_from(["", "a", "aa", "b", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "m"]), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(schemas, json_values)
def test_schemas_agree_with_another_validator(inner: dict[str, Any], value: Any) -> None:
    schema = {"type": "object", "properties": {"v": inner}, "required": ["v"]}
    valid = jsonschema.Draft202012Validator(schema).is_valid({"v": value})
    parsed = compile_output(schema, "json").parse(json.dumps({"v": value}), "stop")
    assert (parsed.fields is not None) == valid, parsed.reason


SIZE = 1_000_000
HOSTILE = {
    "braces": "{" * SIZE,
    "closing": "}" * SIZE,
    "deep": '{"a":' * (SIZE // 5),
    "deep mixed": '{"a":[' * (SIZE // 6),
    "deep, then broken": '{"a":' * 800 + "[" + "1," * (SIZE // 2) + " x",
    "pairs": "{}" * (SIZE // 2),
    "open strings": '{"' * (SIZE // 2),
    "broken objects": '{"a":"b" ' * (SIZE // 9),
    "small objects": '{"a":1}x' * (SIZE // 8),
    "fences": "```\n" * (SIZE // 4),
    "labels": "Question: a\n" * (SIZE // 12),
    "spaces": " " * SIZE + "Question",
    "tags": "<question" * (SIZE // 9),
    "stars": "**" * (SIZE // 2),
    "hashes": "# " * (SIZE // 2),
    "brackets": "[" * SIZE,
    "quotes": '"' * SIZE,
    "spaced braces": ("{" + " " * 60) * (SIZE // 61),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(20)
def test_a_hostile_megabyte_is_refused_in_linear_time(name: str) -> None:
    assert reason(HOSTILE[name]).startswith("invalid: ")


def test_a_large_good_answer_is_read() -> None:
    data = {"question": "x{" * (SIZE // 4), "answer": "[" * (SIZE // 4)}
    assert fields(json.dumps(data)) == data
    nested: Any = "end"
    for _ in range(90):
        nested = {"a": nested}
    output = compile_output({"type": "object", "properties": {"a": {"type": "object"}}}, "json")
    assert fields(json.dumps(nested), output) == nested
    for _ in range(20):
        nested = {"a": nested}
    assert "nested deeper than 100 levels" in reason(json.dumps(nested), output)
