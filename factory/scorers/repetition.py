"""Repetition: loops of words, repeated lines and sentences, runs of characters."""

from __future__ import annotations

import re

from factory.scorers import Context, shorten, text_of, traits, veto
from factory.types import Candidate, Score

PIECES = re.compile(r"[.!?。！？\n]+")
MIN_PIECE = 12
MIN_GRAMS = 8
LONG_TOKEN = 64
CHAR_GRAM = 8


def _gram_share(tokens: list[str], n: int) -> float:
    """The share of n-grams that came before; 0 for texts too short to tell."""
    total = len(tokens) - n + 1
    if total < MIN_GRAMS:
        return 0.0
    distinct = len(set(zip(*(tokens[offset:] for offset in range(n)), strict=False)))
    return 1 - distinct / total


def _piece_share(text: str) -> tuple[float, str]:
    """The share of characters in lines and sentences that came before, and the first such piece."""
    seen: set[str] = set()
    total = repeated = 0
    first = ""
    for piece in PIECES.split(text):
        piece = piece.strip()
        if len(piece) < MIN_PIECE:
            continue
        total += len(piece)
        if piece in seen:
            repeated += len(piece)
            first = first or piece
        seen.add(piece)
    return (repeated / total if total else 0.0), first


def _run_share(text: str, tokens: list[str]) -> float:
    """The share of the text in long unbroken tokens that repeat themselves (`!!!!…`, `abcabc…`, unspaced scripts)."""
    repeated = 0.0
    for token in tokens:
        grams = len(token) - CHAR_GRAM + 1
        if len(token) > LONG_TOKEN:
            distinct = len({token[place : place + CHAR_GRAM] for place in range(grams)})
            repeated += len(token) * (1 - distinct / grams)
    return repeated / len(text) if text else 0.0


@traits(low=0, high=1)
def repetition(
    candidate: Candidate, context: Context, *, ngram: int = 4, max_share: float = 0.4, on: str | None = None
) -> Score:
    """1 − the share of the text that repeats itself, 0…1, higher is better; more than `max_share` vetoes.

    The share is the largest of three: word n-grams that came before, characters in lines or sentences that came
    before, and character 8-grams that came before within unbroken tokens of more than 64 characters.
    """
    text = text_of(candidate, on).casefold()
    tokens = text.split()
    share, why = _gram_share(tokens, max(1, ngram)), f"runs of {max(1, ngram)} words"
    pieces, piece = _piece_share(text)
    if pieces > share:
        share, why = pieces, f"'{shorten(piece)}'"
    if len(text) > LONG_TOKEN and (runs := _run_share(text, tokens)) > share:
        share, why = runs, "runs of characters"
    if share > max_share:
        return veto("repetition", f"{share:.0%} repeats itself ({why}), at most {max_share:.0%} wanted", 1 - share)
    return Score("repetition", 1 - share)
