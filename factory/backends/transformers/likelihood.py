"""Likelihoods of given tokens: long texts are read in parts, so that no more logits are held than memory bears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from factory.backends.transformers.network import Network
from factory.backends.transformers.problems import not_finite
from factory.errors import CallFault

_LOGIT_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}
"""What the float32 logits of one part may take, about thrice."""
_LEAST = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """A text whose tokens' likelihoods are wanted, from position `first` ≥ 1 on."""

    tokens: tuple[int, ...]
    first: int


class Likelihoods:
    """Measures with a causal language model. `batched` False: one text at a time, whole."""

    def __init__(self, network: Network, name: str, *, batched: bool):
        self._network, self._name, self._batched = network, name, batched
        kind = "cpu" if network.device.type == "cpu" else "cuda"
        self._positions = _LOGIT_BYTES[kind] // (3 * 4 * network.vocab)

    def __call__(self, readings: Sequence[Reading]) -> list[tuple[float, ...] | CallFault]:
        """Natural log-probabilities of each text's tokens from `first` on; a fault where they are no numbers."""
        if self._batched:
            values = list(self._read_together(readings))
        else:
            values = [self._read_alone(reading) for reading in readings]
        found: list[tuple[float, ...] | CallFault] = []
        for reading, row in zip(readings, values, strict=True):
            told = row[reading.first - 1 : len(reading.tokens) - 1]
            finite = bool(told.isfinite().all())
            found.append(tuple(min(0.0, value) for value in told.tolist()) if finite else not_finite(self._name))
        return found

    def _read_together(self, readings: Sequence[Reading]) -> Tensor:
        """Log-probabilities [texts, positions] of what follows each position, as far as they are wanted."""
        width = max(len(reading.tokens) for reading in readings) - 1
        part = max(_LEAST, self._positions // len(readings))
        start = min(reading.first for reading in readings) - 1
        found = torch.zeros(len(readings), width, dtype=torch.float32)
        reader = self._network.begin([reading.tokens[:-1] for reading in readings])
        targets = torch.tensor(
            [[*reading.tokens[1:], *[0] * (width + 1 - len(reading.tokens))] for reading in readings]
        )
        at = 0
        while at < width:
            if at < start:  # nothing is wanted of these: only what follows the last one is looked at
                end = min(start, at + max(part, _LEAST * 64))
                reader.skip(at, end)
            else:
                end = min(width, at + part)
                found[:, at:end] = _pick(reader.logits(at, end), targets[:, at:end])
            at = end
        return found

    def _read_alone(self, reading: Reading) -> Tensor:
        logits = self._network.whole(reading.tokens[:-1])
        return _pick(logits, torch.tensor([reading.tokens[1:]]))[0]


def _pick(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities [texts, positions] of the targets, by logits [texts, positions, vocab]."""
    chosen = logits.gather(-1, targets.to(logits.device)[..., None])[..., 0]
    return (chosen - torch.logsumexp(logits, dim=-1)).cpu()
