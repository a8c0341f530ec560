"""Any OpenAI-compatible server: a lean transport for chat completions, the Responses API, and what measures.

One attempt a call; faults are classified. What a server refuses by name is sent otherwise: see `dialect`. Requests that
measure a given text go to the server's other endpoints: see `endpoints`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from factory.backends import faults
from factory.backends.addresses import base_url_of, host_of, is_loopback, key_of, key_variable, proxy_for, server_name
from factory.backends.advice import advise_context, advise_key, advise_model
from factory.backends.answers import decode
from factory.backends.dialect import Answer, Dialect, adapt, request_body
from factory.backends.endpoints import TASKS, Endpoints
from factory.backends.hiding import Secrets
from factory.backends.http import Sessions
from factory.errors import BadBody, CallFault, ContextTooLong, ModelMissing, Unauthorized
from factory.types import Request, Response

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig

__all__ = ["ChatServer", "adapt", "list_models", "open_backend", "request_body"]

LIST_TIMEOUT_S = 5.0
"""How long a refused model's name may wait for the names that the server has."""


def open_backend(model: ModelConfig) -> ChatServer:
    """The server of a model, ready to be asked; nothing is connected yet.

    Raises UsageError for a `base_url` that is none, and for a missing key, naming its environment variable.
    """
    return ChatServer(model, key_of(model))


async def list_models(model: ModelConfig) -> tuple[str, ...]:
    """The names that the model's server offers (GET /models). Raises UsageError like `open_backend`, or a CallFault."""
    server = open_backend(model)
    try:
        return await server.list_models()
    finally:
        await server.close()


class ChatServer:
    """A model behind POST {base_url}/chat/completions or /responses. `local` is true for a server on this machine."""

    honours_n: bool | None = None
    structured: str | None = None
    tasks = TASKS

    def __init__(self, model: ModelConfig, key: str | None):
        self._url = base_url_of(model)
        self._where = server_name(self._url)
        self._model = model.model
        self._timeout = model.timeout
        self._proxy = proxy_for(self._url)
        self._key_variable = key_variable(model) if key is not None else None
        headers = {"Content-Type": "application/json", "User-Agent": "text-data-factory", **model.headers}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._secrets = Secrets((key,), model.headers)
        self._sessions = Sessions(self._url, headers, model.timeout)
        self._dialect = Dialect(model.api)
        self._endpoints = Endpoints()
        self._served: asyncio.Future[tuple[str, ...]] | None = None
        self.local = is_loopback(host_of(self._url))

    def __repr__(self) -> str:
        return f"ChatServer({self._url!r})"

    @property
    def refused(self) -> set[str]:
        """The parameters that the server is known to refuse; what is learned elsewhere may be added."""
        return self._dialect.refused

    def notes(self) -> tuple[str, ...]:
        """What this server is not sent as it was asked, in plain words; empty when everything is."""
        return tuple(f"{self._where}: {told}" for told in self._dialect.notes())

    async def generate(self, request: Request) -> Response:
        """One attempt. Raises a CallFault; never fewer than one choice."""
        try:
            if request.task != "generate":
                return await self._endpoints.ask(request, self._post)
            return await self._dialect.ask(request, self._post)
        except CallFault as fault:
            if isinstance(fault, ModelMissing):
                await self._explain_missing(fault, request.model)
            elif isinstance(fault, ContextTooLong):
                advise_context(fault, request)
            self._clean(fault)
            raise

    async def list_models(self) -> tuple[str, ...]:
        """The names that the server offers (GET /models). Raises a CallFault."""
        body = await self.get("/models")
        entries = body.get("data", body.get("models")) if isinstance(body, dict) else body
        if not isinstance(entries, list):
            raise BadBody(f"{self._where}: the list of models has another shape")
        named = [entry.get("id") or entry.get("name") if isinstance(entry, dict) else entry for entry in entries]
        return tuple(sorted(str(name) for name in named if name))

    async def get(self, path: str) -> Any:
        """The decoded body of GET {base_url}{path}. Raises a CallFault."""
        try:
            status, headers, raw = await self._exchange("GET", path, None)
            if 200 <= status < 300:
                return decode(raw)
            raise faults.fault_of_status(status, headers, faults.read_error(raw))
        except CallFault as fault:
            if isinstance(fault, ModelMissing) and not self._url.endswith("/v1"):
                self._doubt_address(fault)
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

    async def close(self) -> None:
        """Close the connections."""
        if self._served is not None:
            self._served.cancel()
        await self._sessions.close()

    async def _post(self, path: str, body: dict[str, Any], *, root: bool = False) -> Answer:
        import orjson

        return await self._exchange("POST", path, orjson.dumps(body), root=root)

    async def _exchange(self, method: str, path: str, data: bytes | None, *, root: bool = False) -> Answer:
        session = await self._sessions.get()
        url = (self._url.removesuffix("/v1") if root else self._url) + path
        try:
            async with session.request(method, url, data=data, proxy=self._proxy, allow_redirects=False) as response:
                return response.status, response.headers, self._secrets.hide(await response.read())
        except Exception as error:  # classified below, or raised as it is
            fault = faults.fault_of_exception(error, timeout=self._timeout)
            if fault is None:
                raise
        # Outside the handler, so that no exception that holds the request's headers hangs on this one.
        raise fault

    async def _explain_missing(self, fault: ModelMissing, wanted: str) -> None:
        """Name the server's models in the refusal of one that it does not have. All such refusals share one list."""
        if self._served is None:
            self._served = asyncio.ensure_future(self._list_in_time())
        served = await asyncio.shield(self._served)
        if served:
            advise_model(fault, wanted, served)
        elif not self._url.endswith("/v1"):
            self._doubt_address(fault)

    def _doubt_address(self, fault: ModelMissing) -> None:
        fault.message += f" (base_url is {self._url}; most servers want it to end in /v1)"

    async def _list_in_time(self) -> tuple[str, ...]:
        """The server's models; none where it does not tell them soon."""
        try:
            async with asyncio.timeout(LIST_TIMEOUT_S):
                return await self.list_models()
        except (CallFault, TimeoutError):
            return ()

    def _clean(self, fault: CallFault) -> None:
        """Put the server's name in front of a fault's message, say which key it refused, and take secrets out."""
        if isinstance(fault, Unauthorized):
            advise_key(fault, host_of(self._url), self._key_variable)
        fault.message = f"{self._where}: {self._secrets.hide_in(fault.message)}"
        fault.args = (fault.message,)
