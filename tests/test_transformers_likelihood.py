"""Likelihoods of given texts by the transformers backend, against the library's own forward pass."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the transformers backend needs torch")
transformers = pytest.importorskip("transformers", reason="the transformers backend needs transformers")

from support import parquet_hashes, write_recipe  # noqa: E402
from transformers_models import FAMILIES, RECURRENT, VOCAB, make_model, make_prompt, save_checkpoint  # noqa: E402

import factory  # noqa: E402
from factory.backends import tasks_of  # noqa: E402
from factory.backends.embedded import MODELS, EmbeddedBackend  # noqa: E402
from factory.backends.gpu_time import ShareMeter  # noqa: E402
from factory.backends.transformers import TransformersBackend, likelihood  # noqa: E402
from factory.backends.transformers.likelihood import Likelihoods, Reading  # noqa: E402
from factory.backends.transformers.network import Network  # noqa: E402
from factory.backends.transformers.options import EngineOptions  # noqa: E402
from factory.backends.transformers.passes import Measurement, Passes, PassLimits  # noqa: E402
from factory.errors import BadRequest, CallFault, ConnectionFailed, ContextTooLong, Permanent  # noqa: E402
from factory.types import Choice, Message, Request, Response, Sampling, Usage  # noqa: E402

ASKED = Message("user", "hello")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def measure(*messages: Message) -> Request:
    return Request("m", "m", messages, Sampling(), 1, 7, 0, "s", "score", 0, task="likelihood")


def write(text: str = "hello", n: int = 1) -> Request:
    return Request("m", "m", (Message("user", text),), Sampling(1.0, None, 24), n, 7, 0, "s", "generate", 0)


def answer(text: str) -> Message:
    return Message("assistant", text)


def generate(checkpoint: Path | str, *requests: Request, **options: Any) -> list[Any]:
    """The answers, or what was raised, all asked at once."""

    async def run() -> list[Any]:
        backend = TransformersBackend(str(checkpoint), EngineOptions(**options))
        try:
            return await asyncio.gather(*map(backend.generate, requests), return_exceptions=True)
        finally:
            await backend.close()

    return asyncio.run(run())


def values(response: Any) -> list[float]:
    assert isinstance(response, Response), response
    return [one.logprob for one in response.choices[0].logprobs or ()]


def expected(model: Any, tokens: Sequence[int], first: int) -> list[float]:
    """By one forward pass over this text alone."""
    with torch.inference_mode():
        logs = torch.log_softmax(model(input_ids=torch.tensor([list(tokens)])).logits[0].double(), dim=-1)
    return [float(logs[place - 1, tokens[place]]) for place in range(first, len(tokens))]


def readings(seed: int, count: int) -> list[Reading]:
    draw = random.Random(seed)
    made = []
    for number in range(count):
        tokens = make_prompt(100 * seed + number, draw.randrange(2, 100))
        made.append(Reading(tokens, draw.randrange(1, len(tokens))))
    return made


# --- the values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", [10**6, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_texts_read_together_and_in_parts_say_what_each_says_alone(
    family: str, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(family)
    tell = Likelihoods(Network(model), "m", batched=True)
    monkeypatch.setattr(tell, "_positions", positions)
    texts = readings(1, 6)
    with torch.inference_mode():
        found = tell(texts)
    for text, told in zip(texts, found, strict=True):
        np.testing.assert_allclose(told, expected(model, text.tokens, text.first), rtol=0, atol=2e-4)


@pytest.mark.parametrize("family", RECURRENT)
def test_recurrent_models_read_texts_whole_and_alone(family: str) -> None:
    model = make_model(family)
    texts = readings(2, 3)
    with torch.inference_mode():
        found = Likelihoods(Network(model), "m", batched=False)(texts)
    for text, told in zip(texts, found, strict=True):
        np.testing.assert_allclose(told, expected(model, text.tokens, text.first), rtol=0, atol=2e-4)


def test_a_prompt_far_longer_than_a_part_is_read_without_its_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "_LEAST", 1)
    model = make_model("llama")
    network = Network(model)
    tell = Likelihoods(network, "m", batched=True)
    monkeypatch.setattr(tell, "_positions", 4)
    kept: list[bool] = []
    usual = network.feed

    def feed(*given: Any, keep: bool) -> Any:
        kept.append(keep)
        return usual(*given, keep=keep)

    monkeypatch.setattr(network, "feed", feed)
    text = Reading(make_prompt(3, 120), 110)
    with torch.inference_mode():
        [told] = tell([text])
    np.testing.assert_allclose(told, expected(model, text.tokens, 110), rtol=0, atol=2e-4)
    assert kept == [False, False, True, True, True], "64 and 45 positions skipped, then 4, 4 and 2 looked at"


def test_the_backend_measures_the_answers_own_tokens(checkpoint: Path) -> None:
    model = make_model("llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    given, alone, several = generate(
        checkpoint, measure(ASKED, answer("score: 10!")), measure(answer("score: 10!")),
        measure(Message("system", "s"), ASKED, answer("a"), Message("user", "b"), answer(" x ")),
    )  # fmt: skip
    chat = [{"role": "user", "content": "hello"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    text = tokenizer("score: 10!", add_special_tokens=False)["input_ids"]
    np.testing.assert_allclose(values(given), expected(model, prompt + text, len(prompt)), atol=2e-4)
    np.testing.assert_allclose(values(alone), expected(model, [1, *text], 1), atol=2e-4)
    [choice] = given.choices
    assert "".join(one.token for one in choice.logprobs) == choice.text == "score: 10!"
    assert given.usage == Usage(len(prompt) + len(text), 0)
    assert [one.token for one in several.choices[0].logprobs] == [" ", "x", " "]


def test_embedded_and_transformers_agree_on_the_packaged_checkpoint() -> None:
    requests = [
        measure(Message("user", "Write a word problem."), answer("Mia has 3 + 4 = 7 apples. Answer: 7")),
        measure(answer("我喜欢 tea €5")),
    ]

    async def embedded() -> list[Response]:
        backend = EmbeddedBackend(MODELS["tiny"])
        try:
            return await asyncio.gather(*map(backend.generate, requests))
        finally:
            await backend.close()

    ours = asyncio.run(embedded())
    theirs = generate(MODELS["tiny"], *requests)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(values(mine), values(other), atol=2e-4)
        assert [one.token for one in mine.choices[0].logprobs or ()] == [one.token for one in other.choices[0].logprobs]
        assert mine.usage == other.usage


def test_a_written_answer_is_as_likely_as_it_was_when_it_was_written(checkpoint: Path) -> None:
    request = Request("m", "m", (ASKED,), Sampling(1.0, None, 24), 16, 7, 0, "s", "generate", 0, logprobs=0)
    [written] = generate(checkpoint, request)
    # This model also draws special tokens, which no text shows.
    texts = [choice for choice in written.choices if choice.text and len(choice.text) == len(choice.logprobs)]
    found = generate(checkpoint, *(measure(ASKED, answer(choice.text)) for choice in texts))
    assert texts
    for choice, told in zip(texts, found, strict=True):
        np.testing.assert_allclose(values(told), [one.logprob for one in choice.logprobs], atol=2e-4)


# --- in company -------------------------------------------------------------------------------------------------------


def test_writing_and_measuring_at_once_disturb_neither(checkpoint: Path) -> None:
    texts = ["a", "bcd" * 9, "the cat", "!" * 60, "one two three"]
    measured = [measure(ASKED, answer(text)) for text in texts]
    writing = [write(text, n=3) for text in texts]
    mixed = [one for pair in zip(measured, writing, strict=True) for one in pair]
    together = generate(checkpoint, *mixed, batch_size=4)
    alone = [generate(checkpoint, one, batch_size=1)[0] for one in mixed]
    assert together[1::2] == alone[1::2]
    for one, other in zip(together[::2], alone[::2], strict=True):
        np.testing.assert_allclose(values(one), values(other), atol=2e-4)
    exact = generate(checkpoint, *mixed, batch_size=1)
    assert [values(one) for one in exact[::2]] == [values(one) for one in alone[::2]], "bit for bit, one at a time"


def test_what_cannot_be_measured_is_refused(checkpoint: Path) -> None:
    empty, question, long, fits, one = generate(
        checkpoint, measure(ASKED, answer("")), measure(ASKED), measure(ASKED, answer("x" * 130)),
        measure(ASKED, answer("x" * 110)), measure(answer("7")),
    )  # fmt: skip
    assert isinstance(empty, BadRequest) and isinstance(question, BadRequest)
    assert isinstance(long, ContextTooLong) and "139 tokens" in str(long) and "128" in str(long)
    assert len(values(fits)) == 110 and len(values(one)) == 1
    assert tasks_of(TransformersBackend("x")) == {"generate", "likelihood"}


def test_closing_fails_what_waits(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        backend = TransformersBackend(str(checkpoint), EngineOptions(batch_size=1))
        await backend.generate(measure(ASKED, answer("x")))
        waiting = [asyncio.create_task(backend.generate(measure(ASKED, answer("y" * k)))) for k in range(1, 99)]
        await asyncio.sleep(0)
        await backend.close()
        return await asyncio.gather(*waiting, return_exceptions=True)

    done = asyncio.run(run())
    assert all(isinstance(one, ConnectionFailed | Response) for one in done)
    assert any(isinstance(one, ConnectionFailed) for one in done)


# --- passes -----------------------------------------------------------------------------------------------------------


def job(text: str) -> Measurement[str, str]:
    def finish(found: str, seconds: float | None) -> Response:
        return Response((Choice(found, "stop"),), Usage(gpu_seconds=seconds), "m")

    return Measurement(text, len(text), finish, Future())


def test_a_pass_takes_texts_of_like_length_within_its_limits() -> None:
    seen: list[list[str]] = []

    def compute(texts: Sequence[str]) -> list[str | CallFault]:
        seen.append(list(texts))
        return [text.upper() for text in texts]

    passes: Passes[str, str] = Passes(compute, PassLimits(3, 12), None, "cpu")
    jobs = [job("a" * size) for size in (2, 9, 2, 1, 40, 5, 2)]
    for one in jobs:
        passes.add(one)
    while len(passes):
        passes.step()
    assert [one.future.result().choices[0].text for one in jobs] == [("A" * size) for size in (2, 9, 2, 1, 40, 5, 2)]
    assert [[len(text) for text in texts] for texts in seen] == [[2, 2, 2], [9], [1, 5], [40]]


def test_out_of_memory_halves_a_pass_and_refuses_what_fails_alone() -> None:
    ticks = iter(range(1000))
    meter = ShareMeter(1, lambda: float(next(ticks)))
    sizes: list[int] = []

    def compute(texts: Sequence[str]) -> list[str | CallFault]:
        sizes.append(len(texts))
        if len(texts) > 2 or any(len(text) > 50 for text in texts):
            raise RuntimeError("CUDA out of memory")
        return [BadRequest("odd") if text == "odd" else text for text in texts]

    passes: Passes[str, str] = Passes(compute, PassLimits(8, 10**6), meter, "cuda:0")
    jobs = [job(text) for text in ("a", "b", "odd", "c", "x" * 60, "d", "gone")]
    for one in jobs:
        passes.add(one)
    jobs[-1].future.cancel()
    passes.drop_unwanted()
    while len(passes):
        passes.step()
    told = [one.future.exception() or one.future.result().choices[0].text for one in jobs[:-1]]
    assert told[:2] == ["a", "b"] and told[3] == "c" and told[5] == "d"
    assert isinstance(told[2], BadRequest)
    assert isinstance(told[4], Permanent) and "one sequence of 60 tokens" in str(told[4])
    assert sizes[0] == 6 and passes.limits.rows <= 3 and len(meter) == 0
    for one in (first := job("a"), job("b")):
        passes.add(one)
    passes.fail_all(ConnectionFailed("closed"))
    assert isinstance(first.future.exception(), ConnectionFailed) and not len(passes) and len(meter) == 0


def test_numbers_that_overflow_refuse_their_own_text_only() -> None:
    model = make_model("llama")
    tell = Likelihoods(Network(model), "m", batched=True)
    good, bad = Reading(make_prompt(1, 9), 3), Reading((*make_prompt(2, 5), 50, 9), 3)
    usual = model.model.embed_tokens.weight[50].clone()
    with torch.inference_mode():
        try:
            model.model.embed_tokens.weight.data[50] = float("nan")
            found = tell([good, bad])
        finally:
            model.model.embed_tokens.weight.data[50] = usual
    if 50 not in good.tokens:
        assert isinstance(found[0], tuple)
    assert isinstance(found[1], Permanent) and "no numbers" in str(found[1])
    assert VOCAB > 50


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_scores_with_it_and_replays_without_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.backends.transformers import loading

    reader = {"backend": "transformers", "model": str(MODELS["tiny"]), "engine": {"batch_size": 1}}
    models = {"writer": {"backend": "embedded", "model": "tiny", "max_tokens": 30}, "reader": reader}
    recipe = write_recipe(
        tmp_path, rows=3, models=models, generate={"model": "writer", "candidates": 3},
        score=[{"perplexity": {"model": "reader", "weight": 1}}, {"ifd": {"model": "reader"}}],
    )  # fmt: skip
    result = factory.run(factory.load_recipe(recipe), out=tmp_path / "run")
    assert {line["model"] for line in result.ledger() if line["purpose"] == "score"} == {
        f"transformers/{MODELS['tiny']}"
    }
    before = parquet_hashes(tmp_path / "run")
    monkeypatch.setattr(loading, "load_model", lambda *args: pytest.fail("a finished run loads no model"))
    factory.run(factory.load_recipe(recipe), out=tmp_path / "run", replay=True)
    assert parquet_hashes(tmp_path / "run") == before
