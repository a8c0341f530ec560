"""Calls of a verifier in the tests: on a text or on columns, with a scope and a source row."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from factory.prompts import render_text
from factory.scorers import Context
from factory.types import Candidate, Message, Prompt, Score, Variation


def context(
    scope: Mapping[str, Any] | None = None, source: Mapping[str, Any] | None = None, language: str = "en"
) -> Context:
    names = {**(scope or {}), **({"source": source} if source is not None else {})}
    variation = Variation(3, {"topic": "x"}, source)
    prompt = Prompt((Message("user", "Ask."),), "sha")
    return Context(variation, prompt, names, lambda text: render_text(text, names), language=language)


def candidate(given: str | Mapping[str, Any]) -> Candidate:
    fields = None if isinstance(given, str) else given
    return Candidate(3, "main", 1, given if isinstance(given, str) else "raw", "stop", 1, "m", fields)


def call(scorer: Any, given: str | Mapping[str, Any], seen: Context, **options: Any) -> Score:
    """The score, with the documented range checked."""
    if inspect.isclass(scorer):
        made = scorer(**options)
        score = asyncio.run(made(candidate(given), seen))
    else:
        score = scorer(candidate(given), seen, **options)
    assert score.name == scorer.__name__
    assert score.value is None or 0.0 <= score.value <= 1.0
    assert score.reason or not score.vetoed
    assert len(score.reason) < 700
    return score
