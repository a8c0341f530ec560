"""Near-duplicates by exact Jaccard similarity over shingles, found through MinHash bands. Arrays only, no I/O.

`scheme` says what is hashed and how; `fingerprint` does it for many texts at once; `Index` holds the kept texts.
"""

from __future__ import annotations

from factory.minhash.arrays import Match
from factory.minhash.fingerprints import Fingerprint, Fingerprints, fingerprint
from factory.minhash.index import Index, Matches
from factory.minhash.scheme import (
    BAND_SALTS,
    BANDS,
    BASE,
    BYTES,
    CHAR_GRAMS,
    CHAR_SALT,
    CHARS,
    FEWEST_WORDS,
    LENGTHS,
    MISSED,
    PERMUTATIONS,
    SCHEME,
    U32,
    U64,
    WORD_GRAM,
    WORDS,
    Ints,
    band_keys,
    banding,
    jaccard,
    mix,
    normalise,
    shingles,
    shingles_of_normalised,
    signature,
    stream,
)

__all__ = [
    "BANDS",
    "BAND_SALTS",
    "BASE",
    "BYTES",
    "CHARS",
    "CHAR_GRAMS",
    "CHAR_SALT",
    "FEWEST_WORDS",
    "LENGTHS",
    "MISSED",
    "PERMUTATIONS",
    "SCHEME",
    "U32",
    "U64",
    "WORDS",
    "WORD_GRAM",
    "Fingerprint",
    "Fingerprints",
    "Index",
    "Ints",
    "Match",
    "Matches",
    "band_keys",
    "banding",
    "fingerprint",
    "jaccard",
    "mix",
    "normalise",
    "shingles",
    "shingles_of_normalised",
    "signature",
    "stream",
]
