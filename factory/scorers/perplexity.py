"""Perplexity: how surprising an answer is to a language model."""

from __future__ import annotations

from factory.errors import UsageError
from factory.scorers import Context, Setup, Traits
from factory.scorers.measuring import Exchange, ask_likelihood, mean, perplexity_of, read_logprobs
from factory.types import Candidate, Score

NOT_TOLD = "the model that wrote it told no log-probabilities: give it `logprobs: 0`, or name a `model:` to ask"


class perplexity:
    """Perplexity of the answer's tokens by a language model; from 1 on, lower is less surprising.

    exp of the mean negative log-probability, of the answer given its prompt (`prompt:` replaces it), or alone with
    `conditional: false`. Without `model:` by the model that wrote it, where its own `logprobs` are set.
    """

    def __init__(
        self, *, model: str | None = None, conditional: bool = True, prompt: str | None = None, on: str | None = None
    ):
        if not conditional and prompt is not None:
            raise UsageError("`perplexity`: `prompt` has no effect with `conditional: false`", "keep one of the two")
        if model is None and (not conditional or prompt is not None or on is not None):
            raise UsageError(
                "`perplexity`: the log-probabilities of the model that wrote are those of its whole answer to its own "
                "prompt",
                "name a `model:` to ask, or leave out `conditional`, `prompt` and `on`",
            )
        self._model, self._conditional, self._exchange = model, conditional, Exchange(prompt, on)

    @property
    def traits(self) -> Traits:
        """A rule where the log-probabilities are there already."""
        if self._model is None:
            return Traits(low=1, better="lower", expense="rule")
        return Traits(low=1, better="lower", expense="model", task="likelihood")

    def bind(self, setup: Setup) -> None:
        self._exchange.bind(setup)

    def calls(self, n: int) -> int:
        """One for each candidate."""
        return n if self._model is not None else 0

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        if self._model is None:
            found = read_logprobs(candidate.logprobs, NOT_TOLD)
        else:
            before = self._exchange.prompt(candidate, context) if self._conditional else ()
            answer = self._exchange.answer(candidate)
            found = await ask_likelihood(context, self._model, before, answer, candidate.index)
        if isinstance(found, str):
            return Score("perplexity", None, found)
        value = perplexity_of(found)
        return Score("perplexity", value, f"{len(found)} tokens", parts={"logprob": mean(found)})
