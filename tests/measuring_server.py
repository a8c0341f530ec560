"""A small server whose models measure, in the way of vLLM: /tokenize, /v1/completions, /v1/embeddings, /classify.

    with MeasuringServer(labels=1) as server:
        run(models={"reader": server.model()})
        server.asked("/tokenize")        # the bodies sent to a path, in the order of arrival
        server.replies["/classify"] = [Reply(503)]     # what the next requests to a path get instead

What it says is a pure function of what it is given: a text's tokens are its UTF-8 bytes, token t at place i has the
log-probability `logprob(t, i)`, an embedding counts letters, and a score hangs on the text's length. `lacks` names
paths that are a 404. `begin`: the tokenizer puts the token 1 before every text by itself. `template` False: it has no
chat template. Azure's paths are served alike.
"""

from __future__ import annotations

import base64
import json
import struct
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "measured"
PRICE = {"input": 1.0, "output": 10.0}
"""USD per million tokens: 1,000 and 10,000 nano-USD a token."""
NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template"
)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def lay_out(messages: Sequence[Mapping[str, str]], prompt: bool = True) -> list[int]:
    """A chat's tokens: 1, then for each message 2, its text and 3; and 4, where the answer begins."""
    tokens = [1]
    for message in messages:
        tokens += [2, *f"{message['role']}: {message['content']}".encode(), 3]
    return [*tokens, 4] if prompt else tokens


def logprob(token: int, place: int) -> float:
    """What the model expected of a token at a place."""
    return -0.125 * (1 + (token * 7 + place) % 13)


def letters(text: str) -> list[float]:
    return [float(text.lower().count(letter)) + 0.5 for letter in "aeiou"]


def logits(text: str, labels: int) -> list[float]:
    return [len(text.encode()) / 8 - 3 - 0.5 * place for place in range(labels)]


class MeasuringServer:
    """The server, in threads of this process."""

    def __init__(
        self,
        *,
        labels: int = 1,
        begin: bool = False,
        template: bool = True,
        lacks: Collection[str] = (),
        as_base64: bool = False,
        echoes: bool = True,
    ):
        self.labels, self.begin, self.template, self.lacks = labels, begin, template, lacks
        self.as_base64, self.echoes = as_base64, echoes
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> MeasuringServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = self.root + "/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def model(self, **changes: Any) -> dict[str, Any]:
        return {"backend": "openai", "model": NAME, "base_url": self.url} | changes

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body, _ in self.requests if where == path]

    @property
    def paths(self) -> list[str]:
        return [where for where, _, _ in self.requests]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(Reply(body={"data": [{"id": NAME}]}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.requests.append((self.path, body, dict(self.headers)))
                    waiting = server.replies.get(self.path)
                    reply = waiting.pop(0) if waiting else None
                self._send(reply or server.answer(self.path, body))

            def _send(self, reply: Reply) -> None:
                data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return None

        return Handler

    def answer(self, path: str, body: dict[str, Any]) -> Reply:
        path = path.partition("?")[0].replace(f"/openai/deployments/{NAME}/", "/v1/")
        if path in self.lacks:
            return Reply(404, {"detail": "Not Found"})
        if body.get("model") != NAME:
            return Reply(404, {"error": {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}})
        if "messages" in body and not self.template:
            return Reply(400, {"error": {"message": NO_TEMPLATE, "code": 400}})
        known = {
            "/tokenize": self._tokenize,
            "/v1/tokenize": self._tokenize,
            "/v1/completions": self._complete,
            "/v1/embeddings": self._embed,
            "/classify": self._classify,
            "/v1/classify": self._classify,
            "/pooling": self._pool,
            "/score": self._score,
        }
        if path not in known:
            return Reply(404, {"detail": "Not Found"})
        return Reply(body={"model": NAME, **known[path](body)})

    def _encode(self, text: str, special: bool = True) -> list[int]:
        return ([1] if self.begin and special else []) + list(text.encode())

    def _tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        if "messages" in body:
            tokens = lay_out(body["messages"], body["add_generation_prompt"])
        else:
            tokens = self._encode(body["prompt"], body["add_special_tokens"])
        return {"tokens": tokens, "count": len(tokens), "max_model_len": 10**6}

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        tokens = self._encode(prompt) if isinstance(prompt, str) else prompt
        told = [None, *(logprob(token, place) for place, token in enumerate(tokens) if place)]
        choice: dict[str, Any] = {"index": 0, "text": "!", "logprobs": None, "finish_reason": "length"}
        if "prompt_logprobs" in body:
            choice["prompt_logprobs"] = [
                None if value is None else {str(token): {"logprob": value, "rank": 1, "decoded_token": chr(token)}}
                for token, value in zip(tokens, told, strict=True)
            ]
        if body.get("echo") and self.echoes:
            spelled = ["<s>" if token == 1 else chr(token) if token < 128 else "\ufffd" for token in tokens]
            choice["logprobs"] = {"tokens": [*spelled, "!"], "token_logprobs": [*told, -0.5]}
        elif body.get("echo"):
            choice["logprobs"] = {"tokens": ["!"], "token_logprobs": [-0.5]}
        usage = {"prompt_tokens": len(tokens), "completion_tokens": 1, "total_tokens": len(tokens) + 1}
        return {"choices": [choice], "usage": usage}

    def _embed(self, body: dict[str, Any]) -> dict[str, Any]:
        vector = letters(body["input"])[: body.get("dimensions")]
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        usage = {"prompt_tokens": len(body["input"].encode()), "total_tokens": len(body["input"].encode())}
        return {"data": [{"index": 0, "embedding": packed if self.as_base64 else vector}], "usage": usage}

    def _values(self, text: str, body: dict[str, Any]) -> list[float]:
        """Raw, or as vLLM makes them unless it is told not to: a sigmoid of one label, a softmax of several."""
        found = logits(text, self.labels)
        if body.get("use_activation") is False:
            return found
        powers = [2.718281828 ** (value - max(found)) for value in found]
        return [1 / (1 + 2.718281828 ** -found[0])] if len(found) == 1 else [one / sum(powers) for one in powers]

    def _text(self, body: dict[str, Any]) -> str:
        return "".join(message["content"] for message in body["messages"]) if "messages" in body else str(body["input"])

    def _classify(self, body: dict[str, Any]) -> dict[str, Any]:
        probs = self._values(self._text(body), body)
        usage = {"prompt_tokens": len(self._text(body)), "total_tokens": len(self._text(body)), "completion_tokens": 0}
        return {"data": [{"index": 0, "label": "x", "probs": probs, "num_classes": len(probs)}], "usage": usage}

    def _pool(self, body: dict[str, Any]) -> dict[str, Any]:
        text = self._text(body)
        each = [self._values(text[: end + 1], body) for end in range(len(text))]
        return {"data": [{"index": 0, "data": each}], "usage": {"prompt_tokens": len(text)}}

    def _score(self, body: dict[str, Any]) -> dict[str, Any]:
        [value] = self._values(f"{body['text_1']}|{body['text_2']}", body)
        return {"data": [{"index": 0, "score": value}], "usage": {"prompt_tokens": 3}}
