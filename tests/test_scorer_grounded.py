"""The scorer `grounded`: numbers, names and spans against the source, with brute-force oracles."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from verifier_calls import call, context

from factory.errors import UsageError
from factory.scorers.grounded import computable, find_names, grounded
from factory.types import Score

SOURCE = {
    "text": "In 1998 Marie Curie-Skłodowska sold 1,250 lamps at 12.5% off. Twenty-five of them went to the United "
    "Nations; the rest, three quarters, stayed in Łódź."
}


def score(text: Any, source: Any = SOURCE, language: str = "en", template: str | None = None, **options: Any) -> Score:
    return call(grounded, text, context(source=source, language=language), source=template, **options)


def passes(text: Any, source: Any = SOURCE, language: str = "en", **options: Any) -> Score:
    found = score(text, source, language, **options)
    assert not found.vetoed and found.value is not None, found
    return found


def vetoed(text: Any, source: Any = SOURCE, language: str = "en", **options: Any) -> str:
    found = score(text, source, language, **options)
    assert found.vetoed and found.value is not None and (found.value < 1), found
    return found.reason


@pytest.mark.parametrize(
    "text",
    [
        "It sold 1250 lamps in 1998.",
        "25 went away; 1 250 were sold.",
        "A discount of 12.5 percent, or 0.125.",
        "1. First, 25.\n2. Then 1,250.\n3. Then nothing.",
        "Two reasons [1]: one, and three.",
        "１９９８年，٢٥",
        "twenty five",
        "二十五盏灯",
        "one thousand two hundred and fifty",
        "no number at all",
        "",
    ],
)
def test_numbers_that_are_there(text: str) -> None:
    assert passes(text, names="ignore").value == 1.0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("It sold 1251 lamps.", "1251"),
        ("It sold 1.250 lamps.", "1.250"),
        ("In 98 it was.", "98"),
        ("25% of them", "25%"),
        ("1250 million", "1250 million"),
        ("twenty-six", "twenty-six"),
        ("score: 10", "10"),
        ("4. is no list", "4"),
        ("二十六", "二十六"),
        ("1/3 of it", "1/3"),
    ],
)
def test_numbers_that_are_not(text: str, named: str) -> None:
    assert vetoed(text, names="ignore") == f"the number {named} is not in the source"
    assert passes(text, names="ignore", numbers="count").value != 1.0


def test_the_language_says_what_a_dot_is() -> None:
    german = {"text": "Es waren 1.000 Stück zu 3,50 Euro, also 2 Millionen."}
    assert passes("1000 zu 3,5 und 2.000.000", german, "de").value == 1.0
    assert "1,000" in vetoed("1,000", german, "de")
    assert "1,000" in vetoed("1,000", {"text": "Version 1.000"}, "en")
    table = {"text": "Year | Share (%)\n1998 | 37"}
    assert passes("In 1998 it was 37%.", table, names="ignore").value == 1.0
    assert "37%" in vetoed("It was 37%.", {"text": "37 people"})


def test_value_is_a_share_and_more_are_counted() -> None:
    found = score("1998, 25, 77 and 78.", names="ignore")
    assert found.vetoed and found.value == 0.5 and found.reason == "the number 77 is not in the source and 1 more"


@pytest.mark.parametrize(
    ("text", "numbers", "there"),
    [
        ("300", "100, 150, 50", True),  # the sum of all
        ("250", "100, 150, 50", True),
        ("15,000", "100, 150, 50", True),
        ("3", "100, 150, 50", True),
        ("66.7%", "100, 150, 50", True),
        ("67%", "100, 150, 50", True),
        ("33.3%", "100, 150, 50", True),  # from 150 to 100
        ("0.67", "100, 150, 50", True),
        ("1.49", "100, 150, 50", False),
        ("201", "100, 150, 50", False),
        ("60%", "100, 150, 50", False),
        ("7", "100, 150, 50, 20", False),
    ],
)
def test_computed_numbers(text: str, numbers: str, there: bool) -> None:
    source = {"text": numbers}
    assert vetoed(text, source)
    assert passes(text, source, allow_computed=True) if there else vetoed(text, source, allow_computed=True)


SMALL = st.integers(-20, 20).map(lambda number: Fraction(number, 2))


@given(SMALL, st.lists(SMALL.filter(lambda number: number >= 0), max_size=6, unique=True))
def test_computable_by_brute_force(wanted: Fraction, known: list[Fraction]) -> None:
    pairs = list(product(known, repeat=2))
    results = {a + b for a, b in pairs} | {a - b for a, b in pairs} | {a * b for a, b in pairs} | {sum(known)}
    results |= {a / b for a, b in pairs if a and b}
    if wanted:
        assert computable(wanted, sorted(known)) == (wanted in results)


def test_names() -> None:
    assert find_names("Marie Curie met Ludwig van Beethoven in New York. The end. He saw Paris. I am.") == [
        "Marie Curie", "Ludwig van Beethoven", "New York", "Paris",
    ]  # fmt: skip
    assert find_names("Ελένη και ο Γιώργος πήγαν στην Αθήνα.") == ["Γιώργος", "Αθήνα"]
    assert find_names("我在巴黎。") == [] and find_names("") == []
    found = passes("It went to the United Nations, said Marie.", names="veto")
    assert found.value == 1.0
    assert vetoed("It went to Angela Merkel.", names="veto") == "the name 'Angela Merkel' is not in the source"
    counted = passes("In 1998 it went to Angela Merkel.")
    assert counted.value == 0.5 and "Angela Merkel" in counted.reason


def test_a_span_of_the_source() -> None:
    text = SOURCE["text"]
    found = passes({"question": "Who?", "answer": "Marie Curie-Skłodowska"}, span="answer", names="ignore")
    assert found.reason == f"answer at {text.index('Marie')}"
    folded = passes({"answer": "the  united NATIONS"}, span="answer", names="ignore")
    assert folded.reason == f"answer at {text.index('the United')}"
    assert vetoed({"answer": "arie Curie"}, span="answer") == "answer 'arie Curie' is not in the source"
    assert vetoed({"answer": " "}, span="answer") == "answer is empty"
    assert vetoed({"answer": "250"}, span="answer")
    with pytest.raises(UsageError, match="span"):
        score({"answer": "x"}, span="anwser")
    with pytest.raises(UsageError, match="no source"):
        call(grounded, "x", context())
    with pytest.raises(UsageError, match="nothing to check"):
        score("x", numbers="ignore", names="ignore")
    assert passes("7", template="{{ source.text }} 7", names="ignore").value == 1.0


@given(st.text(alphabet="abA éßÉ\u0301茶ﬁ“”\"' \n-–1.5", max_size=60), st.integers(0, 59), st.integers(1, 20))
def test_the_offset_points_at_the_span(source: str, start: int, length: int) -> None:
    words = source.split()
    if not words:
        return
    piece = " ".join(words[start % len(words) :][:length])
    found = call(grounded, {"a": piece}, context(source={"t": source}), span="a", numbers="ignore", names="ignore")
    if not found.vetoed:
        offset = int(found.reason.rpartition(" ")[2])
        assert 0 <= offset < len(source) and source[offset] == piece[0]
    else:
        assert not any(char.isalnum() for char in piece) or "\u0301" in source


@pytest.mark.parametrize(
    "text", ["1 " * 500_000, "A " * 500_000, "Ab Cd " * 150_000, "x" * 10**6, "1." * 500_000, "二" * 300_000]
)
def test_a_megabyte(text: str) -> None:
    assert score(text).value is not None
    assert score("1998", {"text": text[:200_000]}, allow_computed=True).value is not None


@example("0\u00adA0")
@example("A\u200bB C")
@given(st.text(max_size=200))
def test_a_text_is_grounded_in_itself(text: str) -> None:
    assert score(text, {"text": text}, names="veto").value == 1.0
