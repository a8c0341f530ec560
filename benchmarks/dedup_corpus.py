"""The planted corpus of the near-duplicate benchmark, and the exact truth about any texts.

    python benchmarks/dedup_corpus.py ROWS OUT.jsonl [--seed 1]

Row n is a function of (seed, n) alone: nothing is held, and a corpus of any size starts with the rows of a smaller one.
Instruction-like rows, 92 words in the mean: openings that many share, words of a Zipf-like vocabulary, sentences, some
accents. Among them

- `copy`: an earlier row with as many shingles exchanged, added or cut as put the pair into a bucket of Jaccard
  similarity from .5 to .95, by .05; `same`: an earlier row in other case, white space or Unicode form;
- hard negatives: `family`, some of every 1,250 rows share a frame that makes them .70 to .79 similar; `boilerplate`,
  one frame for the whole corpus, two thirds of the row; `shuffled`, the words of an earlier row in another order;
- `short` rows of 2 to 7 words and `unspaced` ones in Han characters, which are read by characters.

`exact_pairs` finds every pair at a Jaccard similarity or above: a prefix-filter join (Chaudhuri et al. 2006; Bayardo et
al. 2007) over 64-bit BLAKE2 hashes of the shingles. It has nothing in common with the index under test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parent / "peers"))
from dedup_task import grams

Ints = NDArray[np.int64]
U64 = NDArray[np.uint64]

BUCKETS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
WIDTH = 0.05
SHARES = {
    "original": 0.63,
    "copy": 0.24,
    "same": 0.02,
    "family": 0.03,
    "boilerplate": 0.005,
    "shuffled": 0.02,
    "short": 0.03,
    "unspaced": 0.025,
}
SOURCES = ("original", "short", "unspaced")
"""What copies are made of."""
STRETCH = 1250
ACCENTED = ("café", "naïve", "“quoted”", "Zürich", "señor", "déjà", "œuvre", "straße", "5 °C", "€20", "ﬁnal", "—")
OPENINGS = (
    *("Write a short story about a", "Explain the difference between", "Give me a list of ten", "Summarize the text:"),
    *("What are the main causes of", "Translate the following sentence into French:", "You are given a list of"),
    *("Classify the following review as positive or negative.", "Rewrite the paragraph in a more formal tone:"),
    *("Describe step by step how to", "Generate five questions that a teacher could ask about", "Create a recipe for"),
    *("Compare and contrast the following two ideas in at most three sentences:", "Given the passage below, answer"),
    *("Write a Python function that takes a list of numbers and returns", "Imagine that you are a travel guide in"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """`of`: the earlier row this one was made from, or −1; `similarity`: theirs by construction, or −1."""

    text: str
    kind: str
    of: int = -1
    similarity: float = -1.0


@lru_cache(maxsize=4)
def vocabulary(seed: int) -> tuple[str, ...]:
    """20,000 different pronounceable words, short ones first."""
    rng = random.Random(f"vocabulary {seed}")
    found: dict[str, None] = {}
    while len(found) < 20_000:
        syllables = 1 if len(found) < 50 else 2 if len(found) < 1000 else rng.randint(2, 4)
        found["".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(syllables))] = None
    return tuple(found)


def generator(seed: int, number: int) -> random.Random:
    return random.Random(seed << 48 | number)


def kind_of(seed: int, number: int) -> str:
    """The kind of a row: its generator's first draw."""
    return _kind(generator(seed, number), number)


def _kind(rng: random.Random, number: int) -> str:
    drawn = rng.random()
    for kind, share in SHARES.items():
        drawn -= share
        if drawn < 0:
            return kind if number >= 100 or kind in SOURCES else "original"
    return "original"


def make_row(seed: int, number: int) -> Row:
    """Row `number` of the corpus."""
    rng = generator(seed, number)
    kind = _kind(rng, number)
    if kind == "family":
        frame = draw_words(random.Random(f"family {seed} {number // STRETCH}"), vocabulary(seed), 82)
        return Row(" ".join(frame + draw_words(rng, vocabulary(seed), rng.randint(11, 16))), kind)
    if kind == "boilerplate":
        frame = draw_words(random.Random(f"boilerplate {seed}"), vocabulary(seed), 60)
        return Row(" ".join(frame + draw_words(rng, vocabulary(seed), rng.randint(30, 40))), kind)
    if kind in SOURCES:
        return Row(" ".join(source_words(seed, rng, kind)), kind)
    of = rng.randrange(number)
    while (origin := kind_of(seed, of)) not in SOURCES or (kind == "shuffled" and origin != "original"):
        of = rng.randrange(number)
    theirs = generator(seed, of)
    theirs.random()
    words = source_words(seed, theirs, origin)
    if kind == "shuffled":
        rng.shuffle(words)
        return Row(" ".join(words), kind, of)
    if kind == "same":
        return Row(disguise(rng, words), kind, of, 1.0)
    if origin == "original":
        changed, similarity = edit(rng, vocabulary(seed), words)
        return Row(" ".join(changed), kind, of, similarity)
    return Row(edit_end(rng, words), kind, of)


def make_rows(seed: int, count: int) -> Iterator[Row]:
    """The corpus."""
    return (make_row(seed, number) for number in range(count))


def draw_words(rng: random.Random, words: Sequence[str], count: int) -> list[str]:
    """Words with the frequencies of a long-tailed vocabulary: the n-th about as often as n to the power of −2/3."""
    size, draw = len(words), rng.random
    return [words[int(size * draw() ** 3)] for _ in range(count)]


def source_words(seed: int, rng: random.Random, kind: str) -> list[str]:
    """The words of a row that is made of nothing earlier."""
    words = vocabulary(seed)
    if kind == "short":
        return [rng.choice(words) for _ in range(rng.randint(2, 7))]
    if kind == "unspaced":
        return ["".join(chr(0x4E00 + int(3000 * rng.random() ** 2)) for _ in range(rng.randint(20, 120)))]
    found = rng.choice(OPENINGS).split() if rng.random() < 0.3 else []
    found += draw_words(rng, words, rng.randint(56, 142) - len(found))
    place = 0
    while place < len(found):
        found[place] = found[place].capitalize()
        place += rng.randint(8, 18)
        if 0 < place <= len(found):
            found[place - 1] += "."
    if rng.random() < 0.1:
        for _ in range(rng.randint(1, 3)):
            found[rng.randrange(len(found))] = rng.choice(ACCENTED).replace(" ", "")
    return found


def similar(style: str, size: int, changes: int) -> float:
    """What remains of `size` shingles over all of both, after so many were exchanged, added or cut."""
    return (size if style == "extend" else size - changes) / (size if style == "cut" else size + changes)


def edit(rng: random.Random, vocabulary: Sequence[str], words: list[str]) -> tuple[list[str], float]:
    """A copy in a bucket drawn evenly, and the similarity if no shingle comes twice. The words it brings are new."""
    bucket, size = rng.choice(BUCKETS), len(words) - 4
    style = rng.choice(("exchange", "exchange", "exchange", "extend", "cut"))
    changes = rng.choice([n for n in range(1, size) if bucket <= similar(style, size, n) < min(bucket + WIDTH, 1)])
    similarity = similar(style, size, changes)

    def fresh(count: int) -> list[str]:
        return [f"{rng.choice(vocabulary)}{rng.randrange(10, 100)}" for _ in range(count)]

    if style == "extend":
        return words + fresh(changes), similarity
    if style == "cut":
        return (words[changes:] if rng.random() < 0.5 else words[: len(words) - changes]), similarity
    slots = range(4, len(words) - 5 - changes, 5)  # a word in the middle changes five shingles
    middle = rng.sample(slots, min(rng.randint(0, changes // 5), len(slots)))
    tail = changes - 5 * len(middle)
    copied = words[: len(words) - tail] + fresh(tail)
    for place in middle:
        (copied[place],) = fresh(1)
    return copied, similarity


def edit_end(rng: random.Random, words: list[str]) -> str:
    """A copy of a short or unspaced row, some characters longer."""
    text = " ".join(words)
    letters = "天地玄黃宇宙洪荒日月盈昃辰宿列張" if text[0] >= "\u4e00" else "bdklmnorstu"
    return text + "".join(rng.choice(letters) for _ in range(rng.randint(1, max(1, len(text) // 6))))


def disguise(rng: random.Random, words: list[str]) -> str:
    """The same text in other case, white space or Unicode form; some of each at a time."""
    text = rng.choice((" ", "  ", "\n", "\u00a0", " \t")).join(words)
    text = rng.choice((str.upper, str.casefold, str.title, str))(text)
    if rng.random() < 0.3:
        text = unicodedata.normalize("NFD", text)
    if rng.random() < 0.2:
        text = text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)})
    return rng.choice(("", " ", "\n")) + text + rng.choice(("", " ", "\r\n"))


# The truth


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, `earlier` < `later`, in the order of `later`, then `earlier`, with their exact similarity."""

    earlier: Ints
    later: Ints
    similarity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.earlier)

    def at_least(self, threshold: float) -> Pairs:
        """Those of a similarity or above."""
        chosen = self.similarity >= threshold
        return Pairs(self.earlier[chosen], self.later[chosen], self.similarity[chosen])

    def first_wins(self, rows: int) -> Ints:
        """The definition: for each row the earliest row that stays and makes a pair with it, or −1."""
        places = np.full(rows, -1, dtype=np.int64)
        for earlier, later in zip(self.earlier.tolist(), self.later.tolist(), strict=True):
            if places[later] < 0 and places[earlier] < 0:
                places[later] = earlier
        return places


def hashed(text: str) -> U64:
    """The distinct shingles of a text, hashed."""
    coded = (gram.encode("utf-8", "surrogatepass") for gram in grams(text))
    parts = b"".join(hashlib.blake2b(gram, digest_size=8).digest() for gram in coded)
    return np.unique(np.frombuffer(parts, dtype="<u8").astype(np.uint64))


def exact_pairs(sets: Sequence[U64], threshold: float) -> Pairs:
    """Every pair of the sets (sorted, distinct) at Jaccard ≥ threshold; empty sets make none.

    In any one order of all members, two sets that overlap by o or more share a member among the n − o + 1 first of
    each. The order is that of frequency, the rarest first.
    """
    sizes = np.array([len(one) for one in sets], dtype=np.int64)
    flat = np.concatenate([np.empty(0, dtype=np.uint64), *sets])
    members, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    rank = np.empty(len(members), dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(members))
    owners = np.repeat(np.arange(len(sets)), sizes)
    ranked = rank[inverse]
    order = np.lexsort((ranked, owners))
    ranked, frequency = ranked[order], counts[inverse][order]
    starts = np.cumsum(sizes) - sizes
    least = np.ceil(threshold * sizes - 1e-9).astype(np.int64)  # a little too many candidates, never too few
    within = np.arange(len(ranked)) - starts[owners] < (sizes - least + 1)[owners]
    chosen = np.flatnonzero(within & (frequency > 1))
    left, right = _share_a_member(ranked[chosen], owners[chosen])
    near = np.minimum(sizes[left], sizes[right]) >= threshold * np.maximum(sizes[left], sizes[right]) - 1e-9
    left, right = left[near], right[near]
    overlap = _overlaps(ranked, starts, sizes, left, right)
    similarity = overlap / (sizes[left] + sizes[right] - overlap)
    order = np.lexsort((left, right))
    return Pairs(left[order], right[order], similarity[order]).at_least(threshold)


def _share_a_member(members: Ints, owners: Ints) -> tuple[Ints, Ints]:
    """Each pair of owners (ascending for a member) that have a member in common, once."""
    order = np.argsort(members, kind="stable")
    members, owners = members[order], owners[order]
    found, apart = [np.empty(0, dtype=np.int64)], 1
    places = np.arange(len(members))
    while True:
        places = places[places + apart < len(members)]
        places = places[members[places] == members[places + apart]]
        if not len(places):
            break
        found.append(np.unique(owners[places] << 32 | owners[places + apart]))
        apart += 1
        if apart % 64 == 0:
            found = [np.unique(np.concatenate(found))]
    pairs = np.unique(np.concatenate(found))
    return pairs >> 32, pairs & 0xFFFFFFFF


def _overlaps(ranked: Ints, starts: Ints, sizes: Ints, left: Ints, right: Ints) -> Ints:
    """How many members the two sets of each pair have in common."""
    total = int(ranked.max(initial=0)) + 1
    found = np.zeros(len(left), dtype=np.int64)
    for first in range(0, len(left), 20_000):
        one, other = left[first : first + 20_000], right[first : first + 20_000]
        keys = np.sort(np.concatenate([_keyed(ranked, starts, sizes, rows, total) for rows in (one, other)]))
        twice = keys[:-1][keys[1:] == keys[:-1]] // total
        found[first : first + len(one)] = np.bincount(twice, minlength=len(one))
    return found


def _keyed(ranked: Ints, starts: Ints, sizes: Ints, rows: Ints, total: int) -> Ints:
    """The members of each of the rows, marked with the row's place among them."""
    lengths = sizes[rows]
    places = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    keyed: Ints = np.repeat(np.arange(len(rows)), lengths) * total + ranked[np.repeat(starts[rows], lengths) + places]
    return keyed


def write(rows: Iterator[Row], path: Path) -> dict[str, Any]:
    """A JSON string a line; tells the counts by kind and the mean of words a row."""
    kinds = dict.fromkeys(SHARES, 0)
    words = 0
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row.text, ensure_ascii=False) + "\n")
            kinds[row.kind] += 1
            words += len(row.text.split())
    return {"rows": sum(kinds.values()), "words": words / max(1, sum(kinds.values())), "kinds": kinds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(write(make_rows(options.seed, options.rows), options.out)))


if __name__ == "__main__":
    main()
