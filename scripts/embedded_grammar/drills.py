"""Exercises that the stream holds beside the three jobs: copying and bare equations.

Repeated lists make a small network learn to copy early, and a block of equations has ten times as many of them as a
word problem; both skills then carry over to the jobs. Nobody asks the finished model for a drill.
"""

from __future__ import annotations

from functools import cache
from random import Random

from .arithmetic import draw_operands, work_equations
from .facts import load_facts
from .people import HE, SHE
from .topics import TOPICS

LEVELS = ("easy", "easy", "medium", "medium", "hard")


@cache
def _words() -> tuple[str, ...]:
    facts = {text for fact in load_facts() for text in (fact.item, fact.answer)}
    return tuple(sorted({*SHE, *HE, *TOPICS, *facts}))


def make_drill(rng: Random) -> tuple[str, str]:
    """A prompt and a completion: a list to say again, or sums to do, half and half."""
    if rng.random() < 0.5:
        count = rng.randint(4, 12)
        some = [rng.choice(_words()) if rng.random() < 0.8 else str(rng.randint(2, 999)) for _ in range(count)]
        text = "; ".join(some)
        return f"Say again: {text}", text
    lines: list[str] = []
    while sum(map(len, lines)) < 150:
        step = draw_operands(rng, rng.choice("+-×÷"), rng.choice(LEVELS))
        lines += [*work_equations(step), step.equation]
    return "Do some sums.", ". ".join(lines) + "."
