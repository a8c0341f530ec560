"""What each stage of a run's selection is worth: accepted rows against as many drawn before the stage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.auditors.data import CLIP, Data
from factory.auditors.utility.arms import Arms
from factory.auditors.utility.learners import Floats, Ints
from factory.auditors.utility.pairing import ERRORS, Estimate, estimate
from factory.auditors.utility.rows import Labelled, label_name, read_labelled
from factory.types import Check

NAME = "utility.ablation"
LOOKED_AT = ("score", "select", "filter", "decontaminate", "dedup")
"""Stages that choose. What broke (`call`, `parse`) and what lies past the target (`unused`) was not chosen among."""
FEWEST = 20
"""Rejected candidates that a stage needs to be told of."""
WHOLE = "all stages"
SEEN = 0.04


def read_candidates(dataset: Data, rejects: Data | None, reference: Data | None) -> tuple[Labelled, list[str]] | str:
    """The rejected candidates with a label, and the stage of each; or why there are none.

    The label: the field of that name where a candidate is a JSON object, else the axis of that name, else the axis
    whose values are the labels of the accepted rows.
    """
    if rejects is None:
        return "There are no rejected candidates: they come with a run of a recipe."
    names = _label_names(dataset, reference)
    if not names:
        return "The dataset has no labels."
    stages, drawn, given = (rejects.values(name) for name in ("stage", "variation", "text"))
    texts: list[str] = []
    labels: list[str] = []
    kept: list[str] = []
    for stage, variation, text in zip(stages, drawn, given, strict=True):
        if stage not in LOOKED_AT or not text:
            continue
        fields, axes = _as_object(text), _as_object(variation)
        label = next((found[name] for found in (fields, axes) for name in names if found.get(name) is not None), None)
        read = _text_of(fields, dataset.columns, text)
        if label is not None and read.strip():
            texts.append(read[:CLIP])
            labels.append(label_name(label))
            kept.append(str(stage))
    if not texts:
        return "No rejected candidate of a stage that chooses has a label."
    return Labelled(texts, labels, np.arange(len(texts))), kept


def _label_names(dataset: Data, reference: Data | None) -> list[str]:
    found = [data.label for data in (dataset, reference) if data is not None and data.label is not None]
    accepted = read_labelled(dataset, None, found[-1] if found else None)
    if accepted is not None and len(accepted):
        for axis, values in dataset.axes.items():
            if [label_name(values[place]) for place in accepted.places] == accepted.labels:
                found.append(axis)
    return list(dict.fromkeys(found))


def _as_object(text: Any) -> Mapping[str, Any]:
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text_of(fields: Mapping[str, Any], columns: Sequence[str], text: str) -> str:
    """The same columns as those of the dataset; the text as it is where a candidate is no JSON object."""
    parts = [fields[name] for name in columns if isinstance(fields.get(name), str)]
    return "\n".join(parts) if parts else text


def ablation(arms: Arms, stages: Sequence[str], draws: int, limit: float) -> Check:
    """One check over all stages together; each stage apart is told. `stages`: of all candidates that were read.

    Without a stage: as many rows, of which those that it rejected are the share that they had before it.
    """
    names = np.array(stages)[arms.bench.places[arms.bench.extra]]
    counts = Counter(stages)
    parts = {stage: arms.bench.extra[names == stage] for stage in LOOKED_AT if counts[stage] >= FEWEST}
    method = f"{arms.learner.name}; {ERRORS.format(draws=draws)}"
    if len(stages) < FEWEST:
        told = f"{len(stages)} rejected candidates have a label, and {FEWEST} are needed."
        return Check(NAME, None, sentence=told, advice="a run with more rejected candidates", method=method)
    parts[WHOLE] = arms.bench.extra
    worths = {stage: _worth(arms, rows, counts.get(stage, len(stages)), draws, stage) for stage, rows in parts.items()}
    whole = worths[WHOLE]
    low, high = (100 * one for one in whole.interval)
    each = "; ".join(f"{stage} {100 * worth.value:+.1f}" for stage, worth in worths.items() if stage != WHOLE)
    told = (
        f"Accepted rows teach {100 * whole.value:+.1f} points of accuracy ({low:+.1f} to {high:+.1f}) more than as "
        f"many candidates drawn before any were thrown out ({len(stages):,} were)."
    )
    return Check(
        NAME,
        whole.value,
        interval=whole.interval,
        n=whole.n,
        gate=f"selection costs at most {100 * limit:g} points of accuracy",
        sentence=f"{told} By stage, in points: {each}." if each else told,
        advice="look at what the stage rejects (rejects.parquet); loosen it, or drop the scorer",
        method=method,
        details={"stages": _figures(worths, counts), "plots": [_plot(worths)]},
        test=whole.flipped().beyond(limit, limit + SEEN),
    )


def _worth(arms: Arms, rejected: Ints, count: int, draws: int, stage: str) -> Estimate:
    """`count`: rows that the stage rejected in all, of which `rejected` are a sample."""
    size = min(len(arms.bench.synthetic), arms.most)
    worse = min(len(rejected), round(size * count / (count + arms.bench.counts["accepted"])))
    differences: list[Floats] = []
    for draw in range(draws):
        order = arms.synthetic(size, draw)
        kept = arms.correct(order, "accepted rows")
        drawn = np.concatenate([order[: size - worse], arms.rng(NAME, stage, draw).permutation(rejected)[:worse]])
        differences.append(kept.astype(np.float64) - arms.correct(drawn, f"without {stage}"))
    return estimate(np.stack(differences), arms.rng(NAME, stage))


def _figures(worths: Mapping[str, Estimate], counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        stage: worth.told() | {"rejected": counts.get(stage, sum(counts.values()))} for stage, worth in worths.items()
    }


def _plot(worths: Mapping[str, Estimate]) -> dict[str, Any]:
    rows = [
        {"label": stage, "value": worth.value, "low": worth.interval[0], "high": worth.interval[1]}
        for stage, worth in worths.items()
    ]
    return {
        "kind": "forest",
        "title": "What each stage is worth",
        "rows": rows,
        "x_label": "accuracy on real rows: accepted less drawn before the stage",
    }
