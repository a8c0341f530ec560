"""Any OpenAI-compatible server: a lean transport for chat completions. One attempt a call; faults are classified.

Parameters that a model refuses by name are sent as it wants them (`max_completion_tokens` for `max_tokens`) or not at
all (`temperature`, `top_p`, `seed`, `n`), remembered for as long as the backend is open and told by `notes()`. The
refusal is an error answer that costs nothing, so the request as the server wants it belongs to the same attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from factory.backends import faults
from factory.backends.addresses import base_url_of, host_of, is_loopback, key_of, proxy_for, server_name
from factory.backends.answers import decode, read_answer
from factory.backends.http import Sessions
from factory.errors import BadBody, CallFault, ModelMissing, Unauthorized
from factory.types import Request, Response

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig

_HIDDEN = "[key]"
_SURELY_SECRET = 12
"""Characters from which on a key is taken out of whole answers, before a message is cut out of them."""
_SECRET_WORDS = ("authorization", "key", "token", "secret", "cookie")


def open_backend(model: ModelConfig) -> ChatServer:
    """The server of a model, ready to be asked; nothing is connected yet.

    Raises UsageError for a `base_url` that is none, and for a missing key, naming its environment variable.
    """
    return ChatServer(model, key_of(model))


async def list_models(model: ModelConfig) -> tuple[str, ...]:
    """The names that the model's server offers (GET /models). Raises UsageError like `open_backend`, or a CallFault."""
    server = open_backend(model)
    try:
        body = await server.get("/models")
    finally:
        await server.close()
    entries = body.get("data", body.get("models")) if isinstance(body, dict) else body
    if not isinstance(entries, list):
        raise BadBody("the list of models has another shape")
    named = [entry.get("id") or entry.get("name") if isinstance(entry, dict) else entry for entry in entries]
    return tuple(sorted(str(name) for name in named if name))


class ChatServer:
    """A model behind POST {base_url}/chat/completions. `local` is true for a server on this machine."""

    honours_n: bool | None = None

    def __init__(self, model: ModelConfig, key: str | None):
        self._url = base_url_of(model)
        self._where = server_name(self._url)
        self._timeout = model.timeout
        self._proxy = proxy_for(self._url)
        self._keyless = key is None
        headers = {"Content-Type": "application/json", "User-Agent": "text-data-factory", **model.headers}
        self._secrets = [v for k, v in model.headers.items() if any(word in k.lower() for word in _SECRET_WORDS)]
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
            self._secrets.append(key)
        self._secrets = [secret for secret in self._secrets if len(secret) >= 6]
        self._sessions = Sessions(self._url, headers, model.timeout)
        self._refused: set[str] = set()
        self.local = is_loopback(host_of(self._url))

    def __repr__(self) -> str:
        return f"ChatServer({self._url!r})"

    def notes(self) -> tuple[str, ...]:
        """What this server is not sent as it was asked, in plain words; empty when everything is."""
        told = {"max_tokens": "sent as `max_completion_tokens`"}
        return tuple(
            f"{self._where}: `{name}` is {told.get(name, 'not sent')}, since the server refuses it"
            for name in faults.ADAPTABLE
            if name in self._refused
        )

    async def generate(self, request: Request) -> Response:
        """One attempt. Raises a CallFault; never fewer than one choice."""
        try:
            return read_answer(await self._complete(request_body(request)), request)
        except CallFault as fault:
            self._clean(fault)
            raise

    async def get(self, path: str) -> Any:
        """The decoded body of GET {base_url}{path}. Raises a CallFault."""
        try:
            return await self._fetch("GET", path, None, {})
        except CallFault as fault:
            self._clean(fault)
            raise

    async def responds(self, seconds: float) -> bool:
        """Whether the server answers GET {base_url}/models in time, with whatever: then it is slow, not gone."""
        try:
            async with asyncio.timeout(seconds):
                await self._exchange("GET", "/models", None)
        except (CallFault, TimeoutError):
            return False
        return True

    async def _complete(self, wanted: Mapping[str, Any]) -> Any:
        """The body of the answer to a request, sent as far as this server takes its parameters."""
        import orjson

        while True:
            body = adapt(wanted, self._refused)
            try:
                return await self._fetch("POST", "/chat/completions", orjson.dumps(body), body)
            except _ParameterRefused as refusal:
                self._refused.add(refusal.name)

    async def close(self) -> None:
        """Close the connections."""
        await self._sessions.close()

    async def _fetch(self, method: str, path: str, data: bytes | None, sent: Mapping[str, Any]) -> Any:
        """The decoded body of a good answer. Raises a CallFault, or _ParameterRefused for one of those `sent`."""
        status, headers, raw = await self._exchange(method, path, data)
        for secret in self._secrets:
            if len(secret) >= _SURELY_SECRET and secret.encode() in raw:
                raw = raw.replace(secret.encode(), _HIDDEN.encode())
        if 200 <= status < 300:
            body = decode(raw)
            if isinstance(body, dict) and body.get("error") and not body.get("choices"):
                raise _fault_in_body(body)
            return body
        error = faults.read_error(raw)
        name = faults.refused_parameter(status, error, sent)
        if name is not None:
            raise _ParameterRefused(name)
        raise faults.fault_of_status(status, headers, error)

    async def _exchange(self, method: str, path: str, data: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        session = await self._sessions.get()
        try:
            async with session.request(
                method, self._url + path, data=data, proxy=self._proxy, allow_redirects=False
            ) as response:
                return response.status, response.headers, await response.read()
        except Exception as error:  # classified below, or raised as it is
            fault = faults.fault_of_exception(error, timeout=self._timeout)
            if fault is None:
                raise
        # Outside the handler, so that no exception that holds the request's headers hangs on this one.
        raise fault

    def _clean(self, fault: CallFault) -> None:
        """Put the server's name in front of a fault's message, a hint where one helps, and take secrets out."""
        message = fault.message
        for secret in self._secrets:
            message = message.replace(secret, _HIDDEN)
        if isinstance(fault, Unauthorized) and self._keyless:
            message += " (no key was sent: name its variable with `api_key_env`)"
        if isinstance(fault, ModelMissing) and not self._url.endswith("/v1"):
            message += f" (base_url is {self._url}; most servers want it to end in /v1)"
        fault.message = f"{self._where}: {message}"
        fault.args = (fault.message,)


class _ParameterRefused(Exception):
    """The server does not know this parameter; sent without it, the same request may pass."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


def _fault_in_body(body: dict[str, Any]) -> CallFault:
    """The fault of an error that came with a good status, as gateways send them."""
    error = faults.error_of(body)
    status = int(error.code) if error.code.isdigit() and 400 <= int(error.code) < 600 else 502
    return faults.fault_of_status(status, {}, error)


def request_body(request: Request) -> dict[str, Any]:
    """The request as the API wants it."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "seed": request.seed,
        **request.sampling.body(),
    }
    if request.n > 1:
        body["n"] = request.n
    if request.response_format is not None:
        body["response_format"] = request.response_format
    return body


def adapt(body: Mapping[str, Any], refused: set[str]) -> dict[str, Any]:
    """The body without the parameters that the server refuses; `max_tokens` goes under its newer name."""
    if not refused:
        return dict(body)
    adapted = {name: value for name, value in body.items() if name not in refused}
    if "max_tokens" in refused and "max_tokens" in body:
        adapted.setdefault("max_completion_tokens", body["max_tokens"])
    return adapted
