"""A scorer learned from the user's own labelled rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from factory.errors import UsageError
from factory.scorers import Context, Setup, as_text, shorten, text_of, traits
from factory.scorers.learned_training import MIN_OF_A_CLASS, Classifier, Quality, train
from factory.sources.tables import check_columns, read_table
from factory.types import Candidate, Score

YES = frozenset({"1", "true", "yes", "good"})
NO = frozenset({"0", "false", "no", "bad"})
FEW, FEW_OF_A_CLASS = 100, 30


@traits(low=0, high=1, expense="model")
class Learned:
    """The probability of a good label by a classifier trained on your labelled rows; 0…1, higher is better.

    `labels`: a JSONL, CSV, JSON or Parquet file, relative to the recipe; its columns `text` and `label` (or as the
    options of these names say). Labels are 0 and 1, true and false, yes and no, good and bad, or grades with
    `good_from`, the lowest that is good. Word and character n-grams, TF-IDF and logistic regression, trained before
    row 0, the same on every run. `report` has the AUC of five-fold cross-validation with its 95% interval, `notes`
    what speaks against using the scorer. Give `on` the column that the labelled texts are like.
    """

    def __init__(
        self,
        *,
        labels: str,
        text: str = "text",
        label: str = "label",
        good_from: float | None = None,
        on: str | None = None,
    ):
        self._labels, self._text, self._label = labels, text, label
        self._good_from, self._on = good_from, on
        self._classifier: Classifier | None = None
        self._quality: Quality | None = None
        self._left_out = 0

    def bind(self, setup: Setup) -> None:
        """Train. Raises UsageError for a file or labels that will not do."""
        rows = read_table(setup.base / self._labels)
        check_columns([self._text, self._label], list(rows[0]), f"`labels: {self._labels}` of `learned`")
        known: dict[str, set[bool]] = {}
        good = self._read_labels([row[self._label] for row in rows])
        for row, its in zip(rows, good, strict=True):
            if text := as_text(row[self._text]).strip():
                known.setdefault(text, set()).add(its)
        clear = {text: next(iter(its)) for text, its in known.items() if len(its) == 1}
        self._left_out = len(known) - len(clear)
        counts = Counter(clear.values())
        if min(counts[True], counts[False]) < MIN_OF_A_CLASS:
            raise UsageError(
                f"`labels: {self._labels}` of `learned`: {counts[True]} good and {counts[False]} bad texts that differ",
                f"at least {MIN_OF_A_CLASS} of each are needed to learn from, {FEW} in all to trust the result",
            )
        self._classifier, self._quality = train(tuple(clear), tuple(clear.values()))

    def __call__(self, candidates: Sequence[Candidate], context: Context) -> list[Score]:
        if self._classifier is None:
            raise UsageError("`learned` is not trained yet", "call `bind` first")
        texts = [text_of(candidate, self._on).strip() for candidate in candidates]
        values = self._classifier.predict(texts)
        return [
            Score("learned", value) if text else Score("learned", None, "no text")
            for text, value in zip(texts, values, strict=True)
        ]

    def report(self) -> dict[str, Any]:
        """What cross-validation found: `auc`, `interval`, `n` (different texts), `positives`. Empty before `bind`."""
        found = self._quality
        if found is None:
            return {}
        return {"auc": found.auc, "interval": list(found.interval), "n": found.n, "positives": found.positives}

    def notes(self) -> list[str]:
        """Sentences that a user should read before trusting the scorer; none where there is nothing to say."""
        found = self._quality
        if found is None:
            return []
        low, high = found.interval
        shown = f"AUC {found.auc:.2f} (95% interval {low:.2f} to {high:.2f}) over {found.n} labelled texts"
        told = []
        if low <= 0.5 <= high:
            told.append(f"`learned` cannot be told from chance: {shown}. Label more rows, or leave it out.")
        elif high < 0.5:
            told.append(f"`learned` ranks unseen texts the wrong way round: {shown}. Look at the labels.")
        fewest = min(found.positives, found.n - found.positives)
        if found.n < FEW or fewest < FEW_OF_A_CLASS:
            told.append(f"`learned` has few labels ({found.n} texts, {fewest} of the rarer kind): {shown}.")
        if self._left_out:
            told.append(f"`learned` left out {self._left_out} texts that are labelled both good and bad.")
        return told

    def _read_labels(self, values: Sequence[Any]) -> list[bool]:
        empty = [place for place, value in enumerate(values) if _is_missing(value)]
        if empty:
            shown = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
            raise UsageError(
                f"`labels: {self._labels}` of `learned`: no label in {len(empty)} rows (from 0: {shown})",
                f"take these rows out, or fill their `{self._label}`",
            )
        if self._good_from is not None:
            return [self._read_grade(value, place) >= self._good_from for place, value in enumerate(values)]
        read = [_read_choice(value) for value in values]
        wrong = [value for value, its in zip(values, read, strict=True) if its is None]
        if wrong:
            grades = all(isinstance(value, int | float) for value in values)
            seen = ", ".join(sorted({shorten(str(value), 20) for value in values})[:8])
            raise UsageError(
                f"`labels: {self._labels}` of `learned`: {shorten(str(wrong[0]), 40)!r} is no label of two",
                f"these are grades: say `good_from`, one of {seen}" if grades else "use 0 and 1, or true and false",
            )
        return [bool(its) for its in read]

    def _read_grade(self, value: Any, place: int) -> float:
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"`labels: {self._labels}` of `learned`: {shorten(str(value), 40)!r} in row {place} is no grade",
                "with `good_from`, labels are numbers",
            ) from error


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "null", "none"))


def _read_choice(value: Any) -> bool | None:
    """True, False, or None for what is neither."""
    word = str(int(value)) if isinstance(value, float) and value in (0.0, 1.0) else str(value).strip().lower()
    return True if word in YES else False if word in NO else None
