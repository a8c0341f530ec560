"""Many texts at once: the hashes of one by one, by NumPy and by the kernel, from lists and from Arrow."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import kernel
from factory.errors import UsageError
from factory.minhash import Fingerprints, band_keys, batches, fingerprint, normalise, scheme, shingles, signature
from factory.minhash import fingerprints as many
from factory.minhash.buffers import buffer_of

WAYS = [False, True] if kernel.available() else [False]
WORDS = ["alpha", "Beta", "γάμμα", "delta,", "3", "+", "ﬁve", "naïve", "e\u0301clair", "ß", "x" * 300, "İstanbul", "天"]
texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="ab \x00\x0b\x1c\x1d\x1e\x1f\x85\u3000\n", max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join),
    st.lists(st.sampled_from(["One", "two", "THREE", "four.", "\t"]), max_size=60).map("  ".join),
    st.text(
        alphabet="eEoO aA.\u0301\u0308\u0323\u0345ßİΣﬁ½´\u2028\x85\u1680\u3000가ᄀ\u1161\u11a8\u09c7\u09be", max_size=60
    ),
    st.lists(st.text(alphabet="ab\u0301é’—… \u2029", max_size=6), max_size=80).map(" ".join),
    st.text(alphabet="天地玄黃宇宙ぁァab ", max_size=60),
    st.text(alphabet=st.characters(categories=["Cs", "Ll", "Zs"]), max_size=30),
)


def check(rows: list[str], made: Fingerprints, bands: int = 25, size: int = 5) -> None:
    """Against `scheme`, which hashes one text at a time."""
    assert len(made) == len(rows) == len(made.keys) == len(made.digests)
    assert made.signatures is not None
    for row, text in enumerate(rows):
        expected = shingles(text)
        assert made.shingles_at(row).tolist() == expected.tolist()
        assert made.signatures[row].tolist() == signature(expected).tolist()
        assert made.keys[row].tolist() == band_keys(signature(expected), bands, size).tolist()
        digest = hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        assert made.digests[row].astype("<u8").tobytes() == digest
    assert made.shingles.dtype == made.keys.dtype == made.digests.dtype == np.uint64
    assert made.ends.dtype == np.int64


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=120)
@given(rows=st.lists(texts, max_size=12), banding=st.sampled_from([(25, 5), (42, 3), (128, 1)]))
def test_a_batch_is_one_by_one(way: bool, rows: list[str], banding: tuple[int, int]) -> None:
    made = fingerprint(rows, bands=banding[0], size=banding[1], signatures=True, kernel=way)
    check(rows, made, *banding)


@pytest.mark.parametrize("way", WAYS)
def test_odd_rows(way: bool) -> None:
    """Empty, white, one word, exactly seven and eight words, NULs, very long words, many copies of one shingle."""
    seven = "one two three four five six seven"
    rows = [
        "", " \t\n\x1c", "a", "ab", "abcd", "abcde", "abcdefghi", seven, seven + " eight", "\x00 \x00\x00", "A" * 255,
        "b" * 256 + " " + "c" * 257, "ab" * 3000, "x" * 40_000, " ".join(["same"] * 3000), "天" * 3000, "é " * 500,
        "word " * 8 + "天地玄黃", "\ud800 lone \udfff", "Ⅷ ﬃ ½ K Å", "İ" * 10,
    ]  # fmt: skip
    check(rows, fingerprint(rows, signatures=True, kernel=way))


@pytest.mark.parametrize("way", WAYS)
def test_rows_of_a_megabyte(way: bool) -> None:
    rng = np.random.default_rng(0)
    words = " ".join(f"w{n}" for n in rng.integers(0, 10**6, 130_000))
    rows = ["short", words, "", "x" * 1_000_000, "天地玄黃" * 5000, "short"]
    made = fingerprint(rows, signatures=True, kernel=way)
    check(rows, made)
    assert made.ends[1] - made.ends[0] > 100_000


@pytest.mark.parametrize("way", WAYS)
def test_batches_of_any_length_join(way: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"row {n} of {'some ' * (n % 9)}words and é{n}" for n in range(90)] + [""]
    whole = fingerprint(rows, signatures=True, kernel=way)
    monkeypatch.setattr(many, "_ROWS", 7)
    monkeypatch.setattr(many, "_BYTES", 100)
    monkeypatch.setattr(batches, "_CHUNK", 64)
    monkeypatch.setattr(batches, "LARGE", 48)
    monkeypatch.setattr(batches, "_CELLS", 50)
    parts = fingerprint(rows, signatures=True, kernel=way)
    for name in ("shingles", "ends", "keys", "digests", "signatures"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_arrow_arrays_are_read_as_they_lie(way: bool, kind: pa.DataType) -> None:
    rows = ["first", "", "Ünïcode text of more than eight words, one two three", None, "last of all"] * 3
    array = pa.array(rows, pa.string()).cast(kind)
    plain = [row or "" for row in rows]
    check(plain, fingerprint(array, signatures=True, kernel=way))
    check(plain[4:9], fingerprint(array[4:9], signatures=True, kernel=way))
    chunks = pa.chunked_array([array[:3], array[3:3], array[5:]])
    check(plain[:3] + plain[5:], fingerprint(chunks, signatures=True, kernel=way))
    check([], fingerprint(array[:0], signatures=True, kernel=way))
    check([], fingerprint(pa.chunked_array([], kind), signatures=True, kernel=way))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_text_is_told(way: bool) -> None:
    with pytest.raises(UsageError, match="not a int among the texts"):
        fingerprint(["a", 3], kernel=way)  # type: ignore[list-item]
    with pytest.raises(UsageError, match="not one string"):
        fingerprint("a text", kernel=way)
    with pytest.raises(UsageError, match=r"of type list"):
        fingerprint(pa.array([["a"]]), kernel=way)
    with pytest.raises(UsageError, match="30 bands of 5 minima"):
        fingerprint(["a"], bands=30, size=5, kernel=way)


@pytest.mark.parametrize("way", WAYS)
def test_none_are_none(way: bool) -> None:
    made = fingerprint([], kernel=way)
    assert len(made) == 0
    assert made.keys.shape == (0, 25)
    assert made.digests.shape == (0, 2)
    assert made.signatures is None


def test_slices() -> None:
    rows = ["one", "", "the quick brown fox jumps over the lazy dog", "two"]
    made = fingerprint(rows, signatures=True)
    for first in range(5):
        for end in range(5):
            check(rows[first:end], made[first:end])
    assert made.at(2).shingles.tolist() == shingles(rows[2]).tolist()
    with pytest.raises(ValueError, match="step"):
        made[::2]


def test_normalising_leaves_no_ascii_capital_and_no_white_but_spaces() -> None:
    """What lets a whole batch, texts beyond ASCII included, go through one table of bytes."""
    found = {char for point in range(128, sys.maxunicode + 1) for char in scheme.fold(chr(point))}
    assert not found & {chr(n) for n in range(128) if (n in batches.WHITE and n != 32) or 65 <= n <= 90}
    assert {char for char in found if char.isspace()} == {" ", *batches._OTHER_WHITE}


def test_buffers_hold_the_bytes() -> None:
    whole = buffer_of(["ab", "", "é", "\ud800"])
    assert whole.offsets.tolist() == [0, 2, 2, 4, 7]
    assert whole.data.tobytes() == "abé\ud800".encode("utf-8", "surrogatepass")
    normal = batches.normalise_many(whole)
    assert [normal.text(row) for row in range(4)] == ["ab", "", "é", "\ud800"]
    assert scheme.SCHEME.endswith(".v1")
