"""Azure OpenAI, through the `openai` SDK: `base_url` is the resource's endpoint, `model` the name of a deployment.

The SDK builds the address and signs the request; it never retries here. Answers and refusals are read from their raw
bytes by the same code as everybody's.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factory.backends.addresses import (
    from_environment,
    host_of,
    is_http_url,
    is_loopback,
    is_private,
    proxy_for,
    server_name,
)
from factory.backends.advice import advise_context, advise_deployment, advise_key
from factory.backends.dialect import Answer, Dialect
from factory.backends.endpoints.embedding import PATH as EMBEDDINGS_PATH
from factory.backends.endpoints.embedding import Embedding
from factory.backends.hiding import Secrets
from factory.backends.http import CONNECT_TIMEOUT_S, KEEP_ALIVE_S, tls_context
from factory.backends.responses import PATH as RESPONSES_PATH
from factory.backends.sdk_faults import fault_of_sdk
from factory.errors import CallFault, ContextTooLong, ModelMissing, Unauthorized, UsageError
from factory.types import Request, Response

if TYPE_CHECKING:
    import ssl

    from openai import AsyncAzureOpenAI

    from factory.recipe.models import ModelConfig

API_VERSION = "2024-10-21"
"""The generally available version of the data plane that is asked unless the recipe names another."""
RESPONSES_VERSION = "2025-04-01-preview"
"""What the Responses API is asked with in its place: it is not part of `API_VERSION`."""
KEY = "AZURE_OPENAI_API_KEY"
TOKEN = "AZURE_OPENAI_AD_TOKEN"
_SUFFIXES = (".azure.com", ".azure.us", ".azure.cn", ".azure-api.net")
_NO_KEY = "none"


@dataclass(frozen=True, slots=True)
class Credential:
    """A key or a token of Entra ID, and the variable it comes from; all None where none is needed."""

    key: str | None = None
    token: str | None = None
    variable: str | None = None

    def __repr__(self) -> str:
        return f"Credential({self.variable!r})"


def open_backend(model: ModelConfig) -> AzureServer:
    """The deployment of a model, ready to be asked; nothing is connected yet.

    Raises UsageError for a missing or wrong `base_url`, and for a missing key, naming its environment variables.
    """
    return AzureServer(model, credential_of(model))


def endpoint_of(model: ModelConfig) -> str:
    """The resource's endpoint: `base_url` up to its `/openai`. Raises UsageError where it is missing or no URL."""
    url = re.sub(r"(?<=[^/])/openai(/.*)?$", "", model.base_url or "").rstrip("/")
    if not is_http_url(url):
        what = f"`{url[:80]}` is no endpoint" if model.base_url else f"{model.name} needs the endpoint of its resource"
        raise UsageError(what, "give the model `base_url: https://NAME.openai.azure.com`")
    return url


def credential_of(model: ModelConfig) -> Credential:
    """What is sent to the endpoint. Raises UsageError, naming the variables, when it is missing.

    The variable of `api_key_env`, wherever the endpoint is; else AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN, to
    Azure's own hosts alone; else nothing, to loopback and private addresses.
    """
    variable, host = model.api_key_env, host_of(endpoint_of(model))
    if variable is None:
        if is_private(host):
            return Credential()
        if not host.endswith(_SUFFIXES):
            raise UsageError(
                f"{model.name} at {host} needs a key: ${KEY} is sent to hosts of Azure alone",
                "name the variable that holds its key with `api_key_env:`",
            )
        variable = TOKEN if os.environ.get(TOKEN) and not os.environ.get(KEY) else KEY
    secret = from_environment(variable, model.name)
    return Credential(token=secret, variable=variable) if variable == TOKEN else Credential(secret, variable=variable)


class AzureServer:
    """A deployment behind {endpoint}/openai. `local` is true for a server on this machine."""

    honours_n: bool | None = None
    structured: str | None = None
    tasks = frozenset({"generate", "embed"})

    def __init__(self, model: ModelConfig, credential: Credential):
        self._endpoint = endpoint_of(model)
        self._where = server_name(self._endpoint)
        self._model = model
        self._credential = credential
        self._proxy = proxy_for(self._endpoint)
        self._secrets = Secrets((credential.key, credential.token), model.headers)
        self._tls: ssl.SSLContext | bool = tls_context() if self._endpoint.startswith("https:") else True
        self._clients: dict[asyncio.AbstractEventLoop, AsyncAzureOpenAI] = {}
        self._dialect = Dialect(model.api)
        self._embedding = Embedding()
        self.local = is_loopback(host_of(self._endpoint))

    def __repr__(self) -> str:
        return f"AzureServer({self._endpoint!r})"

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
            if request.task == "embed":
                return await self._embedding.ask(request, self._post)
            return await self._dialect.ask(request, self._post)
        except CallFault as fault:
            if isinstance(fault, ContextTooLong):
                advise_context(fault, request)
            self._clean(fault)
            raise

    async def list_models(self) -> tuple[str, ...]:
        """Nothing: an endpoint does not tell its deployments. Raises a CallFault where it or the key is no good."""
        try:
            await self._ask_for_models()
        except CallFault as fault:
            self._clean(fault)
            raise
        return ()

    async def responds(self, seconds: float) -> bool:
        """Whether the endpoint answers in time, with whatever: then it is slow, not gone."""
        try:
            async with asyncio.timeout(seconds):
                await self._exchange(self._client().models.with_raw_response.list)
        except (CallFault, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Close the connections of the running loop, and forget those of loops that ended."""
        for loop in [loop for loop in self._clients if loop.is_closed()]:
            del self._clients[loop]
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def _ask_for_models(self) -> None:
        from factory.backends import faults

        status, headers, raw = await self._exchange(self._client().models.with_raw_response.list)
        if not 200 <= status < 300:
            raise faults.fault_of_status(status, headers, faults.read_error(raw))

    async def _post(self, path: str, body: dict[str, Any], *, root: bool = False) -> Answer:
        client = self._client()
        if path == EMBEDDINGS_PATH:
            rest = {name: value for name, value in body.items() if name not in ("model", "input")}
            return await self._exchange(
                lambda: client.embeddings.with_raw_response.create(
                    model=body["model"], input=body["input"], encoding_format="float", extra_body=rest
                )
            )
        if path == RESPONSES_PATH:
            rest = {name: value for name, value in body.items() if name not in ("model", "input")}
            version = {"api-version": self._model.api_version or RESPONSES_VERSION}
            return await self._exchange(
                lambda: client.responses.with_raw_response.create(
                    model=body["model"], input=body["input"], extra_body=rest, extra_query=version
                )
            )
        rest = {name: value for name, value in body.items() if name not in ("model", "messages")}
        return await self._exchange(
            lambda: client.chat.completions.with_raw_response.create(
                model=body["model"], messages=body["messages"], extra_body=rest
            )
        )

    async def _exchange(self, call: Callable[[], Awaitable[Any]]) -> Answer:
        """The raw answer of a call of the SDK, whatever its status. Raises a CallFault."""
        import openai

        timeout = self._model.timeout
        try:
            async with asyncio.timeout(timeout):
                answer = (await call()).http_response
            return answer.status_code, answer.headers, self._secrets.hide(answer.content)
        except openai.APIStatusError as error:
            answer = error.response
            return answer.status_code, answer.headers, self._secrets.hide(answer.content)
        except Exception as error:  # classified below, or raised as it is
            fault = fault_of_sdk(error, timeout=timeout)
            if fault is None:
                raise
        # Outside the handler, so that no exception that holds the request's headers hangs on this one.
        raise fault

    def _client(self) -> AsyncAzureOpenAI:
        """The SDK's client for the running loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._make_client()
        return client

    def _make_client(self) -> AsyncAzureOpenAI:
        import openai

        model, credential = self._model, self._credential
        timeout = openai.Timeout(model.timeout, connect=min(CONNECT_TIMEOUT_S, model.timeout))
        # As many connections as calls in flight: the call layer bounds them. The environment's proxy is named, not
        # looked up, since that lookup would also send passwords out of ~/.netrc.
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEP_ALIVE_S
        )
        transport = openai.DefaultAsyncHttpxClient(
            proxy=self._proxy, verify=self._tls, trust_env=False, follow_redirects=False, limits=limits, timeout=timeout
        )
        return openai.AsyncAzureOpenAI(
            azure_endpoint=self._endpoint,
            api_version=model.api_version or API_VERSION,
            api_key=None if credential.token else credential.key or _NO_KEY,
            azure_ad_token=credential.token,
            max_retries=0,
            timeout=timeout,
            default_headers={"User-Agent": "text-data-factory", **model.headers},
            http_client=transport,
        )

    def _clean(self, fault: CallFault) -> None:
        """Put the server's name in front of a fault's message, say what helps, and take secrets out."""
        if isinstance(fault, ModelMissing):
            advise_deployment(fault, self._model.model)
        elif isinstance(fault, Unauthorized):
            advise_key(fault, host_of(self._endpoint), self._credential.variable)
        fault.message = f"{self._where}: {self._secrets.hide_in(fault.message)}"
        fault.args = (fault.message,)
