"""The audit of our own choice of candidates: made-up runs with and without a group that is kept less often."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.bias.candidates import gather, last_step
from factory.auditors.bias.selection import measure_ratios, selection
from factory.auditors.groups import groupings
from factory.errors import UsageError
from factory.types import Check

Made = tuple[Data, Data]


def make(
    rows: int = 300,
    candidates: int = 4,
    seed: int = 0,
    handicap: Callable[[dict[str, Any]], float] = lambda one: 0.0,
    as_json: bool = False,
    flips: float | None = None,
) -> Made:
    """A run that keeps the best of `candidates`: each has a model, a person in its text, and an axis of its row."""
    rng = np.random.default_rng(seed)
    accepted, fallen = [], []
    for row in range(rows):
        tone = str(rng.choice(["calm", "loud", "dry"]))
        made = []
        for index in range(candidates):
            one = {"tone": tone, "model": str(rng.choice(["small", "large"])), "who": str(rng.choice(["She", "He"]))}
            one |= {"text": f"{one['who']} wrote answer {index} of row {row}.", "index": index, "row": row}
            made.append(one | {"total": float(rng.normal()) - handicap(one)})
        made.sort(key=lambda one: -float(one["total"]))
        for rank, one in enumerate(made):
            parts = (
                {} if flips is None else {"comparisons": 10, "inconsistent": int(rng.binomial(10, flips)), "first": 0}
            )
            scores = json.dumps({"judge": one["total"], **{f"judge.{name}": value for name, value in parts.items()}})
            told = {"row": row, "model": one["model"], "variation": json.dumps({"tone": tone}), "scores": scores}
            if rank == 0:
                accepted.append({"text": one["text"], "source": "Anna", "meta": {**told, "id": f"{row}"}})
            else:
                text = json.dumps({"text": one["text"]}) if as_json else one["text"]
                stage = "select" if rank < candidates - 1 else "score"
                fallen.append(
                    told
                    | {"step": "write", "candidate": one["index"], "stage": stage, "reason": "not in the top 1"}
                    | {"total": one["total"], "text": text, "matched": None}
                )
    return Data("made", pa.Table.from_pylist(accepted)), Data("rejects", pa.Table.from_pylist(fallen))


def audit(made: Made, lexicons: bool = False, **options: Any) -> dict[str, Check]:
    dataset, rejects = made
    found = groupings(dataset, "en", axis="gender")[0] if lexicons else []
    checks = conclude(selection(dataset, AuditContext(rejects=rejects), found, **options))
    return {check.subject: check for check in checks}


def test_an_even_choice_passes() -> None:
    checks = audit(make(1500), lexicons=True)
    assert set(checks) == {"axis tone", "model", "gender"}
    assert {check.verdict for check in checks.values()} == {"PASS"}
    assert all(check.gate and ".8" in check.gate for check in checks.values())


def test_the_ratio_is_that_of_a_count_by_hand() -> None:
    dataset, rejects = make(200)
    kept = [one["model"] for one in dataset.values("meta")].count("small")
    fell = rejects.values("model").count("small")
    others = len(dataset) - kept, len(rejects) - fell
    ratio = (kept / (kept + fell)) / (others[0] / sum(others))
    check = audit((dataset, rejects))["model"]
    assert check.details["ratios"]["small"] == pytest.approx(ratio, rel=0.01)
    table = check.details["tables"][0]
    small = dict(zip(table["header"], next(row for row in table["rows"] if row[0] == "small"), strict=True))
    assert (small["candidates"], small["kept"]) == (kept + fell, kept)
    assert small["fell: select"] + small["fell: score"] == pytest.approx(fell / (kept + fell), abs=1e-3)


@pytest.mark.parametrize(("key", "name", "subject"), [("model", "small", "model"), ("who", "She", "gender")])
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_kept_less_often_fails_and_nothing_else(key: str, name: str, subject: str, as_json: bool) -> None:
    made = make(600, handicap=lambda one: 0.6 if one[key] == name else 0.0, as_json=as_json)
    checks = audit(made, lexicons=True)
    assert {told for told, check in checks.items() if check.verdict == "FAIL"} == {subject}
    check = checks[subject]
    assert check.value is not None and check.value > 0.3 and check.interval is not None and check.interval[0] > 0
    assert "0.5" in check.sentence or "0.4" in check.sentence
    assert check.evidence and check.evidence[0].source == "rejects"
    row = check.evidence[0].row
    assert row is not None and made[1].values("text")[row].startswith(check.evidence[0].text[:20])


def test_a_group_that_falls_by_a_filter_is_seen_too() -> None:
    dataset, rejects = make(500)
    lost = [at for at, one in enumerate(dataset.axes["tone"]) if one == "dry" and at % 2]
    kept = [at for at in range(len(dataset)) if at not in set(lost)]
    fell = [
        {**one["meta"], "step": "write", "candidate": 0, "stage": "filter", "reason": "too long", "total": 0.0}
        | {"text": one["text"], "matched": None}
        for one in dataset.take(lost)
    ]
    names = rejects.table.schema.names
    more = pa.Table.from_pylist([{name: one[name] for name in names} for one in fell], schema=rejects.table.schema)
    checks = audit((dataset.take(kept), Data("rejects", pa.concat_tables([rejects.table, more]))))
    assert checks["axis tone"].verdict == "FAIL" and checks["model"].verdict != "FAIL"
    assert "dry" in checks["axis tone"].sentence


def test_carried_columns_do_not_make_accepted_rows_speak_of_a_group() -> None:
    """`source` is Anna in every row of the dataset, and in no reject."""
    check = audit(make(1500, as_json=True), lexicons=True)["gender"]
    assert check.verdict == "PASS" and check.n == 6000


def test_intervals_cover_and_equal_chances_do_not_fail() -> None:
    covered, failed = 0, 0
    for seed in range(60):
        dataset, rejects = make(60, seed=seed)
        found = gather(dataset, rejects)
        assert found is not None
        models = found.column("model")
        assert models is not None
        codes = np.array([0 if model == "small" else 1 for model in models])
        ratios = measure_ratios(found, ("small", "large"), codes)
        assert ratios is not None
        covered += abs(ratios.log_ratio[0]) <= 1.96 * ratios.se[0]
        failed += any(check.verdict == "FAIL" for check in audit((dataset, rejects)).values())
    assert covered >= 53 and failed <= 4


def test_an_axis_of_the_row_has_no_chance_in_a_choice_within_the_row() -> None:
    """One of four is kept of every row, whatever its tone: nothing varies, and that is known for sure."""
    check = audit(make(80))["axis tone"]
    assert check.verdict == "PASS" and check.value == pytest.approx(0, abs=0.02)


def test_the_last_step_alone_is_looked_at() -> None:
    stages = ["select", "select", "select", "dedup"]
    assert last_step(["plan", "plan", "write", "write"], [0, 0, 0, 1], stages) == "write"
    assert last_step(["plan", "write", "plan", "write"], [0, 0, 1, 1], ["select"] * 4) == "write"
    assert last_step(["only"], [0], ["select"]) == "only" and last_step([], [], []) is None
    dataset, rejects = make(100)
    earlier = rejects.table.set_column(
        rejects.table.schema.get_field_index("step"), "step", pa.array(["plan"] * len(rejects))
    )
    both = Data("rejects", pa.concat_tables([earlier, rejects.table]))
    assert audit((dataset, both))["model"].n == audit((dataset, rejects))["model"].n


def test_candidates_that_are_the_same_were_not_judged() -> None:
    dataset, rejects = make(100)
    reasons = ["duplicate_candidate: 0" if at % 2 else "not in the top 1" for at in range(len(rejects))]
    place = rejects.table.schema.get_field_index("reason")
    same = Data("rejects", rejects.table.set_column(place, "reason", pa.array(reasons)))
    assert audit((dataset, same))["model"].n == 100 + 150


def test_a_judge_that_goes_by_the_order_fails() -> None:
    fair = audit(make(300, flips=0.2))["order of `judge`"]
    assert fair.verdict == "PASS" and fair.value == pytest.approx(0.2, abs=0.02) and fair.n == 6000
    assert fair.interval is not None and fair.interval[0] < 0.2 < fair.interval[1]
    bad = audit(make(300, flips=0.7))["order of `judge`"]
    assert bad.verdict == "FAIL" and "70" in bad.sentence
    few = audit(make(3, flips=1.0))["order of `judge`"]
    assert few.verdict != "PASS"
    with pytest.raises(UsageError, match="flips"):
        audit(make(10), flips=2.0)


def test_what_cannot_be_measured_says_what_to_give() -> None:
    dataset, rejects = make(30)
    [check] = selection(dataset, AuditContext(), [])
    assert check.verdict == "INCONCLUSIVE" and "factory audit RUN" in check.advice
    bare = Data("bare", pa.table({"text": ["a", "b"]}))
    [check] = selection(bare, AuditContext(rejects=rejects), [])
    assert check.verdict == "INCONCLUSIVE" and "meta.row" in check.sentence
    [check] = selection(dataset, AuditContext(rejects=Data("r", rejects.table.drop_columns(["stage"]))), [])
    assert "stage" in check.sentence
    empty = Data("rejects", rejects.table.slice(0, 0))
    [check] = selection(dataset, AuditContext(rejects=empty), [])
    assert check.verdict == "INCONCLUSIVE" and "was kept" in check.sentence
    old = Data("rejects", rejects.table.drop_columns(["model"]))
    assert set(audit((dataset, old))) == {"axis tone"}
    with pytest.raises(UsageError, match="limit"):
        selection(dataset, replace(AuditContext(), rejects=rejects), [], limit=0.5, effect=0.6)
