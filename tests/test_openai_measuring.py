"""The backend `openai` on models that measure: what is sent, what is made of the answers, and what stops a run."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from measuring_server import NAME, PRICE, MeasuringServer, Reply, lay_out, letters, logits, logprob
from support import parquet_hashes, write_recipe

import factory
from factory import errors
from factory.backends import azure, tasks_of
from factory.backends.openai import open_backend
from factory.backends.token_logprobs import FLOOR
from factory.errors import CallFault, KeyRefused, RecipeError, Refused, Transient
from factory.recipe import ModelConfig
from factory.requesting import build_request
from factory.types import Message, Response, Task
from factory.vectors import decode

KEY = "sk-measuring-0123456789abcdef"
SYSTEM, USER = Message("system", "Be brief."), Message("user", "Which city?")
EXCHANGE = (SYSTEM, USER, Message("assistant", "Lima"))
ALONE = (Message("assistant", "Lima"),)
COMPLETIONS = "/v1/completions"


def ask_all(
    server: MeasuringServer, chats: Sequence[Sequence[Message]], task: Task, *, together: bool = False, **changes: Any
) -> list[Response | CallFault]:
    """The answers of one backend to the chats, one after the other or all at once."""
    config = ModelConfig(**server.model(**changes))

    async def work() -> list[Response | CallFault]:
        backend = open_backend(config)

        async def ask(chat: Sequence[Message]) -> Response | CallFault:
            request = build_request(config, chat, seed=1, row=0, step="main", purpose="score", task=task)
            try:
                return await backend.generate(request)
            except CallFault as fault:
                return fault

        try:
            if together:
                return await asyncio.gather(*(ask(chat) for chat in chats))
            return [await ask(chat) for chat in chats]
        finally:
            await backend.close()

    return asyncio.run(work())


def ask(server: MeasuringServer, chat: Sequence[Message], task: Task, **changes: Any) -> Response:
    [found] = ask_all(server, [chat], task, **changes)
    assert isinstance(found, Response), found
    return found


def fault_of(server: MeasuringServer, chat: Sequence[Message], task: Task, **changes: Any) -> CallFault:
    [found] = ask_all(server, [chat], task, **changes)
    assert isinstance(found, CallFault), found
    return found


def values(response: Response) -> list[float]:
    return [one.logprob for one in response.choices[0].logprobs or ()]


def expected(before: list[int], answer: str) -> list[float]:
    """By the definition: the server's rule, at the places of the answer's own bytes."""
    tokens = before + list(answer.encode())
    return [logprob(tokens[place], place) for place in range(max(1, len(before)), len(tokens))]


def test_a_server_may_do_all_tasks() -> None:
    with MeasuringServer() as server:
        backend = open_backend(ModelConfig(**server.model()))
        assert tasks_of(backend) == {"generate", "likelihood", "classify", "embed"}


# --- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_base64", [False, True])
def test_an_embedding_is_read_as_numbers_and_as_base64(as_base64: bool) -> None:
    sampling = {"temperature": 0.7, "max_tokens": 9, "stop": ["x"], "top_k": 5, "reasoning_effort": "low"}
    with MeasuringServer(as_base64=as_base64) as server:
        found = ask(server, EXCHANGE, "embed", extra_body={"user": "me"}, **sampling)
    assert decode(found.choices[0].text).tolist() == letters("Lima")
    assert (found.model, found.usage.prompt_tokens, found.usage.completion_tokens) == (NAME, 4, 0)
    assert not found.usage.estimated and found.choices[0].finish_reason == "stop"
    [(path, body, _)] = server.requests
    assert path == "/v1/embeddings"
    assert body == {"model": NAME, "input": "Lima", "encoding_format": "float", "user": "me"}


def test_dimensions_are_those_asked_for_or_the_run_stops() -> None:
    with MeasuringServer() as server:
        found = ask(server, EXCHANGE, "embed", extra_body={"dimensions": 3})
        assert decode(found.choices[0].text).tolist() == letters("Lima")[:3]
        full = server.answer("/v1/embeddings", {"model": NAME, "input": "Lima"})
        server.replies["/v1/embeddings"] = [full]
        fault = fault_of(server, EXCHANGE, "embed", extra_body={"dimensions": 3})
        assert type(fault) is Refused and "5 numbers" in fault.message and "`dimensions`" in fault.message


def test_a_server_that_does_not_know_the_format_is_asked_without_it() -> None:
    refusal = Reply(400, {"error": {"message": "Unrecognized request argument: encoding_format"}})
    with MeasuringServer() as server:
        server.replies["/v1/embeddings"] = [refusal]
        assert len(ask_all(server, [EXCHANGE, ALONE], "embed")) == 2
        assert ["encoding_format" in body for body in server.asked("/v1/embeddings")] == [True, False, False]
        server.replies["/v1/embeddings"] = [refusal]
        own = fault_of(server, EXCHANGE, "embed", extra_body={"encoding_format": "base64"})
        assert type(own) is errors.BadRequest, "what the recipe wants is not dropped"


def entry(embedding: Any) -> Reply:
    return Reply(body={"data": [{"embedding": embedding}]})


USAGE = {"prompt_tokens": 7, "total_tokens": 7}
NO_EMBEDDINGS = {
    "error": {"code": 501, "message": "This server does not support embeddings. Start it with `--embeddings`"}
}
NOT_ALLOWED = {"error": {"message": "You are not allowed to generate embeddings from this model", "code": 403}}
TOO_LONG = {
    "error": {"message": "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"}
}
TOO_LARGE = {
    "error": {"code": 500, "message": "input (700 tokens) is too large to process. increase the physical batch"}
}


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "3"}), errors.Overloaded, "slow down"),
        (Reply(500, {"error": {"message": "oops"}}), errors.ServerFault, "oops"),
        (Reply(503, b"<html>busy</html>"), errors.ServerFault, "busy"),
        (Reply(404, {"detail": "Not Found"}), Refused, "--runner pooling"),
        (Reply(405, {"detail": "Method Not Allowed"}), Refused, "llama-server --embeddings"),
        (Reply(501, NO_EMBEDDINGS), Refused, "does not support embeddings"),
        (Reply(403, NOT_ALLOWED), Refused, "not allowed to generate"),
        (Reply(404, {"error": {"message": "The model `x` does not exist."}}), errors.ModelMissing, "server"),
        (Reply(401, {"error": {"message": "bad key"}}), errors.Unauthorized, "api_key_env"),
        (Reply(400, TOO_LONG), errors.ContextTooLong, "8192"),
        (Reply(500, TOO_LARGE), errors.ContextTooLong, "700 tokens"),
        (Reply(400, {"error": {"message": "no"}}), errors.BadRequest, "HTTP 400: no"),
        (Reply(200, {"error": {"message": "upstream", "code": 503}}), errors.ServerFault, "upstream"),
        (Reply(200, b"\x1f\x8bgarbage"), errors.BadBody, "no JSON"),
        (Reply(200, [1, 2]), errors.BadBody, "no `data`"),
        (Reply(200, {"choices": []}), errors.BadBody, "no `data`"),
        (Reply(200, {"data": []}), errors.BadBody, "no usage"),
        (Reply(200, {"data": [], "usage": USAGE}), errors.NoChoices, "no embedding"),
        (Reply(200, {"data": [{"embedding": [1.0]}] * 2}), errors.BadBody, "holds 2"),
        (Reply(200, {"data": ["x"]}), errors.BadBody, "no embedding"),
        (entry([]), errors.BadBody, "no embedding"),
        (entry([1.0, "2"]), errors.BadBody, "neither"),
        (entry([1.0, True]), errors.BadBody, "neither"),
        (entry([1.0, None]), errors.BadBody, "neither"),
        (entry([1e300]), errors.BadBody, "finite numbers"),
        (entry([10**400]), errors.BadBody, "finite numbers"),
        (entry("AAAA"), errors.BadBody, "whole float32"),
        (entry("héé"), errors.BadBody, "base64"),
        (entry("AADAfw=="), errors.BadBody, "not finite"),
        (entry([[1.0, 2.0], [3.0, 4.0]]), Refused, "each of 2 tokens"),
    ],
)
def test_what_goes_wrong_with_an_embedding(reply: Reply, kind: type[CallFault], words: str) -> None:
    with MeasuringServer() as server:
        server.replies["/v1/embeddings"] = [reply]
        fault = fault_of(server, EXCHANGE, "embed")
    assert type(fault) is kind, fault
    assert words in fault.message and fault.message.startswith("127.0.0.1:") and len(fault.message) < 600
    if isinstance(fault, errors.Overloaded):
        assert fault.retry_after == 3
    if isinstance(fault, errors.NoChoices):
        assert fault.usage is not None and fault.usage.prompt_tokens == 7


def test_azure_embeds_by_its_deployment_and_does_not_measure_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    with MeasuringServer() as server:
        config = ModelConfig(backend="azure", model=NAME, base_url=server.root, extra_body={"dimensions": 2})
        assert tasks_of(azure.open_backend(config)) == {"generate", "embed"}
        request = build_request(config, EXCHANGE, seed=1, row=0, step="main", purpose="score", task="embed")

        async def work() -> Response:
            backend = azure.open_backend(config)
            try:
                return await backend.generate(request)
            finally:
                await backend.close()

        found = asyncio.run(work())
        assert decode(found.choices[0].text).tolist() == letters("Lima")[:2] and found.usage.prompt_tokens == 4
        [(path, body, _)] = server.requests
        assert path.startswith(f"/openai/deployments/{NAME}/embeddings?api-version=")
        assert body == {"model": NAME, "input": "Lima", "encoding_format": "float", "dimensions": 2}


def test_an_embedding_of_nothing_and_one_without_usage() -> None:
    with MeasuringServer() as server:
        assert type(fault_of(server, (Message("user", ""),), "embed")) is errors.BadRequest
        assert server.requests == []
        server.replies["/v1/embeddings"] = [entry([[1.0, 2.0]])]
        found = ask(server, EXCHANGE, "embed")
    assert decode(found.choices[0].text).tolist() == [1.0, 2.0]
    assert found.usage.estimated and found.usage.prompt_tokens > 0 and found.usage.completion_tokens == 0


# --- likelihoods ------------------------------------------------------------------------------------------------------


def test_a_likelihood_is_asked_for_by_the_tokens_of_the_servers_own_template() -> None:
    template = {"chat_template_kwargs": {"enable_thinking": False}}
    with MeasuringServer() as server:
        found = ask(server, EXCHANGE, "likelihood", temperature=0.9, extra_body={**template, "min_tokens": 4})
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which city?"}]
    before = lay_out(chat)
    assert server.asked("/tokenize") == [
        {"model": NAME, "messages": chat, "add_generation_prompt": True, **template},
        {"model": NAME, "prompt": "Lima", "add_special_tokens": False},
    ] or server.asked("/tokenize")[::-1] == [
        {"model": NAME, "messages": chat, "add_generation_prompt": True, **template},
        {"model": NAME, "prompt": "Lima", "add_special_tokens": False},
    ]
    assert server.asked(COMPLETIONS) == [
        {"model": NAME, "prompt": before + list(b"Lima"), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    ]
    assert values(found) == expected(before, "Lima")
    assert [one.token for one in found.choices[0].logprobs or ()] == list("Lima")
    assert (found.choices[0].text, found.model) == ("Lima", NAME)
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (len(before) + 4, 1)


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=20)), max_size=3),
    st.text(min_size=1, max_size=40),
    st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_answers_own_tokens_are_measured_and_no_others(
    shared: MeasuringServer, turns: list[tuple[Any, str]], answer: str, begin: bool
) -> None:
    shared.begin = begin
    before = tuple(Message(role, text) for role, text in turns)
    [found] = ask_all(shared, [(*before, Message("assistant", answer))], "likelihood")
    laid = lay_out([{"role": role, "content": text} for role, text in turns]) if turns else [1] if begin else []
    wanted = expected(laid, answer)
    if not wanted:
        assert isinstance(found, errors.BadRequest) and "not defined" in found.message
    else:
        assert isinstance(found, Response) and values(found) == wanted


@pytest.fixture(scope="module")
def shared() -> Any:
    with MeasuringServer() as server:
        yield server


def test_where_tokenize_lies_is_found_once() -> None:
    with MeasuringServer(lacks={"/tokenize"}) as server:
        for found in ask_all(server, [EXCHANGE, EXCHANGE, ALONE], "likelihood"):
            assert isinstance(found, Response)
        assert server.paths.count("/tokenize") == 2 and server.paths.count("/v1/tokenize") == 6
        assert server.paths.count(COMPLETIONS) == 3


@pytest.mark.parametrize("begin", [False, True])
def test_without_tokenize_an_answer_alone_is_echoed(begin: bool) -> None:
    with MeasuringServer(lacks={"/tokenize", "/v1/tokenize"}, begin=begin) as server:
        first, second, third = ask_all(server, [ALONE, (Message("assistant", "Liмa"),), EXCHANGE], "likelihood")
        body = {"model": NAME, "prompt": "Lima", "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
        assert server.asked(COMPLETIONS)[0] == body
        server.replies[COMPLETIONS] = [
            completion(logprobs={"tokens": ["Li", "ma", "!"], "token_logprobs": [None, -2, -1]})
        ]
        server.replies[COMPLETIONS][0].body.pop("usage")
        bare = ask(server, ALONE, "likelihood")
        assert values(bare) == [-2.0] and bare.usage.estimated
    assert isinstance(first, Response) and isinstance(second, Response)
    before = [1] if begin else []
    assert values(first) == expected(before, "Lima") and values(second) == expected(before, "Liмa")
    assert type(third) is Refused and "/tokenize" in third.message and "vllm serve" in third.message


def test_another_servers_tokenize_and_one_that_does_not_echo() -> None:
    ways: list[Any] = [{"tokens": []}, {"tokens": [1, "2"], "count": 2}, {"tokens": 3, "count": 1}, [4]]
    for way in ways:
        with MeasuringServer(lacks={"/v1/tokenize"}, echoes=False) as server:
            server.replies["/tokenize"] = [Reply(body=way)] * 4
            alone, chat = ask_all(server, [ALONE, EXCHANGE], "likelihood")
        assert type(alone) is Refused and "echo" in alone.message and "llama.cpp" in alone.message
        assert type(chat) is Refused and "/tokenize" in chat.message


def completion(**choice: Any) -> Reply:
    return Reply(body={"choices": [{"text": "!", **choice}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})


def prompt_logprobs(*told: Any) -> Reply:
    return completion(prompt_logprobs=[None, *told])


LONE = (Message("assistant", "ab"),)
A, B = ord("a"), ord("b")


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (completion(prompt_logprobs=None), Refused, "leaves out `prompt_logprobs`"),
        (completion(), Refused, "leaves out `prompt_logprobs`"),
        (prompt_logprobs(), errors.BadBody, "2 tokens were sent, and 1"),
        (prompt_logprobs({}, {}), errors.BadBody, "2 tokens were sent, and 3"),
        (completion(prompt_logprobs={"a": 1}), errors.BadBody, "no list"),
        (prompt_logprobs(None), errors.BadBody, f"token {B}"),
        (prompt_logprobs({str(A): {"logprob": -1.0}}), errors.BadBody, f"token {B}"),
        (prompt_logprobs({str(B): {"logprob": "-1"}}), errors.BadBody, f"token {B}"),
        (prompt_logprobs({str(B): {"logprob": None}}), errors.BadBody, f"token {B}"),
        (prompt_logprobs({str(B): -1.0}), errors.BadBody, f"token {B}"),
        (completion(prompt_logprobs=[]), errors.BadBody, "and 0"),
        (Reply(body={"choices": [], "usage": {"prompt_tokens": 3}}), errors.NoChoices, "no choices"),
        (Reply(body={"choices": ["x"]}), errors.BadBody, "no object"),
        (Reply(body={"data": []}), errors.BadBody, "`choices`"),
        (Reply(body=b"{"), errors.BadBody, "no JSON"),
        (Reply(404, {"detail": "Not Found"}), Refused, "vllm serve"),
        (Reply(400, {"error": {"message": "prompt_logprobs is not supported"}}), Refused, "vllm serve"),
        (Reply(404, {"error": {"message": "This is a chat model and not supported in the v1/completions endpoint."}}),
         Refused, "OpenAI's API"),
        (Reply(429, {"error": {"message": "slow"}}), errors.Overloaded, "slow"),
        (Reply(500, {"error": {"message": "EngineCore encountered an issue"}}), errors.ServerFault, "EngineCore"),
        (Reply(400, TOO_LONG), errors.ContextTooLong, "8192"),
    ],
)  # fmt: skip
def test_what_goes_wrong_with_a_likelihood(reply: Reply, kind: type[CallFault], words: str) -> None:
    with MeasuringServer() as server:
        server.replies[COMPLETIONS] = [reply]
        fault = fault_of(server, LONE, "likelihood")
    assert type(fault) is kind, fault
    assert words in fault.message and len(fault.message) < 600


@pytest.mark.parametrize(
    ("columns", "kind", "words"),
    [
        (None, Refused, "leaves out"),
        ({"content": []}, Refused, "leaves out"),
        ({"tokens": ["a", "b", "!"], "token_logprobs": [None, -1.0]}, errors.BadBody, "differ in length"),
        ({"tokens": ["a", 7, "!"], "token_logprobs": [None, -1.0, -1.0]}, errors.BadBody, "no text"),
        ({"tokens": ["a", "b", "!"], "token_logprobs": [None, None, -1.0]}, errors.BadBody, "no log-probability"),
        ({"tokens": ["a", "c", "!"], "token_logprobs": [None, -1.0, -1.0]}, errors.BadRequest, "do not spell"),
        ({"tokens": [], "token_logprobs": []}, Refused, "does not echo"),
        ({"tokens": ["!"], "token_logprobs": [-1.0]}, Refused, "does not echo"),
        ({"tokens": ["ab", "!"], "token_logprobs": [None, -1.0]}, errors.BadRequest, "not defined"),
    ],
)
def test_what_goes_wrong_with_an_echo(columns: Any, kind: type[CallFault], words: str) -> None:
    with MeasuringServer(lacks={"/tokenize", "/v1/tokenize"}) as server:
        server.replies[COMPLETIONS] = [completion(logprobs=columns)]
        fault = fault_of(server, LONE, "likelihood")
    assert type(fault) is kind and words in fault.message


def test_what_goes_wrong_before_a_likelihood_is_asked() -> None:
    with MeasuringServer(template=False) as server:
        chat, alone = ask_all(server, [EXCHANGE, ALONE], "likelihood")
        assert type(chat) is Refused and "--chat-template FILE" in chat.message
        assert isinstance(alone, Response)
    with MeasuringServer() as server:
        server.replies["/tokenize"] = [Reply(body={"tokens": [1, 2], "count": 3})]
        assert type(fault_of(server, LONE, "likelihood")) is errors.BadBody
        server.replies["/tokenize"] = [Reply(503, {"error": {"message": "busy"}})]
        later = ask_all(server, [LONE, LONE], "likelihood")
        assert type(later[0]) is errors.ServerFault and isinstance(later[1], Response)
        for wrong in ((USER,), (Message("assistant", ""),), ()):
            assert type(fault_of(server, wrong, "likelihood")) is errors.BadRequest
        missing = fault_of(server, LONE, "likelihood", model="mesured")
        assert type(missing) is errors.ModelMissing and f"`{NAME}`" in missing.message


def test_a_value_that_json_cannot_hold_is_the_least() -> None:
    told = prompt_logprobs({str(B): {"logprob": -1e30}})
    with MeasuringServer() as server:
        server.replies[COMPLETIONS] = [told, prompt_logprobs({str(B): {"logprob": 0.25}})]
        low, high = ask_all(server, [LONE, LONE], "likelihood")
    assert isinstance(low, Response) and values(low) == [FLOOR]
    assert isinstance(high, Response) and values(high) == [0.0]


# --- scores -----------------------------------------------------------------------------------------------------------


def scores(response: Response) -> dict[str, float]:
    found: dict[str, float] = json.loads(response.choices[0].text)
    return found


def chat_text(messages: Sequence[Message]) -> str:
    return "".join(message.content for message in messages)


def test_a_reward_models_score_is_raw_and_its_server_is_looked_at_once() -> None:
    with MeasuringServer() as server:
        found = ask_all(server, [EXCHANGE, ALONE] * 8, "classify", together=True, extra_body={"priority": 1})
        bodies = server.asked("/classify")
    assert [scores(one) for one in found if isinstance(one, Response)] == [
        {"score": logits(chat_text(EXCHANGE), 1)[0]}, {"score": logits("Lima", 1)[0]}
    ] * 8  # fmt: skip
    probes, asked = bodies[:2], bodies[2:]
    assert all(len(body["input"]) < 40 and body["use_activation"] is False for body in probes)
    assert len(asked) == 16 and all(body["use_activation"] is False and body["priority"] == 1 for body in asked)
    assert asked[0]["messages"][0]["role"] in ("system", "assistant")
    first = found[0]
    assert isinstance(first, Response) and first.usage.prompt_tokens == len(chat_text(EXCHANGE))


def test_a_classifiers_probabilities_by_label() -> None:
    with MeasuringServer(labels=3) as server:
        found = scores(ask(server, EXCHANGE, "classify"))
        assert "use_activation" not in server.asked("/classify")[-1]
    powers = [math.exp(value) for value in logits(chat_text(EXCHANGE), 3)]
    assert list(found) == ["LABEL_0", "LABEL_1", "LABEL_2"] and sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == pytest.approx([one / sum(powers) for one in powers])


def test_other_places_of_the_endpoints() -> None:
    with MeasuringServer(lacks={"/classify"}) as server:
        ask_all(server, [EXCHANGE] * 3, "classify")
        assert server.paths == ["/classify", *["/v1/classify"] * 5]
    with MeasuringServer(lacks={"/classify", "/v1/classify"}) as server:
        found = scores(ask(server, EXCHANGE, "classify"))
        assert found == {"score": logits(chat_text(EXCHANGE), 1)[0]}, "the last token's number"
        assert server.paths == ["/classify", "/v1/classify", *["/pooling"] * 3]


def test_without_a_template_prompt_and_answer_are_a_pair() -> None:
    with MeasuringServer(template=False) as server:
        pair, again, alone = ask_all(server, [EXCHANGE, EXCHANGE, ALONE], "classify")
        body = {"model": NAME, "use_activation": False, "text_1": "Be brief.\n\nWhich city?", "text_2": "Lima"}
        assert server.asked("/score") == [body, body]
        assert sum("messages" in body for body in server.asked("/classify")) == 1, "refused once, not tried again"
    value = logits("Be brief.\n\nWhich city?|Lima", 1)[0]
    assert isinstance(pair, Response) and isinstance(again, Response) and isinstance(alone, Response)
    assert scores(pair) == scores(again) == {"score": value} and scores(alone) == {"score": logits("Lima", 1)[0]}
    with MeasuringServer(template=False, labels=2, lacks={"/score"}) as server:
        several, alone = ask_all(server, [EXCHANGE, ALONE], "classify")
        assert type(several) is Refused and '`prompt: ""`' in several.message
        assert isinstance(alone, Response) and len(scores(alone)) == 2


def classes(*probs: Any) -> Reply:
    return Reply(body={"data": [{"probs": list(probs)}], "usage": USAGE})


def test_a_server_that_gives_no_scores_is_refused_at_once() -> None:
    with MeasuringServer(lacks={"/classify", "/v1/classify", "/pooling"}) as server:
        fault = fault_of(server, EXCHANGE, "classify")
        assert type(fault) is Refused and "--runner pooling --convert classify" in fault.message
        assert server.paths == ["/classify", "/v1/classify", "/pooling", "/v1/pooling"]
    with MeasuringServer(lacks={"/classify", "/v1/classify"}) as server:
        server.replies["/pooling"] = [Reply(body={"data": [{"data": [0.1] * 384}]})] * 2
        assert "384 numbers" in fault_of(server, EXCHANGE, "classify").message
    with MeasuringServer() as server:
        server.replies["/classify"] = [classes(1.0)] * 2
        fault = fault_of(server, EXCHANGE, "classify")
        assert type(fault) is Refused and "1 whatever the text" in fault.message
    with MeasuringServer() as server:  # an endpoint of the same name that wants something else
        server.replies["/classify"] = [Reply(422, {"detail": [{"loc": ["body", "text"], "msg": "Field required"}]})]
        assert isinstance(ask(server, EXCHANGE, "classify"), Response)
        assert "/v1/classify" in server.paths
    with MeasuringServer() as server:
        missing = fault_of(server, EXCHANGE, "classify", model="mesured")
        assert type(missing) is errors.ModelMissing and f"`{NAME}`" in missing.message


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (classes(0.5, 0.5), errors.BadBody, "1 numbers before, and 2 now"),
        (classes(), errors.BadBody, "no scores"),
        (classes(None), errors.BadBody, "no finite number"),
        (classes("10"), errors.BadBody, "no finite number"),
        (classes(True), errors.BadBody, "no finite number"),
        (Reply(body={"data": [7]}), errors.BadBody, "no scores"),
        (Reply(body={"data": []}), errors.BadBody, "no usage"),
        (Reply(body=b"nope"), errors.BadBody, "no JSON"),
        (Reply(503, {"error": {"message": "busy"}}), errors.ServerFault, "busy"),
        (Reply(400, TOO_LONG), errors.ContextTooLong, "8192"),
        (Reply(404, {"detail": "Not Found"}), Refused, "--convert classify"),
        (Reply(400, {"error": {"message": "Conversation roles must alternate"}}), errors.BadRequest, "alternate"),
    ],
)
def test_what_goes_wrong_with_a_score(reply: Reply, kind: type[CallFault], words: str) -> None:
    with MeasuringServer() as server:
        plain = [server.answer("/classify", {"model": NAME, "input": "a", "use_activation": False})] * 2
        server.replies["/classify"] = [*plain, reply]
        fault = fault_of(server, EXCHANGE, "classify")
    assert type(fault) is kind and words in fault.message, fault


def test_a_fault_while_a_server_is_looked_at_is_that_attempts_own() -> None:
    with MeasuringServer() as server:
        server.replies["/classify"] = [Reply(503, {"error": {"message": "busy"}})]
        first, second = ask_all(server, [EXCHANGE, EXCHANGE], "classify")
        assert isinstance(first, Transient) and isinstance(second, Response)
        assert type(fault_of(server, (Message("assistant", ""),), "classify")) is errors.BadRequest


# --- runs -------------------------------------------------------------------------------------------------------------

SCORERS: dict[str, dict[str, Any]] = {
    "similarity": {"similarity": {"model": "reader", "weight": 1}},
    "reward": {"reward": {"model": "reader", "weight": 1}},
    "perplexity": {"perplexity": {"model": "reader", "weight": 1}},
    "ifd": {"ifd": {"model": "reader", "weight": 1}},
}


def recipe_of(tmp_path: Path, server: MeasuringServer, scorer: str, **changes: Any) -> Path:
    model = changes.pop("model", server.model(price=PRICE))
    writer = {"backend": "embedded", "model": "tiny", "temperature": 1.0, "max_tokens": 200}
    return write_recipe(
        tmp_path, rows=4, models={"writer": writer, "reader": model}, score=[SCORERS[scorer]],
        generate={"model": "writer", "candidates": 2}, keep={"top_k": 1}, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("scorer", list(SCORERS))
def test_a_run_is_measured_once_and_its_key_is_nowhere(
    scorer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEASURING_KEY", KEY)
    with MeasuringServer() as server:
        model = server.model(price=PRICE, api_key_env="MEASURING_KEY")
        busy = Reply(429, {"error": {"message": f"slow down, {KEY}"}}, {"Retry-After": "0"})
        server.replies = {"/v1/embeddings": [busy], "/classify": [busy], COMPLETIONS: [busy]}
        recipe = factory.load_recipe(recipe_of(tmp_path, server, scorer, model=model, budget={"usd": 1}))
        result = factory.run(recipe, out=tmp_path / "run")
        assert result.summary["rows"] == 4 and {headers["Authorization"] for _, _, headers in server.requests} == {
            f"Bearer {KEY}"
        }
        before, hashes = len(server.requests), parquet_hashes(tmp_path / "run")
        factory.run(recipe, out=tmp_path / "run")
        assert len(server.requests) == before and parquet_hashes(tmp_path / "run") == hashes
    measured = [line for line in result.ledger() if line["model"] == f"openai/{NAME}"]
    assert {line["purpose"] for line in measured} == {"score"}
    assert [line["outcome"] for line in measured if line["outcome"] != "ok"] == ["overloaded"]
    for line in measured:
        cost = (line["prompt_tokens"] * PRICE["input"] + line["completion_tokens"] * PRICE["output"]) / 1e6
        assert line["cost_usd"] == pytest.approx(cost)
        assert line["completion_tokens"] <= (1 if scorer in ("perplexity", "ifd") else 0)
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_scores_are_those_of_the_definition_in_a_run(tmp_path: Path) -> None:
    with MeasuringServer() as server:
        result = factory.run(factory.load_recipe(recipe_of(tmp_path, server, "perplexity")), out=tmp_path / "run")
    for row in result.dataset()["train"]:
        chat = [{"role": "user", "content": _prompt(row)}]
        told = expected(lay_out(chat), row["text"])
        assert json.loads(row["meta"]["scores"])["perplexity"] == pytest.approx(math.exp(-math.fsum(told) / len(told)))


def _prompt(row: dict[str, Any]) -> str:
    drawn = json.loads(row["meta"]["variation"])
    return f"Tell me of the {drawn['animal']} with the number {drawn['number']}."


@pytest.mark.parametrize(
    ("scorer", "words"),
    [("similarity", "--runner pooling"), ("reward", "--convert classify"), ("perplexity", "vllm serve")],
)
def test_a_server_without_the_endpoint_stops_the_run_before_rows_are_rejected(
    scorer: str, words: str, tmp_path: Path
) -> None:
    everything = {"/v1/embeddings", "/classify", "/v1/classify", "/pooling", "/tokenize", "/v1/tokenize", COMPLETIONS}
    with MeasuringServer(lacks=everything) as server:
        recipe = factory.load_recipe(recipe_of(tmp_path, server, scorer))
        with pytest.raises(KeyRefused) as caught:
            factory.run(recipe, out=tmp_path / "run")
        assert words in caught.value.message and len(caught.value.message) < 1000
        assert "score" not in set(caught.value.result.rejects()["stage"])
        server.lacks = set()
        assert factory.run(recipe, out=tmp_path / "run").summary["rows"] == 4, "the same command goes on"


def test_batches_do_not_measure(tmp_path: Path) -> None:
    with MeasuringServer() as server:
        recipe = recipe_of(tmp_path, server, "similarity", model=server.model(batch=True))
        with pytest.raises(RecipeError) as caught:
            factory.run(factory.load_recipe(recipe), out=tmp_path / "run")
        assert "models.reader" in str(caught.value) and server.requests == []
