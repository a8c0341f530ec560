"""What makes a text right for its job: independent checks on the text alone, not on how the grammar made it."""

from __future__ import annotations

import re
from typing import Any

from .lexicon import count_feelings

_EQUATION = re.compile(r"(\d+(?: [-+×÷*/] \d+)+) = (\d+)")
_NUMBER = re.compile(r"\d+")
_PROBLEM = re.compile(r"Question: ([^\n]+)\nAnswer: ([^\n]+)\n#### (\d+)")
_MESSAGE = re.compile(r"Message: ([^\n]+)\nRating: ([1-5])")
_CHOICE = re.compile(r"Question: ([^\n]+)\nA\) ([^\n]+)\nB\) ([^\n]+)\nC\) ([^\n]+)\nD\) ([^\n]+)\nAnswer: ([A-D])")
_SYMBOLS = {"addition": "+", "subtraction": "-", "multiplication": "×*", "division": "÷/"}


def find_fault(job: str, variables: dict[str, Any], text: str) -> str | None:
    """The first fault of a text in a few words, or None when it is right."""
    check = {"word-problem": _check_problem, "customer-message": _check_message, "multiple-choice": _check_choice}[job]
    return check(variables, text.strip())


def _evaluate(terms: list[str]) -> int | None:
    value = int(terms[0])
    for op, number in zip(terms[1::2], map(int, terms[2::2]), strict=True):
        if op == "+":
            value += number
        elif op == "-":
            value -= number
        elif op in "×*":
            value *= number
        elif number == 0 or value % number:
            return None
        else:
            value //= number
    return value


def _check_problem(variables: dict[str, Any], text: str) -> str | None:
    found = _PROBLEM.fullmatch(text)
    if not found:
        return "form"
    question, answer, final = found.groups()
    known = {int(n) for n in _NUMBER.findall(question)}
    asked = set(known)
    direct: list[str] = []
    last = None
    for left, right in _EQUATION.findall(answer):
        terms = left.split(" ")
        result, operands = int(right), [int(t) for t in terms[::2]]
        if _evaluate(terms) != result:
            return f"wrong equation: {left} = {right}"
        if all(n in known for n in operands):
            known.add(result)
            direct.append(left)
        elif terms[1] == "+" and result in known:  # a split into place values
            known.update(operands)
        else:
            return f"number from nowhere: {left} = {right}"
        last = (terms, result)
    if last is None or not direct:
        return "no equation"
    if last[1] != int(final):
        return "final number is not the last result"
    operation = variables["operation"]
    if operation == "two steps":
        return None if len(direct) >= 2 else "fewer than two steps"
    if last[0][1] not in _SYMBOLS[operation]:
        return "another operation"
    return None if all(int(t) in asked for t in last[0][::2]) else "last equation does not use the question's numbers"


def _check_message(variables: dict[str, Any], text: str) -> str | None:
    found = _MESSAGE.fullmatch(text)
    if not found:
        return "form"
    message, rating = found.groups()
    if variables["product"].lower() not in message.lower():
        return "product not named"
    if rating != variables["rating"]:
        return "another rating"
    sentences = len(re.findall(r"[.!?](?=\s|$)", message))
    if not 2 <= sentences <= 4:
        return f"{sentences} sentences"
    good, bad = count_feelings(message)
    agrees = {
        "positive": good > bad,
        "negative": bad > good,
        "mixed": good > 0 and bad > 0,
        "neutral": good == bad == 0,
    }
    return None if agrees[variables["sentiment"]] else f"sentiment (good {good}, bad {bad})"


def _check_choice(variables: dict[str, Any], text: str) -> str | None:
    found = _CHOICE.fullmatch(text)
    if not found:
        return "form"
    question, *options, letter = found.groups()
    fact = variables["fact"]
    if letter != variables["letter"]:
        return "another letter"
    if len({option.strip().lower() for option in options}) < 4:
        return "options repeat"
    if options["ABCD".index(letter)] != fact["answer"]:
        return "the option at the letter is not the answer"
    if set(options) & set(filter(None, fact["also"].split("|"))):
        return "a second right option"
    return None if fact["item"].lower() in question.lower() else "question does not name the item"
