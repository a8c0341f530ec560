"""What the transport makes of every error answer, broken connection and garbage body."""

from __future__ import annotations

import email.utils
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp import http_exceptions
from chat_helpers import ask, ask_scripted, clean_environment, error, http, model_of, request_of  # noqa: F401
from fault_server import FaultServer, Settings

from factory import errors
from factory.backends import answers, faults
from factory.errors import CallFault

# Error answers


CASES = [
    (429, error("Rate limit reached", "rate_limit_exceeded"), errors.Overloaded),
    (429, error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), errors.QuotaSpent),
    (429, error("Request too large for gpt-4 on tokens per min", "rate_limit_exceeded"), errors.BadRequest),
    (402, {"error": {"message": "Insufficient Balance", "code": 402}}, errors.QuotaSpent),
    (400, error("Your credit balance is too low to access the API"), errors.QuotaSpent),
    (500, error("The server had an error"), errors.ServerFault),
    (502, b"<html><body>Bad Gateway</body></html>", errors.ServerFault),
    (503, b"", errors.ServerFault),
    (529, error("Overloaded"), errors.ServerFault),
    (408, b"timeout", errors.ServerFault),
    (409, b"{}", errors.ServerFault),
    (425, b"", errors.ServerFault),
    (401, error("Incorrect API key provided", "invalid_api_key"), errors.Unauthorized),
    (403, error("Country not supported"), errors.Unauthorized),
    (403, error("Your input was flagged as harmful", 403), errors.Filtered),
    (404, error("The model `x` does not exist", "model_not_found"), errors.ModelMissing),
    (404, b'{"detail":"Not Found"}', errors.ModelMissing),
    (400, error("you must provide a messages parameter"), errors.BadRequest),
    (413, b"too big", errors.BadRequest),
    (422, {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required"}]}, errors.BadRequest),
    (418, b"teapot", errors.BadRequest),
    (400, error("The response was filtered", "content_filter"), errors.Filtered),
    (
        400,
        error("Your request was rejected as a result of our safety system", "content_policy_violation"),
        errors.Filtered,
    ),
    (307, b"", errors.Refused),
    # Context length, as servers word it
    (400, error("anything", "context_length_exceeded"), errors.ContextTooLong),
    (
        400,
        error("This model's maximum context length is 8192 tokens. However, you requested 9000"),
        errors.ContextTooLong,
    ),
    (
        400,
        {
            "object": "error",
            "message": "The decoder prompt (length 10127) is longer than the maximum model length of 8192.",
            "type": "BadRequestError",
            "code": 400,
        },
        errors.ContextTooLong,
    ),
    (
        400,
        {"object": "error", "message": "max_tokens must be at least 1, got -186.", "code": 400},
        errors.ContextTooLong,
    ),
    (
        400,
        {
            "object": "error",
            "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        },
        errors.ContextTooLong,
    ),
    (
        400,
        error("Requested token count exceeds the model's maximum context length of 4096 tokens."),
        errors.ContextTooLong,
    ),
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 4390,
                "n_ctx": 4096,
            }
        },
        errors.ContextTooLong,
    ),
    (
        500,
        {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}},
        errors.ContextTooLong,
    ),
    (400, error("Requested tokens (2285) exceed context window of 2048"), errors.ContextTooLong),
    (400, error("input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000"), errors.ContextTooLong),
    (400, error("prompt is too long: 210000 tokens > 200000 maximum"), errors.ContextTooLong),
    (
        400,
        error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        errors.ContextTooLong,
    ),
    (
        422,
        {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"},
        errors.ContextTooLong,
    ),
]


@pytest.mark.parametrize(("status", "body", "expected"), CASES)
def test_error_answers_are_classified(status: int, body: Any, expected: type[CallFault]) -> None:
    got, seen, _ = ask_scripted([http(status, body)])
    assert type(got) is expected
    assert got.status == status
    assert [line for line in seen.lines if line != "GET /v1/models HTTP/1.1"] == seen.lines[:1], "one attempt a call"
    assert not got.cost_unknown and got.usage is None, "an error answer costs nothing"
    assert got.message.startswith("127.0.0.1:")


def test_the_servers_own_words_reach_the_user() -> None:
    got, _, _ = ask_scripted([http(404, error("The model `gpt-9` does not exist"))])
    assert "The model `gpt-9` does not exist" in str(got)
    got, _, _ = ask_scripted([http(502, b"<html><style>p{}</style><body><h1>Bad\n Gateway</h1></body></html>")])
    assert str(got).endswith("HTTP 502: Bad Gateway")
    got, _, _ = ask_scripted([http(400, error("x" * 50_000))])
    assert len(str(got)) < 1200


def test_an_error_with_a_good_status_is_an_error() -> None:
    got, _, _ = ask_scripted([http(200, {"error": {"message": "upstream", "code": 429}})])
    assert type(got) is errors.Overloaded
    got, _, _ = ask_scripted([http(200, {"error": {"message": "upstream"}})])
    assert type(got) is errors.ServerFault


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    got, _, _ = ask_scripted([http(429, error("slow down"), *lines)])
    assert isinstance(got, errors.Overloaded)
    assert got.retry_after == seconds
    if seconds is not None:
        got, _, _ = ask_scripted([http(503, error("slow down"), *lines)])
        assert isinstance(got, errors.Overloaded) and got.retry_after == seconds and got.status == 503


def test_retry_after_as_a_date_is_measured_by_our_clock_without_the_servers() -> None:
    later = email.utils.formatdate(1_000_060, usegmt=True)
    assert faults.retry_after({"Retry-After": later}, now=1_000_000) == 60


# Broken connections and bodies

FATES = {
    "rate_limit": errors.Overloaded,
    "rate_limit_date": errors.Overloaded,
    "rate_limit_bare": errors.Overloaded,
    "quota": errors.QuotaSpent,
    "server_error": errors.ServerFault,
    "unavailable": errors.ServerFault,
    "reset_early": errors.ConnectionLost,
    "reset_late": errors.ConnectionLost,
    "truncated": errors.BadBody,
    "garbage": errors.BadBody,
    "wrong_shape": errors.BadBody,
    "not_http": errors.BadBody,
    "empty_choices": errors.NoChoices,
    "missing_choices": errors.NoChoices,
}


@pytest.mark.parametrize("kind", FATES)
def test_every_fault_of_the_server_has_its_class(kind: str) -> None:
    with FaultServer(Settings(faults={kind: 1.0})) as server:
        (got,) = ask(model_of(server.url), request_of())
        assert type(got) is FATES[kind]
        log = server.stats(log=True)["log"]
        assert [entry["outcome"] for entry in log] == [kind], "one attempt a call"
        billed = log[0]["prompt_tokens"] + log[0]["completion_tokens"] > 0
        if got.cost_unknown:
            assert isinstance(got, (errors.ConnectionLost, errors.BadBody))
        elif billed:
            assert got.usage is not None
            assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (log[0]["prompt_tokens"], 0)
        else:
            assert got.usage is None


def test_a_reset_in_the_body_is_lost_or_short() -> None:
    with FaultServer(Settings(faults={"reset_body": 1.0})) as server:
        (got,) = ask(model_of(server.url), request_of())
    assert isinstance(got, (errors.ConnectionLost, errors.BadBody)) and got.cost_unknown


def test_no_choices_without_usage_has_an_unknown_cost() -> None:
    with pytest.raises(errors.NoChoices) as caught:
        answers.read_answer({"id": "1", "object": "chat.completion", "choices": []}, request_of())
    assert caught.value.cost_unknown and caught.value.usage is None


def test_a_hanging_server_is_left_after_the_timeout() -> None:
    with FaultServer(Settings(faults={"hang": 1.0})) as server:
        (got,) = ask(model_of(server.url, timeout=0.3), request_of())
    assert type(got) is errors.ConnectionLost and "0.3 s" in got.message


def test_a_refused_connection_sent_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        (got,) = ask(model_of(url), request_of())
    assert type(got) is errors.ConnectionFailed and not got.cost_unknown
    assert url.split("/")[2] in got.message, "errors name host and port"


def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    (got,) = ask(model_of("http://no-such-host.localdomain:8000/v1"), request_of())
    assert type(got) is errors.ConnectionFailed and "no-such-host.localdomain:8000" in got.message


def _subclasses(root: type) -> set[type]:
    return {root} | {below for child in root.__subclasses__() for below in _subclasses(child)}


@pytest.mark.parametrize(
    "kind",
    sorted(_subclasses(aiohttp.ClientError) | _subclasses(http_exceptions.HttpProcessingError), key=str),
    ids=str,
)
def test_every_exception_of_aiohttp_is_mapped(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error)
    if issubclass(kind, aiohttp.ClientResponseError):
        error.status = 407  # type: ignore[attr-defined]
    if issubclass(kind, aiohttp.ClientConnectorError):
        error._os_error = OSError(111, "Connection refused")  # type: ignore[attr-defined]
    fault = faults.fault_of_exception(error, timeout=1)
    redirects = (aiohttp.RedirectClientError, aiohttp.TooManyRedirects)
    before_sending = (
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.ServerFingerprintMismatch,
        aiohttp.ClientHttpProxyError,
    )
    if issubclass(kind, before_sending):
        assert type(fault) is errors.ConnectionFailed
    elif issubclass(kind, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, *redirects)):
        assert type(fault) is errors.Refused
    else:
        assert isinstance(fault, (errors.ConnectionLost, errors.BadBody)) and fault.cost_unknown


@pytest.mark.parametrize(
    "error", [TimeoutError(), ConnectionResetError(104, "reset"), BrokenPipeError(), ssl.SSLError()]
)
def test_exceptions_of_sockets_are_mapped(error: Exception) -> None:
    assert type(faults.fault_of_exception(error, timeout=1)) is errors.ConnectionLost


def test_a_bug_is_no_fault() -> None:
    assert faults.fault_of_exception(KeyError("x"), timeout=1) is None


def test_a_short_body_is_told_from_a_broken_connection() -> None:
    short, broken = aiohttp.ClientPayloadError("not enough data"), aiohttp.ClientPayloadError("reset")
    broken.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert type(faults.fault_of_exception(short, timeout=1)) is errors.BadBody
    lost = faults.fault_of_exception(broken, timeout=1)
    assert type(lost) is errors.ConnectionLost and "Connection reset by peer" in lost.message
