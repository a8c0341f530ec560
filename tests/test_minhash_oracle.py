"""The index of many texts against brute force in plain Python.

The oracle shares no code with the index: shingles are tuples of words and characters, similarity is that of two sets,
the first wins by a loop over all kept texts. What the definition allows the bands to miss is modelled, not tolerated:
the oracle signs the shingles' documented hashes with datasketch and asks whether two texts have the minima of one band
in common, so that verdict, place and similarity must agree to the last bit. What that costs against similarity alone
is counted by `test_the_bands_miss_next_to_nothing`.
"""

from __future__ import annotations

import functools
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import datasketch
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory import kernel
from factory.minhash import Fingerprints, Index, Matches, banding, shingles

MASK = (1 << 64) - 1
HAN = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏"

Gram = tuple[str, ...]
Verdict = tuple[int, float, bool]
"""Place (−1: kept), similarity (0: kept), the same text."""


# The oracle


def mix(value: int) -> int:
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def stream(state: int, count: int) -> list[int]:
    return [mix((state + (i + 1) * 0x9E3779B97F4A7C15) & MASK) for i in range(count)]


BYTES, LENGTHS = stream(1, 256), stream(6, 8)
WORDS, CHARS = [word | 1 for word in stream(3, 5)], [char | 1 for char in stream(4, 8)]
BASE, CHAR_SALT = stream(2, 1)[0] & ~7 | 5, stream(5, 1)[0]


def read(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def grams(text: str) -> frozenset[Gram]:
    """The shingles of a text that was read: words in fives, or characters in fives to eights."""
    if not text:
        return frozenset()
    words = text.split(" ")
    unspaced = sum(unicodedata.name(c, "").startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI")) for c in text)
    if len(words) >= 8 and 4 * unspaced < sum(map(len, words)):
        return frozenset(("w", *words[i : i + 5]) for i in range(len(words) - 4))
    sizes = range(min(5, len(text)), min(8, len(text)) + 1)
    return frozenset(("c", text[i : i + n]) for n in sizes for i in range(len(text) - n + 1))


@functools.cache
def word_hash(word: str) -> int:
    return mix(sum(BYTES[byte] * BASE**i for i, byte in enumerate(word.encode("utf-8", "surrogatepass"))) & MASK)


@functools.cache
def gram_hash(gram: Gram) -> int:
    if gram[0] == "w":
        return mix(sum(f * word_hash(word) for f, word in zip(WORDS, gram[1:], strict=True)) & MASK)
    total = sum(f * mix(ord(c) + CHAR_SALT & MASK) for f, c in zip(CHARS, gram[1], strict=False))
    return mix((total + LENGTHS[len(gram[1]) - 1]) & MASK)


@functools.cache
def minima(shingle_set: frozenset[Gram]) -> tuple[int, ...]:
    signed = datasketch.MinHash(num_perm=128, seed=1, hashfunc=lambda value: value & 0xFFFFFFFF)
    signed.update_batch([gram_hash(gram) for gram in shingle_set])
    return tuple(signed.hashvalues.tolist())


def alike(one: frozenset[Gram], other: frozenset[Gram]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


@dataclass
class Oracle:
    """Sequential first-wins. `banded`: a pair must also have a band in common, as the definition says."""

    threshold: float
    banded: bool = True

    def __post_init__(self) -> None:
        self.kept: list[tuple[str, frozenset[Gram]]] = []
        self.bands, self.size = banding(self.threshold)

    def offer(self, text: str) -> Verdict:
        found = self.match(text)
        if found[0] < 0:
            self.kept.append((read(text), grams(read(text))))
        return found

    def match(self, text: str) -> Verdict:
        normal = read(text)
        mine = grams(normal)
        for place, (other, theirs) in enumerate(self.kept):
            similarity = alike(mine, theirs)
            if similarity >= self.threshold and (not self.banded or self._share_a_band(mine, theirs)):
                return place, similarity, normal == other
        return -1, 0.0, False

    def _share_a_band(self, mine: frozenset[Gram], theirs: frozenset[Gram]) -> bool:
        if not mine:
            return True  # two empty texts
        one, other, size = minima(mine), minima(theirs), self.size
        starts = range(0, self.bands * size, size)
        return any(one[start : start + size] == other[start : start + size] for start in starts)


def offered(oracle: Oracle, rows: Sequence[str]) -> list[Verdict]:
    return [oracle.offer(row) for row in rows]


def told(found: Matches) -> list[Verdict]:
    return list(zip(found.places.tolist(), found.similarity.tolist(), found.exact.tolist(), strict=True))


# Texts


def some_words(rng: random.Random, count: int, of: int = 400) -> str:
    return " ".join(f"w{rng.randrange(of)}" for _ in range(count))


def changed(rng: random.Random, text: str) -> str:
    """The text in another form of itself, or with up to four words or characters changed, added or cut."""
    if rng.random() < 0.15:
        return rng.choice([text.upper(), f" {text}\n", text.replace(" ", " \t"), unicodedata.normalize("NFD", text)])
    parts = text.split(" ") if " " in text else list(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(parts) + 1)
        new = rng.choice([[], [f"n{rng.randrange(1000)}"], [rng.choice(HAN + "ABc")]])
        parts[place : place + rng.randrange(2)] = new
    return (" " if " " in text else "").join(parts)


def planted(seed: int, count: int) -> list[str]:
    """Long texts, one-word texts and short ones, Han, accents, boilerplate, empty ones; half are edited copies."""
    rng = random.Random(seed)
    frame = some_words(rng, 40)
    found = ["", "word"]
    while len(found) < count:
        kind = rng.randrange(12)
        if kind < 6:
            found.append(changed(rng, max(rng.choices(found, k=2), key=len)))
        elif kind < 8:
            found.append(some_words(rng, rng.randrange(8, 90)))
        elif kind == 8:
            found.append(some_words(rng, rng.randrange(1, 8), 40))
        elif kind == 9:
            found.append("".join(rng.choice(HAN) for _ in range(rng.randrange(1, 40))))
        elif kind == 10:
            found.append(f"{frame} {some_words(rng, rng.randrange(4, 25), 60)}")
        else:
            start = rng.choice(["naïve Ｆｕｌｌ ﬁn ", "e\u0301té ", "STRASSE ", "  "])
            found.append(start + some_words(rng, rng.randrange(12)))
    rng.shuffle(found)
    return found


@pytest.fixture(params=["numpy", "kernel"], scope="module")
def compiled(request: pytest.FixtureRequest) -> bool:
    if request.param == "kernel" and not kernel.available():
        pytest.skip(f"there is no compiled kernel: {kernel.why()}")
    return bool(request.param == "kernel")


# The properties


def continued(index: Index, rows: Sequence[str], cuts: Sequence[int], compiled: bool, restart: str) -> list[Verdict]:
    """The rows in batches that end at the cuts; at each cut the index goes on, or a new one takes its place."""
    verdicts: list[Verdict] = []
    kept: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        found = told(index.offer_many(rows[start:end]))
        verdicts += found
        kept += [row for row, verdict in zip(rows[start:end], found, strict=True) if verdict[0] < 0]
        assert len(index) == len(kept)
        if restart == "from the kept texts":
            index = Index(index.threshold, hub=index.hub, kernel=compiled)
            assert (index.offer_many(kept).places == -1).all()
        elif restart == "one by one":
            made = Index(index.threshold, hub=index.hub, kernel=compiled)
            fingerprints = index.fingerprint_many(kept)
            assert [made.add(fingerprints.at(place)) for place in range(len(kept))] == list(range(len(kept)))
            index = made
    for place, row in enumerate(kept):
        assert index.shingles_at(place).tolist() == sorted(map(gram_hash, grams(read(row))))
    return verdicts


@settings(max_examples=25)
@given(
    seed=st.integers(0, 40),
    order=st.randoms(use_true_random=False),
    threshold=st.sampled_from([0.5, 0.8, 0.8, 1.0]),
    hub=st.sampled_from([0, 2, 32]),
    cuts=st.lists(st.integers(0, 60), max_size=6).map(sorted),
    restart=st.sampled_from(["never", "from the kept texts", "one by one"]),
)
def test_the_first_wins(
    compiled: bool, seed: int, order: random.Random, threshold: float, hub: int, cuts: list[int], restart: str
) -> None:
    """For any order, batches, hub limit and restart: what is kept, the places, the similarities, equal texts."""
    rows = planted(seed, 60)
    order.shuffle(rows)
    index = Index(threshold, hub=hub, kernel=compiled)
    assert continued(index, rows, cuts, compiled, restart) == offered(Oracle(threshold), rows)


any_text = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="ab 　\n\x1c\x85", max_size=60),
    st.text(alphabet=HAN[:3] + "ab ", max_size=30),
    st.text(alphabet=st.characters(categories=["Cs", "Ll", "Zs", "Mn"]), max_size=30),
    st.lists(st.sampled_from(["a", "B", "ﬁ", "ß", "e\u0301", "İ", "天", "x" * 9, "\ud800"]), max_size=14).map(" ".join),
)


@settings(max_examples=60)
@given(st.lists(any_text, max_size=12), st.data())
@example(["", " ", "\u3000", "a", "A", "ａ"], None)
def test_the_first_wins_on_any_text(compiled: bool, rows: list[str], data: st.DataObject | None) -> None:
    if data is not None and rows:
        rows = rows + data.draw(st.lists(st.sampled_from(rows), max_size=4))
    cut = data.draw(st.integers(0, len(rows))) if data is not None else 2
    index = Index(0.6, kernel=compiled)
    found = told(index.offer_many(rows[:cut])) + told(index.offer_many(rows[cut:]))
    assert found == offered(Oracle(0.6), rows)


@functools.cache
def by_similarity_alone(threshold: float) -> list[Verdict]:
    return offered(Oracle(threshold, banded=False), planted(1000, 400))


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_the_bands_miss_next_to_nothing(compiled: bool, threshold: float) -> None:
    """Over 400 fixed texts, by similarity alone: no verdict differs at any of the thresholds."""
    rows = planted(1000, 400)
    alone = by_similarity_alone(threshold)
    assert sum(verdict[0] >= 0 for verdict in alone) > 50
    assert told(Index(threshold, kernel=compiled).offer_many(rows)) == alone


@pytest.mark.parametrize("hub", [0, 3, 8])
def test_boilerplate_changes_nothing(compiled: bool, hub: int) -> None:
    """Every text begins with the same 45 words: the buckets are full, in the index and within a batch."""
    rng = random.Random(5)
    frame = some_words(rng, 45)
    rows = [f"{frame} {some_words(rng, rng.randrange(3, 30), 50)}" for _ in range(140)]
    rows += [changed(rng, rng.choice(rows)) for _ in range(60)]
    rng.shuffle(rows)
    index = Index(0.8, hub=hub, kernel=compiled)
    found = told(index.offer_many(rows[:100])) + told(index.offer_many(rows[100:]))
    assert found == offered(Oracle(0.8), rows)
    assert index.hub_queries > 50


def test_matching_keeps_nothing(compiled: bool) -> None:
    rows, asked = planted(11, 80), planted(11, 120)
    index, oracle = Index(0.8, kernel=compiled), Oracle(0.8)
    index.offer_many(rows)
    offered(oracle, rows)
    expected = [oracle.match(row) for row in asked]
    assert told(index.match_many(asked)) == told(index.match_many(index.fingerprint_many(asked))) == expected
    assert len(index) == len(oracle.kept)


def test_fingerprints_are_offered_like_texts(compiled: bool) -> None:
    """Whole, in slices and as an Arrow array, made by either of the two ways."""
    import pyarrow as pa

    rows = planted(12, 150)
    expected = offered(Oracle(0.8), rows)
    for made_by in {False, compiled}:
        made = Index(0.8, kernel=made_by).fingerprint_many(rows)
        index = Index(0.8, kernel=compiled)
        parts: list[Fingerprints] = [made[:40], made[40:40], made[40:41], made[41:]]
        assert [verdict for part in parts for verdict in told(index.offer_many(part))] == expected
    for array in (pa.array(rows), pa.array(rows, pa.large_string()), pa.chunked_array([rows[:30], rows[30:]])):
        assert told(Index(0.8, kernel=compiled).offer_many(array)) == expected
    assert told(Index(0.8, kernel=compiled).offer_many(pa.array(["left out", *rows])[1:])) == expected


def test_a_hundred_thousand_identical_rows(compiled: bool) -> None:
    forms = ["The same seven words stand here again", "the same  seven words stand here AGAIN "]
    index = Index(0.8, kernel=compiled)
    found = index.offer_many(forms * 50_000)
    assert found.places.tolist() == [-1] + [0] * 99_999
    assert found.similarity.tolist() == [0.0] + [1.0] * 99_999
    assert found.exact.tolist() == [False] + [True] * 99_999
    assert index.nbytes < 16 << 20


def test_a_hundred_thousand_empty_and_one_word_rows(compiled: bool) -> None:
    index = Index(0.8, kernel=compiled)
    found = index.offer_many(["", "yes", " ", "no", "Yes", "\n"] * 16_667)
    assert found.places[:6].tolist() == [-1, -1, 0, -1, 1, 0]
    assert (found.places[6:].reshape(-1, 6) == [0, 1, 0, 2, 1, 0]).all()
    assert found.exact[6:].all()


def test_rows_of_a_megabyte(compiled: bool) -> None:
    """Between small rows: of words, of one word, of Han; copies at a similarity that can be counted."""
    rng = random.Random(3)
    words = [f"{rng.randrange(10**7)}" for _ in range(130_000)]
    other = list(words)
    other[500] = "new"
    far = words[:100_000] + [f"x{number}" for number in range(30_000)]
    han = "".join(chr(0x4E00 + rng.randrange(20_000)) for _ in range(350_000))
    small = planted(13, 20)
    rows = [*small, " ".join(words), "x" * 1_000_000, *small]
    rows += [" ".join(other), han, " ".join(far), han[:-1], "X" * 999_999]
    assert min(len(row.encode()) for row in rows[42:]) > 900_000
    index = Index(0.8, kernel=compiled)
    found = told(index.offer_many(rows))
    oracle = Oracle(0.8)
    assert found[:20] == offered(oracle, small)
    base = len(oracle.kept)
    assert found[20:22] == [(-1, 0.0, False)] * 2
    assert found[22:42] == offered(oracle, small)
    all_words, all_han = len(words) - 4, 4 * len(han) - 22
    assert found[42] == (base, (all_words - 5) / (all_words + 5), False)
    assert found[43] == found[44] == (-1, 0.0, False)
    assert found[45] == (base + 2, (all_han - 4) / all_han, False)
    assert found[46] == (base + 1, 1.0, False)
    assert len(index.shingles_at(base)) == all_words
    assert index.shingles_at(base).tolist() == shingles(rows[20]).tolist()
