"""What counts as a duplicate of what: `Duplicates` takes texts in order, and the first of those that are alike wins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factory.duplicates.characters import Characters
from factory.duplicates.embeddings import Embeddings, vectors_of
from factory.duplicates.engines import Engine
from factory.duplicates.grams import grams_of
from factory.duplicates.references import Reference, ScopeOf
from factory.duplicates.shingled import Shingles, fingerprints_of, take
from factory.errors import UsageError
from factory.minhash import Fingerprints, Ints, Matches, banding
from factory.postings import Growing

if TYPE_CHECKING:
    from factory.minhash.stored import StoredIndex

Embedded = ArrayLike | Sequence[ArrayLike | None]
"""Vectors, [n, dimensions]; one may be None where the text has no visible character."""
By = Literal["shingles", "characters", "embeddings"]
Kind = Literal["exact", "near", "paraphrase", "semantic"]

THRESHOLDS: Mapping[By, float] = {"shingles": 0.8, "characters": 0.7, "embeddings": 0.9}
"""The default of each."""
KINDS: Mapping[By, Kind] = {"shingles": "near", "characters": "paraphrase", "embeddings": "semantic"}
"""What a duplicate that is not the same text is called."""
NAMES: Mapping[By, str] = {"shingles": "Jaccard similarity", "characters": "cosine", "embeddings": "cosine"}
"""What the similarity is."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """What a text repeats: a kept text (`source` None, `place` in the order of keeping), or a row of a reference.

    `row`: the number of that text among all that were offered, or the row of the reference.
    """

    place: int | None
    source: str | None
    row: int
    similarity: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class DuplicatesFound(Sequence["Duplicate | None"]):
    """Of n offered texts, as arrays; as a sequence: a `Duplicate` each, or None for those that were kept.

    `rows` int64: as `Duplicate.row`, −1 for a kept text. `places` int64: as `Duplicate.place`, else −1. `sources`
    int32: the number of the reference in `names`, else −1. `similarity` float64, 0 for a kept text; `exact` bool.
    """

    rows: Ints
    places: Ints
    sources: NDArray[np.int32]
    similarity: NDArray[np.float64]
    exact: NDArray[np.bool_]
    names: tuple[str, ...]
    kind: Kind

    @property
    def kept(self) -> NDArray[np.bool_]:
        return self.rows < 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return [self[one] for one in range(*k.indices(len(self)))]
        if self.rows[k] < 0:
            return None
        place, source = int(self.places[k]), int(self.sources[k])
        return Duplicate(
            None if place < 0 else place,
            None if source < 0 else self.names[source],
            int(self.rows[k]),
            float(self.similarity[k]),
            "exact" if self.exact[k] else self.kind,
        )

    def __iter__(self) -> Iterator[Duplicate | None]:
        return (self[k] for k in range(len(self)))


class _Scope:
    """The known texts of one scope, and for each of them where it came from: a kept text's place, or −1 − its number
    among the rows of all references."""

    __slots__ = ("engine", "origins")

    def __init__(self, engine: Engine):
        self.engine = engine
        self.origins = Growing(np.int64)


class Duplicates:
    """Texts offered in order: a text is a duplicate of the earliest known one of its scope that is equal, else of the
    earliest that is alike enough; what is no duplicate is kept, and known from then on. Rows of references are known
    from the start, also those that are alike among themselves.

    `by`: `shingles` (Jaccard similarity of word 5-grams; see `factory.minhash`), `characters` (cosine of character
    4-grams; see `grams`) or `embeddings` (cosine of vectors that are given). `threshold` (default: `THRESHOLDS`): from
    which on texts are alike. `against`: references. `scope_of` gives the scope of a reference's row where rows have
    scopes. Equal means: after normalisation. Batches of any size give what one by one gives.

    Memory follows the known texts; see `Index`, `Characters` and `Embeddings`. Raises UsageError.
    """

    def __init__(
        self,
        threshold: float | None = None,
        by: By = "shingles",
        against: Sequence[Reference] = (),
        *,
        scope_of: ScopeOf | None = None,
    ):
        if by not in THRESHOLDS:
            raise UsageError(f"`by` is `{by}`", f"one of: {', '.join(THRESHOLDS)}")
        self.by: By = by
        self.threshold = THRESHOLDS[by] if threshold is None else float(threshold)
        self._shape = banding(self.threshold) if by == "shingles" else (0, 0)
        if by != "shingles" and not 0.1 <= self.threshold <= 1:
            raise UsageError(f"the threshold is {self.threshold}, outside 0.1 … 1", f"{THRESHOLDS[by]} is the default")
        self.offered = 0
        """Texts offered so far."""
        self.names = tuple(one.name for one in against)
        self._scopes: dict[str | None, _Scope] = {}
        self._rows = Growing(np.int64)
        self._reference_sources = Growing(np.int32)
        self._reference_rows = Growing(np.int64)
        self._stored: list[tuple[int, StoredIndex]] = []
        self.facts: list[dict[str, Any]] = []
        """Of each reference its name, rows, and a digest of what is known of it."""
        for number, one in enumerate(against):
            if one.index is not None:
                self._stored.append((number, _open_stored(one, self.threshold, by, scope_of)))
                index = self._stored[-1][1]
                self.facts.append({"name": one.name, "rows": len(index), "digest": index.digest()})
            else:
                self._learn(number, one, scope_of)

    def __len__(self) -> int:
        """How many texts were kept."""
        return self._rows.size

    @property
    def nbytes(self) -> int:
        """Bytes held by what is known, about."""
        held = self._rows.nbytes + self._reference_sources.nbytes + self._reference_rows.nbytes
        return held + sum(scope.engine.nbytes + scope.origins.nbytes for scope in self._scopes.values())

    def prepare(self, texts: Sequence[str] | Any, vectors: Embedded | None = None) -> Any:
        """Texts made ready for `offer_many`, `match_many` and `keep`: the dear part, which knows of no other text.

        `texts`: strings, for `by: shingles` an Arrow array of them or `Fingerprints` too. `vectors` [n, dimensions],
        for `by: embeddings`.
        """
        if self.by == "shingles":
            return fingerprints_of(texts, *self._shape)
        if self.by == "characters":
            return grams_of(_strings(texts))
        return vectors_of(_strings(texts), vectors)

    def offer_many(
        self,
        texts: Sequence[str] | Any,
        *,
        scopes: Sequence[str] | None = None,
        vectors: Embedded | None = None,
    ) -> DuplicatesFound:
        """What each text repeats; the others are kept. Texts of different scopes are never duplicates."""
        return self.offer_prepared(self.prepare(texts, vectors), scopes)

    def offer_prepared(self, batch: Any, scopes: Sequence[str] | None = None) -> DuplicatesFound:
        """`offer_many` of what `prepare` made."""
        found = self._nothing(len(batch))
        self._match_stored(batch, found)
        waiting = np.flatnonzero(found.rows < 0)
        before = len(self)
        added: list[tuple[_Scope, Ints, Ints]] = []
        for scope, rows in self._by_scope(waiting, scopes):
            matches = scope.engine.offer_many(self._take(batch, rows))
            added.append((scope, rows, matches.places))
            fresh = rows[matches.places < 0]
            hit = matches.places >= 0
            found.places[rows[hit]] = matches.places[hit]  # in the scope's own count, until all are kept
            found.similarity[rows[hit]], found.exact[rows[hit]] = matches.similarity[hit], matches.exact[hit]
            found.rows[fresh] = -2
        kept = np.flatnonzero(found.rows == -2)
        place_of = np.full(len(batch), -1, dtype=np.int64)
        place_of[kept] = before + np.arange(len(kept))
        self._rows.extend(self.offered + kept)
        found.rows[kept] = -1
        for scope, rows, places in added:
            scope.origins.extend(place_of[rows[places < 0]])
            self._resolve(found, rows[places >= 0], scope)
        self.offered += len(batch)
        return found

    def match_prepared(self, batch: Any, scopes: Sequence[str] | None = None) -> DuplicatesFound:
        """What each text of a `prepare`d batch repeats of what is known; nothing is kept."""
        found = self._nothing(len(batch))
        self._match_stored(batch, found)
        for scope, rows in self._by_scope(np.flatnonzero(found.rows < 0), scopes):
            self._put(found, rows, scope.engine.match_many(self._take(batch, rows)), scope)
        return found

    def keep_prepared(self, batch: Any, scopes: Sequence[str] | None = None) -> None:
        """Keep every text of a batch of which `match_prepared` found no duplicate, such as a single one."""
        places = len(self) + np.arange(len(batch))
        self._rows.extend(self.offered + np.arange(len(batch)))
        self.offered += len(batch)
        for scope, rows in self._by_scope(np.arange(len(batch)), scopes):
            scope.engine.add_many(self._take(batch, rows))
            scope.origins.extend(places[rows])

    def _nothing(self, count: int) -> DuplicatesFound:
        none = np.full(count, -1, dtype=np.int64)
        sources = np.full(count, -1, dtype=np.int32)
        return DuplicatesFound(
            none, none.copy(), sources, np.zeros(count), np.zeros(count, dtype=bool), self.names, KINDS[self.by]
        )

    def _engine(self, *, scoped: bool) -> Engine:
        if self.by == "shingles":
            return Shingles(self.threshold, few=scoped)
        return Characters(self.threshold) if self.by == "characters" else Embeddings(self.threshold)

    def _take(self, batch: Any, rows: Ints) -> Any:
        """The texts of these rows, ascending; the batch itself where it is all of them."""
        if len(rows) == len(batch):
            return batch
        return take(batch, rows) if isinstance(batch, Fingerprints) else batch.take(rows)

    def _by_scope(self, rows: Ints, scopes: Sequence[str] | None) -> Iterator[tuple[_Scope, Ints]]:
        """The scopes that occur, each with its rows, ascending."""
        if scopes is None:
            yield self._scope(None), rows
            return
        numbers: dict[str, int] = {}
        labels = np.array([numbers.setdefault(scopes[row], len(numbers)) for row in rows.tolist()], dtype=np.int64)
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(np.bincount(labels, minlength=len(numbers)))
        for name, part in zip(numbers, np.split(rows[order], ends[:-1]), strict=False):
            yield self._scope(name), part

    def _scope(self, name: str | None) -> _Scope:
        if name not in self._scopes:
            self._scopes[name] = _Scope(self._engine(scoped=name is not None))
        return self._scopes[name]

    def _put(self, found: DuplicatesFound, rows: Ints, matches: Matches, scope: _Scope) -> None:
        hit = matches.places >= 0
        found.places[rows[hit]] = matches.places[hit]
        found.similarity[rows[hit]], found.exact[rows[hit]] = matches.similarity[hit], matches.exact[hit]
        self._resolve(found, rows[hit], scope)

    def _resolve(self, found: DuplicatesFound, rows: Ints, scope: _Scope) -> None:
        """Places in the scope's own count become rows of what was offered, or of references."""
        origins = scope.origins.view()[found.places[rows]]
        kept = origins >= 0
        found.places[rows] = np.where(kept, origins, -1)
        found.rows[rows[kept]] = self._rows.view()[origins[kept]]
        found.rows[rows[~kept]] = self._reference_rows.view()[-1 - origins[~kept]]
        found.sources[rows[~kept]] = self._reference_sources.view()[-1 - origins[~kept]]

    @staticmethod
    def check_references(against: Sequence[Reference], threshold: float, by: By, scope_of: ScopeOf | None) -> None:
        """Raises UsageError for a reference that cannot be compared so, without reading its rows."""
        for one in against:
            if one.index is not None:
                _open_stored(one, threshold, by, scope_of)
            elif by == "embeddings":
                one.check_vectors()

    def _match_stored(self, batch: Any, found: DuplicatesFound) -> None:
        """Matches among the indexes on disk; a reference named before one of them wins over it."""
        for number, index in self._stored:
            rows = np.flatnonzero(found.rows < 0)
            matches = index.match_many(self._take(batch, rows))
            hit = matches.places >= 0
            at = rows[hit]
            found.rows[at], found.sources[at] = matches.places[hit], number
            found.similarity[at], found.exact[at] = matches.similarity[hit], matches.exact[hit]
        self._match_named_before(batch, found)

    def _match_named_before(self, batch: Any, found: DuplicatesFound) -> None:
        rows = np.flatnonzero(found.rows >= 0)
        if not len(rows) or not self._reference_rows.size:
            return
        scope = self._scope(None)  # indexes on disk and scopes exclude each other
        matches = scope.engine.match_many(self._take(batch, rows))
        origins = np.where(matches.places >= 0, scope.origins.view()[matches.places], 0)
        numbers = np.full(len(rows), len(self.names))
        numbers[origins < 0] = self._reference_sources.view()[-1 - origins[origins < 0]]
        sooner = numbers < found.sources[rows]
        part = Matches(np.where(sooner, matches.places, -1), matches.similarity, matches.exact)
        self._put(found, rows, part, scope)

    def _learn(self, number: int, reference: Reference, scope_of: ScopeOf | None) -> None:
        """The rows of a reference become known."""
        start = self._reference_rows.size
        hasher = hashlib.blake2b(digest_size=16)
        for chunk in reference.chunks(scope_of, vectors=self.by == "embeddings"):
            batch = self.prepare(chunk.texts, chunk.vectors)
            first = self._reference_rows.size
            self._reference_rows.extend(chunk.first + np.arange(len(batch)))
            self._reference_sources.extend(number, len(batch))
            for scope, rows in self._by_scope(np.arange(len(batch)), chunk.scopes):
                scope.engine.add_many(self._take(batch, rows), compared=False)
                scope.origins.extend(-1 - (first + rows))
            hasher.update(batch.digests.tobytes() if self.by == "shingles" else b"".join(batch.digests))
        rows_known = self._reference_rows.size - start
        self.facts.append({"name": reference.name, "rows": rows_known, "digest": hasher.hexdigest()})


def _open_stored(reference: Reference, threshold: float, by: By, scope_of: ScopeOf | None) -> StoredIndex:
    """An index on disk. Raises UsageError where it cannot say what is asked."""
    from factory.minhash.stored import StoredIndex

    assert reference.index is not None
    instead = "name the run or the data file that it was made of"
    if by != "shingles":
        raise UsageError(f"`{reference.name}` is an index of shingles: it knows nothing of {by}", instead)
    if scope_of is not None:
        raise UsageError(f"`{reference.name}` is an index: it does not know the scopes of its rows", instead)
    return StoredIndex.open(reference.index, threshold=threshold)


def _strings(texts: Any) -> Sequence[str]:
    """Texts as strings, out of an Arrow array too."""
    return list(texts.to_pylist() if hasattr(texts, "to_pylist") else texts)
