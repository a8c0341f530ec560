"""Data as a stream: every format gives the same rows with their types, memory stays bounded, every fault is told."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import environment

from factory.duplicates import conversation_text
from factory.errors import UsageError
from factory.sources import read_table, streaming_lines, streaming_parts
from factory.sources.streaming import open_stream, texts
from factory.sources.streaming_lines import jsonl_chunks
from factory.sources.streaming_texts import check_text_columns, only_text_column, values_as_text

ROWS = [
    {"id": 1, "text": "one", "share": 0.5},
    {"id": 2, "text": "zwei äöü 🙂", "share": 1.25},
    {"id": 3, "text": 'three, "quoted"\nline', "share": 2.0},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def table_of(data: Any, **options: Any) -> pa.Table:
    return pa.concat_tables([batch.table for batch in open_stream(data, **options)])


def fault(data: Any, **options: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        for _ in open_stream(str(data), **options):
            pass
    return caught.value


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


FILES: dict[str, str] = {
    "a.jsonl": LINES,
    "a.ndjson": LINES.replace("\n", "\r\n").rstrip(),
    "blank.jsonl": "\ufeff\n" + LINES.replace("\n", "\n\n  \n"),
    "lines.json": LINES,
    "a.json": json.dumps(ROWS),
    "data.json": json.dumps({"version": 1, "data": ROWS}),
    "pretty.json": json.dumps(ROWS, indent=2),
    "a.csv": "\ufeff" + as_csv(ROWS),
    "a.tsv": as_csv(ROWS, "\t"),
}


@pytest.mark.parametrize("name", [*FILES, *(f"{name}.gz" for name in FILES)])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_every_text_format_gives_the_same_rows_and_types(tmp_path: Path, name: str, rows: int) -> None:
    raw = FILES[name.removesuffix(".gz")].encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    stream = open_stream(str(path), batch_rows=rows)
    assert stream.rows == 3 and stream.columns == ("id", "text", "share") and stream.skipped == 0
    batches = list(stream)
    assert all(batch.table.num_rows <= rows for batch in batches)
    assert [batch.table.column("id")[0].as_py() - 1 for batch in batches] == [batch.first for batch in batches]
    found = pa.concat_tables([batch.table for batch in batches])
    assert found.to_pylist() == ROWS == read_table(path)
    assert found.schema.types == [pa.int64(), pa.string(), pa.float64()]
    assert [batch.table for batch in stream] == [batch.table for batch in batches], "it can be walked again"


def test_what_is_kept_as_text_is_told(tmp_path: Path) -> None:
    lines = '{"a": 1, "b": [{"c": 1}], "d": "x"}\n{"a": "one", "b": [{"c": "x"}], "d": null}\n'
    notes = open_stream(str(_written(tmp_path / "a.jsonl", lines))).notes
    assert notes == ("values of several types are kept as text in `a`, `b[].c`",)


def test_parquet_keeps_its_schema_to_the_letter(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("t", pa.large_string(), nullable=False, metadata={"is": "text"}),
            pa.field("when", pa.timestamp("us", tz="Europe/Berlin")),
            pa.field("price", pa.decimal128(9, 2)),
            pa.field("kind", pa.dictionary(pa.int32(), pa.string())),
            pa.field("raw", pa.binary()),
            pa.field("turns", pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("n", pa.int8())]))),
            pa.field("nothing", pa.null()),
        ],
        metadata={"made": "by hand"},
    )
    when = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
    rows = [
        {"t": f"text {k}", "when": when, "price": decimal.Decimal(k) / 4, "kind": "ab"[k % 2], "raw": bytes([k]),
         "turns": [{"role": "user", "n": k}], "nothing": None}
        for k in range(25)
    ]  # fmt: skip
    parquet.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "a.parquet", row_group_size=10)
    stream = open_stream(str(tmp_path / "a.parquet"), batch_rows=7)
    assert stream.schema.equals(parquet.read_schema(tmp_path / "a.parquet"), check_metadata=True)
    assert all(batch.table.num_rows <= 7 for batch in stream)
    assert all(batch.table.column("t")[0].as_py() == f"text {batch.first}" for batch in stream)
    assert table_of(str(tmp_path / "a.parquet"), batch_rows=7) == parquet.read_table(tmp_path / "a.parquet")


def test_large_rows_come_fewer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_parts, "BATCH_BYTES", 1 << 20)
    monkeypatch.setattr(streaming_lines, "BLOCK", 1 << 17)
    rows = [{"text": "x" * 50_000 + str(k)} for k in range(30)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert max(batch.table.num_rows for batch in open_stream(str(tmp_path / "a.parquet"))) <= 21
    assert max(batch.table.num_rows for batch in open_stream(str(tmp_path / "a.jsonl"))) <= 3
    assert table_of(str(tmp_path / "a.jsonl")).to_pylist() == rows == table_of(str(tmp_path / "a.parquet")).to_pylist()


@pytest.mark.parametrize("held", [0, 1 << 27])
def test_one_walk_or_two_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """Tables are kept from the first walk where they are small and their columns did not change on the way."""
    walks: list[int] = []
    monkeypatch.setattr(streaming_parts, "HELD_BYTES", held)
    monkeypatch.setitem(streaming_parts._READERS, "jsonl", lambda *a: (walks.append(1), jsonl_chunks(*a))[1])
    path = _written(tmp_path / "a.jsonl", "".join(json.dumps({"n": k, "t": str(k)}) + "\n" for k in range(9)))
    assert table_of(str(path), batch_rows=2).column("n").to_pylist() == list(range(9))
    assert len(walks) == (1 if held else 2)
    path.write_text(path.read_text() + '{"n": 0.5, "t": "x"}\n')
    assert table_of(str(path), batch_rows=2).column("n").to_pylist() == [*map(float, range(9)), 0.5]
    assert len(walks) == (2 if held else 4)
    path.write_text(path.read_text() + '{"n": "x", "t": "x"}\n')
    assert table_of(str(path), batch_rows=2).column("n").to_pylist() == [*map(str, range(9)), "0.5", "x"]
    assert len(walks) == (4 if held else 6)


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([1, "two", 3.5, None, True], pa.string(), ["1", "two", "3.5", None, "true"]),
        ([None, None, "x"], pa.string(), [None, None, "x"]),
        ([None, None], pa.null(), [None, None]),
        ([2**63, 0], pa.uint64(), [2**63, 0]),
        ([2**63, -1], pa.string(), [str(2**63), "-1"]),
        ([2**60, 0.5], pa.string(), [str(2**60), "0.5"]),
        ([True, 1], pa.string(), ["true", "1"]),
        ([{"a": 1}, {"b": "x"}, None], pa.struct([("a", pa.int64()), ("b", pa.string())]),
         [{"a": 1, "b": None}, {"a": None, "b": "x"}, None]),
        ([{"a": {"b": 1}}, {"a": {"b": 1.5, "c": [1]}}],
         pa.struct([("a", pa.struct([("b", pa.float64()), ("c", pa.list_(pa.int64()))]))]),
         [{"a": {"b": 1.0, "c": None}}, {"a": {"b": 1.5, "c": [1]}}]),
        ([{"a": 1}, {"a": "x"}], pa.struct([("a", pa.string())]), [{"a": "1"}, {"a": "x"}]),
        ([{}, {}], pa.string(), ["{}", "{}"]),
        ([{"a": {}}, {}], pa.struct([("a", pa.string())]), [{"a": "{}"}, {"a": None}]),
        ([[], [1], [None, 2.5]], pa.list_(pa.float64()), [[], [1.0], [None, 2.5]]),
        ([[1], "x", {"ä": None}], pa.string(), ["[1]", "x", '{"ä": null}']),
        ([[[1], []], [None]], pa.list_(pa.list_(pa.int64())), [[[1], []], [None]]),
        (["2024-05-01", "2024-05-02"], pa.string(), ["2024-05-01", "2024-05-02"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [1, 10])
def test_types_are_found_over_the_whole_stream(
    tmp_path: Path, values: list[Any], kind: pa.DataType, kept: list[Any], rows: int
) -> None:
    """Whatever comes first, and wherever a batch ends."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"k": k, "v": value}) + "\n" for k, value in enumerate(values)))
    found = table_of(str(path), batch_rows=rows)
    assert found.schema.field("v").type == kind
    assert found.column("v").to_pylist() == kept
    parquet.write_table(found, tmp_path / "a.parquet")
    assert parquet.read_table(tmp_path / "a.parquet").column("v").to_pylist() == kept


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), min_size=1, max_size=8), st.integers(1, 9))
def test_any_json_becomes_a_table_whatever_the_batches(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], at_once: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text("".join(json.dumps({"n": k, **row}) + "\n" for k, row in enumerate(rows)))
    whole, parts = table_of(str(path)), table_of(str(path), batch_rows=at_once)
    assert whole.schema == parts.schema and whole.to_pylist() == parts.to_pylist()
    assert whole.column("n").to_pylist() == list(range(len(rows)))
    for row, kept in zip(rows, whole.to_pylist(), strict=True):
        for name, value in row.items():
            if value is None or isinstance(value, str):
                assert kept[name] == value
    parquet.write_table(whole, path.with_suffix(".parquet"))
    assert parquet.read_table(path.with_suffix(".parquet")).to_pylist() == whole.to_pylist()


def test_csv_columns_are_numbers_only_where_nothing_is_lost(tmp_path: Path) -> None:
    cells = "zip,n,share,big,word,hole\n007,1,1.5,9007199254740993,a,\n12,,2,0.5,,\n3,-3,0.25,1,b,\n"
    (tmp_path / "a.csv").write_text(cells)
    found = table_of(str(tmp_path / "a.csv"), batch_rows=1)
    assert found.schema.types == [
        pa.string(), pa.int64(), pa.float64(), pa.string(), pa.string(), pa.string()
    ]  # fmt: skip
    assert found.column("n").to_pylist() == [1, None, -3] and found.column("word").to_pylist() == ["a", "", "b"]
    assert found.column("zip").to_pylist() == ["007", "12", "3"] and found.column("hole").to_pylist() == ["", "", ""]


def test_what_only_pythons_json_reads_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"t": "a", "x": NaN}\n{"t": "\\ud800b", "x": 1.5}\n')
    assert table_of(str(tmp_path / "a.jsonl")).to_pylist() == [{"t": "a", "x": None}, {"t": "\ufffdb", "x": 1.5}]


BROKEN: dict[str, tuple[bytes, str, int]] = {
    "json.jsonl": (b'{"t": "a"}\n{"t": \n{"t": "b"}\n', "line 2 is not JSON", 1),
    "list.jsonl": (b'{"t": "a"}\n\n[1]\n"x"\n{"t": "b"}', "line 3 is a list, not an object", 2),
    "joined.jsonl": (b'{"t": "a"} {"t": "x"}\n{"t": "a"}\n{"t": "b"}\n', "line 1 is not JSON", 1),
    "latin.jsonl": (b'{"t": "a"}\n{"t": "\xe4"}\n{"t": "b"}\n', "line 2 is not UTF-8: byte 0xe4", 1),
    "cells.csv": (b"t,u\na,1\nx\ny,2,3\nb,2\n", "line 3 has 1 cells, the header has 2", 2),
    "latin.csv": (b"t,u\na,1\n\xe4,1\nb,2\n", "line 3 is not UTF-8", 1),
    "quote.csv": (b't,u\na,1\nb,2\n"x"y,3\n', "line 4", 1),
    "open.csv": (b't,u\na,1\nb,2\n"x,3\nz,4\n', "line 5: unexpected end of data", 1),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("rows", [1, 100])
def test_a_bad_line_is_told_or_left_out(tmp_path: Path, name: str, rows: int) -> None:
    content, told, count = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    error = fault(tmp_path / name, batch_rows=rows)
    assert told in error.message and name in error.message and "--skip-bad" in error.hint
    stream = open_stream(str(tmp_path / name), skip_bad=True, batch_rows=rows)
    assert stream.skipped == count and stream.rows == 2
    assert [row["t"] for batch in stream for row in batch.table.to_pylist()] == ["a", "b"]
    assert any(told in note and "left out" in note for note in stream.notes)


def _truncated_gzip(path: Path) -> None:
    text = as_csv(ROWS * 99) if ".csv" in path.name else LINES * 99
    path.write_bytes(gzip.compress(text.encode())[:-12])


def _flipped_gzip(path: Path) -> None:
    raw = bytearray(gzip.compress(LINES.encode() * 99))
    raw[-6] ^= 0xFF
    path.write_bytes(raw)


def _truncated_parquet(path: Path) -> None:
    parquet.write_table(pa.table({"text": ["a"] * 100}), path)
    path.write_bytes(path.read_bytes()[:-30])


def _damaged_parquet(path: Path) -> None:
    parquet.write_table(pa.table({"text": [str(k) for k in range(9999)]}), path, compression="zstd")
    raw = bytearray(path.read_bytes())
    raw[200:2000] = bytes(1800)
    path.write_bytes(raw)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.xyz").write_text("no data")


def _documents(path: Path) -> None:
    path.mkdir()
    (path / "chapter.md").write_text("# One")


FAULTS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "empty.jsonl": (lambda path: path.write_bytes(b""), ("the file is empty",)),
    "blank.jsonl": (lambda path: path.write_bytes(b"\n \n"), ("no rows",)),
    "header.csv": (lambda path: path.write_bytes(b"a,b\n"), ("no rows",)),
    "twice.csv": (lambda path: path.write_bytes(b"a,a\n1,2\n"), ("the header has a column twice: a",)),
    "empty.json": (lambda path: path.write_bytes(b"[]"), ("no rows",)),
    "empty.parquet": (lambda path: parquet.write_table(pa.table({"a": pa.array([], "int8")}), path), ("no rows",)),
    "utf16.jsonl": (lambda path: path.write_bytes(LINES.encode("utf-16")), ("UTF-16", "iconv")),
    "utf16.csv": (lambda path: path.write_bytes("a,b\n1,2\n".encode("utf-16-le")), ("not UTF-8", "iconv")),
    "cut.jsonl.gz": (_truncated_gzip, ("not a whole gzip file", "download it again")),
    "flipped.jsonl.gz": (_flipped_gzip, ("not a whole gzip file", "download it again")),
    "cut.csv.gz": (_truncated_gzip, ("not a whole gzip file",)),
    "no.jsonl.gz": (lambda path: path.write_text(LINES), ("not a whole gzip file",)),
    "cut.parquet": (_truncated_parquet, ("not a whole Parquet file", "download it again")),
    "damaged.parquet": (_damaged_parquet, ("not a whole Parquet file",)),
    "text.parquet": (lambda path: path.write_text(LINES), ("not a whole Parquet file",)),
    "broken.json": (lambda path: path.write_text('[{"a": 1}, '), ("not JSON",)),
    "rows.xyz": (lambda path: path.write_text(LINES), ("unknown kind of file", "known endings: .jsonl")),
    "book.txt": (lambda path: path.write_text("words"), ("is a document, not rows",)),
    "folder": (_folder, ("a folder with no data", "data files end in .jsonl")),
    "documents": (_documents, ("a folder with documents (chapter.md, …) and no data",)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, name: str) -> None:
    make, parts = FAULTS[name]
    make(tmp_path / name)
    error = fault(tmp_path / name)
    for part in (*parts, name):
        assert part in f"{error.message} {error.hint}"


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(LINES)
    assert "did you mean `rows.jsonl`?" in fault(tmp_path / "row.jsonl").hint
    assert "all 3 were bad" in fault(_written(tmp_path / "bad.jsonl", "1\n2\n3\n"), skip_bad=True).message


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_missing_column_names_the_nearest_and_all(tmp_path: Path) -> None:
    stream = open_stream(str(_written(tmp_path / "a.jsonl", LINES)))
    with pytest.raises(UsageError) as caught:
        stream.check_columns(["txt"])
    assert "did you mean `text`?" in caught.value.message and "it has: id, text, share" in caught.value.hint
    with pytest.raises(UsageError, match=r"the column `id` holds numbers \(int64\), no text"):
        check_text_columns(stream.schema, ["id"], "a.jsonl")
    assert only_text_column(stream.schema, "a.jsonl") == "text"
    with pytest.raises(UsageError, match="which column holds the text"):
        only_text_column(pa.schema([("a", pa.string()), ("b", pa.string())]), "x")


def test_directories_that_datasets_saved(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    train = datasets.Dataset.from_list([{"text": f"t{k}", "label": k % 2} for k in range(25)], features=features)
    train.save_to_disk(str(tmp_path / "one"))
    split = datasets.DatasetDict({"train": train, "test": train.select(range(24, 4, -2))})
    split.save_to_disk(str(tmp_path / "many"))
    stream = open_stream(str(tmp_path / "one"), batch_rows=10)
    assert stream.rows == 25 and [batch.first for batch in stream] == [0, 10, 20]
    assert datasets.Features.from_arrow_schema(stream.schema) == features
    test = table_of(str(tmp_path / "many"), split="test")
    assert test.column("text").to_pylist() == [f"t{k}" for k in range(24, 4, -2)]
    error = fault(tmp_path / "many", split="tests")
    assert "did you mean `test`?" in error.message and "it has: train, test" in error.hint


def test_folders_take_the_split_and_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in (("train-1", "a"), ("train-0", "b"), ("test-0", "c")):
        parquet.write_table(pa.table({"text": [text]}), folder / f"{name}.parquet")
    stream = open_stream(str(folder))
    assert [text for batch in stream for text in batch.table.column("text").to_pylist()] == ["b", "a"]
    assert any("files left aside: 1" in note for note in stream.notes)
    assert table_of(str(folder), split="test").column("text").to_pylist() == ["c"]
    assert "no file of the split `validation`" in fault(folder, split="validation").message


def test_several_files_make_one_table(tmp_path: Path) -> None:
    first = _written(tmp_path / "a.jsonl", '{"text": "a", "n": 1}\n')
    second = _written(tmp_path / "b.csv", "text,n,more\nb,2.5,x\n")
    third = tmp_path / "c.parquet"
    parquet.write_table(pa.table({"n": [7], "text": ["c"]}), third)
    stream = open_stream([str(first), str(second), str(third)])
    assert stream.rows == 3 and stream.columns == ("text", "n", "more")
    found = [row for batch in stream for row in batch.table.to_pylist()]
    assert found == [
        {"text": "a", "n": 1.0, "more": None},
        {"text": "b", "n": 2.5, "more": "x"},
        {"text": "c", "n": 7.0, "more": None},
    ]
    assert [batch.first for batch in stream] == [0, 1, 2]
    assert any("a.jsonl has no `more`" in note for note in stream.notes)
    with pytest.raises(UsageError, match=r"a\.jsonl has no column `more`"):
        stream.check_columns(["more"])
    mixed = open_stream([str(first), str(_written(tmp_path / "d.jsonl", '{"text": "d", "n": "x"}\n'))])
    assert [row["n"] for batch in mixed for row in batch.table.to_pylist()] == ["1", "x"]
    parquet.write_table(pa.table({"n": [[7]], "text": ["c"]}), third)
    with pytest.raises(UsageError, match="do not make one table"):
        open_stream([str(first), str(third)])


def test_the_limit_is_of_all_data_and_nothing_past_it_is_read(tmp_path: Path) -> None:
    first = str(_written(tmp_path / "a.jsonl", LINES + '{"broken\n'))
    second = str(_written(tmp_path / "b.jsonl", LINES))
    assert table_of(first, limit=2, batch_rows=1).column("id").to_pylist() == [1, 2]
    assert table_of([second, second], limit=5).column("id").to_pylist() == [1, 2, 3, 1, 2]
    assert open_stream([second, first], limit=3).rows == 3, "the broken line is not reached"
    parquet.write_table(pa.table({"text": ["x"] * 10}), tmp_path / "a.parquet")
    stream = open_stream([str(tmp_path / "a.parquet")] * 2, limit=12)
    assert stream.rows == 12 and sum(batch.table.num_rows for batch in stream) == 12


STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process is read from /proc")
def test_a_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """What a process grows by while it walks, twice, over a file that is larger."""
    path = tmp_path / "big.jsonl"
    line = json.dumps({"text": "some words of a text " * 50, "n": 1}) + "\n"
    path.write_text(line * 150_000)
    code = (
        "import re, sys\n"
        "import pyarrow, numpy, orjson\n"
        "from factory.sources import streaming_parts\n"
        "from factory.sources.streaming import open_stream\n"
        "def peak():\n"  # not of getrusage, which begins with that of the parent
        f"    return int(re.search(r'VmHWM:\\s+(\\d+)', open('{STATUS}').read())[1]) >> 10\n"
        "streaming_parts.HELD_BYTES = 1 << 24\n"
        "before = peak()\n"
        "rows = sum(batch.table.num_rows for batch in open_stream(sys.argv[1]))\n"
        "print(rows, peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows, grown = map(int, done.stdout.split())
    assert rows == 150_000 and 20 < grown < 125 < path.stat().st_size >> 20, f"{grown} MB more"


class Hub:
    """What `datasets.load_dataset` gives without a network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any):
        self.asked: list[Any] = []
        self.answer = answer
        monkeypatch.setattr(datasets, "load_dataset", self)

    def __call__(self, name: str, config: str | None = None, **options: Any) -> Any:
        self.asked.append((name, config, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("known", [True, False])
def test_a_hub_dataset_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.chdir(tmp_path)
    features = datasets.Features({"text": datasets.Value("string"), "n": datasets.Value("int8")})

    def rows() -> Any:
        for k in range(2500):
            yield {"text": f"text {k}", "n": k % 100}

    train = datasets.IterableDataset.from_generator(rows, features=features if known else None)
    hub = Hub(monkeypatch, datasets.IterableDatasetDict({"train": train}))
    stream = open_stream("owner/name", batch_rows=1000, config="main")
    assert hub.asked == [("owner/name", "main", {"streaming": True})]
    assert stream.rows is None and [batch.first for batch in stream] == [0, 1000, 2000]
    assert stream.schema.field("n").type == (pa.int8() if known else pa.int64())
    assert next(iter(stream)).table.column("text")[7].as_py() == "text 7"
    assert sum(batch.table.num_rows for batch in open_stream("owner/name", limit=1200)) == 1200
    with pytest.raises(UsageError, match="has no split `test`"):
        open_stream("owner/name", split="test")


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (ConnectionError("Couldn't reach 'owner/name' on the Hub (offline)"), ("cannot be fetched", "FOLDER")),
        (datasets.exceptions.DatasetNotFoundError("Dataset 'owner/name' doesn't exist"), ("no such dataset", "FOLDER")),
        (ValueError("Config name is missing.\nPlease pick one among: ['main', 'socratic']"), ("socratic", "--config")),
    ],
)
def test_a_hub_name_out_of_reach_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, parts: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Hub(monkeypatch, error)
    told = fault("owner/name")
    for part in (*parts, "owner/name"):
        assert part in f"{told.message} {told.hint}"


def test_texts_of_one_column_are_arrows_own(tmp_path: Path) -> None:
    table = pa.table({"a": ["x", None, "z"], "b": ["1", "2", None]})
    assert texts(table, ["b"]).to_pylist() == ["1", "2", ""] and texts(table, ["b"]).null_count == 0
    assert texts(table, ["a", "b"]).to_pylist() == ["x\n1", "\n2", "z\n"]
    assert texts(table.slice(1, 2), ["a"]).to_pylist() == ["", "z"]
    whole = pa.table({"a": ["x", "y"]})
    assert texts(whole, ["a"]).buffers()[2].address == whole.column("a").chunk(0).buffers()[2].address, "no copy"
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        assert texts(pa.table({"a": pa.array(["x", None, "y"]).cast(kind)}), ["a"]).to_pylist() == ["x", "", "y"]
    mixed = pa.table({"a": pa.array(["x"], pa.large_string()), "b": ["y"]})
    assert texts(mixed, ["a", "b"]).to_pylist() == ["x\ny"]
    for column in ([1], [1.5], [True], [b"x"], [[1]]):
        with pytest.raises(UsageError, match="no text"):
            texts(pa.table({"a": column}), ["a"], conversation_text)


TURN = st.fixed_dictionaries({"role": st.none() | st.just("user"), "content": st.none() | st.text(max_size=4)})
SHAREGPT = st.fixed_dictionaries({"from": st.just("human"), "value": st.none() | st.text(max_size=4)})


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([TURN, SHAREGPT]), st.integers(0, 3))
def test_conversations_by_their_buffers_are_as_one_by_one(data: st.DataObject, turn: Any, cut: int) -> None:
    rows = data.draw(st.lists(st.none() | st.lists(st.none() | turn, max_size=3), min_size=1, max_size=6))
    names = ["role", "content"] if turn is TURN else ["from", "value"]
    kind = pa.list_(pa.struct([pa.field(name, pa.string()) for name in names]))
    table = pa.table({"messages": pa.array(rows, kind)}).slice(cut)
    found = texts(table, ["messages"])
    assert found.to_pylist() == [conversation_text(row) for row in table.column("messages").to_pylist()]


def test_other_conversations_go_through_the_one_function() -> None:
    rows = [
        [{"role": "user", "content": [{"type": "text", "text": "hello"}], "tool_calls": None}],
        [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
        None,
    ]
    table = pa.table({"m": pa.array(rows)})
    assert texts(table, ["m"], conversation_text).to_pylist() == [conversation_text(r) for r in table["m"].to_pylist()]
    assert texts(pa.table({"m": [["a", "b"], ["c"]]}), ["m"], conversation_text).to_pylist() == ["a\nb", "c"]
    with pytest.raises(UsageError, match="no text"):
        texts(table, ["m"])


def test_values_that_tell_rows_apart() -> None:
    table = pa.table({"n": [1, 2, None], "f": [1.0, 2.5, None], "t": ["", "x", None], "l": [[1], [], None]})
    assert values_as_text(table, "n") == ["=1", "=2", ""] and values_as_text(table, "f") == ["=1", "=2.5", ""]
    assert values_as_text(table, "t") == ["=", "=x", ""] and len(set(values_as_text(table, "l"))) == 3


def test_blocks_of_any_size_cut_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _written(tmp_path / "a.jsonl", LINES * 7)
    for size in (5, 13, 64, 1000):
        monkeypatch.setattr(streaming_lines, "BLOCK", size)
        assert table_of(str(path)).to_pylist() == ROWS * 7
