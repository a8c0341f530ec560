"""FastSketchLSH, 16 bands, one thread: sketches and candidates in batch, the first wins.

The check is its estimate of the similarity; `raw` goes without it.
"""

from __future__ import annotations

from dedup_task import PERMUTATIONS, THRESHOLD, first_wins, grams, run


def remove(texts: list[str], variant: frozenset[str]) -> list[int]:
    from FastSketchLSH import LSH, FastSimilaritySketch, estimate_jaccard

    sketches = FastSimilaritySketch(size=PERMUTATIONS, seed=42).batch(list(map(grams, texts)), num_threads=1)
    index = LSH(num_perm=PERMUTATIONS, num_bands=16, num_threads=1)
    index.insert(sketches)
    raw = "raw" in variant
    return first_wins(
        index.query(sketches),
        lambda one, other: raw or estimate_jaccard(sketches[one], sketches[other]) >= THRESHOLD,
    )


if __name__ == "__main__":
    run(remove)
