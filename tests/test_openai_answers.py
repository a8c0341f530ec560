"""What an answer is made of besides its text: log-probabilities, inline reasoning, JSON forms."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import orjson
import pytest
from chat_helpers import OK_BODY, ask, ask_scripted, clean_environment, error, http, model_of, request_of, scripted  # noqa: F401
from fault_server import FaultServer, Settings
from hypothesis import given
from hypothesis import strategies as st

from factory import errors
from factory.backends import answers
from factory.backends.openai import open_backend
from factory.backends.thoughts import split_thought
from factory.backends.token_logprobs import FLOOR, read_logprobs
from factory.errors import CallFault
from factory.journal.rows import pack, unpack
from factory.types import Response, Sampling, TokenLogprob

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "main", "schema": SCHEMA, "strict": True}}


def body_of(text: Any, reason: str = "stop", **choice: Any) -> dict[str, Any]:
    made = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason, **choice}
    return {**OK_BODY, "choices": [made]}


def tokens_of(*tokens: str, value: float = -0.5) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": value, "top_logprobs": []} for token in tokens]}


# Log-probabilities


@pytest.mark.parametrize(
    ("asked", "sent"), [(None, {}), (0, {"logprobs": True}), (3, {"logprobs": True, "top_logprobs": 3})]
)
def test_logprobs_are_asked_for(asked: int | None, sent: dict[str, Any]) -> None:
    _, seen, _ = ask_scripted([http(200, OK_BODY)], request_of(logprobs=asked))
    assert {name: value for name, value in seen.bodies[0].items() if "logprobs" in name} == sent


def test_a_server_that_gives_logprobs() -> None:
    with FaultServer() as server:
        plain, with_them = ask(model_of(server.url), request_of(), request_of(logprobs=2))
    assert isinstance(plain, Response) and isinstance(with_them, Response)
    choice = with_them.choices[0]
    assert plain.choices[0].logprobs is None and plain.choices[0].text == choice.text
    assert choice.logprobs is not None
    assert "".join(token.token for token in choice.logprobs) == choice.text
    assert all(len(token.top) == 2 and token.top[0] == (token.token, token.logprob) for token in choice.logprobs)


@pytest.mark.parametrize("mode", ["ignore", "refuse"])
def test_a_server_that_gives_no_logprobs_says_so_once_and_answers(mode: str) -> None:
    async def work() -> None:
        backend = open_backend(model_of(server.url))
        for _ in range(2):
            response = await backend.generate(request_of(logprobs=2))
            assert response.choices[0].text and response.choices[0].logprobs is None
        assert len(backend.notes()) == 1 and "`logprobs`" in backend.notes()[0]
        await backend.close()

    with FaultServer(Settings(logprobs_mode=mode)) as server:
        asyncio.run(work())
        assert server.stats()["requests"] == (3 if mode == "refuse" else 2)


@pytest.mark.parametrize(
    "refusal",
    [
        http(403, error("You are not allowed to request logprobs from this model")),
        http(400, error("logprobs is not supported with this model", "unsupported_parameter", param="logprobs")),
        http(400, error("Unrecognized request arguments supplied: logprobs, top_logprobs")),
        http(422, {"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"}]}),
    ],
)
def test_refused_logprobs_are_left_out_both(refusal: bytes) -> None:
    got, seen, backend = ask_scripted([refusal, http(200, OK_BODY)], request_of(logprobs=2))
    assert isinstance(got, Response)
    assert "top_logprobs" in seen.bodies[0] and not {"logprobs", "top_logprobs"} & seen.bodies[1].keys()
    assert len(backend.notes()) == 1


def test_too_many_alternatives_are_a_refusal_that_says_so() -> None:
    got, seen, _ = ask_scripted([http(400, error("top_logprobs must be at most 5"))], request_of(logprobs=20))
    assert type(got) is errors.BadRequest and "at most 5" in got.message and len(seen.bodies) == 1


@pytest.mark.parametrize("written", ["-Infinity", "-9999.0", "-1e400", "-123456"])
def test_minus_infinity_survives_the_journal(written: str) -> None:
    raw = orjson.dumps(body_of("x", logprobs=tokens_of("x", value=-0.25)))
    raw = raw.replace(b'"logprob":-0.25', f'"logprob":{written}'.encode())
    got, _, _ = ask_scripted([http(200, raw)], request_of(logprobs=1))
    assert isinstance(got, Response)
    assert got.choices[0].logprobs == (TokenLogprob("x", FLOOR),)
    stored = unpack(pack([[token.token, token.logprob] for token in got.choices[0].logprobs or ()]))
    assert stored == [["x", FLOOR]]


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        [],
        5,
        "x",
        {"content": None},
        {"content": []},
        {"content": [None]},
        {"content": [{"token": "x"}]},
        {"content": [{"token": None, "logprob": -1}]},
        {"content": [{"token": "x", "logprob": "nan"}]},
        {"content": [{"token": "x", "logprob": math.nan}]},
        {"content": [{"token": "x", "logprob": True}]},
        {"tokens": ["a"], "token_logprobs": []},
        {"tokens": ["a"], "token_logprobs": [None]},
        {"tokens": "a", "token_logprobs": "b"},
    ],
)
def test_logprobs_that_cannot_be_read_are_none(found: Any) -> None:
    assert read_logprobs(found) is None
    got = answers.read_answer(body_of("x", logprobs=found), request_of(logprobs=1))
    assert got.choices[0].text == "x" and got.choices[0].logprobs is None


def test_other_shapes_of_logprobs() -> None:
    columns = {"tokens": ["a", "b"], "token_logprobs": [-1, -2.5], "top_logprobs": [{"a": -1, "c": -3}, None]}
    assert read_logprobs(columns) == (TokenLogprob("a", -1.0, (("a", -1.0), ("c", -3.0))), TokenLogprob("b", -2.5))
    strange = {"token": "a", "logprob": 0.001, "top_logprobs": [None, {"token": 5}, {"token": "b", "logprob": -1}]}
    assert read_logprobs([strange]) == (TokenLogprob("a", 0.0, (("b", -1.0),)),)
    assert read_logprobs({"content": [{"token": "a", "logprob": -(10**400)}]}) == (TokenLogprob("a", FLOOR),)


def test_logprobs_nobody_asked_for_are_not_kept() -> None:
    got = answers.read_answer(body_of("x", logprobs=tokens_of("x")), request_of())
    assert got.choices[0].logprobs is None


def test_logprobs_are_those_of_the_answer_not_of_its_reasoning() -> None:
    body = body_of(
        "<think>a b</think>\n\nYes, a b.", logprobs=tokens_of("<think>", "a b", "</think>", "\n\n", "Yes", ", a b.")
    )
    choice = answers.read_answer(body, request_of(logprobs=0)).choices[0]
    assert (choice.text, choice.reasoning) == ("Yes, a b.", "a b")
    assert choice.logprobs is not None and [token.token for token in choice.logprobs] == ["Yes", ", a b."]
    told_apart = body_of(None, logprobs=tokens_of("hm", ".", "Ye", "s"))
    told_apart["choices"][0]["message"] = {"content": "Yes", "reasoning_content": "hm."}
    choice = answers.read_answer(told_apart, request_of(logprobs=0)).choices[0]
    assert choice.logprobs is not None and [token.token for token in choice.logprobs] == ["Ye", "s"]


# Reasoning in the text


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>why</think>Because.", "Because.", "why"),
        ("\n<think>\nwhy\n</think>\n\nBecause.\n", "Because.\n", "why"),
        ("<think>\n\n</think>\n\nBecause.", "Because.", None),
        ("<think>\n\n</think>\n\n", "", None),
        ("[THINK]why[/THINK]Because.", "Because.", "why"),
        ("<seed:think>why</seed:think>Because.", "Because.", "why"),
        ("◁think▷why◁/think▷Because.", "Because.", "why"),
        ("<think>why, and on", "", "why, and on"),
        ("<think>a</think>b <think>c</think>", "b <think>c</think>", "a"),
        # Only the closing tag: the template opened it.
        ("Okay, so.\n</think>\n\nBecause.", "Because.", "Okay, so."),
        ("Okay.</think>\n\nBecause.", "Because.", "Okay."),
        ("</think>\nBecause.", "Because.", None),
        ("Okay.\n</think>", "", "Okay."),
        # gpt-oss
        (
            "<|channel|>analysis<|message|>why<|end|><|start|>assistant<|channel|>final<|message|>Because.<|return|>",
            "Because.",
            "why",
        ),
        ("<|start|>assistant<|channel|>final<|message|>Because.", "Because.", None),
        ("<|channel|>analysis<|message|>why, and on", "", "why, and on"),
        ("analysisWe must say so.assistantfinalBecause.", "Because.", "We must say so."),
        # An answer that talks about tags
        ("The tag <think> opens, </think> closes.", "The tag <think> opens, </think> closes.", None),
        ("Write `</think>` at the end.\n\nThat is all.", "Write `</think>` at the end.\n\nThat is all.", None),
        ("Close with </think> and go on.", "Close with </think> and go on.", None),
        ("Say:\n```\nfoo\n</think>\n```\n", "Say:\n```\nfoo\n</think>\n```\n", None),
        ("a\n</think>\nb\n</think>\nc", "a\n</think>\nb\n</think>\nc", None),
        ("<thinking>out loud</thinking>", "<thinking>out loud</thinking>", None),
        ("[1, 2]", "[1, 2]", None),
        ("<p>Hi</p>", "<p>Hi</p>", None),
        ("analysis of a poem", "analysis of a poem", None),
        ("  plain ", "  plain ", None),
        ("", "", None),
    ],
)
def test_inline_reasoning_is_kept_apart(text: str, answer: str, thought: str | None) -> None:
    assert split_thought(text) == (answer, thought)


@pytest.mark.parametrize("reason", ["length", "stop"])
def test_reasoning_that_never_ends_leaves_no_text(reason: str) -> None:
    choice = answers.read_answer(body_of("<think>and then", reason), request_of()).choices[0]
    assert (choice.text, choice.finish_reason, choice.reasoning) == ("", reason, "and then")


def test_reasoning_that_the_server_told_apart_goes_first() -> None:
    body = body_of("<think>inline</think>Yes")
    body["choices"][0]["message"]["reasoning"] = "apart"
    choice = answers.read_answer(body, request_of()).choices[0]
    assert (choice.text, choice.reasoning) == ("Yes", "apart")


@given(st.text(), st.text(alphabet="abc \n"))
def test_a_tagged_thought_is_always_split(answer: str, thought: str) -> None:
    got = split_thought(f"<think>{thought}</think>{answer}")
    assert got == (answer.lstrip(), thought.strip() or None)


@given(
    st.text().filter(lambda text: "</think>" not in text and not text.lstrip().startswith(("<", "[", "◁", "analysis")))
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert split_thought(text) == (text, None)


# JSON forms


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('\n```\n{"a": 1}```\n', '{"a": 1}'),
        ("```JSON\n[1]\n```", "[1]"),
        ('```json\n{"a": 1', '{"a": 1'),
        ('<think>x</think>```json\n{"a": 1}\n```', '{"a": 1}'),
        ({"a": 1}, '{"a": 1}'),
        ({"type": "text", "text": "{}"}, "{}"),
        ([{"type": "text", "text": '{"a": 1}'}], '{"a": 1}'),
        ("```python\nprint({})\n```", "```python\nprint({})\n```"),
        ('```json\n{"a": 1}\n```\nand\n```json\n{}\n```', '```json\n{"a": 1}\n```\nand\n```json\n{}\n```'),
        ("```\nprose\n```", "```\nprose\n```"),
    ],
)
def test_json_is_read_however_it_comes(content: Any, text: str) -> None:
    got = answers.read_answer(body_of(content), request_of(response_format={"type": "json_object"}))
    assert got.choices[0].text == text


def test_a_fence_stays_where_no_json_was_asked_for() -> None:
    got = answers.read_answer(body_of('```json\n{"a": 1}\n```'), request_of())
    assert got.choices[0].text.startswith("```json")


def test_an_object_that_the_server_parsed_stands_for_the_text() -> None:
    body = body_of(None)
    body["choices"][0]["message"]["parsed"] = {"a": 1}
    assert answers.read_answer(body, request_of(response_format=FORM)).choices[0].text == '{"a": 1}'


def test_a_form_is_sent_as_it_stands() -> None:
    _, seen, _ = ask_scripted([http(200, OK_BODY)], request_of(response_format=FORM))
    assert seen.bodies[0]["response_format"] == FORM


REFUSED_FORMS = [
    (400, error("Unsupported parameter: 'response_format' is not supported with this model.", param="response_format")),
    (400, error("This response_format type is unavailable now")),
    (400, error("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.")),
    (400, error("Invalid schema for response_format 'main': 'minLength' is not permitted.", param="response_format")),
    (400, error("guided decoding is not supported on this platform")),
    (400, {"object": "error", "message": "The provided JSON schema contains features not supported by xgrammar."}),
    (400, error("JSON schema conversion failed:\nUnrecognized schema: {}")),
    (422, {"detail": [{"loc": ["body", "response_format", "type"], "msg": "Input should be 'text'"}]}),
    (501, {"error": "structured outputs are not implemented"}),
    (500, error("Failed to initialize samplers: failed to parse grammar")),
]


@pytest.mark.parametrize(("status", "body"), REFUSED_FORMS)
def test_a_refused_form_is_permanent_and_says_what_to_do(status: int, body: Any) -> None:
    got, seen, backend = ask_scripted([http(status, body)], request_of(response_format=FORM))
    assert type(got) is errors.BadRequest and got.status == status
    assert "`structured: json_object` or `structured: prompt`" in got.message
    assert len(seen.bodies) == 1 and backend.notes() == (), "it is part of what was asked: never left out"
    got, _, _ = ask_scripted([http(status, body)], request_of(response_format={"type": "json_object"}))
    assert isinstance(got, CallFault) and "set `structured: prompt`" in got.message
    plain, _, _ = ask_scripted([http(status, body)])
    assert isinstance(plain, CallFault) and "structured" not in plain.message.replace("structured outputs", "")


def test_a_long_refusal_of_a_form_keeps_its_advice() -> None:
    refusal = error("Invalid schema for response_format: " + "x" * 5000)
    got, _, _ = ask_scripted([http(400, refusal)], request_of(response_format=FORM))
    assert "structured: prompt" in got.message[:400] if isinstance(got, CallFault) else False


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_in_trouble_does_not_refuse_the_form(status: int) -> None:
    got, _, _ = ask_scripted([http(status, error("The server had an error"))], request_of(response_format=FORM))
    assert type(got) is errors.ServerFault


@pytest.mark.parametrize(
    ("mode", "schema", "plain"), [("honour", True, True), ("object_only", False, True), ("refuse", False, False)]
)
def test_forms_on_the_test_server(mode: str, schema: bool, plain: bool) -> None:
    with FaultServer(Settings(format_mode=mode)) as server:
        got = ask(
            model_of(server.url),
            request_of(response_format=FORM),
            request_of(response_format={"type": "json_object"}),
        )
    for answer, good in zip(got, (schema, plain), strict=True):
        if good:
            assert isinstance(answer, Response) and isinstance(json.loads(answer.choices[0].text), dict)
        else:
            assert type(answer) is errors.BadRequest
    with FaultServer(Settings(format_mode="ignore")) as server:
        (ignored,) = ask(model_of(server.url), request_of(response_format=FORM))
    assert isinstance(ignored, Response) and not ignored.choices[0].text.startswith("{")


# Limits


def test_another_limit_never_lifts_max_tokens() -> None:
    for extra, sent in ((5000, 50), (20, 20)):
        request = request_of(sampling=Sampling(max_tokens=50, extra={"max_completion_tokens": extra}))
        _, seen, _ = ask_scripted([http(200, OK_BODY)], request)
        assert seen.bodies[0]["max_completion_tokens"] == sent and "max_tokens" not in seen.bodies[0]
    alone = request_of(sampling=Sampling(extra={"max_completion_tokens": 70}))
    _, seen, _ = ask_scripted([http(200, OK_BODY)], alone)
    assert seen.bodies[0]["max_completion_tokens"] == 70
