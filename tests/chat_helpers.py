"""What the tests of the transport share: models, requests, a scripted server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from factory.backends.openai import ChatServer, open_backend
from factory.errors import CallFault
from factory.recipe.models import ModelConfig
from factory.types import Message, Request, Response, Sampling

OK_BODY = {
    "id": "1",
    "object": "chat.completion",
    "model": "served",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "requests_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def model_of(url: str, **changes: Any) -> ModelConfig:
    return ModelConfig(**{"backend": "openai", "model": "mock-text", "base_url": url, "timeout": 20.0, **changes})


def request_of(text: str = "Hi there.", **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "identity": "openai/mock-text@x",
        "model": "mock-text",
        "messages": (Message("user", text),),
        "sampling": Sampling(max_tokens=200),
        "n": 1,
        "seed": 5,
        "row": 0,
        "step": "main",
        "purpose": "generate",
        "index": 0,
    }
    return Request(**{**fields, **changes})


def ask(model: ModelConfig, *requests: Request) -> list[Response | CallFault]:
    """The answers, or the faults, one after the other with one backend."""

    async def work() -> list[Response | CallFault]:
        backend = open_backend(model)
        got: list[Response | CallFault] = []
        for request in requests:
            try:
                got.append(await backend.generate(request))
            except CallFault as fault:
                got.append(fault)
        await backend.close()
        return got

    return asyncio.run(work())


def http(status: int, body: Any = b"", *headers: str) -> bytes:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Scripted:
    """What a scripted server saw: request lines, headers and bodies."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[Any] = []
        self.url = ""


@contextlib.asynccontextmanager
async def scripted(*replies: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A server that gives these replies in turn, the last one for ever."""
    seen = Scripted()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                size = int(headers.get("content-length", 0))
                raw = await reader.readexactly(size)
                reply = replies[min(len(seen.lines), len(replies) - 1)]
                seen.lines.append(head[0])
                seen.headers.append(dict(line.split(": ", 1) for line in head[1:] if line))
                seen.bodies.append(orjson.loads(raw) if raw else None)
                writer.write(reply)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    seen.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    yield seen
    server.close()


def ask_scripted(
    replies: list[bytes], request: Request | None = None, **changes: Any
) -> tuple[Response | CallFault, Scripted, ChatServer]:
    """One request to a scripted server."""

    async def work() -> tuple[Response | CallFault, Scripted, ChatServer]:
        async with scripted(*replies) as seen:
            backend = open_backend(model_of(seen.url, **changes))
            try:
                got: Response | CallFault = await backend.generate(request or request_of())
            except CallFault as fault:
                got = fault
            await backend.close()
            return got, seen, backend

    return asyncio.run(work())


def error(
    message: str, code: Any = None, kind: str = "invalid_request_error", param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
