"""`embedded/tiny` as a backend: candidates, parameters, faults, cancelling, closing, damaged checkpoints."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llama_models import MODEL, make_weights

from factory.backends import Backend
from factory.backends.embedded import MODELS, Chat, EmbeddedBackend, open_backend
from factory.backends.embedded.batching import Engine, Task
from factory.backends.embedded.llama_config import read_config
from factory.errors import BadRequest, ConnectionFailed, ContextTooLong, FactoryError, UsageError
from factory.types import Message, Request, Sampling

PRINTABLE = [chr(code) for code in range(33, 127)] + ["Ġ"]
SPECIAL = ["<|pad|>", "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
TEMPLATE = (
    "<|begin|>{% for m in messages %}{% if m['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('the system message comes first') }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}<|assistant|>"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose tokens are printable characters."""
    from safetensors.numpy import save_file
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    directory = tmp_path_factory.mktemp("checkpoint")
    names = SPECIAL + PRINTABLE
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, "bos_token": "<|begin|>"}))
    fields = {
        "model_type": "llama", "vocab_size": len(names), "hidden_size": 64, "intermediate_size": 176,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
        "eos_token_id": [2], "tie_word_embeddings": True,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(fields))
    save_file(make_weights(read_config(fields), 5), directory / "model.safetensors")
    return directory


def ask(text: str = "hello", *, n: int = 1, seed: int = 1, index: int = 0, **sampling: Any) -> Request:
    fields = {"temperature": 1.0, "max_tokens": 40} | sampling
    return Request(
        "embedded/tiny", "tiny", (Message("user", text),), Sampling(**fields), n, seed, 0, "main", "generate", index
    )


def generate(directory: Path, *requests: Request, slots: int = 64) -> list[Any]:
    """Responses (or faults) to requests asked at the same time."""

    async def run() -> list[Any]:
        backend = EmbeddedBackend(directory, slots=slots)
        try:
            return await asyncio.gather(*(backend.generate(one) for one in requests), return_exceptions=True)
        finally:
            await backend.close()

    return asyncio.run(run())


def test_one_request_for_n_equals_n_requests_in_any_company(checkpoint: Path) -> None:
    [whole] = generate(checkpoint, ask(n=6))
    singles = generate(checkpoint, *(ask(f"other {i}", seed=i) for i in range(5)), *(ask(index=k) for k in range(6)))
    assert whole.choices == tuple(response.choices[0] for response in singles[5:])
    assert len({choice.text for choice in whole.choices}) == 6
    [crowded] = generate(checkpoint, ask(n=6), slots=4)
    assert crowded == whole


def test_usage_and_reasons_are_counted(checkpoint: Path) -> None:
    short, long = generate(checkpoint, ask(n=3, max_tokens=2), ask(n=8, max_tokens=None))
    assert short.usage.prompt_tokens == len("hello") + 4
    assert {choice.finish_reason for choice in short.choices} <= {"stop", "length"}
    full = 128 - short.usage.prompt_tokens
    for choice in long.choices:
        assert choice.finish_reason == ("length" if len(choice.text) == full else "stop")
        assert "<|" not in choice.text
    ended = sum(choice.finish_reason == "stop" for choice in long.choices)
    assert ended > 0, "the end token was never drawn"
    assert short.usage.completion_tokens <= 6
    assert long.model == "embedded/tiny"
    assert not long.usage.estimated


def test_stop_strings_cut_the_text(checkpoint: Path) -> None:
    [free] = generate(checkpoint, ask(n=4, max_tokens=60))
    texts = [choice.text for choice in free.choices]
    stop = texts[0][10:13]
    [cut] = generate(checkpoint, ask(n=4, max_tokens=60, stop=(stop, "never this")))
    assert cut.choices[0].finish_reason == "stop"
    for before, choice in zip(texts, cut.choices, strict=True):
        assert choice.text == before.split(stop)[0]
    assert cut.usage.completion_tokens < free.usage.completion_tokens


def test_prompts_beyond_the_context_are_refused_with_counts(checkpoint: Path) -> None:
    too_long, fits = generate(checkpoint, ask("x" * 200), ask("x" * 123, max_tokens=50))
    assert isinstance(too_long, ContextTooLong)
    assert "204 tokens" in str(too_long) and "128" in str(too_long)
    assert fits.usage.prompt_tokens == 127 and fits.usage.completion_tokens == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"n": 0}, "n is 0"),
        ({"stop": ("",)}, "stop is"),
        ({"extra": {"top_k": 5}}, "does not know `top_k`"),
    ],
)
def test_unfit_parameters_are_refused(checkpoint: Path, changes: dict[str, Any], words: str) -> None:
    [fault] = generate(checkpoint, ask(**changes))
    assert isinstance(fault, BadRequest)
    assert words in str(fault)


def test_the_template_may_refuse_messages(checkpoint: Path) -> None:
    chat = Chat(checkpoint)
    with pytest.raises(BadRequest, match="the system message comes first"):
        chat.encode([Message("user", "a"), Message("system", "b")])


def test_a_fault_in_the_worker_reaches_every_waiter() -> None:
    def fail(tokens: Sequence[int]) -> str:
        raise RuntimeError("broken text")

    engine = Engine(MODEL, fail, slots=2)
    futures = [engine.submit(Task((1, 2), (seed, seed + 1), max_tokens=20)) for seed in range(4)]
    for future in futures:
        with pytest.raises(FactoryError, match="broken text"):
            future.result(timeout=60)
    with pytest.raises(FactoryError, match="broken text"):
        engine.submit(Task((1,), (1,)))
    engine.close()


def test_closing_ends_the_thread_and_tells_who_waits() -> None:
    both_wait = threading.Event()

    def close(tokens: Sequence[int]) -> str:
        assert both_wait.wait(60)
        engine.close()  # from the worker itself, as soon as the first task ends
        return "done"

    engine = Engine(MODEL, close, slots=1)
    first, second = (engine.submit(Task((1, 2), (seed,), max_tokens=3)) for seed in (1, 2))
    both_wait.set()
    assert first.result(timeout=60)[0].text == "done"
    with pytest.raises(ConnectionFailed):
        second.result(timeout=60)
    engine.close()
    assert engine._thread is not None and not engine._thread.is_alive()
    with pytest.raises(ConnectionFailed):
        engine.submit(Task((1,), (1,)))


def test_cancelled_requests_free_their_slots(checkpoint: Path) -> None:
    async def run() -> list[Any]:
        backend = EmbeddedBackend(checkpoint, slots=4)
        try:
            doomed = [asyncio.create_task(backend.generate(ask(f"b{i}", n=9, max_tokens=None))) for i in range(6)]
            await asyncio.sleep(0)
            for task in doomed:
                task.cancel()
            kept = await backend.generate(ask(n=3))
            gone = await asyncio.gather(*doomed, return_exceptions=True)
            return [kept, gone]
        finally:
            await backend.close()

    kept, gone = asyncio.run(run())
    assert [kept] == generate(checkpoint, ask(n=3))
    assert all(isinstance(one, asyncio.CancelledError) for one in gone)


def test_one_backend_serves_several_event_loops(checkpoint: Path) -> None:
    backend = EmbeddedBackend(checkpoint)
    assert isinstance(backend, Backend)
    first = asyncio.run(backend.generate(ask()))
    assert asyncio.run(backend.generate(ask())) == first
    asyncio.run(backend.close())
    asyncio.run(backend.close())


# --- opening ----------------------------------------------------------------------------------------------------------


def test_open_backend_names_the_nearest_model() -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(SimpleNamespace(model="tny", name="embedded/tny", sampling=Sampling))  # type: ignore[arg-type]
    assert "`tny`" in caught.value.message and "tiny" in caught.value.hint


def test_open_backend_refuses_parameters_before_any_call() -> None:
    model = SimpleNamespace(model="tiny", name="embedded/tiny", sampling=lambda: Sampling(extra={"min_p": 0.1}))
    with pytest.raises(UsageError, match="`min_p`"):
        open_backend(model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", None, "no such file"),
        ("config.json", "{", "not JSON"),
        ("config.json", '{"model_type": "gpt2"}', "'gpt2'"),
        ("config.json", '{"model_type": "llama"}', "'num_attention_heads' is missing"),
        ("model.safetensors", None, "no such file"),
        ("model.safetensors", "garbage", "cannot be read"),
        ("tokenizer.json", None, "no such file"),
        ("tokenizer.json", "{}", "tokenizer cannot be read"),
        ("tokenizer_config.json", "{}", "no chat_template"),
        ("tokenizer_config.json", '{"chat_template": "{% if %}"}', "template has a fault"),
    ],
)
def test_a_damaged_checkpoint_is_named(
    checkpoint: Path, tmp_path: Path, file: str, content: str | None, words: str
) -> None:
    for source in checkpoint.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(UsageError, match=words) as caught:
        EmbeddedBackend(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_importing_the_backend_is_light() -> None:
    code = (
        "import sys, factory.backends.embedded; "
        "print([m for m in ('tokenizers', 'safetensors', 'torch', 'transformers', 'jinja2') if m in sys.modules])"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_packaged_model_is_small_and_answers() -> None:
    directory = MODELS["tiny"]
    assert sum(file.stat().st_size for file in directory.iterdir()) <= 12_000_000
    [response] = generate(directory, ask("Write one word problem about apples.", n=2, temperature=0.8))
    assert len(response.choices) == 2
    [again] = generate(directory, ask("Write one word problem about apples.", n=2, temperature=0.8), slots=1)
    assert again == response
