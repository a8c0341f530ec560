"""The echo backend: the prompt is the text."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import registry
from factory.backends import Backend
from factory.backends.echo import Echo, open_backend
from factory.errors import BadRequest
from factory.prices import cost, price_for
from factory.recipe.models import ModelConfig
from factory.types import Message, Request, Response, Sampling


def ask(*messages: Message, n: int = 1, **changes: Any) -> Response:
    request = Request("echo", "", messages, Sampling(**changes), n, 1, 0, "main", "generate", 0)
    return asyncio.run(open_backend(ModelConfig(backend="echo")).generate(request))


@given(st.text(), st.integers(1, 5))
def test_the_last_user_message_is_the_text(text: str, n: int) -> None:
    messages = (Message("system", "S"), Message("user", "before"), Message("user", text), Message("assistant", "after"))
    got = ask(*messages, n=n, temperature=0.5)
    assert [(choice.text, choice.finish_reason) for choice in got.choices] == [(text, "stop")] * n
    quarters = [math.ceil(len(message.content.encode()) / 4) for message in messages]
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (sum(quarters), n * quarters[2])
    assert got.usage.estimated


def test_without_a_user_message_there_is_no_text() -> None:
    with pytest.raises(BadRequest, match="user message"):
        ask(Message("system", "S"))


def test_it_is_a_local_backend_that_costs_nothing() -> None:
    model = ModelConfig(backend="echo")
    backend = registry.lookup("backend", "echo")(model)
    assert isinstance(backend, Echo) and isinstance(backend, Backend)
    assert backend.honours_n is True and backend.local
    price = price_for(model, local=backend.local)
    assert price.source == "local" and cost(price, ask(Message("user", "x")).usage) == 0
    asyncio.run(backend.close())
