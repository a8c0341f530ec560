"""Multiple choice as a question for people: exactly one right option, and nothing that gives it away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from factory.errors import UsageError
from factory.scorers import Context, as_text, column, shorten, text_of, traits, veto
from factory.scorers.choices import (
    LETTERS,
    Choice,
    answer_of,
    from_fields,
    listed,
    normal,
    options_fault,
    options_of,
    read_answer,
    read_choice,
    wanted_fault,
)
from factory.scorers.matching import look_in
from factory.scorers.numerals import read_quantity, same_quantity
from factory.types import Candidate, Score

AnswerAs = Literal["any", "letter", "index", "text"]
QUESTIONS = ("question", "stem", "query", "prompt", "problem")
MIN_LEAK = 4
"""Shorter answers stand in questions by chance."""
COMBINED = re.compile(
    r"\b(?:all|none|any|both|either|neither|two|some|most) of "
    r"(?:the )?(?:above|below|these|those|them|options|answers)\b"
    r"|\b(?:both|either|neither|only|options?)[ (]{1,2}[a-j1-9][) ]{0,2}(?:,? ?(?:and|or|nor|&)|,)[ (]{1,2}[a-j1-9]\b"
    r"|\A\(?[a-j]\)?(?:,? ?\(?[a-j]\)?)?,? (?:and|&|or) \(?[a-j]\)?\Z"
    r"|\b(?:alle|keine|beide|keins)s? (?:der )?(?:genannten|oben genannten|antworten|oben)\b"
    r"|\b(?:toutes|aucune) (?:de ces|les|des) (?:réponses|options)|\b(?:todas|ninguna) (?:de )?las anteriores"
    r"|以上(?:都|全|皆|均|所有|すべて)|上記(?:の)?(?:すべて|全て|いずれ)|위의 모든|모두 (?:정답|맞)"
)
"""Options about options, in one case."""


@traits(low=0, high=1)
def multiple_choice(
    candidate: Candidate,
    context: Context,
    *,
    count: int = 4,
    options: str | list[str] | None = None,
    answer: str | None = None,
    answer_as: AnswerAs = "any",
    first_index: int = 0,
    question: str | None = None,
    expect: str | None = None,
    also: str | None = None,
    letter: str | None = None,
    allow_combined: bool = True,
    max_length_ratio: float | None = None,
    allow_leak: bool = False,
    on: str | None = None,
) -> Score:
    """1 when exactly one of `count` distinct options is right, else 0 and a veto; 0 or 1, higher is better.

    Reads columns: `options` (a list, a map by letter; or the names of one column an option), `answer` (a letter, an
    index counted from `first_index`, or an option's text: `answer_as`) and `question`, found by their usual names;
    or text as `choice_answer` does (also in one column, `on`). Options are the same when they are one text, or one
    number (`0.5`, `1/2`). Templates `expect`, `also`, `letter`: as for `choice_answer`. `allow_combined: false`
    vetoes "all of the above" and "both A and B"; `max_length_ratio`: the right option's characters over those of the
    longest other one; unless
    `allow_leak`, a question that holds the right option's text and no other one's is vetoed.
    """
    if not 2 <= count <= len(LETTERS):
        raise UsageError(f"`count: {count}` of `multiple_choice`", f"2 to {len(LETTERS)} are possible")
    if max_length_ratio is not None and max_length_ratio <= 0:
        raise UsageError(f"`max_length_ratio: {max_length_ratio}` of `multiple_choice`", "use a number above 0, as 2.0")
    found = _read(candidate, on, options, answer, (answer_as, first_index))
    if question is not None:
        found = replace(found, question=as_text(column(candidate, question, "question")))
    elif not found.question and candidate.fields:
        found = replace(found, question=_question(candidate.fields))

    def same(one: str, other: str) -> bool:
        return same_option(one, other, context.language)

    fault = (
        found.fault
        or options_fault(found, count, same)
        or wanted_fault(found, context, expect, also, letter, same)
        or ("" if allow_combined else _combined_fault(found.options))
        or _conspicuous_fault(found, max_length_ratio)
        or ("" if allow_leak else _leak_fault(found))
    )
    return veto("multiple_choice", fault) if fault else Score("multiple_choice", 1.0, found.letter)


def same_option(one: str, other: str, language: str = "en") -> bool:
    """Whether two options are one text (but for case, width, spaces), or one number with one unit."""
    if normal(one) == normal(other):
        return True
    first, second = read_quantity(one, language), read_quantity(other, language)
    if first is None or second is None or first.unit != second.unit:
        return False
    return same_quantity(first, second, strict_percent=True)


def _read(
    candidate: Candidate,
    on: str | None,
    options: str | list[str] | None,
    answer: str | None,
    reading: tuple[AnswerAs, int],
) -> Choice:
    """The question from its columns where there are some, else from the text."""
    fields = candidate.fields
    if on is not None or not fields:
        return read_choice(text_of(candidate, on))
    given = column(candidate, answer, "answer") if answer is not None else answer_of(fields)
    texts = _named(candidate, options) if options is not None else options_of(fields)
    if isinstance(texts, Choice):
        return texts
    if texts is None or given is None:
        if answer is not None and given is not None:
            fields = {**{name: value for name, value in fields.items() if name != answer}, "answer": given}
        if given is None and answer_of(fields) is None and texts is not None:
            return Choice(texts, fault="no answer")
        return from_fields(fields) or read_choice(text_of(candidate, None))
    if len(texts) > len(LETTERS):
        return Choice(texts, fault=f"{len(texts)} options, {len(LETTERS)} are possible")
    places = answer_places(given, texts, *reading)
    if len(places) == 1:
        return Choice(texts, LETTERS[places[0]])
    told = "names no option" if not places else f"may be {' or '.join(LETTERS[place] for place in places)}"
    return Choice(texts, fault=f"the answer '{shorten(as_text(given))}' {told}")


def _named(candidate: Candidate, options: str | list[str]) -> tuple[str, ...] | Choice:
    """The options of a named column, or of one column an option."""
    value: Any
    if isinstance(options, str):
        value = column(candidate, options, "options")
    else:
        value = [column(candidate, name, "options") for name in options]
    found = listed(value)
    return Choice(fault=f"`{options}` holds no list of options") if found is None else found


def answer_places(given: Any, options: Sequence[str], answer_as: AnswerAs = "any", first_index: int = 0) -> list[int]:
    """Which options an answer may name: by letter, by index, or by its text. Exactly one is as it should be.

    `any`: a number is an index, or an option's text; a text is a letter or an option's text, and an index only when
    it is neither.
    """
    text = as_text(given).strip()
    named: set[int] = set()
    if answer_as in ("any", "text"):
        named |= {place for place, option in enumerate(options) if normal(option) == normal(text)}
    if answer_as in ("any", "letter") and isinstance(given, str) and (letter := read_answer(text, options)):
        named.add(LETTERS.index(letter))
    whole = isinstance(given, int) and not isinstance(given, bool)
    wants_index = answer_as == "index" or (answer_as == "any" and (whole or not named))
    if wants_index and re.fullmatch(r"\d{1,3}", text):
        named.add(int(text) - first_index)
    return sorted(place for place in named if 0 <= place < len(options))


def _question(fields: Mapping[str, Any]) -> str:
    lower = {name.lower(): value for name, value in fields.items()}
    return next((as_text(lower[name]) for name in QUESTIONS if name in lower), "")


def _combined_fault(options: Sequence[str]) -> str:
    combined = next((option for option in options if COMBINED.search(normal(option)[:400])), None)
    return f"'{shorten(combined)}' is an option about options" if combined is not None else ""


def _conspicuous_fault(found: Choice, limit: float | None) -> str:
    if limit is None:
        return ""
    lengths = [len(option) for option in found.options]
    right = lengths.pop(LETTERS.index(found.letter))
    longest = max(lengths)
    if right <= limit * longest:
        return ""
    return f"the right option has {right} characters, the longest other one {longest}"


def _leak_fault(found: Choice) -> str:
    """Whether the question holds the right option's text, word for word, and no other option's."""
    right = normal(found.options[LETTERS.index(found.letter)])
    short = len(right) < (MIN_LEAK if right.isascii() else 2)
    if short or not any(char.isalpha() for char in right):
        return ""
    question = look_in(found.question)
    if not question.holds(right):
        return ""
    others = [option for place, option in enumerate(found.options) if LETTERS[place] != found.letter]
    return "" if any(question.holds(other) for other in others) else f"the question says '{shorten(right)}'"
