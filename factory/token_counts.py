"""Token counts where a server did not give them: estimates, and labelled so (`Usage.estimated`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cache

_LOADING = threading.Lock()
_ENCODING = "o200k_base"


def count_bytes(text: str) -> int:
    """UTF-8 bytes / 4, rounded up: the usual rule of thumb for English."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def estimate_tokens(texts: Iterable[str]) -> int:
    """Tokens of all texts together: by tiktoken's ranks where they are on this machine, else bytes / 4. No download."""
    count = _tiktoken_counter() or count_bytes
    return sum(count(text) for text in texts)


@cache
def _tiktoken_counter() -> Callable[[str], int] | None:
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
            encoding = tiktoken.get_encoding(_ENCODING)
        except (OSError, ValueError):
            return None
        finally:
            tiktoken.load.read_file = fetch
    return lambda text: len(encoding.encode(text, disallowed_special=()))
