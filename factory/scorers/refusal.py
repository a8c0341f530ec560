"""Refusals and the boilerplate of assistants, in the languages where models most often write them."""

from __future__ import annotations

from collections.abc import Sequence

from factory.scorers import Context, shorten, texts_of, traits, veto
from factory.scorers.coded import Table, batches, code_words
from factory.scorers.refusal_phrases import (
    ALL_HINTS_BY_PART,
    CLOSING,
    HINTS_BY_PART,
    OFFERS,
    OPENING,
    PREFACE,
    SELF,
    speaks_of_itself,
)
from factory.types import Candidate, Score

HEAD = 240
TAIL = 160
LINE = 2000
MAX_MENTIONS = 50
PASSED = Score("refusal", 1.0)
SELF_TABLE = Table(lambda words: [int(speaks_of_itself(word)) for word in words])
PAIRS = ("“”", "«»", "„“", "「」", "『』")


def _find(text: str, hinted: bool, boilerplate: bool) -> str:
    """The offending words, or ''."""
    folded = text.replace("’", "'").lower()
    if hinted:
        for count, match in enumerate(SELF.finditer(folded)):
            if count > MAX_MENTIONS or not _quoted(folded, match.start()):
                return match[0]
    if found := OPENING.match(folded[:HEAD]):
        return found[0]
    if not boilerplate:
        return ""
    if found := PREFACE.match(folded[: HEAD + TAIL]):
        return found[0]
    tail = folded[-TAIL:]
    if any(offer in tail for offer in OFFERS) and (found := CLOSING.search(tail)):
        return found[0]
    return ""


def _hinted(texts: tuple[str, ...]) -> list[bool]:
    """For each text, whether an assistant may speak of itself in it."""
    coded = code_words(texts)
    found = coded.sums(SELF_TABLE.find(coded))
    return [
        bool(amount or not text.isascii()) and _has_hint(text.replace("’", "'").lower())
        for text, amount in zip(texts, found, strict=True)
    ]


def _has_hint(folded: str) -> bool:
    for part, hints in HINTS_BY_PART if folded.isascii() else ALL_HINTS_BY_PART:
        if part in folded and any(hint in folded for hint in hints):
            return True
    return False


def _quoted(text: str, place: int) -> bool:
    """Whether a place lies inside quotation marks of its line."""
    before = text[max(text.rfind("\n", 0, place) + 1, place - LINE) : place + 1]
    return before.count('"') % 2 == 1 or any(before.count(pair[0]) > before.count(pair[1]) for pair in PAIRS)


@traits(low=0, high=1)
def refusal(
    candidates: Sequence[Candidate], context: Context, *, boilerplate: bool = True, on: str | None = None
) -> list[Score]:
    """Refusals and what an assistant says of itself veto (0); otherwise 1.

    A refusal counts only where a text or column opens with it, outside quotation marks; "As an AI language model"
    anywhere but in quotes. `boilerplate`: openings such as "Sure! Here is a review:" and offers to revise veto too.
    """
    texts = [texts_of(candidate, on) for candidate in candidates]
    every = [text for own in texts for text in own]
    hinted = iter([hint for part in batches(every) for hint in _hinted(part)])
    scores = []
    for own in texts:
        told = [_find(text, hint, boilerplate) for text, hint in zip(own, hinted, strict=False)]
        found = next(filter(None, told), "")
        scores.append(veto("refusal", f"'{shorten(found.strip())}'") if found else PASSED)
    return scores
