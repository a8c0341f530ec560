"""From what went wrong in one attempt to a `CallFault`: error answers, and every exception of aiohttp."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.errors import (
    BadBody,
    BadRequest,
    CallFault,
    ConnectionFailed,
    ConnectionLost,
    ContextTooLong,
    Filtered,
    ModelMissing,
    Overloaded,
    QuotaSpent,
    Refused,
    ServerFault,
    Unauthorized,
)

_LONGEST_MESSAGE = 1000
_QUOTA = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|exceeded your current quota|billing[_ ]hard[_ ]limit"
    r"|out of credits|billing_not_active|credit balance is too low|payment required",
    re.I,
)
_CONTEXT = re.compile(
    r"context[_ ]length[_ ]exceeded|exceed_context_size|exceeds? the (available )?context|maximum context length"
    r"|context (size|length|window|limit)\W.{0,40}exceed|exceed.{0,60}context (size|length|window|limit)"
    r"|(prompt|input|sequence|request).{0,60}(longer than|exceeds?|too long for) (the |this )?"
    r"(model|maximum (model|input|context|allowed|number of tokens))"
    r"|(prompt|input|request) is too long|larger than the context|but the model context window is"
    r"|`?max_new_tokens`? must be <= \d|max_tokens must be at least 1, got -|string_above_max_length",
    re.I | re.S,
)
_FILTER = re.compile(
    r"content[_ ](filter|policy|management)|responsible ?ai|data_inspection_failed|safety system|moderation|flagged as"
    r"|content_policy_violation|usage policies",
    re.I,
)
_TOO_LARGE = re.compile(r"request too large for", re.I)
_QUOTED = r"['\"`‘’“”]"
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|does(n't| not) support|unrecognized|unknown (parameter|argument|field)|not permitted"
    r"|not allowed|extra_forbidden|additional propert|unexpected keyword|deprecated|use 'max_completion_tokens'",
    re.I,
)
_ONE_CHOICE = re.compile(
    r"only one completion choice|\bn must be (equal to )?1\b|\bn ?(>|!=|greater than) ?1\b"
    r"|multiple (choices|completions)"
    rf"|{_QUOTED}n{_QUOTED}.{{0,40}}(at most|must be|equal to|less than or equal to) 1\b",
    re.I,
)
_NO_MODEL = re.compile(
    r"model_not_found|deploymentnotfound|model[_ ]not[_ ]exist|not a valid model|unknown model|no such model"
    rf"|invalid_model|invalid model: |invalid model( name| id)? ?{_QUOTED}"
    r"|\bmodel\W{1,3}[\w./:@-]{0,100}\W{0,3}(does not exist|(is )?not found)",
    re.I,
)
_RESPONSES = re.compile(
    r"v1/responses\b|not a chat model|(use|through|via|with) the responses api"
    r"|chat ?completions? operation does not work with the specified model",
    re.I,
)
_NOT_RESPONSES = re.compile(r"(not supported|can(no|')t be used|not available).{0,60}responses api", re.I | re.S)
_FORMAT = re.compile(
    r"response_?format|json[_ ]?schema|json[_ ]?object|json[_ ]mode|structured[_ ]outputs?|guided|grammar|schema"
    r"|text\.format|\bstrict\b",
    re.I,
)
_UNABLE = re.compile(r"not implemented|fail|could not|cannot|invalid", re.I)
ADAPTABLE = ("max_tokens", "temperature", "top_p", "seed", "logprobs", "top_logprobs")
"""Parameters that a server may refuse and that can be sent otherwise, or not at all."""
_ALSO_CALLED = {"include": "logprobs", "message.output_text.logprobs": "logprobs"}
"""What the Responses API calls them."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What a server says went wrong: its message, cut, and its codes (`code`, `type`, `param`) as text."""

    message: str
    code: str = ""
    kind: str = ""
    param: str = ""

    @property
    def words(self) -> str:
        return f"{self.code} {self.kind} {self.message}"


def read_error(data: bytes) -> ErrorBody:
    """The error of a body, in any of the shapes that servers use; a body that is no JSON is the message itself."""
    import orjson

    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", data[:20_000].decode("utf-8", "replace"), flags=re.S)
        return ErrorBody(_short(text))
    return error_of(body)


def error_of(body: Any) -> ErrorBody:
    """The error in a decoded body: `error` as an object or a text, the object itself, or FastAPI's `detail`."""
    found = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(found, dict) and "message" not in found and "detail" in found:
        found = found["detail"]
    if isinstance(found, list):
        return _read_details(found)
    if not isinstance(found, dict):
        return ErrorBody(_short(_text(found)))
    message = found.get("message") or found.get("msg") or found.get("error") or body
    parts = {name: "" if found.get(name) is None else _text(found[name])[:200] for name in ("code", "type", "param")}
    inner = found.get("innererror") or found.get("metadata")
    detail = f" {_text(inner)}" if isinstance(inner, dict) else ""
    if "n_prompt_tokens" in found:  # llama.cpp tells the sizes apart from its message
        detail += f" (n_prompt_tokens {_text(found['n_prompt_tokens'])}, n_ctx {_text(found.get('n_ctx'))})"
    return ErrorBody(_short(f"{_text(message)}{detail}"), parts["code"], parts["type"], parts["param"])


def _read_details(details: list[Any]) -> ErrorBody:
    """Validation errors as FastAPI lists them: `loc`, `msg`, `type`."""
    first = details[0] if details and isinstance(details[0], dict) else {}
    place = _place(first)
    told = [f"{'.'.join(_place(d))}: {_text(d.get('msg', ''))}" for d in details[:4] if isinstance(d, dict)]
    kind = _text(first.get("type", ""))[:200]
    return ErrorBody(_short("; ".join(told) or _text(details)), kind, "", place[-1][:200] if place else "")


def _place(detail: dict[str, Any]) -> list[str]:
    place = detail.get("loc")
    return [_text(part) for part in place] if isinstance(place, list) else []


def _text(value: Any) -> str:
    """A value of an error as text, whatever it is."""
    try:
        return str(value)
    except (RecursionError, ValueError):  # nested too deep; a number of more digits than Python writes
        return f"a {type(value).__name__} that cannot be shown"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait by `Retry-After` (seconds, or an HTTP date) or `retry-after-ms`; None without a usable one."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    then = _seconds_of(value)
    if then is None:
        return None
    # By the server's own clock where it tells it: ours may be off.
    start = _seconds_of(headers.get("Date", ""))
    if start is None:
        start = time.time() if now is None else now
    return max(0.0, then - start)


def _seconds_of(date: str) -> float | None:
    """Seconds since 1970 of an HTTP date; None for what is none."""
    try:
        read = email.utils.parsedate_tz(date)
        return None if read is None else email.utils.mktime_tz(read)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def fault_of_status(status: int, headers: Mapping[str, str], error: ErrorBody) -> CallFault:
    """The fault that an error answer means."""
    message = f"HTTP {status}: {error.message or 'no message'}"
    if _QUOTA.search(error.words) and status in (400, 402, 403, 429):
        return QuotaSpent(message, status=status)
    if status == 402:
        return QuotaSpent(message, status=status)
    if status in (400, 413, 422, 500) and _CONTEXT.search(error.words):
        return ContextTooLong(message, status=status)
    if status in (400, 403, 422, 451) and _FILTER.search(error.words):
        return Filtered(message, status=status)
    if status == 429:
        if _TOO_LARGE.search(error.message):
            return BadRequest(message, status=status)
        return Overloaded(message, retry_after=retry_after(headers))
    if status in (503, 529) and (wait := retry_after(headers)) is not None:
        return Overloaded(message, status=status, retry_after=wait)
    if status in (400, 403, 404, 422) and _NO_MODEL.search(error.words):
        return ModelMissing(message, status=status)
    if status >= 500 or status in (408, 409, 425):
        return ServerFault(message, status=status)
    if status in (401, 403, 407):
        return Unauthorized(message, status=status)
    if status in (404, 405, 410):
        return ModelMissing(message, status=status)
    if 300 <= status < 400:
        return Refused(f"HTTP {status}: redirected to {headers.get('Location', 'another place')}", status=status)
    return BadRequest(message, status=status)


def refused_parameter(status: int, error: ErrorBody, sent: Mapping[str, Any]) -> str | None:
    """The parameter of `ADAPTABLE` that was sent and that this server, by its own words, does not support."""
    if status not in (400, 403, 422) or _CONTEXT.search(error.words):
        return None
    if "n" in sent and _ONE_CHOICE.search(error.message):
        return None  # told as it is: whoever asked for several must know, and the message may name others too
    if not _UNSUPPORTED.search(error.words):
        return None
    if status == 403:  # "You are not allowed to request logprobs from this model" is no matter of the key
        return "logprobs" if "logprobs" in sent and _names(error.message, "logprobs") else None
    if error.param:
        name = _ALSO_CALLED.get(error.param.partition("[")[0], error.param)
        return name if name in ADAPTABLE and name in sent else None
    named = [name for name in ADAPTABLE if name in sent and _names(error.message, name)]
    # "'max_tokens' … use 'max_completion_tokens'" names one parameter; a list of several says nothing certain.
    return named[0] if len(named) == 1 or (named and set(named) <= {"logprobs", "top_logprobs"}) else None


def wants_responses(status: int, error: ErrorBody) -> bool:
    """Whether a server refuses chat completions for a model of its Responses API."""
    return status in (400, 404) and _RESPONSES.search(error.message) is not None


def refuses_responses(fault: CallFault) -> bool:
    """Whether a server has no Responses API, or none for this model."""
    return isinstance(fault, ModelMissing) or (
        isinstance(fault, BadRequest) and _NOT_RESPONSES.search(fault.message) is not None
    )


def refuses_format(status: int, error: ErrorBody) -> bool:
    """Whether an error answer to a request with a `response_format` is about it."""
    if status in (400, 422) and (error.param.startswith(("response_format", "text")) or _FORMAT.search(error.message)):
        return True
    told = f"{error.code} {error.message}"
    return status in (500, 501) and bool(_FORMAT.search(told) and (_UNSUPPORTED.search(told) or _UNABLE.search(told)))


def _names(message: str, parameter: str) -> bool:
    if re.search(rf"{_QUOTED}{parameter}{_QUOTED}", message):
        return True
    return parameter != "n" and re.search(rf"(?<![\w.]){parameter}(?!\w)", message) is not None


def fault_of_exception(error: BaseException, *, timeout: float) -> CallFault | None:
    """The fault that an exception of aiohttp, or of the sockets below it, means; None for what is not the network's.

    Messages are made anew: an exception of aiohttp carries the request's headers.
    """
    import aiohttp
    from aiohttp import http_exceptions

    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectionFailed(f"the proxy answered {error.status}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ConnectionFailed("the server's certificate is not trusted (SSL_CERT_FILE names other authorities)")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ServerFingerprintMismatch)):
        return ConnectionFailed(f"no connection: {_reason(error)}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectionFailed("no connection in time")
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, aiohttp.RedirectClientError)):
        return Refused("the address is no URL that can be called: check base_url")
    if isinstance(error, aiohttp.TooManyRedirects):
        return Refused("the server redirects for ever: check base_url")
    if isinstance(error, (aiohttp.ClientResponseError, http_exceptions.HttpProcessingError)):
        return BadBody("the answer is no HTTP")
    if isinstance(error, aiohttp.ClientPayloadError):
        if isinstance(error.__cause__, OSError):
            return ConnectionLost(f"the connection broke in the middle of the answer: {_reason(error.__cause__)}")
        return BadBody("the body ended early, or does not fit its encoding")
    if isinstance(error, TimeoutError):
        return ConnectionLost(f"no whole answer within {timeout:g} s")
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return ConnectionLost(f"the connection broke: {_reason(error)}")
    return None


def _reason(error: BaseException) -> str:
    """What an error says, without request headers: the operating system's words, else the name of its class."""
    inner = getattr(error, "os_error", error)
    words = getattr(inner, "strerror", None)
    return str(words) if words else type(error).__name__
