"""Test sets that data must not contain: the registry of the well-known ones, the user's own, and what is kept here.

`registry.yaml` tells where each is and which of its fields hold what; `read_test_set` gives its rows, `index_of` its
index for `factory.decontamination`.
"""

from factory.test_sets.cache import Cached, cache_dir, cached
from factory.test_sets.entries import Entry, Fields, entries, find, of_suite, suites
from factory.test_sets.indexing import index_of
from factory.test_sets.reading import read_test_set

__all__ = [
    "Cached", "Entry", "Fields", "cache_dir", "cached", "entries", "find", "index_of", "of_suite", "read_test_set",
    "suites",
]  # fmt: skip
