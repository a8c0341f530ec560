"""What the ways of comparing texts have in common: texts that are known, in the order in which they came."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from factory.minhash import Matches


class Batch(Protocol):
    """Texts made ready to be compared, in order."""

    def __len__(self) -> int: ...


class Engine(Protocol):
    """The known texts of one scope. A batch is what the engine's own module makes of texts."""

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def match_many(self, batch: Any) -> Matches:
        """The equal text, else the earliest that is alike enough; nothing is added."""
        ...

    def add_many(self, batch: Any, *, compared: bool = True) -> None:
        """All of the texts become known, in order. `compared`: nothing known is like any of them."""
        ...

    def offer_many(self, batch: Any) -> Matches:
        """As though each text were matched, and added where it has no match, one after the other."""
        ...


def no_matches(count: int) -> Matches:
    """A batch without any."""
    return Matches(np.full(count, -1, dtype=np.int64), np.zeros(count), np.zeros(count, dtype=bool))
