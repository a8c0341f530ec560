"""The fast ways through a text find what the plain definition finds."""

from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.scorers.words import LONG, WORD, folded, grams, single_spaced, tokens, vocabulary, words

LIKELY = "abzABZ019'’_-. \n\t\"“”—…éßÀµªº²½\xa0\x85\x1c«»•жあ我ไ한İſ"


def plain_words(text: str) -> tuple[str, ...]:
    """The definition: the expression on the case-folded text, curly apostrophes written straight."""
    return tuple(WORD.findall(text.casefold().replace("’", "'")))


@settings(max_examples=600)
@given(st.text(max_size=60) | st.text(alphabet=LIKELY, max_size=60) | st.text(alphabet="aB'’ .é", max_size=30))
def test_words_are_what_the_expression_finds(text: str) -> None:
    assert words(text) == plain_words(text)
    assert vocabulary(text) == set(plain_words(text))
    assert folded(text) == text.casefold()
    assert single_spaced(text) == " ".join(text.split())
    assert tokens(text) == tuple(text.casefold().split())


def test_every_sign_of_unicode_is_split_as_the_expression_splits_it() -> None:
    definition = inspect.unwrap(words)  # without the cache
    for code in range(0x110000):
        sign = chr(code)
        text = f"A{sign}b'{sign}'c"
        assert definition(text) == plain_words(text), hex(code)
        # White space stays white space, so that tokens may be counted in either case.
        assert len(sign.split()) == len(sign.casefold().split())


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_grams_are_the_runs_of_words(letters: list[str], n: int) -> None:
    text = " ".join(letters)
    assert grams(text, n) == {tuple(letters[k : k + n]) for k in range(len(letters) - n + 1)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It's the dogs' “day”, isn’t it?", "it's the dogs day isn't it"),
        ("'quoted' ''twice'' rock''n''roll", "quoted twice rock n roll"),
        ("snake_case 3.14 e-mail", "snake case 3 14 e mail"),
        ("Straße — Été, señor…", "strasse été señor"),
        ("我喜欢 tea", "我 喜 欢 tea"),
        ("", ""),
        ("'", ""),
    ],
)
def test_words_by_example(text: str, found: str) -> None:
    assert " ".join(words(text)) == found


def test_long_texts_are_the_same_words() -> None:
    text = "It's one’s long text. " * (LONG // 10)
    assert words(text) == plain_words(text) and len(re.findall("it's", " ".join(words(text)))) == LONG // 10
    assert grams(text, 2) == {("it's", "one's"), ("one's", "long"), ("long", "text"), ("text", "it's")}
