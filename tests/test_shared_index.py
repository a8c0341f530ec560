"""The index that several machines share, on a real Redis server; brute force and the index on disk are the oracles."""

from __future__ import annotations

import builtins
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.errors import FactoryError, KeyRefused, MissingExtra, ServerUnreachable, UsageError
from factory.minhash import Index, fingerprint, shared
from factory.minhash.shared import SharedIndex
from factory.minhash.stored import StoredIndex

SECRET = "pass-phrase-of-the-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(directory: Path, *options: str) -> tuple[subprocess.Popen[str], int]:
    """A Redis server of our own, ready for connections."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    pytest.importorskip("redis", reason="the package redis is not installed")
    for _ in range(5):  # somebody may take the port before the server does
        port = free_port()
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *options]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                return server, port
        server.wait()
    raise AssertionError("redis-server does not start")


def stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server, port = serve(tmp_path_factory.mktemp("redis"))
    yield f"redis://127.0.0.1:{port}/0"
    stop(server)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name.removeprefix("test_")[:40]


def texts_of(rng: random.Random, count: int) -> list[str]:
    """Texts of which about half are near another, with empty, short and equal ones among them."""
    made: list[str] = []
    for _ in range(count):
        kind = rng.random()
        if made and kind < 0.5:
            words = rng.choice(made).split() or ["lone"]
            for _ in range(rng.randint(0, 3)):
                words[rng.randrange(len(words))] = f"w{rng.randrange(300)}"
            made.append(" ".join(words))
        elif kind < 0.55:
            made.append("")
        else:
            made.append(" ".join(f"w{rng.randrange(300)}" for _ in range(rng.randint(1, 60))))
    return made


def test_it_answers_as_the_index_on_disk(url: str, name: str, tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = fingerprint(texts_of(rng, 300), signatures=True)
    rows = np.array(rng.sample(range(500), 200))
    one, other = SharedIndex.connect(url, name), SharedIndex.connect(url, name)
    with StoredIndex.create(tmp_path / "index") as stored:
        for index, first in ((one, 0), (other, 70), (one, 140)):
            last = min(first + 70, 200)
            index.append(texts[first:last], rows[first:last])
            stored.append(texts[first:last], rows[first:last])
        expected = stored.match_many(texts)
    assert (expected.places >= 0).sum() > 200
    for index in (one, other):
        found = index.match_many(texts)
        assert len(index) == 200
        assert found.places.tolist() == expected.places.tolist()
        assert found.similarity.tolist() == expected.similarity.tolist()
        assert found.exact.tolist() == expected.exact.tolist()


def test_signatures_may_be_left_out_and_a_lower_threshold_takes_other_bands(url: str, name: str) -> None:
    index = SharedIndex.connect(url, name, threshold=0.5)
    words = [f"w{i}" for i in range(60)]
    texts = [" ".join(words), " ".join([*words[:50], *"abcdefghij"])]
    prints = fingerprint(texts, bands=index.bands, size=index.size)
    index.append(prints[0:1], [7])
    assert index.match_many(prints).places.tolist() == [7, 7]
    with pytest.raises(UsageError, match="25") as caught:
        index.append(fingerprint(texts), [1, 2])
    assert f"bands={index.bands}" in caught.value.hint
    with pytest.raises(UsageError, match="row ids"):
        index.append(prints, [1])
    with pytest.raises(UsageError, match="negative"):
        index.append(prints, [1, -1])


def test_offering_in_turns_keeps_what_one_machine_would_keep(url: str, name: str) -> None:
    texts = texts_of(random.Random(2), 240)
    alone = Index().offer_many(texts)
    kept: list[int] = []
    for first in range(0, 240, 50):
        index = SharedIndex.connect(url, name)  # another machine each time
        rows = np.arange(first, min(first + 50, 240))
        found = index.offer_many(fingerprint(texts[first : first + 50]), rows)
        kept += rows[found.places < 0].tolist()
        assert np.isin(found.places[found.places >= 0], kept).all()
    assert kept == np.flatnonzero(alone.places < 0).tolist()
    assert len(SharedIndex.connect(url, name)) == len(kept)


def test_of_machines_that_offer_the_same_one_keeps_each_text(url: str, name: str) -> None:
    texts = [" ".join(f"w{i}" for i in range(k, k + 40)) for k in range(0, 4000, 100)]
    prints = fingerprint(texts)
    kept: list[int] = []

    def offer(machine: int) -> None:
        index = SharedIndex.connect(url, name)
        for first in range(0, len(texts), 10):
            found = index.offer_many(prints[first : first + 10], np.arange(first, first + 10) + 1000 * machine)
            kept.extend((np.flatnonzero(found.places < 0) + first).tolist())

    machines = [threading.Thread(target=offer, args=(machine,)) for machine in range(4)]
    for thread in machines:
        thread.start()
    for thread in machines:
        thread.join()
    assert sorted(kept) == list(range(len(texts)))


def test_many_equal_texts_are_one_entry_in_the_buckets(url: str, name: str) -> None:
    text = " ".join(f"w{i}" for i in range(40))
    index = SharedIndex.connect(url, name)
    index.append(fingerprint([text] * 3000), np.arange(3000) + 5)
    index.append(fingerprint([text]), [2])
    assert len(index) == 3001
    found = index.match_many(fingerprint([text, text + " more"]))
    assert found.places.tolist() == [2, 2]
    assert found.exact.tolist() == [True, False]
    buckets = [len(bucket) for table in index._lsh.hashtables for bucket in table.getmany(*table.keys())]
    assert set(buckets) == {2}


def test_datasketch_reads_the_index(url: str, name: str) -> None:
    import datasketch

    from factory.minhash import shingles, signature

    text = " ".join(f"w{i}" for i in range(40))
    index = SharedIndex.connect(url, name)
    index.append(fingerprint([text], signatures=True), [3])
    lsh = datasketch.MinHashLSH(
        params=(25, 5),
        num_perm=128,
        storage_config={"type": "redis", "basename": index._prefix.encode(), "redis": address(url)},
        prepickle=False,
    )
    asked = datasketch.MinHash(hashvalues=signature(shingles(text)), scheme="affine32")
    assert [int.from_bytes(key[:8], "big") for key in lsh.query(asked)] == [3]


def address(url: str) -> dict[str, Any]:
    host, port = url.removeprefix("redis://").removesuffix("/0").split(":")
    return {"host": host, "port": int(port)}


def test_forgetting_leaves_other_indexes(url: str, name: str) -> None:
    one, other = SharedIndex.connect(url, name), SharedIndex.connect(url, name + "-other")
    prints = fingerprint(["a b c d e f g h i"])
    one.append(prints, [0])
    other.append(prints, [0])
    one.forget()
    assert (len(one), len(other)) == (0, 1)
    assert other.match_many(prints).places.tolist() == [0]
    again = SharedIndex.connect(url, name, threshold=0.5)  # the name is free again
    assert again.match_many(fingerprint(["x"], bands=again.bands, size=again.size)).places.tolist() == [-1]


def test_another_scheme_or_banding_or_a_lower_threshold_is_refused(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    SharedIndex.connect(url, name, threshold=0.85)
    assert SharedIndex.connect(url, name, threshold=0.9).threshold == 0.9
    with pytest.raises(UsageError, match=r"0\.85, not for 0\.8"):
        SharedIndex.connect(url, name, threshold=0.8)
    with pytest.raises(UsageError, match="25 bands of 5") as caught:
        SharedIndex.connect(url, name, threshold=0.5)
    assert "0.85" in caught.value.hint
    monkeypatch.setattr(shared, "SCHEME", "another.v9")
    with pytest.raises(UsageError, match=r"another\.v9") as caught:
        SharedIndex.connect(url, name, threshold=0.85)
    assert "never mixed" in caught.value.hint


@pytest.mark.parametrize("wrong", ["", "a b", "../x", "x" * 65, "a:b", "*"])
def test_names_that_will_not_do(url: str, wrong: str) -> None:
    with pytest.raises(UsageError, match="cannot name"):
        SharedIndex.connect(url, wrong)


def test_a_foreign_key_under_the_name_is_left_alone(url: str, name: str) -> None:
    redis = pytest.importorskip("redis")
    client = redis.Redis.from_url(url)
    client.set(f"factory:{name}", "something else")
    with pytest.raises(UsageError, match="no shared index"):
        SharedIndex.connect(url, name)
    assert client.get(f"factory:{name}") == b"something else"
    client.rpush(f"factory:{name}-list", "x")
    with pytest.raises(FactoryError, match="WRONGTYPE"):
        SharedIndex.connect(url, name + "-list")
    client.close()


def test_lost_texts_are_told(url: str, name: str) -> None:
    index = SharedIndex.connect(url, name)
    prints = fingerprint(["a b c d e f g h i"])
    index.append(prints, [0])
    index._client.unlink(index._prefix + ":texts")
    with pytest.raises(FactoryError, match="lost texts") as caught:
        index.match_many(prints)
    assert "noeviction" in caught.value.hint


def test_a_turn_that_lasts_too_long_is_told(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = SharedIndex.connect(url, name)
    prints = fingerprint(["a b c d e f g h i"])

    def slow(*_: Any) -> Any:
        index._client.unlink(index._prefix + ":turn")  # what the server does after `TURN` seconds
        return match(prints)

    match = index.match_many
    monkeypatch.setattr(index, "match_many", slow)
    with pytest.raises(FactoryError, match="turn took longer"):
        index.offer_many(prints, [0])


def test_passwords_are_asked_for_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, port = serve(tmp_path, "--requirepass", SECRET)
    try:
        plain = f"redis://127.0.0.1:{port}"
        wrong = [plain, f"redis://:{SECRET}-not@127.0.0.1:{port}", f"redis://nobody:{SECRET}@127.0.0.1:{port}"]
        for address_ in wrong:
            with pytest.raises(KeyRefused, match="refuses the password") as caught:
                SharedIndex.connect(address_, "index")
            assert f"127.0.0.1:{port}" in caught.value.message
            assert SECRET not in shown(caught.value)
        monkeypatch.setenv("REDIS_PASSWORD", SECRET)
        index = SharedIndex.connect(plain, "index")
        monkeypatch.delenv("REDIS_PASSWORD")
        prints = fingerprint(["a b c d e f g h i"])
        index.append(prints, [4])
        found = SharedIndex.connect(f"redis://:{SECRET}@127.0.0.1:{port}", "index").match_many(prints)
        assert found.places.tolist() == [4]
    finally:
        stop(server)
    with pytest.raises(ServerUnreachable, match=f"127.0.0.1:{port} does not answer") as gone:
        index.match_many(prints)
    assert SECRET not in shown(gone.value)
    with pytest.raises(ServerUnreachable) as gone:
        SharedIndex.connect(f"redis://:{SECRET}@127.0.0.1:{port}", "index")
    assert SECRET not in shown(gone.value)


def shown(error: BaseException | None) -> str:
    """All that a user or a log could see of an error."""
    parts = []
    while error is not None:
        parts += [str(error), repr(error), str(getattr(error, "hint", ""))]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(parts)


@pytest.mark.parametrize("wrong", ["127.0.0.1:6379", "http://127.0.0.1", f"redis://:{SECRET}@host:port/0", ""])
def test_addresses_that_will_not_do(wrong: str) -> None:
    pytest.importorskip("redis", reason="the package redis is not installed")
    with pytest.raises(UsageError, match="no address") as caught:
        SharedIndex.connect(wrong, "index")
    assert "redis://127.0.0.1:6379/0" in caught.value.hint
    assert SECRET not in shown(caught.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "redis":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match="Redis") as caught:
        SharedIndex.connect("redis://127.0.0.1", "index")
    assert "[redis]" in caught.value.hint
