"""Whatever a server sends, reading it ends in an answer or in a classified fault: nothing else, and never for ever."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from chat_helpers import ask_scripted, clean_environment, http, request_of  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from test_openai_answers import FORM

from factory.backends import answers
from factory.backends.dialect import Dialect
from factory.backends.responses import read_response
from factory.backends.token_logprobs import FLOOR
from factory.errors import CallFault
from factory.types import Response, Sampling

DEEP = json.loads("[" * 400 + "]" * 400)
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(DEEP)
TEXTS = st.sampled_from(
    ["", "<think>", "</think>", "<|channel|>", "analysis", "```json\n{", "{", "\n", " ", "final", "x"]
)
JSON = st.recursive(
    LEAF | st.lists(TEXTS, max_size=6).map("".join),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "content",
                    "text",
                    "type",
                    "token",
                    "logprob",
                    "top_logprobs",
                    "tokens",
                    "token_logprobs",
                    "thinking",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def loose(**fields: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={name: kind | JSON for name, kind in fields.items()})


MESSAGE = loose(content=JSON, refusal=JSON, reasoning_content=JSON, reasoning=JSON, parsed=JSON)
CHOICE = loose(
    index=JSON, message=MESSAGE, finish_reason=st.sampled_from(["stop", "length"]), logprobs=JSON, error=JSON
)
USAGE = loose(prompt_tokens=JSON, completion_tokens=JSON, total_tokens=JSON, prompt_tokens_details=JSON)
CHAT = loose(id=JSON, model=JSON, usage=USAGE, choices=st.lists(CHOICE, max_size=3), error=JSON)
REQUEST = request_of(n=2, logprobs=2, response_format=FORM)


def check_answer(got: Response, most: int) -> None:
    assert 1 <= len(got.choices) <= most
    for choice in got.choices:
        assert isinstance(choice.text, str) and isinstance(choice.finish_reason, str)
        assert choice.reasoning is None or isinstance(choice.reasoning, str)
        for token in choice.logprobs or ():
            assert FLOOR <= token.logprob <= 0 and all(FLOOR <= value <= 0 for _, value in token.top)
    usage = got.usage
    assert 0 <= usage.reasoning_tokens <= usage.completion_tokens < 1 << 62
    assert 0 <= usage.cached_tokens <= usage.prompt_tokens < 1 << 62


@given(CHAT | JSON)
def test_any_chat_answer_is_read_or_classified(body: Any) -> None:
    try:
        got = answers.read_answer(body, REQUEST)
    except CallFault:
        return
    check_answer(got, 2)


@given(CHAT | JSON, st.sampled_from([200, 400, 403, 404, 422, 429, 500, 501, 503]), st.text(max_size=30))
def test_any_bytes_on_the_wire_end_in_an_answer_or_a_fault(body: Any, status: int, late: str) -> None:
    """The whole way: decoding, switching, adapting, reading; a refusal is never followed for ever."""
    raw = json.dumps(body).encode()
    sent: list[str] = []

    async def post(path: str, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        sent.append(path)
        assert len(sent) < 20
        return status, {"Retry-After": late, "Date": late}, raw

    request = replace(REQUEST, sampling=Sampling(temperature=1.0, top_p=0.5, max_tokens=5, stop=("x",)))
    for api in ("auto", "chat", "responses"):
        sent.clear()
        try:
            check_answer(asyncio.run(Dialect(api).ask(request, post)), 2)  # type: ignore[arg-type]
        except CallFault as fault:
            assert isinstance(fault.message, str)


def test_nesting_beyond_reading_is_a_fault() -> None:
    deep = "[" * 1000 + "]" * 1000
    for raw in (
        f'{{"choices": [{{"message": {{"content": {{"a": {deep}}}}}}}]}}',
        f'{{"choices": [{{"message": {{"content": [{{"thinking": {deep}}}]}}}}]}}',
        f'{{"error": {deep}}}',
        f'{{"detail": [{deep}]}}',
        "[" * 100_000,
    ):
        for status in (200, 400):
            got, _, _ = ask_scripted([http(status, raw.encode())])
            assert isinstance(got, (CallFault, Response))


PART = loose(type=JSON, text=JSON, refusal=JSON, logprobs=JSON)
ITEM = loose(
    type=st.sampled_from(["message", "reasoning"]),
    content=st.lists(PART, max_size=3),
    summary=st.lists(PART, max_size=2),
    phase=st.sampled_from(["final_answer", "commentary"]),
)
BODY = loose(
    status=st.sampled_from(["completed", "incomplete", "failed", "queued", "cancelled"]),
    output=st.lists(ITEM, max_size=3),
    error=loose(code=JSON, message=JSON),
    incomplete_details=loose(reason=JSON),
    usage=loose(input_tokens=JSON, output_tokens=JSON, total_tokens=JSON, input_tokens_details=JSON),
    model=JSON,
)


@given(BODY | JSON)
def test_any_response_is_read_or_classified(body: Any) -> None:
    try:
        got = read_response(body, request_of(logprobs=2, response_format=FORM))
    except CallFault as fault:
        assert isinstance(fault.message, str)
        return
    check_answer(got, 1)
