"""The checks of the area, one after another: what several need (words, places, topics) is made once."""

from __future__ import annotations

from collections.abc import Sequence

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.fidelity.classifier import check_classifier
from factory.auditors.fidelity.columns import check_columns, check_roles
from factory.auditors.fidelity.coverage import check_coverage
from factory.auditors.fidelity.gates import Gates
from factory.auditors.fidelity.labels import check_labels
from factory.auditors.fidelity.lengths import check_lengths, measure
from factory.auditors.fidelity.matching import match_texts
from factory.auditors.fidelity.mauve import check_mauve
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.relations import build_table, check_relations
from factory.auditors.fidelity.scenes import Scene, place_texts
from factory.auditors.fidelity.style import check_style
from factory.auditors.fidelity.telling import unmeasured
from factory.auditors.fidelity.topics import Topics, check_topics, find_topics
from factory.auditors.fidelity.vocabulary import check_words
from factory.auditors.fidelity.words import Words, count_both
from factory.types import Check

OF_TEXTS = ("length", "vocabulary", "topics", "style", "coverage", "mauve", "classifier")
SPATIAL = {"topics", "coverage", "mauve", "correlation", "conditional"}
WORDY = {"vocabulary", "topics", "style", "classifier", "columns", "correlation", "conditional"}


async def compare(
    dataset: Data, reference: Data, context: AuditContext, gates: Gates, model: str | None
) -> list[Check]:
    """Every check that the gates name, in their order."""
    pair = Pair(dataset, reference)
    wanted = set(gates.checks)
    found: list[Check] = []
    words, scene, topics = None, None, None
    if pair.columns and any(any(side) for side in pair.joined):
        context.progress("fidelity: words", 0.0)
        words = count_both(pair) if wanted & WORDY else None
        found += _of_words(pair, words, context, gates)
        context.progress("fidelity: places", 0.4)
        if wanted & SPATIAL:
            scene = await place_texts(pair, context, model)
            topics = find_topics(pair, words or count_both(pair), scene, context)
            found += _of_places(pair, scene, topics, context, gates)
    else:
        why = "The texts are empty." if pair.columns else "One side has no column of texts."
        advice = "`on: COLUMN`, columns that hold text"
        found += [unmeasured(name, why, advice, n=len(dataset)) for name in OF_TEXTS if name in wanted]
    context.progress("fidelity: columns", 0.8)
    found += _of_columns(pair, words, scene, topics, context, gates)
    context.progress("fidelity", 1.0)
    return sorted(found, key=lambda check: gates.checks.index(check.name.partition(".")[2]))


def _of_words(pair: Pair, words: Words | None, context: AuditContext, gates: Gates) -> list[Check]:
    found: list[Check] = []
    if "length" in gates.checks:
        found.append(check_lengths(pair, **gates.of("length")))
    if words is None:
        return found
    if "vocabulary" in gates.checks:
        coverage, shares = gates.limits["vocabulary"], gates.limits["words"]
        found += check_words(pair, words, context, coverage=coverage, shares=shares)
    if "style" in gates.checks:
        found.append(check_style(pair, words, context, **gates.of("style")))
    if "classifier" in gates.checks:
        found.append(check_classifier(pair, words, context, **gates.of("classifier")))
    return found


def _of_places(pair: Pair, scene: Scene, topics: Topics, context: AuditContext, gates: Gates) -> list[Check]:
    found: list[Check] = []
    if "topics" in gates.checks:
        found.append(check_topics(pair, scene, topics, **gates.of("topics")))
    if "coverage" in gates.checks:
        found.append(check_coverage(pair, scene, context, **gates.of("coverage")))
    if "mauve" in gates.checks:
        found.append(check_mauve(pair, scene, context, **gates.of("mauve")))
    return found


def _of_columns(
    pair: Pair,
    words: Words | None,
    scene: Scene | None,
    topics: Topics | None,
    context: AuditContext,
    gates: Gates,
) -> list[Check]:
    found: list[Check] = []
    texts = pair.joined[0] if pair.columns else None
    if "labels" in gates.checks:
        limits = gates.of("labels")
        found += check_labels(pair.dataset, pair.reference, texts, smallest=gates.smallest, **limits)
    if "columns" in gates.checks:
        found += check_columns(pair, **gates.of("columns"))
        if words is not None:
            found += check_roles(pair, words, context, **gates.of("columns"))
    if {"correlation", "conditional"} & set(gates.checks):
        found += [one for one in _relate(pair, words, scene, topics, context, gates) if _wanted(one, gates.checks)]
    return found


def _wanted(check: Check, names: Sequence[str]) -> bool:
    return check.name.partition(".")[2] in names


def _relate(
    pair: Pair,
    words: Words | None,
    scene: Scene | None,
    topics: Topics | None,
    context: AuditContext,
    gates: Gates,
) -> list[Check]:
    rng = context.rng("fidelity.correlation")
    sides = [(pair.whole_here[name], pair.whole_there[name]) for name in pair.columns] if words is not None else []
    lengths = [(measure(here)["words"], measure(there)["words"]) for here, there in sides]
    table = build_table(pair, scene, topics, dict(zip(pair.columns, lengths, strict=False)), rng)
    matched = [] if words is None else match_texts(pair, words, rng, **gates.of("correlation"))
    return check_relations(
        pair, table, matched, rng, correlation=gates.limits["correlation"], conditional=gates.limits["conditional"]
    )
