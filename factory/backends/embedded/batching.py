"""Continuous batching: sequences join and leave between steps and never feel each other.

A `Batch` advances up to `slots` sequences by one token a step; live ones always fill the first slots. An `Engine` runs
a batch on a thread of its own and hands results to futures.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.backends.embedded.llama import Array, Cache, Llama, Prefix
from factory.backends.embedded.sampling import draw, logprobs_of, uniforms
from factory.backends.embedded.scratch import Scratch
from factory.errors import CallFault, ConnectionFailed, ContextTooLong, FactoryError

_STOP_SLACK = 4
"""Tokens before a stop string that may hold pieces of its first character."""


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt to continue once per seed. `max_tokens` None: as far as the context reaches."""

    prompt: tuple[int, ...]
    seeds: tuple[int, ...]
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """One continuation. `tokens` include the end token or the stop string's, which `text` leaves out.

    `logprobs`: natural logarithms at the task's temperature, before the nucleus cut. `finish_reason`: stop or length.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class _Reading:
    """A given text to measure: the log-probabilities of its tokens from `first` on."""

    tokens: tuple[int, ...]
    first: int
    future: Future[tuple[float, ...]]


@dataclass(slots=True)
class _Job:
    """A task under way: its prompt is read once, its candidates join as slots come free."""

    task: Task
    future: Future[list[Completion]]
    prefix: Prefix | None = None
    joined: int = 0
    done: dict[int, Completion] = field(default_factory=dict)


class Batch:
    """The running sequences. Not thread-safe: one thread owns it.

    `read_tokens` turns token ids into text. Candidates of a task share the reading of its prompt.
    """

    def __init__(self, model: Llama, read_tokens: Callable[[Sequence[int]], str], slots: int = 64):
        self._model, self._read_tokens, self._slots = model, read_tokens, slots
        self._cache, self._scratch = Cache(model.config, slots), Scratch()
        self._ends = np.zeros(model.config.vocab_size, bool)
        self._ends[list(model.config.eos_token_ids)] = True
        context = model.config.context
        self._rows: list[tuple[_Job, int]] = []
        self._tokens = np.zeros((slots, context), np.int64)
        self._logprobs = np.zeros((slots, context), np.float32)
        self._uniforms = np.zeros((slots, context), np.float64)
        self._prompts = np.zeros(slots, np.int64)
        self._counts = np.zeros(slots, np.int64)
        self._limits = np.zeros(slots, np.int64)
        self._temperatures = np.zeros(slots, np.float32)
        self._top_ps = np.zeros(slots, np.float64)

    def __len__(self) -> int:
        return len(self._rows)

    def jobs(self) -> list[_Job]:
        """The jobs with a running sequence, each once."""
        return list({id(job): job for job, _ in self._rows}.values())

    def admit(self, job: _Job) -> bool:
        """Start as many of the job's candidates as there are free slots; True when all have joined."""
        task, first = job.task, len(self._rows)
        fresh = range(job.joined, min(len(task.seeds), job.joined + self._slots - first))
        if fresh:
            if job.prefix is None:
                job.prefix = self._model.prefill(np.array(task.prompt, np.int64), self._scratch)
            for index in fresh:
                self._start(job, job.prefix, index)
            job.joined = fresh.stop
            self._advance(first, np.repeat(job.prefix.logits[None], len(fresh), axis=0))
        if job.joined < len(task.seeds):
            return False
        job.prefix = None
        return True

    def step(self) -> None:
        """Give every running sequence its next token."""
        rows = np.arange(len(self._rows))
        if not len(rows):
            return
        last = self._tokens[rows, self._counts[rows] - 1]
        places = self._prompts[rows] + self._counts[rows] - 1
        self._advance(0, self._model.decode(self._cache, last, places, self._scratch))

    def measure(self, tokens: Sequence[int], first: int) -> tuple[float, ...]:
        """Natural log-probabilities, at temperature 1, of the tokens from position `first` ≥ 1 on, given those before.

        The sequence is read alone, whatever runs: its bits hang on its own tokens only.
        """
        ids, found = np.array(tokens, np.int64), np.zeros(len(tokens) - first, np.float32)
        for begin, logits in self._model.expect(ids, first, self._scratch):
            end = begin + len(logits)
            found[begin - first : end - first] = logprobs_of(logits, ids[begin:end])
        return tuple(found.tolist())

    def drop_cancelled(self) -> None:
        """Free the slots of jobs that nobody waits for any more."""
        for row in reversed(range(len(self._rows))):
            if self._rows[row][0].future.cancelled():
                self._leave(row)

    def _start(self, job: _Job, prefix: Prefix, index: int) -> None:
        task, row = job.task, len(self._rows)
        self._cache.insert(row, prefix)
        room = self._model.config.context - prefix.length
        limit = room if task.max_tokens is None else min(task.max_tokens, room)
        self._rows.append((job, index))
        self._prompts[row], self._counts[row], self._limits[row] = prefix.length, 0, limit
        self._temperatures[row], self._top_ps[row] = task.temperature, task.top_p
        self._uniforms[row, :limit] = uniforms(limit, task.seeds[index])

    def _advance(self, first: int, logits: Array) -> None:
        """Draw the next token of the rows from `first` on, and let those that end leave."""
        rows = np.arange(first, first + len(logits))
        counts = self._counts[rows]
        drawn = draw(logits, self._temperatures[rows], self._top_ps[rows], self._uniforms[rows, counts])
        self._tokens[rows, counts] = drawn.tokens
        self._logprobs[rows, counts] = drawn.logprobs
        self._counts[rows] = counts + 1
        ended = self._ends[drawn.tokens]
        full = counts + 1 >= self._limits[rows]
        for row in reversed(range(first, first + len(logits))):
            job, index = self._rows[row]
            cut = self._stop_at(row, job.task.stop) if job.task.stop else None
            if cut is not None or ended[row - first] or full[row - first]:
                stopped = cut is not None or bool(ended[row - first])
                self._deliver(row, job, index, cut, "stop" if stopped else "length")
                self._leave(row)

    def _stop_at(self, row: int, stop: tuple[str, ...]) -> int | None:
        """Where in the text the first stop string begins, or None. The tail tells: the rest was seen before."""
        count = int(self._counts[row])
        tail = max(len(text.encode()) for text in stop) + _STOP_SLACK
        recent = self._read_tokens(self._tokens[row, max(count - tail, 0) : count].tolist())
        if not any(text in recent for text in stop):
            return None
        whole = self._read_tokens(self._tokens[row, :count].tolist())
        return min((at for text in stop if (at := whole.find(text)) >= 0), default=None)

    def _deliver(self, row: int, job: _Job, index: int, cut: int | None, reason: str) -> None:
        count = int(self._counts[row])
        tokens = self._tokens[row, :count].tolist()
        text = self._read_tokens(tokens)[:cut]
        job.done[index] = Completion(tuple(tokens), tuple(self._logprobs[row, :count].tolist()), text, reason)
        if len(job.done) == len(job.task.seeds) and job.future.set_running_or_notify_cancel():
            job.future.set_result([job.done[i] for i in range(len(job.task.seeds))])

    def _leave(self, row: int) -> None:
        """Free a row: the last one takes its place."""
        last = len(self._rows) - 1
        if row != last:
            self._cache.move(last, row, int(self._prompts[last] + self._counts[last]))
            arrays: tuple[NDArray[np.generic], ...] = (
                self._tokens, self._logprobs, self._uniforms, self._prompts,
                self._counts, self._limits, self._temperatures, self._top_ps,
            )  # fmt: skip
            for array in arrays:
                array[row] = array[last]
            self._rows[row] = self._rows[last]
        self._rows.pop()


class Engine:
    """A batch on a thread of its own. `submit` may be called from any thread; the thread starts with the first task."""

    def __init__(self, model: Llama, read_tokens: Callable[[Sequence[int]], str], slots: int = 64):
        self.context = model.config.context
        self._batch = Batch(model, read_tokens, slots)
        self._waiting: deque[_Job] = deque()
        self._readings: deque[_Reading] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._fault: CallFault | FactoryError | None = None

    def submit(self, task: Task) -> Future[list[Completion]]:
        """The task's completions, one per seed. Raises ContextTooLong, or the fault that ended the engine."""
        if len(task.prompt) >= self.context:
            raise ContextTooLong(
                f"the prompt has {len(task.prompt)} tokens, and the model's context of {self.context} tokens "
                f"leaves no room for an answer: shorten the prompt to {self.context - 1} tokens or fewer"
            )
        job = _Job(task, Future())
        with self._started():
            self._waiting.append(job)
        return job.future

    def measure(self, tokens: tuple[int, ...], first: int) -> Future[tuple[float, ...]]:
        """Log-probabilities of the tokens from position `first` ≥ 1 on, one a token.

        Raises ContextTooLong, or the fault that ended the engine.
        """
        if len(tokens) > self.context:
            raise ContextTooLong(
                f"prompt and answer have {len(tokens)} tokens, and the model's context is {self.context} tokens"
            )
        reading = _Reading(tokens, first, Future())
        with self._started():
            self._readings.append(reading)
        return reading.future

    @contextmanager
    def _started(self) -> Iterator[None]:
        """The lock of what waits; the thread runs, and is told afterwards. Raises the fault that ended the engine."""
        with self._changed:
            if self._fault is not None:
                raise self._fault
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="embedded-model", daemon=True)
                self._thread.start()
            yield
            self._changed.notify()

    def close(self) -> None:
        """Stop the thread and wait for it; whoever still waits gets ConnectionFailed. May be called again."""
        with self._changed:
            if self._fault is None:
                self._fault = ConnectionFailed("the embedded model was closed")
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        try:
            while self._take_in():
                self._batch.step()
                self._read_one()
        except Exception as error:
            fault = FactoryError(f"the embedded model failed: {type(error).__name__}: {error}", "report this as a bug")
            fault.__cause__ = error
            with self._changed:
                self._fault = fault
        self._refuse_all()

    def _take_in(self) -> bool:
        """Wait for work, then let waiting jobs join while slots are free; False when the engine is closed."""
        batch = self._batch
        batch.drop_cancelled()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._readings or len(batch) or self._fault is not None)
            if self._fault is not None:
                return False
            waiting = list(self._waiting)
        for job in waiting:
            if not job.future.cancelled() and not batch.admit(job):
                break
            with self._changed:
                self._waiting.popleft()
        return True

    def _read_one(self) -> None:
        """Measure the text that waits longest: one between two steps, so that neither kind of work stalls the other."""
        with self._changed:
            reading = self._readings[0] if self._readings else None
        if reading is None:
            return
        if not reading.future.cancelled():
            found = self._batch.measure(reading.tokens, reading.first)
            if reading.future.set_running_or_notify_cancel():
                reading.future.set_result(found)
        with self._changed:
            self._readings.popleft()

    def _refuse_all(self) -> None:
        with self._changed:
            futures: list[Future[Any]] = list(
                {id(job): job.future for job in (*self._batch.jobs(), *self._waiting)}.values()
            )
            futures += [reading.future for reading in self._readings]
            self._waiting.clear()
            self._readings.clear()
            fault = self._fault
        for future in futures:
            if fault is not None and not future.done() and future.set_running_or_notify_cancel():
                future.set_exception(fault)
