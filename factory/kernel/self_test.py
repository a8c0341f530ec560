"""What a freshly loaded kernel must get right before it is used: a few texts, against the scheme in NumPy."""

from __future__ import annotations

import ctypes
import hashlib

import numpy as np

from factory.kernel import calls

TEXTS = (
    "",
    "cat",
    " Three\tSHORT\x1fwords ",
    "the quick brown fox jumps over the lazy dog, and the dog does not mind it at all today",
    "The quick  brown fox jumps over the lazy dog,\nand the dog does not mind it at all today",
    "the quick brown fox jumps over the lazy dog, and the dog does not mind it at all now",
    "größer und schöner als je zuvor stand das alte haus am fluss",
    "天地玄黃宇宙洪荒 日月盈昃",
    " ".join("word" + "x" * i for i in range(300)),
)
BANDS, SIZE, THRESHOLD = 25, 5, 0.8


def difference(library: ctypes.CDLL) -> str:
    """What the kernel gets wrong, in words; empty where it is right."""
    from factory.minhash import scheme

    texts = [text if text.isascii() else scheme.normalise(text) for text in TEXTS]
    parts = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    wide = np.array([not text.isascii() for text in texts])
    buffer = (np.frombuffer(b"".join(parts), dtype=np.uint8), offsets, wide)
    shingles, ends, keys, digests, signatures = calls.fingerprint(library, buffer, BANDS, SIZE, signed=True)
    assert signatures is not None  # asked for
    sets = [scheme.shingles(text) for text in texts]
    if not np.array_equal(shingles, np.concatenate(sets)) or ends.tolist() != np.cumsum([*map(len, sets)]).tolist():
        return "shingles"
    if not np.array_equal(signatures, [scheme.signature(one) for one in sets]):
        return "signatures"
    if not np.array_equal(keys, [scheme.band_keys(one, BANDS, SIZE) for one in signatures]):
        return "band keys"
    told = b"".join(hashlib.blake2b(scheme.normalise(text).encode(), digest_size=16).digest() for text in texts)
    if not np.array_equal(digests.reshape(-1), np.frombuffer(told, dtype="<u8")):
        return "digests"
    places, similarity = calls.Table(library, THRESHOLD, BANDS, SIZE, 1).walk(shingles, ends, keys, keep=True)
    expected = scheme.jaccard(sets[3], sets[5])
    if places.tolist() != [-1, -1, -1, -1, 3, 3, -1, -1, -1] or similarity[4:6].tolist() != [1.0, expected]:
        return "matches"
    return ""
