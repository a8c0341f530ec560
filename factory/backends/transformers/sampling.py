"""Drawing tokens from logits, many rows at once: each row by its own parameters and its own random numbers.

The cuts are those of the library's own samplers, in its order: temperature, top-k (Fan et al. 2018, arXiv:1805.04833),
nucleus (Holtzman et al. 2020, arXiv:1904.09751), min-p (Nguyen et al. 2024, arXiv:2407.01082). Equals of the last token
that is kept are kept too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_BLOCK = 64
_PIECE = 64
_ORDERED = 512
"""How many of the likeliest tokens are put in order first: a nucleus seldom holds more, and a full sort is dear."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one request samples. `temperature` 0: the likeliest token. `top_k` 0, `top_p` 1, `min_p` 0: no cut."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def penalises(self) -> bool:
        return bool(self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0)

    @property
    def cuts(self) -> bool:
        return self.temperature > 0 and (self.top_p < 1 or self.top_k > 0 or self.min_p > 0)


class Uniforms:
    """The random numbers of one candidate, in [0, 1): from a `torch.Generator` of its own, on the CPU.

    Number k hangs on the seed and on k alone, so that a candidate taken up again goes on as it would have.
    """

    def __init__(self, seed: int):
        self._generator = torch.Generator().manual_seed(seed)
        self._drawn: list[float] = []

    def __getitem__(self, k: int) -> float:
        while len(self._drawn) <= k:
            self._drawn += torch.rand(_BLOCK, generator=self._generator, dtype=torch.float64).tolist()
        return self._drawn[k]


class Penalties:
    """How often each token of the vocabulary was written, and which ones were read or written, for one candidate."""

    def __init__(self, settings: Settings, prompt: Sequence[int], written: Sequence[int], like: Tensor):
        self._settings = settings
        self._counts = torch.zeros(like.shape[-1], device=like.device)
        self._seen = torch.zeros(like.shape[-1], dtype=torch.bool, device=like.device)
        self._seen[torch.tensor(sorted(set(prompt)), device=like.device)] = True
        for token in written:
            self.add(token)

    def add(self, token: int) -> None:
        """A token was written."""
        self._counts[token] += 1
        self._seen[token] = True

    def apply(self, logits: Tensor) -> None:
        """Change a row of logits [vocab] in place: repetition as the library does it, the others as OpenAI's API."""
        settings = self._settings
        if settings.repetition_penalty != 1.0:
            factor = settings.repetition_penalty
            changed = torch.where(logits > 0, logits / factor, logits * factor)
            logits.copy_(torch.where(self._seen, changed, logits))
        logits -= settings.frequency_penalty * self._counts
        logits -= settings.presence_penalty * (self._counts > 0)


class Rows:
    """The settings of several rows as tensors [rows]."""

    def __init__(self, settings: Sequence[Settings], device: torch.device):
        def column(values: Sequence[float], dtype: Any) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self.sampled = any(one.temperature > 0 for one in settings)
        self.cut = any(one.cuts for one in settings)
        self.greedy = column([one.temperature <= 0 for one in settings], torch.bool)
        self.temperature = column([one.temperature if one.temperature > 0 else 1.0 for one in settings], torch.float32)
        self.top_p = column([one.top_p for one in settings], torch.float64)
        self.top_k = column([one.top_k for one in settings], torch.int64)
        self.min_p = column([one.min_p for one in settings], torch.float32)
        self.widest = max((one.top_k for one in settings), default=0)


def draw(logits: Tensor, rows: Rows, uniform: Tensor) -> Tensor:
    """One token per row of float32 `logits` [rows, vocab]; `uniform` [rows], float64, picks it where it is drawn."""
    best = logits.argmax(dim=-1)
    if not rows.sampled:
        return best
    peaks = logits.gather(1, best[:, None])
    probabilities = torch.softmax((logits - peaks) / rows.temperature[:, None], dim=-1)
    if rows.cut:
        probabilities = probabilities * (probabilities >= _lowest(probabilities, rows)[:, None])
    return torch.where(rows.greedy, best, _pick(probabilities, uniform))


def _lowest(probabilities: Tensor, rows: Rows) -> Tensor:
    """The probability [rows] below which the cuts leave nothing; 0 where there is no cut."""
    vocab = probabilities.shape[1]
    width = min(vocab, max(_ORDERED, rows.widest))
    ordered = probabilities.topk(width, dim=-1).values
    lowest, enough = _lowest_of(ordered, rows.top_k, rows.top_p, rows.min_p)
    short = (~enough & ~rows.greedy).nonzero()[:, 0] if width < vocab else None
    if short is not None and len(short):
        whole = probabilities[short].sort(dim=-1, descending=True).values
        lowest[short] = _lowest_of(whole, rows.top_k[short], rows.top_p[short], rows.min_p[short])[0]
    return lowest


def _lowest_of(ordered: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest probability kept, from falling probabilities [rows, width], and whether the width was enough."""
    last = ordered.shape[1] - 1
    running = ordered.double().cumsum(dim=-1)
    place = (top_k - 1).clamp(0, last)[:, None]
    limited = top_k > 0
    total = torch.where(limited, running.gather(1, place)[:, 0], torch.ones_like(top_p))
    nucleus = top_p < 1
    needed = (running < (top_p * total)[:, None]).sum(dim=-1)
    enough = ~nucleus | (needed <= last)
    zero = torch.zeros_like(ordered[:, 0])
    by_k = torch.where(limited, ordered.gather(1, place)[:, 0], zero)
    by_p = torch.where(nucleus, ordered.gather(1, needed.clamp(max=last)[:, None])[:, 0], zero)
    return torch.maximum(torch.maximum(by_k, by_p), min_p * ordered[:, 0]), enough


def _pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """Where the running sum of weights [rows, vocab] passes the share `uniform` of their total.

    Sums run over pieces of one fixed size, so that a row's bits are the same alone and among others.
    """
    rows = torch.arange(len(weights), device=weights.device)
    padded = torch.nn.functional.pad(weights, (0, -weights.shape[1] % _PIECE))
    pieces = padded.view(len(weights), -1, _PIECE)
    piece, rest = _pass(pieces.sum(dim=-1).double().cumsum(dim=-1), uniform)
    index, _ = _pass(pieces[rows, piece].double().cumsum(dim=-1), rest)
    return piece * _PIECE + index


def _pass(running: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Where running sums [rows, n] first exceed `share` × the last one, and which share of that step was left."""
    rows = torch.arange(len(running), device=running.device)
    last = running[:, -1]
    target = torch.minimum(share * last, torch.nextafter(last, torch.zeros_like(last)))
    index = (running <= target[:, None]).sum(dim=-1).clamp(max=running.shape[1] - 1)
    before = torch.where(index > 0, running[rows, (index - 1).clamp(min=0)], torch.zeros_like(last))
    return index, (target - before) / (running[rows, index] - before)


def raw_logprobs(logits: Tensor, tokens: Tensor, alternatives: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of `tokens` [rows], and of the likeliest tokens with their ids [rows, alternatives].

    They are the model's own: before temperature, penalties and cuts.
    """
    logs = torch.log_softmax(logits, dim=-1)
    top = logs.topk(min(alternatives, logs.shape[-1]), dim=-1)
    return logs.gather(1, tokens[:, None])[:, 0], top.values, top.indices
