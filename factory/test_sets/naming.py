"""Which columns hold what, found by the names that test sets usually give them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from factory.errors import UsageError, nearest
from factory.test_sets.entries import Fields
from factory.test_sets.paths import read_path
from factory.test_sets.shaping import PLACE

QUESTION = (
    "question", "prompt", "problem", "query", "instruction", "question_stem", "stem", "question_text",
    "question_content", "complete_prompt", "instruct_prompt", "qtext", "question_str", "input", "goal", "ctx",
    "task", "body", "text", "sentence", "content", "user", "description",
)  # fmt: skip
ANSWER = (
    "answer", "answers", "target", "targets", "output", "outputs", "solution", "canonical_solution", "response",
    "completion", "answerkey", "answer_key", "correct_answer", "correct answer", "reference_answer", "final_answer",
    "ground_truth", "gold", "gold_answer", "label", "correct", "reference", "references", "expected", "expected_output",
    "best_answer", "code", "reference_code",
)  # fmt: skip
CHOICES = ("choices", "options", "candidates", "endings", "alternatives", "answer_choices", "multiple_choice_targets")
TURNS = ("turns", "conversation", "conversations", "messages")
IDS = ("id", "task_id", "question_id", "qid", "uid", "unique_id", "idx", "problem_id", "doc_id")
PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("instruction", "input"), ("body", "question"))
"""Columns that make one question together."""
CODE = ("canonical_solution", "entry_point", "test_list")
_NUMBERED = (
    "option", "option_", "option ", "choice", "choice_", "choice ", "answer", "answer_", "mc_answer", "ending",
    "ending_", "sol", "solution", "op", "opa",
)  # fmt: skip
_TEXTS = ("text", "value", "content", "answer", "choice", "atext")
_LABELS = ("label", "key", "id", "letter")


def guess_fields(rows: Sequence[Mapping[str, Any]], told: Fields, what: str) -> Fields:
    """`told`, completed by the usual names. Raises UsageError when nothing looks like a question."""
    sample = rows[:50]
    columns = list(dict.fromkeys(name for row in sample for name in row if name != PLACE))
    by_name = {column.lower(): column for column in reversed(columns)}
    found = _guess(by_name, sample)
    choices = told.choices or found.choices
    guessed = Fields(
        question=told.question or (() if told.turns else found.question),
        answer=told.answer or found.answer,
        choices=choices,
        turns=told.turns or ("" if told.question else found.turns),
        labels=told.labels or (found.labels if choices == found.choices else ""),
        classes=told.classes,
        base=told.base,
        id=told.id or found.id,
        correct=told.correct or found.correct,
    )
    check_fields(guessed, sample, columns, what)
    return guessed


def check_fields(fields: Fields, sample: Sequence[Mapping[str, Any]], columns: Sequence[str], what: str) -> None:
    """Raise UsageError for a field that no row has, with the nearest column and all there are."""
    listed = f"it has: {', '.join(columns)}"
    if not fields.question and not fields.turns:
        raise UsageError(
            f"{what}: no column looks like a question",
            f"{listed}; name the one with --question, or `question:` in a map",
        )
    named = {"question": fields.question, "answer": fields.answer, "choices": fields.choices, "turns": (fields.turns,)}
    for role, paths in named.items():
        for path in filter(None, paths):
            if not any(head in row for row in sample for head in _heads(path)):
                raise UsageError(f"{what} has no {role} column `{path}` ({nearest(path, columns)})", listed)


def fits(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most of these rows have what `fields` takes for the question (or the turns)."""
    sample = rows[:50]
    wanted = fields.question[:1] or (fields.turns,)
    there = sum(any(read_path(row, path) not in (None, "", []) for path in wanted) for row in sample)
    if there * 2 <= len(sample):
        return False
    needed = [path for path in (*fields.question, *fields.choices, *fields.answer) if path]
    return all(any(head in row for row in sample for head in _heads(path)) for path in needed)


def looks_like_code(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the columns are those of tasks for programs."""
    return bool(rows) and any(name in rows[0] for name in CODE)


def columns_of(fields: Fields) -> tuple[str, ...]:
    """The columns that fields are read from; none where the question's is still to be found."""
    if not fields.question and not fields.turns:
        return ()
    single = (fields.turns, fields.labels, fields.id, fields.correct)
    paths = (*fields.question, *fields.answer, *fields.choices, *filter(None, single))
    return tuple(dict.fromkeys(head for path in paths for head in _heads(path)))


def _heads(path: str) -> list[str]:
    """The columns that a path may begin with: a part of its name, or (with a dot inside) its whole name."""
    alternatives = [alternative.strip() for alternative in path.split("|")]
    return [head for name in alternatives for head in (name, re.split(r"\.|\[\]", name)[0])]


def _guess(by_name: Mapping[str, str], sample: Sequence[Mapping[str, Any]]) -> Fields:
    found = Fields(id=_first(by_name, IDS), turns=_turns(by_name, sample))
    stem = by_name.get("question")
    if stem and isinstance(_example(sample, stem), Mapping):
        return _of_stem(found, stem, _example(sample, stem), _first(by_name, ANSWER))
    choices, labels = _choices(by_name, sample)
    question = _question(by_name)
    used = {path.split(".")[0] for path in (*question, *choices)}
    free = {
        low: name for low, name in by_name.items() if name not in used or low in ("correct_answer", "correct answer")
    }
    answer = _first(free, ANSWER)
    correct = by_name.get("is_correct", "") if not choices and answer else ""
    return replace(
        found,
        question=() if found.turns else question,
        answer=(answer,) if answer else (),
        choices=choices,
        labels=labels,
        correct=correct,
    )


def _of_stem(found: Fields, stem: str, value: Mapping[str, Any], answer: str) -> Fields:
    """Rows whose question is an object with a stem and choices."""
    inner = next((name for name in QUESTION if name in value), "stem")
    listed = next((name for name in CHOICES if name in value), "")
    paths, labels = _list_paths(f"{stem}.{listed}", value.get(listed)) if listed else ((), "")
    answers = (answer,) if answer else ()
    return replace(found, question=(f"{stem}.{inner}",), answer=answers, choices=paths, labels=labels, turns="")


def _question(by_name: Mapping[str, str]) -> tuple[str, ...]:
    for pair in PAIRS:
        if all(name in by_name for name in pair):
            return tuple(by_name[name] for name in pair)
    first = _first(by_name, QUESTION)
    return (first,) if first else ()


def _first(by_name: Mapping[str, str], names: Iterable[str]) -> str:
    return next((by_name[name] for name in names if name in by_name), "")


def _example(sample: Sequence[Mapping[str, Any]], column: str) -> Any:
    return next((row[column] for row in sample if row.get(column) not in (None, "", [], {})), None)


def _turns(by_name: Mapping[str, str], sample: Sequence[Mapping[str, Any]]) -> str:
    for name in TURNS:
        if name in by_name and isinstance(_example(sample, by_name[name]), list):
            return by_name[name]
    return ""


def _choices(by_name: Mapping[str, str], sample: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], str]:
    """The paths of the choices, and of their labels."""
    name = _first(by_name, CHOICES)
    if name:
        return _list_paths(name, _example(sample, name))
    if "distractor1" in by_name and "correct_answer" in by_name:
        return (*_run(by_name, "distractor", "123456789"), by_name["correct_answer"]), ""
    for letters in ("abcdefghij", "123456789", "0123456789"):
        for start in ("", *_NUMBERED):
            if not start and letters != "abcdefghij":
                continue
            paths = _run(by_name, start, letters)
            if len(paths) > 1:
                return paths, ""
    return (), ""


def _run(by_name: Mapping[str, str], start: str, signs: str) -> tuple[str, ...]:
    """The columns `start`a, `start`b, … as far as they go on."""
    found = []
    for sign in signs:
        if start + sign not in by_name:
            break
        found.append(by_name[start + sign])
    return tuple(found)


def _list_paths(path: str, value: Any) -> tuple[tuple[str, ...], str]:
    """Choices are a list of texts, of objects, or an object of lists: the path of the texts, and of the labels."""
    one = value[0] if isinstance(value, list) and value else value
    if not isinstance(one, Mapping):
        return (path,), ""
    texts = next((name for name in _TEXTS if name in one), "")
    labels = next((name for name in _LABELS if name in one), "")
    if not texts:
        return (path,), ""
    between = "[]." if isinstance(value, list) else "."
    return (f"{path}{between}{texts}",), f"{path}{between}{labels}" if labels else ""
