"""What a refusal says besides the server's words: its models, the key's variable, the size of a prompt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from chat_helpers import OK_BODY, ask, ask_scripted, clean_environment, error, http, model_of, request_of, scripted  # noqa: F401
from fault_server import FaultServer, Settings

from factory import errors
from factory.backends.addresses import key_variable
from factory.backends.openai import open_backend
from factory.errors import CallFault
from factory.recipe.models import ModelConfig
from factory.types import Message, Sampling

MISSING = error("The model `gpt-5-mni` does not exist or you do not have access to it.", "model_not_found")
KEPT = 600
"""Characters of a refusal that the end of a run shows."""


def listed(*names: str) -> bytes:
    return http(200, {"object": "list", "data": [{"id": name} for name in names]})


def after_name(fault: CallFault) -> str:
    return fault.message.partition(": ")[2]


# A model that is not there


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, MISSING),
        (404, error('model "gpt-5-mni" not found, try pulling it first')),
        (
            404,
            {
                "object": "error",
                "message": "The model `gpt-5-mni` does not exist.",
                "type": "NotFoundError",
                "code": 404,
            },
        ),
        (400, error("gpt-5-mni is not a valid model ID", 400)),
        (400, error("Model Not Exist")),
        (400, error("Invalid model: gpt-5-mni", "1500", "invalid_model")),
        (400, error("invalid model 'gpt-5-mni'")),
        (422, {"detail": "Model gpt-5-mni not found"}),
        (403, error("Project `p` does not have access to model `gpt-5-mni`", "model_not_found")),
    ],
)
def test_the_servers_models_are_told_nearest_first(status: int, body: Any) -> None:
    replies = [http(status, body), listed("whisper-1", "gpt-5", "openai/gpt-5-mini", "ada")]
    got, seen, _ = ask_scripted(replies, request_of(model="gpt-5-mni"))
    assert type(got) is errors.ModelMissing and got.status == status
    assert seen.lines == ["POST /v1/chat/completions HTTP/1.1", "GET /v1/models HTTP/1.1"]
    names = got.message.partition("the server has ")[2].split(", ")
    assert names[:2] == ["`openai/gpt-5-mini`", "`gpt-5`"] and len(names) == 4
    assert body.get("error", body).get("message", "Model gpt")[:9] in got.message


@pytest.mark.parametrize(
    "message", ["The model could not process your request.", "This model does not support images", "File not found"]
)
def test_other_refusals_are_not_taken_for_it(message: str) -> None:
    got, seen, _ = ask_scripted([http(400, error(message))])
    assert type(got) is errors.BadRequest and len(seen.lines) == 1


def test_a_long_list_is_cut_and_counted() -> None:
    names = [f"vendor/model-with-a-long-name-{number:04d}-instruct" for number in range(900)]
    refusal = http(404, error("No such model. " + "x" * 900, "model_not_found"))
    got, _, _ = ask_scripted([refusal, listed(*names)], request_of(model="model-with-a-long-name-0500"))
    assert isinstance(got, errors.ModelMissing) and len(after_name(got)) <= KEPT
    assert "`vendor/model-with-a-long-name-0500-instruct`" in got.message
    shown = got.message.count("`vendor/")
    assert shown >= 3 and got.message.endswith(f"and {900 - shown} more")


@pytest.mark.parametrize(
    "second",
    [
        http(500, b""),
        http(404, b""),
        http(200, b"<html>"),
        http(200, {"data": "none"}),
        http(200, {"data": []}),
        http(200, [None, {}]),
        b"no http at all\r\n\r\n",
    ],
)
def test_a_list_that_does_not_come_hides_nothing(second: bytes) -> None:
    got, _, _ = ask_scripted([http(404, MISSING), second])
    assert type(got) is errors.ModelMissing and "does not exist or you do not have access" in got.message
    assert got.__cause__ is None and got.__context__ is None


def test_a_list_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.backends.openai.LIST_TIMEOUT_S", 0.1)
    got, _, _ = ask_scripted([http(404, MISSING), b""])
    assert type(got) is errors.ModelMissing and "does not exist" in got.message


def test_all_refusals_share_one_list() -> None:
    async def work() -> None:
        async with scripted(http(404, MISSING), listed("gpt-5-mini")) as seen:
            backend = open_backend(model_of(seen.url))
            with pytest.raises(errors.ModelMissing, match="gpt-5-mini"):
                await backend.generate(request_of())
        async with scripted(http(404, MISSING)) as other:
            backend = open_backend(model_of(other.url))
            got = await asyncio.gather(*[backend.generate(request_of()) for _ in range(20)], return_exceptions=True)
            assert all(type(one) is errors.ModelMissing for one in got)
            assert other.lines.count("GET /v1/models HTTP/1.1") == 1
            await backend.close()

    asyncio.run(work())


def test_a_model_that_is_listed_all_the_same() -> None:
    got, _, _ = ask_scripted([http(404, b"Not Found"), listed("mock-text")])
    assert isinstance(got, errors.ModelMissing) and "lists `mock-text` all the same" in got.message


def test_a_base_url_without_v1_is_doubted_only_where_nothing_is_listed() -> None:
    async def once(*replies: bytes) -> str:
        async with scripted(*replies) as seen:
            backend = open_backend(model_of(seen.url.removesuffix("/v1")))
            with pytest.raises(errors.ModelMissing) as caught:
                await backend.generate(request_of())
            await backend.close()
            return caught.value.message

    assert "end in /v1" in asyncio.run(once(http(404, b"")))
    assert "end in /v1" not in asyncio.run(once(http(404, MISSING), listed("a")))


def test_a_real_list_on_the_test_server() -> None:
    with FaultServer(Settings(models=tuple(f"model-{number}" for number in range(300)))) as server:
        (fault,) = ask(model_of(server.url, model="model-12x"), request_of(model="model-12x"))
    assert isinstance(fault, errors.ModelMissing)
    assert "the server has `model-12`, " in after_name(fault)[:KEPT] and fault.message.endswith(" more")


# A key without rights


@pytest.mark.parametrize(("status", "words"), [(401, "was refused"), (403, "has no right to this")])
def test_a_refused_key_names_its_variable_and_the_host(
    monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    monkeypatch.setenv("TEAM_KEY", "sk-0123456789abcdef")
    refusal = error("You do not have sufficient permissions: sk-0123456789abcdef " + "x" * 2000)
    got, _, _ = ask_scripted([http(status, refusal)], api_key_env="TEAM_KEY")
    assert type(got) is errors.Unauthorized and len(after_name(got)) <= KEPT
    assert f"the key in $TEAM_KEY, sent to 127.0.0.1, {words}" in got.message
    assert "sk-0123" not in got.message


def test_which_variable_holds_the_key() -> None:
    def variable(**fields: Any) -> str | None:
        return key_variable(ModelConfig(backend="openai", model="m", **fields))

    assert variable() == "OPENAI_API_KEY"
    assert variable(base_url="http://localhost:1/v1") is None
    assert variable(base_url="https://x.example/v1", api_key_env="X") == "X"


# A prompt that does not fit


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
        "This model's maximum context length is 4096 tokens. However, you requested 0 output tokens and your prompt "
        "contains at least 4097 input tokens, for a total of at least 4097 tokens.",
        "The decoder prompt (length 10127) is longer than the maximum model length of 8192.",
        "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "prompt is too long: 210,000 tokens > 200,000 maximum",
    ],
)
def test_the_servers_own_counts_are_enough(message: str) -> None:
    got, _, _ = ask_scripted([http(400, error(message))])
    assert type(got) is errors.ContextTooLong and got.message.endswith(message)


@pytest.mark.parametrize(
    "message",
    [
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "This model's maximum context length is 8192 tokens.",
        "prompt is too long for gpt-4-32k: maximum context length is 32768",
        "max_tokens must be at least 1, got -186.",
        "Context size has been exceeded.",
    ],
)
def test_without_counts_our_own_estimate_is_told(message: str) -> None:
    request = request_of("word " * 3000, sampling=Sampling(max_tokens=700))
    got, _, _ = ask_scripted([http(400, error(message))], request)
    assert type(got) is errors.ContextTooLong and message in got.message
    told = got.message.partition("the prompt has about ")[2]
    assert 2500 <= int(told.split()[0]) <= 4500
    assert "by our own estimate" in told and "max_tokens asks for 700 more" in told


def test_counts_beside_the_message_are_told() -> None:
    body = {
        "error": {"message": "the request exceeds the available context size", "n_prompt_tokens": 4390, "n_ctx": 4096}
    }
    got, _, _ = ask_scripted([http(400, body)])
    assert type(got) is errors.ContextTooLong
    assert "n_prompt_tokens 4390" in got.message and "n_ctx 4096" in got.message and "estimate" not in got.message


def test_a_huge_prompt_is_counted_in_no_time() -> None:
    request = request_of(messages=(Message("user", "a" * 3_000_000),))
    got, _, _ = ask_scripted([http(400, error("Your input exceeds the context window of this model."))], request)
    assert isinstance(got, errors.ContextTooLong) and "750004 tokens" in got.message


def test_on_the_test_server() -> None:
    with FaultServer(Settings(context_length=50)) as server:
        (got,) = ask(model_of(server.url), request_of("long " * 100))
    assert type(got) is errors.ContextTooLong and "129 tokens" in got.message and "estimate" not in got.message
