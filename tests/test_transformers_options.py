"""What a transformers model is told before anything is loaded: options, parameters, directories, what an error means.

Nothing here needs torch.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factory.backends.transformers import backend, open_backend, options
from factory.backends.transformers.options import EngineOptions, check_packages, local_directory, read_options
from factory.backends.transformers.problems import explain, is_out_of_memory
from factory.errors import BadRequest, FactoryError, KeyRefused, MissingExtra, ServerUnreachable, UsageError
from factory.recipe import ModelConfig
from factory.types import Message, Request, Sampling


def model(**changes: Any) -> ModelConfig:
    return ModelConfig(**{"backend": "transformers", "model": "some/model"} | changes)


@pytest.fixture
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "installed", lambda package: True)


def test_options_are_read() -> None:
    engine = {"device": "auto", "dtype": "bfloat16", "batch_size": 8, "quantization": "4bit", "max_model_len": None}
    assert read_options(engine, "m") == EngineOptions(dtype="bfloat16", batch_size=8, quantization="4bit")
    assert read_options({}, "m").trust_remote_code is False


@pytest.mark.parametrize(
    ("engine", "words", "hint"),
    [
        ({"dtpye": "float16"}, "`engine.dtpye` is no option", "`dtype`"),
        ({"max_num_seqs": 4}, "`engine.max_num_seqs`", ""),
        ({"dtype": "bfloat"}, "one of auto, float32", "`bfloat16`"),
        ({"quantization": "4 bit"}, "one of 4bit, 8bit", ""),
        ({"batch_size": 0}, "a whole number from 1 on", ""),
        ({"batch_size": True}, "a whole number", ""),
        ({"max_batch_tokens": 1.5}, "a whole number", ""),
        ({"trust_remote_code": "yes"}, "true or false", ""),
        ({"device_map": 3}, "a mapping", ""),
        ({"chat_template_kwargs": []}, "a mapping", ""),
        ({"chat_template": "templates/chat.jinja"}, "holds no template", "own text"),
        ({"device": "cuda", "device_map": "auto"}, "both given", "one of the two"),
    ],
)
def test_unfit_options_are_told_with_the_nearest(engine: dict[str, Any], words: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(model(engine=engine))
    assert words in caught.value.message and hint in caught.value.hint


def test_absent_packages_are_told_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "installed", lambda package: package != "torch")
    with pytest.raises(MissingExtra, match="the transformers backend") as caught:
        open_backend(model())
    assert caught.value.hint == 'pip install "text-data-factory[transformers]"'
    monkeypatch.setattr(options, "installed", lambda package: package in ("torch", "transformers"))
    wanted = {"accelerate": {"device_map": "auto"}, "bitsandbytes": {"quantization": "8bit"}, "peft": {"lora": "a/b"}}
    for package, engine in wanted.items():
        with pytest.raises(UsageError) as told:
            check_packages(read_options(engine, "m"))
        assert next(iter(engine)) in told.value.message and told.value.hint == f"pip install {package}"


@pytest.mark.usefixtures("everything_installed")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra_body": {"best_of": 3}}, "`best_of`"),
        ({"extra_body": {"repetition_penality": 1.1}}, "did you mean `repetition_penalty`"),
        ({"temperature": 300.0}, "temperature is 300.0"),
        ({"presence_penalty": 3.0}, "between -2 and 2"),
        ({"top_k": -2}, "top_k is -2"),
        ({"extra_body": {"repetition_penalty": "a lot"}}, "it must be a number"),
        ({"extra_body": {"chat_template_kwargs": 4}}, "no mapping"),
    ],
)
def test_unfit_parameters_are_told_before_any_call(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(model(**changes))
    assert words in caught.value.message and "`transformers/some/model`" in caught.value.hint


def test_unfit_requests_are_refused_without_loading() -> None:
    async def ask(n: int = 1, **sampling: Any) -> None:
        messages = (Message("user", "hi"),)
        await backend.TransformersBackend("some/model").generate(
            Request("m", "m", messages, Sampling(**sampling), n, 1, 0, "s", "generate", 0)
        )

    for changes, words in (({"n": 0}, "n is 0"), ({"stop": ("",)}, "stop is"), ({"max_tokens": 0}, "max_tokens is 0")):
        with pytest.raises(BadRequest, match=words):
            asyncio.run(ask(**changes))


def test_a_local_model_is_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match=r"holds no config\.json"):
        local_directory(str(tmp_path / "there"))
    (tmp_path / "there" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "there"), "./there", "there"):
        assert local_directory(name) == Path(name)
    assert local_directory("Qwen/Qwen3-0.6B") is None
    for name in ("./nowhere", "/nowhere/at/all", "~/surely-nowhere"):
        with pytest.raises(UsageError, match="no directory") as caught:
            local_directory(name)
        assert "transformers//absolute/path" in caught.value.hint
    assert model(model="/some/path").name == "transformers//some/path"


class RepositoryNotFoundError(OSError): ...


class GatedRepoError(RepositoryNotFoundError): ...


class RevisionNotFoundError(OSError): ...


class LocalEntryNotFoundError(OSError): ...


class SafetensorError(Exception): ...


class OutOfMemoryError(RuntimeError): ...


def behind(message: str, cause: Exception) -> OSError:
    error = OSError(message)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words", "hint"),
    [
        (behind("no", GatedRepoError("403")), KeyRefused, "is gated", "HF_TOKEN"),
        (behind("no", RepositoryNotFoundError("401")), UsageError, "there is no model", "its name"),
        (behind("no", RevisionNotFoundError("404")), UsageError, "no such revision", "engine.revision"),
        (behind("no", LocalEntryNotFoundError("?")), ServerUnreachable, "cannot be reached", "network"),
        (OSError("x is not a local folder and is not a valid model identifier"), UsageError, "no model", "name"),
        (OSError("m does not appear to have a file named model.safetensors"), UsageError, "lacks a file", "whole"),
        (ValueError("Please set the option `trust_remote_code=True`"), UsageError, "code of its own", "engine: {trust"),
        (ValueError("The model type `x` ... does not recognize this architecture"), UsageError, "know", "install -U"),
        (ValueError("Unrecognized configuration class T5Config for this kind of AutoModel"), UsageError, "causal", ""),
        (ImportError("needs the sentencepiece library"), UsageError, "not installed: needs the sentencepiece", ""),
        (SafetensorError("Error while deserializing header"), UsageError, "damaged", "again"),
        (OutOfMemoryError("CUDA out of memory"), UsageError, "does not fit into the memory of cuda", "4bit"),
        (MemoryError(), UsageError, "does not fit", "smaller model"),
        (RuntimeError("something else"), FactoryError, "RuntimeError: something else", "FACTORY_TRACEBACK"),
        (KeyRefused("as it is"), KeyRefused, "as it is", ""),
    ],
)
def test_a_failed_loading_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[FactoryError], words: str, hint: str
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    told = explain(error, "some/model", device="cuda")
    assert type(told) is kind
    assert words in told.message and hint in told.hint
    assert len(told.message) < 1000


def test_offline_is_told_as_the_users_own_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = explain(behind("no", LocalEntryNotFoundError("?")), "some/model")
    assert isinstance(told, ServerUnreachable) and "HF_HUB_OFFLINE forbids" in told.message


def test_memory_errors_are_known_by_their_words() -> None:
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.usefixtures("everything_installed")
def test_opening_imports_nothing_heavy_and_closing_loads_nothing() -> None:
    asyncio.run(open_backend(model()).close())
    code = (
        "import sys; from factory.backends.transformers import open_backend; "
        "print([m for m in ('torch', 'transformers', 'numpy', 'jinja2') if m in sys.modules])"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_identity_knows_what_shapes_the_answers() -> None:
    same = [model(engine=engine).identity_key for engine in ({}, {"device": "cuda", "batch_size": 4})]
    other = [
        model(engine={key: "x"}).identity_key for key in ("dtype", "revision", "quantization", "lora", "chat_template")
    ]
    assert len(set(same)) == 1 and len({*same, *other}) == 6
    assert {*EngineOptions.__slots__, *options.EmbeddingOptions.__slots__} == set(options._SHAPES)
