"""The naive Bayes language model of py3langid, evaluated for several texts at once with NumPy.

langid.py (Lui and Baldwin 2012) counts the byte n-grams of a text that its model knows: an automaton reads the bytes,
and in each of its states the longest known n-gram that ends there counts. The automaton forgets whatever lies further
back than its longest n-gram, so that every place of a text can be read on its own: from the start state, a few bytes
before it, for all places at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK = 32_768
"""Bytes that are read at once, at most (or one text)."""
BLOCK = 256
"""Rows that are multiplied at once: so few that no linear algebra library takes several threads for them."""


@dataclass(frozen=True, eq=False)
class Model:
    """The model as arrays. A state is known by its line in the table of moves: `moves[256 * line + byte]` is the next.

    `labels`: a label for each column; one that comes twice counts where it comes first. `reach`: bytes of the longest
    n-gram. `pairs`: the line after two bytes. `features`: the n-gram of the next state, or `nothing`. `table`: by
    n-gram and label, log-probabilities less the smallest of the n-gram; `prior`: by label. `weights`: by count.
    """

    labels: tuple[str, ...]
    columns: dict[str, tuple[int, ...]]
    aliases: tuple[tuple[int, int], ...]
    reach: int
    pairs: Array
    moves: Array
    features: Array
    nothing: int
    table: Array
    prior: Array
    weights: Array


@cache
def model() -> Model:
    """py3langid's model, read once (about a second)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    source = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    states = np.frombuffer(source.tk_nextmove, dtype=np.dtype(f"u{source.tk_nextmove.itemsize}"))
    lines = np.asarray(source.tk_row)  # states that go on alike share one
    known = np.asarray(source.tk_output, dtype=np.int32)
    table = np.asarray(source.nb_ptc, dtype=np.float32)
    table -= table.min(axis=1, keepdims=True)  # the same for all labels; what is left is small, so nothing is lost
    moves = lines[states]
    first: dict[str, int] = {}
    for column, label in enumerate(source.nb_classes):
        first.setdefault(label, column)
    first_line = moves[256 * int(lines[0]) :][:256].astype(np.intp)
    return Model(
        labels=tuple(source.nb_classes),
        columns={label: tuple(k for k, name in enumerate(source.nb_classes) if name == label) for label in first},
        aliases=tuple((first[label], k) for k, label in enumerate(source.nb_classes) if first[label] != k),
        reach=_reach(states, lines),
        pairs=moves[256 * first_line[:, None] + np.arange(256)].reshape(-1),
        moves=moves,
        features=np.where(known < 0, np.int32(len(table)), known)[states],
        nothing=len(table),
        table=np.vstack([table, np.zeros_like(table[:1])]),
        prior=np.asarray(source.nb_pc, dtype=np.float32),
        weights=np.log1p(np.arange(CHUNK + 1, dtype=np.float32)),
    )


def _reach(states: Array, rows: Array) -> int:
    """The depth of the automaton: the bytes of its longest n-gram, beyond which it remembers nothing."""
    moves = states.reshape(-1, 256)
    seen = np.zeros(len(rows), dtype=bool)
    edge, depth = np.zeros(1, dtype=np.intp), 0
    while True:
        seen[edge] = True
        reached = np.zeros_like(seen)
        reached[moves[np.unique(rows[edge])]] = True
        edge = np.flatnonzero(reached & ~seen)
        if not edge.size:
            return depth
        depth += 1


def encode(text: str) -> bytes:
    """A text's bytes as the model wants them: composed Unicode, and lower case where there is nothing but capitals."""
    if text.isupper():
        text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.encode("utf-8", "surrogatepass")


def probabilities(texts: Sequence[bytes]) -> Array:
    """The probability of each language for each text, float32 of shape (texts, columns of the model).

    A language that has two columns has its probability in the first. A text without a known n-gram has them all alike.
    """
    chunks: list[list[bytes]] = []
    size = 0
    for text in texts:
        if not chunks or size + len(text) > CHUNK:
            chunks.append([])
            size = 0
        chunks[-1].append(text)
        size += len(text)
    if len(chunks) == 1:
        return _evaluate(chunks[0])
    return np.concatenate([_evaluate(chunk) for chunk in chunks])


def _evaluate(texts: Sequence[bytes]) -> Array:
    scores = weigh(texts)
    unknown = ~scores.any(axis=1)
    scores += model().prior
    scores[unknown] = 0
    scores = to_probabilities(scores, np.array([len(text) for text in texts]))
    for first, second in model().aliases:
        scores[:, first] += scores[:, second]
        scores[:, second] = 0
    return scores


def weigh(texts: Sequence[bytes]) -> Array:
    """The sum over a text's n-grams of log(1 + count) × the n-gram's row of the table: float32 (texts, columns).

    It is the same to the last bit whatever other texts are weighed with it.
    """
    known = model()
    keys, shift = _features(texts, known)
    keys.sort()  # each text's n-grams in turn, and what is alike side by side
    edges = np.concatenate(((0,), (keys[1:] != keys[:-1]).nonzero()[0] + 1, (len(keys),)))
    different = keys.take(edges[:-1])
    rows = known.table.take(different & ((1 << shift) - 1), axis=0)
    weights = known.weights.take(edges[1:] - edges[:-1])
    bounds = different.searchsorted(np.arange(len(texts) + 1) << shift).tolist()
    sums = np.zeros((len(texts), rows.shape[1]), dtype=np.float32)
    for k in range(len(texts)):
        for start in range(bounds[k], bounds[k + 1], BLOCK):
            end = min(start + BLOCK, bounds[k + 1])
            sums[k] += weights[start:end] @ rows[start:end]
    return sums


def to_probabilities(scores: Array, sizes: Array) -> Array:
    """Probabilities by column from scores, in place. The square root of the size in bytes evens out the lengths."""
    scores /= np.sqrt(sizes + (sizes == 0), dtype=np.float32)[:, None]
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _features(texts: Sequence[bytes], known: Model) -> tuple[Array, int]:
    """The n-gram that ends at each place, with the text's number in the bits above `shift`."""
    lead = known.reach - 1
    gap = bytes(lead)  # zero bytes lead back to the start
    data = np.frombuffer(gap + gap.join([*texts, b""]), dtype=np.uint8).astype(np.int64)
    size = len(data) - lead
    found = known.pairs.take((data[:size] << 8) + data[1 : size + 1])
    for step in range(2, lead):
        found = known.moves.take((found.astype(np.int64) << 8) + data[step : size + step])
    found = known.features.take((found.astype(np.int64) << 8) + data[lead:])
    shift = known.nothing.bit_length()
    numbers = np.arange(len(texts)) << shift
    return found + numbers.repeat([len(text) + lead for text in texts])[:size], shift
