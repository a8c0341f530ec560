"""Rate and memory of near-duplicate removal in row order: text in, kept or matched row out.

    python benchmarks/curation.py [--rows 100000] [--corpus plain|template|both] [--json]

Two corpora, made from a fixed seed. `plain`: 50 to 134 random words a row, every tenth row a copy with up to 4 words
changed. `template`: one frame of 60 words around four of 360 names each, so that most rows share boilerplate and
every lookup meets crowded buckets. Rates are rows per second of CPU time of this one process (a shared machine does
not spoil them), for the whole path: filter `dedup` on one text column, `check` and `add`.

Goals on the plain corpus: at least 4,000 rows/s, the last tenth at no less than 0.8 × the rate of the first, the
index under 400 MB at 100,000 rows.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from factory.filters import Columns, Item
from factory.filters.dedup import Dedup

PARTS = 10


def plain_rows(count: int) -> Iterator[str]:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    recent: list[list[str]] = []
    for _ in range(count):
        if recent and rng.random() < 0.1:
            row = list(rng.choice(recent))
            for _ in range(rng.randrange(5)):
                row[rng.randrange(len(row))] = rng.choice(words)
        else:
            row = rng.choices(words, k=rng.randint(50, 134))
            recent.append(row)
            if len(recent) > 1000:
                recent[rng.randrange(1000)] = recent.pop()
        yield " ".join(row)


def template_rows(count: int) -> Iterator[str]:
    rng = random.Random(2)
    names = [f"{stem}{number}" for stem in ("alder", "birch", "cedar", "elm", "fir", "oak") for number in range(60)]
    for _ in range(count):
        one, two, three, four = rng.choices(names, k=4)
        yield (
            f"You are a careful writer of short letters. Please write one letter about {one} for a customer of {two} "
            f"who has bought {three} at the store last week and wants to know how {four} works, in a friendly tone, "
            "with at least three sentences, and do not forget to sign it with the name of the support team. "
            f"Your number is {rng.randrange(10**6)}, thank you very much"
        )


CORPORA: dict[str, Callable[[int], Iterator[str]]] = {"plain": plain_rows, "template": template_rows}


def measure(name: str, count: int) -> dict[str, Any]:
    """One corpus through the filter, in `PARTS` parts: rates, index size, growth of the peak of resident memory."""
    dedup = Dedup(on="text")
    dedup.bind(Columns(("text",), ("text",)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rates, kept, part = [], 0, max(count // PARTS, 1)
    rows = enumerate(CORPORA[name](count))
    for _ in range(PARTS):
        batch = [Item(row, 0, {"text": text}, {}) for row, (_, text) in zip(range(part), rows, strict=False)]
        started = time.process_time()
        for item in batch:
            if dedup.check(item) is None:
                dedup.add(item)
                kept += 1
        rates.append(len(batch) / max(time.process_time() - started, 1e-9))
    index = dedup._index
    return {
        "corpus": name,
        "rows": part * PARTS,
        "kept": kept,
        "rows_per_s": round(PARTS / sum(1 / rate for rate in rates)),
        "rows_per_s_by_part": [round(rate) for rate in rates],
        "last_to_first": round(rates[-1] / rates[0], 2),
        "index_mb": round(index.nbytes / 1e6, 1),
        "peak_rss_growth_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
        "hub_lookups": index.hub_queries,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--corpus", choices=[*CORPORA, "both"], default="plain")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args()
    results = [measure(name, options.rows) for name in (CORPORA if options.corpus == "both" else [options.corpus])]
    if options.json:
        print(json.dumps({"results": results}))
        return 0
    for result in results:
        print("\n".join(f"{key:>20}  {value}" for key, value in result.items()), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
