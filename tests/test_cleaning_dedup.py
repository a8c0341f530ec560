"""`factory dedup`: the first row wins on any data, rows stay as they were, and nothing half done is left behind."""

from __future__ import annotations

import gzip
import json
import os
import pty
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from support import command, environment, factory, factory_json, write_recipe

from factory import registry
from factory.cleaning import Wanted, deduplicate
from factory.cleaning.ahead import ahead
from factory.cleaning.writing import open_results
from factory.cli import main
from factory.errors import Interrupted, UsageError
from factory.minhash import jaccard, shingles
from factory.types import Choice, Response, Usage
from factory.vectors import encode

WORDS = [f"{a}{b}" for a in ("ka", "mo", "ti", "ru", "se", "lo", "vi", "na") for b in ("ner", "dal", "pus", "gor")]


def planted(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Rows of which many repeat an earlier one: whole, or with a few words changed."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for k in range(count):
        words = rng.choices(WORDS, k=rng.randrange(12, 40))
        if k and rng.random() < 0.5:
            words = rows[rng.randrange(k)]["text"].split()
            for _ in range(rng.randrange(3)):
                words[rng.randrange(len(words))] = rng.choice(WORDS)
        rows.append({"id": k, "text": " ".join(words), "label": k % 3})
    return rows


def first_wins(rows: list[dict[str, Any]], threshold: float = 0.8) -> list[int | None]:
    """The earliest kept row that each row repeats, by comparing it with all of them."""
    sets = [shingles(row["text"]) for row in rows]
    kept: list[int] = []
    found: list[int | None] = []
    for k, mine in enumerate(sets):
        match = next((other for other in kept if jaccard(mine, sets[other]) >= threshold), None)
        found.append(match)
        if match is None:
            kept.append(k)
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    raw = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(raw) if path.name.endswith(".gz") else raw)
    return str(path)


def clean(data: str | tuple[str, ...], out: Path, **options: Any) -> tuple[dict[str, Any], pa.Table, pa.Table]:
    """(summary, kept, removed) of `deduplicate`."""
    notices: list[str] = options.pop("notices", [])
    wanted = Wanted(data if isinstance(data, tuple) else (data,), **options)
    summary = deduplicate(wanted, out=out, notice=notices.append).summary
    return summary, parquet.read_table(out / "kept.parquet"), parquet.read_table(out / "removed.parquet")


ROWS = planted(300)
MATCHES = first_wins(ROWS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("data") / "rows.jsonl", ROWS)


def _parquet(folder: Path) -> str:
    parquet.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet", row_group_size=70)
    return str(folder / "rows.parquet")


def _saved(folder: Path) -> str:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(folder / "saved"))
    return str(folder / "saved")


def _shards(folder: Path) -> str:
    (folder / "shards").mkdir()
    for k in range(3):
        write(folder / f"shards/part-{k}.jsonl.gz", ROWS[k * 100 : k * 100 + 100])
    return str(folder / "shards")


def _csv(folder: Path) -> str:
    lines = [f"{row['id']},{row['text']},{row['label']}" for row in ROWS]
    (folder / "rows.csv").write_text("id,text,label\n" + "\n".join(lines))
    return str(folder / "rows.csv")


@pytest.mark.parametrize("make", [lambda folder: write(folder / "a.jsonl", ROWS), _parquet, _saved, _shards, _csv])
def test_the_first_row_wins_whatever_the_format(tmp_path: Path, make: Callable[[Path], str]) -> None:
    summary, kept, removed = clean(make(tmp_path), tmp_path / "out", columns=("text",))
    assert 50 < sum(match is not None for match in MATCHES) < 250
    assert kept.to_pylist() == [row for row, match in zip(ROWS, MATCHES, strict=True) if match is None]
    assert removed.column_names == [
        *("id", "text", "label", "row", "duplicate_of", "duplicate_in", "duplicate_in_row", "similarity", "kind")
    ]
    for line in removed.to_pylist():
        match = MATCHES[line["row"]]
        assert line["row"] == line["id"] and line["duplicate_of"] == match and line["text"] == ROWS[line["row"]]["text"]
        assert line["similarity"] == jaccard(shingles(line["text"]), shingles(ROWS[match or 0]["text"]))
        assert line["kind"] == ("exact" if line["text"] == ROWS[match or 0]["text"] else "near")
        assert line["duplicate_in"] is None and line["duplicate_in_row"] is None
    assert summary["rows"] == 300 == summary["kept"] + summary["removed"] and summary["kept"] == kept.num_rows
    assert sum(summary["by_kind"].values()) == summary["removed"] == removed.num_rows
    assert json.loads((tmp_path / "out/summary.json").read_text()) == summary
    assert sorted(path.name for path in tmp_path.glob(".*")) == [], "nothing is left beside OUT"


def test_nothing_hangs_on_batches_or_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    found = []
    for rows, workers in ((10_000, 4), (7, 1), (64, 3)):
        monkeypatch.setattr("factory.cleaning.deduplicating.BATCH_ROWS", rows)
        monkeypatch.setattr("factory.cleaning.deduplicating.MOST_WORKERS", workers)
        _, kept, removed = clean(data, tmp_path / "out", columns=("text",))
        found.append((kept.to_pylist(), removed.to_pylist()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_work_ahead_keeps_the_order_and_tells_faults_at_their_turn(workers: int) -> None:
    def some() -> Iterator[int]:
        yield from range(20)
        raise UsageError("the source broke")

    seen = []
    with pytest.raises(UsageError, match="the source broke"):
        for item, made in ahead(some(), lambda item: item * item, workers):
            seen.append((item, made))
    assert seen == [(k, k * k) for k in range(20)]
    with pytest.raises(ZeroDivisionError):
        for item, _ in ahead(range(9), lambda item: 1 // (item - 5), workers):
            assert item < 5


def test_datasets_loads_what_is_written(tmp_path: Path) -> None:
    """With the features of the source, also where the source's columns are called like ours."""
    names = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features({"row": datasets.Value("int32"), "kind": names, "text": datasets.Value("string")})
    rows = [{"row": k, "kind": k % 2, "text": f"the same {WORDS[k % 3] * 4}"} for k in range(9)]
    parquet_file = str(tmp_path / "rows.parquet")
    datasets.Dataset.from_list(rows, features=features).to_parquet(parquet_file)
    notices: list[str] = []
    summary, kept, _ = clean(parquet_file, tmp_path / "out", notices=notices)
    assert kept.schema.equals(parquet.read_schema(parquet_file), check_metadata=True)
    assert summary["renamed"] == {"row": "data_row", "kind": "data_kind"} and any("`data_row`" in n for n in notices)
    for name, count in (("kept", 3), ("removed", 6)):
        file = str(tmp_path / f"out/{name}.parquet")
        loaded = datasets.load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == count
        assert loaded.features["kind" if name == "kept" else "data_kind"] == names
    assert loaded["duplicate_of"][:] == [0, 1, 2, 0, 1, 2] and loaded["row"][:] == [3, 4, 5, 6, 7, 8]
    assert loaded["data_row"][:] == loaded["row"][:] and set(loaded["kind"][:]) == {"exact"}


def test_no_duplicates_and_nothing_but_duplicates(tmp_path: Path) -> None:
    _, kept, removed = clean(write(tmp_path / "a.jsonl", [{"t": f"unlike {k}" * 3} for k in range(5)]), tmp_path / "o")
    assert kept.num_rows == 5 and removed.num_rows == 0 and "similarity" in removed.column_names
    summary, kept, _ = clean(write(tmp_path / "b.jsonl", [{"t": None}, {"t": " "}, {"t": ""}]), tmp_path / "p")
    assert kept.num_rows == 1 and summary["empty"] == 2 and summary["by_kind"] == {"exact": 2}


def test_several_columns_and_conversations(tmp_path: Path) -> None:
    rows = [
        {"q": "one question", "a": "one answer", "messages": [{"role": "user", "content": "hello there"}]},
        {"q": "one question", "a": "another", "messages": [{"role": "assistant", "content": "Hello  there"}]},
        {"q": "one question", "a": "one answer", "messages": [{"role": "user", "content": "good bye now"}]},
    ]
    path = write(tmp_path / "a.jsonl", rows)
    removed = [clean(path, tmp_path / "o", columns=names)[2] for names in (("q",), ("q", "a"), ("messages",))]
    assert [table.column("row").to_pylist() for table in removed] == [[1, 2], [2], [1]]


def test_within_keeps_scopes_apart(tmp_path: Path) -> None:
    rows = [{"text": "the same few words here", "lang": lang} for lang in ("de", "en", None, "de", None, "")]
    _, kept, removed = clean(write(tmp_path / "a.jsonl", rows), tmp_path / "o", within="lang", columns=("text",))
    assert kept.column("lang").to_pylist() == ["de", "en", None, ""]
    assert removed.column("duplicate_of").to_pylist() == [0, 2]
    other = write(tmp_path / "b.jsonl", [{"text": "The same few words here", "lang": "en"}])
    _, kept, removed = clean(
        str(tmp_path / "a.jsonl"), tmp_path / "o", within="lang", columns=("text",), against=(other,)
    )
    assert removed.column("row").to_pylist() == [1, 3, 4] and removed.column("duplicate_in")[0].as_py() == other
    plain = write(tmp_path / "c.jsonl", [{"text": "no such column"}])
    with pytest.raises(UsageError, match="has no column `lang`"):
        clean(str(tmp_path / "a.jsonl"), tmp_path / "o", within="lang", columns=("text",), against=(plain,))


@pytest.mark.parametrize("kind", ["jsonl", "index", "run", "both"])
def test_against_what_came_before(tmp_path: Path, kind: str) -> None:
    """Rows of earlier data win, in any form; together they are as one walk over both."""
    earlier, later = ROWS[:150], ROWS[150:]
    first = write(tmp_path / "earlier.jsonl", earlier)
    second = write(tmp_path / "later.jsonl", later)
    index = tmp_path / "index"
    _, kept, _ = clean(first, tmp_path / "o1", columns=("text",), save_index=index)
    if kind == "run":
        (tmp_path / "run/dataset").mkdir(parents=True)
        (tmp_path / "run/manifest.json").write_text("{}")
        parquet.write_table(kept, tmp_path / "run/dataset/train.parquet")
    against = {"jsonl": (first,), "index": (str(index),), "run": (str(tmp_path / "run"),), "both": (str(index), first)}
    summary, kept, removed = clean(second, tmp_path / "o2", columns=("text",), against=against[kind])
    assert kept.to_pylist() == [row for row, match in zip(later, MATCHES[150:], strict=True) if match is None]
    rows_of_run = [row["id"] for row, match in zip(earlier, MATCHES, strict=False) if match is None]
    for line in removed.to_pylist():
        match = MATCHES[line["id"]]
        assert match is not None and line["row"] == line["id"] - 150
        if match >= 150:
            assert line["duplicate_of"] == match - 150 and line["duplicate_in"] is None
        else:
            row = line["duplicate_in_row"]
            assert line["duplicate_of"] is None and line["duplicate_in"] == against[kind][0]
            assert (rows_of_run[row] if kind == "run" else row) == match
    assert sum(summary["by_against"].values()) == sum(m is not None and m < 150 for m in MATCHES[150:]) > 10


def test_the_index_is_all_or_nothing(tmp_path: Path, data: str) -> None:
    index = tmp_path / "index"
    clean(data, tmp_path / "o", columns=("text",), save_index=index)
    with pytest.raises(UsageError, match="there is an index already"):
        clean(data, tmp_path / "o", columns=("text",), save_index=index)
    with pytest.raises(UsageError, match="lies in --out"):
        clean(data, tmp_path / "o", columns=("text",), save_index=tmp_path / "o/index")
    with pytest.raises(UsageError, match=r"for (a|the) threshold"):
        clean(data, tmp_path / "o2", columns=("text",), against=(str(index),), threshold=0.5)
    bad = write(tmp_path / "bad.jsonl", ROWS[:3])
    with pytest.raises(UsageError, match="an index holds shingles"):
        clean(bad, tmp_path / "o2", columns=("text",), save_index=tmp_path / "i2", by="characters")
    with pytest.raises(KeyError), pytest.MonkeyPatch.context() as patch:
        patch.setattr("factory.cleaning.writing.Results.finish", lambda self, summary: {}["broken"])
        clean(bad, tmp_path / "o2", columns=("text",), save_index=tmp_path / "i2")
    assert not (tmp_path / "i2").exists() and not (tmp_path / "o2").exists() and not list(tmp_path.glob(".*"))


def test_paraphrases_by_characters(tmp_path: Path) -> None:
    rows = [
        {"text": "The quick brown foxes jumped over the lazy dogs near the river bank yesterday."},
        {"text": "The quick brown fox jumps over the lazy dog near the river bank yesterday!"},
        {"text": "A recipe for bread: flour, water, salt and a little patience."},
    ]
    path = write(tmp_path / "a.jsonl", rows)
    summary, kept, removed = clean(path, tmp_path / "o", by="characters", threshold=0.6)
    assert kept.num_rows == 2 and removed.column("kind").to_pylist() == ["paraphrase"] and summary["scheme"] is None
    assert clean(path, tmp_path / "o")[1].num_rows == 3, "by shingles they differ"


class Letters:
    """Embeds a text by how often each letter occurs in it."""

    honours_n, local, tasks = True, True, frozenset({"embed"})

    async def generate(self, request: Any) -> Response:
        text = request.messages[-1].content
        vector = [float(text.count(chr(97 + k))) + 0.01 for k in range(26)]
        return Response((Choice(encode(vector), "stop"),), Usage(1, 0), "letters")

    async def close(self) -> None:
        return None


def test_the_same_meaning_by_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.backend("letters")(lambda model: Letters())
    rows = [{"text": "listen to me"}, {"text": "silent to me"}, {"text": "zzz qqq"}, {"text": ""}, {"text": None}]
    path = write(tmp_path / "a.jsonl", rows)
    summary, kept, removed = clean(path, tmp_path / "o", by="embeddings", model="letters/x")
    assert kept.column("text").to_pylist() == ["listen to me", "zzz qqq", ""]
    assert removed.column("kind").to_pylist() == ["semantic", "exact"] and summary["model"] == "letters/x"
    before = write(tmp_path / "b.jsonl", [{"text": "qqq zzz"}])
    _, _, removed = clean(path, tmp_path / "o", by="embeddings", model="letters/x", against=(before,))
    assert removed.column("row").to_pylist() == [1, 2, 4] and removed.column("duplicate_in")[1].as_py() == before
    for model, told in (
        ("openai/text-embedding-3-small", "asks no server, which could cost money"),
        ("embedded/tiny", "does not embed texts"),
        ("letters", "not of the form BACKEND/MODEL"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            clean(path, tmp_path / "o", by="embeddings", model=model)
        assert "sentence-transformers/" in caught.value.hint
    with pytest.raises(UsageError, match="needs a model"):
        clean(path, tmp_path / "o", by="embeddings")
    with pytest.raises(UsageError, match="asks no model"):
        clean(path, tmp_path / "o", model="letters/x")


def test_a_limit_a_split_and_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"t": "a a a"}\nbroken\n{"t": "a a a"}\n[]\n{"t": "b b b"}\n')
    notices: list[str] = []
    summary, kept, removed = clean(str(path), tmp_path / "o", skip_bad=True, notices=notices)
    assert (summary["rows"], summary["skipped"], kept.num_rows) == (3, 2, 2)
    assert removed.column("row").to_pylist() == [1] and any("line 2 is not JSON" in note for note in notices)
    assert clean(str(path), tmp_path / "o", skip_bad=True, limit=2)[0]["rows"] == 2
    split = datasets.DatasetDict({name: datasets.Dataset.from_list([{"t": name}]) for name in ("train", "test")})
    split.save_to_disk(str(tmp_path / "saved"))
    assert clean(str(tmp_path / "saved"), tmp_path / "o", split="test")[1].to_pylist() == [{"t": "test"}]


def test_what_stands_in_out_is_replaced_only_if_it_is_ours(tmp_path: Path, data: str) -> None:
    out = tmp_path / "out"
    clean(data, out, columns=("text",))
    small = write(tmp_path / "small.jsonl", ROWS[:2])
    assert clean(small, out, columns=("text",))[0]["rows"] == 2
    with pytest.raises(UsageError, match="no column `txt`"):
        clean(small, out, columns=("txt",))
    assert json.loads((out / "summary.json").read_text())["rows"] == 2, "a failure leaves the earlier result"
    with pytest.raises(UsageError, match="holds the data"):
        clean(str(out / "kept.parquet"), out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files: notes\.txt"):
        clean(small, out, columns=("text",))
    (out / "notes.txt").unlink()
    (out / "summary.json").write_text('{"command": "decontaminate"}')
    with pytest.raises(UsageError, match="`factory dedup` did not write"):
        clean(small, out, columns=("text",))
    with pytest.raises(UsageError, match="is a file"):
        clean(data, Path(small), columns=("text",))
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.jsonl", ROWS[:5])
    with pytest.raises(UsageError, match="lies inside the data"):
        clean(str(folder), folder / "out", columns=("text",))


def test_two_at_once_in_one_place(tmp_path: Path) -> None:
    with open_results(tmp_path / "out", "dedup", pa.schema([("t", pa.string())]), []):
        path = write(tmp_path / "a.jsonl", [{"t": "x"}])
        with pytest.raises(UsageError, match="another `factory dedup` is writing there"):
            clean(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


BAD: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "column": (["a.jsonl", "--column", "txt"], ("a.jsonl has no column `txt`", "did you mean `text`?", "id, text")),
    "no text": (["a.jsonl", "--column", "id"], ("`id` holds numbers (int64), no text", "text columns: text, more")),
    "which": (["a.jsonl"], ("which column holds the text?", "--column NAME", "text, more")),
    "within": (["a.jsonl", "--column", "text", "--within", "labl"], ("no column `labl`",)),
    "threshold": (["a.jsonl", "--column", "text", "--threshold", "80"], ("threshold is 80", "0.8 is usual")),
    "by": (["a.jsonl", "--column", "text", "--by", "magic"], ("--by magic", "shingles, characters, embeddings")),
    "file": (["b.jsonl", "--column", "text"], ("no such file: b.jsonl", "did you mean `a.jsonl`")),
    "line": (["broken.jsonl", "--column", "text"], ("broken.jsonl: line 2 is not JSON", "--skip-bad")),
    "empty": (["empty.jsonl"], ("empty.jsonl: the file is empty",)),
    "against": (["a.jsonl", "--column", "text", "--against", "c.jsonl"], ("no such file: c.jsonl",)),
    "itself": (["a.jsonl", "--column", "text", "--against", "./a.jsonl"], ("is DATA itself",)),
    "no out": ([], ("--out", "dedup --help")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_usage_is_one_clear_screen(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", [{"id": 1, "text": "some words", "more": "others"}])
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "empty.jsonl").write_text("")
    arguments, parts = BAD[name]
    with pytest.raises(SystemExit) as left:
        main(["dedup", *arguments, *(["--out", "out"] if arguments else ["a.jsonl"]), "--json"])
    stdout, stderr = capsys.readouterr()
    check_error(left.value.code, stdout, stderr, *parts)
    assert not (tmp_path / "out").exists()


def check_error(code: Any, stdout: str, stderr: str, *parts: str) -> None:
    error = json.loads(stdout)["error"]
    assert code == 2 and set(error) == {"code", "message", "hint"} and error["code"] != "bug"
    for part in parts:
        assert part in f"{error['message']} {error['hint']}"
    assert "Traceback" not in stderr and "error:" not in stderr


def test_a_hub_name_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    done = factory("dedup", "owner/name", "--out", "out", "--json", cwd=tmp_path, HF_HUB_OFFLINE="1")
    check_error(done.returncode, done.stdout, done.stderr, "owner/name", "save_to_disk", "give the folder as DATA")
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_what_it_did(tmp_path: Path, data: str) -> None:
    done = factory("dedup", data, "--column", "text", "--out", tmp_path / "out")
    assert done.returncode == 0 and done.stderr == ""
    head, *files = done.stdout.splitlines()
    removed = sum(match is not None for match in MATCHES)
    assert head.startswith(f"300 rows: {300 - removed} kept, {removed} removed (") and " exact, " in head
    assert [line.split()[0] for line in files] == ["kept:", "removed:", "summary:"]
    summary = factory_json("dedup", data, "--column", "text", "--out", tmp_path / "out")
    assert {"rows", "kept", "removed", "seconds", "out"} <= summary.keys() and summary["kept"] == 300 - removed


def test_a_terminal_gets_a_bar_and_is_left_clean(tmp_path: Path, data: str) -> None:
    (tmp_path / "bad.jsonl").write_text(Path(data).read_text() + "[bold]no[/bold] \x1b[31mJSON\n")
    ours, theirs = pty.openpty()
    given = command("dedup", tmp_path / "bad.jsonl", "--column", "text", "--out", tmp_path / "out", "--skip-bad")
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=theirs, env=environment(TERM="xterm-256color")) as one:
        os.close(theirs)
        shown = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            shown += more
        stdout = one.stdout.read().decode() if one.stdout else ""
    os.close(ours)
    text = shown.decode()
    assert one.returncode == 0 and stdout.startswith("300 rows: "), text
    assert (
        "comparing" in text and "300 of 300 rows" in text and "[bold]no[/bold]" in text and "\x1b[31mJSON" not in text
    )
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"


def test_a_run_is_cleaned(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, rows=6, vary={"animal": {"choice": ["cat", "dog"]}}, prompt="Tell of {{ animal }}.")
    factory_json("run", recipe, "--out", tmp_path / "run")
    summary = factory_json("dedup", tmp_path / "run", "--out", tmp_path / "out")
    assert summary["columns"] == ["text"] and (summary["rows"], summary["kept"]) == (6, 2)
    kept = parquet.read_table(tmp_path / "out/kept.parquet")
    source = next((tmp_path / "run/dataset").rglob("*.parquet"))
    assert kept.schema.equals(parquet.read_schema(source), check_metadata=True)


@pytest.fixture(scope="module")
def much(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Enough rows that the command is still at it when a signal comes."""
    rng = random.Random(1)
    path = tmp_path_factory.mktemp("much") / "much.jsonl"
    with path.open("w") as handle:
        for k in range(120_000):
            handle.write(f'{{"text": "{" ".join(rng.choices(WORDS, k=12))} {k}"}}\n')
    return str(path)


def started(much: str, out: Path, *arguments: object) -> subprocess.Popen[str]:
    """The command, once it is writing."""
    given = command("dedup", much, "--out", out, "--json", *arguments)
    process = subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    part = out.with_name(f".{out.name}.part") / "removed.parquet"
    deadline = time.monotonic() + 60
    while not part.exists() and process.poll() is None and time.monotonic() < deadline:
        os.sched_yield()
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_half_done(tmp_path: Path, much: str, number: signal.Signals) -> None:
    process = started(much, tmp_path / "out", "--save-index", tmp_path / "index")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "interrupted" and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_after_a_kill_the_same_command_starts_again(tmp_path: Path, much: str) -> None:
    out = tmp_path / "out"
    process = started(much, out)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not out.exists()
    assert clean(much, out, limit=50)[0]["rows"] == 50
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, much: str) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    given = command("dedup", much, "--out", tmp_path / "out", "--limit", "30000", "--json")
    done = subprocess.run(given, capture_output=True, text=True, env=environment(), preexec_fn=small_files)
    assert done.returncode == 4, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "storage" and "out" in error["message"] and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, data: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file"):
        clean(data, tmp_path / "file/out", columns=("text",))


def test_an_interruption_inside_python_is_an_error_of_ours(tmp_path: Path, data: str) -> None:
    def stop(step: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="nothing was written"):
        deduplicate(Wanted((data,), ("text",)), out=tmp_path / "out", progress=stop)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_columns_of_views_and_earlier_results_are_data(tmp_path: Path) -> None:
    path = tmp_path / "views.parquet"
    parquet.write_table(pa.table({"t": pa.array(["a b", "A  b", "c"], pa.string_view()), "n": [1, 2, 3]}), path)
    found = deduplicate(Wanted(data=(str(path),), columns=("t", "t")), out=tmp_path / "out").summary
    assert (found["rows"], found["kept"], found["columns"]) == (3, 2, ["t"])
    again = deduplicate(Wanted(data=(str(tmp_path / "out"),), columns=("t",)), out=tmp_path / "again").summary
    assert (again["rows"], again["kept"]) == (2, 2)
    same = deduplicate(Wanted(data=(str(path),), columns=("t",), against=(str(tmp_path / "out"),)), out=tmp_path / "o")
    assert same.summary["kept"] == 0


def test_an_index_of_another_column_is_told(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text('{"a": "a red ferry", "b": "a bell of tin"}\n')
    told: list[str] = []
    deduplicate(Wanted(data=(str(path),), columns=("a",), save_index=tmp_path / "i"), out=tmp_path / "o")
    for column in ("a", "b"):
        wanted = Wanted(data=(str(path),), columns=(column,), against=(str(tmp_path / "i"),), split="test")
        deduplicate(wanted, out=tmp_path / column, notice=told.append)
    assert [one for one in told if "is an index of the column a, and b is compared with it" in one] == [told[-1]]
    assert "without splits: all of it is read" in told[0] and len(told) == 3
