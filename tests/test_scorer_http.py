"""The scorer `http` against a real local validator, with faults."""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import parquet_hashes, write_recipe
from validator_server import Drop, Hang, Reply, ValidatorServer
from verifier_calls import call, candidate, context

import factory
from factory.errors import Incomplete, KeyRefused, ServerUnreachable, UsageError
from factory.scorers import Setup
from factory.scorers import http as module
from factory.scorers.http import http, read_verdict
from factory.types import Score

GOOD = {"value": 0.75, "passed": True, "reason": "fine"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)


def score(server: ValidatorServer, given: Any = "some text", **options: Any) -> Score:
    return call(http, given, context(source={"id": 7}), url=server.url, **options)


def test_what_is_asked_and_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIDATOR_KEY", "s3cret")
    fields = {"a": "x\ud800", "n": float("nan"), "d": datetime.date(2024, 1, 2), "list": [1, None]}
    with ValidatorServer(lambda asked: GOOD) as server:
        assert score(server, fields) == Score("http", 0.75, "fine")
        score(server, fields, send_prompt=True, on="a", key_env="VALIDATOR_KEY")
    first, second = server.asked
    assert first == {
        "row": 3, "step": "main", "candidate": 1, "text": "raw", "variation": {"topic": "x"}, "source": {"id": 7},
        "path": "/check",
        "fields": {"a": "x\ud800", "n": None, "d": "2024-01-02", "list": [1, None]},
    }  # fmt: skip
    assert second["text"] == "x\ud800" and second["prompt"] == [{"role": "user", "content": "Ask."}]
    assert "Authorization" not in server.headers[0] and server.headers[1]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    ("verdict", "value", "reason"),
    [
        ({"value": 0.0, "passed": False, "reason": "wrong"}, 0.0, "wrong"),
        ({"value": None, "passed": False, "reason": ""}, None, "refused"),
        ({"value": 1, "passed": False}, 1.0, "refused"),
        ({"value": 0, "passed": False, "reason": "a\nb\x1b[31m" + "x" * 999}, 0.0, "a b [31m" + "x" * 291 + "…"),
    ],
)
def test_a_refusal_vetoes(verdict: dict[str, Any], value: float | None, reason: str) -> None:
    with ValidatorServer(lambda asked: verdict) as server:
        assert score(server) == Score("http", value, reason, vetoed=True)


def test_null_is_missing_and_no_veto() -> None:
    with ValidatorServer(lambda asked: {"value": None, "passed": True, "reason": "cannot tell"}) as server:
        assert score(server) == Score("http", None, "cannot tell")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON"),
        (b"score: 10", "no JSON: 'score: 10'"),
        (b'{"value": 1, "passed": true', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1]", "a list, not an object"),
        (b"{}", "no `value`"),
        (b'{"value": 1}', "no `passed`"),
        (b'{"value": 1, "passed": "yes"}', "`passed`"),
        (b'{"value": 1, "passed": 1}', "`passed`"),
        (b'{"value": "1", "passed": true}', "`value`"),
        (b'{"value": true, "passed": true}', "`value`"),
        (b'{"value": 10, "passed": true}', "`value` is 10"),
        (b'{"value": -0.1, "passed": true}', "`value`"),
        (b'{"value": NaN, "passed": true}', "`value`"),
        (b'{"value": 1e999, "passed": true}', "`value`"),
        (b'{"value": 1, "passed": true, "reason": 5}', "`reason`"),
        (b'{"value": 1, "passed": true}' + b" " * 2_000_000, "more than 1,000,000 bytes"),
    ],
)
def test_a_malformed_verdict_is_missing_and_never_zero(body: bytes, why: str) -> None:
    with ValidatorServer(lambda asked: body) as server:
        found = score(server)
    assert found.value is None and found.vetoed and "malformed" in found.reason and why in found.reason
    assert len(server.asked) == 1


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_no_body_raises(body: bytes) -> None:
    found = read_verdict(body)
    assert found.value is None and found.vetoed


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_candidate_that_the_validator_refuses_is_missing(status: int) -> None:
    with ValidatorServer(lambda asked: Reply(status, b"too long")) as server:
        found = score(server)
    assert found == Score("http", None, f"the validator refuses it: HTTP {status} too long", vetoed=True)


@pytest.mark.parametrize("fault", [Reply(500), Reply(503), Reply(429), Drop()])
def test_faults_are_tried_again(fault: Any) -> None:
    def reply(asked: dict[str, Any]) -> Any:
        if len(server.asked) < 3:
            if isinstance(fault, Exception):
                raise fault
            return fault
        return GOOD

    with ValidatorServer(reply) as server:
        assert score(server).value == 0.75
    assert len(server.asked) == 3 and server.asked[0] == server.asked[2]


@pytest.mark.parametrize(
    ("fault", "told"), [(Reply(500), "HTTP 500"), (Drop(), "connection"), (Hang(), "no whole answer within 0.2 s")]
)
def test_a_validator_that_keeps_failing_stops_the_run(fault: Any, told: str) -> None:
    def reply(asked: dict[str, Any]) -> Any:
        if isinstance(fault, Exception):
            raise fault
        return fault

    with ValidatorServer(reply) as server, pytest.raises(ServerUnreachable) as caught:
        score(server, retries=2, timeout=0.2)
    assert isinstance(caught.value, Incomplete) and caught.value.exit_code == 4
    assert told in caught.value.message and "failed 3 times on row 3, candidate 1" in caught.value.message
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "kind"), [(401, KeyRefused), (403, KeyRefused), (404, ServerUnreachable), (405, ServerUnreachable)]
)
def test_a_wrong_address_stops_the_run_at_once(status: int, kind: type[Incomplete]) -> None:
    with ValidatorServer(lambda asked: Reply(status)) as server, pytest.raises(kind, match=f"HTTP {status}"):
        score(server)
    assert len(server.asked) == 1


def test_nothing_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ServerUnreachable, match=rf"127\.0\.0\.1:{port} failed once on row 3.*no connection"):
            call(http, "x", context(), url=f"http://127.0.0.1:{port}/", retries=0)


def test_redirects_stay_on_the_server() -> None:
    def reply(asked: dict[str, Any]) -> Any:
        return GOOD if asked["path"] == "/there" else Reply(307, headers={"Location": "/there"})

    with ValidatorServer(reply) as server:
        assert score(server).value == 0.75 and [asked["path"] for asked in server.asked] == ["/check", "/there"]
    with ValidatorServer(lambda asked: GOOD) as other:
        for location, told in (
            (other.url, "another server"),
            ("//example.com/", "another server"),
            ("/check", "more than 3 times"),
        ):
            sends_on = Reply(308, headers={"Location": location})
            with (
                ValidatorServer(lambda asked, reply=sends_on: reply) as server,  # type: ignore[misc]
                pytest.raises(ServerUnreachable, match=told),
            ):
                score(server)
        assert not other.asked
    with (
        ValidatorServer(lambda asked: Reply(302, headers={"Location": "/there"})) as server,
        pytest.raises(ServerUnreachable, match="HTTP 302"),
    ):
        score(server)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://127.0.0.1/", "is no URL"),
        ("nonsense", "is no URL"),
        ("http://user:pw@127.0.0.1:1/", "holds a key"),
        ("http://127.0.0.1:1/?api_key=abc", "holds a key"),
        ("http://127.0.0.1:1/?Token=", "holds a key"),
        ("https://validator.example.com/", "not on this machine"),
        ("http://8.8.8.8/", "not on this machine"),
        ("http://localhost.example.com/", "not on this machine"),
    ],
)
def test_addresses(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        http(url=url)
    assert "pw" not in caught.value.message and "abc" not in caught.value.message


def test_other_options(monkeypatch: pytest.MonkeyPatch) -> None:
    http(url="https://validator.example.com/", allow_remote=True)
    for url in ("http://localhost:1/", "http://[::1]:1/", "http://10.0.0.5/", "http://checker/", "http://box.local/"):
        http(url=url)
    for options in ({"timeout": 0.0}, {"retries": 21}, {"concurrency": 0}):
        with pytest.raises(UsageError):
            http(url="http://127.0.0.1:1/", **options)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UsageError, match="NO_SUCH_KEY"):
        http(url="http://127.0.0.1:1/", key_env="NO_SUCH_KEY").bind(Setup())
    with pytest.raises(UsageError, match="names no output column"):
        http(url="http://127.0.0.1:1/", on="anwser").bind(Setup(columns=("answer",)))


def test_calls_are_bounded_share_connections_and_sessions_close() -> None:
    """Four at a time: the server holds each answer until four are there; no fifth is ever held."""
    with ValidatorServer(lambda asked: GOOD, together=4) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        made = http(url=server.url, concurrency=4)

        async def ask_all() -> list[Score]:
            problems: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, told: problems.append(told))
            found = await asyncio.gather(*(made(candidate(f"text {k}"), context()) for k in range(12)))
            assert not problems
            return list(found)

        for _ in range(2):  # two event loops: a session each
            assert [one.value for one in asyncio.run(ask_all())] == [0.75] * 12
            assert not any(line.sessions._open for line in made._lines.values())
    assert server.most == 4 and len(server.connections) < 24


def test_sessions_can_be_closed_by_hand() -> None:
    async def ask(url: str) -> None:
        made = http(url=url)
        await made(candidate("x"), context())
        await made.close()
        assert not made._lines
        await made(candidate("x"), context())
        await made.close()
        await made.close()

    with ValidatorServer(lambda asked: GOOD) as server:
        asyncio.run(ask(server.url))
    assert len(server.asked) == 2


def test_hostile_text_reaches_the_validator_as_it_is() -> None:
    hostile = '"}, "passed": true, "value": 1, "x": {"y": "\u2028\x00 score: 10'
    with ValidatorServer(lambda asked: {"value": 0, "passed": False, "reason": asked["text"][:9]}) as server:
        assert score(server, hostile).vetoed
        assert score(server, "").vetoed
        assert score(server, "x" * 10**6).vetoed
    assert [len(asked["text"]) for asked in server.asked] == [len(hostile), 0, 10**6] and server.asked[0][
        "text"
    ] == hostile


def test_a_run_stops_resumably_and_goes_on(tmp_path: Path) -> None:
    """A validator that dies in the middle loses nothing: the same command goes on, and the dataset is the same."""
    broken = {"on": True}

    def reply(asked: dict[str, Any]) -> Any:
        if broken["on"] and asked["row"] >= 7:
            return Reply(503)
        return {"value": 1, "passed": asked["row"] % 3 != 0, "reason": f"row {asked['row']}"}

    with ValidatorServer(reply) as server:
        options = {"url": server.url, "retries": 1}
        recipe = write_recipe(tmp_path, rows=12, score=[{"http": {**options, "weight": 1}}])
        with pytest.raises(ServerUnreachable) as caught:
            factory.run(recipe, out=tmp_path / "run")
        assert "failed 2 times on row" in caught.value.message
        broken["on"] = False
        result = factory.run(recipe, out=tmp_path / "run")
        whole = factory.run(recipe, out=tmp_path / "whole")
    assert result.summary["status"] == "complete" and result.summary["rows"] == 12
    assert parquet_hashes(tmp_path / "run") == parquet_hashes(tmp_path / "whole")
    reasons = {reject["reason"] for reject in whole.rejects()}
    assert "http: row 0" in reasons
