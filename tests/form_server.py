"""A small server that treats `response_format` in a chosen way, for tests that look at what it was sent.

    with FormServer("ignore") as server:
        run(base_url=server.url)
        server.bodies                 # every chat request, decoded, in the order of arrival

Ways: `honour` (a schema and `json_object` are kept to), `refuse` (any form is a 400), `object_only` (a schema is a
400), `ignore` (forms are taken and dropped), `downgrade` (a schema is taken for `json_object`), `lie` (a schema is kept
to in a probe alone, then other JSON comes). Where no form is kept to, JSON comes when the last message speaks of JSON,
prose when it does not. Answers are a pure function of the request.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAYS = ("honour", "refuse", "object_only", "ignore", "downgrade", "lie")


def fill(schema: Mapping[str, Any], key: str) -> Any:
    """A value that fits a schema as the factory sends them."""
    if "anyOf" in schema:
        return fill(schema["anyOf"][0], key)
    if "enum" in schema:
        return schema["enum"][int(key[:4], 16) % len(schema["enum"])]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: fill(part, key[1:] + name) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [fill(schema.get("items", {}), key)]
    return {"integer": int(key[:2], 16), "number": int(key[:2], 16) / 4, "boolean": key[0] < "8"}.get(
        kind, f"words {key[:12]}"
    )


class FormServer:
    """The server in a thread of this process. `columns`: the keys of its JSON where no schema names them."""

    def __init__(self, way: str = "honour", *, columns: tuple[str, ...] = ("question", "answer")):
        self.way = way
        self.columns = columns
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    def __enter__(self) -> FormServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def forms(self) -> list[str | None]:
        """The kind of form of every request, in the order of arrival."""
        return [(body.get("response_format") or {}).get("type") for body in self.bodies]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": "mock-form", "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                self._send(*outer.answer(body))

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

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a chat request."""
        form = body.get("response_format") or {}
        refused = {"refuse": ("json_schema", "json_object"), "object_only": ("json_schema",)}.get(self.way, ())
        if form.get("type") in refused:
            text = f"response_format of type `{form['type']}` is not available with this model"
            return 400, {"error": {"message": text, "type": "invalid_request_error", "param": "response_format"}}
        n = body.get("n") or 1
        choices = [
            {"index": k, "message": {"role": "assistant", "content": self._text(body, k)}, "finish_reason": "stop"}
            for k in range(n)
        ]
        usage = {"prompt_tokens": 20, "completion_tokens": 10 * n, "total_tokens": 20 + 10 * n}
        return 200, {"object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}

    def _text(self, body: dict[str, Any], index: int) -> str:
        key = hashlib.sha256(json.dumps([body, index], sort_keys=True).encode()).hexdigest()
        form = body.get("response_format") or {}
        last = body["messages"][-1]["content"]
        is_probe = "about the sea" in last or "Describe the sea" in last
        if form.get("type") == "json_schema" and (self.way == "honour" or (self.way == "lie" and is_probe)):
            return json.dumps(fill(form["json_schema"]["schema"], key))
        if self.way == "lie":
            return json.dumps({"title": f"words {key[:12]}"})
        held = {
            "honour": ("json_object",),
            "object_only": ("json_object",),
            "downgrade": ("json_schema", "json_object"),
        }
        if form.get("type") in held.get(self.way, ()) and "JSON Schema" not in last:
            return json.dumps({"title": f"words {key[:12]}"})
        if "JSON" in last and "not as JSON" not in last:
            return json.dumps({name: f"words {key[:12]} {name}" for name in self.columns})
        return f"The sea is wide and green, {key[:12]}."
