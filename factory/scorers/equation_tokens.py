"""Tokens of arithmetic in prose: numbers, signs, brackets, words that are signs, units, and breaks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

Number = int | Fraction

MAX_DIGITS = 40

TOKEN = re.compile(
    r"""[^\S\n]*(?:
      (?P<newline>\n)
    | (?P<clock>\d{1,2}:\d{2}(?!\d))
    | (?P<mixed>\d{1,6}[ ]\d{1,3}/\d{1,3}(?![\d/.]))
    | (?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?P<vulgar>[¼-¾⅐-⅞])?
    | (?P<fraction>[¼-¾⅐-⅞])
    | (?P<approx>[≈≅≃])
    | (?P<relation>[<>!]=|==|=>|[<>≠≤≥])
    | (?P<equals>[=＝])
    | (?P<per>/\s?[^\W\d_]{1,30})
    | (?P<power>\*\*|\^)
    | (?P<square>[²³])
    | (?P<operator>[-+−–×✕✖*·⋅∙•÷/])
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<word>[^\W\d_]+(?:['’-][^\W\d_]+)*)
    | (?P<currency>[$€£¥&])
    | (?P<percent>%)
    | (?P<other>.)
    )""",
    re.VERBOSE,
)
OPERATORS = {"+": "+", "-": "-", "−": "-", "–": "-", "÷": "/", "/": "/"}
WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*", "x": "*", "multiplied by": "*", "divided by": "/"}
VARIABLES = frozenset("abcdefijknpqrtuvwxyz")
"""Single letters right after a number that make it algebra (`3x`); g, h, l, m, s are units."""

LATEX = (
    (re.compile(r"\\[dt]?frac\s?\{([^{}]{1,60})\}\s?\{([^{}]{1,60})\}"), r"((\1)/(\2))"),
    (re.compile(r"\\text(?:bf|rm|it)?\s?\{([^{}]{0,60})\}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])"), "×"),
    (re.compile(r"\\div(?![a-zA-Z])"), "÷"),
    (re.compile(r"\\approx(?![a-zA-Z])"), "≈"),
    (re.compile(r"\\(?:left|right|displaystyle|,|;|!|quad)(?![a-zA-Z])"), ""),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"\\[()\[\]]"), "\n"),
)


class Token(NamedTuple):
    """`kind`: N number, O operator, ( ), E equals, W word, V variable, B break. `glued`: no space before it."""

    kind: str
    text: str
    start: int
    end: int
    value: Number | None = None
    digits: int = 0
    percent: bool = False
    glued: bool = False


def plain_latex(text: str) -> str:
    """LaTeX's arithmetic as plain arithmetic."""
    if "\\" not in text:
        return text
    for pattern, replacement in LATEX:
        text = pattern.sub(replacement, text)
    return text


def tokenize(text: str) -> list[Token]:
    """The tokens of a text; see `Token`."""
    tokens: list[Token] = []
    skipped = ""  # what was just passed over: a currency sign glues a number to what stands before the sign
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind == "vulgar":
            kind = "number"
        start, end = match.span(kind)
        glued = start == match.start() and skipped != "loose"
        skipped = ""
        if kind == "word" and text[start:end] not in ("percent", "pct"):
            tokens.append(Token("W", text[start:end], start, end, None, 0, False, glued))
        elif kind == "number":
            value, digits = _number(match, kind)
            tokens.append(Token("B" if value is None else "N", match[0], start, end, value, digits, False, glued))
        elif kind == "currency":
            skipped = "" if glued else "loose"
        else:
            token = _token(kind, match, glued, tokens)
            if token is not None:
                if token.kind == "(" and glued and tokens and tokens[-1].kind in "N)":
                    tokens.append(Token("O", "*", start, start))
                tokens.append(token)
    return _resolve_words(tokens)


def _token(kind: str, match: re.Match[str], glued: bool, before: list[Token]) -> Token | None:
    text = match[kind]
    start, end = match.span(kind)
    if kind in ("mixed", "fraction"):
        value, digits = _number(match, kind)
        return Token("B" if value is None else "N", text, start, end, value, digits, glued=glued)
    if kind in ("percent", "word"):
        if before and before[-1].kind == "N":
            last = before.pop()
            before.append(Token("N", last.text + "%", last.start, end, last.value, last.digits, True, last.glued))
        return None
    if kind == "square":
        before.append(Token("O", "^", start, start))
        return Token("N", text, start, end, Fraction(2 if text == "²" else 3))
    if kind == "power":
        if text == "**" and not (glued and match.string[end : end + 1].isdigit()):
            return None  # bold
        return Token("O", "^", start, end)
    if kind == "operator":
        line_start = not before or before[-1].text == "\n"
        if line_start and match.string[end : end + 1].isspace():
            return Token("B", text, start, end)  # a bullet
        return Token("O", OPERATORS.get(text, "*"), start, end, glued=glued)
    kinds = {
        "open": "(",
        "close": ")",
        "equals": "E",
        "approx": "E",
        "word": "W",
        "per": "W",
        "newline": "B",
        "clock": "V",
    }
    return Token(kinds.get(kind, "B"), text, start, end, glued=glued)


def _number(match: re.Match[str], kind: str) -> tuple[Number | None, int]:
    """The value and how many decimals it shows; None when it has too many digits."""
    text = match[kind]
    if len(text) > MAX_DIGITS:
        return None, 0
    if kind == "fraction":
        return vulgar_value(text), 0
    if kind == "mixed":
        whole, _, rest = text.partition(" ")
        above, _, below = rest.partition("/")
        return (int(whole) + Fraction(int(above), int(below)) if int(below) else None), 0
    whole, _, decimals = match["number"].replace(",", "").partition(".")
    value: Number = Fraction(int(whole + decimals), 10 ** len(decimals)) if decimals else int(whole)
    return (value + vulgar_value(match["vulgar"]) if match["vulgar"] else value), len(decimals)


def vulgar_value(char: str) -> Fraction:
    return Fraction(unicodedata.numeric(char)).limit_denominator(10)


def _resolve_words(tokens: list[Token]) -> list[Token]:
    """`x`, `plus`, `divided by`, `equals`, `20% of` between numbers become operators; `3x` makes algebra a break."""
    resolved: list[Token] = []
    place, last = 0, len(tokens) - 1
    while place <= last:
        token = tokens[place]
        if token.kind != "W":
            resolved.append(token)
            place += 1
            continue
        word, width = token.text.lower(), 1
        if word in ("multiplied", "divided") and place < last and tokens[place + 1].text.lower() == "by":
            word, width = f"{word} by", 2
        after = tokens[place + width] if place + width <= last else None
        before = resolved[-1] if resolved else None
        between = before is not None and before.kind in "NW)" and after is not None and after.kind in "N("
        if word in WORD_OPERATORS and between and (word != "x" or before is None or before.kind != "W"):
            resolved.append(Token("O", WORD_OPERATORS[word], token.start, token.end))
        elif word in ("equals", "equal") and between:
            resolved.append(Token("E", "=", token.start, token.end))
        elif word == "of" and between and _is_share(resolved):
            resolved.append(Token("O", "*", token.start, token.end))
        elif token.glued and is_variable(token.text) and before is not None and before.kind in "N)":
            resolved.append(Token("V", token.text, token.start, token.end))
        else:
            resolved.append(token)
            width = 1
        place += width
    return resolved


def is_variable(letter: str) -> bool:
    return letter in VARIABLES or (len(letter) == 1 and letter.isupper() and letter not in "KLM")


def _is_share(tokens: Sequence[Token]) -> bool:
    """Whether the last tokens are a percentage or a fraction, so that `of` means times."""
    last = tokens[-1]
    fraction = len(tokens) > 2 and tokens[-2].text == "/" and tokens[-3].kind == "N"
    return last.kind == "N" and (last.percent or fraction or (last.value or 0) < 1)
