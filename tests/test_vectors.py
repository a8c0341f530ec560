"""Embeddings as text, and cosines against a plain oracle."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.vectors import cosine, cosine_matrix, decode, encode

NUMBERS = st.floats(-1e6, 1e6, width=32)
VECTORS = st.lists(NUMBERS, min_size=1, max_size=8)


@given(VECTORS)
def test_what_is_encoded_comes_back_bit_for_bit(numbers: list[float]) -> None:
    found = decode(encode(numbers))
    assert found.dtype == np.float32 and found.ndim == 1 and found.tolist() == numbers


def test_the_form_is_little_endian_float32_in_base64() -> None:
    assert base64.b64decode(encode([1.0, -2.0])) == b"\x00\x00\x80\x3f\x00\x00\x00\xc0"


@pytest.mark.parametrize("text", ["", "AAA", "AAAA", "no base64!", "é", "AACAfw==", "AADAfw==", "AACA\nPw=="])
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no embedding"):
        decode(text)


@pytest.mark.parametrize("vector", [[], [[1.0]], [math.nan], [math.inf], [1e300]])
def test_what_is_no_vector_is_refused(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="no embedding"), np.errstate(over="ignore"):
        encode(vector)


@given(st.integers(1, 5).flatmap(lambda size: st.lists(st.lists(NUMBERS, min_size=size, max_size=size), max_size=5)))
def test_cosines_are_those_of_the_definition(vectors: list[list[float]]) -> None:
    found = cosine_matrix(vectors)
    assert found.shape == (len(vectors), len(vectors)) and found.dtype == np.float64
    for i, one in enumerate(vectors):
        for j, other in enumerate(vectors):
            length = math.hypot(*one) * math.hypot(*other)
            dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
            assert found[i, j] == found[j, i] == cosine(one, other)
            assert -1 <= found[i, j] <= 1
            if length > 1e-30:
                assert found[i, j] == pytest.approx(dot / length, abs=1e-12)
            elif not any(one) or not any(other):
                assert found[i, j] == 0.0


def test_a_pair_does_not_hang_on_the_others_and_huge_numbers_do_not_overflow() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((7, 384)).astype(np.float32)
    whole = cosine_matrix(list(vectors))
    assert all(whole[i, j] == cosine(vectors[i], vectors[j]) for i in range(7) for j in range(7))
    assert cosine([1e300, 0.0], [1e300, 1e300]) == pytest.approx(2**-0.5)
    assert cosine([5e-324, 0.0], [1.0, 0.0]) == 1.0
    with pytest.raises(ValueError, match="different lengths"):
        cosine_matrix([[1.0], [1.0, 2.0]])
    assert cosine_matrix([]).shape == (0, 0)
