"""A local validator for tests: what it says of each candidate, and how it fails, is a script.

    with ValidatorServer(lambda asked: {"value": 1, "passed": True, "reason": ""}) as server:
        http(url=server.url)
        server.asked        # every question, decoded, in the order of arrival

`reply` returns an object (sent as JSON), bytes (as they are), a `Reply`, or raises `Hang` (nothing is sent until the
server stops) or `Drop` (the connection is cut).
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


class Hang(Exception):
    pass


class Drop(Exception):
    pass


class ValidatorServer:
    """The server, in threads of this process. `most`: the largest number of questions that it held at once."""

    def __init__(self, reply: Callable[[dict[str, Any]], Any], *, together: int = 1):
        self.reply = reply
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most = 0
        self.connections: set[Any] = set()
        self._held = 0
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(together) if together > 1 else None
        self._stopping = threading.Event()

    def __enter__(self) -> ValidatorServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/check"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, asked: dict[str, Any], headers: dict[str, str]) -> Any:
        with self._lock:
            self.asked.append(asked)
            self.headers.append(headers)
            self._held += 1
            self.most = max(self.most, self._held)
        try:
            if self._barrier is not None:
                self._barrier.wait(20)
            return self.reply(asked)
        finally:
            with self._lock:
                self._held -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.connections.add(self.client_address)
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    said = owner._answer({**asked, "path": self.path}, dict(self.headers.items()))
                except Hang:
                    owner._stopping.wait(60)
                    self.close_connection = True
                    return
                except Drop:
                    # A reset, so that the client sees a broken connection at once.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                if isinstance(said, bytes):
                    said = Reply(body=said)
                if not isinstance(said, Reply):
                    said = Reply(body=json.dumps(said).encode())
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                try:
                    self.wfile.write(said.body)
                except OSError:
                    self.close_connection = True  # the client read enough

            def log_message(self, *_: object) -> None:
                pass

        return Handler
