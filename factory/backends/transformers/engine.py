"""The thread that loads and runs a model: takes requests in between steps, hands results to futures."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from factory.backends.transformers import gate
from factory.errors import CallFault, ConnectionFailed, FactoryError
from factory.types import Response


class Work(Protocol):
    """What is under way: texts to write, or a text to measure. It answers the future that it was made with."""

    @property
    def wanted(self) -> bool: ...
    def fail(self, fault: BaseException) -> None: ...


Job = TypeVar("Job", bound=Work)


class Runner(Protocol[Job]):
    """What does the work: it writes candidates in a batch, or one at a time, or measures texts."""

    def __len__(self) -> int: ...
    def jobs(self) -> Sequence[Job]: ...
    def add(self, job: Job) -> None: ...
    def step(self) -> None: ...
    def drop_unwanted(self) -> None: ...
    def fail_all(self, fault: BaseException) -> None: ...


class Ready(Protocol):
    """A loaded model: at least its runner."""

    @property
    def runner(self) -> Runner[Any]: ...


Model = TypeVar("Model", bound=Ready)


@dataclass(slots=True, eq=False)
class _Asked(Generic[Model]):
    """A request that the thread has not looked at."""

    prepare: Callable[[Model, Future[Response]], Work]
    future: Future[Response]


class Engine(Generic[Model]):
    """Runs a model on a thread of its own; `load` is called there, with the first request.

    `load` gets a function that says whether the engine was closed meanwhile. A failure to load is told to every
    request, also to later ones.
    """

    def __init__(self, load: Callable[[Callable[[], bool]], Model], name: str):
        self._load, self._name = load, name
        self._changed = threading.Condition()
        self._inbox: deque[_Asked[Model]] = deque()
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None
        self._dropped = False
        self._loading = True
        self.model: Model | None = None

    def submit(self, prepare: Callable[[Model, Future[Response]], Work]) -> Future[Response]:
        """Ask for the work that `prepare` makes on the engine's thread. Cancel the future to let it go.

        The future raises what `prepare` raises, and ConnectionFailed when the engine is closed.
        """
        asked = _Asked(prepare, Future[Response]())
        asked.future.add_done_callback(self._note_cancelled)
        with self._changed:
            if self._fault is not None:
                raise self._fault
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="transformers-model", daemon=True)
                self._thread.start()
            self._inbox.append(asked)
            self._changed.notify()
        return asked.future

    def close(self) -> None:
        """Stop, and wait for the step under way; whoever still waits gets ConnectionFailed. May be called again.

        A loading cannot be broken off: it is not waited for, and ends with the process.
        """
        with self._changed:
            if self._fault is None:
                self._fault = ConnectionFailed("the model was closed")
            self._changed.notify()
            thread, loading = self._thread, self._loading
        if loading:
            self._refuse()
        elif thread is not None and thread is not threading.current_thread():
            thread.join()

    @property
    def closed(self) -> bool:
        return self._fault is not None

    def _note_cancelled(self, future: Future[Response]) -> None:
        self._dropped = self._dropped or future.cancelled()

    def _run(self) -> None:
        import torch

        try:
            with gate.loading():
                model = self._load(lambda: self.closed)
        except Exception as error:
            self._end(error if isinstance(error, (FactoryError, CallFault)) else self._bug(error))
            return
        with self._changed:
            self._loading, self.model = False, model
        try:
            with torch.inference_mode():
                while self._take_in(model):
                    with gate.computing():
                        model.runner.step()
        except Exception as error:
            self._end(self._bug(error))
        fault, self.model = self._fault, None
        if fault is not None:
            model.runner.fail_all(fault)
        self._refuse()

    def _bug(self, error: Exception) -> FactoryError:
        fault = FactoryError(
            f"{self._name} failed: {type(error).__name__}: {str(error)[:500]}",
            "FACTORY_TRACEBACK=1 shows where this began",
            code="backend",
        )
        fault.__cause__ = error
        return fault

    def _take_in(self, model: Model) -> bool:
        """Wait for work, then queue what came; False when the engine is closed."""
        runner = model.runner
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or len(runner) or self._fault is not None)
            if self._fault is not None:
                return False
            came = list(self._inbox)
            self._inbox.clear()
            dropped, self._dropped = self._dropped, False
        if dropped:
            runner.drop_unwanted()
        for asked in came:
            if asked.future.cancelled():
                continue
            try:
                runner.add(asked.prepare(model, asked.future))
            except (CallFault, FactoryError) as fault:
                _tell(asked.future, fault)
        return True

    def _end(self, fault: Exception) -> None:
        with self._changed:
            if self._fault is None:
                self._fault = fault
            self._loading = False
        self._refuse()

    def _refuse(self) -> None:
        """Tell those who wait in the inbox why nothing comes."""
        with self._changed:
            asked, fault = list(self._inbox), self._fault
            self._inbox.clear()
        for one in asked:
            if fault is not None:
                _tell(one.future, fault)


def _tell(future: Future[Any], fault: Exception) -> None:
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(fault)


_shared: dict[str, tuple[Engine[Any], int]] = {}
_sharing = threading.Lock()


def share(key: str, make: Callable[[], Engine[Any]]) -> Engine[Any]:
    """The engine known as `key`, made when there is none that works: roles with the same model load it once.

    Give it back with `release`.
    """
    with _sharing:
        engine, users = _shared.get(key, (None, 0))
        if engine is None or engine.closed:
            engine, users = make(), 0
        _shared[key] = (engine, users + 1)
        return engine


def release(key: str, engine: Engine[Any]) -> None:
    """Let an engine go; it is closed with its last user. Waits for the step under way."""
    with _sharing:
        shared, users = _shared.get(key, (None, 0))
        if shared is engine and users > 1:
            _shared[key] = (engine, users - 1)
            return
        if shared is engine:
            del _shared[key]
    engine.close()
