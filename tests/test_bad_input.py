"""Whatever a user gets wrong is one clear screen: what, where, the nearest valid name, what to do, the exit code."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from support import ROOT, command, environment, factory, server_model, write_recipe

from factory.cli import main

SECRET = "sk-very-secret-0123456789"
Setup = Callable[[Path], list[object]]


def recipe(**changes: Any) -> Setup:
    """`run` on a recipe with these changes."""
    return lambda folder: ["run", write_recipe(folder, **changes).name]


def on(*arguments: str) -> Setup:
    """`run` on a good recipe with these arguments."""
    return lambda folder: ["run", write_recipe(folder).name, *arguments]


def file(name: str, content: bytes | str, **changes: Any) -> Setup:
    """`run` on a recipe beside this file; on the file itself where it is the recipe."""

    def make(folder: Path) -> list[object]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["run", name if name.endswith(".yaml") else write_recipe(folder, **changes).name]

    return make


def folder_named(name: str) -> Setup:
    def make(folder: Path) -> list[object]:
        (folder / name).mkdir()
        return ["run", name]

    return make


def other(*arguments: object) -> Setup:
    return lambda folder: list(arguments)


def check_json(out: str, err: str) -> None:
    """One object on stdout, with the error in it; nothing of it on stderr."""
    found = json.loads(out)["error"]
    assert set(found) == {"code", "message", "hint"} and found["code"] not in ("bug", "") and found["message"]
    assert "Traceback" not in err and "error:" not in err and SECRET not in out + err


def told(
    folder: Path, arguments: list[object], code: int, *parts: str, also_json: bool = True, **variables: str
) -> str:
    """Run the command (with --json too); the message, after checking what holds of every error."""
    plain = factory(*arguments, cwd=folder, **variables)
    assert plain.returncode == code, f"exit {plain.returncode}\n{plain.stdout[-1000:]}\n{plain.stderr[-2000:]}"
    assert "Traceback" not in plain.stderr + plain.stdout
    assert "fault of the factory" not in plain.stderr, plain.stderr
    assert SECRET not in plain.stderr + plain.stdout
    message = plain.stderr[plain.stderr.index("error: ") :]
    assert len(message) < 3000 and "\x1b" not in message
    for part in parts:
        assert part in message, f"{part!r} is not in\n{message}"
    if also_json:
        as_json = factory(*arguments, "--json", cwd=folder, **variables)
        assert as_json.returncode == code, as_json.stderr
        check_json(as_json.stdout, as_json.stderr)
    return message


EMPTY_AXIS = {"animal": {"file": "zoo.txt"}, "number": {"integer": {"min": 1, "max": 10**9}}}
HOSTED = {
    "backend": "openai",
    "model": "strange",
    "base_url": "https://api.strange.invalid/v1",
    "api_key_env": "MY_KEY",
}
BAD_RECIPES: dict[str, tuple[Setup, tuple[str, ...]]] = {
    "no such recipe": (other("run", "word-problem"), ("`word-problem`", "did you mean", "`word-problems`")),
    "no such file": (other("run", "missing.yaml"), ("no such file `missing.yaml`", "word-problems")),
    "not YAML": (file("r.yaml", "name: [x\nrows: 3\n  foo: : bar"), ("r.yaml:2", "not YAML", "not closed")),
    "a list": (file("r.yaml", "- a\n- b\n"), ("r.yaml:1", "mapping", "not a list", "name: my-dataset")),
    "a directory": (folder_named("r.yaml"), ("`r.yaml` is a folder",)),
    "binary": (file("r.yaml", bytes(range(256)) * 9), ("r.yaml", "not UTF-8", "save it as UTF-8")),
    "empty": (file("r.yaml", ""), ("r.yaml", "is empty", "factory init")),
    "key twice": (file("r.yaml", "name: a\nname: b\nprompt: x\n"), ("r.yaml:2", "`name` is there twice", "line 1")),
    "unknown key": (recipe(generat={"candidates": 2}), ("recipe.yaml:24", "unknown key `generat`", "mean `generate`?")),
    "wrong type": (recipe(rows="many"), ("recipe.yaml:3: rows", "whole number", "`many`")),
    "several faults": (
        recipe(rows="many", seeed=3, score=[{"lenght": {}}], generate={"model": "wrter", "candidates": 0}),
        ("4 faults", "recipe.yaml:3: rows", "`seed`?", "`length`?", "at least 1, not 0"),
    ),
    "unknown role": (recipe(generate={"model": "wrter"}), ("recipe.yaml:22: generate.model", "wrter", "`writer`?")),
    "no prompt": (recipe(prompt=None), ("`prompt` is missing", "recipe.yaml")),
    "missing prompt": (recipe(prompt="prompts/nope.j2"), ("recipe.yaml:20: prompt", "`prompts/nope.j2`")),
    "near prompt": (
        file("p/tell.j2", "Hi {{ animal }}", prompt="p/tel.j2"),
        ("no such file `p/tel.j2`", "did you mean `p/tell.j2`?"),
    ),
    "undefined": (recipe(prompt="Tell of {{ anmal }}."), ("recipe.yaml:20", "`anmal` is undefined", "`animal`?")),
    "undefined in a file": (
        file("tell.j2", "Hi\n\nof {{ animal }}\n{{ nubmer }}\n", prompt="tell.j2"),
        ("tell.j2:4: `nubmer` is undefined", "did you mean `number`?"),
    ),
    "bad Jinja": (file("t.j2", "a\n{{ animal }\n", prompt="t.j2"), ("t.j2:2: bad template",)),
    "empty source": (file("s.jsonl", "", **{"from": {"path": "s.jsonl"}}), ("recipe.yaml:25: from.path", "no rows")),
    "a broken line": (
        file("s.jsonl", '{"a": 1}\n{"a": \n', **{"from": {"path": "s.jsonl"}}),
        ("s.jsonl: line 2 is not JSON", "recipe.yaml:25: from.path"),
    ),
    "weights of 0": (
        recipe(vary={"animal": {"choice": {"a": 0, "b": 0}}, "number": {"integer": {"min": 1, "max": 2}}}),
        ("recipe.yaml:9: vary.animal.choice", "sum to 0"),
    ),
    "axis file missing": (recipe(vary=EMPTY_AXIS), ("recipe.yaml:9: vary.animal.file", "no such file", "zoo.txt")),
    "axis file empty": (file("zoo.txt", "# none\n\n", vary=EMPTY_AXIS), ("vary.animal.file", "zoo.txt", "no entries")),
    "unknown backend": (
        recipe(models={"writer": {"backend": "opnai", "model": "x"}}),
        ("recipe.yaml:6: models.writer.backend", "`opnai`", "`openai`?"),
    ),
    "budget without price": (
        recipe(models={"writer": HOSTED | {"max_tokens": 9}}, budget={"usd": 1}),
        ("recipe.yaml:5: models.writer", "price of openai/strange is not known", "price: {input"),
    ),
    "budget without max_tokens": (
        recipe(models={"writer": HOSTED | {"price": {"input": 1, "output": 2}}}, budget={"usd": 1}),
        ("recipe.yaml:5: models.writer", "`max_tokens`", "max_tokens: 700"),
    ),
    "no key": (on("--model", "writer=openai/gpt-5-mini"), ("OPENAI_API_KEY is not set", "embedded/tiny")),
    "--model role": (on("--model", "wrter=echo"), ("--model wrter=echo", "no role `wrter`", "`writer`?")),
    "--model form": (on("--model", "echo"), ("--model echo", "ROLE=BACKEND/MODEL", "writer=openai/gpt-5-mini")),
    "--model backend": (on("--model", "writer=opnai/x"), ("--model writer=opnai/x", "`openai`?")),
    "--set form": (on("--set", "rows"), ("--set rows", "KEY=VALUE", "generate.candidates=8")),
    "--set key": (on("--set", "generate.candidtes=3"), ("--set generate.candidtes=3", "`candidates`?")),
    "--set value": (on("--set", "rows=[1"), ("--set rows=[1", "not YAML")),
    "--rows 0": (on("--rows", "0"), ("--rows 0", "at least 1, not 0")),
    "--rows abc": (on("--rows", "abc"), ("--rows abc", "not a whole number", "`all`")),
    "--rows all": (on("--rows", "all"), ("--rows all", "from:")),
    "--budget": (on("--budget", "-1"), ("--budget -1", "greater than 0")),
    "--reuse": (on("--reuse", "runs/x"), ("runs/x: no such run directory",)),
    "--svg": (on("--svg", "no/such/x.svg"), ("--svg no/such/x.svg", "folder that exists")),
    "unknown option": (on("--rowz", "3"), ("--rowz", "--rows", "run --help")),
    "unknown command": (other("runn"), ("'runn'", "'run'", "--help")),
    "no argument": (other("run"), ("RECIPE", "run --help")),
    "--ask alone": (other("doctor", "--ask"), ("--ask needs a recipe",)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_bad_usage_and_bad_recipes_are_exit_2(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup, parts = BAD_RECIPES[name]
    arguments = setup(tmp_path)
    message = told(tmp_path, arguments, 2, *parts, also_json=False, MY_KEY=SECRET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", SECRET)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments), "--json"])
    assert left.value.code == 2
    check_json(*capsys.readouterr())
    assert not (tmp_path / "runs").exists(), "a fault of the recipe is found before anything is made"
    assert message.count("\n") <= 15


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_server_that_is_not_there_is_told_within_seconds(tmp_path: Path) -> None:
    port = free_port()
    path = write_recipe(tmp_path, models={"writer": server_model(f"http://127.0.0.1:{port}/v1")})
    done = factory("run", path, cwd=tmp_path)
    assert done.returncode == 4
    assert f"127.0.0.1:{port}" in done.stderr and "has not answered at all" in done.stderr
    assert "base_url" in done.stderr and "goes on" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr) < 3000


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer(Settings()) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_key_wanted(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        request.getfixturevalue("server").configure(key=None)


def test_a_key_that_is_refused(tmp_path: Path, server: FaultServer) -> None:
    server.configure(key="sesame")
    write_recipe(tmp_path, "with.yaml", models={"writer": server_model(server.url, api_key_env="MY_KEY")})
    told(tmp_path, ["run", "with.yaml"], 4, "HTTP 401", server.url, "check the key in $MY_KEY", MY_KEY=SECRET)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    write_recipe(tmp_path, "without.yaml", models={"writer": server_model(server.url)})
    told(tmp_path, ["run", "without.yaml"], 4, "HTTP 401", "no key was sent", "api_key_env")


def test_a_model_that_the_server_does_not_have(tmp_path: Path, server: FaultServer) -> None:
    write_recipe(tmp_path, models={"writer": server_model(server.url, model="mock-txt")})
    told(tmp_path, ["run", "recipe.yaml"], 4, "HTTP 404", "mock-txt", server.url, "factory doctor RECIPE")


def test_a_file_in_the_way_of_the_run_directory(tmp_path: Path) -> None:
    (tmp_path / "way").write_text("mine")
    write_recipe(tmp_path)
    told(tmp_path, ["run", "recipe.yaml", "--out", "way"], 2, "way: a file is in the way", "--out")
    told(tmp_path, ["run", "recipe.yaml", "--out", "way/run"], 2, "way/run", "--out")
    assert (tmp_path / "way").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody can write")
def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    told(tmp_path, ["run", "recipe.yaml", "--out", "/proc/run"], 4, "/proc/run", "cannot write", "--out")
    told(tmp_path, ["init", "/proc/start"], 2, "/proc/start", "another directory")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_resumable(tmp_path: Path, tiny_disk: Path) -> None:
    (tiny_disk / "ballast").write_bytes(b"x" * 600_000)
    write_recipe(tmp_path, prompt="Tell of {{ animal }} {{ number }} " + "and {{ number * 7919 }} " * 40, rows=3000)
    told(tmp_path, ["run", "recipe.yaml", "--out", str(tiny_disk / "run")], 4, "disk is full", "free some space")
    subprocess.run(["mount", "-o", "remount,size=64m", tiny_disk], check=True)
    again = factory("run", "recipe.yaml", "--out", tiny_disk / "run", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["rows"] == 3000


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run of 20 rows in `one`, beside its recipe."""
    write_recipe(tmp_path)
    done = factory("run", "recipe.yaml", "--out", "one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "one"


def test_a_run_directory_of_another_plan(tmp_path: Path, finished: Path) -> None:
    arguments = ["run", "recipe.yaml", "--out", "one", "--seed", "5"]
    told(tmp_path, arguments, 2, "one: holds another plan", "what differs: seed", "--reuse one")


def test_a_directory_with_other_files(tmp_path: Path) -> None:
    write_recipe(tmp_path / "home", "thesis.yaml")
    write_recipe(tmp_path)
    told(tmp_path, ["run", "recipe.yaml", "--out", "home"], 2, "home: holds other files", "thesis.yaml")


def test_a_run_directory_in_use(tmp_path: Path, finished: Path) -> None:
    from factory.locking import hold

    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file() and path.name != "lock"}
    with hold(finished):
        message = told(tmp_path, ["run", "recipe.yaml", "--out", "one"], 2, "in use", f"process {os.getpid()}")
        assert "factory status" in message
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_damaged_journal(tmp_path: Path, finished: Path) -> None:
    journal = finished / "journal" / "00000.sqlite"
    with sqlite3.connect(journal) as database:
        (row, blob) = database.execute(
            "SELECT rowid, response FROM responses ORDER BY rowid LIMIT 1 OFFSET 4"
        ).fetchone()
        broken = bytes([blob[0] ^ 0xFF]) + blob[1:]
        database.execute("UPDATE responses SET response = ? WHERE rowid = ?", (broken, row))
    database.close()
    before = (finished / "dataset").stat().st_mtime_ns
    told(tmp_path, ["run", "recipe.yaml", "--out", "one"], 1, "00000.sqlite", "row 5")
    told(tmp_path, ["explain", "one", "4"], 1, "00000.sqlite", "row 5")
    assert (finished / "dataset").stat().st_mtime_ns == before


def test_runs_and_rows_that_are_not_there(tmp_path: Path, finished: Path) -> None:
    for arguments in (["status", "onee"], ["explain", "onee", "1"], ["ledger", "onee"]):
        told(tmp_path, [*arguments], 2, "onee: no such run directory", "did you mean `one`?")
    (tmp_path / "other").mkdir()
    told(tmp_path, ["status", "other"], 2, "other: not a run directory", "factory run")
    told(tmp_path, ["explain", "one", "9999"], 2, "nothing is known of row 9999", "rows 0 to 19")
    told(tmp_path, ["explain", "one", "x"], 2, "ROW", "explain --help")
    told(tmp_path, ["ledger", "one", "--by", "modle"], 2, "--by", "'modle'", "'model'")


PLUGINS = '''
import factory

@factory.scorer("raises")
def raises(candidate, context, *, at: int = 3) -> float:
    """Raises on one row."""
    if candidate.row == at:
        raise ValueError("kaboom \\x1b[31m [red]")
    return 1.0

@factory.filter("stumbles")
def stumbles(fields, scope) -> str | None:
    raise KeyError("no_such_column")

@factory.auditor("fails")
def fails(rows, reference):
    raise RuntimeError("the audit broke")

class Broken:
    honours_n, local = False, True
    async def generate(self, request):
        raise RuntimeError("the backend broke")
    async def close(self):
        pass

class Wordless(Broken):
    async def generate(self, request):
        return "just a text"

@factory.backend("breaks")
def breaks(model):
    return {"calls": Broken(), "text": Wordless(), "shape": object()}[model.model]
'''


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with an installed package that brings broken plugins."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "broken_plugins.py").write_text(PLUGINS)
    info = folder / "broken_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[factory.plugins]\nbroken = broken_plugins\n")
    return folder


BROKEN_PLUGINS: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "scorer": ({"score": ["raises"]}, 1, ("scorer `raises` failed on row 3", "ValueError: kaboom [31m [red]")),
    "filter": ({"filter": ["stumbles"]}, 2, ("filter `stumbles` failed on row 0", "no_such_column")),
    "auditor": ({"audit": ["fails"]}, 1, ("auditor `fails` failed", "the audit broke")),
    "backend": ({"models": {"writer": "breaks/calls"}}, 1, ("backend of breaks/calls failed", "the backend broke")),
    "backend answers": ({"models": {"writer": "breaks/text"}}, 1, ("breaks/text", "returned str, not a", "Response")),
    "backend opens": ({"models": {"writer": "breaks/nope"}}, 1, ("breaks/nope cannot be opened", "KeyError: 'nope'")),
    "backend shape": ({"models": {"writer": "breaks/shape"}}, 1, ("breaks/shape cannot be opened", "`generate`")),
    "option": ({"score": [{"raises": {"att": 3}}]}, 2, ("recipe.yaml", "att", "`at`?")),
    "name": ({"score": ["rases"]}, 2, ("unknown scorer `rases`", "`raises`?")),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_PLUGINS)
def test_what_a_plugin_raises_is_told_as_its_own(tmp_path: Path, plugins: Path, name: str) -> None:
    changes, code, parts = BROKEN_PLUGINS[name]
    write_recipe(tmp_path, **changes)
    told(tmp_path, ["run", "recipe.yaml"], code, *parts, PYTHONPATH=f"{ROOT}{os.pathsep}{plugins}")


def test_a_trace_is_there_for_who_asks(tmp_path: Path, plugins: Path) -> None:
    write_recipe(tmp_path, score=["raises"])
    path = f"{ROOT}{os.pathsep}{plugins}"
    done = factory("run", "recipe.yaml", cwd=tmp_path, PYTHONPATH=path, FACTORY_TRACEBACK="1")
    assert done.returncode == 1 and "Traceback" in done.stderr and "broken_plugins.py" in done.stderr


def test_a_hundred_faults_fit_one_screen(tmp_path: Path) -> None:
    keys = {f"unknown_key_number_{i}": "x" * 200 for i in range(100)}
    message = told(tmp_path, recipe(**keys)(tmp_path), 2, "100 faults", "`unknown_key_number_0`")
    assert 8 <= message.count("recipe.yaml:") <= 12 and message.rstrip().endswith("…")


def test_a_long_message_is_cut(tmp_path: Path) -> None:
    done = subprocess.run(command("run", "x" * 250), capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr) < 3000
    done = subprocess.run(command("run", "x" * 9000), capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode in (1, 2) and len(done.stderr) < 3000 and "Traceback" not in done.stderr
