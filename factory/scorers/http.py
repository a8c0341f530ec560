"""HTTP: a validator of one's own, on this machine or network, judges each candidate."""

from __future__ import annotations

import asyncio
import json
import math
import weakref
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from factory.backends.addresses import from_environment, host_of, is_http_url, is_private, proxy_for, server_name
from factory.backends.faults import fault_of_exception
from factory.backends.http import Sessions
from factory.errors import (
    CallFault,
    KeyRefused,
    Refused,
    ServerFault,
    ServerUnreachable,
    UsageError,
    nearest,
)
from factory.scorers import Context, Setup, Traits, as_text, column, shorten
from factory.types import Candidate, Score

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER = 1_000_000
MAX_REDIRECTS = 3
MAX_REASON = 300
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
_HINT = "start it, or mend it or `url`, and run the same command again: it goes on where it stopped"
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_SECRETS = ("key", "token", "secret", "password", "passwd", "auth", "signature", "sig")


class _Line:
    """What one event loop uses: sessions that end with it, and so many places at the validator."""

    def __init__(self, sessions: Sessions, concurrency: int):
        self.sessions = sessions
        self.places = asyncio.Semaphore(concurrency)
        self._ending = self._close_at_the_end()
        self._begun = False

    async def session(self) -> aiohttp.ClientSession:
        if not self._begun:
            self._begun = True
            await anext(self._ending)
        return await self.sessions.get()

    async def _close_at_the_end(self) -> AsyncGenerator[None, None]:
        """An event loop that ends closes the asynchronous generators that it began: this one closes the sessions."""
        try:
            yield
        finally:
            await self.sessions.close()

    async def close(self) -> None:
        await self._ending.aclose()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the validator sent: status, where it redirects to, and the body (cut to one byte more than allowed)."""

    status: int
    location: str
    body: bytes


class http:
    """What a validator of one's own says, 0…1, higher is better; its `"passed": false` vetoes.

    POSTs `{"row", "step", "candidate", "text", "fields", "variation"}` as JSON to `url`, with `"source"` where the row
    has one and `"prompt"` (messages) with `send_prompt`; with `on`, `text` is that column. Expects `{"value": number
    from 0 to 1 or null, "passed": bool, "reason": str}`. An answer in another form is a missing score, and vetoes. A
    validator that cannot be reached, or fails `retries` times more, stops the run, resumably. `url`: a loopback or
    private address unless `allow_remote`. `key_env`: the environment variable whose value is sent as a bearer token.
    Verdicts are not journaled: only a validator that always says the same gives the same dataset again.
    """

    traits = Traits(0, 1, expense="check")

    def __init__(
        self,
        *,
        url: str,
        timeout: float = 30.0,
        retries: int = 3,
        concurrency: int = 8,
        allow_remote: bool = False,
        send_prompt: bool = False,
        key_env: str | None = None,
        on: str | None = None,
    ):
        _check_url(url, allow_remote)
        if not 0 < timeout <= 3600:
            raise UsageError(f"`timeout: {timeout:g}` of `http`", "use seconds, above 0 and up to 3600")
        if not 0 <= retries <= 20 or not 1 <= concurrency <= 1024:
            raise UsageError("`retries` or `concurrency` of `http`", "0 to 20 retries, 1 to 1024 calls at a time")
        self.url, self.timeout, self.retries, self.concurrency = url, float(timeout), retries, concurrency
        self.send_prompt, self.key_env, self.on = send_prompt, key_env, on
        self._lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = weakref.WeakKeyDictionary()

    def bind(self, setup: Setup) -> None:
        """Check what only the environment and the recipe's columns tell. Raises UsageError."""
        if self.key_env is not None:
            from_environment(self.key_env, "the scorer `http`")
        if self.on is not None and setup.columns and self.on not in setup.columns:
            raise UsageError(f"`on: {self.on}` of `http` names no output column", nearest(self.on, setup.columns))

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        body = json.dumps(_as_json(self._question(candidate, context))).encode()
        answer = await self._ask(body, f"row {candidate.row}, candidate {candidate.index}")
        if answer.status != 200:
            said = shorten(answer.body[:400].decode("utf-8", "replace"))
            return Score("http", None, f"the validator refuses it: HTTP {answer.status} {said}".strip(), vetoed=True)
        return read_verdict(answer.body)

    async def close(self) -> None:
        """Close the connections of the running loop; they close by themselves when it ends."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.close()

    def _question(self, candidate: Candidate, context: Context) -> dict[str, Any]:
        question: dict[str, Any] = {
            "row": candidate.row,
            "step": candidate.step,
            "candidate": candidate.index,
            "text": candidate.text if self.on is None else as_text(column(candidate, self.on)),
            "fields": candidate.fields,
            "variation": context.variation.values,
        }
        if context.variation.source is not None:
            question["source"] = context.variation.source
        if self.send_prompt:
            question["prompt"] = [{"role": one.role, "content": one.content} for one in context.prompt.messages]
        return question

    def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
            if self.key_env is not None:
                headers["Authorization"] = f"Bearer {from_environment(self.key_env, 'the scorer `http`')}"
            line = self._lines[loop] = _Line(Sessions(self.url, headers, self.timeout), self.concurrency)
        return line

    async def _ask(self, body: bytes, which: str) -> Answer:
        """The validator's answer, after retries. Raises ServerUnreachable, KeyRefused."""
        line, fault = self._line(), CallFault("no attempt")
        for attempt in range(self.retries + 1):
            if attempt:
                await asyncio.sleep(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)))
            async with line.places:
                try:
                    return await self._post(line, body)
                except Refused as refused:
                    kind = KeyRefused if refused.status in (401, 403) else ServerUnreachable
                    raise kind(f"the validator at {server_name(self.url)}: {refused.message}", _HINT) from None
                except CallFault as caught:
                    fault = caught
        times = f"{self.retries + 1} times" if self.retries else "once"
        raise ServerUnreachable(
            f"the validator at {server_name(self.url)} failed {times} on {which}: {fault.message}",
            _HINT,
        )

    async def _post(self, line: _Line, body: bytes) -> Answer:
        """One attempt; redirects within the same server are followed."""
        url = self.url
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._send(line, url, body)
            if answer.status in (307, 308):
                url = _redirected(url, answer.location)
                continue
            if answer.status in _AGAIN:
                raise ServerFault(f"HTTP {answer.status}", status=answer.status)
            if 300 <= answer.status < 400:
                raise Refused(f"it redirects by HTTP {answer.status}, which no POST follows")
            if answer.status in (401, 403):
                told = "it wants another key: `key_env` names the variable that holds it"
                raise Refused(f"HTTP {answer.status}, {told}", status=answer.status)
            if answer.status in (404, 405, 501):
                raise Refused(f"HTTP {answer.status}: nothing takes a POST there")
            return answer
        raise Refused(f"it redirects more than {MAX_REDIRECTS} times")

    async def _send(self, line: _Line, url: str, body: bytes) -> Answer:
        session = await line.session()
        try:
            async with session.post(url, data=body, allow_redirects=False, proxy=proxy_for(url)) as response:
                read = await _read(response)
                return Answer(response.status, response.headers.get("Location", ""), read)
        except Exception as error:
            fault = fault_of_exception(error, timeout=self.timeout)
            if fault is None:
                raise
            raise fault from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, up to one byte more than is allowed."""
    read = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        read += chunk
        if len(read) > MAX_ANSWER:
            response.close()
            break
    return bytes(read[: MAX_ANSWER + 1])


def _as_json(value: Any) -> Any:
    """Columns and axis values as JSON holds them: null for what is no number, text for dates and the like."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return as_text(value)


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if not location or not is_http_url(target) or _origin(target) != _origin(url):
        raise Refused("it redirects to another server, which is not followed: write that one's address")
    return target


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, host_of(url), parts.port or (443 if parts.scheme == "https" else 80)


def _check_url(url: str, allow_remote: bool) -> None:
    if not is_http_url(url):
        raise UsageError(f"`url: {shorten(url)}` of `http` is no URL", "write http://127.0.0.1:PORT/PATH")
    parts = urlsplit(url)
    named = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if parts.username or parts.password or any(_is_secret(name) for name in named):
        raise UsageError(
            f"`url` of `http` holds a key for {server_name(url)}, and a recipe is no place for one",
            "take it out, and name the environment variable that holds it with `key_env:`",
        )
    if not allow_remote and not is_private(host_of(url)):
        raise UsageError(
            f"`url` of `http` is {server_name(url)}, which is not on this machine or network",
            "every candidate would be sent there: write `allow_remote: true` if it may be",
        )


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in _SECRETS)


def read_verdict(body: bytes) -> Score:
    """The score that a validator's answer means. One in another form is a missing value that vetoes, never a 0."""
    if len(body) > MAX_ANSWER:
        return _malformed(f"more than {MAX_ANSWER:,} bytes")
    try:
        verdict = json.loads(body)
    except (ValueError, RecursionError):
        return _malformed(f"no JSON: '{shorten(body[:400].decode('utf-8', 'replace'))}'")
    if not isinstance(verdict, Mapping):
        return _malformed(f"a {type(verdict).__name__}, not an object")
    lacking = [key for key in ("value", "passed") if key not in verdict]
    if lacking:
        return _malformed(f"no `{lacking[0]}` in it")
    value, passed, reason = verdict["value"], verdict["passed"], verdict.get("reason", "")
    if not isinstance(passed, bool):
        return _malformed(f"`passed` is {shorten(json.dumps(passed))}, not true or false")
    if not isinstance(reason, str):
        return _malformed(f"`reason` is {shorten(json.dumps(reason))}, not a text")
    if value is not None and not (_is_number(value) and 0 <= value <= 1):
        return _malformed(f"`value` is {shorten(json.dumps(value))}, not null or a number from 0 to 1")
    told = shorten("".join(char if char.isprintable() else " " for char in reason[:2000]), MAX_REASON)
    return Score("http", None if value is None else float(value), told or ("" if passed else "refused"), not passed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _malformed(what: str) -> Score:
    return Score("http", None, f"the validator's verdict is malformed: {what}", vetoed=True)
