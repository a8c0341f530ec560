"""The rule scorers on good, bad, empty, huge, non-Latin and hostile text."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from factory.errors import UsageError
from factory.prompts import render_text
from factory.scorers import Context
from factory.scorers.arithmetic import arithmetic
from factory.scorers.choice_answer import choice_answer
from factory.scorers.equation_tokens import plain_latex
from factory.scorers.equations import find_equations
from factory.scorers.format import format
from factory.scorers.language import language
from factory.scorers.length import length
from factory.scorers.refusal import refusal
from factory.scorers.repetition import repetition
from factory.types import Candidate, Prompt, Score, Variation

SCORERS = (length, format, repetition, refusal, language, arithmetic, choice_answer)
MEGABYTE = 1_000_000


def context(scope: Mapping[str, Any] | None = None) -> Context:
    names = dict(scope or {})
    return Context(Variation(0, {}), Prompt((), "sha"), names, lambda text: render_text(text, names))


def run(scorer: Any, given: Any, scope: Mapping[str, Any] | None = None, **options: Any) -> Score:
    """A scorer on a text, or on columns; also checks the documented range."""
    fields = given if isinstance(given, dict) else None
    candidate = Candidate(0, "main", 0, "" if fields else given, "stop", 1, "m", fields)
    if scorer in (format, repetition, refusal, language):  # they take a row's candidates at once
        [score] = scorer([candidate], context(scope), **options)
    else:
        score = scorer(candidate, context(scope), **options)
    assert isinstance(score, Score) and score.name == scorer.__name__
    assert score.value is not None and 0.0 <= score.value <= 1.0
    assert score.reason or not score.vetoed
    assert len(score.reason) < 300
    return score


def vetoed(scorer: Any, given: Any, scope: Mapping[str, Any] | None = None, **options: Any) -> str:
    score = run(scorer, given, scope, **options)
    assert score.vetoed, score
    return score.reason


def passes(scorer: Any, given: Any, scope: Mapping[str, Any] | None = None, **options: Any) -> float:
    score = run(scorer, given, scope, **options)
    assert not score.vetoed, score
    assert score.value is not None
    return score.value


# length


def test_length_bounds_and_target() -> None:
    text = "one two three four five"
    assert passes(length, text, min_words=5, max_words=5, min_chars=23, max_chars=23) == 1.0
    assert vetoed(length, text, min_words=6) == "5 words, at least 6 wanted"
    assert vetoed(length, text, max_words=4) == "5 words, at most 4 wanted"
    assert vetoed(length, text, min_chars=24) == "23 characters, at least 24 wanted"
    assert vetoed(length, text, max_chars=22) == "23 characters, at most 22 wanted"
    assert passes(length, text, target_words=10) == 0.5
    assert passes(length, text, target_words=4) == 0.8
    assert passes(length, "", target_words=4) == 0.0
    assert vetoed(length, "", min_words=1)
    assert passes(length, "我喜欢这个搅拌机", min_words=8, max_words=8) == 1.0
    assert passes(length, "Das kostet nur fünf Euro", max_words=5) == 1.0
    assert passes(length, "word " * (MEGABYTE // 5), min_words=MEGABYTE // 5)
    with pytest.raises(UsageError):
        run(length, text, min_words=5, max_words=4)


def test_columns_and_their_names() -> None:
    fields = {"question": "one two", "answer": "three", "n": 4, "tags": ["five", "six"], "none": None}
    assert run(length, fields).reason == "6 words"
    assert run(length, fields, on="tags").reason == "2 words"
    assert vetoed(length, fields, on="none", min_words=1)
    with pytest.raises(UsageError) as caught:
        run(length, fields, on="anwser")
    assert "`answer`" in caught.value.hint


# format


def test_format_rules() -> None:
    scope = {"product": "Tea Kettle", "rating": 4, "none": ""}
    text = "I love my tea  kettle.\nFive stars!"
    assert passes(format, text, scope, contains="{{ product }}", not_contains=["toaster"]) == 1.0
    assert "does not contain 'toaster'" in vetoed(format, text, scope, contains=["{{ product }}", "Toaster"])
    assert "does not contain" in vetoed(format, text, scope, contains="{{ product }}", case_sensitive=True)
    assert "contains 'love'" in vetoed(format, text, scope, not_contains="LOVE")
    assert passes(format, text, scope, not_contains="{{ none }}")
    assert passes(format, text, starts_with=["We", "I "], ends_with=["!", "?"])
    assert vetoed(format, text, starts_with="You") and vetoed(format, text, ends_with=".")
    assert passes(format, text, pattern=r"(?m)^five \w+") and vetoed(format, text, pattern=r"^\d")
    assert passes(format, "Yes", one_of=["yes", "no"]) and vetoed(format, "maybe", one_of=["yes", "no"])
    fields = {"message": "x", "rating": 4.0, "mood": "Mixed"}
    assert passes(format, fields, scope, equals={"rating": "{{ rating }}", "mood": "mixed"})
    assert vetoed(format, fields, {"rating": 5}, equals={"rating": "{{ rating }}"}) == "rating is '4.0', wanted '5'"
    assert passes(format, "caf\u00e9 au lait", contains="cafe\u0301") and passes(format, "我喜欢茶壶", contains="茶壶")
    assert vetoed(format, "", contains="a")
    with pytest.raises(UsageError, match="regular expression"):
        run(format, text, pattern="(")
    with pytest.raises(UsageError, match="equals"):
        run(format, fields, equals={"ratting": "4"})


# repetition

PROSE = (
    "The ferry left the harbour at noon. Gulls followed it past the lighthouse, and a cold wind came from the north. "
    "On deck a man sold tea to those who had forgotten their coats. Nobody spoke until the island came into view."
)


def test_repetition_finds_loops_but_not_prose() -> None:
    assert passes(repetition, PROSE) == 1.0
    assert passes(repetition, "") == 1.0 and passes(repetition, "No, no, no!") == 1.0
    assert "4 words" in vetoed(repetition, "the cat sat and " * 20)
    assert vetoed(repetition, "ha " * 50)
    assert "this line comes again" in vetoed(repetition, PROSE[:60] + "\nThis line comes again and again" * 9)
    assert vetoed(repetition, "!" * 300) and vetoed(repetition, "abc" * 100)
    assert vetoed(repetition, "这个搅拌机很好用。" * 30) and vetoed(repetition, "这个搅拌机很好用" * 30)
    assert 0.4 < passes(repetition, PROSE + " " + PROSE, max_share=0.9) < 0.6
    assert vetoed(repetition, PROSE + " " + PROSE, max_share=0.3)
    values = [run(repetition, PROSE + " so it goes on and on" * n, max_share=1.0).value for n in (0, 4, 8, 40)]
    assert values == sorted(values, reverse=True)


# refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, but I can’t help with that request.",
        "I cannot provide medical advice.",
        "I cannot fulfill this request.",
        "Unfortunately, I am unable to generate content that promotes violence.",
        "I apologize, but I cannot create that.",
        "I must respectfully decline.",
        "As an AI language model, I don't have feelings.",
        "The product is good. However, as a large language model, I cannot hold it.",
        "I am an AI assistant and can only write text.",
        "My training data ends in 2021.",
        "Sure! Here's a customer review of the product:\n\nGreat kettle.",
        "Here is a review:\nNice.",
        "A nice kettle. Let me know if you'd like me to change the tone!",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
        "Als KI-Sprachmodell habe ich keine Meinung.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "En tant que modèle de langage, je n'ai pas d'avis.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Como modelo de lenguaje, no tengo opiniones.",
        "Mi dispiace, ma non posso aiutarti.",
        "Desculpe, mas não posso ajudar com isso.",
        "Извините, но я не могу помочь с этим.",
        "抱歉，我无法提供这些内容。",
        "作为一个AI语言模型，我没有感情。",
        "申し訳ありませんが、そのご要望にはお答えできません。",
        "죄송하지만 도와드릴 수 없습니다.",
    ],
)
def test_refusals_and_boilerplate(text: str) -> None:
    assert vetoed(refusal, text)
    assert vetoed(refusal, {"question": "What is it?", "answer": text})


@pytest.mark.parametrize(
    "text",
    [
        "",
        PROSE,
        "I'm sorry but I can't recommend this blender to anyone.",
        '"I can\'t help you with that," said the wizard.',
        'The robot said: "As an AI, I have no soul."',
        "The guard shook his head. I cannot help with that, he thought.",
        "I can't help but love this kettle.",
        "Sorry, I cannot find my order. Please help.",
        "I am unable to log in to my account.",
        "Unfortunately the lamp broke after two days.",
        "I'm afraid it arrived broken, and I can't use it.",
        "I cannot write enough good things about this pen.",
        "She works on an AI that plays chess.",
        "Sure! Here's my honest opinion: it's great.",
        "Let me know if you need anything else from my side.",
        "Leider kann ich den Mixer nicht empfehlen.",
        "Desculpe, não gostei.",
        "申し訳ありませんが、返品したいです。",
    ],
)
def test_people_may_say_no(text: str) -> None:
    assert passes(refusal, text) == 1.0


def test_boilerplate_can_be_allowed() -> None:
    assert passes(refusal, "Here is a review:\nNice.", boilerplate=False)
    assert vetoed(refusal, "I cannot assist with that.", boilerplate=False)


# language

SENTENCES = {
    "en": "The kettle boils quickly and it looks good in my kitchen.",
    "de": "Der Wasserkocher ist schnell und sieht in meiner Küche gut aus.",
    "fr": "La bouilloire chauffe vite et elle est belle dans ma cuisine.",
    "es": "La tetera hierve rápido y se ve bien en mi cocina.",
    "ru": "Чайник быстро кипит и хорошо смотрится на моей кухне.",
    "zh": "这个水壶烧水很快，放在我的厨房里也很好看。",
    "ja": "このやかんはすぐに沸いて、台所でもきれいに見えます。",
    "ar": "تغلي الغلاية بسرعة وتبدو جيدة في مطبخي.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_language_tells_languages_apart(code: str) -> None:
    assert passes(language, SENTENCES[code], expect=code) > 0.5
    assert passes(language, SENTENCES[code], expect=["en", code]) > 0.5
    other = "de" if code != "de" else "en"
    assert f"wanted {other}" in vetoed(language, SENTENCES[code], expect=other)


def test_language_defaults_and_limits() -> None:
    assert passes(language, SENTENCES["en"]) > 0.5  # the recipe's language
    assert passes(language, SENTENCES["en"], {"lang": "en-GB"}, expect="{{ lang }}") > 0.5
    for short in ("", "19", "Ja, gut.", "12 + 7 = 19\n#### 19", "…"):
        assert passes(language, short) == 1.0
    assert vetoed(language, "这个水壶很好看。", expect="en")
    assert vetoed(language, SENTENCES["de"] * 20_000)
    for wrong in ("english", "xx", ""):
        with pytest.raises(UsageError):
            run(language, "text", expect=wrong)


# arithmetic


def found(text: str) -> list[tuple[str, bool]]:
    return [(equation.text, equation.holds) for equation in find_equations(plain_latex(text))]


@pytest.mark.parametrize(
    "text",
    [
        "12 + 7 = 19", "16 - 3 - 4 = 9 eggs a day", "3 x 4 = 12", "3 × 4 = 12", "3*4=12", "12 ÷ 4 = 3", "7 − 2 = 5",
        "$3 × 4 = $12", "$1,200.50 + $300 = $1,500.50", "(3 + 4) × 2 = 14", "2(3 + 4) = 14", "1/2 + 1/4 = 3/4",
        "½ × 8 = 4", "2 1/2 + 1 = 3 1/2", "20% of 50 = 10", "10 / 50 = 20%", "10/50 × 100 = 20%", "100% - 20% = 80%",
        "10 / 3 = 3.33", "2 / 3 = 0.67", "2 / 3 = 0.66", "10 / 4 ≈ 3", "5 apples + 3 apples = 8 apples",
        "$20/hour * 5 hours = $100", "200 + 80 + 5 = 285", "3 + 4 = **7**", "2**3 = 8", "3² = 9", "-3 + 5 = 2",
        "5 - -3 = 8", "\\frac{1}{2} \\times 8 = 4", "3 plus 4 equals 7", "12 divided by 4 equals 3", "3 + 4\n= 7",
        "7 = 3 + 4", "So (3 + 4 = 7).", "- 3 + 4 = 7", "1. 3 + 4 = 7", "Step 2) 3 + 4 = 7", "She has 2 bags: 3 + 4 = 7",
        "On 2020-01-02 she counts 3 + 4 = 7", "２ + 3 = 5", "10 / 3 = 3.33 and 3.33 × 3 = 10",
    ],
)  # fmt: skip
def test_true_equations_hold(text: str) -> None:
    assert found(text) and all(holds for _, holds in found(text)), found(text)
    assert passes(arithmetic, text) == 1.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("12 + 7 = 20", "12 + 7 = 20, should be 19"),
        ("So he has 12 apples + 7 apples = 20 apples.", "12 apples + 7 apples = 20, should be 19"),
        ("3 + 4 = 7. Then 7 × 2 = 15.", "7 × 2 = 15, should be 14"),
        ("2 + 3 × 4 = 20", "should be 14"),
        ("10 / 4 = 2.6", "should be 2.5"),
        ("0.1 + 0.2 = 0.4", "should be 0.3"),
        ("10 / 3 = 3", "should be 3.3333…"),
        ("20% of 50 = 12", "should be"),
        ("6 ÷ 0 = 0", "divides by zero"),
        ("3 + 4 = 7 + 2 = 9", "3 + 4 = 7 + 2, should be 7"),
        ("7 = 3 + 5", "should be 8"),
        ("48/2 = <<48/2=25>>24", "48/2=25, should be 24"),
        ("9^9^9 = 1", "not checked"),
        ("1" + "+1" * 500 + " = 501", "too long to check"),
        ("No sums here.", "no equation to check"),
        ("", "no equation to check"),
        ("x + 3 = 7", "no equation to check"),
    ],
)
def test_wrong_equations_are_named(text: str, why: str) -> None:
    assert why in vetoed(arithmetic, text)


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-02", "call 555-1234", "pages 3-5", "(555) 123-4567", "3x + 5 = 20", "x - 2 + 3 = 7",
        "total cost + 3 = 10", "… = …", "9:30 + 2 hours = 11", "H2O + O2 = ", "(3/2)x = 54",
        "3/4 = 45 pages", "a = 5", "Total = 12", "if x == 3 + 4", "3 + 4 >= 9", "2 + 2 != 5", "y=2x+1", "f(2) = 3", "=",
        "= 5", "5 =", "3 + = 4", "() = 3", "5G + 2 = 102", "A^2 = 25", "+ 3 = 8",
    ],
)  # fmt: skip
def test_what_is_no_equation_is_left_alone(text: str) -> None:
    assert found(text) == []
    assert passes(arithmetic, text, require_equation=False) == 1.0


def test_final_answers_agree_with_the_last_equation() -> None:
    for final in (
        "#### 19",
        "#### $19",
        "#### 19 apples",
        "The answer is 19.",
        "\\boxed{19}",
        "The final answer is: **19**",
    ):
        assert passes(arithmetic, f"12 + 7 = 19.\n{final}") == 1.0
    for final in ("#### 20", "The answer is 20.", "\\boxed{20}"):
        assert "answer is 20, the last equation gives 19" in vetoed(arithmetic, f"12 + 7 = 19\n{final}")
    assert "not a number" in vetoed(arithmetic, "12 + 7 = 19\n#### none")
    assert passes(arithmetic, "10 / 4 = 2.5\n#### 3") and passes(arithmetic, "1/4 + 1/4 = 1/2\n\\boxed{\\frac{1}{2}}")
    assert passes(arithmetic, "1,200 × 2 = 2,400\n#### 2400")
    assert vetoed(arithmetic, "12 + 7 = 19", require_final=True) == "no final answer"
    assert passes(arithmetic, "#### 19", require_equation=False) == 1.0
    assert passes(arithmetic, "Natalia sold 48/2 = <<48/2=24>>24 clips.\n48+24 = <<48+24=72>>72\n#### 72") == 1.0


def test_the_wanted_operation_is_used() -> None:
    text = "3 × 4 = 12\n12 + 7 = 19"
    for wanted in ("addition", "Multiplication", "+", "×", "two steps", ""):
        assert passes(arithmetic, text, {"op": wanted}, operation="{{ op }}") == 1.0
    assert vetoed(arithmetic, text, operation="division") == "division is not used"
    assert "1 equations found" in vetoed(arithmetic, "3 + 4 = 7", operation="two steps")
    with pytest.raises(UsageError) as caught:
        run(arithmetic, text, operation="adition")
    assert "`addition`" in caught.value.hint


def test_operands_come_from_the_question() -> None:
    question = "Tom has 57 boxes with twenty-five pens each. He sells half of them at $3. A dozen are lost."
    for answer in (
        "40 + 17 = 57, 40 × 25 = 1000",
        "57 × 25 = 1425, 1425 / 2 = 712.5",
        "50 × 25 = 1250, 7 × 25 = 175, 1250 + 175 = 1425",
        "12 × 3 = 36",
    ):
        fields = {"question": question, "answer": answer}
        assert passes(arithmetic, fields, on="answer", numbers_from="question") == 1.0
    fields = {"question": question, "answer": "57 + 14 = 71"}
    assert "14 in '57 + 14 = 71' is neither given" in vetoed(arithmetic, fields, on="answer", numbers_from="question")


whole = st.integers(0, 9999)


@given(
    st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 999)), min_size=1, max_size=5), whole, st.integers(-2, 2)
)
def test_arithmetic_agrees_with_python(terms: list[tuple[str, int]], first: int, off: int) -> None:
    expression = str(first) + "".join(f" {sign} {number}" for sign, number in terms)
    fractions = f"Fraction({first})" + "".join(f" {sign} Fraction({number})" for sign, number in terms)
    value = eval(fractions, {"Fraction": Fraction}) + off
    shown = str(value.numerator) if value.denominator == 1 else f"({value.numerator} / {value.denominator})"
    remark = len(terms) == 1 and terms[0][0] == "/" and first < terms[0][1] and value.denominator == 1
    assume(not remark)  # `3/4 = 45`: a proper fraction that stands for a whole number is no computation
    [equation] = find_equations(f"So we get {expression} = {shown}, and that is that.")
    assert equation.holds == (off == 0)
    assert equation.should == value - off


@settings(max_examples=200)
@given(st.text(max_size=200) | st.text(alphabet="0123456789 +-*/=()x%$.,\n<>#½²^\\{}", max_size=200))
def test_no_text_raises(text: str) -> None:
    for scorer in SCORERS:
        run(scorer, text)


# choice_answer

GOOD = "Question: What is the capital of France?\nA) Rome\nB) Paris\nC) Berlin\nD) Madrid\nAnswer: B"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace(") ", ". "),
        GOOD.replace("Answer: B", "**Answer:** (B)"),
        GOOD.replace("Answer: B", "Answer: B) Paris"),
        GOOD.replace("Answer: B", "The correct answer is B."),
        GOOD.replace("A) ", "(A) ").replace("B) ", "**B)** "),
        "What is the capital of France? A) Rome B) Paris C) Berlin D) Madrid\nAnswer: B",
    ],
)
def test_good_choices(text: str) -> None:
    assert passes(choice_answer, text, expect="paris", letter="b") == 1.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("Answer: B", ""), "no answer"),
        (GOOD.replace("Answer: B", "Answer:"), "not exactly one letter"),
        (GOOD.replace("Answer: B", "Answer: A or B"), "not exactly one letter"),
        (GOOD.replace("Answer: B", "Answer: B) Rome"), "not exactly one letter"),
        (GOOD.replace("Answer: B", "Answer: Both"), "not exactly one letter"),
        (GOOD.replace("Answer: B", "Answer: E"), "names no option"),
        (GOOD + "\nAnswer: C", "two different answers"),
        (GOOD.replace("D) Madrid\n", ""), "3 options, wanted 4"),
        (GOOD.replace("Madrid", " paris. "), "options B and D are the same"),
        (GOOD.replace("Madrid", ""), "option D is empty"),
        (GOOD.replace("C)", "D)"), "lettered A B D D"),
        ("Answer: B", "no options"),
        ("", "no answer"),
    ],
)
def test_bad_choices(text: str, why: str) -> None:
    assert why in vetoed(choice_answer, text)


def test_the_right_answer_stands_where_it_should() -> None:
    scope = {"fact": {"answer": "Paris", "also": "Lutetia|Madrid"}, "letter": "B"}
    assert passes(choice_answer, GOOD, scope, expect="{{ fact.answer }}", letter="{{ letter }}") == 1.0
    assert "no option is 'Lyon'" in vetoed(choice_answer, GOOD, expect="Lyon")
    assert "'Rome' is option A, the answer says B" in vetoed(choice_answer, GOOD, expect="Rome")
    assert vetoed(choice_answer, GOOD, letter="C") == "the answer is B, wanted C"
    assert "'Madrid' would be right too" in vetoed(choice_answer, GOOD, scope, also="{{ fact.also }}")
    assert passes(choice_answer, GOOD, also="")
    with pytest.raises(UsageError):
        run(choice_answer, GOOD, options=1)


def test_choices_from_columns() -> None:
    options = ["Rome", "Paris", "Berlin", "Madrid"]
    assert passes(choice_answer, {"question": "q", "options": options, "answer": "B"}, expect="Paris") == 1.0
    assert (
        passes(choice_answer, {"question": "q", "choices": dict(zip("ABCD", options, strict=True)), "answer": "B"})
        == 1.0
    )
    assert passes(choice_answer, {"a": "Rome", "b": "Paris", "c": "Berlin", "d": "Madrid", "answer": "b"}) == 1.0
    assert passes(choice_answer, {"question": GOOD.removesuffix("\nAnswer: B"), "answer": "B"}) == 1.0
    assert passes(choice_answer, {"text": GOOD}, on="text") == 1.0
    assert "same" in vetoed(choice_answer, {"options": ["a", "A", "b", "c"], "answer": "B"})
    assert "one letter" in vetoed(choice_answer, {"options": options, "answer": "Paris"})
    assert "empty" in vetoed(choice_answer, {"options": ["a", "", "b", "c"], "answer": "A"})
    assert (
        passes(choice_answer, {"question": "首都？", "options": ["罗马", "巴黎", "柏林", "马德里"], "answer": "B"})
        == 1.0
    )


# Everything, on a hostile megabyte

HOSTILE = {
    "letters": "a" * MEGABYTE,
    "words": "word " * (MEGABYTE // 5),
    "spaces": " " * MEGABYTE + "x",
    "lines": "\n" * MEGABYTE,
    "digits": "9" * MEGABYTE + "=9",
    "sums": "1+1=2 " * (MEGABYTE // 6),
    "signs": "=" * MEGABYTE,
    "brackets": "(" * MEGABYTE,
    "quotes": '"as an ai ' * (MEGABYTE // 10),
    "as an ai": "as an ai " * (MEGABYTE // 9),
    "sorry": "i'm sorry, but " * (MEGABYTE // 15),
    "options": "A) x\n" * (MEGABYTE // 5) + "Answer: A",
    "answers": GOOD + "\nAnswer: B" * (MEGABYTE // 10),
    "answer is": "the answer is " * (MEGABYTE // 14),
    "hashes": "####" * (MEGABYTE // 4),
    "boxed": "\\boxed{" * (MEGABYTE // 7),
    "notes": "<<1+1=2>>" * (MEGABYTE // 9),
    "fractions": "\\frac{1}{" * (MEGABYTE // 9),
    "Han": "我们" * (MEGABYTE // 2),
    "emoji": "👩‍👩‍👧" * (MEGABYTE // 5),
    "surrogates": "\ud800\x00" * (MEGABYTE // 2),
    "combining": "e" + "\u0301" * MEGABYTE,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(60)
def test_a_hostile_megabyte_takes_linear_time(name: str) -> None:
    for scorer in SCORERS:
        run(scorer, HOSTILE[name])


@pytest.mark.parametrize(
    ("question", "answer", "fault"),
    [
        ("6 a day for 91 days. How many?", "90 × 6 = 540", "90 of 91 is used, and the rest of it is not"),
        ("6 a day for 91 days. How many?", "90 × 6 = 540, 1 × 6 = 6 and 540 + 6 = 546", ""),
        ("3 a day for 123 days. How many?", "120 × 3 = 360, 3 × 3 = 9, 360 + 9 = 369", ""),
        ("4 a day for 267 days. How many?", "200 × 4 = 800, 60 × 4 = 240, 800 + 240 = 1040", "200 of 267 is used"),
        ("There were 12 photos, 5 were taken. How many are left?", "10 - 5 = 5", "10 of 12 is used"),
        ("There were 83 birds, 47 flew off. How many are left?", "83 - 40 = 43, 43 - 7 = 36", ""),
        ("25% of 80 birds flew off. How many?", "0.25 × 80 = 20", ""),
    ],
)
def test_a_part_of_a_number_is_not_the_number(question: str, answer: str, fault: str) -> None:
    found = run(arithmetic, {"question": question, "answer": answer}, numbers_from="question")
    assert found.vetoed is bool(fault), found.reason
    assert fault in found.reason
