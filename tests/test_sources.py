"""Source rows: every format gives the same rows, chunks lose nothing, every fault is told plainly."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UsageError
from factory.recipe.axes import SourceConfig
from factory.sources import read_lines, read_source, read_table
from factory.sources.documents import cut_markdown, cut_words
from factory.sources.tables import json_value

ROWS = [{"id": 1, "text": "one"}, {"id": 2, "text": "zwei äöü 🙂"}, {"id": 3, "text": 'three, "quoted"\nline'}]


def read(path: str, base: Path, **options: Any) -> Any:
    return read_source(SourceConfig.model_validate({"path": path, **options}), base)


def write_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def fault(path: str, base: Path, **options: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(path, base, **options)
    return caught.value


def test_every_format_gives_the_same_rows_and_sha(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "lines.json").write_text(lines)
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "data.json").write_text(json.dumps({"version": 1, "data": ROWS}))
    (tmp_path / "examples.json").write_text(json.dumps({"about": "x", "examples": ROWS}))
    (tmp_path / "a.csv").write_bytes(write_csv(ROWS).encode("utf-8-sig"))
    for name in ("a.jsonl", "a.json", "a.csv"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=1)
    dataset = datasets.Dataset.from_list(ROWS)
    dataset.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": dataset, "test": dataset.select([0])}).save_to_disk(tmp_path / "splits")
    shards = tmp_path / "shards" / "data"
    shards.mkdir(parents=True)
    (tmp_path / "shards" / "README.md").write_text("# A card\n\nwith words")
    parquet.write_table(pa.Table.from_pylist(ROWS[:2]), shards / "train-00000-of-00002.parquet")
    parquet.write_table(pa.Table.from_pylist(ROWS[2:]), shards / "train-00001-of-00002.parquet")
    parquet.write_table(pa.Table.from_pylist(ROWS[:1]), shards / "test-00000-of-00001.parquet")
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text("{}")
    (tmp_path / "shards").rename(run / "dataset")
    names = ["a.jsonl", "lines.json", "a.json", "data.json", "examples.json", "a.csv", "a.jsonl.gz", "a.json.gz"]
    names += ["a.csv.gz", "a.parquet", "saved", "splits", "run/dataset", "run"]
    for name in names:
        source = read(name, tmp_path)
        assert [source[i] for i in range(len(source))] == ROWS, name
        assert source.columns == ("id", "text"), name
        assert source.sha == read("a.jsonl", tmp_path).sha, name
    assert len(read("splits", tmp_path, split="test")) == 1
    assert len(read("run", tmp_path, split="test")) == 1
    assert "it has: train, test" in fault("splits", tmp_path, split="tst").hint
    assert read_table(tmp_path / "a.parquet") == ROWS


def test_the_sha_knows_contents_only(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": 2}\n')
    (tmp_path / "moved.jsonl").write_text('\n{"a":1,   "b": 2}')
    (tmp_path / "other.jsonl").write_text('{"a": 1, "b": "2"}\n')
    sha = read("a.jsonl", tmp_path).sha
    assert read("moved.jsonl", tmp_path).sha == sha == read(str(tmp_path / "a.jsonl"), Path("/")).sha
    assert read("other.jsonl", tmp_path).sha != sha
    assert read("a.jsonl", tmp_path, columns=["a"]).sha != sha
    assert read("a.jsonl", tmp_path, carry=["a"]).sha == sha


def test_columns_limit_and_absent_fields(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"b": 2, "a": 3}\n{"a": 4}\n')
    source = read("a.jsonl", tmp_path, limit=2)
    assert [source[0], source[1]] == [{"a": 1, "b": None}, {"a": 3, "b": 2}]
    assert len(source) == 2
    assert read("a.jsonl", tmp_path, columns=["b"])[1] == {"b": 2}
    parquet.write_table(pa.table({"a": [1, 2, 3], "b": [4, 5, 6]}), tmp_path / "a.parquet")
    assert [dict(row) for row in read("a.parquet", tmp_path, columns=["b"], limit=2).rows] == [{"b": 4}, {"b": 5}]


def test_a_row_can_be_changed_without_changing_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    source = read("a.jsonl", tmp_path)
    source[0]["a"] = 2
    assert source[0] == {"a": 1}


def test_csv_numbers_are_numbers_only_where_nothing_is_lost(tmp_path: Path) -> None:
    text = "id,zip,price,mixed,empty,big,column one\n"
    text += "1,00501,1.5,1,,12345678901234567890,x\n-2,10115,20,two,,1,y\n,1,0.25,3,,2,z\n"
    (tmp_path / "a.csv").write_text(text)
    assert read_table(tmp_path / "a.csv") == [
        {
            "id": 1,
            "zip": "00501",
            "price": 1.5,
            "mixed": "1",
            "empty": "",
            "big": "12345678901234567890",
            "column one": "x",
        },
        {"id": -2, "zip": "10115", "price": 20, "mixed": "two", "empty": "", "big": "1", "column one": "y"},
        {"id": None, "zip": "1", "price": 0.25, "mixed": "3", "empty": "", "big": "2", "column one": "z"},
    ]
    (tmp_path / "a.tsv").write_text("a\tb\n1,0\tx\n")
    assert read_table(tmp_path / "a.tsv") == [{"a": "1,0", "b": "x"}]
    (tmp_path / "long.csv").write_text("a\n" + "x" * 300_000 + "\n")
    assert len(read_table(tmp_path / "long.csv")[0]["a"]) == 300_000
    assert csv.field_size_limit() == 131_072


cells = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)
    | st.integers().map(str)
    | st.floats().map(str)
)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
def test_csv_cells_print_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(write_csv([{"a": a, "b": b} for a, b in rows]).encode())
    for read_row, (a, b) in zip(read_table(path), rows, strict=True):
        assert ["" if value is None else str(value) for value in read_row.values()] == [a, b]


def test_values_that_json_cannot_hold(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 2, 29, 12, 30)
    table = pa.table(
        {
            "day": [day.date()],
            "time": [day],
            "amount": [decimal.Decimal("12.50")],
            "bytes": [b"caf\xc3\xa9"],
            "raw": [b"\xff\x00"],
            "nan": [float("nan")],
            "span": [datetime.timedelta(minutes=1)],
            "nested": [{"list": [1.0, float("inf")], "day": day.date()}],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    row = read("a.parquet", tmp_path)[0]
    assert row == {
        "day": "2024-02-29",
        "time": "2024-02-29T12:30:00",
        "amount": "12.50",
        "bytes": "café",
        "raw": "/wA=",
        "nan": None,
        "span": 60.0,
        "nested": {"list": [1.0, None], "day": "2024-02-29"},
    }
    json.dumps(row, allow_nan=False)
    (tmp_path / "s.jsonl").write_text('{"a": "x\\ud800y \\ud83d\\ude42 ü"}\n')
    assert read("s.jsonl", tmp_path)[0] == {"a": "x\ufffdy 🙂 ü"}
    (tmp_path / "a.jsonl").write_text('{"a": NaN, "b": 123456789012345678901234567890}\n')
    assert read("a.jsonl", tmp_path)[0] == {"a": None, "b": 123456789012345678901234567890}
    assert json_value({1: {3, 1, 2}}) == {"1": [1, 2, 3]}


# Faults


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "tickets.jsonl").write_text('{"a": 1}\n')
    error = fault("ticket.jsonl", tmp_path)
    assert "no such file" in error.message
    assert "did you mean `tickets.jsonl`?" in error.hint
    assert f"the folder {tmp_path / 'dta'} is missing" in fault("dta/tickets.jsonl", tmp_path).hint
    assert "did you mean `tickets.jsonl`?" in fault("tickets", tmp_path).hint


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', ["line 3 is not JSON", '{"a":', "one JSON object a line"]),
        ("a.jsonl", b'{"a": 1}\n[1]\n', ["line 2 is a list, not an object"]),
        ("a.jsonl", b"\n\n", ["no rows"]),
        ("a.jsonl", b"[" * 100_000, ["line 1 is not JSON"]),
        ("a.json", b"[" * 100_000, ["not JSON"]),
        ("a.jsonl", b'{"a": "\xe9"}\n', ["not UTF-8", "0xe9 at offset 7 (line 1)"]),
        ("a.csv", b"\xef\xbb\xbfa\nx\n\xff\n", ["0xff at offset 7 (line 3)"]),
        ("a.csv", "a,b\n".encode("utf-16"), ["UTF-16"]),
        ("a.csv", b"a,b\n1,2\n3\n", ["line 3 has 1 cells, the header has 2"]),
        ("a.csv", b"a,a\n1,2\n", ["column twice: a"]),
        ("a.csv", b'a\n"x\n', ["line 2"]),
        ("a.csv", b"", ["no header"]),
        ("a.csv", b"a,b\n", ["no rows"]),
        ("a.json", b'{"a": 1}', ["neither a list of objects nor an object with a list `data`"]),
        ("a.json", b'{"x": [{}], "y": [{}]}', ["several lists of rows: x, y"]),
        ("a.json", b'[{"a": 1},\n 2 3]', ["not JSON: line 2"]),
        ("a.json", b'[{"a": 1}, 5]', ["entry 1 is a number, not an object"]),
        ("a.json", b"[]", ["no rows"]),
        ("a.jsonl.gz", b"plain", ["not a whole gzip file"]),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-3], ["not a whole gzip file"]),
        ("a.parquet", b"PAR1 no", ["not a Parquet file"]),
        ("a.parquet", b"", ["not a Parquet file"]),
        ("a.xlsx", b"x", ["unknown kind of file", ".jsonl"]),
        ("a.md", b" \n", ["no words"]),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    error = fault(name, tmp_path)
    for word in words:
        assert word in f"{error.message} | {error.hint}"
    assert name in error.message
    assert len(error.message) < 1000


def test_faults_of_columns_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"label": 1, "text": 2}\n')
    error = fault("a.jsonl", tmp_path, carry=["lable", "text", "nothing"])
    assert "`lable` (did you mean `label`?)" in error.message
    assert "`nothing`" in error.message
    assert "it has: label, text" in error.hint
    (tmp_path / "empty").mkdir()
    assert "without data or documents" in fault("empty", tmp_path).message
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "mixed" / "b.md").write_text("# B\n\nwords")
    assert "both data (a.jsonl) and documents (b.md)" in fault("mixed", tmp_path).message
    assert read("mixed", tmp_path, format="markdown")[0]["heading"] == "B"
    assert read("mixed", tmp_path, format="jsonl")[0] == {"a": 1}
    (tmp_path / "mixed" / "c.jsonl").write_text('{"b": 1}\n')
    assert "has other columns" in fault("mixed", tmp_path, format="jsonl").message
    assert "not a directory that `datasets` saved" in fault("mixed", tmp_path, format="dataset").message
    parquet.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    assert "no rows" in fault("none.parquet", tmp_path).message
    datasets.Dataset.from_dict({"a": []}).save_to_disk(tmp_path / "nothing")
    assert "no rows" in fault("nothing", tmp_path).message


def test_a_hub_name_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from factory.errors import UsageError\n"
        "from factory.recipe.axes import SourceConfig\n"
        "from factory.sources import read_source\n"
        "try:\n"
        f"    read_source(SourceConfig.model_validate('somebody/no-such-data'), Path({str(tmp_path)!r}))\n"
        "except UsageError as error:\n"
        "    print(error.message, '|', error.hint)\n"
    )
    environment = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "PATH": "",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "somebody/no-such-data" in done.stdout
    assert "cannot be fetched" in done.stdout
    assert 'save_to_disk("FOLDER")' in done.stdout
    assert len(done.stdout) < 1500


def test_a_hub_dataset_is_read_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*arguments: Any) -> datasets.DatasetDict:
        asked.append(arguments)
        return datasets.DatasetDict({"validation": datasets.Dataset.from_list(ROWS)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = read("openai/gsm8k", tmp_path, split="validation", config="main")
    assert [source[i] for i in range(3)] == ROWS
    assert asked == [("openai/gsm8k", "main")]
    assert source.name == "openai/gsm8k"
    assert "has no split `train`" in fault("squad", tmp_path).message


# Documents


words_of = str.split
documents = st.lists(
    st.sampled_from(["alpha", "b", "# c", "\n", "\n\n", "  ", "ü🙂", "\t", "- x", "`y`"]), max_size=60
).map(" ".join)


@given(documents, st.integers(1, 12), st.data())
def test_chunks_lose_no_word_and_overlap_as_asked(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    pieces = cut_words(text, size, overlap)
    rebuilt: list[str] = []
    for number, piece in enumerate(pieces):
        assert piece in text
        words = words_of(piece)
        assert 1 <= len(words) <= size
        if number:
            assert words[:overlap] == rebuilt[len(rebuilt) - overlap :]
            assert len(words) > overlap
        rebuilt += words[overlap if number else 0 :]
    assert rebuilt == words_of(text)


lines = st.sampled_from(
    [
        "# Top",
        "## Sub ##",
        "### Deep",
        "word other",
        "more",
        "",
        "```",
        "# in code",
        "Under",
        "===",
        "---",
        "- item",
        "#hash",
        "    # far",
    ]
)


@given(st.lists(lines, max_size=40), st.integers(1, 9))
def test_markdown_loses_no_word(parts: list[str], size: int) -> None:
    text = "\n".join(parts)
    chunks = cut_markdown(text, size, 0)
    assert [word for chunk in chunks for word in words_of(chunk.text)] == words_of(text)


def test_markdown_never_crosses_a_heading() -> None:
    text = """---
title: front matter
---
# Guide

## Install ##

Type this:

```sh
# not a heading
make install
```

Second
======
under two

### Empty
## Last
one two three four five
"""
    chunks = cut_markdown(text, 8, 2)
    assert [(chunk.heading, chunk.text) for chunk in chunks] == [
        ("", "---\ntitle: front matter\n---"),
        ("Install", "# Guide\n\n## Install ##\n\nType this:\n\n```sh"),
        ("Install", "this:\n\n```sh\n# not a heading\nmake install"),
        ("Install", "make install\n```"),
        ("Second", "Second\n======\nunder two"),
        ("Empty", "### Empty"),
        ("Last", "## Last\none two three four five"),
    ]


def test_text_without_spaces_is_cut_too() -> None:
    assert cut_words("東京都は日本の首都 yes", 4, 1) == ["東京都は", "は日本の", "の首都 yes"]


def test_documents_become_rows(tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "b.txt").write_bytes(b"one two\r\nthree four five")
    (tmp_path / "docs" / "deep" / "a.md").write_text("# Title\n\nbody")
    (tmp_path / "docs" / ".hidden.md").write_text("no")
    chunk = {"words": 3, "overlap": 1}
    source = read("docs", tmp_path, chunk=chunk)
    assert source.columns == ("text", "document", "chunk", "heading")
    assert [source[i] for i in range(len(source))] == [
        {"text": "one two\nthree", "document": "b.txt", "chunk": 0, "heading": ""},
        {"text": "three four five", "document": "b.txt", "chunk": 1, "heading": ""},
        {"text": "# Title\n\nbody", "document": "deep/a.md", "chunk": 0, "heading": "Title"},
    ]
    alone = read("docs/b.txt", tmp_path)
    assert alone[0] == {"text": "one two\nthree four five", "document": "b.txt", "chunk": 0}
    assert len(alone) == 1


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeff# comment\r\n one \r\n\r\ntwo\u2028still two\n".encode())
    assert read_lines(tmp_path / "a.txt") == ["one", "two\u2028still two"]
    (tmp_path / "b.txt").write_text("# only\n\n")
    with pytest.raises(UsageError, match="no entries"):
        read_lines(tmp_path / "b.txt")
