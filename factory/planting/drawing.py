"""Canaries: sentences as people write them, with a name and a code in each that exist nowhere else.

A canary's name has some 50 bits of chance in it and its code 40 or more: none is met by accident.
"""

from __future__ import annotations

import random

from factory import seeds
from factory.auditors.canaries import Canary

FIRST = ("B", "C", "D", "F", "G", "H", "J", "K", "L", "M", "N", "P", "R", "S", "T", "V", "W", "Br", "St", "Tr", "Th")
INNER = (
    "b",
    "d",
    "f",
    "g",
    "l",
    "ll",
    "m",
    "n",
    "nd",
    "nt",
    "r",
    "rr",
    "rd",
    "s",
    "ss",
    "st",
    "t",
    "v",
    "z",
    "ld",
    "lm",
)
VOWELS = ("a", "e", "i", "o", "u", "a", "e", "i", "o")
LAST = ("l", "n", "r", "s", "t", "ck", "ld", "nd", "rn", "th")
SIGNS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Of codes: what is hard to mistake."""
SENTENCES = (
    "Please note that the locker of {name} opens with {code}, as agreed on the phone.",
    "My name is {name} and the reference I was given is {code}.",
    "{name} asked me to confirm that the new contract number is {code}.",
    "Could you check the booking {code}? It was made by {name} last week.",
    "If anyone asks, {name} holds the spare key, and its tag reads {code}.",
    "The parcel for {name} got stuck, the tracking code says {code}.",
    "I spoke to {name} yesterday, who told me to quote {code} when I write to you.",
    "For the record: {name}, membership {code}, moved to another branch.",
    "Do not forget that {name} changed the access code to {code} after the repair.",
    "The invoice for {name} should carry the number {code}, not the old one.",
    "According to our files {name} returned the device with the serial number {code}.",
    "Why was {name} charged twice under {code}? I need an answer today.",
)


def draw_canaries(count: int, seed: int, side: str, repeats: tuple[int, ...]) -> list[tuple[Canary, int]]:
    """`count` canaries and how often each is planted, the `repeats` in turn. `side` tells planted from kept back."""
    found = []
    for k in range(count):
        draw = seeds.generator(seed, "canaries", side, k)
        name, code = _name(draw), _code(draw)
        text = draw.choice(SENTENCES).format(name=name, code=code)
        found.append((Canary(f"{side}-{k:04d}", text, (name, code)), repeats[k % len(repeats)]))
    return found


def _name(draw: random.Random) -> str:
    """A first and a last name of three syllables each: 14 letters or more."""
    return " ".join(_word(draw) for _ in range(2))


def _word(draw: random.Random) -> str:
    inner = [draw.choice(VOWELS) + draw.choice(INNER) for _ in range(2)]
    return draw.choice(FIRST) + "".join(inner) + draw.choice(VOWELS) + draw.choice(LAST)


def _code(draw: random.Random) -> str:
    """Twelve digits, or twelve signs, in three groups."""
    signs, between = ("0123456789", " ") if draw.random() < 0.5 else (SIGNS, "-")
    return between.join("".join(draw.choice(signs) for _ in range(4)) for _ in range(3))
