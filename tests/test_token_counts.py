"""Estimated token counts: never a download."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from factory import token_counts
from factory.token_counts import count_bytes, estimate_tokens


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    token_counts._tiktoken_counter.cache_clear()
    yield
    token_counts._tiktoken_counter.cache_clear()


@given(st.lists(st.text()))
def test_bytes_are_counted_without_ranks(texts: list[str]) -> None:
    assert estimate_tokens(texts) == sum(-(-len(text.encode()) // 4) for text in texts)


def test_surrogates_do_not_break_counting() -> None:
    assert count_bytes("\ud800ab") >= 1


def test_missing_ranks_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    fetch = tiktoken.load.read_file
    assert estimate_tokens(["abcdefgh"]) == 2
    assert tiktoken.load.read_file is fetch, "its downloader is put back"


def test_ranks_on_this_machine_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = {bytes([value]): value for value in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={"<|end|>": 256})
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: encoding)
    assert estimate_tokens(["abcdefgh", "<|end|>"]) == 15, "a byte a token, and no special ones"
