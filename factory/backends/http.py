"""HTTP sessions for backends: one a event loop, keep-alive, proxies and certificates as the environment says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError

if TYPE_CHECKING:
    import ssl

    import aiohttp

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s after which common servers close an idle connection: a request that meets it is lost."""


def tls_context() -> ssl.SSLContext:
    """The usual checks, by SSL_CERT_FILE where it is set, and by REQUESTS_CA_BUNDLE's authorities besides."""
    import ssl

    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        value = os.environ.get(variable)
        if value and not Path(value).exists():
            raise UsageError(f"{variable} names {value}, which does not exist", f"mend or unset {variable}")
    try:
        context = ssl.create_default_context()
        bundle = os.environ.get("REQUESTS_CA_BUNDLE")
        if bundle:
            place = {"capath": bundle} if Path(bundle).is_dir() else {"cafile": bundle}
            context.load_verify_locations(**place)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"the certificates of the environment cannot be read: {error}", "check SSL_CERT_FILE and REQUESTS_CA_BUNDLE"
        ) from error
    return context


class Sessions:
    """aiohttp sessions, made when first used, one for each event loop. As many connections as calls in flight."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float):
        self._secure = url.startswith("https:")
        self._headers = headers
        self._timeout = timeout
        self._context: ssl.SSLContext | None = tls_context() if self._secure else None
        self._open: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}

    async def get(self) -> aiohttp.ClientSession:
        """The session of the running loop."""
        loop = asyncio.get_running_loop()
        session = self._open.get(loop)
        if session is None or session.closed:
            session = self._open[loop] = self._make()
            await self._forget_closed_loops()
        return session

    def _make(self) -> aiohttp.ClientSession:
        import aiohttp

        tls: dict[str, Any] = {"ssl": self._context} if self._context is not None else {}
        # No limit here: the call layer bounds the calls in flight, and a second queue would eat into the timeouts.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, **tls)
        # Proxies are named for each request: aiohttp's own `trust_env` would also send passwords out of ~/.netrc.
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout, connect=min(CONNECT_TIMEOUT_S, self._timeout)),
        )

    async def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._open if loop.is_closed()]:
            await self._open.pop(loop).close()

    async def close(self) -> None:
        """Close the connections of the running loop, and forget those of loops that ended."""
        await self._forget_closed_loops()
        session = self._open.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()
