"""The index of one benchmark: its rare runs of words, its units as sparse sets, weights and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.decontamination.fields import ANSWER, CHOICES, QUESTION, Fields
from factory.decontamination.grams import GRAM, expand, prefix_sums, run_hashes, span_hashes
from factory.decontamination.spaces import WIDTH, Floats, Reader, Spans, Sparse
from factory.decontamination.texts import U64, Bools, Ints, Tokens

SHARED_BY = 4
"""A run of words that stands in more rows of the benchmark than this tells nothing of a row."""
FEWEST_OWN = 4
"""Of the 8 words of a run so many stand in no shared run: half a template and a few words are no evidence."""
SHORT = (5, 7)
"""Whole questions of so few words are looked for as one run."""
RAREST = 1 / 100
"""Stems in a larger share of the rows (and in more than 60) find no candidates."""
FEWEST_ANSWER = 8


@dataclass(frozen=True)
class BenchmarkIndex:
    """What a cascade needs of one benchmark. `arrays` are saved as they are; `thresholds[layer][rate]`."""

    name: str
    code: bool
    rows: tuple[int, ...]
    arrays: Mapping[str, Any]
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    questions: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def sparse(self, space: str) -> Sparse:
        """One space of the units."""
        counts = self.arrays.get(f"{space}_counts")
        return Sparse(self.arrays[f"{space}_buckets"], self.arrays[f"{space}_ends"], counts)


@dataclass(frozen=True, slots=True)
class Neutral:
    """The neutral corpus, read once: its words, runs of words and stretches, one a text."""

    tokens: Tokens
    reader: Reader
    spans: Spans


def word_weights(fields: Fields, neutral: Tokens) -> tuple[U64, Floats, float]:
    """(sorted words, their IDF over rows and neutral texts, the IDF of a word never seen)."""
    row_of_word = fields.rows[np.searchsorted(fields.tokens.ends, np.arange(len(fields.tokens.hashes)), side="right")]
    text_of_word = np.searchsorted(neutral.ends, np.arange(len(neutral.hashes)), side="right")
    words = np.concatenate([fields.tokens.hashes, neutral.hashes])
    owners = np.concatenate([row_of_word, text_of_word + len(fields.rows)])
    known, of = np.unique(words, return_inverse=True)
    pairs = np.unique(of.astype(np.int64) * (int(owners.max()) + 1) + owners)
    counts = np.bincount(pairs // (int(owners.max()) + 1), minlength=len(known))
    total = len(np.unique(fields.rows)) + len(neutral.ends)
    weights = np.log((total + 1) / (counts + 0.5)).astype(np.float32)
    return known, weights, float(np.log((total + 1) / 0.5))


def gram_arrays(fields: Fields, neutral: Tokens) -> dict[str, Any]:
    """The rare runs of 8 words of each row (over its fields in order), with their places; and short questions."""
    tokens = fields.tokens
    row_ends, row_of = _row_ends(fields)
    weights = _weights_of(tokens, fields, neutral)
    sums = prefix_sums(tokens.hashes)
    grams = run_hashes(sums, GRAM)
    places = np.flatnonzero(np.arange(len(grams)) + GRAM <= row_ends[row_of[: len(grams)]])
    common = run_hashes(prefix_sums(neutral.hashes), GRAM)
    weight_sums = np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])
    says = weight_sums[places + GRAM] - weight_sums[places]
    distinct = _distinct_words(tokens.hashes, places, GRAM)
    places = places[(says >= _FEWEST_BITS) & (distinct >= 4)]
    hashes = grams[places]
    rare = _is_rare(hashes, row_of[places]) & ~np.isin(hashes, common)
    template = _covered(places[~rare], len(tokens.hashes))
    rare &= template[places + GRAM] - template[places] <= GRAM - FEWEST_OWN
    order = np.lexsort((places[rare], hashes[rare]))
    hashes, places = hashes[rare][order], places[rare][order]
    field_of = np.searchsorted(tokens.ends, places, side="right")
    short = _short_questions(fields, sums, weight_sums, neutral)
    return {
        "words": tokens.hashes,
        "word_row_ends": row_ends,
        "field_ends": tokens.ends,
        "field_rows": fields.rows.astype(np.int32),
        "field_kinds": fields.kinds.astype(np.int16),
        "field_grams": np.bincount(field_of, minlength=len(tokens.ends)).astype(np.int32),
        "row_grams": np.bincount(row_of[places], minlength=len(row_ends)).astype(np.int32),
        "gram_hashes": hashes,
        "gram_places": places.astype(np.int32),
        **short,
    }


_FEWEST_BITS = 10.0


def _row_ends(fields: Fields) -> tuple[Ints, Ints]:
    """For each row the end of its words (0 words for rows without a field), and for each word its row."""
    sizes = np.diff(fields.tokens.ends, prepend=0)
    per_row = np.bincount(fields.rows, weights=sizes, minlength=int(fields.rows.max()) + 1).astype(np.int64)
    return np.cumsum(per_row), np.repeat(np.arange(len(per_row)), per_row)


def _weights_of(tokens: Tokens, fields: Fields, neutral: Tokens) -> Floats:
    """Each word's IDF; a number counts 2 at most, a digit 0.5: "1 2 3 4 5 6 7 8" says little."""
    known, weights, _ = word_weights(fields, neutral)
    found = weights[np.searchsorted(known, tokens.hashes)]
    number = tokens.numbers()
    found[number] = np.minimum(found[number], np.where(tokens.sizes[number] > 1, 2.0, 0.5))
    return found


def _distinct_words(words: U64, places: Ints, length: int) -> Ints:
    distinct = np.zeros(len(places), dtype=np.int64)
    for first in range(0, len(places), 1 << 18):
        block = np.sort(words[places[first : first + (1 << 18), None] + np.arange(length)], axis=1)
        distinct[first : first + (1 << 18)] = 1 + (block[:, 1:] != block[:, :-1]).sum(axis=1)
    return distinct


def _is_rare(hashes: U64, rows: Ints) -> Bools:
    """Which runs stand in SHARED_BY rows at most."""
    order = np.lexsort((rows, hashes))
    ordered, owners = hashes[order], rows[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    fresh = first.copy()
    fresh[1:] |= owners[1:] != owners[:-1]
    group = np.cumsum(first) - 1
    rare = np.ones(len(order), dtype=bool)
    rare[order] = np.bincount(group, weights=fresh)[group] <= SHARED_BY
    return rare


def _covered(places: Ints, count: int) -> Ints:
    """int64[count + 1]: running number of words that the runs at `places` cover, before each word."""
    steps = np.zeros(count + GRAM + 1, dtype=np.int64)
    np.add.at(steps, places, 1)
    np.add.at(steps, places + GRAM, -1)
    covered = np.cumsum(steps)[:count] > 0
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(covered)])


def _short_questions(fields: Fields, sums: U64, weight_sums: Any, neutral: Tokens) -> dict[str, Any]:
    """Questions of 5 to 7 words that say enough, as one run each."""
    ends = fields.tokens.ends
    starts = np.concatenate([[0], ends[:-1]])
    sizes = ends - starts
    able = (fields.kinds == QUESTION) & (sizes >= SHORT[0]) & (sizes <= SHORT[1])
    at = np.flatnonzero(able & (weight_sums[ends] - weight_sums[starts] >= _SHORT_BITS))
    hashes = span_hashes(sums, starts[at], ends[at])
    neutral_sums = prefix_sums(neutral.hashes)
    common = np.concatenate([run_hashes(neutral_sums, size) for size in range(SHORT[0], SHORT[1] + 1)])
    keep = ~np.isin(hashes, common)
    order = np.lexsort((at[keep], hashes[keep]))
    return {"short_hashes": hashes[keep][order], "short_fields": at[keep][order].astype(np.int32)}


_SHORT_BITS = 24.0


def unit_arrays(fields: Fields, neutral: Neutral, *, code: bool) -> dict[str, Any]:
    """The units (question, question with choices, turns, in code the answer) in every space, weights, postings."""
    spans, rows, kinds, documents = _units(fields, code)
    described = Reader(fields.tokens).describe(spans)
    ground = neutral.reader.describe(neutral.spans)
    arrays: dict[str, Any] = {"unit_rows": rows.astype(np.int32), "unit_kinds": kinds.astype(np.int16)}
    arrays["unit_documents"] = documents.astype(np.int32)
    arrays["unit_words"] = described.words.astype(np.int32)
    arrays["unit_firsts"], arrays["unit_lasts"] = spans.firsts, spans.lasts
    for space in ("trigrams", "stems", "chars", "names", "numbers"):
        sparse: Sparse = getattr(described, space)
        arrays[f"{space}_buckets"], arrays[f"{space}_ends"] = sparse.buckets, sparse.ends
        idf = _bucket_idf(sparse, getattr(ground, space), documents)
        arrays[f"{space}_idf"] = idf
        arrays[f"{space}_mass"] = sum_by(sparse, idf[sparse.buckets] ** 2)
        if sparse.counts is not None:
            weights = (1 + np.log(sparse.counts)) * idf[sparse.buckets]
            norms = np.sqrt(np.maximum(sum_by(sparse, weights * weights), 1e-9))
            arrays[f"{space}_weights"] = (weights / norms[sparse.owners()]).astype(np.float32)
    arrays |= _postings(described.stems, arrays["stems_idf"], documents, rows)
    return arrays


def sum_by(sparse: Sparse, values: Any) -> Floats:
    """float32[n]: the sum of each set's values."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    totals: Floats = (sums[sparse.ends] - sums[sparse.starts()]).astype(np.float32)
    return totals


def _units(fields: Fields, code: bool) -> tuple[Spans, Ints, Ints, Ints]:
    """Spans over the fields' words, rows, kinds, and documents: units of one document are candidates together.

    Answers are units in code only: worked answers in prose resemble each other once their numbers are masked.
    """
    ends = fields.tokens.ends
    starts = np.concatenate([[0], ends[:-1]])
    found: list[tuple[int, int, int, int, int]] = []
    documents: dict[tuple[int, bool], int] = {}
    for at, (row, kind) in enumerate(zip(fields.rows.tolist(), fields.kinds.tolist(), strict=True)):
        first, last = int(starts[at]), int(ends[at])
        if last == first or (kind == ANSWER and (not code or last - first < FEWEST_ANSWER)):
            continue
        document = documents.setdefault((row, kind == ANSWER), len(documents))
        if kind == CHOICES:
            if at and fields.rows[at - 1] == row:
                found.append((int(starts[at - 1]), last, row, WHOLE_KIND, document))
            continue
        found.append((first, last, row, kind, document))
    table = np.array(found, dtype=np.int64).reshape(-1, 5)
    return Spans(table[:, 0], table[:, 1]), table[:, 2], table[:, 3], table[:, 4]


WHOLE_KIND = -1
"""The kind of a unit that is the question with its choices."""


def _bucket_idf(units: Sparse, ground: Sparse, documents: Ints) -> Floats:
    """IDF of each bucket over documents and neutral texts."""
    owners = documents[units.owners()]
    pairs = np.unique(owners * WIDTH + units.buckets.astype(np.int64))
    counts = np.bincount(pairs & (WIDTH - 1), minlength=WIDTH) + np.bincount(ground.buckets, minlength=WIDTH)
    total = (int(documents.max()) + 1 if len(documents) else 0) + len(ground.ends)
    idf: Floats = np.maximum(np.log((total + 1) / (counts + 0.5)) - COMMON, 0.05).astype(np.float32)
    return idf


COMMON = 2.0
"""Taken off every IDF: what stands in one text of seven or more weighs next to nothing, as templates should."""


def _postings(stems: Sparse, idf: Floats, documents: Ints, rows: Ints) -> dict[str, Any]:
    """For each rare stem the documents that hold it, and each document's norm."""
    count = int(documents.max()) + 1 if len(documents) else 0
    pairs = np.unique(stems.buckets.astype(np.int64) * (count + 1) + documents[stems.owners()])
    buckets, holders = pairs // (count + 1), pairs % (count + 1)
    norms = np.sqrt(np.bincount(holders, weights=idf[buckets].astype(np.float64) ** 2, minlength=count))
    frequency = np.bincount(buckets, minlength=WIDTH)
    rare = frequency[buckets] <= max(60, int(count * RAREST))
    sizes = np.bincount(buckets[rare], minlength=WIDTH)
    rows_of = np.zeros(count, dtype=np.int32)
    rows_of[documents] = rows
    return {
        "posting_ends": np.cumsum(sizes),
        "posting_documents": holders[rare].astype(np.int32),
        "document_norms": norms.astype(np.float32),
        "document_rows": rows_of,
        "document_units": np.searchsorted(np.sort(documents), np.arange(count + 1)),
        "document_order": np.argsort(documents, kind="stable").astype(np.int32),
    }


def spans_of_texts(tokens: Tokens) -> Spans:
    """Each text as one stretch."""
    return Spans(tokens.firsts(), tokens.ends)


def expand_documents(arrays: Mapping[str, Any], documents: Ints) -> tuple[Ints, Ints]:
    """(for each unit of the documents the place of its document in `documents`, the unit)."""
    starts = arrays["document_units"][documents]
    owner, at = expand(starts, arrays["document_units"][documents + 1] - starts)
    return owner, arrays["document_order"][at].astype(np.int64)
