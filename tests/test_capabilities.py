"""What a server does with `n` and with JSON forms: probed once, journaled, part of every request after it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from form_server import FormServer
from hypothesis import given
from hypothesis import strategies as st
from support import parquet_hashes, write_recipe

import factory
from factory.capabilities import keeps_to
from factory.errors import Incomplete, RecipeError, TargetNotReached
from factory.parsing import compile_output, server_schema
from factory.types import Choice, Request, Response, Usage

Open = Callable[..., FormServer]
SENTENCE = "Write one JSON object that fits this JSON Schema"
FIELDS = {"question": "str", "answer": "str"}


@pytest.fixture
def serve() -> Iterator[Open]:
    """Servers by the way they treat forms."""
    opened: list[FormServer] = []

    def begin(way: str = "honour", **options: Any) -> FormServer:
        opened.append(FormServer(way, **options).__enter__())
        return opened[-1]

    yield begin
    for server in opened:
        server.__exit__()


def model(server: FormServer, **changes: Any) -> dict[str, Any]:
    return {"backend": "openai", "model": "mock-form", "base_url": server.url, "max_tokens": 100, **changes}


def recipe(tmp_path: Path, server: FormServer, name: str = "recipe.yaml", **changes: Any) -> Path:
    config = changes.pop("model", {})
    plain = {"models": {"writer": model(server, **config)}, "output": FIELDS, "parse": "json", "rows": 4}
    return write_recipe(tmp_path, name, **{**plain, **changes})


def structured(result: factory.Result) -> dict[str, str]:
    found: dict[str, str] = json.loads((result.path / "manifest.json").read_text())["structured"]
    return found


def purposes(result: factory.Result) -> dict[str, int]:
    found = list(result.ledger()["purpose"])
    return {purpose: found.count(purpose) for purpose in sorted(set(found))}


# --- what is found, for each kind of server

OUTCOMES = {
    "honour": ("json_schema", 1, ""),
    "object_only": ("json_object", 2, "does not take a JSON schema (HTTP 400"),
    "ignore": ("json_object", 2, "takes a JSON schema but does not keep to it"),
    "downgrade": ("json_object", 2, "takes a JSON schema but does not keep to it"),
    "refuse": ("prompt", 2, "does not take `json_object` (HTTP 400"),
}  # fmt: skip


@pytest.mark.parametrize("way", OUTCOMES)
def test_the_strictest_form_that_is_kept_to(tmp_path: Path, serve: Open, way: str) -> None:
    mode, probes, told = OUTCOMES[way]
    server, notices = serve(way), list[str]()
    result = factory.run(recipe(tmp_path, server), out=tmp_path / "run", notice=notices.append)
    assert structured(result) == {"writer main": mode}
    assert purposes(result) == {"generate": 4, "probe": probes}
    form = None if mode == "prompt" else mode
    assert server.forms() == ["json_schema", "json_object"][:probes] + [form] * 4
    asked = [body["messages"][-1]["content"] for body in server.bodies[probes:]]
    assert all((SENTENCE in text) == (mode != "json_schema") for text in asked)
    assert all(row["question"] and row["answer"] for row in result.dataset()["train"])
    found = [text for text in notices if "JSON is asked for" in text]
    assert len(found) == bool(told) and all(told in text and "writer (openai/mock-form)" in text for text in found)


def test_the_schema_is_sent_as_the_api_has_it(tmp_path: Path, serve: Open) -> None:
    server = serve()
    factory.run(recipe(tmp_path, server, rows=1), out=tmp_path / "run")
    for body in server.bodies:
        form = body["response_format"]
        assert form["type"] == "json_schema" and form["json_schema"]["strict"] is True
        assert form["json_schema"]["name"] == "main"
        assert form["json_schema"]["schema"] == {
            "type": "object",
            "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
            "required": ["question", "answer"],
            "additionalProperties": False,
        }


def test_a_probe_is_made_once_and_replayed(tmp_path: Path, serve: Open) -> None:
    server = serve("object_only")
    path = recipe(tmp_path, server)
    first = factory.run(path, out=tmp_path / "run")
    before, hashes = len(server.bodies), parquet_hashes(first.path)
    again = factory.run(path, out=tmp_path / "run")
    assert len(server.bodies) == before == 6 and parquet_hashes(again.path) == hashes
    notices: list[str] = []
    more = factory.run(path, out=tmp_path / "run", rows=7, notice=notices.append)
    assert len(server.bodies) == 9 and server.forms()[6:] == ["json_object"] * 3
    assert purposes(more) == {"generate": 7, "probe": 2} and structured(more) == {"writer main": "json_object"}
    assert sum("JSON is asked for" in text for text in notices) == 1, "found twice in a resumed run, told once"
    other = factory.run(path, out=tmp_path / "other", reuse=[first.path])
    assert server.forms()[9:] in ([], ["json_schema"]), "a refusal is no answer to be reused, answers are"
    assert parquet_hashes(other.path) == hashes


def test_what_a_refused_probe_decided_stands(tmp_path: Path, serve: Open) -> None:
    """A server that has learnt schemas since would make every later request another one, and all rows be paid again."""
    server = serve("object_only")
    path = recipe(tmp_path, server)
    hashes = parquet_hashes(factory.run(path, out=tmp_path / "run").path)
    server.way, before = "honour", len(server.bodies)
    again = factory.run(path, out=tmp_path / "run", retry_failed=True)
    assert len(server.bodies) == before and parquet_hashes(again.path) == hashes


def test_replay_without_the_probe_is_a_miss(tmp_path: Path, serve: Open) -> None:
    server = serve()
    with pytest.raises(Incomplete, match="--replay"):
        factory.run(recipe(tmp_path, server), out=tmp_path / "run", replay=True)
    assert not server.bodies


def test_probes_are_paid_for_out_of_the_budget(tmp_path: Path, serve: Open) -> None:
    server = serve("ignore")
    priced = {"price": {"input": 1000.0, "output": 1000.0}}
    path = recipe(tmp_path, server, model=priced, budget={"usd": 100.0})
    result = factory.run(path, out=tmp_path / "run")
    probes = [entry for entry in result.ledger().to_list() if entry["purpose"] == "probe"]
    assert [entry["cost_usd"] for entry in probes] == [pytest.approx(0.03)] * 2
    assert result.summary["spent_usd"] == pytest.approx(6 * 0.03)
    poor = recipe(tmp_path, server, "poor.yaml", model=priced, budget={"usd": 0.1})
    sent = len(server.bodies)
    with pytest.raises(Incomplete) as caught:
        factory.run(poor, out=tmp_path / "poor")
    assert caught.value.code == "budget" and len(server.bodies) == sent, "a probe has a worst case like any call"


@pytest.mark.parametrize("concurrency", [1, 3, 32])
def test_bytes_do_not_depend_on_concurrency(tmp_path: Path, concurrency: int) -> None:
    with FaultServer(Settings(latency=0.002, jitter=0.004)) as server:
        runs: list[factory.Result] = []
        for slots in (8, concurrency):
            writer = {"backend": "openai", "model": "mock-json", "base_url": server.url, "concurrency": slots}
            path = write_recipe(
                tmp_path,
                f"{slots}.yaml",
                models={"writer": {**writer, "identity": "mock", "temperature": 0.8}},
                output=FIELDS,
                parse="json",
                generate={"model": "writer", "candidates": 3},
                rows=12,
            )
            runs.append(factory.run(path, out=tmp_path / f"run-{slots}-{len(runs)}"))
    assert parquet_hashes(runs[0].path) == parquet_hashes(runs[1].path)
    assert all(structured(run) == {"writer main": "json_schema"} for run in runs)
    assert all(purposes(run)["probe"] == 2 for run in runs), "one for `n`, one for the schema"


def test_each_model_and_step_that_wants_json_is_probed(tmp_path: Path, serve: Open) -> None:
    good, poor = serve("honour"), serve("refuse")
    steps = [
        {"name": "outline", "prompt": "An outline of {{ number }}."},
        {
            "name": "final",
            "prompt": "Ask about {{ outline.outline }}.",
            "output": FIELDS,
            "parse": "json",
            "generate": {"model": {"writer": 1, "other": 1}},
        },
    ]
    models = {"writer": model(good, identity="a"), "other": model(poor, identity="b")}
    result = factory.run(
        recipe(tmp_path, good, models=models, prompt=None, steps=steps, output=None, parse=None, rows=8),
        out=tmp_path / "run",
    )
    assert structured(result) == {"other final": "prompt", "writer final": "json_schema"}
    assert len(result.dataset()["train"]) == 8
    assert {body["messages"][0]["content"][:10] for body in good.bodies if not body.get("response_format")} == {
        "An outline"
    }


# --- when a form is sent


def forms_of(tmp_path: Path, server: FormServer, **changes: Any) -> list[str | None]:
    """What the server was sent for one row; its answer need not be in form."""
    with contextlib.suppress(TargetNotReached):
        factory.run(recipe(tmp_path, server, rows=1, max_planned=1, **changes), out=tmp_path / "run")
    return server.forms()


def test_labelled_sections_never_send_a_form(tmp_path: Path, serve: Open) -> None:
    assert forms_of(tmp_path, serve(), parse="sections", prompt="No JSON, please: {{ number }}") == [None]


def test_plain_text_never_sends_a_form(tmp_path: Path, serve: Open) -> None:
    assert forms_of(tmp_path, serve(), output=None, parse=None, prompt="A JSON text {{ number }}") == [None]


@pytest.mark.parametrize(
    ("prompt", "wants"),
    [
        ("Question and answer as JSON, about {{ number }}.", True),
        ("Question and answer as json, about {{ number }}.", True),
        ("Question and answer about {{ number }}.", False),
        ("Question and answer about {{ number | tojson }} {# JSON #}.", False),
        ("Question and answer about {{ number }}. {% include 'form.j2' %}", True),
        ([{"role": "system", "content": "You write JSON."}, {"role": "user", "content": "{{ number }}"}], True),
    ],
)
def test_a_prompt_that_speaks_of_json_wants_it(tmp_path: Path, serve: Open, prompt: Any, wants: bool) -> None:
    (tmp_path / "form.j2").write_text("Write JSON.")
    found = forms_of(tmp_path, serve(), parse="auto", prompt=prompt)
    assert found == (["json_schema"] * 2 if wants else [None])


def test_a_prompt_that_speaks_of_json_is_left_as_it_is(tmp_path: Path, serve: Open) -> None:
    server = serve("refuse")
    factory.run(recipe(tmp_path, server, rows=1, prompt="Ask of {{ animal }} as JSON"), out=tmp_path / "run")
    assert SENTENCE not in server.bodies[-1]["messages"][-1]["content"]


def test_echo_writes_the_prompt_and_nothing_else(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, prompt='{"question": "{{ animal }} {{ number }}"}', output={"question": "str"},
                        parse="json", rows=3)  # fmt: skip
    result = factory.run(path, out=tmp_path / "run")
    assert purposes(result) == {"generate": 3}
    assert all(SENTENCE not in row["text"] for row in result.rejects()) and len(result.dataset()["train"]) == 3


# --- `structured:`


def test_structured_prompt_sends_no_form_and_no_probe(tmp_path: Path, serve: Open) -> None:
    server = serve()
    result = factory.run(recipe(tmp_path, server, rows=2, model={"structured": "prompt"}), out=tmp_path / "run")
    assert server.forms() == [None, None] and structured(result) == {"writer main": "prompt"}
    assert all(SENTENCE in body["messages"][-1]["content"] for body in server.bodies)


def test_structured_json_object_is_asked_for_where_more_could_be_had(tmp_path: Path, serve: Open) -> None:
    server = serve()
    result = factory.run(recipe(tmp_path, server, rows=2, model={"structured": "json_object"}), out=tmp_path / "run")
    assert server.forms() == ["json_object"] * 3 and structured(result) == {"writer main": "json_object"}
    assert all(SENTENCE in body["messages"][-1]["content"] for body in server.bodies[1:])


def test_a_forced_schema_that_is_refused_is_a_fault_of_the_recipe(tmp_path: Path, serve: Open) -> None:
    server = serve("object_only")
    path = recipe(tmp_path, server, model={"structured": "json_schema"})
    for _ in range(2):
        with pytest.raises(RecipeError) as caught:
            factory.run(path, out=tmp_path / "run")
        told = caught.value.message
        assert "models.writer.structured" in told and "recipe.yaml:" in told and "is not available" in told
        assert "remove the key" in told and caught.value.exit_code == 2
        assert len(server.bodies) == 1, "found before a row is asked for, and replayed"
    server.way = "honour"
    result = factory.run(path, out=tmp_path / "run", retry_failed=True)
    assert len(result.dataset()["train"]) == 4


def test_a_forced_schema_that_is_dropped_in_silence_is_told(tmp_path: Path, serve: Open) -> None:
    server, notices = serve("ignore"), list[str]()
    path = recipe(tmp_path, server, model={"structured": "json_schema"}, prompt="As JSON: {{ animal }} {{ number }}")
    result = factory.run(path, out=tmp_path / "run", notice=notices.append)
    assert any("takes a JSON schema but does not keep to it" in text for text in notices)
    assert structured(result) == {"writer main": "json_schema"} and len(result.dataset()["train"]) == 4


def test_a_backend_that_cannot_is_not_forced(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, models={"writer": {"backend": "embedded", "model": "tiny",
                        "structured": "json_schema"}}, output=FIELDS, parse="json")  # fmt: skip
    with pytest.raises(RecipeError, match="the backend `embedded` cannot be held to it"):
        factory.run(path, out=tmp_path / "run")


class Told:
    """A backend that knows of itself how it takes forms."""

    honours_n, local = True, True

    def __init__(self, structured: str):
        self.structured = structured
        self.asked: list[Request] = []

    async def generate(self, request: Request) -> Response:
        self.asked.append(request)
        text = json.dumps({name: f"{name} {request.row}" for name in FIELDS})
        return Response((Choice(text, "stop"),), Usage(5, 5), "told")

    async def close(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "prompt"])
def test_a_backend_that_knows_is_not_probed(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Told(mode)
    monkeypatch.setattr("factory.opening.open_backend", lambda config: backend)
    result = factory.run(write_recipe(tmp_path, output=FIELDS, parse="json", rows=2), out=tmp_path / "run")
    assert structured(result) == {"writer main": mode} and {request.purpose for request in backend.asked} == {
        "generate"
    }
    forms = {None if request.response_format is None else request.response_format["type"] for request in backend.asked}
    assert forms == {None if mode == "prompt" else mode}


# --- every answer is looked at here


def test_json_that_is_not_the_schema_is_a_reject(tmp_path: Path, serve: Open) -> None:
    server = serve("lie")
    with pytest.raises(TargetNotReached) as caught:
        factory.run(recipe(tmp_path, server, max_planned=4), out=tmp_path / "run")
    result = caught.value.result
    assert structured(result) == {"writer main": "json_schema"}
    assert {reject["stage"] for reject in result.rejects()} == {"parse"}
    assert all("question: Field required" in reject["reason"] for reject in result.rejects())


def test_repair_calls_carry_the_form(tmp_path: Path, serve: Open) -> None:
    server = serve("lie")
    with pytest.raises(TargetNotReached) as caught:
        factory.run(recipe(tmp_path, server, max_planned=2, rows=2, repair=True), out=tmp_path / "run")
    assert purposes(caught.value.result) == {"generate": 2, "probe": 1, "repair": 2}
    repairs = [body for body in server.bodies if len(body["messages"]) > 1]
    assert len(repairs) == 2 and all(body["response_format"]["type"] == "json_schema" for body in repairs)


def test_json_in_the_wrong_types_is_a_reject(tmp_path: Path, serve: Open) -> None:
    output = {"type": "object", "properties": {"question": {"type": "integer"}}, "required": ["question"]}
    server = serve("ignore", columns=("question",))
    with pytest.raises(TargetNotReached) as caught:
        factory.run(recipe(tmp_path, server, max_planned=2, rows=2, output=output), out=tmp_path / "run")
    assert all(
        "question: Input should be a valid integer" in reject["reason"] for reject in caught.value.result.rejects()
    )


# --- what counts as kept to

SCHEMA = server_schema(compile_output({"question": "str", "größe": "int?", "tags": "list[str]"}).schema, "main")[
    "schema"
]


@given(
    st.fixed_dictionaries({"question": st.text(), "größe": st.none() | st.integers(), "tags": st.lists(st.text())}),
    st.booleans(),
    st.integers(1, 400),
    st.sampled_from([None, 1]),
)
def test_any_beginning_of_an_answer_in_form_counts(value: Any, ascii_only: bool, cut: int, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert keeps_to(SCHEMA, f"\n {text[:cut]}")


@pytest.mark.parametrize(
    "text",
    ["", "  \n", "The sea is wide.", '```json\n{"question": "x"}', '{"title": "x"', '{"title": "x"}', "[]", "null",
     '{"question": "x"}', '{"question": "x", "größe": 1, "tags": [], "more": 1}', '"question"', '{"q": 1'],
)  # fmt: skip
def test_what_is_not_in_form_does_not(text: str) -> None:
    assert not keeps_to(SCHEMA, text)
