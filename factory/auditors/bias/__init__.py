"""Area `bias`: how groups of people are shown, and whether rows that speak of them fare alike."""

from __future__ import annotations

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.types import Check


async def bias(
    dataset: Data,
    reference: Data | None,
    context: AuditContext,
    *,
    axis: str | list[str] | None = None,
    groups: str | dict[str, dict[str, list[str]]] | None = None,
    target: dict[str, dict[str, float]] | None = None,
    tolerance: float = 0.05,
    lexicons: str | None = None,
    strata: str | None = None,
    min_rows: int = 50,
    max_difference: float = 0.2,
    must_see: float = 0.5,
    max_share_difference: float = 0.05,
    must_see_share: float = 0.15,
    max_label_difference: float = 0.1,
    must_see_label: float = 0.25,
    max_tie_difference: float = 0.1,
    max_amplification: float = 0.02,
    min_selection: float = 0.8,
    neutral: list[str] | None = None,
    sentiment_model: str | None = None,
    toxicity_model: str | None = None,
    model_rows: int = 400,
    counterfactual_rows: int = 100,
) -> list[Check]:
    """How groups of people are shown, and whether rows that speak of them fare alike.

    `axis`: axes of lexicons (gender, age, …), of the recipe, of `groups`, or columns; all lexicons and `groups` by
    default. `groups`: terms of your own by axis and group, or a YAML file of them. `lexicons`: a folder of further
    ones, LANGUAGE/AXIS.yaml. `target`: wanted shares by axis and group, ± `tolerance`. `strata`: a column within
    which groups are compared. `min_rows`: rows that speak of a group alone, below which it is not compared. The
    `max_…` and `min_…` are the gates, the `must_see…` what must not go unseen. `neutral`: fields or categories that
    ought to go with no group. `sentiment_model`, `toxicity_model`: a role to ask instead of the lexicons, on
    `model_rows` rows.
    """
    from factory.auditors.bias.composing import Options, compose

    options = Options(
        axis=axis,
        groups=groups,
        target=target,
        tolerance=tolerance,
        lexicons=lexicons,
        strata=strata,
        min_rows=min_rows,
        max_difference=max_difference,
        must_see=must_see,
        max_share_difference=max_share_difference,
        must_see_share=must_see_share,
        max_label_difference=max_label_difference,
        must_see_label=must_see_label,
        max_tie_difference=max_tie_difference,
        max_amplification=max_amplification,
        min_selection=min_selection,
        neutral=tuple(neutral or ()),
        sentiment_model=sentiment_model,
        toxicity_model=toxicity_model,
        model_rows=model_rows,
        counterfactual_rows=counterfactual_rows,
    )
    return await compose(dataset, reference, context, options)
