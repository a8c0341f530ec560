"""Arithmetic: every equation of a worked answer is computed again, exactly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from factory.errors import UsageError, nearest
from factory.scorers import Context, as_text, column, render_template, shorten, text_of, traits, veto
from factory.scorers.equation_tokens import Number, plain_latex
from factory.scorers.equations import Equation, evaluate_text, find_equations, read_numbers, show_number
from factory.types import Candidate, Score

MAX_CHARS = 100_000
NOTE = re.compile(r"<<([^<>\n]{1,200})>>")
FINALS = {
    "####": re.compile(r"####[ \t]*([^\n]{0,80})"),
    "\\boxed": re.compile(r"\\boxed\s?\{((?:[^{}\n]|\{[^{}\n]{0,40}\}){0,80})\}"),
    "nswer": re.compile(r"\b(?:answer is|final answer:)[ \t:]*([^\n]{0,60})", re.IGNORECASE),
}
"""Ways to give a final answer, by a word that must occur. The last one of each way counts."""
OPERATIONS = ("addition", "subtraction", "multiplication", "division")
SYNONYMS = {
    "add": "addition", "+": "addition", "subtract": "subtraction", "-": "subtraction", "−": "subtraction",
    "multiply": "multiplication", "*": "multiplication", "×": "multiplication", "divide": "division",
    "/": "division", "÷": "division",
}  # fmt: skip
STEPS = {"two steps": 2, "two-step": 2, "three steps": 3, "three-step": 3, "several steps": 2, "mixed": 2}

# What a question's words mean in numbers.
MEANINGS = {
    0: "zero none no not",
    1: "one once single",
    2: "two twice double doubled doubles half halve halved halves both pair pairs couple second other",
    3: "three thrice triple tripled triples third thirds yard yards",
    4: "four quarter quarters quadruple fourth fourths month months",
    5: "five fifth fifths nickel nickels weekday weekdays week",
    6: "six sixth sixths",
    7: "seven seventh week weeks weekly",
    8: "eight eighth eighths",
    9: "nine ninth ninths",
    10: "ten tenth tenths dime dimes decade decades",
    11: "eleven",
    12: "twelve dozen dozens year years yearly annual annually foot feet inch inches month months",
    13: "thirteen",
    14: "fourteen",
    15: "fifteen",
    16: "sixteen pound pounds ounce ounces",
    17: "seventeen",
    18: "eighteen",
    19: "nineteen",
    20: "twenty score",
    24: "day days daily",
    25: "quarter quarters",
    30: "thirty month months monthly",
    40: "forty",
    50: "fifty",
    52: "year years",
    60: "sixty hour hours hourly minute minutes second seconds",
    70: "seventy",
    80: "eighty",
    90: "ninety",
    100: "hundred hundreds percent percentage cent cents century dollar dollars meter meters metre metres",
    365: "year years",
    1000: "thousand thousands kilometer kilometers kilogram kilograms liter liters",
    1_000_000: "million millions",
}
WORD_NUMBERS: dict[str, tuple[int, ...]] = {}
for _number, _words in MEANINGS.items():
    for _word in _words.split():
        WORD_NUMBERS[_word] = (*WORD_NUMBERS.get(_word, ()), _number)


@traits(low=0, high=1)
def arithmetic(
    candidate: Candidate,
    context: Context,
    *,
    require_equation: bool = True,
    require_final: bool = False,
    operation: str | None = None,
    numbers_from: str | None = None,
    on: str | None = None,
) -> Score:
    """1 when every equation is true and the final answer is the last one's result; anything wrong vetoes with 0.

    Equations are `3 + 4 = 7`, `$12 × 3 = $36`, `20% of 50 = 10`, `<<48/2=24>>`, LaTeX; results may be rounded to the
    decimals that are shown. Final answers: `#### 19`, `\\boxed{19}`, "the answer is 19". `operation` (a template):
    `addition`, `subtraction`, `multiplication` or `division` must occur, `two steps` wants two equations.
    `numbers_from`: a column; every operand occurs there (as digits or words) or is an earlier result or its part.
    """
    text = text_of(candidate, on)
    if len(text) > MAX_CHARS:
        return veto("arithmetic", f"too long to check ({len(text):,} characters)")
    equations: list[Equation] = []
    for equation in _equations(text):
        if equation.fault:
            return veto("arithmetic", f"{shorten(equation.text)}: {equation.fault}")
        if not equation.holds:
            should = show_number(equation.should if equation.should is not None else 0)
            return veto("arithmetic", f"{shorten(equation.text)}, should be {should}")
        equations.append(equation)
    if not equations and require_equation:
        return veto("arithmetic", "no equation to check")
    fault = (
        _check_final(text, equations, require_final)
        or (_check_operation(render_template(context, operation), equations) if operation else "")
        or (_check_numbers(as_text(column(candidate, numbers_from, "numbers_from")), equations) if numbers_from else "")
    )
    return veto("arithmetic", fault) if fault else Score("arithmetic", 1.0, f"{len(equations)} equations hold")


def _equations(text: str) -> list[Equation]:
    """The equations of the text, with those of GSM8K's `<<…>>` notes, in the order of the text."""
    if "<<" not in text:
        return list(find_equations(plain_latex(text)))
    bare = NOTE.sub(lambda match: " " * len(match[0]), text)
    # A gap in place of the note keeps every position; `= <<48/2=24>>24` reads `= 24`.
    places = [(equation.start, equation) for equation in find_equations(plain_latex(bare))]
    for match in NOTE.finditer(text):
        places += [(match.start(), equation) for equation in find_equations(match[1])]
    return [equation for _, equation in sorted(places, key=lambda place: place[0])]


def _check_final(text: str, equations: Sequence[Equation], required: bool) -> str:
    """What is wrong with the final answer, or ''."""
    given = {key: said for key, pattern in FINALS.items() if key in text for said in pattern.findall(text)}
    if not given:
        return "no final answer" if required else ""
    for key, said in given.items():
        number = evaluate_text(plain_latex(said.strip()))
        if number is None:
            if key == "nswer":
                continue
            return f"the final answer '{shorten(said)}' is not a number"
        last = equations[-1].right if equations else None
        if last is not None and not _same_answer(number, last):
            return f"the final answer is {show_number(number)}, the last equation gives {show_number(last)}"
    return ""


def _same_answer(answer: Number, last: Number) -> bool:
    """Equal, as a percentage too; a result that is not whole may be rounded, up or down, to a whole answer."""
    if answer == last or answer == last * 100 or answer * 100 == last:
        return True
    room = Fraction(1) if answer.denominator == 1 else Fraction(1, 100)
    return last.denominator != 1 and abs(Fraction(answer) - last) < room


def _check_operation(wanted: str, equations: Sequence[Equation]) -> str:
    name = wanted.strip().lower()
    name = SYNONYMS.get(name, name)
    if not name:
        return ""
    if name in STEPS:
        return "" if len(equations) >= STEPS[name] else f"{name} wanted, {len(equations)} equations found"
    if name not in OPERATIONS:
        raise UsageError(f"`operation` of `arithmetic` is '{shorten(wanted)}'", nearest(name, (*OPERATIONS, *STEPS)))
    return "" if any(name in equation.operations for equation in equations) else f"{name} is not used"


def _check_numbers(source: str, equations: Sequence[Equation]) -> str:
    """Whether every operand comes from the source text, from an earlier result, or is a part of one (57 = 50 + 7)."""
    known: set[Number] = set(read_numbers(source))
    known.add(1)
    words = [word.strip(".,;:!?\"'()") for word in source.lower().replace("-", " ").split()]
    for word in words:
        known.update(WORD_NUMBERS.get(word, ()))
    known |= _compounds(words)
    if "%" in source or "$" in source:
        known.add(100)
    taken: dict[Number, list[set[Number]]] = {}
    for equation in equations:
        if equation.operations == {"addition"} and equation.right in known:
            known.update(equation.operands)  # 60 + 18 = 78 takes a known number apart
        for operand in equation.operands:
            if operand in known:
                continue
            wholes = {number for number in known if _is_part(operand, number)}
            if not wholes:
                return f"{show_number(operand)} in '{shorten(equation.text)}' is neither given nor an earlier result"
            taken.setdefault(operand, []).append(wholes)
        if equation.right is not None:
            known.add(equation.right)
    return _check_parts(taken, {operand for equation in equations for operand in equation.operands})


def _check_parts(taken: Mapping[Number, Sequence[set[Number]]], used: set[Number]) -> str:
    """Whether the rest of a number is used too, where a place of it is: 90 of 91 alone is another number."""
    for part, uses in taken.items():
        for wholes in uses:
            if not any(_is_whole(part, whole, used) for whole in wholes):
                whole = min(wholes)
                return f"{show_number(part)} of {show_number(whole)} is used, and the rest of it is not"
    return ""


def _is_whole(part: Number, whole: Number, used: set[Number]) -> bool:
    """Whether the places of a number that are used make up the number; a percentage is whole by itself."""
    if not _is_place(part, whole):
        return True
    return sum(one for one in used if one == part or (one < whole and _is_place(one, whole))) >= whole


def _compounds(words: Sequence[str]) -> set[Number]:
    """`twenty five` → 25, `three hundred` → 300."""
    found: set[Number] = set()
    for first, second in pairwise(words):
        for left in WORD_NUMBERS.get(first, ()):
            for right in WORD_NUMBERS.get(second, ()):
                if 20 <= left < 100 and right < 10:
                    found.add(left + right)
                elif right in (100, 1000, 1_000_000):
                    found.add(left * right)
    return found


def _is_part(part: Number, number: Number) -> bool:
    """Whether a number is a decimal place of another (50 and 7 of 57), or its percentage: 0.25, 0.75, 1.25 of 25."""
    if part == number * 100 or part * 100 in (number, 100 - number, 100 + number) or part * number == 1:
        return True
    return _is_place(part, number)


def _is_place(part: Number, number: Number) -> bool:
    """Whether a number is a decimal place of another, or several: 50 and 7 of 57, 120 and 20 of 123."""
    if part.denominator != 1 or number.denominator != 1 or not 0 < part < number:
        return False
    digits, place = str(int(part)), str(int(number))
    zeros = len(digits) - len(digits.rstrip("0"))
    head = digits.rstrip("0")
    return len(digits) <= len(place) and (
        (len(head) == 1 and place[len(place) - len(digits)] == head)
        or int(number) % 10 ** len(digits) == part
        or int(number) // 10**zeros * 10**zeros == part
    )
