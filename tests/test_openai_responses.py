"""The Responses API: when it is asked, what it is sent, how its answers are read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from chat_helpers import OK_BODY, ask, ask_scripted, clean_environment, error, http, model_of, request_of, scripted  # noqa: F401
from fault_server import FaultServer, Settings
from test_openai_answers import FORM, SCHEMA

from factory import errors
from factory.backends.openai import open_backend
from factory.backends.responses import read_response, responses_body
from factory.errors import CallFault
from factory.prices import PriceTable, cost, upper_bound
from factory.types import Message, Response, Sampling, TokenLogprob

ONLY_RESPONSES = [
    (404, error("This model is only supported in v1/responses and not in v1/chat/completions.", param="model")),
    (
        404,
        error("This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean …?"),
    ),
    (400, error("Please use the /v1/responses endpoint for this model.")),
    (400, error("The chatCompletion operation does not work with the specified model, m.", "OperationNotSupported")),
]


def answer_of(*output: dict[str, Any], **changes: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 40,
        "input_tokens_details": {"cached_tokens": 30},
        "output_tokens": 25,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 65,
    }
    items = list(output) or [message_of("Hello.")]
    made = {"id": "resp_1", "object": "response", "status": "completed", "error": None, "incomplete_details": None}
    return {**made, "model": "served", "output": items, "usage": usage, **changes}


def message_of(text: str, **part: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, **part}]}


def reasoning_of(*summaries: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": text} for text in summaries]}


def cut(reason: str) -> dict[str, Any]:
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


def outcomes(server: FaultServer) -> dict[str, int]:
    found: dict[str, int] = server.stats()["outcomes"]
    return found


# What is sent


def test_everything_that_was_asked_is_sent_in_the_apis_words() -> None:
    request = request_of(
        messages=(Message("system", "S"), Message("user", "U"), Message("assistant", "A"), Message("user", "V")),
        sampling=Sampling(
            temperature=0.5,
            top_p=0.9,
            max_tokens=50,
            stop=("END",),
            extra={
                "reasoning_effort": "low",
                "verbosity": "low",
                "service_tier": "flex",
                "reasoning": {"summary": "auto"},
            },
        ),
        n=3,
        logprobs=4,
        response_format=FORM,
    )
    got, seen, backend = ask_scripted([http(200, answer_of())], request, api="responses")
    assert isinstance(got, Response) and len(got.choices) == 1, "the caller tops up what is missing"
    assert seen.lines == ["POST /v1/responses HTTP/1.1"]
    assert seen.bodies[0] == {
        "model": "mock-text",
        "instructions": "S",
        "input": [
            {"role": "user", "content": "U"},
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "V"},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 50,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {
            "verbosity": "low",
            "format": {"type": "json_schema", "name": "main", "schema": SCHEMA, "strict": True},
        },
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 4,
        "service_tier": "flex",
        "store": False,
    }
    assert [note.split("`")[1] for note in backend.notes()] == ["seed", "stop", "logprobs"]


@pytest.mark.parametrize("form", [None, {"type": "json_object"}])
def test_a_plain_request_stays_plain(form: dict[str, Any] | None) -> None:
    request = request_of(sampling=Sampling(), response_format=form)
    _, seen, _ = ask_scripted([http(200, answer_of())], request, api="responses")
    text = {} if form is None else {"text": {"format": form}}
    want = {"model": "mock-text", "input": [{"role": "user", "content": "Hi there."}], "store": False, **text}
    assert seen.bodies[0] == want


def test_a_system_message_alone_is_the_input() -> None:
    body = responses_body({"model": "m", "messages": [{"role": "system", "content": "S"}]})
    assert body["input"] == [{"role": "system", "content": "S"}] and "instructions" not in body


# When it is asked


@pytest.mark.parametrize(("status", "refusal"), ONLY_RESPONSES)
def test_a_model_of_the_responses_api_is_asked_there_within_the_attempt(status: int, refusal: dict[str, Any]) -> None:
    async def work() -> None:
        async with scripted(http(status, refusal), http(200, answer_of())) as seen:
            backend = open_backend(model_of(seen.url))
            assert backend.notes() == ()
            for _ in range(2):
                assert (await backend.generate(request_of(seed=1))).choices[0].text == "Hello."
            paths = [line.split()[1] for line in seen.lines]
            assert paths == ["/v1/chat/completions", "/v1/responses", "/v1/responses"], "learned once"
            assert any("Responses API" in note for note in backend.notes())
            await backend.close()

    asyncio.run(work())


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_an_api_that_the_recipe_names_is_the_only_one(api: str) -> None:
    with FaultServer(Settings(responses_only=("mock-text",))) as server:
        (got,) = ask(model_of(server.url, api=api), request_of())
        assert server.stats()["requests"] == 1
    if api == "responses":
        assert isinstance(got, Response)
    else:
        assert type(got) is errors.ModelMissing
        assert "v1/responses" in got.message and "`api: responses`" in got.message


def test_a_server_without_the_other_api_gives_its_first_refusal() -> None:
    (status, refusal), nothing = ONLY_RESPONSES[0], http(404, {"detail": "Not Found"})
    got, seen, backend = ask_scripted([http(status, refusal), nothing])
    assert type(got) is errors.ModelMissing and "only supported in v1/responses" in got.message
    assert [line.split()[1] for line in seen.lines[:2]] == ["/v1/chat/completions", "/v1/responses"]
    assert backend.notes() == ()


def test_a_model_of_neither_api_is_missing() -> None:
    neither = error("The requested model 'davinci-002' cannot be used with the Responses API.", param="model")
    got, _, _ = ask_scripted([http(*ONLY_RESPONSES[1]), http(400, neither)])
    assert type(got) is errors.ModelMissing and "not a chat model" in got.message


def test_a_fault_of_the_other_api_is_the_faults_own() -> None:
    got, _, _ = ask_scripted([http(*ONLY_RESPONSES[0]), http(429, error("slow down"), "Retry-After: 3")])
    assert isinstance(got, errors.Overloaded) and got.retry_after == 3


def test_refused_parameters_are_learned_there_too() -> None:
    settings = Settings(responses_only=("mock-text",), refuse=("temperature", "top_p"), logprobs_mode="refuse")
    request = request_of(sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=50), logprobs=1)
    with FaultServer(settings) as server:
        first, second = ask(model_of(server.url), request, request)
        assert isinstance(first, Response) and isinstance(second, Response)
        assert first.choices == second.choices
        assert outcomes(server) == {"other_api": 1, "unsupported": 3, "ok": 2}


def test_many_at_once_learn_side_by_side() -> None:
    async def work() -> list[Response]:
        backend = open_backend(model_of(server.url))
        requests = [request_of(f"Item {i}", sampling=Sampling(temperature=1.0)) for i in range(40)]
        got = await asyncio.gather(*[backend.generate(request) for request in requests])
        await backend.close()
        return got

    with FaultServer(Settings(responses_only=("mock-text",), refuse=("temperature",), latency=0.01)) as server:
        assert len({response.choices[0].text for response in asyncio.run(work())}) == 40
        assert outcomes(server)["ok"] == 40


def test_include_names_logprobs_in_a_refusal() -> None:
    refusal = error(
        "Unsupported value: logprobs are not supported with this model.", "unsupported_value", param="include"
    )
    got, seen, backend = ask_scripted(
        [http(400, refusal), http(200, answer_of())], request_of(logprobs=2), api="responses"
    )
    assert isinstance(got, Response)
    assert "include" in seen.bodies[0] and not {"include", "top_logprobs"} & seen.bodies[1].keys()
    assert any("`logprobs`" in note for note in backend.notes())


def test_a_limit_below_the_apis_least_is_told() -> None:
    words = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 5 instead."
    refusal = error(words, "integer_below_min_value", param="max_output_tokens")
    request = request_of(sampling=Sampling(max_tokens=5))
    got, seen, _ = ask_scripted([http(400, refusal)], request, api="responses")
    assert type(got) is errors.BadRequest and "`max_tokens`" in got.message and "16" in got.message
    assert seen.bodies[0]["max_output_tokens"] == 5, "more would break the budget's worst case"


# What is read


def read(body: Any, **changes: Any) -> Response:
    return read_response(body, request_of(**changes))


def test_an_answer_is_read_whole() -> None:
    tokens = [{"token": "Hel", "logprob": -0.1, "top_logprobs": [{"token": "Hel", "logprob": -0.1}]}]
    tokens.append({"token": "lo.", "logprob": -2e9, "top_logprobs": []})
    body = answer_of(reasoning_of("First.", "Then."), message_of("Hello.", logprobs=tokens))
    got = read(body, logprobs=1)
    (choice,) = got.choices
    assert (choice.text, choice.finish_reason, choice.reasoning) == ("Hello.", "stop", "First.\n\nThen.")
    assert choice.logprobs == (TokenLogprob("Hel", -0.1, (("Hel", -0.1),)), TokenLogprob("lo.", -9999.0))
    usage = got.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (
        40,
        25,
        30,
        20,
    )
    assert not usage.estimated and got.model == "served"


def test_reasoning_that_is_shown_whole_goes_before_its_summary() -> None:
    item = {**reasoning_of("short"), "content": [{"type": "reasoning_text", "text": "at length"}]}
    assert read(answer_of(item, message_of("x"))).choices[0].reasoning == "at length"
    assert (
        read(answer_of(reasoning_of(), message_of("<think>in the text</think>x"))).choices[0].reasoning == "in the text"
    )


@pytest.mark.parametrize(
    ("output", "changes", "text", "end"),
    [
        ([message_of("Hel")], cut("max_output_tokens"), "Hel", "length"),
        ([reasoning_of("hm")], cut("max_output_tokens"), "", "length"),
        ([message_of("x")], cut("content_filter"), "x", "content_filter"),
        ([{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}], {}, "No.", "content_filter"),
        ([message_of("a"), message_of("b")], {}, "ab", "stop"),
        ([message_of("aside"), {**message_of("b"), "phase": "final_answer"}], {}, "b", "stop"),
        ([{"type": "message", "content": "plain"}], {}, "plain", "stop"),
        ([{"type": "web_search_call"}, message_of("x")], {}, "x", "stop"),
        ([message_of("")], {}, "", "stop"),
        ([message_of("x")], {"status": None}, "x", "unknown"),
        ([message_of("x")], {"status": "incomplete"}, "x", "unknown"),
    ],
)
def test_the_ends_of_an_answer(output: list[dict[str, Any]], changes: dict[str, Any], text: str, end: str) -> None:
    choice = read(answer_of(*output, **changes)).choices[0]
    assert (choice.text, choice.finish_reason) == (text, end)


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("server_error", "The model had an error", errors.ServerFault),
        ("rate_limit_exceeded", "Slow down", errors.Overloaded),
        ("invalid_prompt", "Your prompt was flagged as potentially violating our usage policy", errors.Filtered),
        ("invalid_prompt", "Invalid prompt", errors.BadRequest),
        ("context_length_exceeded", "Your input exceeds the context window of this model.", errors.ContextTooLong),
        ("something_new", "What?", errors.ServerFault),
    ],
)
def test_a_failed_response_is_the_fault_it_names(code: str, message: str, expected: type[CallFault]) -> None:
    body = answer_of(status="failed", error={"code": code, "message": message}, output=[])
    got, _, _ = ask_scripted([http(200, body)], api="responses")
    assert type(got) is expected and message in got.message
    assert got.usage is not None and got.usage.completion_tokens == 25, "billed as it says"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], errors.BadBody),
        ({"status": "ok", "x": 1}, errors.NoChoices),
        ({"x": 1}, errors.BadBody),
        (answer_of(status="queued", output=[]), errors.BadBody),
        (answer_of(output="text"), errors.BadBody),
        (answer_of(output=[]), errors.NoChoices),
        (answer_of(output=None), errors.NoChoices),
        (answer_of({"type": "function_call", "name": "f"}), errors.NoChoices),
        (answer_of(status="cancelled", output=[]), errors.ServerFault),
    ],
)
def test_what_is_no_answer(body: Any, expected: type[CallFault]) -> None:
    with pytest.raises(expected):
        read(body)


def test_no_output_is_billed_at_its_usage() -> None:
    with pytest.raises(errors.NoChoices) as caught:
        read({**answer_of(), "output": []})
    assert caught.value.usage is not None and caught.value.usage.prompt_tokens == 40


def test_stop_strings_end_the_text_here() -> None:
    tokens = [{"token": token, "logprob": -1} for token in ("One", ". ", "END", " two")]
    body = answer_of(
        message_of("One. END two", logprobs=tokens), status="incomplete", incomplete_details={"reason": "x"}
    )
    request = request_of(sampling=Sampling(stop=("NONE", "END", "two")), logprobs=0)
    got, seen, backend = ask_scripted([http(200, body)], request, api="responses")
    assert isinstance(got, Response) and "stop" not in seen.bodies[0]
    (choice,) = got.choices
    assert (choice.text, choice.finish_reason) == ("One. ", "stop")
    assert choice.logprobs is not None and [token.token for token in choice.logprobs] == ["One", ". "]
    assert any("`stop`" in note for note in backend.notes())


def test_the_worst_case_covers_an_answer_that_uses_its_limit() -> None:
    """`max_output_tokens` bounds reasoning and answer together, as `max_tokens` bounds the budget's lease."""
    price = PriceTable(1000, 8000, None, "recipe")
    request = request_of(sampling=Sampling(max_tokens=25))
    got, seen, _ = ask_scripted([http(200, answer_of())], request, api="responses")
    assert isinstance(got, Response) and seen.bodies[0]["max_output_tokens"] == 25
    bound = upper_bound(price, len("Hi there."), 1, 25, 1)
    paid = cost(price, got.usage)
    assert bound is not None and paid is not None and paid <= bound


# Against the test server, and the SDK


def test_both_apis_give_the_same_answer() -> None:
    sampling = Sampling(temperature=0.0, max_tokens=40)
    for mode in ("text", "json", "reasoning", "long"):
        with FaultServer() as server:
            request = request_of(model=f"mock-{mode}", sampling=sampling, logprobs=2)
            (chat,) = ask(model_of(server.url, model=f"mock-{mode}"), request)
            (other,) = ask(model_of(server.url, model=f"mock-{mode}", api="responses"), request)
        assert isinstance(chat, Response) and chat == other


def test_a_schema_reaches_it() -> None:
    with FaultServer() as server:
        (got,) = ask(model_of(server.url, api="responses"), request_of(response_format=FORM))
        assert isinstance(got, Response) and got.choices[0].text.startswith('{"a":')
        server.configure(format_mode="refuse")
        (got,) = ask(model_of(server.url, api="responses"), request_of(response_format=FORM))
        assert type(got) is errors.BadRequest and "structured: prompt" in got.message


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limit", errors.Overloaded),
        ("server_error", errors.ServerFault),
        ("truncated", errors.BadBody),
        ("garbage", errors.BadBody),
        ("empty_choices", errors.NoChoices),
        ("missing_choices", errors.NoChoices),
    ],
)
def test_the_servers_faults_have_their_classes(kind: str, expected: type[CallFault]) -> None:
    with FaultServer(Settings(faults={kind: 1.0})) as server:
        (got,) = ask(model_of(server.url, api="responses"), request_of())
    assert type(got) is expected


def test_the_sdk_reads_the_same_answer() -> None:
    import openai

    with FaultServer() as server:
        (ours,) = ask(model_of(server.url, model="mock-reasoning", api="responses"), request_of(model="mock-reasoning"))
        with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            theirs = client.responses.create(
                model="mock-reasoning",
                input=[{"role": "user", "content": "Hi there."}],
                max_output_tokens=200,
                store=False,
            )
    assert isinstance(ours, Response) and theirs.usage is not None
    assert ours.choices[0].text == theirs.output_text
    assert ours.usage.reasoning_tokens == theirs.usage.output_tokens_details.reasoning_tokens
    assert ours.usage.completion_tokens == theirs.usage.output_tokens
