"""`embedded/tiny` as a judge of given text: log-probabilities against transformers, and the same in any company."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_models import MODEL, WIDE

from factory.backends import tasks_of
from factory.backends.embedded import MODELS, Chat, EmbeddedBackend
from factory.backends.embedded.batching import Batch, Engine, Task
from factory.backends.embedded.llama import Llama
from factory.errors import BadRequest, ConnectionFailed, ContextTooLong
from factory.types import Message, Request, Response, Sampling

TINY = MODELS["tiny"]
ASKED = Message("user", "Write a word problem about apples.")
ANSWER = "Mia has 3 apples and buys 4 more. She has 3 + 4 = 7 apples. Answer: 7"


def ask(*messages: Message, task: Any = "likelihood", **changes: Any) -> Request:
    fields = {"seed": 1, "n": 1} | changes
    return Request(
        "embedded/tiny", "tiny", messages, Sampling(1.0, None, 30), fields["n"], fields["seed"], 0, "main", "score", 0,
        task=task,
    )  # fmt: skip


def answer(text: str) -> Message:
    return Message("assistant", text)


def generate(*requests: Request, slots: int = 64) -> list[Any]:
    """Responses (or faults) to requests asked at the same time."""

    async def run() -> list[Any]:
        backend = EmbeddedBackend(TINY, slots=slots)
        try:
            return await asyncio.gather(*(backend.generate(one) for one in requests), return_exceptions=True)
        finally:
            await backend.close()

    return asyncio.run(run())


def values(response: Response) -> list[float]:
    [choice] = response.choices
    assert choice.logprobs is not None
    return [one.logprob for one in choice.logprobs]


# --- against transformers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs() -> Any:
    torch = pytest.importorskip("torch", reason="transformers is the oracle")
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    model = transformers.LlamaForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(TINY)

    def expect(messages: list[dict[str, str]], text: str) -> tuple[list[str], list[float]]:
        prompt = [1]
        if messages:
            prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        written = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + written])
        with torch.no_grad():
            model(ids)  # on a busy machine torch's first pass can be off by 1e-3
            logs = torch.log_softmax(model(ids).logits[0].double(), dim=-1)
        found = [float(logs[len(prompt) + k - 1, token]) for k, token in enumerate(written)]
        return [tokenizer.decode([token]) for token in written], found

    return expect


@pytest.mark.parametrize("text", [ANSWER, "7", "Ünïcode €5 我喜欢茶", " leading\n\nand trailing ", "a b " * 150])
def test_log_probabilities_are_those_of_transformers(theirs: Any, text: str) -> None:
    given, alone = generate(ask(ASKED, answer(text)), ask(answer(text)))
    for response, messages in ((given, [{"role": "user", "content": ASKED.content}]), (alone, [])):
        tokens, expected = theirs(messages, text)
        [choice] = response.choices
        assert [one.token for one in choice.logprobs] == tokens
        np.testing.assert_allclose(values(response), expected, rtol=0, atol=1e-4)
        assert choice.text == text and choice.finish_reason == "stop"
        assert response.usage.completion_tokens == 0 and response.usage.prompt_tokens > len(tokens)


def test_the_prompt_makes_its_own_answer_likelier() -> None:
    [written] = generate(ask(ASKED, task="generate", seed=5))
    text = written.choices[0].text
    given, other, alone = generate(
        ask(ASKED, answer(text)), ask(Message("user", "List three rivers."), answer(text)), ask(answer(text))
    )
    means = [float(np.mean(values(one))) for one in (given, other, alone)]
    assert means[0] > means[1] and means[0] > means[2]


# --- alone and in company ---------------------------------------------------------------------------------------------


def test_a_text_says_the_same_alone_and_in_company() -> None:
    texts = [ANSWER[:length] for length in range(1, len(ANSWER) + 1, 7)]
    alone = [generate(ask(ASKED, answer(text)))[0] for text in texts]
    writing = [ask(ASKED, task="generate", seed=seed, n=5) for seed in range(6)]
    measured = [ask(ASKED, answer(text)) for text in texts]
    mixed: list[Request] = [one for pair in zip(writing, measured, strict=False) for one in pair]
    mixed += measured[len(writing) :]
    found = dict(zip((id(one) for one in mixed), generate(*mixed, slots=8), strict=True))
    assert [found[id(one)] for one in measured] == alone
    assert [found[id(one)] for one in writing] == generate(*writing)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_measuring_between_steps_changes_no_bit(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from([MODEL, WIDE]))
    tokens = data.draw(st.lists(st.integers(3, 900), min_size=2, max_size=200))
    first = data.draw(st.integers(1, len(tokens) - 1))
    batch = Batch(model, str, slots=3)
    expected = batch.measure(tokens, first)
    assert len(expected) == len(tokens) - first
    whole = model.forward(np.array(tokens, np.int64)).astype(np.float64)
    plain = (
        whole - np.log(np.exp(whole - whole.max(1, keepdims=True)).sum(1, keepdims=True)) - whole.max(1, keepdims=True)
    )
    np.testing.assert_allclose(expected, [plain[k - 1, tokens[k]] for k in range(first, len(tokens))], atol=1e-4)
    whole_text = batch.measure(tokens, 1)
    assert whole_text[first - 1 :] == expected, "where the answer begins changes nothing"

    engine = Engine(model, str, slots=3)
    try:
        writing = [engine.submit(Task((5, 6, 7), (seed,), max_tokens=12)) for seed in range(4)]
        measured = [engine.measure(tuple(tokens), first) for _ in range(3)]
        assert {one.result() for one in measured} == {expected}
        texts = [one.result() for one in writing]
    finally:
        engine.close()
    alone = Engine(model, str, slots=1)
    try:
        assert texts == [alone.submit(Task((5, 6, 7), (seed,), max_tokens=12)).result() for seed in range(4)]
    finally:
        alone.close()


# --- the thread -------------------------------------------------------------------------------------------------------


def test_the_event_loop_goes_on_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model waits for the loop here: were it the loop's thread that reads, neither would come on."""
    loop_runs, usual = threading.Event(), Llama.expect

    def wait_first(self: Llama, *given: Any) -> Any:
        assert loop_runs.wait(60), "the event loop stood still"
        return usual(self, *given)

    monkeypatch.setattr(Llama, "expect", wait_first)

    async def run() -> Response:
        backend = EmbeddedBackend(TINY)
        try:
            asked = asyncio.ensure_future(backend.generate(ask(ASKED, answer(ANSWER))))
            asyncio.get_running_loop().call_later(0.01, loop_runs.set)
            return await asked
        finally:
            await backend.close()

    assert asyncio.run(run()).choices[0].logprobs


def test_closing_tells_who_waits_and_cancelling_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()
    usual = Batch.measure

    def hold(self: Batch, *given: Any) -> Any:
        reached.set()
        assert go_on.wait(60)
        return usual(self, *given)

    monkeypatch.setattr(Batch, "measure", hold)

    async def run() -> list[Any]:
        backend = EmbeddedBackend(TINY)
        asked = [asyncio.ensure_future(backend.generate(ask(ASKED, answer(ANSWER[:k])))) for k in (5, 6, 7)]
        await asyncio.to_thread(reached.wait, 60)
        asked[1].cancel()
        closing = asyncio.ensure_future(backend.close())
        await asyncio.sleep(0)
        while backend._engine._fault is None:
            await asyncio.sleep(0)
        go_on.set()
        await closing
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert isinstance(first, Response), "what was under way is told"
    assert isinstance(second, asyncio.CancelledError) and isinstance(third, ConnectionFailed)


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_what_has_no_likelihood_is_refused() -> None:
    backend_tasks = tasks_of(EmbeddedBackend(TINY))
    assert backend_tasks == {"generate", "likelihood"}
    requests = [
        ask(),
        ask(ASKED),
        ask(ASKED, answer("")),
        ask(ASKED, answer("x " * 600)),
        ask(answer("12345 " * 200_000)),
    ]
    nothing, no_answer, empty, long, huge = generate(*requests)
    assert all(isinstance(one, BadRequest) for one in (nothing, no_answer, empty))
    assert "must be the assistant's" in str(no_answer) and "empty" in str(empty)
    assert isinstance(long, ContextTooLong) and "512 tokens" in str(long)
    assert isinstance(huge, ContextTooLong)
    assert Chat(TINY).begin == [1]


def test_without_a_first_token_the_first_of_an_answer_alone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chat, "begin", property(lambda self: []))
    whole, one = generate(ask(answer("one two")), ask(answer("7")))
    tokens = Chat(TINY).encode_answer("one two")
    assert len(values(whole)) == len(tokens) - 1
    assert isinstance(one, BadRequest) and "one token" in str(one)
