"""The neutral corpus: what the script makes, small, varied, and full of common phrases."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from factory.decontamination import neutral

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import make_neutral


def test_the_file_is_what_the_script_makes() -> None:
    assert list(neutral.texts()) == make_neutral.make_texts()
    assert make_neutral.pack(["a", "b"]) == make_neutral.pack(["a", "b"])


def test_texts_are_read_once() -> None:
    assert neutral.texts() is neutral.texts()


def test_small_distinct_and_short() -> None:
    texts = neutral.texts()
    assert neutral.FILE.stat().st_size < 400_000
    assert 3000 <= len(texts) <= 5000 and len(set(texts)) == len(texts)
    assert all(text and text == text.strip() for text in texts)
    assert max(len(text.split()) for text in texts) <= 200


@pytest.mark.parametrize(
    "phrase",
    [
        *(
            "which of the following",
            "is the best definition of",
            "how many",
            "in total",
            "what is the difference between",
        ),
        *("write a function that", "explain the difference between", "answer:", "true or false", "def ", "for example"),
        *(
            "the most likely",
            "all of the above",
            "if you have any questions",
            "year-old",
            "step-by-step",
            "what is the",
        ),
    ],
)
def test_common_phrases_are_common(phrase: str) -> None:
    assert sum(phrase in text.lower() for text in neutral.texts()) >= 10


def test_no_kind_takes_over() -> None:
    starts = Counter(" ".join(text.lower().split()[:4]) for text in neutral.texts())
    assert starts.most_common(1)[0][1] < 0.03 * len(neutral.texts())
    assert len({word for text in neutral.texts() for word in text.lower().split()}) > 5000
