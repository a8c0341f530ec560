"""The filter `decontaminate`, through whole runs: the cascade, flags, embeddings, a judge for what is in between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from judge_server import JudgeServer, everything
from measuring_server import MeasuringServer, letters
from small_test_sets import CLEAN, QUESTIONS, write_test_set
from support import factory as command
from support import parquet_hashes, write_recipe

import factory
from factory.decontamination import Cascade, Hit
from factory.errors import RecipeError
from factory.filters import Drop, Item, compile_filters
from factory.recipe import PluginConfig
from factory.test_sets.vectors import vectors_of

TEXTS = (QUESTIONS[0], CLEAN[0], f"Think of this. {QUESTIONS[2]} Show your work.", CLEAN[3])


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FACTORY_CACHE", str(_cache))
    path = _cache / "ferry.jsonl"
    yield path if path.exists() else write_test_set(_cache)


def recipe(folder: Path, bench: Path, *, texts: Sequence[str] = TEXTS, models: Any = None, **options: Any) -> Path:
    """One row for each text, written as it is."""
    (folder / "texts.jsonl").write_text("".join(json.dumps({"said": text}) + "\n" for text in texts))
    return write_recipe(
        folder,
        rows="all",
        vary=None,
        **{"from": {"path": "texts.jsonl"}},
        prompt="{{ source.said }}",
        models={"writer": {"backend": "echo", "max_tokens": 500}, **(models or {})},
        filter=[{"decontaminate": {"against": [str(bench)], **options}}],
    )


def rejects(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "rejects.parquet").to_pylist()


def kept(result: factory.Result) -> list[str]:
    return list(result.dataset()["train"]["text"])


def test_what_overlaps_is_a_reject_that_says_with_what(tmp_path: Path, bench: Path) -> None:
    result = factory.run(recipe(tmp_path, bench), out=tmp_path / "run")
    assert kept(result) == [CLEAN[0], CLEAN[3]] and result.summary["rejected"] == {"decontaminate": 2}
    first, second = rejects(tmp_path / "run")
    assert first["stage"] == "decontaminate" and first["reason"].startswith("overlaps ferry: the ")
    matched = json.loads(second["matched"])
    assert (matched["benchmark"], matched["benchmark_row"], matched["column"]) == ("ferry", 2, "text")
    assert matched["layer"] == "ngram" and 0 < matched["score"] <= 1 and matched["span"] in TEXTS[2]
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert "`decontaminate` compared with: ferry (6 rows, " in card and '"ferry": 2' in card
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["filters"][0]["candidates found"] == {"ferry": 2}


def test_paths_start_from_the_recipe_and_another_run_gives_the_same(tmp_path: Path, bench: Path) -> None:
    write_test_set(tmp_path)
    path = recipe(tmp_path, Path("ferry.jsonl"))
    factory.run(path, out=tmp_path / "one")
    factory.run(path, out=tmp_path / "two")
    assert list(parquet_hashes(tmp_path / "one").values()) == list(parquet_hashes(tmp_path / "two").values())


def test_a_test_set_that_has_changed_is_told(tmp_path: Path, bench: Path) -> None:
    own = write_test_set(tmp_path, "own.jsonl")
    path = recipe(tmp_path, own)
    assert not factory.run(path, out=tmp_path / "run").summary["notices"]
    assert not factory.run(path, out=tmp_path / "run").summary["notices"]
    own.write_text(own.read_text() + json.dumps({"question": CLEAN[3] + " Name the ferry's captain too."}) + "\n")
    told = "what the filter `decontaminate` compares with has changed since this dataset was made"
    assert any(one.startswith(told) for one in factory.run(path, out=tmp_path / "run").summary["notices"])


def test_flagged_rows_stay(tmp_path: Path, bench: Path) -> None:
    result = factory.run(recipe(tmp_path, bench, mode="flag"), out=tmp_path / "run")
    rows = result.dataset()["train"]
    flags = [row["meta"]["flags"] for row in rows]
    assert [flag is not None for flag in flags] == [True, False, True, False]
    assert json.loads(json.loads(flags[0])[0]["matched"])["benchmark_row"] == 0
    assert result.summary["flagged"] == {"decontaminate": 2}
    told = command("explain", tmp_path / "run", "0")
    assert told.returncode == 0 and "  flagged at decontaminate: overlaps ferry" in told.stdout


def test_the_next_best_candidate_takes_the_place(tmp_path: Path, bench: Path) -> None:
    def write(body: dict[str, Any], index: int) -> str:
        return QUESTIONS[4] if index == 0 else CLEAN[5] + "!" * index

    with JudgeServer(writer=write) as server:
        path = recipe(tmp_path, bench, texts=["x"], models={"writer": server.model("writer")})
        text = path.read_text() + "\nkeep: {fallback: true}\n"
        path.write_text(text.replace("candidates: 1", "candidates: 2"))
        result = factory.run(path, out=tmp_path / "run")
    assert kept(result) == [CLEAN[5] + "!"] and result.summary["rejected"] == {"decontaminate": 1}


class Gray(Cascade):
    """Takes what is found of row 0 for uncertain."""

    def check_many(self, rows: Sequence[Mapping[str, str]], *, gray: bool = False) -> list[list[Hit]]:
        found = super().check_many(rows, gray=gray)
        hits = [[replace(hit, gray=hit.row == 0) for hit in some] for some in found]
        return [[hit for hit in some if gray or not hit.gray] for some in hits]


@pytest.mark.parametrize(("verdict", "falls"), [("true", True), ("false", False), ("perhaps", True)])
def test_a_judge_decides_what_is_in_between(
    tmp_path: Path, bench: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, falls: bool
) -> None:
    monkeypatch.setattr("factory.filters.decontaminate.Cascade", Gray)

    def judge(body: dict[str, Any], index: int) -> str:
        return f'{{"reason": "the same crates", "same": {verdict}}}' if verdict != "perhaps" else "I cannot say"

    with JudgeServer(judge=judge) as server:
        path = recipe(tmp_path, bench, models={"judge": server.model("judge")}, judge="judge")
        result = factory.run(path, out=tmp_path / "run")
        assert server.count("judge") == (2 if verdict == "perhaps" else 1)
        shown = everything(server.asked("judge")[0])
        assert QUESTIONS[0] in shown and "Answer: 447" in shown
        asked = server.count("judge")
        again = factory.run(path, out=tmp_path / "run")
        assert server.count("judge") == asked and again.summary["calls"] == 0
    assert (TEXTS[0] in kept(result)) != falls
    reasons = [line["reason"] for line in rejects(tmp_path / "run")]
    assert ("the judge gave no verdict: no verdict in form" in reasons[0]) == (verdict == "perhaps")
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert ("fell because the judge gave no verdict: 1" in card) == (verdict == "perhaps")
    layers = [json.loads(line["matched"])["layer"] for line in rejects(tmp_path / "run")]
    assert layers == (["judge"] if verdict == "true" else ["ngram"] if falls else []) + ["ngram"]


def test_without_a_judge_the_uncertain_stay(tmp_path: Path, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.filters.decontaminate.Cascade", Gray)
    assert TEXTS[0] in kept(factory.run(recipe(tmp_path, bench), out=tmp_path / "run"))


def test_a_question_in_other_words_by_its_embedding(tmp_path: Path, bench: Path) -> None:
    turned = "".join(sorted(QUESTIONS[5]))  # the server's vectors count letters: to it this is the same text
    with MeasuringServer() as server:
        model = server.model()
        path = recipe(tmp_path, bench, texts=[turned, CLEAN[1]], models={"embedder": model}, model="embedder")
        name = f"openai/{model['model']}"
        with pytest.raises(RecipeError, match="not embedded by"):
            factory.run(path, out=tmp_path / "run")
        vectors_of(str(bench), Path(), name, embed=lambda texts, what: np.array([letters(text) for text in texts]))
        result = factory.run(path, out=tmp_path / "run")
        assert len(server.asked("/v1/embeddings")) == 2
    assert kept(result) == [CLEAN[1]]
    (line,) = rejects(tmp_path / "run")
    matched = json.loads(line["matched"])
    assert (matched["layer"], matched["benchmark_row"], matched["column"]) == ("embedding", 5, "text")


def make(base: Path, **options: Any) -> Any:
    spec = PluginConfig.model_validate({"decontaminate": options})
    return compile_filters([spec], ("question", "answer"), base=base, models={"a": "echo/a"})[0]


def test_options(tmp_path: Path, bench: Path) -> None:
    for options, told in (
        ({"against": []}, "names no test set"),
        ({"against": ["gsm9k"]}, "gsm9k"),
        ({"against": [str(bench)], "on": "questoin"}, "questoin"),
        ({"against": [str(bench)], "fpr": 0.2}, "calibrated"),
        ({"against": [str(bench)], "layers": ["ngrams"]}, "ngrams|layers"),
        ({"against": [str(bench), str(bench)]}, "twice"),
        ({"against": [str(bench)], "judge": "b"}, "asks the model `b`"),
        ({"against": [str(bench)], "judge": "a", "model": "a"}, "two roles"),
        ({"against": [{"path": str(bench), "question": "qestion"}]}, "qestion"),
        ({"against": ["nowhere.jsonl"]}, r"nowhere\.jsonl"),
    ):
        with pytest.raises(RecipeError, match=told):
            make(tmp_path, **options)


def test_the_columns_that_are_compared(bench: Path) -> None:
    whole, one = (
        make(bench.parent, against=str(bench)),
        make(bench.parent, against={"path": "ferry.jsonl"}, on="answer"),
    )
    item = Item(0, 0, {"question": QUESTIONS[1], "answer": "many"}, {})
    drop = whole.check(item)
    assert isinstance(drop, Drop) and json.loads(drop.matched or "")["column"].startswith("question")
    assert one.check(item) is None
    chat = Item(1, 0, {"question": [{"role": "user", "content": QUESTIONS[1]}], "answer": None}, {})
    assert isinstance(whole.check(chat), Drop)
