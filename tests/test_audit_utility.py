"""The area `utility`: real against real stays quiet, planted faults are found by the check that is about them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.utility import utility
from factory.errors import UsageError
from factory.types import Check

CLASSES = ("card", "loan", "travel", "login", "refund")
NAMES = {f"utility.{name}" for name in (
    "transfer", "gain", "mix", "label_noise", "labels_missing", "ablation", "language_model"
)}  # fmt: skip
SMALL: dict[str, Any] = {"shots": [5], "draws": 2}


def rows(count: int, seed: int, classes: Sequence[str] = CLASSES) -> list[tuple[str, str]]:
    """Texts of ten words, of which three are likely of their class's 30 and the others anybody's."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        label = classes[int(rng.integers(len(classes)))]
        own = [f"{label}{int(k)}" for k in rng.integers(0, 30, rng.integers(2, 5))]
        common = [f"word{int(k)}" for k in rng.zipf(1.4, 40) if k < 400][:8]
        words = [*own, *common]
        found.append((" ".join(words[k] for k in rng.permutation(len(words))), label))
    return found


def data(name: str, given: Sequence[tuple[str, Any]]) -> Data:
    table = pa.table({"text": [text for text, _ in given], "label": [label for _, label in given]})
    return Data(name, table, ("text",), "label")


def audit(dataset: Data, reference: Data | None, context: AuditContext, **options: Any) -> dict[str, Check]:
    checks = conclude(asyncio.run(utility(dataset, reference, context, **(SMALL | options))))
    assert {check.name for check in checks} == NAMES
    for check in checks:
        json.dumps(check.as_json(), allow_nan=False)
        assert check.verdict != "INCONCLUSIVE" or (check.sentence and check.advice)
    return {check.name.removeprefix("utility."): check for check in checks}


REAL = rows(800, 1)
HOLDOUT = AuditContext(seed=3, holdout=data("held", rows(1000, 2)))
MADE = rows(800, 4)


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.verdict == "FAIL"}


def wrong_labels(given: Sequence[tuple[str, str]], share: float, seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    return [
        (text, str(rng.choice([one for one in CLASSES if one != label])) if rng.random() < share else label)
        for text, label in given
    ]


def test_other_real_rows_as_the_dataset_pass_every_gate() -> None:
    found = audit(data("made", MADE), data("real", REAL), HOLDOUT, draws=6)
    verdicts = {name: check.verdict for name, check in found.items()}
    assert verdicts == dict.fromkeys(verdicts, "PASS") | {"ablation": "INCONCLUSIVE"}
    for name in ("transfer", "label_noise", "language_model"):
        low, high = found[name].interval or (1.0, 1.0)
        assert low <= 0.0 <= high
    few_rows = found["mix"].details["curves"][0]
    curve = few_rows["accuracy"]["real and synthetic"]
    assert few_rows["mixes"] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0] and curve[3] - curve[0] > 0.03
    table = found["gain"].details["tables"][0]
    few, everything = (dict(zip(table["header"], row, strict=True)) for row in table["rows"])
    assert few["rows"] == 25 and everything["rows"] == found["transfer"].details["real"]
    assert abs(few["equal rows"] - few["real and synthetic"]) < 0.05, "real rows of the same kind and number"
    assert abs(few["real repeated to as many rows"] - few["real alone"]) < 0.04


def test_ten_percent_of_wrong_labels_are_found_by_their_check_and_named() -> None:
    spoiled = wrong_labels(MADE, 0.1, 5)
    found = audit(data("made", spoiled), data("real", REAL), HOLDOUT)
    assert failed(found) == {"label_noise"}
    noise = found["label_noise"]
    share = np.mean([one != other for one, other in zip(MADE, spoiled, strict=True)])
    low, high = noise.interval or (1.0, 0.0)
    assert low <= share <= high
    planted = [MADE[one.row or 0][1] != one.details["label"] for one in noise.evidence]
    assert len(planted) == 20 and np.mean(planted) > 0.9
    assert all(spoiled[one.row or 0] == (one.text, one.details["label"]) for one in noise.evidence)


def test_random_labels_fail_what_is_taught_and_the_labels_themselves() -> None:
    rng = np.random.default_rng(6)
    found = audit(data("made", [(text, str(rng.choice(CLASSES))) for text, _ in MADE]), data("real", REAL), HOLDOUT)
    assert {"transfer", "label_noise", "mix"} <= failed(found)
    assert found["transfer"].value is not None and found["transfer"].value > 0.8


def test_a_class_that_is_missing_is_named_with_what_it_costs() -> None:
    found = audit(data("made", [row for row in MADE if row[1] != "loan"]), data("real", REAL), HOLDOUT)
    assert failed(found) == {"labels_missing"}
    assert "`loan`" in found["labels_missing"].sentence
    assert list(found["labels_missing"].details["missing"]) == ["loan"]
    assert found["labels_missing"].details["accuracy_without_them"]["value"] > 0.1
    told = audit(
        data("made", [row for row in MADE if row[1] != "loan"]), data("real", REAL), HOLDOUT, allow_missing_labels=True
    )
    assert not failed(told) and told["labels_missing"].test is None and told["labels_missing"].value is not None


def test_other_words_fail_the_language_model_without_any_label() -> None:
    def bare(given: Sequence[tuple[str, str]]) -> Data:
        return Data("texts", pa.table({"text": [text for text, _ in given]}), ("text",))

    strange = [(text.replace("word", "mot"), label) for text, label in MADE]
    held = AuditContext(seed=3, holdout=bare(rows(1000, 2)))
    assert failed(audit(bare(strange), bare(REAL), held)) == {"language_model"}
    quiet = audit(bare(MADE), bare(REAL), held)
    assert quiet["language_model"].verdict == "PASS"
    assert quiet["transfer"].verdict == "INCONCLUSIVE" and "label:" in quiet["transfer"].advice


def test_copies_of_test_rows_are_left_out_and_counted() -> None:
    held = rows(1000, 2)
    found = audit(data("made", [*MADE, *held[:300]]), data("real", [*REAL, *held[300:310]]), HOLDOUT)
    details = found["transfer"].details
    assert details["copies_synthetic"] == 300 and details["copies_real"] == 10
    assert (details["synthetic"], details["real"]) == (800, 800)
    assert "300 synthetic, 10 real" in found["gain"].sentence


def test_without_a_holdout_a_part_of_the_reference_is_set_apart() -> None:
    found = audit(data("made", MADE), data("real", REAL), AuditContext(seed=1))
    assert "set apart from the reference" in found["transfer"].sentence
    assert found["transfer"].details["real"] + found["transfer"].details["test"] == 800


def test_the_same_seed_gives_the_same_checks() -> None:
    one, other = (
        [check.as_json() for check in audit(data("made", MADE[:150]), data("real", REAL[:150]), HOLDOUT).values()]
        for _ in range(2)
    )
    assert json.dumps(one) == json.dumps(other)


@pytest.mark.parametrize(
    ("dataset", "reference", "says"),
    [
        (MADE, None, "no real rows"),
        (MADE, [(text, "one") for text, _ in REAL], "all the same"),
        (MADE, [(text, k + 0.5) for k, (text, _) in enumerate(REAL)], "not a class"),
        (MADE, [(text, f"{k}x") for k, (text, _) in enumerate(REAL)], "under two rows each"),
        ([(text, label.upper()) for text, label in MADE], REAL, "none in common"),
        (MADE[:1], REAL, "1 labelled synthetic rows"),
        ([("", label) for _, label in MADE], REAL, "0 labelled synthetic rows"),
        ([MADE[0]] * 50, REAL, ""),
        ([(text, None) for text, _ in MADE], REAL, "0 labelled synthetic rows"),
        ([("palabra " * 3_000_000, "card"), *MADE[:60]], [*REAL, ("only one of its kind", "odd")], ""),
        (MADE, [("?!", label) for _, label in REAL], ""),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_says_why_and_what_to_give(dataset: Any, reference: Any, says: str) -> None:
    given = None if reference is None else data("real", reference)
    found = audit(data("made", dataset), given, HOLDOUT)
    if says:
        assert says in found["transfer"].sentence and found["transfer"].verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    "options",
    [
        {"max_loss": 1.0}, {"max_label_noise": -0.1}, {"max_transfer_loss": True}, {"draws": 1}, {"shots": [0]},
        {"most_rows": 10}, {"max_extra_bits": -1}, {"max_mix_loss": "2 %"},
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"`{next(iter(options))}`"):
        audit(data("made", MADE), data("real", REAL), HOLDOUT, **options)


def rejects(candidates: Sequence[tuple[str, str, str]], *, as_json: bool) -> Data:
    """(text, label, stage) as a run leaves them: the label in the text's JSON, or in what was drawn."""
    return Data(
        "rejects.parquet",
        pa.table(
            {
                "stage": [stage for _, _, stage in candidates],
                "variation": [json.dumps({} if as_json else {"kind": label}) for _, label, _ in candidates],
                "text": [
                    json.dumps({"text": text, "label": label}) if as_json else text for text, label, _ in candidates
                ],
            }
        ),
        ("text",),
    )


def drawn(given: Sequence[tuple[str, str]]) -> Data:
    """Rows of a run: the label is an axis, and no column."""
    meta = [{"id": str(k), "variation": json.dumps({"kind": label})} for k, (_, label) in enumerate(given)]
    return Data("dataset", pa.table({"text": [text for text, _ in given], "meta": meta}), ("text",))


@pytest.mark.parametrize("as_json", [True, False])
def test_selection_that_drops_wrong_labels_is_worth_something(as_json: bool) -> None:
    rng = np.random.default_rng(8)
    bad = [(text, str(rng.choice(CLASSES)), "select") for text, _ in rows(600, 9)]
    same = [(text, label, "dedup") for text, label in rows(100, 10)]
    context = AuditContext(seed=3, holdout=HOLDOUT.holdout, rejects=rejects([*bad, *same], as_json=as_json))
    kept = MADE[:300]
    reference = Data("real", pa.table({"text": [t for t, _ in REAL], "kind": [k for _, k in REAL]}), ("text",), "kind")
    found = audit(data("made", kept) if as_json else drawn(kept), reference, context)["ablation"]
    assert found.verdict in ("PASS", "INCONCLUSIVE") and found.value is not None and found.value > 0.03
    stages = found.details["stages"]
    assert stages["select"]["low"] > 0 and abs(stages["dedup"]["value"]) < 0.02
    assert stages["select"]["rejected"] == 600


def test_selection_that_keeps_the_wrong_rows_fails() -> None:
    good = [(text, label, "select") for text, label in rows(900, 9)]
    context = AuditContext(seed=3, holdout=HOLDOUT.holdout, rejects=rejects(good, as_json=False))
    kept = wrong_labels(MADE[:300], 0.6, 1)
    found = audit(drawn(kept), data("real", REAL), context)
    assert found["ablation"].verdict == "INCONCLUSIVE", "the axis bears another name than the label, and it differs"
    named = Data("real", pa.table({"text": [t for t, _ in REAL], "kind": [k for _, k in REAL]}), ("text",), "kind")
    assert "ablation" in failed(audit(drawn(kept), named, context))


def test_candidates_without_a_label_are_inconclusive() -> None:
    bare = rejects([(text, label, "parse") for text, label in MADE], as_json=True)
    context = AuditContext(seed=3, holdout=HOLDOUT.holdout, rejects=bare)
    found = audit(data("made", MADE[:100]), data("real", REAL[:200]), context)["ablation"]
    assert found.verdict == "INCONCLUSIVE" and "no rejected candidate" in found.sentence.lower()


def test_a_model_that_embeds_gives_curves_of_its_own() -> None:
    asked: list[str] = []

    async def embed(role: str, texts: Sequence[str]) -> Any:
        asked.append(role)
        return np.array([[text.count(name) for name in CLASSES] for text in texts], dtype=np.float32)

    context = AuditContext(seed=3, holdout=HOLDOUT.holdout, models={"places": frozenset({"embed"})}, embed=embed)
    found = audit(data("made", MADE[:150]), data("real", REAL[:150]), context, embedder="places")["mix"]
    beside = found.details["beside"]
    assert set(asked) == {"places"} and "places" in beside["learner"]
    assert beside["curves"][0]["accuracy"]["real and synthetic"][0] > 0.9
    with pytest.raises(UsageError, match="nobody"):
        audit(data("made", MADE[:150]), data("real", REAL[:150]), context, embedder="nobody")
