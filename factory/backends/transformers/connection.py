"""A backend's hold on an engine: opened with the first request, shared with other roles, let go at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic

from factory.backends.transformers.engine import Engine, Model, Work, release, share
from factory.errors import ConnectionFailed
from factory.types import Response


class Connection(Generic[Model]):
    """Requests to the engine known as `key`. `load` makes its model, on the engine's thread.

    Any event loop may ask; `close` ends what is under way.
    """

    def __init__(self, key: str, name: str, load: Callable[[Callable[[], bool]], Model]):
        self._key, self._name, self._load = key, name, load
        self.engine: Engine[Model] | None = None
        self._asked: set[Future[Response]] = set()
        self._closed = False

    @property
    def model(self) -> Model | None:
        """The model, where it is loaded."""
        return None if self.engine is None else self.engine.model

    async def ask(self, prepare: Callable[[Model, Future[Response]], Work]) -> Response:
        """The answer to what `prepare` makes, on the engine's thread, of the loaded model.

        Raises what `prepare` raises, a FactoryError when the model cannot be loaded, ConnectionFailed when closed.
        """
        if self._closed:
            raise ConnectionFailed("the model was closed")
        if self.engine is None:
            self.engine = share(self._key, lambda: Engine(self._load, self._name))
        asked = self.engine.submit(prepare)
        self._asked.add(asked)
        try:
            return await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            if self._cut_off():
                raise ConnectionFailed("the model was closed") from None
            raise
        finally:
            self._asked.discard(asked)

    async def close(self) -> None:
        """End what is under way, with ConnectionFailed; the thread stops unless another role uses the same model."""
        self._closed, engine, self.engine = True, self.engine, None
        for asked in list(self._asked):
            asked.cancel()
        if engine is not None:
            await asyncio.to_thread(release, self._key, engine)

    def _cut_off(self) -> bool:
        """Whether a cancellation came from `close`, and not from whoever waits."""
        task = asyncio.current_task()
        return self._closed and task is not None and not task.cancelling()
