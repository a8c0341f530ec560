"""What is asked of the model and what comes of it: tasks, candidates under way, completions. No tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from factory.backends.transformers.sampling import Penalties, Settings, Uniforms
from factory.types import Response

_STOP_SLACK = 4
"""Tokens before a stop string that may hold pieces of its first character."""

Reader = Callable[[Sequence[int]], str]
"""Token ids → their text, without special tokens."""


@dataclass(frozen=True, slots=True)
class Logprob:
    """A token's natural log-probability, and the likeliest (token, log-probability) at its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt to continue once per seed, up to `limit` tokens. `ends`: tokens that end an answer.

    `logprobs` None: not wanted; else so many alternatives.
    """

    prompt: tuple[int, ...]
    seeds: tuple[int, ...]
    limit: int
    ends: frozenset[int]
    settings: Settings = field(default_factory=Settings)
    stop: tuple[str, ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One continuation. `tokens` hold the end token or the stop string's, which `text` leaves out.

    `logprobs`: one for each token. `finish_reason`: stop or length.
    """

    tokens: tuple[int, ...]
    text: str
    finish_reason: str
    logprobs: tuple[Logprob, ...] | None = None


Finish = Callable[[Sequence[Completion], float | None], Response]
"""Completions in the order of the seeds, and the share of the accelerator's time (None: none was used) → the answer."""


@dataclass(slots=True, eq=False)
class Job:
    """A task under way. `finish` makes the answer when the last completion is there."""

    task: Task
    finish: Finish
    future: Future[Response]
    done: dict[int, Completion] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return not self.future.done()

    @property
    def complete(self) -> bool:
        return len(self.done) == len(self.task.seeds)

    def fail(self, fault: BaseException) -> None:
        """Tell whoever waits."""
        if self.wanted and self.future.set_running_or_notify_cancel():
            self.future.set_exception(fault)

    def deliver(self, gpu_seconds: float | None) -> None:
        """Hand over the completions, in the order of the seeds."""
        if self.wanted and self.future.set_running_or_notify_cancel():
            self.future.set_result(self.finish([self.done[index] for index in range(len(self.done))], gpu_seconds))


@dataclass(slots=True, eq=False)
class Candidate:
    """One continuation under way. `number`: the order in which they came."""

    job: Job
    index: int
    number: int
    uniforms: Uniforms
    tokens: list[int] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)
    penalties: Penalties | None = None

    @property
    def length(self) -> int:
        """Tokens of prompt and answer so far."""
        return len(self.job.task.prompt) + len(self.tokens)

    @property
    def left(self) -> int:
        """Tokens that may still come."""
        return self.job.task.limit - len(self.tokens)

    @property
    def context(self) -> tuple[int, ...]:
        """The tokens that the next one follows."""
        return (*self.job.task.prompt, *self.tokens)

    def take(self, token: int, read: Reader) -> Completion | None:
        """Add a token; the completion when it was the last one."""
        task = self.job.task
        self.tokens.append(token)
        if self.penalties is not None:
            self.penalties.add(token)
        if token in task.ends:
            return self._complete(read(self.tokens[:-1]), "stop", read)
        cut = _stop_at(self.tokens, task.stop, read) if task.stop else None
        if cut is not None:
            return self._complete(read(self.tokens)[:cut], "stop", read)
        if self.left <= 0:
            return self._complete(read(self.tokens), "length", read)
        return None

    def _complete(self, text: str, reason: str, read: Reader) -> Completion:
        # An end token may itself complete a stop string of ordinary text before it: the earlier one counts.
        cut = min((at for stop in self.job.task.stop if (at := text.find(stop)) >= 0), default=len(text))
        wanted = self.job.task.logprobs is not None
        return Completion(tuple(self.tokens), text[:cut], reason, tuple(self.logprobs) if wanted else None)


def make_candidates(job: Job, first_number: int) -> list[Candidate]:
    """A candidate for each seed of a job."""
    seeds = job.task.seeds
    return [Candidate(job, index, first_number + index, Uniforms(seed)) for index, seed in enumerate(seeds)]


def _stop_at(tokens: Sequence[int], stop: tuple[str, ...], read: Reader) -> int | None:
    """Where in the text the first stop string begins, or None. The tail tells: the rest was seen before."""
    tail = max(len(text.encode()) for text in stop) + _STOP_SLACK
    recent = read(tokens[-tail:])
    if not any(text in recent for text in stop):
        return None
    whole = read(tokens)
    return min((at for text in stop if (at := whole.find(text)) >= 0), default=None)
