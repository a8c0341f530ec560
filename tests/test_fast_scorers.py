"""What the fast ways of rule scorers give is what their plain definitions give."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.scorers import Context, length, refusal, repetition, shorten
from factory.scorers.refusal_phrases import CLOSING, HINTS, OPENING, PREFACE, SELF
from factory.types import Candidate, Prompt, Score, Variation

CONTEXT = Context(Variation(0, {}), Prompt((), ""), {}, str)
PIECES = st.sampled_from(
    (
        "a",
        "the cat",
        "sat on",
        "one of the",
        "A cat; sat!",
        "--",
        "—",
        "…",
        "'",
        "!!!",
        "It’s so.",
        "Is it?\n",
        "\n\n",
        "我喜欢茶。",
        "This line comes again and again.\n",
        "x" * 40,
        "ab" * 40,
        "É",
        "\xa0",
        "snake_case",
        "1.5",
        "I.e.",
    )
)
TEXTS = st.lists(PIECES, max_size=40).map(" ".join) | st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=80)
PHRASES = st.sampled_from(
    (
        "As an AI language model, I",
        "as an ai's",
        "I'm an LLM,",
        "Als KI kann ich",
        "an aim",
        "I",
        "my training data ends",
        "en tant qu'ia, je",
        "como ia, no",
        "as of my last update",
        "being ai based assistant, i",
        '"',
        "“",
        "”",
        ". ",
        ", ",
        "I’m sorry, but I can’t help with that.",
        "Let me know if you'd like me to",
        "language models",
        "Sure! Here's a review:\n",
        "kettle",
        "作为一个AI语言模型",
        "я языковая модель",
        "jako sztuczna inteligencja",
        "knowledge cutoff",
    )
)


def candidates(texts: Sequence[str]) -> list[Candidate]:
    return [Candidate(0, "main", k, text, "stop", k, "m") for k, text in enumerate(texts)]


def plain_repetition(text: str, n: int, most: float) -> Score:
    """The largest of the three shares, each counted one by one."""
    text = text.casefold()
    tokens = text.split()
    runs = [tuple(tokens[place : place + n]) for place in range(len(tokens) - n + 1)]
    share, why = (1 - len(set(runs)) / len(runs) if len(runs) >= 8 else 0.0), f"runs of {n} words"
    seen: list[str] = []
    total = again = 0
    first = ""
    for piece in map(str.strip, re.split(r"[.!?。！？\n]+", text)):
        if len(piece) >= 12:
            total += len(piece)
            if piece in seen:
                again, first = again + len(piece), first or piece
            seen.append(piece)
    if total and again / total > share:
        share, why = again / total, f"'{shorten(first)}'"
    looped = 0.0
    for token in tokens:
        if len(token) > 64:
            grams = [token[place : place + 8] for place in range(len(token) - 7)]
            looped += len(token) * (1 - len(set(grams)) / len(grams))
    if text and looped / len(text) > share:
        share, why = looped / len(text), "runs of characters"
    if share > most:
        return Score(
            "repetition", 1 - share, f"{share:.0%} repeats itself ({why}), at most {most:.0%} wanted", vetoed=True
        )
    return Score("repetition", 1 - share)


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(1, 6), st.sampled_from([0.0, 0.1, 0.4]))
@example(["a - b - c - d - e - f - a - b -"], 3, 0.1)
@example(["- - - - - - - - - - - -"], 4, 0.1)
@example(["one two three four five six one two three four five six seven eight", "one two"], 4, 0.1)
def test_repetition(texts: list[str], n: int, most: float) -> None:
    found = repetition.repetition(candidates(texts), CONTEXT, ngram=n, max_share=most)
    assert found == [plain_repetition(text, n, most) for text in texts]


def plain_refusal(text: str, boilerplate: bool) -> str:
    folded = text.replace("’", "'").lower()
    if any(hint in folded for hint in HINTS):
        for match in SELF.finditer(folded):
            if not refusal._quoted(folded, match.start()):
                return match[0]
    if found := OPENING.match(folded[:240]):
        return found[0]
    if boilerplate and (found := PREFACE.match(folded[:400]) or CLOSING.search(folded[-160:])):
        return found[0]
    return ""


@settings(max_examples=500, deadline=None)
@given(st.lists(st.lists(PHRASES, max_size=8).map(" ".join), min_size=1, max_size=4), st.booleans())
def test_refusal(texts: list[str], boilerplate: bool) -> None:
    found = refusal.refusal(candidates(texts), CONTEXT, boilerplate=boilerplate)
    for text, one in zip(texts, found, strict=True):
        wanted = plain_refusal(text, boilerplate)
        assert one.vetoed == bool(wanted) and one.reason == (f"'{shorten(wanted.strip())}'" if wanted else "")


def test_refusal_in_columns_is_told_of_its_candidate() -> None:
    good, bad = {"q": "What is it?", "a": "A kettle."}, {"q": "What?", "a": "As an AI language model, I cannot know."}
    rows = [Candidate(0, "main", k, "", "stop", k, "m", fields) for k, fields in enumerate([good, bad, good, bad])]
    assert [one.vetoed for one in refusal.refusal(rows, CONTEXT)] == [False, True, False, True]


@settings(max_examples=300)
@given(TEXTS)
def test_length_counts_what_white_space_parts(text: str) -> None:
    rest, signs = length.UNSPACED.subn(" ", text)
    assert length.count_words(text) == len(rest.split()) + signs
