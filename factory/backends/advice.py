"""What a fault's message says besides the server's words: what to do, and what the server has instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from factory.errors import CallFault, ContextTooLong, ModelMissing
from factory.token_counts import count_bytes, estimate_tokens
from factory.types import Request

LISTED = 330
"""Characters of a list of models."""
QUOTED = 230
"""Characters of the server's own words that stay before an advice."""
_COMPARED = 2000
_COUNTED = 200_000
_NUMBER = re.compile(r"(?<![\w.,-])\d[\d,]*(?![\w.]*[A-Za-z])")
"""A number that stands for itself: not part of a name such as `gpt-4-32k`, and not negative."""


def advise_model(fault: ModelMissing, wanted: str, served: Sequence[str]) -> None:
    """Add the server's models to the refusal of one it does not have, nearest first."""
    said = _cut(fault.message)
    if wanted in served:
        return _say(fault, f"{said} (the server lists `{wanted}` all the same: does it serve it under this base_url?)")
    names = _nearest_first(wanted, served)
    shown: list[str] = []
    length = 0
    for name in names:
        length += len(name) + 4
        if shown and length > LISTED:
            break
        shown.append(f"`{name[:100]}`")
    more = len(served) - len(shown)
    rest = f" and {more} more" if more > 0 else ""
    return _say(fault, f"{said.rstrip('. ')}; the server has {', '.join(shown)}{rest}")


def _nearest_first(wanted: str, served: Sequence[str]) -> list[str]:
    """By likeness to the whole name or to what follows its last slash; equal ones by name."""
    short = wanted.lower().rpartition("/")[2]

    def unlike(name: str) -> tuple[float, str]:
        low = name.lower()
        pairs = ((wanted.lower(), low), (short, low.rpartition("/")[2]))
        return -max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs), name

    return sorted(list(served)[:_COMPARED], key=unlike)


def advise_key(fault: CallFault, host: str, variable: str | None) -> None:
    """Say which key was refused, and where it was sent."""
    if variable is None:
        return _say(fault, f"{_cut(fault.message)} (no key was sent: name its variable with `api_key_env`)")
    lacks = "has no right to this" if fault.status == 403 else "was refused"
    return _say(fault, f"{_cut(fault.message)} (the key in ${variable}, sent to {host}, {lacks})")


def advise_deployment(fault: ModelMissing, wanted: str) -> None:
    """Say what Azure takes for a model. It does not tell a resource's deployments, so none can be named."""
    told = f"at Azure `model` is the name of a deployment of the resource in base_url: is there one named `{wanted}`?"
    _say(fault, f"{_cut(fault.message)} ({told})")


def advise_context(fault: ContextTooLong, request: Request) -> None:
    """Add the size of a prompt that does not fit, by our own count, where the server's words hold no two numbers."""
    said = re.sub(r"^HTTP \d+: ", "", fault.message)
    if len({number.replace(",", "").lstrip("0") for number in _NUMBER.findall(said)}) >= 2:
        return
    texts = [message.content for message in request.messages]
    # A tokenizer takes its time over a long text, and this one is too long: bytes are near enough.
    tokens = estimate_tokens(texts) if sum(map(len, texts)) <= _COUNTED else sum(map(count_bytes, texts))
    asked = request.sampling.max_tokens
    room = f", and max_tokens asks for {asked} more" if asked else ""
    _say(fault, f"{fault.message} (the prompt has about {tokens + 4 * len(texts)} tokens by our own estimate{room})")


def format_advice(kind: str, said: str) -> str:
    """The message of a refused `response_format`."""
    instead = "`structured: prompt`" if kind == "json_object" else "`structured: json_object` or `structured: prompt`"
    return f"{_cut(said)} (the server does not take this `response_format`: set {instead} on the model)"


def limit_advice(said: str) -> str:
    """The message of a `max_tokens` that is too small for the Responses API."""
    return f"{_cut(said)} (it stands for the model's `max_tokens`, which OpenAI's Responses API takes from 16 on)"


def _cut(said: str) -> str:
    return said if len(said) <= QUOTED else said[: QUOTED - 1] + "…"


def _say(fault: CallFault, message: str) -> None:
    fault.message = message
    fault.args = (message,)
