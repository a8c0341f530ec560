"""The test server: its answers, fates and counts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from chat_helpers import ask, model_of, request_of
from fault_server import FaultServer, ServerProcess, Settings, State

from factory import errors
from factory.backends.openai import open_backend
from factory.types import Response, Sampling


def test_the_servers_answers_depend_on_the_request_alone() -> None:
    requests = [
        request_of(seed=s, n=n, sampling=Sampling(temperature=t)) for s in (1, 2) for n in (1, 3) for t in (0.5, 0)
    ]
    with FaultServer() as one, FaultServer() as other:
        first, second = ask(model_of(one.url), *requests), ask(model_of(other.url), *reversed(requests))
    assert [r.choices for r in first] == [r.choices for r in reversed(second)]
    texts = [[choice.text for choice in response.choices] for response in first]
    assert texts[0][0] == texts[2][0], "candidate 0 does not hang on n"
    assert len(set(texts[2])) == 3
    assert texts[1] == texts[5] and len(set(texts[3])) == 1, "temperature 0 has one answer"
    assert texts[0] != texts[4], "another seed, another answer"


def test_the_server_ignores_n_or_seeds_when_told() -> None:
    with FaultServer(Settings(n_mode="ignore", seed_mode="same")) as server:
        got = ask(model_of(server.url), request_of(n=4, seed=1), request_of(n=4, seed=2))
        assert [len(response.choices) for response in got] == [1, 1]
        assert got[0].choices == got[1].choices
        server.configure(seed_mode="random")
        got = ask(model_of(server.url), request_of(seed=1), request_of(seed=1))
        assert got[0].choices != got[1].choices


def test_poison_filter_context_and_model() -> None:
    with FaultServer(Settings(context_length=50)) as server:
        got = ask(
            model_of(server.url),
            request_of("a POISON pill"),
            request_of("FORBIDDEN fruit"),
            request_of("long " * 100),
            request_of(model="other"),
        )
        assert [type(one) for one in got] == [
            errors.BadRequest,
            errors.Filtered,
            errors.ContextTooLong,
            errors.ModelMissing,
        ]
        assert server.stats()["billed_requests"] == 0


def test_what_the_server_bills_is_what_the_answers_say() -> None:
    faulty = {"rate_limit": 0.1, "server_error": 0.1, "empty_choices": 0.2}
    with FaultServer(Settings(faults=faulty, fault_seed=3, latency=0.005)) as server:

        async def work() -> list[Any]:
            backend = open_backend(model_of(server.url))
            calls = [backend.generate(request_of(f"Item {i}", n=1 + i % 3)) for i in range(120)]
            got = await asyncio.gather(*calls, return_exceptions=True)
            await backend.close()
            return got

        usages = [one.usage for one in asyncio.run(work()) if one.usage is not None]
        stats = server.stats()
    assert sum(usage.prompt_tokens for usage in usages) == stats["billed_prompt_tokens"]
    assert sum(usage.completion_tokens for usage in usages) == stats["billed_completion_tokens"]
    assert 5 < stats["outcomes"]["rate_limit"] < 25 and 10 < stats["outcomes"]["empty_choices"] < 40
    assert stats["requests"] == 120 and stats["delivered"] == stats["outcomes"]["ok"]


def test_fates_are_drawn_from_the_seed_and_the_number() -> None:
    def outcomes(seed: int) -> list[str]:
        with FaultServer(Settings(faults={"server_error": 0.5}, fault_seed=seed)) as server:
            ask(model_of(server.url), *[request_of() for _ in range(30)])
            return [entry["outcome"] for entry in server.stats(log=True)["log"]]

    assert outcomes(1) == outcomes(1) != outcomes(2)


def test_the_server_as_a_process_outlives_clients_and_counts_them() -> None:
    with ServerProcess("--latency", "0.2", "--model", "m") as server:
        code = (
            "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
            'b = b\'{"model": "m", "messages": [{"role": "user", "content": "x"}]}\';'
            "s.sendall(b'POST /v1/chat/completions HTTP/1.1\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(b) + b);"
            "print('sent', flush=True); time.sleep(60)"
        )
        port = server.root.rsplit(":", 1)[1]
        client = subprocess.Popen([sys.executable, "-c", code, port], stdout=subprocess.PIPE)
        assert client.stdout is not None and client.stdout.readline() == b"sent\n"
        _wait_for(lambda: server.stats()["in_flight"] == 1 or server.stats()["requests"] == 1)
        client.kill()
        client.wait()
        client.stdout.close()
        _wait_for(lambda: server.stats()["in_flight"] == 0)
        stats = server.stats(log=True)
        assert stats["requests"] == 1 and stats["billed_requests"] == 1
        assert stats["gone"] + stats["delivered"] >= 1
        (again,) = ask(model_of(server.url), request_of(model="m"))
        assert isinstance(again, Response)
        server.configure(models=["other"])
        (missing,) = ask(model_of(server.url), request_of(model="m"))
        assert type(missing) is errors.ModelMissing
        server.reset()
        assert server.stats()["requests"] == 0


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_openai_sdk_reads_the_same_answer() -> None:
    import openai

    request = request_of(n=2, sampling=Sampling(temperature=0.5, max_tokens=100))
    with FaultServer() as server:
        (ours,) = ask(model_of(server.url), request)
        with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            theirs = client.chat.completions.create(
                model=request.model,
                messages=[{"role": "user", "content": "Hi there."}],
                n=2,
                seed=request.seed,
                temperature=0.5,
                max_tokens=100,
            )
            server.configure(faults={"rate_limit": 1.0})
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(model=request.model, messages=[{"role": "user", "content": "x"}])
    assert isinstance(ours, Response) and theirs.usage is not None
    assert [choice.text for choice in ours.choices] == [choice.message.content for choice in theirs.choices]
    assert ours.usage.completion_tokens == theirs.usage.completion_tokens
    assert ours.usage.prompt_tokens == theirs.usage.prompt_tokens


def test_a_server_that_sends_a_byte_at_a_time_is_cut_at_the_timeout() -> None:
    """The whole answer counts, not the silence between two bytes: this one would take a minute."""
    with FaultServer(Settings(faults={"trickle": 1.0}, trickle=0.1)) as server:
        (fault,) = ask(model_of(server.url, timeout=0.5), request_of())
        assert isinstance(fault, errors.ConnectionLost) and "no whole answer within 0.5 s" in fault.message
        server.configure(trickle=0.0)
        (answer,) = ask(model_of(server.url), request_of())
        assert isinstance(answer, Response), "it is a good answer"


def test_the_server_dies_once_and_comes_back() -> None:
    with FaultServer(Settings(latency=30.0, die_after=2, outage=2.0)) as server:
        got = ask(model_of(server.url), *(request_of(seed=seed) for seed in range(3)))
        assert all(isinstance(one, errors.ConnectionLost) for one in got), "all that is open breaks"
        server.configure(latency=0.0)
        (first,) = got = ask(model_of(server.url), request_of())
        assert isinstance(first, errors.ConnectionFailed)
        while not isinstance(got[0], Response):
            assert isinstance(got[0], errors.ConnectionFailed)
            got = ask(model_of(server.url), request_of())
        server.configure(die_after=server.stats()["requests"], outage=0.0)
        (broken,) = ask(model_of(server.url), request_of())
        assert isinstance(broken, errors.ConnectionLost)


def test_the_latency_grows_with_what_is_in_flight() -> None:
    state = State(Settings(latency=0.1, saturation=4, thrash=1.5))
    seen = []
    for state.in_flight in (1, 4, 16):
        seen.append(round(state.delay(1), 6))
    assert seen == [0.1, 0.1, 0.8]
