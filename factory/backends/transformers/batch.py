"""Continuous batching over the library's models: candidates join and leave between steps, and never feel each other.

Waiting candidates of like length are read together, those of one prompt share its reading, and whoever ends leaves at
once. When memory runs out all running ones go back to the queue, with what they have written, and fewer run at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from factory.backends.gpu_time import ShareMeter
from factory.backends.transformers.memory import KeyValues
from factory.backends.transformers.network import Network
from factory.backends.transformers.problems import is_out_of_memory, not_finite, too_large
from factory.backends.transformers.sampling import Penalties, Rows, draw, raw_logprobs
from factory.backends.transformers.sequences import Candidate, Job, Logprob, Reader, make_candidates

_HEADROOM = 128
"""Columns of the cache that must be free for a candidate to join, unless it needs fewer."""
_ADMIT_SHARE = 8
"""While many wait, joining waits until 1 / so many of the rows are free: each reading costs a pass of its own."""
_LOOKAHEAD = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """`rows` at once, `places` of the cache (rows × columns), `prefill`: tokens read in one pass."""

    rows: int
    places: int
    prefill: int


class Batch:
    """The running candidates and those that wait. Not thread-safe: one thread owns it."""

    def __init__(self, network: Network, read: Reader, limits: Limits, meter: ShareMeter | None, name: str):
        self._network, self._read, self._meter, self._name = network, read, meter, name
        self.limits = limits
        self._memory = KeyValues(limits.rows, network.device)
        self._running: list[Candidate] = []
        self._waiting: deque[Candidate] = deque()
        self._rows: Rows | None = None
        self._number = 0

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    def jobs(self) -> list[Job]:
        """The jobs that run or wait, each once."""
        return list({id(one.job): one.job for one in (*self._running, *self._waiting)}.values())

    def add(self, job: Job) -> None:
        """Queue a job's candidates."""
        self._waiting.extend(make_candidates(job, self._number))
        self._number += len(job.task.seeds)
        if self._meter is not None:
            self._meter.start(id(job))

    def step(self) -> None:
        """Let candidates join, then give every running one its next token."""
        try:
            self._join(self._choose())
            self._advance_all()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            return
        self._make_way()  # outside the handler, so that the traceback holds no memory

    def drop_unwanted(self) -> None:
        """Let jobs go that nobody waits for any more."""
        gone = [job for job in self.jobs() if not job.wanted]
        for job in gone:
            self._discard(job)

    def fail_all(self, fault: BaseException) -> None:
        """Every job ends with this fault."""
        for job in self.jobs():
            self._discard(job)
            job.fail(fault)

    def _choose(self) -> list[Candidate]:
        """Who joins now: the one that waits longest, and those nearest to it in length, as far as room and time go."""
        waiting, running = self._waiting, len(self._running)
        free = self.limits.rows - running
        if not waiting or free <= 0 or (running and len(waiting) > free < self.limits.rows // _ADMIT_SHARE):
            return []
        head = waiting[0]
        seen = list(islice(waiting, _LOOKAHEAD * self.limits.rows))
        seen.sort(key=lambda one: (one is not head, abs(one.length - head.length), one.number))
        chosen: list[Candidate] = []
        prompts: set[tuple[int, ...]] = set()
        longest, width = 0, self._memory.width if running else 0
        for one in seen:
            if len(chosen) == free:
                break
            longest, read = max(longest, one.length), prompts | {one.context}
            columns = max(width, longest) + min(one.left, _HEADROOM)
            alone = not running and not chosen
            if not alone and (running + len(chosen) + 1) * columns > self.limits.places:
                break
            if chosen and len(read) * longest > self.limits.prefill:
                break
            chosen.append(one)
            prompts = read
        taken = set(map(id, chosen))
        self._waiting = deque(one for one in waiting if id(one) not in taken)
        return sorted(chosen, key=lambda one: one.number)

    def _join(self, chosen: Sequence[Candidate]) -> None:
        """Read the prompts of the chosen, each once, and draw their first tokens."""
        if not chosen:
            return
        first = len(self._running)
        self._running += chosen
        prompts: dict[tuple[int, ...], int] = {}
        parents = [prompts.setdefault(one.context, len(prompts)) for one in chosen]
        logits, fresh = self._network.read(list(prompts))
        self._memory.insert(fresh, parents, [one.length for one in chosen])
        del fresh
        self._rows = None
        rows = Rows([one.job.task.settings for one in chosen], logits.device)
        self._advance(first, logits[torch.tensor(parents, device=logits.device)], rows)

    def _advance_all(self) -> None:
        """One more token for every running candidate."""
        while len(self._running) > 1 and len(self._running) * (self._memory.width + 1) > self.limits.places:
            self._put_back(max(range(len(self._running)), key=lambda row: self._running[row].number))
        if not self._running:
            return
        logits = self._network.step([one.tokens[-1] for one in self._running], self._memory)
        if self._rows is None:
            self._rows = Rows([one.job.task.settings for one in self._running], logits.device)
        self._advance(0, logits, self._rows)

    def _advance(self, first: int, logits: Tensor, rows: Rows) -> None:
        """Draw the next token of the rows from `first` on, and let those that end leave."""
        running = self._running[first:]
        asked = [row for row, one in enumerate(running) if one.job.task.logprobs is not None]
        raw = logits[asked].clone() if asked else logits
        for row, one in enumerate(running):
            settings = one.job.task.settings
            if settings.penalises:
                if one.penalties is None:
                    one.penalties = Penalties(settings, one.job.task.prompt, one.tokens, logits)
                one.penalties.apply(logits[row])
        numbers = [one.uniforms[len(one.tokens)] if rows.sampled else 0.0 for one in running]
        drawn = draw(logits, rows, torch.tensor(numbers, dtype=torch.float64, device=logits.device))
        finite = logits.amax(dim=-1).isfinite().tolist()
        tokens = drawn.tolist()
        if asked:
            self._note_logprobs([running[row] for row in asked], raw, drawn[asked])
        for row in reversed(range(len(running))):
            one = running[row]
            if finite[row] and (completion := one.take(tokens[row], self._read)) is not None:
                one.job.done[one.index] = completion
                self._leave(first + row)
                if one.job.complete:
                    one.job.deliver(self._stop_meter(one.job))
        for job in {id(one.job): one.job for row, one in enumerate(running) if not finite[row]}.values():
            self._discard(job)
            job.fail(not_finite(self._name))

    def _note_logprobs(self, asked: Sequence[Candidate], raw: Tensor, tokens: Tensor) -> None:
        most = max(one.job.task.logprobs or 0 for one in asked)
        chosen, values, ids = (part.tolist() for part in raw_logprobs(raw, tokens, most))
        for row, token in enumerate(tokens.tolist()):
            count = asked[row].job.task.logprobs or 0
            top = tuple(zip(ids[row][:count], values[row][:count], strict=True))
            asked[row].logprobs.append(Logprob(token, chosen[row], top))

    def _leave(self, row: int) -> None:
        """Take a candidate out: the last row takes its place, here as in the cache."""
        last = self._running.pop()
        if row < len(self._running):
            self._running[row] = last
        self._memory.remove(row)
        self._rows = None

    def _put_back(self, row: int) -> None:
        """Let a candidate wait again, first in the queue, with what it has written."""
        self._waiting.appendleft(self._running[row])
        self._leave(row)

    def _discard(self, job: Job) -> None:
        """Take all of a job's candidates out."""
        for row in reversed(range(len(self._running))):
            if self._running[row].job is job:
                self._leave(row)
        self._waiting = deque(one for one in self._waiting if one.job is not job)
        self._stop_meter(job)

    def _stop_meter(self, job: Job) -> float | None:
        return self._meter.stop(id(job)) if self._meter is not None else None

    def _make_way(self) -> None:
        """Memory ran out: everyone waits again, and half as many run at once. One that fails alone is refused."""
        running = sorted(self._running, key=lambda one: one.number)
        self._running, self._rows = [], None
        self._memory = KeyValues(self.limits.rows, self._network.device)
        if self._network.device.type == "cuda":
            torch.cuda.empty_cache()
        self._waiting.extendleft(reversed(running))
        if len(running) == 1:
            [job] = {id(one.job): one.job for one in running}.values()
            self._discard(job)
            job.fail(too_large(running[0].length, str(self._network.device)))
        else:
            rows = max(1, len(running) // 2)
            self.limits = Limits(rows, self.limits.places, max(1, self.limits.prefill // 2))
