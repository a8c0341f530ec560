"""Is one group written about more kindly than another?"""

from __future__ import annotations

from factory.auditors.bias.comparing import Measure, Scene, compare
from factory.types import Check

NAME = "bias.sentiment"
ADVICE = "ask in the prompt for the same tone whatever the group, or draw the tone by an axis apart from the group"


def sentiment(scene: Scene, *, method: str, limit: float, effect: float) -> list[Check]:
    """The sentiment of rows, each group against the others. `method`: by which lexicon or model."""
    return compare(scene, Measure(NAME, "sentiment", "sentiment (−1 to 1)", False, limit, effect, method, ADVICE))
