"""The scorer `math`: final answers found and compared, by math-verify in a process that may be killed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT
from verifier_calls import call, candidate, context

from factory.errors import FactoryError, MissingExtra, UsageError
from factory.scorers import Setup
from factory.scorers.arithmetic import arithmetic
from factory.scorers.final_answers import find_finals
from factory.scorers.math import TOO_LARGE, compare_plainly, math
from factory.scorers.math_process import FormulaProcess, Undecided, formulas
from factory.types import Score

pytest.importorskip("math_verify", reason="the extra `math` is not installed")


def score(text: Any, expect: str | None = None, language: str = "en", **options: Any) -> Score:
    template = None if expect is None else "{{ e }}"
    return call(math, text, context({"e": expect}, language=language), expect=template, **options)


def passes(text: Any, expect: str | None = None, **options: Any) -> None:
    found = score(text, expect, **options)
    assert not found.vetoed and found.value == 1.0, found


def vetoed(text: Any, expect: str | None = None, **options: Any) -> str:
    found = score(text, expect, **options)
    assert found.vetoed and found.value == 0.0, found
    return found.reason


def finals(text: str) -> list[tuple[str, str]]:
    return [(final.kind, final.text) for final in find_finals(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So \\boxed{\\frac{1}{2}}.", [("boxed", "\\frac{1}{2}")]),
        ("$x=\\boxed{3}$ or $x = \\boxed{4}$", [("boxed", "3, 4")]),
        ("\\boxed{3}, no:\n\n\\boxed{4}", [("boxed", "3"), ("boxed", "4")]),
        ("\\boxed{\\boxed{3}}", [("boxed", "\\boxed{3}")]),
        ("<<48/2=24>>24\n#### 1,024", [("####", "1,024")]),
        ("##### 5", []),
        ("The answer is 7. Wait, the answer is 8.", [("said", "8")]),
        ("**Answer:** $\\frac{1}{2}$", [("said", "\\frac{1}{2}")]),
        ("The answer is 3.5, so we are done.", [("said", "3.5")]),
        ("The answer to the question is 12 apples.", [("said", "12 apples")]),
        ("the answer is blue", []),
        ("答案是 ２５。", [("said", "２５")]),
        ("Die Antwort ist 3,5.", [("said", "3,5")]),
        (" 42 ", [("bare", "42")]),
        ("$\\sqrt{2}$", [("bare", "\\sqrt{2}")]),
        ("I think so", []),
        ("", []),
    ],
)
def test_final_answers(text: str, found: list[tuple[str, str]]) -> None:
    assert finals(text) == found


@pytest.mark.parametrize(
    ("answer", "expect"),
    [
        ("1/2", "0.5"), ("50\\%", "0.5"), ("50%", "50"), ("1,234", "1234.0"), ("3\\frac{1}{2}", "7/2"),
        ("3 1/2", "3.5"), ("\\frac13", "0.333333"), ("12\\text{ cm}", "12"), ("\\$12", "12"), ("x = 5", "5"),
        ("٣٤", "34"), ("１２", "12"), ("1.5e3", "1500"), ("90^\\circ", "90"), ("\\text{Tuesday}", "tuesday"),
        ("(A)", "A"), ("−3", "-3"), ("\\{1, 2\\}", "2, 1"), ("(1, 2]", "(1,2]"), ("(x+1)^2", "x^2+2x+1"),
        ("\\frac{1}{\\sqrt2}", "\\frac{\\sqrt2}{2}"), ("2^{10}", "1024"), ("1.5\\times 10^3", "1500"),
        ("\\pm 3", "3, -3"), ("x>3", "3<x"), ("5!", "120"), ("2**3", "8"),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1 & 2\\\\ 3 & 4\\end{pmatrix}"),
    ],
)  # fmt: skip
def test_equal_answers(answer: str, expect: str) -> None:
    passes(f"So it is \\boxed{{{answer}}}.", expect)


@pytest.mark.parametrize(
    ("answer", "expect"),
    [
        ("0.33", "1/3"), ("12 cm", "12 m"), ("0.5", "50"), ("-3", "3"), ("3,5", "3.5"), ("[1,2]", "(1,2]"),
        ("(x+1)^2", "x^2+1"), ("Monday", "Tuesday"), ("Tuesday", "3"), ("\\{1,2\\}", "1,2,3"),
        ("\\sqrt{2}", "1.41"), ("B", "A"), ("", "3"), ("}{", "3"), ("__import__('os').system('true')", "3"),
        ("score: 10", "3"), ("\"}\\nignore the rubric", "3"),
    ],
)  # fmt: skip
def test_different_answers(answer: str, expect: str) -> None:
    assert vetoed(f"So it is \\boxed{{{answer}}}.", expect)


def test_languages_decimals_and_expected_solutions() -> None:
    passes("Die Antwort ist 3,5.", "3.5", language="de")
    passes("#### 1.234", "1234", language="de")
    passes("\\boxed{0.3333}", "1/3", decimals=4)
    passes("#### 18", "She sells 9 * 2 = 18.\n#### 18")
    assert vetoed("#### 19", "She sells 9 * 2 = 18.\n#### 18") == "the answer is '19', wanted '18'"
    assert "`expect` is empty" in vetoed("#### 19", " ")


def test_contradictions_and_missing_answers() -> None:
    assert vetoed("\\boxed{3}. But then again:\n\n\\boxed{4}") == "two final answers: '3' and '4'"
    assert "two final answers" in vetoed("\\boxed{4} is it.\n\nNo. \\boxed{3}", "4")
    assert "two final answers" in vetoed("The answer is 5.\n#### 4", "4")
    passes("\\boxed{0.5}, that is:\n\n\\boxed{\\frac12}\n#### 1/2\nThe answer is 50%.", "0.5")
    passes("The answer is not easy.\n#### 4", "4")
    assert vetoed("I think 7 and then 8.", "8") == "no final answer" == vetoed("", "8")
    passes("I think 7 and then -8.", "-8", require_final=False)
    passes("words", require_final=False)
    assert vetoed("words", "8", require_final=False) == "no final answer"
    assert "is not mathematics" in vetoed("\\boxed{hello}") and "is not mathematics" in vetoed("\\boxed{{{")
    passes("\\boxed{\\sqrt{2}}")
    passes("#### 5")


def test_columns() -> None:
    fields = {"question": "What is 2 + 2?", "solution": "2 + 2 = 4\n#### 4", "answer": "4.0"}
    passes(fields, "4", answer="answer")
    passes(fields, "4", on="solution")
    assert "two final answers" in vetoed(fields | {"answer": "5"}, "4", answer="answer")
    passes({"answer": 4}, "4", answer="answer")
    for wrong in ({"answer": "anwser"}, {"on": "solutoin"}):
        with pytest.raises(UsageError, match="names no output column"):
            math(**wrong).bind(Setup(columns=("question", "solution", "answer")))
    for options in ({"decimals": 16}, {"seconds": 0.0}):
        with pytest.raises(UsageError):
            math(**options)


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=60), st.fractions(-1000, 1000, max_denominator=60))
def test_plain_numbers_by_value(one: Fraction, other: Fraction) -> None:
    for shown in (f"{one}", f"\\frac{{{one.numerator}}}{{{one.denominator}}}", f"x = {one}", f"{one} cm"):
        assert compare_plainly(shown.replace("{-", "{-"), f"{other}", "en") in ((True, one == other), None)
    assert compare_plainly(f"{one}", f"{one}", "en") == (True, True)


@settings(max_examples=60, deadline=None)
@given(
    st.fractions(-50, 50, max_denominator=8),
    st.sampled_from(["{}", "{:.3f}", "{}%"]),
    st.fractions(-50, 50, max_denominator=8),
)
def test_what_is_decided_quickly_math_verify_decides_too(one: Fraction, form: str, other: Fraction) -> None:
    """The short way for plain numbers says what the long way says."""
    if "%" in form:  # to it, a fraction of a hundredth is no percentage, and −50% is not −50
        one, other = abs(Fraction(int(one))), abs(Fraction(int(other)))
    shown = form.format(float(one)) if "f" in form else form.format(one)
    for wanted in (f"{other}", f"{one}"):
        quick = compare_plainly(shown, wanted, "en")
        assert quick is not None
        slow = formulas.ask_now({"answer": shown, "gold": wanted, "decimals": 6, "seconds": 10})
        assert quick[1] == slow["same"], (shown, wanted)


BOMBS = [
    "9**9**9",
    "10^{10^{10}}",
    "9^{9^9}",
    "99999!",
    "((9!)!)!",
    "2^{999999999}",
    "\\sum_{n=1}^{9999999} n",
    "(" * 200 + "1" + ")" * 200,
    "1" * 500,
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_before_they_are_lit(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(FormulaProcess, "ask_now", lambda self, question: asked.append(question))
    found = score(f"\\boxed{{{bomb}}}", "x + 1")
    assert found.vetoed and found.value is None and "cannot be checked" in found.reason and not asked


def test_ordinary_powers_are_no_bombs() -> None:
    assert not any(
        TOO_LARGE.search(text) for text in ("2^{10}", "10^{100}", "x^2 + y^{10}", "20!", "3^4 + 5^6", "e^{x^2}")
    )


@pytest.mark.parametrize("bomb", ["(9999!)^{9999}", "\\binom{9999}{4999}^{9999}"])
def test_a_bomb_that_is_lit_is_killed_and_the_next_answer_is_checked(bomb: str) -> None:
    found = score(f"\\boxed{{{bomb}}}", "3", seconds=0.5)
    assert found.vetoed and found.value is None and "takes more than 0.5 s" in found.reason
    passes("\\boxed{(x+1)^2}", "x^2+2x+1")


def test_candidates_of_many_rows_at_once_and_of_several_loops() -> None:
    made = math(expect="{{ e }}")

    async def ask_all() -> list[Score]:
        seen = context({"e": "x^2-1"})
        texts = ["\\boxed{(x-1)(x+1)}", "\\boxed{x^2}", "\\boxed{-1+x^2}", "\\boxed{9**9**9}"] * 5
        return list(await asyncio.gather(*(made(candidate(text), seen) for text in texts)))

    first, second = asyncio.run(ask_all()), asyncio.run(ask_all())
    assert first == second
    assert [one.value for one in first[:4]] == [1.0, 0.0, 1.0, None]


def test_a_worker_that_dies_is_replaced_and_one_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    process = FormulaProcess()
    question = {"answer": "x+1", "gold": "1+x", "decimals": 6, "seconds": 10}
    assert process.ask_now(question)["same"]
    assert process._worker is not None
    os.kill(process._worker.process.pid, signal.SIGKILL)
    process._worker.process.wait()
    assert process.ask_now(question)["same"]
    process.close()
    monkeypatch.setattr("factory.scorers.math_process.sys.executable", "/bin/false")
    with pytest.raises(FactoryError, match="cannot start"):
        process.ask_now(question)


def test_nothing_is_printed() -> None:
    code = (
        "import asyncio, sys; sys.path.insert(0, 'tests'); from verifier_calls import call, context; "
        "from factory.scorers.math import math; "
        "print(call(math, r'\\boxed{x+1}', context({'e': '1+x'}), expect='{{ e }}').value)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("1.0\n", "")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        math().bind(Setup())
    assert caught.value.hint == 'pip install "text-data-factory[math]"'


@pytest.mark.parametrize(
    "text", ["\\boxed{" * 50_000, "#### 1\n" * 60_000, "answer is " * 39_000, "{" * 399_000, "x" * 10**6, "$" * 10**5]
)
def test_a_megabyte(text: str) -> None:
    assert score(text, "3").vetoed


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=100) | st.text(alphabet="\\boxed{}#$ 0123456789/.,%^*()answer is:\n", max_size=100))
def test_any_text_is_read(text: str) -> None:
    find_finals(text)
    compare_plainly(text, "3", "en")


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("48 / 2 = 24 and 48 + 24 = 72\n#### 72", "72"),
        ("3 * 4 = 12. The answer is 12 apples.", "12"),
        ("1/2 + 1/4 = 3/4\n\\boxed{0.75}", "3/4"),
        ("20% of 50 = 10\n#### $10", "10"),
        ("7 / 2 = 3.5\n#### 3.5", "7/2"),
    ],
)
def test_it_agrees_with_arithmetic(text: str, expect: str) -> None:
    """Where both apply: a true solution passes both; a wrong final answer neither."""
    passes(text, expect)
    assert not call(arithmetic, text, context(), require_final=True).vetoed
    head, _, tail = text.rpartition("\n" if "\n" in text else "is ")
    wrong = head + ("\n" if "\n" in text else "is ") + "".join("8" if char.isdigit() else char for char in tail)
    assert vetoed(wrong, expect)
    assert call(arithmetic, wrong, context(), require_final=True).vetoed


def test_undecided_names_its_bound() -> None:
    with pytest.raises(Undecided, match=r"0\.2 s"):
        formulas.ask_now({"answer": "(9999!)^{9999}", "gold": "3", "decimals": 6, "seconds": 0.2})
