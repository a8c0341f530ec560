"""The journal: every call, its answer and its cost, committed in one transaction before anybody sees the answer."""

from factory.journal.rows import Lease, Stored
from factory.journal.store import Journal

__all__ = ["Journal", "Lease", "Stored"]
