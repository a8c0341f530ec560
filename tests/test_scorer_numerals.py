"""Numbers in prose, against Python's own formatting and small oracles."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.scorers.number_words import read_han
from factory.scorers.numerals import find_numbers, plain_digits, read_quantity, same_quantity

ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SYSTEMS = [0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xFF10, 0x1D7CE]


def in_words(number: int) -> str:
    """English, as an independent speller."""
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            joint = " and " if size == 100 and rest else " "
            return f"{in_words(number // size)} {name}" + (joint + in_words(rest) if rest else "")
    if number < 20:
        return ONES[number]
    return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")


def in_han(number: int) -> str:
    for size, name in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if number >= size:
            rest = number % size
            zero = "零" if rest and rest < size // 10 else ""
            return in_han(number // size) + name + (zero + in_han(rest) if rest else "")
    return "零一二三四五六七八九"[number]


def values(text: str, language: str = "en") -> list[Fraction]:
    return [mention.value for mention in find_numbers(text, language)]


@given(st.integers(0, 10**12 - 1))
def test_english_words(number: int) -> None:
    text = f"There were {in_words(number)}."
    (mention,) = find_numbers(text)
    assert mention.value == number and text[mention.start : mention.end] == in_words(number)


@given(st.integers(1, 10**12 - 1))
def test_han_numerals(number: int) -> None:
    assert read_han(in_han(number)) == number
    assert values(f"共{in_han(number)}人", "zh") == [number]


@given(
    st.integers(0, 10**12), st.integers(0, 10**6), st.sampled_from(["en", "de", "fr", "ch"]), st.sampled_from(SYSTEMS)
)
def test_grouped_numbers_of_every_script(whole: int, decimals: int, language: str, zero: int) -> None:
    group, point = {"en": ",.", "de": ".,", "fr": "\u202f,", "ch": "’."}[language]
    text = f"{whole:,}".replace(",", group) + point + f"{decimals:07d}"
    text = "".join(chr(zero + int(char)) if char.isdigit() else char for char in text)
    (mention,) = find_numbers(f"x {text} y", language)
    assert mention.value == Fraction(whole * 10**7 + decimals, 10**7)
    assert (mention.start, mention.end) == (2, 2 + len(text))


@given(
    st.text(max_size=200) | st.text(alphabet="0123456789.,' /½% emillonzdpcrt٣３二十万", max_size=200),
    st.sampled_from(["en", "de"]),
)
def test_any_text_has_mentions_in_order_and_apart(text: str, language: str) -> None:
    found = find_numbers(text, language)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert len(plain_digits(text)) == len(text)
    assert all(one.text and 0 <= one.start < one.end <= len(text) for one in found)


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("1.000", "en", [1]),
        ("1.000", "de", [1000]),
        ("1,5", "de", [Fraction(3, 2)]),
        ("1.5", "de", [Fraction(3, 2)]),
        ("3,5", "en", [3, 5]),
        ("1,2,3", "en", [1, 2, 3]),
        ("1.234,56", "en", [Fraction(123456, 100)]),
        ("1,00,000", "en", [100_000]),
        ("12 300", "en", [12_300]),
        ("2020 300", "en", [2020, 300]),
        ("3/4 and 3 1/2 and 2½", "en", [Fraction(3, 4), Fraction(7, 2), Fraction(5, 2)]),
        ("5 / 0, 5/0", "en", [5, 0, 5, 0]),
        ("50%, 50 percent, fifty percent, ٥٠٪", "en", [Fraction(1, 2)] * 4),
        ("3.5 million, 2 Millionen, 3万, 1.2億", "en", [3_500_000, 2_000_000, 30_000, 120_000_000]),
        ("a dozen, five dozen, two three", "en", [12, 60, 2, 3]),
        ("nineteen eighty-four", "en", [19, 84]),
        ("zwölf", "de", []),
        ("", "en", []),
    ],
)  # fmt: skip
def test_numbers(text: str, language: str, found: list[Fraction]) -> None:
    assert values(text, language) == found


@pytest.mark.parametrize("text", ["1" * 1_000_000, "1," * 100_000, "1 " * 100_000, "٣" * 1_000_000, "one " * 100_000])
def test_a_megabyte(text: str) -> None:
    assert len(find_numbers(text)) <= 500_000


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("−3.5", "-7/2", ""), ("$1,000.", "1000", "$"), ("3 1/2", "7/2", ""), ("12 apples", "12", "apple"),
     ("1.5e3", "1500", ""),
     ("-½", "-1/2", ""), (".5", "1/2", ""), ("90 degrees", "90", "°"), ("5 m/s", "5", "m/s")],
)  # fmt: skip
def test_quantities(text: str, value: str, unit: str) -> None:
    quantity = read_quantity(text)
    assert quantity is not None and quantity.value == Fraction(value) and quantity.unit == unit


@pytest.mark.parametrize(
    "text", ["", "x", "1, 2", "(1,2)", "3+4", "2:30", "12 or 13", "12 and a half", "1 2", "x=5", "9" * 81]
)
def test_what_is_no_quantity(text: str) -> None:
    assert read_quantity(text) is None


def test_units_and_percentages() -> None:
    def same(one: str, other: str, **options: bool) -> bool:
        left, right = read_quantity(one), read_quantity(other)
        assert left is not None and right is not None
        return same_quantity(left, right, **options)

    assert same("12 apples", "12") and same("12 apple", "12 apples") and not same("12 cm", "12 m")
    assert same("50%", "0.5") and same("50%", "50") and same("50", "50%") and not same("0.5", "50")
    assert not same("50%", "50", strict_percent=True)
