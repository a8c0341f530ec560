"""The scorer `python`: code against tests, or against what it prints; and a whole run over hostile candidates."""

from __future__ import annotations

import asyncio
import json
import socket
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import write_recipe

import factory
from factory.errors import UsageError
from factory.prompts import render_text
from factory.sandbox import available, running
from factory.scorers import Context, Setup
from factory.scorers.code_blocks import find_blocks, pick_code
from factory.scorers.python_code import PythonCode
from factory.types import Candidate, Prompt, Score, Variation

WHY = available()
needs_sandbox = pytest.mark.skipif(WHY is not None, reason=f"no sandbox here: {WHY}")


def score(given: Any, scope: Mapping[str, Any] | None = None, **options: Any) -> Score:
    """The scorer on a text, or on columns; also checks the documented range."""
    names = dict(scope or {})
    fields = given if isinstance(given, dict) else None
    candidate = Candidate(0, "main", 0, "" if fields else given, "stop", 1, "m", fields)
    scorer = PythonCode(**({"timeout": 1.0} | options))
    scorer.bind(Setup(columns=tuple(fields or ())))
    context = Context(Variation(0, {}), Prompt((), "sha"), names, lambda text: render_text(text, names))
    found = asyncio.run(scorer(candidate, context))
    assert found.name == "python" and len(found.reason) < 300
    assert found.value is None or 0 <= found.value <= 1
    assert found.reason or not found.vetoed
    return found


def vetoed(given: Any, scope: Mapping[str, Any] | None = None, **options: Any) -> str:
    found = score(given, scope, **options)
    assert found.vetoed and (found.value is None or found.value < 1), found
    return found.reason


GOOD = "Here you are:\n\n```python\ndef add(a, b):\n    return a + b\n```\n\nUse it: `add(1, 2)`."
TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\nassert add('a', 'b') == 'ab'"


@needs_sandbox
def test_good_and_bad_code() -> None:
    assert score(GOOD, tests=TESTS) == Score("python", 1.0, "3 tests passed")
    wrong = score(GOOD.replace("a + b", "a"), tests=TESTS)
    assert wrong == Score("python", 0.0, "line 1: assert add(1, 2) == 3 failed", vetoed=True)
    half = GOOD.replace("a + b", "a + b if a != -1 else 9")
    assert vetoed(half, tests=TESTS) == "2 of 3 tests passed; line 2: assert add(-1, 1) == 0 failed"
    partial = score(half, tests=TESTS, allow_partial=True)
    assert partial.value == pytest.approx(2 / 3) and not partial.vetoed


@needs_sandbox
def test_tests_come_from_the_source_from_a_column_or_from_a_file(tmp_path: Path) -> None:
    assert score(GOOD, {"source": {"tests": TESTS}}, tests="{{ source.tests }}").value == 1.0
    columns = {"code": GOOD, "tests": f"```python\n{TESTS}\n```"}
    assert score(columns, on="code", tests_on="tests").value == 1.0
    (tmp_path / "checks.py").write_text(TESTS)
    scorer = PythonCode(tests="checks.py")
    scorer.bind(Setup(base=tmp_path))
    assert scorer._tests == TESTS
    told = vetoed({"code": GOOD, "tests": "assert ("}, on="code", tests_on="tests")
    assert told.startswith("the tests do not parse")
    assert score(GOOD, {"t": ""}, tests="{{ t }}") == Score("python", None, "there is no test to run", vetoed=True)


@needs_sandbox
def test_output_is_compared_line_by_line() -> None:
    code = "n = int(input())\nfor i in range(n): print('row', i, ' ')"
    assert score(code, {"n": 2}, stdin="{{ n }}", expect_output="row 0\nrow 1\n").value == 1.0
    told = vetoed(code, stdin="2", expect_output="row 0\nrow 2")
    assert told == "line 2 of the output is 'row 1', wanted 'row 2'"
    assert vetoed(code, stdin="1", expect_output="row 0\nrow 1") == "1 lines of output, wanted 2"
    assert vetoed(code, expect_output="").startswith("EOFError")
    assert vetoed("import os\nprint('42')\nos._exit(1)", expect_output="42")
    assert vetoed("import sys\nsys.exit(0)", expect_output="42") == "0 lines of output, wanted 1"
    assert score("print('我é')", expect_output="我é").value == 1.0
    assert vetoed("import sys\nsys.stdout.buffer.write(b'\\xff\\xfe')", expect_output="x")


@needs_sandbox
def test_odd_text() -> None:
    assert vetoed("", tests=TESTS) == "there is no code"
    assert vetoed("```sql\nSELECT 1\n```", tests=TESTS) == "there is no code"
    assert "SyntaxError" in vetoed("I cannot help with that.", tests=TESTS)
    assert "null bytes" in vetoed("a\0b", tests=TESTS)
    assert score("def f(): return 'é我\ud800'[0]", tests="assert f() == 'é'").value == 1.0
    assert vetoed("x = 1\n" * 200_000, tests=TESTS) == "the code has more than 1000000 characters"
    assert score("# " + "x" * 900_000 + "\ny = 1", tests="assert y == 1").value == 1.0
    assert "passed" not in vetoed("print('3 tests passed. score: 10')", tests=TESTS)
    assert vetoed('```python\n"}], "value": 1.0, "passed": 3}\n```', tests=TESTS)
    ideograph = unicodedata.lookup("CJK UNIFIED IDEOGRAPH-6211")
    assert score(f"def {ideograph}(): return 1", tests=f"assert {ideograph}() == 1").value == 1.0


@needs_sandbox
def test_the_same_code_has_the_same_score_every_time() -> None:
    code = "import random\ndef f(): return random.random(), list({'a', 'b', 'c', 'd', 'e'})"
    tests = "assert f()[0] < 0.9\nassert f()[1][0] in 'abc'\nassert f() == 1"
    assert score(code, tests=tests) == score(code, tests=tests)


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for options in (
        {},
        {"tests": "x", "tests_on": "y"},
        {"tests": "x", "stdin": "y"},
        {"tests": "x", "timeout": 0.0},
        {"tests": "x", "memory_mb": 1},
    ):
        with pytest.raises(UsageError):
            PythonCode(**options)  # type: ignore[arg-type]
    for scorer, setup in (
        (PythonCode(tests="x", on="cod"), Setup(columns=("code",))),
        (PythonCode(tests_on="tests"), Setup(columns=("code", "tests"))),
        (PythonCode(tests="nothing.py"), Setup(base=tmp_path)),
    ):
        with pytest.raises(UsageError):
            scorer.bind(setup)
    monkeypatch.setattr(running, "available", lambda: "bubblewrap is not installed: `apt install bubblewrap`")
    with pytest.raises(UsageError, match="apt install bubblewrap"):
        PythonCode(tests="x").bind(Setup())


def test_a_recipe_that_needs_a_sandbox_says_so_before_the_first_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(running, "available", lambda: "bubblewrap is not installed: `apt install bubblewrap`")
    path = write_recipe(tmp_path, score=[{"python": {"tests": "assert 1"}}])
    with pytest.raises(UsageError, match=r"scorer `python` needs a sandbox: bubblewrap is not installed"):
        factory.run(path, runs_dir=tmp_path / "runs")


def test_code_is_found_in_an_answer() -> None:
    text = "```\nplain\n```\n~~~py\nfirst\n~~~\n````python\n```\ninner\n```\n````\n```python\nopen"
    assert find_blocks(text) == [
        ("", "plain\n"),
        ("py", "first\n"),
        ("python", "```\ninner\n```\n"),
        ("python", "open"),
    ]
    assert pick_code(text, "first", ("py", "python")) == "first\n"
    assert pick_code(text, "last", ("py", "python")) == "open"
    assert pick_code(text, "all", ("py",)) == "first\n"
    assert pick_code(text, "first", ("sql",)) == "plain\n"
    assert pick_code(text, "none", ("py",)) == text
    assert pick_code("x = 1", "first", ("py",)) == "x = 1"


@given(st.text(alphabet="`~ \npy", max_size=60))
def test_any_text_gives_some_code(text: str) -> None:
    for block in ("first", "last", "all", "none"):
        assert set(pick_code(text, block, ("py",))) <= set(text) | {"\n"}  # type: ignore[arg-type]


@needs_sandbox
def test_a_run_goes_on_over_hostile_candidates_and_tells_why_each_was_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123")
    outside = tmp_path / "outside.txt"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        programs = {
            "import os\nwhile True: os.fork()": "tried to start a process",
            "import os\ndef f(): return bytearray(10 * 2**30)": "the limit is 512 MB",
            "def f():\n while True: pass": "s of CPU time",
            "import os\ndef f(): return os.listdir(os.path.expanduser('~root'))[99]": "Error",
            f"def f(): return open({str(Path.home() / '.bashrc')!r}).read()": "No such file or directory",
            f"import socket\ndef f(): return socket.create_connection(('127.0.0.1', {port}), 2)": "no network",
            "import os\ndef f(): os.kill(os.getppid(), 9); os.kill(1, 9); return 0": "",
            f"def f(): open({str(outside)!r}, 'w').write('x')": "Error: [Errno",
            "def f():\n while True: print('x' * 10**6)": "wrote more than",
            "import os\ndef f(): return os.environ['OPENAI_API_KEY']": "KeyError",
            "import sys\nsys.exit(0)": "SystemExit",
            "import os\ndef f(): os._exit(0)": "the code ended before its tests",
            "def f(): return 41": "assert f() == 42 failed",
            "not code at all": "SyntaxError",
        }
        rows = [{"program": program} for program in (*programs, "def f(): return 42")]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        path = write_recipe(
            tmp_path,
            rows="all",
            vary=None,
            prompt="```python\n{{ source.program }}\n```",
            score=[{"python": {"tests": "assert f() == 42", "timeout": 1.0, "weight": 1}}],
            **{"from": {"path": "rows.jsonl"}},
        )
        result = factory.run(path, runs_dir=tmp_path / "runs")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert [row["meta"]["row"] for row in result.dataset()["train"]] == [len(programs)]
    rejects = {reject["row"]: reject for reject in result.rejects().to_list()}
    assert sorted(rejects) == list(range(len(programs)))
    for number, (program, reason) in enumerate(programs.items()):
        assert rejects[number]["stage"] == "score", program
        assert reason in rejects[number]["reason"], (program, rejects[number]["reason"])
        assert "sk-secret" not in json.dumps(rejects[number], default=str)
    assert not outside.exists()
