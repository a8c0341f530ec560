"""The cascade: which rows of the data resemble a benchmark's row, where, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from factory.decontamination.batches import read_rows
from factory.decontamination.copies import Copy, CopyFinder
from factory.decontamination.fields import part_name
from factory.decontamination.index import WHOLE_KIND, BenchmarkIndex
from factory.decontamination.ngrams import Batch, GramMatches, locate, part_of
from factory.decontamination.scoring import PairScores, Scored, Scorer, above_background, best_pairs
from factory.decontamination.spaces import Floats
from factory.decontamination.texts import U64, Ints, char_places
from factory.decontamination.types import LAYERS, RATES, Hit, check_layers
from factory.errors import UsageError

LOOSE = 0.01
"""The rate whose thresholds are the lower end of the gray band."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """One pair above a threshold, before it becomes a hit."""

    data: int
    number: int
    layer: str
    score: float
    margin: float
    gray: bool


class Cascade:
    """Benchmarks to look for. `fpr`: the share of clean rows that may hit, per benchmark, from .0001 on.

    Raises UsageError for no benchmark, an unknown layer, or a rate below the smallest one with stored thresholds.
    """

    def __init__(self, indexes: Sequence[BenchmarkIndex], *, layers: Sequence[str] = LAYERS, fpr: float = 0.001):
        if not indexes:
            raise UsageError("there is no benchmark to look for", "name at least one")
        self.layers = check_layers(layers)
        self.rate = stored_rate(fpr)
        self.indexes = tuple(indexes)
        self._code = any(index.code for index in indexes)
        self._scorer = Scorer(self.indexes, self.layers)
        self._copies = CopyFinder([index.arrays for index in indexes]) if "ngram" in self.layers else None

    def check_many(self, rows: Sequence[Mapping[str, str]], *, gray: bool = False) -> list[list[Hit]]:
        """Each row's hits, best first, at most one per benchmark; `gray`: those under the strict threshold too.

        A row is its text columns by name. What a row gets does not depend on the others. Raises UsageError for a
        value that is no text.
        """
        hits: list[list[Hit]] = []
        for _, batch in read_rows(rows, code=self._code):
            scored = self._scorer.score(batch)
            copies = [[] for _ in self.indexes] if self._copies is None else self._copies.find(*_words_of(batch))
            found: list[list[tuple[tuple[bool, int, float], Hit]]] = [[] for _ in range(batch.count)]
            for place, index in enumerate(self.indexes):
                judged = self._judge(index, place, batch, scored, gray) | _whole(index, batch, copies[place])
                for data, (finding, hit) in judged.items():
                    found[data].append(((finding.gray, LAYERS.index(finding.layer), -finding.margin), hit))
            hits += [[hit for _, hit in sorted(some, key=lambda pair: pair[0])] for some in found]
        return hits

    def _judge(
        self, index: BenchmarkIndex, place: int, batch: Batch, scored: Scored, gray: bool
    ) -> dict[int, tuple[_Finding, Hit]]:
        best: dict[int, _Finding] = {}
        for finding in self._findings(index, place, scored, gray):
            held = best.get(finding.data)
            if held is None or (held.gray, LAYERS.index(held.layer)) > (finding.gray, LAYERS.index(finding.layer)):
                best[finding.data] = finding
        return {data: (finding, _as_hit(index, place, batch, scored, finding)) for data, finding in best.items()}

    def _findings(self, index: BenchmarkIndex, place: int, scored: Scored, gray: bool) -> list[_Finding]:
        """Each layer's best pair of each data row that is above a threshold."""
        found: list[_Finding] = []
        for layer in self.layers:
            strict = index.thresholds[layer][str(self.rate)]
            loose = min(strict, index.thresholds[layer][str(LOOSE)]) if gray else strict
            if layer == "ngram":
                data, numbers, scores = _best_grams(scored.grams[place])
                shown = scored.grams[place].share[numbers]
            elif scored.pairs:
                pairs = scored.pairs[place]
                values = above_background(self.indexes[place], pairs)[0 if layer == "coverage" else 1]
                numbers = best_pairs(pairs, values)
                data, scores = pairs.data[numbers], values[numbers]
                shown = scores if layer == "coverage" else (1 / (1 + np.exp(-scores / 2))).astype(np.float32)
            else:
                continue
            for k in np.flatnonzero(scores >= loose).tolist():
                margin = float(scores[k]) - strict
                found.append(_Finding(int(data[k]), int(numbers[k]), layer, float(shown[k]), margin, margin < 0))
        return found


def _words_of(batch: Batch) -> tuple[Sequence[str], Ints, U64]:
    """The real texts of a batch, where their words end, and the words."""
    ends = batch.tokens.ends[: batch.real]
    return batch.texts[: batch.real], ends, batch.tokens.hashes[: int(ends[-1]) if batch.real else 0]


def _whole(index: BenchmarkIndex, batch: Batch, copies: Sequence[Copy]) -> dict[int, tuple[_Finding, Hit]]:
    """The whole copies as hits, above every threshold: of a data row the longest, then the first field."""
    found: dict[int, tuple[_Finding, Hit]] = {}
    for copy in sorted(copies, key=lambda copy: (copy.start - copy.end, copy.field)):
        data = int(batch.rows[copy.text])
        if data not in found:
            row = int(index.arrays["field_rows"][copy.field])
            part = part_name(int(index.arrays["field_kinds"][copy.field]))
            span = batch.texts[copy.text][copy.start : copy.end]
            hit = Hit(index.name, index.rows[row], part, batch.columns[copy.text], "ngram", 1.0, span)
            found[data] = _Finding(data, -1, "ngram", 1.0, float(len(span)), False), hit
    return found


def stored_rate(fpr: float) -> float:
    """The largest rate with stored thresholds that is not above `fpr`. Raises UsageError below all, or from 1 on."""
    if not RATES[0] <= fpr < 1:
        raise UsageError(f"a false-positive rate of {fpr} is outside {RATES[0]} … 1", "0.001 is usual")
    return max(rate for rate in RATES if rate <= fpr)


def _best_grams(matches: GramMatches) -> tuple[Ints, Ints, Floats]:
    """(data rows, numbers of their best matches, evidence)."""
    order = np.lexsort((matches.rows, -matches.share, -matches.evidence, matches.data))
    data = matches.data[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = data[1:] != data[:-1]
    numbers = order[fresh]
    return matches.data[numbers], numbers, matches.evidence[numbers]


def _as_hit(index: BenchmarkIndex, place: int, batch: Batch, scored: Scored, finding: _Finding) -> Hit:
    if finding.layer == "ngram":
        matches = scored.grams[place]
        text, first, last = locate(batch, index, matches, finding.number)
        row, part = int(matches.rows[finding.number]), part_of(index, int(matches.field[finding.number]))
    else:
        pairs = scored.pairs[place]
        row, part = int(pairs.rows[finding.number]), _unit_part(index, int(pairs.unit[finding.number]))
        text, first, last = _stretch_of(scored, pairs, finding.number)
    column, span = cut_span(batch, text, first, last)
    score = round(min(max(finding.score, 0.0), 1.0), 4)
    return Hit(index.name, index.rows[row], part, column, finding.layer, score, span, finding.gray)


def _unit_part(index: BenchmarkIndex, unit: int) -> str:
    kind = int(index.arrays["unit_kinds"][unit])
    return "row" if kind == WHOLE_KIND else part_name(kind)


def _stretch_of(scored: Scored, pairs: PairScores, number: int) -> tuple[int, int, int]:
    assert scored.stretches is not None
    stretch = int(pairs.stretch[number])
    spans = scored.stretches.spans
    return int(scored.stretches.text[stretch]), int(spans.firsts[stretch]), int(spans.lasts[stretch])


def cut_span(batch: Batch, text: int, first: int, last: int) -> tuple[str, str]:
    """(column, the stretch as it stands in the data) of words [first, last); `text` -1: of several columns."""
    ends = batch.tokens.ends
    if text < 0:
        low = int(np.searchsorted(ends, first, side="right"))
        high = int(np.searchsorted(ends, last - 1, side="right"))
        columns = [batch.columns[i] for i in range(low, high + 1)]
        pieces = [
            cut_span(batch, i, max(first, int(ends[i - 1]) if i else 0), min(last, int(ends[i])))[1]
            for i in range(low, high + 1)
        ]
        return "+".join(columns), "\n".join(piece for piece in pieces if piece)
    if last <= first:
        return batch.columns[text], ""
    tokens, whole = batch.tokens, batch.texts[text]
    raw_start = _raw_start(batch, text)
    begin = int(tokens.places[first]) - raw_start
    # a word's last byte: dropped signs inside it make it longer than its folded bytes
    end = int(tokens.places[last - 1]) - raw_start + int(tokens.sizes[last - 1])
    places = char_places(whole)
    if places is not None:
        begin, end = int(places[begin]), int(places[min(end, len(places)) - 1]) + 1
    while end < len(whole) and (whole[end].isalnum() or whole[end] in "'’") and not whole[end - 1].isspace():
        end += 1
    return batch.columns[text], whole[begin:end]


def _raw_start(batch: Batch, text: int) -> int:
    """The first byte of a text among the batch's prepared bytes."""
    if not text:
        return 0
    separators = np.flatnonzero(batch.tokens.raw == 0x1E)
    return int(separators[text - 1]) + 1
