"""Raw rows of a test set as `TestRow`s: one question each, its answer as text, its choices, its turns. Pure."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from factory.decontamination.types import TestRow
from factory.test_sets.entries import Fields
from factory.test_sets.paths import Scope, open_scopes, read_in, read_path

_LETTER = re.compile(r"\(?([A-Za-z])\)?[.)]?")
_OPTION = re.compile(r"^[ \t]*(?:\(([A-Z])\)|([A-Z])[.):])[ \t]*(\S.*)$", re.MULTILINE)
PLACE = "_place"
"""The key under which readers of several files or configurations say which one a row is of, and its number there."""
_WRITERS = {"user", "human", "prompter"}


@dataclass(frozen=True, slots=True)
class Shaped:
    """The rows that have a question, and how many had none."""

    rows: tuple[TestRow, ...]
    empty: int


def shape_rows(raw: Sequence[Mapping[str, Any]], fields: Fields) -> Shaped:
    """The test rows of raw rows, numbered in their order from 0 (rows without a question have a number too).

    A row with a list of questions gives one row each. An answer that is the number or the letter of a choice becomes
    that choice's text.
    """
    if fields.correct:
        raw, fields = _join_candidates(raw, fields)
    if fields.base is None and fields.choices:
        fields = replace(fields, base=_find_base(raw, fields))
    rows: list[TestRow] = []
    empty = number = 0
    for row in raw:
        for scope in open_scopes(row, fields.question[0]) if fields.question else [(("", row),)]:
            made = _row(scope, fields, number)
            number += 1
            if made.question:
                rows.append(made)
            else:
                empty += 1
    return Shaped(tuple(rows), empty)


def _row(scope: Scope, fields: Fields, number: int) -> TestRow:
    turns = _turns(read_in(scope, fields.turns)) if fields.turns else ()
    parts = [_whole_text(read_in(scope, path)) for path in fields.question]
    question = "\n\n".join(part for part in parts if part)
    if not question and turns:
        question, turns = turns[0], turns[1:]
    choices, labels = _choices(scope, fields)
    if not choices and not fields.classes:
        choices = _options_in(question)
    answer = _answer(scope, fields, choices, labels)
    name = text_of(read_in(scope, fields.id)) if fields.id else ""
    name = name or text_of(read_in(scope, PLACE))
    return TestRow(
        row=number, question=question, answer=answer, choices=tuple(filter(None, choices)), turns=turns, id=name
    )


def _whole_text(value: Any) -> str:
    """A question's text: paragraphs in a list belong together."""
    if isinstance(value, list):
        return "\n".join(text for text in map(text_of, value) if text)
    return text_of(value)


def text_of(value: Any) -> str:
    """A value as the text it stands for: a list's first that is one, numbers as they are written."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip() if "\n" not in value else value.rstrip().lstrip("\r\n")  # programs keep their indent
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return next((text for text in map(text_of, value) if text), "")
    if isinstance(value, Mapping):
        for key in ("text", "value", "content", "spans", "input_text", "number"):
            if text := text_of(value.get(key)):
                return text
        return ""
    return str(value)


def _turns(value: Any) -> tuple[str, ...]:
    """What the user says, turn by turn: texts, or the user's messages of a conversation."""
    value = _parsed(value)
    if not isinstance(value, list):
        text = text_of(value)
        return (text,) if text else ()
    found = []
    for item in value:
        if isinstance(item, Mapping):
            role = str(item.get("role") or item.get("from") or "user").lower()
            if role not in _WRITERS:
                continue
        found.append(text_of(item))
    return tuple(text for text in found if text)


def _choices(scope: Scope, fields: Fields) -> tuple[tuple[str, ...], list[Any]]:
    """The choices in their places ('' for an empty one), and their labels where there are any."""
    labels = read_in(scope, fields.labels) if fields.labels else None
    named = labels if isinstance(labels, list) else []
    if len(fields.choices) != 1:
        return tuple(text_of(read_in(scope, path)) for path in fields.choices), named
    value = _parsed(read_in(scope, fields.choices[0]))
    if isinstance(value, Mapping):  # {choice: score}, or {letter: choice}
        scores = bool(value) and all(isinstance(item, int | float) for item in value.values())
        named = named if scores else list(value)
        value = list(value) if scores else list(value.values())
    return (tuple(map(text_of, value)) if isinstance(value, list) else ()), named


def _parsed(value: Any) -> Any:
    """A list that stands in its column as text, in the form of JSON or of Python."""
    if not isinstance(value, str) or not value.startswith("[") or not value.endswith("]"):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def _answer(scope: Scope, fields: Fields, choices: tuple[str, ...], labels: list[Any]) -> str:
    value = next((found for path in fields.answer if (found := read_in(scope, path)) is not None), None)
    if value is None:
        return ""
    if fields.classes:
        return _class(value, fields)
    if not any(choices):
        return text_of(value)
    place = _place(value, choices, labels, fields.base or 0)
    return text_of(value) if place is None else choices[place]


def _class(value: Any, fields: Fields) -> str:
    text = text_of(value)
    number = int(value) if isinstance(value, bool) else int(text) if re.fullmatch(r"\d{1,3}", text) else None
    place = -1 if number is None else number - (fields.base or 0)
    return fields.classes[place] if 0 <= place < len(fields.classes) else text


def _place(value: Any, choices: Sequence[str], labels: Sequence[Any], base: int) -> int | None:
    """Which choice an answer means: its place; None where the answer is a text of its own."""
    count = len(choices)
    if isinstance(value, Mapping) and value and all(isinstance(item, int | float) for item in value.values()):
        value = max(value, key=lambda key: value[key])
    if isinstance(value, list):
        flags = [item for item in value if isinstance(item, bool) or item in (0, 1, 0.0, 1.0)]
        if len(flags) == len(value) == count and count > 1:
            return next((place for place, flag in enumerate(flags) if flag), None)
        value = next((item for item in value if text_of(item)), None)
    text = text_of(value)
    named = [text_of(label).upper() for label in labels]
    if text.upper() in named and named.index(text.upper()) < count:
        return named.index(text.upper())
    number = int(text) - base if re.fullmatch(r"\d{1,2}", text) and not isinstance(value, bool) else None
    if text in choices and (number is None or isinstance(value, str)):
        return choices.index(text)
    if number is not None:
        return number if 0 <= number < count else None
    letter = _LETTER.fullmatch(text)
    if letter is None:
        return None
    place = ord(letter[1].upper()) - ord("A")
    return place if place < count else None


def _options_in(question: str) -> tuple[str, ...]:
    """The lettered options that stand inside a question, in lines `(A) …` or `A. …`, from A on without a gap."""
    found = [(letter or other, text.strip()) for letter, other, text in _OPTION.findall(question)]
    if len(found) < 2 or [letter for letter, _ in found] != [chr(ord("A") + k) for k in range(len(found))]:
        return ()
    return tuple(text for _, text in found)


def _find_base(raw: Sequence[Mapping[str, Any]], fields: Fields) -> int:
    """The number of the first choice, where answers are numbers: 1 where no answer is 0 and one is the last, else 0."""
    last = False
    for row in raw:
        for scope in open_scopes(row, fields.question[0]) if fields.question else [(("", row),)]:
            value = next((found for path in fields.answer if (found := read_in(scope, path)) is not None), None)
            text = text_of(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
            if not re.fullmatch(r"\d{1,2}", text):
                continue
            if text == "0":
                return 0
            last = last or int(text) == sum(map(bool, _choices(scope, fields)[0]))
    return int(last)


def _join_candidates(raw: Iterable[Mapping[str, Any]], fields: Fields) -> tuple[list[dict[str, Any]], Fields]:
    """Tables with one line for each choice and a flag for the right one, as one row for each question."""
    question, answer = fields.question, fields.answer[0]
    joined: list[dict[str, Any]] = []
    for _, run in groupby(raw, key=lambda row: [read_path(row, path) for path in question]):
        for part in _pieces(list(run), fields.correct):
            right = next((row for row in part if row.get(fields.correct)), None)
            texts = [text_of(read_path(row, answer)) for row in part]
            first = {path: read_path(part[0], path) for path in (*question, fields.id, PLACE) if path}
            joined.append(
                {**first, "choices": texts, "answer": "" if right is None else text_of(read_path(right, answer))}
            )
    return joined, replace(fields, answer=("answer",), choices=("choices",), correct="", base=0)


def _pieces(run: list[Mapping[str, Any]], flag: str) -> Iterator[list[Mapping[str, Any]]]:
    """A run of lines with the same question: several questions of the same words have one right choice each."""
    right = sum(bool(row.get(flag)) for row in run)
    length = len(run) // right if right else len(run)
    parts = [run[start : start + length] for start in range(0, len(run), length)]
    whole = all(sum(bool(row.get(flag)) for row in part) == 1 for part in parts) and len(run) == length * right
    yield from parts if whole else [run]
