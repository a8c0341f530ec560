"""`factory score` with models: Ctrl-C, batches, budgets, and what stops the rest."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from batch_server import BatchServer
from judge_server import PRICE, JudgeServer
from support import command, environment, factory_json, server_model

from factory.assessing import Wanted, assess
from factory.assessing.walk import GROUPS_AT_ONCE
from factory.errors import FactoryError, Incomplete, UsageError

ROWS = 24


def write(directory: Path, server: JudgeServer, score: list[dict[str, Any]]) -> tuple[str, str]:
    data, scorers = directory / "answers.jsonl", directory / "scorers.yaml"
    data.write_text("".join(json.dumps({"text": f"answer number {k}"}) + "\n" for k in range(ROWS)))
    models = {"judge": server.model("judge", concurrency=4)}
    scorers.write_text(yaml.safe_dump({"models": models, "score": score}))
    return str(data), str(scorers)


def test_ctrl_c_waits_for_the_answers_in_flight_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    four, release = threading.Semaphore(0), threading.Event()

    def judge(body: dict[str, Any], index: int) -> str:
        four.release()
        assert release.wait(60)
        return '{"reason": "fair", "score": 3}'

    with JudgeServer(judge=judge) as server:
        data, scorers = write(tmp_path, server, [{"judge": {"model": "judge", "weight": 1}}])
        arguments = ("score", data, "--scorers", scorers, "--out", tmp_path / "out")
        process = subprocess.Popen(
            command(*arguments, "--json"),
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert all(four.acquire(timeout=60) for _ in range(4)), "four calls hang at the server"
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        release.set()
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr
        assert json.loads(stdout)["error"]["code"] == "interrupted"
        assert server.count("judge") == 4
        told = factory_json(*arguments)
        asked = Counter(json.dumps(body, sort_keys=True) for body in server.asked("judge"))
        assert told["scorers"]["judge"]["asked"] == ROWS
        assert len(asked) == ROWS and set(asked.values()) == {1}


def test_a_failing_scorer_stops_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One group's fault ends the command: the others are not paid for first."""
    with JudgeServer(judge=lambda body, index: '{"reason": "fair", "score": 3}') as server:
        data, scorers = write(tmp_path, server, [{"judge": {"model": "judge"}}])
        from factory.scorers.judging import pointwise

        first = pointwise.Judge.__call__

        async def fail(self: Any, candidate: Any, context: Any) -> Any:
            if candidate.row == 2:
                raise ValueError("a bug")
            return await first(self, candidate, context)

        monkeypatch.setattr(pointwise.Judge, "__call__", fail)
        monkeypatch.setattr("factory.assessing.walk.GROUPS_AT_ONCE", 4)
        with pytest.raises(FactoryError, match="a bug"):
            assess(Wanted(data, scorers), out=tmp_path / "out")
        assert 0 < server.count("judge") < ROWS / 2


def test_a_batch_holds_all_rows_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_BATCH_TIMING", "quiet=0.15,first=0.05,last=0.1,lag=0.3")
    rows = GROUPS_AT_ONCE + 10
    data, scorers = tmp_path / "answers.jsonl", tmp_path / "scorers.yaml"
    data.write_text("".join(json.dumps({"text": f"answer number {k}"}) + "\n" for k in range(rows)))
    with BatchServer() as server:
        judge = server_model(server.url, "json", batch=True, max_tokens=100)
        score = [{"judge": {"model": "judge", "expected": False}}]
        scorers.write_text(yaml.safe_dump({"models": {"judge": judge}, "score": score}))
        found = assess(Wanted(str(data), str(scorers)), out=tmp_path / "out")
        told = server.stats()
    assert found.summary["scorers"]["judge"]["asked"] == rows
    assert told["submits"] == 1 and len(told["generated"]) == rows


def test_a_budget_ends_it_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with JudgeServer(judge=lambda body, index: '{"reason": "fair", "score": 3}') as server:
        data, scorers = write(tmp_path, server, [{"judge": {"model": "judge"}}])
        document = yaml.safe_load(Path(scorers).read_text())
        document["models"]["judge"]["price"] = PRICE
        Path(scorers).write_text(yaml.safe_dump(document))
        with pytest.raises(Incomplete, match="budget"):
            assess(Wanted(data, scorers, budget=0.03), out=tmp_path / "out")
        first = server.count("judge")
        assert 0 < first < ROWS and server.billed <= 30_000_000
        assess(Wanted(data, scorers, budget=3.0), out=tmp_path / "out")
        assert server.count("judge") == ROWS


def test_one_folder_serves_more_rows_and_other_scorers(tmp_path: Path) -> None:
    """What was paid for the first rows is not paid again when all are scored."""
    out = tmp_path / "out"
    with JudgeServer(judge=lambda body, index: '{"reason": "fair", "score": 3}') as server:
        data, scorers = write(tmp_path, server, [{"judge": {"model": "judge"}}])
        assess(Wanted(data, "length"), out=out)
        assess(Wanted(data, scorers, limit=5), out=out)
        assert server.count("judge") == 5
        assess(Wanted(data, scorers), out=out)
        assert server.count("judge") == ROWS
        write(tmp_path, server, [{"length": {}}, {"judge": {"model": "judge", "weight": 2}}])
        assert assess(Wanted(data, scorers), out=out).summary["scorers"]["judge"]["missing"] == 0
        assert server.count("judge") == ROWS


def test_models_of_scorers_on_the_command_line(tmp_path: Path) -> None:
    with JudgeServer(judge=lambda body, index: '{"reason": "fair", "score": 3}') as server:
        data, _ = write(tmp_path, server, [{"length": {}}])
        with pytest.raises(UsageError, match="no model has the role `j`") as failed:
            assess(Wanted(data, "judge: {model: j}"), out=tmp_path / "out")
        assert "--model j=" in failed.value.hint
        wanted = Wanted(data, "perplexity: {model: j}", models=(("j", "embedded/tiny"),), limit=3)
        assert assess(wanted, out=tmp_path / "tiny").summary["scorers"]["perplexity"]["missing"] == 0
        with pytest.raises(UsageError, match="no scorer asks `k`"):
            assess(Wanted(data, "perplexity: {model: j}", models=(("j", "echo"), ("k", "echo"))), out=tmp_path)


def test_models_that_no_scorer_asks_need_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with JudgeServer(judge=lambda body, index: '{"reason": "fair", "score": 3}') as server:
        data, scorers = write(tmp_path, server, [{"judge": {"model": "judge"}}])
        document = yaml.safe_load(Path(scorers).read_text())
        document["models"]["writer"] = "openai/gpt-5-mini"
        Path(scorers).write_text(yaml.safe_dump(document))
        assert assess(Wanted(data, scorers), out=tmp_path / "out").summary["scorers"]["judge"]["asked"] == ROWS


def test_the_source_of_a_row_is_what_stands_beside_the_text(tmp_path: Path) -> None:
    """A text that is compared with itself would be a copy, and grounded in itself."""
    data = tmp_path / "rows.jsonl"
    rows = [
        {"passage": "the mill was built in 1872 by two brothers", "text": "the mill was built in 1999", "ok": k}
        for k in (0, 1)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[str] = []
    wanted = Wanted(str(data), "novelty, grounded, prompt_copy", columns=("text",), labels="ok")
    found = assess(wanted, notice=told.append).summary["scorers"]
    assert 0 < found["novelty"]["values"]["mean"] < 1 and found["grounded"]["values"]["mean"] == 0
    assert told == ["without --prompt, `prompt_copy` cannot see what was asked"]
