"""The scheme for many texts at once, in NumPy: what `scheme` does one by one, hash for hash."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.minhash import scheme
from factory.minhash.buffers import Buffer
from factory.minhash.scheme import BANDS, CHAR_GRAMS, FEWEST_WORDS, PERMUTATIONS, U32, U64, WORD_GRAM, Ints, mix

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LARGE = 1 << 18
"""Bytes from which on a text is hashed on its own: sums over a batch need tables as long as the batch."""
_CHUNK = 1 << 18
_CELLS = 1 << 14
_SPACE = ord(" ")
_MAX = np.uint64(0xFFFFFFFFFFFFFFFF)
WHITE = [9, 10, 11, 12, 13, 28, 29, 30, 31, 32]
"""The ASCII characters at which `str.split` parts."""

_IS_WHITE = np.zeros(256, dtype=bool)
_IS_WHITE[WHITE] = True
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[ord("A") : ord("Z") + 1] += ord("a") - ord("A")
_LOWER[WHITE] = _SPACE
_OTHER_WHITE = "\x85\u1680\u2028\u2029"
"""What `str.split` parts at beside ASCII's; all others are spaces after NFKC."""
_RUNS, _SHORT = 16, 64
"""Runs beyond ASCII from which on a text is normalised whole, and bytes up to which a run's result is remembered."""
_inverses = np.ones(1, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Normal:
    """Normalised texts as UTF-8, one after another: text i is data[offsets[i] : offsets[i + 1]]."""

    data: Bytes
    offsets: Ints
    wide: Mask
    """bool[n]: whether the text has a character beyond ASCII."""

    def text(self, row: int) -> str:
        """One text as Python's string."""
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-8", "surrogatepass")


def normalise_many(texts: Buffer) -> Normal:
    """`scheme.normalise` of every text; those beyond ASCII go through Python's own tables."""
    buffer, wide = normalise_wide(texts)
    data, offsets = buffer.data, buffer.offsets
    ink = ~_IS_WHITE[data]
    before = np.empty_like(ink)
    before[:1] = False
    before[1:] = ink[:-1]
    before[offsets[:-1][offsets[:-1] < len(data)]] = False
    starts = np.flatnonzero(ink & ~before)
    places = np.searchsorted(starts, offsets)
    later = np.ones(len(starts), dtype=bool)
    later[places[:-1][np.diff(places) > 0]] = False
    keep = ink
    keep[starts[later] - 1] = True  # one space before every word but a text's first
    lowered = _LOWER[data]
    dropped = np.flatnonzero(~keep)
    if not len(dropped):
        return Normal(lowered, offsets, wide)
    return Normal(lowered[keep], offsets - np.searchsorted(dropped, offsets), wide)


def normalise_wide(texts: Buffer) -> tuple[Buffer, Mask]:
    """The texts with what is beyond ASCII normalised, and which of them have any.

    What is left to do is ASCII's: lower case, and every run of white space one space.
    """
    wide = np.zeros(len(texts), dtype=bool)
    high = np.flatnonzero(texts.data >= 128)
    if not len(high):
        return texts, wide
    rows = np.searchsorted(texts.offsets, high, side="right") - 1
    fresh = np.ones(len(high), dtype=bool)
    fresh[1:] = (np.diff(high) > 1) | (np.diff(rows) > 0)
    first = np.flatnonzero(fresh)
    starts, ends, owners = high[first], high[np.append(first[1:], len(high)) - 1] + 1, rows[first]
    # A combining mark may belong to the ASCII character before it; to the one after it none does.
    starts = np.maximum(starts - 1, texts.offsets[owners])
    wide[owners] = True
    dense = np.bincount(owners, minlength=len(texts)) > _RUNS
    few = ~dense[owners]
    rows = np.flatnonzero(dense)
    starts = np.concatenate([starts[few], texts.offsets[rows]])
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    ends = np.concatenate([ends[few], texts.offsets[rows + 1]])[order]
    owners = np.concatenate([owners[few], rows])[order]
    return _replace(texts, starts, ends, owners), wide


def _replace(texts: Buffer, starts: Ints, ends: Ints, owners: Ints) -> Buffer:
    """The texts with spans normalised: each lies in the row that owns it, and they ascend."""
    whole, done = texts.data.tobytes(), 0
    parts: list[bytes] = []
    grown = np.empty(len(starts), dtype=np.int64)
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        start = max(start, done)
        span = whole[start:end]
        made = _folded(span) if end - start <= _SHORT else _folded.__wrapped__(span)
        parts += (whole[done:start], made)
        grown[i] = len(made) - len(span)
        done = end
    parts.append(whole[done:])
    lengths = np.diff(texts.offsets)
    np.add.at(lengths, owners, grown)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Buffer(np.frombuffer(b"".join(parts), dtype=np.uint8), offsets)


@functools.lru_cache(maxsize=1 << 15)
def _folded(span: bytes) -> bytes:
    """NFKC, casefold, NFKC, with every white character that is not ASCII's a space."""
    text = scheme.fold(span.decode("utf-8", "surrogatepass"))
    for white in _OTHER_WHITE:
        if white in text:
            text = text.replace(white, " ")
    return text.encode("utf-8", "surrogatepass")


def digests_of(texts: Normal) -> U64:
    """uint64[n, 2]: BLAKE2b of each text, 16 bytes."""
    view, offsets = memoryview(texts.data.tobytes()), texts.offsets.tolist()
    found = b"".join(
        hashlib.blake2b(view[start:end], digest_size=16).digest() for start, end in itertools.pairwise(offsets)
    )
    return np.frombuffer(found, dtype="<u8").astype(np.uint64).reshape(-1, 2)


def shingle_many(texts: Normal) -> tuple[U64, Ints]:
    """The shingle hashes of every text, neither sorted nor distinct, and how many each has."""
    sizes = np.diff(texts.offsets)
    grams: list[U64] = []
    counts = np.zeros(len(sizes), dtype=np.int64)
    first = 0
    while first < len(sizes):
        if sizes[first] >= LARGE:
            grams.append(scheme.shingles_of_normalised(texts.text(first)))
            counts[first] = len(grams[-1])
            first += 1
            continue
        end = first + max(1, int(np.searchsorted(texts.offsets[first + 1 :], texts.offsets[first] + _CHUNK, "right")))
        large = np.flatnonzero(sizes[first:end] >= LARGE)
        end = first + int(large[0]) if len(large) else end
        found, counts[first:end] = _shingle_chunk(texts, first, end)
        grams.append(found)
        first = end
    return np.concatenate(grams) if grams else np.empty(0, dtype=np.uint64), counts


def _shingle_chunk(texts: Normal, first: int, end: int) -> tuple[U64, Ints]:
    """`shingle_many` of the texts first … end - 1."""
    offsets = texts.offsets[first : end + 1] - texts.offsets[first]
    data = texts.data[texts.offsets[first] : texts.offsets[end]]
    gaps = np.flatnonzero(data == _SPACE)
    filled = np.flatnonzero(np.diff(offsets))
    starts = np.concatenate([gaps + 1, offsets[:-1][filled]])
    starts.sort()
    ends = np.concatenate([gaps, offsets[1:][filled]])
    ends.sort()
    word_ends = np.searchsorted(starts, offsets[1:])
    words = np.diff(word_ends, prepend=0)
    by_words = words >= FEWEST_WORDS
    for row in np.flatnonzero(by_words & texts.wide[first:end]).tolist():
        by_words[row] = not scheme.is_unspaced(scheme.code_points(texts.text(first + row)))
    counts = np.where(by_words, words - WORD_GRAM + 1, 0)
    grams = _word_grams(data, starts, ends)
    valid = np.repeat(by_words, words)
    last = word_ends[by_words]
    for back in range(1, WORD_GRAM):
        valid[last - back] = False
    grams = grams[valid[: len(grams)]]
    by_chars = np.flatnonzero(~by_words & (offsets[1:] > offsets[:-1]))
    if not len(by_chars):
        return grams, counts
    other, counts[by_chars] = _char_grams([texts.text(first + row) for row in by_chars.tolist()])
    mixed = np.empty(len(grams) + len(other), dtype=np.uint64)
    from_chars = np.repeat(~by_words, counts)
    mixed[from_chars], mixed[~from_chars] = other, grams
    return mixed, counts


def _word_grams(data: Bytes, starts: Ints, ends: Ints) -> U64:
    """The 5-gram hash that begins at each word, also where it reaches into the next text; the last four have none."""
    if len(starts) < WORD_GRAM:
        return np.empty(0, dtype=np.uint64)
    sums = np.zeros(len(data) + 1, dtype=np.uint64)
    terms = scheme.BYTES.take(data)
    terms *= scheme.base_powers(len(data))
    np.cumsum(terms, out=sums[1:])
    words = sums[ends] - sums[starts]
    words *= _base_inverses(len(data))[starts]
    words = mix(words)
    count = len(words) - WORD_GRAM + 1
    grams = words[:count] * scheme.WORDS[0]
    for i in range(1, WORD_GRAM):
        grams += words[i : i + count] * scheme.WORDS[i]
    return mix(grams)


def _base_inverses(count: int) -> U64:
    """The inverses of BASE**0 … BASE**(count - 1) modulo 2**64, kept between calls."""
    global _inverses
    if len(_inverses) < count:
        grown = np.full(max(count, 2 * len(_inverses)), pow(scheme.BASE, -1, 1 << 64), dtype=np.uint64)
        grown[0] = 1
        _inverses = np.cumprod(grown, dtype=np.uint64)
    return _inverses[:count]


def _char_grams(texts: Sequence[str]) -> tuple[U64, Ints]:
    """The character n-grams of texts that are not empty, text by text, and how many each has."""
    shortest, longest = CHAR_GRAMS
    points = scheme.code_points("".join(texts))
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    ends = np.cumsum(sizes)
    left = np.repeat(ends, sizes) - np.arange(len(points))  # characters from here to the end of the text
    at = np.arange(len(points)) - np.repeat(ends - sizes, sizes)
    lengths = np.arange(shortest, longest + 1)[:, None]
    per_length = np.maximum(sizes - lengths + 1, 0)
    per_length[0, sizes < shortest] = 1
    counts = per_length.sum(axis=0)
    bases = np.cumsum(counts) - counts + np.cumsum(per_length, axis=0) - per_length
    texts_of = np.repeat(np.arange(len(sizes)), sizes)
    grams = np.empty(int(counts.sum()), dtype=np.uint64)
    values = mix(points.astype(np.uint64) + scheme.CHAR_SALT)
    sums = values * scheme.CHARS[0]
    for length in range(1, longest + 1):
        if length > 1:
            sums = sums[:-1] + values[length - 1 :] * scheme.CHARS[length - 1]
        if not len(sums):
            break
        whole = (at == 0) & (left == length) if length < shortest else left >= length
        here = np.flatnonzero(whole)
        places = bases[max(length - shortest, 0)][texts_of[here]] + at[here]
        grams[places] = sums[here] + scheme.LENGTHS[length - 1]
    return mix(grams), counts


def sign_many(grams: U64, counts: Ints, *, signed: bool = True) -> tuple[U64, Ints, U32 | None]:
    """Sets from shingles: (sorted and distinct, one text after another; their sizes; uint32[n, 128] minima)."""
    starts = np.cumsum(counts) - counts
    signatures = np.full((len(counts), PERMUTATIONS), 0xFFFFFFFF, dtype=np.uint32) if signed else None
    sizes = counts.copy()
    order = np.argsort(counts, kind="stable")
    first = int(np.searchsorted(counts[order], 1))
    found: list[tuple[Ints, U64]] = []
    while first < len(order):
        widest = int(counts[order[first]])
        # The next texts are not shorter; a group is closed before it holds too many cells.
        rows = order[first : first + max(1, _CELLS // widest)]
        rows = rows[: int(np.searchsorted(counts[rows], widest + max(4, widest // 8), side="right"))]
        cells, fresh = _distinct_rows(grams, starts[rows], counts[rows])
        sizes[rows] = fresh.sum(axis=1)
        found.append((rows, cells[fresh]))
        if signatures is not None:
            signatures[rows] = _minima(cells, counts[rows])
        first += len(rows)
    ends = np.cumsum(sizes)
    sets = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint64)
    for rows, values in found:
        mine = sizes[rows]
        shift = (ends[rows] - mine) - (np.cumsum(mine) - mine)
        sets[np.arange(len(values)) + np.repeat(shift, mine)] = values
    return sets, sizes, signatures


def _distinct_rows(grams: U64, starts: Ints, counts: Ints) -> tuple[U64, Mask]:
    """The texts' shingles as sorted rows, and which cells are a row's first of their value and no padding."""
    steps = np.arange(int(counts.max()))
    real = steps < counts[:, None]
    cells = grams[np.where(real, starts[:, None] + steps, starts[:, None])]
    cells[~real] = _MAX
    cells.sort(axis=1)
    fresh = real
    fresh[:, 1:] &= cells[:, 1:] != cells[:, :-1]
    return cells, fresh


def _minima(cells: U64, counts: Ints) -> U32:
    """uint32[rows, 128]: the minimum of each permutation over each row of sorted cells."""
    hashes = scheme.scramble(cells)
    padded = np.arange(cells.shape[1]) >= counts[:, None]
    columns = np.ascontiguousarray(np.where(padded, hashes[:, :1], hashes).T)
    minima = np.empty((PERMUTATIONS, len(counts)), dtype=np.uint32)
    images = np.empty_like(columns[: max(1, _CELLS // len(counts))])
    for start in range(0, len(columns), len(images)):
        block = columns[start : start + len(images)]
        held = images[: len(block)]
        for i, (odd, add) in enumerate(zip(scheme.ODD, scheme.ADD, strict=True)):
            np.multiply(block, odd, out=held)
            np.add(held, add, out=held)
            if start:
                np.minimum(minima[i], held.min(axis=0), out=minima[i])
            else:
                held.min(axis=0, out=minima[i])
    return minima.T


def keys_of(signatures: U32, bands: int, size: int) -> U64:
    """`scheme.band_keys` of every signature: uint64[n, bands]."""
    parts = signatures[:, : bands * size].reshape(-1, bands, size)
    keys = np.broadcast_to(scheme.BAND_SALTS[:bands], parts.shape[:2]).copy()
    for i in range(size):
        keys += parts[:, :, i] * BANDS[i]
    return mix(keys)
