"""`classifier/MODEL`: reward models and classifiers, by the Hugging Face library's sequence classification.

A score hangs on the text alone. What is left of those that were read with it is rounding, in the last digits; with
`engine.batch_size: 1` there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from factory.backends.measuring import CutTexts, refuse_sampling
from factory.backends.transformers.connection import Connection
from factory.backends.transformers.options import EngineOptions, check_packages, local_directory, read_options
from factory.backends.transformers.passes import Measurement
from factory.errors import BadRequest
from factory.types import Choice, Request, Response, Usage

if TYPE_CHECKING:
    from concurrent.futures import Future

    from factory.backends.transformers.classifying import Laid, LoadedClassifier
    from factory.backends.transformers.engine import Work
    from factory.recipe.models import ModelConfig


class ClassifierBackend:
    """A sequence classification model in this process, loaded with the first request, on a thread of its own."""

    honours_n: bool | None = True
    structured = "prompt"
    local = True
    unbounded = True
    tasks = frozenset({"classify"})

    def __init__(self, model: str, options: EngineOptions | None = None):
        self._name, self._model, self._options = f"classifier/{model}", model, options or EngineOptions()
        self._connection: Connection[LoadedClassifier] = Connection(
            f"classifier {model} {self._options}", self._name, self._load
        )
        self._cut = CutTexts(self._name)
        self._notes: tuple[str, ...] = ()

    async def generate(self, request: Request) -> Response:
        """The numbers by label, as a JSON object: `{"score": …}` of a model with one label, else probabilities.

        The messages are laid out by the tokenizer's chat template; where it has none, the last message's text follows
        the others' as the second of a pair. Raises BadRequest for another task, or where the template refuses;
        Permanent when one text alone does not fit into memory; a FactoryError when the model cannot be loaded.
        """
        if request.task != "classify":
            raise BadRequest(f"{self._name} gives scores, and writes nothing")
        return await self._connection.ask(partial(self._prepare, request))

    async def close(self) -> None:
        """End what is under way, with ConnectionFailed; the thread stops unless another role uses the same model."""
        self._notes = self.notes()
        await self._connection.close()

    def notes(self) -> tuple[str, ...]:
        """What the model made the engine do otherwise than asked."""
        loaded = self._connection.model
        if loaded is None:
            return self._notes
        alone = () if loaded.batched else (f"{self._name} does not bear batches: its texts were read one by one",)
        return (*alone, *self._cut.notes(loaded.limit))

    def _load(self, stopped: Callable[[], bool]) -> LoadedClassifier:
        from factory.backends.transformers import classifying  # torch: seconds, on the engine's thread

        loaded: LoadedClassifier = classifying.load_classifier(self._model, self._options, stopped)
        return loaded

    def _prepare(self, request: Request, loaded: LoadedClassifier, future: Future[Response]) -> Work:
        laid: Laid = loaded.lay_out(request.messages)
        self._cut.count(laid.cut > 0)

        def finish(found: Mapping[str, float], gpu_seconds: float | None) -> Response:
            text = json.dumps(dict(found), ensure_ascii=False)
            usage = Usage(len(laid.tokens), 0, gpu_seconds=gpu_seconds)
            return Response((Choice(text, "stop"),), usage, self._name)

        return Measurement(laid, len(laid.tokens), finish, future)


def open_backend(model: ModelConfig) -> ClassifierBackend:
    """The backend of a recipe's model; nothing is loaded before the first call.

    Raises MissingExtra without torch or transformers, UsageError on an option, a parameter or a directory that does
    not fit.
    """
    options = read_options(model.engine, model.name, "classifier")
    refuse_sampling(model)
    check_packages(options, "classifier")
    local_directory(model.model)
    if options.lora is not None:
        local_directory(options.lora)
    return ClassifierBackend(model.model, options)
