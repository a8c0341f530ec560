"""One candidate at a time, through the library's own `generate`: for models whose state is no plain key-value cache.

Recurrent and hybrid models (Mamba, …) cannot be padded, or keep a state that cannot be joined to another's. `generate`
knows how to run each of them; the drawing, the stops and the random numbers are ours, as in a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from factory.backends.gpu_time import ShareMeter
from factory.backends.transformers.network import Network
from factory.backends.transformers.options import library
from factory.backends.transformers.problems import is_out_of_memory, not_finite, too_large
from factory.backends.transformers.sampling import Penalties, Rows, draw, raw_logprobs
from factory.backends.transformers.sequences import Candidate, Completion, Job, Logprob, Reader, make_candidates


class Solo:
    """The candidates that wait, run one by one. `stopped`: asked between tokens. One thread owns it."""

    def __init__(
        self, network: Network, read: Reader, meter: ShareMeter | None, name: str, stopped: Callable[[], bool]
    ):
        self._network, self._read, self._meter, self._name, self._stopped = network, read, meter, name, stopped
        self._waiting: deque[Candidate] = deque()
        network.model.generation_config = (
            library().GenerationConfig()
        )  # what the checkpoint's asks for is in our settings

    def __len__(self) -> int:
        return len(self._waiting)

    def jobs(self) -> list[Job]:
        """The jobs that wait, each once."""
        return list({id(one.job): one.job for one in self._waiting}.values())

    def add(self, job: Job) -> None:
        """Queue a job's candidates."""
        self._waiting.extend(make_candidates(job, 0))
        if self._meter is not None:
            self._meter.start(id(job))

    def step(self) -> None:
        """Write the first waiting candidate to its end."""
        if not self._waiting:
            return
        one = self._waiting[0]
        job = one.job
        try:
            completion = self._write(one)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            completion = None
            job.fail(too_large(one.length, str(self._network.device)))
        if completion is None:
            self._discard(job)
            return
        self._waiting.popleft()
        job.done[one.index] = completion
        if job.complete:
            job.deliver(self._stop_meter(job))

    def drop_unwanted(self) -> None:
        """Let jobs go that nobody waits for any more."""
        for job in self.jobs():
            if not job.wanted:
                self._discard(job)

    def fail_all(self, fault: BaseException) -> None:
        """Every job ends with this fault."""
        for job in self.jobs():
            self._discard(job)
            job.fail(fault)

    def _discard(self, job: Job) -> None:
        self._waiting = deque(one for one in self._waiting if one.job is not job)
        self._stop_meter(job)

    def _stop_meter(self, job: Job) -> float | None:
        return self._meter.stop(id(job)) if self._meter is not None else None

    def _write(self, one: Candidate) -> Completion | None:
        """The whole continuation; None when it was stopped, or failed."""
        finished: list[Completion] = []
        failed: list[bool] = []

        def choose(ids: Tensor, scores: Tensor) -> Tensor:
            logits = scores.float()
            if not bool(logits.amax().isfinite()):
                failed.append(True)
                return scores
            token = self._draw(one, logits)
            if (completion := one.take(token, self._read)) is not None:
                finished.append(completion)
            forced = torch.full_like(scores, -torch.inf)
            forced[0, token] = 0
            return forced

        def stop(ids: Tensor, scores: Any, **_: Any) -> Tensor:
            over = bool(finished or failed) or self._stopped() or not one.job.wanted
            return torch.full((len(ids),), over, device=ids.device)

        ids = torch.tensor([one.context], device=self._network.device)
        self._network.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=one.left,
            pad_token_id=0, logits_processor=[choose], stopping_criteria=[stop],
        )  # fmt: skip
        if failed:
            one.job.fail(not_finite(self._name))
        return finished[0] if finished else None

    def _draw(self, one: Candidate, logits: Tensor) -> int:
        task = one.job.task
        raw = logits.clone()
        if task.settings.penalises:
            if one.penalties is None:
                one.penalties = Penalties(task.settings, task.prompt, one.tokens, logits)
            one.penalties.apply(logits[0])
        logits = logits.cpu() if logits.device.type == "mps" else logits
        uniform = torch.tensor([one.uniforms[len(one.tokens)]], dtype=torch.float64, device=logits.device)
        drawn = draw(logits, Rows([task.settings], logits.device), uniform)
        if task.logprobs is not None:
            chosen, values, ids = (part.tolist() for part in raw_logprobs(raw, drawn.to(raw.device), task.logprobs))
            top = tuple(zip(ids[0], values[0], strict=True))
            one.logprobs.append(Logprob(int(drawn), chosen[0], top))
        return int(drawn)
