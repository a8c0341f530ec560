"""One data set as one grouping sees it: which rows speak of one group alone, and which terms stand in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.bias.pairs import Shares, clusters_of, count_shares
from factory.auditors.bias.terms import categories_of, is_own, load_categories, own_words, term_rows
from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.auditors.vocabulary import words_of

CATEGORY, TERM, WORD = "category", "term", "word"
ROWS_FOR_WORDS = 10_000
"""Rows below which words outside the lexicon are mostly noise, and neither told nor gated."""
ROWS_OF_WORD = 100
"""Rows with a word outside the lexicon and a group, below which it is not compared."""


@dataclass(frozen=True)
class View:
    """`names`, `kinds`, `fields`: of each term; `terms`: CSR counts [rows, terms]; `only` [rows]: the group or −1.

    `apart` [terms]: False for a category of which one word alone occurs, which says nothing that the word does not.
    """

    data: Data
    grouping: Grouping
    only: NDArray[np.intp]
    names: tuple[str, ...]
    kinds: NDArray[np.str_]
    fields: NDArray[np.str_]
    terms: Any
    clusters: NDArray[np.intp] | None
    lexicon: str
    language: str
    apart: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """Rows that speak of one group alone."""
        return int(np.count_nonzero(self.only >= 0))

    def shares(self, weights: NDArray[np.bool_] | None = None) -> Shares:
        """Counts of all rows, or of those marked."""
        only = self.only if weights is None else np.where(weights, self.only, -1)
        present = self.terms.copy()
        present.data = np.minimum(present.data, 1.0)
        return count_shares(present, only, len(self.grouping.names), self.clusters)


def language_of(grouping: Grouping, groupings: Sequence[Grouping], context: AuditContext) -> str:
    """The language whose categories are looked for: the lexicon's, the recipe's, that of other lexicons, else `en`."""
    given = [grouping.language, context.language, *(one.language for one in groupings)]
    found = next((one for one in given if one), "en")
    return found.strip().lower().replace("_", "-").split("-")[0]


def look(
    data: Data, grouping: Grouping, language: str, reference: Data | None = None, there: Grouping | None = None
) -> tuple[View, View | None]:
    """The data, and the reference with the same terms where there is one.

    Words outside the lexicon are among the terms where all data have `ROWS_FOR_WORDS` rows, or no lexicon exists.
    """
    sides = [(data, grouping), *([(reference, there)] if reference is not None and there is not None else [])]
    own = own_words(grouping)
    words = _frequent(sides, own, language)
    views = [_view(one, group, language, own, words) for one, group in sides]
    return views[0], views[1] if len(views) == 2 else None


def _frequent(sides: Sequence[tuple[Data, Grouping]], own: frozenset[str], language: str) -> list[str]:
    """Words outside the lexicon that stand in enough rows of each side."""
    known = load_categories(language)
    if known is not None and any(len(data) < ROWS_FOR_WORDS for data, _ in sides):
        return []
    listed = set(categories_of(language))
    found: set[str] | None = None
    for data, grouping in sides:
        counts = words_of(data)
        held = counts.matrix[np.flatnonzero(grouping.only() >= 0)]
        rows = np.bincount(held.indices, minlength=len(counts.words))
        words = {counts.words[place] for place in np.flatnonzero(rows >= ROWS_OF_WORD).tolist()}
        found = words if found is None else found & words
    return sorted(word for word in found or () if word not in listed and not is_own(word, own))


def _view(data: Data, grouping: Grouping, language: str, own: frozenset[str], words: Sequence[str]) -> View:
    from scipy.sparse import csr_matrix, hstack

    counts = words_of(data)
    parts, names, kinds, fields = [], [], [], []
    known = load_categories(language)
    if known is not None:
        terms, matrix = term_rows(data, language, own)
        names += [term.name for term in terms]
        kinds += [CATEGORY if term.pooled else TERM for term in terms]
        fields += [term.category for term in terms]
        parts.append(matrix)
    if words:
        parts.append(counts.matrix[:, [counts.index[word] for word in words]].astype(np.float64))
        names += words
        kinds += [WORD] * len(words)
        fields += [""] * len(words)
    matrix = hstack(parts, format="csr") if parts else csr_matrix((len(data), 0))
    told = f"no categories of words exist for '{language}': single words" if known is None else known.told
    kind, field = np.array(kinds, dtype=np.str_), np.array(fields, dtype=np.str_)
    apart = _apart(matrix, kind, field)
    only = grouping.only()
    return View(data, grouping, only, tuple(names), kind, field, matrix, clusters_of(data), told, language, apart)


def _apart(terms: Any, kinds: NDArray[np.str_], fields: NDArray[np.str_]) -> NDArray[np.bool_]:
    rows = np.bincount(terms.indices, minlength=terms.shape[1])
    found = np.ones(len(kinds), dtype=np.bool_)
    for at in np.flatnonzero(kinds == CATEGORY).tolist():
        words = rows[(kinds == TERM) & (fields == fields[at])]
        found[at] = not len(words) or words.max() < rows[at]
    return found
