"""The transport for OpenAI-compatible servers, on real sockets: what it sends, reads and remembers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import orjson
import pytest
from chat_helpers import OK_BODY, ask, ask_scripted, clean_environment, error, http, model_of, request_of, scripted  # noqa: F401
from fault_server import FaultServer, Settings
from hypothesis import given
from hypothesis import strategies as st

from factory import errors
from factory.backends import Backend, answers, faults
from factory.backends.openai import ChatServer, adapt, list_models, open_backend
from factory.errors import CallFault
from factory.types import Message, Response, Sampling

# What is sent


def test_the_request_carries_everything_that_was_asked() -> None:
    model = model_of("http://127.0.0.1:1/v1", headers={"X-Team": "data"}, reasoning_effort="low")
    model = model.model_copy(update={"extra_body": {"guided_choice": ["a", "b"]}, "temperature": 0.5, "stop": ["END"]})
    request = request_of(
        messages=(Message("system", "S"), Message("user", "U")),
        sampling=model.sampling(),
        n=3,
        response_format={"type": "json_object"},
    )
    _, seen, _ = ask_scripted([http(200, OK_BODY)], request, headers={"X-Team": "data"})
    assert seen.lines == ["POST /v1/chat/completions HTTP/1.1"]
    assert seen.headers[0]["X-Team"] == "data"
    assert "Authorization" not in seen.headers[0]
    assert seen.bodies[0] == {
        "model": "mock-text",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
        "seed": 5,
        "n": 3,
        "temperature": 0.5,
        "stop": ["END"],
        "reasoning_effort": "low",
        "guided_choice": ["a", "b"],
        "response_format": {"type": "json_object"},
    }


def test_n_is_sent_only_above_one() -> None:
    _, seen, _ = ask_scripted([http(200, OK_BODY)])
    assert "n" not in seen.bodies[0]


# What is read


def test_an_answer_is_read_whole() -> None:
    body = {
        **OK_BODY,
        "choices": [
            {"index": 1, "message": {"content": "second"}, "finish_reason": "length"},
            {"index": 0, "message": {"content": "first", "reasoning_content": "hm"}, "finish_reason": "stop"},
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
    }
    got, _, _ = ask_scripted([http(200, body)], request_of(n=2))
    assert isinstance(got, Response)
    assert [(c.text, c.finish_reason, c.reasoning) for c in got.choices] == [
        ("first", "stop", "hm"),
        ("second", "length", None),
    ]
    assert got.model == "served"
    usage = got.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (
        100,
        50,
        64,
        20,
    )
    assert not usage.estimated


@pytest.mark.parametrize(
    ("message", "reason", "text", "end", "thought"),
    [
        ({"content": None}, "stop", "", "stop", None),
        ({"content": None, "tool_calls": [{"id": "1"}]}, "tool_calls", "", "tool_calls", None),
        ({"content": None, "reasoning": "why"}, "length", "", "length", "why"),
        ({"content": "x"}, "content_filter", "x", "content_filter", None),
        ({"content": "x"}, None, "x", "unknown", None),
        ({"content": "x"}, "eos_token", "x", "stop", None),
        ({"content": "x"}, "SAFETY", "x", "content_filter", None),
        ({"content": None, "refusal": "I cannot."}, "stop", "I cannot.", "content_filter", None),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "stop", "ab", "stop", None),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                    {"type": "text", "text": "b"},
                ]
            },
            "stop",
            "b",
            "stop",
            "t",
        ),
    ],
)
def test_choices_without_plain_text(message: Any, reason: Any, text: str, end: str, thought: str | None) -> None:
    body = {**OK_BODY, "choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    got = answers.read_answer(body, request_of())
    assert (got.choices[0].text, got.choices[0].finish_reason, got.choices[0].reasoning) == (text, end, thought)


def test_reasoning_left_out_of_the_completion_is_counted_by_the_total() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    got = answers.read_answer({**OK_BODY, "usage": usage}, request_of())
    assert (got.usage.completion_tokens, got.usage.reasoning_tokens) == (105, 100)


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": "many"}, {"prompt_tokens": -1}, [1], {"prompt_tokens": True}]
)
def test_missing_usage_is_estimated_and_says_so(usage: Any) -> None:
    got = answers.read_answer({**OK_BODY, "usage": usage}, request_of("word " * 100))
    assert got.usage.estimated
    assert 90 <= got.usage.prompt_tokens <= 150
    assert 1 <= got.usage.completion_tokens <= 3


def test_more_choices_than_asked_for_are_cut_and_failed_ones_dropped() -> None:
    choices = [{"index": i, "message": {"content": str(i)}, "finish_reason": "stop"} for i in range(4)]
    choices[0]["finish_reason"] = "error"
    got = answers.read_answer({**OK_BODY, "choices": choices}, request_of(n=2))
    assert [choice.text for choice in got.choices] == ["1", "2"]
    with pytest.raises(errors.ServerFault):
        answers.read_answer({**OK_BODY, "choices": choices[:1]}, request_of())


def test_broken_unicode_does_not_lose_an_answer() -> None:
    raw = orjson.dumps(OK_BODY).replace(b"Hello.", b"Hi \\ud83d\\u0041 \xff.")
    got, _, _ = ask_scripted([http(200, raw)])
    assert isinstance(got, Response)
    assert got.choices[0].text.encode() and got.choices[0].text.startswith("Hi ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": JSON,
        "message": st.fixed_dictionaries({}, optional={"content": JSON, "refusal": JSON}) | JSON,
        "finish_reason": JSON,
        "error": JSON,
    },
)
BODY = st.fixed_dictionaries(
    {}, optional={"id": JSON, "model": JSON, "usage": JSON, "choices": st.lists(CHOICE | JSON, max_size=3) | JSON}
)


@given(BODY | JSON)
def test_any_json_is_an_answer_or_a_classified_fault(body: Any) -> None:
    try:
        got = answers.read_answer(body, request_of(n=2))
    except CallFault as fault:
        assert isinstance(fault, errors.Transient)
        return
    assert 1 <= len(got.choices) <= 2
    assert all(isinstance(choice.text, str) and isinstance(choice.finish_reason, str) for choice in got.choices)
    assert got.usage.prompt_tokens >= 0 and got.usage.completion_tokens >= 0


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_bad_body(data: bytes) -> None:
    try:
        answers.decode(data)
    except errors.BadBody as fault:
        assert fault.cost_unknown
    assert isinstance(faults.read_error(data).message, str)


@given(BODY | JSON, st.sampled_from([301, 400, 401, 403, 404, 408, 409, 418, 422, 425, 429, 500, 503, 599]))
def test_any_error_body_is_classified(body: Any, status: int) -> None:
    assert isinstance(faults.fault_of_status(status, {}, faults.error_of(body)), CallFault)


# Parameters that a model refuses


def unsupported(name: str, more: str = "") -> dict[str, Any]:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{more}"
    return error(message, "unsupported_parameter", param=name)


DEFAULT_ONLY = "'temperature' does not support 0.5 with this model. Only the default (1) value is supported."
FORBIDDEN = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}
UNSUPPORTED = [
    ("max_tokens", unsupported("max_tokens", " Use 'max_completion_tokens' instead.")),
    ("max_tokens", error("'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")),
    ("temperature", error(f"Unsupported value: {DEFAULT_ONLY}", "unsupported_value", param="temperature")),
    ("temperature", error("Unsupported parameter: 'temperature' is not supported with this model.")),
    ("temperature", error("`temperature` is deprecated for this model.")),
    ("top_p", unsupported("top_p")),
    ("seed", error("Unrecognized request argument supplied: seed")),
    ("seed", {"detail": [FORBIDDEN]}),
]
ONE_CHOICE = [
    error("Only one completion choice is allowed", 400),
    {"object": "error", "message": "n must be 1 when using greedy sampling, got 2.", "code": 400},
    error("'n' : number must be at most 1"),
    unsupported("n"),
]


@pytest.mark.parametrize("refusal", ONE_CHOICE)
def test_a_refused_n_is_told_and_not_sent_otherwise(refusal: dict[str, Any]) -> None:
    """The probe asks for two to learn this; another request in its place would be one that no ledger knows."""

    async def work() -> None:
        async with scripted(http(400, refusal)) as seen:
            backend = open_backend(model_of(seen.url))
            with pytest.raises(errors.BadRequest):
                await backend.generate(request_of(n=2))
            assert len(seen.bodies) == 1
            await backend.close()

    asyncio.run(work())


@pytest.mark.parametrize(("name", "refusal"), UNSUPPORTED)
def test_a_refused_parameter_is_sent_as_the_model_wants_and_remembered(name: str, refusal: dict[str, Any]) -> None:
    request = request_of(n=2, sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=50))
    before = request.call_id

    async def work() -> None:
        async with scripted(http(400, refusal), http(200, OK_BODY)) as seen:
            backend = open_backend(model_of(seen.url))
            assert backend.notes() == ()
            await backend.generate(request)
            await backend.generate(request)
            first, *others = seen.bodies
            assert len(others) == 2, "the second call is sent as wanted at once"
            expected = {key: value for key, value in first.items() if key != name}
            if name == "max_tokens":
                expected["max_completion_tokens"] = 50
            assert others == [expected, expected]
            assert len(backend.notes()) == 1 and f"`{name}`" in backend.notes()[0]
            assert backend.refused == {name}
            await backend.close()

    asyncio.run(work())
    assert request.call_id == before


def test_several_parameters_can_be_refused_one_after_the_other() -> None:
    with FaultServer(Settings(refuse=("max_tokens", "temperature", "top_p", "seed"))) as server:
        request = request_of(n=1, sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=50))
        got = ask(model_of(server.url), request, request)
        assert all(isinstance(one, Response) and len(one.choices) == 1 for one in got)
        assert server.stats()["outcomes"] == {"unsupported": 4, "ok": 2}
        assert server.stats()["billed_requests"] == 2


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        "Unsupported parameter: 'logit_bias' is not supported with this model.",
        "This model does not support images",
    ],
)
def test_other_refusals_stay_refusals(message: str) -> None:
    request = request_of(sampling=Sampling(temperature=3, max_tokens=100000))
    got, seen, backend = ask_scripted([http(400, error(message))], request)
    assert type(got) is errors.BadRequest
    assert len(seen.lines) == 1 and backend.notes() == ()


def test_a_parameter_that_was_not_sent_cannot_be_dropped() -> None:
    refusal = error(
        "Unsupported parameter: 'temperature' is not supported", "unsupported_parameter", param="temperature"
    )
    got, seen, _ = ask_scripted([http(400, refusal)])
    assert type(got) is errors.BadRequest and len(seen.lines) == 1


def test_a_server_that_refuses_the_new_name_too_is_a_bad_request() -> None:
    old, new = (
        error(f"Unsupported parameter: '{n}'", "unsupported_parameter", param=n)
        for n in ("max_tokens", "max_completion_tokens")
    )
    got, seen, _ = ask_scripted([http(400, old), http(400, new)])
    assert type(got) is errors.BadRequest and len(seen.lines) == 2


def test_adapting_leaves_the_request_alone() -> None:
    body = {"max_tokens": 5, "seed": 1}
    assert adapt(body, set()) == body
    assert adapt(body, {"max_tokens"}) == {"max_completion_tokens": 5, "seed": 1}
    assert body == {"max_tokens": 5, "seed": 1}


# Loops, pools, the Protocol


def test_one_backend_serves_several_event_loops() -> None:
    with FaultServer() as server:
        backend = open_backend(model_of(server.url))
        texts = [asyncio.run(_one(backend)) for _ in range(3)]
        assert len(set(texts)) == 1
        asyncio.run(_close_twice(backend))


async def _one(backend: ChatServer) -> str:
    return (await backend.generate(request_of())).choices[0].text


async def _close_twice(backend: ChatServer) -> None:
    await _one(backend)
    await backend.close()
    await backend.close()


def test_as_many_connections_as_calls_and_they_are_kept() -> None:
    with FaultServer(Settings(latency=0.05)) as server:

        async def work() -> None:
            backend = open_backend(model_of(server.url))
            for _ in range(3):
                await asyncio.gather(*[backend.generate(request_of(seed=i)) for i in range(150)])
            await backend.close()

        asyncio.run(work())
        assert server.stats()["max_concurrent"] > 100, "aiohttp's own limit is 100"
        assert server.stats()["connections"] <= 150
        assert server.stats()["requests"] == 450


def test_it_is_a_backend() -> None:
    backend = open_backend(model_of("http://127.0.0.1:1/v1"))
    assert isinstance(backend, Backend)
    assert backend.honours_n is None and backend.local
    assert not open_backend(model_of("http://10.0.0.1:1/v1")).local


def test_models_are_listed_and_faults_of_the_list_classified() -> None:
    with FaultServer(Settings(models=("b", "a"))) as server:
        assert asyncio.run(list_models(model_of(server.url))) == ("a", "b")

    async def without_the_path() -> None:
        async with scripted(http(404, {"detail": "Not Found"})) as seen:
            await list_models(model_of(seen.url.removesuffix("/v1")))

    with pytest.raises(errors.ModelMissing, match="end in /v1"):
        asyncio.run(without_the_path())


def test_importing_it_is_light() -> None:
    heavy = {"aiohttp", "openai", "pydantic", "orjson", "genai_prices", "tiktoken", "numpy", "httpx", "httpx2"}
    modules = "factory.backends.openai, factory.backends.azure, factory.backends.echo, factory.prices"
    code = f"import sys, {modules}; print({heavy!r} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
