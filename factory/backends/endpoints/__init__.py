"""What a server does besides writing: embeddings, likelihoods of given answers, scores. One attempt a call.

What it can do is found by asking it: an endpoint that is not there stops the run, and says who has it.
"""

from __future__ import annotations

from factory.backends.endpoints.classifying import Classifying
from factory.backends.endpoints.embedding import Embedding
from factory.backends.endpoints.likelihood import Likelihood
from factory.backends.endpoints.sending import Post
from factory.types import Request, Response

TASKS = frozenset({"generate", "likelihood", "classify", "embed"})
"""What some server of this kind can do; which of it one can is known when it was asked."""


class Endpoints:
    """The endpoints of one server that measure, and what was learned of them while its backend is open."""

    def __init__(self) -> None:
        self._embedding, self._likelihood, self._classifying = Embedding(), Likelihood(), Classifying()

    async def ask(self, request: Request, post: Post) -> Response:
        """One attempt at a request that measures. Raises a CallFault; Refused where the server cannot do it at all."""
        if request.task == "embed":
            return await self._embedding.ask(request, post)
        if request.task == "likelihood":
            return await self._likelihood.ask(request, post)
        return await self._classifying.ask(request, post)
