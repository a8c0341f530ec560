"""Passes over the whole set: against brute force, and in whole runs that are repeated, extended and cut short."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from hypothesis import given, settings
from hypothesis import strategies as st
from support import factory as command
from support import factory_json, parquet_hashes, server_model, write_recipe
from test_components import brute_force, similar_texts

import factory
from factory import registry
from factory.errors import GateFailed, Place, RecipeError, TargetNotReached
from factory.recipe import PluginConfig, parse_recipe
from factory.types import Candidate, Check, Cost, DatasetRow, RowOutcome, Scored, Variation, Verdict
from factory.whole_set import WholeSet, compile_passes

COLUMNS = ("text", "topic")


def place(*keys: Any, message: str, hint: str = "") -> Any:
    return Place("r.yaml", None, ".".join(map(str, keys)), message, hint)


def passes(*specs: dict[str, Any]) -> Any:
    return compile_passes(
        [PluginConfig.model_validate(spec) for spec in specs],
        COLUMNS,
        output=("text",),
        scope={"level", "row"},
        place=place,
    )


def held(row: int, text: str, total: float, topic: str = "t", level: int = 1) -> tuple[RowOutcome, Scored, DatasetRow]:
    candidate = Candidate(row, "main", 0, text, "stop", 0, "m", {"text": text})
    scored = Scored(candidate, (), total)
    outcome = RowOutcome(Variation(row, {"level": level}), (scored,), (), Cost(), "sha", columns={"topic": topic})
    return outcome, scored, DatasetRow({"text": text, "topic": topic}, {"row": row})


def decide(tmp_path: Path, specs: list[dict[str, Any]], rows: Sequence[Any]) -> tuple[WholeSet, list[Verdict | None]]:
    whole = WholeSet(passes(*specs), tmp_path)
    for row in rows:
        whole.add(*row)
    decided = list(whole.decide())
    assert [one.row for one, _ in decided] == [row for _, _, row in rows]
    return whole, [verdict for _, verdict in decided]


# What is kept


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=20),
    st.integers(1, 4),
)
def test_best_per_keeps_the_best_of_each_group(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], keep: int
) -> None:
    made = [held(row // 2, f"text {row}", float(total), topic) for row, (topic, total) in enumerate(rows)]
    whole, verdicts = decide(tmp_path_factory.getbasetemp(), [{"best_per": {"on": "topic", "keep": keep}}], made)
    groups: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for number, (topic, total) in enumerate(rows):
        groups[topic].append((-float(total), number))
    kept = {number for group in groups.values() for _, number in sorted(group)[:keep]}
    assert {number for number, verdict in enumerate(verdicts) if verdict is None} == kept
    for number, verdict in enumerate(verdicts):
        if verdict is not None:
            assert (verdict.row, verdict.stage, verdict.accepted) == (number // 2, "select", False)
            topic = rows[number][0]
            assert verdict.reason == f"`topic` is `{topic}`: not among the best {keep} of {len(groups[topic])} rows"
    assert [(one.name, one.before, one.after) for one in whole.results] == [("best_per", len(rows), len(kept))]


@settings(max_examples=60, deadline=None)
@given(similar_texts(), st.sampled_from([0.3, 0.6, 0.8]), st.data())
def test_best_of_duplicates_keeps_the_best_of_each_cluster(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], threshold: float, data: st.DataObject
) -> None:
    totals = data.draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)))
    made = [held(row, text, float(total)) for row, (text, total) in enumerate(zip(texts, totals, strict=True))]
    specs = [{"best_of_duplicates": {"on": "text", "threshold": threshold}}]
    _, verdicts = decide(tmp_path_factory.getbasetemp(), specs, made)
    clusters: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row, label in enumerate(brute_force(texts, threshold)):
        clusters[label].append((-totals[row], row))
    best = {row: min(members)[1] for members in clusters.values() for _, row in members}
    for row, verdict in enumerate(verdicts):
        if verdict is None:
            assert best[row] == row
        else:
            assert (verdict.stage, verdict.matched) == ("dedup", str(best[row])) and best[row] != row
            assert verdict.reason.endswith(f"near-duplicates row {best[row]} is the best")


def test_passes_run_one_after_the_other_on_what_is_left(tmp_path: Path) -> None:
    long = "one two three four five six seven eight nine ten eleven twelve"
    rows = [
        held(0, long, 1.0, "a"),
        held(1, long + " more", 3.0, "a"),
        held(2, long + " again", 2.0, "b"),
        held(3, "something else", 0.0, "b"),
    ]
    dup, per = {"best_of_duplicates": {}}, {"best_per": {"on": "topic"}}
    whole, verdicts = decide(tmp_path, [dup, per], rows)
    assert [verdict is None for verdict in verdicts] == [False, True, False, True]
    assert [(one.before, one.after) for one in whole.results] == [(4, 2), (2, 2)]
    whole, verdicts = decide(tmp_path, [per, dup], rows)  # row 1 and row 2 are left, and are alike
    assert [verdict is None for verdict in verdicts] == [False, True, False, False]
    assert [(one.before, one.after) for one in whole.results] == [(4, 2), (2, 1)]
    assert whole.rejected({"parse": 7, "dedup": 1}) == {"parse": 7, "select": 2, "dedup": 2}


def test_groups_by_axis_and_by_template(tmp_path: Path) -> None:
    rows = [
        held(row, f"t{row}", 0.0, topic, level)
        for row, (topic, level) in enumerate(zip("aabb", [1, 2, 1, 1], strict=True))
    ]
    for on, expected in [("level", [True, True, False, False]), ("{{ topic }}/{{ level }}", [True, True, True, False])]:
        _, verdicts = decide(tmp_path, [{"best_per": {"on": on}}], rows)
        assert [verdict is None for verdict in verdicts] == expected


def test_without_a_row_there_is_nothing_to_choose(tmp_path: Path) -> None:
    whole, verdicts = decide(tmp_path, [{"best_of_duplicates": {}}, {"best_per": {"on": "topic"}}], [])
    assert verdicts == [] and [one.after for one in whole.results] == [0, 0]


def test_rows_wait_on_the_disk_and_not_in_memory(tmp_path: Path) -> None:
    whole = WholeSet(passes({"best_per": {"on": "topic", "keep": 1}}), tmp_path)
    text = "word " * 10_000
    gc.collect()
    tracemalloc.start()
    for row in range(400):  # 20 MB of text
        whole.add(*held(row, f"{row} {text}", float(row)))
    kept = sum(verdict is None for _, verdict in whole.decide())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept == 1
    assert peak < 2_000_000
    assert list(tmp_path.iterdir()) == []


# Recipes

BASE = "name: x\nprompt: hi\nmodels: {writer: echo}\nvary: {topic: {choice: [a, b]}}\n"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("whole_set: [bst_per]", "r.yaml:5: whole_set.0: unknown pass `bst_per` (did you mean `best_per`?)"),
        ("whole_set: [{best_per: {}}]", "r.yaml:5: whole_set.0.best_per.on: is missing"),
        ("whole_set: [{best_per: {on: topic, kep: 1}}]", "r.yaml:5: whole_set.0.best_per.kep: unknown key `kep`"),
        ("whole_set: [{best_per: {on: topic, keep: x}}]", "r.yaml:5: whole_set.0.best_per.keep: must be a whole numb"),
        ("whole_set: [{best_of_duplicates: {on: txt}}]", "r.yaml:5: whole_set.0.best_of_duplicates.on: no column"),
        ("whole_set: {best_per: {on: topic}}", "r.yaml:5: whole_set: must be a list"),
        ("filter: [{quota: {on: topic}}]\nfilters: []", "r.yaml:6: filters: unknown key `filters`"),
    ],
)
def test_faults_of_the_recipe(more: str, expected: str) -> None:
    with pytest.raises(RecipeError) as raised:
        parse_recipe(f"{BASE}{more}\n", base=Path(), file="r.yaml")
    told = [str(one) for one in raised.value.places]
    assert any(one.startswith(expected) for one in told), told


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"best_per": {"on": "topik"}},
            "`on` names `topik`, which is neither a column nor an axis (did you mean `topi",
        ),
        ({"best_per": {"on": "{{ topik }}"}}, "`on` names `topik`, which is undefined"),
        ({"best_per": {"on": "topic", "keep": 0}}, "`keep` is 0"),
        ({"best_of_duplicates": {"threshold": 1.2}}, "the threshold is 1.2, outside 0.1 … 1"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_row(spec: dict[str, Any], expected: str, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, vary={"topic": {"choice": ["a", "b"]}}, prompt="hi {{ topic }}", whole_set=[spec])
    with pytest.raises(RecipeError) as raised:
        factory.run(path, runs_dir=tmp_path / "runs")
    [told] = [str(one) for one in raised.value.places]
    assert f"whole_set.0.{next(iter(spec))}" in told and expected in told
    assert not (tmp_path / "runs").exists()


def test_a_pass_can_be_set_from_the_command_line(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=6, whole_set=[{"best_per": {"on": "animal", "keep": 5}}])
    out = factory_json("run", path, "--out", tmp_path / "out", "--set", "whole_set.best_per.keep=1")
    assert out["rows"] < 6


# Whole runs

PER = {"best_per": {"on": "animal", "keep": 2}}


def run(path: Path, tmp_path: Path, **options: Any) -> factory.Result:
    return factory.run(path, runs_dir=tmp_path / "runs", **options)


def scored_recipe(tmp_path: Path, **changes: Any) -> Path:
    score = [{"length": {"target_words": 9, "weight": 1}}]
    return write_recipe(tmp_path, **{"carry": ["animal"], "score": score, "whole_set": [PER], **changes})


def test_a_pass_leaves_the_best_rows_in_their_order(tmp_path: Path) -> None:
    plain = run(scored_recipe(tmp_path, whole_set=None), tmp_path)
    every = plain.dataset()["train"].to_list()
    accepted_rejects = plain.rejects().to_list()
    result = run(scored_recipe(tmp_path), tmp_path)
    assert result.path == plain.path and result.summary["calls"] == 0  # the plan is the same
    groups: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for row in every:
        groups[row["animal"]].append((-row["meta"]["score"], row["meta"]["row"]))
    wanted = {row for group in groups.values() for _, row in sorted(group)[:2]}
    rows = result.dataset()["train"].to_list()
    assert rows == [row for row in every if row["meta"]["row"] in wanted]
    assert 0 < len(rows) < len(every) == 20
    dropped = [line for line in result.rejects().to_list() if line not in accepted_rejects]
    assert {line["row"] for line in dropped} == {row["meta"]["row"] for row in every} - wanted
    for line in dropped:
        source = next(row for row in every if row["meta"]["row"] == line["row"])
        assert line["stage"] == "select" and "not among the best 2" in line["reason"]
        assert line["text"] == source["text"] and line["total"] == source["meta"]["score"]
        assert line["variation"] == source["meta"]["variation"] and line["scores"] == source["meta"]["scores"]


def test_counts_card_manifest_and_commands_tell_of_the_pass(tmp_path: Path) -> None:
    told: list[str] = []
    result = run(scored_recipe(tmp_path), tmp_path, notice=told.append)
    rows = len(result.dataset()["train"])
    assert result.summary["rows"] == rows == result.summary["splits"]["train"]
    assert result.summary["rejected"] == {"select": 20 - rows}
    assert result.summary["whole_set"] == [{"name": "best_per", "before": 20, "after": rows}]
    manifest = json.loads((result.path / "manifest.json").read_text())
    assert (manifest["rows"], manifest["rows_wanted"], manifest["status"]) == (rows, 20, "complete")
    assert manifest["whole_set"] == result.summary["whole_set"]
    assert ["select", "`best_per` over the whole set", 20 - rows] in manifest["reasons"]
    card = (result.path / "dataset" / "README.md").read_text()
    assert f"**{rows} synthetic rows**" in card and f"kept {rows} of 20 rows" in card
    assert "the choice is not kept when the run is extended" in card
    assert told == [f"`best_per` over the whole set kept {rows} of 20 accepted rows"]
    status = factory_json("status", result.path)
    assert status["rows"] == rows and status["whole_set"] == manifest["whole_set"]
    assert f"rows: {rows} chosen from 20 of 20" in command("status", result.path).stdout
    fallen = result.rejects().to_list()[0]["row"]
    story = factory_json("explain", result.path, fallen)
    assert not story["accepted"] and "not among the best 2" in story["rejected"][0]["reason"]
    progress = json.loads((result.path / "progress.json").read_text())
    assert progress["accepted"] == 20  # the target counts what came before the pass


def test_the_same_command_again_gives_the_same_bytes(tmp_path: Path) -> None:
    path = scored_recipe(tmp_path, whole_set=[PER, {"best_of_duplicates": {"threshold": 0.3}}])
    first = run(path, tmp_path)
    before, rejects = parquet_hashes(first.path), first.rejects().to_list()
    told: list[str] = []
    again = run(path, tmp_path, notice=told.append)
    assert again.summary["calls"] == 0 and parquet_hashes(again.path) == before
    assert again.rejects().to_list() == rejects
    assert not any("cut" in text or "grew" in text for text in told)
    elsewhere = factory.run(path, out=tmp_path / "elsewhere")
    assert parquet_hashes(elsewhere.path) == before


def test_an_extension_chooses_anew(tmp_path: Path) -> None:
    path = scored_recipe(tmp_path)
    run(path, tmp_path)
    told: list[str] = []
    extended = run(path, tmp_path, rows=40, notice=told.append)
    fresh = factory.run(path, out=tmp_path / "fresh", rows=40)
    assert parquet_hashes(extended.path) == parquet_hashes(fresh.path)
    assert extended.summary["replayed"] >= 20
    assert not any("cut" in text or "grew" in text for text in told)
    back = run(path, tmp_path, notice=told.append)
    assert any("cut from 40 to 20 accepted rows" in text for text in told)
    assert len(back.dataset()["train"]) == back.summary["rows"]


def test_a_pass_that_is_taken_out_again_leaves_all_rows(tmp_path: Path) -> None:
    plain = run(scored_recipe(tmp_path, whole_set=None), tmp_path)
    before = parquet_hashes(plain.path)
    run(scored_recipe(tmp_path), tmp_path)
    told: list[str] = []
    again = run(scored_recipe(tmp_path, whole_set=None), tmp_path, notice=told.append)
    assert parquet_hashes(again.path) == before and told == []
    assert "whole_set" not in again.summary
    assert "whole_set" not in json.loads((again.path / "manifest.json").read_text())


def test_an_incomplete_run_has_its_pass_too(tmp_path: Path) -> None:
    path = scored_recipe(tmp_path, max_planned=20, filter=[{"where": {"expression": "number % 2 == 0"}}])
    with pytest.raises(TargetNotReached) as raised:
        run(path, tmp_path)
    result = raised.value.result
    assert result.status == "incomplete"
    [told] = result.summary["whole_set"]
    assert told["before"] < 20 and len(result.dataset()["train"]) == told["after"] <= told["before"]
    assert "This dataset is incomplete" in (result.path / "dataset" / "README.md").read_text()


def test_an_unfinished_extension_is_compared_by_what_was_accepted(tmp_path: Path) -> None:
    path = scored_recipe(tmp_path)
    first = run(path, tmp_path)
    kept = parquet_hashes(first.path)
    told: list[str] = []
    strict = scored_recipe(tmp_path, max_planned=20, filter=[{"where": {"expression": "number % 2 == 0"}}])
    with pytest.raises(TargetNotReached):
        run(strict, tmp_path, notice=told.append)
    assert parquet_hashes(first.path) == kept
    assert any("complete dataset of 20 accepted rows stays as it was" in text for text in told)
    told.clear()
    with pytest.raises(TargetNotReached) as raised:
        loose = scored_recipe(tmp_path, rows=40, max_planned=40, filter=[{"where": {"expression": "number % 4 != 0"}}])
        run(loose, tmp_path, notice=told.append)
    before = raised.value.result.summary["whole_set"][0]["before"]
    assert 20 < before < 40
    assert any(f"grew from 20 to {before} accepted rows and is marked incomplete" in text for text in told)
    assert not any("as they were" in text for text in told)


def test_audits_see_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    seen: list[int] = []

    @registry.auditor("counts")
    def counts(rows: Sequence[Any], reference: Any) -> list[Check]:
        seen.append(len(rows))
        return [Check("x.count", float(len(rows)), verdict="FAIL")]

    with pytest.raises(GateFailed) as raised:
        run(scored_recipe(tmp_path, audit=["counts"]), tmp_path)
    assert seen == [raised.value.result.summary["rows"]]
    assert seen[0] < 20


def test_whatever_the_order_of_answers_the_choice_is_the_same(tmp_path: Path) -> None:
    hashes = []
    for concurrency in (1, 3, 32):
        with FaultServer(Settings(latency=0.004, jitter=3)) as server:
            path = write_recipe(
                tmp_path,
                models={
                    "writer": server_model(server.url, concurrency=concurrency, identity="one and the same"),
                },
                generate={"model": "writer", "candidates": 3},
                score=[{"length": {"target_words": 25, "weight": 1}}],
                keep="all",
                rows=30,
                whole_set=[{"best_per": {"on": "animal", "keep": 3}}, {"best_of_duplicates": {"threshold": 0.2}}],
            )
            hashes.append(parquet_hashes(factory.run(path, out=tmp_path / f"run{concurrency}").path))
    assert len({tuple(sorted(one.values())) for one in hashes}) == 1


def test_the_embedded_model_with_every_selection(tmp_path: Path) -> None:
    out = factory_json(
        "run", "word-problems", "--out", tmp_path / "run", "--rows", "24",
        "--set", "generate.candidates=4", "--set", "keep={top_k: 2, diversity: {weight: 0.4}}",
        "--set", "filter=[{novelty: {max_similarity: 0.9}}]",
        "--set", "whole_set=[{best_of_duplicates: {threshold: 0.5}}]",
    )  # fmt: skip
    assert out["status"] == "complete"
    [told] = out["whole_set"]
    assert told["before"] == 24 and out["rows"] == told["after"] == out["splits"]["train"] + out["splits"].get(
        "test", 0
    )
