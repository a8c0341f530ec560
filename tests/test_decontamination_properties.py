"""Properties of the model-free cascade: words against a slow reader, n-grams against brute force, batches, windows."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.decontamination import BenchmarkIndex, Cascade, TestRow, TestSet, build_index
from factory.decontamination import fields as fields_module
from factory.decontamination.batches import read_batch
from factory.decontamination.grams import GRAM, Presence, expand, find, prefix_sums, run_hashes, span_hashes
from factory.decontamination.ngrams import GramFinder, locate
from factory.decontamination.pairs import WINDOWS, cut_stretches
from factory.decontamination.spaces import Reader, Spans
from factory.decontamination.texts import char_places, hash_words, prepare, strip_comments, tokenise

NEUTRAL = ("The weather was fine and we walked along the river.", "Please answer the question below in one sentence.")
VOCABULARY = [f"{a}{b}" for a in ("ka", "lo", "mi", "ru", "te") for b in ("ban", "dor", "fel", "gis", "hum", "jat")]
anything = st.text(
    st.characters() | st.sampled_from("aB3 .,'’“—\n\u00a0éß日本ｆ１\u0301\u200b\x1e()_") , max_size=60
)  # fmt: skip
sentences = st.lists(st.sampled_from(VOCABULARY), min_size=0, max_size=40).map(" ".join)


def slow_words(text: str) -> list[str]:
    """The words of plain ASCII text by regular expressions."""
    text = re.sub(r"(?<=\d),(?=\d\d\d(?!\d))", "", text)
    found = re.findall(r"\d+(?:\.\d+)+[A-Za-z0-9]*|[A-Za-z0-9]+(?:(?<=\d)\.(?=\d)[A-Za-z0-9]+)*", text)
    return [word.lower() for word in found if word.lower() not in ("s", "t")]


def words_of(text: str) -> list[str]:
    tokens = tokenise([text])
    spans = zip(tokens.starts, tokens.sizes, strict=True)
    return [bytes(tokens.letters[start : start + size]).decode("utf-8", "surrogatepass") for start, size in spans]


@settings(max_examples=60)
@given(st.text(st.sampled_from("abZ 19.,!?-'\n\t\""), max_size=40).filter(lambda t: "." not in t[-1:]))
def test_words_of_ascii_are_those_of_a_slow_reader(text: str) -> None:
    marks = re.compile(r"(?:(?<=[\n (])|^)\w[.):]")
    text = marks.sub(" ", text)
    if not marks.search(text):
        assert words_of(text) == slow_words(text)


@settings(max_examples=60)
@given(st.lists(anything, max_size=8))
def test_a_texts_words_do_not_depend_on_the_others(texts: list[str]) -> None:
    together = tokenise(texts) if texts else tokenise([""])
    firsts = together.firsts()
    for place, text in enumerate(texts):
        alone = tokenise([text])
        span = slice(int(firsts[place]), int(together.ends[place]))
        assert np.array_equal(together.hashes[span], alone.hashes)
        assert np.array_equal(together.stems()[span], alone.stems())
        assert np.array_equal(together.names()[span], alone.names())
        assert np.array_equal(together.numbers()[span], alone.numbers())


@settings(max_examples=60)
@given(anything)
def test_every_prepared_byte_has_its_character(text: str) -> None:
    places = char_places(text)
    size = len(prepare(text).encode("utf-8", "surrogatepass"))
    assert size == (len(text) if places is None else len(places))
    for at in tokenise([text]).places.tolist():
        char = text[at if places is None else int(places[at])]
        assert unicodedata.category(char)[0] in "LNMS"


def test_folding() -> None:
    assert words_of("Janet’s “naïve” $80,000, or 2.5 İstanbul ﬁne") == words_of(
        "janet's naive 80000 or 2.5 istanbul fine"
    )
    assert words_of("漢字kana") == ["漢", "字", "kana"]
    assert words_of("(A) one\nB. two\n3) three\n(d) four") == ["one", "two", "three", "four"]
    assert words_of("1,23,456") == ["1", "23456"] and words_of("1,2,3") == ["1", "2", "3"]
    assert strip_comments("x = '#no'  # yes\n'''doc # x'''y") == "x = '#no'   \n y".replace("   \n", "   \n")
    assert strip_comments("plain") == "plain"


@settings(max_examples=40)
@given(st.lists(st.sampled_from(VOCABULARY[:6]), min_size=1, max_size=30), st.integers(1, 9))
def test_runs_hash_alike_exactly_where_their_words_are_alike(words: list[str], length: int) -> None:
    hashes = hash_words(words)
    sums = prefix_sums(hashes)
    runs = run_hashes(sums, length)
    plain = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    assert len(runs) == len(plain)
    assert len(set(runs.tolist())) == len(set(plain))
    firsts = np.arange(len(runs))
    assert np.array_equal(span_hashes(sums, firsts, firsts + length), runs)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=50, unique=True), st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_presence_never_misses_and_find_is_exact(known: list[int], asked: list[int]) -> None:
    held, values = np.sort(np.array(known, dtype=np.uint64)), np.array(asked + known, dtype=np.uint64)
    maybe = set(Presence(held).may_hold(values).tolist())
    hit, place = find(held, values)
    assert hit.tolist() == [int(value) in set(known) for value in values]
    assert {int(i) for i in np.flatnonzero(hit)} <= maybe
    assert all(held[place[i]] == values[i] for i in np.flatnonzero(hit))


def test_expand() -> None:
    owner, at = expand(np.array([5, 9, 2]), np.array([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2] and at.tolist() == [5, 6, 2, 3, 4]


@cache
def index_of(rows: tuple[str, ...]) -> BenchmarkIndex:
    return build_index(TestSet("made", [TestRow(i, text) for i, text in enumerate(rows)]), neutral=NEUTRAL)


MADE = tuple(" ".join(VOCABULARY[(7 * i + 11 * j + j * j // 3) % 30] for j in range(24)) for i in range(6))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(sentences, st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(0, 24))), max_size=6))
def test_the_ngram_layer_finds_what_brute_force_finds(parts: list[object]) -> None:
    index = index_of(MADE)
    texts = []
    for part in parts:
        texts.append(part if isinstance(part, str) else " ".join(MADE[part[0]].split()[part[1] : part[2]]))  # type: ignore[index]
    batch = read_batch([{"a": text, "b": " ".join(reversed(text.split()))} for text in texts], code=False)
    matches = GramFinder([index]).find(batch)[0]
    rare = {int(h): int(p) for h, p in zip(index.arrays["gram_hashes"], index.arrays["gram_places"], strict=True)}
    words = [row.split() for row in MADE]
    expected = set()
    for data, text in enumerate(texts):
        for column in (text.split(), text.split()[::-1]):
            for i in range(len(column) - GRAM + 1):
                for row, theirs in enumerate(words):
                    for j in range(len(theirs) - GRAM + 1):
                        if column[i : i + GRAM] == theirs[j : j + GRAM] and (24 * row + j) in rare.values():
                            expected.add((data, row))
    assert set(zip(matches.data.tolist(), matches.rows.tolist(), strict=True)) == expected
    for number in range(len(matches.data)):
        text, first, last = locate(batch, index, matches, number)
        row = words[int(matches.rows[number])]
        span = batch.texts[text].split()[
            first - int(batch.tokens.firsts()[text]) : last - int(batch.tokens.firsts()[text])
        ]
        assert len(span) >= GRAM and any(row[j : j + len(span)] == span for j in range(len(row)))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12), st.integers(4, 24), sentences), min_size=1, max_size=6)
)
def test_a_rows_hits_do_not_depend_on_the_batch(parts: list[tuple[int, int, int, str]]) -> None:
    rows = [{"x": f"{noise} {' '.join(MADE[i].split()[a:b])}", "y": noise} for i, a, b, noise in parts]
    cascade = Cascade([index_of(MADE)], fpr=0.01)
    together = cascade.check_many(rows, gray=True)
    assert together == [cascade.check_many([row], gray=True)[0] for row in rows]
    assert together[::-1] == cascade.check_many(rows[::-1], gray=True)
    for row, hits in zip(rows, together, strict=True):
        for hit in hits:
            for piece in hit.span.split("\n"):
                assert any(piece in text for text in row.values())


def test_windows_cover_long_texts_and_keep_to_their_columns() -> None:
    sizes = np.array([3, 100, 161, 1500, 0, 40])
    stretches = cut_stretches(np.cumsum(sizes), np.array([0, 0, 1, 2, 3, 3]), 6, 4)
    ends, firsts = np.cumsum(sizes), np.cumsum(sizes) - sizes
    for text in (1, 2, 3, 5):
        mine = stretches.text == text
        covered = np.zeros(sizes[text], dtype=bool)
        for first, last in zip(stretches.spans.firsts[mine], stretches.spans.lasts[mine], strict=True):
            assert firsts[text] <= first < last <= ends[text]
            covered[first - firsts[text] : last - firsts[text]] = True
        assert covered.all()
    assert set(np.diff(np.stack([stretches.spans.firsts, stretches.spans.lasts]), axis=0)[0]) <= {
        *sizes.tolist(), 103, 40, *(size for _, size in WINDOWS)
    }  # fmt: skip
    assert sorted(stretches.data[stretches.text < 0].tolist()) == [0, 3]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["Ada", "Bo", "three", "3", "7", "apples", "apple", "ran", "zebra"]), max_size=20))
def test_spaces_are_what_a_slow_reader_counts(words: list[str]) -> None:
    reader = Reader(tokenise([" ".join(words)]))
    spans = Spans(np.array([0]), np.array([len(words)]))
    described = reader.describe(spans)
    same = {"three": "3", "apples": "apple"}
    plain = [same.get(word, word) for word in words]
    numbers = [word for word in plain if word.isdigit()]
    assert described.numbers.sizes().tolist() == [len(numbers)]
    assert described.names.sizes().tolist() == [len({"Ada", "Bo"} & set(words))]
    assert described.stems.sizes().tolist() == [len({word for word in plain if not word.isdigit()})]
    masked = [
        "#" if word.isdigit() else "@" if word in ("Ada", "Bo") else word
        for word in [same.get(w, w) if w == "three" else w for w in words]
    ]
    assert described.trigrams.sizes().tolist() == [len({tuple(masked[i : i + 3]) for i in range(len(masked) - 2)})]
    assert np.array_equal(reader.describe_stems(spans).buckets, described.stems.buckets)


def test_conversations_with_or_without_the_first_turn_are_one_thing() -> None:
    with_first = fields_module.read_fields(
        TestSet("a", [TestRow(0, "first turn", turns=("first turn", "second turn"))])
    )
    without = fields_module.read_fields(TestSet("b", [TestRow(0, "first turn", turns=("second turn",))]))
    assert (with_first.texts, with_first.kinds.tolist()) == (without.texts, without.kinds.tolist())
    assert [fields_module.part_name(kind) for kind in with_first.kinds] == ["question", "turn 2"]


@pytest.mark.parametrize("sizes", [(), (0,), (0, 3, 0)])
def test_empty_batches(sizes: tuple[int, ...]) -> None:
    rows = [{"x": " ".join(["word"] * size)} for size in sizes]
    assert Cascade([index_of(MADE)]).check_many(rows) == [[] for _ in sizes]
    assert Cascade([index_of(MADE)]).check_many([{}, *rows]) == [[], *([] for _ in sizes)]
