"""What is told of a step's scorers in card and manifest: range, weight, and what a scorer says of itself."""

from __future__ import annotations

from typing import Any

from factory.scoring.compiled import Scorers


def scorer_facts(step: str, scorers: Scorers) -> list[dict[str, Any]]:
    """One mapping a scorer, plain data.

    A scorer may have `facts()` (a judge's prompt with its SHA-256, and rubric), `report()` (figures, such as a trained
    classifier's AUC) and `notes()` (sentences a user should read).
    """
    found = []
    for scorer in scorers.scorers:
        told: dict[str, Any] = {
            "step": step,
            "name": scorer.name,
            "range": [scorer.traits.low, scorer.traits.high],
            "better": scorer.traits.better,
            "weight": scorer.weight,
            "models": list(scorer.roles),
        }
        for name in ("facts", "report"):
            if (method := getattr(scorer.plugin, name, None)) is not None:
                told[name] = dict(method())
        found.append(told)
    return found


def scorer_notes(scorers: Scorers) -> list[str]:
    """What scorers want to be read, in the recipe's order."""
    return [
        f"scorer `{scorer.name}`: {told}"
        for scorer in scorers.scorers
        for told in (getattr(scorer.plugin, "notes", list)() or ())
    ]
