"""`factory benchmarks list|add|index`, the indexes it keeps, and what `doctor` tells of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import doctor
from factory.cli import main
from factory.decontamination import Cascade, neutral, types
from factory.errors import UsageError
from factory.test_sets import cache, cached, fetching, index_of
from factory.test_sets import indexing as indexing_module

ROOT = Path(__file__).resolve().parent.parent
ROWS = [
    {"question": f"A carpenter saws {k + 3} planks of {k * 7 + 11} centimetres for shelf {k}. How long are they?",
     "answer": f"They are {(k + 3) * (k * 7 + 11)} centimetres long together."} for k in range(12)
]  # fmt: skip

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "planks.jsonl", ROWS)
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def little_to_calibrate_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it does not count how well an index is calibrated, but how often it is built."""
    few = neutral.texts()[:300]
    monkeypatch.setattr(neutral, "texts", lambda: few)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`factory benchmarks …`: exit code, stdout, stderr."""

    def called(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["benchmarks", *arguments])
        return (int(left.value.code or 0), *capsys.readouterr())

    return called


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError("no such host")

    monkeypatch.setattr(fetching.socket, "getaddrinfo", unknown)
    monkeypatch.setattr(fetching, "getproxies", dict)


# --- list


def test_list_tells_what_is_known(run: Run) -> None:
    code, out, _ = run("list")
    lines = out.splitlines()
    assert code == 0 and lines[0].split() == ["name", "title", "rows", "licence", "here"]
    gsm8k = next(line for line in lines if line.startswith("gsm8k "))
    assert gsm8k.split() == ["gsm8k", "GSM8K", "1,319", "mit"]
    assert next(line for line in lines if line.startswith("gpqa-diamond ")).endswith("gated")
    assert "open-llm-leaderboard-v1" in out and "0 of them here" in out


def test_list_of_a_suite_as_json(run: Run, cache_folder: Path) -> None:
    _, out, err = run("list", "--suite", "open-llm-leaderboard-v1", "--json")
    told = json.loads(out)
    names = [one["name"] for one in told["benchmarks"]]
    assert names == ["arc-challenge", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande"] and err == ""
    one = told["benchmarks"][1]
    assert one["hub"] == "openai/gsm8k" and one["licence"] == "mit" and one["fields"] == {
        "question": ["question"], "answer": ["answer"],
    }  # fmt: skip
    assert one["cached"] is False and told["cache"] == str(cache_folder)
    code, out, _ = run("list", "--suite", "lm-evil", "--json")
    assert code == 2 and "did you mean `lm-eval`" in json.loads(out)["error"]["message"]


# --- add


def test_add_keeps_a_private_set_and_list_shows_it(run: Run) -> None:
    code, out, _ = run("add", "planks", "planks.jsonl")
    assert code == 0 and out.startswith("planks: 12 rows") and "A carpenter saws 3 planks" in out
    os.remove("planks.jsonl")
    code, out, _ = run("list", "--here", "--json")
    (one,) = json.loads(out)["benchmarks"]
    assert (one["name"], one["rows"], one["private"], one["indexed"]) == ("planks", 12, True, False)
    assert "your own, from planks.jsonl" in run("list", "--here")[1]


def test_add_with_a_field_map(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "odd.jsonl", [{"q": {"t": "Which?"}, "w": "no", "x": "yes", "right": "B"}])
    map_ = ["--question", "q.t", "--choices", "w,x", "--answer", "right", "--code", "--json"]
    code, out, _ = run("add", "odd", "odd.jsonl", *map_)
    assert code == 0 and json.loads(out) == {
        "name": "odd", "rows": 1, "code": True, "example": {"question": "Which?", "answer": "yes", "choices": 2},
    }  # fmt: skip


def test_add_refuses_and_replaces(run: Run) -> None:
    run("add", "planks", "planks.jsonl")
    code, _, err = run("add", "planks", "planks.jsonl")
    assert code == 2 and "there is a test set `planks` already" in err and "--replace" in err
    assert run("add", "planks", "planks.jsonl", "--replace")[0] == 0
    for name in ("../x", "a b", ".hidden", ""):
        code, _, err = run("add", name, "planks.jsonl")
        assert code == 2 and "no name for a test set" in err


# --- index


def test_index_of_a_file_is_built_once(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("index", "planks.jsonl", "--json")
    (made,) = json.loads(out)["indexed"]
    assert code == 0 and made["built"] is True and made["rows"] == 12 and made["name"] == "planks"
    path = Path(made["path"])
    before = (path / "source.json").stat().st_ino
    (again,) = json.loads(run("index", "planks.jsonl", "--json")[1])["indexed"]
    assert again["built"] is False and again["path"] == made["path"] and again["bytes"] == made["bytes"]
    assert (path / "source.json").stat().st_ino == before
    (rebuilt,) = json.loads(run("index", "planks.jsonl", "--rebuild", "--json")[1])["indexed"]
    assert rebuilt["built"] is True and rebuilt["path"] == made["path"]
    write(tmp_path / "planks.jsonl", ROWS[:7])
    (changed,) = json.loads(run("index", "planks.jsonl", "--json")[1])["indexed"]
    assert changed["built"] is True and changed["rows"] == 7 and changed["path"] != made["path"]
    assert changed["replaced"] == 1 and not path.exists(), "the file's former index is gone"
    assert "unchanged" in run("index", "planks.jsonl")[1]


def test_an_index_finds_a_leaked_row(tmp_path: Path) -> None:
    index = index_of("planks.jsonl", tmp_path)
    leaked = {"text": "Solve this: " + ROWS[4]["question"]}
    hits = Cascade([index]).check_many([leaked, {"text": "The harbour was quiet when the first boats came home."}])
    assert [(hit.benchmark, hit.row) for hit in hits[0]] == [("planks", 4)] and hits[1] == []


def test_another_scheme_means_another_index(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "planks", "planks.jsonl")
    (made,) = json.loads(run("index", "planks", "--json")[1])["indexed"]
    assert [one.indexed for one in cached()] == [True]
    facts = json.loads((Path(made["path"]) / "source.json").read_text())
    assert facts["scheme"].startswith(types.SCHEME)
    assert indexing_module._key("sha", "a") != indexing_module._key("sha", "b")


def test_another_file_takes_no_place_in_silence(run: Run, tmp_path: Path) -> None:
    code, _, err = run("index", "gsm8k", "--from", "planks.jsonl")
    assert code == 0 and "has 1,319 rows, these are 12: are they the right ones?" in err
    write(tmp_path / "other.jsonl", [{"question": "How many spoons lie in the drawer of the ferry's cook?"}])
    code, _, err = run("index", "gsm8k", "--from", "other.jsonl")
    assert code == 2 and "there is a test set `gsm8k` already (12 rows of " in err and "--rebuild" in err
    assert run("index", "gsm8k", "--from", "planks.jsonl")[0] == 0
    assert run("index", "gsm8k", "--from", "other.jsonl", "--rebuild")[0] == 0
    assert json.loads(run("list", "--here", "--json")[1])["benchmarks"][0]["rows"] == 1


def test_index_from_a_downloaded_copy(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    code, out, _ = run("index", "gsm8k", "--json")
    error = json.loads(out)["error"]
    assert code == 2 and "cannot be reached" in error["message"] and "--from FILE" in error["hint"]
    code, out, err = run("index", "gsm8k", "--from", "planks.jsonl")
    assert code == 0 and out.startswith("gsm8k: 12 rows") and "built in" in out, err
    assert run("index", "gsm8k")[0] == 0, "the copy is kept"
    (one,) = cached()
    assert (one.name, one.rows, one.private, one.indexed) == ("gsm8k", 12, False, True)
    code, _, err = run("index", "gsm8k", "mmlu", "--from", "planks.jsonl")
    assert code == 2 and "one NAME" in err


def test_a_copied_cache_serves_without_its_rows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    run("index", "gsm8k", "--from", "planks.jsonl")
    os.rename(tmp_path / "cache", tmp_path / "copied")
    (tmp_path / "copied" / "test_sets" / "gsm8k.jsonl.gz").unlink()
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "copied"))
    assert index_of("gsm8k", tmp_path, build=False).name == "gsm8k"


def test_what_is_not_indexed_is_an_error_where_nothing_may_be_built(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`hellaswag` is not indexed here") as caught:
        index_of("hellaswag", tmp_path, build=False)
    assert "factory benchmarks index hellaswag" in caught.value.hint
    with pytest.raises(UsageError, match="not indexed here"):
        index_of("planks.jsonl", tmp_path, build=False)


def test_index_of_several_names_and_of_a_suite(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    run("add", "one", "planks.jsonl")
    code, out, _ = run("index", "one", "planks.jsonl", "one", "--json")
    assert code == 0 and [made["name"] for made in json.loads(out)["indexed"]] == ["one", "planks"]
    code, _, err = run("index", "open-llm-leaderboard-v1")
    assert code == 2 and "6 of 6 could not be indexed" in err and "`arc-challenge` is not here" in err
    assert len(err) < 3000
    code, out, _ = run("index", "gsm8k", "one", "--json")
    told = json.loads(out)
    assert code == 2 and [made["name"] for made in told["indexed"]] == ["one"], "a fault does not stop the others"
    assert list(told["failed"]) == ["gsm8k"] and "cannot be reached" in told["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["index", "helaswag"], "did you mean `hellaswag`"),
        (["index", "nothing.jsonl"], "no such file"),
        (["index", "agieval"], "not on the Hub"),
        (["add", "x", "planks.jsonl", "--question", "qestion"], "did you mean `question`"),
        (["add", "x", "nothing.csv"], "no such file"),
        (["index", "broken.jsonl"], "line 1 is not JSON"),
        (["list", "--suite", "x"], "no suite `x`"),
    ],
)
def test_faults_are_one_screen_and_no_traceback(run: Run, tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "broken.jsonl").write_text("oops\n")
    code, out, err = run(*arguments)
    assert code == 2 and told in err and "Traceback" not in err and len(err) < 3000 and out == ""


def build_in_a_process(folder: str, ready: Any) -> None:
    ready.wait()
    index_of("planks.jsonl", Path(folder))


def test_two_processes_that_build_the_same_index(tmp_path: Path, cache_folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(2)
    workers = [context.Process(target=build_in_a_process, args=(str(tmp_path), ready)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(os.listdir(cache_folder / "indexes")) == 1, "nothing half-made is left"
    assert index_of("planks.jsonl", tmp_path, build=False).name == "planks"


def test_a_build_that_breaks_off_leaves_nothing(tmp_path: Path, cache_folder: Path) -> None:
    def broken(place: Path) -> None:
        place.mkdir()
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        cache.store_index(cache_folder / "indexes" / "x-1", broken, {}, replace=False)
    assert os.listdir(cache_folder / "indexes") == []


def test_a_cache_that_cannot_be_written_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "file"))
    code, _, err = run("add", "x", "planks.jsonl")
    assert code != 0 and "FACTORY_CACHE" in err and "unexpected" not in err


# --- doctor, and how quickly the command starts


def test_doctor_tells_what_is_kept(run: Run, capsys: pytest.CaptureFixture[str], cache_folder: Path) -> None:
    none = doctor._benchmarks()
    assert none["ok"] is None and "none kept here" in none["told"] and "factory benchmarks index" in none["hint"]
    run("add", "planks", "planks.jsonl")
    assert doctor._benchmarks()["told"].endswith("planks (not indexed)")
    run("index", "planks")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    some = next(one for one in found["checks"] if one["name"] == "benchmarks")
    assert some["ok"] is True and some["told"].endswith(": planks") and str(cache_folder) in some["told"]
    (cache_folder / "test_sets" / "planks.jsonl.gz").write_bytes(b"rubbish")
    bad = doctor._benchmarks()
    assert bad["ok"] is False and "damaged" in bad["told"] and "delete it" in bad["hint"]


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, factory.cli; print(sorted({'numpy', 'pyarrow', 'yaml', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
