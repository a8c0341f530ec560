"""The factory's index, with the compiled kernel or, where FACTORY_KERNEL=off, with NumPy alone; batches of 16,384.

`stream`: the rows are read a batch at a time, none is kept, and only the index's own time counts.
"""

from __future__ import annotations

import itertools
import time
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from dedup_task import THRESHOLD, Task, finish, peak_mb, read_task, run

from factory import kernel
from factory.minhash import Index

BATCH = 16_384


class Verdicts:
    """An index, and which row each of its places is."""

    def __init__(self) -> None:
        self.index = Index(THRESHOLD)
        self.rows = 0
        self.kept = array("q")

    def offer(self, texts: list[str]) -> np.ndarray[Any, Any]:
        """For each text the row it falls to, or −1."""
        places = self.index.offer_many(texts).places
        stays = places < 0
        self.kept.frombytes((self.rows + np.flatnonzero(stays)).tobytes())
        self.rows += len(texts)
        return np.where(stays, -1, np.frombuffer(self.kept, dtype=np.int64)[places])


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    rows = iter(texts)
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def remove(texts: list[str], variant: frozenset[str]) -> list[int]:
    verdicts = Verdicts()
    return np.concatenate([verdicts.offer(batch) for batch in batches(texts)]).tolist()


def stream(task: Task) -> None:
    """A corpus of any size, in the memory that its index needs."""
    before = peak_mb()
    verdicts, places, wall, cpu = Verdicts(), array("q"), 0.0, 0.0
    for batch in batches(task.texts()):
        wall, cpu = wall - time.perf_counter(), cpu - time.process_time()
        found = verdicts.offer(batch)
        wall, cpu = wall + time.perf_counter(), cpu + time.process_time()
        places.frombytes(found.astype(np.int64).tobytes())
    facts = {"index_mb": verdicts.index.nbytes / 2**20, "hub_queries": verdicts.index.hub_queries}
    finish(places, task.out, texts_mb=before, wall_s=wall, cpu_s=cpu, **facts)


if __name__ == "__main__":
    asked = read_task()
    if "kernel" in asked.variant and not kernel.available():
        raise SystemExit(f"there is no kernel: {kernel.why()}")
    if "stream" in asked.variant:
        stream(asked)
    else:
        run(remove)
