"""gaoya, 16 bands of 8: query, then insert what stays. `words`: with its own analyzer in Rust instead of our shingles,
which reads words in fives, drops punctuation and has nothing for a text of fewer words.

Its query checks the estimated similarity; `raw` sets that threshold to 0.
"""

from __future__ import annotations

from dedup_task import KEPT, THRESHOLD, grams, run


def remove(texts: list[str], variant: frozenset[str]) -> list[int]:
    from gaoya.minhash import MinHashStringIndex

    analyzer = {"analyzer": "word", "lowercase": True, "ngram_range": (5, 5)} if "words" in variant else {}
    index = MinHashStringIndex(
        hash_size=32,
        jaccard_threshold=0.0 if "raw" in variant else THRESHOLD,
        num_bands=16,
        band_size=8,
        id_container="smallvec",
        **(analyzer or {"analyzer": grams}),
    )
    places = []
    for row, text in enumerate(texts):
        places.append(min(index.query(text), default=KEPT))
        if places[-1] == KEPT:
            index.insert_document(row, text)
    return places


if __name__ == "__main__":
    run(remove)
