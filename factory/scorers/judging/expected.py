"""The expected grade: the mean of the scale's numbers, weighted by the probability that the judge gave each of them.

Finer than the one number that a judge writes, and steadier: Liu et al. 2023, "G-Eval: NLG Evaluation using GPT-4 with
Better Human Alignment" (arXiv 2303.16634), there by sampling, here by the log-probabilities of the tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory.types import TokenLogprob

LEAST_MASS = 0.5
"""Probability that the scale's numbers must hold together: with less, the alternatives were not told, or not read."""
MOST_UNCLEAR = 0.05
"""Share of that probability that may lie on the beginning of several numbers (the 1 of 1 and of 10), left out."""
_BEFORE = " \t\r\n\":'"


@dataclass(frozen=True, slots=True)
class Chance:
    """The expected grade, and the probability of all that it is the mean of."""

    value: float
    mass: float


def expected_scores(
    tokens: Sequence[TokenLogprob] | None, stated: Sequence[int], low: int, high: int, key: str = "score"
) -> list[Chance] | None:
    """For each stated grade, in the order in which the answer has them, the expected one. None where any cannot be had.

    The last places at which the tokens spell the key with a number are taken, and must spell the stated grades.
    """
    if not tokens or not stated:
        return None
    text = "".join(token.token for token in tokens)
    found = list(re.finditer(rf'"{re.escape(key)}"\s*:\s*"?(-?\d{{1,6}})', text))[-len(stated) :]
    if [int(match[1]) for match in found] != list(stated):
        return None
    chances = [_chance(tokens, match.start(1), low, high) for match in found]
    good = [chance for chance in chances if chance is not None]
    return good if len(good) == len(chances) else None


def _chance(tokens: Sequence[TokenLogprob], start: int, low: int, high: int) -> Chance | None:
    """The expected grade at a number that begins at character `start` of the text that the tokens spell."""
    place = at = 0
    while at + len(tokens[place].token) <= start:
        at += len(tokens[place].token)
        place += 1
    values = {str(value): value for value in range(low, high + 1)}
    masses: dict[str, float] = dict.fromkeys(values, 0.0)
    unclear = _follow(tokens[place:], tokens[place].token[: start - at], masses)
    mass = math.fsum(masses.values())
    if mass < LEAST_MASS or unclear > MOST_UNCLEAR * mass:
        return None
    return Chance(math.fsum(values[name] * share for name, share in masses.items()) / mass, mass)


def _follow(tokens: Sequence[TokenLogprob], before: str, masses: dict[str, float]) -> float:
    """Add to `masses`, by number, what the tokens of one number and their alternatives say.

    A number may take several tokens: along those that were written it is known what else each might have been. Returns
    the probability of beginnings that were not followed. `before`: what stands before the number in the first token.
    """
    done, reached, unclear = "", 1.0, 0.0
    for place, token in enumerate(tokens):
        chances = {token.token: token.logprob, **dict(token.top)}
        tails = {one: one if place else _without(before, one) for one in chances}
        fulls = {one: _read(done, tail, masses) for one, tail in tails.items()}
        written: str | None = None
        for one, (full, ends) in fulls.items():
            share = reached * math.exp(chances[one])
            if ends:
                masses[full] += share
            elif full and one == token.token:
                written, onward = full, share
            elif full in masses and any(
                len(other) > len(full) and other.startswith(full) for other, _ in fulls.values()
            ):
                masses[full] += share  # longer numbers are tokens of their own here
            elif full:
                unclear += share
        if written is None:
            return unclear
        done, reached = written, onward
    if done in masses:
        masses[done] += reached
    return unclear


def _without(before: str, token: str) -> str:
    """A first token from where its number begins: other tokens may have other white space before theirs."""
    return token[len(before) :] if token.startswith(before) else token.lstrip(_BEFORE)


def _read(done: str, tail: str, numbers: Mapping[str, float]) -> tuple[str, bool]:
    """The number that the digits so far and a further token make, and whether it ends there. "" for none of them."""
    digits = re.match(r"-?\d*", tail)
    assert digits is not None
    full = done + digits[0]
    if digits.end() < len(tail) or not tail:
        return (full, True) if full in numbers else ("", False)
    possible = [number for number in numbers if number.startswith(full)]
    if len(possible) == 1:
        return possible[0], True
    return (full, False) if possible else ("", False)
