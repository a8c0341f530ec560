"""Equations in prose: found by their `=`, evaluated exactly. Dates, ranges, phone numbers and algebra are left alone.

Around every `=` stands the longest arithmetic expression on either side. Everything is linear in the text and
iterative; terms, digits and nesting are capped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from factory.scorers.equation_tokens import MAX_DIGITS, Number, Token, is_variable, tokenize, vulgar_value

MAX_TERMS = 400
MAX_BITS = 4000
MAX_UNIT_WORDS = 4
NUMBER = re.compile(r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/(?P<below>\d{1,9}))?")
BOUNDARY = re.compile(r"[;!?]|:(?!\d)|[.,](?!\d)|(?<!=)(?<!= )\n(?!\s{0,8}[=≈＝])")
SIGN = re.compile("[=≈≅≃＝]|equal", re.IGNORECASE)
BOLD = re.compile(r"(?<!\d)\*\*|\*\*(?!\d)")
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 3}
NAMES = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division", "^": "power"}


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = right` as it stands in the text. `right` is what stands there, `should` what `left` comes to.

    `fault` says why it cannot be evaluated ("" when it can); `holds`: both sides are equal, rounding allowed for.
    """

    text: str
    start: int
    holds: bool
    right: Number | None
    should: Number | None
    operands: tuple[Number, ...]
    operations: frozenset[str]
    fault: str = ""


def find_equations(text: str) -> Iterator[Equation]:
    """Every equation `expression = value` of a text, in order; `a = b = c` gives one for each `=`."""
    rounded: dict[Number, Number] = {}
    for start, piece in _pieces(text):
        for left, sign, right, clean in _sides(tokenize(piece)):
            before, after = _suffix(left), _prefix(right)
            if before is None or not after:
                continue
            computed = any(token.kind == "O" for token in before)
            bare = clean and len(before) == len(left) and any(token.kind == "O" for token in after)
            if (computed and not _is_proportion(before, after)) or bare:
                yield _judge(_Sides(piece, start, before, sign, after), rounded)


def _is_proportion(left: Sequence[Token], right: Sequence[Token]) -> bool:
    """`3/4 = 45 pages`: a proper fraction that stands for a whole number is a remark, not a computation."""
    if len(left) != 3 or left[1].text != "/" or len(right) != 1 or right[0].percent:
        return False
    above, below, value = left[0].value, left[2].value, right[0].value
    return above is not None and below is not None and value is not None and above < below and value >= 1


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The stretches between sentence marks and line ends that hold a sign of equality, with where they start."""
    start = 0
    for match in BOUNDARY.finditer(text):
        piece = text[start : match.start()]
        if SIGN.search(piece):
            yield start, piece
        start = match.end()
    if SIGN.search(text, start):
        yield start, text[start:]


def _sides(tokens: Sequence[Token]) -> Iterator[tuple[Sequence[Token], Token, Sequence[Token], bool]]:
    """For each `=`: the tokens on its left and right up to the next break or `=`; whether nothing stands before."""
    bounds = [-1]
    for place, token in enumerate(tokens):
        if token.kind == "E":
            bounds.append(place)
        elif token.kind == "B":
            near = (place and tokens[place - 1].kind == "E") or (
                place + 1 < len(tokens) and tokens[place + 1].kind == "E"
            )
            if token.text != "\n" or not near:
                bounds.append(place)
    bounds.append(len(tokens))
    for before, here, after in zip(bounds, bounds[1:], bounds[2:], strict=False):
        if here >= 0 and tokens[here].kind == "E":
            left = [token for token in tokens[before + 1 : here] if token.text != "\n"]
            right = [token for token in tokens[here + 1 : after] if token.text != "\n"]
            yield left, tokens[here], right, before < 0 or tokens[before].kind == "B"


def _suffix(tokens: Sequence[Token]) -> list[Token] | None:
    """The longest expression that ends the tokens; None where an operand is missing (algebra, `cost + 3`)."""
    place, depth = len(tokens), 0
    found: list[Token] = []
    if place and tokens[-1].kind == "(":  # `3 + 4 (= 7)`
        place -= 1
    if place > 1 and tokens[place - 1].kind == tokens[place - 2].kind == "W" and is_variable(tokens[place - 1].text):
        return None  # `… or L = 6`
    want_operand = True
    while place:
        token = tokens[place - 1]
        if want_operand:
            if token.kind == ")":
                depth += 1
            elif token.kind == "N":
                want_operand = False
            elif token.kind == "W":
                place = -1 if found and found[-1].text == "^" else _skip_unit(tokens, place)
                if place < 0:
                    return None
                continue
            else:
                return None
        elif token.kind == "(" and depth:
            depth -= 1
        elif token.kind == "O":
            sign = token.text in "+-" and (place < 2 or tokens[place - 2].kind in "(OE") and tokens[place].glued
            if sign and place < 2:
                found.append(token)
                place -= 1
                break
            want_operand = not sign
        elif token.kind == "V":
            return None
        else:
            break
        found.append(token)
        place -= 1
    return found[::-1] if found and not want_operand and not depth else None


def _skip_unit(tokens: Sequence[Token], place: int) -> int:
    """Past the unit words that end at `place`, going left; -1 when no number stands before them."""
    for _ in range(MAX_UNIT_WORDS):
        if place and tokens[place - 1].kind == "W":
            place -= 1
    return place if place and tokens[place - 1].kind in "N)" else -1


def _prefix(tokens: Sequence[Token]) -> list[Token]:
    """The longest expression that begins the tokens; empty when there is none."""
    found: list[Token] = []
    whole, depth, place, words = 0, 0, 0, 0
    want_operand = True
    while place < len(tokens):
        token = tokens[place]
        place += 1
        if want_operand:
            if token.kind == "(":
                depth += 1
            elif token.kind == "N":
                want_operand = False
            elif token.kind == "O" and not found and token.text == "*":
                continue  # emphasis
            elif not (token.kind == "O" and token.text in "+-" and place < len(tokens) and tokens[place].glued):
                break
        elif token.kind == "W":
            words += 1
            if words > MAX_UNIT_WORDS:
                break
            continue
        elif token.kind == "O":
            want_operand = True
        elif token.kind == ")" and depth:
            depth -= 1
        else:
            if token.kind == "V":
                return []
            break
        words = 0
        found.append(token)
        if not want_operand and not depth:
            whole = len(found)
    return found[:whole]


class _Sides(NamedTuple):
    """The two sides of one `=`; `offset`: where the piece starts in the whole text."""

    piece: str
    offset: int
    left: Sequence[Token]
    sign: Token
    right: Sequence[Token]


def _judge(sides: _Sides, known: dict[Number, Number]) -> Equation:
    """Evaluate both sides; percentages are read as hundredths or as bare numbers, whichever makes it true.

    `known`: results that were rounded so far, to their exact values.
    """
    piece, offset, left, sign, right = sides
    shown = " ".join(BOLD.sub("", piece[left[0].start : right[-1].end]).split())
    start = offset + left[0].start
    computed, stands = (left, right) if any(token.kind == "O" for token in left) else (right, left)
    operands = tuple(token.value for token in computed if token.value is not None)
    operations = frozenset(NAMES[token.text] for token in (*left, *right) if token.kind == "O")
    if len(left) + len(right) > MAX_TERMS:
        return Equation(shown[:80] + "…", start, False, None, None, operands, operations, "too long to check")
    readings: list[tuple[Sequence[Token], Mapping[Number, Number]]] = [(computed, {})]
    if known:
        readings.append((computed, known))
    if any(token.text == "/" for token in computed) and len(bound := _bind_fractions(computed)) < len(computed):
        readings.append((bound, {}))
    fault = ""
    first: tuple[Number, Number] | None = None
    for percent in (True, False) if any(token.percent for token in (*left, *right)) else (False,):
        for expression, replaced in readings:
            try:
                should, value = evaluate(expression, percent, replaced), evaluate(stands, percent)
            except (ArithmeticError, ValueError) as error:
                fault = str(error)
                continue
            if _agree(should, value, stands, sign):
                if value != should:
                    known[value] = should
                return Equation(shown, start, True, value, should, operands, operations)
            first = first or (value, should)
    if first is None:
        return Equation(shown, start, False, None, None, operands, operations, fault)
    return Equation(shown, start, False, first[0], first[1], operands, operations)


def _bind_fractions(tokens: Sequence[Token]) -> list[Token]:
    """`2 / 1/5` as people mean it: a fraction written without spaces after a spaced operator is one number."""
    bound: list[Token] = []
    place = 0
    while place < len(tokens):
        first, rest = tokens[place], tokens[place + 1 : place + 3]
        tight = len(rest) == 2 and rest[0].text == "/" and rest[0].glued and rest[1].kind == "N" and rest[1].glued
        if place and tight and first.kind == "N" and first.value is not None and rest[1].value:
            value = Fraction(first.value) / rest[1].value
            bound.append(Token("N", first.text, first.start, rest[1].end, value))
            place += 3
        else:
            bound.append(first)
            place += 1
    return bound


def _agree(should: Number, value: Number, tokens: Sequence[Token], sign: Token) -> bool:
    """Equal, or rounded or cut to the decimals that are shown; `≈` also to a whole number."""
    if should == value:
        return True
    if len(tokens) > 2 or (len(tokens) == 2 and tokens[0].kind != "O"):
        return False
    digits = tokens[-1].digits + (
        2 if tokens[-1].percent and abs(Fraction(value)) < abs(Fraction(tokens[-1].value or 0)) else 0
    )
    if not digits and sign.text in "=＝":
        return False
    step = Fraction(1, 10**digits)
    return abs(Fraction(should) - value) < step and (should / step).denominator != 1


def evaluate(tokens: Sequence[Token], percent: bool = False, replaced: Mapping[Number, Number] | None = None) -> Number:
    """The exact value of an expression. `percent`: 20% is 0.2, else 20. Raises ArithmeticError or ValueError."""
    values: list[Number] = []
    stack: list[str] = []
    operand_next = True
    for token in tokens:
        if token.kind == "N":
            value = token.value if token.value is not None else 0
            if replaced:
                value = replaced.get(value, value)
            values.append(Fraction(value, 100) if percent and token.percent else value)
            operand_next = False
        elif token.kind == "(":
            stack.append("(")
            operand_next = True
        elif token.kind == ")":
            while stack and stack[-1] != "(":
                _apply(values, stack.pop())
            if not stack:
                raise ValueError("unbalanced brackets")
            stack.pop()
        elif operand_next:
            stack.append("neg" if token.text == "-" else "pos")
        else:
            while stack and stack[-1] != "(" and _binds(stack[-1], token.text):
                _apply(values, stack.pop())
            stack.append(token.text)
            operand_next = True
    while stack:
        _apply(values, stack.pop())
    if len(values) != 1:
        raise ValueError("not an expression")
    return values[0]


def _binds(stacked: str, coming: str) -> bool:
    """Whether the stacked operator is applied before the coming one; powers bind to the right and over signs."""
    if stacked in ("neg", "pos"):
        return coming != "^"
    return PRECEDENCE[stacked] > PRECEDENCE[coming] or (PRECEDENCE[stacked] == PRECEDENCE[coming] and coming != "^")


def _apply(values: list[Number], operator: str) -> None:
    if len(values) < (1 if operator in ("neg", "pos") else 2) or operator == "(":
        raise ValueError("not an expression")
    right = values.pop()
    if operator in ("neg", "pos"):
        values.append(-right if operator == "neg" else right)
        return
    left = values.pop()
    if operator == "/" and not right:
        raise ZeroDivisionError("it divides by zero")
    result: Number
    if operator == "^":
        if right.denominator != 1 or abs(Fraction(right)) > 64 or (not left and right < 0):
            raise ValueError("a power that is not checked")
        result = Fraction(left) ** int(right)
    elif operator == "/":
        result = Fraction(left) / right
    else:
        result = left + right if operator == "+" else left - right if operator == "-" else left * right
    if max(result.numerator.bit_length(), result.denominator.bit_length()) > MAX_BITS:
        raise ValueError("too large to check")
    values.append(result)


def show_number(value: Number) -> str:
    """19, 2.5, 3.333…"""
    if value.denominator == 1:
        return str(value.numerator) if value.numerator.bit_length() < 200 else f"{value.numerator:.3e}"
    decimals = f"{float(value):.6f}".rstrip("0")
    return decimals if Fraction(decimals) == value else f"{float(value):.4f}…"


def evaluate_text(text: str) -> Number | None:
    """The value of the expression that a text begins with, after a few words or marks; None where there is none."""
    tokens = tokenize(text.replace("**", ""))
    while tokens and tokens[0].kind in "WEB":
        tokens = tokens[1:]
    expression = _prefix(tokens)
    try:
        return evaluate(expression) if expression else None
    except (ArithmeticError, ValueError):
        return None


def read_numbers(text: str) -> list[Number]:
    """Every number that stands in a text, and the value of every fraction `a/b`."""
    found: list[Number] = []
    for match in NUMBER.finditer(text):
        whole, _, decimals = match["number"].replace(",", "").partition(".")
        if len(match[0]) <= MAX_DIGITS:
            value = Fraction(int((whole + decimals) or 0), 10 ** len(decimals))
            found.append(value)
            if match["below"] and int(match["below"]):
                found += [int(match["below"]), value / int(match["below"])]
    found += [vulgar_value(char) for char in re.findall("[¼-¾⅐-⅞]", text)]
    return found
