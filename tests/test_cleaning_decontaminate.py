"""`factory decontaminate`: on files as users have them, through the command and from Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_test_sets import ANSWERS, CLEAN, QUESTIONS, write_test_set
from support import factory, factory_json

from factory.cleaning.decontaminating import Suspects, decontaminate
from factory.decontamination import Hit
from factory.decontamination.columns import row_texts
from factory.decontamination.embedding import build_vectors, nearest, open_vectors, units
from factory.decontamination.questions import nearest_questions
from factory.errors import UsageError
from factory.test_sets.vectors import vectors_of


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The test set; its index is built once for the module."""
    monkeypatch.setenv("FACTORY_CACHE", str(_cache))
    path = _cache / "ferry.jsonl"
    yield path if path.exists() else write_test_set(_cache)


def write_data(folder: Path, *leaks: str, column: str = "text") -> Path:
    path = folder / "data.jsonl"
    rows = [{"id": number, column: text} for number, text in enumerate((*CLEAN, *leaks))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def removed(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "removed.parquet").to_pylist()


def test_rows_that_overlap_fall_and_say_what_they_overlap(tmp_path: Path, bench: Path) -> None:
    longer = f"Here is something to think about on the train. {QUESTIONS[1]} Take your time, and show all steps."
    told = factory_json("decontaminate", write_data(tmp_path, QUESTIONS[0], longer), "--against", bench, "--out",
                        tmp_path / "out")  # fmt: skip
    assert told["rows"] == len(CLEAN) + 2 and told["contaminated"] == 2
    assert told["by_benchmark"] == {"ferry": 2} and told["out"] == str(tmp_path / "out") and told["seconds"] > 0
    kept = datasets.load_dataset("parquet", data_files=str(tmp_path / "out" / "kept.parquet"), split="train",
                                 cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert kept["text"] == list(CLEAN) and kept.column_names == ["id", "text"]
    first, second = removed(tmp_path / "out")
    assert (first["row"], first["benchmark"], first["benchmark_row"]) == (6, "ferry", 0)
    assert (second["row"], second["benchmark_row"], second["column"]) == (7, 1, "text")
    assert first["layer"] == "ngram" and first["part"] in ("question", "row")
    assert first["span"] in QUESTIONS[0] and second["span"] in longer and len(second["span"]) > 80
    assert 0 < second["score"] <= 1 and json.loads(second["hits"])[0]["benchmark_row"] == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["contaminated"] == 2 and summary["command"] == "decontaminate"


def test_flagged_rows_stay(tmp_path: Path, bench: Path) -> None:
    data = write_data(tmp_path, QUESTIONS[2])
    done = factory("decontaminate", data, "--against", bench, "--out", tmp_path / "out", "--mode", "flag")
    assert done.returncode == 0 and "1 flagged, 6 clean" in done.stdout and "found by ngram: 1" in done.stdout
    rows = pq.read_table(tmp_path / "out" / "kept.parquet").to_pylist()
    assert [row["contamination"] is not None for row in rows] == [False] * 6 + [True]
    assert json.loads(rows[-1]["contamination"])[0]["benchmark"] == "ferry" and removed(tmp_path / "out") == []


def test_a_leaked_answer_is_a_leak_and_turns_are_compared_each(tmp_path: Path, bench: Path) -> None:
    turns = [{"role": "user", "content": CLEAN[0]}, {"role": "assistant", "content": ANSWERS[4]}]
    clean = [{"role": "user", "content": CLEAN[1]}, {"role": "assistant", "content": "447"}]
    path = tmp_path / "chat.parquet"
    pq.write_table(pa.table({"messages": [clean, turns], "n": [1, 2]}), path)
    told = decontaminate(Suspects((str(path),), (str(bench),)), out=tmp_path / "out").summary
    (row,) = removed(tmp_path / "out")
    assert told["columns"] == ["messages"] and told["contaminated"] == 1
    assert (row["row"], row["part"], row["column"]) == (1, "answer", "messages[1]")
    assert row["messages"] == turns


def test_which_fields_of_the_test_set_count(tmp_path: Path, bench: Path) -> None:
    rows = [{"stem": QUESTIONS[0], "key": "447", "note": CLEAN[0]}, {"stem": QUESTIONS[1], "key": "168", "note": "x"}]
    odd = tmp_path / "odd.jsonl"
    odd.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = write_data(tmp_path, QUESTIONS[0])
    told = factory_json("decontaminate", data, "--against", odd, "--against-column", "stem", "--against-column",
                        "answer=key", "--out", tmp_path / "out")  # fmt: skip
    assert told["contaminated"] == 1
    fault = factory_json("decontaminate", data, "--against", odd, "--against-column", "stm", "--out", tmp_path / "o2",
                         code=2)["error"]  # fmt: skip
    assert "stm" in fault["message"] and "stem" in fault["message"] + fault["hint"]
    with pytest.raises(UsageError, match="ansr=key"):
        decontaminate(Suspects((str(data),), (str(odd),), against_columns=("ansr=key",)), out=tmp_path / "o3")


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (["--against", "gsm9k"], 2, "gsm9k"),
        (["--against", "nothing.jsonl"], 2, "no such file: nothing.jsonl"),
        (["--column", "txt"], 2, "txt"),
        (["--column", "id"], 2, "holds numbers"),
        (["--fpr", "0.5"], 2, "calibrated"),
        (["--layer", "ngrams"], 2, "no layer `ngrams`"),
        (["--mode", "mark"], 2, "--mode mark"),
        (["--model", "openai/text-embedding-3-small"], 2, "asks no server"),
    ],
)
def test_bad_input(tmp_path: Path, bench: Path, changes: list[str], code: int, message: str) -> None:
    data = write_data(tmp_path)
    given = [*(["--against", str(bench)] if "--against" not in changes else []), *changes]
    fault = factory_json("decontaminate", data, *given, "--out", tmp_path / "out", code=code)["error"]
    assert message in fault["message"] and fault["hint"]
    assert not (tmp_path / "out").exists()


def test_a_column_called_like_the_mark(tmp_path: Path, bench: Path) -> None:
    data = write_data(tmp_path, column="contamination")
    with pytest.raises(UsageError, match="has a column `contamination` already"):
        decontaminate(Suspects((str(data),), (str(bench),), mode="flag"), out=tmp_path / "out")


def test_a_broken_line_and_what_is_skipped(tmp_path: Path, bench: Path) -> None:
    data = write_data(tmp_path, QUESTIONS[3])
    data.write_text(data.read_text() + "{broken\n")
    wanted = Suspects((str(data),), (str(bench),))
    with pytest.raises(UsageError, match="line 8"):
        decontaminate(wanted, out=tmp_path / "out")
    told = decontaminate(Suspects((str(data),), (str(bench),), skip_bad=True), out=tmp_path / "out").summary
    assert (told["skipped"], told["rows"], told["contaminated"]) == (1, 7, 1)


def test_the_turns_of_a_row() -> None:
    fields = {
        "text": "a",
        "chat": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}],
        "tags": None,
    }
    assert row_texts(fields, ("text", "chat", "tags")) == {"text": "a", "chat[0]": "b", "chat[1]": "c", "tags": ""}


def unit(*numbers: float) -> Any:
    return units(np.array([numbers], dtype=np.float32))[0]


def test_vectors_find_the_nearest_question_above_its_threshold(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    known, neutral = rng.normal(size=(300, 24)), rng.normal(size=(500, 24))
    made = build_vectors("ferry", "m", np.arange(300) + 7, known.astype(np.float32), neutral.astype(np.float32))
    made.save(tmp_path / "v")
    opened = open_vectors(tmp_path / "v")
    asked = np.concatenate([known[[5]] * 3 + 0.01, neutral[[0]], np.zeros((1, 24))]).astype(np.float32)
    hits = nearest_questions(opened, asked, 0.001)
    assert hits[0] == Hit("ferry", 12, "question", "", "embedding", hits[0].score, "") and hits[0].score > 0.99
    assert hits[1:] == [None, None]
    among = (units(known.astype(np.float32)) @ units(known.astype(np.float32)).T) - 2 * np.eye(300)
    assert opened.thresholds[0.01] >= np.quantile(among.max(axis=1), 0.99) - 1e-4
    assert opened.thresholds[0.0001] > opened.thresholds[0.001] > opened.thresholds[0.01]
    with pytest.raises(UsageError, match="24 numbers, now they have 3"):
        opened.nearest(np.ones((1, 3), dtype=np.float32))
    (tmp_path / "v" / "vectors.json").write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        open_vectors(tmp_path / "v")


def test_the_nearest_do_not_hang_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    known, asked = (units(rng.normal(size=(n, 8)).astype(np.float32)) for n in (50, 33))
    whole = nearest(asked, known)
    monkeypatch.setattr("factory.decontamination.embedding.BLOCK", 150)
    parts = nearest(asked, known)
    assert (whole[0] == parts[0]).all() and (whole[1] == parts[1]).all()
    brute = np.round(asked.astype(np.float64) @ known.T.astype(np.float64), 5).argmax(axis=1)
    assert (whole[0] == brute).mean() > 0.95  # ties behind the fifth digit apart
    assert nearest(known, known)[1].min() > 0.9999 > nearest(known, known, apart=True)[1].max()


def test_vectors_are_kept_and_asked_for_by_name(bench: Path) -> None:
    asked: list[int] = []

    def embed(texts: Any, what: str) -> Any:
        asked.append(len(texts))
        return [[float(len(text)), float(text.count("e")), 1.0] for text in texts]

    with pytest.raises(UsageError, match="not embedded by `own/m` here") as caught:
        vectors_of(str(bench), Path(), "own/m")
    assert "factory benchmarks index" in caught.value.hint and "--model own/m" in caught.value.hint
    made = vectors_of(str(bench), Path(), "own/m", embed=embed)
    assert len(made.vectors) == len(QUESTIONS) and asked[0] == len(QUESTIONS) and len(asked) == 2
    again = vectors_of(str(bench), Path(), "own/m")
    assert (again.vectors == made.vectors).all() and len(asked) == 2
