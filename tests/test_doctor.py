"""`doctor`: what is found of this environment, and of a recipe's models at servers of every kind."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from form_server import FormServer
from support import server_model, write_recipe

from factory.cli import main
from factory.errors import BadBody, ConnectionLost
from factory.model_check import context_of, is_free, read_entries
from factory.model_questions import FEATURES, SCHEMA, Answer, build_questions, expected_cost, judge
from factory.prices import LOCAL, PriceTable, unknown_price
from factory.recipe import load_recipe
from factory.types import Choice, Response, TokenLogprob, Usage

Examine = Callable[..., dict[str, Any]]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Examine:
    """`factory doctor` on a recipe with one model: its JSON with `exit` and `err`; with `text=True` what people see."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["doctor", "recipe.yaml", *arguments])
        return (int(left.value.code or 0), *capsys.readouterr())

    def examine(model: dict[str, Any], *arguments: str, text: bool = False, **changes: Any) -> dict[str, Any]:
        write_recipe(tmp_path, models={"writer": model}, **changes)
        if text:
            code, out, err = run(*arguments)
            return {"exit": code, "text": out, "err": err}
        code, out, err = run(*arguments, "--json")
        found = json.loads(out)
        check = next(check for check in found["checks"] if check["name"].startswith("model writer"))
        return {**found["models"]["writer"], **check, "exit": code, "err": err}

    return examine


# --- what servers honour

SERVERS: dict[str, tuple[dict[str, Any], str, dict[str, bool | None]]] = {
    "honours all": ({}, "json", {}),
    "one choice": ({"n_mode": "ignore"}, "json", {"n": False}),
    "refuses n": ({"n_mode": "refuse"}, "json", {"n": False}),
    "equal answers": ({"seed_mode": "same"}, "json", {"seed": False}),
    "no seeds": ({"seed_mode": "random"}, "json", {"seed": False}),
    "refuses seeds": ({"refuse": ("seed",), "seed_mode": "same"}, "json", {"seed": False}),
    "refuses forms": ({"refuse": ("response_format",)}, "text", {"schema": False, "json_object": False}),
    "refuses logprobs": ({"refuse": ("logprobs",)}, "json", {"logprobs": False}),
    "refuses stop": ({"refuse": ("stop",)}, "json", {"stop": False}),
    "renames max_tokens": ({"refuse": ("max_tokens",)}, "json", {}),
    "tells no usage": ({"usage": False}, "json", {"usage": False}),
    "reasons": ({}, "reasoning", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVERS)
def test_what_a_server_honours(doctor: Examine, name: str) -> None:
    settings, mode, changed = SERVERS[name]
    with FaultServer(Settings(**settings)) as server:
        found = doctor(server_model(server.url, mode))
        assert server.stats()["max_concurrent"] <= 4
    assert found["exit"] == 0 and found["ok"] is True and found["reachable"] is True and found["model"] is True
    honours = found["honours"]
    assert tuple(honours) == FEATURES
    expected = dict.fromkeys(FEATURES, True) | {"system": False} | changed
    known = {"schema", "json_object", "logprobs"} - changed.keys() if mode == "reasoning" else set()
    assert {key: honours[key] for key in honours if key not in known} == {
        key: value for key, value in expected.items() if key not in known
    }, found["why"]
    assert all(found["why"][feature] for feature in changed), "what is not honoured comes with the reason"
    assert found["latency_s"] > 0 and found["tokens_per_s"] > 0 and found["asked"] >= 14


WAYS = {
    "honour": (True, True),
    "object_only": (False, True),
    "ignore": (False, False),
    "refuse": (False, False),
    "downgrade": (False, True),
}


@pytest.mark.parametrize("way", WAYS)
def test_forms_that_are_taken_and_those_that_are_kept_to(doctor: Examine, way: str) -> None:
    with FormServer(way) as server:
        found = doctor({"backend": "openai", "model": "mock-form", "base_url": server.url})
    schema, plain = WAYS[way]
    assert (found["honours"]["schema"], found["honours"]["json_object"] or False) == (schema, plain)
    word = {"refuse": "refused: HTTP 400", "object_only": "refused: HTTP 400", "downgrade": "other JSON came"}
    if not schema:
        assert word.get(way, "taken, but prose came") in found["why"]["schema"]


def test_a_model_that_says_nothing_leaves_much_unclear(doctor: Examine) -> None:
    with FaultServer(Settings()) as server:
        found = doctor(server_model(server.url, "empty"))
    assert found["exit"] == 0 and found["honours"]["n"] is True
    assert found["honours"]["seed"] is None and found["why"]["seed"] == "the answer was empty"


def test_faults_that_pass_do_not_spoil_the_findings(doctor: Examine) -> None:
    faults = {"rate_limit": 0.1, "server_error": 0.1, "truncated": 0.05, "empty_choices": 0.05, "reset": 0.05}
    with FaultServer(Settings(faults=faults, fault_seed=3)) as server:
        found = doctor(server_model(server.url, "json"))
        assert len(server.stats()["outcomes"]) > 2
    assert found["exit"] == 0 and found["honours"] == {name: name != "system" for name in FEATURES}


def test_models_in_process(doctor: Examine) -> None:
    echo = doctor({"backend": "echo"})
    assert echo["told"] == "in process; asked, it answered: Answer with the one word: ready; costs nothing"
    assert echo["honours"]["n"] is True and echo["honours"]["seed"] is False and echo["honours"]["usage"] is False
    tiny = doctor({"backend": "embedded", "model": "tiny", "max_tokens": 40})
    kept = {name for name, honoured in tiny["honours"].items() if honoured}
    assert {"n", "seed", "stop", "usage"} <= kept and "schema" not in kept
    assert tiny["honours"]["max_tokens"] is not False, "it may end by itself before it is cut"
    assert tiny["latency_s"] > 0 and tiny["tokens_per_s"] > 0 and tiny["asked_usd"] == 0


# --- what is asked, and what it costs

PRICE = {"input": 0.25, "output": 2.0}


def test_a_model_that_costs_is_asked_only_when_wanted(doctor: Examine) -> None:
    with FaultServer(Settings()) as server:
        model = server_model(server.url, "json", price=PRICE)
        found = doctor(model)
        assert server.stats()["requests"] == 0 and found["asked"] == 0 and found["honours"] == {}
        assert any("add --ask (about $0.00" in note for note in found["notes"])
        asked = doctor(model, "--ask")
        stats = server.stats()
    assert "asking writer (openai/mock-json) what it honours, for about $0.00" in asked["err"]
    billed = (
        stats["billed_prompt_tokens"] * PRICE["input"] + stats["billed_completion_tokens"] * PRICE["output"]
    ) / 1e6
    assert asked["asked_usd"] == pytest.approx(billed, abs=1e-7) and asked["asked"] == stats["requests"]
    about, most = (float(text) for text in _told_costs(asked["err"]))
    assert about / 4 < billed < most
    assert asked["price"] == {**PRICE, "cached_input": None, "gpu_hour": None, "source": "recipe"}


def _told_costs(text: str) -> tuple[str, str]:
    about = text.partition("about $")[2].split(" ")[0]
    return about, text.partition("at most $")[2].split(",")[0]


def test_no_ask_asks_nothing(doctor: Examine) -> None:
    with FaultServer(Settings()) as server:
        found = doctor(server_model(server.url), "--no-ask")
        assert server.stats()["requests"] == 0
    assert found["told"] == "its server has it; costs nothing" and found["notes"] == [] and found["latency_s"] is None


@pytest.mark.parametrize(
    ("price", "free"),
    [
        (LOCAL, True),
        (PriceTable(0, 0, None, "recipe"), True),
        (PriceTable(1, 0, None, "recipe"), False),
        (PriceTable(0, 0, None, "recipe", gpu_second=5), False),
        (PriceTable(0, 0, None, "recipe", request=1), False),
        (unknown_price("nobody knows"), False),
    ],
)
def test_what_costs_nothing(price: PriceTable, free: bool) -> None:
    assert is_free(price) is free


def test_the_cost_told_before_bounds_what_questions_can_cost(tmp_path: Path) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path, models={"writer": {"backend": "openai", "model": "x"}})))
    price = PriceTable(250, 2000, None, "recipe")
    config = recipe.models["writer"]
    expected = expected_cost(price, recipe, "writer", config)
    assert expected is not None and 0 < expected[0] < expected[1]
    most = sum(
        r.n * (r.sampling.max_tokens or 0) for r in build_questions(recipe, "writer", config, thinking=1024).values()
    )
    assert expected[1] >= most * 2000e-9
    assert expected_cost(unknown_price("x"), recipe, "writer", config) is None
    assert expected_cost(PriceTable(0, 0, None, "recipe", gpu_second=1), recipe, "writer", config) is None


def test_questions_keep_what_the_recipe_sends_with_every_request(tmp_path: Path) -> None:
    model = {"backend": "openai", "model": "x", "temperature": 0, "max_tokens": 9, "stop": ["z"], "logprobs": 3,
             "extra_body": {"service_tier": "flex"}, "reasoning_effort": "low"}  # fmt: skip
    recipe = load_recipe(str(write_recipe(tmp_path, models={"writer": model})))
    built = build_questions(recipe, "writer", recipe.models["writer"])
    assert all(r.sampling.extra == {"reasoning_effort": "low", "service_tier": "flex"} for r in built.values())
    assert built["seed"].sampling.temperature == 0.8 and built["long"].sampling.temperature == 0
    assert built["seed"].seed == built["seed again"].seed != built["seed other"].seed
    assert [name for name, r in built.items() if r.logprobs is not None] == ["logprobs"]
    assert [name for name, r in built.items() if r.sampling.stop] == ["stop"]
    assert all(r.purpose == "probe" and r.row is None for r in built.values())


# --- what is wrong, told with what to do


class Listing:
    """A server whose GET answers are given: path → (status, body); without `key` its chat is a 404."""

    def __init__(self, answers: dict[str, tuple[int, Any]], key: str | None = None):
        self.answers, self.key = answers, key
        self.asked: list[str] = []

    def __enter__(self) -> Listing:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, body = outer.answers.get(self.path, (404, {"error": {"message": "no such path"}}))
                if outer.key is not None and self.headers.get("Authorization") != f"Bearer {outer.key}":
                    status, body = 401, {"error": {"message": "bad key"}}
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Tests look at `asked`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def listed(*names: str, **entry: Any) -> dict[str, tuple[int, Any]]:
    return {"/v1/models": (200, {"data": [{"id": name, **entry} for name in names]})}


def test_a_key_is_valid_where_the_list_is_refused_without_it(doctor: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sesame-opens")
    with Listing(listed("big"), key="sesame-opens") as server:
        model = server_model(server.url, model="big", api_key_env="MY_KEY", price=PRICE)
        assert doctor(model)["key"] is True
        server.key = None
        assert doctor(model)["key"] is None, "an open list says nothing of the key"
        server.key = "another"
        refused = doctor(model)
    assert refused["key"] is False and refused["reachable"] is True and refused["exit"] == 1
    assert "401" in refused["told"] and refused["hint"] == "check the key in $MY_KEY"
    monkeypatch.delenv("MY_KEY")
    missing = doctor(model)
    assert missing["key"] is False and missing["reachable"] is None and "MY_KEY is not set" in missing["told"]


def test_a_key_that_is_wanted_and_not_sent(doctor: Examine) -> None:
    with FaultServer(Settings(key="sesame")) as server:
        found = doctor(server_model(server.url))
    assert found["exit"] == 1 and found["key"] is False and "api_key_env" in found["hint"]


def test_a_name_that_the_server_does_not_have(doctor: Examine) -> None:
    with FaultServer(Settings()) as server:
        found = doctor(server_model(server.url, model="mock-txt"))
    assert found["exit"] == 1 and found["model"] is False and found["reachable"] is True
    assert found["told"] == "its server does not have `mock-txt`" and found["hint"] == "did you mean `mock-text`?"


def test_a_server_that_answers_to_any_name(doctor: Examine) -> None:
    with FormServer() as server:
        found = doctor({"backend": "openai", "model": "gpt-whatever", "base_url": server.url})
        assert (
            found["ok"] is True
            and found["model"] is True
            and "does not list `gpt-whatever`, but answers" in found["told"]
        )
        unasked = doctor({"backend": "openai", "model": "gpt-whatever", "base_url": server.url}, "--no-ask")
    assert unasked["ok"] is False and unasked["model"] is False


def test_a_tag_need_not_be_written(doctor: Examine) -> None:
    with Listing(listed("qwen3:latest")) as server:
        assert doctor(server_model(server.url, model="qwen3", price=PRICE))["model"] is True


def test_a_server_that_hangs(doctor: Examine) -> None:
    with FaultServer(Settings(faults={"hang": 1.0})) as server:
        found = doctor(server_model(server.url, timeout=0.3))
        assert server.stats()["requests"] == 1, "who does not answer a word is asked no more"
    assert found["exit"] == 1 and found["reachable"] is False and "within 0.3 s" in found["told"]
    assert found["asked"] == 1 and found["honours"] == {}


@pytest.mark.parametrize(
    ("answers", "told", "hint"),
    [
        ({"/v1/models": (200, b"<html>It works!</html>")}, "the body is no JSON", "OpenAI-compatible"),
        ({"/v1/models": (200, {"status": "ok"})}, "another shape", "OpenAI-compatible"),
        ({"/v1/models": (503, {"error": {"message": "loading"}})}, "HTTP 503: loading", "try again"),
        ({"/v1/models": (403, {"error": {"message": "no"}})}, "HTTP 403", "api_key_env"),
        ({"/v1/models": (402, {"error": {"message": "pay"}})}, "HTTP 402", "add credit"),
    ],
)
def test_lists_that_are_none(doctor: Examine, answers: Any, told: str, hint: str) -> None:
    with Listing(answers) as server:
        found = doctor(server_model(server.url))
    assert found["exit"] == 1 and told in found["told"] and hint in found["hint"], found


def test_a_server_without_a_list_may_still_answer(doctor: Examine) -> None:
    with Listing({}) as server:
        found = doctor(server_model(server.url, price=PRICE))
    assert found["exit"] == 0 and "does not tell which models it has" in found["told"] and found["model"] is None


def test_nothing_there(doctor: Examine) -> None:
    found = doctor(server_model("http://127.0.0.1:9/v1"))
    assert found["exit"] == 1 and found["reachable"] is False and "127.0.0.1:9" in found["told"]
    assert "base_url" in found["hint"]


def test_a_certificate_that_nobody_knows(doctor: Examine, tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key.pem", "-days", "2",
         "-out", tmp_path / "cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with FormServer() as server:
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        port = server._server.server_address[1]
        found = doctor({"backend": "openai", "model": "mock-form", "base_url": f"https://localhost:{port}/v1"})
    assert found["exit"] == 1 and "certificate is not trusted" in found["told"] and "SSL_CERT_FILE" in found["hint"]


def test_batch_jobs_are_looked_for_and_not_submitted(doctor: Examine) -> None:
    with Listing(listed("big")) as server:
        model = server_model(server.url, model="big", batch=True, price=PRICE)
        without = doctor(model)
        server.answers["/v1/batches?limit=1"] = (200, {"object": "list", "data": []})
        with_them = doctor(model)
        assert server.asked.count("/v1/batches?limit=1") == 2
    assert without["exit"] == 1 and without["batches"] is False and "remove `batch: true`" in without["hint"]
    assert with_them["exit"] == 0 and with_them["batches"] is True


def test_a_backend_that_breaks_is_told_as_its_own(doctor: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        honours_n, local = False, True

        async def generate(self, request: Any) -> Any:
            raise RuntimeError("it broke")

        async def close(self) -> None:
            """Nothing to close."""

    monkeypatch.setattr("factory.model_check.open_backend", lambda config: Broken())
    found = doctor({"backend": "echo"})
    assert found["exit"] == 1 and "its backend failed: RuntimeError: it broke" in found["told"]


# --- what lists tell


@pytest.mark.parametrize(
    "entry",
    [
        {"max_model_len": 4096},
        {"context_length": 4096, "top_provider": {"context_length": 1}},
        {"context_window": 4096},
        {"max_context_length": 4096},
        {"meta": {"n_vocab": 3, "n_ctx": 4096, "n_ctx_train": 9}},
    ],
)
def test_context_lengths_as_servers_write_them(doctor: Examine, entry: dict[str, Any]) -> None:
    assert context_of(entry) == 4096
    with Listing(listed("big", **entry)) as server:
        assert doctor(server_model(server.url, model="big", price=PRICE))["context"] == 4096


@pytest.mark.parametrize(
    "entry", [{}, {"max_model_len": None}, {"context_length": "4096"}, {"meta": None}, {"n_ctx": True}]
)
def test_no_context_length(entry: dict[str, Any]) -> None:
    assert context_of(entry) is None


def test_lists_of_models_of_several_shapes() -> None:
    assert set(read_entries({"data": [{"id": "a"}, {"id": "b"}]})) == {"a", "b"}
    assert set(read_entries({"models": [{"name": "a"}]})) == {"a"}
    assert set(read_entries(["a", "b"])) == {"a", "b"}
    for body in ({}, {"data": None}, "a", 3):
        with pytest.raises(BadBody):
            read_entries(body)


# --- what answers show


def answer(*texts: str, end: str = "stop", tokens: int = 5, logprobs: bool = False, estimated: bool = False) -> Answer:
    shown = (TokenLogprob("a", -0.1),) if logprobs else None
    choices = tuple(Choice(text, end, logprobs=shown) for text in texts)
    return Answer(Response(choices, Usage(5, tokens, estimated=estimated), "m"), None, 0.1)


GOOD = {
    "word": answer("ready"),
    "long": answer("the sea"),
    "n": answer("a", "b"),
    "seed": answer("x"),
    "seed again": answer("x"),
    "seed other": answer("y"),
    "schema": answer(json.dumps(dict.fromkeys(SCHEMA["properties"], 1))),
    "json_object": answer('{"a": 1}'),
    "logprobs": answer("ready", logprobs=True),
    "system": answer("Banana."),
    "stop": answer("th"),
    "max_tokens": answer("the sea", end="length", tokens=16),
}
JUDGED: list[tuple[str, Answer, bool | None, str]] = [
    ("n", answer("a"), False, "one choice"),
    ("seed again", answer("z"), False, "same seed gave another"),
    ("seed other", answer("x"), False, "another seed gave the same"),
    ("seed", answer(""), None, "empty"),
    ("schema", answer("The sea."), False, "prose"),
    ("schema", answer('{"sea": 1}'), False, "other JSON"),
    ("schema", answer('{"colour": "bl', end="length"), True, ""),
    ("json_object", answer("The sea."), False, "prose"),
    ("json_object", answer("  ", end="length"), None, "empty"),
    ("logprobs", answer("ready"), False, "none came"),
    ("system", answer("Paris"), False, "not followed"),
    ("stop", answer("the sea"), False, "went on"),
    ("stop", answer(""), True, ""),
    ("max_tokens", answer("the sea " * 9, tokens=90), False, "90 tokens came where 16"),
    ("max_tokens", answer("the sea", tokens=4), None, "shorter"),
    ("max_tokens", answer("the sea " * 40, tokens=0, estimated=True), False, "80 tokens came"),
    ("max_tokens", answer("the sea", end="length", tokens=0, estimated=True), True, ""),
    ("word", answer("ready", estimated=True), False, "estimated"),
    ("n", Answer(None, ConnectionLost("it broke"), 1.0), None, "it broke"),
]


def test_all_that_is_asked_is_judged() -> None:
    found = judge(GOOD)
    assert tuple(found) == FEATURES and all(finding.honours and not finding.why for finding in found.values())


@pytest.mark.parametrize(("name", "given", "honours", "why"), JUDGED)
def test_what_an_answer_shows(name: str, given: Answer, honours: bool | None, why: str) -> None:
    feature = {"word": "usage", "seed again": "seed", "seed other": "seed"}.get(name, name)
    found = judge({**GOOD, name: given})
    assert found[feature].honours is honours and why in found[feature].why
    assert [other for other in found if other != feature and not found[other].honours] == []


# --- what people see


def test_the_report_fits_eighty_columns_and_says_it_all(doctor: Examine) -> None:
    with FaultServer(Settings(n_mode="refuse", usage=False, refuse=("logprobs", "response_format"))) as server:
        shown = doctor(server_model(server.url, "text"), text=True)
    assert shown["exit"] == 0 and all(len(line) <= 80 for line in shown["text"].splitlines())
    lines = shown["text"].splitlines()
    at = next(number for number, line in enumerate(lines) if "model writer" in line)
    assert lines[at] == "ok   model writer (openai/mock-text): its server has it"
    names = [line.split()[0] for line in lines[at + 1 :] if line.startswith("     ") and line[5] != " "]
    assert names[:4] == ["price", "speed", "says", "honours"] and set(names[4:]) <= {"not", "unclear", "note"}
    block = "\n".join(lines[at:])
    assert "not      n: refused: HTTP 400: n > 1 is not supported" in block and "tokens/s for one answer alone" in block
    assert "\x1b" not in shown["text"]


def test_words_of_a_server_cannot_paint_the_terminal(doctor: Examine) -> None:
    with Listing({"/v1/models": (403, {"error": {"message": "\x1b[31m red \x07"}})}) as server:
        shown = doctor(server_model(server.url), text=True)
    assert "\x1b" not in shown["text"] and "red" in shown["text"]


# --- the machine


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts an `nvidia-smi` with this script on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(script: str) -> None:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "nvidia-smi").chmod(0o755)

    yield write


@pytest.mark.parametrize(
    ("script", "ok", "told"),
    [
        ("echo 'NVIDIA H200, 143771'", True, "1 × NVIDIA H200, 140 GiB"),
        ("for i in 1 2; do echo 'A10G, 23028'; done; echo 'Tesla T4, 15360'", True, "2 × A10G, 22 GiB; 1 × Tesla T4"),
        ("echo 'NVIDIA GB10, [N/A]'", True, "1 × NVIDIA GB10"),
        ("echo 'No devices were found'; exit 6", None, "nvidia-smi sees none: No devices were found"),
        ("true", None, "none seen"),
    ],
)  # fmt: skip
def test_gpus(nvidia_smi: Callable[[str], None], script: str, ok: bool | None, told: str) -> None:
    from factory.doctor import examine

    nvidia_smi(script)
    check = next(check for check in examine(None).checks if check["name"] == "gpu")
    assert check["ok"] is ok and check["told"].startswith(told)


def test_extras_are_told_with_their_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from factory.doctor import examine

    checks = {check["name"]: check for check in examine(None).checks}
    assert f"faker {metadata.version('faker')}" in checks["extra faker"]["told"]
    monkeypatch.setattr("factory.doctor.util.find_spec", lambda name: None)
    bare = {check["name"]: check for check in examine(None).checks}
    for extra in ("vllm", "transformers"):
        assert bare[f"extra {extra}"]["ok"] is None and bare[f"extra {extra}"]["hint"] == (
            f'pip install "text-data-factory[{extra}]"'
        )


def test_another_model_may_be_named_as_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_recipe(tmp_path, rows=2)
    with pytest.raises(SystemExit) as left:
        main(["doctor", str(path), "--no-ask", "--model", "writer=embedded/tiny", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert not left.value.code and told["models"]["writer"]["model"] and "embedded/tiny" in json.dumps(told["checks"])
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--model", "writer=embedded/tiny"])
    err = capsys.readouterr().err
    assert left.value.code == 2 and "--model needs a recipe" in err and "writer=openai/gpt-5-mini" in err


def test_the_sandbox_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from factory import doctor

    monkeypatch.setattr(doctor, "available", lambda: "bubblewrap is not installed: `apt install bubblewrap`")
    missing = next(check for check in doctor.examine(None).checks if check["name"] == "sandbox")
    assert missing["ok"] is None and missing["hint"] == "`apt install bubblewrap`"
    monkeypatch.setattr(doctor, "available", lambda: None)
    assert next(check for check in doctor.examine(None).checks if check["name"] == "sandbox")["ok"] is True


def test_a_server_is_asked_for_what_the_recipe_wants_of_it(tmp_path: Path) -> None:
    """An embedding server that cannot write is in order; one that cannot embed is not."""
    from measuring_server import MeasuringServer

    from factory.doctor import examine
    from factory.recipe import build_recipe

    with MeasuringServer() as server:
        data = {
            "name": "check",
            "prompt": "x",
            "models": {"writer": "echo", "embedder": server.model()},
            "score": [{"similarity": {"model": "embedder", "to": "{{ row }}"}}],
        }
        found = examine(build_recipe(data), ask=True).models["embedder"]
        assert found.ok, found.told
        assert "embed a text" in found.told
        assert {path for path, _, _ in server.requests} <= {"/v1/embeddings", "/v1/models"}, "and for nothing else"
