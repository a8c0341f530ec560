"""The rendered prompt is the text: rule-based generation, with no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory.errors import BadRequest
from factory.token_counts import count_bytes
from factory.types import Choice, Request, Response, Usage

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig


def open_backend(model: ModelConfig) -> Echo:
    """The echo; it has no options."""
    return Echo(model.model or "echo")


class Echo:
    """Answers with the last user message, the same for every candidate; tokens are bytes / 4. Costs nothing."""

    honours_n: bool | None = True
    local = True
    structured: str | None = "json_schema"  # the text is the recipe's own: a sentence about its form would spoil it

    def __init__(self, name: str = "echo"):
        self._name = name

    async def generate(self, request: Request) -> Response:
        """One answer. Raises BadRequest when there is no user message."""
        text = next((message.content for message in reversed(request.messages) if message.role == "user"), None)
        if text is None:
            raise BadRequest("echo needs a user message: its content is the text")
        prompt = sum(count_bytes(message.content) for message in request.messages)
        usage = Usage(prompt, request.n * count_bytes(text), estimated=True)
        return Response((Choice(text, "stop"),) * request.n, usage, self._name)

    async def close(self) -> None:
        """Nothing to let go of."""
