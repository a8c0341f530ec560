"""Verdicts for a whole audit at once, and how a run and a command act on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

import factory
from factory import registry
from factory.auditing import Audit, conclude
from factory.auditors import AuditContext, Data
from factory.auditors.statistics import z_test
from factory.cli import app
from factory.errors import FactoryError, GateFailed, Interrupted, RecipeError, UsageError
from factory.types import Check, Evidence, Test

RECIPE: dict[str, Any] = {
    "name": "audited",
    "rows": 30,
    "models": {"writer": "echo"},
    "vary": {
        "colour": {"choice": ["red", "green", "blue"]},
        "number": {"integer": {"min": 1, "max": 10**9}},
    },
    "prompt": "a {{ colour }} thing of number {{ number }} and nothing else",
}


def write(folder: Path, **keys: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **keys}, sort_keys=False))
    return path


def audit_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "audit.json").read_text())
    return found


def check(name: str, p: float, mde: float = 0.0, effect: float = 1.0) -> Check:
    return Check(name, 0.5, n=10, sentence="So.", test=Test(p, effect, lambda alpha: mde))


def test_verdicts_are_corrected_for_all_tests_of_the_audit() -> None:
    alone = conclude([check("bias.one", 0.04)])
    assert alone[0].verdict == "FAIL"
    many = conclude([check("bias.one", 0.04), check("bias.two", 0.5), Check("privacy.pii", 0, verdict="PASS")])
    assert [one.verdict for one in many] == ["PASS", "PASS", "PASS"]
    assert many[0].p_adjusted == pytest.approx(0.08)
    assert many[0].tests == 1 and many[2].tests == 0


def test_what_could_not_be_seen_does_not_pass() -> None:
    found = conclude([check("fidelity.length", 0.5, mde=2.0, effect=1.0)])[0]
    assert found.verdict == "INCONCLUSIVE"
    assert "2" in found.sentence and found.advice
    assert conclude([check("fidelity.length", 0.5, mde=1.0, effect=1.0)])[0].verdict == "PASS"


def test_the_mde_is_that_of_the_level_that_is_left() -> None:
    checks = [Check(f"bias.{k}", 0.0, test=z_test(0.0, 0.1, limit=0.0, effect=0.3)) for k in range(20)]
    alone, among = conclude(checks[:1])[0], conclude(checks)[0]
    assert alone.verdict == "PASS" and among.verdict == "INCONCLUSIVE"
    assert alone.mde is not None and among.mde is not None and among.mde > alone.mde


def test_an_audit_of_nothing_but_chance_fails_in_five_of_a_hundred() -> None:
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(600):
        checks = [
            Check(f"a.{k}", 0.0, test=z_test(value, 1.0, limit=0.0, effect=9.0))
            for k, value in enumerate(rng.normal(size=30))
        ]
        false += any(one.verdict == "FAIL" for one in conclude(checks))
    assert false / 600 <= 0.07


def test_audit_json_holds_plain_numbers() -> None:
    made = Check(
        "a.b",
        float("nan"),
        interval=(float("-inf"), 1.0),
        evidence=(Evidence(1, "x"),),
        details={"k": np.float64(2.5), "list": np.arange(2), "n": np.int64(3)},
    )
    told = Audit((made,)).as_json()["checks"][0]
    assert told["value"] is None and told["interval"] == [None, 1.0]
    assert told["details"] == {"k": 2.5, "list": [0, 1], "n": 3}
    json.dumps(told, allow_nan=False)


def fails(dataset: Data, reference: Data | None, context: AuditContext, *, share: float = 0.0) -> list[Check]:
    """Fails always."""
    sentence = f"{len(dataset)} rows are no good."
    return [Check("diversity.test", 1.0, n=len(dataset), verdict="FAIL", gate="none", sentence=sentence)]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_REPORT", "on")
    registry.register("auditor", "test_fails", fails)


def test_a_gate_that_fails_keeps_the_dataset_back(tmp_path: Path) -> None:
    with pytest.raises(GateFailed) as raised:
        factory.run(write(tmp_path, audit=["test_fails"]), out=tmp_path / "run")
    assert "30 rows are no good" in raised.value.message
    run = tmp_path / "run"
    assert not (run / "dataset").exists()
    card = (run / "dataset.rejected" / "README.md").read_text()
    assert "30 rows are no good" in card and "rejected" in card
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "rejected"
    assert manifest["checks"][0]["sentence"] == "30 rows are no good."
    assert audit_of(run)["verdict"] == "FAIL"
    assert (run / "report.html").exists()


def test_published_anyway_is_recorded(tmp_path: Path) -> None:
    recipe = write(tmp_path, audit=["test_fails"])
    result = factory.run(recipe, out=tmp_path / "run", publish_anyway="read by hand, all is well")
    assert result.status == "complete"
    assert (tmp_path / "run" / "dataset").exists()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["published_anyway"] == "read by hand, all is well"
    assert "read by hand, all is well" in (tmp_path / "run" / "dataset" / "README.md").read_text()
    passed = factory.run(write(tmp_path, audit=[]), out=tmp_path / "run", publish_anyway="no need")
    assert "published_anyway" not in json.loads((passed.path / "manifest.json").read_text())


def test_the_command_leaves_with_three(tmp_path: Path) -> None:
    recipe = str(write(tmp_path, audit=["test_fails"]))
    out = str(tmp_path / "run")
    failed = CliRunner().invoke(app, ["run", recipe, "--out", out, "--json"])
    assert isinstance(failed.exception, GateFailed) and failed.exception.exit_code == 3
    fine = CliRunner().invoke(app, ["run", recipe, "--out", out, "--publish-anyway", "because", "--json"])
    assert fine.exit_code == 0, fine.output
    empty = CliRunner().invoke(app, ["run", recipe, "--out", out, "--publish-anyway", " "])
    assert isinstance(empty.exception, UsageError)


def test_without_audit_what_needs_no_reference_is_told_and_gates_nothing(tmp_path: Path) -> None:
    result = factory.run(write(tmp_path, rows=60, prompt="all of them say the same {{ colour }}"), out=tmp_path / "run")
    assert result.status == "complete"
    found = audit_of(tmp_path / "run")
    assert found["gating"] is False
    names = {one["name"] for one in found["checks"]}
    assert {"requested.axis", "privacy.pii", "diversity.duplicates"} <= names
    assert all(one["value"] is not None for one in found["checks"])
    assert found["verdict"] == "FAIL", "sixty rows of three texts"


def test_an_empty_list_of_audits_means_none(tmp_path: Path) -> None:
    result = factory.run(write(tmp_path, audit=[]), out=tmp_path / "run")
    assert result.audits == ()
    assert "No audit was run" in (result.path / "dataset" / "README.md").read_text()


def test_an_audit_says_the_same_the_second_time(tmp_path: Path) -> None:
    recipe = write(tmp_path, audit=["diversity", "requested", "privacy"], rows=60)
    for name in ("one", "two"):
        try:
            factory.run(recipe, out=tmp_path / name)
        except GateFailed:
            continue
    one, two = audit_of(tmp_path / "one"), audit_of(tmp_path / "two")
    assert one["checks"] == two["checks"]


@pytest.mark.parametrize(
    ("audit", "said"),
    [
        ([{"requested": {"axis": ["colour"]}}], "axes"),
        ([{"requested": {"model": "judge"}}], "no model has the role `judge`"),
        ([{"fidelity": {"reference": "no/such/file.jsonl"}}], "is not there"),
        ([{"requested": {"axes": ["colr"]}}], "no axis `colr`"),
        ([{"bias": {"axis": "colr"}}], "colr"),
        ([{"privacy": {"pii_kinds": ["emial"]}}], "emial"),
        ([{"privacy": {"canaries": "nowhere.json"}}], "nowhere.json"),
        ([{"fidelity": {"limits": {"topic": 1.0}}}], "topic"),
        ([{"diversity": {"max_duplicates": 5.0}}], "max_duplicates"),
        ([{"privacy": {"on": "txet"}}], "text"),
        ([{"privacy": {"label": "labl"}}], "no column `labl`"),
        (["privcay"], "privacy"),
    ],
)
def test_a_bad_audit_is_told_before_anything_is_paid(tmp_path: Path, audit: list[Any], said: str) -> None:
    recipe = write(tmp_path, audit=audit)
    with pytest.raises(RecipeError) as raised:
        factory.run(recipe, out=tmp_path / "run")
    assert said in str(raised.value) + raised.value.hint
    assert "recipe.yaml:" in str(raised.value)
    assert not (tmp_path / "run" / "dataset").exists()


def test_every_fault_of_the_audits_is_told_at_once(tmp_path: Path) -> None:
    audit = [{"requested": {"axes": ["colr"]}}, {"privacy": {"pii_kinds": ["emial"]}}]
    with pytest.raises(RecipeError) as raised:
        factory.run(write(tmp_path, audit=audit), out=tmp_path / "run")
    assert len(raised.value.places) == 2


def test_an_auditor_that_breaks_is_named(tmp_path: Path) -> None:
    def broken(dataset: Data, reference: Data | None) -> list[Check]:
        """Two parameters will do."""
        raise ZeroDivisionError("nothing to divide by")

    registry.register("auditor", "test_broken", broken)
    with pytest.raises(FactoryError, match="auditor `test_broken` failed: ZeroDivisionError"):
        factory.run(write(tmp_path, audit=["test_broken"]), out=tmp_path / "run")


def test_a_reference_named_once_counts_for_all(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def looks(dataset: Data, reference: Data | None, context: AuditContext, *, tag: str) -> list[Check]:
        """Remembers what it was given."""
        holdout = context.holdout
        seen[tag] = (reference and reference.texts, holdout and holdout.texts, dataset.label, dataset.columns)
        return []

    registry.register("auditor", "test_looks", looks)
    (tmp_path / "real.jsonl").write_text('{"text": "a real one"}\n')
    (tmp_path / "held.jsonl").write_text('{"text": "a held one"}\n')
    audit = [
        {"test_looks": {"tag": "first", "reference": "real.jsonl", "holdout": "held.jsonl"}},
        {"test_looks": {"tag": "second", "reference": "held.jsonl"}},
        {"test_looks": {"tag": "third", "on": "text"}},
    ]
    factory.run(write(tmp_path, audit=audit), out=tmp_path / "run")
    assert seen["first"][:2] == (["a real one"], ["a held one"])
    assert seen["second"][:2] == (["a held one"], ["a held one"])
    assert seen["third"][:2] == (["a real one"], ["a held one"])
    facts = audit_of(tmp_path / "run")["facts"]
    assert facts["reference"]["name"] == "real.jsonl" and facts["holdout"]["rows"] == 1


def test_private_sources_reach_the_auditors(tmp_path: Path) -> None:
    seen: list[Any] = []

    def looks(dataset: Data, reference: Data | None, context: AuditContext) -> list[Check]:
        """Remembers the private rows and the rejects."""
        seen.append((context.private and context.private.texts, len(context.rejects or ()), context.axes))
        return []

    registry.register("auditor", "test_private", looks)
    (tmp_path / "tickets.jsonl").write_text('{"ticket": "my secret"}\n{"ticket": "another"}\n')
    source = {"path": "tickets.jsonl", "private": True}
    keys = {"prompt": "{{ source.ticket }} {{ number }} {{ colour }}", "audit": ["test_private"]}
    factory.run(write(tmp_path, **keys, **{"from": source}), out=tmp_path / "run")
    factory.run(write(tmp_path, **keys, **{"from": {"path": "tickets.jsonl"}}), out=tmp_path / "run")
    assert seen[0][0] == ["my secret", "another"] and seen[1][0] is None
    assert seen[0][1] == 0
    assert seen[0][2]["colour"] == pytest.approx({"red": 1 / 3, "green": 1 / 3, "blue": 1 / 3})
    assert seen[0][2]["number"] is None


def test_the_report_may_be_left_out(tmp_path: Path) -> None:
    from factory.recipe import load_recipe
    from factory.runner import execute
    from factory.session import RunOptions

    recipe = load_recipe(write(tmp_path, audit=["requested"]))
    execute(recipe, RunOptions(out=tmp_path / "run", report=False))
    assert not (tmp_path / "run" / "report.html").exists()
    assert audit_of(tmp_path / "run")["checks"]
    execute(load_recipe(write(tmp_path)), RunOptions(out=tmp_path / "none", report=False))
    assert not (tmp_path / "none" / "audit.json").exists(), "nobody asked for an audit, and nobody would see it"


def test_splits_are_audited_together_in_the_order_of_rows(tmp_path: Path) -> None:
    rows: list[int] = []

    def looks(dataset: Data, reference: Data | None) -> list[Check]:
        """Remembers the rows."""
        rows.extend(dataset.values("meta.row"))
        return []

    registry.register("auditor", "test_rows", looks)
    factory.run(write(tmp_path, audit=["test_rows"], export={"test_fraction": 0.3}), out=tmp_path / "run")
    assert rows == sorted(rows) and len(rows) == 30
    assert len(list((tmp_path / "run" / "dataset" / "data").glob("*.parquet"))) == 2


def test_the_command_audits_any_data(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"text": f"row {k} of a file"}) + "\n" for k in range(20)))
    found = CliRunner().invoke(
        app, ["audit", str(data), "--checks", "privacy", "--out", str(tmp_path / "out"), "--json"]
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["verdict"] in ("PASS", "INCONCLUSIVE")
    assert {one["name"].partition(".")[0] for one in told["checks"]} == {"privacy"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"audit.json", "report.html"}
    plain = CliRunner().invoke(app, ["audit", str(data), "--checks", "test_fails"])
    assert plain.exit_code == 3
    assert "FAIL" in plain.stdout and "20 rows are no good" in plain.stdout


def test_the_command_takes_a_file_of_auditors_with_paths_beside_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "real.jsonl").write_text('{"text": "real"}\n')
    config = tmp_path / "deep" / "audit.yaml"
    config.write_text("audit:\n  - privacy: {reference: real.jsonl}\n")
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "one"}\n{"text": "two"}\n')
    found = CliRunner().invoke(app, ["audit", str(data), "--checks", str(config), "--json"])
    assert json.loads(found.stdout)["facts"]["reference"]["name"] == "real.jsonl"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checks", "bais"], "bias"),
        (["--checks", "no/such.yaml"], "no such file"),
        (["--checks", "privacy: {max_pii_rows: many}"], "max_pii_rows"),
        (["--checks", "requested: {model: judge}"], "--model judge="),
        (["--checks", "privacy", "--model", "judge=echo"], "no auditor asks"),
        (["--columns", "txet"], "text"),
        (["--label", "txet"], "text"),
        (["--reference", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_the_command_cannot_do_is_told(tmp_path: Path, arguments: list[str], said: str) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "one"}\n{"text": "two"}\n')
    found = CliRunner().invoke(app, ["audit", str(data), *arguments])
    assert isinstance(found.exception, UsageError), found.output
    assert said in found.exception.message + found.exception.hint


def test_a_run_is_audited_with_its_rejects(tmp_path: Path) -> None:
    recipe = write(tmp_path, score=[{"format": {"contains": "red"}}], rows=5, audit=[])
    factory.run(recipe, out=tmp_path / "run")
    seen: list[int] = []

    def looks(dataset: Data, reference: Data | None, context: AuditContext) -> list[Check]:
        """Counts the rejects."""
        assert context.rejects is not None
        seen.append(len(context.rejects))
        return []

    registry.register("auditor", "test_rejects", looks)
    CliRunner().invoke(app, ["audit", str(tmp_path / "run"), "--checks", "test_rejects"])
    assert seen == [pq.read_table(tmp_path / "run" / "rejects.parquet").num_rows] and seen[0] > 0


def test_ctrl_c_in_an_audit_leaves_the_run_resumable(tmp_path: Path) -> None:
    import os
    import signal
    import threading

    pressed = threading.Event()

    def slow(dataset: Data, reference: Data | None, context: AuditContext) -> list[Check]:
        """Somebody presses Ctrl-C while it counts."""
        if not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(6000):
                context.progress("counting", 0.5)
                threading.Event().wait(0.01)
        return [Check("diversity.test", 1.0, n=len(dataset), verdict="PASS", sentence="Well.")]

    registry.register("auditor", "test_slow", slow)
    recipe = write(tmp_path, audit=["test_slow"])
    with pytest.raises(Interrupted):
        factory.run(recipe, out=tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["status"] == "interrupted" and manifest["rows"] == 30
    assert factory.run(recipe, out=tmp_path / "run").status == "complete"
    assert audit_of(tmp_path / "run")["verdict"] == "PASS"


def test_what_an_audit_asks_for_is_not_made_when_it_is_told_to_stop() -> None:
    import asyncio

    from factory.auditing.aside import Aside

    async def ask() -> str:
        return "an answer"

    async def main() -> tuple[Any, Any]:
        aside = Aside()
        said = await aside.run(lambda: aside.here(ask)())
        aside.stop()
        return said, await aside.run(lambda: aside.here(ask)())

    assert asyncio.run(main()) == ("an answer", None)


def test_an_exception_in_the_thread_is_raised_in_the_loop() -> None:
    import asyncio

    from factory.auditing.aside import Aside

    async def broken() -> None:
        raise KeyError("lost")

    async def main() -> None:
        await Aside().run(broken)

    with pytest.raises(KeyError, match="lost"):
        asyncio.run(main())
