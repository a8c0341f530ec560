"""Log-probabilities of an answer's tokens, as servers send them: read with tolerance, for many send none, or others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.types import TokenLogprob

FLOOR = -9999.0
"""Stands for minus infinity, and for anything below: JSON, and so the journal, cannot hold an infinity."""
_MOST_TOP = 20


def read_logprobs(found: Any) -> tuple[TokenLogprob, ...] | None:
    """`{"content": [{token, logprob, top_logprobs}]}`, its list alone, or the columns `tokens` and `token_logprobs`.

    None where there is nothing, or nothing that can be read: a server may drop what was asked for. Values lie within
    [`FLOOR`, 0].
    """
    entries = found.get("content") if isinstance(found, Mapping) else found
    if isinstance(found, Mapping) and entries is None:
        return _read_columns(found)
    if not isinstance(entries, list) or not entries:
        return None
    read = tuple(_read_entry(entry) for entry in entries)
    tokens = tuple(token for token in read if token is not None)
    return tokens if len(tokens) == len(read) else None


def _read_entry(entry: Any) -> TokenLogprob | None:
    if not isinstance(entry, dict):
        return None
    token, value = entry.get("token"), _clamp(entry.get("logprob"))
    if not isinstance(token, str) or value is None:
        return None
    others = entry.get("top_logprobs")
    if not others or not isinstance(others, list):
        return TokenLogprob(token, value)
    named = (other for other in others[:_MOST_TOP] if isinstance(other, dict))
    pairs = ((other.get("token"), _clamp(other.get("logprob"))) for other in named)
    return TokenLogprob(token, value, tuple((t, p) for t, p in pairs if isinstance(t, str) and p is not None))


def _read_columns(found: Mapping[str, Any]) -> tuple[TokenLogprob, ...] | None:
    """The older shape: a list of tokens, one of values, and one of mappings from token to value."""
    tokens, values, tops = found.get("tokens"), found.get("token_logprobs"), found.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or not tokens or len(tokens) != len(values):
        return None
    read = []
    for place, (token, given) in enumerate(zip(tokens, values, strict=True)):
        value = _clamp(given)
        if not isinstance(token, str) or value is None:
            return None
        top = tops[place] if isinstance(tops, list) and place < len(tops) and isinstance(tops[place], dict) else {}
        pairs = ((name, _clamp(one)) for name, one in list(top.items())[:_MOST_TOP])
        read.append(TokenLogprob(token, value, tuple((name, one) for name, one in pairs if one is not None)))
    return tuple(read)


def _clamp(value: Any) -> float | None:
    """The value within [FLOOR, 0]; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    return float(max(FLOOR, min(0.0, value)))


def skip(tokens: tuple[TokenLogprob, ...] | None, answer: str) -> tuple[TokenLogprob, ...] | None:
    """Without the tokens before `answer`, such as those of reasoning; as they are where they do not spell it."""
    if not tokens or not answer:
        return tokens
    whole = "".join(token.token for token in tokens)
    start = whole.rfind(answer)
    if start <= 0:
        return tokens
    at = 0
    for place, token in enumerate(tokens):
        at += len(token.token)
        if at > start:
            return tokens[place:]
    return tokens


def keep(tokens: tuple[TokenLogprob, ...] | None, length: int) -> tuple[TokenLogprob, ...] | None:
    """The tokens that begin within the first `length` characters."""
    if tokens is None:
        return None
    at = 0
    for place, token in enumerate(tokens):
        if at >= length:
            return tokens[:place]
        at += len(token.token)
    return tokens
