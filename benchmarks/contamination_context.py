"""What the kinds of variants know of a test set: names, shared sentences, and when a text says enough to be a leak."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from contamination_rephrasing import split_sentences
from contamination_words import FUNCTION_WORDS, NOT_NAMES

FEWEST_WORDS = 8
FEWEST_CONTENT = 5
SHARED_BY = 5
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_INSIDE = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Row(Protocol):
    """What a variant is made of."""

    @property
    def question(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def choices(self) -> tuple[str, ...]: ...
    @property
    def turns(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a kind may know of the whole test set: which words are names, which sentences many rows share."""

    names: frozenset[str]
    shared: frozenset[str]
    code: bool = False
    pieces: str = ""
    """The shared sentences as one text, to find pieces of them."""


def read_context(rows: Sequence[Row], *, code: bool = False) -> Context:
    """Names stand with a capital nearly always, and inside sentences too; shared sentences stand in 5 rows or more."""
    upper: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    for row in rows:
        text = whole_text(row)
        inside.update(set(_INSIDE.findall(text)))
        for word in set(re.findall(r"[A-Za-z]{3,}", text)):
            if word[0].isupper() and word[1:].islower():
                upper[word] += 1
            else:
                lower[word.lower()] += 1
    names = {
        word
        for word, count in upper.items()
        if word.lower() not in NOT_NAMES
        and word.lower() not in FUNCTION_WORDS
        and count >= 10 * lower[word.lower()]
        and inside[word]
    }
    context = Context(frozenset(names), frozenset(), code)
    seen: Counter[str] = Counter()
    for row in rows:
        seen.update({skeleton(sentence, context) for sentence in split_sentences(whole_text(row))})
    shared = frozenset(s for s, count in seen.items() if count >= SHARED_BY)
    return Context(frozenset(names), shared, code, "\n".join(f" {s} " for s in sorted(shared)))


def skeleton(sentence: str, context: Context) -> str:
    """A sentence with names and numbers masked, in small letters."""
    words = ("N" if word in context.names else re.sub(r"\d", "0", word.lower()) for word in _WORD.findall(sentence))
    return " ".join(words)


def is_shared(key: str, context: Context) -> bool:
    """Whether a masked sentence, or a piece of one, is among those that many rows share."""
    return key in context.shared or f" {key} " in context.pieces


def says_enough(text: str, context: Context, *, whole: bool = False, masks: str = "") -> bool:
    """Whether a text holds enough to be called a leak; see the module's docstring for the rule."""
    kept = text
    if not whole:
        sentences = split_sentences(text)
        kept = " ".join(s for s in sentences if not is_shared(skeleton(s, context), context))
    words = [word for word in _WORD.findall(kept) if len(word) > 1 or word.isdigit()]
    if "names" in masks:
        words = [word for word in words if word not in context.names]
    if not whole:
        words = [word for word in words if not word[0].isdigit()]
    content = {word.lower() for word in words} - FUNCTION_WORDS
    content = {word for word in content if len(word) > 2 or word.isdigit()}
    return len(words) >= FEWEST_WORDS and len(content) >= FEWEST_CONTENT


def render(question: str, choices: Sequence[str], style: str = "letters") -> str:
    """The question and its options as one text."""
    if not choices:
        return question
    marks = {
        "letters": [f"{LETTERS[i]}. " for i in range(len(choices))],
        "brackets": [f"({LETTERS[i].lower()}) " for i in range(len(choices))],
        "numbers": [f"{i + 1}) " for i in range(len(choices))],
        "bullets": ["- "] * len(choices),
    }[style]
    return "\n".join([question, *(mark + choice for mark, choice in zip(marks, choices, strict=True))])


def whole_text(row: Row) -> str:
    """What a row asks, as one text: all turns, or the question with its options."""
    return "\n".join(row.turns) if row.turns else render(row.question, row.choices)
