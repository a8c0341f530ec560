"""Verdicts for all checks of an audit at once, so that the chance of any false FAIL is bounded for the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from factory.types import Check

ALPHA = 0.05
"""The chance of any false FAIL in a whole audit."""


def conclude(checks: Sequence[Check], alpha: float = ALPHA) -> list[Check]:
    """The checks with verdicts. One without a `test` keeps its own.

    FAIL: the p-value, adjusted over all tests of the audit (Holm 1979), is at most `alpha`. PASS: it is not, and the
    effect that the gate is about would have been seen at the level that is left to the check (`alpha` over the number
    of tests) with a power of .8. Else INCONCLUSIVE.
    """
    from factory.auditors.statistics import holm

    tested = [place for place, check in enumerate(checks) if check.test is not None]
    found = list(checks)
    if not tested:
        return found
    adjusted = holm([check.test.p for check in checks if check.test is not None])
    level = alpha / len(tested)
    for place, p in zip(tested, adjusted.tolist(), strict=True):
        found[place] = _decide(checks[place], p, alpha, level)
    return found


def _decide(check: Check, adjusted: float, alpha: float, level: float) -> Check:
    test = check.test
    assert test is not None
    mde = test.mde_at(level)
    known = replace(check, p=test.p, p_adjusted=adjusted, mde=mde, tests=max(1, check.tests))
    if adjusted <= alpha:
        return replace(known, verdict="FAIL")
    if mde <= test.effect:
        return replace(known, verdict="PASS")
    unseen = f"An effect below {mde:.3g} could not have been seen, and {test.effect:.3g} must be."
    advice = check.advice or "more rows (of the dataset, or of the reference) make smaller effects visible"
    return replace(known, verdict="INCONCLUSIVE", sentence=f"{check.sentence} {unseen}".strip(), advice=advice)
