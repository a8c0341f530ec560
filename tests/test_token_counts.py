"""Token counts: the model's own vocabulary where it is on this machine, labelled estimates elsewhere, no download."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from factory import token_counts
from factory.backends.embedded import MODELS, Chat
from factory.recipe.models import ModelConfig
from factory.token_counts import count_bytes, count_messages, count_tokens, counter_for, estimate_tokens
from factory.types import Message


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "ranks"))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for cached in (token_counts._tiktoken_counter, token_counts._counter):
        cached.cache_clear()
    yield
    for cached in (token_counts._tiktoken_counter, token_counts._counter):
        cached.cache_clear()


def model(name: str, **changes: Any) -> ModelConfig:
    backend, _, rest = name.partition("/")
    return ModelConfig(backend=backend, model=rest, **changes)


def put_ranks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A token a byte, for any encoding; the names that were asked for."""
    asked: list[str] = []
    ranks = {bytes([value]): value for value in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={"<|end|>": 256})
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: asked.append(name) or encoding)
    return asked


def word_tokenizer(directory: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "hello": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    directory.mkdir(parents=True)
    tokenizer.save(str(directory / "tokenizer.json"))


@given(st.lists(st.text()))
def test_bytes_are_counted_without_ranks(texts: list[str]) -> None:
    assert estimate_tokens(texts) == sum(-(-len(text.encode()) // 4) for text in texts)


def test_surrogates_do_not_break_counting() -> None:
    assert count_bytes("\ud800ab") >= 1
    for name in ("embedded/tiny", "openai/gpt-5", "echo"):
        assert count_tokens("\ud800ab", model(name)).tokens >= 1


def test_missing_ranks_are_not_fetched() -> None:
    fetch = tiktoken.load.read_file
    assert estimate_tokens(["abcdefgh"]) == 2
    assert tiktoken.load.read_file is fetch, "its downloader is put back"


def test_ranks_on_this_machine_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    put_ranks(monkeypatch)
    assert estimate_tokens(["abcdefgh", "<|end|>"]) == 15, "a byte a token, and no special ones"


@pytest.mark.parametrize(
    ("name", "url", "encoding", "exact"),
    [
        ("openai/gpt-5-mini", None, "o200k_base", True),
        ("openai/gpt-4", None, "cl100k_base", True),
        ("openai/openai/gpt-4", "https://openrouter.ai/api/v1", "cl100k_base", True),
        ("openai/gpt-4o", "https://eu.api.openai.com/v1", "o200k_base", True),
        ("openai/gpt-4", "https://proxy.example/v1", "cl100k_base", False),
        ("openai/Qwen/Qwen3-8B", "http://localhost:1/v1", "o200k_base", False),
        ("vllm/Qwen/Qwen3-8B", None, "o200k_base", False),
        ("transformers/gpt-4", None, "o200k_base", False),
    ],
)
def test_each_model_has_its_encoding(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str | None, encoding: str, exact: bool
) -> None:
    asked = put_ranks(monkeypatch)
    found = count_tokens("abcdefgh", model(name, base_url=url))
    assert asked[-1] == encoding and found.exact is exact and found.tokens == 8
    assert encoding in found.by and ("not this model's own" in found.by) is not exact
    assert (found.low, found.high) == ((8, 8) if exact else (6, 11))


def test_the_embedded_model_is_counted_with_its_own_tokenizer() -> None:
    text = "Tom has 12 apples, and gives 5 of them to Ana."
    found = count_tokens(text, model("embedded/tiny"))
    tokenizer = Tokenizer.from_file(str(MODELS["tiny"] / "tokenizer.json"))
    assert found.exact and found.tokens == len(tokenizer.encode(text, add_special_tokens=False).ids)
    messages = (Message("system", "You are kind."), Message("user", text))
    chat = count_messages(messages, counter_for(model("embedded/tiny")))
    assert chat.low <= len(Chat(MODELS["tiny"]).encode(messages)) <= chat.high


def test_a_tokenizer_in_a_directory_or_in_the_hubs_cache(tmp_path: Path) -> None:
    word_tokenizer(tmp_path / "mine")
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / ("0" * 40)
    word_tokenizer(snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    for name in (f"vllm/{tmp_path / 'mine'}", "transformers/org/name", "openai/org/name"):
        found = count_tokens("hello there my friend", model(name))
        assert found.exact and found.tokens == 4, "and no truncation"
    assert not count_tokens("hello there", model("vllm/org/other")).exact
    assert count_tokens("hello", model("vllm/org/other", engine={"tokenizer": str(tmp_path / "mine")})).exact
    assert not count_tokens("hello", model("vllm/org/name", engine={"revision": "v2"})).exact


def test_a_damaged_tokenizer_makes_an_estimate_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    found = count_tokens("abcdefgh", model(f"vllm/{tmp_path}"))
    assert not found.exact and found.tokens == 2 and "cannot be read" in found.by


@pytest.mark.parametrize(
    "name", ["vllm/" + "a" * 5000, "vllm/a\0b", "vllm/..", "transformers/a/b/c/d", "vllm/~nobody/x"]
)
def test_names_that_no_machine_knows(name: str) -> None:
    assert count_tokens("abcdefgh", model(name)).by == "bytes / 4"


def test_an_estimate_knows_how_rough_it_is() -> None:
    english = count_tokens("a plain english sentence" * 20, model("openai/m"))
    russian = count_tokens("обычное русское предложение" * 20, model("openai/m"))
    assert not english.exact and english.low < english.tokens < english.high < 1.5 * english.tokens
    assert russian.high > 2 * russian.tokens
    assert count_tokens("", model("openai/m")).high == 0


def test_echo_counts_as_it_bills() -> None:
    found = count_tokens("abcde", model("echo"))
    assert found.exact and found.tokens == 2
