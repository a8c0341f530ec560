"""How the test server behaves: settings, fates, counts and the bytes of every reply. See `fault_server.py`."""

from __future__ import annotations

import email.utils
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from fault_answers import MODELS, count_prompt, make_answer
from fault_responses import chat_of, response_of, unknown_field

KINDS = {
    "rate_limit": "429 with Retry-After in seconds",
    "rate_limit_date": "429 with Retry-After as an HTTP date",
    "rate_limit_bare": "429 without Retry-After",
    "quota": "429 insufficient_quota",
    "server_error": "500",
    "unavailable": "503",
    "reset_early": "connection reset at once, nothing generated",
    "reset_late": "connection reset after generation, before the headers (billed)",
    "reset_body": "connection reset in the middle of the body (billed)",
    "truncated": "connection closed in the middle of the body (billed)",
    "garbage": "200 with an HTML page (billed)",
    "wrong_shape": "200 with JSON that is no completion (billed)",
    "not_http": "bytes that are no HTTP (billed)",
    "empty_choices": "200 with `choices: []` and a usage without completion (billed)",
    "missing_choices": "200 without `choices` (billed)",
    "hang": "no answer, ever",
    "trickle": "a good answer, one byte at a time, `trickle` seconds apart (billed)",
}
RESETS = ("reset_early", "reset_late", "reset_body")
STANDARD_FAULTS = {
    "rate_limit": 0.025,
    "rate_limit_bare": 0.025,
    "server_error": 0.03,
    "reset": 0.02,
    "truncated": 0.01,
    "empty_choices": 0.01,
}
"""5% 429, 3% 500, 2% resets, 1% truncated bodies, 1% empty `choices`."""


@dataclass(frozen=True)
class Settings:
    """How the server behaves; see the module's text. Times are seconds."""

    models: tuple[str, ...] = MODELS
    latency: float = 0.0
    jitter: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    fault_seed: int = 0
    retry_after: float = 0.05
    poison: str = "POISON"
    forbidden: str = "FORBIDDEN"
    context_length: int | None = None
    refuse: tuple[str, ...] = ()
    n_mode: str = "honour"
    seed_mode: str = "honour"
    format_mode: str = "honour"
    logprobs_mode: str = "honour"
    responses_only: tuple[str, ...] = ()
    key: str | None = None
    usage: bool = True
    saturation: int = 0
    thrash: float = 1.5
    trickle: float = 0.1
    die_after: int | None = None
    outage: float = 10.0

    def shares(self) -> tuple[tuple[float, str], ...]:
        """Fault kinds with their cumulative shares."""
        total, steps = 0.0, []
        for kind, share in self.faults.items():
            if kind != "reset" and kind not in KINDS:
                raise ValueError(f"no such fault: {kind}; one of reset, {', '.join(KINDS)}")
            for part in RESETS if kind == "reset" else (kind,):
                total += share / 3 if kind == "reset" else share
                steps.append((total, part))
        return tuple(steps)


@dataclass
class Entry:
    """One chat request in the log."""

    number: int
    hash: str
    outcome: str = "ok"
    n: int = 1
    prompt_tokens: int = 0
    completion_tokens: int = 0
    gone: bool = False


@dataclass(frozen=True)
class Reply:
    """What goes over the wire: `cut` is how much of `data` is sent.

    `end`: what follows (keep, close, reset, hang), or how it is sent (trickle).
    """

    data: bytes
    cut: int | None = None
    end: str = "keep"
    delay: float = 0.0


class State:
    """Settings and counts of one server."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.shares = settings.shares()
        self.connections = 0
        self.died = False
        self.reset()

    def reset(self) -> None:
        self.requests = self.in_flight = self.max_concurrent = self.delivered = self.repeated = 0
        self.log: list[Entry] = []
        self.seen: set[str] = set()

    def configure(self, **changes: Any) -> None:
        for name in ("models", "refuse", "responses_only"):
            if name in changes:
                changes[name] = tuple(changes[name])
        if "die_after" in changes:
            self.died = False
        self.settings = replace(self.settings, **changes)
        self.shares = self.settings.shares()

    def stats(self, log: bool = False) -> dict[str, Any]:
        billed = [entry for entry in self.log if entry.prompt_tokens or entry.completion_tokens]
        counts: dict[str, Any] = {
            "requests": self.requests,
            "outcomes": dict(Counter(entry.outcome for entry in self.log)),
            "billed_requests": len(billed),
            "billed_prompt_tokens": sum(entry.prompt_tokens for entry in billed),
            "billed_completion_tokens": sum(entry.completion_tokens for entry in billed),
            "delivered": self.delivered,
            "repeated": self.repeated,
            "gone": sum(entry.gone for entry in self.log),
            "in_flight": self.in_flight,
            "max_concurrent": self.max_concurrent,
            "connections": self.connections,
        }
        return counts | ({"log": [vars(entry) for entry in self.log]} if log else {})

    def uniform(self, number: int, name: bytes) -> float:
        digest = hashlib.sha256(b"%d:%d:%b" % (self.settings.fault_seed, number, name)).digest()
        return int.from_bytes(digest[:7], "big") / (1 << 56)

    def fate(self, number: int) -> str:
        if not self.shares:
            return "ok"
        draw = self.uniform(number, b"fate")
        return next((kind for upto, kind in self.shares if draw < upto), "ok")

    def delay(self, number: int) -> float:
        settings = self.settings
        if not settings.latency:
            return 0.0
        crowd = max(1.0, self.in_flight / settings.saturation) if settings.saturation else 1.0
        return settings.latency * (1 + settings.jitter * self.uniform(number, b"latency")) * crowd**settings.thrash

    def dies_now(self) -> bool:
        """Whether the request that arrives is the one that kills the server, once."""
        after = self.settings.die_after
        if after is None or self.died or self.requests < after:
            return False
        self.died = True
        return True


def encode(status: int, body: bytes, extra: str = "", kind: str = "application/json") -> bytes:
    """An HTTP answer."""
    reason = {200: "OK", 404: "Not Found", 429: "Too Many Requests"}.get(status, "Whatever")
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def refusal(status: int, message: str, code: str | None = None, extra: str = "", param: str | None = None) -> bytes:
    """An error as the API words it."""
    kind = {401: "authentication_error", 429: "requests", 500: "server_error"}.get(status, "invalid_request_error")
    fault = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return encode(status, orjson.dumps(fault), extra)


def check_forms(settings: Settings, body: dict[str, Any]) -> tuple[str, bytes] | None:
    """The refusal of a `response_format` or of `logprobs`; what is ignored is taken out of the body."""
    form = body.get("response_format")
    if form is not None and settings.format_mode == "refuse":
        text = "Unsupported parameter: 'response_format' is not supported with this model."
        return "unsupported", refusal(400, text, "unsupported_parameter", param="response_format")
    if form is not None and settings.format_mode == "object_only" and form.get("type") == "json_schema":
        text = "This response_format type is unavailable now: response_format.type must be json_object"
        return "unsupported", refusal(400, text)
    if "logprobs" in body and settings.logprobs_mode == "refuse":
        return "unsupported", refusal(400, "logprobs are not supported with reasoning models.", param="logprobs")
    if settings.format_mode == "ignore":
        body.pop("response_format", None)
    if settings.logprobs_mode == "ignore":
        body.pop("logprobs", None)
    return None


def check(settings: Settings, body: dict[str, Any], key: str) -> tuple[str, bytes] | None:
    """The refusal that this request always gets, with its outcome."""
    if settings.key is not None and key != f"Bearer {settings.key}":
        return "no_key", refusal(401, f"Incorrect API key provided: {key[7:]}.", "invalid_api_key")
    if body.get("model") not in settings.models:
        text = f"The model `{body.get('model')}` does not exist or you do not have access to it."
        return "no_model", refusal(404, text, "model_not_found")
    for name in settings.refuse:
        if name in body:
            hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            text = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
            return "unsupported", refusal(400, text, "unsupported_parameter", param=name)
    if settings.n_mode == "refuse" and body.get("n", 1) > 1:
        return "unsupported", refusal(400, "n > 1 is not supported: only one completion choice is allowed", param="n")
    if refused := check_forms(settings, body):
        return refused
    prompt = "\n".join(str(message.get("content")) for message in body["messages"])
    if settings.poison and settings.poison in prompt:
        return "poison", refusal(400, "This request is refused, always.", "invalid_value")
    if settings.forbidden and settings.forbidden in prompt:
        return "forbidden", refusal(400, "The prompt triggered the content filter.", "content_filter")
    if settings.context_length is not None and (tokens := count_prompt(body["messages"])) > settings.context_length:
        text = f"This model's maximum context length is {settings.context_length} tokens. Yours has {tokens} tokens."
        return "too_long", refusal(400, text, "context_length_exceeded", param="messages")
    return None


def fail(
    state: State, kind: str, full: bytes, answer: dict[str, Any], delay: float, shape: Callable[[Any], Any] = dict
) -> Reply:
    """The reply for a request whose fate is a fault."""
    wait = state.settings.retry_after
    middle = full.index(b"\r\n\r\n") + 4 + (len(full) - full.index(b"\r\n\r\n") - 4) // 2
    date = email.utils.formatdate(time.time() + wait, usegmt=True)
    page = b"<html><body><h1>It works!</h1></body></html>"
    bare = {name: value for name, value in answer.items() if name != "choices"}
    replies = {
        "rate_limit": lambda: Reply(refusal(429, "Rate limit reached.", "rate_limit", f"Retry-After: {wait:g}\r\n")),
        "rate_limit_date": lambda: Reply(refusal(429, "Rate limit reached.", None, f"Retry-After: {date}\r\n")),
        "rate_limit_bare": lambda: Reply(refusal(429, "Rate limit reached.", "rate_limit")),
        "quota": lambda: Reply(refusal(429, "You exceeded your current quota.", "insufficient_quota")),
        "server_error": lambda: Reply(refusal(500, "The server had an error."), delay=delay),
        "unavailable": lambda: Reply(refusal(503, "The server is overloaded.")),
        "reset_early": lambda: Reply(b"", end="reset"),
        "reset_late": lambda: Reply(b"", end="reset", delay=delay),
        "reset_body": lambda: Reply(full, cut=middle, end="reset", delay=delay),
        "truncated": lambda: Reply(full, cut=middle, end="close", delay=delay),
        "garbage": lambda: Reply(encode(200, page, kind="text/html"), delay=delay),
        "wrong_shape": lambda: Reply(encode(200, b'{"status": "ok"}'), delay=delay),
        "not_http": lambda: Reply(b"\x00\x01 this is no HTTP\r\n\r\n", end="close", delay=delay),
        "empty_choices": lambda: Reply(encode(200, orjson.dumps(shape({**answer, "choices": []}))), delay=delay),
        "missing_choices": lambda: Reply(encode(200, orjson.dumps(shape(bare))), delay=delay),
        "hang": lambda: Reply(b"", end="hang"),
        "trickle": lambda: Reply(full, end="trickle", delay=delay),
    }
    return replies[kind]()


UNBILLED = frozenset({k for k in KINDS if k.startswith("rate_")} | {"quota", "server_error", "unavailable"}) | {
    "reset_early",
    "hang",
}


def read_request(settings: Settings, raw: bytes, responses: bool) -> tuple[dict[str, Any], tuple[str, bytes] | None]:
    """The chat request in a body, with the refusal of one that came to the wrong API. Raises what decoding raises."""
    body = orjson.loads(raw)
    if responses and (name := unknown_field(body)):
        text = f"Unknown parameter: '{name}'."
        return {}, ("unsupported", refusal(400, text, "unknown_parameter", param=name))
    body = chat_of(body) if responses else body
    body["messages"][0]["role"]
    if body.get("model") in settings.responses_only and not responses:
        text = "This model is only supported in v1/responses and not in v1/chat/completions."
        return body, ("other_api", refusal(404, text, param="model"))
    return body, None


def handle_chat(state: State, raw: bytes, key: str, *, responses: bool = False) -> tuple[Entry, Reply]:
    """Count a chat request, or one to the Responses API, decide its fate and make its answer."""
    state.requests += 1
    entry = Entry(state.requests, hashlib.blake2b(raw, digest_size=8).hexdigest())
    state.log.append(entry)
    state.repeated += entry.hash in state.seen
    settings = state.settings
    try:
        body, refused = read_request(settings, raw, responses)
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        entry.outcome = "invalid"
        return entry, Reply(refusal(400, "The body is no chat completion request."))
    delay = state.delay(entry.number)
    if refused := refused or check(settings, body, key):
        entry.outcome = refused[0]
        return entry, Reply(refused[1])
    entry.n = max(1, int(body.get("n") or 1)) if settings.n_mode == "honour" else 1
    salt = str(entry.number) if settings.seed_mode == "random" else ""
    if settings.seed_mode != "honour":
        body.pop("seed", None)
    entry.outcome = state.fate(entry.number)
    answer, billed = make_answer(body, entry.n, salt, with_usage=settings.usage)
    if entry.outcome in ("empty_choices", "missing_choices"):
        billed["completion_tokens"] = 0
        if settings.usage:
            answer["usage"] |= {**billed, "total_tokens": billed["prompt_tokens"]}
            answer["usage"]["completion_tokens_details"] = {"reasoning_tokens": 0}
    if entry.outcome not in UNBILLED:
        entry.prompt_tokens, entry.completion_tokens = billed["prompt_tokens"], billed["completion_tokens"]
    shape = response_of if responses else dict
    full = encode(200, orjson.dumps(shape(answer)))
    if entry.outcome == "ok":
        return entry, Reply(full, delay=delay)
    return entry, fail(state, entry.outcome, full, answer, delay, shape)


def handle_other(state: State, method: str, path: str, raw: bytes, key: str) -> bytes:
    """Everything but chat completions."""
    bare = path.split("?")[0]
    if bare == "/_stats":
        return encode(200, orjson.dumps(state.stats(log="log=1" in path)))
    if method == "POST" and bare in ("/_reset", "/_config"):
        try:
            state.reset() if bare == "/_reset" else state.configure(**orjson.loads(raw))
        except (TypeError, ValueError) as error:
            return refusal(400, str(error))
        return encode(200, b"{}")
    if method == "GET" and bare.endswith("/models"):
        if state.settings.key is not None and key != f"Bearer {state.settings.key}":
            return refusal(401, f"Incorrect API key provided: {key[7:]}.", "invalid_api_key")
        models = [{"id": name, "object": "model"} for name in state.settings.models]
        return encode(200, orjson.dumps({"object": "list", "data": models}))
    return refusal(404, f"Unknown request URL: {method} {bare}", "unknown_url")
