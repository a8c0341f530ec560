"""Embeddings of a stream's texts, by a model in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from factory.backends import Backend, tasks_of
from factory.errors import CallFault, FactoryError, UsageError
from factory.opening import open_backend
from factory.together import together
from factory.types import Message, Request, Sampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_ONCE = 256
"""Texts that wait for the model together."""
HOSTED = ("openai", "azure")
"""Backends that ask a server, and may cost something."""
LOCAL = "for example --model sentence-transformers/all-MiniLM-L6-v2, or a folder: sentence-transformers/./my-model"
_PAID = (
    "a recipe asks it and keeps what is paid for: `filter: [dedup: {by: embeddings, model: ROLE}]`; here, a model in "
    "this process, "
)


class Embedder:
    """A model that embeds, open. `name` is as it was given."""

    def __init__(self, name: str, backend: Backend, runner: asyncio.Runner):
        self.name = name
        self._backend = backend
        self._runner = runner
        self._width: int | None = None

    def embed(self, texts: Sequence[str], first: int) -> NDArray[np.float64]:
        """float64 [n, dimensions]; zeros for a text without visible characters. `first`: the row of the first text.

        Raises FactoryError where the model fails on a row.
        """
        import numpy as np

        from factory.vectors import decode

        places = [place for place, text in enumerate(texts) if text.strip()]
        found = []
        for start in range(0, len(places), AT_ONCE):
            part = places[start : start + AT_ONCE]
            found += self._runner.run(together_all([self._ask(texts[place], first + place) for place in part]))
        if self._width is None:
            some = found[0] if found else self._runner.run(self._ask("a text", first))
            self._width = len(decode(some))
        made = np.zeros((len(texts), self._width))
        if found:
            made[places] = [decode(text) for text in found]
        return made

    async def _ask(self, text: str, row: int) -> str:
        request = Request(
            identity=self.name,
            model=self.name,
            messages=(Message("user", text),),
            sampling=Sampling(),
            n=1,
            seed=0,
            row=row,
            step="dedup",
            purpose="score",
            index=0,
            task="embed",
        )
        try:
            answer = await self._backend.generate(request)
        except CallFault as error:
            raise FactoryError(f"{self.name} cannot embed row {row}: {error.message}", "leave the row out") from error
        return answer.choices[0].text


async def together_all(calls: Sequence[Any]) -> list[str]:
    """All answers, in order."""
    found: list[str] = await together(calls)
    return found


@contextmanager
def open_embedder(model: str) -> Iterator[Embedder]:
    """The model of `BACKEND/MODEL`, for the length of a `with` block.

    Raises UsageError for one that is not in this process, or that does not embed; MissingExtra where its library is not
    installed.
    """
    from factory.recipe import ModelConfig
    from factory.recipe.models import split_model

    told = split_model(model)
    if not told["model"]:
        raise UsageError(f"--model {model}: not of the form BACKEND/MODEL", LOCAL)
    if told["backend"] in HOSTED:
        raise UsageError(f"--model {model}: this command asks no server, which could cost money", _PAID + LOCAL)
    config = ModelConfig.model_validate(told)
    backend = open_backend(config)
    if "embed" not in tasks_of(backend):
        raise UsageError(f"--model {model}: this model does not embed texts", LOCAL)
    if not backend.local:
        raise UsageError(f"--model {model}: this command asks no server, which could cost money", _PAID + LOCAL)
    with asyncio.Runner() as runner:
        try:
            yield Embedder(model, backend, runner)
        finally:
            runner.run(backend.close())
