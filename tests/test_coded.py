"""Words as numbers agree with the words themselves."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.scorers.coded import AT_ONCE, SMALL, Table, batches, code, code_words, repeating
from factory.scorers.copying import suspect, trace
from factory.scorers.lexical_diversity import moving_average_ratio, ratios
from factory.scorers.words import words

LIKELY = st.text(alphabet="ab'’ .\n-éЖ我", max_size=40)
LONG = st.sampled_from(["a" * size for size in (7, 8, 9, 15, 16, 17, 63, 64, 65, 200)])
WORDY = st.lists(st.sampled_from("abcd") | LONG, max_size=30).map(" ".join)
TEXTS = st.lists(LIKELY | WORDY | st.text(max_size=30), max_size=6).map(tuple)


@settings(max_examples=400)
@given(TEXTS)
def test_codes_stand_for_words(texts: tuple[str, ...]) -> None:
    coded = code_words(texts)
    split = [words(text) for text in texts]
    every = [word for found in split for word in found]
    assert [coded.word(place) for place in range(len(coded.codes))] == every
    assert coded.amounts() == [len(found) for found in split]
    assert coded.owners.tolist() == [number for number, found in enumerate(split) for _ in found]
    codes = coded.codes.tolist()
    assert len(set(codes)) == len(set(every)) == len(set(zip(codes, every, strict=True)))
    sizes = np.array([len(word) for word in every], dtype=np.int64)
    assert coded.sums(sizes) == [sum(map(len, found)) for found in split]


@given(TEXTS, st.integers(1, 9))
def test_repeats_are_never_missed_and_hardly_ever_made_up(texts: tuple[str, ...], n: int) -> None:
    for text, repeats in zip(texts, repeating(code_words(texts), n), strict=True):
        found = words(text)
        runs = [found[place : place + n] for place in range(len(found) - n + 1)]
        assert repeats or len(set(runs)) == len(runs)
    [alone] = repeating(code_words(("a b c d e f g a b d",)), 3)
    assert not alone


@given(TEXTS, TEXTS, st.integers(1, 9))
def test_copies_are_never_missed(texts: tuple[str, ...], sources: tuple[str, ...], n: int) -> None:
    known = {run for source in sources for run in zip(*(words(source)[k:] for k in range(n)), strict=False)}
    for text, suspected in zip(texts, suspect(code_words(texts), trace(sources, n)), strict=True):
        runs = set(zip(*(words(text)[k:] for k in range(n)), strict=False))
        assert suspected or runs.isdisjoint(known)


def test_what_is_new_is_not_suspected() -> None:
    source = " ".join(f"s{number}" for number in range(500))
    texts = tuple(" ".join(f"t{number}" for number in range(start, start + 200)) for start in range(0, 8000, 200))
    assert not any(suspect(code_words(texts), trace((source,), 3)))
    assert suspect(code_words((*texts, "so s7 s8 s9")), trace((source,), 3)) == [False] * len(texts) + [True]


@given(TEXTS, st.integers(2, 20))
def test_diversity_of_all_texts_is_that_of_each(texts: tuple[str, ...], window: int) -> None:
    wanted = [moving_average_ratio(words(text), window) if words(text) else 0.0 for text in texts]
    assert ratios(code_words(texts), window) == wanted


def test_diversity_of_long_texts() -> None:
    rng = random.Random(3)
    for size in (16_383, 16_384, 40_000):
        text = " ".join(f"w{rng.randrange(3000)}" for _ in range(size))
        assert ratios(code_words((text, "a b a")), 50)[0] == moving_average_ratio(words(text), 50)


def test_tables_remember_what_they_may() -> None:
    asked: list[str] = []

    def work(found: list[str]) -> list[int]:
        asked.extend(found)
        return [int(word) for word in found]

    table = Table(work)
    rng = random.Random(5)
    for _ in range(40):  # more words than places, and numbers that are too large to be kept
        numbers = [rng.randrange(100_000) for _ in range(3000)]
        coded = code([" ".join(map(str, numbers)).encode()])
        assert table.find(coded).tolist() == numbers
        assert table.find(coded, np.array([7, 5])).tolist() == [numbers[7], numbers[5]]
    few = code([b"17 4 17"])
    table.find(few)
    asked.clear()
    assert table.find(few).tolist() == [17, 4, 17] and not asked
    table.clear()
    assert table.find(few).tolist() == [17, 4, 17] and asked


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "ab " * 400_000, " " * 1_000_000, "я" * (SMALL + 1), "'" * 1_000_000]
)
def test_huge_texts(text: str) -> None:
    coded = code_words((text, "short"))
    assert coded.amounts() == [len(words(text)), 1] and coded.word(len(coded.codes) - 1) == "short"


def test_batches() -> None:
    texts = [str(number) for number in range(2 * AT_ONCE + 1)]
    assert [len(part) for part in batches(texts)] == [AT_ONCE, AT_ONCE, 1]
    assert [text for part in batches(texts) for text in part] == texts
    assert list(batches([])) == []
    assert code_words(()).amounts() == [] and code_words(("", "")).amounts() == [0, 0]
