"""Whole copies of a question hit whatever the calibration says; templates and what is too short do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_test_sets import CLEAN

from factory.decontamination import Cascade, Hit, TestRow, TestSet, build_index
from factory.decontamination.copies import INSIDE, squeeze, weigh

SIGNS = ("[ [ { } ] ( ) <", "( ( [ ] ) { } {", "< > [ ( ) ] { ( ) <", "{ { [ ( ) ] } <", "[ ] ( ) { } < ( )")
TEMPLATE = "Complete the rest of the sequence, so that all brackets are closed in the right order. Input:"
STEMS = (
    "Tomorrow is the ninth of March, and Ottmar reads the newspaper of the day before yesterday. Which day is it of?",
)
ROWS = (
    *(f"{TEMPLATE} {signs}" for signs in SIGNS),
    "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =",
    f"{STEMS[0]}\nOptions:\n(A) 03/06\n(B) 03/07\n(C) 03/08",
    "What is it?",
    *(["Which of these statements about the reading is true?"] * 4),
)


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    rows = [TestRow(number, question) for number, question in enumerate(ROWS)]
    return Cascade([build_index(TestSet("signs", rows), neutral=CLEAN)], fpr=0.0001)


def check(cascade: Cascade, text: str) -> Hit | None:
    found = cascade.check_many([{"text": text}])[0]
    return found[0] if found else None


@pytest.mark.parametrize("number", range(6))
def test_signs_count_where_words_are_all_alike(cascade: Cascade, number: int) -> None:
    hit = check(cascade, ROWS[number])
    assert hit is not None and (hit.row, hit.part, hit.layer, hit.score) == (number, "question", "ngram", 1.0)
    assert hit.span == ROWS[number] and not hit.gray
    looser = ROWS[number].upper().replace(" ", "  ")
    spaced = check(cascade, f"Before that. {looser} And after.")
    assert spaced is not None and spaced.row == number and spaced.span == looser


def test_another_row_of_the_same_template_is_clean(cascade: Cascade) -> None:
    assert check(cascade, f"{TEMPLATE} ( < > ) [ [") is None


def test_a_question_without_its_options(cascade: Cascade) -> None:
    hit = check(cascade, f"{STEMS[0]} Say why.")
    assert hit is not None and (hit.row, hit.span) == (6, STEMS[0])


def test_what_is_short_or_shared_by_many_rows_says_nothing(cascade: Cascade) -> None:
    assert check(cascade, ROWS[7]) is None
    assert check(cascade, ROWS[8]) is None and check(cascade, ROWS[8] + " Say why.") is None


def test_a_test_set_without_anything_to_look_for() -> None:
    rows = [TestRow(number, str(number)) for number in range(4)]
    one = Cascade([build_index(TestSet("digits", rows), neutral=CLEAN)])
    assert check(one, "1") is None and check(one, ROWS[0]) is None


def test_a_short_question_says_nothing_without_its_choices() -> None:
    rows = [
        TestRow(0, "Which answer is right here?", choices=("a red ferry", "a bell of tin")),
        TestRow(1, "Who rang the bell of Pell?"),
    ]
    one = Cascade([build_index(TestSet("short", rows), neutral=CLEAN)])
    assert check(one, rows[0].question) is None
    assert (found := check(one, rows[1].question)) is not None and found.row == 1


def test_what_a_neutral_text_holds_is_no_copy() -> None:
    rows = [
        TestRow(0, CLEAN[1]),
        TestRow(1, "A ferry of nine tons carries 14 goats and a bell over the Orlen at noon."),
    ]
    one = Cascade([build_index(TestSet("own", rows), neutral=CLEAN)])
    assert check(one, CLEAN[1]) is None
    assert (found := check(one, rows[1].question)) is not None and found.row == 1


def test_layers_without_runs_of_words_look_for_no_copies(cascade: Cascade) -> None:
    other = Cascade(cascade.indexes, layers=("coverage",))
    assert check(other, ROWS[0]) is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 5))
def test_a_whole_question_is_found_between_anything(cascade: Cascade, before: str, after: str, number: int) -> None:
    assert weigh(squeeze(ROWS[number])) >= INSIDE
    text = f"{before} . {ROWS[number]} . {after}"
    hit = check(cascade, text)
    assert hit is not None and hit.row == number
    assert squeeze(ROWS[number]) in squeeze(hit.span) or squeeze(hit.span) in squeeze(text)


@given(st.text(max_size=50))
def test_squeezing_knows_no_white_space_and_no_case(text: str) -> None:
    assert squeeze(text) == squeeze(f"  {text}\t") and not any(sign.isspace() for sign in squeeze(text))
