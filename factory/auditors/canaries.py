"""`privacy.canaries`: whether secrets that `factory canaries` planted in the real rows come back in the dataset.

The record says what was planted, and what was drawn alike and kept back: a canary that was kept back can be found by
chance alone, as in the exposure of Carlini et al. 2019 (arXiv 1802.08232). A canary is found by its sentence, by one of
its secrets, or by most of one in a row; case, accents, spaces and punctuation do not matter.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.errors import UsageError
from factory.minhash import U64, mix, stream
from factory.types import Check, Evidence

NAME = "privacy.canaries"
KIND = "factory-canaries"
GRAM = 8
"""Letters and digits in a row by which a row becomes a candidate."""
PART = 0.8
"""A secret is found when so much of it stands in a row."""
SHORTEST = 10
"""Letters and digits of a secret that must stand in a row at least."""
BLOCK = 2_000_000
SHOWN = 20
WHOLE, SECRET, IN_PART = "sentence", "secret", "part of a secret"
_SIGNS = re.compile(r"[\W_]+")
_POWERS = stream(21, GRAM) | np.uint64(1)
_BUCKETS = 1 << 20


@dataclass(frozen=True, slots=True)
class Canary:
    """What was planted, or kept back (`rows` is empty): a sentence, the secrets in it, and the rows it went to."""

    id: str
    text: str
    secrets: tuple[str, ...]
    rows: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the record holds it."""
        return {"id": self.id, "text": self.text, "secrets": list(self.secrets), "rows": list(self.rows)}


@dataclass(frozen=True, slots=True)
class Record:
    """What `factory canaries` wrote: what is in the data, and what was kept back."""

    planted: tuple[Canary, ...]
    kept_back: tuple[Canary, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A canary in a row: `how` is the sentence, a secret, or part of one; `share` of the secret stands there."""

    canary: int
    row: int
    how: str
    share: float


def read_record(path: Path) -> Record:
    """The record of a planting; of a folder its `canaries.json`. Raises UsageError for what is none."""
    file = path / "canaries.json" if path.is_dir() else path
    hint = "name the canaries.json that `factory canaries DATA --out DIR` wrote"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"canaries: {file}: {error.strerror or error}", hint) from None
    except ValueError as error:
        raise UsageError(f"canaries: {file} is no JSON: {error}", hint) from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise UsageError(f"canaries: {file} is no record of planted canaries", hint)
    try:
        sides = [tuple(_canary(one) for one in found[key]) for key in ("planted", "kept_back")]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"canaries: {file} is damaged ({type(error).__name__}: {error})", hint) from None
    if not sides[0]:
        raise UsageError(f"canaries: {file} names no planted canary", hint)
    return Record(*sides)


def _canary(one: Mapping[str, Any]) -> Canary:
    secrets = tuple(str(secret) for secret in one["secrets"])
    if not secrets or any(len(squeeze(secret)) < SHORTEST for secret in secrets):
        raise ValueError(f"{one['id']}: a secret has less than {SHORTEST} letters and digits")
    return Canary(str(one["id"]), str(one["text"]), secrets, tuple(int(row) for row in one["rows"]))


def squeeze(text: str) -> str:
    """Letters and digits alone, without case and accents."""
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(sign for sign in apart if not unicodedata.combining(sign))
    return _SIGNS.sub("", text.casefold())


def find_canaries(dataset: Data, record: Record, *, limit: int = 0) -> Check:
    """How many planted canaries came back; more than `limit` is a FAIL. Every row is read in full."""
    count = len(record.planted)
    gate = f"at most {limit:,} of {count:,} planted canaries"
    method = "every row, whole, for sentences, secrets and four fifths of a secret in a row; letters and digits alone"
    if not dataset.columns:
        told, advice = f"{dataset.name} has no column of text.", "name the columns that hold text: `on: [NAME, …]`"
        return Check(NAME, None, n=len(dataset), gate=gate, sentence=told, method=method, advice=advice)
    canaries = [*record.planted, *record.kept_back]
    sightings = sight(dataset.texts, canaries)
    best: dict[int, Sighting] = {}
    for one in sightings:
        if one.canary not in best or one.share > best[one.canary].share:
            best[one.canary] = one
    found = [one for place, one in sorted(best.items()) if place < count]
    by_chance = [one for place, one in sorted(best.items()) if place >= count]
    return _check(dataset, record, (found, by_chance, sightings), limit, gate, method)


def _check(
    dataset: Data,
    record: Record,
    seen: tuple[Sequence[Sighting], Sequence[Sighting], Sequence[Sighting]],
    limit: int,
    gate: str,
    method: str,
) -> Check:
    from factory.measures import wilson

    found, by_chance, sightings = seen
    count, others = len(record.planted), len(record.kept_back)
    kinds = Counter(one.how for one in found)
    how = ", ".join(f"{kinds[kind]:,} by {kind}" for kind in (WHOLE, SECRET, IN_PART) if kinds[kind])
    told = f"{len(found):,} of {count:,} planted canaries came back" + (f" ({how})." if found else ".")
    if others:
        told += f" Of {others:,} that were kept back {len(by_chance):,} did, by chance alone."
    if by_chance:
        told += " Chance makes none: was the record among what the model was shown?"
    rows = {one.row for one in sightings if one.canary < count}
    low, high = wilson(len(found), count)
    return Check(
        NAME,
        len(found) / count,
        interval=(low, high),
        n=count,
        gate=gate,
        verdict="FAIL" if len(found) > limit else "PASS",
        sentence=told,
        evidence=_evidence(dataset, record, found),
        details=_details(record, found, by_chance, len(rows)),
        method=method,
        advice="the model repeats what single source rows say: show it fewer of them or none, or drop such rows "
        "(`filter: [novelty: …]` against the source)",
    )


def _evidence(dataset: Data, record: Record, found: Sequence[Sighting]) -> tuple[Evidence, ...]:
    shown = []
    for one in found[:SHOWN]:
        canary, text = record.planted[one.canary], dataset.texts[one.row]
        details = {"canary": canary.id, "found": one.how, "planted": canary.text, "share": round(one.share, 2)}
        shown.append(Evidence(one.row, around(text, canary.secrets), dataset.ids[one.row], details=details))
    return tuple(shown)


def around(text: str, secrets: Sequence[str], width: int = 300) -> str:
    """The part of a text in which most of a secret's beginnings stand, else its beginning."""
    words = [word for secret in secrets for word in re.findall(r"\w+", secret)]
    low = text.casefold()
    places = [at for word in words if (at := low.find(word.casefold())) >= 0]
    start = max(0, min(places) - width // 3) if places else 0
    cut = text[start : start + width - 2]
    return ("…" if start else "") + cut + ("…" if start + width - 2 < len(text) else "")


def _details(record: Record, found: Sequence[Sighting], by_chance: Sequence[Sighting], rows: int) -> dict[str, Any]:
    from factory.auditors.privacy.exact import shares_p

    count, others = len(record.planted), len(record.kept_back)
    times = Counter(len(one.rows) for one in record.planted)
    back = Counter(len(record.planted[one.canary].rows) for one in found)
    table = [[repeat, times[repeat], back[repeat], round(back[repeat] / times[repeat], 4)] for repeat in sorted(times)]
    details: dict[str, Any] = {
        "planted": count,
        "found": len(found),
        "kept_back": others,
        "kept_back_found": len(by_chance),
        "rows": rows,
        "by_repeat": {str(repeat): share for repeat, _, _, share in table},
        "found_ids": [record.planted[one.canary].id for one in found],
        "tables": [
            {"title": "Canaries by how often they were planted", "rows": table,
             "header": ["times planted", "canaries", "came back", "share"]}
        ],
    }  # fmt: skip
    if others:
        details["exposure_p"] = float(f"{shares_p(len(found), count, len(by_chance), others):.3g}")
        # Carlini's exposure, by rank among those kept back: log2 of how many there are less log2 of the rank.
        details["exposure_bits"] = round(math.log2(others + 1) - math.log2(len(by_chance) + 1), 2) if found else 0.0
    return details


def sight(texts: Sequence[str], canaries: Sequence[Canary]) -> list[Sighting]:
    """Where the canaries stand, in the order of the rows: enough of a secret, or the sentence, once for each row."""
    sentences = [squeeze(one.text) for one in canaries]
    secrets = [[squeeze(secret) for secret in one.secrets] for one in canaries]
    keys, owners = _keys([(k, secret) for k, some in enumerate(secrets) for secret in some])
    known = np.zeros(_BUCKETS, dtype=bool)
    known[_bucket(keys)] = True
    found = []
    for first, rows in _blocks(texts):
        hashes, row_of = _grams(rows)
        maybe = np.flatnonzero(known[_bucket(hashes)])
        at = np.searchsorted(keys, hashes[maybe]).clip(0, len(keys) - 1)
        sure = keys[at] == hashes[maybe]
        pairs = {
            (int(row), owner)
            for row, place in zip(row_of[maybe[sure]], at[sure], strict=True)
            for owner in owners[int(keys[place])]
        }
        for row, k in sorted(pairs):
            one = _look(rows[row], sentences[k], secrets[k])
            if one is not None:
                found.append(Sighting(k, first + row, *one))
    return found


def _keys(secrets: Sequence[tuple[int, str]]) -> tuple[U64, dict[int, list[int]]]:
    """The hash of every run of `GRAM` signs of the secrets, ascending, and whose canaries' they are."""
    owners: dict[int, list[int]] = {}
    for k, secret in secrets:
        for key in _hash(np.array([ord(sign) for sign in secret], dtype=np.uint64)).tolist():
            if k not in owners.setdefault(key, []):
                owners[key].append(k)
    return np.array(sorted(owners), dtype=np.uint64), owners


def _look(row: str, sentence: str, secrets: Sequence[str]) -> tuple[str, float] | None:
    """What of a canary stands in a row of letters and digits, and how much of the best secret."""
    if sentence in row:
        return WHOLE, 1.0
    if any(secret in row for secret in secrets):
        return SECRET, 1.0
    best = 0.0
    for secret in secrets:
        least = max(SHORTEST, math.ceil(PART * len(secret)))
        for length in range(len(secret) - 1, least - 1, -1):
            if any(secret[at : at + length] in row for at in range(len(secret) - length + 1)):
                best = max(best, length / len(secret))
                break
    return (IN_PART, best) if best else None


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows as letters and digits, about `BLOCK` of them together, with the number of the first."""
    held: list[str] = []
    first = size = 0
    for row, text in enumerate(texts):
        if held and size + len(text) > BLOCK:
            yield first, held
            first, held, size = row, [], 0
        held.append(squeeze(text))
        size += len(text)
    if held:
        yield first, held


def _grams(rows: Sequence[str]) -> tuple[U64, NDArray[np.int64]]:
    """The hash of every run of `GRAM` signs within a row, and the row."""
    points = np.frombuffer("".join(rows).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    hashes = _hash(points)
    inside = owners[: len(hashes)] == owners[len(owners) - len(hashes) :]
    return hashes[inside], owners[: len(hashes)][inside]


def _hash(points: U64) -> U64:
    count = len(points) - GRAM + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    sums = np.zeros(count, dtype=np.uint64)
    for step in range(GRAM):
        sums += points[step : step + count] * _POWERS[step]
    return mix(sums)


def _bucket(hashes: U64) -> NDArray[np.int64]:
    return (hashes >> np.uint64(44)).astype(np.int64)
