"""The command: what each prints, where to, with which exit code; with --json, without a terminal, in a pipe."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, ServerProcess, Settings
from support import ROOT, command, environment, factory, factory_json, parquet_hashes, server_model, write_recipe

from factory.cli import COMMANDS, main
from factory.doctor import BASE
from factory.recipe.document import read

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process, in `tmp_path`: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


def good(cli: Run, *arguments: object) -> str:
    code, out, err = cli(*arguments)
    assert code == 0, err
    return out


def as_json(cli: Run, *arguments: object, code: int = 0) -> dict[str, Any]:
    left, out, err = cli(*arguments, "--json")
    assert left == code, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(Settings()) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with an installed package that brings one good and one broken plugin."""
    folder = tmp_path / "site"
    install(folder, "cites", "[factory.plugins]\ncites = cites_plugin\nbroken = no_such_module\n")
    (folder / "cites_plugin.py").write_text(
        "import factory\n\n@factory.scorer('cites_source')\n"
        "def cites_source(candidate, context, *, at_least: int = 1) -> bool:\n"
        '    """Sources are named."""\n    return True\n'
    )
    return folder


def install(folder: Path, name: str, entry_points: str = "") -> None:
    info = folder / f"{name}-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
    (info / "entry_points.txt").write_text(entry_points)


def python_path(*folders: Path) -> str:
    return os.pathsep.join(map(str, (ROOT, *folders)))


# --- help, version, usage


def test_help_names_every_command_and_the_exit_codes(cli: Run) -> None:
    out = good(cli, "--help")
    for name, _, short in COMMANDS:
        assert f"  {name} " in out and short in out and "..." not in short
    assert "Exit codes: 0 done" in out and "130 interrupted" in out
    assert good(cli, "-h") == out
    code, nothing, err = cli()
    assert code == 2 and not nothing and "Usage:" in err


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_help_of_each_command(cli: Run, name: str) -> None:
    out = good(cli, name, "--help")
    assert "Usage:" in out and f" {name} " in out and "--json" in out
    assert out == good(cli, name, "-h")


def test_version(cli: Run) -> None:
    from factory.version import __version__

    assert good(cli, "--version") == good(cli, "-V") == f"factory {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom factory.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'jinja2', 'yaml', 'pyarrow', 'datasets', 'torch', 'transformers', 'aiohttp',"
        " 'openai', 'pandas', 'scipy', 'tiktoken', 'tokenizers', 'rich.live', 'sqlite3'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True)
    assert "HEAVY []" in done.stdout


def test_python_dash_m_and_the_installed_command_are_the_same(tmp_path: Path) -> None:
    with (ROOT / "pyproject.toml").open("rb") as handle:
        project = tomllib.load(handle)["project"]
    assert project["scripts"]["factory"] == "factory.cli:main"
    done = factory("recipes", "--json", cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["recipes"] and done.stderr == ""


# --- before a run


def test_init_writes_a_recipe_that_previews_and_runs_as_it_stands(cli: Run, tmp_path: Path) -> None:
    out = good(cli, "init", "start")
    written = as_json(cli, "init", "other")["written"]
    names = ["recipe.yaml", "prompt.j2", "recipe.schema.json"]
    assert [Path(path).name for path in written] == names and all(
        (tmp_path / "start" / name).exists() for name in names
    )
    assert "factory preview start/recipe.yaml" in out and "factory run start/recipe.yaml" in out
    text = (tmp_path / "start" / "recipe.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=./recipe.schema.json\n")
    check_schema(json.loads((tmp_path / "start" / "recipe.schema.json").read_text()), text)
    shown = as_json(cli, "preview", "start/recipe.yaml", "-n", 2)
    assert shown["run"] is None and len(shown["rows"]) == 2
    found = as_json(cli, "run", "start/recipe.yaml", "--rows", 3)
    assert found["rows"] == 3 and found["status"] == "complete"


def test_init_overwrites_nothing(cli: Run, tmp_path: Path) -> None:
    good(cli, "init")
    (tmp_path / "recipe.yaml").write_text("mine")
    code, out, err = cli("init")
    assert code == 2 and not out and "recipe.yaml" in err and (tmp_path / "recipe.yaml").read_text() == "mine"


def test_recipes_lists_the_shipped_ones_with_the_models_they_ask_for(cli: Run) -> None:
    found = {recipe["name"]: recipe for recipe in as_json(cli, "recipes")["recipes"]}
    assert {"word-problems", "customer-messages", "multiple-choice"} <= set(found)
    out = good(cli, "recipes")
    for name, recipe in found.items():
        assert recipe["models"] == ["embedded/tiny"] and recipe["roles"] == {"writer": "embedded/tiny"}
        assert name in out and recipe["description"] in out
        assert as_json(cli, "preview", name, "-n", 1)["rows"][0]["prompts"]
    assert "writer: embedded/tiny" in out and "factory run" in out


def check_schema(schema: dict[str, Any], recipe: str) -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(as_an_editor_reads(recipe))


def as_an_editor_reads(recipe: str) -> Any:
    """YAML 1.2, as editors and the factory take it (`on` is a word), with the keys that JSON has."""
    return json.loads(json.dumps(read(recipe, "recipe.yaml").data))


def test_schema_takes_the_shipped_recipes_and_refuses_a_wrong_one(cli: Run) -> None:
    import jsonschema

    schema = json.loads(good(cli, "schema"))
    assert as_json(cli, "schema") == schema
    recipes = sorted((ROOT / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        check_schema(schema, path.read_text())
    wrong = as_an_editor_reads(recipes[0].read_text()) | {"generat": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_plugins_lists_built_in_and_installed_ones_and_tells_of_broken_ones(site: Path) -> None:
    done = factory("plugins", "--json", PYTHONPATH=python_path(site))
    assert done.returncode == 0, done.stderr
    found = {(entry["kind"], entry["name"]): entry for entry in json.loads(done.stdout)["plugins"]}
    for known in (("backend", "embedded"), ("scorer", "arithmetic"), ("filter", "dedup")):
        assert found[known]["origin"] == "built-in" and found[known]["summary"]
    threshold = found["filter", "dedup"]["options"]["threshold"]
    assert threshold == {"required": False, "default": None}  # that of `by`
    ours = found["scorer", "cites_source"]
    assert ours["origin"] == "cites_plugin" and ours["summary"] == "Sources are named."
    assert ours["options"] == {"at_least": {"required": False, "default": 1}}
    assert "ModuleNotFoundError" in found["plugin", "broken (no_such_module)"]["summary"]
    text = factory("plugins", PYTHONPATH=python_path(site)).stdout
    assert "Sources are named. [cites_plugin]" in text and "at_least=1" in text and "no_such_module" in text


# --- doctor


def checks(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in found["checks"]}


def test_doctor_finds_this_environment_in_order(cli: Run) -> None:
    found = as_json(cli, "doctor", "word-problems")
    assert found["ok"] is True and "error" not in found
    told = checks(found)["model writer (embedded/tiny)"]["told"]
    assert told.startswith("in process; asked, it answered: ") and told.endswith("; costs nothing")
    assert "nothing is broken" in good(cli, "doctor")


def test_doctor_knows_what_the_package_needs() -> None:
    with (ROOT / "pyproject.toml").open("rb") as handle:
        needed = tomllib.load(handle)["project"]["dependencies"]
    assert set(BASE) == {line.split(">")[0].split("[")[0].strip() for line in needed}


def test_doctor_tells_of_factory_boy_and_of_a_broken_plugin(tmp_path: Path, site: Path) -> None:
    install(site, "factory_boy")
    found = factory_json("doctor", code=1, PYTHONPATH=python_path(site))
    told = checks(found)["factory_boy"]
    assert told["ok"] is False and "1.2.3" in told["told"] and "separate environments" in told["hint"]
    assert checks(found)["plugins"]["ok"] is False and "no_such_module" in checks(found)["plugins"]["told"]
    assert found["ok"] is False and found["error"]["code"] == "doctor" and "factory_boy" in found["error"]["message"]


def test_doctor_on_servers(cli: Run, tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-very-secret-0123456789"
    monkeypatch.setenv("MY_KEY", secret)
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    models = {
        "writer": server_model(server.url),
        "typo": server_model(server.url, model="mock-txt"),
        "keyed": server_model(server.url, api_key_env="MY_KEY", price={"input": 0.25, "output": 2}),
        "keyless": server_model(server.url, api_key_env="NO_SUCH_KEY"),
        "down": server_model("http://127.0.0.1:9/v1"),
    }
    write_recipe(tmp_path, models=models)
    code, out, err = cli("doctor", "recipe.yaml", "--no-ask", "--json")
    assert code == 1 and secret not in out + err
    found = checks(json.loads(out))
    assert found["model writer (openai/mock-text)"]["told"] == "its server has it; costs nothing"
    typo = found["model typo (openai/mock-txt)"]
    assert typo["ok"] is False and "mock-txt" in typo["told"] and "did you mean `mock-text`?" in typo["hint"]
    assert found["model keyed (openai/mock-text)"]["told"].endswith("$0.25 in, $2 out per million tokens (recipe)")
    assert "NO_SUCH_KEY is not set" in found["model keyless (openai/mock-text)"]["told"]
    assert "127.0.0.1:9" in found["model down (openai/mock-text)"]["told"]
    assert found["$OPENAI_API_KEY"]["told"] == "set"
    server.configure(key="sesame")
    refused = checks(as_json(cli, "doctor", "recipe.yaml", code=1))["model keyed (openai/mock-text)"]
    assert refused["ok"] is False and "401" in refused["told"]
    _, text, err = cli("doctor", "recipe.yaml")
    assert secret not in text + err and "BAD  model down" in text
    assert server.stats()["requests"] == 0, "nothing is asked of a server that refuses, or with --no-ask"


def test_doctor_asks_when_asked_to(cli: Run, tmp_path: Path, server: FaultServer) -> None:
    server.configure(refuse=["max_tokens"])
    write_recipe(tmp_path, models={"writer": server_model(server.url)})
    found = checks(as_json(cli, "doctor", "recipe.yaml", "--ask"))["model writer (openai/mock-text)"]
    assert found["ok"] is True and "asked, it answered:" in found["told"]
    assert any("max_completion_tokens" in note for note in found["notes"])
    assert 10 <= server.stats()["billed_requests"] <= 20


def test_doctor_reports_the_faults_of_a_recipe(cli: Run, tmp_path: Path) -> None:
    write_recipe(tmp_path, prompt="{{ anmal }}")
    code, _, err = cli("doctor", "recipe.yaml")
    assert code == 2 and "did you mean `animal`?" in err


# --- preview


def test_preview_makes_no_call_and_no_file(cli: Run, tmp_path: Path, server: FaultServer) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Ask of {{ animal }}"}]
    steps = [
        {"name": "question", "prompt": messages},
        {"name": "answer", "prompt": "Answer {{ question.question }}"},
    ]
    write_recipe(tmp_path, models={"writer": server_model(server.url)}, prompt=None, steps=steps)
    found = as_json(cli, "preview", "recipe.yaml")
    assert server.stats()["connections"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml"]
    assert [row["row"] for row in found["rows"]] == [0, 1, 2]
    row = found["rows"][1]
    asked = row["prompts"][0]
    assert asked["messages"][1] == {"role": "user", "content": f"Ask of {row['variation']['animal']}"}
    assert asked["model"] == "openai/mock-text" and row["later_steps"] == ["answer"] and row["candidates"] == []
    text = good(cli, "preview", "recipe.yaml", "-n", 1)
    assert (
        "── row 0" in text and "system:" in text and "Be kind." in text and "step answer" in text and "no call" in text
    )
    assert good(cli, "preview", "recipe.yaml", "-n", 1, "--seed", 99) != text


def test_preview_shows_source_rows_and_stops_at_their_end(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"title": "one"}\n{"title": "two"}\n')
    write_recipe(tmp_path, **{"from": {"path": "s.jsonl"}}, vary=None, prompt="Of {{ source.title }}.", rows="all")
    found = as_json(cli, "preview", "recipe.yaml", "-n", 9)
    assert [row["source"]["title"] for row in found["rows"]] == ["one", "two"]
    assert "source.title: one" in good(cli, "preview", "recipe.yaml")


def test_preview_generate_is_journaled_where_run_replays_it(cli: Run, tmp_path: Path, server: FaultServer) -> None:
    model = server_model(server.url, price={"input": 1, "output": 10})
    write_recipe(
        tmp_path,
        models={"writer": model},
        generate={"model": "writer", "candidates": 3},
        score=[{"length": {"target_words": 30, "weight": 1}}],
        rows=6,
    )
    found = as_json(cli, "preview", "recipe.yaml", "-n", 4, "--generate")
    asked = server.stats()["requests"]
    assert asked == found["calls"] == 5 and found["cost_usd"] > 0
    for row in found["rows"]:
        verdicts = [candidate["verdict"] for candidate in row["candidates"]]
        assert len(verdicts) == 3 and sum(verdict.startswith("accepted") for verdict in verdicts) == 1
        assert all(candidate["scores"].keys() == {"length"} for candidate in row["candidates"])
    again = as_json(cli, "preview", "recipe.yaml", "-n", 4, "--generate")
    assert server.stats()["requests"] == asked and again["rows"] == found["rows"] and again["calls"] == 0
    ran = as_json(cli, "run", "recipe.yaml")
    assert ran["run"] == found["run"] and ran["replayed"] >= 5 and server.stats()["requests"] == asked + 2
    rows = {line["meta"]["row"]: line["text"] for line in dataset(Path(ran["run"]))}
    for row in found["rows"]:
        (kept,) = [c["text"] for c in row["candidates"] if c["verdict"].startswith("accepted")]
        assert rows[row["row"]] == kept
    text = good(cli, "preview", "recipe.yaml", "-n", 1, "--generate")
    assert "candidate main/0" in text and "length " in text and "`factory run` uses them" in text


def test_preview_generate_keeps_to_the_budget(cli: Run, tmp_path: Path, server: FaultServer) -> None:
    model = server_model(server.url, price={"input": 1, "output": 10})
    write_recipe(tmp_path, models={"writer": model}, budget={"usd": 0.006})
    found = as_json(cli, "preview", "recipe.yaml", "-n", 20, "--generate", code=4)
    assert found["error"]["code"] == "budget"
    stats = server.stats()
    assert 0 < stats["billed_prompt_tokens"] * 1e-6 + stats["billed_completion_tokens"] * 1e-5 <= 0.006


def dataset(run: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for path in sorted(run.glob("dataset/data/*.parquet")) for row in pq.read_table(path).to_pylist()]


# --- run


def test_run_says_what_it_made_and_json_is_all_there_is_on_stdout(cli: Run, tmp_path: Path) -> None:
    write_recipe(tmp_path)
    code, out, err = cli("run", "recipe.yaml")
    assert code == 0 and err.startswith("run: runs/sample-") and "\x1b" not in out + err
    assert "20 rows (20 train) from 20 planned rows" in out and "factory explain runs/sample-" in out
    found = as_json(cli, "run", "recipe.yaml", "--quiet")
    assert {
        "run",
        "dataset",
        "rows",
        "planned",
        "rejected",
        "spent_usd",
        "calls",
        "replayed",
        "status",
        "gates",
    } <= set(found)
    assert (found["rows"], found["calls"], found["replayed"], found["status"]) == (20, 0, 20, "complete")


def test_overrides_reach_the_run(cli: Run, tmp_path: Path) -> None:
    write_recipe(tmp_path)
    found = as_json(
        cli, "run", "recipe.yaml", "--rows", 7, "--seed", 3, "--set", "description=hello", "--out", "here", "--model",
        "writer=echo",
    )  # fmt: skip
    assert found["run"] == "here" and found["rows"] == 7
    recipe = (tmp_path / "here" / "recipe.yaml").read_text()
    assert "seed: 3" in recipe and "description: hello" in recipe


def test_incomplete_is_exit_4_with_what_was_made(cli: Run, tmp_path: Path) -> None:
    write_recipe(tmp_path, vary={"n": {"integer": {"min": 1, "max": 3}}}, prompt="n {{ n }}", filter=["unique"])
    code, out, err = cli("run", "recipe.yaml", "--set", "max_planned=40")
    assert code == 4 and "3 rows" in out and "3 of 20 rows" in err and "max_planned" in err
    found = as_json(cli, "run", "recipe.yaml", "--set", "max_planned=40", code=4)
    assert found["rows"] == 3 and found["status"] == "incomplete" and found["error"]["code"] == "target"


def test_parameters_that_a_server_refuses_are_told_at_the_end(cli: Run, tmp_path: Path, server: FaultServer) -> None:
    server.configure(refuse=["max_tokens", "temperature"])
    write_recipe(tmp_path, models={"writer": server_model(server.url)}, rows=3)
    code, _, err = cli("run", "recipe.yaml")
    assert code == 0
    assert "note: " in err and "`max_tokens` is sent as `max_completion_tokens`" in err and "`temperature`" in err
    assert err.count("`temperature`") == 1


def test_svg_of_the_final_panel(cli: Run, tmp_path: Path) -> None:
    import xml.etree.ElementTree as ET

    write_recipe(tmp_path)
    good(cli, "run", "recipe.yaml", "--svg", "panel.svg")
    text = "".join(ET.parse(tmp_path / "panel.svg").getroot().itertext()).replace("\xa0", " ")
    assert "20 of 20 rows" in text.replace("  ", " ") or ("20" in text and "of 20 rows" in text)
    assert "complete" in text and "sample-" in text


def test_a_reader_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    write_recipe(tmp_path, rows=50)
    script = f"{' '.join(command('run', 'recipe.yaml'))} 2>&1 | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.stdout.split() == ["0"] and "BrokenPipe" not in done.stderr
    (run,) = (tmp_path / "runs").glob("sample-*")
    assert len(dataset(run)) == 50
    script = f"{' '.join(command('schema'))} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.stdout.split() == ["{", "0"] and done.stderr == ""


def test_a_terminal_without_utf8_is_no_reason_to_fail(tmp_path: Path) -> None:
    write_recipe(tmp_path, prompt="Grüße {{ number }} ✓")
    done = factory("preview", "recipe.yaml", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stdout.isascii() and "{{" not in done.stdout
    found = factory_json("preview", "recipe.yaml", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert "Grüße" in found["rows"][0]["prompts"][0]["messages"][0]["content"]


def in_a_terminal(arguments: list[str], cwd: Path, **variables: str) -> tuple[int, str]:
    """The command in a pseudo-terminal of 100 × 30: exit code and everything it wrote."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    env = environment(**{"TERM": "xterm-256color", "COLUMNS": "100", **variables})
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env) as process:
        os.close(theirs)
        written = b""
        while True:
            ready, _, _ = select.select([ours], [], [], 60)
            assert ready, "nothing was written for a minute"
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            written += part
        code = process.wait(60)
    os.close(ours)
    return code, written.decode()


def test_a_terminal_gets_a_panel_and_no_colour_holds(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    code, text = in_a_terminal(command("run", "recipe.yaml"), tmp_path)
    assert code == 0 and "╭─" in text and "20 of 20 rows" in strip(text) and "\x1b[" in text
    assert "20 rows (20 train)" in text and coloured(text)
    code, text = in_a_terminal(command("run", "recipe.yaml"), tmp_path, NO_COLOR="1")
    assert code == 0 and "╭─" in text and not coloured(text)
    code, text = in_a_terminal(command("run", "recipe.yaml", "--quiet"), tmp_path)
    assert code == 0 and "╭─" not in text and "run: runs/sample-" in text
    code, text = in_a_terminal(command("run", "recipe.yaml"), tmp_path, TERM="dumb")
    assert code == 0 and "\x1b" not in text
    code, text = in_a_terminal(command("run", "recipe.yaml", "--rows", "x"), tmp_path)
    assert code == 2 and "\x1b[1;31merror:" in text
    code, text = in_a_terminal(command("run", "recipe.yaml", "--rows", "x"), tmp_path, NO_COLOR="1")
    assert code == 2 and "\x1b" not in text


def strip(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def coloured(text: str) -> list[str]:
    """Sequences that set a colour, of the foreground or the background."""
    import re

    found = re.findall(r"\x1b\[([0-9;]*)m", text)
    return [
        one
        for one in found
        if any(30 <= int(part or 0) <= 49 or 90 <= int(part or 0) <= 107 for part in one.split(";"))
    ]


# --- hostile text


HOSTILE = "\x1b[2J\x1b]0;owned\x07 \x9b31m [red]x[/red]\r gone \x08"


def test_control_characters_never_reach_the_terminal(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text("\n".join(json.dumps({"t": f"{HOSTILE} {i}"}) for i in range(3)))
    write_recipe(
        tmp_path,
        **{"from": {"path": "s.jsonl"}},
        vary=None,
        prompt="Of {{ source.t }}",
        rows="all",
        score=[{"length": {"max_words": 5}}],
    )
    for arguments in (
        ["preview", "recipe.yaml"],
        ["preview", "recipe.yaml", "--generate"],
        ["run", "recipe.yaml", "--out", "one"],
        ["explain", "one", "1"],
        ["status", "one"],
        ["ledger", "one", "--by", "model"],
    ):
        code, out, err = cli(*arguments)
        assert code == 0, err
        assert not {sign for sign in out + err if (ord(sign) < 32 and sign != "\n") or 0x7F <= ord(sign) <= 0x9F}, (
            arguments
        )
        if arguments[0] in ("preview", "explain"):
            assert "[red]x[/red]" in out and "[2J" in out
        left, out, err = cli(*arguments, "--json")
        assert left == 0 and "\x9b" not in out + err and "\x1b" not in out + err
        assert not (arguments[0] == "explain" and HOSTILE not in json.loads(out)["calls"][0]["answers"][0])


# --- readers of a run


@pytest.fixture
def mixed(cli: Run, tmp_path: Path, server: FaultServer) -> Path:
    """A finished run with accepted, vetoed, not selected, duplicate and refused candidates."""
    prompts = ["POISON here"] + [f"animal {i % 4}" for i in range(11)]
    (tmp_path / "s.jsonl").write_text("\n".join(json.dumps({"t": text}) for text in prompts))
    server.configure(seed_mode="same")
    write_recipe(
        tmp_path,
        **{"from": {"path": "s.jsonl"}},
        vary=None,
        prompt="Tell me of {{ source.t }}.",
        models={"writer": server_model(server.url, price={"input": 1, "output": 10})},
        generate={"model": "writer", "candidates": 4},
        score=[{"length": {"min_words": 22, "target_words": 30, "weight": 1}}],
        filter=["unique"],
        rows="all",
    )
    found = as_json(cli, "run", "recipe.yaml", "--out", "one")
    assert found["rows"] == 4 and found["rejected"]["call"] == 4 and found["rejected"]["dedup"] >= 7
    return Path("one")


def test_status_of_a_finished_run(cli: Run, mixed: Path) -> None:
    found = as_json(cli, "status", mixed)
    assert (found["status"], found["rows"], found["planned"], found["target"]) == ("complete", 4, 12, "all")
    assert found["holder"] is None and found["progress"] is None and found["spent_usd"] > 0
    text = good(cli, "status", mixed)
    assert "sample: complete" in text and "rows: 4 from 12 planned rows" in text and "dataset: one/dataset" in text
    assert "goes on" not in text


def test_explain_an_accepted_a_duplicate_and_a_refused_row(cli: Run, mixed: Path) -> None:
    found = as_json(cli, "explain", mixed, 1)
    assert len(found["accepted"]) == 1 and len(found["rejected"]) == 3 and found["committed"] and found["cost_usd"] > 0
    text = good(cli, "explain", mixed, 1)
    assert "row 1: 1 accepted, 3 rejected" in text and ": accepted" in text and "accepted as " in text
    assert "Tell me of animal 0." in text and "rejected at " in text and "text: " in text
    text = good(cli, "explain", mixed, 5)
    assert "rejected at dedup" in text and "matches" in text and "0 accepted" in text
    text = good(cli, "explain", mixed, 0)
    assert (
        "rejected at call: bad_request" in text
        and "0 accepted, 4 rejected" in text
        and "Tell me of POISON here." in text
    )


@pytest.mark.parametrize("by", [None, "model", "purpose", "step", "outcome"])
def test_ledger(cli: Run, mixed: Path, by: str | None) -> None:
    arguments = [] if by is None else ["--by", by]
    found = as_json(cli, "ledger", mixed, *arguments)
    total = found["total"]
    assert total["cost_usd"] > 0 and found["per_accepted_row_usd"] == pytest.approx(total["cost_usd"] / 4)
    text = good(cli, "ledger", mixed, *arguments)
    assert f"{total['calls']:,}" in text and "cost usd" in text and "per accepted row" in text
    if by is None:
        assert not found.get("by")
        return
    assert sum(group["attempts"] for group in found["by"].values()) == total["attempts"]
    assert sum(group["cost_usd"] or 0 for group in found["by"].values()) == pytest.approx(total["cost_usd"])
    assert all(name in text for name in found["by"])
    expected = {"model": {"openai/mock-text"}, "purpose": {"generate", "probe"}, "outcome": {"ok", "bad_request"}}
    assert set(found["by"]) == expected.get(by, set(found["by"]))


def wait_for(what: str, ready: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def test_status_explain_and_ledger_of_a_live_and_of_a_killed_run(cli: Run, tmp_path: Path) -> None:
    with ServerProcess("--latency", "0.05") as server:
        model = server_model(server.url, concurrency=4, price={"input": 1, "output": 10})
        write_recipe(tmp_path, models={"writer": model}, generate={"model": "writer", "candidates": 2}, rows=2000)
        arguments = command("run", "recipe.yaml", "--out", "one", "--json")
        with subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stdout=-1, stderr=-1) as process:
            try:
                wait_for("a progress file", (tmp_path / "one" / "progress.json").exists)
                wait_for("ten rows", lambda: as_json(cli, "status", "one")["rows"] >= 10)
                live = as_json(cli, "status", "one")
                assert live["status"] == "running" and live["target"] == 2000 and live["holder"]["pid"] == process.pid
                assert live["progress"]["in_flight"] >= 0 and live["spent_usd"] > 0 and live["dataset"] is None
                text = good(cli, "status", "one")
                assert (
                    "sample: running" in text and f"held by process {process.pid}" in text and "calls in flight" in text
                )
                row = as_json(cli, "explain", "one", 2)
                assert row["calls"][0]["answers"] and not row["committed"] and row["cost_usd"] > 0
                assert "not committed yet" in good(cli, "explain", "one", 2)
                assert as_json(cli, "ledger", "one")["total"]["calls"] >= 10
            finally:
                process.send_signal(signal.SIGKILL)
        dead = as_json(cli, "status", "one")
        assert dead["status"] == "stopped" and dead["holder"] is None and dead["rows"] >= 10 and dead["target"] == 2000
        text = good(cli, "status", "one")
        assert "sample: stopped" in text and "goes on: nothing is paid twice" in text
        done = as_json(cli, "run", "recipe.yaml", "--out", "one", "--rows", 15)
        assert done["rows"] == 15 and done["replayed"] >= 10
    assert as_json(cli, "status", "one")["status"] == "complete"


def test_a_killed_extension_leaves_the_complete_dataset_and_says_so(cli: Run, tmp_path: Path) -> None:
    write_recipe(tmp_path)
    good(cli, "run", "recipe.yaml", "--out", "one")
    before = parquet_hashes(tmp_path / "one")
    progress = tmp_path / "one" / "progress.json"
    progress.write_text(json.dumps(json.loads(progress.read_text()) | {"status": "running", "accepted": 31}))
    found = as_json(cli, "status", "one")
    assert found["status"] == "complete" and found["rows"] == 20
    assert found["last_attempt"] == {"status": "stopped", "reason": "31 rows accepted by then"}
    assert "a later run of it was stopped" in good(cli, "status", "one")
    assert parquet_hashes(tmp_path / "one") == before


def test_ctrl_c_leaves_a_dataset_and_says_how_to_go_on(tmp_path: Path) -> None:
    with ServerProcess("--latency", "0.05") as server:
        write_recipe(tmp_path, models={"writer": server_model(server.url, concurrency=4)}, rows=2000)
        with subprocess.Popen(
            command("run", "recipe.yaml", "--out", "one"),
            cwd=tmp_path,
            env=environment(),
            stdout=-1,
            stderr=-1,
            text=True,
        ) as process:
            progress = tmp_path / "one" / "progress.json"
            wait_for("rows", lambda: progress.exists() and json.loads(progress.read_text())["accepted"] >= 5)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
    assert "stopping" in err and "interrupted with" in err and "goes on" in err and "Traceback" not in err
    assert "dataset: one/dataset" in out and len(dataset(tmp_path / "one")) >= 5
