"""Words of many texts, counted: a sparse matrix of rows by words, and where terms of several words stand.

A word is a run of letters, marks and digits, apostrophes inside included, case-folded; in scripts written without
spaces every sign is a word of its own. No language is assumed.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data

Ints = NDArray[np.int64]
_PLAIN = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_JOINERS = "\u200c\u200d"
"""Stand inside words of Persian and of the scripts of India."""


@dataclass(frozen=True)
class Counts:
    """How often each word stands in each row. `words` ascending; `matrix`: scipy CSR int32 [rows, words]."""

    words: list[str]
    matrix: Any

    @cached_property
    def index(self) -> dict[str, int]:
        """The column of each word."""
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """int64 [words]: in how many rows each stands."""
        return np.bincount(self.matrix.indices, minlength=len(self.words)).astype(np.int64)

    @cached_property
    def totals(self) -> NDArray[np.int64]:
        """int64 [words]: how often each stands in all."""
        return np.asarray(self.matrix.sum(axis=0)).ravel().astype(np.int64)

    def only(self, columns: NDArray[Any]) -> Counts:
        """The same rows with these words alone; `columns` are places, ascending."""
        return Counts([self.words[place] for place in columns.tolist()], self.matrix[:, columns])


def split_words(text: str) -> list[str]:
    """The words of a text in order, case-folded; a curly apostrophe is written `'`."""
    folded = text.casefold()
    if folded.isascii():
        return _PLAIN.findall(folded)
    folded = unicodedata.normalize("NFC", folded).replace("’", "'")
    return (_careful() if any(map(_is_special, set(folded))) else _PLAIN).findall(folded)


@lru_cache(maxsize=4096)
def _is_special(sign: str) -> bool:
    """Whether it is a mark, or of a script without spaces: the plain pattern would cut or join words there."""
    return sign > "\u02ff" and (
        unicodedata.category(sign)[0] == "M" or re.match(f"[{_UNSPACED}{_JOINERS}]", sign) is not None
    )


@cache
def _careful() -> re.Pattern[str]:
    """Words with their combining marks, which Python's `\\w` does not hold."""
    codes = [code for code in range(0x300, sys.maxunicode) if unicodedata.category(chr(code))[0] == "M"]
    marks = "".join(f"{chr(first)}-{chr(last)}" for first, last in _ranges(codes)) + _JOINERS
    letter = rf"(?:[^\W_{_UNSPACED}][{marks}]*)+"
    return re.compile(f"[{_UNSPACED}][{marks}]*|{letter}(?:'{letter})*")


def _ranges(codes: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


def count_words(texts: Iterable[str], *, ngrams: int = 1, min_rows: int = 1) -> Counts:
    """Words, and with `ngrams` runs of up to so many (joined by a space), that stand in at least `min_rows` rows."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    number = numbers.__getitem__
    stream, ends = array("q"), array("q")
    for text in texts:
        stream.extend(map(number, split_words(text)))
        ends.append(len(stream))
    ids = np.frombuffer(stream, dtype=np.int64) if len(stream) else np.empty(0, dtype=np.int64)
    borders = np.array([0, *ends], dtype=np.int64)
    owners = np.repeat(np.arange(len(ends)), borders[1:] - borders[:-1])
    return _sorted(_levels(ids, owners, len(ends), list(numbers), ngrams, min_rows))


def _levels(ids: Ints, owners: Ints, rows: int, words: list[str], ngrams: int, min_rows: int) -> list[Counts]:
    """One count for each length of a run. A run is looked at only where its shorter ones stand in enough rows."""
    starts, codes, names = np.arange(len(ids)), ids, words
    found = []
    for size in range(1, ngrams + 1):
        if size > 1:
            fits = starts + size - 1 < len(ids)
            starts, codes = starts[fits], codes[fits]
            inside = owners[starts] == owners[starts + size - 1]
            starts, codes = starts[inside], codes[inside]
            seen, inverse = np.unique(codes * len(words) + ids[starts + size - 1], return_inverse=True)
            names = [f"{names[one // len(words)]} {words[one % len(words)]}" for one in seen.tolist()]
            codes = inverse.astype(np.int64)
        counts = Counts(names, _matrix(owners[starts], codes, (rows, len(names))))
        kept = counts.rows >= min_rows
        found.append(counts if kept.all() else counts.only(np.flatnonzero(kept)))
        starts, codes = starts[kept[codes]], codes[kept[codes]]
    return found


def _matrix(rows: Ints, columns: Ints, shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_matrix

    matrix = csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _sorted(levels: Sequence[Counts]) -> Counts:
    from scipy.sparse import hstack

    words = [word for level in levels for word in level.words]
    matrix = levels[0].matrix if len(levels) == 1 else hstack([level.matrix for level in levels], format="csr")
    order = sorted(range(len(words)), key=words.__getitem__)
    place = np.empty(len(order), dtype=matrix.indices.dtype)
    place[order] = np.arange(len(order))
    matrix.indices = place[matrix.indices]
    matrix.has_sorted_indices = False
    matrix.sort_indices()
    return Counts([words[one] for one in order], matrix)


_KEPT: WeakKeyDictionary[Data, Counts] = WeakKeyDictionary()


def words_of(data: Data) -> Counts:
    """The words of the rows' `clipped` texts, counted once for as long as the data lives."""
    if (found := _KEPT.get(data)) is None:
        found = _KEPT[data] = count_words(data.clipped)
    return found


def find_terms(texts: Sequence[str], counts: Counts, terms: Mapping[str, Sequence[str]]) -> Any:
    """In which rows terms stand: scipy CSR of 0.0 and 1.0, [rows, terms].

    `terms` maps each to its forms, words or phrases, case-folded as `split_words` gives them; `counts`: the words of
    the texts.
    """
    from scipy.sparse import csr_matrix

    rows, columns = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    by_word = counts.matrix.tocsc()
    for place, forms in enumerate(terms.values()):
        for form in forms:
            found = _rows_with(form.split(" "), by_word, texts, counts)
            rows.append(found)
            columns.append(np.full(len(found), place, dtype=np.int64))
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = csr_matrix((np.ones(len(row)), (row, column)), shape=(counts.matrix.shape[0], len(terms)))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _rows_with(parts: Sequence[str], by_word: Any, texts: Sequence[str], counts: Counts) -> Ints:
    """Rows in which these words stand one after another."""
    if any(part not in counts.index for part in parts):
        return np.empty(0, dtype=np.int64)
    ends = by_word.indptr
    each = [by_word.indices[ends[at] : ends[at + 1]] for at in (counts.index[part] for part in parts)]
    found: Ints = each[0].astype(np.int64)
    for more in each[1:]:
        found = np.intersect1d(found, more)
    if len(parts) == 1:
        return found
    wanted = f" {' '.join(parts)} "
    held = [row for row in found.tolist() if wanted in f" {' '.join(split_words(texts[row]))} "]
    return np.array(held, dtype=np.int64)
