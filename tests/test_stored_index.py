"""The index on disk: against brute force, against the index in memory, under kill -9, damage and a second writer."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasketch
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.errors import FactoryError, StorageFull, UsageError
from factory.minhash import Fingerprints, Index, Matches, fingerprint, jaccard, stored_building, stored_searching
from factory.minhash import stored as stored_module
from factory.minhash.stored import StoredIndex, is_index
from factory.minhash.stored_manifest import IndexDamaged
from factory.minhash.stored_ragged import first_not_below, least_overlap, ones, parities, pieces, prefixes
from factory.minhash.stored_segments import ArrayWriter

ROOT = Path(__file__).resolve().parent.parent
SLOW = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced, in order, without waiting for the disk: a killed process needs no sync, only a lost machine."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    return synced


def texts_of(rng: random.Random, count: int, *, boilerplate: int = 0) -> list[str]:
    """Texts of which about half are near another, with empty, short and equal ones among them."""
    made: list[str] = []
    common = [f"b{i}" for i in range(boilerplate)]
    for _ in range(count):
        kind = rng.random()
        if made and kind < 0.5:
            words = rng.choice(made).split() or ["lone"]
            for _ in range(rng.randint(0, 3)):
                words[rng.randrange(len(words))] = f"w{rng.randrange(300)}"
            made.append(" ".join(words))
        elif kind < 0.55:
            made.append(rng.choice(["", " \n", "one"]))
        else:
            made.append(" ".join([*common, *(f"w{rng.randrange(300)}" for _ in range(rng.randint(1, 40)))]))
    return made


def words(first: int, count: int) -> str:
    return " ".join(f"w{i}" for i in range(first, first + count))


def brute_force(kept: Fingerprints, rows: Sequence[int], asked: Fingerprints, threshold: float) -> Matches:
    """The definition, row by row."""
    order = sorted(range(len(rows)), key=lambda place: rows[place])  # stable: the earlier of equal rows first
    found: list[tuple[int, float, bool]] = []
    for text in range(len(asked)):
        mine, best = asked.shingles_at(text), (-1, 0.0, False)
        for place in order:
            theirs = kept.shingles_at(place)
            if len(mine) and not (kept.keys[place] == asked.keys[text]).any():
                continue
            if bool(len(mine)) == bool(len(theirs)) and (similarity := jaccard(mine, theirs)) >= threshold:
                best = (rows[place], similarity, kept.digests[place].tolist() == asked.digests[text].tolist())
                break
        found.append(best)
    places, similarity, exact = zip(*found, strict=True)
    return Matches(np.array(places), np.array(similarity), np.array(exact))


def same(found: Matches, expected: Matches) -> bool:
    assert found.places.tolist() == expected.places.tolist()
    assert found.similarity.tolist() == expected.similarity.tolist()
    assert found.exact.tolist() == expected.exact.tolist()
    return True


def fill(index: StoredIndex, texts: Fingerprints, rows: Sequence[int], cuts: Sequence[int] = ()) -> None:
    """Append the texts in pieces."""
    bounds = [0, *sorted(cuts), len(texts)]
    for first, last in itertools.pairwise(bounds):
        index.append(texts[first:last], rows[first:last])


def files_of(index: Path) -> set[str]:
    return {entry.name for entry in (index / "segments").iterdir()}


# What is found


@SLOW
@given(seed=st.integers(0, 1 << 30), threshold=st.sampled_from([0.5, 0.8, 0.9]), hub=st.sampled_from([2, 5, 64]))
def test_matches_are_those_of_brute_force(
    seed: int, threshold: float, hub: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any row ids (also equal ones), any segments, merged or not, with small hubs, opened again."""
    monkeypatch.setattr(stored_building, "HUB", hub)
    monkeypatch.setattr(stored_searching, "HUB", hub)
    rng = random.Random(seed)
    path = tmp_path / str(seed)
    shutil.rmtree(path, ignore_errors=True)
    with StoredIndex.create(path, threshold=threshold) as index:
        texts = texts_of(rng, 150, boilerplate=rng.choice([0, 0, 30]))
        prints = fingerprint(texts, bands=index.bands, size=index.size, signatures=rng.random() < 0.5)
        rows = [rng.randrange(rng.choice([50, 10_000])) for _ in range(100)]
        fill(index, prints[:100], rows, rng.sample(range(100), rng.randint(0, 20)))
        expected = brute_force(prints[:100], rows, prints[50:], threshold)
        assert len(index) == 100
        assert same(index.match_many(prints[50:]), expected)
        index.compact()
        assert len(index.segments) == 1
        assert same(index.match_many(prints[50:]), expected)
    again = StoredIndex.open(path)
    again.verify()
    assert same(again.match_many(prints[50:]), expected)
    shutil.rmtree(path)


@settings(SLOW, max_examples=10)
@given(seed=st.integers(0, 1 << 30), split=st.integers(0, 120), batch=st.integers(10, 60))
def test_a_later_run_goes_on_as_one_run_would(seed: int, split: int, batch: int, tmp_path: Path) -> None:
    """A run that stores what it keeps, and a later one that asks the index first, keep what one run keeps."""
    rng = random.Random(seed)
    texts = texts_of(rng, 120, boilerplate=rng.choice([0, 30]))
    rng.shuffle(texts)
    together = Index().offer_many(texts)
    path = tmp_path / str(seed)
    shutil.rmtree(path, ignore_errors=True)
    StoredIndex.create(path).close()
    kept: list[int] = []
    for first, last in ((0, split), (split, 120)):
        before, own = StoredIndex.open(path), Index()
        for start in range(first, last, batch):
            offered = texts[start : min(start + batch, last)]
            found = before.match_many(fingerprint(offered)).places
            left = np.flatnonzero(found < 0)
            own_kept = left[own.offer_many([offered[place] for place in left]).places < 0]
            kept += (start + own_kept).tolist()
            with StoredIndex.open(path) as writer:
                writer.append(fingerprint([offered[place] for place in own_kept]), start + own_kept)
            hits = np.flatnonzero(found >= 0)
            assert found[hits].tolist() == [kept[together.places[start + hit]] for hit in hits]
    assert kept == np.flatnonzero(together.places < 0).tolist()
    shutil.rmtree(path)


def test_a_higher_threshold_may_be_asked(tmp_path: Path) -> None:
    texts = fingerprint(texts_of(random.Random(3), 200))
    with StoredIndex.create(tmp_path / "index", threshold=0.8) as index:
        fill(index, texts, range(200), [70, 130])
    for threshold in (0.8, 0.85, 0.95, 1.0):
        strict = StoredIndex.open(tmp_path / "index", threshold=threshold)
        assert same(strict.match_many(texts), brute_force(texts, range(200), texts, threshold))


def test_an_empty_index_and_no_texts(tmp_path: Path) -> None:
    with StoredIndex.create(tmp_path / "index") as index:
        assert index.match_many(fingerprint(["", "one two", words(0, 20)])).places.tolist() == [-1, -1, -1]
        assert len(index.match_many(fingerprint([]))) == 0
        index.append(fingerprint([]), [])
        assert (len(index), index.next_row, index.nbytes) == (0, 0, 0)
        index.append(fingerprint([" ", ""]), [9, 4])
        found = index.match_many(fingerprint(["\n", "x"]))
    assert found.places.tolist() == [4, -1]
    assert found.similarity.tolist() == [1.0, 0.0]
    assert found.exact.tolist() == [True, False]


def test_long_texts_and_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of a megabyte, and blocks smaller than one text."""
    monkeypatch.setattr(stored_searching, "_ELEMENTS", 50)
    monkeypatch.setattr(stored_searching, "_PAIRS", 3)
    monkeypatch.setattr(stored_building, "_ELEMENTS", 100)
    monkeypatch.setattr(stored_building, "_ROWS", 7)
    monkeypatch.setattr(stored_module, "BLOCK", 13)
    long = words(0, 150_000)
    texts = fingerprint([*texts_of(random.Random(5), 60), long, long.replace("w77 ", "other "), ""])
    with StoredIndex.create(tmp_path / "index") as index:
        fill(index, texts, range(63), [20, 61])
        index.compact()
        found = index.match_many(texts)
    assert found.places[61] == 60
    assert 0.9999 < found.similarity[61] < 1
    assert same(found, brute_force(texts, range(63), texts, 0.8))


def test_shingles_that_agree_in_their_high_bits_are_told_apart(tmp_path: Path) -> None:
    """Sets whose members share the 44 bits that the search goes by."""
    keys = np.arange(25, dtype=np.uint64).reshape(1, 25) << np.uint64(50)

    def prints(members: list[int]) -> Fingerprints:
        held = np.array(sorted(members), dtype=np.uint64)
        return Fingerprints(held, np.array([len(held)]), keys, np.array([[len(held), 1]], dtype=np.uint64))

    high = 7 << 40
    mine = [high + i for i in range(20)] + [high + (1 << 20) + i for i in range(20)]
    with StoredIndex.create(tmp_path / "index") as index:
        index.append(prints([*mine[:36], *(high + 100 + i for i in range(4))]), [0])
        found = index.match_many(prints(mine))
        assert found.similarity.tolist() == [36 / 44]
        other = index.match_many(prints([high + 200 + i for i in range(40)]))
    assert other.places.tolist() == [-1]


def test_of_equal_row_ids_the_earlier_one_counts(tmp_path: Path) -> None:
    """Whatever segments they lie in, and in whatever order those are searched."""
    asked = fingerprint([words(0, 80)])
    texts = fingerprint([words(300, 40), f"{words(0, 80)} more", words(500, 40), words(0, 80)])
    with StoredIndex.create(tmp_path / "index") as index:
        fill(index, texts, [5, 7, 3, 7], [2])
        for _ in range(2):
            assert same(index.match_many(asked), Matches(np.array([7]), np.array([76 / 77]), np.array([False])))
            index.compact()


# Hubs


def test_a_hub_does_not_stand_in_for_a_shared_key(tmp_path: Path) -> None:
    """What is found by rare shingles counts only if it shares a key, as everywhere else."""
    hub = fingerprint([words(100 * place, 40) for place in range(2 * stored_building.HUB + 4)], signatures=True)
    assert hub.signatures is not None
    keys = hub.keys.copy()
    half = len(hub) // 2
    keys[1:half, 0] = keys[0, 0]  # a hub with the first text in it
    keys[half:, 0] = np.uint64(99)  # another hub
    asked = fingerprint([words(0, 40)])
    strange = np.arange(1000, 1025, dtype=np.uint64).reshape(1, 25)
    strange[0, 3] = 99
    with StoredIndex.create(tmp_path / "index") as index:
        index.append(Fingerprints(hub.shingles, hub.ends, keys, hub.digests, hub.signatures), range(len(hub)))
        assert index.match_many(asked).places.tolist() == [0]
        found = index.match_many(Fingerprints(asked.shingles, asked.ends, strange, asked.digests))
    assert found.places.tolist() == [-1]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs were compared exactly, call by call."""
    counts: list[int] = []
    real = stored_searching._Searcher._overlaps

    def counting(self: Any, texts: Any, starts: Any, sizes: Any) -> Any:
        counts.append(len(texts))
        return real(self, texts, starts, sizes)

    monkeypatch.setattr(stored_searching._Searcher, "_overlaps", counting)
    return counts


def test_equal_texts_are_compared_once(tmp_path: Path, compared: list[int]) -> None:
    one = fingerprint([words(0, 30)], signatures=True)
    count = 100_000
    many = Fingerprints(
        np.tile(one.shingles, count),
        np.arange(1, count + 1) * len(one.shingles),
        np.tile(one.keys, (count, 1)),
        np.tile(one.digests, (count, 1)),
        np.tile(one.signatures, (count, 1)),
    )
    with StoredIndex.create(tmp_path / "index") as index:
        fill(index, many, range(count), [30_000, 60_000])
        index.compact()
        found = index.match_many(many[:20_000])
        assert len(index) == count
        assert [len(segment.keys) for segment in index._segments] == [25]
    assert set(found.places.tolist()) == {0}
    assert sum(compared) == 20_000


@pytest.mark.parametrize("kind", ["unlike", "alike"])
def test_a_hub_costs_no_recall_and_few_comparisons(kind: str, tmp_path: Path, compared: list[int]) -> None:
    """Boilerplate with texts of their own inside (no duplicates), or with one changed word (all are duplicates)."""
    rng = random.Random(6)
    own = 22 if kind == "unlike" else 1
    count = 4000

    def text() -> str:
        return " ".join([words(0, 35), *(f"own{rng.randrange(10**9)}" for _ in range(own)), words(35, 35)])

    texts = [text() for _ in range(count)]
    asked = [text() for _ in range(400)] + texts[-100:]
    prints = fingerprint(texts)
    with StoredIndex.create(tmp_path / "index") as index:
        fill(index, prints, range(count), [2500])
        assert all(len(segment.prefix_keys) for segment in index._segments)
        found = index.match_many(fingerprint(asked))
    if kind == "alike":
        assert set(found.places.tolist()) == {0}
    else:
        assert found.places.tolist() == [-1] * 400 + list(range(count - 100, count))
    assert sum(compared) < 20 * len(asked)


def test_memory_stays_with_the_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vocabulary = np.array([f"word{i}" for i in range(5000)])
    texts = [" ".join(line) for line in vocabulary[rng.integers(0, 5000, (12_000, 60))]]
    prints = fingerprint(texts, signatures=True)
    with StoredIndex.create(tmp_path / "index") as index:
        fill(index, prints, range(12_000))
    asked = prints[:200]
    tracemalloc.start()
    try:
        index = StoredIndex.open(tmp_path / "index")
        found = index.match_many(asked)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.places.tolist() == list(range(200))
    assert index.nbytes > 14 << 20
    assert peak < 4 << 20


# The parts of the search


@given(st.sets(st.integers(0, 2000), max_size=300), st.sets(st.integers(0, 2000), max_size=300))
def test_parity_never_tells_too_many_differences(left: set[int], right: set[int]) -> None:
    both = np.array([*sorted(left), *sorted(right)], dtype=np.uint64)
    sizes = np.array([len(left), len(right)])
    bits = parities(both, np.array([0, len(left)]), sizes)
    differing = int(ones(bits[:1] ^ bits[1:])[0])
    assert differing <= len(left ^ right)
    assert differing % 2 == len(left ^ right) % 2
    plain = [sum(1 for member in left if member % 512 == bit) % 2 for bit in range(512)]
    assert int(ones(bits[:1])[0]) == sum(plain)


def test_ones_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    words_ = np.random.default_rng(1).integers(0, 1 << 63, (50, 8), dtype=np.uint64)
    expected = [sum(int(word).bit_count() for word in row) for row in words_]
    assert ones(words_).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert ones(words_).tolist() == expected


@given(st.floats(0.1, 1.0), st.integers(1, 200), st.integers(1, 200), st.data())
def test_the_least_overlap_is_never_too_much(threshold: float, left: int, right: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, min(left, right)))
    if overlap / (left + right - overlap) >= threshold:
        assert (least_overlap(np.array([left, right]), threshold) <= overlap).all()


@given(st.integers(0, 20), st.integers(0, 6), st.integers(0, 6), st.integers(0, 1 << 30))
def test_prefixes_of_a_pair_at_the_threshold_meet(shared: int, left: int, right: int, seed: int) -> None:
    """At exactly the pair's similarity, whatever the order of rarity."""
    rng = np.random.default_rng(seed)
    members = rng.permutation(1024)[: 1 + shared + left + right].astype(np.uint64)
    one, other = (
        np.sort(members[: 1 + shared + left]),
        np.sort(np.delete(members, np.s_[1 + shared : 1 + shared + left])),
    )
    threshold = max((1 + shared) / len(members), 0.1)
    rarity = rng.integers(0, 4, 1024).astype(np.uint8)
    for known in (threshold, max(threshold - 0.1, 0.1)):  # the segment's own threshold may be lower
        sets = [prefixes(held, np.array([len(held)]), rarity, at)[0] for held, at in ((one, threshold), (other, known))]
        if (1 + shared) / len(members) >= threshold:
            assert len(np.intersect1d(*sets))


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 25))
def test_pieces_cover_everything_once(sizes: list[int], most: int) -> None:
    cut = list(pieces(np.array(sizes, dtype=np.int64), most))
    assert [place for piece in cut for place in range(piece.start, piece.stop)] == list(range(len(sizes)))
    assert all(sum(sizes[piece]) <= most or piece.stop - piece.start == 1 for piece in cut)


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(0, 51), st.data())
def test_windows_end_where_they_should(values: list[int], limit: int, data: st.DataObject) -> None:
    values = sorted(values)
    low = data.draw(st.integers(0, len(values)))
    high = data.draw(st.integers(low, len(values)))
    expected = next((place for place in range(low, high) if values[place] >= limit), high)
    assert first_not_below(np.array(values, dtype=np.int32), np.array([low]), np.array([high]), limit) == [expected]


# Segments


def test_one_row_at_a_time_makes_few_segments(tmp_path: Path) -> None:
    texts = fingerprint(texts_of(random.Random(7), 150), signatures=True)
    with StoredIndex.create(tmp_path / "index") as index:
        for place in range(150):
            index.append(texts[place : place + 1], [150 - place])
        assert len(index.segments) <= 3 * stored_module.FAN
        assert files_of(tmp_path / "index") == {segment.name for segment in index.segments}
        assert same(index.match_many(texts), brute_force(texts, [150 - place for place in range(150)], texts, 0.8))
        assert index.next_row == 151


def test_segments_are_not_merged_beyond_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_module, "LARGEST", 20)
    texts = fingerprint(texts_of(random.Random(8), 90))
    with StoredIndex.create(tmp_path / "index") as index:
        fill(index, texts, range(90), range(9, 90, 9))
        assert [segment.rows for segment in index.segments] == [9] * 10
        index.compact()
        assert [segment.rows for segment in index.segments] == [18] * 5
        assert same(index.match_many(texts), brute_force(texts, range(90), texts, 0.8))


def test_the_digest_tells_what_is_held_and_not_how(tmp_path: Path) -> None:
    texts = fingerprint(texts_of(random.Random(10), 60))
    rows = np.arange(60) * 3
    digests = []
    for number, cuts in enumerate(([], [10], [5, 30, 50])):
        with StoredIndex.create(tmp_path / str(number)) as index:
            fill(index, texts, rows, cuts)
            digests.append(index.digest())
            index.compact()
            digests.append(index.digest())
    assert len(set(digests)) == 1
    assert len(digests[0]) == 32
    other = rows.copy()
    other[[3, 4]] = other[[4, 3]]
    for number, (asked, ids) in enumerate([(texts, other), (texts[:59], rows[:59]), (texts[1:], rows[1:])]):
        with StoredIndex.create(tmp_path / f"other{number}") as index:
            index.append(asked, ids)
            digests.append(index.digest())
    assert len(set(digests)) == 4


def test_the_files_are_what_the_manifest_says(tmp_path: Path) -> None:
    texts = fingerprint(texts_of(random.Random(9), 50), signatures=True)
    path = tmp_path / "index"
    assert not is_index(path)
    with StoredIndex.create(path, note={"made by": "a test", "columns": ["text"]}) as index:
        fill(index, texts, range(50), [20])
        assert index.nbytes == sum(file.stat().st_size for file in (path / "segments").rglob("*.npy"))
    assert is_index(path)
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["note"] == {"made by": "a test", "columns": ["text"]} == StoredIndex.open(path).note
    assert (manifest["bands"], manifest["size"], manifest["permutations"], manifest["rows"]) == (25, 5, 128, 50)
    assert [segment["rows"] for segment in manifest["segments"]] == [20, 30]
    for segment in manifest["segments"]:
        keys = np.load(path / "segments" / segment["name"] / "keys.npy")
        assert (keys[1:] >= keys[:-1]).all()


def test_signatures_serve_datasketch(tmp_path: Path) -> None:
    texts = [words(0, 60), words(100, 60), words(2, 60)]
    with StoredIndex.create(tmp_path / "index") as index:
        index.append(fingerprint(texts, signatures=True), [5, 6, 7])
        index.append(fingerprint([words(200, 60)]), [8])
        lsh = datasketch.MinHashLSH(params=(25, 5), num_perm=128)
        for rows, signatures in index.signatures():
            assert signatures.dtype == np.uint32
            for row, minima in zip(rows.tolist(), signatures, strict=True):
                lsh.insert(row, datasketch.MinHash(hashvalues=minima, scheme="affine32"))
    oracle = datasketch.MinHash(num_perm=128, seed=1, hashfunc=lambda value: value & 0xFFFFFFFF)
    oracle.update_batch(fingerprint([words(0, 60)]).shingles.tolist())
    assert sorted(lsh.query(oracle)) == [5, 7]
    oracle = datasketch.MinHash(num_perm=128, seed=1, hashfunc=lambda value: value & 0xFFFFFFFF)
    oracle.update_batch(fingerprint([words(200, 60)]).shingles.tolist())
    assert lsh.query(oracle) == [8]


# Crashes


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; returns how it ended: 0, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def killing_at(step: int, work: Callable[[], None]) -> Callable[[], None]:
    """`work` with a SIGKILL instead of its `step`-th change to the file system."""
    left = [step]

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return called

    def run() -> None:
        for name in ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir"):
            setattr(os, name, deadly(getattr(os, name)))
        ArrayWriter.put = deadly(ArrayWriter.put)  # type: ignore[method-assign]
        work()

    return run


def test_a_kill_at_any_step_leaves_the_old_state_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while an append merges: nothing is lost, nothing is there by half, leftovers go."""
    monkeypatch.setattr(stored_module, "FAN", 3)
    texts = fingerprint([words(10 * place, 40) for place in range(40)], signatures=True)
    before = tmp_path / "before"
    with StoredIndex.create(before) as index:
        for place in range(stored_module.FAN - 1):
            index.append(texts[place : place + 1], [place])
    old, new, ends = stored_module.FAN - 1, 30, []
    path = tmp_path / "index"
    for step in range(0, 10_000, 4):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(before, path)

        def work() -> None:
            with StoredIndex.open(path) as index:
                index.append(texts[old : old + 1], [old])  # the merge of three
                index.append(texts[old + 1 : new], range(old + 1, new))

        ends.append(in_a_child(killing_at(step, work)))
        index = StoredIndex.open(path)
        assert len(index) in (old, old + 1, new)
        index.verify()
        assert index.match_many(texts).places.tolist() == [p if p < len(index) else -1 for p in range(40)]
        with index:  # the dead process holds no lock
            index.append(texts[39:], [39])
            assert files_of(path) == {segment.name for segment in index.segments}
            assert index.match_many(texts[39:]).places.tolist() == [39]
        if ends[-1] == 0:
            break
    assert set(ends[:-1]) == {-signal.SIGKILL}
    assert len(ends) > 30


def test_a_kill_while_an_index_is_made_leaves_a_place_to_make_it_again(tmp_path: Path) -> None:
    path = tmp_path / "index"
    for step in range(100):
        shutil.rmtree(path, ignore_errors=True)
        end = in_a_child(killing_at(step, lambda: StoredIndex.create(path).close()))
        if not is_index(path):
            StoredIndex.create(path).close()
        assert len(StoredIndex.open(path)) == 0
        if end == 0:
            return
    raise AssertionError("it never ended by itself")


WRITER = """
import sys
from factory.minhash import fingerprint
from factory.minhash.stored import StoredIndex
with StoredIndex.open(sys.argv[1]) as index:
    for row in range(index.next_row, 1000):
        text = " ".join(f"w{i}" for i in range(10 * row, 10 * row + 40))
        index.append(fingerprint([text], signatures=True), [row])
        print(row, flush=True)
"""


def test_what_was_told_as_appended_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "index"
    StoredIndex.create(path).close()
    for stop in (3, 12):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
            assert writer.stdout is not None
            told = next(int(line) for line in writer.stdout if int(line) >= stop)
            with pytest.raises(UsageError, match=f"being written by process {writer.pid}"):
                StoredIndex.open(path).append(fingerprint(["a"]), [5])
            assert len(StoredIndex.open(path)) > told  # reading works meanwhile
            writer.kill()
        index = StoredIndex.open(path)
        index.verify()
        assert len(index) > told
        texts = fingerprint([words(10 * row, 40) for row in range(len(index))])
        assert index.match_many(texts).places.tolist() == list(range(len(index)))


def test_everything_is_synced_before_it_counts(tmp_path: Path, quick_disk: list[str]) -> None:
    """A lost machine: files, then their directory, then the manifest, then its directory."""
    path = tmp_path / "index"
    with StoredIndex.create(path) as index:
        quick_disk.clear()
        index.append(fingerprint([words(0, 20)]), [0])
    made = path / "segments" / ".00000.tmp"
    files = {str(made / file.name) for file in (path / "segments" / "00000").iterdir()}
    assert len(files) == 11
    assert set(quick_disk[: len(files)]) == files
    assert quick_disk[len(files) :] == [str(made), str(path / "segments"), str(path / ".manifest.json.tmp"), str(path)]


def test_a_full_disk_leaves_the_index_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index"
    texts = fingerprint([words(0, 20), words(50, 20)])
    real, left = ArrayWriter.put, [0]

    def put(self: ArrayWriter, raw: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, raw)

    with StoredIndex.create(path) as index:
        index.append(texts[:1], [0])
        monkeypatch.setattr(ArrayWriter, "put", put)
        for left[0] in range(18):
            with pytest.raises(StorageFull, match="disk is full"):
                index.append(texts[1:], [1])
            assert (len(index), files_of(path)) == (1, {"00000"})
        left[0] = 1000
        index.append(texts[1:], [1])
        assert index.match_many(texts).places.tolist() == [0, 1]


# Readers and writers


def test_one_writes_and_many_read(tmp_path: Path) -> None:
    path = tmp_path / "index"
    texts = fingerprint([words(10 * place, 40) for place in range(40)])
    writer = StoredIndex.create(path)
    reader = StoredIndex.open(path)
    with pytest.raises(UsageError, match=f"process {os.getpid()}") as caught:
        reader.append(texts[:1], [0])
    assert "reading works" in caught.value.hint
    with pytest.raises(UsageError, match="process"):
        reader.compact()
    early = StoredIndex.open(path)
    for place in range(20):
        writer.append(texts[place : place + 1], [place])
        if place == 3:
            reader = StoredIndex.open(path)
    assert len(early) == 0
    assert early.match_many(texts).places.max() == -1
    # The reader's files were merged away: it sees the state that it opened.
    assert not files_of(path) & {segment.name for segment in reader.segments}
    assert reader.match_many(texts).places.tolist() == [0, 1, 2, 3] + [-1] * 36
    writer.close()
    reader.append(texts[20:21], [20])  # what was written meanwhile is there
    assert len(reader) == 21
    assert reader.match_many(texts).places.tolist() == [*range(21), *[-1] * 19]
    with pytest.raises(UsageError):
        writer.append(texts[21:22], [21])
    del reader  # an index that goes away lets go of its lock
    writer.append(texts[21:22], [21])
    assert len(StoredIndex.open(path)) == 22
    writer.close()


def test_a_merge_between_manifest_and_segments_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index"
    texts = fingerprint([words(10 * place, 40) for place in range(3)])
    with StoredIndex.create(path) as index:
        fill(index, texts, range(3), [1, 2])
        real, turns = stored_module.open_segment, []

        def opening(directory: Path, facts: Any) -> Any:
            if not turns:
                turns.append(directory)
                index.compact()
            return real(directory, facts)

        monkeypatch.setattr(stored_module, "open_segment", opening)
        reader = StoredIndex.open(path)
    assert len(reader.segments) == 1
    assert reader.match_many(texts).places.tolist() == [0, 1, 2]


def test_too_many_open_files_are_told(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opening(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(stored_module, "open_segment", opening)
    with pytest.raises(UsageError, match="Too many open files") as caught:
        StoredIndex.open(filled)
    assert str(filled) in caught.value.message
    assert "ulimit -n" in caught.value.hint


# Damage and bad input


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "index"
    texts = fingerprint([words(0, 30)] * 3 + [f"{words(0, 30)} x{place}" for place in range(80)], signatures=True)
    with StoredIndex.create(path) as index:
        index.append(texts, range(83))
    return path


@pytest.mark.parametrize("how", ["cut", "flipped", "grown", "gone", "emptied"])
def test_a_damaged_file_is_named(filled: Path, how: str) -> None:
    files = sorted((filled / "segments" / "00000").iterdir())
    assert len(files) == 11
    assert all(file.stat().st_size > 128 for file in files)  # each holds something
    for file in files:
        raw = file.read_bytes()
        changed = {
            "cut": raw[:-1],
            "flipped": raw[:-3] + bytes([raw[-3] ^ 4]) + raw[-2:],
            "grown": raw + b"\0",
            "emptied": b"",
        }
        if how == "gone":
            file.unlink()
        else:
            file.write_bytes(changed[how])
        with pytest.raises(IndexDamaged, match=str(file)) as caught:
            StoredIndex.open(filled)
        assert "build it again" in caught.value.hint
        file.write_bytes(raw)
    StoredIndex.open(filled).verify()


def test_a_large_file_is_verified_on_demand(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.minhash import stored_segments

    monkeypatch.setattr(stored_segments, "_CHECKED", 0)
    file = filled / "segments" / "00000" / "signatures.npy"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(bytes(raw))
    index = StoredIndex.open(filled)
    with pytest.raises(IndexDamaged, match=r"signatures\.npy"):
        index.verify()
    header = raw.index(b"<u4")
    raw[header : header + 3] = b"<f4"
    file.write_bytes(bytes(raw))
    with pytest.raises(IndexDamaged, match="float32"):
        StoredIndex.open(filled)
    raw[:6] = b"nonsen"
    file.write_bytes(bytes(raw))
    with pytest.raises(IndexDamaged, match="no array"):
        StoredIndex.open(filled)


def test_any_flip_in_the_manifest_is_seen(filled: Path) -> None:
    path = filled / "manifest.json"
    raw = path.read_bytes()
    for place in range(0, len(raw) - 1, 7):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with pytest.raises(IndexDamaged, match=r"manifest\.json"):
            StoredIndex.open(filled)
    for wrong in (raw[: len(raw) // 2], b"", b"[]", b"{}", b"\xff\xfe", b'{"sha256": 1, "format": 1, "scheme": 2}'):
        path.write_bytes(wrong)
        with pytest.raises(IndexDamaged, match=r"manifest\.json"):
            StoredIndex.open(filled)


def rewrite(path: Path, **changes: Any) -> None:
    """A manifest of other content whose digest is right."""
    from factory.minhash.stored_manifest import _digest

    content = {**json.loads((path / "manifest.json").read_text()), **changes}
    content.pop("sha256")
    content = {key: value for key, value in content.items() if value is not None}
    (path / "manifest.json").write_text(json.dumps({**content, "sha256": _digest(content)}))


def test_other_schemes_and_formats_are_refused(filled: Path) -> None:
    rewrite(filled, scheme="words.sha1.v0")
    with pytest.raises(UsageError, match=r"words\.sha1\.v0") as caught:
        StoredIndex.open(filled)
    assert "build the index again" in caught.value.hint
    rewrite(filled, scheme=stored_module.IndexManifest(0.8, 25, 5, {}).scheme, format=2)
    with pytest.raises(UsageError, match="format 2"):
        StoredIndex.open(filled)
    rewrite(filled, format=1, bands=None)
    with pytest.raises(IndexDamaged, match=r"manifest\.json"):
        StoredIndex.open(filled)


def test_thresholds_and_bandings_that_do_not_fit(tmp_path: Path) -> None:
    high, low = tmp_path / "high", tmp_path / "low"
    StoredIndex.create(high, threshold=0.85).close()
    StoredIndex.create(low, threshold=0.5).close()
    with pytest.raises(UsageError, match=r"threshold of 0\.85, not for 0\.8") as caught:
        StoredIndex.open(high, threshold=0.8)
    assert "0.85 or more" in caught.value.hint
    with pytest.raises(UsageError, match=r"64 bands of 2; a threshold of 0\.8 takes 25 of 5") as caught:
        StoredIndex.open(low, threshold=0.8)
    assert "0.5" in caught.value.hint
    index = StoredIndex.open(low)
    for ask in (index.match_many, lambda prints: index.append(prints, [0])):
        with pytest.raises(UsageError, match="64 bands, the fingerprints have 25") as caught:
            ask(fingerprint(["x"]))
        assert "bands=64, size=2" in caught.value.hint
    for wrong in (0.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="threshold"):
            StoredIndex.create(tmp_path / "new", threshold=wrong)
        with pytest.raises(UsageError, match="threshold"):
            StoredIndex.open(low, threshold=wrong)
    assert not (tmp_path / "new").exists()


def test_rows_that_will_not_do(tmp_path: Path) -> None:
    with StoredIndex.create(tmp_path / "index") as index:
        with pytest.raises(UsageError, match="2 texts with 1 row ids"):
            index.append(fingerprint(["a", "b"]), [1])
        with pytest.raises(UsageError, match="-3 is negative"):
            index.append(fingerprint(["a", "b"]), [1, -3])
        assert len(index) == 0


def test_places_that_will_not_do(tmp_path: Path, filled: Path) -> None:
    with pytest.raises(UsageError, match="no such index"):
        StoredIndex.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").write_text("x")
    for name in ("file", "other"):
        with pytest.raises(UsageError, match="not an index"):
            StoredIndex.open(tmp_path / name)
        with pytest.raises(UsageError, match="no index"):
            StoredIndex.create(tmp_path / name)
        assert not is_index(tmp_path / name)
    with pytest.raises(UsageError, match="an index already"):
        StoredIndex.create(filled)
    assert len(StoredIndex.open(filled)) == 83
    with pytest.raises(UsageError, match="note"):
        StoredIndex.create(tmp_path / "new", note={"a": {1, 2}})
    with pytest.raises(FactoryError):
        StoredIndex.create(tmp_path / "file" / "below")
    index = StoredIndex.open(filled)
    shutil.rmtree(filled)
    with pytest.raises(UsageError, match="gone"):
        index.append(fingerprint(["a"]), [0])
