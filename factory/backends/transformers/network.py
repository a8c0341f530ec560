"""A model of the library as two operations: read prompts, and write one more token of every running row."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from factory.backends.transformers.memory import KeyValues
from factory.backends.transformers.options import library
from factory.backends.transformers.problems import is_out_of_memory

TOLERANCE = 0.05
"""By how much of their range the logits of a padded row may differ: coarse numbers differ by less, faults by more."""


class Network:
    """A causal language model behind `read` and `step`. Call both inside `torch.inference_mode()`."""

    def __init__(self, model: Any):
        self.model = model
        self.device: torch.device = model.get_input_embeddings().weight.device
        self.vocab = int(model.get_input_embeddings().weight.shape[0])
        parameters = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        keep = [name for name in ("logits_to_keep", "num_logits_to_keep") if name in parameters]
        self._last_only = {keep[0]: 1} if keep else {}

    def read(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Any]:
        """Logits [prompts, vocab] of what follows each prompt, and the cache, padded on the left."""
        width = max(map(len, prompts))
        tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self.device)
        cache = library("transformers.cache_utils").DynamicCache()
        return self._forward(tokens, mask, (mask.cumsum(dim=-1) - 1).clamp(min=0), cache), cache

    def step(self, tokens: Sequence[int], memory: KeyValues) -> Tensor:
        """Feed one token to each row of `memory`, and return the logits [rows, vocab] of what follows."""
        cache, mask, positions = memory.begin_step()
        logits = self._forward(torch.tensor(tokens, device=self.device)[:, None], mask, positions, cache)
        memory.end_step()
        return logits

    def begin(self, texts: Sequence[Sequence[int]]) -> TextReader:
        """A reading of whole texts, part by part."""
        return TextReader(self, texts)

    def whole(self, text: Sequence[int]) -> Tensor:
        """Float32 logits [1, positions, vocab] of one text, without a cache: any model can do that."""
        logits: Tensor = self.model(input_ids=torch.tensor([list(text)], device=self.device)).logits
        return logits.float()

    def feed(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: Any, *, keep: bool) -> Tensor:
        """One part of several texts, after their cache: float32 logits [texts, positions, vocab].

        Without `keep` those of the last position alone.
        """
        where = {"position_ids": positions} if self._takes_positions else {}
        last = {} if keep else self._last_only
        output = self.model(
            input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True, **where, **last
        )
        logits: Tensor = output.logits if keep else output.logits[:, -1:]
        return logits.float()

    def _forward(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        where = {"position_ids": positions} if self._takes_positions else {}
        output = self.model(
            input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True, **where, **self._last_only
        )
        logits: Tensor = output.logits[:, -1].float()
        # MPS has no 64-bit numbers, which the drawing needs.
        return logits.cpu() if logits.device.type == "mps" else logits


class TextReader:
    """Whole texts, padded on the right, read from the left in parts: none sees what follows it."""

    def __init__(self, network: Network, texts: Sequence[Sequence[int]]):
        width = max(map(len, texts))
        self._network = network
        self._tokens = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=network.device)
        self._mask = torch.tensor(
            [[1] * len(text) + [0] * (width - len(text)) for text in texts], device=network.device
        )
        self._cache = library("transformers.cache_utils").DynamicCache()

    def skip(self, start: int, end: int) -> None:
        """Read positions whose logits nobody wants."""
        self._feed(start, end, keep=False)

    def logits(self, start: int, end: int) -> Tensor:
        """Read positions, and return what is expected after each [texts, end - start, vocab]."""
        return self._feed(start, end, keep=True)

    def _feed(self, start: int, end: int, *, keep: bool) -> Tensor:
        tokens = self._tokens[:, start:end]
        positions = torch.arange(start, end, device=tokens.device)[None].expand(len(tokens), -1)
        return self._network.feed(tokens, self._mask[:, :end], positions, self._cache, keep=keep)


def batches_well(network: Network) -> bool:
    """Whether a row says the same alone and in company: padded, its prompt shared, token by token.

    Recurrent models, and those that take no heed of a mask, do not: they must run one at a time.
    """
    vocab = network.vocab
    longer, shorter = ([(step * k + 3) % vocab for k in range(1, count)] for step, count in ((7, 10), (11, 5)))
    try:
        _, cache = network.read([longer, shorter])
        memory = KeyValues(3, network.device)
        memory.insert(cache, [0, 1, 1], [len(longer), len(shorter), len(shorter)])
        for token in longer[:2]:
            together = network.step([token] * 3, memory)
        memory.remove(0)
        together = torch.cat([together[:1], network.step([longer[2]] * 2, memory)])
        checked = [[*longer, *longer[:2]], *[[*shorter, *longer[:3]]] * 2]
        alone = torch.cat([network.read([prompt])[0] for prompt in checked])
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError, StopIteration):
        return False
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False
    spread = float(alone.max() - alone.min())
    return bool(((together - alone).abs().max() <= TOLERANCE * spread).item())
