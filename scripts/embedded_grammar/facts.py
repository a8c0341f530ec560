"""Multiple-choice questions on recipes/data/facts.csv: wordings by relation, and distractors that are never right."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

LETTERS = "ABCD"
FACTS_CSV = Path(__file__).parents[2] / "recipes" / "data" / "facts.csv"


@dataclass(frozen=True)
class Fact:
    """One row of the table; `also` lists answers that must not stand as wrong options."""

    subject: str
    relation: str
    item: str
    answer: str
    also: tuple[str, ...]

    def as_row(self) -> dict[str, str]:
        """The row as a recipe's table axis gives it."""
        return {
            "subject": self.subject,
            "relation": self.relation,
            "item": self.item,
            "answer": self.answer,
            "also": "|".join(self.also),
        }


@cache
def load_facts(path: Path = FACTS_CSV) -> tuple[Fact, ...]:
    """Read the table of facts."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return tuple(
        Fact(r["subject"], r["relation"], r["item"], r["answer"], tuple(a for a in r["also"].split("|") if a))
        for r in rows
    )


@cache
def _pool(relation: str) -> tuple[str, ...]:
    return tuple(sorted({fact.answer for fact in load_facts() if fact.relation == relation}))


# {i} is the item. Every relation also takes the general wordings below.
_WORDINGS: dict[str, tuple[str, ...]] = {
    "the capital of": (
        "What is the capital of {i}?",
        "Which city is the capital of {i}?",
        "Which of these cities is the capital of {i}?",
        "{i} has which city as its capital?",
        "What is the name of the capital city of {i}?",
        "In which city does the government of {i} sit as its capital?",
    ),
    "the continent of": (
        "On which continent is {i}?",
        "{i} lies on which continent?",
        "Which continent is {i} part of?",
        "To which continent does {i} belong?",
        "Where in the world would you find {i}?",
    ),
    "the country that is home to": (
        "In which country would you find {i}?",
        "Which country is home to {i}?",
        "Where is {i}?",
        "To see {i}, which country should you visit?",
        "A tourist stands before {i}. Which country is this?",
    ),
    "the currency of": (
        "What is the currency of {i}?",
        "Which money is used in {i}?",
        "What do people pay with in {i}?",
        "Which currency would a visitor need in {i}?",
    ),
    "the main language of": (
        "What is the main language of {i}?",
        "Which language do most people in {i} speak?",
        "What language would you hear most in {i}?",
        "Which is the chief language of {i}?",
    ),
    "the capital of the US state of": (
        "What is the capital of the US state of {i}?",
        "Which city is the state capital of {i}?",
        "In the United States, which city is the capital of {i}?",
        "Which of these is the capital of the state of {i}?",
    ),
    "the chemical symbol for": (
        "What is the chemical symbol for {i}?",
        "Which symbol stands for {i} in the periodic table?",
        "How do chemists write {i}?",
        "Which of these symbols means {i}?",
        "In a formula, which symbol stands for {i}?",
    ),
    "the animal group of": (
        "Which group of animals do {i} belong to?",
        "What kind of animals are {i}?",
        "{i} are an example of which animal group?",
        "How do biologists classify {i}?",
    ),
    "the word for a baby": (
        "What is a baby {i} called?",
        "What do we call a young {i}?",
        "Which word means a baby {i}?",
        "What is the name for the young of a {i}?",
    ),
    "the organ that": (
        "Which organ {i}?",
        "Which part of the body {i}?",
        "What is the organ that {i}?",
        "In the human body, which organ {i}?",
    ),
    "the sound made by": (
        "Which sound does {i} make?",
        "What is the sound made by {i}?",
        "Which word names the sound of {i}?",
    ),
    "the home of": ("Where does {i} live?", "What is the home of {i} called?", "Which of these is the home of {i}?"),
    "the word for a group of": (
        "What is a group of {i} called?",
        "Which word names a group of {i}?",
        "What do we call many {i} together?",
    ),
    "the opposite of": (
        "What is the opposite of {i}?",
        "Which word means the opposite of {i}?",
        "Choose the opposite of {i}.",
        "Which word is the reverse of {i} in meaning?",
    ),
    "a word that means the same as": (
        "Which word means the same as {i}?",
        "Which word is closest in meaning to {i}?",
        "Choose a synonym for {i}.",
        "Which of these could replace {i} in a sentence?",
    ),
    "the past tense of": (
        "What is the past tense of {i}?",
        "Which is the past tense of the verb {i}?",
        "Today I {i}. What did I do yesterday?",
        'Which form of {i} fits the word "yesterday"?',
    ),
    "the tool that measures": (
        "Which tool measures {i}?",
        "What would you use to measure {i}?",
        "Which instrument is made to measure {i}?",
    ),
    "the Roman numeral for": (
        "What is the Roman numeral for {i}?",
        "How did the Romans write {i}?",
        "Which Roman numeral stands for {i}?",
        "How is {i} written in Roman numerals?",
    ),
    "the month after": (
        "Which month comes after {i}?",
        "What is the month after {i}?",
        "When {i} ends, which month begins?",
        "Which month follows {i}?",
    ),
    "the month before": (
        "Which month comes before {i}?",
        "What is the month before {i}?",
        "Which month ends just before {i} begins?",
    ),
    "the day after": ("Which day comes after {i}?", "If today is {i}, what is tomorrow?", "Which day follows {i}?"),
    "the day before": (
        "Which day comes before {i}?",
        "If today is {i}, what was yesterday?",
        "Which day is just before {i}?",
    ),
    "the job of someone who": (
        "Who {i}?",
        "What is the job of someone who {i}?",
        "A person who {i} is called what?",
        "Which worker {i}?",
        "What do we call a person who {i}?",
    ),
    "the tool used to": (
        "Which tool is used to {i}?",
        "What do you use to {i}?",
        "Which of these would help you to {i}?",
        "What is the right tool to {i}?",
    ),
    "the instrument family of": (
        "Which family of instruments does {i} belong to?",
        "{i} is part of which instrument family?",
        "In an orchestra, which family includes {i}?",
    ),
    "the planet that is": (
        "Which planet is {i}?",
        "What is the name of the planet that is {i}?",
        "One planet is {i}. Which one?",
    ),
    "the author of": (
        "Who wrote {i}?",
        "Who is the author of {i}?",
        "Which author wrote {i}?",
        "{i} is a work by which writer?",
    ),
    "the painter of": ("Who painted {i}?", "Which artist painted {i}?", "Who is the painter of {i}?"),
    "the colour made by mixing": (
        "Which colour do you get by mixing {i}?",
        "What colour do {i} make together?",
        "Mix {i}. Which colour appears?",
    ),
    "the main ingredient of": (
        "What is the main ingredient of {i}?",
        "Which food is needed most to make {i}?",
        "{i} is mainly made from what?",
    ),
    "the sport played with": (
        "Which sport is played with {i}?",
        "In which sport do players use {i}?",
        "What sport needs {i}?",
    ),
}

_LEADS = (
    "",
    "",
    "",
    "",
    "Quick quiz: ",
    "Think carefully. ",
    "Here is an easy one. ",
    "A pupil asks: ",
    "Question for the class: ",
    "Choose the right answer. ",
    "From a quiz on {s}: ",
    "Test your knowledge of {s}. ",
    "In a lesson on {s}, the teacher asks: ",
    "Pick one. ",
)
_GENERAL = (
    "Which of these is {r} {i}?",
    "Which answer gives {r} {i}?",
    "Which option names {r} {i}?",
    "Do you know {r} {i}?",
)


def draw_variables(rng: Random) -> dict[str, object]:
    """Draw a fact (as a table row) and the letter where its answer must stand."""
    return {"fact": rng.choice(load_facts()).as_row(), "letter": rng.choice(LETTERS)}


def write_question(rng: Random, fact: dict[str, str], letter: str) -> str:
    """Write `Question: …`, four options and `Answer: letter` for the given variables."""
    item, answer, relation = fact["item"], fact["answer"], fact["relation"]
    general = rng.random() < 0.12
    wording = rng.choice(_GENERAL if general else _WORDINGS[relation]).format(i=item, r=relation)
    lead = rng.choice(_LEADS).format(s=fact["subject"])
    options = draw_distractors(rng, fact)
    options.insert(LETTERS.index(letter), answer)
    lines = [f"{name}) {option}" for name, option in zip(LETTERS, options, strict=True)]
    return "\n".join((f"Question: {lead}{wording[0].upper()}{wording[1:]}", *lines, f"Answer: {letter}"))


def draw_distractors(rng: Random, fact: dict[str, str]) -> list[str]:
    """Three wrong options of the answer's kind, distinct, never one of the `also` answers."""
    answer = fact["answer"]
    barred = {answer, *fact["also"].split("|"), fact["item"]}
    pool = _pool(fact["relation"])
    if fact["relation"] == "the past tense of":
        pool = (*rng.sample(pool, 4), fact["item"] + "ed", fact["item"])
        barred.discard(fact["item"])
    elif fact["relation"] == "the colour made by mixing":
        pool = (*pool, "turquoise", "brown", "black")
    return rng.sample(sorted(set(pool) - barred), 3)
