"""What all checks of diversity say in the same way: evidence, figures in words, and why nothing could be measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from factory.auditors.data import Data
from factory.auditors.statistics import POWER, Z95, z_quantile, z_tail
from factory.types import Check, Evidence, Test

EXCERPT = 300
FEWEST = 50
"""Rows under which two samples are not compared."""
NO_REFERENCE = "give real rows of the same kind to compare with: --reference FILE, or `reference:` of the audit"


def percent(share: float) -> str:
    """A share in words: `31 %`, `1.6 %`, `0.03 %`."""
    value = 100 * share
    digits = 0 if abs(value) >= 9.95 or value == 0 else 1 if abs(value) >= 0.95 else 2
    return f"{value:.{digits}f} %"


def excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def point(data: Data, texts: Sequence[str], row: int, details: Mapping[str, Any]) -> Evidence:
    """A row that a person should look at."""
    return Evidence(row, excerpt(texts[row]), data.ids[row], details=dict(details))


def shown(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """As much of it as a check brings."""
    return tuple(evidence)[:20]


def unknown(name: str, why: str, advice: str, *, subject: str = "", n: int = 0) -> Check:
    """A check that cannot be measured, and what to give."""
    return Check(name, None, n=n, subject=subject, verdict="INCONCLUSIVE", sentence=why, advice=advice)


def loss_test(log_ratio: float, se: float, *, limit: float, effect: float) -> Test:
    """The one-sided test that 1 − e^`log_ratio`, the share of variety that is lost, is beyond `limit`.

    `se`: of `log_ratio`. `effect` is on the scale of the loss, as the minimum detectable effect is.
    """
    border = math.log(1 - limit)
    if se <= 0:
        return Test(0.0 if log_ratio < border else 1.0, effect, lambda alpha: limit)
    return Test(
        z_tail((border - log_ratio) / se),
        effect,
        lambda alpha: 1 - math.exp(border - (z_quantile(1 - alpha) + z_quantile(POWER)) * se),
    )


def loss_interval(log_ratio: float, se: float) -> tuple[float, float]:
    """The 95 % interval of 1 − e^`log_ratio`."""
    return 1 - math.exp(log_ratio + Z95 * se), 1 - math.exp(log_ratio - Z95 * se)
