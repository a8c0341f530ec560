"""datasketch as its documentation says: query, then insert what stays. `xxh32`: the faster hash, 25 bands of 5.

The check is the estimated Jaccard similarity of the two signatures; `raw` goes without it.
"""

from __future__ import annotations

from dedup_task import KEPT, PERMUTATIONS, THRESHOLD, grams, run


def remove(texts: list[str], variant: frozenset[str]) -> list[int]:
    from datasketch import MinHash, MinHashLSH

    options = {}
    if "xxh32" in variant:
        import xxhash

        options["hashfunc"] = xxhash.xxh32_intdigest
        index = MinHashLSH(num_perm=PERMUTATIONS, params=(25, 5))
    else:
        index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    kept, places = {}, []
    for row, text in enumerate(texts):
        sketch = MinHash(num_perm=PERMUTATIONS, **options)
        sketch.update_batch([gram.encode() for gram in set(grams(text))])
        found = sorted(index.query(sketch))
        if "raw" not in variant:
            found = (one for one in found if kept[one].jaccard(sketch) >= THRESHOLD)
        places.append(next(iter(found), KEPT))
        if places[-1] == KEPT:
            index.insert(row, sketch)
            kept[row] = sketch
    return places


if __name__ == "__main__":
    run(remove)
