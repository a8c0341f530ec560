"""Multiple choice: options that differ and one letter that names one of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory.errors import UsageError
from factory.scorers import Context, as_text, render_template, shorten, text_of, traits, veto
from factory.types import Candidate, Score

LETTERS = "ABCDEFGHIJ"
MAX_ANSWERS = 8
ANSWER_CHARS = 2000
OPTION = re.compile(
    r"^[ \t>]{0,8}(?:[-*+•][ \t]{1,4})?\*{0,2}\(?([A-Ja-j])(?:[).:\]]|\*\*[).:])\*{0,2}(?:[ \t]{1,8}|(?=\n|\Z))",
    re.MULTILINE,
)
INLINE = re.compile(r"(?:^|\s)\(?([A-J])[).]\s{1,4}(?=\S)")
ANSWER = re.compile(
    r"^[ \t>#]{0,8}\*{0,2}(?:the )?(?:correct |right )?(?:answer|solution|key)"
    r"(?:\*{0,2} is[ \t]?[:：]?|\*{0,2}[ \t]?[:：])\*{0,2}[ \t]{0,8}",
    re.IGNORECASE | re.MULTILINE,
)
GIVEN = re.compile(r"[(\[*\"'`]{0,4}([A-Ja-j])(?![^\W_])[)\].*\"'`:,]{0,4}\s*")
COLUMNS = {"options": ("options", "choices"), "answer": ("answer", "letter", "correct", "correct_answer", "label")}


@dataclass(frozen=True, slots=True)
class Choice:
    """A question's options in order and the letter given; `fault` says what cannot be read ('' when nothing)."""

    options: tuple[str, ...] = ()
    letter: str = ""
    fault: str = ""


def _normal(text: str) -> str:
    """Options are the same when they differ in case, spaces, width or a full stop only."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" .")


def read_choice(text: str) -> Choice:
    """The options and the answer of `Question … A) … B) … Answer: B`."""
    answers = list(ANSWER.finditer(text))
    if not answers:
        return Choice(fault="no answer (`Answer: B`)")
    before = text[: answers[0].start()]
    marks = _run(list(OPTION.finditer(before)))
    if len(marks) < 2:
        marks = _run(list(INLINE.finditer(before)))
    if not marks:
        return Choice(fault="no options (`A) …`)")
    found = [match[1].upper() for match in marks]
    if found != list(LETTERS[: len(found)]):
        return Choice(fault=f"the options are lettered {' '.join(found)}")
    stops = [match.start() for match in marks[1:]] + [len(before)]
    options = tuple(before[match.end() : stop].strip() for match, stop in zip(marks, stops, strict=True))
    if len(answers) > MAX_ANSWERS:
        return Choice(options, fault=f"{len(answers)} answers")
    said = [text[match.end() : match.end() + ANSWER_CHARS] for match in answers]
    if len({_read_answer(one, options) for one in said}) > 1:
        return Choice(options, fault="two different answers")
    return _with_answer(options, said[0])


def _run(marks: list[re.Match[str]]) -> list[re.Match[str]]:
    """The marks from the last `A` on: the question itself may hold one."""
    starts = [place for place, match in enumerate(marks) if match[1].upper() == "A"]
    return marks[starts[-1] :] if starts else marks


def _read_answer(said: str, options: Sequence[str]) -> str:
    """The letter given, or '' when what is said is no single letter (with the option's text after it, or nothing)."""
    lines = said.strip().splitlines()
    first = lines[0].strip() if lines else ""
    match = GIVEN.match(first)
    if not match:
        return ""
    letter, rest = match[1].upper(), first[match.end() :].strip().strip("*")
    place = LETTERS.index(letter)
    same = place < len(options) and _normal(rest) == _normal(options[place])
    return letter if not rest or same else ""


def _with_answer(options: tuple[str, ...], said: str) -> Choice:
    letter = _read_answer(said, options)
    if not letter:
        first = said.strip().partition("\n")[0]
        return Choice(options, fault=f"the answer '{shorten(first)}' is not exactly one letter")
    return Choice(options, letter)


def _from_fields(fields: Mapping[str, object]) -> Choice | None:
    """From columns: `options` (a list, or a map by letter) and `answer`; None when there are no such columns."""
    lower = {name.lower(): value for name, value in fields.items()}
    answer = next((lower[name] for name in COLUMNS["answer"] if name in lower), None)
    if answer is None:
        return None
    options = next((lower[name] for name in COLUMNS["options"] if isinstance(lower.get(name), list | dict)), None)
    if isinstance(options, dict):
        if [str(key).upper() for key in options] != list(LETTERS[: len(options)]):
            return Choice(fault=f"the options are lettered {' '.join(map(str, options))[:40]}")
        options = list(options.values())
    if options is None:
        names = next((n for n in (list("abcdefghij"), [f"option_{c}" for c in "abcdefghij"]) if n[1] in lower), [])
        options = [lower[name] for name in names if name in lower] or None
    if not isinstance(options, list):
        rest = "\n".join(as_text(value) for value in fields.values() if value is not answer)
        return read_choice(f"{rest}\nAnswer: {as_text(answer)}")
    texts = tuple(re.sub(r"\A\(?[A-J][).:]\s+", "", as_text(option)).strip() for option in options)
    return _with_answer(texts, as_text(answer))


@traits(low=0, high=1)
def choice_answer(
    candidate: Candidate,
    context: Context,
    *,
    options: int = 4,
    expect: str | None = None,
    also: str | None = None,
    letter: str | None = None,
    on: str | None = None,
) -> Score:
    """1 when there are `options` distinct options and exactly one letter names one of them; anything else vetoes (0).

    Reads `Question: … A) … D) … Answer: B` (also in one column, `on`), or columns `options` and `answer`. Templates:
    `expect`: the right answer, which must stand at the letter and nowhere else; `also`: further right answers,
    `|`-separated, none of which may be an option; `letter`: where the right answer must stand.
    """
    if not 2 <= options <= len(LETTERS):
        raise UsageError(f"`options: {options}` of `choice_answer`", f"2 to {len(LETTERS)} are possible")
    found = _from_fields(candidate.fields) if on is None and candidate.fields else None
    if found is None:
        found = read_choice(text_of(candidate, on))
    fault = found.fault or _options_fault(found, options)
    if not fault and letter is not None:
        wanted = render_template(context, letter).strip().upper()
        fault = "" if found.letter == wanted else f"the answer is {found.letter}, wanted {wanted}"
    if not fault and expect is not None:
        fault = _expect_fault(found, render_template(context, expect))
    if not fault and also is not None:
        right = {_normal(other) for other in render_template(context, also).split("|")} - {""}
        both = [option for option in found.options if _normal(option) in right]
        fault = f"'{shorten(both[0])}' would be right too" if both else ""
    return veto("choice_answer", fault) if fault else Score("choice_answer", 1.0, found.letter)


def _options_fault(found: Choice, wanted: int) -> str:
    if len(found.options) != wanted:
        return f"{len(found.options)} options, wanted {wanted}"
    normal = [_normal(option) for option in found.options]
    for place, option in enumerate(normal):
        if not option:
            return f"option {LETTERS[place]} is empty"
        if option in normal[:place]:
            return f"options {LETTERS[normal.index(option)]} and {LETTERS[place]} are the same"
    if LETTERS.index(found.letter) >= len(found.options):
        return f"the answer {found.letter} names no option"
    return ""


def _expect_fault(found: Choice, expect: str) -> str:
    """Whether the right answer stands at the letter and only there."""
    right = _normal(expect)
    places = [LETTERS[place] for place, option in enumerate(found.options) if _normal(option) == right]
    if places == [found.letter]:
        return ""
    if not places:
        return f"no option is '{shorten(expect)}'"
    return f"'{shorten(expect)}' is option {places[0]}, the answer says {found.letter}"
