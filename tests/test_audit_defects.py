"""Planted defects, each found by a check that is the right one for it, and nothing found where nothing is wrong.

The defects are those of `benchmarks/audits.py`, which plants each many times; here each is planted once.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import audit_defects  # noqa: E402
import audits  # noqa: E402

from factory.auditors import AuditContext  # noqa: E402

ROWS = 1500
MADE_UP = [defect for defect in audit_defects.DEFECTS if defect.base == "people" and not defect.subtle]
REAL = [defect for defect in audit_defects.DEFECTS if defect.base != "people" and "utility" not in defect.areas]


def test_there_are_enough_of_them_and_they_name_checks_that_exist() -> None:
    assert sum(not defect.subtle for defect in audit_defects.DEFECTS) >= 30
    areas = {name.partition(".")[0] for defect in audit_defects.DEFECTS for name in defect.right}
    assert areas == {"bias", "diversity", "fidelity", "requested", "privacy", "utility"}


def found(defect: audit_defects.Defect, rows: int) -> None:
    scene = defect.plant(audits.clean_scene(defect.base, rows, 77, audits.DATA))
    checks = asyncio.run(audits.audit(scene, defect.areas, 77))
    failed = {check.name for check in checks if check.verdict == "FAIL"}
    assert failed & set(defect.right), f"{failed or 'nothing'} failed, and {defect.right} should"


@pytest.mark.parametrize("defect", MADE_UP, ids=lambda defect: defect.name)
def test_a_planted_defect_is_found_by_the_right_check(defect: audit_defects.Defect) -> None:
    found(defect, ROWS)


@pytest.mark.skipif(not (audits.DATA / "gsm8k").is_dir(), reason="the real data is not here")
@pytest.mark.parametrize("defect", REAL, ids=lambda defect: defect.name)
def test_a_defect_planted_in_real_rows_is_found(defect: audit_defects.Defect) -> None:
    found(defect, 2000)


def test_nothing_is_found_where_nothing_was_planted() -> None:
    for seed in range(3):
        scene = audits.clean_scene("people", 400, 500 + 3 * seed, audits.DATA)
        checks = asyncio.run(audits.audit(scene, audits.AREAS, seed))
        assert [audits.label(check) for check in checks if check.verdict == "FAIL"] == []
        assert any(check.verdict == "PASS" for check in checks)
        for check in checks:
            assert check.sentence and (check.verdict == "PASS" or check.advice), audits.label(check)
            if check.interval is not None and check.value is not None:
                assert check.interval[0] <= check.interval[1], audits.label(check)


def test_the_same_audit_twice_says_the_same() -> None:
    scene = audits.clean_scene("people", 300, 1, audits.DATA)
    one, two = ([check.as_json() for check in asyncio.run(audits.audit(scene, audits.AREAS, 5))] for _ in range(2))
    assert one == two


def test_an_audit_copes_with_next_to_nothing() -> None:
    for rows in (1, 2, 5):
        scene = audits.clean_scene("people", rows, 9, audits.DATA)
        checks = asyncio.run(audits.audit(scene, audits.AREAS, 1))
        assert {check.verdict for check in checks} <= {"PASS", "INCONCLUSIVE"}
    assert AuditContext().holdout is None
