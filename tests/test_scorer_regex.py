"""The scorer `regex`: what is found, what must not be, what a group holds; linear time on hostile text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_specs import Spec

from factory.errors import UsageError
from factory.prompts import render_text
from factory.scorers import Context
from factory.scorers.regex import CHARACTERS, Regex
from factory.scoring import compile_scorers
from factory.types import Candidate, Prompt, Score, Variation


def run(text: str | dict[str, Any], scope: Mapping[str, Any] | None = None, **options: Any) -> Score:
    names = dict(scope or {})
    context = Context(Variation(0, {}), Prompt((), "sha"), names, lambda template: render_text(template, names))
    fields = text if isinstance(text, dict) else None
    score = Regex(**options)(
        Candidate(0, "main", 0, "" if isinstance(text, dict) else text, "stop", 1, "m", fields), context
    )
    assert score.name == "regex" and score.value == float(not score.vetoed) and len(score.reason) < 200
    assert bool(score.reason) == score.vetoed
    return score


def good(text: str | dict[str, Any], scope: Mapping[str, Any] | None = None, **options: Any) -> bool:
    return not run(text, scope, **options).vetoed


def test_found_whole_and_not_found() -> None:
    assert good("Q: a\nA: b", pattern="^Q: .+") and not good("A: b\nQ: a", pattern="^Q: .+")
    assert good("A: b\nQ: a", pattern="^Q: .+", flags="m")
    assert good("a\nb", pattern="a.b", flags="s") and not good("a\nb", pattern="a.b")
    assert good("HELLO", pattern="hello", flags="i") and not good("HELLO", pattern="hello")
    assert good("  2024-01-15\n", pattern=r"\d{4}-\d\d-\d\d", fullmatch=True)
    assert not good("on 2024-01-15", pattern=r"\d{4}-\d\d-\d\d", fullmatch=True)
    assert good("ab", pattern="a|ab", fullmatch=True)  # an alternative does not escape the bounds
    assert good("fine", not_pattern="lorem") and not good("Lorem", not_pattern="lorem", flags="i")
    assert good("", pattern="") and not good("", pattern=".")
    assert good("end", pattern=r"end\Z") and not good("end.", pattern=r"end\Z")
    assert run("no", pattern="yes").reason == "does not hold yes"
    assert run("no", pattern="yes", fullmatch=True).reason == "is not yes"
    assert run("yes", not_pattern="yes").reason == "holds yes"


def test_unicode() -> None:
    assert good("Die Übung 3", pattern=r"\bübung\b", flags="i")
    assert good("答案：42", pattern=r"答案[:：]\s*\d+") and good("カフェ", pattern=r"^\w+$")
    assert not good("half \ud800 pair", pattern="pairs") and good("half \ud800 pair", pattern="pair")
    assert not good("half \ud800 pair", not_pattern="pair")


def test_groups_equal_templates() -> None:
    text = "Step: 12 + 7.\nAnswer: 18? No.\nAnswer: 19"
    scope = {"result": 19, "first": "18"}
    options: dict[str, Any] = {"pattern": r"Answer:\s*(\d+)", "group": 1}
    assert good(text, scope, equals="{{ first }}", **options)
    assert good(text, scope, equals="{{ result }}", last=True, **options)
    broken = run(text, scope, equals="{{ result }}", **options)
    assert broken.vetoed and broken.reason == "group 1 is '18', wanted '19'"
    assert good("#### 1,200.50", pattern=r"#### (?P<value>[\d,.]+)", group="value", equals="1200.5")
    assert good("(a)(b)", pattern=r"[(](\w)\)[(](?:(?P<second>\w))\)", group="second", equals="b")
    assert good("(a)(b)", pattern=r"[(](\w)\)[(](?:(?P<second>\w))\)", group=2, equals="b")
    assert good("x = 7", pattern=r"\d", equals="7") and good(" 7 ", pattern=r"\d", fullmatch=True, equals="7")
    assert good("aXb", pattern="(?:a)(x)", flags="i", group=1, equals="X")
    assert good("a", pattern="a(b)?", group=1, equals="") and not good("a", pattern="a(b)?", group=1, equals="b")
    assert good("Größe: ４２", pattern=r"(\w+): (\d+)", group=1, equals="Größe")
    assert not good("no", pattern="(yes)", group=1, equals="yes")


def test_numbers_of_any_length_are_compared_exactly() -> None:
    long = "9" * 29
    assert good(f"= {long}", pattern=r"\d+", equals=long)
    assert not good(f"= {long}", pattern=r"\d+", equals=long[:-1] + "8")
    for same in ("7", "7.0", "+7", "007"):
        assert good("= 7.00", pattern=r"[\d.]+", equals=same)
    assert not good("= -7", pattern=r"-?\d+", equals="7") and good("= -0", pattern=r"-?\d+", equals="0")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)+b", "a" * 900_000),
        (r"(a|a)*b", "a" * 900_000),
        (r"(.*)(.*)(.*)(.*)(.*)[xyz]=", "a=" * 400_000),
        (r"\s*\s*\s*\s*x", " " * 900_000),
        (r"^(\w+\s?)*$", "word " * 150_000 + "!"),
    ],
)
def test_patterns_that_blow_up_elsewhere_do_not(pattern: str, text: str) -> None:
    assert not good(text, pattern=pattern)
    assert good(text, not_pattern=pattern)
    assert not good(text + "§", pattern=f"({pattern})", group=1, equals="b")


def test_texts_too_long_are_vetoed_unread() -> None:
    assert "more than are searched" in run("a" * (CHARACTERS + 1), pattern="a").reason


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "needs a `pattern`"),
        ({"pattern": "("}, "linear time"),
        ({"pattern": "(?=a)b"}, "linear time"),
        ({"pattern": r"(a)\1"}, "linear time"),
        ({"not_pattern": "(?<!a)b"}, "`not_pattern`"),
        ({"pattern": "a", "flags": "ig"}, "flags"),
        ({"pattern": "(a)", "group": 1}, "give `equals`|say what"),
        ({"not_pattern": "a", "equals": "x"}, "speak of a `pattern`"),
        ({"pattern": "(a)", "group": 2, "equals": "x"}, "not in the pattern"),
        ({"pattern": "(?P<one>a)", "group": "two", "equals": "x"}, "not in the pattern"),
        ({"pattern": r"[^\W]", "equals": "x"}, "in brackets"),
    ],
)
def test_bad_options(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        Regex(**options)
    assert caught.value.hint


@pytest.mark.parametrize("text", ['{"regex": 1}', "score: 10", 'ignore the pattern"; return 1', "^Answer$"])
def test_what_a_text_says_of_itself_does_not_count(text: str) -> None:
    assert not good(text, pattern=r"^Answer: \d+$")


ATOMS = st.sampled_from(["a", "b", r"\d", r"\w", "[ab]", "[^a]", ".", "(a|b)", "(ab)", "(?:b|1)"])
PATTERNS = st.lists(st.tuples(ATOMS, st.sampled_from(["", "?", "*", "+", "{1,2}"])), min_size=1, max_size=4).map(
    lambda parts: "".join(atom + times for atom, times in parts)
)


@settings(max_examples=300)
@given(PATTERNS, st.text(alphabet="ab1 é", max_size=12))
def test_agrees_with_python(pattern: str, text: str) -> None:
    found = re.search(pattern, text)
    assert good(text, pattern=pattern) == (found is not None)
    assert good(text, not_pattern=pattern) == (found is None)
    assert good(text, pattern=pattern, fullmatch=True) == (re.fullmatch(pattern, text.strip()) is not None)
    if found is not None:
        assert good(text, pattern=pattern, equals=found[0])
        for number in range(1, re.compile(pattern).groups + 1):
            assert good(text, pattern=pattern, group=number, equals=found[number] or "")


def test_columns_and_a_recipe() -> None:
    fields = {"question": "Q", "answer": "42"}
    assert good(fields, pattern=r"\d+", fullmatch=True, on="answer") and good(fields, pattern="Q\n42")
    (scorer,) = compile_scorers([Spec("regex", {"pattern": "a(b)", "group": 1, "equals": "{{ x }}"})]).scorers
    assert (scorer.traits.low, scorer.traits.high, scorer.traits.expense) == (0, 1, "rule")
    with pytest.raises(UsageError, match="pattern"):
        compile_scorers([Spec("regex", {"pattern": 3})])
