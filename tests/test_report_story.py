"""The story of a run: figures against plain counting, JSON values alone, and the same ones each time."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import REJECTED, run_facts, write_ledger

from factory.auditors import Data
from factory.reporting import ReportFacts, RunFiles, tell_story
from factory.reporting.rejects import Rejects, read_rejects
from factory.reporting.scored import tell_axes, tell_gain, tell_scores
from factory.reporting.story import pattern, tell_funnel

TEXTS = ["one text", "another text", "a third text", "the fourth", "the fifth"]


def made(folder: Path) -> dict[str, Any]:
    return tell_story(run_facts(folder, TEXTS))


def dataset(rows: list[int], scores: list[float | None], values: list[Any] | None = None) -> Data:
    given = values if values is not None else [None] * len(rows)
    metas = [
        {"row": row, "score": score, "scores": json.dumps({"judge": score}), "variation": json.dumps({"axis": value})}
        for row, score, value in zip(rows, scores, given, strict=True)
    ]
    return Data("rows", pa.table({"text": [f"t{row}" for row in rows], "meta": metas}))


def fallen(rows: list[int], totals: list[float], stage: str = "select", step: str = "main") -> Rejects:
    n = len(rows)
    columns = {"row": rows, "total": totals, "stage": [stage] * n, "step": [step] * n, "reason": ["why"] * n}
    return Rejects(None, columns | {"matched": [None] * n, "candidate": [0] * n})


def test_the_story_is_json_and_the_same_each_time(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == made(tmp_path)
    assert list(found) == ["rows", "made", "funnel", "scores", "gain", "axes", "duplicates", "contamination", "costs",
                           "examples"]  # fmt: skip


def test_the_funnel_counts_every_candidate(tmp_path: Path) -> None:
    funnel = made(tmp_path)["funnel"]
    steps = {step["name"]: (step["left"], step["lost"]) for step in funnel["steps"]}
    assert steps == {
        "planned": (15, 0), "generated": (14, 1), "valid": (13, 1), "scored": (11, 2), "kept": (9, 2),
        "deduplicated": (7, 2), "decontaminated": (6, 1), "accepted": (5, 1),
    }  # fmt: skip
    assert funnel["planned_rows"] == 9
    reasons = {step.get("stage"): step["reasons"] for step in funnel["steps"]}
    assert reasons["score"] == [{"reason": "length: # words, at least #", "count": 2}]
    assert reasons["dedup"] == [{"reason": "near-duplicate of row # (similarity #)", "count": 2}]


def test_the_funnel_of_a_manifest_alone_and_of_an_unknown_stage() -> None:
    manifest = {"rejected": {"score": 3, "of_a_plugin": 2}, "reasons": [["score", "too short #", 3]], "planned": 4}
    facts = ReportFacts({}, "t", dataset([0, 1], [1, 1]), None, RunFiles(manifest))
    funnel = tell_funnel(facts, Rejects())
    assert [step["left"] for step in funnel["steps"]] == [7, 7, 7, 4, 4, 4, 4, 2, 2]
    assert funnel["steps"][-2]["name"] == "after of_a_plugin"
    assert funnel["steps"][3]["reasons"] == [{"reason": "too short #", "count": 3}]


def test_reasons_are_counted_without_their_figures() -> None:
    assert pattern("3 words, at least 15.5") == pattern("4 words, at least 1,000") == "# words, at least #"
    assert pattern(None) == ""


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(-20, 20), min_size=1, max_size=5), min_size=2, max_size=8))
def test_the_gain_is_that_of_plain_counting(rows: list[list[int]]) -> None:
    accepted = dataset(list(range(len(rows))), [float(totals[0]) for totals in rows])
    others = [(row, float(total)) for row, totals in enumerate(rows) for total in totals[1:]]
    found = tell_gain(accepted, fallen([row for row, _ in others], [total for _, total in others]), {})
    several = [totals for totals in rows if len(totals) > 1]
    if len(several) < 2:
        assert found is None
        return
    assert found is not None
    gains = [max(totals) - sum(totals) / len(totals) for totals in several]
    assert found["rows"] == len(several)
    assert math.isclose(found["gain"], sum(gains) / len(gains), abs_tol=1e-9)
    assert math.isclose(found["best"] - found["mean"], found["gain"], abs_tol=1e-9)
    assert found["interval"][0] <= found["gain"] <= found["interval"][1]
    if found["plot"] is not None:
        whole = [totals for totals in several if len(totals) == found["candidates"]]
        for k, y in enumerate(found["plot"]["series"]["best of k"]["y"], 1):
            expected = [
                sum(map(max, combinations(totals, k))) / math.comb(len(totals), k) for totals in whole
            ]  # every choice of k candidates, one by one
            assert math.isclose(y, sum(expected) / len(expected), abs_tol=1e-9)


def test_the_gain_leaves_out_what_has_no_score() -> None:
    rows = dataset([0, 1], [1.0, 0.5])
    assert tell_gain(rows, fallen([0, 1], [0.0, 0.0], "parse"), {}) is None
    assert tell_gain(rows, fallen([0, 1], [0.0, float("nan")]), {}) is None
    steps = {"steps": [{"name": "draft"}, {"name": "final"}]}
    assert tell_gain(rows, fallen([0, 1], [0.0, 0.0], step="draft"), steps) is None
    assert tell_gain(rows, fallen([0, 1], [0.0, 0.0], step="final"), steps)["gain"] == 0.375  # type: ignore[index]


def test_scores_are_counted_and_averaged(tmp_path: Path) -> None:
    scores = made(tmp_path)["scores"]
    assert (scores["accepted"], scores["rejected"]) == (5, 8)
    assert sum(scores["plot"]["series"]["accepted"]) == 5
    assert sum(scores["plot"]["series"]["rejected"]) == 8
    by_name = {one["name"]: one for one in scores["scorers"]}
    assert by_name["length"]["accepted_mean"] == 0.5
    totals = [total for stage, _, total, _ in REJECTED if stage not in ("call", "parse")]
    assert math.isclose(by_name["length"]["rejected_mean"], sum(totals) / len(totals))
    assert by_name["judge"]["rejected_mean"] is None


def test_equal_totals_have_no_plot() -> None:
    assert tell_scores(dataset([0, 1], [0.0, 0.0]), Rejects(), {})["plot"] is None  # type: ignore[index]
    assert tell_scores(dataset([0], [None]), Rejects(), {}) is None


def test_axes_are_compared_with_the_recipe(tmp_path: Path) -> None:
    topic = next(one for one in made(tmp_path)["axes"] if one["axis"] == "topic")
    assert topic["plot"]["labels"] == ["sea", "wood"]
    assert topic["plot"]["series"]["recipe"] == [0.75, 0.25]
    assert topic["plot"]["series"]["accepted"] == [0.6, 0.4]
    # Rows 0, 2, 4, 6, 8 were accepted and 0 to 4 have rejects: seven rows in all, of which 1 and 3 drew the sea.
    assert (topic["drawn"], topic["accepted"]) == (7, 5)
    assert topic["plot"]["series"]["drawn"] == [5 / 7, 2 / 7]


def test_axes_of_many_values() -> None:
    numbers = tell_axes(dataset(list(range(30)), [1.0] * 30, list(range(30))), Rejects(), {})
    assert numbers is not None and numbers[0]["plot"]["kind"] == "histogram"
    words = tell_axes(dataset(list(range(30)), [1.0] * 30, [f"w{at}" for at in range(30)]), Rejects(), {})
    assert words is not None and len(words[0]["plot"]["labels"]) == 12 and words[0]["accepted_values"] == 30
    recipe = {"vary": {"axis": {"choice": ["a", "a", "b"]}}}
    weighted = tell_axes(dataset([0, 1], [1.0, 1.0], ["a", "b"]), Rejects(), recipe)
    assert weighted is not None and weighted[0]["plot"]["series"]["recipe"] == [2 / 3, 1 / 3]


def test_clusters_and_contamination(tmp_path: Path) -> None:
    story = made(tmp_path)
    assert (story["duplicates"]["removed"], story["duplicates"]["clusters"]) == (2, 1)
    assert story["duplicates"]["largest"] == [{"like": "0", "size": 3, "place": 0, "lines": [6, 7]}]
    contamination = story["contamination"]
    assert (contamination["removed"], contamination["flagged"]) == (1, 1)
    assert [(hit["benchmark_row"], hit["layer"]) for hit in contamination["hits"]] == [(3, "characters"), (17, "ngram")]


def test_costs_are_summed_in_whole_nano(tmp_path: Path) -> None:
    write_ledger(tmp_path / "ledger.parquet")
    facts = ReportFacts({}, "t", dataset([0, 1], [1, 1]), None, RunFiles({}, "", None, tmp_path / "ledger.parquet"))
    costs = tell_story(facts)["costs"]
    assert costs["total"] == {
        "calls": 3, "attempts": 6, "prompt_tokens": 75, "completion_tokens": 135, "cost_usd": 15e-9,
        "upper_bound_usd": 0.25, "unknown_cost": 1,
    }  # fmt: skip
    assert costs["per_accepted_row_usd"] == 7.5e-9
    assert [(one["name"], one["attempts"], one["cost_usd"]) for one in costs["by_model"]] == [
        ("big", 3, 9e-9), ("small", 3, 6e-9)]  # fmt: skip
    assert {one["name"] for one in costs["by_purpose"]} == {"generate", "judge"}


def test_examples_are_the_best_the_middle_and_the_worst() -> None:
    facts = ReportFacts({}, "t", dataset(list(range(9)), [float(at) for at in range(9)]))
    chosen = tell_story(facts)["examples"]["accepted"]
    assert [(one["kind"], one["place"], one["score"]) for one in chosen] == [
        ("best", 8, 8.0), ("best", 7, 7.0), ("median", 4, 4.0), ("worst", 1, 1.0), ("worst", 0, 0.0)]  # fmt: skip


def test_examples_of_rejects_name_every_stage(tmp_path: Path) -> None:
    rejected = made(tmp_path)["examples"]["rejected"]
    assert [one["stage"] for one in rejected] == [
        "call",
        "parse",
        "score",
        "select",
        "decontaminate",
        "dedup",
        "unused",
    ]
    assert rejected[2]["count"] == 2 and rejected[0]["total"] is None


@pytest.mark.parametrize("size", [0, 1])
def test_data_without_a_run(size: int) -> None:
    table = pa.table({"text": pa.array(["x"] * size, pa.string())})
    found = tell_story(ReportFacts({}, "t", Data("d", table)))
    assert found["rows"] == size
    assert [one["place"] for one in found["examples"]["accepted"]] == list(range(size))


def test_texts_are_read_for_chosen_lines_alone(tmp_path: Path) -> None:
    table = pa.table({"row": list(range(10)), "stage": ["select"] * 10, "text": [f"text {at}" for at in range(10)]})
    pq.write_table(table, tmp_path / "r.parquet", row_group_size=3)
    rejects = read_rejects(tmp_path / "r.parquet")
    assert "text" not in rejects.columns and len(rejects) == 10
    assert rejects.at("text", [9, 0, 3, 3]) == {0: "text 0", 3: "text 3", 9: "text 9"}
    assert rejects.at("text", [12]) == {} == rejects.at("none", [1]) == Rejects().at("text", [0])
    assert len(read_rejects(tmp_path / "absent.parquet")) == 0
