"""Drawing tokens from logits, many rows at once: each row depends on its own logits, parameters and random number only.

Nucleus sampling follows Holtzman et al. 2020 (arXiv:1904.09751). Sums run over pieces of one fixed shape, so that a
row's bits are the same alone and among others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.seeds import Key, digest

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_PIECE = 64


@dataclass(frozen=True, slots=True)
class Drawn:
    """Drawn tokens [rows] and the natural logarithm of their probability before the nucleus cut [rows]."""

    tokens: Ints
    logprobs: Array


def uniforms(count: int, *keys: Key) -> Doubles:
    """`count` numbers in [0, 1) that hang on the keys alone: Philox (Salmon et al. 2011), keyed by their digest."""
    philox = np.random.Philox(key=int.from_bytes(digest(*keys)[:16], "big"))
    return np.random.Generator(philox).random(count)


def draw(logits: Array, temperature: Array, top_p: Doubles, uniform: Doubles) -> Drawn:
    """One token per row of `logits` [rows, vocab].

    `temperature` [rows]: 0 takes the likeliest token (the first of equals; its log-probability is at temperature 1).
    `top_p` [rows]: draw among the fewest tokens that hold this share of the probability, and their equals.
    `uniform` [rows]: the random number in [0, 1) that picks the token.
    """
    rows = len(logits)
    greedy = temperature <= 0
    best = logits.argmax(axis=1)
    shifted = logits - logits[np.arange(rows), best][:, None]
    with np.errstate(over="ignore"):
        shifted /= np.where(greedy, np.float32(1), temperature)[:, None]
    weights = _weigh(shifted)
    pieces = weights.reshape(rows, -1, _PIECE)
    total = _totals(pieces)
    cut = np.flatnonzero((top_p < 1) & ~greedy)
    if len(cut):
        weights[cut] = _nucleus(weights[cut], top_p[cut])
    tokens = np.where(greedy, best, _pick(pieces, uniform))
    return Drawn(tokens, shifted[np.arange(rows), tokens] - np.log(total).astype(np.float32))


def logprobs_of(logits: Array, tokens: Ints) -> Array:
    """Natural log-probabilities [rows] of given tokens [rows], by `logits` [rows, vocab]."""
    rows = np.arange(len(logits))
    shifted = logits - logits.max(axis=1)[:, None]
    total = _totals(_weigh(shifted).reshape(len(rows), -1, _PIECE))
    found: Array = shifted[rows, tokens] - np.log(total).astype(np.float32)
    return found


def _weigh(shifted: Array) -> Array:
    """exp of shifted logits [rows, vocab], with zeros up to a whole number of pieces."""
    rows, vocab = shifted.shape
    weights = np.zeros((rows, -(-vocab // _PIECE) * _PIECE), np.float32)
    np.exp(shifted, out=weights[:, :vocab])
    return weights


def _totals(pieces: Array) -> Doubles:
    """Sums [rows] of weights [rows, pieces, _PIECE]."""
    found: Doubles = np.add.accumulate(np.add.reduce(pieces, axis=2), axis=1, dtype=np.float64)[:, -1]
    return found


def _nucleus(weights: Array, top_p: Doubles) -> Array:
    """Zero for every weight that the fewest likeliest tokens holding more than the share `top_p` [rows] do not need."""
    falling = np.negative(weights)
    falling.sort(axis=1)
    np.negative(falling, out=falling)
    last = _pick(falling.reshape(len(weights), -1, _PIECE), top_p)
    lowest = falling[np.arange(len(weights)), last]
    return weights * (weights >= lowest[:, None]).astype(np.float32)


def _pick(pieces: Array, uniform: Doubles) -> Ints:
    """Where the running sum of weights [rows, pieces, _PIECE] passes the share `uniform` of their total."""
    rows = np.arange(len(pieces))
    sums = np.add.reduce(pieces, axis=2)
    piece, rest = _pass(np.add.accumulate(sums, axis=1, dtype=np.float64), uniform)
    inside = np.add.accumulate(pieces[rows, piece], axis=1, dtype=np.float64)
    index, _ = _pass(inside, rest)
    return piece * _PIECE + index


def _pass(running: Doubles, share: Doubles) -> tuple[Ints, Doubles]:
    """Where running sums [rows, n] first exceed `share` × the last one, and which share of that step was left."""
    rows = np.arange(len(running))
    last = running[:, -1]
    target = np.minimum(share * last, np.nextafter(last, 0))
    index = (running <= target[:, None]).sum(axis=1)
    before = np.where(index > 0, running[rows, index - 1], 0.0)
    return index, (target - before) / (running[rows, index] - before)
