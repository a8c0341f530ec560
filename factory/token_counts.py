"""Tokens of a text for a model: counted where its vocabulary is on this machine, else estimated, and labelled so.

Never a download: tiktoken's ranks and tokenizers of the Hugging Face Hub are taken from their caches alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from factory.types import Message

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig

_LOADING = threading.Lock()
_ENCODING = "o200k_base"
_OWN_VOCABULARY = frozenset({"transformers", "vllm"})
_OPENAI_HOSTS = (".openai.com", ".openai.azure.com")
MESSAGE_TOKENS = 4
"""What a chat template usually adds to a message."""
ASCII_ERROR = (0.85, 1.35)
"""True tokens by estimated ones, lowest and highest, of English and code. Measured: 0.90 to 1.30 for bytes / 4 against
the vocabularies o200k, cl100k and DeepSeek V3's, on six sets of 80 to 300 test questions, programs, instructions and
customer messages."""
OTHER_ERROR = (0.6, 2.5)
"""The same of other languages. Measured: 0.61 to 2.3 on thirteen of them, from German to Thai, and up to 2.45 between
two of those vocabularies."""
_ASCII_SHARE = 0.98


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of a text. `by`: the vocabulary or the rule; `exact`: it is the model's own. `low`, `high`: the bounds
    between which the true number was found when the rule was measured; both are `tokens` where it is exact."""

    tokens: int
    exact: bool
    by: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts for one model."""

    count: Callable[[str], int]
    exact: bool
    by: str

    def __call__(self, text: str) -> TokenCount:
        tokens = self.count(text)
        if self.exact:
            return TokenCount(tokens, True, self.by, tokens, tokens)
        low, high = _error(text)
        return TokenCount(tokens, False, self.by, int(tokens * low), -int(-tokens * high // 1))


def count_bytes(text: str) -> int:
    """UTF-8 bytes / 4, rounded up: the usual rule of thumb for English."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def estimate_tokens(texts: Iterable[str]) -> int:
    """Tokens of all texts together: by tiktoken's ranks where they are on this machine, else bytes / 4. No download."""
    count = _tiktoken_counter(_ENCODING) or count_bytes
    return sum(count(text) for text in texts)


def count_tokens(text: str, model: ModelConfig) -> TokenCount:
    """Tokens of a text for a model of a recipe; see `counter_for`."""
    return counter_for(model)(text)


def count_messages(messages: Sequence[Message], counter: TokenCounter) -> TokenCount:
    """Tokens of a chat, with what a chat template usually adds; so exact for the texts alone."""
    counts = [counter(message.content) for message in messages]
    added = MESSAGE_TOKENS * len(messages)
    return TokenCount(
        sum(count.tokens for count in counts) + added,
        False,
        counter.by,
        sum(count.low for count in counts),
        sum(count.high for count in counts) + 2 * added,
    )


def counter_for(model: ModelConfig) -> TokenCounter:
    """How a model's tokens are counted here. Never raises, never asks the network.

    `embedded`: its tokenizer. A model whose `tokenizer.json` lies in a local directory of its name or in the Hub's
    cache: that. A model that tiktoken knows by name: its encoding, where the ranks are cached. Else o200k where it is
    cached, or bytes / 4: an estimate.
    """
    if model.backend == "echo":
        return TokenCounter(count_bytes, True, "bytes / 4, as echo counts")
    revision = model.engine.get("revision")
    tokenizer = str(model.engine.get("tokenizer") or model.model)
    return _counter(model.backend, model.model, model.base_url or "", tokenizer, revision and str(revision))


@lru_cache(maxsize=256)
def _counter(backend: str, model: str, base_url: str, tokenizer: str, revision: str | None) -> TokenCounter:
    path = _embedded_file(model) if backend == "embedded" else _tokenizer_file(tokenizer, revision)
    told = ""
    if path is not None:
        try:
            return TokenCounter(_load_tokenizer(path), True, f"the tokenizer of {model}")
        except Exception as error:  # tokenizers raises bare Exception; the estimate says why it is one
            told = f" ({path} cannot be read: {str(error)[:100]})"
    encoding, exact = _ENCODING, False
    if backend not in _OWN_VOCABULARY:
        encoding, exact = _named_encoding(model, base_url)
    count = _tiktoken_counter(encoding)
    if count is not None:
        return TokenCounter(count, exact, f"tiktoken {encoding}" + ("" if exact else f", not this model's own{told}"))
    return TokenCounter(count_bytes, False, f"bytes / 4{told}")


def _error(text: str) -> tuple[float, float]:
    plain = sum(map(str.isascii, text)) >= _ASCII_SHARE * len(text)
    return ASCII_ERROR if plain else OTHER_ERROR


def _embedded_file(model: str) -> Path | None:
    from factory.backends.embedded import MODELS

    directory = MODELS.get(model)
    return None if directory is None else _existing(directory / "tokenizer.json")


def _tokenizer_file(name: str, revision: str | None) -> Path | None:
    """`tokenizer.json` of a local directory, or of a model in the Hub's cache; None where there is none."""
    if not name or "\0" in name:
        return None
    if (found := _existing(Path(name).expanduser() / "tokenizer.json")) is not None:
        return found
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached: Any = try_to_load_from_cache(name, "tokenizer.json", revision=revision)
    except (HFValidationError, OSError):  # no name that the Hub could know
        return None
    return _existing(Path(cached)) if isinstance(cached, str) else None


def _existing(path: Path) -> Path | None:
    try:
        return path if path.is_file() else None
    except OSError:  # a name too long for a path
        return None


def _load_tokenizer(path: Path) -> Callable[[str], int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False).ids)


def _named_encoding(model: str, base_url: str) -> tuple[str, bool]:
    """The encoding that tiktoken gives a model by its name, and whether it is surely this model's: at OpenAI it is,
    elsewhere a name may be anybody's. o200k for a name that it does not know."""
    try:
        import tiktoken
    except ImportError:
        return _ENCODING, False
    name = model.removeprefix("openai/")
    host = f".{urlsplit(base_url).hostname or ''}"
    try:
        found = str(tiktoken.encoding_name_for_model(name))
    except KeyError:
        return _ENCODING, False
    return found, not base_url or host.endswith(_OPENAI_HOSTS) or model != name


@cache
def _tiktoken_counter(name: str) -> Callable[[str], int] | None:
    """Counts with tiktoken's ranks, or None when they are not in its cache: its download is barred meanwhile."""
    try:
        import tiktoken
        import tiktoken.load
    except ImportError:
        return None

    def refuse(blobpath: str) -> bytes:
        raise FileNotFoundError(blobpath)

    with _LOADING:
        fetch = tiktoken.load.read_file
        tiktoken.load.read_file = refuse
        try:
            encoding = tiktoken.get_encoding(name)
        except (OSError, ValueError):
            return None
        finally:
            tiktoken.load.read_file = fetch
    return lambda text: len(encoding.encode(text, disallowed_special=()))
