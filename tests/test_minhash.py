"""The near-duplicate scheme, against a plain-Python reading of its description, brute force and datasketch."""

from __future__ import annotations

import itertools
import random
import unicodedata

import datasketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import minhash
from factory.errors import UsageError
from factory.minhash import Index, jaccard, normalise, shingles, signature
from factory.postings import Postings

MASK = (1 << 64) - 1
WORDS = ["alpha", "Beta", "γάμμα", "delta,", "3", "+", "ﬁve", "naïve", "e\u0301clair", "ß", "x" * 40, "İstanbul"]
HAN = "天地玄黃宇宙洪荒日月盈昃"

texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="ab 　\n", max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join),
    st.text(alphabet=HAN + "ab ", max_size=40),
    st.text(alphabet=st.characters(categories=["Cs", "Ll", "Zs"]), max_size=30),
)


def mix(value: int) -> int:
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def stream(state: int, count: int) -> list[int]:
    return [mix((state + (i + 1) * 0x9E3779B97F4A7C15) & MASK) for i in range(count)]


def grams(text: str) -> list[tuple[str, ...]]:
    """The shingles themselves: words in fives, or characters."""
    words = text.split(" ") if text else []
    unspaced = sum(unicodedata.name(c, "").startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI")) for c in text)
    if len(words) >= 8 and 4 * unspaced < len(text.replace(" ", "")):
        return [("w", *words[i : i + 5]) for i in range(len(words) - 4)]
    sizes = range(min(5, len(text)), min(8, len(text)) + 1) if text else []
    return [("c", text[i : i + n]) for n in sizes for i in range(len(text) - n + 1)]


def plain_hash(gram: tuple[str, ...]) -> int:
    """The documented 64-bit hash of one shingle, in Python's integers."""
    if gram[0] == "c":
        points, factors = [ord(c) for c in gram[1]], [f | 1 for f in stream(4, 8)]
        salt, total = stream(5, 1)[0], stream(6, 8)[len(gram[1]) - 1]
        return mix((total + sum(f * mix(p + salt & MASK) for f, p in zip(factors, points, strict=False))) & MASK)
    base, table = stream(2, 1)[0] & ~7 | 5, stream(1, 256)
    words = [
        mix(sum(table[byte] * base**i for i, byte in enumerate(word.encode("utf-8", "surrogatepass"))) & MASK)
        for word in gram[1:]
    ]
    return mix(sum((f | 1) * word for f, word in zip(stream(3, 5), words, strict=True)) & MASK)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_shingles_are_the_documented_hashes(text: str) -> None:
    expected = sorted({plain_hash(gram) for gram in grams(normalise(text))})
    assert shingles(text).tolist() == expected
    assert shingles(text).dtype == np.uint64


@given(texts)
def test_white_space_is_single_and_inside(text: str) -> None:
    once = normalise(text)
    assert once == once.strip()
    assert "  " not in once
    assert normalise(" \t" + text + "\n") == once


def test_equal_readings_are_equal() -> None:
    assert normalise("Ｆｕｌｌ　ｗｉｄｔｈ") == "full width"
    assert normalise("STRASSE ﬁn") == normalise("straße  fin")
    assert normalise("e\u0301") == normalise("é") == normalise("É")
    assert not len(shingles(" \u3000\n"))


def test_hashes_never_change() -> None:
    """A dataset made today must be made again tomorrow."""
    assert shingles("cat").tolist() == [plain_hash(("c", "cat"))]
    pinned = {
        "cat": "1:3a3a8205a46afb59",
        "the quick brown fox jumps over the lazy dog": "5:9a113e07be18ba55",
        "天地玄黃宇宙洪荒": "10:3da83ee56586ba27",
    }
    for text, digest in pinned.items():
        found = shingles(text)
        total = int(np.bitwise_xor.reduce(found)) ^ int(signature(found).sum(dtype=np.uint64))
        assert f"{len(found)}:{total:016x}" == digest


@settings(deadline=None)
@given(st.lists(st.integers(0, MASK), max_size=60, unique=True))
def test_signatures_are_those_of_datasketch(values: list[int]) -> None:
    oracle = datasketch.MinHash(num_perm=128, seed=1, hashfunc=lambda value: value & 0xFFFFFFFF)
    oracle.update_batch(values)
    mine = signature(np.array(sorted(values), dtype=np.uint64))
    assert mine.tolist() == oracle.hashvalues.tolist()
    loaded = datasketch.MinHash(hashvalues=mine, scheme="affine32")
    assert loaded.jaccard(oracle) == 1.0


def test_signatures_serve_a_datasketch_index() -> None:
    first, second = (text_of_words(random.Random(1), 60) for _ in range(2))
    changed = first.replace(first.split()[0], "another", 1)
    index = datasketch.MinHashLSH(params=(25, 5), num_perm=128)
    for name, text in (("first", first), ("second", second + " more")):
        index.insert(name, datasketch.MinHash(hashvalues=signature(shingles(text)), scheme="affine32"))
    assert "first" in index.query(datasketch.MinHash(hashvalues=signature(shingles(changed)), scheme="affine32"))


def test_a_long_set_is_signed_in_pieces() -> None:
    values = np.arange(1, 5000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    pieces = [signature(values[start : start + 1000]) for start in range(0, 5000, 1000)]
    assert signature(values).tolist() == np.minimum.reduce(pieces).tolist()


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_jaccard_is_exact(left: set[int], right: set[int]) -> None:
    expected = len(left & right) / len(left | right) if left | right else 1.0
    assert jaccard(*(np.array(sorted(one), dtype=np.uint64) for one in (left, right))) == expected


def test_bands_miss_few_at_every_threshold() -> None:
    assert minhash.banding(0.8) == minhash.banding(0.95) == minhash.banding(1.0) == (25, 5)
    for threshold in (0.1, 0.3, 0.5, 0.6, 0.7, 0.76, 0.8, 0.9):
        bands, size = minhash.banding(threshold)
        assert bands * size <= 128
        assert (1 - threshold**size) ** bands <= minhash.MISSED
    for wrong in (0.05, 1.1, float("nan")):
        with pytest.raises(UsageError, match="threshold"):
            Index(wrong)


# The index, against brute force


def text_of_words(rng: random.Random, count: int, vocabulary: int = 400) -> str:
    return " ".join(f"w{rng.randrange(vocabulary)}" for _ in range(count))


def edited(rng: random.Random, text: str) -> str:
    words = text.split()
    for _ in range(rng.randrange(5)):
        words[rng.randrange(len(words))] = f"new{rng.randrange(1000)}"
    return " ".join(words)


def planted(seed: int, count: int) -> list[str]:
    """Long texts, short texts, Han texts and empty ones, with many edited copies of earlier ones."""
    rng = random.Random(seed)
    found = ["", "  ", "word"]
    while len(found) < count:
        kind = rng.randrange(6)
        if kind <= 2:
            found.append(edited(rng, rng.choice(found).strip() or "nothing"))
        elif kind == 3:
            found.append(text_of_words(rng, rng.randrange(20, 90)))
        elif kind == 4:
            found.append(text_of_words(rng, rng.randrange(1, 8), 40))
        else:
            found.append("".join(rng.choice(HAN) for _ in range(rng.randrange(1, 50))))
    return found


def brute_force(rows: list[str], threshold: float) -> list[int | None]:
    """Sequential first-wins by exact Jaccard over the shingles themselves: for each row the kept row it repeats."""
    kept: dict[int, set[tuple[str, ...]]] = {}
    verdicts: list[int | None] = []
    for number, row in enumerate(rows):
        mine = set(grams(normalise(row)))
        alike = (
            place
            for place, theirs in kept.items()
            if (len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0) >= threshold
        )
        verdicts.append(next(alike, None))
        if verdicts[-1] is None:
            kept[number] = mine
    return verdicts


def verdicts_of(index: Index, rows: list[str], kept: list[int], first: int = 0) -> list[int | None]:
    """The same by the index; `kept` maps its places to row numbers and grows."""
    verdicts: list[int | None] = []
    for number, row in enumerate(rows, first):
        match = index.offer(shingles(row))
        verdicts.append(None if match is None else kept[match.place])
        if match is None:
            kept.append(number)
    return verdicts


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_first_wins_as_by_brute_force(seed: int, threshold: float) -> None:
    """The bands miss at most 5e-4 of the pairs at the threshold; the corpora are fixed, and none is missed in them."""
    rows = planted(seed, 250)
    expected = brute_force(rows, threshold)
    assert sum(one is not None for one in expected) > 20
    assert verdicts_of(Index(threshold), rows, []) == expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(texts, max_size=25), st.sampled_from([0.6, 0.8, 1.0]))
def test_first_wins_on_any_text(rows: list[str], threshold: float) -> None:
    assert verdicts_of(Index(threshold), rows, []) == brute_force(rows, threshold)


@pytest.mark.parametrize("hub", [0, 1, 5])
def test_hubs_change_nothing(hub: int) -> None:
    """Boilerplate fills the buckets: the prefix keys that then take over find the same rows at the same similarity."""
    rng = random.Random(3)
    frame = text_of_words(rng, 50)
    rows = [f"{frame} {text_of_words(rng, rng.randrange(4, 30), 60)}" for _ in range(300)] + planted(5, 100)
    plain, capped = Index(0.8, hub=10**9), Index(0.8, hub=hub)
    for row in rows:
        assert capped.offer(shingles(row)) == plain.offer(shingles(row))
    assert not plain.hub_queries
    assert capped.hub_queries > 50


def test_prefix_keys_are_exact_at_the_threshold() -> None:
    """7 of 25 at 0.28, where 0.28 * 25 is a little more than 7 in floating point."""
    index = Index(0.28, hub=0)
    more = np.arange(1, 26, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    more.sort()
    index.add(index.fingerprint(more[:7]))
    assert index.match(index.fingerprint(more)) == minhash.Match(0, 0.28)
    assert index.hub_queries == 1


@pytest.mark.parametrize("hub", [0, 32])
def test_a_pair_without_a_common_band_is_no_duplicate_on_either_way(hub: int) -> None:
    """One of the 5e-4 that the bands miss by definition (found by search): prefix keys must not find it either."""
    pool = np.unique(np.random.default_rng(186027).integers(0, MASK, 22, dtype=np.uint64))
    index = Index(0.8, hub=hub)
    kept, asked = index.fingerprint(pool[:20]), index.fingerprint(pool[2:])
    assert jaccard(kept.shingles, asked.shingles) > 0.8
    assert not (kept.keys == asked.keys).any()
    index.add(kept)
    other = index.fingerprint(np.unique(np.concatenate([asked.shingles[:15], asked.shingles[:6] + np.uint64(1)])))
    assert (other.keys == asked.keys).any()
    index.add(other)
    assert index.match(asked) is None
    assert index.hub_queries == (hub == 0)


@pytest.mark.parametrize("cut", [0, 1, 40, 119])
def test_a_restart_from_the_kept_texts_goes_on_alike(cut: int) -> None:
    rows = planted(7, 120)
    kept: list[int] = []
    whole = Index()
    expected = verdicts_of(whole, rows, kept)
    again, kept_again = Index(), [number for number in kept if number < cut]
    for number in kept_again:
        again.add(again.fingerprint(shingles(rows[number])))
    assert verdicts_of(again, rows[cut:], kept_again, cut) == expected[cut:]
    assert kept_again == kept
    for place, number in enumerate(kept):
        assert again.shingles_at(place).tolist() == shingles(rows[number]).tolist()


def test_recall_at_the_threshold() -> None:
    """Pairs at exactly 0.8 (the worst case) are found: of 2,000 about 0.1 are missed by chance."""
    rng = np.random.default_rng(1)
    index, found = Index(0.8), 0
    for _ in range(2000):
        first = np.unique(rng.integers(0, MASK, 72, dtype=np.uint64))
        second = np.unique(np.concatenate([first[8:], rng.integers(0, MASK, 8, dtype=np.uint64)]))
        assert jaccard(first, second) == 0.8
        index.add(index.fingerprint(first))
        match = index.match(index.fingerprint(second))
        found += match is not None and match.similarity == 0.8
    assert found == 2000


def test_identical_rows() -> None:
    index = Index()
    one = shingles("the same seven words stand here again and again")
    places = {index.offer(one) for _ in range(10_000)}
    assert places == {None, minhash.Match(0, 1.0)}
    assert len(index) == 1


def test_very_long_texts() -> None:
    rng = random.Random(1)
    words = [f"w{rng.randrange(10**6)}" for _ in range(130_000)]
    index = Index()
    assert index.offer(shingles(" ".join(words))) is None
    words[500] = "other"
    assert index.offer(shingles(" ".join(words))) == minhash.Match(0, pytest.approx(1 - 10 / 130_001, abs=1e-6))
    assert index.offer(shingles("x" * 1_000_000)) is None
    assert index.offer(shingles("x" * 999_999)) is not None


def test_memory_of_the_index_is_flat() -> None:
    rng = random.Random(2)
    index = Index()
    for _ in range(3000):
        index.offer(shingles(text_of_words(rng, 104, 10**6)))
    assert len(index) == 3000
    assert index.nbytes / 3000 < 4000  # 100 shingles: 800 bytes, 25 bands: 750, and the room to grow


# Postings


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 40), max_size=12, unique=True), max_size=200), st.integers(0, 3))
def test_postings_are_a_multi_map(added: list[list[int]], spread: int) -> None:
    """Against a dict, with keys that crowd into few blocks (`spread` 0) or mix well."""
    factor = [1024, 1 << 40, (1 << 40) + 8, 0x9E3779B97F4A7C15][spread]
    held: dict[int, list[int]] = {}
    postings = Postings()
    for place, keys in enumerate(added):
        postings.add(np.array([key * factor & MASK for key in keys], dtype=np.uint64), place)
        for key in keys:
            held.setdefault(key, []).append(place)
    for key in range(45):
        asked = np.array([key * factor & MASK], dtype=np.uint64)
        found = postings.find(asked)
        assert found is not None
        assert found.tolist() == held.get(key, [])
        assert (postings.find(asked, limit=3) is None) == (len(held.get(key, [])) > 3)
    every = np.array([key * factor & MASK for key in range(45)], dtype=np.uint64)
    assert sorted(postings.find(every)) == sorted(itertools.chain(*held.values()))  # type: ignore[arg-type]


def test_postings_grow() -> None:
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(1, MASK, 20_000, dtype=np.uint64))
    postings = Postings()
    for place, start in enumerate(range(0, len(keys), 25)):
        postings.add(keys[start : start + 25], place)
    for start in range(0, len(keys), 25):
        found = postings.find(keys[start : start + 25])
        assert found is not None
        assert set(found.tolist()) == {start // 25}
