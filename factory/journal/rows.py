"""What a journal stores, as rows: packed bodies, and a digest over every row so that a changed byte cannot pass.

The digest covers each field with its type and length. It is computed over the stored bytes, so a row is checked
before anything in it is decoded.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from factory.errors import FactoryError
from factory.types import Choice, LedgerEntry, Response, TokenLogprob, Usage

OK = "ok"
REUSED = "reused"
LOST = "lost"
ASSUMED = "assumed"
"""The outcome of a probe that was decided instead of asked, where requests are exported. It stands for good."""

COMPRESS_ABOVE = 512
"""Bytes from which on compressing saves enough to be worth its time."""
_WINDOW_BITS = 13
"""Of zlib: a quarter of its usual window, which takes longer to set up than a short text takes to compress."""
_COMPRESSED = (b"x", b"X")
"""How a zlib stream begins, with the usual window and with this one; no JSON object or array does."""
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt that may have been sent. `upper_bound_nano`: its worst case in nano-USD, None where unknown."""

    call_id: str
    attempt: int
    row: int | None
    step: str
    purpose: str
    model: str
    upper_bound_nano: int | None
    at: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What the journal knows about a call. `response` is None unless `outcome` is "ok"; `message` says why not.

    `nano_usd` is what the response cost when it was paid for, also where it was reused since. `request` is
    `Request.content()`.
    """

    call_id: str
    outcome: str
    response: Response | None
    message: str
    nano_usd: int | None
    price_source: str
    request: Mapping[str, Any]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"the journal cannot store a {type(value).__name__}")


def pack(value: Any) -> bytes:
    """`value` as JSON bytes, compressed where that helps. Raises TypeError on what JSON cannot hold."""
    try:
        raw = orjson.dumps(value, default=_plain)
    except TypeError:  # lone surrogates and integers beyond 64 bits: the standard library takes them
        raw = json.dumps(value, default=_plain).encode()
    if len(raw) > COMPRESS_ABOVE:
        squeezed = zlib.compress(raw, 1, wbits=_WINDOW_BITS)
        if len(squeezed) < len(raw):
            return squeezed
    return raw


def unpack(raw: bytes) -> Any:
    """The value that `pack` was given (tuples come back as lists)."""
    text = zlib.decompress(raw) if raw[:1] in _COMPRESSED else raw
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


class PackedMapping(Mapping[str, Any]):
    """A packed JSON object, unpacked when it is first looked into: a replayed call seldom needs its request."""

    __slots__ = ("_values", "raw")

    def __init__(self, raw: bytes):
        self.raw = raw
        self._values: dict[str, Any] | None = None

    def _unpacked(self) -> dict[str, Any]:
        if self._values is None:
            self._values = unpack(self.raw)
        return self._values

    def __getitem__(self, key: str) -> Any:
        return self._unpacked()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._unpacked())

    def __len__(self) -> int:
        return len(self._unpacked())

    def __repr__(self) -> str:
        return repr(self._unpacked())


def digest_fields(fields: Sequence[Any]) -> bytes:
    """16 bytes over the fields of a row (None, int, float, str or bytes), with types and lengths."""
    parts: list[bytes] = []
    for value in fields:
        if value is None:
            parts.append(b"n;")
        elif isinstance(value, int):
            parts.append(b"i%d;" % value)
        elif isinstance(value, float):
            parts.append(b"f" + struct.pack("<d", value))
        else:
            raw = value if isinstance(value, bytes) else value.encode()
            parts.append(b"b%d:" % len(raw))
            parts.append(raw)
    return hashlib.sha256(b"".join(parts)).digest()[:16]


def key_of(call_id: str) -> bytes:
    """The 16 bytes of a call_id. Raises FactoryError on anything but 32 hex digits."""
    try:
        key = bytes.fromhex(call_id)
    except ValueError:
        key = b""
    if len(key) != 16:
        raise FactoryError(f"{call_id!r} is not a call_id (32 hex digits)")
    return key


def _text(value: str) -> str:
    """`value` as UTF-8 can hold it: a lone surrogate becomes its escape."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _integer(name: str, value: int | None) -> int | None:
    if value is not None and not -_INT64 <= value < _INT64:
        raise FactoryError(f"the journal cannot store {name} = {value}: it needs more than 64 bits")
    return value


def encode_entry(entry: LedgerEntry) -> tuple[Any, ...]:
    """A ledger row after its id: the entry's fields in order, then the digest."""
    fields = (
        key_of(entry.call_id),
        _integer("attempt", entry.attempt),
        _integer("row", entry.row),
        _text(entry.step),
        _text(entry.purpose),
        _text(entry.model),
        _integer("prompt_tokens", entry.prompt_tokens),
        _integer("cached_tokens", entry.cached_tokens),
        _integer("completion_tokens", entry.completion_tokens),
        _integer("reasoning_tokens", entry.reasoning_tokens),
        _integer("nano_usd", entry.nano_usd),
        _integer("upper_bound_nano_usd", entry.upper_bound_nano_usd),
        _text(entry.price_source),
        _text(entry.outcome),
        None if entry.latency_s is None else float(entry.latency_s),
        _text(entry.at),
        None if entry.gpu_seconds is None else float(entry.gpu_seconds),
    )
    return (*fields, digest_fields(fields))


def decode_entry(fields: Sequence[Any]) -> LedgerEntry:
    """The entry of a ledger row's fields (without id and digest), as `encode_entry` wrote them."""
    return LedgerEntry(
        fields[0].hex(),
        fields[1],
        fields[2],
        fields[3].decode(),
        fields[4].decode(),
        fields[5].decode(),
        fields[6],
        fields[7],
        fields[8],
        fields[9],
        fields[10],
        fields[11],
        fields[12].decode(),
        fields[13].decode(),
        fields[14],
        fields[15].decode(),
        fields[16],
    )


def encode_lease(lease: Lease) -> tuple[Any, ...]:
    """A lease row after its id, digest last."""
    fields = (
        key_of(lease.call_id),
        _integer("attempt", lease.attempt),
        _integer("row", lease.row),
        _text(lease.step),
        _text(lease.purpose),
        _text(lease.model),
        _integer("upper_bound_nano", lease.upper_bound_nano),
        _text(lease.at),
    )
    return (*fields, digest_fields(fields))


def decode_lease(fields: Sequence[Any]) -> Lease:
    """The lease of a row's fields (without id and digest)."""
    step, purpose, model, at = (fields[place].decode() for place in (3, 4, 5, 7))
    return Lease(fields[0].hex(), fields[1], fields[2], step, purpose, model, fields[6], at)


def encode_stored(stored: Stored) -> tuple[Any, ...]:
    """The part of a response row that `stored` decides: outcome, response, message, money, request."""
    response = stored.response
    packed = None
    if response is not None:
        usage = response.usage
        packed = pack(
            {
                "choices": [_pack_choice(choice) for choice in response.choices],
                "usage": [
                    usage.prompt_tokens,
                    usage.completion_tokens,
                    usage.cached_tokens,
                    usage.reasoning_tokens,
                    usage.estimated,
                    usage.gpu_seconds,
                ],
                "model": response.model,
            }
        )
    return (
        _text(stored.outcome),
        packed,
        _text(stored.message),
        _integer("nano_usd", stored.nano_usd),
        _text(stored.price_source),
        stored.request.raw if isinstance(stored.request, PackedMapping) else pack(stored.request),
    )


def _pack_choice(choice: Choice) -> list[Any]:
    """Text, end and reasoning; log-probabilities behind them, where there are some."""
    packed: list[Any] = [choice.text, choice.finish_reason, choice.reasoning]
    if choice.logprobs is not None:
        packed.append([[one.token, one.logprob, one.top] for one in choice.logprobs])
    return packed


def _unpack_choice(text: str, reason: str, thought: str | None, logprobs: list[Any] | None = None) -> Choice:
    if logprobs is None:
        return Choice(text, reason, thought)
    tokens = tuple(TokenLogprob(token, value, tuple((t, p) for t, p in top)) for token, value, top in logprobs)
    return Choice(text, reason, thought, tokens)


def response_row(key: bytes, row: int | None, entry: int, body: tuple[Any, ...]) -> tuple[Any, ...]:
    """A response row after its id: key, planned row, the ledger id that brought it, `encode_stored`'s part, digest."""
    fields = (key, row, entry, *body)
    return (*fields, digest_fields(fields))


def decode_stored(fields: Sequence[Any]) -> Stored:
    """What a response row's fields (without id and digest) hold. Its `request` is unpacked on demand."""
    response = None
    if fields[4] is not None:
        body = unpack(fields[4])
        response = Response(
            tuple(_unpack_choice(*choice) for choice in body["choices"]),
            Usage(*body["usage"]),
            body["model"],
        )
    return Stored(
        fields[0].hex(),
        fields[3].decode(),
        response,
        fields[5].decode(),
        fields[6],
        fields[7].decode(),
        PackedMapping(fields[8]),
    )


def lost_entry(lease: Lease) -> LedgerEntry:
    """What an unsettled lease becomes after a crash: no tokens, no cost, its upper bound."""
    return LedgerEntry(
        call_id=lease.call_id,
        attempt=lease.attempt,
        row=lease.row,
        step=lease.step,
        purpose=lease.purpose,
        model=lease.model,
        prompt_tokens=None,
        cached_tokens=None,
        completion_tokens=None,
        reasoning_tokens=None,
        nano_usd=None,
        upper_bound_nano_usd=lease.upper_bound_nano,
        price_source="unknown",
        outcome=LOST,
        latency_s=None,
        at=lease.at,
    )


def spent_by(nano_usd: int | None, upper_bound: int | None) -> int:
    """What an attempt counts against the budget: its cost, else its upper bound, else 0 (no price was known)."""
    if nano_usd is not None:
        return nano_usd
    return upper_bound or 0
