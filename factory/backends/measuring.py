"""Requests that measure a given text instead of writing one: what is common to the backends that take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from factory.errors import BadRequest, UsageError
from factory.types import Choice, Message, Request, Response, TokenLogprob, Usage

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig


def split_answer(request: Request) -> tuple[tuple[Message, ...], str]:
    """The messages before the answer that a likelihood is asked of, and the answer's text.

    Raises BadRequest where the last message is not the assistant's, or says nothing.
    """
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "assistant":
        raise BadRequest("a likelihood is that of an answer: the last message must be the assistant's")
    if not last.content:
        raise BadRequest("the answer is empty: it has no token whose likelihood could be told")
    return request.messages[:-1], last.content


def told_likelihood(text: str, logprobs: Sequence[TokenLogprob], usage: Usage, model: str) -> Response:
    """The response to a likelihood request. `logprobs`: of the answer's tokens, without an end token."""
    return Response((Choice(text, "stop", None, tuple(logprobs)),), usage, model)


NOTHING_BEFORE = (
    "the answer has one token and nothing before it, not even a token that begins a text: its likelihood is not defined"
)
"""What is told of an answer alone whose first token, its only one, follows nothing."""


def refuse_sampling(model: ModelConfig) -> None:
    """Raise UsageError for sampling parameters of a model that writes nothing: they would be without effect."""
    given = sorted(set(model.sampling().body()) | ({"logprobs"} if model.logprobs is not None else set()))
    if given:
        names = ", ".join(f"`{name}`" for name in given)
        raise UsageError(
            f"{model.name} writes nothing, so {names} would have no effect",
            f"remove {'it' if len(given) == 1 else 'them'} from the model of the recipe",
        )


class CutTexts:
    """How many texts of a model were longer than it reads. One thread counts."""

    def __init__(self, name: str):
        self._name = name
        self._texts = self._cut = 0

    def count(self, cut: bool) -> None:
        """One more text."""
        self._texts += 1
        self._cut += cut

    def notes(self, limit: int | None) -> tuple[str, ...]:
        """A sentence where any was cut."""
        if not self._cut:
            return ()
        return (f"{self._name} reads {limit} tokens of a text: {self._cut} of {self._texts} were longer and were cut",)
