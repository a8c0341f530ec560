"""A call's identity: everything that is asked makes it, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from hypothesis import given
from hypothesis import strategies as st
from support import parquet_hashes, server_model, write_recipe

import factory
from factory.generating import build_request
from factory.recipe import ModelConfig
from factory.recipe.models import ENGINE_SPEED
from factory.types import Message, Request, Sampling

words = st.text("abc é\n", max_size=4)
plain = st.none() | st.booleans() | st.integers(-3, 3) | words
data = st.recursive(plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2))
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), words), min_size=1, max_size=3
).map(tuple)
names = st.sampled_from(["reasoning_effort", "top_k", "min_p", "presence_penalty", "service_tier", "chat_template"])
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    top_p=st.none() | st.sampled_from([0.5, 0.9]),
    max_tokens=st.none() | st.integers(1, 3),
    stop=st.lists(words.filter(bool), max_size=2, unique=True).map(tuple),
    extra=st.dictionaries(names, data, max_size=2),
)
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "identity": words,
    "model": words,
    "messages": messages,
    "sampling": samplings,
    "n": st.integers(1, 3),
    "seed": st.integers(0, 3),
    "row": st.none() | st.integers(0, 3),
    "step": words,
    "purpose": st.sampled_from(["generate", "repair", "judge", "score", "probe"]),
    "index": st.integers(0, 3),
    "response_format": st.none() | st.dictionaries(words, data, max_size=2),
    "logprobs": st.none() | st.integers(0, 2),
    "task": st.sampled_from(["generate", "likelihood", "classify", "embed"]),
}
requests = st.builds(Request, **PARTS)


def same(one: Any, other: Any) -> bool:
    """Equality as JSON knows it: true is not 1, and 1.0 is not 1."""
    return repr(_sorted(one)) == repr(_sorted(other))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(inner) for inner in value] if isinstance(value, list | tuple) else value


def test_every_field_of_a_request_is_tried() -> None:
    assert set(PARTS) == {field.name for field in fields(Request)}
    assert {field.name for field in fields(Sampling)} == {"temperature", "top_p", "max_tokens", "stop", "extra"}


@pytest.mark.parametrize("name", PARTS)
@given(st.data())
def test_another_value_of_any_field_is_another_call(name: str, data: st.DataObject) -> None:
    request = data.draw(requests)
    value = data.draw(PARTS[name])
    changed = replace(request, **{name: value})
    old, new = getattr(request, name), value
    if name == "sampling":
        old, new = old.body(), new.body()
    elif name == "messages":
        old, new = [(m.role, m.content) for m in old], [(m.role, m.content) for m in new]
    assert (changed.call_id == request.call_id) == same(old, new)


@given(requests, requests)
def test_two_requests_are_one_call_only_when_they_are_equal(one: Request, other: Request) -> None:
    assert (one.call_id == other.call_id) == same(one.content(), other.content())


@given(requests)
def test_the_order_of_keys_says_nothing(request: Request) -> None:
    turned = replace(
        request,
        sampling=replace(request.sampling, extra=_turned(request.sampling.extra)),
        response_format=_turned(request.response_format),
    )
    assert turned.call_id == request.call_id


def _turned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _turned(value[key]) for key in reversed(list(value))}
    return [_turned(inner) for inner in value] if isinstance(value, list) else value


@given(requests, st.integers(0, 2), st.sampled_from(["role", "content"]))
def test_every_message_counts(request: Request, place: int, part: str) -> None:
    at = place % len(request.messages)
    message = request.messages[at]
    others = {
        "role": Message("user" if message.role != "user" else "system", message.content),
        "content": Message(message.role, message.content + "x"),
    }
    changed = (*request.messages[:at], others[part], *request.messages[at + 1 :])
    assert replace(request, messages=changed).call_id != request.call_id
    assert replace(request, messages=(Message("system", "x"), *request.messages)).call_id != request.call_id


def test_the_id_of_a_call_stays_what_it_was() -> None:
    """A change of this hash would make every journal worthless."""
    request = Request(
        identity="openai/m@default",
        model="m",
        messages=(Message("user", "Hé"),),
        sampling=Sampling(0.5, None, 9, ("b", "a"), {"top_k": 3}),
        n=1,
        seed=7,
        row=0,
        step="main",
        purpose="generate",
        index=0,
    )
    assert request.call_id == "17c56a5569c3ed13d4ddaf8975d54dd7"
    assert replace(request, logprobs=0).call_id != request.call_id, "no log-probabilities, and none beside the token's"


# --- through a recipe's model

BASE: dict[str, Any] = {
    "backend": "openai",
    "model": "m",
    "base_url": "http://127.0.0.1:8000/v1",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 50,
    "stop": ["a", "b"],
    "reasoning_effort": "low",
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "top_k": 5,
    "min_p": 0.1,
    "logprobs": 1,
    "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
}
ASKED: dict[str, Any] = {
    "backend": "azure",
    "model": "other",
    "base_url": "http://127.0.0.1:8001/v1",
    "identity": "my-model",
    "temperature": 0.6,
    "top_p": 0.8,
    "max_tokens": 51,
    "stop": ["b", "a"],
    "reasoning_effort": "high",
    "presence_penalty": 0.2,
    "frequency_penalty": 0.2,
    "top_k": 6,
    "min_p": 0.2,
    "logprobs": 0,
    "extra_body": {"chat_template_kwargs": {"enable_thinking": True}},
}
NOT_ASKED: dict[str, Any] = {
    "api_key_env": "OTHER_KEY",
    "headers": {"X-Team": "blue"},
    "timeout": 5.0,
    "concurrency": 3,
    "requests_per_minute": 10.0,
    "tokens_per_minute": 1000.0,
    "price": {"input": 1.0, "output": 2.0},
    "license": "apache-2.0",
    "api": "responses",
    "api_version": "2025-01-01",
    "batch": True,
    "structured": "prompt",
    "engine": {"dtype": "float16"},
}
"""What says how a call is made, paid and worded, not what is asked. `structured` decides the `response_format`, which
counts; `engine` speaks of a model in process alone."""


def call_id(config: Mapping[str, Any]) -> str:
    request = build_request(ModelConfig(**config), (Message("user", "x"),), seed=1, row=0, step="main")
    return request.call_id


def test_every_key_of_a_model_is_known_to_count_or_not() -> None:
    assert ASKED.keys() | NOT_ASKED.keys() == set(ModelConfig.model_fields) and not ASKED.keys() & NOT_ASKED.keys()


@pytest.mark.parametrize("key", ASKED)
def test_what_is_asked_makes_another_call(key: str) -> None:
    assert call_id({**BASE, key: ASKED[key]}) != call_id(BASE)
    without = {name: value for name, value in BASE.items() if name != key}
    if key in BASE and key not in ("backend", "model"):
        assert call_id(without) != call_id(BASE)


@pytest.mark.parametrize("key", NOT_ASKED)
def test_how_it_is_asked_does_not(key: str) -> None:
    base = {**BASE, "backend": "azure"} if key == "api_version" else BASE  # no other backend takes it
    assert call_id({**base, key: NOT_ASKED[key]}) == call_id(base)


def test_an_identity_outlives_the_address() -> None:
    moved = {**BASE, "base_url": "http://10.0.0.7:9000/v1"}
    assert call_id(moved) != call_id(BASE)
    assert call_id({**moved, "identity": "mine"}) == call_id({**BASE, "identity": "mine"})
    assert call_id({**BASE, "identity": "mine", "model": "other"}) != call_id({**BASE, "identity": "mine"})


@pytest.mark.parametrize("key", sorted(ENGINE_SPEED))
def test_how_fast_an_engine_runs_makes_no_other_call(key: str) -> None:
    local = {"backend": "vllm", "model": "m"}
    assert call_id({**local, "engine": {key: 1}}) == call_id(local)


@given(st.dictionaries(st.sampled_from(["dtype", "quantization", "max_model_len", "revision", "lora"]), data))
def test_what_an_engine_is_does(engine: dict[str, Any]) -> None:
    local = {"backend": "transformers", "model": "m"}
    assert (call_id({**local, "engine": engine}) == call_id(local)) == (not engine)
    turned = dict(reversed(engine.items()))
    assert call_id({**local, "engine": {**turned, "batch_size": 4}}) == call_id({**local, "engine": engine})


# --- from end to end


def recipe(tmp_path: Path, url: str, name: str, **changes: Any) -> Path:
    prompt = [{"role": "system", "content": "Answer in English."}, {"role": "user", "content": "Of {{ animal }}."}]
    base = {"models": {"writer": server_model(url, identity="mock")}, "prompt": prompt, "rows": 6}
    return write_recipe(tmp_path, name, **{**base, **changes})


FRENCH: dict[str, Callable[[str], dict[str, Any]]] = {
    "system prompt": lambda url: {
        "prompt": [{"role": "system", "content": "Answer in French."}, {"role": "user", "content": "Of {{ animal }}."}]
    },
    "temperature": lambda url: {"models": {"writer": server_model(url, identity="mock", temperature=0.9)}},
    "model": lambda url: {"models": {"writer": server_model(url, "json", identity="mock")}},
    "extra_body": lambda url: {"models": {"writer": server_model(url, identity="mock", extra_body={"lang": "fr"})}},
    "seed": lambda url: {"seed": 2},
    "address": lambda url: {"models": {"writer": server_model(url.replace("127.0.0.1", "localhost"))}},
}


@pytest.mark.parametrize("what", FRENCH)
def test_a_french_run_is_never_answered_from_an_english_journal(tmp_path: Path, what: str) -> None:
    with FaultServer(Settings()) as server:
        english = factory.run(recipe(tmp_path, server.url, "english.yaml"), out=tmp_path / "english")
        assert server.stats()["requests"] == 6
        french = factory.run(
            recipe(tmp_path, server.url, "french.yaml", **FRENCH[what](server.url)),
            out=tmp_path / "french",
            reuse=[english.path],
        )
        assert server.stats()["requests"] == 12, "each French call is a call of its own"
        assert set(french.ledger()["outcome"]) == {"ok"}
        answers = [list(run.dataset()["train"]["text"]) for run in (french, english)]
        assert what == "address" or answers[0] != answers[1]
        again = factory.run(tmp_path / "english.yaml", out=tmp_path / "again", reuse=[english.path, french.path])
        assert server.stats()["requests"] == 12 and parquet_hashes(again.path) == parquet_hashes(english.path)
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["status"] == "complete"
