"""Backends: the one impure thing. A backend makes one attempt at a request and raises a classified `CallFault`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from factory.types import Request, Response


@runtime_checkable
class Backend(Protocol):
    """What a backend is. `open_backend(model)` of its module (or a registered function) returns one.

    `honours_n`: True when one request may ask for N candidates, False when it takes N requests, None when only a
    probe can tell. `local`: it costs nothing unless the recipe gives a price.

    A backend may have more. `structured`: how it takes `Request.response_format` ("json_schema", "json_object",
    "prompt" for not at all, None where only a probe can tell; "prompt" is taken for a backend without it). `notes()`:
    sentences on what its server made it do otherwise than asked, told at the end of a run. `tasks`: the `Request.task`s
    it can do (only "generate" for a backend without it).
    """

    honours_n: bool | None
    local: bool

    async def generate(self, request: Request) -> Response:
        """One attempt. Raises a `factory.errors.CallFault`; never retries, never returns fewer than one choice."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


def tasks_of(backend: Backend) -> frozenset[str]:
    """What a backend can do, by its own `tasks`; writing alone for one that says nothing."""
    return frozenset(getattr(backend, "tasks", ("generate",)))
