"""Mean log-probability: how likely a language model finds an answer, per token."""

from __future__ import annotations

from factory.errors import UsageError
from factory.scorers import Context, Setup, Traits
from factory.scorers.measuring import Exchange, ask_likelihood, mean, read_logprobs
from factory.scorers.perplexity import NOT_TOLD
from factory.types import Candidate, Score


class logprob:
    """Mean natural log-probability of the answer's tokens; at most 0, higher is likelier.

    Without `model:` it is what the model that wrote it told (set its `logprobs`), which costs nothing; with one it is
    that model's, of the column `on` after the prompt (`prompt:` replaces the row's own).
    """

    def __init__(self, *, model: str | None = None, prompt: str | None = None, on: str | None = None):
        if model is None and (prompt is not None or on is not None):
            raise UsageError(
                "`logprob`: the log-probabilities of the model that wrote are those of its whole answer to its own "
                "prompt",
                "name a `model:` to ask, or leave out `prompt` and `on`",
            )
        self._model, self._exchange = model, Exchange(prompt, on)

    @property
    def traits(self) -> Traits:
        """A rule where the log-probabilities are there already."""
        if self._model is None:
            return Traits(high=0, expense="rule")
        return Traits(high=0, expense="model", task="likelihood")

    def bind(self, setup: Setup) -> None:
        self._exchange.bind(setup)

    def calls(self, n: int) -> int:
        """One for each candidate, none without a model."""
        return n if self._model is not None else 0

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        if self._model is None:
            found = read_logprobs(candidate.logprobs, NOT_TOLD)
        else:
            before, answer = self._exchange.prompt(candidate, context), self._exchange.answer(candidate)
            found = await ask_likelihood(context, self._model, before, answer, candidate.index)
        if isinstance(found, str):
            return Score("logprob", None, found)
        return Score("logprob", mean(found), f"{len(found)} tokens")
