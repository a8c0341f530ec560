"""Words counted: against a count by hand, and against scikit-learn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditors import Data
from factory.auditors.vocabulary import count_words, find_terms, split_words, words_of

TEXTS = st.lists(st.text(alphabet="aAbc'’ é_9.\nस्त中", max_size=30), max_size=8)


def by_hand(texts: list[str], ngrams: int, min_rows: int) -> tuple[list[str], list[list[int]]]:
    rows = []
    for text in texts:
        words = split_words(text)
        runs = [" ".join(words[at : at + n]) for n in range(1, ngrams + 1) for at in range(len(words) - n + 1)]
        rows.append(Counter(runs))
    support = Counter(word for row in rows for word in row)
    kept = sorted(word for word, count in support.items() if count >= min_rows)
    return kept, [[row[word] for word in kept] for row in rows]


@settings(max_examples=80, deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(1, 2))
def test_counts_are_those_of_a_count_by_hand(texts: list[str], ngrams: int, min_rows: int) -> None:
    words, rows = by_hand(texts, ngrams, min_rows)
    found = count_words(texts, ngrams=ngrams, min_rows=min_rows)
    assert found.words == words
    assert found.matrix.toarray().tolist() == rows
    assert found.rows.tolist() == [sum(row[at] > 0 for row in rows) for at in range(len(words))]
    assert found.totals.tolist() == [sum(row[at] for row in rows) for at in range(len(words))]


def test_counts_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    rng = np.random.default_rng(0)
    vocabulary = [f"w{number}" for number in range(60)]
    texts = [" ".join(rng.choice(vocabulary, 20)) for _ in range(200)]
    theirs = CountVectorizer(ngram_range=(1, 2), min_df=3, token_pattern=r"\w+")
    matrix = theirs.fit_transform(texts)
    ours = count_words(texts, ngrams=2, min_rows=3)
    assert ours.words == theirs.get_feature_names_out().tolist()
    assert (ours.matrix != matrix).nnz == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t stop, DON'T 'quote' rock'n'roll", ["don't", "stop", "don't", "quote", "rock'n'roll"]),
        ("हिन्दी में लिखा", ["हिन्दी", "में", "लिखा"]),
        ("abc中文字 def", ["abc", "中", "文", "字", "def"]),
        ("STRASSE straße snake_case 3.5", ["strasse", "strasse", "snake", "case", "3", "5"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("", []),
        ("\ud800 a", ["a"]),
    ],
)
def test_words_of_scripts(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["social", "worker", "nurse", "x"]), max_size=6), max_size=8))
def test_terms_are_found_as_words_and_as_phrases(rows: list[list[str]]) -> None:
    texts = [" ".join(row) for row in rows]
    terms = {"nurse": ["nurse", "nurses"], "social worker": ["social worker"], "both": ["nurse", "social worker"]}
    found = find_terms(texts, count_words(texts), terms)
    expected = [
        [float(any(f" {form} " in f" {text} " for form in forms)) for forms in terms.values()] for text in texts
    ]
    assert found.toarray().tolist() == expected


def test_words_of_data_are_counted_once() -> None:
    data = Data("d", pa.table({"text": ["One two", "two"]}))
    assert words_of(data) is words_of(data)
    assert words_of(data).words == ["one", "two"]
