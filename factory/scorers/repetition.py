"""Repetition: loops of words, repeated lines and sentences, runs of characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from factory.scorers import Context, shorten, text_of, traits, veto
from factory.scorers.coded import batches, code, code_words, repeating
from factory.scorers.words import folded, single_spaced, tokens
from factory.types import Candidate, Score

ENDS = bytes.maketrans(b".!?", b"\n\n\n")
WIDE_ENDS = "。！？"
SHAPE = bytes(97 if chr(code).isalnum() else 32 if chr(code).isspace() else 46 for code in range(256))
MIN_PIECE = 12
MIN_GRAMS = 8
LONG_TOKEN = 64
CHAR_GRAM = 8
PASSED = Score("repetition", 1.0)


def _suspect(texts: tuple[str, ...], n: int) -> list[bool]:
    """For each text, whether n of its tokens in a row may come twice: then their words, if they have any, do."""
    if _has_words_throughout(" ".join(texts)):
        return repeating(code_words(texts), n)
    return repeating(code([single_spaced(text).casefold().encode("utf-8", "surrogatepass") for text in texts]), n)


def _has_words_throughout(text: str) -> bool:
    """Whether every token of a text holds a word; only known of ASCII."""
    if not text.isascii():
        return False
    shape = b" " + text.encode().translate(SHAPE) + b" "
    while b".." in shape:
        shape = shape.replace(b"..", b".")
    return b" . " not in shape


def _gram_share(tokens: Sequence[str], n: int) -> float:
    """The share of n-grams that came before; 0 for texts too short to tell."""
    total = len(tokens) - n + 1
    if total < MIN_GRAMS:
        return 0.0
    distinct = len(set(zip(*(tokens[offset:] for offset in range(n)), strict=False)))
    return 1 - distinct / total


def _piece_share(text: str) -> tuple[float, str]:
    """The share of characters in lines and sentences that came before, and the first such piece."""
    if text.isascii():
        pieces = text.encode().translate(ENDS).decode().split("\n")
    else:
        for end in ".!?" + WIDE_ENDS:
            text = text.replace(end, "\n")
        pieces = text.split("\n")
    found = [piece for piece in map(str.strip, pieces) if len(piece) >= MIN_PIECE]
    different = set(found)
    if len(different) == len(found):
        return 0.0, ""
    first = ""
    repeated = 0
    for piece in found:
        if piece in different:
            different.remove(piece)
        else:
            repeated += len(piece)
            first = first or piece
    return repeated / sum(map(len, found)), first


def _has_long_token(text: str) -> bool:
    """Whether more than `LONG_TOKEN` signs may stand without white space between them."""
    place = 0
    while place + LONG_TOKEN < len(text):
        space = text.rfind(" ", place, place + LONG_TOKEN + 1)
        if space < 0:
            return True
        place = space + 1
    return False


def _run_share(text: str, tokens: Sequence[str]) -> float:
    """The share of the text in long unbroken tokens that repeat themselves (`!!!!…`, `abcabc…`, unspaced scripts)."""
    repeated = 0.0
    for token in tokens:
        grams = len(token) - CHAR_GRAM + 1
        if len(token) > LONG_TOKEN:
            distinct = len({token[place : place + CHAR_GRAM] for place in range(grams)})
            repeated += len(token) * (1 - distinct / grams)
    return repeated / len(text)


@traits(low=0, high=1)
def repetition(
    candidates: Sequence[Candidate],
    context: Context,
    *,
    ngram: Annotated[int, Field(ge=1)] = 4,
    max_share: Annotated[float, Field(ge=0, le=1)] = 0.4,
    on: str | None = None,
) -> list[Score]:
    """1 − the share of the text that repeats itself, 0…1, higher is better; more than `max_share` vetoes.

    The share is the largest of three: word n-grams that came before, characters in lines or sentences that came
    before, and character 8-grams that came before within unbroken tokens of more than 64 characters.
    """
    n = max(1, ngram)
    texts = [text_of(candidate, on) for candidate in candidates]
    suspected = [repeats for part in batches(texts) for repeats in _suspect(part, n)]
    return [_score(text, n, max_share, repeats) for text, repeats in zip(texts, suspected, strict=True)]


def _score(text: str, n: int, max_share: float, repeats: bool) -> Score:
    """`repeats`: n-grams may come twice, so they are to be counted."""
    share, why = (_gram_share(tokens(text), n) if repeats else 0.0), f"runs of {n} words"
    text = folded(text)
    pieces, piece = _piece_share(text)
    if pieces > share:
        share, why = pieces, f"'{shorten(piece)}'"
    if _has_long_token(text) and (runs := _run_share(text, text.split())) > share:
        share, why = runs, "runs of characters"
    if share > max_share:
        return veto("repetition", f"{share:.0%} repeats itself ({why}), at most {max_share:.0%} wanted", 1 - share)
    return Score("repetition", 1 - share) if share else PASSED
