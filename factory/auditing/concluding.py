"""Verdicts for all checks of an audit at once, so that the chance of any false FAIL is bounded for the whole of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from factory.types import Check

ALPHA = 0.05
"""The chance of any false FAIL in a whole audit."""
MOST_TIMES = 100


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
        beyond = test.p < 0.5  # the value itself lies beyond the gate
        doubt = " That is beyond the gate, but not beyond doubt." if beyond else ""
        return replace(known, verdict="PASS", sentence=f"{check.sentence}{doubt}")
    unseen = f"With so few rows an effect below {mde:.3g} would go unseen, and one of {test.effect:.3g} must not."
    advice = f"give more rows, of the dataset and of what it is compared with: {_rows(check.n, mde, test.effect)}"
    return replace(known, verdict="INCONCLUSIVE", sentence=f"{check.sentence} {unseen}".strip(), advice=advice)


def _rows(n: int, mde: float, effect: float) -> str:
    """So many rows that the effect would be seen: the MDE falls with their square root."""
    if not 0 < effect < mde < float("inf") or n < 1:
        return "as many as there are"
    factor = (mde / effect) ** 2
    if factor > MOST_TIMES:
        return f"more than {MOST_TIMES} times as many"
    wanted = n * factor
    step = 10 ** max(0, len(str(int(wanted))) - 2)
    return f"about {math.ceil(wanted / step) * step:,} would do, where there are {n:,}"
