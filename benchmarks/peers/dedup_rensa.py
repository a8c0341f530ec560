"""rensa's R-MinHash, 16 bands. Without `streaming`: sketches and candidates in batch, the first wins; the check is the
estimated similarity (`raw`: none). `streaming`: its own deduplicator, which checks and says only what stays.
"""

from __future__ import annotations

from dedup_task import FALLS, KEPT, PERMUTATIONS, THRESHOLD, first_wins, grams, run

BANDS, SEED = 16, 42


def remove(texts: list[str], variant: frozenset[str]) -> list[int]:
    from rensa import RMinHash, RMinHashDeduplicator, RMinHashLSH

    if "streaming" in variant:
        dedup = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, use_lsh=True, num_bands=BANDS, seed=SEED)
        kept = dedup.add_pairs((str(row), grams(text)) for row, text in enumerate(texts))
        return [KEPT if one else FALLS for one in kept]
    sketches = RMinHash.from_token_sets(map(grams, texts), PERMUTATIONS, SEED)
    index = RMinHashLSH(THRESHOLD, PERMUTATIONS, BANDS)
    index.insert_many(sketches)
    raw = "raw" in variant
    return first_wins(
        index.query_all(sketches), lambda one, other: raw or sketches[one].jaccard(sketches[other]) >= THRESHOLD
    )


if __name__ == "__main__":
    run(remove)
