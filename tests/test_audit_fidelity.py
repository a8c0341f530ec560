"""The area fidelity: what real against real says, which check finds which defect, and what bad data gives."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from fidelity_samples import NAMES, audit, cut, replaced, rows, shuffled, texts, verdicts

from factory.auditing.report import Audit
from factory.auditors.fidelity import CHECKS
from factory.errors import UsageError

N = 2000


@pytest.fixture(scope="module")
def real() -> pa.Table:
    return rows(N, 1)


@pytest.fixture(scope="module")
def made() -> pa.Table:
    return rows(N, 2)


def failed(dataset: pa.Table, reference: pa.Table, **options: object) -> set[str]:
    return {name for name, verdict in verdicts(audit(dataset, reference, **options)).items() if verdict == "FAIL"}


def test_real_rows_pass_every_check(real: pa.Table, made: pa.Table) -> None:
    checks = audit(made, real)
    assert set(verdicts(checks).values()) == {"PASS"}, verdicts(checks)
    assert {check.name.partition(".")[2] for check in checks} == set(CHECKS)
    assert all(check.sentence and check.method and check.gate and check.value is not None for check in checks)


def test_an_audit_is_json_and_the_same_again(real: pa.Table, made: pa.Table) -> None:
    small, other = made.slice(0, 300), real.slice(0, 300)
    one, two = (json.dumps(Audit(tuple(audit(small, other, seed=3))).as_json(), allow_nan=False) for _ in range(2))
    assert one == two


def test_false_alarms_are_rare() -> None:
    """Small audits of rows of one law: at most 5 % may have a FAIL."""
    alarms = 0
    for seed in range(30):
        both = rows(240, 100 + seed)
        found = verdicts(audit(both.slice(0, 120), both.slice(120), seed=seed))
        alarms += "FAIL" in found.values()
    assert alarms <= 1


def test_texts_cut_to_60_percent(real: pa.Table, made: pa.Table) -> None:
    assert "length" in failed(cut(made, "answer", 0.6), real, checks=["length", "style"])


def test_lengths_halved(real: pa.Table, made: pa.Table) -> None:
    checks = audit(cut(made, "question", 0.5), real, checks=["length"])
    assert checks[0].verdict == "FAIL" and "`question`" in checks[0].sentence and "longer" in checks[0].advice


def test_a_tenth_of_the_rows_of_another_topic(real: pa.Table) -> None:
    found = failed(rows(N, 3, [0.3, 0.175, 0.175, 0.175, 0.175]), real, checks=["topics", "labels"])
    assert found >= {"topics", "labels shares"}


def test_a_shift_too_small_to_be_seen_is_inconclusive() -> None:
    checks = audit(rows(150, 3, [0.3, 0.175, 0.175, 0.175, 0.175]), rows(150, 4), checks=["topics", "length"])
    assert verdicts(checks) == {"topics": "INCONCLUSIVE", "length": "INCONCLUSIVE"}
    assert all("would go unseen" in check.sentence and check.advice for check in checks)


def test_a_mode_dropped_and_its_label_missing(real: pa.Table) -> None:
    checks = audit(rows(N, 5, [0.25, 0.25, 0.25, 0.25, 0.0]), real, checks=["topics", "coverage", "mauve"])
    assert {name for name, verdict in verdicts(checks).items() if verdict == "FAIL"} >= {"topics", "coverage"}


def test_a_label_missing_and_a_new_one(real: pa.Table, made: pa.Table) -> None:
    labels = made.column("label").to_pylist()
    less = made.filter(pa.array([label != "garden" for label in labels]))
    check = next(c for c in audit(less, real, checks=["labels"]) if c.subject == "missing or new")
    assert check.verdict == "FAIL" and list(check.details["missing"]) == ["garden"]
    more = replaced(made, "label", ["Garden" if row < 30 else label for row, label in enumerate(labels)])
    check = next(c for c in audit(more, real, checks=["labels"]) if c.subject == "missing or new")
    assert check.verdict == "FAIL" and check.details["new"] == {"Garden": 30}
    assert {one.row for one in check.evidence} <= set(range(30))


def test_many_new_labels_of_one_row_each(real: pa.Table, made: pa.Table) -> None:
    labels = [f"{label} {row}" if row < 200 else label for row, label in enumerate(made.column("label").to_pylist())]
    check = next(c for c in audit(replaced(made, "label", labels), real, checks=["labels"]) if c.subject != "shares")
    assert check.verdict == "FAIL"


def test_columns_exchanged(real: pa.Table, made: pa.Table) -> None:
    names = ["answer" if one == "question" else "question" if one == "answer" else one for one in made.schema.names]
    swapped = made.rename_columns(names)
    assert "length" in failed(swapped, real, checks=["length", "columns"])


def test_exchanged_texts_of_equal_length_are_told_by_their_words() -> None:
    def pair(n: int, seed: int) -> pa.Table:
        rng = np.random.default_rng(seed)
        return pa.table({"fish": texts(["sailing"] * n, rng), "soup": texts(["cooking"] * n, rng)})

    made, real = pair(600, 1), pair(600, 2)
    swapped = made.rename_columns(["soup", "fish"])
    assert verdicts(audit(made, real, checks=["length", "columns"]))["columns text columns"] == "PASS"
    found = failed(pa.concat_tables([made.slice(180), swapped.slice(0, 180).select(["fish", "soup"])]), real)
    assert "columns text columns" in found and "length" not in found


@pytest.mark.parametrize("column", ["city", "income", "answer", "label"])
def test_a_column_shuffled_on_its_own(real: pa.Table, made: pa.Table, column: str) -> None:
    """Its values are as they were, so that nothing but relations can tell."""
    found = failed(shuffled(made, column), real, checks=["length", "labels", "columns", "correlation", "conditional"])
    assert "correlation" in found and found <= {"correlation", "conditional"}


def test_a_constant_column(real: pa.Table, made: pa.Table) -> None:
    assert failed(replaced(made, "city", ["Oslo"] * N), real, checks=["columns"]) == {"columns"}
    assert failed(replaced(made, "age", [40.0] * N), real, checks=["columns"]) == {"columns"}
    assert failed(replaced(made, "age", pa.array([None] * N, pa.float64())), real, checks=["columns"]) == {"columns"}


def test_columns_that_are_not_there_or_unlike(real: pa.Table, made: pa.Table) -> None:
    other = replaced(made.drop_columns(["city"]), "age", [str(row) for row in range(N)])
    check = next(c for c in audit(other, real, checks=["columns"]) if c.subject == "not comparable")
    assert check.verdict == "INCONCLUSIVE" and "`city`" in check.sentence and "`age`" in check.sentence


def test_text_columns_of_other_names_are_joined(real: pa.Table, made: pa.Table) -> None:
    renamed = made.rename_columns({"question": "instruction", "answer": "response"})
    checks = audit(renamed, real, checks=["length", "topics"])
    assert set(verdicts(checks).values()) == {"PASS"}
    assert "instruction, response here, question, answer there" in checks[0].sentence


def test_few_texts_again_and_again(real: pa.Table, made: pa.Table) -> None:
    few = made.take(np.arange(N) % 20)
    assert failed(few, real) >= {"vocabulary coverage", "vocabulary shares", "topics", "coverage", "mauve"}


def test_another_language_and_another_style(real: pa.Table, made: pa.Table) -> None:
    answers = made.column("answer").to_pylist()
    german = "Der Hund und die Katze sind im Garten, weil es dort schön ist und die Sonne scheint."
    mixed = replaced(made, "answer", [german if row < 300 else text for row, text in enumerate(answers)])
    check = audit(mixed, real, checks=["style"])[0]
    assert check.verdict == "FAIL" and check.details["features"]["answer: in another language than en"]["d"] > 0.3
    shouted = replaced(made, "answer", [f"**{text}**\n- yes!" for text in answers])
    check = audit(shouted, real, checks=["style"])[0]
    assert check.verdict == "FAIL" and check.evidence and check.evidence[0].text.startswith("**")


def test_without_a_reference_every_check_says_what_to_give(made: pa.Table) -> None:
    checks = audit(made, None)
    assert [check.name for check in checks] == [f"fidelity.{name}" for name in CHECKS]
    assert all(check.verdict == "INCONCLUSIVE" and "--reference REAL" in check.advice for check in checks)


MANY = [f"{topic} {row}" for row in range(60) for topic in NAMES]
BAD = {
    "one row": (["a"], MANY),
    "all equal": (["same text"] * 300, ["same text"] * 300),
    "equal here": (["same text"] * 300, MANY),
    "empty": ([""] * 300, MANY),
    "all empty": ([""] * 300, [""] * 300),
    "nulls": ([None] * 300, MANY),
    "signs alone": (["?! …"] * 300, MANY),
    "huge": (["word " * 400_000, *MANY], MANY),
    "no spaces": ([f"今天天气很好。我们去公园吧{row % 7}" for row in range(300)], MANY),
    "emoji": ([f"😀😀 {row % 7}" for row in range(300)], MANY),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_texts_give_checks_not_tracebacks(case: str) -> None:
    here, there = (pa.table({"text": pa.array(side, pa.string())}) for side in BAD[case])
    checks = audit(here, there)
    json.dumps(Audit(tuple(checks)).as_json(), allow_nan=False)
    assert {check.name.partition(".")[2] for check in checks} == set(CHECKS)
    assert all(check.sentence for check in checks)
    assert all(check.advice for check in checks if check.verdict != "PASS")


def test_no_text_column_leaves_the_structured_ones() -> None:
    columns = ["age", "income", "label"]
    found = verdicts(audit(rows(N, 1).select(columns), rows(N, 2).select(columns)))
    assert found["topics"] == "INCONCLUSIVE" and found["columns"] == "PASS" and found["correlation"] == "PASS"


def test_limits_and_checks_are_options(real: pa.Table, made: pa.Table) -> None:
    short = cut(made, "question", 0.5)
    assert failed(short, real, checks=["length"], limits={"length": 0.9}) == set()
    with pytest.raises(UsageError, match="no limit `lenght`"):
        audit(made, real, limits={"lenght": 0.5})
    with pytest.raises(UsageError, match="no check `topic`"):
        audit(made, real, checks=["topic"])
    with pytest.raises(UsageError, match="limit of `mauve` is 2"):
        audit(made, real, limits={"mauve": 2.0})
    with pytest.raises(UsageError, match="min_label_share"):
        audit(made, real, min_label_share=1.5)
    with pytest.raises(UsageError, match="no model `vectors`"):
        audit(made, real, model="vectors", checks=["topics"])
