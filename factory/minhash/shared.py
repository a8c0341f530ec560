"""One index of near-duplicates for several machines, in Redis, through datasketch's `MinHashLSH`. Needs `redis`.

Buckets lie where datasketch puts them (its `affine32` MinHash, the scheme's bands); beside them each text's shingles,
by which every candidate is verified exactly, as everywhere else. All keys begin with `factory:NAME:`.

What it does not promise: *which* of two machines' near-duplicates wins depends on who asks first, so two runs that
share an index are not byte-identical when repeated. `match_many` then `append` leaves a gap in which another machine
may append the like; `offer_many` closes it by taking turns, as long as nobody's turn takes longer than `TURN` seconds.
A batch that breaks off is appended in part; appending it again does no harm. Rows with equal ids are told apart by who
came first. The server keeps it all in memory (about 15 KB a text of 90 words), and must not evict keys.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from factory.errors import FactoryError, KeyRefused, MissingExtra, ServerUnreachable, UsageError
from factory.minhash.fingerprints import Fingerprints
from factory.minhash.index import Index, Matches
from factory.minhash.scheme import PERMUTATIONS, SCHEME, U64, Ints, banding, jaccard, signature

TURN = 120
"""Seconds after which a turn that was not given back goes to the next."""

PASSWORD = "REDIS_PASSWORD"
"""The environment variable that holds the password of an address without one."""

_BLOCK = 1024
_FETCHED = 256
_TIMEOUT = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = struct.Struct(">QQ")


class SharedIndex:
    """An index on a Redis server. Row ids are the callers' own: machines that want them distinct give them so."""

    def __init__(self, client: Any, lsh: Any, prefix: str, where: str, threshold: float):
        self.threshold = threshold
        self.bands, self.size = banding(threshold)
        self._client, self._lsh, self._prefix, self._where = client, lsh, prefix, where

    @classmethod
    def connect(cls, url: str, name: str, *, threshold: float = 0.8) -> Self:
        """Join the index `name` on the server at `url` (redis://HOST:PORT/DB, rediss:// or unix://); make it if new.

        The password may stand in `url`, or in the environment as REDIS_PASSWORD; it is in no message. Raises
        MissingExtra without `redis`, ServerUnreachable, KeyRefused for a wrong password, UsageError for an address or
        a name that will not do, and where the index is of another scheme, banding, or a higher threshold.
        """
        redis, datasketch = _import()
        if not _NAME.fullmatch(name):
            raise UsageError(f"`{name}` cannot name a shared index", "use letters, digits, `.`, `_` and `-`")
        settings, where = _settings(redis, url)
        bands, size = banding(threshold)
        with _faults(redis, where):
            client = redis.Redis(**settings)
            _register(client, name, where, threshold)
            prefix = f"factory:{name}:{SCHEME}:{bands}x{size}"
            storage = {"type": "redis", "basename": prefix.encode(), "redis": settings}
            lsh = datasketch.MinHashLSH(
                params=(bands, size), num_perm=PERMUTATIONS, storage_config=storage, prepickle=False
            )
        return cls(client, lsh, prefix, where, threshold)

    def __len__(self) -> int:
        """Texts appended so far, by whomever."""
        with self._guarded():
            return int(self._client.hlen(self._prefix + ":texts"))

    def append(self, texts: Fingerprints, rows: Ints | Sequence[int]) -> None:
        """Add texts with their row ids (≥ 0), in batches. Raises UsageError, and as `connect` for the server."""
        ids = self._checked(texts, rows)
        with self._guarded():
            for first in range(0, len(texts), _BLOCK):
                self._append_block(texts[first : first + _BLOCK], ids[first : first + _BLOCK])

    def match_many(self, texts: Fingerprints) -> Matches:
        """For each text the duplicate with the lowest row id among all that the server holds at this moment."""
        self._checked(texts, np.arange(len(texts)))
        rows, similarity = np.full(len(texts), -1, dtype=np.int64), np.zeros(len(texts))
        exact = np.zeros(len(texts), dtype=bool)
        with self._guarded():
            for first in range(0, len(texts), _BLOCK):
                for place, found in self._match_block(texts[first : first + _BLOCK]):
                    rows[first + place], similarity[first + place], exact[first + place] = found
        return Matches(rows, similarity, exact)

    def offer_many(self, texts: Fingerprints, rows: Ints | Sequence[int]) -> Matches:
        """First wins, across machines: the matches of duplicates, after appending the texts that have none.

        Machines take turns, so that of two that offer near-duplicates one keeps its own. The batch comes in row order.
        """
        ids = self._checked(texts, rows)
        with self._turn():
            found = self.match_many(texts)
            fresh = np.flatnonzero(found.places < 0)
            if not len(fresh):
                return found
            mine = _only(texts, fresh)
            inner = Index(self.threshold).offer_many(mine)
            kept = np.flatnonzero(inner.places < 0)
            self.append(_only(mine, kept), ids[fresh[kept]])
        repeated = inner.places >= 0
        found.places[fresh[repeated]] = ids[fresh[kept[inner.places[repeated]]]]
        found.similarity[fresh] = inner.similarity
        found.exact[fresh] = inner.exact
        return found

    def forget(self) -> None:
        """Remove the index from the server, for everybody."""
        with self._guarded():
            name = self._prefix.split(":")[1]
            for pattern in (f"factory:{name}:*", f"factory:{name}"):
                for key in list(self._client.scan_iter(match=pattern, count=10_000)):
                    self._client.unlink(key)

    def _checked(self, texts: Fingerprints, rows: Ints | Sequence[int]) -> Ints:
        ids = np.asarray(rows, dtype=np.int64)
        if texts.keys.shape[1] != self.bands:
            what = f"the shared index has {self.bands} bands, the fingerprints have {texts.keys.shape[1]}"
            raise UsageError(what, f"fingerprint with bands={self.bands}, size={self.size}")
        if ids.shape != (len(texts),):
            raise UsageError(f"{len(texts)} texts with {ids.size} row ids", "give each text one row id")
        if len(ids) and int(ids.min()) < 0:
            raise UsageError(f"the row id {int(ids.min())} is negative", "row ids start at 0")
        return ids

    def _append_block(self, texts: Fingerprints, rows: Ints) -> None:
        """Sets first, buckets then: what is found in a bucket is always there to be compared."""
        import datasketch

        last = int(self._client.incrby(self._prefix + ":count", len(texts)))
        keys = [_KEY.pack(int(row), last - len(texts) + turn) for turn, row in enumerate(rows)]
        digests = [texts.digests[place].tobytes() for place in range(len(texts))]
        lowest = self._client.hmget(self._prefix + ":digests", digests) if digests else []
        values = {
            key: digest + texts.shingles_at(place).astype("<u8").tobytes()
            for place, (key, digest) in enumerate(zip(keys, digests, strict=True))
        }
        self._client.hset(self._prefix + ":texts", mapping=values)
        known = {digest: row for digest, row in zip(digests, lowest, strict=True) if row is not None}
        with self._lsh.insertion_session() as session:
            for place, (key, digest) in enumerate(zip(keys, digests, strict=True)):
                if digest in known and known[digest] <= key:
                    continue  # an equal text with a lower row id is there: it is found in this one's stead
                known[digest] = key
                if texts.ends[place] == texts.start(place):
                    self._client.zadd(self._prefix + ":empty", {key: 0})
                else:
                    minhash = datasketch.MinHash(hashvalues=_signature(texts, place), scheme="affine32")
                    session.insert(key, minhash, check_duplication=False)
        self._client.hset(self._prefix + ":digests", mapping=known)

    def _match_block(self, texts: Fingerprints) -> Iterator[tuple[int, tuple[int, float, bool]]]:
        empty = self._client.zrange(self._prefix + ":empty", 0, 0)
        candidates: list[set[bytes]] = [set() for _ in range(len(texts))]
        filled = [place for place in range(len(texts)) if texts.ends[place] > texts.start(place)]
        signatures = {place: _signature(texts, place) for place in filled}
        for (start, end), table in zip(self._lsh.hashranges, self._lsh.hashtables, strict=True):
            buckets = {place: self._lsh._H(signatures[place][start:end]) for place in filled}
            asked = sorted(set(buckets.values()))
            held = dict(zip(asked, table.getmany(*asked), strict=True)) if asked else {}
            for place, bucket in buckets.items():
                candidates[place] |= held[bucket]
        fetched: dict[bytes, bytes] = {}
        for place in range(len(texts)):
            if texts.ends[place] == texts.start(place):
                if empty:
                    yield place, (_KEY.unpack(empty[0])[0], 1.0, True)
                continue
            found = self._first(texts, place, sorted(candidates[place]), fetched)
            if found is not None:
                yield place, found

    def _first(
        self, texts: Fingerprints, place: int, candidates: Sequence[bytes], fetched: dict[bytes, bytes]
    ) -> tuple[int, float, bool] | None:
        """The candidate with the lowest row id that is a duplicate: its row id, the similarity, whether it is equal."""
        mine, digest = texts.shingles_at(place), texts.digests[place].tobytes()
        for first in range(0, len(candidates), _FETCHED):
            some = candidates[first : first + _FETCHED]
            missing = [key for key in some if key not in fetched]
            if missing:
                values = self._client.hmget(self._prefix + ":texts", missing)
                fetched.update((key, value) for key, value in zip(missing, values, strict=True) if value is not None)
            for key in some:
                if key not in fetched:
                    hint = "let the server keep its keys (`maxmemory-policy noeviction`) and make the index again"
                    raise FactoryError(f"{self._where}: the shared index has lost texts", hint, code="index_damaged")
                theirs: U64 = np.frombuffer(fetched[key], dtype="<u8", offset=16)
                if (similarity := jaccard(mine, theirs)) >= self.threshold:
                    return _KEY.unpack(key)[0], similarity, fetched[key][:16] == digest
        return None

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        redis, _ = _import()
        with _faults(redis, self._where):
            yield

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Only one machine at a time is in here."""
        redis, _ = _import()
        lock = self._client.lock(self._prefix + ":turn", timeout=TURN)
        with self._guarded():
            lock.acquire()
        try:
            yield
        finally:
            with self._guarded():
                try:
                    lock.release()
                except redis.exceptions.LockNotOwnedError as error:
                    what = f"{self._where}: a turn took longer than {TURN} s, and another machine went on meanwhile"
                    raise FactoryError(what, "offer smaller batches", code="turn_lost") from error


def _import() -> tuple[Any, Any]:
    """redis and datasketch. Raises MissingExtra."""
    try:
        import redis
    except ImportError as error:
        raise MissingExtra("an index shared in Redis", "redis") from error
    import datasketch

    return redis, datasketch


def _settings(redis: Any, url: str) -> tuple[dict[str, Any], str]:
    """What `redis.Redis` takes, and the address as it may be shown."""
    try:
        parsed = redis.connection.parse_url(url)
    except (ValueError, TypeError):  # what it says may hold the password
        hint = "for example redis://127.0.0.1:6379/0; a password belongs into the environment as REDIS_PASSWORD"
        raise UsageError("this is no address of a Redis server", hint) from None
    kind = parsed.pop("connection_class", None)
    settings: dict[str, Any] = {**parsed, "decode_responses": False}
    if kind is redis.connection.SSLConnection:
        settings["ssl"] = True
    if kind is redis.connection.UnixDomainSocketConnection:
        settings["unix_socket_path"] = settings.pop("path")
    where = settings.get("unix_socket_path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
    if not settings.get("password") and os.environ.get(PASSWORD):
        settings["password"] = os.environ[PASSWORD]
    settings.setdefault("socket_connect_timeout", _TIMEOUT)
    settings.setdefault("socket_timeout", _TIMEOUT)
    settings["retry"] = redis.retry.Retry(redis.backoff.ExponentialBackoff(cap=1.0, base=0.05), 3)
    return settings, f"the Redis server at {where}"


@contextmanager
def _faults(redis: Any, where: str) -> Iterator[None]:
    """Tell a Redis fault as ours, in words of our own: a server's may repeat what it was sent."""
    errors = redis.exceptions
    try:
        yield
    except (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError) as error:
        raise _refused(where) from error
    except (errors.ConnectionError, errors.TimeoutError, OSError) as error:
        if isinstance(error.__cause__, errors.AuthenticationError):
            raise _refused(where) from error
        hint = "start it, or check host, port and network; then run the same command again"
        raise ServerUnreachable(f"{where} does not answer", hint) from error
    except errors.ResponseError as error:
        if str(error).startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
            raise _refused(where) from error
        if str(error).startswith("OOM"):
            raise FactoryError(f"{where} is out of memory", "give it more (`maxmemory`)", code="storage") from error
        raise FactoryError(f"{where} refuses: {str(error).split(' ')[0]}", "see the server's own log") from error


def _refused(where: str) -> KeyRefused:
    hint = f"set the environment variable {PASSWORD}, or write redis://USER@HOST:PORT/DB for another user"
    return KeyRefused(f"{where} refuses the password or the user", hint)


def _register(client: Any, name: str, where: str, threshold: float) -> None:
    """Write down what the index is if it is new, else compare."""
    bands, size = banding(threshold)
    mine = {"scheme": SCHEME, "bands": bands, "size": size, "threshold": threshold}
    client.set(f"factory:{name}", json.dumps(mine), nx=True)
    raw = client.get(f"factory:{name}")
    try:
        held = json.loads(raw)
        theirs = {key: held[key] for key in mine}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{where}: `factory:{name}` is no shared index", "choose another name") from error
    what = f"{where}: the index `{name}` "
    if theirs["scheme"] != SCHEME:
        hint = "schemes are never mixed: choose another name"
        raise UsageError(f"{what}has hashes of the scheme `{theirs['scheme']}`, this version's are `{SCHEME}`", hint)
    if (theirs["bands"], theirs["size"]) != (bands, size):
        banded = f"{theirs['bands']} bands of {theirs['size']}; a threshold of {threshold} takes {bands} of {size}"
        raise UsageError(f"{what}has {banded}", f"use the threshold {theirs['threshold']}, or another name")
    if threshold < theirs["threshold"]:
        hint = f"ask for {theirs['threshold']} or more, or choose another name"
        raise UsageError(f"{what}was made for a threshold of {theirs['threshold']}, not for {threshold}", hint)


def _signature(texts: Fingerprints, place: int) -> Any:
    return signature(texts.shingles_at(place)) if texts.signatures is None else texts.signatures[place]


def _only(texts: Fingerprints, places: Ints) -> Fingerprints:
    """The fingerprints of some texts."""
    sets = [texts.shingles_at(int(place)) for place in places]
    return Fingerprints(
        np.concatenate(sets) if sets else np.empty(0, dtype=np.uint64),
        np.cumsum([len(one) for one in sets], dtype=np.int64),
        texts.keys[places],
        texts.digests[places],
        None if texts.signatures is None else texts.signatures[places],
    )
