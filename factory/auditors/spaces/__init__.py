"""Text spaces: texts as vectors whose cosine says how alike they are, by a model that embeds or without any.

    space = await open_space(context, [*dataset.clipped, *reference.clipped])
    vectors = await space.vectors(dataset.clipped)          # float32 [n, d], unit rows

Which texts a space is fitted on is part of a test's soundness: pool what is exchangeable under its null hypothesis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from factory.auditors.context import AuditContext
from factory.auditors.spaces.local import DIMENSIONS, LocalSpace, Vectors, one_thread, unit
from factory.auditors.spaces.tokens import Tokens, gram_hashes, tokenize
from factory.errors import UsageError, nearest

__all__ = [
    "DIMENSIONS",
    "LocalSpace",
    "Space",
    "Tokens",
    "Vectors",
    "gram_hashes",
    "local_space",
    "one_thread",
    "open_space",
    "tokenize",
    "unit",
]
EMBEDDER = "embedder"
"""The role that audits embed with where no other is named."""
_TEXTS = 2048
"""Texts that a model is asked for together."""


class Space(Protocol):
    """Where texts lie. `name` says what places them, with version and dimensions."""

    @property
    def name(self) -> str: ...

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, d], unit rows; zeros for a text without visible characters, or without a known word."""
        ...


async def open_space(
    context: AuditContext, fit_on: Sequence[str], *, role: str | None = None, dimensions: int = DIMENSIONS
) -> Space:
    """The space of the model `role`; without one that of the role `embedder` where the audit has it, else a local one.

    A local space is fitted on `fit_on` (at most 20,000 of them, drawn with the audit's seed): the same texts give the
    same space. Raises UsageError for a role that is not there or does not embed.
    """
    if role is None and "embed" in context.models.get(EMBEDDER, ()):
        role = EMBEDDER
    if role is None:
        return _Local(local_space(context.rng("space"), fit_on, dimensions))
    if role not in context.models:
        told = ", ".join(f"`{one}`" for one in context.models) or "there is none"
        raise UsageError(f"no model `{role}` to embed texts with", f"{nearest(role, context.models)}; models: {told}")
    if "embed" not in context.models[role]:
        raise UsageError(f"the model `{role}` does not embed texts", "name one that does, or none for TF-IDF")
    return _Embedded(context, role)


def local_space(rng: np.random.Generator, fit_on: Sequence[str], dimensions: int = DIMENSIONS) -> LocalSpace:
    """A space that takes no model; see `LocalSpace`."""
    return LocalSpace(rng, fit_on, dimensions)


class _Local:
    def __init__(self, inner: LocalSpace):
        self.name = inner.name
        self._inner = inner

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        return self._inner.vectors(texts)


class _Embedded:
    def __init__(self, context: AuditContext, role: str):
        self.name = f"embeddings by `{role}`"
        self._context, self._role = context, role

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        places = [place for place, text in enumerate(texts) if text.strip()]
        if not places:
            return np.zeros((len(texts), 1), dtype=np.float32)
        found: Vectors | None = None
        for first in range(0, len(places), _TEXTS):
            part = places[first : first + _TEXTS]
            made = np.asarray(await self._context.embed(self._role, [texts[place] for place in part]))
            if found is None:
                found = np.zeros((len(texts), made.shape[1]), dtype=np.float32)
            found[part] = unit(made)
        assert found is not None
        return found
