"""Randomness from (seed, row, name) alone: never a shared generator, the clock, the PID or a set's order."""

from __future__ import annotations

import hashlib
import random

Key = int | str


def digest(*keys: Key) -> bytes:
    """32 bytes from the keys. Types and lengths are hashed too, so that (1, "2") and ("12",) differ."""
    parts = []
    for key in keys:
        data = str(key).encode()
        parts.append(b"%b%d:%b" % (b"i" if isinstance(key, int) else b"s", len(data), data))
    return hashlib.sha256(b"".join(parts)).digest()


def derive(*keys: Key) -> int:
    """A seed in [0, 2**31): what every known server and library accepts as a seed."""
    return int.from_bytes(digest(*keys)[:4], "big") >> 1


def uniform(*keys: Key) -> float:
    """A float in [0, 1) with 53 random bits."""
    return (int.from_bytes(digest(*keys)[:8], "big") >> 11) / (1 << 53)


def generator(*keys: Key) -> random.Random:
    """A generator of its own for one (seed, row, name)."""
    return random.Random(int.from_bytes(digest(*keys)[:16], "big"))
