"""A chat server that costs next to nothing: every request is answered after a fixed latency, with a text of its own.

    python benchmarks/mock_server.py [--latency 0.05] [--words 60]     # prints its URL; ends by itself after an hour

HTTP/1.1 with keep-alive and Content-Length bodies, one request at a time on a connection. It looks into no body: the
answer is drawn by the number of the request. `GET /v1/models` names the one model, `GET /_stats` counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import urllib.request
from typing import Any

MODEL = "mock"
LIFETIME_S = 3600.0
TEXTS = 512
_WORDS = ("river", "stone", "lamp", "winter", "garden", "letter", "bridge", "music", "paper", "window", "harbour")


class Answers:
    """The bytes of all answers, made once; and how many were sent."""

    def __init__(self, words: int):
        self.sent = 0
        self.connections = 0
        self._made = [self._make(number, words) for number in range(TEXTS)]

    @staticmethod
    def _make(number: int, words: int) -> bytes:
        text = " ".join(random.Random(number).choices(_WORDS, k=words))
        usage = {"prompt_tokens": 20, "completion_tokens": words, "total_tokens": 20 + words}
        message = {"role": "assistant", "content": f"{number} {text}."}
        choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
        head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1_700_000_000, "model": MODEL}
        return _http({**head, "choices": choices, "usage": usage})

    def next(self) -> bytes:
        """The answer to one more request."""
        self.sent += 1
        return self._made[self.sent % TEXTS]


def _http(body: Any) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, answers: Answers, latency: float):
        self._answers = answers
        self._latency = latency
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answers.connections += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"get /_stats"):
            self._transport.write(_http({"requests": self._answers.sent, "connections": self._answers.connections}))
        elif head.startswith(b"get"):
            self._transport.write(_http({"object": "list", "data": [{"id": MODEL, "object": "model"}]}))
        else:
            asyncio.get_running_loop().call_later(self._latency, self._send, self._answers.next())

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


class ServerProcess:
    """The server as a process of its own: `with ServerProcess() as server:` … `server.url`, `server.stats()`."""

    def __init__(self, latency: float = 0.05):
        self._latency = latency

    def __enter__(self) -> ServerProcess:
        command = [sys.executable, __file__, "--latency", str(self._latency)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def stats(self) -> dict[str, int]:
        """Requests answered and connections opened since the start."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url.removesuffix("/v1") + "/_stats", timeout=30) as answer:
            found: dict[str, int] = json.loads(answer.read())
        return found


async def serve(latency: float, words: int) -> None:
    """Listen on a free port of 127.0.0.1 and say which."""
    answers = Answers(words)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers, latency), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), LIFETIME_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--words", type=int, default=60, help="words of an answer")
    options = parser.parse_args()
    asyncio.run(serve(options.latency, options.words))


if __name__ == "__main__":
    main()
