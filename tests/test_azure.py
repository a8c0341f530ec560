"""Azure through the SDK: addresses, keys, answers, and what every exception of the SDK means."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest
from chat_helpers import OK_BODY, Scripted, clean_environment, error, http, request_of, scripted  # noqa: F401
from fault_server import FaultServer, Settings
from pydantic import ValidationError

from factory import errors, registry
from factory.backends import Backend
from factory.backends.azure import API_VERSION, AzureServer, credential_of, endpoint_of, open_backend
from factory.errors import CallFault
from factory.prices import price_for
from factory.recipe.models import ModelConfig
from factory.types import Message, Request, Response, Sampling

CERTIFICATES = Path(__file__).parent / "certificates"
KEY = "azure-top-secret-0123456789"
ENDPOINT = "https://mine.openai.azure.com"
CHAT = f"/openai/deployments/mock-text/chat/completions?api-version={API_VERSION}"


@pytest.fixture(autouse=True)
def no_azure_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)


def azure_of(url: str | None, **changes: Any) -> ModelConfig:
    return ModelConfig(**{"backend": "azure", "model": "mock-text", "base_url": url, "timeout": 20.0, **changes})


def ask(model: ModelConfig, *requests: Request) -> list[Response | CallFault]:
    async def work() -> list[Response | CallFault]:
        backend = open_backend(model)
        got: list[Response | CallFault] = []
        for request in requests:
            try:
                got.append(await backend.generate(request))
            except CallFault as fault:
                got.append(fault)
        await backend.close()
        return got

    return asyncio.run(work())


def ask_scripted(
    replies: list[bytes], request: Request | None = None, **changes: Any
) -> tuple[Response | CallFault, Scripted, AzureServer]:
    async def work() -> tuple[Response | CallFault, Scripted, AzureServer]:
        async with scripted(*replies) as seen:
            backend = open_backend(azure_of(seen.url.removesuffix("/v1"), **changes))
            try:
                got: Response | CallFault = await backend.generate(request or request_of())
            except CallFault as fault:
                got = fault
            await backend.close()
            return got, seen, backend

    return asyncio.run(work())


# Where it goes, with what


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        (ENDPOINT, ENDPOINT),
        (f"{ENDPOINT}/", ENDPOINT),
        (f"{ENDPOINT}/openai", ENDPOINT),
        (f"{ENDPOINT}/openai/v1/", ENDPOINT),
        (f"{ENDPOINT}/openai/deployments/x/chat/completions?api-version=2024-10-21", ENDPOINT),
        ("https://openai.azure-api.net/team", "https://openai.azure-api.net/team"),
        ("https://openai-eu.azure-api.net/openai", "https://openai-eu.azure-api.net"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    ],
)
def test_the_endpoint_is_what_comes_before_openai(url: str, endpoint: str) -> None:
    assert endpoint_of(azure_of(url)) == endpoint


def test_a_recipe_must_name_the_endpoint() -> None:
    with pytest.raises(ValidationError, match="base_url"):
        azure_of(None)
    with pytest.raises(errors.UsageError, match="no endpoint") as caught:
        endpoint_of(azure_of(ENDPOINT).model_copy(update={"base_url": "mine.openai.azure.com"}))
    assert "https://NAME.openai.azure.com" in caught.value.hint


@pytest.mark.parametrize(
    ("backend", "key", "value"),
    [("openai", "api_version", "2024-10-21"), ("embedded", "api", "responses"), ("echo", "api_version", "x")],
)
def test_what_only_azure_or_a_server_has(backend: str, key: str, value: str) -> None:
    with pytest.raises(ValidationError, match="API"):
        ModelConfig(**{"backend": backend, "model": "tiny", key: value})


@pytest.mark.parametrize(
    ("url", "variable", "environment", "expected"),
    [
        (ENDPOINT, None, {"AZURE_OPENAI_API_KEY": "k"}, ("k", None)),
        (ENDPOINT, None, {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_AD_TOKEN": "t"}, ("k", None)),
        (ENDPOINT, None, {"AZURE_OPENAI_AD_TOKEN": "t"}, (None, "t")),
        (ENDPOINT, "OTHER", {"OTHER": "o", "AZURE_OPENAI_API_KEY": "k"}, ("o", None)),
        ("https://gateway.example.com", "OTHER", {"OTHER": "o"}, ("o", None)),
        ("https://gateway.example.com", "AZURE_OPENAI_AD_TOKEN", {"AZURE_OPENAI_AD_TOKEN": "t"}, (None, "t")),
        ("http://127.0.0.1:8000", None, {"AZURE_OPENAI_API_KEY": "k"}, (None, None)),
        ("http://10.0.0.7", None, {}, (None, None)),
        (ENDPOINT, None, {"OPENAI_API_KEY": "no"}, "AZURE_OPENAI_API_KEY"),
        ("https://gateway.example.com", None, {"AZURE_OPENAI_API_KEY": "k"}, "gateway.example.com"),
        ("https://x.azure.com.example.net", None, {"AZURE_OPENAI_API_KEY": "k"}, "example.net"),
    ],
)
def test_which_key_goes_where(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str | None, environment: dict[str, str], expected: Any
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    model = azure_of(url, api_key_env=variable)
    if isinstance(expected, tuple):
        credential = credential_of(model)
        assert (credential.key, credential.token) == expected
        return
    with pytest.raises(errors.UsageError) as caught:
        open_backend(model)
    assert expected in caught.value.message and caught.value.hint


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    request = request_of(
        messages=(Message("system", "S"), Message("user", "U")),
        sampling=Sampling(temperature=0.5, max_tokens=50, stop=("END",), extra={"reasoning_effort": "low", "top_k": 5}),
        n=2,
        logprobs=1,
        response_format={"type": "json_object"},
    )
    got, seen, _ = ask_scripted([http(200, OK_BODY)], request, api_key_env="MY_KEY", headers={"X-Team": "data"})
    assert isinstance(got, Response) and got.choices[0].text == "Hello." and got.usage.prompt_tokens == 7
    assert seen.lines == [f"POST {CHAT} HTTP/1.1"]
    headers = {name.lower(): value for name, value in seen.headers[0].items()}
    assert headers["api-key"] == KEY and headers["x-team"] == "data" and "authorization" not in headers
    assert seen.bodies[0] == {
        "model": "mock-text",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
        "seed": 5,
        "n": 2,
        "temperature": 0.5,
        "max_tokens": 50,
        "stop": ["END"],
        "reasoning_effort": "low",
        "top_k": 5,
        "logprobs": True,
        "top_logprobs": 1,
        "response_format": {"type": "json_object"},
    }


def test_a_token_and_an_api_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", KEY)
    _, seen, _ = ask_scripted(
        [http(200, OK_BODY)], api_key_env="AZURE_OPENAI_AD_TOKEN", api_version="2025-01-01-preview"
    )
    assert seen.lines[0].endswith("?api-version=2025-01-01-preview HTTP/1.1")
    headers = {name.lower(): value for name, value in seen.headers[0].items()}
    assert headers["authorization"] == f"Bearer {KEY}" and "api-key" not in headers


def test_nobodys_key_is_sent_to_a_server_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    got, seen, _ = ask_scripted([http(200, OK_BODY)])
    assert isinstance(got, Response), "no proxy for loopback"
    assert KEY not in str(seen.headers) and "hunter2" not in str(seen.headers)
    assert "authorization" not in {name.lower() for name in seen.headers[0]}


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with scripted(http(200, OK_BODY)) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
            backend = open_backend(azure_of("http://azure.internal"))
            await backend.generate(request_of())
            await backend.close()
            assert proxy.lines == [f"POST http://azure.internal{CHAT} HTTP/1.1"]

    asyncio.run(work())


def test_the_responses_api_is_asked_with_a_version_that_has_it() -> None:
    with FaultServer(Settings(responses_only=("mock-text",))) as server:
        url = server.url.removesuffix("/v1")
        (named,) = ask(azure_of(url, api="responses"), request_of())
        (found,) = ask(azure_of(url), request_of())
        assert isinstance(named, Response) and named == found
        assert server.stats()["outcomes"] == {"ok": 2, "other_api": 1}


@pytest.mark.parametrize(("given", "sent"), [(None, "2025-04-01-preview"), ("2026-01-01", "2026-01-01")])
def test_the_version_of_the_responses_api(given: str | None, sent: str) -> None:
    body = {"object": "response", "status": "completed", "output": [{"type": "message", "content": "Hello."}]}
    got, seen, _ = ask_scripted([http(200, body)], api="responses", api_version=given)
    assert isinstance(got, Response) and got.choices[0].text == "Hello."
    assert seen.lines == [f"POST /openai/responses?api-version={sent} HTTP/1.1"]


# What comes back


def test_the_same_answers_as_through_the_lean_transport() -> None:
    from chat_helpers import ask as ask_lean
    from chat_helpers import model_of

    request = request_of(n=2, logprobs=2, sampling=Sampling(temperature=0.5, max_tokens=60))
    with FaultServer(Settings(refuse=("temperature",))) as server:
        (azure,) = ask(azure_of(server.url.removesuffix("/v1")), request)
        (lean,) = ask_lean(model_of(server.url), request)
    assert isinstance(azure, Response) and azure == lean


FILTERED = error(
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "content_filter"
)
FILTERED["error"]["innererror"] = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {}}}
CASES = [
    (400, FILTERED, errors.Filtered, "content management"),
    (
        400,
        {"error": {"message": "No.", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        errors.Filtered,
        "No.",
    ),
    (
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        errors.ModelMissing,
        "is there one named `mock-text`?",
    ),
    (404, {"error": {"code": "404", "message": "Resource not found"}}, errors.ModelMissing, "Resource not found"),
    (401, {"error": {"code": "401", "message": "Access denied"}}, errors.Unauthorized, "Access denied"),
    (403, {"error": {"code": "403", "message": "Virtual network rules"}}, errors.Unauthorized, "Virtual network"),
    (
        400,
        error("This model's maximum context length is 8192", "context_length_exceeded"),
        errors.ContextTooLong,
        "about",
    ),
    (400, error("Invalid value"), errors.BadRequest, "Invalid value"),
    (408, {"error": {"code": "Timeout", "message": "The operation was timeout."}}, errors.ServerFault, "timeout"),
    (422, error("What?"), errors.BadRequest, "What?"),
    (429, {"error": {"code": "insufficient_quota", "message": "x"}}, errors.QuotaSpent, "x"),
    (500, b"<html><body>oh</body></html>", errors.ServerFault, "oh"),
    (503, b"", errors.ServerFault, "503"),
    (307, b"", errors.Refused, "redirected"),
]


@pytest.mark.parametrize(("status", "body", "expected", "words"), CASES)
def test_error_answers_are_classified(status: int, body: Any, expected: type[CallFault], words: str) -> None:
    got, seen, _ = ask_scripted([http(status, body)])
    assert type(got) is expected and got.status == status and words in got.message
    assert len(seen.lines) == 1, "the SDK does not retry"
    assert got.message.startswith("127.0.0.1:") and not got.cost_unknown


def test_a_rate_limit_tells_how_long() -> None:
    got, seen, _ = ask_scripted([http(429, error("slow down"), "retry-after-ms: 1500", "Retry-After: 2")])
    assert isinstance(got, errors.Overloaded) and got.retry_after == 1.5 and len(seen.lines) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("reset_early", errors.ConnectionLost),
        ("reset_late", errors.ConnectionLost),
        ("truncated", errors.ConnectionLost),
        ("garbage", errors.BadBody),
        ("wrong_shape", errors.BadBody),
        ("not_http", errors.ConnectionLost),
        ("empty_choices", errors.NoChoices),
        ("missing_choices", errors.NoChoices),
    ],
)
def test_every_fault_of_the_server_has_its_class(kind: str, expected: type[CallFault]) -> None:
    with FaultServer(Settings(faults={kind: 1.0})) as server:
        (got,) = ask(azure_of(server.url.removesuffix("/v1")), request_of())
        assert type(got) is expected and len(server.stats(log=True)["log"]) == 1
    if kind in ("truncated", "garbage", "wrong_shape", "not_http"):
        assert got.cost_unknown


def test_a_hanging_server_is_left_after_the_timeout() -> None:
    with FaultServer(Settings(faults={"hang": 1.0})) as server:
        (got,) = ask(azure_of(server.url.removesuffix("/v1"), timeout=0.3), request_of())
    assert type(got) is errors.ConnectionLost and "0.3 s" in got.message


def test_what_was_never_sent_costs_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        (got,) = ask(azure_of(f"http://127.0.0.1:{taken.getsockname()[1]}"), request_of())
    assert type(got) is errors.ConnectionFailed and not got.cost_unknown and "127.0.0.1" in got.message


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATES / "loopback.pem", CERTIFICATES / "loopback-key.pem")

    async def once() -> Response | CallFault:
        async with scripted(http(200, OK_BODY), tls=tls) as seen:
            backend = open_backend(azure_of(seen.url.removesuffix("/v1")))
            try:
                return await backend.generate(request_of())
            except CallFault as fault:
                return fault
            finally:
                await backend.close()

    untrusted = asyncio.run(once())
    assert type(untrusted) is errors.ConnectionFailed and "SSL_CERT_FILE" in untrusted.message
    monkeypatch.setenv(variable, str(CERTIFICATES / "loopback.pem"))
    assert isinstance(asyncio.run(once()), Response)


def test_the_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    with FaultServer(Settings(key=KEY)) as server:
        model = azure_of(server.url.removesuffix("/v1"), api_key_env="MY_KEY")
        (good,) = ask(model, request_of())
        assert isinstance(good, Response)
        server.configure(key="another")
        (refused,) = ask(model, request_of())
        assert type(refused) is errors.Unauthorized
        assert "Incorrect API key provided: [key]" in refused.message, "this server echoes the key"
        assert "$MY_KEY" in refused.message and "127.0.0.1" in refused.message
        server.configure(key=KEY, faults={"reset_early": 1.0})
        (lost,) = ask(model, request_of())
    shown = [caplog.text, repr(open_backend(model)), repr(credential_of(model))]
    for fault in (refused, lost):
        assert isinstance(fault, CallFault) and fault.__cause__ is None and fault.__context__ is None
        shown += [str(fault), repr(fault), "".join(traceback.format_exception(fault))]
    assert all(KEY not in text for text in shown)


# The backend as one of many


def test_it_is_a_backend_by_its_name() -> None:
    assert registry.lookup("backend", "azure") is open_backend
    backend = open_backend(azure_of("http://127.0.0.1:1"))
    assert isinstance(backend, Backend) and backend.local and backend.honours_n is None and backend.structured is None


def test_one_backend_serves_several_event_loops_and_many_at_once() -> None:
    async def work() -> set[str]:
        got = await asyncio.gather(*[backend.generate(request_of(f"Item {i}")) for i in range(30)])
        await backend.close()
        return {response.choices[0].text for response in got}

    with FaultServer(Settings(latency=0.02)) as server:
        backend = open_backend(azure_of(server.url.removesuffix("/v1")))
        assert len(asyncio.run(work())) == len(asyncio.run(work())) == 30
        assert server.stats()["max_concurrent"] >= 25


def test_reaching_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reach(model: ModelConfig) -> tuple[bool, Any]:
        backend = open_backend(model)
        try:
            answers = await backend.responds(5)
            try:
                return answers, await backend.list_models()
            except CallFault as fault:
                return answers, type(fault)
        finally:
            await backend.close()

    with FaultServer(Settings(key="right")) as server:
        url = server.url.removesuffix("/v1")
        monkeypatch.setenv("RIGHT", "right")
        assert asyncio.run(reach(azure_of(url, api_key_env="RIGHT"))) == (True, ())
        assert asyncio.run(reach(azure_of(url))) == (True, errors.Unauthorized)
    assert asyncio.run(reach(azure_of(url))) == (False, errors.ConnectionFailed)


def test_prices_of_azure() -> None:
    assert price_for(azure_of("http://127.0.0.1:1"), local=True).source == "local"
    assert price_for(azure_of(ENDPOINT, model="my-deployment"), local=False).unknown
    known = price_for(azure_of(ENDPOINT, model="o3-mini"), local=False)
    assert known.source == "genai-prices" and known.input
