"""A small OpenAI-compatible server whose models are functions, for tests of judges: what it was asked is kept.

    def judge(body, index):                 # the decoded request, and which of its `n` choices
        return '{"reason": "fair", "score": 3}'

    with JudgeServer(judge=judge, writer=lambda body, index: "an answer") as server:
        run(models={"judge": server.model("judge"), "writer": server.model("writer")})
        server.count("judge")               # requests, without the probes of the factory
        server.asked("judge")               # their bodies, in the order of arrival

A function gives a text, or an `Answer` with finish reason, log-probabilities or an error status. `schemas` False: a
`response_format` is a 400. `logprobs` False: they are dropped in silence. A prompt's tokens are its bytes, the dearest
that any tokenizer counts; an answer's are four characters each, and it ends at `max_tokens` of them. `billed` sums what
the server took, in the prices of `PRICE`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from form_server import fill

PRICE = {"input": 1.0, "output": 10.0}
"""USD per million tokens: 1,000 and 10,000 nano-USD a token."""
TOKEN = 4


@dataclass(frozen=True)
class Answer:
    """One choice. `tokens`: (token, logprob, [(alternative, logprob), …]), spelling the text. `status`: an error's."""

    text: str
    finish_reason: str = "stop"
    tokens: Sequence[tuple[str, float, Sequence[tuple[str, float]]]] | None = None
    status: int = 200


Function = Callable[[dict[str, Any], int], "str | Answer"]


def last(body: dict[str, Any]) -> str:
    """The last message of a request."""
    return str(body["messages"][-1]["content"])


def everything(body: dict[str, Any]) -> str:
    """All messages of a request."""
    return "\n".join(str(message["content"]) for message in body["messages"])


def is_probe(body: dict[str, Any]) -> bool:
    """Whether the factory only finds out what the server honours."""
    return "Write one short sentence about the sea" in last(body) or "Describe the sea in one short" in last(body)


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # a client may open all its connections at once; beyond 5 the system would let some hang


class JudgeServer:
    """The server in a thread of this process; one function a model."""

    def __init__(self, *, schemas: bool = True, logprobs: bool = True, **functions: Function):
        self.functions = functions
        self.schemas = schemas
        self.logprobs = logprobs
        self.bodies: list[dict[str, Any]] = []
        self.billed = 0
        self.url = ""
        self._lock = threading.Lock()

    def __enter__(self) -> JudgeServer:
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def model(self, name: str, **changes: Any) -> dict[str, Any]:
        """A recipe's model. `identity` keeps the plan alike wherever the server is."""
        model = {
            "backend": "openai",
            "model": name,
            "base_url": self.url,
            "identity": f"mock-{name}",
            "temperature": 0,
            "max_tokens": 100,
        }
        return model | changes

    def asked(self, model: str) -> list[dict[str, Any]]:
        """The requests to a model, without probes, in the order of arrival."""
        with self._lock:
            return [body for body in self.bodies if body["model"] == model and not is_probe(body)]

    def count(self, model: str) -> int:
        return len(self.asked(model))

    def clear(self) -> None:
        """Forget what was asked."""
        with self._lock:
            self.bodies.clear()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": name, "object": "model"} for name in outer.functions]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.bodies.append(body)
                self._send(*outer.reply(body))

            def _send(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Tests look at `bodies`."""

        return Handler

    def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a chat request."""
        form = body.get("response_format") or {}
        if form and not self.schemas:
            return 400, _error("response_format is not available with this model")
        answers = [self._answer(body, form, index) for index in range(body.get("n") or 1)]
        if failed := next((one for one in answers if one.status != 200), None):
            return failed.status, _error(failed.text)
        choices = [self._choice(body, index, one) for index, one in enumerate(answers)]
        prompt = sum(len(str(message["content"]).encode()) for message in body["messages"])
        written = sum(-(-len(choice["message"]["content"]) // TOKEN) for choice in choices)
        with self._lock:
            self.billed += 1000 * prompt + 10000 * written
        usage = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
        return 200, {"object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}

    def _answer(self, body: dict[str, Any], form: dict[str, Any], index: int) -> Answer:
        if is_probe(body):
            schema = (form.get("json_schema") or {}).get("schema")
            return Answer(json.dumps(fill(schema, "0" * 64)) if schema else '{"sea": "wide"}' if form else "The sea.")
        given = self.functions[body["model"]](body, index)
        return given if isinstance(given, Answer) else Answer(given)

    def _choice(self, body: dict[str, Any], index: int, answer: Answer) -> dict[str, Any]:
        most = TOKEN * (body.get("max_tokens") or 10**6)
        text, reason = answer.text[:most], answer.finish_reason if len(answer.text) <= most else "length"
        choice: dict[str, Any] = {"index": index, "finish_reason": reason}
        choice["message"] = {"role": "assistant", "content": text}
        if body.get("logprobs") and self.logprobs and answer.tokens is not None:
            top = body.get("top_logprobs") or 0
            choice["logprobs"] = {
                "content": [
                    {
                        "token": token,
                        "logprob": value,
                        "top_logprobs": [{"token": one, "logprob": chance} for one, chance in others[:top]],
                    }
                    for token, value, others in answer.tokens
                ]
            }
        return choice


def _error(text: str) -> dict[str, Any]:
    return {"error": {"message": text, "type": "invalid_request_error"}}
