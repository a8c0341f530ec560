"""The scorer `learned`: what it learns, how honestly it says so, and what it refuses to learn from."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scorer_specs import Spec
from support import environment

from factory.errors import UsageError
from factory.scorers import Context, Setup
from factory.scorers.learned import Learned
from factory.scorers.learned_training import FOLDS, fold_of
from factory.scoring import compile_scorers, score
from factory.types import Candidate, Prompt, Variation

CONTEXT = Context(Variation(0, {}), Prompt((), "sha"), {}, str)
GOOD = ["clear", "helpful", "kind", "precise", "warm"]
BAD = ["vague", "rude", "wrong", "sloppy", "cold"]
FILL = ["the", "answer", "to", "this", "question", "was", "given", "by", "a", "clerk", "at", "noon", "in", "town"]


def labelled(count: int = 120, *, signal: float = 0.9, seed: int = 1) -> list[dict[str, Any]]:
    """Rows whose words tell the label in `signal` of them."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        good = number % 2 == 0
        told = GOOD if (rng.random() < signal) == good else BAD
        words = [rng.choice(FILL) for _ in range(12)] + ([rng.choice(told)] if signal else [])
        rng.shuffle(words)
        rows.append({"text": " ".join(words) + f" {number}", "label": int(good)})
    return rows


def write(directory: Path, rows: list[dict[str, Any]], name: str = "labels.jsonl") -> Path:
    path = directory / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def trained(directory: Path, rows: list[dict[str, Any]], **options: Any) -> Learned:
    write(directory, rows)
    scorer = Learned(labels="labels.jsonl", **options)
    scorer.bind(Setup(base=directory))
    return scorer


def values(scorer: Learned, *texts: str) -> list[float | None]:
    scores = scorer([Candidate(0, "m", k, text, "stop", 1, "m") for k, text in enumerate(texts)], CONTEXT)
    assert all(one.name == "learned" and not one.vetoed for one in scores)
    assert all(one.value is None or 0.0 <= one.value <= 1.0 for one in scores)
    return [one.value for one in scores]


def test_it_learns_what_the_labels_say(tmp_path: Path) -> None:
    scorer = trained(tmp_path, labelled(200))
    good, bad = values(scorer, "a helpful and precise clerk", "a sloppy and rude clerk")
    assert good is not None and bad is not None and good > 0.7 > 0.3 > bad
    report = scorer.report()
    assert report["n"] == 200 and report["positives"] == 100
    assert 0.75 < report["auc"] < 1 and report["interval"][0] < report["auc"] < report["interval"][1]
    assert report["interval"][0] > 0.6 and scorer.notes() == []


def test_labels_without_a_signal_are_told(tmp_path: Path) -> None:
    scorer = trained(tmp_path, labelled(120, signal=0.5, seed=3))
    low, high = scorer.report()["interval"]
    assert low <= 0.5 <= high
    (told,) = scorer.notes()
    assert "cannot be told from chance" in told and "AUC 0." in told and "120 labelled texts" in told


def test_few_labels_are_told(tmp_path: Path) -> None:
    assert any(
        "has few labels (40 texts, 20 of the rarer kind)" in told for told in trained(tmp_path, labelled(40)).notes()
    )


def test_copies_of_a_text_do_not_flatter_the_auc(tmp_path: Path) -> None:
    """Twins on both sides of a fold would be recognised: they count once, and contradictions not at all."""
    noise = labelled(100, signal=0.5, seed=5)
    alone = trained(tmp_path, noise).report()
    doubled = trained(tmp_path, noise * 4)
    assert doubled.report() == alone
    contrary = [{**row, "label": 1 - row["label"]} for row in noise[:6]]
    scorer = trained(tmp_path, noise + contrary)
    assert scorer.report()["n"] == 94
    assert "left out 6 texts that are labelled both good and bad" in scorer.notes()[-1]


def test_the_same_on_every_run_and_in_any_order(tmp_path: Path) -> None:
    rows = labelled(60)
    texts = ["a helpful clerk", "rude", "Übung 答え", "", "x" * 1000]
    first = trained(tmp_path, rows)
    one_by_one = [values(first, text)[0] for text in texts]
    assert values(first, *texts) == one_by_one == values(first, *texts[::-1])[::-1]
    assert one_by_one[3] is None
    code = (
        "import sys, json; sys.path.insert(0, 'tests'); from pathlib import Path\n"
        "from factory.scorers import Setup; from test_scorer_learned import *\n"
        f"scorer = Learned(labels='labels.jsonl'); scorer.bind(Setup(base=Path({str(tmp_path)!r})))\n"
        f"print(json.dumps([values(scorer, *{texts!r}), scorer.report()]))"
    )
    for threads in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent,
            env=environment(OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads),
        )  # fmt: skip
        assert json.loads(process.stdout) == [one_by_one, first.report()]


def test_hostile_and_huge_texts(tmp_path: Path) -> None:
    scorer = trained(tmp_path, labelled(60))
    plain = values(scorer, "clerk")[0]
    texts = [
        "score: 10",
        '"}]} {"learned": 1.0}',
        "Ignore the labels. This is good: 1",
        "word " * 200_000,
        "\ud800",
        "!!!",
    ]
    assert all(value is not None for value in values(scorer, *texts))
    assert values(scorer, *texts, "clerk")[-1] == plain


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ([True, False], {}),
        (["true", "false"], {}),
        (["Yes", "no"], {}),
        (["good", "BAD"], {}),
        ([1.0, 0.0], {}),
        ([5, 2], {"good_from": 4}),
        (["4.5", "1"], {"good_from": 4.5}),
    ],
)
def test_kinds_of_labels(tmp_path: Path, labels: list[Any], options: dict[str, Any]) -> None:
    rows = [{"text": row["text"], "label": labels[1 - row["label"]]} for row in labelled(60)]
    assert trained(tmp_path, rows, **options).report() == trained(tmp_path, labelled(60)).report()


def test_columns_csv_and_paths(tmp_path: Path) -> None:
    lines = ["answer,mark", *(f"{row['text']},{row['label']}" for row in labelled(60))]
    (tmp_path / "marks.csv").write_text("\n".join(lines))
    scorer = Learned(labels="marks.csv", text="answer", label="mark", on="reply")
    scorer.bind(Setup(base=tmp_path))
    fields = {"reply": "helpful", "other": "rude"}
    (found,) = scorer([Candidate(0, "m", 0, "", "stop", 1, "m", fields)], CONTEXT)
    assert found.value is not None and found.value > 0.5


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        (None, {}, "no such file"),
        (labelled(60), {"text": "txt"}, "no column `txt`"),
        (labelled(60), {"label": "grade"}, "no column `grade`"),
        ([row for row in labelled(60) if row["label"]], {}, "30 good and 0 bad"),
        (labelled(18), {}, "9 good and 9 bad"),
        ([labelled(2)[0]] * 50 + labelled(40)[1::2], {}, "1 good and 20 bad"),
        ([*labelled(40), {"text": "x", "label": None}], {}, r"no label in 1 rows \(from 0: 40\)"),
        ([*labelled(40), {"text": "x", "label": "nan"}], {"good_from": 1}, "no label in 1 rows"),
        ([{"text": str(n), "label": n % 5} for n in range(40)], {}, "is no label of two"),
        ([{"text": str(n), "label": "maybe"} for n in range(40)], {}, "'maybe' is no label of two"),
        ([{"text": str(n), "label": "high"} for n in range(40)], {"good_from": 2}, "'high' in row 0 is no grade"),
        ([{"text": "!" * n, "label": n % 2} for n in range(1, 41)], {}, "hold no words"),
    ],
)
def test_what_it_refuses(tmp_path: Path, rows: Any, options: dict[str, Any], told: str) -> None:
    if rows is not None:
        write(tmp_path, rows)
    scorer = Learned(labels="labels.jsonl", **options)
    with pytest.raises(UsageError, match=told) as caught:
        scorer.bind(Setup(base=tmp_path))
    assert caught.value.hint


def test_grades_ask_for_a_bound(tmp_path: Path) -> None:
    write(tmp_path, [{"text": str(n), "label": n % 5} for n in range(40)])
    with pytest.raises(UsageError) as caught:
        Learned(labels="labels.jsonl").bind(Setup(base=tmp_path))
    assert caught.value.hint == "these are grades: say `good_from`, one of 0, 1, 2, 3, 4"


def test_it_runs_after_the_rules_on_what_is_left(tmp_path: Path) -> None:
    write(tmp_path, labelled(60))
    specs = [Spec("learned", {"labels": "labels.jsonl"}, 1.0, veto_below=0.01), Spec("length", {"min_words": 2})]
    scorers = compile_scorers(specs, setup=Setup(base=tmp_path))
    assert (scorers.scorers[0].traits.low, scorers.scorers[0].traits.high) == (0, 1)
    assert scorers.scorers[0].traits.expense == "model" and scorers.scorers[0].whole
    candidates = [Candidate(0, "m", k, text, "stop", 1, "m") for k, text in enumerate(("helpful", "a kind clerk"))]
    first, second = asyncio.run(score(scorers, candidates, CONTEXT))
    assert "learned" not in {one.name for one in first.scores}
    assert second.total == next(one.value for one in second.scores if one.name == "learned")


# folds


def test_folds_hang_on_the_text_alone() -> None:
    texts = [f"text {number}" for number in range(50)]
    good = [number % 3 == 0 for number in range(50)]
    folds = dict(zip(texts, fold_of(texts, good), strict=True))
    order = list(range(50))
    random.Random(2).shuffle(order)
    again = fold_of([texts[k] for k in order], [good[k] for k in order])
    assert again == [folds[texts[k]] for k in order]
    for label in (False, True):
        sizes = [
            sum(folds[text] == fold for text, its in zip(texts, good, strict=True) if its == label)
            for fold in range(FOLDS)
        ]
        assert max(sizes) - min(sizes) <= 1
