"""Drawing tokens: against a brute-force nucleus, and at the edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.backends.embedded.sampling import draw, uniforms


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    vocab=st.sampled_from([2, 63, 64, 65, 200]),
    temperature=st.sampled_from([0.2, 0.8, 1.0, 2.0]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
)
def test_draws_follow_the_nucleus(seed: int, vocab: int, temperature: float, top_p: float) -> None:
    """Evenly spread random numbers must hit each token as often as its share of the brute-force nucleus."""
    logits = np.random.default_rng(seed).standard_normal(vocab).astype(np.float32) * 3
    scaled = logits.astype(np.float64) / np.float32(temperature)
    share = np.exp(scaled - scaled.max())
    share /= share.sum()
    order = np.argsort(-share, kind="stable")
    kept = order[: int(np.searchsorted(np.cumsum(share[order]), top_p, side="right")) + 1]
    expected = np.zeros(vocab)
    expected[kept] = share[kept] / share[kept].sum()
    count = 1000
    drawn = draw(
        np.tile(logits, (count, 1)),
        np.full(count, temperature, np.float32),
        np.full(count, top_p),
        (np.arange(count) + 0.5) / count,
    )
    hits = np.bincount(drawn.tokens, minlength=vocab)
    assert np.abs(hits - expected * count).max() <= 1.01
    assert set(np.flatnonzero(hits)) <= set(kept.tolist())
    np.testing.assert_allclose(drawn.logprobs, np.log(share[drawn.tokens]), rtol=1e-4, atol=1e-5)


def test_temperature_zero_takes_the_likeliest() -> None:
    logits = np.random.default_rng(0).standard_normal((5, 300)).astype(np.float32)
    logits[0, [7, 9]] = 9
    drawn = draw(logits, np.zeros(5, np.float32), np.full(5, 0.5), np.full(5, 0.999))
    assert drawn.tokens.tolist() == logits.argmax(axis=1).tolist()
    assert drawn.tokens[0] == 7
    shifted = logits.astype(np.float64)
    expected = shifted.max(1) - np.log(np.exp(shifted).sum(1))
    np.testing.assert_allclose(drawn.logprobs, expected, atol=1e-5)


def test_extreme_random_numbers_never_pick_the_impossible() -> None:
    logits = np.full((2, 130), -np.inf, np.float32)
    logits[:, [3, 70]] = 0
    drawn = draw(logits, np.full(2, 1e-9, np.float32), np.ones(2), np.array([0.0, np.nextafter(1, 0)]))
    assert drawn.tokens.tolist() == [3, 70]


def test_uniforms_hang_on_their_keys_alone() -> None:
    assert uniforms(5, 7).tolist() == uniforms(9, 7).tolist()[:5]
    assert uniforms(5, 7).tolist() != uniforms(5, 8).tolist()
    many = uniforms(20_000, 1)
    assert 0 <= many.min() < 0.001 and 0.999 < many.max() < 1 and abs(many.mean() - 0.5) < 0.01
