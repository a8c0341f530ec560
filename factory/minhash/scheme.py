"""Near-duplicates by exact Jaccard similarity over shingles, found through MinHash bands. Arrays only, no I/O.

The scheme (`SCHEME` is its name; another implementation gives the same dataset if it does the same):

1. *Normalise*: NFKC, casefold, NFKC again, every run of white space one space, none at the ends.
2. *Shingle*: words are what stands between spaces, punctuation included ("3 + 4" and "3 - 4" differ). A text of 8 words
   or more: its word 5-grams. A text of fewer words, or one of which at least a quarter of the characters that are no
   spaces belong to a script written without spaces (Han, kana, bopomofo, Thai, Lao, Khmer, Myanmar, Tibetan): its
   character n-grams of every length from 5 to 8, spaces included; a text shorter than 5 is one shingle. The two kinds
   never match each other. The empty text has no shingle, and equals only the empty text.
3. *Hash* to 64 bits, modulo 2**64 throughout. `mix` is the finaliser of SplitMix64, `stream(s, n)` its first n outputs
   from state s. A word: mix(Σ BYTES[byte_i]·BASE**i) over its UTF-8. A word 5-gram: mix(Σ WORDS[i]·word_i). A character
   n-gram: mix(LENGTHS[n-1] + Σ CHARS[i]·mix(code point_i + CHAR_SALT)). All are sums over spans, so that a whole batch
   can be hashed at once. A text is its sorted distinct shingle hashes.
4. *Sign*: 128 affine permutations of the low 32 bits after MurmurHash3's finaliser: datasketch's `affine32` scheme with
   seed 1, so that a signature loads into its `MinHash(hashvalues=…, scheme="affine32")`.
5. *Band*: 25 bands of 5 minima, each hashed to 64 bits. A pair at Jaccard 0.8 shares no band with probability 5e-5, at
   0.9 with 2e-10. A lower threshold takes fewer minima a band (`banding`), so that at most 5e-4 are missed.
6. *Verify*: a duplicate of an earlier text shares a band with it **and** has exact Jaccard ≥ threshold. Texts come one
   by one; the first wins; a duplicate is compared with kept texts only.
"""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import NDArray

from factory.errors import UsageError

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
Ints = NDArray[np.int64]

SCHEME = "nfkc-casefold.word5-char5to8.poly64.affine32x128.band64.v1"
PERMUTATIONS = 128
WORD_GRAM = 5
CHAR_GRAMS = (5, 8)
FEWEST_WORDS = 8
MISSED = 5e-4
"""The largest share of true pairs at the threshold that the bands may miss."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK64 = (1 << 64) - 1


_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mix(values: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): a bijection on 64 bits that spreads every input bit."""
    mixed = values >> _SHIFTS[0]
    mixed ^= values
    mixed *= _MULTIPLIERS[0]
    mixed ^= mixed >> _SHIFTS[1]
    mixed *= _MULTIPLIERS[1]
    mixed ^= mixed >> _SHIFTS[2]
    return mixed


def stream(state: int, count: int) -> U64:
    """The first `count` outputs of SplitMix64 from `state`: where all constants of the scheme come from."""
    steps = [(state + (i + 1) * _GOLDEN) & _MASK64 for i in range(count)]
    return mix(np.array(steps, dtype=np.uint64))


BYTES = stream(1, 256)
BYTES[ord(" ")] = 0
BASE = int(stream(2, 1)[0]) & ~7 | 5
WORDS = stream(3, WORD_GRAM) | np.uint64(1)
CHARS = stream(4, CHAR_GRAMS[1]) | np.uint64(1)
CHAR_SALT = stream(5, 1)[0]
LENGTHS = stream(6, CHAR_GRAMS[1])
BANDS = stream(7, 5) | np.uint64(1)
BAND_SALTS = stream(8, PERMUTATIONS)

_UNSPACED = np.array(
    [
        *(0x0E00, 0x10A0, 0x1780, 0x1800, 0x2E80, 0x3000, 0x3005, 0x3008, 0x3040, 0x3130, 0x31A0, 0x3200),
        *(0x3400, 0x4DC0, 0x4E00, 0xA000, 0xF900, 0xFB00, 0x1B000, 0x1B170, 0x20000, 0x40000),
    ],
    dtype=np.uint32,
)
"""Code points of scripts written without spaces: [from, to) pairs."""


def _permutations() -> tuple[U32, U32]:
    # The same draws in the same order as datasketch 2: RandomState's stream is frozen by NumPy's policy.
    generator = np.random.RandomState(1)
    odd = generator.randint(0, 1 << 31, PERMUTATIONS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    add = generator.randint(0, 1 << 32, PERMUTATIONS, dtype=np.uint32)
    return odd.reshape(-1, 1), add.reshape(-1, 1)


ODD, ADD = _permutations()
_powers = np.ones(1, dtype=np.uint64)


def base_powers(count: int) -> U64:
    """BASE**0 … BASE**(count - 1), kept between calls."""
    global _powers
    if len(_powers) < count:
        grown = np.full(max(count, 2 * len(_powers)), BASE, dtype=np.uint64)
        grown[0] = 1
        _powers = np.cumprod(grown, dtype=np.uint64)
    return _powers[:count]


def normalise(text: str) -> str:
    """The text as the scheme compares it: NFKC, casefolded, single spaces."""
    return " ".join((text.lower() if text.isascii() else fold(text)).split())


def fold(text: str) -> str:
    """NFKC, casefold, NFKC again: casefolding may undo what the first has done."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def shingles(text: str) -> U64:
    """The text's shingle hashes, sorted and distinct: uint64[n], n = 0 only for a text without visible characters."""
    return shingles_of_normalised(normalise(text))


def shingles_of_normalised(text: str) -> U64:
    """`shingles` of a text that went through `normalise`."""
    if not text:
        return np.empty(0, dtype=np.uint64)
    points: U32 | None = None
    if text.count(" ") + 1 >= FEWEST_WORDS:
        if not text.isascii():
            points = code_points(text)
        if points is None or not is_unspaced(points):
            return _distinct(_word_grams(text))
    return _distinct(_char_grams(code_points(text) if points is None else points))


def _distinct(values: U64) -> U64:
    values.sort()
    fresh = np.empty(len(values), dtype=bool)
    fresh[0] = True
    np.not_equal(values[1:], values[:-1], out=fresh[1:])
    return values[fresh]


def code_points(text: str) -> U32:
    """uint32[characters] of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32, copy=False)


def is_unspaced(points: U32) -> bool:
    """Whether a quarter of the characters that are no spaces belong to a script written without spaces."""
    inside = np.searchsorted(_UNSPACED, points, side="right") & 1
    return 4 * int(inside.sum()) >= int(np.count_nonzero(points != ord(" ")))


def _word_grams(text: str) -> U64:
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    gaps = (data == ord(" ")).nonzero()[0]
    starts = np.empty(len(gaps) + 1, dtype=np.int64)
    starts[0] = 0
    np.add(gaps, 1, out=starts[1:])
    spans = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=spans[:-1])
    spans[-1] = len(data) - starts[-1]
    places = np.arange(len(data))
    places -= starts.repeat(spans)
    terms = BYTES.take(data)
    terms *= base_powers(int(spans.max())).take(places)
    words = mix(np.add.reduceat(terms, starts))
    count = len(words) - WORD_GRAM + 1
    grams = words[:count] * WORDS[0]
    for i in range(1, WORD_GRAM):
        grams += words[i : i + count] * WORDS[i]
    return mix(grams)


def _char_grams(points: U32) -> U64:
    values = mix(points.astype(np.uint64) + CHAR_SALT)
    longest = min(CHAR_GRAMS[1], len(values))
    shortest = min(CHAR_GRAMS[0], longest)
    sums = values * CHARS[0]
    found = []
    for length in range(1, longest + 1):
        if length > 1:
            sums = sums[:-1] + values[length - 1 :] * CHARS[length - 1]
        if length >= shortest:
            found.append(sums + LENGTHS[length - 1])
    return mix(np.concatenate(found))


def scramble(hashes: U64) -> U32:
    """The low 32 bits of hashes after MurmurHash3's finaliser: what the permutations start from."""
    mixed = hashes.astype(np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed


def signature(shingle_set: U64) -> U32:
    """uint32[128]: the minimum of each permutation over the set; all ones bits for the empty set."""
    minima = np.full(PERMUTATIONS, 0xFFFFFFFF, dtype=np.uint32)
    hashes = scramble(shingle_set)
    for start in range(0, len(hashes), 2048):
        images = hashes[start : start + 2048] * ODD
        images += ADD
        np.minimum(minima, images.min(axis=1), out=minima)
    return minima


def banding(threshold: float) -> tuple[int, int]:
    """(bands, minima a band): 25 by 5 where the bands then miss at most `MISSED` of the pairs at the threshold.

    A lower threshold takes 4, 3, 2 or 1 minima a band. Raises UsageError outside 0.1 … 1.
    """
    if not 0.1 <= threshold <= 1:
        raise UsageError(f"the threshold is {threshold}, outside 0.1 … 1", "0.8 is usual for near-duplicates")
    for size in range(5, 1, -1):
        bands = PERMUTATIONS // size
        if (1 - threshold**size) ** bands <= MISSED:
            return bands, size
    return PERMUTATIONS, 1


def band_keys(minima: U32, bands: int, size: int) -> U64:
    """uint64[bands]: each band's `size` minima and its number, hashed."""
    parts = minima[: bands * size].reshape(bands, size).astype(np.uint64)
    return mix(parts @ BANDS[:size] + BAND_SALTS[:bands])


def jaccard(left: U64, right: U64) -> float:
    """The exact Jaccard similarity of two sorted distinct arrays; 1.0 for two empty ones."""
    if not len(left) or not len(right):
        return float(len(left) == len(right))
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)
