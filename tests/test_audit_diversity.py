"""The diversity audit: figures against plain oracles, real against real, planted defects, and data of every shape."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.diversity import diversity
from factory.auditors.diversity.collapse import templates
from factory.auditors.diversity.duplicates import close_repeats, near_repeats
from factory.auditors.diversity.labels import label_entropy
from factory.auditors.diversity.lexical import count_grams
from factory.auditors.diversity.matching import match
from factory.auditors.diversity.openings import read_openings
from factory.auditors.diversity.self_bleu import self_bleu_scores
from factory.auditors.diversity.semantic import vendi
from factory.auditors.spaces import tokenize, unit
from factory.errors import UsageError
from factory.types import Check

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "s", "lo", "mi")]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def made(n: int, seed: int, topics: int = 40) -> list[str]:
    """Texts of 8 to 30 words, drawn by a power law of their topic's own."""
    draw = rng(seed)
    weights = 1 / np.arange(1, len(WORDS) + 1) ** 0.8
    weights /= weights.sum()
    orders = [rng(1000 + topic).permutation(len(WORDS)) for topic in range(topics)]
    texts = []
    for _ in range(n):
        order = orders[draw.integers(topics)]
        size = int(draw.integers(8, 31))
        texts.append(" ".join(WORDS[order[at]] for at in draw.choice(len(WORDS), size, p=weights)))
    return texts


def data(texts: list[str], **columns: Any) -> Data:
    return Data("rows", pa.table({"text": texts, **columns}))


def look(dataset: Data, reference: Data | None = None, **options: Any) -> dict[tuple[str, str], Check]:
    checks = conclude(asyncio.run(diversity(dataset, reference, AuditContext(seed=5), **options)))
    for check in checks:
        json.dumps(check.as_json(), allow_nan=False)
        assert len(check.evidence) <= 20 and check.sentence and (check.verdict == "PASS" or check.advice)
    return {(check.name.removeprefix("diversity."), check.subject): check for check in checks}


def failing(found: dict[tuple[str, str], Check]) -> set[str]:
    return {name for (name, _), check in found.items() if check.verdict == "FAIL"}


texts_of_words = st.lists(st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts_of_words, st.integers(1, 3))
def test_distinct_runs_and_what_stands_in_one_row_alone(texts: list[str], n: int) -> None:
    grams = [
        [tuple(words[at : at + n]) for at in range(len(words) - n + 1)] for words in (text.split() for text in texts)
    ]
    counted = Counter(gram for row in grams for gram in row)
    found = count_grams(tokenize(texts), n)
    assert (found.types, found.tokens) == (len(counted), counted.total())
    if counted:
        shares = np.array(list(counted.values())) / counted.total()
        assert math.isclose(found.entropy, -float(shares @ np.log2(shares)), abs_tol=1e-9)


def brute_bleu(texts: list[list[str]], at: int) -> float:
    mine, others = texts[at], [text for place, text in enumerate(texts) if place != at]
    if not mine:
        return 0.0
    order, total = min(4, len(mine)), 0.0
    for n in range(1, order + 1):
        runs = [Counter(tuple(text[k : k + n]) for k in range(len(text) - n + 1)) for text in (mine, *others)]
        shared = sum(min(count, max((run[gram] for run in runs[1:]), default=0)) for gram, count in runs[0].items())
        total += math.log((shared or 0.1) / (len(mine) - n + 1)) / order
    nearest = min((abs(len(text) - len(mine)), len(text)) for text in others)[1]
    return math.exp(total) * (math.exp(1 - nearest / len(mine)) if len(mine) < nearest else 1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=8), min_size=6, max_size=6))
def test_self_bleu_is_that_of_the_definition(texts: list[list[str]]) -> None:
    found = self_bleu_scores(tokenize([" ".join(text) for text in texts]), 3)
    expected = [brute_bleu(texts[first : first + 3], at) for first in (0, 3) for at in range(3)]
    np.testing.assert_allclose(found, np.minimum(expected, 1.0), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 99))
def test_vendi_score_is_that_of_the_kernel(n: int, d: int, seed: int) -> None:
    vectors = unit(rng(seed).normal(size=(n, d)))
    values = np.linalg.eigvalsh(vectors.astype(float) @ vectors.T.astype(float) / n)
    values = values[values > 1e-9]
    assert math.isclose(vendi(vectors).score, math.exp(-float(values @ np.log(values))), rel_tol=1e-3)


@settings(max_examples=60, deadline=None)
@given(texts_of_words)
def test_close_variants_are_found_as_by_comparing_all(texts: list[str]) -> None:
    sets = [set(zip(["", *text.split()], [*text.split(), ""], strict=True)) if text else set() for text in texts]
    kept: list[int] = []
    expected = []
    for row, own in enumerate(sets):
        like = (old for old in kept if own == sets[old] or len(own & sets[old]) >= 0.6 * len(own | sets[old]) > 0)
        first = next(like, row)
        expected.append(first)
        kept += [row] if first == row else []
    assert close_repeats(tokenize(texts)).first.tolist() == expected


def test_templates_mask_numbers_and_names_and_keep_words_and_signs() -> None:
    texts = [
        "We met Anna on 3 May.",
        "We met Bob Smith on 12 June.",
        "We saw Anna on 3 May.",
        "1 + 2",
        "3 + 44",
        "1 - 2",
        "",
    ]
    keys = templates(tokenize(texts, marks=True)).tolist()
    assert keys[0] == keys[1] != keys[2] and keys[3] == keys[4] != keys[5] and len(set(keys)) == 5


def test_a_prefix_of_all_texts_is_a_format_and_no_opening() -> None:
    texts = [f"Question: what is {text}" for text in made(200, 1)]
    found = read_openings(tokenize(texts), 3)
    assert found.prefix == 3 and found.commonest < 0.1
    found = look(data(texts))["openings", ""]
    assert found.verdict == "PASS" and "All rows begin with the same 3 words" in found.sentence


def test_simpson_bounds_hold_the_truth_in_about_95_of_100() -> None:
    shares = np.array([0.3, 0.2, *[0.05] * 10])
    truth, hits = math.sqrt(float(shares @ shares)), 0
    for seed in range(400):
        drawn = rng(seed).choice(12, 300, p=shares)
        _, low, high = read_openings(tokenize([f"{'abcdefghijkl'[k]} x y" for k in drawn]), 3).concentration
        hits += low <= truth <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_label_entropy_covers_the_truth() -> None:
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    truth, hits = -float(shares @ np.log(shares)), 0
    for seed in range(400):
        entropy, se = label_entropy(np.bincount(rng(seed).choice(4, 200, p=shares), minlength=4).tolist())
        hits += abs(entropy - truth) <= 1.96 * se
    assert 0.92 <= hits / 400 <= 0.98


def test_matched_rows_have_equal_words() -> None:
    one, other = tokenize(made(300, 1)), tokenize([text * 2 for text in made(200, 2)] + [""])
    for pair in (match(one, other, rng()), match(one, tokenize(made(300, 3)), rng())):
        assert pair.words.sizes.tolist() == pair.other_words.sizes.tolist() and pair.words.sizes.min() > 0
        assert len(set(pair.rows.tolist())) == len(pair.rows) == len(pair.others)


def test_questions_on_one_document_are_no_copies() -> None:
    documents = [text * 5 for text in made(10, 4)]
    rows = data([documents[k // 5] for k in range(50)], question=made(50, 5))
    assert near_repeats(rows, 0.8).share == 0
    assert near_repeats(Data("rows", rows.table, ["text"]), 0.8).share == 0.8


def test_real_against_real_does_not_fail_and_intervals_hold_zero() -> None:
    trials, failures, held, counted = 12, 0, Counter[str](), Counter[str]()
    for seed in range(trials):
        found = look(data(made(400, 100 + seed)), data(made(400, 500 + seed)))
        failures += bool(failing(found))
        for (name, _), check in found.items():
            if check.interval:
                counted[name] += 1
                held[name] += check.interval[0] <= 0 <= check.interval[1]
    assert failures == 0
    assert sum(held.values()) >= 0.85 * sum(counted.values())
    assert set(counted) == {"openings", "lexical", "self_bleu", "semantic"}


REAL = made(600, 7)


def few_texts(texts: list[str]) -> list[str]:
    return [texts[at] for at in rng().integers(0, 20, len(texts))]


def few_templates(texts: list[str]) -> list[str]:
    return [f"{texts[at]} by Anna {row}" for row, at in enumerate(rng().integers(0, 15, len(texts)))]


def one_opening(texts: list[str]) -> list[str]:
    return [f"certainly here is {text}" if row % 3 == 0 else text for row, text in enumerate(texts)]


def changed_copies(texts: list[str]) -> list[str]:
    found = list(texts)
    for row in range(0, len(texts), 3):
        words = texts[row + 1].split()
        words[len(words) // 2] = "changed"
        found[row] = " ".join(words)
    return found


def half_the_words(texts: list[str]) -> list[str]:
    kept = {word: WORDS[place // 2] for place, word in enumerate(WORDS)}
    return [" ".join(kept[word] for word in text.split()) for text in texts]


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (few_texts, {"duplicates", "collapse"}),
        (few_templates, {"collapse", "duplicates"}),
        (one_opening, {"openings"}),
        (changed_copies, {"duplicates"}),
        (half_the_words, {"lexical"}),
        (lambda texts: made(len(texts), 8, topics=1), {"semantic"}),
    ],
    ids=["few texts", "few templates", "one opening", "changed copies", "half the words", "one topic"],
)
def test_planted_defects_fail_by_the_check_that_is_about_them(plant: Any, named: set[str]) -> None:
    assert named <= failing(look(data(plant(REAL)), data(made(600, 9))))


def test_few_texts_fail_without_a_reference_and_real_ones_do_not() -> None:
    assert {"duplicates", "collapse"} <= failing(look(data(few_texts(REAL))))
    assert "collapse" in failing(look(data(few_templates(REAL))))
    found = look(data(REAL))
    assert not failing(found)
    assert found["lexical", ""].verdict == "INCONCLUSIVE" and "--reference" in found["lexical", ""].advice
    assert found["semantic", ""].verdict == found["self_bleu", ""].verdict == "INCONCLUSIVE"


def test_few_labels_fail_beside_a_reference() -> None:
    labels = [f"label {row % 10}" for row in range(600)]
    few = [f"label {row % 3}" for row in range(600)]
    real = data(made(600, 9), label=labels)
    assert look(data(REAL, label=few), real)["labels", ""].verdict == "FAIL"
    assert look(data(REAL, label=labels), real)["labels", ""].verdict == "PASS"


def test_each_text_column_has_openings_of_its_own() -> None:
    rows = {
        "question": made(200, 1),
        "answer": [f"sure here you go {text}" if k % 5 else text for k, text in enumerate(made(200, 2))],
    }
    found = look(Data("rows", pa.table(rows)))
    assert found["openings", "question"].verdict == "PASS"
    assert found["openings", "answer"].verdict == "FAIL" and found["openings", "answer"].evidence


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["one row"],
        [""] * 60,
        ["the same text again"] * 60,
        ["x" * 30_000_000, "y"],
        ["?!", "…"] * 40,
        ["我喜欢吃苹果和香蕉", "今天天气很好我们出去玩"] * 60,
        ["yes", "no"] * 60,
    ],
    ids=["none", "one", "empty", "equal", "long", "marks", "Chinese", "short"],
)
def test_data_of_every_shape(texts: list[str]) -> None:
    rows = Data("rows", pa.table({"text": pa.array(texts, pa.string())}))
    promised = {"duplicates", "collapse", "openings", "lexical", "self_bleu", "semantic", "labels"}
    assert {name for name, _ in look(rows)} == promised
    assert {name for name, _ in look(rows, data(made(60, 1)))} == promised
    assert not failing(look(rows, rows))


def test_the_same_seed_gives_the_same_audit() -> None:
    found = [[check.as_json() for check in look(data(REAL[:150]), data(made(150, 9))).values()] for _ in range(2)]
    assert json.dumps(found[0]) == json.dumps(found[1])


@pytest.mark.parametrize(
    ("options", "named"),
    [({"max_loss": 1.0}, "max_loss"), ({"max_close": "x"}, "max_close"), ({"opening_words": 0}, "opening_words")],
)
def test_bad_options_are_told(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        look(data(REAL[:30]), **options)
    with pytest.raises(UsageError, match="threshold"):
        look(data(REAL[:30]), threshold=2.0)
    with pytest.raises(UsageError, match="no model `nobody`"):
        look(data(REAL[:80]), data(REAL[100:180]), embedder="nobody")
