"""Likelihoods by the backend `vllm`, on the stand-in for the package. The engine itself is asked in tests/real."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import fake_vllm
import pytest

from factory.backends import tasks_of
from factory.backends.token_logprobs import FLOOR
from factory.backends.vllm import open_backend
from factory.errors import BadRequest, ConnectionLost, ContextTooLong, ServerFault, UsageError
from factory.recipe import ModelConfig
from factory.requesting import build_request
from factory.types import Message, Response, TokenLogprob, Usage

USER = Message("user", "a bb ccc")


@pytest.fixture(autouse=True)
def untouched_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting an engine sets variables; they end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    return fake_vllm.install(monkeypatch)


def ask(*messages: Message, **model: Any) -> Response:
    config = ModelConfig.model_validate({"backend": "vllm", "model": "some/model"} | model)

    async def once() -> Response:
        backend = open_backend(config)
        try:
            request = build_request(config, messages, seed=7, row=0, step="x", purpose="score", task="likelihood")
            return await backend.generate(request)
        finally:
            await backend.close()

    return asyncio.run(once())


def answer(text: str) -> Message:
    return Message("assistant", text)


def test_the_answers_own_tokens_are_told_after_the_chat_before_it(plan: SimpleNamespace) -> None:
    response = ask(USER, answer("one two"), temperature=0.9, max_tokens=99)
    [(prompt, params, _, _)] = plan.asked
    assert prompt["prompt_token_ids"] == [4, 5, 6, 3, 3], "three words of the chat, two of the answer"
    assert (params.prompt_logprobs, params.max_tokens, params.n, params.logprobs) == (0, 1, 1, None)
    assert plan.tokenizer.seen == [{"add_generation_prompt": True, "tokenize": True}]
    [choice] = response.choices
    assert choice.text == "one two" and choice.finish_reason == "stop"
    assert choice.logprobs == (TokenLogprob("yes", -3.03), TokenLogprob("yes", -4.03))
    assert response.usage.gpu_seconds is not None
    assert response.usage == Usage(5, 0, gpu_seconds=response.usage.gpu_seconds)


def test_an_answer_alone_follows_the_first_token_where_there_is_one(plan: SimpleNamespace) -> None:
    response = ask(answer("one two three"))
    assert response.choices[0].logprobs == (TokenLogprob("yes", -1.03), TokenLogprob("yes", -2.03))
    with pytest.raises(BadRequest, match="one token"):
        ask(answer("one"))
    plan.tokenizer = fake_vllm.Tokenizer(bos_token_id=8)
    response = ask(answer("one"))
    assert plan.asked[-1][0]["prompt_token_ids"] == [8, 3]
    assert response.choices[0].logprobs == (TokenLogprob("yes", -1.03),)


def test_an_infinity_is_told_as_the_floor(plan: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_vllm.Tokenizer, "encode", lambda self, text, *, add_special_tokens: [2, 3])
    response = ask(USER, answer("x"))
    assert [one.logprob for one in response.choices[0].logprobs or ()] == [FLOOR, -4.03]


def test_what_cannot_be_measured_is_refused(plan: SimpleNamespace) -> None:
    assert tasks_of(open_backend(ModelConfig(backend="vllm", model="m"))) == {"generate", "likelihood"}
    for messages, fault, words in (
        ((USER,), BadRequest, "must be the assistant's"),
        ((USER, answer("")), BadRequest, "empty"),
        ((USER, answer("w " * 61)), ContextTooLong, "64 tokens"),
        ((Message("user", "refuse"), answer("x")), BadRequest, "roles must alternate"),
    ):
        with pytest.raises(fault, match=words):
            ask(*messages)
    assert plan.asked == []
    ask(USER, answer("w " * 60))


def test_an_engine_that_tells_nothing_is_a_fault(plan: SimpleNamespace) -> None:
    plan.tells_prompts = False
    with pytest.raises(ServerFault, match="no log-probabilities"):
        ask(USER, answer("x"))
    plan.finish = "abort"
    with pytest.raises(ConnectionLost):
        ask(USER, answer("x"))


def test_a_version_without_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_vllm.install(monkeypatch, old=True)
    with pytest.raises(UsageError, match="no log-probabilities of prompts"):
        ask(USER, answer("x"))
