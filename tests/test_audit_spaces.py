"""Text spaces: words as numbers against a plain reading of the text, and vectors that hang on the texts alone."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditors import AuditContext
from factory.auditors.spaces import LocalSpace, local_space, open_space, tokenize
from factory.errors import UsageError

TOPICS = {
    "bank": "the card was charged twice and my account balance is wrong",
    "food": "boil the pasta and add tomatoes with garlic and basil",
    "space": "the telescope saw a distant galaxy beside a dying star",
}


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def variants(seed: int = 0, each: int = 40) -> tuple[list[str], list[str]]:
    """Texts of each topic with words left out, and their topics."""
    draw = rng(seed)
    texts, topics = [], []
    for topic, sentence in TOPICS.items():
        words = sentence.split()
        for _ in range(each):
            texts.append(" ".join(word for word in words if draw.random() < 0.7) or words[0])
            topics.append(topic)
    return texts, topics


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="abB Z9_-.!ß\n", max_size=30), max_size=6))
def test_words_are_runs_of_letters_and_digits_in_one_case(texts: list[str]) -> None:
    plain = [re.findall(r"[^\W_]+", text.lower()) for text in texts]
    found = tokenize(texts)
    assert found.sizes.tolist() == [len(words) for words in plain]
    every = [word for words in plain for word in words]
    for (one, number), (other, same) in pairwise(zip(every, found.hashes.tolist(), strict=True)):
        assert (one == other) == (number == same)
    assert len(set(found.hashes.tolist())) == len(set(every))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet="ab c", max_size=20), min_size=1, max_size=6), st.integers(1, 4))
def test_grams_stay_within_their_text(texts: list[str], n: int) -> None:
    hashes, owners = tokenize(texts).grams(n)
    expected = [
        (row, tuple(words[at : at + n]))
        for row, words in enumerate(text.split() for text in texts)
        for at in range(len(words) - n + 1)
    ]
    assert owners.tolist() == [row for row, _ in expected]
    assert len(set(hashes.tolist())) == len({gram for _, gram in expected})


def test_words_of_every_script() -> None:
    found = tokenize(["日本語です", "हिन्दी में", "Don't – 'stop'", "naïve", "nai\u0308ve", "😀 ok", ""])
    assert found.sizes.tolist() == [5, 2, 2, 1, 1, 2, 0]
    assert found.hashes[found.starts[3]] == found.hashes[found.starts[4]]


def test_numbers_and_capitals_are_marked_and_marks_count_where_asked() -> None:
    found = tokenize(["Anna has 3kg, Über 4."])
    assert found.numeric.tolist() == [False, False, True, False, True]
    assert found.capital.tolist() == [True, False, False, True, False]
    assert tokenize(["a + b - c"]).sizes.tolist() == [3]
    assert tokenize(["a + b - c"], marks=True).sizes.tolist() == [5]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"row {number} of many, it's number {number % 7}" for number in range(200)]
    whole = tokenize(texts)
    monkeypatch.setattr("factory.auditors.spaces.tokens.BLOCK", 100)
    parts = tokenize(texts)
    assert (whole.hashes == parts.hashes).all() and (whole.ends == parts.ends).all()
    few = whole.take(np.array([5, 2]))
    assert few.hashes.tolist() == [*tokenize([texts[5], texts[2]]).hashes.tolist()]


def test_texts_of_one_topic_are_neighbours() -> None:
    texts, topics = variants()
    space = local_space(rng(), texts, 32)
    vectors = space.vectors(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1)
    assert np.mean([topics[int(at)] == topic for at, topic in zip(alike.argmax(1), topics, strict=True)]) > 0.95


def test_the_svd_keeps_the_lengths_of_the_weighed_counts() -> None:
    """With as many dimensions as there are directions, cosines are those of TF-IDF computed by scikit-learn."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, _ = variants(each=10)
    space = local_space(rng(), texts, 500)
    oracle = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=r"\w+").fit_transform(texts)
    vectors = space.vectors(texts)
    np.testing.assert_allclose(vectors @ vectors.T, (oracle @ oracle.T).toarray(), atol=2e-3)


def test_unspaced_scripts_are_compared_by_their_signs() -> None:
    texts = ["我喜欢吃苹果", "我喜欢吃香蕉", "今天天气很好", "明天天气不好"] * 3
    vectors = local_space(rng(), texts).vectors(texts[:4])
    assert vectors[0] @ vectors[1] > 0.3 and vectors[2] @ vectors[3] > 0.3 and abs(vectors[0] @ vectors[2]) < 0.1


@pytest.mark.parametrize("texts", [[], [""], ["", " "], ["one"], ["same words here"] * 5])
def test_nothing_to_fit_on(texts: list[str]) -> None:
    space = local_space(rng(), texts)
    vectors = space.vectors(["same words here", "", "unknown"])
    assert vectors.shape[0] == 3 and np.isfinite(vectors).all() and not vectors[1].any()


def test_the_same_texts_give_the_same_space_on_any_number_of_threads() -> None:
    from threadpoolctl import threadpool_limits

    texts = [f"word{k % 97} word{k % 13} and word{k % 7} with {k % 5}" for k in range(3000)]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(local_space(rng(), texts).vectors(texts).tobytes())
    assert found[0] == found[1]


def test_a_large_pool_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.auditors.spaces.local.FIT_ROWS", 50)
    texts, _ = variants()
    one, other = LocalSpace(rng(1), texts), LocalSpace(rng(2), texts)
    assert one.vectors(texts).shape[0] == len(texts)
    assert one.vectors(texts[:3]).tobytes() != other.vectors(texts[:3]).tobytes()


def test_a_model_embeds_where_one_is_named() -> None:
    asked: list[str] = []

    async def embed(role: str, texts: list[str]) -> list[list[float]]:
        asked.extend(texts)
        counts = [Counter(text) for text in texts]
        return [[2.0 * count["a"], 2.0 * count["b"]] for count in counts]

    context = AuditContext(models={"vectors": "embed", "writer": "generate"}, embed=embed)

    async def look() -> tuple[np.ndarray, str]:
        space = await open_space(context, ["ab"], role="vectors")
        return await space.vectors(["aab", " ", "b"]), space.name

    vectors, name = asyncio.run(look())
    assert asked == ["aab", "b"] and "vectors" in name
    np.testing.assert_allclose(vectors, [[2 / 5**0.5, 1 / 5**0.5], [0, 0], [0, 1]], atol=1e-6)
    assert "TF-IDF" in asyncio.run(open_space(context, ["ab"])).name
    with pytest.raises(UsageError, match="does not embed"):
        asyncio.run(open_space(context, [], role="writer"))
    with pytest.raises(UsageError, match="no model `vector`"):
        asyncio.run(open_space(context, [], role="vector"))


def test_the_role_embedder_is_taken_where_none_is_named() -> None:
    async def embed(role: str, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    context = AuditContext(models={"embedder": "embed"}, embed=embed)
    assert "embedder" in asyncio.run(open_space(context, ["a"])).name
