"""From a recipe to a dataset: what lands where, that nothing is lost, and that the same command goes on."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Settings
from support import parquet_hashes, server_model, write_recipe

import factory
from factory.errors import FactoryError, Incomplete, RecipeError, RunDirError, TargetNotReached
from factory.types import Message


def run(path: Path, tmp_path: Path, **options: Any) -> factory.Result:
    return factory.run(path, runs_dir=tmp_path / "runs", **options)


def test_a_run_on_echo_makes_a_dataset_that_datasets_reads(tmp_path: Path) -> None:
    result = run(write_recipe(tmp_path, carry=["animal", "number"]), tmp_path)
    rows = result.dataset()["train"]
    assert result.status == "complete"
    assert len(rows) == 20
    assert rows.column_names == ["text", "animal", "number", "meta"]
    assert rows[0]["text"] == f"Tell me of the {rows[0]['animal']} with the number {rows[0]['number']}."
    meta = rows[3]["meta"]
    assert meta["row"] == 3 and meta["source"] == "synthetic" and meta["recipe"] == "sample" and meta["model"] == "echo"
    assert json.loads(meta["variation"])["animal"] == rows[3]["animal"]
    assert meta["cost_usd"] == 0
    assert len({row["meta"]["id"] for row in rows}) == 20
    ledger = result.ledger()
    assert len(ledger) == 20 and set(ledger["outcome"]) == {"ok"} and set(ledger["price_source"]) == {"local"}


def test_the_same_command_again_calls_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    first = run(path, tmp_path)
    before = parquet_hashes(first.path)
    again = run(path, tmp_path)
    assert again.path == first.path
    assert again.summary["calls"] == 0 and again.summary["replayed"] == 20
    assert parquet_hashes(again.path) == before


def test_a_fresh_run_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    one = run(path, tmp_path)
    other = factory.run(path, out=tmp_path / "elsewhere")
    assert parquet_hashes(one.path) == parquet_hashes(other.path)


def test_more_rows_extend_and_leave_the_first_as_they_were(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, filter=[{"dedup": {"threshold": 0.8}}])
    first = run(path, tmp_path).dataset()["train"].to_list()
    extended = run(path, tmp_path, rows=50)
    rows = extended.dataset()["train"].to_list()
    assert len(rows) == 50 and rows[:20] == first
    assert extended.summary["replayed"] >= 20


def test_fewer_rows_cut_the_dataset_and_say_so(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)
    run(path, tmp_path)
    told: list[str] = []
    result = run(path, tmp_path, rows=5, notice=told.append)
    assert len(result.dataset()["train"]) == 5
    assert any("cut from 20 to 5" in text for text in told)


def test_an_edited_prompt_starts_another_directory(tmp_path: Path) -> None:
    first = run(write_recipe(tmp_path), tmp_path)
    second = run(write_recipe(tmp_path, prompt="Speak of the {{ animal }} {{ number }}."), tmp_path)
    assert first.path != second.path
    assert (tmp_path / "runs" / "latest").resolve() == second.path.resolve()


def test_an_explicit_directory_of_another_plan_is_refused_naming_what_differs(tmp_path: Path) -> None:
    out = tmp_path / "run"
    factory.run(write_recipe(tmp_path), out=out)
    before = parquet_hashes(out)
    with pytest.raises(RunDirError) as caught:
        factory.run(write_recipe(tmp_path, seed=2), out=out)
    assert "seed" in str(caught.value) and "--reuse" in caught.value.hint
    assert parquet_hashes(out) == before


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "home"
    out.mkdir()
    (out / "thesis.tex").write_text("dear to me")
    with pytest.raises(RunDirError, match="other files"):
        factory.run(write_recipe(tmp_path), out=out)
    assert sorted(path.name for path in out.iterdir()) == ["thesis.tex"]


def test_thresholds_may_change_without_a_call(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=10, score=[{"length": {"min_words": 3}}])
    run(path, tmp_path)
    path = write_recipe(tmp_path, rows=10, score=[{"length": {"min_words": 2, "target_words": 9, "weight": 1}}])
    result = run(path, tmp_path)
    assert result.summary["calls"] == 0
    assert json.loads(result.dataset()["train"][0]["meta"]["scores"]).keys() == {"length"}


def test_every_candidate_has_a_verdict(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url)},
            generate={"model": "writer", "candidates": 4},
            score=[{"length": {"min_words": 25, "target_words": 35, "weight": 1}}],
            keep={"top_k": 2},
            rows=30,
        )
        result = run(path, tmp_path)
    rows, rejects = result.dataset()["train"], result.rejects()
    planned = {row["meta"]["row"] for row in rows} | set(rejects["row"])
    for index in planned:
        accepted = sum(row["meta"]["row"] == index for row in rows)
        rejected = sorted(reject["candidate"] for reject in rejects if reject["row"] == index)
        assert accepted + len(rejected) == 4
        assert len(set(rejected)) == len(rejected)
    assert all(reject["stage"] and reject["reason"] for reject in rejects)
    assert [row["meta"]["row"] for row in rows] == sorted(row["meta"]["row"] for row in rows)


def test_top_k_by_total_then_index(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url)},
            generate={"model": "writer", "candidates": 6},
            score=[{"length": {"target_words": 30, "weight": 1}}],
            rows=10,
        )
        result = run(path, tmp_path)
    rejects = result.rejects().to_list()
    for row in result.dataset()["train"]:
        others = [r["total"] for r in rejects if r["row"] == row["meta"]["row"] and r["stage"] == "select"]
        assert all(row["meta"]["score"] >= total for total in others)


def test_cost_of_a_row_is_the_sum_of_its_answers(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        model = server_model(server.url, price={"input": 1.0, "output": 10.0})
        path = write_recipe(tmp_path, models={"writer": model}, generate={"model": "writer", "candidates": 3}, rows=10)
        result = run(path, tmp_path)
        stats = server.stats()
    ledger = result.ledger().to_list()
    for row in result.dataset()["train"]:
        entries = [entry for entry in ledger if entry["row"] == row["meta"]["row"]]
        assert row["meta"]["cost_usd"] == pytest.approx(sum(entry["cost_usd"] for entry in entries), abs=1e-12)
    total = sum(entry["cost_usd"] for entry in ledger)
    billed = stats["billed_prompt_tokens"] * 1e-6 + stats["billed_completion_tokens"] * 1e-5
    assert total == pytest.approx(billed, abs=1e-7)
    assert result.summary["spent_usd"] == pytest.approx(total)


@pytest.mark.parametrize("concurrency", [1, 16, 128])
def test_the_same_dataset_at_any_concurrency(tmp_path: Path, concurrency: int) -> None:
    with FaultServer(Settings(latency=0.002, jitter=0.004)) as server:

        def recipe(name: str, slots: int) -> Path:
            model = server_model(server.url, concurrency=slots, identity="mock")
            return write_recipe(
                tmp_path / name,
                models={"writer": model},
                generate={"model": "writer", "candidates": 3},
                score=[{"length": {"target_words": 30, "weight": 1}}],
                filter=[{"dedup": {"threshold": 0.6}}],
                rows=40,
            )

        one = factory.run(recipe("a", 8), out=tmp_path / "one")
        other = factory.run(recipe("b", concurrency), out=tmp_path / "other")
    assert parquet_hashes(one.path) == parquet_hashes(other.path)


def test_a_poison_row_costs_one_row(tmp_path: Path) -> None:
    animals = tmp_path / "lines.txt"
    animals.write_text("\n".join("POISON" if i == 37 else f"animal number {i}" for i in range(100)))
    with FaultServer(Settings()) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url)},
            vary=None,
            prompt="Tell me of {{ source.text }}.",
            **{"from": {"path": "lines.jsonl"}},
            rows="all",
        )
        lines = [json.dumps({"text": text}) for text in animals.read_text().splitlines()]
        (tmp_path / "lines.jsonl").write_text("\n".join(lines))
        result = run(path, tmp_path)
    assert len(result.dataset()["train"]) == 99
    (reject,) = result.rejects().to_list()
    assert (reject["row"], reject["stage"]) == (37, "call") and "bad_request" in reject["reason"]
    assert result.status == "complete"


def test_a_target_out_of_reach_is_incomplete_and_keeps_what_was_made(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, vary={"animal": {"choice": ["cat", "dog"]}}, prompt="A {{ animal }}.",
                        filter=[{"unique": {}}], max_planned=30)  # fmt: skip
    with pytest.raises(TargetNotReached) as caught:
        run(path, tmp_path)
    result = caught.value.result
    assert caught.value.exit_code == 4 and "2 of 20 rows" in caught.value.message and "dedup" in caught.value.message
    assert len(result.dataset()["train"]) == 2
    assert "incomplete" in (result.path / "dataset" / "README.md").read_text()
    assert json.loads((result.path / "manifest.json").read_text())["status"] == "incomplete"


def test_replay_needs_no_server_and_a_miss_is_an_error(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        path = write_recipe(tmp_path, models={"writer": server_model(server.url)}, rows=5)
        first = run(path, tmp_path)
    again = run(path, tmp_path, replay=True)
    assert parquet_hashes(again.path) == parquet_hashes(first.path)
    with pytest.raises(Incomplete, match="--replay"):
        run(path, tmp_path, replay=True, rows=6)


def test_reuse_takes_answers_that_fit_and_pays_nothing(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        model = server_model(server.url, price={"input": 1.0, "output": 10.0})
        path = write_recipe(tmp_path, models={"writer": model}, rows=8)
        first = run(path, tmp_path)
        again = factory.run(path, out=tmp_path / "again", reuse=[first.path])
        assert server.stats()["requests"] == 8
    assert parquet_hashes(again.path) == parquet_hashes(first.path)
    assert set(again.ledger()["outcome"]) == {"reused"} and sum(again.ledger()["cost_usd"]) == 0


def test_steps_see_what_came_before(tmp_path: Path) -> None:
    steps = [
        {"name": "question", "prompt": "Ask about the {{ animal }} {{ number }}."},
        {"name": "answer", "prompt": "Answer this: {{ question.question }}"},
    ]
    result = run(write_recipe(tmp_path, prompt=None, steps=steps, rows=4), tmp_path)
    for row in result.dataset()["train"]:
        assert row["answer"] == f"Answer this: {row['question']}"
    assert len(result.ledger()) == 8


def test_sections_json_and_repair(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        for mode in ("json", "sections"):
            path = write_recipe(
                tmp_path,
                name=f"{mode}.yaml",
                models={"writer": server_model(server.url, mode)},
                output={"question": "str", "answer": "str"},
                rows=3,
            )
            rows = factory.run(path, out=tmp_path / mode).dataset()["train"]
            assert all(row["question"] and row["answer"] for row in rows)
        server.reset()
        path = write_recipe(
            tmp_path,
            name="repair.yaml",
            models={"writer": server_model(server.url, "text")},
            output={"question": "str"},
            repair=True,
            rows=2,
            max_planned=2,
        )
        with pytest.raises(TargetNotReached) as caught:
            factory.run(path, out=tmp_path / "repair")
    purposes = caught.value.result.ledger()["purpose"]
    assert sorted(purposes) == ["generate", "generate", "repair", "repair"]
    assert {reject["stage"] for reject in caught.value.result.rejects()} == {"parse"}


def test_truncated_filtered_and_empty_answers_are_rejects_with_the_reason(tmp_path: Path) -> None:
    reasons = {"long": "truncated", "filtered": "filtered", "empty": "empty"}
    with FaultServer(Settings()) as server:
        for mode, word in reasons.items():
            model = server_model(server.url, mode, max_tokens=20 if mode == "long" else 200)
            path = write_recipe(tmp_path, name=f"{mode}.yaml", models={"writer": model}, rows=1, max_planned=2)
            with pytest.raises(TargetNotReached) as caught:
                factory.run(path, out=tmp_path / mode)
            assert {(r["stage"], r["reason"].split(":")[0]) for r in caught.value.result.rejects()} == {("parse", word)}


@pytest.mark.parametrize("n_mode", ["honour", "ignore", "refuse"])
def test_n_in_one_request_or_in_n_requests(tmp_path: Path, n_mode: str) -> None:
    with FaultServer(Settings(n_mode=n_mode)) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url)},
            generate={"model": "writer", "candidates": 4},
            rows="all",
            **{"from": {"path": "s.jsonl"}},
            keep={"top_k": 4},
        )
        (tmp_path / "s.jsonl").write_text("\n".join(json.dumps({"x": i}) for i in range(6)))
        result = run(path, tmp_path)
        requests = server.stats()["requests"]
    rows = result.dataset()["train"]
    assert len(rows) == 24 and len(set(rows["text"])) == 24
    assert requests == (1 + 6 if n_mode == "honour" else 1 + 24)


def test_a_server_that_ignores_seeds_gives_no_silent_duplicates(tmp_path: Path) -> None:
    told: list[str] = []
    with FaultServer(Settings(n_mode="ignore", seed_mode="same")) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url)},
            generate={"model": "writer", "candidates": 3},
            rows=30,
            keep={"top_k": 3},
        )
        result = run(path, tmp_path, notice=told.append)
    rows = result.dataset()["train"]
    assert len(rows) == len(set(rows["text"])) == 30
    assert result.rejects().filter(lambda r: "duplicate_candidate" in r["reason"]).num_rows >= 60
    assert any("identical" in text for text in told)


def test_carried_source_columns_and_splits(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text("\n".join(json.dumps({"id": f"s{i}", "n": i, "tags": ["a"]}) for i in range(60)))
    path = write_recipe(
        tmp_path,
        **{"from": {"path": "s.jsonl", "carry": ["id", "n", "tags"]}},
        vary=None,
        prompt="Tell {{ source.id }}.",
        rows="all",
        export={"test_fraction": 0.3},
    )
    result = run(path, tmp_path)
    data = result.dataset()
    assert set(data) == {"train", "test"} and len(data["train"]) + len(data["test"]) == 60
    assert 5 <= len(data["test"]) <= 30
    row = data["train"][0]
    assert row["text"] == f"Tell {row['id']}." and row["n"] == int(row["id"][1:]) and json.loads(row["tags"]) == ["a"]
    before = {row["id"] for row in data["test"]}
    more = run(path, tmp_path, rows=90, models=None).dataset()
    assert before <= {row["id"] for row in more["test"]}


def test_a_split_without_rows_is_not_in_the_card(tmp_path: Path) -> None:
    """`datasets` refuses the whole dataset where one split is empty."""
    import datasets

    result = run(write_recipe(tmp_path, rows=4, export={"test_fraction": 0.001}), tmp_path)
    assert result.summary["splits"] == {"train": 4, "test": 0}
    loaded = datasets.load_dataset(str(result.path / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train"} and len(loaded["train"]) == 4


def test_it_runs_inside_a_running_event_loop(tmp_path: Path) -> None:
    path = write_recipe(tmp_path)

    async def cell() -> int:
        return len(factory.run(path, out=tmp_path / "nested").dataset()["train"])

    assert asyncio.run(cell()) == 20


def test_a_failing_gate_keeps_the_dataset_back(tmp_path: Path) -> None:
    def too_many_yaks(rows: Any, reference: Any, *, at_most: int = 0) -> list[factory.Check]:
        yaks = sum("yak" in row["text"] for row in rows)
        verdict = "PASS" if yaks <= at_most else "FAIL"
        return [factory.Check("diversity.yaks", yaks, n=len(rows), verdict=verdict, sentence=f"{yaks} yaks")]

    factory.auditor("test_too_many_yaks")(too_many_yaks)
    path = write_recipe(tmp_path, audit=[{"test_too_many_yaks": {"at_most": 0}}])
    with pytest.raises(FactoryError) as caught:
        run(path, tmp_path)
    assert caught.value.exit_code == 3 and "yaks" in caught.value.message
    result = caught.value.result
    assert not (result.path / "dataset").exists() and (result.path / "dataset.rejected" / "README.md").exists()
    passed = run(write_recipe(tmp_path, audit=[{"test_too_many_yaks": {"at_most": 1000}}]), tmp_path)
    assert passed.status == "complete" and (passed.path / "dataset").exists()


def test_a_plugin_scorer_decides(tmp_path: Path) -> None:
    def likes_owls(candidate: factory.Candidate, context: Any) -> float:
        return 1.0 if "owl" in candidate.text else 0.0

    factory.scorer("test_likes_owls")(likes_owls)
    path = write_recipe(tmp_path, score=[{"test_likes_owls": {"weight": 1}}], keep={"min_score": 1}, max_planned=2000)
    assert all("owl" in row["text"] for row in run(path, tmp_path).dataset()["train"])


def test_unfinished_extension_says_what_happens_to_the_complete_dataset(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, filter=[{"unique": {}}], vary={"n": {"integer": {"min": 1, "max": 30}}},
                        prompt="Number {{ n }}.", rows=10, max_planned=200)  # fmt: skip
    run(path, tmp_path)
    told: list[str] = []
    with pytest.raises(TargetNotReached) as caught:
        run(path, tmp_path, rows=50, notice=told.append)
    assert len(caught.value.result.dataset()["train"]) >= 28
    assert any("marked incomplete" in text for text in told)


def test_columns_that_clash_are_a_fault(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, output={"animal": "str"}, carry=["animal"])
    with pytest.raises(RecipeError, match="animal"):
        run(path, tmp_path)


@factory.scorer("asks_a_judge")
async def asks_a_judge(candidate: Any, context: Any, *, model: str) -> float | None:
    """A number out of the judge's answer."""
    stored = await context.ask(model, (Message("user", f"Rate: {candidate.text}"),), index=candidate.index)
    return None if stored.response is None else float(len(stored.response.choices[0].text) % 10)


def test_a_judge_added_later_is_asked_then_and_its_missing_call_is_no_fault_of_the_scorer(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        models = {"writer": server_model(server.url), "judge": server_model(server.url)}
        plain = write_recipe(tmp_path, rows=5, models=models)
        factory.run(plain, out=tmp_path / "run")
        judged = write_recipe(
            tmp_path, rows=5, models=models, score=[{"asks_a_judge": {"model": "judge", "weight": 1}}]
        )
        with pytest.raises(Incomplete) as caught:
            factory.run(judged, out=tmp_path / "run", replay=True)
        assert caught.value.code == "replay_miss" and "judge" in caught.value.message
        before = server.stats()["requests"]
        assert len(factory.run(judged, out=tmp_path / "run").dataset()["train"]) == 5
        assert server.stats()["requests"] == before + 5, "one question a row, and no row made anew"


def test_the_collector_of_cycles_runs_as_before_after_a_run_however_it_ends(tmp_path: Path) -> None:
    before, during = gc.get_threshold(), set[tuple[int, int, int]]()
    run(write_recipe(tmp_path), tmp_path, on_progress=lambda progress: during.add(gc.get_threshold()))
    assert before not in during and gc.get_threshold() == before
    with pytest.raises(TargetNotReached):
        run(write_recipe(tmp_path, max_planned=20, score=[{"length": {"min_words": 900}}]), tmp_path)
    assert gc.get_threshold() == before
