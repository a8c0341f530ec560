"""How varied the rows are: copies, templates, openings, words, meanings, labels; by themselves and beside real rows.

Without a reference only what is sound by itself is gated: copies, templates, openings. How many different words or
meanings there should be, real rows of the same kind tell. Comparisons are made at equal n and at equal lengths.
"""

from __future__ import annotations

from typing import Any

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.diversity.collapse import check_collapse
from factory.auditors.diversity.duplicates import check_duplicates, close_variants
from factory.auditors.diversity.labels import check_labels
from factory.auditors.diversity.lexical import check_lexical
from factory.auditors.diversity.matching import match, sample
from factory.auditors.diversity.openings import check_openings
from factory.auditors.diversity.self_bleu import check_self_bleu
from factory.auditors.diversity.semantic import check_semantic
from factory.auditors.diversity.telling import unknown
from factory.auditors.spaces import tokenize
from factory.errors import UsageError
from factory.types import Check

__all__ = ["diversity"]
NAMES = ("duplicates", "collapse", "openings", "lexical", "self_bleu", "semantic", "labels")


async def diversity(
    dataset: Data,
    reference: Data | None,
    context: AuditContext,
    *,
    threshold: float = 0.8,
    max_duplicates: float = 0.15,
    max_close: float = 0.05,
    max_templates: float = 0.5,
    max_opening: float = 0.5,
    opening_words: int = 3,
    max_excess: float = 0.1,
    max_loss: float = 0.15,
    max_label_loss: float = 0.25,
    max_self_bleu: float = 0.1,
    embedder: str | None = None,
) -> list[Check]:
    """The checks `diversity.…`; see the modules of this package.

    `threshold`: Jaccard similarity of near copies. `max_duplicates`: share of rows that may repeat an earlier one,
    beyond the reference's. `max_close`: how far the share of close variants may exceed the reference's.
    `max_templates`: share of rows that may repeat a template, `max_opening`: concentration of openings of
    `opening_words` words, both without a reference; with one, they may exceed its figures by `max_excess`.
    `max_loss`: share of the reference's different words and phrases, and of its Vendi score, that may be missing,
    `max_label_loss` of its effective number of labels. `max_self_bleu`: how far self-BLEU may exceed the reference's.
    `embedder`: role of a model that embeds, for the Vendi score. Raises UsageError for an option out of its range, and
    for data without text.
    """
    _check_shares(
        max_duplicates=max_duplicates,
        max_close=max_close,
        max_templates=max_templates,
        max_opening=max_opening,
        max_excess=max_excess,
        max_loss=max_loss,
        max_label_loss=max_label_loss,
        max_self_bleu=max_self_bleu,
    )
    if isinstance(opening_words, bool) or not 1 <= opening_words <= 20:
        raise UsageError(f"`opening_words` of `diversity` is {opening_words}", "use a number of words from 1 to 20")
    if not len(dataset):
        return [unknown(f"diversity.{name}", "There are no rows.", "give data with rows") for name in NAMES]
    if reference is not None and not len(reference):
        reference = None
    found = [check_duplicates(dataset, reference, context, threshold=threshold, max_duplicates=max_duplicates)]
    context.progress("diversity: copies", 0.3)
    words = tokenize(dataset.clipped)
    close = close_variants(dataset, reference, words, context, max_close=max_close)
    found += [close] if close is not None else []
    found.append(
        check_collapse(dataset, reference, context, max_templates=max_templates, max_excess=max_excess),
    )
    found += check_openings(dataset, reference, words=opening_words, max_opening=max_opening, max_excess=max_excess)
    context.progress("diversity: templates and openings", 0.5)
    rng = context.rng("diversity", "words")
    matched = None if reference is None else match(words, tokenize(reference.clipped), rng)
    few = sample(words, rng)[1] if matched is None else matched.words
    found += check_lexical(dataset, reference, few, matched, max_loss=max_loss)
    found.append(check_self_bleu(few, matched, max_rise=max_self_bleu, rows=len(dataset)))
    context.progress("diversity: words", 0.7)
    found.append(await check_semantic(dataset, reference, context, max_loss=max_loss, embedder=embedder))
    found.append(check_labels(dataset, reference, max_loss=max_label_loss))
    context.progress("diversity", 1.0)
    return found


def _check_shares(**given: Any) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise UsageError(f"`{name}` of `diversity` is {value}", "use a share from 0 to under 1, such as 0.1")
