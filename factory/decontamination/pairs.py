"""Coverage and characters: candidates by rare stems, then each pair of a stretch of data and a benchmark's unit."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from factory.decontamination.grams import expand
from factory.decontamination.index import BenchmarkIndex, expand_documents, sum_by
from factory.decontamination.spaces import WIDTH, Described, Floats, Reader, Spans, Sparse
from factory.decontamination.texts import Ints

CANDIDATES = 8
LEAST_LIKENESS = 0.12
WINDOWS = ((160, 128), (512, 400))
"""(a text of more words, is looked at in windows of so many words, each beginning in the middle of the last)."""
LONGEST = 600
FEWEST_WORDS = 4
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches of a batch's words; each one's data row and text (-1: the whole row), int64[n]."""

    spans: Spans
    data: Ints
    text: Ints


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a stretch and a unit, with what was measured: arrays of one length."""

    stretch: Ints
    unit: Ints
    features: dict[str, Floats]


def cut_stretches(ends: Ints, rows: Ints, real: int, count: int) -> Stretches:
    """Every text, every row of several texts as a whole, and windows of long ones."""
    lasts = ends[:real]
    firsts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])[:real]
    text = np.arange(real)
    data = rows[:real]
    row_first = np.searchsorted(data, np.arange(count), side="left")
    row_last = np.searchsorted(data, np.arange(count), side="right")
    several = np.flatnonzero(row_last - row_first > 1)
    all_firsts = np.concatenate([firsts, firsts[row_first[several]]]) if real else firsts
    all_lasts = np.concatenate([lasts, lasts[row_last[several] - 1]]) if real else lasts
    all_data, all_text = np.concatenate([data, several]), np.concatenate([text, np.full(len(several), -1)])
    sizes = all_lasts - all_firsts
    whole = (sizes >= FEWEST_WORDS) & (sizes <= LONGEST)
    found = [(all_firsts[whole], all_lasts[whole], all_data[whole], all_text[whole])]
    for longer, size in WINDOWS:
        long = np.flatnonzero(sizes > longer)
        step = size // 2
        owner, nth = expand(np.zeros(len(long), dtype=np.int64), -(-(sizes[long] - size) // step) + 1)
        begin = np.minimum(all_firsts[long][owner] + nth * step, all_lasts[long][owner] - size)
        found.append((begin, begin + size, all_data[long][owner], all_text[long][owner]))
    first, last, which, of = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Stretches(Spans(first, last), which, of)


def find_candidates(index: BenchmarkIndex, stems: Sparse, exclude: Ints | None = None) -> tuple[Ints, Ints]:
    """(stretch, document) pairs: for each stretch the documents that share the heaviest rare stems, 8 at most.

    `exclude`: per stretch a row of the benchmark that is no candidate, or -1.
    """
    arrays = index.arrays
    idf = arrays["stems_idf"]
    ends = arrays["posting_ends"]
    buckets = stems.buckets.astype(np.int64)
    starts = np.where(buckets > 0, ends[buckets - 1], 0)
    which, at = expand(starts, ends[buckets] - starts)
    weights = np.rint(idf[stems.buckets].astype(np.float64) ** 2 * 8).astype(np.int64)
    norms = np.sqrt(np.maximum(sum_by(stems, idf[stems.buckets].astype(np.float64) ** 2), 1e-9))
    count = len(arrays["document_norms"])
    keys = stems.owners()[which] * count + arrays["posting_documents"][at]
    keys <<= 12
    keys |= weights[which]
    keys.sort()
    pair = keys >> 12
    fresh = np.ones(len(pair), dtype=bool)
    fresh[1:] = pair[1:] != pair[:-1]
    firsts = np.flatnonzero(fresh)
    if not len(firsts):
        return firsts, firsts
    shared = np.add.reduceat(keys & 4095, firsts) / 8.0
    stretch, document = pair[firsts] // count, pair[firsts] % count
    likeness = shared / (norms[stretch] * arrays["document_norms"][document])
    near = np.flatnonzero(likeness >= LEAST_LIKENESS)
    if exclude is not None:
        near = near[arrays["document_rows"][document[near]] != exclude[stretch[near]]]
    stretch, document, likeness = stretch[near], document[near], likeness[near]
    order = np.lexsort((document, -likeness, stretch))
    stretch, document = stretch[order], document[order]
    rank = np.arange(len(stretch)) - np.searchsorted(stretch, stretch, side="left")
    return stretch[rank < CANDIDATES], document[rank < CANDIDATES]


def measure(index: BenchmarkIndex, described: Described, stretch: Ints, document: Ints) -> Pairs:
    """Every unit of the candidate documents against its stretch. `stretch` counts in `described`, ascending."""
    owner, unit = expand_documents(index.arrays, document)
    stretch = stretch[owner]
    features: dict[str, Floats] = {}
    arrays = index.arrays
    for space in ("trigrams", "stems", "numbers", "names"):
        mine: Sparse = getattr(described, space)
        weights = arrays[f"{space}_idf"] ** 2
        features[f"{space}_shared"] = _dot(mine, index.sparse(space), stretch, unit, weights=weights)
        features[f"{space}_mine"] = sum_by(mine, weights[mine.buckets])[stretch]
        features[f"{space}_theirs"] = arrays[f"{space}_mass"][unit]
    features["chars"] = _cosine(index, described.chars, stretch, unit)
    features["words_mine"] = described.words[stretch].astype(np.float32)
    features["words_theirs"] = arrays["unit_words"][unit].astype(np.float32)
    return Pairs(stretch, unit, features)


def _cosine(index: BenchmarkIndex, mine: Sparse, stretch: Ints, unit: Ints) -> Floats:
    arrays = index.arrays
    assert mine.counts is not None
    weights = (1 + np.log(mine.counts)) * arrays["chars_idf"][mine.buckets]
    norms = np.sqrt(np.maximum(sum_by(mine, weights * weights), 1e-9))
    weights = (weights / norms[mine.owners()]).astype(np.float32)
    return _dot(mine, index.sparse("chars"), stretch, unit, mine_weights=weights, unit_weights=arrays["chars_weights"])


def _dot(
    mine: Sparse,
    theirs: Sparse,
    stretch: Ints,
    unit: Ints,
    *,
    mine_weights: Floats | None = None,
    unit_weights: Floats | None = None,
    weights: Floats | None = None,
) -> Floats:
    """float32 per pair: the sum over shared buckets of the weights (1 where there are none)."""
    result = np.zeros(len(stretch), dtype=np.float32)
    table = _scratch()
    starts, theirs_starts, theirs_sizes, owners = mine.starts(), theirs.starts(), theirs.sizes(), mine.owners()
    number = 0
    while number < len(stretch):
        base = int(stretch[number])
        stop = int(np.searchsorted(stretch, base + _BLOCK, side="left"))
        low, high = int(starts[base]), int(mine.ends[min(base + _BLOCK, len(mine.ends)) - 1])
        places = (owners[low:high] - base) * WIDTH + mine.buckets[low:high]
        table[places] = 1.0 if mine_weights is None else mine_weights[low:high]
        units = unit[number:stop]
        owner, at = expand(theirs_starts[units], theirs_sizes[units])
        buckets = theirs.buckets[at].astype(np.int64)
        values = table[(stretch[number:stop] - base)[owner] * WIDTH + buckets]
        if unit_weights is not None:
            values *= unit_weights[at]
        if weights is not None:
            values *= weights[buckets]
        result[number:stop] = np.bincount(owner, weights=values, minlength=stop - number)
        table[places] = 0.0
        number = stop
    return result


_held = threading.local()


def _scratch() -> Floats:
    """A table of zeros, kept between calls by each thread; who uses it leaves zeros behind."""
    table: Floats | None = getattr(_held, "table", None)
    if table is None:
        table = _held.table = np.zeros(_BLOCK * WIDTH, dtype=np.float32)
    return table


def describe_needed(reader: Reader, stretches: Stretches, needed: Ints) -> Described:
    """The spaces of some of the stretches."""
    return reader.describe(Spans(stretches.spans.firsts[needed], stretches.spans.lasts[needed]))
