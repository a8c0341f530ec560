"""What counts as a duplicate: batches against one by one, and both against brute force; scopes and references."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.duplicates import Duplicate, Duplicates, Reference, conversation_text, open_reference
from factory.duplicates import characters as characters_module
from factory.duplicates import embeddings as embeddings_module
from factory.duplicates.grams import UNIT, grams_of
from factory.duplicates.references import Chunk
from factory.duplicates.shingled import fingerprints_of
from factory.errors import UsageError
from factory.minhash import band_keys, banding, fingerprint, normalise, shingles, signature
from factory.minhash.stored import StoredIndex

BYS = ("shingles", "characters", "embeddings")
WORDS = tuple("the cat sat on a mat and dog ran off with my old red hat today Straße 茶を飲む".split())  # noqa: SIM905


def a_text(random_: random.Random, pool: list[str]) -> str:
    """A text that is often like one of the pool: equal but for case, a word changed, in another order, empty."""
    kind = random_.random()
    if pool and kind < 0.15:
        return random_.choice(pool).upper()
    if pool and kind < 0.6:
        words = random_.choice(pool).split()
        if words and random_.random() < 0.3:
            words = words[len(words) // 2 :] + words[: len(words) // 2]
        for _ in range(random_.randrange(3)):
            if words:
                words[random_.randrange(len(words))] = random_.choice(WORDS)
        return " ".join(words)
    if kind < 0.65:
        return random_.choice(["", " ", "a", "ab", "abc", "a b"])
    return " ".join(random_.choices(WORDS, k=random_.randrange(1, 18)))


def a_corpus(seed: int, count: int) -> tuple[list[str], list[str], np.ndarray[Any, Any]]:
    """Texts, scopes, and vectors that are near each other where texts are not, so that kinds do not agree."""
    random_ = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        texts.append(a_text(random_, texts))
    scopes = random_.choices(["x", "y", ""], k=count)
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(6, 5))
    vectors = centres[draw.integers(0, 6, count)] + draw.normal(size=(count, 5)) * draw.choice(
        [0.0, 0.2, 0.6], (count, 1)
    )
    return texts, scopes, vectors


@dataclass(frozen=True)
class Rows(Reference):
    """A reference out of lists."""

    texts: Sequence[str] = ()
    scopes: Sequence[str] | None = None
    vectors: Any = None

    def chunks(self, scope_of: Any, *, vectors: bool) -> Iterator[Chunk]:
        for first in range(0, len(self.texts), 3):
            part = slice(first, first + 3)
            scopes = None if self.scopes is None else self.scopes[part]
            yield Chunk(first, pa.array(self.texts[part]), scopes, self.vectors[part] if vectors else None)


@lru_cache(maxsize=5000)
def grams_by_hand(text: str) -> dict[str, int]:
    folded = normalise(text)
    padded = f" {folded} "
    length = min(4, len(padded))
    counts = Counter(padded[at : at + length] for at in range(len(padded) - length + 1)) if folded else Counter()
    return {gram: round(UNIT * (1 + float(np.log(count)))) for gram, count in counts.items()}


@lru_cache(maxsize=5000)
def shingles_by_hand(text: str, threshold: float) -> tuple[frozenset[int], frozenset[int]]:
    """The shingles and the band keys."""
    own = shingles(text)
    return frozenset(own.tolist()), frozenset(band_keys(signature(own), *banding(threshold)).tolist())


def alike(by: str, threshold: float, one: tuple[str, Any], other: tuple[str, Any]) -> float | None:
    """The similarity of two texts by definition, where it reaches the threshold."""
    if by == "shingles":
        (left, keys), (right, others) = (shingles_by_hand(text, threshold) for text, _ in (one, other))
        similarity = len(left & right) / len(left | right) if left | right else 1.0
        return similarity if similarity >= threshold and (not left or keys & others) else None
    if by == "characters":
        left_, right_ = grams_by_hand(one[0]), grams_by_hand(other[0])
        dot = sum(weight * right_.get(gram, 0) for gram, weight in left_.items())
        squares = sum(w * w for w in left_.values()) * sum(w * w for w in right_.values())
        if not squares or Fraction(dot * dot, squares) < Fraction(repr(threshold)) ** 2:
            return None
        return dot / squares**0.5
    left, right = (unit(vector) * bool(text.strip()) for text, vector in (one, other))
    cosine = round(float(left @ right), 6)
    return cosine if cosine >= threshold else None


def unit(vector: Any) -> np.ndarray[Any, Any]:
    """At length 1, as precisely as it is kept."""
    given_ = np.asarray(vector, dtype=np.float64)
    return (given_ / np.linalg.norm(given_)).astype(np.float32).astype(np.float64)


def by_hand(
    by: str,
    threshold: float,
    rows: list[tuple[str, Any, str]],
    references: list[tuple[str, list[tuple[str, Any, str]]]],
) -> list[tuple[str | None, int, str, float] | None]:
    """What each row repeats: (source, row, kind, similarity), by comparing everything with everything."""
    known = [(name, row, *one) for name, given_ in references for row, one in enumerate(given_)]
    kinds = {"shingles": "near", "characters": "paraphrase", "embeddings": "semantic"}
    found: list[tuple[str | None, int, str, float] | None] = []
    for number, (text, vector, scope) in enumerate(rows):
        mine = [one for one in known if one[4] == scope]
        match: tuple[str | None, int, str, float] | None = None
        for source, row, other, _, _ in mine:
            if normalise(other) == normalise(text):
                match = (source, row, "exact", 1.0)
                break
        if match is None:
            for source, row, other, theirs, _ in mine:
                similarity = alike(by, threshold, (text, vector), (other, theirs))
                if similarity is not None:
                    match = (source, row, kinds[by], similarity)
                    break
        found.append(match)
        if match is None:
            known.append((None, number, text, vector, scope))
    return found


def told(found: Sequence[Duplicate | None]) -> list[tuple[str | None, int, str] | None]:
    return [None if one is None else (one.source, one.row, one.kind) for one in found]


def check(by: str, threshold: float, seed: int, sizes: Sequence[int], *, scoped: bool, against: int) -> int:
    """Batches, one by one and by hand find the same. How many duplicates there were."""
    texts, scopes, vectors = a_corpus(seed, 40 + sum(against * [12]))
    every = list(zip(texts, vectors, scopes if scoped else [""] * len(texts), strict=True))
    parts = [every[at : at + 12] for at in range(0, against * 12, 12)]
    names = [f"data-{number}.jsonl" for number in range(against)]
    rows = every[against * 12 :]
    references = [
        Rows(
            name,
            (),
            None,
            None,
            [one[0] for one in part],
            [one[2] for one in part] if scoped else None,
            [one[1] for one in part],
        )
        for name, part in zip(names, parts, strict=True)
    ]
    expected = by_hand(by, threshold, rows, list(zip(names, parts, strict=True)))

    def scope_of(fields: Any, axes: Any) -> str:
        raise AssertionError

    def new() -> Duplicates:
        return Duplicates(threshold, by, references, scope_of=scope_of if scoped else None)  # type: ignore[arg-type]

    batched, found = new(), []
    at = 0
    while at < len(rows):
        part = rows[at : at + sizes[len(found) % len(sizes)]]
        at += len(part)
        found += list(
            batched.offer_many(
                [one[0] for one in part],
                scopes=[one[2] for one in part] if scoped else None,
                vectors=np.array([one[1] for one in part]) if by == "embeddings" else None,
            )
        )
    single, alone = new(), []
    for text, vector, scope in rows:
        batch = single.prepare([text], [vector] if by == "embeddings" else None)
        (one,) = single.match_prepared(batch, [scope] if scoped else None)
        alone.append(one)
        if one is None:
            single.keep_prepared(batch, [scope] if scoped else None)
        else:
            single.offered += 1
    assert told(found) == [None if one is None else one[:3] for one in expected]
    assert alone == found
    for one, by_definition in zip(found, expected, strict=True):
        if one is not None and by_definition is not None:
            assert one.similarity == pytest.approx(by_definition[3], abs=1e-12)
    kept = [number for number, one in enumerate(found) if one is None]
    assert len(batched) == len(kept)
    assert all(one is None or one.source or kept[one.place or 0] == one.row for one in found)
    return sum(one is not None for one in found)


@pytest.mark.parametrize("by", BYS)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    threshold=st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0]),
    sizes=st.lists(st.integers(1, 17), min_size=1, max_size=4),
    scoped=st.booleans(),
    against=st.integers(0, 2),
)
def test_batches_find_what_one_by_one_and_brute_force_find(
    by: str, seed: int, threshold: float, sizes: list[int], scoped: bool, against: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(characters_module, "FEW", 3)  # the index after three texts, not after 48
        patch.setattr(embeddings_module, "_ROWS", 4)
        patch.setattr(embeddings_module, "_TILE", 3)
        patch.setattr("factory.duplicates.shingled.FEW", 3)
        check(by, threshold, seed, sizes, scoped=scoped, against=against)


@pytest.mark.parametrize("by", BYS)
def test_there_are_duplicates_of_every_kind_to_find(by: str) -> None:
    assert check(by, 0.5, 1, [10], scoped=False, against=0) > 5
    assert check(by, 0.5, 2, [10], scoped=True, against=2) > 5


def test_characters_against_brute_force_on_many_texts() -> None:
    """Beyond the first, unindexed ones; the index is built anew several times."""
    texts, _, _ = a_corpus(5, 200)
    found = Duplicates(0.6, "characters").offer_many(texts)
    expected = by_hand("characters", 0.6, [(text, None, "") for text in texts], [])
    assert told(found) == [None if one is None else one[:3] for one in expected]


def test_characters_of_texts_that_share_most_of_what_they_have() -> None:
    random_ = random.Random(3)
    frame = "Please tell me, in two or three sentences, what one should know about the {} {} of the {} {}."
    texts = [frame.format(*random_.choices(WORDS, k=4)) for _ in range(160)]
    for threshold in (0.55, 0.9):
        expected = by_hand("characters", threshold, [(text, None, "") for text in texts], [])
        found = Duplicates(threshold, "characters").offer_many(texts)
        assert told(found) == [None if one is None else one[:3] for one in expected]
        assert any(found) and None in list(found)


def test_a_verdict_hangs_on_earlier_texts_alone() -> None:
    texts, scopes, vectors = a_corpus(9, 120)
    for by in BYS:
        whole = list(Duplicates(0.6, by).offer_many(texts, scopes=scopes, vectors=vectors))
        for cut in (1, 40, 119):
            first = Duplicates(0.6, by).offer_many(texts[:cut], scopes=scopes[:cut], vectors=vectors[:cut])
            assert list(first) == whole[:cut]


def test_embeddings_at_the_threshold_do_not_hang_on_the_batch() -> None:
    """Cosines of 0.9 but for the last digits of float32: rounded, all reach it, whatever is computed together."""
    draw = np.random.default_rng(0)
    base = draw.normal(size=384)
    base /= np.linalg.norm(base)
    rows = [base]
    for _ in range(120):
        other = draw.normal(size=384)
        other -= (other @ base) * base
        rows.append(0.9 * base + (0.19**0.5) * other / np.linalg.norm(other))
    texts = [f"text {number}" for number in range(len(rows))]
    for size in (1, 7, 121):
        known, found = Duplicates(0.9, "embeddings"), []
        for at in range(0, len(rows), size):
            found += list(known.offer_many(texts[at : at + size], vectors=np.array(rows[at : at + size])))
        assert found[0] is None
        assert {(one.row, one.similarity) for one in found[1:] if one} == {(0, 0.9)} and None not in found[1:]


def test_what_is_found_as_arrays() -> None:
    known = Duplicates()
    found = known.offer_many(pa.array(["a b", "A  b", "c", ""]))
    assert found.rows.tolist() == [-1, 0, -1, -1] and found.kept.tolist() == [True, False, True, True]
    assert found.places.tolist() == [-1, 0, -1, -1] and found.sources.tolist() == [-1] * 4
    assert found[1] == Duplicate(0, None, 0, 1.0, "exact") and found[-2:] == [None, None]
    later = known.offer_many(["d", "c", " "])
    assert later.rows.tolist() == [-1, 2, 3] and later.places.tolist() == [-1, 1, 2]
    assert known.offer_many([]).kept.tolist() == []
    assert len(known) == 4 and known.offered == 7 and known.nbytes > 0


def test_many_scopes_need_little_memory() -> None:
    texts = [
        f"{number} bottles of beer stand on the wall of the house, and one of them falls" for number in range(3000)
    ]
    known = Duplicates()
    assert known.offer_many(texts, scopes=[str(number) for number in range(3000)]).kept.all()
    assert known.nbytes < 3000 * 5000
    again = known.offer_many(texts, scopes=[str(number) for number in range(3000)])
    assert again.rows.tolist() == list(range(3000))


@pytest.mark.parametrize(
    ("texts", "vectors", "told_"),
    [
        (["a"], None, "text 0 has no embedding"),
        (["a", "b"], [[1.0, 0.0], None], "text 1 has no embedding"),
        (["a"], [[1.0, float("nan")]], "text 0 holds a number that is not finite"),
        (["a", "b"], [[1.0], [1.0, 2.0]], "make no matrix"),
        (["a", "b"], np.ones((3, 2)), r"shape \(3, 2\) for 2 texts"),
        (["a"], [[1.0, 2.0, 3.0]], "an embedding of 3 numbers, where earlier ones have 2"),
    ],
)
def test_embeddings_that_cannot_be_compared(texts: list[str], vectors: Any, told_: str) -> None:
    known = Duplicates(by="embeddings")
    known.offer_many(["first", ""], vectors=[[1.0, 0.5], None])
    with pytest.raises(UsageError, match=told_):
        known.offer_many(texts, vectors=vectors)


@pytest.mark.parametrize("text", ["", " ", "a", "茶を飲む", "Straße ǅ \ud800", " ".join(WORDS).upper()])
def test_a_single_text_without_the_kernel_is_hashed_as_in_a_batch(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = fingerprint([text], bands=25, size=5)
    monkeypatch.setattr("factory.kernel.available", lambda: False)
    alone = fingerprints_of([text], 25, 5)
    for name in ("shingles", "ends", "keys", "digests"):
        one, other = getattr(alone, name), getattr(batch, name)
        assert one.dtype == other.dtype and one.shape == other.shape and (one == other).all(), name


def test_bad_options() -> None:
    with pytest.raises(UsageError, match="`by` is `words`"):
        Duplicates(by="words")  # type: ignore[arg-type]
    for by in BYS:
        with pytest.raises(UsageError, match=r"outside 0.1 … 1"):
            Duplicates(1.2, by)  # type: ignore[arg-type]


def test_the_weights_are_the_same_on_every_machine() -> None:
    """Whole numbers, rounded from logarithms that are nowhere near a half."""
    exact = UNIT * (1 + np.log(np.arange(1, 65_536)))
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-9
    grams = grams_of(["aaaaaaa", "a", "", "İi 茶"])
    assert grams.ends.tolist() == [3, 4, 4, 8]
    assert sorted(grams.weights.tolist()[:3]) == [64, 64, round(64 * (1 + float(np.log(4))))]


# Conversations

SAID = "Hi\nHello!\nBye"


@pytest.mark.parametrize(
    "value",
    [
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Bye"},
        ],
        [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}, {"from": "human", "value": "Bye"}],
        {
            "messages": [
                {"role": "a", "content": "Hi"},
                {"role": "b", "content": "Hello!"},
                {"role": "a", "content": "Bye"},
            ]
        },
        {"id": 7, "conversations": [{"from": "x", "value": "Hi", "weight": 1}, {"from": "y", "value": "Hello!\nBye"}]},
        ["Hi", "Hello!", "Bye"],
        [["Hi", "Hello!"], ["Bye"]],
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "b", "content": "Hello!"}, "Bye"],
        [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "Hi"}, {"type": "output_text", "text": "Hello!"}],
            },
            {"role": "assistant", "content": None},
            {"role": "user", "content": {"type": "text", "text": "Bye"}},
        ],
        [{"role": "user", "content": [{"type": "text", "text": "Hi", "image_url": None}, "Hello!"]}, None, "Bye"],
        "Hi\nHello!\nBye",
    ],
)
def test_one_conversation_in_many_forms(value: Any) -> None:
    assert conversation_text(value) == SAID


def test_what_is_no_conversation_counts_by_its_values() -> None:
    assert conversation_text(None) == "" and conversation_text([]) == "" and conversation_text(12) == "12"
    assert conversation_text({"a": ["b", {"c": 3}], "d": None, "e": True}) == "b\n3\ntrue"
    assert conversation_text({"text": "only this"}) == "only this"


def test_images_and_calls_of_tools_tell_conversations_apart() -> None:
    def image(url: str) -> Any:
        return [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}],
            }
        ]

    assert conversation_text(image("a")) != conversation_text(image("b"))
    assert conversation_text(image("a" * 10**6)).endswith("\n?") and len(conversation_text(image("a" * 10**6))) < 50
    calls = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": number, "function": {"name": "f", "arguments": arguments}}],
        }
        for number, arguments in ((1, '{"x": 1}'), (2, '{"x": 1}'), (3, '{"x": 2}'))
    ]
    said = [conversation_text([call]) for call in calls]
    assert said[0] == said[1] == 'f {"x": 1}' and said[2] != said[0]


# References


def test_references_from_files(tmp_path: Path) -> None:
    rows = [{"text": "a b", "n": 1}, {"text": "c d", "n": 2}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"body": [["x", "y"], None], "n": [1, 2]}), tmp_path / "rows.parquet")
    against = [open_reference(name, ("text",), tmp_path) for name in ("rows.jsonl", "rows.parquet")]
    assert [one.columns for one in against] == [("text",), ("body",)]
    found = Duplicates(against=against).offer_many(["C D", "x y", "", "new"])
    assert told(found) == [("rows.jsonl", 1, "exact"), ("rows.parquet", 0, "exact"), ("rows.parquet", 1, "exact"), None]
    joined = open_reference("rows.jsonl", ("text", "n2"), tmp_path)
    assert joined.columns == ("text",)  # its only text


def test_the_first_reference_that_has_it_wins(tmp_path: Path) -> None:
    texts = [
        "one two three four five six seven eight nine ten",
        "another text of which there is nothing else here at all",
    ]
    for name in ("first", "last"):
        with StoredIndex.create(tmp_path / name) as index:
            bands, size = banding(0.8)
            index.append(fingerprint(texts, bands=bands, size=size, signatures=True), [5, 6])
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": texts[0]}) + "\n")
    for names, expected in (
        (("first", "rows.jsonl", "last"), ("first", 5)),
        (("rows.jsonl", "first", "last"), ("rows.jsonl", 0)),
    ):
        known = Duplicates(against=[open_reference(name, ("text",), tmp_path) for name in names])
        found = known.offer_many([texts[0], texts[1], "new"])
        assert told(found) == [(*expected, "exact"), ("first", 6, "exact"), None]
        batch = known.prepare([texts[0]])
        assert told(known.match_prepared(batch)) == told(found)[:1]


def test_an_equal_row_of_a_reference_counts_before_one_that_is_alike() -> None:
    """Rows of a reference are all known, also those that repeat one another."""
    base = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    rows = [base, base + " and", "z"]
    for by in ("shingles", "characters"):
        known = Duplicates(by=by, against=[Rows("known", (), None, None, rows)])  # type: ignore[arg-type]
        assert told(known.offer_many([base + " AND"])) == [("known", 1, "exact")]
        assert known.facts[0]["rows"] == 3 and len(known.facts[0]["digest"]) == 32
