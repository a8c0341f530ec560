"""The area `requested`, counterfactual swaps, and how an audit asks models: journaled, paid once, replayed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from judge_server import PRICE, JudgeServer, everything, last

import factory
from factory import registry
from factory.auditing import conclude
from factory.auditors import Answer, AuditContext, Data
from factory.auditors.bias.counterfactual import counterfactual
from factory.auditors.groups import groupings
from factory.auditors.requested import requested
from factory.auditors.requested.coverage import coverage
from factory.errors import FactoryError, GateFailed, Incomplete, UsageError
from factory.types import Check

COLOURS = ["red", "green", "blue", "yellow"]
WORDS = (
    *("river", "stone", "cloud", "meadow", "lantern", "harbour", "window", "garden"),
    *("copper", "willow", "thunder", "ribbon", "saddle", "ember", "canyon"),
)


def made(rows: int, shown: Callable[[str, np.random.Generator], str], *, shares: Any = None, seed: int = 0) -> Data:
    """Rows of a run with an axis `colour`; `shown`: the text of a row."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(COLOURS, rows, p=shares).tolist()
    texts = [f"{shown(colour, rng)} {' '.join(rng.choice(WORDS, 8))}" for colour in drawn]
    meta = [
        {"variation": json.dumps({"colour": colour}), "id": f"id{k}", "row": k, "score": 0.0}
        for k, colour in enumerate(drawn)
    ]
    return Data("made", pa.table({"text": texts, "meta": meta}))


def checked(data: Data, context: AuditContext | None = None, **options: Any) -> dict[str, Check]:
    found = asyncio.run(requested(data, None, context or AuditContext(), **options))
    return {f"{one.name} {one.subject}".strip(): one for one in conclude(found)}


def test_an_axis_that_shows_passes_and_one_that_does_not_fails() -> None:
    shows = checked(made(600, lambda colour, rng: f"a {colour} thing"))["requested.axis colour"]
    assert shows.verdict == "PASS" and shows.value is not None and shows.value > 0.9
    hides = checked(made(600, lambda colour, rng: "a thing"))["requested.axis colour"]
    assert hides.verdict == "FAIL" and hides.value is not None and abs(hides.value) < 0.1
    assert hides.evidence and hides.evidence[0].id is not None


def test_too_few_rows_are_no_proof() -> None:
    few = checked(made(60, lambda colour, rng: "a thing"))["requested.axis colour"]
    assert few.verdict == "INCONCLUSIVE"
    fewest = checked(made(12, lambda colour, rng: "a thing"))["requested.axis colour"]
    assert fewest.verdict == "INCONCLUSIVE" and fewest.value is None and fewest.advice


def test_the_interval_covers_what_the_classifier_can_tell() -> None:
    """A text shows its own colour in half of the rows, and any colour in the rest."""

    def half(colour: str, rng: np.random.Generator) -> str:
        return f"a {colour if rng.random() < 0.5 else rng.choice(COLOURS)} thing"

    found = [checked(made(160, half, seed=seed))["requested.axis colour"] for seed in range(80)]
    truth = float(np.mean([one.value for one in found]))
    inside = sum(one.interval is not None and one.interval[0] <= truth <= one.interval[1] for one in found)
    assert 0.35 < truth < 0.55
    assert inside >= 71, f"{inside} of 80"


def test_free_texts_are_matched_with_their_rows() -> None:
    rng = np.random.default_rng(1)
    topics = [
        f"{one} {two} {k}"
        for k, (one, two) in enumerate(zip(rng.choice(WORDS, 300), rng.choice(WORDS, 300), strict=False))
    ]

    def data(shown: bool) -> Data:
        texts = [f"Here is something about {topic if shown else 'nothing at all'}." for topic in topics]
        meta = [{"variation": json.dumps({"topic": topic})} for topic in topics]
        return Data("made", pa.table({"text": texts, "meta": meta}))

    assert checked(data(True))["requested.axis topic"].verdict == "PASS"
    assert checked(data(False))["requested.axis topic"].verdict == "FAIL"


def test_shares_that_moved_from_the_plan_fail() -> None:
    context = AuditContext(axes={"colour": dict.fromkeys(COLOURS, 0.25)})
    name = "requested.coverage colour"
    even = checked(made(800, lambda colour, rng: colour), context)[name]
    assert even.verdict == "PASS" and even.value is not None and even.value < 0.05
    moved = checked(made(800, lambda colour, rng: colour, shares=[0.55, 0.25, 0.15, 0.05]), context)[name]
    assert moved.verdict == "FAIL" and moved.value == pytest.approx(0.3, abs=0.06)
    few = checked(made(40, lambda colour, rng: colour), context)[name]
    assert few.verdict == "INCONCLUSIVE"


def test_shares_as_planned_seldom_fail() -> None:
    context = AuditContext(axes={"colour": {"red": 0.7, "green": 0.2, "blue": 0.06, "yellow": 0.04}})
    false = 0
    for seed in range(400):
        data = made(120, lambda colour, rng: colour, shares=[0.7, 0.2, 0.06, 0.04], seed=seed)
        false += conclude(coverage(data, ["colour"], context, limit=0.02))[0].verdict == "FAIL"
    assert false <= 20


def test_data_without_axes_says_what_to_give() -> None:
    data = Data("plain", pa.table({"text": ["one", "two"]}))
    check = checked(data)["requested.axis"]
    assert check.verdict == "INCONCLUSIVE" and "meta" in check.advice
    with pytest.raises(UsageError, match="no axis `hue`"):
        checked(made(50, lambda colour, rng: colour), axes=["hue"])


@pytest.mark.parametrize("texts", [["", "", ""] * 30, ["same"] * 90, ["!!!"] * 90])
def test_texts_that_say_nothing_are_no_crash(texts: list[str]) -> None:
    meta = [{"variation": json.dumps({"colour": COLOURS[k % 3], "note": f"free {k}"})} for k in range(90)]
    found = checked(Data("made", pa.table({"text": texts, "meta": meta})))
    assert {one.verdict for one in found.values()} <= {"FAIL", "INCONCLUSIVE"}


def recipe(tmp_path: Path, server: JudgeServer, audit: list[Any], **keys: Any) -> Path:
    data = {
        "name": "judged",
        "rows": 40,
        "models": {"writer": "echo", "judge": server.model("judge")},
        "vary": {"colour": {"choice": COLOURS}, "number": {"integer": {"min": 1, "max": 10**9}}},
        "prompt": "a {{ colour }} thing of number {{ number }}",
        "audit": audit,
        **keys,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def reads_colour(body: dict[str, Any], index: int) -> str:
    """A judge that reads the text and picks the colour that stands in it."""
    asked = last(body)
    text = asked.split("[[[ TEXT")[1].split("]]]")[0]
    options = dict(re.findall(r"^(\d+)\. (\w+)$", asked, re.M))
    found = [number for number, colour in options.items() if colour in text]
    return json.dumps({"reason": "seen", "choice": int(found[0]) if found else 0})


def run_audit(tmp_path: Path, path: Path, **options: Any) -> tuple[dict[str, Any], Any]:
    try:
        result = factory.run(path, out=tmp_path / "run", **options)
    except GateFailed as error:
        result = error.result
    return json.loads((tmp_path / "run" / "audit.json").read_text()), result


def test_a_judge_sees_what_was_asked_for_and_is_paid_once(tmp_path: Path) -> None:
    with JudgeServer(judge=reads_colour) as server:
        path = recipe(tmp_path, server, [{"requested": {"model": "judge", "axes": ["colour"], "rows": 30}}])
        told, result = run_audit(tmp_path, path)
        check = next(one for one in told["checks"] if one["name"] == "requested.axis")
        assert check["value"] == 0.0 and check["n"] == 30
        assert server.count("judge") == 30
        assert not any("red" in everything(body).split("# The text")[0] for body in server.asked("judge"))
        again, second = run_audit(tmp_path, path)
        assert server.count("judge") == 30 and second.summary["calls"] == 0
        assert again["checks"] == told["checks"]
        purposes = {line["purpose"] for line in result.ledger()}
        assert "audit" in purposes
    replayed, _ = run_audit(tmp_path, path, replay=True)  # the server is gone
    assert replayed["checks"] == told["checks"]


def test_a_judge_that_sees_another_value_fails_the_axis(tmp_path: Path) -> None:
    with JudgeServer(judge=reads_colour) as server:
        audit = [{"requested": {"model": "judge", "axes": ["colour"]}}]
        told, _ = run_audit(tmp_path, recipe(tmp_path, server, audit, prompt="a thing of number {{ number }}"))
    check = next(one for one in told["checks"] if one["name"] == "requested.axis")
    assert check["verdict"] == "FAIL" and check["value"] == 1.0
    assert check["evidence"][0]["details"]["the judge sees"] == "none of them"


def test_a_judge_that_babbles_is_inconclusive(tmp_path: Path) -> None:
    with JudgeServer(judge=lambda body, index: "I would rather not say.") as server:
        told, _ = run_audit(tmp_path, recipe(tmp_path, server, [{"requested": {"model": "judge", "axes": ["colour"]}}]))
        assert server.count("judge") == 80, "each question is asked once more"
    check = next(one for one in told["checks"] if one["name"] == "requested.axis")
    assert check["verdict"] == "INCONCLUSIVE" and "in form" in check["sentence"]


def test_a_missing_answer_under_replay_leaves_the_run_resumable(tmp_path: Path) -> None:
    with JudgeServer(judge=reads_colour) as server:
        path = recipe(tmp_path, server, [])
        factory.run(path, out=tmp_path / "run")
        path = recipe(tmp_path, server, [{"requested": {"model": "judge", "axes": ["colour"]}}])
        with pytest.raises(Incomplete) as raised:
            factory.run(path, out=tmp_path / "run", replay=True)
        assert raised.value.code == "replay_miss"
        assert server.count("judge") == 0
        told, result = run_audit(tmp_path, path)
        assert result.status == "complete" and told["verdict"] != "FAIL"


def test_a_spent_budget_is_no_verdict_and_is_never_overrun(tmp_path: Path) -> None:
    with JudgeServer(judge=reads_colour) as server:
        model = {**server.model("judge"), "price": PRICE, "max_tokens": 60}
        audit = [{"requested": {"model": "judge", "axes": ["colour"]}}]
        path = recipe(
            tmp_path,
            server,
            audit,
            models={"writer": {"backend": "echo", "max_tokens": 60}, "judge": model},
            budget={"usd": 0.012},
        )
        told, result = run_audit(tmp_path, path)
        check = next(one for one in told["checks"] if one["name"] == "requested.axis")
        assert check["n"] < 40 and "budget" in check["sentence"]
        assert 0 < server.billed <= 0.012 * 1e9
        assert result.summary["spent_usd"] == pytest.approx(server.billed / 1e9)


def test_an_auditor_embeds_through_the_journal(tmp_path: Path) -> None:
    from measuring_server import MeasuringServer

    shapes: list[Any] = []

    async def embeds(dataset: Data, reference: Data | None, context: AuditContext, *, model: str) -> list[Check]:
        """Embeds the texts."""
        vectors = await context.embed(model, [*dataset.texts, ""])
        shapes.append(("embed" in context.models[model], vectors.shape[0], bool(vectors[-1].any())))
        return []

    registry.register("auditor", "test_embeds", embeds)
    with MeasuringServer() as server:
        keys = {
            "models": {"writer": "echo", "embedder": server.model()},
            "audit": [{"test_embeds": {"model": "embedder"}}],
        }
        data = {
            "name": "e",
            "rows": 7,
            "vary": {"n": {"integer": {"min": 1, "max": 9**9}}},
            "prompt": "{{ n }}",
            **keys,
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(data))
        factory.run(path, out=tmp_path / "run")
        asked = len(server.asked("/v1/embeddings"))
        factory.run(path, out=tmp_path / "run")
        assert asked == 7 == len(server.asked("/v1/embeddings"))
    assert shapes == [(True, 8, False)] * 2


PERSONAS = {
    "name": "swaps",
    "rows": 60,
    "vary": {"persona": {"choice": ["an engineer", "a nurse"]}, "number": {"integer": {"min": 1, "max": 10**9}}},
    "audit": [{"bias": {"axis": "persona", "counterfactual_rows": 40}}],
}


def swapped(tmp_path: Path, writer: Any) -> tuple[dict[str, Any], Any]:
    with JudgeServer(writer=writer) as server:
        data = {
            **PERSONAS,
            "models": {"writer": {**server.model("writer"), "max_tokens": 100}},
            "prompt": "Number {{ number }}: write about {{ persona }}.",
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(data))
        return run_audit(tmp_path, path)


def test_a_model_that_writes_shorter_about_a_group_fails_the_swap(tmp_path: Path) -> None:
    def unfair(body: dict[str, Any], index: int) -> str:
        asked = last(body)
        words = 12 if "nurse" in asked else 18
        return " ".join(
            WORDS[int(digit) % len(WORDS)] for digit in (re.findall(r"\d", asked) * 6)[: words + len(asked) % 3]
        )

    told, result = swapped(tmp_path, unfair)
    check = next(one for one in told["checks"] if one["name"] == "bias.counterfactual")
    assert check["verdict"] == "FAIL" and "length" in check["sentence"]
    assert "same seed" in check["method"]
    bookings = [line for line in result.ledger() if line["purpose"] == "audit"]
    assert bookings and all(line["outcome"] == "ok" for line in bookings)


def test_a_model_that_does_not_look_at_the_group_passes_the_swap(tmp_path: Path) -> None:
    def fair(body: dict[str, Any], index: int) -> str:
        digits = re.findall(r"\d", last(body)) * 6
        return " ".join(WORDS[int(digit) % len(WORDS)] for digit in digits[: 12 + int(digits[0])])

    told, _ = swapped(tmp_path, fair)
    check = next(one for one in told["checks"] if one["name"] == "bias.counterfactual")
    assert check["verdict"] == "PASS", check["sentence"]


def test_rows_of_the_same_stratum_are_compared_where_no_model_may_be_asked() -> None:
    rng = np.random.default_rng(3)
    persona = rng.choice(["x", "y"], 800).tolist()
    shape = [("long" if rng.random() < (0.8 if one == "x" else 0.2) else "short") for one in persona]

    def data(unfair: bool) -> Data:
        texts = []
        for one, kind in zip(persona, shape, strict=True):
            words = (40 if kind == "long" else 10) + int(rng.integers(0, 8)) - (3 if unfair and one == "x" else 0)
            texts.append(" ".join(rng.choice(WORDS, words)))
        meta = [
            {"variation": json.dumps({"persona": one, "shape": kind}), "row": k}
            for k, (one, kind) in enumerate(zip(persona, shape, strict=True))
        ]
        return Data("made", pa.table({"text": texts, "meta": meta}))

    def verdict(made_data: Data) -> Check:
        found, _ = groupings(made_data, "en", axis="persona")
        return conclude(asyncio.run(counterfactual(made_data, found, AuditContext(language="en"), limit=0.05)))[0]

    fair = verdict(data(False))
    assert fair.verdict != "FAIL", "the length hangs on the shape, and not on the persona"
    unfair = verdict(data(True))
    assert unfair.verdict == "FAIL" and "length" in unfair.sentence


def test_terms_of_a_lexicon_are_swapped_in_the_values_of_axes() -> None:
    changed: list[dict[str, Any]] = []

    async def regenerate(row: int, changes: dict[str, Any]) -> Answer:
        changed.append(changes)
        return Answer(f"text of {row}", score=0.0)

    texts = ["A man and his dog went out." if k % 2 else "A woman and her dog went out." for k in range(40)]
    meta = [
        {"variation": json.dumps({"persona": "a young man" if k % 2 else "a young woman"}), "row": k} for k in range(40)
    ]
    data = Data("made", pa.table({"text": texts, "meta": meta}))
    found, _ = groupings(data, "en", axis="gender")
    context = AuditContext(language="en", models={"writer": frozenset({"generate"})}, regenerate=regenerate)
    check = asyncio.run(counterfactual(data, found, context))[0]
    assert check.subject == "gender"
    assert {change["persona"] for change in changed} >= {"a young man", "a young woman"}


def test_nothing_to_swap_says_what_to_give() -> None:
    data = Data("plain", pa.table({"text": ["She said so.", "He said so."]}))
    found, _ = groupings(data, "en", axis="gender")
    check = asyncio.run(counterfactual(data, found, AuditContext(language="en")))[0]
    assert check.verdict == "INCONCLUSIVE" and "axis" in check.advice


def test_a_broken_recipe_axis_is_the_auditors_error(tmp_path: Path) -> None:
    data = {
        "name": "x",
        "rows": 3,
        "models": {"writer": "echo"},
        "prompt": "a {{ row }}",
        "audit": [{"requested": {"axes": ["hue"]}}],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(FactoryError, match="hue"):
        factory.run(path, out=tmp_path / "run")
