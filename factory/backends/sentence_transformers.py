"""`sentence-transformers/MODEL`: embeddings, by the sentence-transformers library, in this process.

An embedding hangs on the text alone. What is left of those that were read with it is rounding, in the last digits; with
`engine.batch_size: 1` there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from factory.backends.measuring import CutTexts, refuse_sampling
from factory.backends.transformers.connection import Connection
from factory.backends.transformers.options import (
    EMBEDDING_FILES,
    EmbeddingOptions,
    installed,
    local_directory,
    read_embedding_options,
)
from factory.backends.transformers.passes import Measurement
from factory.errors import BadRequest, MissingExtra
from factory.types import Choice, Request, Response, Usage

if TYPE_CHECKING:
    from concurrent.futures import Future

    from factory.backends.transformers.embedding import LoadedEmbedder
    from factory.backends.transformers.engine import Work
    from factory.recipe.models import ModelConfig


class SentenceTransformersBackend:
    """An embedding model in this process, loaded with the first request, on a thread of its own."""

    honours_n: bool | None = True
    structured = "prompt"
    local = True
    unbounded = True
    tasks = frozenset({"embed"})

    def __init__(self, model: str, options: EmbeddingOptions | None = None):
        self._name, self._model, self._options = f"sentence-transformers/{model}", model, options or EmbeddingOptions()
        self._connection: Connection[LoadedEmbedder] = Connection(
            f"embedding {model} {self._options}", self._name, self._load
        )
        self._cut = CutTexts(self._name)
        self._notes: tuple[str, ...] = ()

    async def generate(self, request: Request) -> Response:
        """The embedding of the last message's text, as `factory.vectors` writes it.

        Raises BadRequest for another task, Permanent when one text alone does not fit into memory, a FactoryError when
        the model cannot be loaded.
        """
        if request.task != "embed":
            raise BadRequest(f"{self._name} embeds texts, and writes nothing")
        if not request.messages:
            raise BadRequest("there is no text to embed")
        return await self._connection.ask(partial(self._prepare, request))

    async def close(self) -> None:
        """End what is under way, with ConnectionFailed; the thread stops unless another role uses the same model."""
        self._notes = self.notes()
        await self._connection.close()

    def notes(self) -> tuple[str, ...]:
        """What the model made the engine do otherwise than asked."""
        loaded = self._connection.model
        return self._notes if loaded is None else self._cut.notes(loaded.limit)

    def _load(self, stopped: Callable[[], bool]) -> LoadedEmbedder:
        from factory.backends.transformers import embedding  # torch: seconds, on the engine's thread

        loaded: LoadedEmbedder = embedding.load_embedder(self._model, self._options, stopped)
        return loaded

    def _prepare(self, request: Request, loaded: LoadedEmbedder, future: Future[Response]) -> Work:
        text = request.messages[-1].content
        whole, counted = loaded.count(text)
        size = whole if loaded.limit is None else min(whole, loaded.limit)
        self._cut.count(whole > size)

        def finish(found: str, gpu_seconds: float | None) -> Response:
            usage = Usage(size, 0, estimated=not counted, gpu_seconds=gpu_seconds)
            return Response((Choice(found, "stop"),), usage, self._name)

        return Measurement(text, size, finish, future)


def open_backend(model: ModelConfig) -> SentenceTransformersBackend:
    """The backend of a recipe's model; nothing is loaded before the first call.

    Raises MissingExtra without sentence-transformers, UsageError on an option, a parameter or a directory that does not
    fit.
    """
    options = read_embedding_options(model.engine, model.name)
    refuse_sampling(model)
    if not all(installed(package) for package in ("torch", "transformers", "sentence_transformers")):
        raise MissingExtra("the sentence-transformers backend", "embeddings")
    local_directory(model.model, EMBEDDING_FILES)
    return SentenceTransformersBackend(model.model, options)
