"""Tokens per second of the transformers backend's batches, beside the library's own `generate` on the same model.

    python benchmarks/transformers_backend.py [--checkpoint DIR] [--repeats 5] [--new-tokens 100] [--threads N] [--json]

Both draw at temperature 0.8 from the whole vocabulary, for 1, 16 and 64 rows. `even`: prompts of one length, exactly
`--new-tokens` for each. `mixed`: prompts of 8 to 96 tokens and answers of 10 to 190 % of `--new-tokens`, for as many
rows as four full batches, handed to `generate` as four batches in order; only tokens that a row asked for count.
Repeats alternate between the two; the ratio is the median of the ratios of neighbouring repeats.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from factory.backends.embedded import MODELS

BATCHES = (1, 16, 64)
TEMPERATURE = 0.8
FIRST_TOKEN = 10
"""Below lie the special tokens of the embedded checkpoint."""

Work = list[tuple[list[int], int]]
"""Prompts, and how many tokens to write after each."""


def make_work(kind: str, rows: int, new_tokens: int) -> Work:
    """The prompts of a measurement, the same for both."""
    rng = random.Random(rows)
    if kind == "even":
        return [(rng.choices(range(FIRST_TOKEN, 2000), k=48), new_tokens) for _ in range(rows)]
    return [
        (rng.choices(range(FIRST_TOKEN, 2000), k=rng.randint(8, 96)), round(new_tokens * rng.uniform(0.1, 1.9)))
        for _ in range(4 * rows)
    ]


def make_ours(model: Any, rows: int) -> Callable[[Work], int]:
    """A function that writes with our batches and returns how many tokens it wrote."""
    import torch

    from factory.backends.transformers.batch import Batch, Limits
    from factory.backends.transformers.network import Network
    from factory.backends.transformers.sampling import Settings
    from factory.backends.transformers.sequences import Job, Task

    batch = Batch(Network(model), lambda tokens: "", Limits(rows, 10**7, 4096), None, "")

    def write(work: Work) -> int:
        jobs = []
        for seed, (prompt, limit) in enumerate(work):
            task = Task(tuple(prompt), (seed,), limit, frozenset(), Settings(TEMPERATURE))
            jobs.append(Job(task, lambda completions, _: len(completions[0].tokens), Future()))  # type: ignore
        with torch.inference_mode():
            for job in jobs:
                batch.add(job)
            while len(batch):
                batch.step()
        return sum(job.future.result() for job in jobs)  # type: ignore

    return write


def make_theirs(model: Any, rows: int) -> Callable[[Work], int]:
    """The same with `generate`: batches in order, padded on the left, a row over when it has its tokens."""
    import torch

    def write_batch(work: Work) -> int:
        width = max(len(prompt) for prompt, _ in work)
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt, _ in work])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt, _ in work])
        limits = torch.tensor([limit for _, limit in work])

        def over(ids: Any, scores: Any, **_: Any) -> Any:
            return limits <= ids.shape[1] - width

        torch.manual_seed(0)
        model.generate(
            ids, attention_mask=mask, do_sample=True, temperature=TEMPERATURE, top_k=0, eos_token_id=None,
            pad_token_id=0, max_new_tokens=int(limits.max()), stopping_criteria=[over],
        )  # fmt: skip
        return int(limits.sum())

    def write(work: Work) -> int:
        return sum(write_batch(work[start : start + rows]) for start in range(0, len(work), rows))

    return write


def measure(writers: dict[str, Callable[[Work], int]], work: Work, repeats: int) -> dict[str, Any]:
    """Median tokens a second of each, and the median ratios of neighbours: of wall time, and of CPU time."""
    wall: dict[str, list[float]] = {name: [] for name in writers}
    busy: dict[str, list[float]] = {name: [] for name in writers}
    for write in writers.values():
        write(work)
    for repeat in range(repeats):
        for name in sorted(writers, reverse=bool(repeat % 2)):
            start, cpu = time.perf_counter(), time.process_time()
            tokens = writers[name](work)
            wall[name].append(tokens / (time.perf_counter() - start))
            busy[name].append(tokens / (time.process_time() - cpu))
    ratios = [a / b for a, b in zip(wall["ours"], wall["generate"], strict=True)]
    return {
        "ours_tokens_per_s": round(statistics.median(wall["ours"])),
        "generate_tokens_per_s": round(statistics.median(wall["generate"])),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "ours_tokens_per_cpu_s": round(statistics.median(busy["ours"])),
        "cpu_ratio": round(statistics.median(a / b for a, b in zip(busy["ours"], busy["generate"], strict=True)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=MODELS["tiny"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--threads", type=int, help="torch's threads, for machines whose cores others use too")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.checkpoint, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    results = {}
    for kind in ("even", "mixed"):
        for rows in BATCHES:
            work = make_work(kind, rows, arguments.new_tokens)
            writers = {"ours": make_ours(model, rows), "generate": make_theirs(model, rows)}
            found = results[f"{kind}_{rows}"] = measure(writers, work, arguments.repeats)
            if not arguments.json:
                print(
                    f"{kind} {rows:3d} rows: ours {found['ours_tokens_per_s']:6d}/s, generate "
                    f"{found['generate_tokens_per_s']:6d}/s, ratio {found['ratio']} {found['ratio_range']}; "
                    f"CPU: ours {found['ours_tokens_per_cpu_s']}/s, ratio {found['cpu_ratio']}",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "results": results}))


if __name__ == "__main__":
    main()
