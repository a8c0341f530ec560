"""Refusals and the boilerplate of assistants, in the languages where models most often write them."""

from __future__ import annotations

from factory.scorers import Context, shorten, texts_of, traits, veto
from factory.scorers.refusal_phrases import ALL_HINTS_BY_PART, CLOSING, HINTS_BY_PART, OFFERS, OPENING, PREFACE, SELF
from factory.types import Candidate, Score

HEAD = 240
TAIL = 160
LINE = 2000
MAX_MENTIONS = 50
PASSED = Score("refusal", 1.0)
PAIRS = ("“”", "«»", "„“", "「」", "『』")


def _find(text: str, boilerplate: bool) -> str:
    """The offending words, or ''."""
    folded = text.replace("’", "'").lower()
    if _hinted(folded):
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
    for offer in OFFERS:
        if offer in tail:
            closing = CLOSING.search(tail)
            return closing[0] if closing else ""
    return ""


def _hinted(folded: str) -> bool:
    """Whether one of the hints stands in the text. Most texts have none of the few parts that hints share."""
    for part, hints in HINTS_BY_PART if folded.isascii() else ALL_HINTS_BY_PART:
        if part in folded and any(hint in folded for hint in hints):
            return True
    return False


def _quoted(text: str, place: int) -> bool:
    """Whether a place lies inside quotation marks of its line."""
    before = text[max(text.rfind("\n", 0, place) + 1, place - LINE) : place + 1]
    return before.count('"') % 2 == 1 or any(before.count(pair[0]) > before.count(pair[1]) for pair in PAIRS)


@traits(low=0, high=1)
def refusal(candidate: Candidate, context: Context, *, boilerplate: bool = True, on: str | None = None) -> Score:
    """Refusals and what an assistant says of itself veto (0); otherwise 1.

    A refusal counts only where a text or column opens with it, outside quotation marks; "As an AI language model"
    anywhere but in quotes. `boilerplate`: openings such as "Sure! Here is a review:" and offers to revise veto too.
    """
    for text in texts_of(candidate, on):
        if found := _find(text, boilerplate):
            return veto("refusal", f"'{shorten(found.strip())}'")
    return PASSED
