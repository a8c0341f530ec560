"""A deterministic OpenAI-compatible server with faults, for tests and benchmarks.

In a test (own thread and event loop):

    with FaultServer(Settings(faults=STANDARD_FAULTS, latency=0.01)) as server:
        run(base_url=server.url)                       # http://127.0.0.1:PORT/v1
        assert server.stats()["billed_requests"] == 40
        server.configure(faults={})                    # takes effect with the next request

As its own process, which outlives a client killed with -9 (it ends by itself after `--lifetime` seconds):

    with ServerProcess("--standard-faults", "--latency", "0.01") as server: …     # same methods as above
    python tests/fault_server.py --port 0 --fault rate_limit=0.05 --fault reset=0.02    # prints its URL

**Answers** are a pure function of (messages, model, sampling, seed, candidate index); the mode is the last word of the
model's name: see `fault_answers.py`. A model that is not in `models` is a 404.
**Faults**: each request has a number (its order of arrival); request i draws its fate from (fault_seed, i) alone.
Shares by kind, see `KINDS` in `fault_rules.py`; `reset` stands for a third each of the three kinds of reset.
**Always alike**: a prompt with `poison` in it is a 400; with `forbidden` in it a 400 `content_filter`; one longer than
`context_length` tokens a 400 `context_length_exceeded`; a parameter in `refuse` a 400 `unsupported_parameter`.
**n_mode** honour | ignore (one choice, in silence) | refuse (n > 1 is a 400). **seed_mode** honour | same (seeds are
ignored, equal prompts get equal answers) | random (seeds are ignored, every request gets another answer).
**format_mode** honour | ignore (in silence) | refuse (any `response_format` is a 400) | object_only (a schema is one).
**logprobs_mode** honour | ignore (in silence) | refuse (a 400). **Responses API**: every model answers at `/responses`
too, see `fault_responses.py`; those in `responses_only` answer there alone. **Azure**: its paths, with the header
`api-key`, are served alike.
**Load**: beyond `saturation` requests in flight the latency grows by (in flight / saturation) ** `thrash`: with 1 the
throughput stays as it is, with more it falls. **Outage**: the request after number `die_after` finds the server dying:
all connections are reset, and for `outage` seconds new ones are refused; once.
**Counts**: GET /_stats (`?log=1` adds the log) or `.stats(log=True)`; POST /_reset or `.reset()`; POST /_config with
settings as JSON or `.configure(**settings)`. Keys: `requests` (chat requests that arrived whole), `outcomes` (by
outcome), `billed_requests`, `billed_prompt_tokens`, `billed_completion_tokens` (for every answer that was generated,
also those lost in a late reset, in a truncated body, or because the client had gone), `delivered` (whole usable answers
written), `repeated` (requests whose very body had been delivered before), `gone` (client left before the answer),
`in_flight`, `max_concurrent`, `connections`. A log entry: `number`, `hash` (of the body), `outcome`, `n`,
`prompt_tokens`, `completion_tokens` (as billed), `gone`.

Speed, on one core and with a raw client of its own: 60 µs of CPU for a request (16,000 a second) with n = 1, 94 µs with
n = 4. In a thread it shares the interpreter with the client: measure against `ServerProcess`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from typing import Any

import orjson
from fault_answers import MODELS
from fault_rules import KINDS, STANDARD_FAULTS, Entry, Reply, Settings, State, handle_chat, handle_other

__all__ = ["KINDS", "MODELS", "STANDARD_FAULTS", "Entry", "FaultServer", "ServerProcess", "Settings", "State"]


class Connection(asyncio.Protocol):
    """One client: HTTP/1.1 with keep-alive and Content-Length bodies, one request at a time."""

    def __init__(self, state: State, listener: Listener):
        self.state = state
        self.listener = listener
        self.buffer = b""
        self.entry: Entry | None = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.state.connections += 1
        self.listener.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.listener.open.discard(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.entry is not None:
            self.entry.gone = True
            self._done()

    def _done(self) -> None:
        self.entry = self.timer = None
        self.state.in_flight = max(0, self.state.in_flight - 1)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self.entry is None and self._take():
            pass

    def _take(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(self.buffer) < end + 4 + size:
            return False
        raw = self.buffer[end + 4 : end + 4 + size]
        self.buffer = self.buffer[end + 4 + size :]
        method, path, _ = first.split(" ", 2)
        key = headers.get("authorization") or (f"Bearer {headers['api-key']}" if "api-key" in headers else "")
        bare = path.partition("?")[0]
        if method != "POST" or not bare.endswith(("/chat/completions", "/responses")):
            self.transport.write(handle_other(self.state, method, path, raw, key))
            return not self.transport.is_closing()
        state = self.state
        if state.dies_now():
            self.listener.die(state.settings.outage)
            return False
        state.in_flight += 1
        state.max_concurrent = max(state.max_concurrent, state.in_flight)
        self.entry, reply = handle_chat(state, raw, key, responses=bare.endswith("/responses"))
        if reply.end == "hang":
            return False
        if reply.delay:
            self.timer = asyncio.get_running_loop().call_later(reply.delay, self._send, reply, True)
        else:
            self._send(reply, False)
        return self.entry is None and not self.transport.is_closing()

    def _send(self, reply: Reply, later: bool) -> None:
        entry = self.entry
        assert entry is not None
        if reply.end == "trickle":
            self._drip(reply.data)
            return
        if entry.outcome == "ok":
            self.state.delivered += 1
            self.state.seen.add(entry.hash)
        self._done()
        if reply.end == "reset":
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply.data:
            self.transport.write(reply.data[: reply.cut])
        if reply.end == "reset":
            self.transport.abort()
        elif reply.end == "close":
            self.transport.close()
        elif later and self.buffer:
            self.data_received(b"")

    def _drip(self, data: bytes) -> None:
        """The next byte, and so on until the end."""
        self.transport.write(data[:1])
        if len(data) > 1:
            wait = self.state.settings.trickle
            self.timer = asyncio.get_running_loop().call_later(wait, self._drip, data[1:])
        else:
            self._done()

    def break_off(self) -> None:
        """Reset the connection, as a process that dies leaves it."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Listener:
    """The socket on 127.0.0.1, and the connections that came in by it."""

    def __init__(self, state: State):
        self.state = state
        self.open: set[Connection] = set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._reviving: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> str:
        """Listen; the server's URL."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self.state, self), "127.0.0.1", port, backlog=2048)
        self._server, self.port = server, server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{self.port}/v1"

    def die(self, seconds: float) -> None:
        """Refuse connections and break off those that are open; listen again after so many seconds."""
        self.close()
        for connection in list(self.open):
            connection.break_off()
        self._reviving = asyncio.ensure_future(self._revive(seconds))

    async def _revive(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start(self.port)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._reviving is not None:
            self._reviving.cancel()


class FaultServer:
    """The server in a thread of this process. `state.settings` and `state.log` may be read at any time."""

    def __init__(self, settings: Settings | None = None):
        self.state = State(settings or Settings())
        self.url = ""

    def __enter__(self) -> FaultServer:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _main(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        listener = Listener(self.state)
        self.url = await listener.start()
        ready.set()
        await self._stop.wait()
        listener.close()

    def stats(self, log: bool = False) -> dict[str, Any]:
        return self.state.stats(log)

    def reset(self) -> None:
        self.state.reset()

    def configure(self, **changes: Any) -> None:
        self.state.configure(**changes)


class ServerProcess:
    """The server as a process of its own; the arguments are those of the command line."""

    def __init__(self, *arguments: str):
        self.arguments = arguments

    def __enter__(self) -> ServerProcess:
        command = [sys.executable, __file__, *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.root = self.url.removesuffix("/v1")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.root + path, data=body), timeout=30) as answer:
            return orjson.loads(answer.read())

    def stats(self, log: bool = False) -> dict[str, Any]:
        counts: dict[str, Any] = self._ask("/_stats?log=1" if log else "/_stats")
        return counts

    def reset(self) -> None:
        self._ask("/_reset", b"{}")

    def configure(self, **changes: Any) -> None:
        self._ask("/_config", orjson.dumps(changes))


def parse_arguments(arguments: list[str]) -> tuple[Settings, argparse.Namespace]:
    """Settings from the command line."""
    parser = argparse.ArgumentParser(description="A deterministic OpenAI-compatible server with faults.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lifetime", type=float, default=3600, help="seconds until it ends by itself")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=SHARE", help=f"reset, {', '.join(KINDS)}")
    parser.add_argument("--standard-faults", action="store_true", help=str(STANDARD_FAULTS))
    parser.add_argument("--model", action="append", dest="models", help="a model's name (default: all modes)")
    parser.add_argument("--refuse", action="append", help="a parameter that this model does not support")
    parser.add_argument("--n-mode", choices=["honour", "ignore", "refuse"])
    parser.add_argument("--seed-mode", choices=["honour", "same", "random"])
    parser.add_argument("--format-mode", choices=["honour", "ignore", "refuse", "object_only"])
    parser.add_argument("--logprobs-mode", choices=["honour", "ignore", "refuse"])
    parser.add_argument("--responses-only", action="append", help="a model that chat completions refuse")
    parser.add_argument("--no-usage", action="store_false", dest="usage", default=None)
    for name in ("latency", "jitter", "retry-after", "thrash", "trickle", "outage"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("fault-seed", "context-length", "saturation", "die-after"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("poison", "forbidden", "key"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args(arguments)
    state = State(Settings())
    faults = dict(STANDARD_FAULTS) if options.standard_faults else {}
    faults |= {kind: float(share) for kind, _, share in (one.partition("=") for one in options.fault)}
    known = {name: getattr(options, name, None) for name in vars(Settings())}
    state.configure(**{name: value for name, value in known.items() if value is not None}, faults=faults)
    return state.settings, options


async def main(arguments: list[str]) -> None:
    """Serve until a signal, or the end of `--lifetime`."""
    settings, options = parse_arguments(arguments)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = Listener(State(settings))
    print(await listener.start(options.port), flush=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), options.lifetime)
    listener.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
