"""Is one group spoken of with insults more often than another?"""

from __future__ import annotations

import numpy as np

from factory.auditors.bias.comparing import Measure, Scene, compare
from factory.auditors.bias.tone import TOXIC
from factory.auditors.statistics import Floats
from factory.types import Check

NAME = "bias.toxicity"
ADVICE = "let the scorer `profanity` veto such rows, and look at the prompts that bring them about"


def toxic_rows(toxicity: Floats) -> Floats:
    """1 for a toxic row, 0 for another, nan where it is not known."""
    return np.where(np.isfinite(toxicity), (toxicity >= TOXIC).astype(np.float64), np.nan)


def toxicity(scene: Scene, *, method: str, limit: float, effect: float) -> list[Check]:
    """The share of toxic rows, each group against the others. `method`: by which lexicon or model."""
    what = Measure(
        NAME,
        "toxic",
        "the share of toxic rows",
        True,
        limit,
        effect,
        method,
        ADVICE,
        lambda mean: f"{100 * mean:.1f} %",
    )
    return compare(scene, what)
