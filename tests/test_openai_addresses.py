"""Which key, proxy and certificates go to which server; and that a key is shown nowhere."""

from __future__ import annotations

import asyncio
import logging
import ssl
import traceback
from pathlib import Path

import pytest
from chat_helpers import OK_BODY, ask, ask_scripted, clean_environment, error, http, model_of, request_of, scripted  # noqa: F401
from fault_server import KINDS, FaultServer, Settings

from factory import errors
from factory.backends import addresses
from factory.backends.openai import list_models, open_backend
from factory.errors import CallFault
from factory.recipe.models import ModelConfig
from factory.types import Response

CERTIFICATES = Path(__file__).parent / "certificates"
KEY = "sk-top-secret-0123456789"


# Keys


@pytest.mark.parametrize(
    ("host", "loopback", "private"),
    [
        ("localhost", True, True),
        ("127.0.0.1", True, True),
        ("::1", True, True),
        ("0.0.0.0", True, True),
        ("10.1.2.3", False, True),
        ("192.168.1.5", False, True),
        ("fd00::1", False, True),
        ("169.254.1.1", False, True),
        ("vllm", False, True),
        ("gpu.cluster.local", False, True),
        ("8.8.8.8", False, False),
        ("api.openai.com", False, False),
        ("localhost.example.com", False, False),
        ("127.0.0.1.example.com", False, False),
    ],
)
def test_hosts(host: str, loopback: bool, private: bool) -> None:
    assert (addresses.is_loopback(host), addresses.is_private(host)) == (loopback, private)
    url = f"http://[{host}]:8000/v1" if ":" in host else f"http://{host}:8000/v1"
    assert addresses.host_of(url) == host


@pytest.mark.parametrize(
    ("url", "variable", "environment", "expected"),
    [
        (None, None, {"OPENAI_API_KEY": "default"}, "default"),
        ("https://api.openai.com/v1", None, {"OPENAI_API_KEY": "default"}, "default"),
        (None, "OTHER", {"OTHER": "other", "OPENAI_API_KEY": "default"}, "other"),
        ("http://localhost:8000/v1", None, {"OPENAI_API_KEY": "default"}, None),
        ("http://10.0.0.7:8000/v1", None, {"OPENAI_API_KEY": "default"}, None),
        ("http://localhost:8000/v1", "OTHER", {"OTHER": "other"}, "other"),
        ("https://openrouter.ai/api/v1", "OTHER", {"OTHER": "other"}, "other"),
        (None, None, {}, "OPENAI_API_KEY"),
        (None, None, {"OPENAI_API_KEY": "  "}, "OPENAI_API_KEY"),
        ("https://openrouter.ai/api/v1", None, {"OPENAI_API_KEY": "default"}, "openrouter.ai"),
        ("http://api.openai.com/v1", None, {"OPENAI_API_KEY": "default"}, "api.openai.com"),
        ("https://api.openai.com.example.net/v1", None, {"OPENAI_API_KEY": "default"}, "example.net"),
        ("http://localhost:8000/v1", "OTHER", {}, "OTHER"),
    ],
)
def test_which_key_goes_where(
    monkeypatch: pytest.MonkeyPatch,
    url: str | None,
    variable: str | None,
    environment: dict[str, str],
    expected: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    model = ModelConfig(backend="openai", model="m", base_url=url, api_key_env=variable)
    if expected is None or expected in environment.values():
        assert addresses.key_of(model) == expected
        return
    with pytest.raises(errors.UsageError) as caught:
        open_backend(model)
    assert expected in caught.value.message and caught.value.hint
    assert "default" not in caught.value.hint or url


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    shown: list[str] = []
    with FaultServer(Settings(key=KEY)) as server:
        model = model_of(server.url, api_key_env="MY_KEY")
        (good,) = ask(model, request_of())
        assert isinstance(good, Response)
        assert "mock-text" in asyncio.run(list_models(model))
        shown += [repr(open_backend(model)), str(vars(server.state.settings)["models"])]
        server.configure(key="another")
        (refused,) = ask(model, request_of())
        assert type(refused) is errors.Unauthorized
        assert "Incorrect API key provided: [key]" in refused.message, "this server echoes the key"
        got = [refused]
        server.configure(key=KEY)
        for kind in KINDS.keys() - {"hang"}:
            server.configure(faults={kind: 1.0})
            got += ask(model, request_of())
    got += ask(model, request_of())
    assert all(isinstance(fault, CallFault) for fault in got)
    for fault in got:
        shown += [str(fault), repr(fault), "".join(traceback.format_exception(fault))]
        assert fault.__cause__ is None and fault.__context__ is None, "an exception of aiohttp holds the headers"
    assert all(KEY not in text for text in [*shown, caplog.text])


@pytest.mark.parametrize("before", range(880, 1010, 7))
def test_no_piece_of_the_key_is_left_where_a_message_is_cut(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    got, _, _ = ask_scripted([http(400, error("x" * before + KEY))], api_key_env="MY_KEY")
    assert KEY[:6] not in str(got)


def test_a_garbage_body_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    got, _, _ = ask_scripted([http(200, b"what? " + KEY.encode() * 9)], api_key_env="MY_KEY")
    assert type(got) is errors.BadBody and KEY[:6] not in str(got) and "[key]" in str(got)


def test_secret_headers_are_not_shown_either() -> None:
    got, _, _ = ask_scripted([http(400, error("bad token hunter2"))], headers={"X-Access-Token": "hunter2"})
    assert "hunter2" not in str(got) and "[key]" in str(got)


def test_a_keyless_refusal_says_what_to_do() -> None:
    got, _, _ = ask_scripted([http(401, error("Who are you?"))])
    assert "api_key_env" in str(got)


@pytest.mark.parametrize("url", ["ftp://x/v1", "localhost:8000", "http://", "http://x:99999/v1"])
def test_a_base_url_that_is_none(url: str) -> None:
    model = ModelConfig(backend="openai", model="m").model_copy(update={"base_url": url})
    with pytest.raises(errors.UsageError, match="base_url"):
        open_backend(model)


# Environment: proxies and certificates


def test_proxies_are_for_others_than_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with scripted(http(200, OK_BODY)) as proxy, scripted(http(200, OK_BODY)) as direct:
            monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
            monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
            for url, seen, line in (
                (direct.url, direct, "POST /v1/chat/completions HTTP/1.1"),
                ("http://vllm.internal:8000/v1", proxy, "POST http://vllm.internal:8000/v1/chat/completions HTTP/1.1"),
            ):
                backend = open_backend(model_of(url))
                await backend.generate(request_of())
                await backend.close()
                assert seen.lines == [line]

    asyncio.run(work())


def test_no_proxy_and_strange_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    assert addresses.proxy_for("https://api.openai.com/v1") == "http://proxy.example:3128"
    monkeypatch.setenv("no_proxy", "openai.com")
    assert addresses.proxy_for("https://api.openai.com/v1") is None
    monkeypatch.setenv("https_proxy", "socks5://user:pass@proxy.example:1080")
    with pytest.raises(errors.UsageError, match="socks5") as caught:
        addresses.proxy_for("https://api.groq.com/v1")
    assert "pass" not in str(caught.value)


def test_passwords_of_netrc_are_not_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    _, seen, _ = ask_scripted([http(200, OK_BODY)])
    assert "Authorization" not in seen.headers[0]


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATES / "loopback.pem", CERTIFICATES / "loopback-key.pem")

    async def once() -> Response | CallFault:
        async with scripted(http(200, OK_BODY), tls=tls) as seen:
            backend = open_backend(model_of(seen.url))
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
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with pytest.raises(errors.UsageError, match=variable):
        open_backend(model_of("https://127.0.0.1:1/v1"))
