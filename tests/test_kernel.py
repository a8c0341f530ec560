"""The compiled kernel and NumPy walk alike: the same matches as one by one and as brute force, in any batches."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import doctor, kernel
from factory.errors import FactoryError, UsageError
from factory.kernel import calls, self_test
from factory.minhash import Fingerprints, Index, Match, Matches, fingerprint, jaccard, normalise, shingles

ROOT = Path(__file__).resolve().parent.parent
compiled = pytest.mark.skipif(not kernel.available(), reason=f"no compiled kernel: {kernel.why()}")
WAYS = [False, pytest.param(True, marks=compiled)]
HAN = "天地玄黃宇宙洪荒日月盈昃"


def words(rng: random.Random, count: int, vocabulary: int = 300) -> list[str]:
    return [f"w{rng.randrange(vocabulary)}" for _ in range(count)]


def corpus(seed: int, count: int) -> list[str]:
    """Long, short, Han, boilerplate, empty and identical rows, with edited copies of earlier ones among them."""
    rng = random.Random(seed)
    frame = words(rng, rng.randrange(10, 60))
    found = ["", "word", " "]
    while len(found) < count:
        kind = rng.randrange(8)
        if kind <= 2:
            edited = rng.choice(found).split() or ["nothing"]
            for _ in range(rng.randrange(5)):
                edited[rng.randrange(len(edited))] = f"new{rng.randrange(1000)}"
            found.append(" ".join(edited))
        elif kind == 3:
            found.append(rng.choice(found).upper() + "  ")
        elif kind == 4:
            found.append(" ".join(words(rng, rng.randrange(1, 12), 30)))
        elif kind == 5:
            found.append("".join(rng.choice(HAN) for _ in range(rng.randrange(1, 40))))
        elif kind == 6:
            found.append(" ".join(frame + words(rng, rng.randrange(2, 14), 80)))
        else:
            found.append(" ".join(words(rng, rng.randrange(8, 80))))
    return found


def told(matches: Matches) -> list[tuple[int, float, bool]]:
    """In one list, so that lists of batches add up."""
    columns = (matches.places.tolist(), matches.similarity.tolist(), matches.exact.tolist())
    return list(zip(*columns, strict=True))


def in_batches(index: Index, rows: list[str], cuts: list[int]) -> list[tuple[int, float, bool]]:
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        found += told(index.offer_many(rows[start:end]))
    return found


def brute_force(rows: list[str], threshold: float) -> list[tuple[int, float, bool]]:
    """First wins by exact Jaccard over every kept row; no bands, so that it differs where the bands miss a pair."""
    kept: list[tuple[str, set[int]]] = []
    found = []
    for row in rows:
        text, mine = normalise(row), set(shingles(row).tolist())
        for place, (other, theirs) in enumerate(kept):
            alike = len(mine & theirs) / len(mine | theirs) if mine or theirs else 1.0
            if alike >= threshold:
                found.append((place, alike, text == other))
                break
        else:
            found.append((-1, 0.0, False))
            kept.append((text, mine))
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("seed", [11, 12])
def test_a_batch_wins_first_as_by_brute_force(way: bool, threshold: float, seed: int) -> None:
    """The corpora are fixed; the bands miss no pair in them."""
    rows = corpus(seed, 260)
    expected = brute_force(rows, threshold)
    assert sum(place >= 0 for place, _, _ in expected) > 30
    assert any(exact for _, _, exact in expected)
    for cuts in ([], [1, 2, 40, 41, 200], list(range(1, 260, 7))):
        assert in_batches(Index(threshold, kernel=way), rows, cuts) == expected


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    threshold=st.floats(0.3, 1.0),
    hub=st.sampled_from([0, 1, 2, 5, 32]),
    cuts=st.lists(st.integers(0, 80), max_size=4).map(sorted),
)
def test_batches_hubs_and_the_kernel_change_nothing(
    way: bool, seed: int, threshold: float, hub: int, cuts: list[int]
) -> None:
    """Against one by one in NumPy without hubs."""
    rows = corpus(seed, 60)
    plain, expected = Index(threshold, hub=10**9, kernel=False), []
    for row in rows:
        match = plain.offer(shingles(row))
        expected.append((-1, 0.0) if match is None else (match.place, match.similarity))
    index = Index(threshold, hub=hub, kernel=way)
    assert [match[:2] for match in in_batches(index, rows, cuts)] == expected
    assert len(index) == len(plain)
    again = Index(threshold, hub=hub, kernel=way)
    for place in range(len(plain)):
        assert index.shingles_at(place).tolist() == plain.shingles_at(place).tolist()
        again.add(again.fingerprint(plain.shingles_at(place)))
    asked, after = fingerprint(rows, bands=index.bands, size=index.size), index.match_many(rows)
    assert again.match_many(asked).places.tolist() == after.places.tolist()
    for row in range(len(rows)):
        match = index.match(asked.at(row))
        assert match == Match(int(after.places[row]), float(after.similarity[row]))
    assert (after.similarity >= threshold).all()
    assert len(index) == len(again) == len(plain)


@pytest.mark.parametrize("way", WAYS)
def test_hubs_are_counted_alike(way: bool) -> None:
    rows = corpus(5, 300)
    one_by_one = Index(0.8, hub=3, kernel=False)
    for row in rows:
        one_by_one.offer(shingles(row))
    index = Index(0.8, hub=3, kernel=way)
    in_batches(index, rows, [100, 200])
    # NumPy looks a text that repeats one of its batch up once.
    assert 20 < index.hub_queries <= one_by_one.hub_queries
    assert not way or index.hub_queries == one_by_one.hub_queries


@pytest.mark.parametrize("way", WAYS)
def test_boilerplate_of_all_lengths_at_a_low_threshold(way: bool) -> None:
    """Sizes on both sides of where they are looked up one by one, and shingles with many members of one size."""
    rng = random.Random(4)
    frame = words(rng, 700)
    rows = [" ".join(frame[: rng.randrange(20, 700)] + words(rng, rng.choice([3, 30, 200]), 10**6)) for _ in range(140)]
    for threshold in (0.5, 0.8):
        expected = brute_force(rows, threshold)
        index = Index(threshold, hub=1, kernel=way)
        assert in_batches(index, rows, [50, 51]) == expected
        assert index.hub_queries > 60


@compiled
def test_a_hundred_thousand_rows_of_boilerplate_and_as_many_identical_ones() -> None:
    """Neither becomes quadratic: the kernel takes a second or two for both."""
    rng = random.Random(3)
    frame = words(rng, 50)
    rows = [" ".join(frame + words(rng, 9, 10**6)) for _ in range(20_000)] * 5
    index = Index(kernel=True)
    found = index.offer_many(rows)
    assert len(index) == 20_000
    assert (found.places[20_000:] == np.tile(np.arange(20_000), 4)).all()
    assert found.exact[20_000:].all()
    assert index.hub_queries > 90_000
    same = Index(kernel=True).offer_many(["The same nine words stand here again and again."] * 100_000)
    assert same.places.tolist() == [-1, *[0] * 99_999]
    assert same.exact[1:].all()


def test_a_hundred_thousand_identical_rows_in_numpy() -> None:
    index = Index(kernel=False)
    found = index.offer_many(["The same nine words stand here again and again."] * 100_000)
    assert found.places.tolist() == [-1, *[0] * 99_999]
    assert len(index) == 1


@pytest.mark.parametrize("way", WAYS)
def test_empty_rows_equal_the_first_empty_one(way: bool) -> None:
    index = Index(kernel=way)
    assert told(index.match_many(["", "a"])) == [(-1, 0.0, False)] * 2
    assert told(index.offer_many(["a", " \n", "b", "", "\t"])) == [
        (-1, 0.0, False), (-1, 0.0, False), (-1, 0.0, False), (1, 1.0, True), (1, 1.0, True),
    ]  # fmt: skip
    assert index.offer(shingles("")) == Match(1, 1.0)
    assert len(index.offer_many([])) == 0


@pytest.mark.parametrize("way", WAYS)
def test_equal_shingles_are_exact_only_where_the_texts_are_equal(way: bool) -> None:
    index = Index(kernel=way)
    once, twice = "a b c d e f g h i a b c d e f g h i a b c d e", "a b c d e f g h i a b c d e f g h i a b c d e f g h"
    assert jaccard(shingles(once), shingles(twice)) == 1.0
    assert told(index.offer_many([once, twice, once.title()])) == [
        (-1, 0.0, False), (0, 1.0, False), (0, 1.0, True),
    ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_pair_that_shares_no_band_is_no_duplicate(way: bool) -> None:
    """Nor is one that only seems to: the kernel's buckets know 40 bits of a key, and it looks at all 64."""
    sets = np.unique(np.random.default_rng(1).integers(0, 1 << 63, 30, dtype=np.uint64))
    for hub in (0, 32):
        index = Index(0.8, hub=hub, kernel=way)
        kept = index.fingerprint(sets)
        index.add(kept)
        other = kept.keys ^ np.uint64(1 << 40)  # bits that no slot holds
        ends = np.array([len(sets)])
        keys = np.stack([other, kept.keys])
        asked = Fingerprints(np.tile(sets, 2), np.concatenate([ends, 2 * ends]), keys, np.zeros((2, 2), np.uint64))
        assert index.match_many(asked).places.tolist() == [-1, 0]


@pytest.mark.parametrize("way", WAYS)
def test_fingerprints_of_another_banding_are_refused(way: bool) -> None:
    with pytest.raises(UsageError, match="42 bands, and the index has 25"):
        Index(kernel=way).offer_many(fingerprint(["a"], bands=42, size=3))


# The kernel itself


@compiled
def test_arrays_that_do_not_fit_are_refused_before_c_sees_them() -> None:
    library = kernel.library()
    table = calls.Table(library, 0.8, 25, 5, 32)
    keys, five = np.zeros((1, 25), np.uint64), np.arange(5, dtype=np.uint64)
    for ends in ([6], [-1]):
        with pytest.raises(ValueError, match="ascend"):
            table.walk(five, np.array(ends), keys, keep=True)
    with pytest.raises(ValueError, match="25 bands"):
        table.walk(five, np.array([5]), keys[:, :24], keep=True)
    with pytest.raises(ValueError, match="2 sets and the keys of 1"):
        table.walk(five, np.array([2, 5]), keys, keep=True)
    with pytest.raises(IndexError, match="holds 0"):
        table.set_at(0)
    data, wide = np.zeros(4, np.uint8), np.zeros(1, bool)
    for offsets in ([0, 5], [-1, 2], [3, 2]):
        with pytest.raises(ValueError, match="ascend within"):
            calls.fingerprint(library, (data, np.array(offsets), wide), 25, 5, signed=False)
    with pytest.raises(ValueError, match="bool for each text"):
        calls.fingerprint(library, (data, np.array([0, 2, 4]), wide), 25, 5, signed=False)
    for bands, size in ((26, 5), (25, 6), (0, 5), (129, 1)):
        with pytest.raises(ValueError, match="minima"):
            calls.Table(library, 0.8, bands, size, 32)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(table)


@compiled
@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_bytes_that_are_no_text_do_no_harm(parts: list[bytes], wide: bool) -> None:
    """Not even UTF-8 cut short, as long as the offsets are right; what comes out is sorted and distinct."""
    data = np.frombuffer(b"".join(parts), dtype=np.uint8)
    offsets = np.cumsum([0, *map(len, parts)])
    made = calls.fingerprint(kernel.library(), (data, offsets, np.full(len(parts), wide)), 25, 5, signed=True)
    for start, end in zip([0, *made[1][:-1].tolist()], made[1].tolist(), strict=False):
        assert (np.diff(made[0][start:end].astype(object)) > 0).all()


@compiled
def test_memory_of_the_kernel_is_flat() -> None:
    """100 shingles are 800 bytes; 25 slots of 8 bytes, at most three quarters full and grown by half, 400 more."""
    rng = np.random.default_rng(2)
    count = 30_000
    sets = rng.integers(0, 1 << 63, (count, 100), dtype=np.uint64)
    sets.sort(axis=1)
    keys = rng.integers(0, 1 << 63, (count, 25), dtype=np.uint64) * np.uint64(2)
    table = calls.Table(kernel.library(), 0.8, 25, 5, 32)
    table.walk(sets.reshape(-1), np.arange(1, count + 1) * 100, keys, keep=True)
    assert len(table) == count
    assert table.nbytes / count < 1400
    assert table.set_at(count - 1).tolist() == sets[-1].tolist()


@compiled
def test_threads_may_share_an_index() -> None:
    index = Index(kernel=True)
    rows = [" ".join(words(random.Random(n), 30, 10**6)) for n in range(500)]
    made = fingerprint(rows)
    threads = [threading.Thread(target=lambda: index.offer_many(made)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(index) == 500
    assert index.match_many(made).similarity.tolist() == [1.0] * 500


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    return (done.stdout + done.stderr).strip()


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernel.VARIABLE, "off")
    assert not kernel.available()
    assert kernel.why() == "switched off by FACTORY_KERNEL=off"
    assert not Index().kernel
    with pytest.raises(UsageError, match="asked for, and there is none: switched off"):
        Index(kernel=True)
    monkeypatch.setenv(kernel.VARIABLE, "maybe")
    with pytest.raises(UsageError, match="FACTORY_KERNEL=maybe is not known"):
        Index()
    monkeypatch.setenv(kernel.VARIABLE, "")
    assert Index().kernel == kernel.available()


def reload_kernel(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(kernel, "PATH", path)
    kernel._load.cache_clear()


@pytest.fixture
def fresh() -> object:
    """The kernel is loaded anew before and after."""
    kernel._load.cache_clear()
    yield
    kernel._load.cache_clear()


def test_what_is_no_kernel_is_told_and_numpy_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: object
) -> None:
    reload_kernel(monkeypatch, tmp_path / "_kernel.so")
    assert kernel.why().startswith("not built")
    assert not Index().kernel
    monkeypatch.setenv(kernel.VARIABLE, "require")
    with pytest.raises(UsageError, match="asked for, and there is none: not built"):
        Index()
    assert not Index(kernel=False).kernel
    monkeypatch.delenv(kernel.VARIABLE)
    (tmp_path / "_kernel.so").write_bytes(b"no library")
    reload_kernel(monkeypatch, tmp_path / "_kernel.so")
    assert "cannot be loaded" in kernel.why()
    check = next(one for one in doctor.examine(None).checks if one["name"] == "kernel")
    assert check["ok"] is None
    assert "cannot be loaded" in check["told"]


@compiled
def test_a_kernel_of_another_version_or_with_other_results_is_not_used(
    monkeypatch: pytest.MonkeyPatch, fresh: object
) -> None:
    monkeypatch.setattr(kernel, "ABI", 999)
    assert "is of version 1, and this package needs 999" in kernel.why()
    monkeypatch.undo()
    kernel._load.cache_clear()
    right = kernel._constants()
    monkeypatch.setattr(kernel, "_constants", lambda: right[:-1])
    assert "takes other constants" in kernel.why()
    for place, what in ((0, "shingles"), (-1, "signatures"), (300, "band keys")):
        wrong = right.copy()
        wrong[:256] += np.uint64(place == 0)
        wrong[[place]] += np.uint64(place != 0)
        kernel._load.cache_clear()
        monkeypatch.setattr(kernel, "_constants", lambda wrong=wrong: wrong)
        assert f"gives other results than NumPy on this machine ({what})" in kernel.why()
        assert not Index().kernel


@compiled
def test_doctor_tells_of_the_kernel() -> None:
    check = next(one for one in doctor.examine(None).checks if one["name"] == "kernel")
    assert check["ok"] is True
    assert self_test.difference(kernel.library()) == ""


@compiled
def test_memory_that_runs_out_is_a_memory_error() -> None:
    """In a process that may have 64 MB more than it has: told as MemoryError, then as an index of no more use."""
    code = """
import resource, numpy as np
from factory.errors import FactoryError
from factory.kernel import calls, library
table = calls.Table(library(), 0.8, 25, 5, 32)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 26),) * 2)
rng = np.random.default_rng(0)
sets = np.sort(rng.integers(0, 1 << 63, (1000, 100), dtype=np.uint64), axis=1).reshape(-1)
ends = np.arange(100, 100_001, 100)
try:
    for _ in range(2000):
        table.walk(sets, ends, rng.integers(0, 1 << 63, (1000, 25), dtype=np.uint64), keep=True)
except MemoryError as error:
    print(error)
try:
    table.walk(sets, ends, np.zeros((1000, 25), np.uint64), keep=True)
except FactoryError as error:
    print(error.message)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("the limit on memory is Linux's")
    lines = run(code).splitlines()
    assert lines == [
        "no memory for near-duplicates",
        "the index lacked memory before, and what it holds is not whole",
    ]


def test_errors_are_the_factorys() -> None:
    assert issubclass(UsageError, FactoryError)


def test_it_builds_from_source(tmp_path: Path, fresh: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `scripts/build_kernel.py` does it; without a compiler it says so, and nothing is left behind."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import build_kernel
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    for source in (ROOT / "factory" / "kernel").glob("*.[ch]"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setenv("CC", "/nowhere/cc")
        assert "no C compiler" in build_kernel.build(tmp_path)
        patch.setenv("CC", sys.executable)
        assert "failed" in build_kernel.build(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    if build_kernel.compiler() is None:
        pytest.skip("no C compiler here")
    assert build_kernel.stale(tmp_path)
    assert build_kernel.build(tmp_path) == ""
    assert not build_kernel.stale(tmp_path)
    reload_kernel(monkeypatch, tmp_path / build_kernel.NAME)
    assert kernel.why() == ""
