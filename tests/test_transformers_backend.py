"""`transformers/MODEL` as a backend: real checkpoints in directories, from requests to a dataset."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the transformers backend needs torch")
transformers = pytest.importorskip("transformers", reason="the transformers backend needs transformers")

from support import parquet_hashes, write_recipe  # noqa: E402
from transformers_models import save_checkpoint  # noqa: E402

import factory  # noqa: E402
from factory.backends import Backend  # noqa: E402
from factory.backends.embedded import MODELS  # noqa: E402
from factory.backends.transformers import TransformersBackend, loading, open_backend  # noqa: E402
from factory.backends.transformers.options import EngineOptions  # noqa: E402
from factory.errors import (  # noqa: E402
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    FactoryError,
    ServerUnreachable,
    UsageError,
)
from factory.recipe import ModelConfig  # noqa: E402
from factory.types import Message, Request, Sampling  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def ask(text: str = "hello", *, n: int = 1, index: int = 0, seed: int = 7, **changes: Any) -> Request:
    logprobs = changes.pop("logprobs", None)
    sampling = Sampling(**{"temperature": 1.0, "max_tokens": 24} | changes)
    return Request("m", "m", (Message("user", text),), sampling, n, seed, 0, "s", "generate", index, logprobs=logprobs)


def generate(checkpoint: Path | str, *requests: Request, **options: Any) -> list[Any]:
    """The answers, or what was raised, all asked at once."""

    async def run() -> list[Any]:
        backend = TransformersBackend(str(checkpoint), EngineOptions(**options))
        try:
            return await asyncio.gather(*map(backend.generate, requests), return_exceptions=True)
        finally:
            await backend.close()

    return asyncio.run(run())


def test_n_candidates_are_those_of_single_requests(checkpoint: Path) -> None:
    [whole] = generate(checkpoint, ask(n=6))
    singles = generate(checkpoint, *(ask(f"other {i}", seed=i) for i in range(5)), *(ask(index=k) for k in range(6)))
    assert whole.choices == tuple(response.choices[0] for response in singles[5:])
    assert len({choice.text for choice in whole.choices}) == 6
    assert generate(checkpoint, ask(n=6), batch_size=4) == generate(checkpoint, ask(n=6), batch_size=1) == [whole]


def test_usage_reasons_and_what_fits(checkpoint: Path) -> None:
    short, *long = generate(checkpoint, ask(n=3, max_tokens=2), *(ask(seed=k, max_tokens=None) for k in range(8)))
    assert short.usage.prompt_tokens == len("hello") + 4
    assert short.usage.completion_tokens <= 6 and short.usage.gpu_seconds is None
    full = 128 - short.usage.prompt_tokens
    for response in long:
        [choice] = response.choices
        assert choice.finish_reason == "stop" or response.usage.completion_tokens == full
        assert "<|" not in choice.text
    assert {response.choices[0].finish_reason for response in long} == {"stop", "length"}
    assert short.model == f"transformers/{checkpoint}"


def test_prompts_beyond_the_context_are_refused_with_counts(checkpoint: Path) -> None:
    too_long, fits, silent = generate(
        checkpoint, ask("x" * 200), ask("x" * 123, max_tokens=50), ask(), max_model_len=None
    )
    assert isinstance(too_long, ContextTooLong)
    assert "204 tokens" in str(too_long) and "128" in str(too_long)
    assert fits.usage.prompt_tokens == 127 and fits.usage.completion_tokens == 1
    assert silent.choices
    [narrow] = generate(checkpoint, ask("x" * 40), max_model_len=32)
    assert isinstance(narrow, ContextTooLong) and "32 tokens" in str(narrow)


def test_stop_may_be_a_special_token(checkpoint: Path) -> None:
    [free] = generate(checkpoint, ask(n=30, max_tokens=60))
    [cut] = generate(checkpoint, ask(n=30, max_tokens=60, stop=("<|user|>",)))
    assert all(before.text.startswith(after.text) for before, after in zip(free.choices, cut.choices, strict=True))
    assert cut.usage.completion_tokens < free.usage.completion_tokens


def test_logprobs_spell_the_text(checkpoint: Path) -> None:
    [free] = generate(checkpoint, ask(n=4, max_tokens=60))
    stop = free.choices[0].text[10:13]
    [answer] = generate(checkpoint, ask(n=4, max_tokens=60, logprobs=2, stop=(stop,)))
    for choice in answer.choices:
        spelled = "".join(one.token for one in choice.logprobs if "<|" not in one.token)
        assert choice.text in (spelled, spelled[: len(choice.text)]) and len(spelled) - len(choice.text) <= 2
        assert all(len(one.top) == 2 and one.logprob <= 0 for one in choice.logprobs)


def test_reasoning_stands_apart(checkpoint: Path) -> None:
    from factory.backends.transformers.backend import read_choice
    from factory.backends.transformers.sequences import Completion, Logprob

    class Letters:
        def decode(self, tokens: Any) -> str:
            return "".join(map(chr, tokens))

        def spell(self, token: int) -> str:
            return chr(token)

    tokens = tuple(map(ord, "<think>why</think>\n\nyes"))
    logprobs = tuple(Logprob(token, -0.5, ()) for token in tokens)
    choice, thought = read_choice(Completion(tokens, Letters().decode(tokens), "stop", logprobs), Letters())  # type: ignore[arg-type]
    assert (choice.text, choice.reasoning, thought) == ("yes", "why", len(tokens) - 3)
    assert choice.logprobs is not None and "".join(one.token for one in choice.logprobs) == "yes"


def test_the_template_may_refuse_messages_and_takes_variables(checkpoint: Path) -> None:
    messages = (Message("user", "a"), Message("system", "b"))
    request = Request("m", "m", messages, Sampling(max_tokens=3), 1, 1, 0, "s", "generate", 0)
    plain, opened, refused = generate(
        checkpoint, ask(), ask(extra={"chat_template_kwargs": {"opening": "xyz"}}), request
    )
    assert isinstance(refused, BadRequest) and "the system message comes first" in str(refused)
    assert opened.usage.prompt_tokens == plain.usage.prompt_tokens + 3
    [set_by_recipe] = generate(checkpoint, ask(), chat_template_kwargs={"opening": "xyz"})
    assert set_by_recipe == opened
    [own] = generate(checkpoint, ask(), chat_template="{{ messages[0]['content'] }}")
    assert own.usage.prompt_tokens == 5


def test_what_is_left_open_comes_from_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    for source in checkpoint.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    settings = {"temperature": 0.01, "top_k": 1, "do_sample": True, "eos_token_id": [2, 9]}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    open_, greedy = generate(tmp_path, ask(n=3, temperature=None), ask(temperature=0, extra={"top_k": 0}))
    assert {choice.text for choice in open_.choices} == {greedy.choices[0].text}
    [free] = generate(checkpoint, ask(n=40, max_tokens=60))
    [ended] = generate(tmp_path, ask(n=40, max_tokens=60, temperature=1.0, extra={"top_k": 0}))
    assert ended.usage.completion_tokens < free.usage.completion_tokens


def test_a_recurrent_model_runs_one_by_one_and_says_so(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "mamba")

    async def run() -> list[Any]:
        backend = TransformersBackend(str(tmp_path), EngineOptions(max_model_len=64))
        try:
            return [
                *await asyncio.gather(*(backend.generate(ask(n=2, max_tokens=5)) for _ in range(2))),
                backend.notes(),
            ]
        finally:
            await backend.close()

    first, second, notes = asyncio.run(run())
    assert first == second and first.choices[0] != first.choices[1]
    assert "one by one" in notes[0]


# --- the thread -------------------------------------------------------------------------------------------------------


def test_closing_fails_those_in_flight(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        backend = TransformersBackend(str(checkpoint), EngineOptions(batch_size=1))
        await backend.generate(ask(max_tokens=1))
        waiting = [asyncio.create_task(backend.generate(ask(n=50, seed=k, max_tokens=None))) for k in range(8)]
        await asyncio.sleep(0)
        await backend.close()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(ConnectionFailed):
            await backend.generate(ask())
        await backend.close()
        return done

    assert all(isinstance(one, ConnectionFailed) for one in asyncio.run(run()))
    assert not [thread for thread in threading.enumerate() if thread.name == "transformers-model"]


def test_cancelled_requests_leave_and_the_loop_stays_free(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        backend = TransformersBackend(str(checkpoint), EngineOptions(batch_size=4))
        try:
            doomed = [asyncio.create_task(backend.generate(ask(f"b{i}", n=99, max_tokens=None))) for i in range(6)]
            kept = asyncio.create_task(backend.generate(ask(n=3)))
            turns = 0
            while backend._connection.engine is None or backend._connection.engine._loading:
                await asyncio.sleep(0.01)
                turns += 1
            for task in doomed:
                task.cancel()
            answer = await kept
            gone = await asyncio.gather(*doomed, return_exceptions=True)
            return [answer, gone, turns]
        finally:
            await backend.close()

    answer, gone, turns = asyncio.run(run())
    assert [answer] == generate(checkpoint, ask(n=3))
    assert all(isinstance(one, asyncio.CancelledError) for one in gone)
    assert turns > 0


def test_roles_with_the_same_model_share_it(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        writer, judge, other = (TransformersBackend(str(checkpoint), EngineOptions(batch_size=n)) for n in (4, 4, 5))
        first = await asyncio.gather(writer.generate(ask()), judge.generate(ask()), other.generate(ask()))
        shared = writer._connection.engine is judge._connection.engine is not other._connection.engine
        doomed = asyncio.create_task(writer.generate(ask(n=200, max_tokens=None)))
        await asyncio.sleep(0)
        await writer.close()
        [fault] = await asyncio.gather(doomed, return_exceptions=True)
        again = await judge.generate(ask())
        await judge.close()
        await other.close()
        return [first, shared, fault, again]

    first, shared, fault, again = asyncio.run(run())
    assert shared and first == [again, again, again]
    assert isinstance(fault, ConnectionFailed)
    assert not [thread for thread in threading.enumerate() if thread.name == "transformers-model"]


def test_a_fault_in_the_thread_reaches_every_waiter(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.backends.transformers.batch import Batch

    def fail(self: Batch) -> None:
        raise RuntimeError("broken kernel")

    monkeypatch.setattr(Batch, "step", fail)
    faults = generate(checkpoint, ask(), ask(seed=2))
    assert all(isinstance(one, FactoryError) and "broken kernel" in one.message for one in faults)


def test_one_backend_serves_several_event_loops(checkpoint: Path) -> None:
    backend = TransformersBackend(str(checkpoint))
    assert isinstance(backend, Backend)
    first = asyncio.run(backend.generate(ask()))
    assert asyncio.run(backend.generate(ask())) == first
    asyncio.run(backend.close())


# --- what cannot be loaded --------------------------------------------------------------------------------------------


def test_the_hub_out_of_reach_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_hub_answers", lambda: False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    [fault] = generate("nobody/no-such-model", ask())
    assert isinstance(fault, ServerUnreachable) and "nobody/no-such-model" in fault.message


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"model.safetensors": None}, "lacks a file"),
        ({"model.safetensors": "garbage"}, "damaged"),
        ({"config.json": "{"}, "config.json"),
        ({"config.json": '{"model_type": "t5"}'}, "causal language model"),
        ({"config.json": '{"model_type": "from-tomorrow"}'}, "does not know"),
        ({"config.json": '{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}'}, "code of its own"),
        ({"tokenizer_config.json": "{}"}, "no chat template"),
        ({"tokenizer_config.json": '{"chat_template": "{% if %}"}'}, "template"),
    ],
)
def test_a_damaged_checkpoint_is_told(
    checkpoint: Path, tmp_path: Path, damage: dict[str, str | None], words: str
) -> None:
    for source in checkpoint.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    for name, content in damage.items():
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_text(content)
    [fault] = generate(tmp_path, ask())
    assert isinstance(fault, UsageError) and words in fault.message and fault.hint
    assert str(tmp_path) in fault.message


def test_weights_that_are_missing_are_never_made_up(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for source in checkpoint.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    [fault] = generate(tmp_path, ask())
    assert isinstance(fault, UsageError) and "no weights for model.layers.1.mlp.up_proj.weight" in fault.message


def test_models_that_are_loaded_at_once_do_not_disturb_each_other(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        backends = [TransformersBackend(str(checkpoint), EngineOptions(max_batch_tokens=500 + n)) for n in range(6)]
        try:
            return await asyncio.gather(*(backend.generate(ask(max_tokens=60)) for backend in backends))
        finally:
            for backend in backends:
                await backend.close()

    answers = asyncio.run(run())
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda:99"}, "torch cannot use"),
        ({"device": "gpu"}, "torch cannot use"),
        ({"max_model_len": 4096}, "128 positions"),
        ({"attn_implementation": "no_such_attention"}, "no_such_attention"),
    ],
)
def test_options_that_do_not_fit_the_model_are_told(checkpoint: Path, options: dict[str, Any], words: str) -> None:
    [fault] = generate(checkpoint, ask(), **options)
    assert isinstance(fault, UsageError) and words in fault.message


def test_a_model_too_large_for_the_memory_is_told(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(loading, "_fetch", refuse)
    first, second = generate(checkpoint, ask(), ask(seed=2))
    assert first is second and isinstance(first, UsageError) and "engine.quantization" in first.hint


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_is_the_same_at_any_concurrency_and_loads_nothing_to_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"backend": "transformers", "model": str(MODELS["tiny"]), "temperature": 0.8, "max_tokens": 30}
    hashes = []
    for number, engine in enumerate(({"batch_size": 1}, {"batch_size": 8}, {"max_batch_tokens": 300})):
        models = {"writer": model | {"engine": engine, "concurrency": (1, 3, 64)[number]}}
        recipe = write_recipe(
            tmp_path / str(number), rows=8, models=models, generate={"model": "writer", "candidates": 2}
        )
        result = factory.run(factory.load_recipe(recipe), out=tmp_path / str(number) / "run")
        assert result.ledger()
        hashes.append(parquet_hashes(tmp_path / str(number) / "run"))
    assert hashes[0] == hashes[1] == hashes[2]
    monkeypatch.setattr(loading, "load_model", lambda *args: pytest.fail("a finished run loads no model"))
    factory.run(factory.load_recipe(recipe), out=tmp_path / "2" / "run")


def test_a_recipe_opens_it(checkpoint: Path) -> None:
    backend = open_backend(ModelConfig(backend="transformers", model=str(checkpoint), engine={"device": "cpu"}))
    assert isinstance(backend, Backend) and backend.honours_n and backend.local
    asyncio.run(backend.close())
