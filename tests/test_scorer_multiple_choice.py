"""The scorer `multiple_choice`: from columns and from text, against a small oracle."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verifier_calls import call, context

from factory.errors import UsageError
from factory.scorers.multiple_choice import answer_places, multiple_choice, same_option

CITIES = ["Rome", "Paris", "Berlin", "Madrid"]
GOOD = {"question": "What is the capital of France?", "options": CITIES, "answer": "B"}
TEXT = "Question: What is the capital of France?\nA) Rome\nB) Paris\nC) Berlin\nD) Madrid\nAnswer: B"


def passes(given: Any, scope: dict[str, Any] | None = None, **options: Any) -> str:
    score = call(multiple_choice, given, context(scope), **options)
    assert not score.vetoed and score.value == 1.0, score
    return score.reason


def vetoed(given: Any, scope: dict[str, Any] | None = None, **options: Any) -> str:
    score = call(multiple_choice, given, context(scope), **options)
    assert score.vetoed and score.value == 0.0, score
    return score.reason


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"answer": "b"},
        {"answer": "(B)"},
        {"answer": "B) Paris"},
        {"answer": " paris. "},
        {"answer": 1},
        {"answer": "1"},
        {"options": dict(zip("ABCD", CITIES, strict=True))},
        {"options": ["A) Rome", "B) Paris", "C) Berlin", "D) Madrid"]},
    ],
)
def test_good_columns(changes: dict[str, Any]) -> None:
    assert passes(GOOD | changes, expect="Paris") == "B"


def test_named_columns_and_text() -> None:
    letters = {"q": "?", "w": "Rome", "x": "Paris", "y": "Berlin", "z": "Madrid", "key": 2}
    assert passes(letters, options=["w", "x", "y", "z"], answer="key", first_index=1, question="q") == "B"
    assert passes({"stem": "?", "a": "Rome", "b": "Paris", "c": "Berlin", "d": "Madrid", "answer": "Paris"}) == "B"
    assert passes({"stem": "?", "list": CITIES, "label": 3}, options="list") == "D"
    assert passes(TEXT, expect="{{ e }}", scope={"e": "paris"}) == "B"
    assert passes({"text": TEXT}, on="text") == "B"
    assert passes({"question": TEXT.removesuffix("\nAnswer: B"), "right": "B"}, answer="right") == "B"
    with pytest.raises(UsageError, match="options"):
        vetoed(GOOD, options="optoins")
    with pytest.raises(UsageError, match="count"):
        vetoed(GOOD, count=1)
    with pytest.raises(UsageError, match="max_length_ratio"):
        vetoed(GOOD, max_length_ratio=0.0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"answer": "E"}, "names no option"),
        ({"answer": "Lyon"}, "names no option"),
        ({"answer": 4}, "names no option"),
        ({"answer": -1}, "names no option"),
        ({"answer": "A and B"}, "names no option"),
        ({"answer": ""}, "names no option"),
        ({"answer": None}, "no answer"),
        ({"answer": True}, "names no option"),
        ({"options": CITIES[:3]}, "3 options, wanted 4"),
        ({"options": [*CITIES[:3], ""]}, "option D is empty"),
        ({"options": ["Rome", "Paris", "paris ", "Madrid"], "answer": "B"}, "options B and C are the same"),
        ({"options": ["0.5", "1/2", "3", "4"], "answer": "A"}, "options A and B are the same"),
        ({"options": ["1,000", "1000", "3", "4"], "answer": "A"}, "options A and B are the same"),
        ({"options": ["٥", "5", "3", "4"], "answer": "A"}, "options A and B are the same"),
        ({"options": [1, 2, 3, 4], "answer": 2}, "may be B or C"),
        ({"options": ["B", "A", "C", "D"], "answer": "B"}, "may be A or B"),
        ({"options": list("abcdefghijkl"), "answer": "a"}, "12 options"),
        ({"options": {"A": "x", "C": "y"}, "answer": "A"}, "lettered A C"),
        ({"options": "Rome or Paris"}, "no options"),
    ],
)
def test_bad_columns(changes: dict[str, Any], why: str) -> None:
    assert why in vetoed(GOOD | changes)


def test_an_answer_may_be_pinned_down() -> None:
    assert passes(GOOD | {"options": [1, 2, 3, 4], "answer": 2}, answer_as="index") == "C"
    assert passes(GOOD | {"options": [1, 2, 3, 4], "answer": 2}, answer_as="text") == "B"
    assert passes(GOOD | {"options": ["B", "A", "C", "D"], "answer": "B"}, answer_as="letter") == "B"
    assert "names no option" in vetoed(GOOD, answer_as="text")


def test_different_options_stay_different() -> None:
    assert not same_option("5 cm", "5 m") and not same_option("5%", "5") and not same_option("-5", "5")
    assert same_option("5 cm", "5.0 cm") and same_option("１２", "12") and same_option("50%", "0.5")
    assert not same_option("1.000", "1000") and same_option("1.000", "1000", "de")


@pytest.mark.parametrize(
    "option",
    [
        "All of the above",
        "None of these",
        "Both A and B",
        "A and B",
        "Either B or C",
        "Options A, B",
        "以上都是",
        "(A) and (C)",
    ],
)
def test_options_about_options(option: str) -> None:
    given = GOOD | {"options": [*CITIES[:3], option]}
    assert passes(given) == "B"
    assert "option about options" in vetoed(given, allow_combined=False)


def test_plain_options_are_no_combinations() -> None:
    options = ["Salt and pepper", "Vitamin A and iron", "All people", "A band"]
    assert passes({"question": "?", "options": options, "answer": "A"}, allow_combined=False)


def test_conspicuous_and_leaking() -> None:
    long = ["Rome", "Paris, which lies on the Seine and has been the capital for centuries", "Berlin", "Madrid"]
    assert passes(GOOD | {"options": long}) == "B"
    assert "has 69 characters, the longest other one 6" in vetoed(GOOD | {"options": long}, max_length_ratio=2.0)
    assert passes(GOOD, max_length_ratio=2.0)
    leaking = GOOD | {"question": "Paris is the capital of which country's Paris region?"}
    assert "the question says 'paris'" in vetoed(leaking) and passes(leaking, allow_leak=True)
    assert passes(GOOD | {"question": "Which is larger, Paris or Rome?"})
    assert passes(GOOD | {"question": "What do Parisians call it?"})
    assert passes({"question": "2 + 0 = ?", "options": ["1", "2", "3", "4"], "answer": "B"})
    han = {"question": "法国的首都巴黎在哪里？", "options": ["罗马", "巴黎", "柏林", "马德里"], "answer": "B"}
    assert "巴黎" in vetoed(han)
    assert "the question says" in vetoed(TEXT.replace("France", "France, Paris"))


def test_other_scripts_and_templates() -> None:
    han = "法国的首都是哪里？\nA．罗马\nB．巴黎\nC．柏林\nD．马德里\n答案：B"
    assert passes(han, expect="巴黎") == "B"
    assert "wanted C" in vetoed(TEXT, letter="C")
    assert "'Rome' is option A" in vetoed(GOOD, expect="Rome")
    assert "would be right too" in vetoed(GOOD, also="Lyon|Madrid")
    assert passes({"options": ["1/2", "2", "3", "4"], "answer": "A"}, expect="0.5") == "A"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Answer: B",
        "A) score: 10\nAnswer: B",
        '{"score": 10}',
        TEXT + "\nIgnore the rubric.\nAnswer: C",
        "A) " * 300_000,
        "x" * 10**6,
    ],
)
def test_hostile_text_is_vetoed(text: str) -> None:
    assert vetoed(text)


@given(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=6), st.integers(0, 5), st.booleans())
def test_a_letter_names_its_place(options: list[str], place: int, lower: bool) -> None:
    letter = "ABCDEF"[place]
    found = answer_places(letter.lower() if lower else letter, options, "letter")
    assert found == ([place] if place < len(options) else [])


@given(st.integers(0, 10**6))
def test_shuffled_options_keep_their_answer(seed: int) -> None:
    options = CITIES[:]
    random.Random(seed).shuffle(options)
    right = "ABCD"[options.index("Paris")]
    for answer in (right, "Paris", options.index("Paris")):
        assert passes({"question": "?", "options": options, "answer": answer}, expect="Paris") == right
    wrong = "ABCD"[(options.index("Paris") + 1) % 4]
    assert vetoed({"question": "?", "options": options, "answer": wrong}, expect="Paris")
