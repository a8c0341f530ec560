"""What an answer says in the end, and which answers say the same: `0.5`, `1/2`, `.50` and `50%`; `(B)` and `b.`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from factory.scorers.choices import ANSWER, GIVEN
from factory.scorers.equation_tokens import plain_latex
from factory.scorers.equations import evaluate_text
from factory.scorers.final_answers import SAID, find_finals, unwrap
from factory.scorers.number_words import find_number_words
from factory.scorers.numerals import read_quantity

How = Literal["auto", "final", "choice", "whole"]
SHORT = 200
"""Characters of a text that is an answer as it stands, where nothing marks a part of it as one."""
MAX_NUMBER = 400
_STOP = re.compile(
    r"[.!?](?=[\s*\"'”’)]|\Z)|[。！？]|[,;](?=\s+(?:so|which|because|since|as|but)\b)|\s(?:because|since)\s",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(r"[^\W\d_]\s{0,3}=\s{0,3}(.{1,200})", re.DOTALL)
_FACTOR = r"\(*[-−–]?\d{1,40}(?:\.\d{1,40})?\)*"
_EXPRESSION = re.compile(rf"[-−–]?{_FACTOR}(?:[/*×·^]{_FACTOR}){{0,8}}")
_SPACING = re.compile(r"\\(?:left|right|displaystyle|,|;|!|:|quad|qquad| )(?![a-zA-Z])|\$")
_TIGHT = re.compile(r" ?([-+*/=<>^,;]) ?")
_EDGES = " \t\n\"'`´“”„‘’‚«»‹›「」『』*_.,;:!?¡¿。、，．！？：；…"
_BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）", "【": "】"}


@dataclass(frozen=True, slots=True)
class Key:
    """The normal form of an answer: a number with its unit (`%` for a percentage), or a text."""

    text: str = ""
    value: Fraction | None = None
    unit: str = ""


def find_answer(text: str, how: How, *, column: bool = False) -> str | None:
    """The answer that a text comes to, or None.

    `final`: the last one in a box, after `####`, or after "the answer is" (also in other languages). `choice`: a
    letter after `Answer:`. `whole`: all of it. `auto`: the first of these that there is; all of the text only where it
    is one short line, or a `column` made for the answer.
    """
    if how == "whole":
        return text.strip() or None
    letter = None if how == "final" else _letter(text)
    if how == "choice":
        return letter
    given = {final.kind: final.text for final in find_finals(text)}  # the last one of each kind
    for found in (given.get("boxed"), given.get("####"), letter, _cut(given.get("said", "")), _said(text)):
        if found and found.strip():
            return found.strip()
    stripped = text.strip()
    if how == "auto" and (column or (len(stripped) <= SHORT and "\n" not in stripped)):
        return stripped or None
    return given.get("bare")


def _letter(text: str) -> str | None:
    """The letter after the last `Answer:` of a line that gives one: alone, or marked off from an option's text."""
    found = None
    for match in ANSWER.finditer(text):
        said = text[match.end() : match.end() + SHORT].partition("\n")[0].strip()
        given = GIVEN.match(said)
        if given is not None and (given.end() == len(said) or said[given.start(1) + 1] in ").:]*"):
            found = given[1].upper()
    return found


def _said(text: str) -> str | None:
    """What the last "the answer is …" of a text goes on with, up to the end of the sentence."""
    found = None
    for match in SAID.finditer(text):
        found = _cut(match[1].strip().lstrip("*_:： ")) or found
    return found


def _cut(tail: str) -> str:
    """The beginning of a sentence, up to its end or to the reason given."""
    stop = _STOP.search(tail)
    return (tail[: stop.start()] if stop else tail).strip()


def key_of(answer: str, language: str = "en") -> Key | None:
    """The normal form of an answer; None where nothing is left of it."""
    text = unwrap(answer)
    if len(text) <= MAX_NUMBER and (number := _number(text, language)) is not None:
        return number
    unknown = _UNKNOWN.fullmatch(text)
    if unknown is not None and (number := _number(unknown[1], language)) is not None:  # `x = 5`
        return number
    plain = _plain(text)
    return Key(plain) if plain else None


def _number(text: str, language: str) -> Key | None:
    quantity = read_quantity(text, language)
    if quantity is not None:
        return Key("", quantity.value, "%" if quantity.percent else quantity.unit)
    spelled = list(find_number_words(text, language))
    if len(spelled) == 1 and (spelled[0][0], spelled[0][1]) == (0, len(text)):
        return Key("", spelled[0][2])
    if "\\" in text or "^" in text or "×" in text or "*" in text:
        compact = "".join(plain_latex(text).replace("{", "(").replace("}", ")").split())
        if _EXPRESSION.fullmatch(compact) and compact.count("(") == compact.count(")"):
            value = evaluate_text(compact)
            return None if value is None else Key("", Fraction(value))
    return None


def _plain(text: str) -> str:
    """In one case, width and spacing, without quotation marks, brackets and full stops around it."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    text = _TIGHT.sub(r"\1", text)
    if any(sign in text for sign in "\\$^"):
        text = re.sub(r"\\[dt]frac(?![a-z])", r"\\frac", text)
        text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s?(?=\{)", "", text)
        text = re.sub(r"\^\{(\w)\}", r"^\1", "".join(_SPACING.sub("", text).split()))
    stripped = text
    while stripped:
        before = stripped
        stripped = stripped.strip(_EDGES)
        inside = stripped[1:-1]
        closing = _BRACKETS.get(stripped[:1])
        # An interval's or a pair's brackets say something; those around one thing do not.
        if closing and stripped.endswith(closing) and inside and not any(sign in inside for sign in ",;()[]{}"):
            stripped = inside
        if stripped == before:
            return stripped
    return text


def group_answers(keys: Sequence[Key | None]) -> list[int | None]:
    """For each answer the place of the first one that says the same; None for no answer.

    A bare number says the same as that number with a unit, or as a percentage of that value or written so, if there
    is just one such answer: `12` as `12 cm`, unless somebody says `12 m`.
    """
    present = set(keys) - {None}
    united = {key: _with_unit(key, present) for key in present if key is not None}
    firsts: dict[Key, int] = {}
    found: list[int | None] = []
    for place, key in enumerate(keys):
        found.append(None if key is None else firsts.setdefault(united[key], place))
    return found


def _with_unit(key: Key, present: set[Key | None]) -> Key:
    """The one answer with a unit that a bare number may stand for; else the answer itself."""
    if key.value is None or key.unit:
        return key
    others = [
        other
        for other in present
        if other is not None
        and other.value is not None
        and other.unit
        and (other.value == key.value or (other.unit == "%" and other.value * 100 == key.value))
    ]
    return others[0] if len(others) == 1 else key
