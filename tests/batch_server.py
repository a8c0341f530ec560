"""An OpenAI-compatible server of files and batches, for tests: what it generates and bills is counted by custom_id.

In a test: `with BatchServer(latency=0.1) as server: run(base_url=server.url)`. As its own process, which outlives a
client killed with -9: `with BatchProcess("--latency", "0.1") as server: …`, with the same methods. Answers are those of
`fault_answers.py`; live chat completions (probes) are answered too, and counted apart (`live`).

Settings (`configure(**settings)`, POST /_config):
    latency       seconds from a batch's submission to its end
    hold          no batch ends while it is true
    page          entries of a page of a list at most
    lag           seconds for which a new batch is in no list
    first         what becomes of requests that were never asked before, as shares: {kind: share}. Kinds: expire
                  (batch_expired), drop (no line), error (500), refuse (400), limit (429), garbage (a line, no JSON)
    status        how batches end ("completed", "expired", "cancelled"); expired when a line is `expire`
    fail          codes with which the next batches fail their validation, one after the other
    enqueued      requests in unfinished batches at most; beyond it a batch fails with token_limit_exceeded
    metadata      whether batches keep their metadata
    refuse        parameters that every line is refused for
    down          every request is answered with 503
    stall         the act at which the server stops answering: upload_before, upload_after, submit_before, submit_after
                  (before or after it is done), download (half of the file has been sent). `stats()["stalled"]` says
                  that it happened. Configuring anything else lets nobody go: the client is meant to be killed.
Counts: `stats()`: generated (custom_id → answers made and billed), prompt_tokens, completion_tokens, uploads, submits,
batches (status by id), live, downloads, polls.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from fault_answers import make_answer


@dataclass
class Settings:
    """See the module's docstring."""

    latency: float = 0.05
    hold: bool = False
    page: int = 100
    lag: float = 0.0
    first: dict[str, float] = field(default_factory=dict)
    status: str = "completed"
    fail: list[str] = field(default_factory=list)
    enqueued: int | None = None
    metadata: bool = True
    refuse: list[str] = field(default_factory=list)
    down: bool = False
    stall: str = ""
    n_mode: str = "honour"


class State:
    """Files, batches and counts."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.generated: Counter[str] = Counter()
        self.asked: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.stalled = ""

    def stats(self) -> dict[str, Any]:
        ended = {name: batch["status"] for name, batch in self.batches.items()}
        names = ("prompt_tokens", "completion_tokens", "uploads", "submits", "live", "downloads", "polls")
        sizes = {name: batch["request_counts"]["total"] for name, batch in self.batches.items()}
        counts = {name: self.counts[name] for name in names}
        return {**counts, "generated": dict(self.generated), "batches": ended, "sizes": sizes, "stalled": self.stalled}

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        n = int(body.get("n") or 1) if self.settings.n_mode == "honour" else 1
        answer, billed = make_answer(body, n, "")
        self.counts["prompt_tokens"] += billed["prompt_tokens"]
        self.counts["completion_tokens"] += billed["completion_tokens"]
        return answer


STATE = web.AppKey("state", State)


def draw(custom_id: str) -> float:
    """A number of [0, 1) for a request."""
    return int.from_bytes(hashlib.sha256(custom_id.encode()).digest()[:6], "big") / 2**48


def fate(state: State, custom_id: str) -> str:
    """What becomes of a line: of a request that was asked before, an answer."""
    if custom_id in state.asked:
        return "ok"
    state.asked.add(custom_id)
    point = draw(custom_id)
    for kind, share in state.settings.first.items():
        point -= share
        if point < 0:
            return kind
    return "ok"


def run_line(state: State, line: dict[str, Any]) -> tuple[str, Any]:
    """Where the answer to a request goes (`output`, `error` or nowhere), and the line."""
    custom_id, body = line["custom_id"], line["body"]
    made = {"id": f"batch_req_{custom_id[:8]}", "custom_id": custom_id, "response": None, "error": None}
    refused = next((name for name in state.settings.refuse if name in body), None)
    if refused is not None:
        told = {"message": f"Unsupported parameter: '{refused}'", "code": "unsupported_parameter", "param": refused}
        return "error", {**made, "response": {"status_code": 400, "body": {"error": told}}}
    kind = fate(state, custom_id)
    if kind == "drop":
        return "none", None
    if kind == "expire":
        return "error", {**made, "error": {"code": "batch_expired", "message": "could not be executed in time"}}
    if kind in ("error", "refuse", "limit"):
        status = {"error": 500, "refuse": 400, "limit": 429}[kind]
        told = {"message": f"the test server says {kind}", "code": kind}
        return "error", {**made, "response": {"status_code": status, "request_id": "r", "body": {"error": told}}}
    state.generated[custom_id] += 1
    if kind == "garbage":
        return "output", b'{"custom_id": "' + custom_id.encode() + b'", "response": {'
    return "output", {**made, "response": {"status_code": 200, "request_id": "r", "body": state.answer(body)}}


def finish(state: State, batch: dict[str, Any]) -> None:
    """Run a batch's lines; answers lie in another order than requests."""
    lines = [orjson.loads(line) for line in state.contents[batch["input_file_id"]].splitlines()]
    output: list[tuple[float, bytes]] = []
    errors: list[tuple[float, bytes]] = []
    for line in lines:
        where, made = run_line(state, line)
        if where != "none":
            raw = made if isinstance(made, bytes) else orjson.dumps(made)
            (output if where == "output" else errors).append((draw(line["custom_id"]), raw))
    expired = any(b"batch_expired" in raw for _, raw in errors)
    counts = {"total": len(lines), "completed": len(output), "failed": len(errors)}
    batch |= {"status": "expired" if expired else state.settings.status, "request_counts": counts}
    for name, found in (("output_file_id", output), ("error_file_id", errors)):
        if found:
            batch[name] = new_id(state, "file-")
            state.contents[batch[name]] = b"\n".join(raw for _, raw in sorted(found)) + b"\n"


def new_id(state: State, prefix: str) -> str:
    state.counts["ids"] += 1
    return f"{prefix}{state.counts['ids']:06d}"


async def stall(state: State, act: str) -> None:
    """Answer nothing any more, if this is the act for it."""
    if state.settings.stall == act:
        state.stalled = act
        state.settings.stall = ""
        await asyncio.sleep(3600)


async def upload(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    form = await request.post()
    part = form["file"]
    assert isinstance(part, web.FileField) and form["purpose"] == "batch"
    content = part.file.read()
    await stall(state, "upload_before")
    state.counts["uploads"] += 1
    file_id = new_id(state, "file-")
    state.files[file_id] = {"id": file_id, "object": "file", "filename": part.filename, "purpose": "batch"}
    state.files[file_id] |= {"created_at": time.time(), "bytes": len(content)}
    state.contents[file_id] = content
    await stall(state, "upload_after")
    return web.json_response(state.files[file_id])


def listed(request: web.Request, entries: list[dict[str, Any]]) -> web.Response:
    """A page, newest first, after the entry that `after` names."""
    state: State = request.app[STATE]
    newest = entries[::-1]
    after = request.query.get("after")
    if after is not None:
        newest = newest[[entry["id"] for entry in newest].index(after) + 1 :]
    size = min(int(request.query.get("limit", 20)), state.settings.page)
    return web.json_response({"object": "list", "data": newest[:size], "has_more": len(newest) > size})


async def list_files(request: web.Request) -> web.Response:
    return listed(request, list(request.app[STATE].files.values()))


async def content(request: web.Request) -> web.StreamResponse:
    state: State = request.app[STATE]
    raw = state.contents.get(request.match_info["id"])
    if raw is None:
        return error(404, "No such File object")
    state.counts["downloads"] += 1
    if state.settings.stall == "download":
        response = web.StreamResponse(headers={"Content-Length": str(len(raw))})
        await response.prepare(request)
        await response.write(raw[: len(raw) // 2])
        await stall(state, "download")
    return web.Response(body=raw)


async def submit(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    asked = await request.json()
    await stall(state, "submit_before")
    if asked["input_file_id"] not in state.contents:
        return error(404, f"No such File object: {asked['input_file_id']}")
    state.counts["submits"] += 1
    total = state.contents[asked["input_file_id"]].count(b"\n")
    batch: dict[str, Any] = {
        "id": new_id(state, "batch_"),
        "object": "batch",
        "status": "in_progress",
        "input_file_id": asked["input_file_id"],
        "endpoint": asked["endpoint"],
        "completion_window": asked["completion_window"],
        "metadata": asked.get("metadata") if state.settings.metadata else None,
        "created_at": time.time(),
        "output_file_id": None,
        "error_file_id": None,
        "request_counts": {"total": total, "completed": 0, "failed": 0},
    }
    running = sum(
        other["request_counts"]["total"] for other in state.batches.values() if other["status"] == "in_progress"
    )
    state.batches[batch["id"]] = batch
    codes = state.settings.fail
    if state.settings.enqueued is not None and running + total > state.settings.enqueued:
        codes = ["token_limit_exceeded", *codes]
    if codes:
        code = codes.pop(0)
        fault = {"code": code, "message": f"the test server says {code}", "line": 1, "param": None}
        batch |= {"status": "failed", "errors": {"object": "list", "data": [fault]}}
    elif asked["endpoint"] != "/v1/chat/completions":
        return error(400, "no such endpoint")
    else:
        batch["ends_at"] = time.monotonic() + state.settings.latency
    await stall(state, "submit_after")
    return web.json_response(shown(batch))


def shown(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != "ends_at"}


def advance(state: State) -> None:
    """End the batches whose time has come."""
    for batch in state.batches.values():
        if batch["status"] == "in_progress" and not state.settings.hold and time.monotonic() >= batch["ends_at"]:
            finish(state, batch)


async def list_batches(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    advance(state)
    known = [b for b in state.batches.values() if b["created_at"] + state.settings.lag <= time.time()]
    return listed(request, [shown(batch) for batch in known])


async def get_batch(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    state.counts["polls"] += 1
    advance(state)
    batch = state.batches.get(request.match_info["id"])
    return error(404, "No such Batch object") if batch is None else web.json_response(shown(batch))


async def cancel(request: web.Request) -> web.Response:
    batch = request.app[STATE].batches[request.match_info["id"]]
    batch["status"] = "cancelled"
    return web.json_response(shown(batch))


async def chat(request: web.Request) -> web.Response:
    state: State = request.app[STATE]
    body = await request.json()
    refused = next((name for name in state.settings.refuse if name in body), None)
    if refused is not None:
        return web.json_response({"error": {"message": f"Unsupported parameter: '{refused}'"}}, status=400)
    state.counts["live"] += 1
    return web.json_response(state.answer(body))


def error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)


async def tell(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].stats())


async def configure(request: web.Request) -> web.Response:
    for name, value in (await request.json()).items():
        assert hasattr(request.app[STATE].settings, name), name
        setattr(request.app[STATE].settings, name, value)
    return web.json_response({})


@web.middleware
async def outage(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.app[STATE].settings.down and not request.path.startswith("/_"):
        return error(503, "down")
    response: web.StreamResponse = await handler(request)
    return response


def application(state: State) -> web.Application:
    app = web.Application(client_max_size=1 << 30, middlewares=[outage])
    app[STATE] = state
    app.add_routes(
        [
            web.post("/v1/files", upload),
            web.get("/v1/files", list_files),
            web.get("/v1/files/{id}/content", content),
            web.post("/v1/batches", submit),
            web.get("/v1/batches", list_batches),
            web.get("/v1/batches/{id}", get_batch),
            web.post("/v1/batches/{id}/cancel", cancel),
            web.post("/v1/chat/completions", chat),
            web.get("/_stats", tell),
            web.post("/_config", configure),
        ]
    )
    return app


async def serve(state: State, started: Any, stop: asyncio.Event) -> None:
    runner = web.AppRunner(application(state), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    started(f"http://127.0.0.1:{port}/v1")
    await stop.wait()
    await runner.cleanup()


class _Client:
    """What both kinds of server offer a test."""

    url = ""

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        asked = urllib.request.Request(self.url.removesuffix("/v1") + path, data=body)
        with opener.open(asked, timeout=30) as answer:
            return orjson.loads(answer.read())

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("/_stats")
        return found

    def configure(self, **changes: Any) -> None:
        self._ask("/_config", orjson.dumps(changes))


class BatchServer(_Client):
    """The server in a thread."""

    def __init__(self, **settings: Any):
        self.state = State(Settings(**settings))

    def __enter__(self) -> BatchServer:
        ready = threading.Event()

        def started(url: str) -> None:
            self.url = url
            ready.set()

        async def work() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await serve(self.state, started, self._stop)

        self._thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
        self._thread.start()
        assert ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


class BatchProcess(_Client):
    """The server as a process of its own."""

    def __init__(self, **settings: Any):
        self.settings = settings

    def __enter__(self) -> BatchProcess:
        self.process = subprocess.Popen(
            [sys.executable, __file__, orjson.dumps(self.settings).decode()], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


async def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="A server of files and batches for tests.")
    parser.add_argument("settings", nargs="?", default="{}", help="settings as JSON")
    parser.add_argument("--lifetime", type=float, default=600, help="seconds until it ends by itself")
    options = parser.parse_args(arguments)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.call_later(options.lifetime, stop.set)
    state = State(Settings(**orjson.loads(options.settings)))
    await serve(state, lambda url: print(url, flush=True), stop)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
