"""Multiple-choice questions as they are written: the options and the answer, from text or from columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from factory.scorers import Context, as_text, render_template, shorten

LETTERS = "ABCDEFGHIJ"
MAX_ANSWERS = 8
ANSWER_CHARS = 2000
OPTION = re.compile(
    r"^[ \t>]{0,8}(?:[-*+•][ \t]{1,4})?\*{0,2}[(（]?([A-Ja-j])"
    r"(?:(?:[).:\]]|\*\*[).:])\*{0,2}(?:[ \t]{1,8}|(?=\n|\Z))|[）．、：]\*{0,2}[ \t]{0,8})",
    re.MULTILINE,
)
INLINE = re.compile(r"(?:^|\s)\(?([A-J])[).]\s{1,4}(?=\S)")
ANSWER = re.compile(
    r"^[ \t>#]{0,8}\*{0,2}(?:the |die |la )?(?:correct |right |richtige |正确|正確)?"
    r"(?:answer|solution|key|antwort|lösung|réponse|respuesta|resposta|risposta|ответ|答案|答え|正解|정답|الإجابة|उत्तर)"
    r"(?:\*{0,2} is[ \t]?[:：]?|\*{0,2}[ \t]?[:：])\*{0,2}[ \t]{0,8}",
    re.IGNORECASE | re.MULTILINE,
)
GIVEN = re.compile(r"[(\[*\"'`]{0,4}([A-Ja-j])(?![^\W_])[)\].*\"'`:,]{0,4}\s*")
COLUMNS = {"options": ("options", "choices"), "answer": ("answer", "letter", "correct", "correct_answer", "label")}
LETTERED = re.compile(r"\A\(?([A-J])[).:]\s+")


@dataclass(frozen=True, slots=True)
class Choice:
    """A question's options in order and the letter given; `fault` says what cannot be read ('' when nothing).

    `question`: what stands before the options.
    """

    options: tuple[str, ...] = ()
    letter: str = ""
    fault: str = ""
    question: str = ""


def normal(text: str) -> str:
    """Options are the same when they differ in case, spaces, width or a full stop only."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" .")


def read_choice(text: str) -> Choice:
    """The options and the answer of `Question … A) … B) … Answer: B`."""
    answers = list(ANSWER.finditer(text))
    if not answers:
        return Choice(fault="no answer on a line of its own (`Answer: B`)")
    before = text[: answers[0].start()]
    marks = _run(list(OPTION.finditer(before)))
    if len(marks) < 2:
        marks = _run(list(INLINE.finditer(before)))
    if not marks:
        return Choice(fault="no options on lines of their own (`A) …`)")
    found = [match[1].upper() for match in marks]
    if found != list(LETTERS[: len(found)]):
        return Choice(fault=f"the options are lettered {' '.join(found)}")
    stops = [match.start() for match in marks[1:]] + [len(before)]
    options = tuple(before[match.end() : stop].strip() for match, stop in zip(marks, stops, strict=True))
    if len(answers) > MAX_ANSWERS:
        return Choice(options, fault=f"{len(answers)} answers")
    said = [text[match.end() : match.end() + ANSWER_CHARS] for match in answers]
    if len({read_answer(one, options) for one in said}) > 1:
        return Choice(options, fault="two different answers")
    return _with_answer(options, said[0], _question(before[: marks[0].start()]))


def _question(text: str) -> str:
    return re.sub(r"\A\s*\*{0,2}question\*{0,2}\s*[:：]\*{0,2}\s*", "", text, flags=re.IGNORECASE).strip()


def _run(marks: list[re.Match[str]]) -> list[re.Match[str]]:
    """The marks from the last `A` on: the question itself may hold one."""
    starts = [place for place, match in enumerate(marks) if match[1].upper() == "A"]
    return marks[starts[-1] :] if starts else marks


def read_answer(said: str, options: Sequence[str]) -> str:
    """The letter given, or '' when what is said is no single letter (with the option's text after it, or nothing)."""
    lines = said.strip().splitlines()
    first = lines[0].strip() if lines else ""
    match = GIVEN.match(first)
    if not match:
        return ""
    letter, rest = match[1].upper(), first[match.end() :].strip().strip("*")
    place = LETTERS.index(letter)
    same = place < len(options) and normal(rest) == normal(options[place])
    return letter if not rest or same else ""


def _with_answer(options: tuple[str, ...], said: str, question: str = "") -> Choice:
    letter = read_answer(said, options)
    if not letter:
        first = said.strip().partition("\n")[0]
        return Choice(options, fault=f"the answer '{shorten(first)}' is not exactly one letter", question=question)
    return Choice(options, letter, question=question)


def from_fields(fields: Mapping[str, object]) -> Choice | None:
    """From columns: `options` (a list, or a map by letter) and `answer`; None when there are no such columns."""
    answer = answer_of(fields)
    if answer is None:
        return None
    found = options_of(fields)
    if isinstance(found, Choice):
        return found
    if found is None:
        rest = "\n".join(as_text(value) for value in fields.values() if value is not answer)
        return read_choice(f"{rest}\nAnswer: {as_text(answer)}")
    return _with_answer(found, as_text(answer))


def answer_of(fields: Mapping[str, object]) -> object | None:
    """The value of the first column that is called as answers are; None where there is none, or it is null."""
    lower = {name.lower(): value for name, value in fields.items()}
    return next((lower[name] for name in COLUMNS["answer"] if name in lower), None)


def options_of(fields: Mapping[str, object]) -> tuple[str, ...] | Choice | None:
    """The texts of the options: a column of a list or of a map by letter, or columns `a`, `b`, … or `option_a`, ….

    None when there are no such columns; a Choice with its fault where a map's keys are no letters in order.
    """
    lower = {name.lower(): value for name, value in fields.items()}
    found = next((lower[name] for name in COLUMNS["options"] if isinstance(lower.get(name), list | dict)), None)
    if found is None:
        names = next((n for n in (list("abcdefghij"), [f"option_{c}" for c in "abcdefghij"]) if n[1] in lower), [])
        found = [lower[name] for name in names if name in lower] or None
    return None if found is None else listed(found)


def listed(found: object) -> tuple[str, ...] | Choice | None:
    """The options of a list, or of a map by letter; None for what is neither."""
    if isinstance(found, dict):
        if [str(key).upper() for key in found] != list(LETTERS[: len(found)]):
            return Choice(fault=f"the options are lettered {' '.join(map(str, found))[:40]}")
        found = list(found.values())
    if not isinstance(found, list | tuple):
        return None
    return tuple(_unlettered(as_text(option), place) for place, option in enumerate(found))


def _unlettered(option: str, place: int) -> str:
    """An option without its own letter before it."""
    match = LETTERED.match(option)
    return (option[match.end() :] if match and LETTERS.find(match[1]) == place else option).strip()


def same_text(one: str, other: str) -> bool:
    return normal(one) == normal(other)


def options_fault(found: Choice, wanted: int, same: Callable[[str, str], bool] = same_text) -> str:
    """What is wrong with the options and the letter, or '': their number, an empty one, two that are the same."""
    if len(found.options) != wanted:
        return f"{len(found.options)} options, wanted {wanted}"
    for place, option in enumerate(found.options):
        if not normal(option):
            return f"option {LETTERS[place]} is empty"
        for before in range(place):
            if same(found.options[before], option):
                return f"options {LETTERS[before]} and {LETTERS[place]} are the same"
    if LETTERS.index(found.letter) >= len(found.options):
        return f"the answer {found.letter} names no option"
    return ""


def wanted_fault(
    found: Choice,
    context: Context,
    expect: str | None,
    also: str | None,
    letter: str | None,
    same: Callable[[str, str], bool] = same_text,
) -> str:
    """Whether the letter is the wanted one, the right answer stands at it alone, and no other option is right."""
    if letter is not None:
        wanted = render_template(context, letter).strip().upper()
        if found.letter != wanted:
            return f"the answer is {found.letter}, wanted {wanted}"
    if expect is not None:
        right = render_template(context, expect)
        places = [LETTERS[place] for place, option in enumerate(found.options) if same(option, right)]
        if not places:
            return f"no option is '{shorten(right)}'"
        if places != [found.letter]:
            return f"'{shorten(right)}' is option {places[0]}, the answer says {found.letter}"
    if also is not None:
        others = [other for other in render_template(context, also).split("|") if normal(other)]
        both = [option for option in found.options if any(same(option, other) for other in others)]
        if both:
            return f"'{shorten(both[0])}' would be right too"
    return ""
