"""Clusters of near-duplicates against a brute-force search of the same graph."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.components import cluster
from factory.errors import UsageError
from factory.minhash import Index, jaccard, shingles

WORDS = [f"w{k}" for k in range(40)]


def brute_force(texts: list[str], threshold: float) -> list[int]:
    """Every pair is looked at; labels are spread until nothing changes."""
    sets = [shingles(text) for text in texts]
    index = Index(threshold)
    keys = [index.fingerprint(one).keys for one in sets]

    def near(i: int, j: int) -> bool:
        if not len(sets[i]) or not len(sets[j]):
            return len(sets[i]) == len(sets[j])
        return bool((keys[i] == keys[j]).any()) and jaccard(sets[i], sets[j]) >= threshold

    labels = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if near(i, j):
                low, high = sorted((labels[i], labels[j]))
                labels = [low if label == high else label for label in labels]
    return labels


@st.composite
def similar_texts(draw: st.DrawFn) -> list[str]:
    """Texts that are a few changes away from a few others."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    origins = [[rng.choice(WORDS) for _ in range(12)] for _ in range(draw(st.integers(1, 3)))]
    texts = []
    for _ in range(draw(st.integers(1, 25))):
        words = list(rng.choice(origins))
        for _ in range(rng.randrange(4)):
            words[rng.randrange(len(words))] = rng.choice(WORDS)
        texts.append(" ".join(words))
    return texts + draw(st.lists(st.sampled_from(["", " ", "x", "X", "short text"]), max_size=3))


@settings(max_examples=80, deadline=None)
@given(similar_texts(), st.sampled_from([0.2, 0.4, 0.6, 0.8, 1.0]), st.randoms(use_true_random=False))
def test_clusters_are_connected_components_in_any_order(texts: list[str], threshold: float, rng: random.Random) -> None:
    found = cluster([shingles(text) for text in texts], threshold)
    assert found == brute_force(texts, threshold)
    order = list(range(len(texts)))
    rng.shuffle(order)
    shuffled = cluster([shingles(texts[place]) for place in order], threshold)
    together = {(i, j) for i in range(len(texts)) for j in range(len(texts)) if found[i] == found[j]}
    assert together == {(order[i], order[j]) for i in order for j in order if shuffled[i] == shuffled[j]}


def test_a_chain_is_one_cluster_though_its_ends_are_unlike() -> None:
    words = [f"x{k}" for k in range(40)]
    texts = [" ".join(words[start : start + 20]) for start in range(0, 20, 2)]
    assert jaccard(shingles(texts[0]), shingles(texts[-1])) < 0.1
    assert cluster([shingles(text) for text in texts], 0.5) == [0] * len(texts)


def test_thousands_of_one_cluster() -> None:
    rng = random.Random(1)
    words = [f"t{k}" for k in range(60)]
    texts = []
    for number in range(3000):
        changed = list(words)
        changed[rng.randrange(60)] = f"n{number}"
        texts.append(shingles(" ".join(changed)))
    assert set(cluster(texts, 0.8)) == {0}


def test_no_text_and_a_wrong_threshold() -> None:
    assert cluster([], 0.8) == []
    with pytest.raises(UsageError, match="threshold"):
        cluster([], 1.5)
