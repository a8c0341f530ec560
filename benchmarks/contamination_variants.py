"""Variants of test rows: what a leak looks like after somebody copied, reformatted, cut or rewrote it.

    variants = make_variants(rows, seed=0)      # rows: anything with question, answer, choices, turns

Every kind is a seeded function of a row; none looks at a detector. A variant is left out where it says too little to be
called a leak, by one rule (`contamination_context.says_enough`): at least 8 words and 5 different words of content (no
function word, no word of exam papers such as "following" or "statement", no single letter). For kinds that keep only a
part or change the words, sentences that 5 or more rows of the test set share do not count (names and numbers masked),
nor pieces of them, nor numbers, nor names where the kind changes them. Whole copies count as a whole.
Punctuation is dropped, and Markdown put in, only where signs are at most 15 % of the visible characters.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import contamination_code as code_edits
import contamination_rephrasing as words_edits
from contamination_context import (
    FEWEST_CONTENT,
    Context,
    Row,
    read_context,
    render,
    says_enough,
    skeleton,
    whole_text,
)
from contamination_words import PASSAGES, SURNAMES
from embedded_grammar.people import HE, SHE

from factory.seeds import generator


@dataclass(frozen=True, slots=True)
class Variant:
    """A data row made of a test row: its columns, and whether a detector must find it."""

    row: int
    kind: str
    group: str
    fields: Mapping[str, str]
    leak: bool = True


__all__ = [
    "FEWEST_CONTENT",
    "KINDS",
    "Context",
    "Kind",
    "Row",
    "Variant",
    "make_variants",
    "read_context",
    "render",
    "says_enough",
    "skeleton",
    "whole_text",
]

Make = Callable[[Row, Context, Random], "Mapping[str, str] | None"]


@dataclass(frozen=True, slots=True)
class Kind:
    """How to make a variant. `group` is the goal it counts for; `whole` judges all of its text by `says_enough`."""

    name: str
    group: str
    make: Make
    whole: bool = False
    masks: str = ""
    leak: bool = True


# ---- copied: the goal is recall .999


def verbatim(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    fields = {"instruction": row.turns[0] if row.turns else render(row.question, row.choices)}
    if row.answer:
        fields["output"] = row.answer
    if len(row.turns) > 1:
        fields["next"] = "\n".join(row.turns[1:])
    return fields


def _is_prose(text: str) -> bool:
    """Whether signs are at most 15 % of what is visible: in formulas and brackets, signs are the content."""
    visible = re.sub(r"\s", "", text)
    return len(re.findall(r"[^\w\s]", text)) <= 0.15 * len(visible)


def recased(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = whole_text(row)
    if not context.code and not _is_prose(text):
        return None
    manner = random.choice(["lower", "upper", "bare", "bare lower"])
    if "bare" in manner:
        text = re.sub(r"[^\w\s]", " ", text) if not context.code else re.sub(r"[,.:;!?'\"]", " ", text)
    if "lower" in manner:
        text = text.lower()
    return {"text": text.upper() if manner == "upper" else text}


def respaced(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    words = whole_text(row).split()
    gaps = [random.choice([" ", " ", " ", "  ", "\n", "\t", "\u00a0", "\n\n"]) for _ in words]
    text = "".join(word + gap for word, gap in zip(words, gaps, strict=True)).strip()
    text = text.replace("'", "’") if random.random() < 0.5 else text.replace("’", "'")
    return {"text": text.replace('"', "”") if random.random() < 0.5 else text}


_TEMPLATES = (
    "Q: {q}\nA: {a}",
    "Question: {q}\n\nAnswer: {a}",
    "### Instruction:\n{q}\n\n### Response:\n{a}",
    "<|user|>\n{q}\n<|assistant|>\n{a}",
    "Below is a task. Write a response that completes the request.\n\nTask: {q}\nResponse: {a}",
    "Human: {q}\n\nAssistant: Let's think step by step. {a}",
    "Problem 17. {q}\nSolution. {a}",
    "[INST] {q} [/INST] {a}",
)


def templated(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    style = random.choice(["letters", "brackets", "numbers", "bullets"])
    question = "\n".join(row.turns) if row.turns else render(row.question, row.choices, style)
    return {"text": random.choice(_TEMPLATES).format(q=question, a=row.answer).rstrip()}


def marked_down(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    if context.code:
        return {"text": f"## Task\n\n```python\n{row.question.strip()}\n```\n"}
    if not _is_prose(whole_text(row)):
        return None
    if random.random() < 0.5:
        lines = [f"{i}. {s}" for i, s in enumerate(words_edits.split_sentences(_asked(row)), 1)]
        return {"text": "\n".join(["## Exercise", "", *lines, "", *(f"* {choice}" for choice in row.choices)]).rstrip()}
    words = whole_text(row).split(" ")
    for place in random.sample(range(len(words)), max(1, len(words) // 12)):
        if words[place].strip():
            words[place] = random.choice(["**{}**", "*{}*", "`{}`", "__{}__"]).format(words[place])
    return {"text": "> " + " ".join(words)}


def embedded(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    passages = random.sample(PASSAGES, 8)
    before, after = " ".join(passages[:4]), " ".join(passages[4:])
    joint = random.choice([" ", "\n", "\n\n"])
    return {"text": f"{before}{joint}{whole_text(row)}{joint}{after}"}


def part_contiguous(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    spans = [found.span() for found in re.finditer(r"\S+", whole_text(row))]
    count = round(0.6 * len(spans))
    first = random.randint(0, len(spans) - count)
    return {"text": whole_text(row)[spans[first][0] : spans[first + count - 1][1]]} if count else None


def part_sentences(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    """Sentences (and options) at random until 60 % of the words are there, in their order."""
    sentences = words_edits.split_sentences(whole_text(row))
    if len(sentences) < 3:
        return None
    order = random.sample(range(len(sentences)), len(sentences))
    target = 0.6 * sum(len(s.split()) for s in sentences)
    kept: list[int] = []
    for place in order:
        if sum(len(sentences[i].split()) for i in kept) >= target:
            break
        kept.append(place)
    if len(kept) == len(sentences):
        return None
    joint = "\n" if row.choices else " "
    return {"text": joint.join(sentences[i] for i in sorted(kept))}


def numbers_changed(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = words_edits.change_numbers(whole_text(row), random)
    return {"text": text} if text else None


# ---- changed, synonyms, rephrased


def names_changed(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = words_edits.change_names(whole_text(row), context.names, random)
    return {"text": text} if text else None


def names_and_numbers_changed(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = words_edits.change_names(whole_text(row), context.names, random)
    text = words_edits.change_numbers(text, random) if text else None
    return {"text": text} if text else None


def reordered(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = words_edits.reorder(_asked(row), context.names, random)
    return {"text": render(text, row.choices)} if text else None


def _asked(row: Row) -> str:
    return "\n".join(row.turns) if row.turns else row.question


def _synonyms(share: float) -> Make:
    def make(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
        text = words_edits.swap_synonyms(whole_text(row), random, share)
        return {"text": text} if text else None

    return make


def _rephrased(strength: float, *, renamed: bool = False) -> Make:
    def make(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
        asked = words_edits.change_names(_asked(row), context.names, random) if renamed else _asked(row)
        names = context.names.union(SHE, HE, SURNAMES) if renamed else context.names
        text = words_edits.rephrase(asked, names, random, strength=strength) if asked else None
        if not text:
            return None
        choices = [words_edits.swap_synonyms(choice, random, strength) or choice for choice in row.choices]
        random.shuffle(choices)
        return {"text": render(text, choices, random.choice(["letters", "numbers", "bullets"]))}

    return make


# ---- kinds that nothing was tuned on: added after the last change of the detectors


def with_typos(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = words_edits.make_typos(whole_text(row), random, 0.3)
    return {"text": text} if text else None


def as_telegram(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = words_edits.shorten(whole_text(row))
    return {"text": text} if text else None


def in_first_person(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = words_edits.take_first_person(whole_text(row), context.names)
    if not text:
        return None
    return {"text": words_edits.reorder(text, context.names, random) or text}


# ---- multiple choice, answers, turns


def question_only(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    return {"text": row.question} if row.choices else None


def options_shuffled(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    if len(set(row.choices)) < 2:
        return None
    choices = list(row.choices)
    while choices == list(row.choices):
        random.shuffle(choices)
    return {"text": render(row.question, choices, random.choice(["letters", "brackets", "numbers", "bullets"]))}


def options_dropped(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    if len(row.choices) < 3:
        return None
    kept = sorted(random.sample(range(len(row.choices)), len(row.choices) // 2))
    return {"text": render(row.question, [row.choices[i] for i in kept])}


def options_only(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    return {"text": "\n".join(row.choices)} if row.choices else None


def answer_only(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    return {"text": row.answer} if row.answer else None


def turn_first(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    return {"text": row.turns[0]} if len(row.turns) > 1 else None


def turn_second(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    return {"text": row.turns[1]} if len(row.turns) > 1 else None


def conversation(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    if len(row.turns) < 2:
        return None
    passages = random.sample(PASSAGES, 6)
    said = [" ".join(passages[:3]), " ".join(passages[3:])]
    turns = (f"User: {turn}\nAssistant: {reply}" for turn, reply in zip(row.turns, said, strict=False))
    return {"conversation": "\n".join(turns)}


# ---- code


def _code(edit: Callable[[str, Random], str], *, solution: bool = True) -> Make:
    def make(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
        if not context.code:
            return None
        return {"text": edit(row.question + row.answer, random)}

    return make


def code_prose(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = code_edits.describe(row.question, random) if context.code else None
    return {"text": text} if text else None


def code_prose_rephrased(row: Row, context: Context, random: Random) -> Mapping[str, str] | None:
    text = code_edits.describe(row.question, random) if context.code else None
    text = words_edits.rephrase(text, context.names, random, strength=0.6) if text else None
    return {"text": text} if text else None


def _prose(make: Make) -> Make:
    """Only for test sets in prose: the words of code are no words to swap."""
    return lambda row, context, random: None if context.code else make(row, context, random)


KINDS: tuple[Kind, ...] = (
    Kind("verbatim", "copied", verbatim, whole=True),
    Kind("case, punctuation", "copied", recased, whole=True),
    Kind("white space, quotes", "copied", respaced, whole=True),
    Kind("template", "copied", templated, whole=True),
    Kind("Markdown", "copied", marked_down, whole=True),
    Kind("embedded in longer text", "copied", embedded, whole=True),
    Kind("60 %, one stretch", "copied", part_contiguous),
    Kind("60 %, sentences dropped", "copied", part_sentences),
    Kind("numbers changed", "copied", _prose(numbers_changed), masks="numbers"),
    Kind("names changed", "changed", _prose(names_changed), masks="names"),
    Kind("names and numbers changed", "changed", _prose(names_and_numbers_changed), masks="names numbers"),
    Kind("clause order", "changed", _prose(reordered)),
    Kind("synonyms, light", "changed", _prose(_synonyms(0.3))),
    Kind("synonyms, medium", "changed", _prose(_synonyms(0.6))),
    Kind("synonyms, strong", "changed", _prose(_synonyms(1.0))),
    Kind("rephrased, light", "rephrased", _prose(_rephrased(0.6))),
    Kind("rephrased, strong", "rephrased", _prose(_rephrased(1.0))),
    Kind("rephrased, names changed", "told", _prose(_rephrased(1.0, renamed=True)), masks="names"),
    Kind("typos in a third of the words", "unseen", _prose(with_typos)),
    Kind("telegram style", "unseen", _prose(as_telegram)),
    Kind("first person, other order", "unseen", _prose(in_first_person), masks="names"),
    Kind("question only", "part", _prose(question_only)),
    Kind("options shuffled", "part", _prose(options_shuffled)),
    Kind("options dropped", "part", _prose(options_dropped)),
    Kind("options only", "part", _prose(options_only)),
    Kind("answer only", "part", answer_only),
    Kind("first turn only", "part", turn_first),
    Kind("second turn only", "part", turn_second),
    Kind("conversation", "part", conversation, whole=True),
    Kind("code: indentation", "code", _code(code_edits.reindent)),
    Kind("code: quotes, type hints", "code", _code(code_edits.restyle)),
    Kind("code: renamed", "code", _code(code_edits.rename)),
    Kind("code: no comments", "code", _code(code_edits.strip_comments)),
    Kind("code: all of these", "told", _code(code_edits.rewrite)),
    Kind("code: docstring as prose", "code", code_prose),
    Kind("code: docstring rephrased", "told", code_prose_rephrased),
)


def make_variants(
    rows: Sequence[Row],
    *,
    seed: int = 0,
    code: bool = False,
    kinds: Iterable[str] | None = None,
    places: Sequence[int] | None = None,
) -> list[Variant]:
    """Every kind of every row (or of those at `places`) that applies and says enough, in order of row and kind.

    `rows` is the whole test set, whatever `places` says: names and shared sentences are counted over all of it.
    """
    context = read_context(rows, code=code)
    asked = None if kinds is None else set(kinds)
    if asked is not None and asked - {kind.name for kind in KINDS}:
        raise ValueError(f"no such kind of variant: {sorted(asked - {kind.name for kind in KINDS})}")
    found = []
    for place in range(len(rows)) if places is None else places:
        for kind in KINDS:
            if asked is None or kind.name in asked:
                fields = kind.make(rows[place], context, generator(seed, place, kind.name))
                if fields and _is_fit(rows[place], kind, fields, context):
                    found.append(Variant(place, kind.name, kind.group, fields, kind.leak))
    return found


def _is_fit(row: Row, kind: Kind, fields: Mapping[str, str], context: Context) -> bool:
    """The rule on the variant's text, and on the row it was made of where the kind changes its words.

    A text around the row (a passage, a reply, a template) says nothing of it, so there the row alone is judged.
    """
    own = says_enough(whole_text(row), context, whole=kind.whole, masks=kind.masks)
    if kind.name in ("embedded in longer text", "conversation", "template", "verbatim"):
        return own
    changes = kind.group in ("changed", "rephrased", "told", "unseen") or bool(kind.masks)
    text = "\n".join(fields.values())
    return (own or not changes) and says_enough(text, context, whole=kind.whole, masks=kind.masks)
