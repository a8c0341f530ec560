"""text-dedup's own functions (`embed_func`, its tables and union-find, no data set around them), 9 bands of 13.

It checks nothing. Its tokens are replaced by the common shingles, so that all search for the same pairs; and of a
cluster the first row stays, where it would keep the root, so that the same measure fits.
"""

from __future__ import annotations

from collections import defaultdict

from dedup_task import FALLS, KEPT, PERMUTATIONS, THRESHOLD, grams, run


class _Whole:
    """Stands for the pattern at which it would split a text: the text stays whole."""

    @staticmethod
    def split(text: str) -> str:
        return text


def remove(texts: list[str], variant: frozenset[str]) -> list[int]:
    import numpy as np
    from text_dedup import minhash

    minhash.NON_ALPHA = _Whole
    minhash.ngrams = lambda text, size, least: ((gram,) for gram in grams(text))
    bands, size = minhash.optimal_param(THRESHOLD, PERMUTATIONS, 0.5, 0.5)
    most, prime = np.uint32((1 << 32) - 1), np.uint64((1 << 61) - 1)
    options = {
        "num_perm": PERMUTATIONS,
        "ngram_size": 5,
        "min_length": 5,
        "hashranges": [(band * size, (band + 1) * size) for band in range(bands)],
        "permutations": (
            minhash.RNG.randint(1, prime, size=(PERMUTATIONS,), dtype=np.uint64),
            minhash.RNG.randint(0, prime, size=(PERMUTATIONS,), dtype=np.uint64),
        ),
        "hash_func": lambda data: minhash.sha1_hash(data, d=32),
        "dtype": np.uint64,
        "max_hash": most,
        "modulo_prime": prime,
    }
    tables: list[dict[bytes, set[int]]] = [defaultdict(set) for _ in range(bands)]
    for row, text in enumerate(texts):
        for table, key in zip(tables, minhash.embed_func(text, row, **options)[minhash.SIGNATURE_COLUMN], strict=True):
            table[key].add(row)
    clusters = minhash.UnionFind()
    for table in tables:
        for rows in table.values():
            for row in rows if len(rows) > 1 else ():
                clusters.union(row, min(rows))
    seen: set[int] = set()
    stays = []
    for row in range(len(texts)):
        cluster = clusters.find(row)
        stays.append(cluster not in seen)
        seen.add(cluster)
    return [KEPT if one else FALLS for one in stays]


if __name__ == "__main__":
    run(remove)
