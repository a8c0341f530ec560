"""Instruction-following difficulty: how much an instruction helps a language model to its answer."""

from __future__ import annotations

import math

from factory.errors import UsageError
from factory.scorers import Context, Setup, traits
from factory.scorers.measuring import Exchange, ask_likelihood, mean, perplexity_of
from factory.together import together
from factory.types import Candidate, Score


@traits(low=0, better="higher", expense="model", task="likelihood")
class ifd:
    """Perplexity of the answer given the instruction, over that of the answer alone; from 0 on, higher is harder.

    Above 1 the instruction does not help: such pairs are usually thrown out (`veto_above: 1`), and of the others the
    hardest are the most worth training on. The ratio of perplexities as in Li et al. 2024 (arXiv:2402.00530); of the
    mean losses it is in their first paper (arXiv:2308.12032), which is above 1 for the same pairs.
    """

    def __init__(self, *, model: str, prompt: str | None = None, on: str | None = None):
        if prompt is not None and not prompt.strip():
            raise UsageError("`ifd`: without an instruction there is nothing to compare", "give `prompt` a template")
        self._model, self._exchange = model, Exchange(prompt, on)

    def bind(self, setup: Setup) -> None:
        self._exchange.bind(setup)

    def calls(self, n: int) -> int:
        """Two for each candidate."""
        return 2 * n

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        before, answer = self._exchange.prompt(candidate, context), self._exchange.answer(candidate)
        given, alone = await together(
            [ask_likelihood(context, self._model, part, answer, candidate.index) for part in (before, ())]
        )
        if isinstance(given, str) or isinstance(alone, str):
            return Score("ifd", None, given if isinstance(given, str) else f"the answer alone: {alone}")
        # The same tokens in both: alone, the first one has no likelihood where no token begins every text.
        count = min(len(given), len(alone))
        given, alone = given[-count:], alone[-count:]
        value = math.exp(min(700.0, mean(alone) - mean(given)))
        parts = {"given": perplexity_of(given), "alone": perplexity_of(alone)}
        return Score("ifd", value, f"{count} tokens", parts=parts)
