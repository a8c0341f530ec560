"""`novelty`: exact ROUGE-L against a plain longest common subsequence and against `rouge_score`; the first row wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import RecipeError
from factory.filters import Drop, Filter, Item, compile_filters
from factory.filters.rouge import RougeIndex, lcs, lcs_of_many, rouge_l, tokens
from factory.minhash import Index, jaccard, shingles
from factory.recipe import PluginConfig

COLUMNS = ("question", "answer")


def made(**options: Any) -> Filter:
    spec = PluginConfig.model_validate({"novelty": options})
    return compile_filters([spec], ["id", *COLUMNS], output=COLUMNS)[0]


def item(row: int, question: str, answer: str = "", index: int = 0) -> Item:
    return Item(row, index, {"id": row, "question": question, "answer": answer}, {"row": row})


def offer(one: Filter, *items: Item) -> list[Drop | None]:
    """What curation does: check, and add what is accepted."""
    drops = []
    for given_item in items:
        drop = one.check(given_item)
        if drop is None:
            one.add(given_item)
        drops.append(drop)
    return drops


# Longest common subsequences and ROUGE-L


def plain_lcs(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The textbook table."""
    row = [0] * (len(other) + 1)
    for a in one:
        diagonal = 0
        for j, b in enumerate(other, 1):
            diagonal, row[j] = row[j], diagonal + 1 if a == b else max(row[j], row[j - 1])
    return row[-1]


letters = st.lists(st.sampled_from("abcdef"), max_size=150)


@settings(max_examples=150, deadline=None)
@given(letters, letters)
def test_the_longest_common_subsequence(one: list[str], other: list[str]) -> None:
    assert lcs(one, other) == plain_lcs(one, other) == lcs(other, one)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=90),
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=90), min_size=1, max_size=9),
)
def test_many_at_once_are_as_one_by_one(asked: list[int], texts: list[list[int]]) -> None:
    lengths = np.array([len(text) for text in texts])
    found = lcs_of_many(np.array(asked), np.concatenate([np.array(text) for text in texts]), lengths)
    assert found.tolist() == [plain_lcs(asked, text) for text in texts]


ascii_texts = st.text(alphabet="abcABC019 .,;:!?'_-()\n", max_size=80)


def test_it_is_the_rouge_l_of_rouge_score() -> None:
    scorers = pytest.importorskip("rouge_score.rouge_scorer", reason="the oracle is an optional package")
    tokenizers = pytest.importorskip("rouge_score.tokenizers", reason="the oracle is an optional package")
    scorer = scorers.RougeScorer(["rougeL"], use_stemmer=False)
    tokenizer = tokenizers.DefaultTokenizer(use_stemmer=False)

    @settings(max_examples=300, deadline=None)
    @given(ascii_texts, ascii_texts)
    def compare(one: str, other: str) -> None:
        if all(any(sign.isalnum() for sign in text) for text in (one, other)):
            assert tokens(one) == tokenizer.tokenize(one)
            expected = scorer.score(one, other)["rougeL"].fmeasure
            assert rouge_l(tokens(one), tokens(other)) == pytest.approx(expected, abs=1e-12)

    compare()


def test_tokens_of_other_scripts_and_of_texts_without_words() -> None:
    assert tokens("Straße, STRASSE") == ["strasse", "strasse"]
    assert tokens("我喜歡貓。ok") == ["我", "喜", "歡", "貓", "ok"]
    assert tokens("हिन्दी में") == ["हिन्दी", "में"]  # vowel signs belong to their word
    assert tokens("ภาษา") == list("ภาษา")
    assert tokens("?! ?") == ["?", "!", "?"]
    assert tokens(" \n") == []
    assert rouge_l(tokens("?!"), tokens("?!")) == 1.0
    assert rouge_l([], []) == 1.0 and rouge_l([], ["a"]) == 0.0


# The index


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]), max_size=9), max_size=25),
    st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.95]),
)
def test_the_index_finds_the_earliest_above_the_bound(texts: list[list[str]], bound: float) -> None:
    index = RougeIndex(bound)
    kept: list[list[str]] = []
    for words in texts:
        asked = index.prepare(" ".join(words))
        above = [place for place, other in enumerate(kept) if rouge_l(words, other) > bound]
        found = index.match(asked)
        assert (found.place if found else None) == (above[0] if above else None)
        if found is None:
            assert index.add(asked) == len(kept)
            kept.append(words)
        else:
            assert found.similarity == rouge_l(words, kept[found.place])


def test_texts_that_cannot_be_above_the_bound_are_not_compared() -> None:
    index = RougeIndex(0.7)
    for row in range(500):
        words = [f"w{row}-{place}" for place in range(20)] + ["the", "of", "and"]
        asked = index.prepare(" ".join(words))
        assert index.match(asked) is None
        index.add(asked)
    assert index.compared == 0
    assert index.match(index.prepare("the of and")) is None and index.compared == 0


def test_many_texts_of_the_same_words_are_all_compared() -> None:
    index = RougeIndex(0.95)
    words = [f"w{place}" for place in range(8)]
    rng = np.random.default_rng(0)
    texts = {tuple(rng.permutation(words).tolist()) for _ in range(1500)}
    kept = []
    for text in sorted(texts):
        asked = index.prepare(" ".join(text))
        assert index.match(asked) is None
        index.add(asked)
        kept.append(text)
    assert index.compared == len(kept) * (len(kept) - 1) // 2
    found = index.match(index.prepare(" ".join(kept[1203])))
    assert found is not None and (found.place, found.similarity) == (1203, 1.0)


def test_huge_texts() -> None:
    index = RougeIndex(0.7)
    one = " ".join(f"w{place}" for place in range(30_000))
    index.add(index.prepare(one))
    found = index.match(index.prepare(one + " and more"))
    assert found is not None and found.similarity > 0.99
    assert index.match(index.prepare("x" * 1_000_000)) is None
    assert index.match(index.prepare("x " * 500_000)) is None


# The filter


def test_novelty_names_the_row_and_the_first_wins() -> None:
    first = "what is the capital city of france today"
    drops = offer(
        made(),
        item(3, first),
        item(4, "name a fruit that is not red and not green"),
        item(5, "what is the capital city of france now"),
        item(6, "what is the capital city of france today", index=2),
        item(6, "what is the largest desert on the earth", index=3),
    )
    assert drops[:2] == [None, None] and drops[4] is None
    assert drops[2] == Drop("dedup", "not novel: ROUGE-L 0.88 with row 3", "3")
    assert drops[3] == Drop("dedup", "not novel: ROUGE-L 1.00 with row 3", "3")


def test_two_candidates_of_one_row() -> None:
    drops = offer(made(), item(9, "a b c d"), item(9, "a b c d e", index=1))
    assert drops[1] == Drop("dedup", "not novel: ROUGE-L 0.89 with candidate 0 of this row", "9")


def test_what_is_at_the_bound_is_novel() -> None:
    # 2·3 / (4 + 4) = 0.75
    assert offer(made(max_similarity=0.75), item(0, "a b c d"), item(1, "a b c x"))[1] is None
    assert offer(made(max_similarity=0.74), item(0, "a b c d"), item(1, "a b c x"))[1] is not None


def test_what_was_only_checked_is_not_known() -> None:
    one = made()
    assert one.check(item(0, "a b c d")) is None
    assert one.check(item(1, "a b c d")) is None


def test_the_columns_that_count() -> None:
    rows = [item(0, "a b c d", "one two three"), item(1, "a b c d", "four five six seven eight nine ten")]
    assert offer(made(), *rows)[1] is None
    assert offer(made(on="question"), *rows)[1] is not None
    assert offer(made(on=["answer"]), *rows)[1] is None


def test_empty_texts_are_alike() -> None:
    drops = offer(made(), item(0, ""), item(1, "a"), item(2, " "), item(3, "", index=1))
    assert [drop is None for drop in drops] == [True, True, False, False]


texts = st.lists(st.sampled_from([f"w{k}" for k in range(12)]), min_size=0, max_size=14).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, max_size=15), st.sampled_from([0.2, 0.5, 0.8]))
def test_by_minhash_it_is_the_jaccard_similarity(rows: list[str], bound: float) -> None:
    drops = offer(made(by="minhash", max_similarity=bound), *[item(row, text) for row, text in enumerate(rows)])
    bands = Index(bound)
    keys = [bands.fingerprint(shingles(text + "\n")).keys for text in rows]
    kept: list[int] = []
    for row, text in enumerate(rows):
        found = None
        for other in kept:
            mine, theirs = shingles(text), shingles(rows[other])
            meet = bool((keys[row] == keys[other]).any()) if len(mine) and len(theirs) else len(mine) == len(theirs)
            if found is None and meet and jaccard(mine, theirs) > bound:
                found = other
        drop = drops[row]
        assert (drop.matched if drop else None) == (None if found is None else str(found))
        if found is None:
            kept.append(row)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_similarity": 1.0}, "`max_similarity` is 1, outside 0 … below 1"),
        ({"max_similarity": -0.1}, "outside 0 … below 1"),
        ({"max_similarity": 0.05, "by": "minhash"}, "outside 0.1 … below 1"),
        ({"by": "rouge"}, "by: "),
        ({"on": "questoin"}, "did you mean `question`?"),
        ({"similarity": 0.7}, "similarity"),
    ],
)
def test_faults(options: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as raised:
        made(**options)
    assert told in str(raised.value.places[0])
