"""Whole copies: a question of a benchmark, letter for letter, as a row of the data or inside one.

What the other layers set aside (signs, words that all rows of a template share) counts here, and no threshold is
calibrated: a text that holds a whole question holds it. Case and white space do not count.

A whole text is a question or a turn, and a question without the options at its end. It weighs its letters, and twice
its other signs: from `STANDS` on it is looked for as a whole column, from `INSIDE` on within a longer one, and only
from there on where the row has choices ("Which of these is correct?" asks nothing without them). What more than
`SHARED_BY` rows have as their whole text, or a neutral text holds, is a template and not looked for.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory.decontamination.fields import CHOICES, QUESTION, TURN, Fields
from factory.decontamination.grams import GRAM, Presence, find, prefix_sums, run_hashes
from factory.decontamination.texts import U64, Ints, tokenise

STANDS, INSIDE = 20, 48
SHARED_BY = 3
_OPTIONS = re.compile(r"\n\s*(?:options|choices|answer choices)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Copy:
    """Text `text` of a batch holds the whole of field `field`, at characters [start, end)."""

    text: int
    field: int
    start: int
    end: int


def squeeze(text: str) -> str:
    """The text as copies are compared: NFKC, casefolded, without white space."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return "".join(folded.split())


def weigh(squeezed: str) -> int:
    """Letters, and twice the other signs."""
    return 2 * len(squeezed) - sum(map(str.isalpha, squeezed))


def copy_arrays(fields: Fields, neutral: Sequence[str]) -> dict[str, Any]:
    """The whole texts of a benchmark: those of 8 words or more by their first 8, the others by a hash of all."""
    texts, owners = _whole_texts(fields, "\n".join(map(squeeze, neutral)))
    tokens = tokenise(texts)
    firsts, ends = tokens.firsts()[: len(texts)], tokens.ends[: len(texts)]
    long = np.flatnonzero(ends - firsts >= GRAM)
    heads = run_hashes(prefix_sums(tokens.hashes), GRAM)[firsts[long]] if len(long) else np.empty(0, dtype=np.uint64)
    order = np.lexsort((long, heads))
    squeezed = [squeeze(texts[k]).encode("utf-8", "surrogatepass") for k in long[order]]
    short = np.flatnonzero(ends - firsts < GRAM)
    exact = np.array([_hash(squeeze(texts[k])) for k in short], dtype=np.uint64)
    ranks = np.lexsort((short, exact))
    return {
        "copy_heads": heads[order],
        "copy_fields": owners[long[order]].astype(np.int32),
        "copy_bytes": np.frombuffer(b"".join(squeezed), dtype=np.uint8),
        "copy_ends": np.cumsum([len(one) for one in squeezed], dtype=np.int64),
        "exact_hashes": exact[ranks],
        "exact_fields": owners[short[ranks]].astype(np.int32),
    }


def _whole_texts(fields: Fields, common: str) -> tuple[list[str], Ints]:
    """The texts to look for, and their fields."""
    found: list[tuple[str, int]] = []
    for at, (text, kind) in enumerate(zip(fields.texts, fields.kinds.tolist(), strict=True)):
        if kind == QUESTION or kind >= TURN:
            found.append((text, at))
            if (options := _OPTIONS.search(text)) is not None:
                found.append((text[: options.start()], at))
    rows: dict[str, set[int]] = {}
    for text, at in found:
        rows.setdefault(squeeze(text), set()).add(int(fields.rows[at]))
    chosen = set(fields.rows[fields.kinds == CHOICES].tolist())
    kept = []
    for text, at in found:
        key = squeeze(text)
        least = INSIDE if int(fields.rows[at]) in chosen else STANDS
        if weigh(key) >= least and len(rows[key]) <= SHARED_BY and not (len(key) < 200 and key in common):
            kept.append((text, at))
    return [text for text, _ in kept], np.array([at for _, at in kept], dtype=np.int64)


def _hash(squeezed: str) -> int:
    digest = hashlib.blake2b(squeezed.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class CopyFinder:
    """The whole texts of several benchmarks, looked up in one pass over a batch."""

    def __init__(self, arrays: Sequence[Any]):
        self._arrays = arrays
        self._heads = Presence(np.concatenate([np.asarray(one["copy_heads"], dtype=np.uint64) for one in arrays]))
        self._texts: dict[int, str] = {}

    def find(self, texts: Sequence[str], ends: Ints, hashes: U64) -> list[list[Copy]]:
        """For each benchmark the copies in the batch's texts. `hashes`, `ends`: the words of the texts."""
        self._texts = {}
        grams = run_hashes(prefix_sums(hashes), GRAM)
        at = self._heads.may_hold(grams)
        owner = np.searchsorted(ends, at, side="right")
        inside = at + GRAM <= ends[owner]
        heads, owner = grams[at[inside]], owner[inside]
        sizes = np.diff(ends, prepend=0)
        few = np.flatnonzero(sizes < GRAM).tolist()
        exact = np.array([_hash(self._squeezed(texts, k)) for k in few], dtype=np.uint64)
        return [self._of(one, texts, heads, owner, few, exact) for one in self._arrays]

    def _of(self, arrays: Any, texts: Sequence[str], heads: U64, owner: Ints, few: list[int], exact: U64) -> list[Copy]:
        found = []
        hit, _ = find(arrays["exact_hashes"], exact)
        for k in np.flatnonzero(hit).tolist():
            first = int(np.searchsorted(arrays["exact_hashes"], exact[k]))
            found.append(Copy(few[k], int(arrays["exact_fields"][first]), 0, len(texts[few[k]])))
        known, ends = arrays["copy_heads"], arrays["copy_ends"]
        hit, _ = find(known, heads)
        seen: set[tuple[int, int]] = set()
        for k in np.flatnonzero(hit).tolist():
            text = int(owner[k])
            low = int(np.searchsorted(known, heads[k], side="left"))
            high = int(np.searchsorted(known, heads[k], side="right"))
            for number in range(low, high):
                if (text, number) not in seen:
                    seen.add((text, number))
                    start = int(ends[number - 1]) if number else 0
                    raw = arrays["copy_bytes"][start : int(ends[number])].tobytes()
                    span = self._inside(texts, text, raw.decode("utf-8", "surrogatepass"))
                    if span is not None:
                        found.append(Copy(text, int(arrays["copy_fields"][number]), *span))
        return found

    def _squeezed(self, texts: Sequence[str], number: int) -> str:
        if number not in self._texts:
            self._texts[number] = squeeze(texts[number])
        return self._texts[number]

    def _inside(self, texts: Sequence[str], number: int, whole: str) -> tuple[int, int] | None:
        """Where in a text a whole one stands: (first character, end)."""
        squeezed = self._squeezed(texts, number)
        at = squeezed.find(whole)
        if at < 0 or (len(squeezed) > len(whole) and weigh(whole) < INSIDE):
            return None
        return _stretch(texts[number], at, at + len(whole))


def _stretch(text: str, first: int, last: int) -> tuple[int, int]:
    """The characters of `text` that give [first, last) of its squeezed form, about where folding changes lengths."""
    places = [place for place, char in enumerate(text) for _ in squeeze(char)]
    if len(places) < last:  # characters that only fold together
        return 0, len(text)
    return places[first], places[last - 1] + 1
