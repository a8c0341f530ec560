"""The area `bias` as a whole: groups are found once, and each check looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.comparing import Scene, Side
from factory.auditors.bias.modelled import ask_tone, check_role
from factory.auditors.bias.outcomes import outcomes, scores_of
from factory.auditors.bias.pairs import clusters_of
from factory.auditors.bias.parity import parity, topics
from factory.auditors.bias.representation import representation
from factory.auditors.bias.sentiment import sentiment
from factory.auditors.bias.tone import has_tone, load_tone, measure
from factory.auditors.bias.toxicity import toxic_rows, toxicity
from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import HOW_TO_ADD, Grouping, groupings, same_groups
from factory.auditors.lexicons.detecting import spoken
from factory.auditors.lexicons.loading import languages
from factory.auditors.statistics import Floats
from factory.errors import UsageError
from factory.types import Check

MOST_STRATA = 50
PROMISED = (
    "bias.representation", "bias.parity", "bias.outcomes", "bias.sentiment", "bias.toxicity", "bias.association",
    "bias.amplification",
)  # fmt: skip
"""The checks that need groups, and say so where there are none."""


@dataclass(frozen=True)
class Options:
    """The options of `bias`, as its documentation has them."""

    axis: str | list[str] | None = None
    groups: str | dict[str, dict[str, list[str]]] | None = None
    target: dict[str, dict[str, float]] | None = None
    tolerance: float = 0.05
    lexicons: str | None = None
    strata: str | None = None
    min_rows: int = 50
    max_difference: float = 0.2
    must_see: float = 0.5
    max_share_difference: float = 0.05
    must_see_share: float = 0.15
    max_label_difference: float = 0.1
    must_see_label: float = 0.25
    max_tie_difference: float = 0.1
    max_amplification: float = 0.02
    min_selection: float = 0.8
    neutral: tuple[str, ...] = ()
    sentiment_model: str | None = None
    toxicity_model: str | None = None
    model_rows: int = 400
    counterfactual_rows: int = 100

    def check(self) -> None:
        """Raise UsageError for a value that makes no sense."""
        for low, high in (
            ("max_difference", "must_see"),
            ("max_share_difference", "must_see_share"),
            ("max_label_difference", "must_see_label"),
        ):
            least, most = getattr(self, low), getattr(self, high)
            if least < 0:
                raise UsageError(f"`{low}` of `bias` is {least:g}", "0 or more")
            if most <= least:
                raise UsageError(
                    f"`{high}` of `bias` ({most:g}) must be above `{low}` ({least:g})", "it is what must not go unseen"
                )
        for name in ("tolerance", "max_tie_difference", "max_amplification", "min_selection"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"`{name}` of `bias` is {getattr(self, name):g}", "give 0 to 1")
        for name, least in (("min_rows", 2), ("model_rows", 10), ("counterfactual_rows", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"`{name}` of `bias` is {getattr(self, name)}", f"{least} or more")


async def compose(dataset: Data, reference: Data | None, context: AuditContext, options: Options) -> list[Check]:
    """All checks of the area. Raises UsageError for options that make no sense."""
    options.check()
    check_role(context, options.sentiment_model, "sentiment_model")
    check_role(context, options.toxicity_model, "toxicity_model")
    if reference is not None and not reference.columns:
        reference = None
    context.progress("bias: groups", 0.0)
    found, why = groupings(
        dataset,
        context.language,
        axis=options.axis,
        groups=options.groups,
        lexicons=options.lexicons,
        base=context.base,
    )
    if not found:
        checks = [_not_applicable(dataset, reason, name) for name in PROMISED for reason in why]
        return [
            *checks,
            *_selection(dataset, context, [], options),
            *await _counterfactual(dataset, [], context, options),
        ]
    checks = [_not_applicable(dataset, reason, PROMISED[0]) for reason in why]
    folder = None if options.lexicons is None else context.base / options.lexicons
    language = _language(dataset, found, context, folder)
    scene = _scene(dataset, reference, found, context, options, language, folder)
    context.progress("bias: shares and outcomes", 0.3)
    checks += representation(scene, options.target, options.tolerance)
    checks += _parity(scene, options)
    checks += outcomes(
        scene,
        limit=options.max_difference,
        effect=options.must_see,
        share_limit=options.max_share_difference,
        share_effect=options.must_see_share,
    )
    checks += await _tone(scene, options, language, folder)
    context.progress("bias: associations", 0.5)
    checks += _ties(scene, options)
    checks += await _counterfactual(dataset, found, context, options, language)
    context.progress("bias", 1.0)
    return checks


def _language(dataset: Data, found: Sequence[Grouping], context: AuditContext, folder: Path | None) -> str:
    """The language whose lexicons of sentiment and toxicity are used: the groups' own, the recipe's, else detected."""
    given = next((one.language for one in found if one.language), context.language)
    if given is not None:
        return given
    heard = spoken(dataset.clipped, languages(folder))
    return heard.language or heard.other or "unknown"


def _not_applicable(dataset: Data, reason: str, name: str) -> Check:
    """INCONCLUSIVE for axes that cannot be looked at, and why."""
    told = reason[:1].upper() + reason[1:]
    advice = HOW_TO_ADD if "lexicons exist" in reason else "name another axis, or give `groups:` with terms of your own"
    return Check(
        name,
        None,
        n=len(dataset),
        subject="lexicons" if "lexicons exist" in reason else reason.split(" has ")[0],
        sentence=f"{told}.",
        advice=f"{advice[:1].upper()}{advice[1:]}",
    )


def _scene(
    dataset: Data,
    reference: Data | None,
    found: Sequence[Grouping],
    context: AuditContext,
    options: Options,
    language: str | None,
    folder: Path | None,
) -> Scene:
    others = [None if reference is None else same_groups(grouping, reference) for grouping in found]
    strata, real_strata, told = _strata(dataset, reference, options.strata)
    here = _side(dataset, strata, language, folder, scored=True)
    there = None if reference is None else _side(reference, real_strata, language, folder, scored=False)
    return Scene(here, there, list(zip(found, others, strict=True)), context, options.min_rows, told)


def _side(data: Data, strata: NDArray[np.intp], language: str | None, folder: Path | None, *, scored: bool) -> Side:
    found: dict[str, Floats] = dict(measure(data.clipped, language, folder))
    found["words"] = np.log1p(found["length"])
    found["toxic"] = toxic_rows(found["toxicity"])
    scores = scores_of(data) if scored else None
    if scores is not None:
        found["score"] = scores
    return Side(data, found, strata, clusters_of(data))


def _strata(
    dataset: Data, reference: Data | None, column: str | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], str]:
    """Numbers of the strata of all rows: the column that is named, else the labels where they are few."""
    both = [dataset, *([reference] if reference is not None else [])]
    if column is not None:
        values = [[str(value) for value in data.values(column)] for data in both]
        told = f"column {column}"
    elif all(data.labels is not None for data in both):
        values = [[str(label) for label in data.labels or ()] for data in both]
        told = "labels"
    else:
        values, told = [], ""
    names = {name: place for place, name in enumerate(sorted({one for part in values for one in part}))}
    if not names or (column is None and len(names) > MOST_STRATA):
        zeros = [np.zeros(len(data), dtype=np.intp) for data in both]
        return zeros[0], zeros[-1], ""
    if len(names) > max(MOST_STRATA, len(dataset) // 10):
        raise UsageError(f"`strata`: '{column}' has {len(names)} values", "name a column with few")
    numbered = [np.array([names[value] for value in part], dtype=np.intp) for part in values]
    return numbered[0], numbered[-1], told


def _parity(scene: Scene, options: Options) -> list[Check]:
    """Label parity within topics, or within the column that is named."""
    labels = scene.here.data.labels
    if labels is not None and options.strata is None:
        reference = None if scene.there is None else scene.there.data
        terms = [term for grouping, _ in scene.pairs for group in grouping.terms.values() for term in group]
        hidden = frozenset(term for term in terms if " " not in term)
        here, there, told = topics(scene.here.data, reference, scene.context, hidden)
        other = scene.there if scene.there is None or there is None else replace(scene.there, strata=there)
        scene = replace(scene, here=replace(scene.here, strata=here), there=other, strata_told=told)
    return parity(scene, limit=options.max_label_difference, effect=options.must_see_label)


async def _tone(scene: Scene, options: Options, language: str | None, folder: Path | None) -> list[Check]:
    """Sentiment and toxicity, by a model where one is named, else by lexicon."""
    checks: list[Check] = []
    for kind, role in (("sentiment", options.sentiment_model), ("toxicity", options.toxicity_model)):
        own = scene
        if role is not None:
            own, method, problem = await _asked(scene, options, role, kind)
            answered = own.here.outcomes[kind]
            if not np.isfinite(answered).any():
                checks.append(_unanswered(kind, role, problem, len(scene.here.data)))
                continue
        else:
            if not has_tone(language, folder):
                checks.append(_toneless(kind, language, len(scene.here.data)))
                continue
            tone = load_tone((language or "en").lower().replace("_", "-").split("-")[0], folder)
            told = tone.sentiment_told if kind == "sentiment" else tone.toxicity_told
            method = f"by lexicon: {told}; for comparing groups, not for judging one row"
        if kind == "sentiment":
            checks += sentiment(own, method=method, limit=options.max_difference, effect=options.must_see)
        else:
            limits = options.max_share_difference, options.must_see_share
            checks += toxicity(own, method=method, limit=limits[0], effect=limits[1])
    return checks


async def _asked(scene: Scene, options: Options, role: str, kind: str) -> tuple[Scene, str, str]:
    """The scene with a model's opinion in place of the lexicon's, of both sides."""

    async def side(given: Side, groups: Sequence[Grouping], own: bool) -> tuple[Side, str, str]:
        values, method, problem = await ask_tone(
            given.data, groups, scene.context, role, kind, options.model_rows, own=own
        )
        found = {**given.outcomes, kind: values}
        if kind == "toxicity":
            found["toxic"] = toxic_rows(values)
        return replace(given, outcomes=found), method, problem

    here, method, problem = await side(scene.here, [one for one, _ in scene.pairs], True)
    there = scene.there
    if there is not None:
        there, _, _ = await side(there, [other for _, other in scene.pairs if other is not None], False)
    return replace(scene, here=here, there=there), method, problem


def _unanswered(kind: str, role: str, problem: str, n: int) -> Check:
    told = f"`{role}` gave no {kind} for any row: {problem or 'no row speaks of one group alone'}."
    return Check(f"bias.{kind}", None, n=n, sentence=told, advice=f"name another model: `{kind}_model: ROLE`")


def _toneless(kind: str, language: str | None, n: int) -> Check:
    told = f"There is no lexicon of {kind} for the language '{language or 'unknown'}'."
    advice = f"name a model (`{kind}_model: ROLE`), or add LANGUAGE/{kind}.yaml in a folder that `lexicons:` names"
    return Check(f"bias.{kind}", None, n=n, sentence=told, advice=advice)


def _ties(scene: Scene, options: Options) -> list[Check]:
    """What goes with groups, how much more than in the reference, and how our own selection fares."""
    from factory.auditors.bias.amplification import amplification
    from factory.auditors.bias.association import association

    dataset = scene.here.data
    reference = None if scene.there is None else scene.there.data
    ours, theirs = [one for one, _ in scene.pairs], [other for _, other in scene.pairs]
    real: Any = None if reference is None else theirs
    checks = association(
        dataset, reference, ours, real, scene.context, limit=options.max_tie_difference, neutral=options.neutral
    )
    checks += amplification(dataset, reference, ours, real, scene.context, limit=options.max_amplification)
    return [*checks, *_selection(dataset, scene.context, ours, options)]


def _selection(dataset: Data, context: AuditContext, ours: Sequence[Grouping], options: Options) -> list[Check]:
    from factory.auditors.bias.selection import selection

    return selection(dataset, context, ours, limit=options.min_selection)


async def _counterfactual(
    dataset: Data, ours: Sequence[Grouping], context: AuditContext, options: Options, language: str | None = None
) -> list[Check]:
    from factory.auditors.bias.counterfactual import counterfactual

    rows, limit = options.counterfactual_rows, options.max_difference
    return await counterfactual(dataset, ours, replace(context, language=language), rows=rows, limit=limit)
