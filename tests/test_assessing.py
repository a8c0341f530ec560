"""`factory score`: scorers on any dataset, figures against labels, errors in plain words, and nothing asked twice."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from test_cli import Run, cli  # noqa: F401

from factory import registry
from factory.assessing import Wanted, assess
from factory.errors import FactoryError, RecipeError, UsageError


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def sums(count: int, wrong_every: int = 3) -> list[dict[str, Any]]:
    """Worked answers, every third of them wrong, and labelled so."""
    rows = []
    for k in range(count):
        first, second = 2 + k % 40, 3 + k % 7
        wrong = k % wrong_every == 0
        answer = f"First we add: {first} + {second} = {first + second + wrong}.\n#### {first + second + wrong}"
        rows.append({"question": f"What is {first} plus {second}?", "answer": answer, "ok": not wrong})
    return rows


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write(tmp_path / "sums.jsonl", sums(90))


def test_a_perfect_verifier_is_told_to_be_one(data: str, tmp_path: Path) -> None:
    wanted = Wanted(data, "arithmetic, length: {target_words: 12}", columns=("answer",), labels="ok")
    found = assess(wanted, out=tmp_path / "out")
    arithmetic, length = (found.summary["scorers"][name] for name in ("arithmetic", "length"))
    assert arithmetic["auc"]["value"] == 1.0 and arithmetic["auc"]["interval"][0] > 0.94
    assert arithmetic["veto_against_labels"]["bad_caught"]["value"] == 1.0
    assert arithmetic["veto_against_labels"]["good_lost"]["value"] == 0.0
    assert arithmetic["calibration_error"] == 0.0 and arithmetic["range"] == [0, 1]
    low, high = length["auc"]["interval"]
    assert low < 0.5 < high, "the length says nothing of whether a sum is right"
    assert found.summary["vetoed"]["value"] == pytest.approx(1 / 3)


def test_the_files_hold_what_was_found(data: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = assess(Wanted(data, "arithmetic: {weight: 1}", columns=("answer",), labels="ok"), out=out)
    lines = pq.read_table(out / "scores.parquet").to_pylist()
    assert [line["row"] for line in lines] == list(range(90))
    assert [line["vetoed"] for line in lines] == [k % 3 == 0 for k in range(90)]
    assert lines[0]["reason"].startswith("arithmetic: ") and lines[0]["values"] == {"arithmetic": 0.0}
    assert lines[0]["label"] == 0.0 and lines[1]["label"] == 1.0
    assert json.loads((out / "report.json").read_text())["scorers"] == found.summary["scorers"]
    story = (out / "report.md").read_text()
    assert "| arithmetic | 90 | 0 | 33.3% |" in story and "100.0%" in story
    panels = ET.parse(out / "plot.svg").getroot().findall("{http://www.w3.org/2000/svg}g")
    assert len(panels) == 2, "the scorer and the total"
    assert not (out / "journal").exists(), "nobody was asked"


def test_without_labels_there_are_scores_and_no_figures(data: str, tmp_path: Path) -> None:
    found = assess(Wanted(data, "length", columns=("answer",)), out=tmp_path / "out")
    assert "auc" not in found.summary["scorers"]["length"] and set(found.files) == {"scores", "report", "story"}


def test_grades_are_ranked_against(tmp_path: Path) -> None:
    rng = random.Random(4)
    rows = [{"text": "word " * (5 + k % 50), "grade": k % 50 + rng.randrange(10)} for k in range(200)]
    wanted = Wanted(write(tmp_path / "g.jsonl", rows), "length: {target_words: 60}", labels="grade")
    length = assess(wanted).summary["scorers"]["length"]
    assert length["spearman"]["value"] > 0.9 and "auc" not in length


@pytest.mark.parametrize(
    ("labels", "good"),
    [(("correct", "wrong"), ()), (("yes", "no"), ()), ((1, 0), ()), ((True, False), ()), (("A", "B"), ("a",))],
)
def test_labels_in_words(tmp_path: Path, labels: tuple[Any, Any], good: tuple[str, ...]) -> None:
    rows = [{**row, "ok": labels[0] if row["ok"] else labels[1]} for row in sums(30)]
    wanted = Wanted(write(tmp_path / "w.jsonl", rows), "arithmetic", columns=("answer",), labels="ok", good=good)
    assert assess(wanted).summary["scorers"]["arithmetic"]["auc"]["value"] == 1.0


def test_a_run_is_scored_with_its_own_recipe(cli: Run, tmp_path: Path) -> None:  # noqa: F811
    """Axes that scorers name are in the rows: what was accepted is accepted again."""
    code, _, err = cli("run", "word-problems", "--rows", "8", "--out", str(tmp_path / "run"), "--json")
    assert code == 0, err
    code, out, err = cli("score", str(tmp_path / "run"), "--scorers", "word-problems", "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["rows"] == 8 and summary["vetoed"]["value"] == 0
    assert summary["scorers"]["arithmetic"]["values"]["mean"] == 1.0


def test_rows_of_a_group_are_candidates_of_one_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry._config_model.cache_clear()

    @registry.scorer("share_of_row")
    def share_of_row(candidates: Any, context: Any) -> list[float]:
        assert context.prompt.messages[0].content == candidates[0].fields["text"][0]
        return [1 / len(candidates)] * len(candidates)

    rows = [{"text": f"{name}{k}", "prompt": name} for k in range(3) for name in "abc" if (name, k) != ("c", 2)]
    wanted = Wanted(write(tmp_path / "g.jsonl", rows), "share_of_row", ("text",), prompt="prompt", group="prompt")
    found = assess(wanted, out=tmp_path / "out")
    values = [line["values"]["share_of_row"] for line in pq.read_table(tmp_path / "out/scores.parquet").to_pylist()]
    assert values == [1 / 3 if row["prompt"] != "c" else 1 / 2 for row in rows]
    assert found.summary["groups"] == 3


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ({"scorers": "lenght"}, "unknown scorer `lenght`", "did you mean `length`?"),
        ({"scorers": "length: {min_word: 3}"}, "unknown key `min_word`", "min_words"),
        ({"scorers": "[["}, "neither a file nor scorers", "--scorers 'length"),
        ({"scorers": "none.yaml"}, "no such file `none.yaml`", "name a recipe"),
        ({"columns": ()}, "which column is to be scored?", "text columns: question, answer"),
        ({"columns": ("answr",)}, "--column answr: no such column", "did you mean `answer`?"),
        ({"labels": "okay"}, "--labels okay: no such column", "ok"),
        ({"labels": "question"}, "which labels are good?", "say --good LABEL"),
        ({"labels": "ok", "good": ("maybe",)}, "--good maybe: no such label", "labels: false, true"),
        ({"data": "nothing.jsonl"}, "no such file", ""),
    ],
)
def test_what_is_wrong_is_told(data: str, wanted: dict[str, Any], message: str, hint: str) -> None:
    given = {"data": data, "scorers": "length", "columns": ("answer",)} | wanted
    with pytest.raises(FactoryError) as raised:
        assess(Wanted(**given))
    assert isinstance(raised.value, UsageError | RecipeError)
    assert message in str(raised.value) and hint in f"{raised.value} {raised.value.hint}"


def test_scorers_of_a_group_need_one(data: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="every row stands alone") as failed:
        assess(Wanted(data, "length, self_consistency", columns=("answer",)))
    assert "--group" in failed.value.hint
    holes = write(tmp_path / "holes.jsonl", [{"text": "a b", "of": "x"}, {"text": "c", "of": None}])
    with pytest.raises(UsageError, match="row 1 has no value"):
        assess(Wanted(holes, "clusters", columns=("text",), group="of"))


def test_labels_that_are_all_the_same_tell_nothing(tmp_path: Path) -> None:
    rows = [{"text": "some words", "ok": True}] * 5
    with pytest.raises(UsageError, match="all labels are the same"):
        assess(Wanted(write(tmp_path / "s.jsonl", rows), "length", labels="ok", columns=("text",)))
